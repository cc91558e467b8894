"""Layers whose weights are kept in few bits.

A `Layout` says how one weight becomes whole numbers and back: along which axes it
shares a scale, and which neighbours share a byte. `QuantizedLayer` keeps such weights
and `QuantizedProduct` multiplies with them; `Dense`, `EinsumDense` and the embeddings
only name their layouts and their product.

    int8      weight = q / scale, and products of whole numbers where inputs are too
    int4      weight = q / scale, or (q - zero) · scale for each block
    float8    weights stay floats; products are rounded to 8-bit floats in training
"""

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import quantizers
from kerasnb.core import registry
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.dtype_policies import QuantizedFloat8DTypePolicy
from kerasnb.layers.layer import Layer
from kerasnb.layers.lora import LowRankLayer
from kerasnb.quantizers import (
    AbsMaxQuantizer,
    Int4QuantizationConfig,
    QuantizationConfig,
    resolve_config,
)

Parts = dict[str, Any]  # of a weight: "" the numbers, "_scale", "_zero"


@dataclass(frozen=True)
class Layout:
    """How a weight of this shape is kept in whole numbers.

    In 8 bits `axes` share a scale. In 4 bits the weight is seen as a `matrix`; blocks
    run along its `axis`, and neighbours along `pack` share a byte.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    axis: int
    pack: int = -1
    matrix: tuple[int, int] | None = None
    zero_dtype: str | None = "int8"
    align: Callable[[Any], Any] | None = None
    back: Callable[[Any], Any] | None = None

    def encode(
        self, weight: Any, mode: str, block: int | None, quantizer: Any
    ) -> Parts:
        """The weight as whole numbers and what it takes to read them."""
        if mode == "int8":
            quantizer = quantizer or AbsMaxQuantizer(axis=self.axes)
            q, scale = quantizer(weight, to_numpy=True)
            align = self.align or partial(jnp.squeeze, axis=self.axes)
            return {"": q, "_scale": align(scale)}
        matrix = np.asarray(weight).reshape(self.matrix or self.shape)
        if block is None:
            quantizer = quantizer or AbsMaxQuantizer(self.axis, (-8, 7))
            q, scale = quantizer(matrix, to_numpy=True)
            parts: Parts = {"_scale": jnp.squeeze(scale, self.axis)}
        else:
            turn = np.transpose if self.axis else np.asarray
            q, scale, zero = (
                turn(part)
                for part in quantizers.abs_max_quantize_grouped_with_zero_point(
                    turn(matrix), block, to_numpy=True
                )
            )
            parts = {"_scale": scale, "_zero": zero}
        return {"": quantizers.pack_int4(q, self.pack)[0], **parts}

    def numbers(self, parts: Parts, mode: str | None) -> jax.Array:
        """The whole numbers, unpacked."""
        if mode == "int8":
            return parts[""]
        length = (self.matrix or self.shape)[self.pack]
        return quantizers.unpack_int4(parts[""], length, self.pack)

    def decode(
        self, parts: Parts, mode: str | None, dtype: str, group: Any = None
    ) -> Any:
        """The weight in floats; with `axis=-1` also some of its rows."""
        q, scale = self.numbers(parts, mode), parts["_scale"]
        if "_zero" in parts:
            zero = parts["_zero"]
            weight = quantizers.dequantize_groups(q, scale, zero, group, self.axis)
        elif mode == "int8" and self.back:
            weight = q.astype(dtype) / self.back(scale)
        else:
            weight = q.astype(dtype) / jnp.expand_dims(scale, self.axis)
        weight = weight.astype(dtype)
        return weight if self.matrix is None else weight.reshape(self.shape)

    def variables(self, mode: str, block: int | None) -> dict[str, tuple]:
        """Shape, dtype and initializer of each variable of the encoded weight."""
        if mode == "int8":
            sizes = [1 if i in self.axes else n for i, n in enumerate(self.shape)]
            align = self.align or partial(jnp.squeeze, axis=self.axes)
            scale = jax.eval_shape(align, jax.ShapeDtypeStruct(sizes, "float32")).shape
            return {"": (self.shape, "int8", "zeros"), "_scale": (scale, None, "ones")}
        matrix = list(self.matrix or self.shape)
        packed, scales = list(matrix), list(matrix)
        packed[self.pack] = (matrix[self.pack] + 1) // 2
        if block is None:
            del scales[self.axis]
        else:
            scales[self.axis] = math.ceil(matrix[self.axis] / block)
        kept = {"": (packed, "int8", "zeros"), "_scale": (scales, None, "ones")}
        if block is not None:
            kept["_zero"] = (scales, self.zero_dtype, "zeros")
        return kept


class QuantizedLayer(LowRankLayer):
    """A layer that can keep its weights in few bits.

    A subclass gives the layout of each of its `_coded` weights, and makes the adapted
    one by `_make_adapted`.
    """

    quantization_modes: ClassVar[tuple[str, ...]] = ("int8", "int4")
    # What becomes of the inputs where no configuration says it.
    _input_quantizers: ClassVar[dict[str, Any]] = {"int8": AbsMaxQuantizer()}
    inputs_quantizer: Any = None

    def __init__(
        self, *args: Any, quantization_config: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        known = isinstance(quantization_config, QuantizationConfig | None)
        expected = "a QuantizationConfig or None"
        who, argument = type(self).__name__, "quantization_config"
        check(known, who, argument, quantization_config, expected)
        self.quantization_config = quantization_config
        self._config.setdefault("quantization_config", None)

    def _layout(self, name: str) -> Layout:
        raise NotImplementedError

    @property
    def _coded(self) -> tuple[str, ...]:
        """The names of the weights kept in few bits, the adapted one first."""
        return (self.adapted,)

    def _attribute(self, name: str, part: str = "") -> str:
        return f"_{name}" if name == self.adapted and not part else name + part

    def _parts(self, name: str) -> Parts:
        """The values of the variables that a weight is kept in."""
        kept = ((part, self._attribute(name, part)) for part in _PARTS["int4"])
        return {p: getattr(self, a).value for p, a in kept if hasattr(self, a)}

    def _decoded(self, name: str, parts: Parts | None = None) -> jax.Array:
        """A weight in floats."""
        mode, group = self.quantization_mode, getattr(self, "g_idx", None)
        parts = self._parts(name) if parts is None else parts
        group = None if group is None else group.value
        return self._layout(name).decode(parts, mode, self.compute_dtype, group)

    def _read_adapted(self) -> Any:
        mode = self.quantization_mode
        if mode in (None, "float8"):
            return super()._read_adapted()
        if self.lora_enabled:
            return self._decoded(self.adapted) + self._addition()
        if mode == "int8":
            return self._stored()
        layout = self._layout(self.adapted)
        return layout.numbers(self._parts(self.adapted), mode).reshape(layout.shape)

    def _adapted_shape(self) -> tuple[int, ...]:
        return self._layout(self.adapted).shape

    # --- Building ---------------------------------------------------------------------

    def _make_adapted(self, shape: tuple[int, ...], initializer: Any = None) -> None:
        """Make the adapted weight in the form that the dtype policy asks for."""
        mode = self.quantization_mode
        if mode is not None:
            self._build_coded(mode, self.quantization_config)
        if mode in (None, "float8"):
            weight = self._make(self.adapted, shape, initializer=initializer)
            setattr(self, f"_{self.adapted}", weight)

    def _build_coded(self, mode: str, config: Any) -> None:
        """Make the variables that a mode needs."""
        self._check_mode(mode)
        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(
            config, self._input_quantizers.get(mode)
        )
        self._build_parts(mode, self._block(config))
        self._is_quantized = True

    def _build_parts(self, mode: str, block: int | None) -> None:
        for name in self._coded:
            layout = self._layout(name)
            for part, (shape, dtype, start) in layout.variables(mode, block).items():
                variable = self.add_weight(
                    shape, start, dtype, trainable=False, name=name + part
                )
                setattr(self, self._attribute(name, part), variable)
            if block is not None and name == self.adapted:
                matrix = layout.matrix or layout.shape
                self.g_idx = self.add_weight(
                    (matrix[layout.axis],),
                    lambda shape, dtype: jnp.arange(shape[0], dtype=dtype) // block,
                    "float32",
                    trainable=False,
                    name="g_idx",
                )

    def _block(self, config: Any) -> int | None:
        """How many neighbours share a scale in 4 bits; None for all."""
        policy = self._dtype_policy.at(self._path)
        source = config if isinstance(config, Int4QuantizationConfig) else policy
        size = getattr(source, "block_size", None)
        return None if size == -1 else size

    # --- From floats to few bits ------------------------------------------------------

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Keep the weights in few bits from now on.

        `mode` is one of `quantization_modes`; a `config` from `keras.quantizers` says
        more. With `type_check`, subclasses from outside of this package refuse.
        """
        if isinstance(type_check, str | QuantizationConfig):
            type_check, config = True, type_check  # layer.quantize("int8", config)
        config = resolve_config(self._who(), mode, config)
        self._check_quantizable(config.mode, type_check)
        mode, self.quantization_config = config.mode, config
        block = self._block(config)
        encoded = {}
        if mode != "float8":
            for name in self._coded:
                attribute = self._attribute(name)
                encoded[name] = self._layout(name).encode(
                    getattr(self, attribute).raw, mode, block, config.weight_quantizer
                )
                self._forget(attribute)
        self._build_coded(mode, config)
        for name, parts in encoded.items():
            for part, value in parts.items():
                getattr(self, self._attribute(name, part)).assign(value)
        if self.quantization_mode is None:
            name = f"int4/{block or -1}" if mode == "int4" else mode
            source = self._dtype_policy.at(self._path).name
            self.dtype_policy = f"{name}_from_{source}"

    def _check_mode(self, mode: str) -> None:
        if mode not in self.quantization_modes:
            known = ", ".join(f'"{known}"' for known in self.quantization_modes)
            raise NotImplementedError(
                f'{self._who()} cannot be quantised in mode "{mode}"; its modes are '
                f"{known}."
            )

    def _check_quantizable(self, mode: str, type_check: bool) -> None:
        who = self._who()
        if type_check and not registry.is_library(type(self)):
            raise NotImplementedError(
                f"{who} is a class of its own and not quantised like the layer it "
                "derives from, unless with type_check=False."
            )
        self._check_mode(mode)
        if not self.built:
            raise ValueError(f"{who} must be built before quantize: call it first.")
        if self._is_quantized:
            raise ValueError(
                f"{who} is quantised already, with the dtype policy "
                f'"{self.dtype_policy.name}".'
            )
        if mode == "int8" and self.compute_dtype == "float16":
            raise ValueError(
                f"{who}: int8 weights do not work with float16; give the layer the "
                'dtype "mixed_bfloat16" or "float32".'
            )
        if mode == "float8" and self.lora_enabled:
            raise NotImplementedError(f"{who}: LoRA does not work in float8.")

    def _forget(self, attribute: str) -> None:
        """Let go of a variable."""
        gone = self.__dict__.pop(attribute)
        for held in (self._trainable_variables, self._non_trainable_variables):
            held[:] = [variable for variable in held if variable is not gone]

    # --- Files ------------------------------------------------------------------------

    @property
    def variable_serialization_spec(self) -> dict[str | None, list[str]]:
        """For each mode the names of the variables that files hold, in their order."""
        first, *others = self._coded
        plain = [first] + ["bias"] * hasattr(self, "bias")
        spec: dict[str | None, list[str]] = {None: plain + others}
        for mode in self.quantization_modes:
            names = list(plain)
            if mode == "float8":
                names += _FLOAT8
            else:
                names += [first + part for part in _PARTS[mode][1:]]
                names += ["g_idx"] * (mode == "int4")
            names += [name + part for name in others for part in _PARTS.get(mode, [""])]
            spec[mode] = names
        return spec

    def _saved_variables(self) -> list[Variable]:
        own, mode = super()._saved_variables(), self.quantization_mode
        if mode is None:
            return own
        names = self.variable_serialization_spec[mode]
        listed = [getattr(self, self._attribute(name), None) for name in names]
        named = {id(v): v for v in listed if v is not None}
        return list((named | {id(v): v for v in own}).values())

    def _merged(self) -> dict[Variable, Any]:
        mode, name = self.quantization_mode, self.adapted
        if mode is None:
            return super()._merged()
        weight = self._decoded(name) + self._addition()
        block = self._block(self.quantization_config)
        parts = self._layout(name).encode(weight, mode, block, None)
        return {getattr(self, self._attribute(name, p)): v for p, v in parts.items()}


