"""kerasnb.utils.bounding_boxes"""

import itertools

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb.ops.boxes import FORMATS
from kerasnb.utils import bounding_boxes as ours
from tests.helpers import close

theirs = keras.utils.bounding_boxes


def boxes(*shape: int) -> np.ndarray:
    """Random boxes as left, top, right, bottom in an image 30 high and 40 wide."""
    points = np.random.default_rng(sum(shape)).uniform(0, 30, (*shape, 2, 2))
    return np.sort(points, axis=-2).reshape(*shape, 4).astype("float32")


SIZE = {"height": 30, "width": 40}


def test_every_format_turns_into_every_other_as_in_keras():
    x = boxes(5) / 30
    for source, target in itertools.product(FORMATS, FORMATS):
        mine = ours.convert_format(x, source, target, **SIZE)
        wanted = theirs.convert_format(x, source, target, **SIZE)
        if source.startswith("rel") and target.startswith("rel"):
            # Keras mixes up the relative formats with the absolute ones, harmlessly.
            wanted = theirs.convert_format(x, source[4:], target[4:])
        close(mine, wanted, f"{source} to {target}")
    whole = {"boxes": x, "labels": np.ones(5)}
    out = ours.convert_format(whole, "xyxy", "xywh")
    assert whole["boxes"] is x
    assert out["boxes"].shape == (5, 4)


def test_boxes_are_cut_padded_and_clipped_as_in_keras():
    x = boxes(2, 3)
    close(ours.crop(x, 2, 3, 10, 12), theirs.crop(x, 2, 3, 10, 12), "crop")
    close(ours.pad(x, 2, 3), theirs.pad(x, 2, 3), "pad")
    moved = {"boxes": jnp.asarray(x) - 12, "labels": jnp.ones((2, 3), "int32")}
    how = {"height": 8, "width": 9}
    mine, wanted = (m.clip_to_image_size(moved, **how) for m in (ours, theirs))
    close(mine, wanted, "clip")
    small = {"boxes": jnp.asarray(x) / 20, "labels": jnp.ones((2, 3), "int32")}
    how = {"bounding_box_format": "rel_xyxy"}
    mine, wanted = (m.clip_to_image_size(small, **how) for m in (ours, theirs))
    close(mine, wanted, "clip")


def test_turned_boxes_agree_with_keras():
    x, rng = boxes(2, 3), np.random.default_rng(1)
    limits = ((-40, 40), (-0.3, 0.3), (-0.2, 0.2), (0.7, 1.4), (-20, 20), (-9, 9))
    values = [rng.uniform(*pair, 2).astype("float32") for pair in limits]
    for center in ({}, {"center_x": 0.3, "center_y": 0.6}):
        mine, wanted = (
            m.affine_transform(x, *map(jnp.asarray, values), 30, 40, **center)
            for m in (ours, theirs)
        )
        close(mine, wanted, str(center), atol=1e-4)


@pytest.mark.parametrize("shapes", [((4,), (3,)), ((2, 4), (2, 3)), ((4,), (2, 3))],
                         ids=str)  # fmt: skip
def test_overlaps_agree_with_keras(shapes):
    a, b = (boxes(*shape) for shape in shapes)
    for form in ("xyxy", "center_xywh", "rel_yxyx"):
        how = {"bounding_box_format": form, "image_shape": (30, 40, 3)}
        close(ours.compute_iou(a, b, **how), theirs.compute_iou(a, b, **how), form)
    if len(shapes[0]) == len(shapes[1]) == 1:
        a, b = a - 20, b - 20
        how = {"use_masking": True, "mask_val": -2}
        mine, wanted = (m.compute_iou(a, b, "xyxy", **how) for m in (ours, theirs))
        close(mine, wanted, "masked")


def test_complete_overlaps_agree_with_keras():
    a, b = boxes(2, 3), boxes(3, 2).reshape(2, 3, 4)
    for form in ("xyxy", "xywh"):
        mine, wanted = (m.compute_ciou(a, b, form) for m in (ours, theirs))
        close(mine, wanted, form)
    same = ours.compute_ciou(a / 40, a / 40, "rel_xyxy", image_shape=(30, 40, 3))
    np.testing.assert_allclose(same, 1.0, rtol=1e-3)


@pytest.mark.parametrize("code", ["center_xywh", "center_yxhw"])
def test_deltas_agree_with_keras_and_lead_back(code):
    anchors, x = boxes(6), boxes(2, 3).reshape(6, 4)
    how = {"variance": [0.1, 0.1, 0.2, 0.2], "image_shape": (30, 40, 3)}
    args = (anchors, x, "xyxy", "yxyx", code)
    mine = ours.encode_box_to_deltas(*args, **how)
    close(mine, theirs.encode_box_to_deltas(*args, **how), "encode", atol=1e-4)
    back = ours.decode_deltas_to_boxes(anchors, mine, "xyxy", "yxyx", code, **how)
    close(back, jnp.asarray(x), "there and back", atol=1e-4)
    levels = ours.decode_deltas_to_boxes(
        {"a": anchors}, {"a": mine}, "xyxy", "yxyx", code, **how
    )
    close(levels, {"a": back}, "levels")


def test_mistakes_are_told_in_one_sentence():
    x = boxes(3)
    for wrong, sentence in (
        (lambda: ours.convert_format(x, "xyxy", "xyhw"), 'Did you mean "xywh"'),
        (lambda: ours.convert_format(x, "xyxy", "rel_xyxy"), "`height` and `width`"),
        (lambda: ours.convert_format(x[:, :3], "xyxy", "xywh"), "last axis has length"),
        (lambda: ours.compute_iou(x[0], x, "xyxy"), "`boxes1` must be of rank 2"),
        (lambda: ours.clip_to_image_size({"boxes": x}), "needs `height`"),
        (
            lambda: ours.encode_box_to_deltas(x, x, "xyxy", "xyxy", variance=[1]),
            "`variance` must be four numbers",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            wrong()
    with pytest.raises(NotImplementedError, match="Use convert_format first"):
        ours.crop(x, 1, 1, 2, 2, bounding_box_format="xywh")
