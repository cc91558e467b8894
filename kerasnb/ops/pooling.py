"""Pooling: the largest or the mean element of each window."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kerasnb.core import budget, dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array
from kerasnb.ops._geometry import Ints, check_padding, is_channels_first, per_axis


@op
def max_pool(
    inputs: Any,
    pool_size: Ints,
    strides: Ints | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """The largest element of each window; its gradient goes to the first of equals.

    Shapes: `(b, *spatial, c) -> (b, *spatial', c)`, channels second with
    `data_format="channels_first"`. `strides` is the window by default.

    >>> max_pool(jnp.arange(4.0).reshape(1, 4, 1), 2)[0, :, 0].tolist()
    [1.0, 3.0]
    """
    inputs = dtypes.as_array(inputs)
    window, steps, pads = _windows(inputs, pool_size, strides, padding, data_format)
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        least: Any = jnp.iinfo(inputs.dtype).min if inputs.dtype != bool else False
        least = jnp.asarray(least, inputs.dtype)
        return lax.reduce_window(inputs, least, lax.max, window, steps, pads)
    if window == steps:
        blocks = _blocks(inputs, window, pads, -jnp.inf)
        return _block_max(blocks, tuple(range(1, blocks.ndim, 2)))
    return lax.reduce_window(inputs, -jnp.inf, lax.max, window, steps, pads)


@op
def average_pool(
    inputs: Any,
    pool_size: Ints,
    strides: Ints | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """The mean of each window; padding does not count.

    Shapes: `(b, *spatial, c) -> (b, *spatial', c)`, channels second with
    `data_format="channels_first"`. `strides` is the window by default.

    >>> average_pool(jnp.arange(4.0).reshape(1, 4, 1), 2)[0, :, 0].tolist()
    [0.5, 2.5]
    """
    inputs = dtypes.as_array(inputs)
    window, steps, pads = _windows(inputs, pool_size, strides, padding, data_format)
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        inputs = inputs.astype(dtypes.canonical(None))
    total = lax.reduce_window(inputs, 0.0, lax.add, window, steps, pads)
    if not any(map(any, pads)):
        return total / math.prod(window)
    ones = jnp.ones(
        [n if k > 1 else 1 for n, k in zip(inputs.shape, window, strict=True)],
        inputs.dtype,
    )
    return total / lax.reduce_window(ones, 0.0, lax.add, window, steps, pads)


@op
def adaptive_max_pool(
    inputs: Any, output_size: Ints, data_format: str | None = None
) -> Array:
    """The largest element of each of `output_size` windows, which may overlap by one.

    Window `i` of `o` along an axis of length `n` holds the elements from `⌊i·n/o⌋` up
    to, but without, `⌈(i+1)·n/o⌉`.

    Shapes: `(b, *spatial, c) -> (b, *output_size, c)`, channels second with
    `data_format="channels_first"`.

    >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), 2)[0, :, 0].tolist()
    [2.0, 4.0]
    """
    x, axes = _adaptive("adaptive_max_pool", inputs, output_size, data_format)
    for axis, size in axes:
        n = x.shape[axis]
        budget.afford(f"{size} windows", (size + n, 32))
        if n % size:
            starts, ends = _bounds(n, size)
            longest = int((ends - starts).max())
            # Shorter windows repeat their last element, which changes no maximum.
            within = starts[:, None] + np.arange(longest)
            x = jnp.take(x, np.minimum(within, ends[:, None] - 1), axis=axis)
        else:
            x = x.reshape(*x.shape[:axis], size, n // size, *x.shape[axis + 1 :])
        x = _block_max(x, (axis + 1,))
    return x


@op
def adaptive_average_pool(
    inputs: Any, output_size: Ints, data_format: str | None = None
) -> Array:
    """The mean of each of `output_size` windows, which may overlap by one.

    Window `i` of `o` along an axis of length `n` holds the elements from `⌊i·n/o⌋` up
    to, but without, `⌈(i+1)·n/o⌉`.

    Shapes: `(b, *spatial, c) -> (b, *output_size, c)`, channels second with
    `data_format="channels_first"`.

    >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1), 2)[0, :, 0].tolist()
    [1.0, 3.0]
    """
    x, axes = _adaptive("adaptive_average_pool", inputs, output_size, data_format)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(dtypes.canonical(None))
    for axis, size in axes:
        n = x.shape[axis]
        budget.afford(f"{size} windows", (size, n), 16)
        if n % size:
            starts, ends = _bounds(n, size)
            inside = (np.arange(n) >= starts[:, None]) & (np.arange(n) < ends[:, None])
            shares = jnp.asarray(inside / (ends - starts)[:, None], x.dtype)
            x = _mix(shares, x, axis)
        else:
            blocks = x.reshape(*x.shape[:axis], size, n // size, *x.shape[axis + 1 :])
            x = jnp.mean(blocks, axis + 1)
    return x


def _adaptive(
    who: str, inputs: Any, output_size: Ints, data_format: str | None
) -> tuple[Array, list[tuple[int, int]]]:
    """The images, and each spatial axis with the length it is to get."""
    x = dtypes.as_array(inputs)
    check(3 <= x.ndim <= 5, who, "inputs", x, "images of one to three spatial axes")
    rank = x.ndim - 2
    sizes = per_axis(output_size, rank)
    right = len(sizes) == rank and min(sizes) > 0
    check(right, who, "output_size", output_size, f"{rank} positive integers")
    first = 2 if is_channels_first(data_format) else 1
    return x, [*enumerate(sizes, first)]


def _mix(shares: Array, x: Array, axis: int) -> Array:
    """`shares · x` along an axis: a batch of products, and nothing is transposed."""
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    x = x.reshape(math.prod(before), x.shape[axis], math.prod(after))
    if x.shape[2] == 1:
        out = jnp.matmul(x[..., 0], shares.T, precision="highest")
    else:
        each = jnp.broadcast_to(shares, (x.shape[0], *shares.shape))
        out = jnp.matmul(each, x, precision="highest")
    return out.reshape(*before, shares.shape[0], *after)


def _bounds(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `size` windows over `n` elements starts and ends."""
    i = np.arange(size)
    return i * n // size, -(-(i + 1) * n // size)


