"""Layers of general use: `Identity`, `Masking`."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.layers.layer import Layer


class Identity(Layer):
    """The inputs as they are. Shapes: `s -> s`.

    >>> Identity()(jnp.ones((2, 3))).shape
    (2, 3)
    """

    supports_masking = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs


class Masking(Layer):
    """Mask the steps in which every feature equals `mask_value`; they become zero.

    Shapes: `(batch, steps, ..., features)`, unchanged; the mask is without `features`.

    >>> Masking(mask_value=9)(jnp.array([[[9.0, 9.0], [9.0, 1.0]]])).tolist()
    [[[0.0, 0.0], [9.0, 1.0]]]
    """

    supports_masking = True

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, with masked steps set to zero."""
        return jnp.where(self.compute_mask(inputs)[..., None], inputs, 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> jax.Array:
        """True for the steps with a feature other than `mask_value`."""
        return jnp.any(inputs != self.mask_value, axis=-1)
