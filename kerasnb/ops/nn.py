"""Neural-network functions: activations, crossentropies, normalisation, codes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, settings
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array, Axis, axes, tensor, unary
from kerasnb.ops.blocks import depth_to_space as depth_to_space
from kerasnb.ops.blocks import fold as fold
from kerasnb.ops.blocks import space_to_depth as space_to_depth
from kerasnb.ops.blocks import unfold as unfold
from kerasnb.ops.convolution import conv as conv
from kerasnb.ops.convolution import conv_transpose as conv_transpose
from kerasnb.ops.convolution import depthwise_conv as depthwise_conv
from kerasnb.ops.convolution import separable_conv as separable_conv
from kerasnb.ops.pooling import adaptive_average_pool as adaptive_average_pool
from kerasnb.ops.pooling import adaptive_max_pool as adaptive_max_pool
from kerasnb.ops.pooling import average_pool as average_pool
from kerasnb.ops.pooling import max_pool as max_pool
from kerasnb.ops.sequences import ctc_decode as ctc_decode
from kerasnb.ops.sequences import ctc_loss as ctc_loss
from kerasnb.ops.signal import polar as polar

# --- Activations: straight from jax.nn ------------------------------------------------

relu = unary(jax.nn.relu)
relu6 = unary(jax.nn.relu6)
sigmoid = unary(jax.nn.sigmoid)
sparse_sigmoid = unary(jax.nn.sparse_sigmoid)
softplus = unary(jax.nn.softplus)
softsign = unary(jax.nn.soft_sign, "softsign")
sparse_plus = unary(jax.nn.sparse_plus)
silu = swish = unary(jax.nn.silu, "silu")
log_sigmoid = unary(jax.nn.log_sigmoid)
hard_sigmoid = unary(jax.nn.hard_sigmoid)
hard_silu = hard_swish = unary(jax.nn.hard_silu, "hard_silu")
hard_tanh = unary(jax.nn.hard_tanh)
selu = unary(jax.nn.selu)


@op
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Array:
    """`x` where positive, `negative_slope · x` elsewhere. Shapes: `s -> s`.

    >>> leaky_relu([-1.0, 1.0]).tolist()
    [-0.20000000298023224, 1.0]
    """
    return jax.nn.leaky_relu(tensor(x), negative_slope)


@op
def elu(x: Any, alpha: float = 1.0) -> Array:
    """`x` where positive, `alpha · (e^x - 1)` elsewhere. Shapes: `s -> s`.

    Clevert et al., 2015.

    >>> elu([0.0, 1.0]).tolist()
    [0.0, 1.0]
    """
    return jax.nn.elu(tensor(x), alpha)


@op
def celu(x: Any, alpha: float = 1.0) -> Array:
    """`max(x, 0) + min(alpha · (e^(x/alpha) - 1), 0)`. Shapes: `s -> s`.

    Barron, 2017.

    >>> celu([0.0, 1.0]).tolist()
    [0.0, 1.0]
    """
    return jax.nn.celu(tensor(x), alpha)


@op
def gelu(x: Any, approximate: bool = True) -> Array:
    """`x` times the normal distribution's share below `x`. Shapes: `s -> s`.

    Hendrycks & Gimpel, 2016; `approximate` uses their formula with `tanh`.

    >>> gelu([0.0]).tolist()
    [0.0]
    """
    return jax.nn.gelu(tensor(x), approximate)


@op
def glu(x: Any, axis: int = -1) -> Array:
    """The first half times the sigmoid of the second. Shapes: `(..., 2d) -> (..., d)`.

    >>> glu([4.0, 0.0]).tolist()
    [2.0]
    """
    return jax.nn.glu(tensor(x), axis)


@op
def squareplus(x: Any, b: float = 4) -> Array:
    """`(x + sqrt(x² + b)) / 2`, a smooth relu. Shapes: `s -> s`.

    >>> squareplus([0.0]).tolist()
    [1.0]
    """
    return jax.nn.squareplus(tensor(x), b)


@op
def tanh_shrink(x: Any) -> Array:
    """`x - tanh(x)`. Shapes: `s -> s`.

    >>> tanh_shrink([0.0]).tolist()
    [0.0]
    """
    x = dtypes.as_array(x)
    return x - jnp.tanh(x)


@op
def soft_shrink(x: Any, threshold: float = 0.5) -> Array:
    """`x` moved towards zero by `threshold`, zero when it gets there. Shapes: `s -> s`.

    >>> soft_shrink([-1.0, 0.2, 1.0]).tolist()
    [-0.5, 0.0, 0.5]
    """
    x = dtypes.as_array(x)
    below = jnp.where(x < -threshold, x + threshold, 0.0)
    return jnp.where(x > threshold, x - threshold, below)


@op
def hard_shrink(x: Any, threshold: float = 0.5) -> Array:
    """`x` where further than `threshold` from zero, else zero. Shapes: `s -> s`.

    >>> hard_shrink([-1.0, 0.2, 1.0]).tolist()
    [-1.0, 0.0, 1.0]
    """
    x = dtypes.as_array(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0.0)


@op
def threshold(x: Any, threshold: float, default_value: float) -> Array:
    """`x` where above `threshold`, else `default_value`. Shapes: `s -> s`.

    >>> threshold([-1.0, 2.0], 0.0, 7.0).tolist()
    [7.0, 2.0]
    """
    x = dtypes.as_array(x)
    return jnp.where(x > threshold, x, default_value)


@op
def softmax(x: Any, axis: Axis = -1) -> Array:
    """`e^x / Σ e^x` along `axis`: positive, adding up to one. Shapes: `s -> s`.

    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    return jax.nn.softmax(tensor(x), axes(axis))


