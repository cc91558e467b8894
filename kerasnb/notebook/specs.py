"""What a model cell can tell by looking: the shape of an input, the loss that fits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasnb import losses
from kerasnb.core import dtypes, settings
from kerasnb.core.errors import show
from kerasnb.core.graph import KerasTensor, OpCall, node_of
from kerasnb.layers.layer import Layer

Shape = tuple[int | None, ...]

# --- Inputs ---------------------------------------------------------------------------


def input_spec(value: Any) -> tuple[Shape, str]:
    """Shape (without the batch) and dtype of the input that `value` stands for.

    `value` is a shape, or anything that holds samples: an array, a DataFrame, a dataset
    of batches `x` or `(x, y)`.

    >>> input_spec((28, 28, 1))
    ((28, 28, 1), 'float32')
    >>> input_spec(np.zeros((60, 28, 28), "uint8"))
    ((28, 28), 'uint8')
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    if _is_shape(value):
        return tuple(value), settings.floatx()
    if hasattr(value, "dtypes") and hasattr(value, "columns"):
        return (len(value.columns),), _frame_dtype(value)
    if isinstance(value, list):
        value = np.asarray(value)
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        value = _first_batch(value)
    shape = tuple(None if n is None else int(n) for n in value.shape[1:])
    # A plain column of numbers is a table of one column, as `fit` takes it too.
    return shape if len(value.shape) > 1 else (1,), _input_dtype(value.dtype)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        n is None or (isinstance(n, int | np.integer) and n >= 0) for n in value
    )


_KINDS = {"O": "objects", "U": "texts", "S": "texts", "M": "dates", "m": "durations"}


def _input_dtype(dtype: Any) -> str:
    """The dtype of a placeholder for data of `dtype`; all floats are `floatx()`."""
    name = getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]
    kind = np.dtype(dtype).kind if isinstance(dtype, np.dtype) else ""
    if kind in _KINDS:
        raise ValueError(
            f"The input holds {_KINDS[kind]} and models compute with numbers; turn "
            "them into numbers first."
        )
    return settings.floatx() if "float" in name else dtypes.canonical(name)


def _frame_dtype(frame: Any) -> str:
    text = [c for c, t in zip(frame.columns, frame.dtypes, strict=True) if _odd(t)]
    if text:
        raise ValueError(
            f"The column {text[0]!r} of the DataFrame holds no numbers; leave it out, "
            "or turn it into numbers first (pandas.get_dummies, pandas.factorize)."
        )
    names = (str(dtype).lower() for dtype in frame.dtypes)  # pandas has an Int64 too
    return _input_dtype(
        np.result_type(*("bool" if "bool" in name else name for name in names))
    )


def _odd(dtype: Any) -> bool:
    return not any(kind in str(dtype).lower() for kind in ("int", "float", "bool"))


def _first_batch(value: Any) -> Any:
    """Something with the shape and dtype of a batch that `value` yields."""
    if hasattr(value, "element_spec"):
        batch = value.element_spec
    elif hasattr(value, "__getitem__") and not isinstance(value, str | tuple | Mapping):
        batch = value[0]
    elif hasattr(value, "__iter__") and iter(value) is not value and _lazy(value):
        batch = next(iter(value))
    else:
        raise ValueError(
            f"An input is a shape such as 28,28,1, or data with one row for each "
            f"sample, not {show(value)}."
        )
    x = batch[0] if isinstance(batch, list | tuple) else batch
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return x
    raise ValueError(
        f"The batches of {type(value).__name__} hold {show(x)} where an array was "
        "expected; give the shape of the input instead."
    )


def _lazy(value: Any) -> bool:
    return not isinstance(value, str | list | tuple | set | Mapping)


# --- Losses ---------------------------------------------------------------------------

_SEE_THROUGH = ("Flatten", "Reshape", "Permute", "Dropout", "Identity", "RepeatVector")


