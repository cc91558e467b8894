"""Pictures: colours, sizes, warps, blurs, patches. `keras.ops.image`.

An image is `(height, width, channels)`, a batch of them has one axis more; with
`data_format="channels_first"` the channels come before the height.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import is_probe, op
from kerasnb.ops._family import Array, tensor
from kerasnb.ops._geometry import Ints, check_padding, is_channels_first, per_axis
from kerasnb.random import draw_seed

RESIZE_METHODS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic")
FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
ORDERS = {"nearest": 0, "bilinear": 1}
_SCALE_METHODS = (
    *("linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic"),
    *("lanczos3", "lanczos5"),
)


def _one_of(name: str, value: Any, options: Sequence[Any]) -> None:
    check(value in options, None, name, value, f"one of {tuple(options)}")


def _images(value: Any, name: str = "images") -> Array:
    x = jnp.asarray(tensor(value))
    check(x.ndim in (3, 4), None, name, x, "one image (rank 3) or a batch (rank 4)")
    return x


def spatial(data_format: str | None) -> tuple[int, int]:
    """The axes of height and width, counted from the end."""
    return (-2, -1) if is_channels_first(data_format) else (-3, -2)


def _channels(data_format: str | None) -> int:
    return -3 if is_channels_first(data_format) else -1


def _as_batch_of_last(
    images: Array, data_format: str | None, fn: Callable[[Array], Array]
) -> Array:
    """`fn` on `(batch, height, width, channels)`; the result laid out as `images`."""
    first, single = is_channels_first(data_format), images.ndim == 3
    x = images[None] if single else images
    y = fn(jnp.moveaxis(x, 1, -1) if first else x)
    y = jnp.moveaxis(y, -1, 1) if first else y
    return y[0] if single else y


# --- Colours --------------------------------------------------------------------------


@op
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Array:
    """The brightness of each pixel, `0.2989 r + 0.587 g + 0.114 b`.

    Shapes: `(..., height, width, 3) -> (..., height, width, 1)`; images with one
    channel stay as they are.

    >>> round(float(rgb_to_grayscale(jnp.ones((2, 2, 3)))[0, 0, 0]), 4)
    0.9999
    """
    x, axis = _images(images), _channels(data_format)
    channels = x.shape[axis]
    check(channels in (1, 3), None, "images", x, "images with 1 or 3 channels")
    if channels == 1:
        return x
    floats = x.astype(dtypes.result_type(x.dtype.name, float))
    weights = jnp.asarray([0.2989, 0.5870, 0.1140], floats.dtype)
    gray = jnp.tensordot(floats, weights, axes=(axis, -1))
    return jnp.expand_dims(gray, axis).astype(x.dtype)


def _planes(images: Any, data_format: str | None) -> tuple[list[Array], int]:
    x, axis = _images(images), _channels(data_format)
    check(dtypes.is_float(x.dtype), None, "images", x, "of a floating dtype")
    check(x.shape[axis] == 3, None, "images", x, "images with 3 channels")
    return [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(3)], axis


@op
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Array:
    """Red, green and blue as hue, saturation and value; hue runs from 0 to 1.

    Shapes: `(..., height, width, 3)`, unchanged.

    >>> rgb_to_hsv(jnp.array([[[1.0, 0.5, 0.5]]])).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    planes, axis = _planes(images, data_format)
    tiny = jnp.finfo(planes[0].dtype).eps
    r, g, b = (jnp.where(jnp.abs(p) < tiny, 0.0, p) for p in planes)
    value = jnp.maximum(jnp.maximum(r, g), b)
    spread = value - jnp.minimum(jnp.minimum(r, g), b)
    saturation = jnp.where(value > 0, spread / jnp.where(value > 0, value, 1.0), 0.0)
    scale = 1.0 / (6.0 * jnp.where(spread > 0, spread, 1.0))
    # Comparisons, for XLA may compute the same plane twice with different last bits.
    hue = jnp.where(g >= b, scale * (b - r) + 2 / 6, scale * (r - g) + 4 / 6)
    hue = jnp.where((r >= g) & (r >= b), scale * (g - b), hue)
    hue = jnp.where(spread > 0, hue, 0.0) + (hue < 0.0).astype(hue.dtype)
    return jnp.stack([hue, saturation, value], axis)


