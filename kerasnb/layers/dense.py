"""Layers that are one matrix product: `Dense`."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import activations
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.lora import adapted_weight
from kerasnb.layers.quantized import Layout, QuantizedProduct


class Dense(QuantizedProduct):
    """Affine map of the last axis, `y = activation(x · kernel + bias)`.

    With `lora_rank` the kernel is frozen and a product of two small matrices is trained
    beside it; `enable_lora` does the same later. `quantize` and the dtypes
    `"int8_from_float32"`, `"int4_from_float32"`, `"float8_from_float32"`, ... keep the
    kernel in few bits.

    Shapes: `(..., d) -> (..., units)`; `kernel` is `(d, units)`, `bias` is `(units,)`.

    >>> Dense(4, activation="relu")(jnp.ones((2, 3))).shape
    (2, 4)
    """

    supports_masking = True
    kernel = adapted_weight("kernel")

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
        super().__init__(
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.units = positive_int("Dense", "units", units)
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
        self._width = width
        self._make_adapted((width, self.units))
        if self.use_bias:
            self.bias = self._make("bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: width})
        self._start_lora()

    def _product(self, inputs: Any, kernel: Any) -> jax.Array:
        whole = "int32" if inputs.dtype == "int8" else None
        return jnp.matmul(inputs, kernel, preferred_element_type=whole)

    def _layout(self, name: str) -> Layout:
        return Layout((self._width, self.units), axes=(0,), axis=0)
