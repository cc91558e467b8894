"""Blocks of images and axes of arrays, cut apart and put together again."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array
from kerasnb.ops._geometry import Ints, is_channels_first, per_axis

# --- Depth and space ------------------------------------------------------------------


@op
def depth_to_space(
    x: Any, block_size: int, data_format: str | None = "channels_last"
) -> Array:
    """The channels of a pixel as a block of pixels.

    Shapes: `(b, h, w, c · k²) -> (b, h · k, w · k, c)` for blocks of `k`; channels come
    second with `data_format="channels_first"`, where a block's pixels vary faster than
    its channels.

    >>> depth_to_space(jnp.arange(4).reshape(1, 1, 1, 4), 2)[0, :, :, 0].tolist()
    [[0, 1], [2, 3]]
    """
    x, first, k = _image("depth_to_space", x, block_size, data_format)
    channels = x.shape[1 if first else -1]
    fits = channels % k**2 == 0
    check(fits, "depth_to_space", "x", x, f"of a multiple of {k}² = {k**2} channels")
    if first:
        b, _, h, w = x.shape
        x = x.reshape(b, channels // k**2, k, k, h, w).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(b, channels // k**2, h * k, w * k)
    b, h, w, _ = x.shape
    x = x.reshape(b, h, w, k, k, channels // k**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * k, w * k, channels // k**2)


@op
def space_to_depth(
    x: Any, block_size: int, data_format: str | None = "channels_last"
) -> Array:
    """A block of pixels as the channels of one: the inverse of `depth_to_space`.

    Shapes: `(b, h · k, w · k, c) -> (b, h, w, c · k²)` for blocks of `k`; channels come
    second with `data_format="channels_first"`.

    >>> space_to_depth(jnp.arange(4).reshape(1, 2, 2, 1), 2).tolist()
    [[[[0, 1, 2, 3]]]]
    """
    x, first, k = _image("space_to_depth", x, block_size, data_format)
    height, width = x.shape[2:] if first else x.shape[1:3]
    fits = height % k == width % k == 0
    check(fits, "space_to_depth", "x", x, f"as high and as wide as a multiple of {k}")
    h, w = height // k, width // k
    if first:
        b, c = x.shape[:2]
        x = x.reshape(b, c, h, k, w, k).transpose(0, 1, 3, 5, 2, 4)
        return x.reshape(b, c * k**2, h, w)
    b, c = x.shape[0], x.shape[3]
    x = x.reshape(b, h, k, w, k, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h, w, c * k**2)


def _image(
    who: str, x: Any, block_size: int, data_format: str | None
) -> tuple[Array, bool, int]:
    x = dtypes.as_array(x)
    check(x.ndim == 4, who, "x", x, "an array of four axes, a batch of images")
    right = isinstance(block_size, int) and block_size > 1
    check(right, who, "block_size", block_size, "an integer of 2 or more")
    return x, is_channels_first(data_format), block_size


# --- Sliding blocks -------------------------------------------------------------------


@op
def unfold(
    x: Any, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Array:
    """The blocks under a window that slides over images with the channels second.

    Shapes: `(b, c, h, w) -> (b, c · window, blocks)`.

    >>> unfold(jnp.arange(9).reshape(1, 1, 3, 3), 2)[0, :, 0].tolist()
    [0, 1, 3, 4]
    """
    x = dtypes.as_array(x)
    check(x.ndim == 4, "unfold", "x", x, "of four axes, (batch, channels, h, w)")
    sizes = (kernel_size, dilation, padding, stride)
    return _unfold(x, *(per_axis(size, 2) for size in sizes))


@op
def fold(
    x: Any,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> Array:
    """The sum of sliding blocks, each laid where `unfold` takes it from.

    Shapes: `(b, c · window, blocks) -> (b, c, *output_size)`.

    >>> fold(jnp.ones((1, 4, 4)), 3, 2)[0, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    x = dtypes.as_array(x)
    check(x.ndim == 3, "fold", "x", x, "of shape (batch, channels · window, blocks)")
    sizes = (output_size, kernel_size, dilation, padding, stride)
    size, window, spread, margin, step = (per_axis(v, 2) for v in sizes)
    area = math.prod(window)
    blocks = math.prod(_counts(size, window, spread, margin, step))
    fits = x.shape[1] % area == 0 and x.shape[2] == blocks
    expected = f"of shape (batch, channels · {area}, {blocks}) for these sizes"
    check(fits, "fold", "x", x, expected)
    sums = dtypes.result_type(x.dtype.name, float)  # integers have no transposes
    images = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] // area, *size), sums)
    (out,) = jax.linear_transpose(
        lambda images: _unfold(images, window, spread, margin, step), images
    )(x.astype(sums))
    return out.astype(x.dtype)


