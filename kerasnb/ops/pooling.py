"""Pooling: the largest or the mean element of each window."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kerasnb.core import dtypes
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
        return _block_max(_blocks(inputs, window, pads, -jnp.inf))
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


@jax.custom_jvp
def _block_max(blocks: Array) -> Array:
    return jnp.max(blocks, axis=tuple(range(1, blocks.ndim, 2)))


@_block_max.defjvp
def _block_max_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (blocks,), (tangent,) = primals, tangents
    inner = tuple(range(1, blocks.ndim, 2))
    largest = jnp.max(blocks, axis=inner, keepdims=True)
    # Of equal elements the first one counts, as in Keras.
    places = [blocks.shape[axis] for axis in inner]
    shape = [n if i % 2 else 1 for i, n in enumerate(blocks.shape)]
    place = jnp.arange(math.prod(places)).reshape(shape)
    first = jnp.min(
        jnp.where(blocks == largest, place, math.prod(places)), inner, keepdims=True
    )
    chosen = jnp.where(place == first, tangent, 0)
    return jnp.squeeze(largest, inner), jnp.sum(chosen, axis=inner)