_PARTS = {"int8": ("", "_scale"), "int4": ("", "_scale", "_zero")}
_FLOAT8 = [
    f"{array}_{kind}"
    for array in ("inputs", "kernel", "outputs_grad")
    for kind in ("scale", "amax_history")
]


# --- Products -------------------------------------------------------------------------


class QuantizedProduct(QuantizedLayer):
    """`activation(product(inputs, kernel) + bias)`, with a kernel of any precision."""

    quantization_modes = ("int8", "int4", "float8")
    _input_axes: Any = -1  # those that the product sums over

    activation: Callable
    bias: Variable | None

    def _product(self, inputs: Any, kernel: Any) -> jax.Array:
        raise NotImplementedError

    def _align_inputs(self, scale: jax.Array) -> jax.Array:
        """The scale of the inputs, with its axes where the outputs have them."""
        return scale

    def quantized_build(
        self, kernel_shape: tuple[int, ...], mode: str, config: Any = None
    ) -> None:
        """Make the variables that a mode needs for a kernel of that shape."""
        self._build_coded(mode, config)

    def call(self, inputs: jax.Array, training: bool | None = None) -> jax.Array:
        """`activation(product(inputs, kernel) + bias)`."""
        if self.quantization_mode is not None:
            return self.quantized_call(inputs, training=training)
        return self._finish(self._product(inputs, self._weight()))

    def quantized_call(self, inputs: jax.Array, training: bool | None = None) -> Any:
        """The same with the quantised kernel."""
        if self.quantization_mode == "float8":
            return self._finish(self._float8_product(inputs, training), rounded=True)
        y = coded_product(
            self, inputs, "kernel", self._product, self._input_axes, self._align_inputs
        )
        if self.lora_enabled:
            y = (y + self._added(inputs)).astype(self.compute_dtype)
        return self._finish(y)

    def _added(self, inputs: jax.Array) -> jax.Array:
        """What LoRA adds to the product."""
        low = self._product(inputs, self._lora("a").value)
        return self._strength * jnp.matmul(low, self._lora("b").value)

    def _finish(self, y: jax.Array, rounded: bool = False) -> jax.Array:
        if self.bias is not None:
            bias = self.bias.value
            if rounded and self.compute_dtype == "float32":
                # With a bias of 16 bits, products and sums run as one kernel on GPUs.
                bias = bias.astype("bfloat16").astype("float32")
            y = y + bias
        return self.activation(y)

    def _build_parts(self, mode: str, block: int | None) -> None:
        if mode != "float8":
            super()._build_parts(mode, block)
            return
        policy = self._dtype_policy.at(self._path)
        default = QuantizedFloat8DTypePolicy.default_amax_history_length
        length = getattr(policy, "amax_history_length", default)
        for name in _FLOAT8:
            scale = name.endswith("scale")
            # "Trained" by being overwritten with what is handed back as a gradient.
            variable = self.add_weight(
                () if scale else (length,),
                "ones" if scale else "zeros",
                "float32",
                autocast=False,
                overwrite_with_gradient=True,
                name=name,
            )
            setattr(self, name, variable)

    def _float8_product(self, inputs: Any, training: bool | None) -> jax.Array:
        def state(name: str) -> tuple[jax.Array, jax.Array]:
            history = getattr(self, f"{name}_amax_history")
            return getattr(self, f"{name}_scale").value, history.value

        training = bool(training)
        x = _round_values(training, inputs, *state("inputs"))
        kernel = _round_values(training, self._weight(), *state("kernel"))
        y = self._product(x, kernel)
        return _round_gradients(y, *state("outputs_grad"))