@op
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Array:
    """Hue, saturation and value as red, green and blue.

    Shapes: `(..., height, width, 3)`, unchanged.

    >>> hsv_to_rgb(jnp.array([[[0.0, 1.0, 1.0]]])).ravel().tolist()
    [1.0, 0.0, 0.0]
    """
    (hue, saturation, value), axis = _planes(images, data_format)
    turn = jnp.mod(hue, 1.0) * 6.0
    shares = (
        jnp.clip(jnp.abs(turn - 3.0) - 1.0, 0.0, 1.0),
        jnp.clip(2.0 - jnp.abs(turn - 2.0), 0.0, 1.0),
        jnp.clip(2.0 - jnp.abs(turn - 4.0), 0.0, 1.0),
    )
    planes = [value * ((1.0 - saturation) + saturation * share) for share in shares]
    return jnp.stack(planes, axis)


# --- Sizes ----------------------------------------------------------------------------


def fit_inside(height: int, width: int, target: Sequence[int]) -> tuple[int, ...]:
    """The largest centred window with the proportions of `target`: top, left, size.

    >>> fit_inside(10, 20, (5, 5))
    (0, 5, 10, 10)
    """
    h = max(min(height, int(float(width * target[0]) / target[1])), 1)
    w = max(min(width, int(float(height * target[1]) / target[0])), 1)
    return int(float(height - h) / 2), int(float(width - w) / 2), h, w


@op
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Array:
    """Images of another size; the proportions kept by cropping or padding if asked.

    `interpolation` is "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
    Shapes: `(..., h, w, channels) -> (..., *size, channels)`; the dtype is kept.

    >>> resize(jnp.ones((2, 4, 4, 3)), (8, 6)).shape
    (2, 8, 6, 3)
    """
    good = len(size) == 2 and all(length > 0 for length in size)
    check(good, None, "size", size, "two positive integers, (height, width)")
    x, (rows, columns) = _images(images), spatial(data_format)
    _one_of("interpolation", interpolation, RESIZE_METHODS)
    _one_of("fill_mode", fill_mode, ("constant",))
    if pad_to_aspect_ratio and crop_to_aspect_ratio:
        raise ValueError(
            "Set only one of `pad_to_aspect_ratio` and `crop_to_aspect_ratio`."
        )
    height, width = x.shape[rows], x.shape[columns]
    if crop_to_aspect_ratio:
        top, left, h, w = fit_inside(height, width, size)
        x = lax.slice_in_dim(x, top, top + h, axis=rows)
        x = lax.slice_in_dim(x, left, left + w, axis=columns)
    elif pad_to_aspect_ratio:
        extra = (
            max(height, int(float(width * size[0]) / size[1])) - height,
            max(width, int(float(height * size[1]) / size[0])) - width,
        )
        pads = [(0, 0)] * x.ndim
        pads[rows], pads[columns] = ((int(n / 2),) * 2 for n in extra)
        if pads[rows] != (0, 0):  # one axis at most is too short
            pads[columns] = (0, 0)
        x = jnp.pad(x, pads, constant_values=fill_value)
    shape = list(x.shape)
    shape[rows], shape[columns] = size
    return to_dtype(jax.image.resize(x, shape, interpolation, antialias), x.dtype)


def to_dtype(x: Array, dtype: Any) -> Array:
    """`x` in another dtype: rounded to integers, kept in their range."""
    if x.dtype == dtype or not dtypes.is_int(dtype):
        return x.astype(dtype)
    limits = jnp.iinfo(dtype)
    return jnp.clip(jnp.round(x), limits.min, limits.max).astype(dtype)


