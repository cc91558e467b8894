"""`Input`: the placeholder that a functional model starts from."""

from collections.abc import Sequence
from typing import Any

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor, Node
from kerasnb.layers.layer import Layer


class InputLayer(Layer):
    """The layer behind `Input`: it hands out one placeholder.

    >>> InputLayer((28, 28, 1)).output.shape
    (None, 28, 28, 1)
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras 2 spellings, found in old files.
        shape = kwargs.pop("input_shape", shape)
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        super().__init__(name=name, **kwargs)
        if input_tensor is not None:
            _check_agreement(
                input_tensor, shape, batch_size, batch_shape, dtype, sparse
            )
            batch_shape, dtype = input_tensor.shape, input_tensor.dtype
            sparse = input_tensor.sparse
        elif batch_shape is None:
            check(shape is not None, "Input", "shape", shape, _EXPECTED)
            batch_shape = (batch_size, *_as_shape("shape", shape))
        elif shape is not None or batch_size is not None:
            other = "shape" if shape is not None else "batch_size"
            raise ValueError(
                f"Input: pass either `{other}` or `batch_shape`, not both."
            )
        self._batch_shape = _as_shape("batch_shape", batch_shape)
        self._input_dtype = dtypes.standardize_dtype(dtype)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), optional
        check(not self.ragged, "Input", "ragged", ragged, "False on JAX; pad instead")
        if input_tensor is None:
            input_tensor = KerasTensor(
                self._batch_shape, self._input_dtype, self.sparse, name=name
            )
        Node(self, (), {}, input_tensor)
        self.built = True

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """The shape of the input, batch axis included."""
        return self._batch_shape

    @property
    def dtype(self) -> str:
        """The dtype of the input."""
        return self._input_dtype

    def call(self) -> None:
        """There is nothing to compute."""
        return

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


_EXPECTED = "a tuple of lengths such as (28, 28, 1), None for unknown ones"


def _as_shape(name: str, shape: Any) -> tuple[int | None, ...]:
    good = isinstance(shape, Sequence) and not isinstance(shape, str)
    good = good and all(d is None or (_is_int(d) and d >= 0) for d in shape)
    check(good, "Input", name, shape, _EXPECTED)
    return tuple(None if d is None else int(d) for d in shape)


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _check_agreement(
    tensor: KerasTensor,
    shape: Any,
    batch_size: int | None,
    batch_shape: Any,
    dtype: Any,
    sparse: bool | None,
) -> None:
    """What is said beside a tensor must hold for it."""
    check(isinstance(tensor, KerasTensor), "Input", "tensor", tensor, "a KerasTensor")
    for name, given, own in (
        ("shape", None if shape is None else tuple(shape), tensor.shape[1:]),
        ("batch_size", batch_size, tensor.shape[0] if tensor.shape else None),
        ("batch_shape", batch_shape and tuple(batch_shape), tensor.shape),
        ("dtype", dtype and dtypes.standardize_dtype(dtype), tensor.dtype),
        ("sparse", sparse, tensor.sparse),
    ):
        if given is not None and given != own:
            raise ValueError(f"Input: `{name}` is {given}, but the tensor's is {own}.")


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
) -> KerasTensor:
    """A placeholder for one input of a model, of the given `shape` without the batch.

    Call layers on it, then give it and the result to `Model`.

    >>> Input((28, 28, 1)).shape
    (None, 28, 28, 1)
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        ragged=ragged,
        batch_shape=batch_shape,
        input_tensor=tensor,
        optional=optional,
        name=name,
    )
    return layer.output