def coded_product(
    layer: QuantizedLayer,
    inputs: jax.Array,
    name: str,
    product: Callable[[Any, Any], jax.Array],
    axes: Any = -1,
    align: Callable[[Any], Any] = lambda scale: scale,
) -> jax.Array:
    """`product(inputs, weight)` with a weight in few bits.

    The inputs are quantised too if the layer has a quantizer for them, along `axes`;
    then the gradient is that of the product with the weight in floats.
    """
    dtype, quantizer = layer.compute_dtype, layer.inputs_quantizer

    def exact(x: jax.Array, parts: Parts) -> jax.Array:
        return product(x, layer._decoded(name, parts))

    def coarse(x: jax.Array, parts: Parts) -> jax.Array:
        q, scale = quantizer(x, axis=axes)
        scale = align(scale)
        if layer.quantization_mode == "int8":
            whole = product(q, parts[""]).astype(dtype)
            return whole / (scale * parts["_scale"])
        return exact(q.astype(dtype), parts) / scale

    parts = layer._parts(name)
    if quantizer is None:
        return exact(inputs, parts)
    return _with_gradient_of(coarse, exact, inputs, parts)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _with_gradient_of(fn: Callable, smooth: Callable, x: Any, rest: Any) -> jax.Array:
    """`fn(x, rest)`; the gradient is that of `smooth`, which is linear in `x`."""
    return fn(x, rest)