_HEIGHTS = ("top", "bottom", "height")
_WIDTHS = ("left", "right", "width")


def _margins(
    kind: str, size: int, before: Any, after: Any, target: Any, names: Sequence[str]
) -> tuple[int, int, int]:
    """Two of the lengths before, after and in all, completed to three."""
    given = {f"{names[0]}_{kind}": before, f"{names[1]}_{kind}": after}
    given[f"target_{names[2]}"] = target
    if list(given.values()).count(None) != 1:
        raise ValueError(f"Give exactly two of {', '.join(given)}; got {given}.")
    sign = 1 if kind == "padding" else -1
    if target is None:
        target = size + sign * (before + after)
    elif before is None:
        before = sign * (target - size) - after
    else:
        after = sign * (target - size) - before
    for name, value in zip(given, (before, after, target), strict=True):
        good = value >= 0 or (given[name] is None and is_probe(size))
        check(good, None, name, value, f"at least 0 for a length of {size}")
    return before, after, target


@op
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Array:
    """Zeros around images: two of top, bottom and target height, likewise in width.

    Shapes: `(..., h, w, channels) -> (..., target_height, target_width, channels)`.

    >>> pad_images(jnp.ones((2, 2, 1)), 1, 0, target_height=4, target_width=3).shape
    (4, 3, 1)
    """
    x, (rows, columns) = _images(images), spatial(data_format)
    pads = [(0, 0, 0)] * x.ndim
    for axis, start, end, target, names in (
        (rows, top_padding, bottom_padding, target_height, _HEIGHTS),
        (columns, left_padding, right_padding, target_width, _WIDTHS),
    ):
        before, after, _ = _margins("padding", x.shape[axis], start, end, target, names)
        pads[axis] = (before, after, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


@op
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Array:
    """A window of images: two of top, bottom and target height, likewise in width.

    Shapes: `(..., h, w, channels) -> (..., target_height, target_width, channels)`.

    >>> crop_images(jnp.ones((4, 4, 1)), 1, 0, target_height=2, target_width=3).shape
    (2, 3, 1)
    """
    x, (rows, columns) = _images(images), spatial(data_format)
    for axis, start, end, target, names in (
        (rows, top_cropping, bottom_cropping, target_height, _HEIGHTS),
        (columns, left_cropping, right_cropping, target_width, _WIDTHS),
    ):
        before, _, length = _margins(
            "cropping", x.shape[axis], start, end, target, names
        )
        x = lax.slice_in_dim(x, before, before + length, axis=axis)
    return x


@op
def scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Array:
    """An array scaled about the origin, then moved, along `spatial_dims`.

    Shapes: any `-> output_shape`. Computed by `jax.image.scale_and_translate`.

    >>> x, half = jnp.ones((4, 4)), jnp.full(2, 0.5)
    >>> scale_and_translate(x, (2, 2), half, half, (0, 1), "linear").shape
    (2, 2)
    """
    _one_of("method", method, _SCALE_METHODS)
    return jax.image.scale_and_translate(
        tensor(images),
        tuple(output_shape),
        spatial_dims,
        jnp.asarray(scale),
        jnp.asarray(translation),
        method,
        antialias,
    )


# --- Warps ----------------------------------------------------------------------------


@op
def map_coordinates(
    inputs: Any,
    coordinates: Any,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> Array:
    """The values of an array between its elements, at the given places.

    `order` is 0 (the nearest element) or 1 (linear); `fill_mode` says what lies
    outside. Shapes: `(d1, ..., dn), (n, ...) -> (...)`.

    >>> map_coordinates(jnp.arange(4.0), [[0.5, 2.0]], order=1).tolist()
    [0.5, 2.0]
    """
    x, places = jnp.asarray(tensor(inputs)), jnp.asarray(tensor(coordinates))
    good = places.ndim >= 2 and places.shape[0] == x.ndim
    check(good, None, "coordinates", places, f"an array of shape ({x.ndim}, ...)")
    _one_of("fill_mode", fill_mode, FILL_MODES)
    _one_of("order", order, (0, 1))
    return jax.scipy.ndimage.map_coordinates(
        x, tuple(places), order, fill_mode, fill_value
    )


def look_up(
    images: Array, rows: Array, columns: Array, order: int, mode: str, fill: Any
) -> Array:
    """Images `(b, h, w, c)` read at places `(b, h', w')`: all channels at once."""

    def read(plane: Array, row: Array, column: Array) -> Array:
        places = (row, column)
        return jax.scipy.ndimage.map_coordinates(plane, places, order, mode, fill)

    return jax.vmap(jax.vmap(read, (-1, None, None), -1))(images, rows, columns)


def project(
    images: Array,
    matrix: Array,
    interpolation: str,
    mode: str,
    fill: Any,
    data_format: str | None,
) -> Array:
    """Images whose pixel `p` is the given ones' at `matrix @ p`, in homogeneous x, y.

    `matrix` is `(batch, 3, 3)`; it leads from the places of the result to those read.
    """

    def warp(x: Array) -> Array:
        height, width = x.shape[1:3]
        row, column = jnp.meshgrid(*map(jnp.arange, (height, width)), indexing="ij")
        m = jnp.broadcast_to(matrix, (len(x), 3, 3))[..., None, None]
        at = [m[:, i, 0] * column + m[:, i, 1] * row + m[:, i, 2] for i in range(3)]
        return look_up(
            x, at[1] / at[2], at[0] / at[2], ORDERS[interpolation], mode, fill
        )

    return _as_batch_of_last(images, data_format, warp)


@op
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Array:
    """Images shifted, turned, scaled or sheared.

    The pixel at `(x, y)` of the result is read at `(a0 x + a1 y + a2, b0 x + b1 y +
    b2)`, where `transform` is `(a0, a1, a2, b0, b1, b2, 0, 0)`, one for all images or
    one for each. `fill_mode` says what lies outside: "constant", "nearest", "wrap",
    "mirror" or "reflect". Shapes: `(..., height, width, channels)`, unchanged.

    >>> right = jnp.array([1.0, 0, -1, 0, 1, 0, 0, 0])
    >>> affine_transform(jnp.array([[[1.0], [2.0]]]), right).ravel().tolist()
    [0.0, 1.0]
    """
    x, t = _images(images), jnp.asarray(tensor(transform))
    _one_of("interpolation", interpolation, tuple(ORDERS))
    _one_of("fill_mode", fill_mode, FILL_MODES)
    good = t.ndim in (1, 2) and t.shape[-1] == 8
    check(good, None, "transform", t, "8 numbers, or 8 for each image")
    return project(
        x, affine_matrix(t), interpolation, fill_mode, fill_value, data_format
    )


def affine_matrix(transform: Array) -> Array:
    """The `(batch, 3, 3)` matrices of `(batch, 8)` affine transforms."""
    t = jnp.atleast_2d(transform)
    t = t.astype(dtypes.result_type(t.dtype.name, float))
    last = jnp.broadcast_to(jnp.asarray([0, 0, 1], t.dtype), (len(t), 3))
    return jnp.concatenate([t[:, :6], last], 1).reshape(-1, 3, 3)


def homography(start_points: Any, end_points: Any) -> Array:
    """The `(batch, 3, 3)` matrices that lead from four end points to the start points.

    Each point gives two linear equations for the eight unknown entries.
    """
    start = jnp.asarray(start_points, "float32").reshape(-1, 4, 2)
    end = jnp.asarray(end_points, "float32").reshape(-1, 4, 2)
    ones, zeros = jnp.ones_like(end[..., :1]), jnp.zeros_like(end)
    here = jnp.concatenate([end, ones], -1)
    blank = jnp.concatenate([zeros, zeros[..., :1]], -1)
    rows = jnp.concatenate(
        [
            jnp.concatenate([here, blank, -start[..., :1] * end], -1),
            jnp.concatenate([blank, here, -start[..., 1:] * end], -1),
        ],
        1,
    )
    wanted = jnp.concatenate([start[..., 0], start[..., 1]], -1)
    entries = jnp.linalg.solve(rows, wanted[..., None])[..., 0]
    return jnp.concatenate([entries, ones[:, 0]], -1).reshape(-1, 3, 3)


@op
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Array:
    """Images seen from elsewhere: four points `(x, y)` move to four others.

    Shapes: `(..., height, width, channels), (..., 4, 2), (..., 4, 2)`, the images'
    shape unchanged.

    >>> corners = jnp.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    >>> perspective_transform(jnp.ones((2, 2, 1)), corners, corners).shape
    (2, 2, 1)
    """
    x, start, end = _images(images), *map(jnp.asarray, (start_points, end_points))
    _one_of("interpolation", interpolation, tuple(ORDERS))
    for name, points in (("start_points", start), ("end_points", end)):
        good = points.ndim in (2, 3) and points.shape[-2:] == (4, 2)
        check(good, None, name, points, "of shape (4, 2), or (batch, 4, 2)")
    check(start.shape == end.shape, None, "end_points", end, f"of shape {start.shape}")
    matrix = homography(start, end)
    return project(x, matrix, interpolation, "constant", fill_value, data_format)


# --- Neighbourhoods -------------------------------------------------------------------

_MANY_TAPS = 24


def _filter(x: Array, taps: Array, axis: int, same: bool = True) -> Array:
    """Correlation with `taps` along one axis, with zeros outside when `same`.

    A few shifted sums are faster than a grouped convolution, which XLA runs slowly on
    CPU. Many taps are a multiplication with a banded matrix.
    """
    size, length = len(taps), x.shape[axis]
    low = (size - 1) // 2 if same else 0
    out = length if same else length - size + 1
    if size > _MANY_TAPS:
        tap = jnp.arange(length)[None] - jnp.arange(out)[:, None] + low
        inside = (tap >= 0) & (tap < size)
        band = jnp.where(inside, jnp.take(taps, jnp.clip(tap, 0, size - 1)), 0)
        moved = jnp.moveaxis(x, axis, -1)
        product = jnp.matmul(moved, band.T.astype(x.dtype), precision="highest")
        return jnp.moveaxis(product, -1, axis)
    if same:
        pads = [(0, 0)] * x.ndim
        pads[axis] = (low, size - 1 - low)
        x = jnp.pad(x, pads)
    windows = (lax.slice_in_dim(x, i, i + out, axis=axis) for i in range(size))
    return sum(w * taps[i] for i, w in enumerate(windows))  # type: ignore[return-value]


def _bell(size: int, sigma: Any, dtype: Any, used: Any = None) -> Array:
    """Gaussian weights of sum 1; only the middle `used` of them when given."""
    place = jnp.arange(size, dtype=dtype) - jnp.asarray((size - 1) / 2, dtype)
    weights = jnp.exp(-0.5 * (place / sigma) ** 2)
    if used is not None:
        weights = jnp.where(jnp.abs(place) <= used // 2, weights, 0)
    return weights / jnp.sum(weights)


@op
def gaussian_blur(
    images: Any,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Any = (1.0, 1.0),
    data_format: str | None = None,
) -> Array:
    """Each pixel as the mean of its neighbours, weighted by `exp(-d² / 2 sigma²)`.

    `kernel_size` and `sigma` are those of the width, then of the height; there are
    zeros outside. Shapes: `(..., height, width, channels)`, unchanged.

    >>> float(gaussian_blur(jnp.ones((5, 5, 1)))[2, 2, 0])
    1.0
    """
    x, (rows, columns) = _images(images), spatial(data_format)
    sigma = jnp.asarray(sigma, x.dtype)
    x = _filter(x, _bell(kernel_size[0], sigma[0], x.dtype), columns)
    return _filter(x, _bell(kernel_size[1], sigma[1], x.dtype), rows)


@op
def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Array:
    """Images distorted by a smooth random field (Simard et al., 2003).

    The field is noise of strength `sigma`, blurred by a Gaussian of width `sigma` and
    multiplied by `alpha`; as in Keras, it is the same along both axes.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> elastic_transform(jnp.ones((8, 8, 1)), seed=1).shape
    (8, 8, 1)
    """
    x = _images(images)
    _one_of("interpolation", interpolation, tuple(ORDERS))
    _one_of("fill_mode", fill_mode, FILL_MODES)
    key, taps = draw_seed(seed), int(6 * sigma) | 1
    how = (interpolation, fill_mode, fill_value, data_format)
    return distort(x, alpha, sigma, key, taps, *how)


def distort(
    images: Array,
    alpha: Any,
    sigma: Any,
    key: Array,
    taps: int,
    interpolation: str,
    mode: str,
    fill: Any,
    data_format: str | None,
) -> Array:
    """`elastic_transform`, also for an `alpha` and a `sigma` known only at run time.

    The blur then has as many taps as the largest `sigma` needs.
    """

    def warp(x: Array) -> Array:
        dtype = dtypes.result_type(x.dtype.name, float)
        alpha_, sigma_ = (jnp.asarray(v, dtype) for v in (alpha, sigma))
        noise = jax.random.normal(key, x.shape[:3], dtype) * sigma_
        bell = _bell(taps, sigma_, dtype, (6 * sigma_).astype("int32") | 1)
        field = alpha_ * _filter(_filter(noise, bell, 2), bell, 1)
        rows = jnp.arange(x.shape[1])[:, None] + field
        columns = jnp.arange(x.shape[2]) + field
        return look_up(x, rows, columns, ORDERS[interpolation], mode, fill)

    return _as_batch_of_last(images, data_format, warp)


@op
def sobel_edges(images: Any, data_format: str | None = None) -> Array:
    """The slopes of a batch of images, downwards and to the right (Sobel's filters).

    Shapes: `(batch, height, width, channels) -> (batch, height, width, channels, 2)`.

    >>> ramp = jnp.arange(4.0).reshape(1, 4, 1, 1) * jnp.ones((1, 4, 4, 1))
    >>> sobel_edges(ramp)[0, 1, 1, 0].tolist()
    [8.0, 0.0]
    """
    x = jnp.asarray(tensor(images))
    check(x.ndim == 4, None, "images", x, "a batch of images (rank 4)")
    rows, columns = spatial(data_format)
    slope, smooth = jnp.asarray([-1, 0, 1], x.dtype), jnp.asarray([1, 2, 1], x.dtype)
    down = _filter(_filter(x, smooth, columns), slope, rows)
    right = _filter(_filter(x, slope, columns), smooth, rows)
    return jnp.stack([down, right], -1)


@op
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Array:
    """How alike two images are in structure, at most 1 (Wang et al., 2004).

    The mean over windows of `(2 m1 m2 + c1)(2 s12 + c2) / ((m1² + m2² + c1)(s1² + s2²
    + c2))` with the windows' means `m`, variances `s²` and covariance `s12`; `c1 = (k1
    max_val)²`, `c2 = (k2 max_val)²`. Shapes: `(b, h, w, c), (b, h, w, c) -> (b,)`.

    >>> float(ssim(jnp.ones((12, 12, 1)), jnp.ones((12, 12, 1))))
    1.0
    """
    first, second = _images(image1, "image1"), _images(image2, "image2")
    rows, columns = spatial(data_format)
    dtype = dtypes.result_type(first.dtype.name, float)
    a, b = first.astype(dtype), second.astype(dtype)
    bell = _bell(filter_size, filter_sigma, dtype)

    def window_mean(x: Array) -> Array:
        return _filter(_filter(x, bell, rows, same=False), bell, columns, same=False)

    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    mean_a, mean_b = window_mean(a), window_mean(b)
    products = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    pairs = zip((a * a, b * b, a * b), products, strict=True)
    var_a, var_b, cov = (window_mean(x) - square for x, square in pairs)
    alike = (2 * products[2] + c1) * (2 * cov + c2)
    alike = alike / ((products[0] + products[1] + c1) * (var_a + var_b + c2))
    return jnp.mean(alike, axis=(-3, -2, -1)).astype(first.dtype)


# --- Patches --------------------------------------------------------------------------


@op
def extract_patches(
    images: Any,
    size: Ints,
    strides: Ints | None = None,
    dilation_rate: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """The windows of images, each as one vector of its pixels' channels.

    Windows follow each other at `strides`, by default `size`. A `size` of three numbers
    is for volumes. Shapes: `(..., h, w, c) -> (..., rows, columns, size² · c)`.

    >>> extract_patches(jnp.ones((2, 8, 8, 3)), 4).shape
    (2, 2, 2, 48)
    """
    if not isinstance(size, int | list | tuple | np.ndarray):
        raise TypeError(f"`size` must be an integer or a tuple, not {size!r}.")
    rank = 2 if isinstance(size, int) else len(size)
    check(rank in (2, 3), None, "size", size, "an integer or a tuple of 2 or 3")
    how = (strides, dilation_rate, padding, data_format)
    return _patches(images, rank, size, *how)


@op
def extract_patches_3d(
    volumes: Any,
    size: Ints,
    strides: Ints | None = None,
    dilation_rate: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """The windows of volumes, each as one vector of its voxels' channels.

    Shapes: `(..., a, b, c, channels) -> (..., a', b', c', size³ · channels)`.

    >>> extract_patches_3d(jnp.ones((1, 4, 4, 4, 2)), 2).shape
    (1, 2, 2, 2, 16)
    """
    good = isinstance(size, int) or len(size) == 3
    check(good, None, "size", size, "an integer or a tuple of 3")
    how = (strides, dilation_rate, padding, data_format)
    return _patches(volumes, 3, size, *how)


def _patches(
    images: Any,
    rank: int,
    size: Ints,
    strides: Ints | None,
    dilation_rate: Ints,
    padding: str,
    data_format: str | None,
) -> Array:
    x, first = jnp.asarray(tensor(images)), is_channels_first(data_format)
    kind = "images" if rank == 2 else "volumes"
    good = x.ndim in (rank + 1, rank + 2)
    check(good, None, kind, x, f"of rank {rank + 1}, or {rank + 2} for a batch")
    single = x.ndim == rank + 1
    x = x[None] if single else x
    x = jnp.moveaxis(x, 1, -1) if first else x
    window = per_axis(size, rank)
    steps = window if not strides else per_axis(strides, rank)
    spread = per_axis(dilation_rate, rank)
    reach = [(k - 1) * d + 1 for k, d in zip(window, spread, strict=True)]
    pads = lax.padtype_to_pads(
        x.shape[1:-1], reach, steps, check_padding(padding).upper()
    )
    if any(map(any, pads)):
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    # Every spatial axis becomes two: the window, and the place in it.
    for i in range(rank):
        axis, k, step = 1 + 2 * i, window[i], steps[i]
        count = max((x.shape[axis] - reach[i]) // step + 1, 0)
        if step == k and spread[i] == 1:
            x = lax.slice_in_dim(x, 0, count * k, axis=axis)
            x = x.reshape(*x.shape[:axis], count, k, *x.shape[axis + 1 :])
        else:
            place = np.arange(count)[:, None] * step + np.arange(k) * spread[i]
            x = jnp.take(x, place, axis=axis)
    windows, places = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
    x = x.transpose(0, *windows, *places, 2 * rank + 1)
    x = x.reshape(*x.shape[: rank + 1], math.prod(x.shape[rank + 1 :]))
    x = jnp.moveaxis(x, -1, 1) if first else x
    return x[0] if single else x
