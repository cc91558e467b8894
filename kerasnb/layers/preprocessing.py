"""Layers that prepare data."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import settings
from kerasnb.layers.layer import Layer


class Rescaling(Layer):
    """`x · scale + offset`, in training and in use; `Rescaling(1 / 255)` for pixels.

    Shapes: `s -> s`; integers become floats.

    >>> Rescaling(1 / 2, offset=-1)(jnp.array([0, 4])).tolist()
    [-1.0, 1.0]
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs as floats, scaled and shifted."""
        dtype = self.compute_dtype
        scale = jnp.asarray(self.scale, dtype)
        if scale.ndim and settings.image_data_format() == "channels_first":
            # One number for each channel of (channels, height, width).
            scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
        return inputs.astype(dtype) * scale + jnp.asarray(self.offset, dtype)