def _forward(fn: Callable, smooth: Callable, x: Any, rest: Any) -> tuple:
    return fn(x, rest), (x, rest)


def _backward(fn: Callable, smooth: Callable, saved: tuple, gradient: Any) -> tuple:
    x, rest = saved
    _, pull = jax.vjp(lambda x: smooth(x, rest), jnp.zeros_like(x))
    return *pull(gradient), None


_with_gradient_of.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _round_values(training: bool, x: Any, scale: Any, history: Any) -> jax.Array:
    """`x` in the precision of float8; its "gradients" are the new scale and history."""
    return quantizers.quantize_and_dequantize(x, scale, "float8_e4m3fn", x.dtype)


def _round_values_forward(training: bool, x: Any, scale: Any, history: Any) -> tuple:
    new = (jnp.zeros_like(scale), jnp.zeros_like(history))
    if training:
        new = _new_state(x, scale, history, "float8_e4m3fn")
    return _round_values(training, x, scale, history), new


def _round_values_backward(training: bool, new: tuple, gradient: Any) -> tuple:
    return gradient, *new


_round_values.defvjp(_round_values_forward, _round_values_backward)


@jax.custom_vjp
def _round_gradients(y: Any, scale: Any, history: Any) -> jax.Array:
    """`y` as it is; gradients that pass here are rounded to float8."""
    return y


