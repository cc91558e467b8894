"""Layers that are one matrix product: `Dense`."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import activations
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int, reject_adaptation
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.weighted import WeightedLayer


class Dense(WeightedLayer):
    """Affine map of the last axis, `y = activation(x · kernel + bias)`.

    Shapes: `(..., d) -> (..., units)`; `kernel` is `(d, units)`, `bias` is `(units,)`.

    >>> Dense(4, activation="relu")(jnp.ones((2, 3))).shape
    (2, 4)
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_int("Dense", "units", units)
        reject_adaptation("Dense", lora_rank, quantization_config)
        self.lora_rank, self.lora_alpha = lora_rank, lora_alpha
        self.quantization_config = quantization_config
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self._describe(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.bias: Variable | None = None
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: tuple) -> None:
        """Make `kernel` and `bias` for inputs whose last axis is known."""
        width = input_shape[-1]
        if width is None:
            raise ValueError(
                f"{self._who()} needs inputs whose last axis has a known length and "
                f"got the shape {tuple(input_shape)}; give `Input` that length."
            )
        self.kernel = self._make("kernel", (width, self.units))
        if self.use_bias:
            self.bias = self._make("bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: width})

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(inputs · kernel + bias)`."""
        y = jnp.matmul(inputs, self.kernel.value)
        return self.activation(y if self.bias is None else y + self.bias.value)
