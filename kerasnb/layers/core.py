"""Layers of general use: `Identity`, `Masking`, `Embedding`."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.layers.arguments import positive_int, reject_adaptation
from kerasnb.layers.layer import Layer
from kerasnb.layers.weighted import WeightedLayer


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

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> jax.Array:
        """True for the steps with a feature other than `mask_value`."""
        return jnp.any(inputs != self.mask_value, axis=-1)


class Embedding(WeightedLayer):
    """A trained vector for each of `input_dim` whole numbers.

    With `mask_zero` the number 0 stands for padding, and the output carries a mask.

    Shapes: `s -> s + (output_dim,)`; `embeddings` is `(input_dim, output_dim)`.

    >>> Embedding(1000, 8)(jnp.array([[3, 14, 15]])).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        # The values are saved as weights, not as an argument.
        self._config.pop("weights", None)
        self._config.pop("input_length", None)
        kwargs.pop("input_length", None)  # an argument of older Keras versions
        super().__init__(**kwargs)
        self._config.setdefault("activity_regularizer", None)
        self.input_dim = positive_int("Embedding", "input_dim", input_dim)
        self.output_dim = positive_int("Embedding", "output_dim", output_dim)
        reject_adaptation("Embedding", lora_rank, quantization_config)
        self.lora_rank, self.lora_alpha = lora_rank, lora_alpha
        self.quantization_config = quantization_config
        self._describe(
            "embeddings",
            embeddings_initializer,
            embeddings_regularizer,
            embeddings_constraint,
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False  # whole numbers beyond 2048 have no float16
        if weights is not None:
            self.build()
            one = isinstance(weights, list) and len(weights) == 1
            self.set_weights(weights if one else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Make the table of vectors."""
        if not self.built:
            self.embeddings = self._make(
                "embeddings", (self.input_dim, self.output_dim)
            )

    def call(self, inputs: jax.Array) -> jax.Array:
        """The vectors of the given numbers."""
        if inputs.dtype not in (jnp.int32, jnp.int64):
            inputs = inputs.astype("int32")
        vectors = jnp.take(self.embeddings.value, inputs, axis=0)
        return vectors.astype(self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True where the number is not 0, with `mask_zero`."""
        return inputs != 0 if self.mask_zero else None