def choose_loss(output: KerasTensor, target: Any = None) -> Any:
    """The loss that fits an output's activation, and the target if there is one.

    Softmax means classes, sigmoid yes or no, everything else a number to come close to.
    Whole-number targets for several linear units are classes too, by logits.
    """
    activation, units = last_activation(output), output.shape[-1]
    if target is not None:
        _check_target(output, activation, np.asarray(target))
    one_hot = target is not None and _is_one_hot(target, output.shape)
    if activation in ("softmax", "log_softmax"):
        if units == 1:
            raise ValueError(
                f"{activation} over a single unit is always the same; for two classes "
                'use Dense(1, activation="sigmoid"), for more one unit for each.'
            )
        if activation == "log_softmax":
            kind = "Categorical" if one_hot else "SparseCategorical"
            return _by_logits(f"{kind}Crossentropy")
        kind = "categorical" if one_hot else "sparse_categorical"
        return f"{kind}_crossentropy"
    if activation in ("sigmoid", "hard_sigmoid"):
        return "binary_crossentropy"
    if activation == "linear" and target is not None:
        target = np.asarray(target)
        if target.dtype == bool and units == 1:
            return _by_logits("BinaryCrossentropy")
        several = units is not None and units > 1 and not _same_shape(target, output)
        if target.dtype.kind in "iu" and several:
            return _by_logits("SparseCategoricalCrossentropy")
    return "mean_squared_error"


def _check_target(output: KerasTensor, activation: str, target: np.ndarray) -> None:
    """Refuse a target that an output cannot learn, whichever the loss."""
    shape, units = output.shape, output.shape[-1]
    if target.ndim < len(shape) - 1:
        raise ValueError(
            f"The output has the shape {shape}, an answer for each place, and the "
            f"target {target.shape}, one for each sample; put Flatten() or a global "
            "pooling before the last layers."
        )
    if target.dtype.kind in "OUS":
        raise ValueError(
            "The target holds texts; turn them into numbers first, as "
            "np.unique(y, return_inverse=True)[1] does."
        )
    many = target.ndim == len(shape) and target.shape[-1] > 1
    if many and activation.endswith("softmax") and target.shape[-1] != units:
        raise ValueError(
            f"The target has {target.shape[-1]} classes and the last layer {units} "
            f"units; give it {target.shape[-1]}."
        )
    if many or target.dtype.kind not in "iu" or not target.size or units is None:
        return
    low, high = int(target.min()), int(target.max())
    if activation.endswith("softmax") and units > 1 and (low < 0 or high >= units):
        raise ValueError(
            f"The labels of the target go from {low} to {high} and the last layer has "
            f"{units} units, for 0 to {units - 1}."
            + (f" Give it {high + 1}." if low >= 0 else "")
        )
    if activation.endswith("sigmoid") and units == 1 and (low < 0 or high > 1):
        raise ValueError(
            f"The labels of the target go from {low} to {high}, and a single sigmoid "
            "unit can say 0 or 1; for more classes use "
            f'Dense({max(high + 1, 3)}, activation="softmax").'
        )


def _by_logits(name: str) -> Any:
    return getattr(losses, name)(from_logits=True)


def _same_shape(target: np.ndarray, output: KerasTensor) -> bool:
    return target.ndim == len(output.shape) and target.shape[-1] == output.shape[-1]


def _is_one_hot(target: Any, shape: Shape) -> bool:
    """Whether a target has the shape of the output: a share for each class."""
    return len(np.shape(target)) == len(shape) and np.shape(target)[-1] == shape[-1]


def last_activation(tensor: KerasTensor) -> str:
    """The name of the activation that made a tensor, `"linear"` when there is none."""
    while tensor._keras_history is not None:
        operation, _, index = tensor._keras_history
        name = type(operation).__name__
        if isinstance(operation, OpCall):
            return operation.fn.__name__
        if name == "Softmax":
            return "softmax"
        inner = getattr(operation, "outputs", None)
        if isinstance(operation, Layer) and inner and hasattr(operation, "layers"):
            tensor = inner[index]
        elif hasattr(operation, "activation"):
            return getattr(operation.activation, "__name__", "linear")
        elif name in _SEE_THROUGH and node_of(tensor).input_tensors:
            tensor = node_of(tensor).input_tensors[0]
        else:
            return "linear"
    return "linear"
