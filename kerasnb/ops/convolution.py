"""Convolutions, and why their gradients are written out here.

A training run is one compiled loop. Inside a loop, XLA:CPU has a fast kernel only for
convolutions in canonical form (channels last, kernel spatial-in-out; jax issue 12868).
JAX's own gradients of a convolution are not in that form and run 10 to 60 times slower
there than outside of the loop.

A convolution is bilinear, and so are both of its gradients; each of the three is the
derivative of the others. `conv_p` is one JAX primitive for all three. On the CPU each
is lowered to what is fast there: canonical convolutions, a matrix product for 1x1
kernels, patches and a matrix product for a few input channels, shifted images for
channels by themselves (10 to 80 times faster), one group at a time. Elsewhere it is
lowered to JAX's own convolution and its gradients. Because it is a primitive, it can
be differentiated any number of times, forwards and backwards, batched and compiled.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from kerasnb.core import dtypes
from kerasnb.core.graph import op
from kerasnb.ops._family import Array
from kerasnb.ops._geometry import (
    Geometry,
    Ints,
    check_padding,
    is_channels_first,
    make_geometry,
    per_axis,
)

# --- keras.ops ------------------------------------------------------------------------


@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Array:
    """Slide a kernel over one to three axes and sum the products.

    Shapes: `(b, *spatial, c), (*window, c / groups, n) -> (b, *spatial', n)`; with
    `data_format="channels_first"` the channels of images come second. Fewer input
    channels in the kernel than in the images make groups.

    >>> conv(jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1)))[0, :, 0].tolist()
    [3.0, 3.0]
    """
    kernel = dtypes.as_array(kernel)
    inputs = dtypes.as_array(inputs).astype(kernel.dtype)
    first = is_channels_first(data_format)
    images = jnp.moveaxis(inputs, 1, -1) if first else inputs
    channels, own = images.shape[-1], kernel.shape[-2]
    if kernel.ndim != images.ndim or channels % own:
        raise ValueError(
            f"conv: a kernel of shape {kernel.shape} takes {own} channels, or several "
            f"groups of {own}, over {kernel.ndim - 2} axes; the inputs have shape "
            f"{inputs.shape}."
        )
    geometry = make_geometry(
        images.shape, kernel.shape, strides, padding, dilation_rate
    )
    out = _conv(images, kernel, geometry, groups=channels // own)
    if out.size == 0 and inputs.size:
        raise ValueError(
            f"conv: inputs of shape {inputs.shape} are smaller than the window "
            f"{kernel.shape[:-2]}, so nothing is left; use larger inputs, a smaller "
            'kernel or padding="same".'
        )
    return jnp.moveaxis(out, -1, 1) if first else out


@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Array:
    """A convolution of each channel by itself, with `m` kernels.

    Shapes: `(b, *spatial, c), (*window, c, m) -> (b, *spatial', c * m)`.

    >>> depthwise_conv(jnp.ones((1, 4, 2)), jnp.ones((3, 2, 1))).shape
    (1, 2, 2)
    """
    kernel = dtypes.as_array(kernel)
    *window, channels, multiplier = kernel.shape
    given = jnp.shape(inputs)[1 if is_channels_first(data_format) else -1]
    if given != channels:
        raise ValueError(
            f"depthwise_conv: the kernel is for {channels} channels, the inputs have "
            f"{given}."
        )
    kernel = kernel.reshape(*window, 1, channels * multiplier)
    return conv(inputs, kernel, strides, padding, data_format, dilation_rate)


@op
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Array:
    """A convolution of each channel by itself, then a mix of the channels.

    Shapes: `(b, *spatial, c), (*window, c, m), (*ones, c * m, n) -> (b, *spatial', n)`.

    >>> kernels = jnp.ones((3, 2, 1)), jnp.ones((1, 2, 5))
    >>> separable_conv(jnp.ones((1, 4, 2)), *kernels).shape
    (1, 2, 5)
    """
    out = depthwise_conv(
        inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
    )
    return conv(out, pointwise_kernel, 1, "valid", data_format, dilation_rate)


@op
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Ints = 1,
    padding: str = "valid",
    output_padding: Ints | None = None,
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Array:
    """The gradient of a convolution by its inputs, as a way to enlarge images.

    The output is `(n - 1) * stride + max(window, stride)` long with `"valid"` padding,
    `n * stride` with `"same"`, unless `output_padding` says otherwise.

    Shapes: `(b, *spatial, c), (*window, n, c) -> (b, *spatial', n)`.

    >>> conv_transpose(jnp.ones((1, 2, 1)), jnp.ones((2, 1, 1)), 2)[0, :, 0].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    inputs, kernel = dtypes.as_array(inputs), dtypes.as_array(kernel)
    dtype = dtypes.result_type(inputs.dtype.name, kernel.dtype.name)
    inputs, kernel = inputs.astype(dtype), kernel.astype(dtype)
    first = is_channels_first(data_format)
    images = jnp.moveaxis(inputs, 1, -1) if first else inputs
    if kernel.ndim != images.ndim or images.shape[-1] != kernel.shape[-1]:
        raise ValueError(
            f"conv_transpose: a kernel of shape {kernel.shape} takes "
            f"{kernel.shape[-1]} channels over {kernel.ndim - 2} axes; the inputs have "
            f"shape {inputs.shape}."
        )
    rank = images.ndim - 2
    strides = per_axis(strides, rank)
    dilation = per_axis(dilation_rate, rank)
    pads, sizes = [], []
    for axis in range(rank):
        extra = output_padding
        if extra is not None and not isinstance(extra, int):
            extra = extra[axis]
        window = (kernel.shape[axis] - 1) * dilation[axis] + 1
        before, after = _transpose_padding(window, strides[axis], padding, extra)
        long = (images.shape[axis + 1] - 1) * strides[axis] + 1
        size = long + before + after - (window - 1)
        # As the convolution that this one is the gradient of would see them.
        pads.append((window - 1 - before, window - 1 - after))
        sizes.append(size)
    geometry = Geometry(strides, tuple(pads), dilation, tuple(sizes), kernel.shape[:-2])
    if jnp.issubdtype(images.dtype, jnp.floating):
        out = _bind(images, kernel, "inputs", geometry)
    else:
        out = _inputs(images, kernel, geometry)
    return jnp.moveaxis(out, -1, 1) if first else out


