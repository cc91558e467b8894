"""Bounding boxes: their formats, overlaps and codes. `keras.utils.bounding_boxes`.

A box is four numbers in the last axis; `"xyxy"` is left, top, right, bottom in pixels.
Formats that begin with `rel_` count in shares of the image's width and height.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import settings
from kerasnb.core.errors import check, message, suggest
from kerasnb.ops._family import Array, tensor

FORMATS = (
    *("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw"),
    *("rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh"),
)


def _as_boxes(boxes: Any) -> Array:
    x = jnp.asarray(tensor(boxes))
    good = x.ndim > 0 and x.shape[-1] == 4
    check(good, None, "boxes", x, "an array whose last axis has length 4")
    return x


def _known(name: str, value: Any, known: Sequence[str] = FORMATS) -> str:
    value = value.lower() if isinstance(value, str) else value
    if value not in known:
        options = f"one of {', '.join(known)}"
        raise ValueError(message(None, name, value, options) + suggest(value, known))
    return value


def _plain(boxes: Array, source: str) -> Array:
    """Left, top, right, bottom of boxes in an absolute format."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if source.endswith(("yxyx", "yxhw")):
        first, second = first[..., ::-1], second[..., ::-1]
    if source.startswith("center"):
        half = second / 2
        first, second = first - half, first + half
    elif source.endswith("wh"):
        second = first + second
    return jnp.concatenate([first, second], -1)