Pair = tuple[int, ...]


def _counts(size: Pair, window: Pair, spread: Pair, margin: Pair, step: Pair) -> list:
    """How many blocks there are along each axis."""
    return [
        max((n + 2 * p - d * (k - 1) - 1) // s + 1, 0)
        for n, k, d, p, s in zip(size, window, spread, margin, step, strict=True)
    ]


def _unfold(x: Array, window: Pair, spread: Pair, margin: Pair, step: Pair) -> Array:
    counts = _counts(x.shape[2:], window, spread, margin, step)
    x = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in margin)])
    parts = []
    for index in np.ndindex(window):
        starts = [i * d for i, d in zip(index, spread, strict=True)]
        cut = (
            slice(start, start + (n - 1) * s + 1 if n else start, s)
            for start, n, s in zip(starts, counts, step, strict=True)
        )
        parts.append(x[:, :, *cut])
    out = jnp.stack(parts, axis=2)  # (b, c, window, h', w')
    b, c, area = out.shape[:3]
    return out.reshape(b, c * area, math.prod(counts))


# --- Named axes -----------------------------------------------------------------------


@op
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Array:
    """The axes of an array in a new order, split and joined, as a pattern says.

    The pattern names every axis on both sides of an arrow; names in parentheses are
    parts of one axis, the last part varying fastest. Of the parts of one axis at most
    one may have no length in `axes_lengths` (Rogozhnikov, 2022).

    >>> rearrange(jnp.ones((2, 6, 5)), "b (h k) c -> b h (k c)", k=3).shape
    (2, 2, 15)
    """
    x = dtypes.as_array(tensor)
    before, after = _pattern(pattern)
    names = [name for group in before for name in group]
    order = [names.index(n) if n in names else -1 for group in after for n in group]
    if sorted(order) != list(range(len(names))) or len({*names}) != len(names):
        raise ValueError(
            f'rearrange: "{pattern}" must name the same axes, each once, on both sides '
            "of the arrow."
        )
    for name in axes_lengths:
        check(name in names, "rearrange", name, axes_lengths[name], f'in "{pattern}"')
    if len(before) != x.ndim:
        raise ValueError(
            f'rearrange: "{pattern}" is for {len(before)} axes, the array has shape '
            f"{x.shape}."
        )
    lengths: dict[str, int] = dict(axes_lengths)
    for group, n in zip(before, x.shape, strict=True):
        open_ = [name for name in group if name not in lengths]
        known = math.prod(lengths[name] for name in group if name in lengths)
        fits = n == known if not open_ else known and n % known == 0
        if len(open_) > 1 or not fits:
            given = {name: lengths[name] for name in group if name in lengths}
            raise ValueError(
                f"rearrange: an axis of length {n} cannot be split into "
                f"({' '.join(group)}) with {given or 'no lengths given'}; all parts "
                "but one need a length, and their product must divide it."
            )
        if open_:
            lengths[open_[0]] = n // known
    x = x.reshape([lengths[name] for name in names])
    x = x.transpose(order)
    return x.reshape([math.prod(lengths[name] for name in group) for group in after])


def _pattern(pattern: str) -> list[list[list[str]]]:
    """Both sides of a pattern as groups of names, one for each axis."""
    sides = pattern.split("->")
    form = re.compile(r"(?:\w|\s|\([\w\s]*\))*")
    if len(sides) != 2 or not all(form.fullmatch(side) for side in sides):
        raise ValueError(
            f'rearrange: "{pattern}" is no pattern like "b (h k) c -> b h (k c)": '
            "names and groups of names in parentheses, on both sides of one arrow."
        )
    return [
        [part.strip("()").split() for part in re.findall(r"\w+|\(.*?\)", side)]
        for side in sides
    ]