def _transpose_padding(
    window: int, stride: int, padding: str, extra: int | None
) -> tuple[int, int]:
    """How far the spread-out input is padded on each side before the convolution."""
    if check_padding(padding) == "valid":
        extra = max(window, stride) - window if extra is None else extra
        return window - 1, window - 1 + extra
    if extra is None:
        total = stride + window - 2
    else:
        total = window + window % 2 - 2 + extra
    before = min(total - total // 2, window - 1)
    return before, total - before


# --- One primitive for a convolution and its gradients --------------------------------


def _conv(images: Array, kernel: Array, geometry: Geometry, groups: int) -> Array:
    geometry = geometry._replace(groups=groups)
    if not jnp.issubdtype(kernel.dtype, jnp.floating):
        return _plain_conv(images, kernel, geometry)
    return _bind(images, kernel, "outputs", geometry)


def _bind(a: Array, b: Array, wanted: str, geometry: Geometry) -> Array:
    return conv_p.bind(a, b, wanted=wanted, geometry=geometry)


conv_p = Primitive("keras_conv")
"""`bind(a, b, wanted=..., geometry=...)`: one of the three bilinear maps
`images, kernel -> outputs`, `outputs, kernel -> inputs`, `images, outputs -> kernel`,
where each map is named by its result; channels are last."""


def _other(wanted: str, which: int) -> str:
    """The map whose result has the kind of the first or second operand of `wanted`."""
    operands = {
        "outputs": ("inputs", "kernel"),
        "inputs": ("outputs", "kernel"),
        "kernel": ("inputs", "outputs"),
    }
    return operands[wanted][which]


def _pull_back(
    which: int, cotangent: Array, a: Any, b: Any, *, wanted: str, geometry: Geometry
) -> Array:
    """The cotangent of operand `which`, by the map that has it as a result."""
    known = {wanted: cotangent, _other(wanted, 1 - which): b if which == 0 else a}
    result = _other(wanted, which)
    return _bind(known[_other(result, 0)], known[_other(result, 1)], result, geometry)


ad.defbilinear(
    conv_p, functools.partial(_pull_back, 0), functools.partial(_pull_back, 1)
)
_bilinear_jvp = ad.primitive_jvps[conv_p]


def _jvp(primals: Any, tangents: Any, *, wanted: str, geometry: Geometry) -> Any:
    """The derivative, with a note that there is one: `_canonical` reads it."""
    geometry = geometry._replace(differentiated=True)
    return _bilinear_jvp(primals, tangents, wanted=wanted, geometry=geometry)


ad.primitive_jvps[conv_p] = _jvp


# --- As JAX has it --------------------------------------------------------------------


def _numbers(rank: int) -> tuple[str, str, str]:
    axes = "DHW"[3 - rank :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _plain_conv(images: Array, kernel: Array, geometry: Geometry) -> Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        geometry.strides,
        geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_numbers(len(geometry.strides)),
        feature_group_count=geometry.groups,
    )


def _plain(a: Array, b: Array, *, wanted: str, geometry: Geometry) -> Array:
    """Each of the three maps by JAX's own convolution and its transposes."""
    if wanted == "outputs":
        return _plain_conv(a, b, geometry)
    if wanted == "inputs":
        shape = (a.shape[0], *geometry.images, b.shape[-2] * geometry.groups)
        like = jax.ShapeDtypeStruct(shape, a.dtype)
        (out,) = jax.linear_transpose(lambda x: _plain_conv(x, b, geometry), like)(a)
        return out
    shape = (*geometry.window, a.shape[-1] // geometry.groups, b.shape[-1])
    like = jax.ShapeDtypeStruct(shape, a.dtype)
    (out,) = jax.linear_transpose(lambda w: _plain_conv(a, w, geometry), like)(b)
    return out


# --- As the CPU likes it --------------------------------------------------------------


def _canonical(a: Array, b: Array, *, wanted: str, geometry: Geometry) -> Array:
    """Each of the three maps as a canonical convolution, or without one."""
    if geometry.groups > 1:
        channels = b.shape[-2] if wanted != "kernel" else a.shape[-1] // geometry.groups
        # What is unrolled must not grow without bounds.
        unrolled = math.prod(geometry.window) * b.shape[-1] // geometry.groups
        if channels == 1 and unrolled <= 64:
            return _depthwise(a, b, wanted, geometry)
        if geometry.groups <= 32:
            return _by_group(a, b, wanted, geometry)
        return _plain(a, b, wanted=wanted, geometry=geometry)
    if all(k == 1 for k in geometry.window) and not any(map(any, geometry.pads)):
        return _pointwise(a, b, wanted, geometry)
    # Patches pay when the gradient of the kernel needs them too, not for answers alone.
    patched = wanted == "kernel" or (wanted == "outputs" and geometry.differentiated)
    if patched and _is_narrow(a.shape[-1], geometry):
        patches = _patches(a, geometry)
        if wanted == "outputs":
            return patches @ b.reshape(-1, b.shape[-1])
        product = _over_positions(patches, b)
        return product.reshape(*geometry.window, a.shape[-1], b.shape[-1])
    # Sums of products that are rounded to 16 bits would be coarse.
    few = math.prod(geometry.window) <= 64 and a.dtype.itemsize >= 4
    if len(geometry.window) == 3 and few:
        return _by_place(a, b, wanted, geometry)
    if wanted == "outputs":
        return _plain_conv(a, b, geometry)
    return (_inputs if wanted == "inputs" else _kernel)(a, b, geometry)


def _by_place(a: Array, b: Array, wanted: str, geometry: Geometry) -> Array:
    """One matrix product for each place of the window: for three axes.

    Measured there: up to 5 times faster than a convolution, 100 times for `inputs` with
    strides. With two axes it gains nothing.
    """
    if wanted == "kernel":
        places = [_over_positions(part, b) for part in _shifts(a, geometry)]
        return jnp.stack(places).reshape(*geometry.window, *places[0].shape)
    numbers = b.reshape(-1, *b.shape[-2:])
    if wanted == "outputs":
        pairs = zip(_shifts(a, geometry), numbers, strict=True)
        return functools.reduce(operator.add, (part @ number for part, number in pairs))
    zero, terms = jnp.zeros((), a.dtype), []
    for index, number in zip(np.ndindex(geometry.window), numbers, strict=True):
        edges = []
        for i, d, s, (lo, _), n, o in zip(
            index,
            geometry.dilation,
            geometry.strides,
            geometry.pads,
            geometry.images,
            a.shape[1:-1],
            strict=True,
        ):
            before = i * d - lo
            edges.append((before, n - (before + (o - 1) * s + 1), s - 1))
        terms.append(lax.pad(a @ number.T, zero, [(0, 0, 0), *edges, (0, 0, 0)]))
    return functools.reduce(operator.add, terms)


def _inputs(outputs: Array, kernel: Array, geometry: Geometry) -> Array:
    """Outputs spread out by the strides, convolved with the reversed kernel."""
    pads = _pads_of_outputs(outputs, geometry)
    rank = len(pads)
    return lax.conv_general_dilated(
        outputs,
        lax.rev(kernel, range(rank)).swapaxes(-1, -2),
        (1,) * rank,
        pads,
        lhs_dilation=geometry.strides,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_numbers(rank),
    )


def _pads_of_outputs(outputs: Array, geometry: Geometry) -> list[tuple[int, int]]:
    """The edges of spread-out outputs that a reversed kernel needs."""
    pads = []
    for n, (lo, _), reach, s, o in zip(
        geometry.images,
        geometry.pads,
        geometry.spread,
        geometry.strides,
        outputs.shape[1:-1],
        strict=True,
    ):
        before = reach - 1 - lo
        pads.append((before, n + reach - 1 - ((o - 1) * s + 1) - before))
    return pads


def _kernel(images: Array, outputs: Array, geometry: Geometry) -> Array:
    """Images convolved with the outputs; the batch is the channel that is summed."""
    rank = len(geometry.strides)
    pads = [
        (lo, (o - 1) * s + reach - n - lo)
        for n, (lo, _), reach, s, o in zip(
            geometry.images,
            geometry.pads,
            geometry.spread,
            geometry.strides,
            outputs.shape[1:-1],
            strict=True,
        )
    ]
    out = lax.conv_general_dilated(
        jnp.swapaxes(images, 0, -1),  # (c, *spatial, b)
        jnp.moveaxis(outputs, 0, -2),  # (*spatial', b, n)
        geometry.dilation,
        pads,
        rhs_dilation=geometry.strides,
        dimension_numbers=_numbers(rank),
    )
    return jnp.moveaxis(out, 0, -2)  # (*window, c, n)


def _pointwise(a: Array, b: Array, wanted: str, geometry: Geometry) -> Array:
    """A 1x1 convolution is a matrix product of the channels."""
    step = tuple(slice(None, None, s) for s in geometry.strides)
    if wanted == "outputs":
        return a[:, *step] @ b.reshape(b.shape[-2:])
    if wanted == "kernel":
        product = _over_positions(a[:, *step], b)
        return product.reshape(*geometry.window, *product.shape)
    small = a @ b.reshape(b.shape[-2:]).T
    if all(s == 1 for s in geometry.strides):
        return small
    gaps = [
        (0, n - ((o - 1) * s + 1), s - 1)
        for n, o, s in zip(
            geometry.images, a.shape[1:-1], geometry.strides, strict=True
        )
    ]
    return lax.pad(small, jnp.zeros((), a.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _over_positions(a: Array, b: Array) -> Array:
    """The products of two channels, added up over batch and space."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def _by_group(a: Array, b: Array, wanted: str, geometry: Geometry) -> Array:
    """One convolution after the other; all operands and results have groups last."""
    one, count = geometry._replace(groups=1), geometry.groups
    pairs = zip(jnp.split(a, count, -1), jnp.split(b, count, -1), strict=True)
    return jnp.concatenate(
        [_canonical(x, y, wanted=wanted, geometry=one) for x, y in pairs], -1
    )


def _depthwise(a: Array, b: Array, wanted: str, geometry: Geometry) -> Array:
    """Each channel by itself: shifted images times one number of the kernel each."""
    multiplier = b.shape[-1] // geometry.groups
    if wanted == "inputs":
        images, over = _spread(a, geometry)
        kernel = lax.rev(b, range(len(geometry.window)))
        terms = [
            _shifted_products(
                images[..., i::multiplier], kernel[..., i::multiplier], over
            )
            for i in range(multiplier)
        ]
        return functools.reduce(operator.add, terms)
    each = _shifted_products if wanted == "outputs" else _products_with_shifts
    parts = [each(a, b[..., i::multiplier], geometry) for i in range(multiplier)]
    stacked = jnp.stack(parts, -1)
    return stacked.reshape(*stacked.shape[:-2], b.shape[-1])


def _spread(outputs: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """Outputs with the gaps of strides, and how a reversed kernel runs over them."""
    pads = _pads_of_outputs(outputs, geometry)
    gaps = [(*pad, s - 1) for pad, s in zip(pads, geometry.strides, strict=True)]
    zero, rank = jnp.zeros((), outputs.dtype), len(pads)
    spread = lax.pad(outputs, zero, [(0, 0, 0), *gaps, (0, 0, 0)])
    over = geometry._replace(
        strides=(1,) * rank, pads=((0, 0),) * rank, images=spread.shape[1:-1]
    )
    return spread, over


def _shifted_products(images: Array, kernel: Array, geometry: Geometry) -> Array:
    """`(b, *spatial, c), (*window, 1, c) -> (b, *spatial', c)`, one loop in XLA."""
    # 16 bits are too few for sums.
    wide = jnp.promote_types(images.dtype, jnp.float32)
    numbers = kernel.reshape(-1, kernel.shape[-1]).astype(wide)
    pairs = zip(_shifts(images, geometry), numbers, strict=True)
    total = functools.reduce(operator.add, (part * number for part, number in pairs))
    return total.astype(images.dtype)


def _products_with_shifts(images: Array, outputs: Array, geometry: Geometry) -> Array:
    """`(b, *spatial, c), (b, *spatial', c) -> (*window, 1, c)`."""
    axes = tuple(range(outputs.ndim - 1))
    sums = [(part * outputs).sum(axes) for part in _shifts(images, geometry)]
    return jnp.stack(sums).reshape(*geometry.window, 1, outputs.shape[-1])


def _is_narrow(channels: int, geometry: Geometry) -> bool:
    """Whether patches are so small that copying them out pays: grey or colour images.

    Measured: 3x3x1 is 2 to 4 times faster, 3x3x3 by half, 7x7x3 and 3x3x8 not at all.
    """
    return channels <= 4 and channels * math.prod(geometry.window) <= 75


def _patches(images: Array, geometry: Geometry) -> Array:
    """The elements under the window at each output: `(b, *out, window * channels)`."""
    return jnp.concatenate(_shifts(images, geometry), -1)


def _shifts(images: Array, geometry: Geometry) -> list[Array]:
    """The elements that each place of the window meets: `(b, *out, channels)`."""
    edges = [(*pad, 0) for pad in geometry.pads]  # negative ones cut
    zero = jnp.zeros((), images.dtype)
    images = lax.pad(images, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    parts = []
    for index in np.ndindex(geometry.window):
        starts = [i * d for i, d in zip(index, geometry.dilation, strict=True)]
        cut = tuple(
            slice(start, start + (o - 1) * s + 1, s)
            for start, o, s in zip(
                starts, geometry.outputs, geometry.strides, strict=True
            )
        )
        parts.append(images[:, *cut])
    return parts


# --- The primitive's rules ------------------------------------------------------------


def _abstract(a: Any, b: Any, **params: Any) -> Any:
    out = jax.eval_shape(functools.partial(_plain, **params), a, b)
    return jax.core.ShapedArray(out.shape, out.dtype)


def _batched(args: Sequence[Any], axes: Sequence[int | None], **params: Any) -> Any:
    return jax.vmap(functools.partial(_plain, **params), tuple(axes))(*args), 0


conv_p.def_abstract_eval(_abstract)
conv_p.def_impl(jax.jit(_bind, static_argnums=(2, 3)))
batching.primitive_batchers[conv_p] = _batched
mlir.register_lowering(conv_p, mlir.lower_fun(_plain, multiple_results=False))
mlir.register_lowering(
    conv_p, mlir.lower_fun(_canonical, multiple_results=False), platform="cpu"
)