def _windows(
    inputs: Array,
    pool_size: Ints,
    strides: Ints | None,
    padding: str,
    data_format: str | None,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Window, steps and padding for every axis, batch and channels included."""
    rank = inputs.ndim - 2
    size = per_axis(pool_size, rank)
    steps = size if strides is None else per_axis(strides, rank)
    first = is_channels_first(data_format)
    full = (lambda t: (1, 1, *t)) if first else (lambda t: (1, *t, 1))
    check(len(size) == rank, "pool", "pool_size", pool_size, f"{rank} numbers")
    window, steps = full(size), full(steps)
    kind = check_padding(padding).upper()
    pads = tuple(lax.padtype_to_pads(inputs.shape, window, steps, kind))
    return window, steps, pads


# --- Windows that do not overlap ------------------------------------------------------
# `reduce_window` and above all its gradient are slow; blocks need only a reshape.


def _blocks(
    inputs: Array, window: Sequence[int], pads: Sequence[tuple[int, int]], fill: float
) -> Array:
    """`(..., n, ...)` as `(..., n / k, ...)` with the windows in a last axis."""
    out = [
        (n + lo + hi) // k
        for n, (lo, hi), k in zip(inputs.shape, pads, window, strict=True)
    ]
    edges = [
        (lo, o * k - n - lo, 0)
        for n, (lo, _), k, o in zip(inputs.shape, pads, window, out, strict=True)
    ]
    if any(map(any, edges)):
        inputs = lax.pad(inputs, jnp.asarray(fill, inputs.dtype), edges)
    shape = [size for pair in zip(out, window, strict=True) for size in pair]
    return inputs.reshape(shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _block_max(blocks: Array, inner: tuple[int, ...]) -> Array:
    """The maximum over the axes `inner`."""
    return jnp.max(blocks, axis=inner)


@_block_max.defjvp
def _block_max_jvp(
    inner: tuple[int, ...], primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    (blocks,), (tangent,) = primals, tangents
    largest = jnp.max(blocks, axis=inner, keepdims=True)
    # Of equal elements the first one counts, as in Keras.
    count = math.prod(blocks.shape[axis] for axis in inner)
    shape = [n if i in inner else 1 for i, n in enumerate(blocks.shape)]
    place = jnp.arange(count).reshape(shape)
    first = jnp.min(jnp.where(blocks == largest, place, count), inner, keepdims=True)
    chosen = jnp.where(place == first, tangent, 0)
    return jnp.squeeze(largest, inner), jnp.sum(chosen, axis=inner)
