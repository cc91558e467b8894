"""Layers that make space larger or smaller: padding, cropping, up-sampling.

The number of spatial axes is the class attribute `rank`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core.errors import check
from kerasnb.layers.arguments import choice, data_format_of, int_tuple
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.layers.windows import Ranked, WindowSpec, spatial_axes

Pair = tuple[int, int]


class _Margins(Ranked, Layer):
    """A layer with a pair of numbers, before and after, for each spatial axis."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _pairs(self, name: str, value: Any) -> Any:
        """A number, one number for each axis or a pair for each axis, as pairs."""
        who = type(self).__name__
        if self.rank == 1:
            return int_tuple(who, name, value, 2, minimum=0)
        if isinstance(value, int):
            value = (value,) * self.rank
        good = isinstance(value, Sequence) and len(value) == self.rank
        check(good, who, name, value, f"an integer or {self.rank} integers or pairs")
        return tuple(int_tuple(who, name, pair, 2, minimum=0) for pair in value)

    def _by_axis(self, margins: Any) -> list[tuple[int, Pair]]:
        pairs = (margins,) if self.rank == 1 else margins
        axes = spatial_axes(self.rank, self.data_format)
        return list(zip(axes, pairs, strict=True))


class _ZeroPadding(_Margins):
    """Zeros around the space."""

    def __init__(
        self, padding: Any = 1, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.padding = self._pairs("padding", padding)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs with zeros around them."""
        widths = [(0, 0)] * inputs.ndim
        for axis, pair in self._by_axis(self.padding):
            widths[axis] = pair
        return jnp.pad(inputs, widths)


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps: `padding` on both sides, or a pair.

    Shapes: `(batch, steps, channels) -> (batch, before + steps + after, channels)`.

    >>> ZeroPadding1D((1, 2))(jnp.ones((2, 3, 4))).shape
    (2, 6, 4)
    """

    rank = 1


class ZeroPadding2D(_ZeroPadding, padding=(1, 1)):
    """Zeros around images: one number, one for each axis, or a pair for each axis.

    Shapes: `(batch, height, width, channels) -> (batch, top + height + bottom, left +
    width + right, channels)`; channels second with `"channels_first"`.

    >>> ZeroPadding2D(((1, 0), (2, 2)))(jnp.ones((2, 3, 4, 1))).shape
    (2, 4, 8, 1)
    """

    rank = 2


class ZeroPadding3D(_ZeroPadding, padding=((1, 1), (1, 1), (1, 1))):
    """Zeros around volumes: one number, one for each axis, or a pair for each axis.

    Shapes: `(batch, a, b, c, channels)`, with both margins added to `a`, `b` and `c`.

    >>> ZeroPadding3D(1)(jnp.ones((2, 3, 3, 3, 1))).shape
    (2, 5, 5, 5, 1)
    """

    rank = 3


class _Cropping(_Margins):
    """The space without its margins."""

    def __init__(
        self,
        cropping: Any = ((0, 0), (0, 0)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.cropping = self._pairs("cropping", cropping)
        self.input_spec = WindowSpec(
            sizes=tuple(sum(pair) + 1 for _, pair in self._by_axis(self.cropping)),
            why=f"cropping={self.cropping}",
            data_format=self.data_format,
            ndim=self.rank + 2,
        )

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs without their margins."""
        for axis, (before, after) in self._by_axis(self.cropping):
            end = inputs.shape[axis] - after
            inputs = jax.lax.slice_in_dim(inputs, before, end, axis=axis)
        return inputs


class Cropping1D(_Cropping):
    """The steps without some at the beginning and the end.

    Shapes: `(batch, steps, channels) -> (batch, steps - before - after, channels)`.

    >>> Cropping1D((1, 2))(jnp.ones((2, 6, 4))).shape
    (2, 3, 4)
    """

    rank = 1

    def __init__(self, cropping: int | Pair = (1, 1), **kwargs: Any) -> None:
        # Keras' Cropping1D knows channels last only.
        super().__init__(cropping, "channels_last", **kwargs)


class Cropping2D(_Cropping):
    """Images without their margins: a number, one for each axis, or a pair for each.

    Shapes: `(batch, height, width, channels) -> (batch, height - top - bottom, width -
    left - right, channels)`; channels second with `"channels_first"`.

    >>> Cropping2D(((1, 0), (2, 1)))(jnp.ones((2, 5, 6, 1))).shape
    (2, 4, 3, 1)
    """

    rank = 2


class Cropping3D(_Cropping, cropping=((1, 1), (1, 1), (1, 1))):
    """Volumes without their margins: a number, one for each axis, or a pair for each.

    Shapes: `(batch, a, b, c, channels)`, with both margins taken off `a`, `b` and `c`.

    >>> Cropping3D(1)(jnp.ones((2, 5, 5, 5, 1))).shape
    (2, 3, 3, 3, 1)
    """

    rank = 3


def _repeat(x: jax.Array, size: Sequence[int], axes: Sequence[int]) -> jax.Array:
    for axis, times in zip(axes, size, strict=True):
        x = jnp.repeat(x, times, axis=axis)
    return x


class UpSampling1D(Layer):
    """Each step `size` times. Shapes: `(batch, steps, d) -> (batch, size·steps, d)`.

    >>> UpSampling1D(3)(jnp.ones((2, 4, 5))).shape
    (2, 12, 5)
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(f"UpSampling1D: `size` must be an integer, not {size!r}.")
        check(size > 0, "UpSampling1D", "size", size, "a positive integer")
        self.size = size
        self.input_spec = InputSpec(ndim=3)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs with their steps repeated."""
        return _repeat(inputs, (self.size,), (1,))


_INTERPOLATIONS = {
    "nearest": None,
    "bilinear": "linear",
    "bicubic": "cubic",
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
}


class UpSampling2D(Layer):
    """Images `size` times as high and wide, by repeated or by interpolated pixels.

    Shapes: `(batch, height, width, channels) -> (batch, size·height, size·width,
    channels)`; channels second with `"channels_first"`.

    >>> UpSampling2D((1, 2), interpolation="bilinear")(jnp.ones((2, 3, 3, 1))).shape
    (2, 3, 6, 1)
    """

    def __init__(
        self,
        size: int | Pair = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = "UpSampling2D"
        self.size = int_tuple(who, "size", size, 2)
        self.data_format = data_format_of(who, data_format)
        self.interpolation = choice(
            who, "interpolation", interpolation, tuple(_INTERPOLATIONS)
        )
        self.input_spec = InputSpec(ndim=4)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, enlarged."""
        axes = spatial_axes(2, self.data_format)
        method = _INTERPOLATIONS[self.interpolation]
        if method is None:
            return _repeat(inputs, self.size, axes)
        shape = list(inputs.shape)
        for axis, times in zip(axes, self.size, strict=True):
            shape[axis] *= times
        return jax.image.resize(inputs, shape, method, antialias=False)


class UpSampling3D(Layer):
    """Volumes `size` times as large along each axis, by repeated elements.

    Shapes: `(batch, a, b, c, channels) -> (batch, size·a, size·b, size·c, channels)`;
    channels second with `"channels_first"`.

    >>> UpSampling3D(2)(jnp.ones((1, 2, 2, 2, 3))).shape
    (1, 4, 4, 4, 3)
    """

    def __init__(
        self,
        size: int | tuple[int, int, int] = (2, 2, 2),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = int_tuple("UpSampling3D", "size", size, 3)
        self.data_format = data_format_of("UpSampling3D", data_format)
        self.input_spec = InputSpec(ndim=5)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, enlarged."""
        return _repeat(inputs, self.size, spatial_axes(3, self.data_format))