def _round_gradients_backward(state: tuple, gradient: Any) -> tuple:
    rounded = quantizers.quantize_and_dequantize(
        gradient, state[0], "float8_e5m2", gradient.dtype
    )
    scale, history = state
    return rounded, *_new_state(gradient, scale, history, "float8_e5m2")


_round_gradients.defvjp(
    lambda y, scale, history: (y, (scale, history)), _round_gradients_backward
)


def _new_state(x: Any, scale: Any, history: Any, dtype: str) -> tuple[Any, Any]:
    """The scale that fits the values of the past, and the history with those of `x`."""
    most = jnp.float32(jnp.finfo(dtype).max)
    scale = quantizers.compute_float8_scale(jnp.max(history), scale, most)
    return scale, quantizers.compute_float8_amax_history(x, history)


# --- Whole models ---------------------------------------------------------------------


def quantize_layers(
    model: Layer,
    mode: str | None = None,
    config: Any = None,
    filters: Any = None,
    type_check: bool = True,
) -> None:
    """Quantise the layers of a model that can be, and that `filters` lets through.

    `filters` is a regular expression to be found in the layer's name, a list of them,
    or a function of the layer. A warning names the layers with weights that stay as
    they are.
    """
    config = resolve_config(model._who(), mode, config)
    if config.mode not in QuantizedProduct.quantization_modes:
        raise NotImplementedError(
            f'{model._who()}: mode "{config.mode}", which needs calibration, does not '
            "exist here; the modes are int8, int4 (in blocks or not) and float8."
        )
    fine = (
        filters is None or callable(filters) or isinstance(filters, str | list | tuple)
    )
    expected = "a regular expression, a list of them, or a function of a layer"
    check(fine, model._who(), "filters", filters, expected)
    patterns = [filters] if isinstance(filters, str) else filters

    def wanted(layer: Layer) -> bool:
        if patterns is None or callable(patterns):
            return patterns is None or patterns(layer)
        return any(re.search(pattern, layer.name) for pattern in patterns)

    left = []
    for layer in model._flatten_layers():
        if wanted(layer) and not layer._sublayers():
            try:
                layer.quantize(config.mode, type_check=type_check, config=config)
            except NotImplementedError:
                left += [layer.name] * bool(layer.weights)
    if left:
        warnings.warn(
            f'{model._who()}: these layers have no form for mode "{config.mode}" and '
            f"stay as they are: {', '.join(left)}.",
            stacklevel=3,
        )
