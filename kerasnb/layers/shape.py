"""Layers that change the shape and keep the values."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor
from kerasnb.layers.arguments import data_format_of, positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer


class Flatten(Layer):
    """All axes but the batch as one, channels last.

    Shapes: `(batch, ...) -> (batch, product of the others)`; `(batch,) -> (batch, 1)`.

    >>> Flatten()(jnp.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of("Flatten", data_format)
        self.input_spec = InputSpec(min_ndim=1)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs with one axis beside the batch."""
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


class Reshape(Layer):
    """Another shape for each sample; one length may be -1, "whatever is left".

    Shapes: `(batch, ...) -> (batch, *target_shape)`.

    >>> Reshape((2, -1))(jnp.ones((5, 12))).shape
    (5, 2, 6)
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        good = isinstance(target_shape, Sequence) and not isinstance(target_shape, str)
        target = tuple(target_shape) if good else ()
        good = good and all(isinstance(d, int) and d >= -1 for d in target)
        check(
            good and target.count(-1) <= 1,
            "Reshape",
            "target_shape",
            target_shape,
            "a tuple of lengths, at most one of them -1",
        )
        self.target_shape = target
        self.built = True

    def _resolve(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The target shape with -1 replaced, None where it cannot be known."""
        target = self.target_shape
        if None in shape:
            return tuple(None if d == -1 else d for d in target)
        size = math.prod(d or 0 for d in shape)
        rest = math.prod(d for d in target if d != -1)
        fits = size == rest if -1 not in target else rest and size % rest == 0
        if not fits:
            raise ValueError(
                f"{self._who()} cannot turn samples of shape {tuple(shape)}, {size} "
                f"values, into the shape {target}."
            )
        return tuple(size // rest if d == -1 else d for d in target)

    def compute_output_spec(self, inputs: KerasTensor) -> KerasTensor:
        """A placeholder of the target shape."""
        shape = (inputs.shape[0], *self._resolve(inputs.shape[1:]))
        cast = self.autocast and dtypes.is_float(inputs.dtype)
        return KerasTensor(shape, self.compute_dtype if cast else inputs.dtype)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs in the target shape."""
        return inputs.reshape(inputs.shape[0], *self._resolve(inputs.shape[1:]))


class Permute(Layer):
    """The axes of each sample in another order, counted from 1 after the batch.

    Shapes: `(batch, a, b) -> (batch, b, a)` for `dims=(2, 1)`.

    >>> Permute((2, 1))(jnp.ones((5, 10, 64))).shape
    (5, 64, 10)
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dims = tuple(dims)
        check(
            sorted(dims) == list(range(1, len(dims) + 1)),
            "Permute",
            "dims",
            dims,
            "the numbers from 1 to the number of axes, batch aside, in some order",
        )
        self.dims = dims
        self.input_spec = InputSpec(ndim=len(dims) + 1)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs with their axes in the new order."""
        return jnp.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Each vector `n` times in a row. Shapes: `(batch, d) -> (batch, n, d)`.

    >>> RepeatVector(3)(jnp.ones((2, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int):
            raise TypeError(f"RepeatVector: `n` must be an integer, not {n!r}.")
        self.n = positive_int("RepeatVector", "n", n)
        self.input_spec = InputSpec(ndim=2)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, repeated along a new axis."""
        return jnp.repeat(inputs[:, None, :], self.n, axis=1)
