"""Pooling: one number for each window, or for the whole of each channel.

The number of spatial axes is the class attribute `rank`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.layers.arguments import choice, data_format_of, int_tuple
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.layers.windows import Ranked, WindowSpec, spatial_axes


class _Pooling(Ranked, Layer):
    """One number for each window, which `_pool` computes."""

    def __init__(
        self,
        pool_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        who = type(self).__name__
        self.pool_size = int_tuple(who, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = int_tuple(who, "strides", strides, self.rank)
        self.padding = choice(who, "padding", padding, ("valid", "same"))
        self.data_format = data_format_of(who, data_format)
        self.input_spec = WindowSpec(
            sizes=self.pool_size if self.padding == "valid" else (1,) * self.rank,
            why=f'pool_size={self.pool_size}; try padding="same" or a smaller one',
            data_format=self.data_format,
            ndim=self.rank + 2,
        )
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """One number for each window."""
        return self._pool(
            inputs,
            pool_size=self.pool_size,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
        )

    def _pool(self, inputs: jax.Array, **window: Any) -> jax.Array:
        raise NotImplementedError


class _MaxPooling(_Pooling):
    """The largest value of each window."""

    def __init__(
        self,
        pool_size: int | tuple[int, ...] = 2,
        strides: int | tuple[int, ...] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def _pool(self, inputs: jax.Array, **window: Any) -> jax.Array:
        return ops.max_pool(inputs, **window)


class MaxPooling1D(_MaxPooling):
    """The largest value in each window of steps; windows touch unless `strides` says.

    Shapes: `(batch, steps, channels) -> (batch, new_steps, channels)`.

    >>> MaxPooling1D(2)(jnp.array([[[1.0], [3.0], [2.0], [0.0]]])).tolist()
    [[[3.0], [2.0]]]
    """

    rank = 1


class MaxPooling2D(_MaxPooling, pool_size=(2, 2)):
    """The largest value in each window of pixels; windows touch unless `strides` says.

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    channels)`; channels second with `"channels_first"`. `"valid"` drops what does not
    fill a window.

    >>> MaxPooling2D()(jnp.ones((2, 28, 28, 8))).shape
    (2, 14, 14, 8)
    """

    rank = 2


class MaxPooling3D(_MaxPooling, pool_size=(2, 2, 2)):
    """The largest value in each window of a volume; windows touch unless told.

    Shapes: `(batch, a, b, c, channels) -> (batch, new_a, new_b, new_c, channels)`.

    >>> MaxPooling3D()(jnp.ones((1, 4, 4, 4, 2))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3


class _AveragePooling(_Pooling):
    """The mean of each window."""

    def _pool(self, inputs: jax.Array, **window: Any) -> jax.Array:
        return ops.average_pool(inputs, **window)


class AveragePooling1D(_AveragePooling):
    """The mean of each window of steps; windows touch unless `strides` says.

    Shapes: `(batch, steps, channels) -> (batch, new_steps, channels)`. With
    `padding="same"` the padding does not count.

    >>> AveragePooling1D(2)(jnp.array([[[1.0], [3.0], [2.0], [0.0]]])).tolist()
    [[[2.0], [1.0]]]
    """

    rank = 1


class AveragePooling2D(_AveragePooling):
    """The mean of each window of pixels; windows touch unless `strides` says.

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    channels)`. With `padding="same"` the padding does not count.

    >>> AveragePooling2D(2)(jnp.ones((2, 28, 28, 8))).shape
    (2, 14, 14, 8)
    """

    rank = 2


class AveragePooling3D(_AveragePooling):
    """The mean of each window of a volume; windows touch unless `strides` says.

    Shapes: `(batch, a, b, c, channels) -> (batch, new_a, new_b, new_c, channels)`.

    >>> AveragePooling3D(2)(jnp.ones((1, 4, 4, 4, 2))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3


class _GlobalPooling(Ranked, Layer):
    """One number for each channel, by the class attribute `reduce`."""

    reduce: ClassVar[Callable[..., jax.Array]]

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    @property
    def _axes(self) -> tuple[int, ...]:
        return spatial_axes(self.rank, self.data_format)

    def call(self, inputs: jax.Array) -> jax.Array:
        """One number for each channel."""
        return type(self).reduce(inputs, axis=self._axes, keepdims=self.keepdims)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean over all steps that the mask leaves.

    Shapes: `(batch, steps, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, channels)`.

    >>> GlobalAveragePooling1D()(jnp.array([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """

    rank = 1
    reduce = staticmethod(jnp.mean)
    supports_masking = True

    def call(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """The mean over the steps where `mask` is true."""
        if mask is None:
            return super().call(inputs)
        axis = self._axes[0]
        real = jnp.expand_dims(mask.astype(bool), 3 - axis)
        total = jnp.where(real, inputs, 0).sum(axis, keepdims=self.keepdims)
        return total / real.astype(inputs.dtype).sum(axis, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """There are no steps left to mask."""
        return


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel over height and width.

    Shapes: `(batch, height, width, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, 1, channels)`.

    >>> GlobalAveragePooling2D()(jnp.ones((2, 7, 7, 8))).shape
    (2, 8)
    """

    rank = 2
    reduce = staticmethod(jnp.mean)


class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of each channel over three spatial axes.

    Shapes: `(batch, a, b, c, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, 1, 1, channels)`.

    >>> GlobalAveragePooling3D()(jnp.ones((2, 3, 3, 3, 8))).shape
    (2, 8)
    """

    rank = 3
    reduce = staticmethod(jnp.mean)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value of each channel over all steps.

    Shapes: `(batch, steps, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, channels)`.

    >>> GlobalMaxPooling1D()(jnp.array([[[1.0], [3.0]]])).tolist()
    [[3.0]]
    """

    rank = 1
    reduce = staticmethod(jnp.max)


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value of each channel over height and width.

    Shapes: `(batch, height, width, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, 1, channels)`.

    >>> GlobalMaxPooling2D()(jnp.ones((2, 7, 7, 8))).shape
    (2, 8)
    """

    rank = 2
    reduce = staticmethod(jnp.max)


class GlobalMaxPooling3D(_GlobalPooling):
    """The largest value of each channel over three spatial axes.

    Shapes: `(batch, a, b, c, channels) -> (batch, channels)`; with `keepdims`
    `(batch, 1, 1, 1, channels)`.

    >>> GlobalMaxPooling3D()(jnp.ones((2, 3, 3, 3, 8))).shape
    (2, 8)
    """

    rank = 3
    reduce = staticmethod(jnp.max)


# --- As many windows as asked for -----------------------------------------------------


class _AdaptivePooling(Ranked, Layer):
    """One number for each of `output_size` windows, by the class attribute `reduce`."""

    reduce: ClassVar[Callable[..., jax.Array]]

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        if not isinstance(output_size, int | tuple | list):
            raise TypeError(
                f"{who}: `output_size` must be an integer or {self.rank} of them, not "
                f"{output_size!r}."
            )
        self.output_size = int_tuple(who, "output_size", output_size, self.rank)
        self.data_format = data_format_of(who, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """One number for each window."""
        return type(self).reduce(
            inputs, output_size=self.output_size, data_format=self.data_format
        )


class AdaptiveAveragePooling1D(_AdaptivePooling):
    """The mean of each of `output_size` equal windows of steps.

    Shapes: `(batch, steps, channels) -> (batch, output_size, channels)`; channels
    second with `"channels_first"`.

    >>> AdaptiveAveragePooling1D(3)(jnp.ones((2, 7, 3))).shape
    (2, 3, 3)
    """

    rank = 1
    reduce = staticmethod(ops.adaptive_average_pool)


class AdaptiveAveragePooling2D(_AdaptivePooling):
    """The mean of each of `output_size` equal windows of pixels.

    Shapes: `(batch, height, width, channels) -> (batch, *output_size, channels)`;
    channels second with `"channels_first"`.

    >>> AdaptiveAveragePooling2D((3, 2))(jnp.ones((2, 7, 6, 3))).shape
    (2, 3, 2, 3)
    """

    rank = 2
    reduce = staticmethod(ops.adaptive_average_pool)


class AdaptiveAveragePooling3D(_AdaptivePooling):
    """The mean of each of `output_size` equal windows of a volume.

    Shapes: `(batch, a, b, c, channels) -> (batch, *output_size, channels)`; channels
    second with `"channels_first"`.

    >>> AdaptiveAveragePooling3D(2)(jnp.ones((1, 3, 4, 5, 2))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3
    reduce = staticmethod(ops.adaptive_average_pool)


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """The largest value in each of `output_size` equal windows of steps.

    Shapes: `(batch, steps, channels) -> (batch, output_size, channels)`; channels
    second with `"channels_first"`.

    >>> AdaptiveMaxPooling1D(3)(jnp.ones((2, 7, 3))).shape
    (2, 3, 3)
    """

    rank = 1
    reduce = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The largest value in each of `output_size` equal windows of pixels.

    Shapes: `(batch, height, width, channels) -> (batch, *output_size, channels)`;
    channels second with `"channels_first"`.

    >>> AdaptiveMaxPooling2D((3, 2))(jnp.ones((2, 7, 6, 3))).shape
    (2, 3, 2, 3)
    """

    rank = 2
    reduce = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """The largest value in each of `output_size` equal windows of a volume.

    Shapes: `(batch, a, b, c, channels) -> (batch, *output_size, channels)`; channels
    second with `"channels_first"`.

    >>> AdaptiveMaxPooling3D(2)(jnp.ones((1, 3, 4, 5, 2))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3
    reduce = staticmethod(ops.adaptive_max_pool)
