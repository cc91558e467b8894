"""Numbers in few bits, and how to get there: `keras.quantizers`.

A quantizer turns an array of floats into whole numbers and a scale. A configuration
says with which quantizers the weights and the inputs of a layer are treated; layers
take it in `layer.quantize(config=...)`.
"""

import math
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import configurable, dtypes
from kerasnb.core.configurable import Catalog, Configurable
from kerasnb.core.errors import check, message, show, suggest
from kerasnb.core.graph import op
from kerasnb.core.naming import to_snake_case
from kerasnb.dtype_policies import QUANTIZATION_MODES

Axis = int | tuple[int, ...]


# --- Whole numbers and a scale --------------------------------------------------------


def abs_max_quantize(
    inputs: Any,
    axis: Any,
    value_range: tuple[int, int] = (-127, 127),
    dtype: str = "int8",
    epsilon: float = 1e-07,
    to_numpy: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Whole numbers and the scale that stretches the largest one to the range's end.

        scale = high / (max |x| + epsilon)      q = clip(round(x · scale), low, high)

    `to_numpy` computes on the host, which spares the memory of the device.

    Shapes: `s -> s`, and the scale with 1 for each axis in `axis`.

    >>> q, scale = abs_max_quantize(jnp.array([[-1.0, 0.5]]), axis=-1)
    >>> q.tolist(), float(scale[0, 0]).__round__(2)
    ([[-127, 63]], 127.0)
    """
    low, high = value_range
    array = np.asarray(inputs) if to_numpy else dtypes.as_array(inputs)
    xp = np if to_numpy else jnp
    axis = tuple(axis) if isinstance(axis, list) else axis
    scale = xp.divide(high, xp.max(xp.abs(array), axis=axis, keepdims=True) + epsilon)
    q = xp.clip(xp.round(array * scale), low, high).astype(dtype)
    return jnp.asarray(q), jnp.asarray(scale.astype(array.dtype))


def abs_max_quantize_grouped_with_zero_point(
    inputs: Any,
    block_size: int,
    value_range: tuple[int, int] = (-8, 7),
    dtype: str = "int8",
    epsilon: float = 1e-07,
    to_numpy: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whole numbers with a scale and a zero point for each block of rows in a column.

        scale = (max - min + epsilon) / (high - low)      zero = round(-min/scale) + low
        q = clip(round(x / scale) + zero, low, high)

    Shapes: `(n, m) -> (n, m)`; scale and zero point `(ceil(n / block_size), m)`.

    >>> q, scale, zero = abs_max_quantize_grouped_with_zero_point(
    ...     jnp.array([[-1.0], [0.0], [2.0]]), block_size=3)
    >>> q[:, 0].tolist(), zero[:, 0].tolist()
    ([-8, -3, 7], [-3])
    """
    low, high = value_range
    array = np.asarray(inputs) if to_numpy else dtypes.as_array(inputs)
    xp = np if to_numpy else jnp
    rows, columns = array.shape
    groups = math.ceil(rows / block_size)
    padded = xp.pad(array, ((0, groups * block_size - rows), (0, 0)))
    blocks = padded.reshape(groups, block_size, columns)
    # As Keras, on the device: a single block is not padded, a constant one is widened.
    seen = blocks if to_numpy or groups > 1 else array[None]
    least, most = (f(seen, axis=1, keepdims=True) for f in (xp.min, xp.max))
    if not to_numpy:
        flat = least == most
        least, most = xp.where(flat, least - 1, least), xp.where(flat, most + 1, most)
    scale = (most - least + epsilon) / (high - low)
    zero = xp.clip(xp.round(-least / scale) + low, low, high)
    q = xp.clip(xp.round(blocks / scale) + zero, low, high).astype(dtype)
    q = q.reshape(groups * block_size, columns)[:rows]
    return (
        jnp.asarray(q),
        jnp.asarray(scale[:, 0].astype(array.dtype)),
        jnp.asarray(zero[:, 0].astype("int8")),
    )


def dequantize_groups(
    q: jax.Array, scale: jax.Array, zero: jax.Array, group: Any, axis: int = -1
) -> jax.Array:
    """`(q - zero) · scale`, with the scale and zero point of each place's group.

    Shapes: `group` has the length of `q` along `axis` and counts the groups along the
    same axis of `scale` and `zero`.
    """
    index = jnp.asarray(group).astype("int32")
    scale, zero = (jnp.take(x, index, axis=axis, mode="clip") for x in (scale, zero))
    return (q - zero.astype(scale.dtype)) * scale


def pack_int4(
    arr: Any, axis: int = 0, dtype: str = "int8"
) -> tuple[jax.Array, tuple[int, ...], int]:
    """Two neighbours of 4 bits in each byte, the first one in the low half.

    Returns the bytes, their shape, and the length before, which `unpack_int4` needs.

    Shapes: `n -> ceil(n / 2)` along `axis`.

    >>> packed, shape, length = pack_int4(jnp.array([-3, 2, 1], "int8"))
    >>> packed.tolist(), shape, length
    ([45, 1], (2,), 3)
    """
    _check_bytes("pack_int4", dtype)
    numbers = np.asarray(arr)
    if numbers.dtype.name != dtype:
        raise TypeError(message("pack_int4", "arr", arr, f"an {dtype} array"))
    numbers = np.moveaxis(numbers, axis, 0)
    length = len(numbers)
    numbers = np.pad(numbers, [(0, length % 2), *[(0, 0)] * (numbers.ndim - 1)])
    low, high = (numbers[i::2].view("uint8") & 15 for i in (0, 1))
    packed = np.moveaxis((low | high << 4).view(dtype), 0, axis)
    return jnp.asarray(packed), packed.shape, length


def unpack_int4(
    packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8"
) -> jax.Array:
    """What `pack_int4` packed: -8 to 7 as int8, or 0 to 15 as uint8.

    Shapes: `ceil(orig_len / 2) -> orig_len` along `axis`.

    >>> unpack_int4(jnp.array([45, 1], "int8"), 3).tolist()
    [-3, 2, 1]
    """
    _check_bytes("unpack_int4", dtype)
    packed = dtypes.as_array(packed)
    if packed.dtype.name not in ("int8", "uint8"):
        raise TypeError(message("unpack_int4", "packed", packed, "an array of bytes"))
    axis %= packed.ndim
    halves = packed & 15, (packed >> 4) & 15
    if dtype == "int8":
        halves = tuple((half ^ 8) - 8 for half in halves)
    before, after = packed.shape[:axis], packed.shape[axis + 1 :]
    length = 2 * packed.shape[axis]
    both = jnp.stack(halves, axis=axis + 1).reshape(*before, length, *after)
    return jax.lax.slice_in_dim(both.astype(dtype), 0, orig_len, axis=axis)


def _check_bytes(who: str, dtype: Any) -> None:
    check(dtype in ("int8", "uint8"), who, "dtype", dtype, '"int8" or "uint8"')


@op
def fake_quant_with_min_max_vars(
    inputs: Any,
    min_vals: Any,
    max_vals: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> jax.Array:
    """Floats rounded to the `2^num_bits` values that evenly fill a range.

    The range is nudged so that zero is one of the values. Gradients flow to `inputs`
    inside the range, to its ends outside. With an `axis`, each channel along it has a
    range of its own; `narrow_range` leaves out the lowest value.

    Shapes: `s -> s`; the range is a scalar, or one number for each channel.

    >>> fake_quant_with_min_max_vars([0.1, 0.6, 9.0], 0.0, 3.0, num_bits=2).tolist()
    [0.0, 1.0, 3.0]
    """
    x, low, high = (dtypes.as_array(a) for a in (inputs, min_vals, max_vals))
    if axis is not None:
        # A vector of ranges is laid along its channels.
        wide = [1] * x.ndim
        wide[axis] = -1
        low, high = low.reshape(wide), high.reshape(wide)
    wider = dtypes.result_type(low.dtype, "float32")
    low, high = low.astype(wider), high.astype(wider)
    least, most = int(narrow_range), 2 ** int(num_bits) - 1
    scale, inverse = (high - low) / (most - least), (most - least) / (high - low)
    zero = jnp.round(jnp.clip(least - low / scale, least, most))
    bottom, top = (jax.lax.stop_gradient((end - zero) * scale) for end in (least, most))
    scale, inverse = jax.lax.stop_gradient((scale, inverse))
    steps = (jnp.clip(x.astype(wider), bottom, top) - bottom) * inverse
    steps = jnp.floor(steps - jnp.floor(-bottom * inverse + 0.5) + 0.5)
    rounded = jax.lax.stop_gradient((steps * scale).astype(x.dtype))
    # Nothing is added: only the gradients of x and of the ends pass through here.
    inside = jnp.where((x >= bottom) & (x <= top), x, 0)
    below = jnp.where(x <= bottom, low, 0) + jnp.where(x >= top, high, 0)
    path = inside + below.astype(x.dtype)
    return rounded + (path - jax.lax.stop_gradient(path))


# --- Floats of 8 bits -----------------------------------------------------------------


def compute_float8_scale(
    amax: Any, scale: Any, dtype_max: Any, margin: int = 0
) -> jax.Array:
    """The scale that maps the largest value seen to the largest of a float8 dtype.

    `amax / dtype_max · 2^margin`, or the old scale when `amax` is zero or not finite.

    >>> float(compute_float8_scale(896.0, 1.0, 448.0))
    2.0
    """
    amax, scale = jnp.asarray(amax), jnp.asarray(scale)
    inverse = dtype_max / amax / 2**margin
    inverse = jnp.where((amax > 0) & jnp.isfinite(amax), inverse, 1 / scale)
    return 1 / inverse


def compute_float8_amax_history(x: Any, amax_history: Any) -> jax.Array:
    """The history of the largest values, moved by one, with that of `x` in front.

    >>> compute_float8_amax_history(jnp.array([1.0, -4.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([4., 3., 1.], dtype=float32)
    """
    history = jnp.asarray(amax_history)
    most = jnp.max(jnp.abs(jnp.asarray(x))).astype(history.dtype)
    return jnp.roll(history, -1).at[0].set(most)


def quantize_and_dequantize(
    inputs: Any, scale: Any, quantized_dtype: Any, compute_dtype: Any
) -> jax.Array:
    """`inputs` with the precision of a float8 dtype, in `compute_dtype`.

    >>> x = quantize_and_dequantize(jnp.array([0.3]), 1.0, "float8_e4m3fn", "float32")
    >>> x.tolist()
    [0.3125]
    """
    most = jnp.asarray(float(jnp.finfo(quantized_dtype).max), compute_dtype)
    scale = jnp.asarray(scale).astype(compute_dtype)
    x = jnp.clip(jnp.asarray(inputs) / scale, -most, most)
    return x.astype(quantized_dtype).astype(compute_dtype) * scale


# --- Quantizers -----------------------------------------------------------------------


class Quantizer(Configurable):
    """The base of quantizers: called with an array, it returns the quantised one."""

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = output_dtype

    def __call__(self, x: Any) -> Any:
        """The array as it is; subclasses quantise it."""
        return x


class AbsMaxQuantizer(Quantizer):
    """Whole numbers and the scale that stretches the largest one to the range's end.

    `scale = high / (max |x| + epsilon)` and `q = clip(round(x · scale), low, high)`,
    the maximum along `axis`.

    >>> q, scale = AbsMaxQuantizer()(jnp.array([[-1.0, 0.5]]))
    >>> q.tolist()
    [[-127, 63]]
    """

    def __init__(
        self,
        axis: Axis | None = None,
        value_range: tuple[int, int] = (-127, 127),
        epsilon: float = 1e-07,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        self.axis = (axis,) if isinstance(axis, int) else axis and tuple(axis)
        low, high = value_range
        self.value_range, self.epsilon = (low, high), epsilon
        if output_dtype == "int8":
            fits = low >= -128 and high <= 127
            expected = "within (-128, 127), which int8 can hold"
            check(fits, "AbsMaxQuantizer", "value_range", value_range, expected)

    def __call__(
        self, x: Any, axis: Axis | None = None, to_numpy: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """The whole numbers and their scale; `axis` defaults to the last one."""
        axis = next((a for a in (axis, self.axis) if a is not None), -1)
        return abs_max_quantize(
            x, axis, self.value_range, self.output_dtype, self.epsilon, to_numpy
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; `axis` only if it was given."""
        config = super().get_config()
        return {k: v for k, v in config.items() if k != "axis" or v is not None}


# --- Configurations -------------------------------------------------------------------


class QuantizationConfig(Configurable):
    """How a layer is quantised: with which quantizers, in which mode.

    The base of the configurations that `layer.quantize(config=...)` takes. None for the
    weights is the quantizer of the mode; None for the activations leaves the inputs of
    the layer as they are.
    """

    def __init__(
        self, weight_quantizer: Any = None, activation_quantizer: Any = None
    ) -> None:
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self) -> str:
        """The mode, such as `"int8"`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no mode of its own; use a subclass such as "
            "Int8QuantizationConfig."
        )

    @staticmethod
    def weight_quantizer_or_default(config: Any, default: Any) -> Any:
        """The quantizer of the weights that a configuration or None stands for."""
        return default if config is None else config.weight_quantizer or default

    @staticmethod
    def activation_quantizer_or_default(config: Any, default: Any) -> Any:
        """The quantizer of the inputs that a configuration or None stands for."""
        return default if config is None else config.activation_quantizer

    def _check_weights(self, what: str, expected: Any) -> None:
        if self.weight_quantizer is not None:
            value = getattr(self.weight_quantizer, what)
            who, argument = type(self).__name__, f"weight_quantizer.{what}"
            check(value == expected, who, argument, value, repr(expected))


class Int8QuantizationConfig(QuantizationConfig):
    """Weights in 8 bits; inputs too, unless `activation_quantizer` is None.

    >>> Int8QuantizationConfig(activation_quantizer=None).mode
    'int8'
    """

    def __init__(
        self, weight_quantizer: Any = None, activation_quantizer: Any = "default"
    ) -> None:
        if isinstance(activation_quantizer, str) and activation_quantizer == "default":
            activation_quantizer = AbsMaxQuantizer()
        super().__init__(weight_quantizer, activation_quantizer)
        self._check_weights("output_dtype", "int8")

    @property
    def mode(self) -> str:
        """`"int8"`."""
        return "int8"


class Int4QuantizationConfig(QuantizationConfig):
    """Weights in 4 bits, two in a byte, with a scale for each `block_size` of them.

    A `block_size` of None or -1 gives each output one scale; only then the quantizers
    may be chosen.

    >>> Int4QuantizationConfig(block_size=64).mode
    'int4'
    """

    def __init__(
        self,
        weight_quantizer: Any = None,
        activation_quantizer: Any = "default",
        block_size: int | None = 128,
    ) -> None:
        if isinstance(activation_quantizer, str) and activation_quantizer == "default":
            activation_quantizer = None
        super().__init__(weight_quantizer, activation_quantizer)
        who, self.block_size = type(self).__name__, block_size
        good = block_size in (None, -1) or block_size > 0
        check(good, who, "block_size", block_size, "None, -1 or a positive integer")
        if block_size not in (None, -1) and (weight_quantizer or activation_quantizer):
            raise ValueError(
                f"{who}: blocks have a quantizer of their own; leave `weight_quantizer`"
                " and `activation_quantizer` out, or set block_size=None."
            )
        self._check_weights("value_range", (-8, 7))
        self._check_weights("output_dtype", "int8")

    @property
    def mode(self) -> str:
        """`"int4"`."""
        return "int4"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The configuration; older files know no blocks."""
        return super().from_config({"block_size": None, **config})


class Float8QuantizationConfig(QuantizationConfig):
    """Training with products of 8-bit floats; it takes no quantizers.

    >>> Float8QuantizationConfig().mode
    'float8'
    """

    def __init__(self) -> None:
        super().__init__()

    @property
    def mode(self) -> str:
        """`"float8"`."""
        return "float8"


class _Calibrated(QuantizationConfig):
    """What GPTQ and AWQ share: they look at data before they choose the numbers."""

    _bits: tuple[int, ...]
    weight_bits: int
    group_size: int

    def __init__(self) -> None:
        super().__init__()
        vars(self).update(self._config)
        who = type(self).__name__
        for name in ("num_samples", "sequence_length", "num_grid_points"):
            value = self._config.get(name, 1)
            check(value > 0, who, name, value, "a positive integer")
        bits, size = self.weight_bits, self.group_size
        expected = f"one of {self._bits}" if len(self._bits) > 1 else str(*self._bits)
        check(bits in self._bits, who, "weight_bits", bits, expected)
        good = size == -1 or size > 0
        check(good, who, "group_size", size, "-1 (one group) or a positive integer")

    @property
    def mode(self) -> str:
        """`"gptq"` or `"awq"`."""
        return type(self).__name__.removesuffix("Config").lower()

    def dtype_policy_string(self) -> str:
        """The beginning of the policy's name, such as `"gptq/4/128"`."""
        return f"{self.mode}/{self.weight_bits}/{self.group_size}"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments without the data, which only served once."""
        once = ("dataset", "tokenizer")
        return {k: None if k in once else getattr(self, k) for k in self._config}


class GPTQConfig(_Calibrated):
    """GPTQ: weights rounded one by one, each error made up for by those that follow.

    Which errors matter is read from a calibration `dataset`.
    (Frantar et al., GPTQ: Accurate Post-Training Quantization, 2022)

    >>> GPTQConfig(None, None, group_size=64).dtype_policy_string()
    'gptq/4/64'
    """

    _bits = (2, 3, 4, 8)

    def __init__(
        self,
        dataset: Any,
        tokenizer: Any,
        *,
        weight_bits: int = 4,
        num_samples: int = 128,
        per_channel: bool = True,
        sequence_length: int = 512,
        hessian_damping: float = 0.01,
        group_size: int = 128,
        symmetric: bool = False,
        activation_order: bool = False,
        quantization_layer_structure: dict | None = None,
    ) -> None:
        super().__init__()
        good = 0 <= hessian_damping <= 1
        expected = "a number from 0 to 1"
        check(good, "GPTQConfig", "hessian_damping", hessian_damping, expected)


class AWQConfig(_Calibrated):
    """AWQ: weights whose inputs are large are scaled up before they are rounded.

    Which inputs are large is read from a calibration `dataset`.
    (Lin et al., AWQ: Activation-aware Weight Quantization, 2023)

    >>> AWQConfig(None, None).dtype_policy_string()
    'awq/4/128'
    """

    _bits = (4,)

    def __init__(
        self,
        dataset: Any,
        tokenizer: Any,
        *,
        weight_bits: int = 4,
        num_samples: int = 128,
        sequence_length: int = 512,
        group_size: int = 128,
        num_grid_points: int = 20,
        quantization_layer_structure: dict | None = None,
    ) -> None:
        super().__init__()


# --- Modes and names ------------------------------------------------------------------

_DEFAULTS = {
    "int8": Int8QuantizationConfig,
    "int4": Int4QuantizationConfig,
    "float8": Float8QuantizationConfig,
}


def resolve_config(who: str, mode: Any, config: Any) -> QuantizationConfig:
    """The configuration that `mode` and `config`, one or both, stand for."""
    if isinstance(config, str):
        mode, config = config, None
    if mode is not None and mode not in QUANTIZATION_MODES:
        raise ValueError(
            f"{who}: unknown quantisation mode {show(mode)}; the modes are "
            f"{', '.join(QUANTIZATION_MODES)}.{suggest(mode, QUANTIZATION_MODES)}"
        )
    if config is None and mode not in _DEFAULTS:
        name = {"gptq": "a GPTQConfig", "awq": "an AWQConfig"}.get(mode)
        raise ValueError(
            f'{who}: mode "{mode}" needs {name} with calibration data as `config`.'
            if name
            else f'{who}: give a `mode`, such as "int8", or a `config`.'
        )
    config = _DEFAULTS[mode]() if config is None else config
    good = isinstance(config, QuantizationConfig)
    check(good, who, "config", config, "a QuantizationConfig")
    if mode not in (None, config.mode):
        raise ValueError(
            f'{who}: mode "{mode}" contradicts the config, which is for '
            f'"{config.mode}".'
        )
    return config


_CATALOG = Catalog(
    "quantizer",
    Quantizer,
    {
        name: cls
        for cls in (
            AbsMaxQuantizer,
            Quantizer,
            QuantizationConfig,
            Int8QuantizationConfig,
            Int4QuantizationConfig,
            Float8QuantizationConfig,
            AWQConfig,
            GPTQConfig,
        )
        for name in (to_snake_case(cls.__name__), cls.__name__)
    },
)


def serialize(initializer: Any) -> Any:
    """The quantizer as plain data."""
    return configurable.serialize(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The quantizer that plain data stands for."""
    return _CATALOG.deserialize(config, custom_objects)


def get(identifier: Any, **kwargs: Any) -> Any:
    """The quantizer that a name, a config or an object stands for.

    `kwargs` are the arguments of a quantizer given by name.

    >>> get("abs_max_quantizer", axis=0).axis
    (0,)
    """
    if isinstance(identifier, str):
        identifier = _CATALOG.find(identifier)
    if isinstance(identifier, type):
        return identifier(**kwargs)
    return _CATALOG.get(identifier)
