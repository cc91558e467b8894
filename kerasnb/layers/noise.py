"""Layers that disturb their inputs while training and pass them on otherwise."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import random, regularizers
from kerasnb.core.errors import check
from kerasnb.layers.arguments import data_format_of, share
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.random import SeedGenerator


class _Noise(Layer):
    """A disturbance of a given strength, from a seed of its own."""

    supports_masking = True

    def __init__(self, strength: float, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        # As in Keras, a layer that does nothing draws no seed.
        if strength > 0:
            self.seed_generator = SeedGenerator(seed)
        self.built = True

    def _disturbs(self, training: bool | None) -> bool:
        return bool(training) and hasattr(self, "seed_generator")


class Dropout(_Noise):
    """Zero a share `rate` of the inputs in training, `y = x · kept / (1 - rate)`.

    `noise_shape` may hold 1 for axes that share one decision and None for the input's
    own length. Shapes: `s -> s`. (Srivastava et al., 2014)

    >>> Dropout(0.5)(jnp.ones((2, 3)), training=True).shape
    (2, 3)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Iterable[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        share("Dropout", "rate", rate)
        super().__init__(rate, seed, **kwargs)
        self.rate = rate
        self.noise_shape = _noise_shape("Dropout", noise_shape)

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The inputs, disturbed in training."""
        if not self._disturbs(training):
            return inputs
        return random.dropout(
            inputs, self.rate, noise_shape=self.noise_shape, seed=self.seed_generator
        )


def _noise_shape(who: str, value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    good = isinstance(value, Iterable) and not isinstance(value, str)
    shape = tuple(value) if good else ()
    good = good and all(d is None or (isinstance(d, int) and d > 0) for d in shape)
    check(good, who, "noise_shape", value, "a tuple of positive integers and None")
    return shape


class _SpatialDropout(_Noise):
    """Dropout of whole feature maps, for inputs with `rank` spatial axes."""

    rank: int

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        share(type(self).__name__, "rate", rate)
        super().__init__(rate, seed, name=name, dtype=dtype)
        self.rate = rate
        self.data_format = "channels_last"
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The inputs, disturbed in training."""
        if not self._disturbs(training):
            return inputs
        batch, ones = inputs.shape[0], (1,) * self.rank
        shape = (batch, *ones, inputs.shape[-1])
        if self.data_format == "channels_first":
            shape = (batch, inputs.shape[1], *ones)
        return random.dropout(
            inputs, self.rate, noise_shape=shape, seed=self.seed_generator
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; Keras keeps no `trainable` for these layers."""
        config = super().get_config()
        del config["trainable"]
        config["dtype"] = self.dtype
        return config


class SpatialDropout1D(_SpatialDropout):
    """Zero whole feature maps of sequences in training (Tompson et al., 2014).

    Shapes: `(batch, steps, channels)`, unchanged.

    >>> SpatialDropout1D(0.5)(jnp.ones((2, 3, 4))).shape
    (2, 3, 4)
    """

    rank = 1


class _SpatialDropoutImage(_SpatialDropout):
    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.data_format = data_format_of(type(self).__name__, data_format)


class SpatialDropout2D(_SpatialDropoutImage):
    """Zero whole feature maps of images in training (Tompson et al., 2014).

    Shapes: `(batch, height, width, channels)`, unchanged; channels second with
    `"channels_first"`.

    >>> SpatialDropout2D(0.5)(jnp.ones((2, 3, 3, 4))).shape
    (2, 3, 3, 4)
    """

    rank = 2


class SpatialDropout3D(_SpatialDropoutImage):
    """Zero whole feature maps of volumes in training (Tompson et al., 2014).

    Shapes: `(batch, a, b, c, channels)`, unchanged; channels second with
    `"channels_first"`.

    >>> SpatialDropout3D(0.5)(jnp.ones((2, 3, 3, 3, 4))).shape
    (2, 3, 3, 3, 4)
    """

    rank = 3


class GaussianDropout(_Noise):
    """Multiply by noise around one in training, `y = x · N(1, rate / (1 - rate))`.

    Shapes: `s -> s`. (Srivastava et al., 2014)

    >>> GaussianDropout(0.2)(jnp.ones((2, 3)), training=True).shape
    (2, 3)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        share("GaussianDropout", "rate", rate, below_one=True)
        super().__init__(rate, seed, **kwargs)
        self.rate = rate

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The inputs, disturbed in training."""
        if not self._disturbs(training):
            return inputs
        return inputs * random.normal(
            inputs.shape,
            mean=1.0,
            stddev=math.sqrt(self.rate / (1.0 - self.rate)),
            dtype=self.compute_dtype,
            seed=self.seed_generator,
        )


class GaussianNoise(_Noise):
    """Add noise in training, `y = x + N(0, stddev²)`. Shapes: `s -> s`.

    >>> GaussianNoise(0.1)(jnp.ones((2, 3)), training=True).shape
    (2, 3)
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        share("GaussianNoise", "stddev", stddev)
        super().__init__(stddev, seed, **kwargs)
        self.stddev = stddev

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The inputs, disturbed in training."""
        if not self._disturbs(training):
            return inputs
        return inputs + random.normal(
            inputs.shape,
            stddev=self.stddev,
            dtype=self.compute_dtype,
            seed=self.seed_generator,
        )


class AlphaDropout(_Noise):
    """Dropout that keeps the mean and variance of what `selu` gives.

        y = a · (x where kept, else -α·λ) + b,   α ≈ 1.6733, λ ≈ 1.0507 of selu

    with `a` and `b` such that inputs of mean 0 and variance 1 keep both; in training
    only. `noise_shape` as in `Dropout`. Shapes: `s -> s`. (Klambauer et al., 2017)

    >>> AlphaDropout(0.5)(jnp.ones((2, 3)), training=True).shape
    (2, 3)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Iterable[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        share("AlphaDropout", "rate", rate, below_one=True)
        super().__init__(rate, seed, **kwargs)
        self.rate = rate
        self.noise_shape = _noise_shape("AlphaDropout", noise_shape)

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The inputs, disturbed in training."""
        if not self._disturbs(training):
            return inputs
        sizes = self.noise_shape or (None,) * inputs.ndim
        shape = [
            own if size is None else size
            for own, size in zip(inputs.shape, sizes, strict=True)
        ]
        kept = random.uniform(shape, seed=self.seed_generator) >= self.rate
        low = -_SELU_ALPHA * _SELU_SCALE
        a = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        b = -a * low * self.rate
        return jnp.where(kept, a * inputs + b, jnp.asarray(a * low + b, inputs.dtype))


_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


class ActivityRegularization(Layer):
    """The inputs unchanged; `l1 · Σ|x| + l2 · Σx²` for each sample joins the loss.

    Shapes: `s -> s`.

    >>> layer = ActivityRegularization(l2=0.5)
    >>> y = layer(jnp.array([[2.0]]))
    >>> [float(loss) for loss in layer.losses]
    [2.0]
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the regularizer follows from them."""
        config = super().get_config()
        del config["activity_regularizer"]
        return config