@op
def log_softmax(x: Any, axis: Axis = -1) -> Array:
    """The logarithm of `softmax`, computed without overflow. Shapes: `s -> s`.

    >>> log_softmax([5.0]).tolist()
    [0.0]
    """
    return jax.nn.log_softmax(tensor(x), axes(axis))


@op
def sparsemax(x: Any, axis: int = -1) -> Array:
    """The nearest probabilities to `x`, many of them zero. Shapes: `s -> s`.

    Martins & Astudillo, 2016.

    >>> sparsemax([0.0, 3.0]).tolist()
    [0.0, 1.0]
    """
    x = dtypes.as_array(x)
    largest = jnp.sort(x, axis=axis, descending=True)
    total = jnp.cumsum(largest, axis=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    rank = jnp.arange(1, x.shape[axis] + 1).reshape(shape)
    kept = largest - (total - 1) / rank > 0
    count = jnp.sum(kept, axis=axis, keepdims=True)
    cut = (jnp.sum(jnp.where(kept, largest, 0), axis, keepdims=True) - 1) / count
    return jnp.maximum(x - cut, 0.0)


# --- Codes ----------------------------------------------------------------------------


@op
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Array:
    """Mark each class index with a one. Shapes: `s -> s` with `num_classes` at `axis`.

    >>> one_hot([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    check(not sparse, "one_hot", "sparse", sparse, "False")
    x = dtypes.as_array(x)
    return jax.nn.one_hot(x, num_classes, axis=axis, dtype=dtypes.canonical(dtype))


@op
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Array:
    """Mark every class that occurs. Shapes: `(..., n) -> (..., num_classes)`.

    >>> multi_hot([0, 2], 3).tolist()
    [1.0, 0.0, 1.0]
    """
    count: Any = kwargs.get("num_tokens") if num_classes is None else num_classes
    check(count is not None, "multi_hot", "num_classes", None, "an integer")
    inputs = dtypes.as_array(inputs).astype("int32")
    codes = one_hot(inputs, count, axis, dtype, sparse)
    return jnp.max(codes, axis=1 if inputs.ndim > 1 else 0)


# --- Crossentropies -------------------------------------------------------------------


def _same_shape(who: str, target: Array, output: Array) -> None:
    if target.shape != output.shape:
        raise ValueError(
            f"{who}: `target` and `output` must have the same shape, not "
            f"{target.shape} and {output.shape}."
        )


def _log_probabilities(output: Array, from_logits: bool, axis: int) -> Array:
    if from_logits:
        return jax.nn.log_softmax(output, axis)
    output = output / jnp.sum(output, axis, keepdims=True)
    # Clipped, so that a probability of zero costs much, but not infinitely much.
    return jnp.log(jnp.clip(output, settings.epsilon(), 1 - settings.epsilon()))


@op
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Array:
    """`-Σ target · log(output)` over the classes.

    Shapes: `(..., n), (..., n) -> (...)`.

    `output` holds probabilities, or their logarithms up to a constant with
    `from_logits`.

    >>> float(categorical_crossentropy([0.0, 1.0], [0.5, 0.5]))
    0.6931471824645996
    """
    target, output = dtypes.as_array(target), dtypes.as_array(output)
    _same_shape("categorical_crossentropy", target, output)
    check(
        output.ndim, "categorical_crossentropy", "output", output, "of rank 1 or more"
    )
    return -jnp.sum(target * _log_probabilities(output, from_logits, axis), axis)


@op
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Array:
    """`-log(output[target])`. Shapes: `(...) or (..., 1), (..., n) -> (...)`.

    A target that is no index of a class costs nothing.

    >>> float(sparse_categorical_crossentropy([1], [[0.5, 0.5]])[0])
    0.6931471824645996
    """
    target, output = dtypes.as_array(target, "int32"), dtypes.as_array(output)
    who = "sparse_categorical_crossentropy"
    check(output.ndim, who, "output", output, "of rank 1 or more")
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = jnp.squeeze(target, -1)
    classes = output.shape[axis]
    log_probabilities = jnp.moveaxis(
        _log_probabilities(output, from_logits, axis), axis, -1
    )
    if target.shape != log_probabilities.shape[:-1]:
        raise ValueError(
            f"{who}: `target` must have the shape of `output` without the classes, "
            f"{log_probabilities.shape[:-1]}, not {target.shape}."
        )
    chosen = jax.nn.one_hot(target, classes, dtype="float32")
    return -jnp.sum(chosen * log_probabilities, -1)


@op
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Array:
    """`-t · log(p) - (1 - t) · log(1 - p)`. Shapes: `s, s -> s`.

    `output` holds probabilities, or with `from_logits` what a sigmoid would make them
    from.

    >>> float(binary_crossentropy([1.0], [0.5])[0])
    0.6931471824645996
    """
    target, output = dtypes.as_array(target), dtypes.as_array(output)
    _same_shape("binary_crossentropy", target, output)
    if from_logits:
        yes, no = jax.nn.log_sigmoid(output), jax.nn.log_sigmoid(-output)
    else:
        output = jnp.clip(output, settings.epsilon(), 1 - settings.epsilon())
        yes, no = jnp.log(output), jnp.log(1 - output)
    return -(target * yes + (1.0 - target) * no)


# --- Normalisation --------------------------------------------------------------------


@op
def moments(
    x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False
) -> tuple[Array, Array]:
    """Mean and variance along some axes. Shapes: `s -> t, t`.

    16-bit floats are added up in 32 bits.

    >>> [float(m) for m in moments([1.0, 3.0], axes=0)]
    [2.0, 1.0]
    """
    check(not synchronized, "moments", "synchronized", synchronized, "False")
    x = dtypes.as_array(x)
    axes = tuple(axes) if isinstance(axes, list) else axes
    narrow = x.dtype in ("float16", "bfloat16")
    wide = x.astype("float32") if narrow else x
    mean = jnp.mean(wide, axes, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axes, keepdims=keepdims)
    mean = mean if keepdims else jnp.squeeze(mean, axes)
    if not narrow:
        return mean, variance
    limits = jnp.finfo("float16")
    mean, variance = (
        jnp.clip(m, limits.min, limits.max).astype(x.dtype) for m in (mean, variance)
    )
    return mean, variance


@op
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Array:
    """`(x - mean) / sqrt(variance + epsilon) · scale + offset`. Shapes: `s -> s`.

    `mean`, `variance`, `scale` and `offset` are vectors along `axis`.

    >>> batch_normalization([[1.0], [3.0]], [2.0], [1.0], -1, epsilon=0.0).tolist()
    [[-1.0], [1.0]]
    """
    x, mean, variance = dtypes.as_array(x), dtypes.as_array(mean), tensor(variance)
    shape = [1] * x.ndim
    shape[axis] = mean.shape[0]
    factor = jax.lax.rsqrt(dtypes.as_array(variance).reshape(shape) + epsilon)
    if scale is not None:
        factor = factor * dtypes.as_array(scale).reshape(shape)
    shift = -mean.reshape(shape) * factor
    if offset is not None:
        shift = shift + dtypes.as_array(offset).reshape(shape)
    return x * factor + shift


@op
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Axis = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Array:
    """`(x - mean) / sqrt(variance + epsilon) · gamma + beta` along `axis`.

    Shapes: `s -> s`; `gamma` and `beta` have the lengths of the axes. Computed in at
    least 32 bits (Ba et al., 2016).

    >>> layer_normalization([1.0, 3.0], epsilon=0.0).tolist()
    [-1.0, 1.0]
    """
    x = dtypes.as_array(x)
    dtype = x.dtype
    x, axis, epsilon = _prepare_norm(x, axis, epsilon)
    mean = jnp.mean(x, axis, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis, keepdims=True)
    factor = jax.lax.rsqrt(variance + epsilon)
    if gamma is not None:
        factor = factor * _along(gamma, x, axis)
    shift = -mean * factor
    if beta is not None:
        shift = shift + _along(beta, x, axis)
    return (x * factor + shift).astype(dtype)


@op
def rms_normalization(
    x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Array:
    """`x / sqrt(mean(x²) + epsilon) · scale` along `axis`. Shapes: `s -> s`.

    Zhang & Sennrich, 2019.

    >>> rms_normalization([3.0, 3.0], epsilon=0.0).tolist()
    [1.0, 1.0]
    """
    x = dtypes.as_array(x)
    dtype = x.dtype
    x, axis, epsilon = _prepare_norm(x, axis, epsilon)
    out = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis, keepdims=True) + epsilon)
    if scale is not None:
        out = out * _along(scale, x, axis)
    return out.astype(dtype)


def _prepare_norm(
    x: Array, axis: Any, epsilon: float | None
) -> tuple[Array, tuple[int, ...], float]:
    x = x.astype(dtypes.result_type(x.dtype.name, "float32"))
    x = x[None] if x.ndim == 0 else x
    axis = (axis,) if isinstance(axis, int) else tuple(axis)
    axis = tuple(sorted(a % x.ndim for a in axis))
    return x, axis, settings.epsilon() if epsilon is None else epsilon


def _along(vector: Any, x: Array, axis: Sequence[int]) -> Array:
    """`vector`, shaped so that it broadcasts along those axes of `x`."""
    shape = [x.shape[a] if a in axis else 1 for a in range(x.ndim)]
    return dtypes.as_array(vector).astype(x.dtype).reshape(shape)


@op
def normalize(
    x: Any, axis: Axis = -1, order: int = 2, epsilon: float | None = None
) -> Array:
    """`x` divided by its `order`-norm along `axis`. Shapes: `s -> s`.

    >>> normalize([3.0, 4.0]).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    check(
        isinstance(order, int) and order > 0,
        "normalize",
        "order",
        order,
        "a positive integer",
    )
    x, axis = dtypes.as_array(x), axes(axis)
    x = x[None] if x.ndim == 0 else x
    epsilon = settings.epsilon() if epsilon is None else epsilon
    if order == 2:
        # Not sqrt and divide: the gradient at zero stays finite.
        inverse = jax.lax.rsqrt(jnp.sum(jnp.square(x), axis, keepdims=True))
        return x * jnp.minimum(inverse, 1.0 / epsilon)
    norm = jnp.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return x / jnp.maximum(norm, epsilon)


@op
def psnr(x1: Any, x2: Any, max_val: float) -> Array:
    """Peak signal-to-noise ratio in decibels. Shapes: `s, s -> ()`.

    >>> float(psnr([0.0], [1.0], 10.0))
    20.0
    """
    x1, x2 = dtypes.as_array(x1), dtypes.as_array(x2)
    _same_shape("psnr", x1, x2)
    error = jnp.mean(jnp.square(x1 - x2))
    return 20 * jnp.log10(jnp.asarray(max_val, x2.dtype)) - 10 * jnp.log10(error)


@op
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Array:
    """Each query's mean of the values, weighted by how well their keys fit.

        softmax(scale · query · keyᵀ + bias) · value,   scale = 1 / sqrt(d) by default

    `mask` is True where a query may look; `is_causal` forbids later positions
    (Vaswani et al., 2017). Fewer heads of keys than of queries are shared.
    `flash_attention` is None for the GPU's fused kernel where it fits the inputs, True
    to insist on it, False to refuse it.

    Shapes: `(b, t, n, d), (b, s, n, d), (b, s, n, d) -> (b, t, n, d)`.

    >>> dot_product_attention(*[jnp.ones((1, 2, 1, 4))] * 3).shape
    (1, 2, 1, 4)
    """
    who = "dot_product_attention"
    query, key, value = (dtypes.as_array(x) for x in (query, key, value))
    for name, x in (("query", query), ("key", key), ("value", value)):
        check(x.ndim == 4, who, name, x, "of rank 4, (batch, length, heads, size)")
    if not key.shape[2] or query.shape[2] % key.shape[2]:
        raise ValueError(
            f"{who}: the {query.shape[2]} heads of `query` cannot share the "
            f"{key.shape[2]} heads of `key`; their number must be a multiple."
        )
    check(
        attn_logits_soft_cap is None,
        who,
        "attn_logits_soft_cap",
        attn_logits_soft_cap,
        "None",
    )
    dtype = dtypes.result_type(query.dtype.name, key.dtype.name, value.dtype.name)
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    if flash_attention or (flash_attention is None and jax.default_backend() == "gpu"):
        fused = partial(
            jax.nn.dot_product_attention,
            scale=scale,
            is_causal=is_causal,
            implementation="cudnn",
        )
        given = (
            query,
            key,
            value,
            None if bias is None else dtypes.as_array(bias, dtype),
            None if mask is None else dtypes.as_array(mask).astype(bool),
        )
        problem = _why_not_fused(fused, given)
        if problem is None:
            return fused(*given)
        expected = f"None or False here ({problem})"
        check(not flash_attention, who, "flash_attention", True, expected)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    # Queries whose heads share a head of keys stand under one another: nothing is
    # repeated. (b, t, n, d) becomes (b, n/heads · t, heads, d).
    batch, length, count, size = query.shape
    heads = key.shape[2]
    shared = count // heads
    rows = jnp.moveaxis(query.reshape(batch, length, heads, shared, size), 3, 1)
    rows = rows.reshape(batch, shared * length, heads, size)
    wide = dtypes.result_type(dtype, "float32")
    logits = jnp.einsum("btgh,bsgh->bgts", rows, key, preferred_element_type=wide)
    logits = logits.reshape(batch, count, length, key.shape[1]) * scale
    if bias is not None:
        logits = (logits + dtypes.as_array(bias, dtype)).astype(logits.dtype)
    allowed = None if mask is None else dtypes.as_array(mask).astype(bool)
    if is_causal:
        earlier = jnp.tril(jnp.ones(logits.shape[-2:], bool))[None, None]
        allowed = earlier if allowed is None else allowed & earlier
    if allowed is not None:
        # Not -inf: a row without any allowed position must not become NaN.
        logits = jnp.where(allowed, logits, -0.7 * jnp.finfo(logits.dtype).max)
    # The softmax is divided out after the multiplication, where there are d numbers
    # in a row and not s: half the time on a CPU.
    largest = jnp.max(logits, -1, keepdims=True, initial=-jnp.inf)
    powers = jnp.exp(logits - jax.lax.stop_gradient(largest))
    total = powers.sum(-1, keepdims=True)
    if not jnp.issubdtype(dtype, jnp.inexact):  # as Keras rounds integers
        powers, total = powers / total, jnp.ones_like(total)
    powers = powers.astype(dtype).reshape(batch, heads, shared * length, key.shape[1])
    means = jnp.einsum("bgts,bsgh->bgth", powers, value, preferred_element_type=wide)
    means = means.reshape(batch, count, length, value.shape[3]) / total
    return jnp.swapaxes(means, 1, 2).astype(dtype)


def _why_not_fused(fused: Callable, given: tuple) -> str | None:
    """What keeps a kernel of the device from the inputs, or None: found by tracing."""
    if jax.default_backend() != "gpu":
        return f"cuDNN's kernels need a GPU, not a {jax.default_backend()}"
    loss = lambda *args: fused(*args).astype("float32").sum()  # noqa: E731
    try:
        # With the gradient: what fits a forward pass alone would fail in training.
        jax.eval_shape(jax.grad(loss, (0, 1, 2)), *given)
    except Exception as error:  # noqa: BLE001 - any refusal means the plain products
        return str(error).strip().partition("\n")[0].rstrip(".")
    return None