def _coded(boxes: Array, target: str) -> Array:
    """The reverse of `_plain`."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if target.startswith("center"):
        first, second = first + (second - first) / 2, second - first
    elif target.endswith("wh"):
        second = second - first
    if target.endswith(("yxyx", "yxhw")):
        first, second = first[..., ::-1], second[..., ::-1]
    return jnp.concatenate([first, second], -1)


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Any = None,
    width: Any = None,
    dtype: Any = "float32",
) -> Any:
    """Boxes of one format in another; a dict has its `"boxes"` converted.

    The formats are "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw" and, with the
    image's `height` and `width`, "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh".
    Shapes: `(..., 4)`, unchanged.

    >>> convert_format([[1, 2, 4, 8]], "xyxy", "xywh").tolist()
    [[1.0, 2.0, 3.0, 6.0]]
    """
    if isinstance(boxes, Mapping):
        how = (source, target, height, width, dtype)
        return {**boxes, "boxes": convert_format(boxes["boxes"], *how)}
    x = _as_boxes(boxes).astype(dtype)
    source, target = _known("source", source), _known("target", target)
    relative = [name.startswith("rel_") for name in (source, target)]
    if any(relative) and (height is None or width is None):
        raise ValueError(
            f"convert_format needs `height` and `width` to turn {source} into {target}."
        )
    if source == target:
        return x
    x = _plain(x, source.removeprefix("rel_"))
    if relative[0] != relative[1]:
        w, h = jnp.asarray(width, dtype), jnp.asarray(height, dtype)
        if w.ndim or h.ndim:  # a size for each image, with an axis of length one
            scale = jnp.concatenate([w, h, w, h], -1)
        else:
            scale = jnp.stack([w, h, w, h])
        x = x * scale if relative[0] else x / scale
    return _coded(x, target.removeprefix("rel_"))


def clip_to_image_size(
    bounding_boxes: Mapping[str, Any],
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """Boxes cut off at the edges of the image; those left empty get the label -1.

    >>> boxes = {"boxes": jnp.array([[-1.0, 0, 2, 2]]), "labels": jnp.array([3])}
    >>> clip_to_image_size(boxes, height=4, width=4)["boxes"].tolist()
    [[0.0, 0.0, 2.0, 2.0]]
    """
    _absolute_or_relative(bounding_box_format)
    if bounding_box_format == "rel_xyxy":
        height = width = 1
    if height is None or width is None:
        raise ValueError("clip_to_image_size needs `height` and `width` for xyxy.")
    boxes = _as_boxes(bounding_boxes["boxes"])
    boxes = _clip(boxes, jnp.asarray(height), jnp.asarray(width))
    out = {**bounding_boxes, "boxes": boxes}
    if (labels := bounding_boxes.get("labels")) is not None:
        seen = _area(boxes) > 0
        extra = (1,) * (jnp.ndim(labels) - seen.ndim)  # labels may be codes of classes
        out["labels"] = jnp.where(seen.reshape(seen.shape + extra), labels, -1)
    return out


def _absolute_or_relative(
    value: str, options: Sequence[str] = ("xyxy", "rel_xyxy")
) -> None:
    if value not in options:
        raise NotImplementedError(
            message(None, "bounding_box_format", value, " or ".join(options))
            + " Use convert_format first."
        )


def _clip(boxes: Array, height: Array, width: Array) -> Array:
    limits = [width, height, width, height]
    planes = [jnp.clip(boxes[..., i], 0, n) for i, n in enumerate(limits)]
    return jnp.stack(planes, -1).astype(boxes.dtype)


def _shift(boxes: Array, top: Any, left: Any) -> Array:
    return boxes + jnp.asarray([left, top, left, top], boxes.dtype)


def crop(
    boxes: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    bounding_box_format: str = "xyxy",
) -> Array:
    """Boxes as seen in a window of the image. Shapes: `(..., 4)`, unchanged.

    >>> crop([[2.0, 2, 9, 9]], top=1, left=1, height=4, width=4).tolist()
    [[1.0, 1.0, 4.0, 4.0]]
    """
    _absolute_or_relative(bounding_box_format, ("xyxy",))
    moved = _shift(_as_boxes(boxes), -top, -left)
    return _clip(moved, jnp.asarray(height), jnp.asarray(width))


def pad(
    boxes: Any,
    top: int,
    left: int,
    height: int | None = None,
    width: int | None = None,
    bounding_box_format: str = "xyxy",
) -> Array:
    """Boxes as seen in an image padded above and at the left. Shapes: as `boxes`.

    >>> pad([[2.0, 2, 3, 3]], top=1, left=4).tolist()
    [[6.0, 3.0, 7.0, 4.0]]
    """
    _absolute_or_relative(bounding_box_format, ("xyxy",))
    return _shift(_as_boxes(boxes), top, left)


def project_boxes(boxes: Array, matrix: Array) -> Array:
    """The boxes around boxes moved by `matrix @ (x, y, 1)`, for each image its own.

    Shapes: `(batch, n, 4), (batch, 3, 3) -> (batch, n, 4)`.
    """
    corners = boxes[..., jnp.array([[0, 1], [2, 1], [2, 3], [0, 3]])]
    ones = jnp.ones_like(corners[..., :1])
    points = jnp.concatenate([corners, ones], -1)
    moved = jnp.einsum("bncj,bij->bnci", points, matrix, precision="highest")
    moved = moved[..., :2] / moved[..., 2:]
    return jnp.concatenate([moved.min(-2), moved.max(-2)], -1)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Any,
    width: Any,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Array:
    """The boxes around boxes turned by `angle` degrees, moved, scaled and sheared.

    One number for each image; moves and the centre (0.5, the middle) are shares of the
    image, shears are degrees. Shapes: `(batch, n, 4)`, unchanged.

    >>> zero, one = jnp.zeros(1), jnp.ones(1)
    >>> box = [[[0.0, 0, 1, 2]]]
    >>> affine_transform(box, zero, zero, zero, one, zero, zero, 9, 9).tolist()
    [[[0.0, 0.0, 1.0, 2.0]]]
    """
    _absolute_or_relative(bounding_box_format, ("xyxy",))
    values = (angle, translate_x, translate_y, scale, shear_x, shear_y)
    angle, move_x, move_y, scale, shear_x, shear_y = map(jnp.asarray, values)
    cx = (0.5 if center_x is None else center_x) * (width - 1)
    cy = (0.5 if center_y is None else center_y) * (height - 1)
    turn, lean_x, lean_y = (-math.pi / 180 * v for v in (angle, shear_x, shear_y))
    from_x, from_y = cx - move_x * (width - 1), cy - move_y * (height - 1)
    a = jnp.cos(turn - lean_y) / jnp.cos(lean_y)
    b = a * jnp.tan(lean_x) + jnp.sin(turn)
    c = -jnp.sin(turn - lean_y) / jnp.cos(lean_y)
    d = jnp.cos(turn) - c * jnp.tan(lean_x)
    a0, a1, b0, b1 = d * scale, -b * scale, -c * scale, a * scale
    a2, b2 = cx - a0 * from_x - a1 * from_y, cy - b0 * from_x - b1 * from_y
    zero, one = jnp.zeros_like(a0), jnp.ones_like(a0)
    matrix = jnp.stack([a0, a1, a2, b0, b1, b2, zero, zero, one], -1)
    boxes = _as_boxes(boxes).astype(matrix.dtype)
    return project_boxes(boxes, matrix.reshape(-1, 3, 3))


# --- Overlap --------------------------------------------------------------------------


def _sizes(image_shape: Sequence[int] | None) -> tuple[Any, Any]:
    return (None, None) if image_shape is None else tuple(image_shape[:2])  # type: ignore


def _area(boxes: Array) -> Array:
    sides = boxes[..., 2:] - boxes[..., :2]
    return sides[..., 0] * sides[..., 1]


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Sequence[int] | None = None,
) -> Array:
    """The overlap of every box with every other, `|A ∩ B| / |A ∪ B|`.

    With `use_masking`, boxes of negative numbers give `mask_val`. Relative formats need
    `image_shape`, `(height, width, channels)`.
    Shapes: `(n, 4), (m, 4) -> (n, m)`, also with a batch axis in one or both.

    >>> overlap = compute_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2]], "xyxy")
    >>> (overlap * 6).round().tolist()
    [[6.0, 2.0]]
    """
    height, width = _sizes(image_shape)
    both = []
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        x = _as_boxes(boxes)
        check(x.ndim in (2, 3), None, name, x, "of rank 2, or 3 for a batch")
        both.append(convert_format(x, bounding_box_format, "xyxy", height, width))
    a, b = both[0][..., :, None, :], both[1][..., None, :, :]
    low, high = jnp.maximum(a, b)[..., :2], jnp.minimum(a, b)[..., 2:]
    sides = jnp.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = _area(a) + _area(b) - shared
    overlap = shared / (union + settings.epsilon())
    if not use_masking:
        return overlap
    nothing = (a.max(-1) < 0) | (b.max(-1) < 0)
    return jnp.where(nothing, jnp.asarray(mask_val, overlap.dtype), overlap)


def compute_ciou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    image_shape: Sequence[int] | None = None,
) -> Array:
    """The overlap of pairs of boxes, less their distance and difference in shape.

    `iou - d² / diagonal² - v alpha` with `v = 4/pi² (atan(w2/h2) - atan(w1/h1))²` and
    `alpha = v / (v - iou + 1)` (Zheng et al., 2020). Shapes: `(..., 4), (..., 4) ->
    (...)`.

    >>> round(float(compute_ciou([[0, 0, 2, 2]], [[0, 0, 2, 2]], "xyxy")[0]), 4)
    1.0
    """
    height, width = _sizes(image_shape)
    a, b = (
        convert_format(x, bounding_box_format, "xyxy", height, width)
        for x in (boxes1, boxes2)
    )
    tiny = settings.epsilon()
    thin = jnp.asarray([0, tiny], a.dtype)
    side_a, side_b = a[..., 2:] - a[..., :2] + thin, b[..., 2:] - b[..., :2] + thin
    low, high = jnp.maximum(a, b)[..., :2], jnp.minimum(a, b)[..., 2:]
    shared = jnp.prod(jnp.maximum(high - low, 0), -1)
    union = jnp.prod(side_a, -1) + jnp.prod(side_b, -1) - shared + tiny
    overlap = shared / (union + tiny)
    around = jnp.maximum(a, b)[..., 2:] - jnp.minimum(a, b)[..., :2]
    diagonal = jnp.sum(around**2, -1) + tiny
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    angle_a, angle_b = (jnp.arctan(s[..., 0] / s[..., 1]) for s in (side_a, side_b))
    v = 4 / math.pi**2 * (angle_b - angle_a) ** 2
    alpha = v / (v - overlap + (1 + tiny))
    return overlap - (jnp.sum(apart**2, -1) / diagonal + v * alpha)


# --- Codes relative to anchors --------------------------------------------------------

_CENTERS = ("center_xywh", "center_yxhw")


def _variance(value: Any) -> Array | None:
    if value is None:
        return None
    variance = jnp.asarray(value, "float32")
    check(variance.shape[-1:] == (4,), None, "variance", value, "four numbers")
    return variance


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Sequence[int] | None = None,
) -> Array:
    """What a detector predicts: offsets and sizes of boxes relative to anchors.

    `(c - c_anchor) / size_anchor` and `log(size / size_anchor)`, by `variance`.
    Shapes: `(..., 4), (..., 4) -> (..., 4)`.

    >>> box = jnp.array([[0.0, 0, 2, 2]])
    >>> encode_box_to_deltas(box, box, "xyxy", "xyxy").tolist()
    [[0.0, 0.0, 0.0, 0.0]]
    """
    variance = _variance(variance)
    code = _known("encoding_format", encoding_format, _CENTERS)
    sizes = _sizes(image_shape)
    anchor = convert_format(anchors, anchor_format, code, *sizes)
    box = convert_format(boxes, box_format, code, *sizes)
    extent, own = (jnp.maximum(x[..., 2:], settings.epsilon()) for x in (anchor, box))
    offset = (box[..., :2] - anchor[..., :2]) / extent
    deltas = jnp.concatenate([offset, jnp.log(own / extent)], -1)
    return deltas if variance is None else deltas / variance


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """The boxes that `encode_box_to_deltas` encoded; for dicts of levels a dict.

    >>> box = jnp.array([[0.0, 0, 2, 2]])
    >>> decode_deltas_to_boxes(box, jnp.zeros((1, 4)), "xyxy", "xyxy").tolist()
    [[0.0, 0.0, 2.0, 2.0]]
    """
    variance = _variance(variance)
    code = _known("encoded_format", encoded_format, _CENTERS)
    sizes = _sizes(image_shape)

    def decode(anchors: Any, deltas: Any) -> Array:
        anchor = convert_format(anchors, anchor_format, code, *sizes)
        deltas = _as_boxes(deltas)
        deltas = deltas if variance is None else deltas * variance
        extent = anchor[..., 2:]
        center = deltas[..., :2] * extent + anchor[..., :2]
        box = jnp.concatenate([center, jnp.exp(deltas[..., 2:]) * extent], -1)
        return convert_format(box, code, box_format, *sizes)

    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        return {level: decode(x, boxes_delta[level]) for level, x in anchors.items()}
    return decode(anchors, boxes_delta)


def dense(bounding_boxes: Any, who: str) -> dict[str, jax.Array]:
    """The `"boxes"` and `"labels"` of images as arrays, lists filled up with nothing.

    Images with fewer boxes than others get boxes of zeros with the label -1.
    """
    good = isinstance(bounding_boxes, Mapping)
    good = good and {"boxes", "labels"} <= bounding_boxes.keys()
    keys = 'a dict with the keys "boxes" and "labels"'
    check(good, who, "bounding_boxes", bounding_boxes, keys)
    boxes, labels = bounding_boxes["boxes"], bounding_boxes["labels"]
    if isinstance(boxes, list | tuple) and _depth(boxes) == 3:
        most = max(map(len, boxes))
        boxes = [[*rows, *[[0.0] * 4] * (most - len(rows))] for rows in boxes]
        labels = [[*row, *[-1] * (most - len(row))] for row in labels]
    made = {**bounding_boxes, "boxes": jnp.asarray(tensor(boxes), "float32")}
    made["labels"] = jnp.asarray(tensor(labels))
    good = made["boxes"].ndim in (2, 3) and made["boxes"].shape[-1] == 4
    shape = "of shape (n, 4), or (batch, n, 4)"
    check(good, who, 'bounding_boxes["boxes"]', made["boxes"], shape)
    return made


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list | tuple):
        depth += 1
        value = (
            next((item for item in value if len(item)), 0)
            if depth == 1
            else (value[0] if len(value) else 0)
        )
    return depth
