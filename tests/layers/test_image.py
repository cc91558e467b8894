"""kerasnb.layers.image, and the layers of augment_color that are always on"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import QUICK, both, case, check_layer, close

pytestmark = pytest.mark.parity  # slow to compile

SHAPE = (2, 9, 12, 3)
FIRST = (2, 3, 9, 12)

TABLE = [
    case("CenterCrop", SHAPE, height=4, width=7),
    case("CenterCrop", SHAPE, height=12, width=7),
    case("CenterCrop", FIRST, height=5, width=6, data_format="channels_first"),
    case("Resizing", SHAPE, height=5, width=17),
    case("Resizing", SHAPE, height=6, width=6, crop_to_aspect_ratio=True),
    case("Resizing", SHAPE, height=6, width=6, pad_to_aspect_ratio=True, fill_value=2),
    case("Resizing", FIRST, height=4, width=5, antialias=True, interpolation="bicubic",
         data_format="channels_first"),
    case("AutoContrast", SHAPE),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


def pictures(*shape: int) -> np.ndarray:
    """Random bytes as floats."""
    values = np.random.default_rng(0).integers(0, 256, shape or SHAPE)
    return values.astype("float32")


@pytest.mark.parametrize(
    "row",
    [
        case("AutoContrast", value_range=(0, 1)),
        case("Equalization", bins=16),
        case("Equalization", bins=8, value_range=(0, 300),
             data_format="channels_first"),
        case("ContrastLimitedAdaptiveHistogramEqualization", tile_grid_size=(2, 3)),
        case("ContrastLimitedAdaptiveHistogramEqualization", tile_grid_size=(4, 5),
             clip_limit=1.5, data_format="channels_first"),
    ],
    ids=str,
)  # fmt: skip
def test_histograms_agree_with_keras(row):
    ours, theirs = both(row.name, **row.args)
    first = ours.data_format == "channels_first"
    x = pictures(*(FIRST if first else SHAPE)) * 0.8 + 10
    x = x / 255 if row.args.get("value_range") == (0, 1) else x
    mine, wanted = (
        jax.jit(partial(layer, training=True), compiler_options=QUICK)(x)
        for layer in (ours, theirs)
    )
    close(mine, wanted, str(row), atol=1e-5)
    close(ours(x[0], training=True), ours(x[:1], training=True)[0], "one image")


def test_an_image_of_one_colour_stays_what_it_is():
    x = jnp.full((1, 8, 8, 3), 7.0)
    for name in ("AutoContrast", "Equalization"):
        close(getattr(layers, name)()(x, training=True), x, name)


def test_channels_first_contrast_is_that_of_each_channel():
    x = pictures()
    first = layers.AutoContrast(data_format="channels_first")(np.moveaxis(x, -1, 1))
    close(np.moveaxis(np.asarray(first), 1, -1), layers.AutoContrast()(x), "contrast")


def test_equalization_is_off_outside_of_training():
    x = jnp.asarray(pictures())
    close(layers.Equalization()(x, training=False), x, "not in training")


def test_bytes_stay_bytes_when_resized_and_become_floats_when_cropped():
    x = pictures().astype("uint8")
    for interpolation in ("bilinear", "nearest", "lanczos3"):
        ours, theirs = both("Resizing", height=5, width=7, interpolation=interpolation)
        close(ours(x), theirs(x), interpolation)
    assert layers.CenterCrop(4, 4)(x).dtype == "float32"


BOXES = {
    "boxes": np.array([[[2, 3, 8, 7], [0, 0, 12, 9], [0, 0, 0, 0]]] * 2, "float32"),
    "labels": np.array([[1, 2, -1]] * 2),
}


@pytest.mark.parametrize(
    "row",
    [
        case("Resizing", height=18, width=6),
        case("Resizing", height=6, width=6, pad_to_aspect_ratio=True),
        case("Resizing", height=6, width=6, crop_to_aspect_ratio=True),
        case("CenterCrop", height=4, width=6),
        case("CenterCrop", height=12, width=8),
    ],
    ids=str,
)
def test_boxes_and_masks_agree_with_keras(row):
    masks = (pictures(2, 9, 12, 1) > 128).astype("float32")
    for form in ("xyxy", "rel_xyxy"):
        ours, theirs = both(row.name, bounding_box_format=form, **row.args)
        boxes = dict(BOXES)
        if form == "rel_xyxy":
            boxes["boxes"] = boxes["boxes"] / np.array([12, 9, 12, 9], "float32")
        data = {"images": pictures(), "bounding_boxes": boxes}
        mine, wanted = (
            layer({**data, "bounding_boxes": dict(boxes)}) for layer in (ours, theirs)
        )
        close(mine, wanted, f"{row} {form}", atol=1e-4)
        if row.name == "Resizing":  # Keras blends the classes of cropped masks
            close(
                ours.transform_segmentation_masks(masks),
                theirs.transform_segmentation_masks(jnp.asarray(masks)),
                "masks",
            )


def test_mistakes_are_told_in_one_sentence():
    for wrong, sentence in (
        (
            lambda: layers.Resizing(0, 4),
            "Resizing: `height` must be a positive integer",
        ),
        (lambda: layers.Resizing(4, 4, "cubic"), "`interpolation` must be"),
        (lambda: layers.Resizing(4, 4, fill_mode="wrap"), "`fill_mode` must be"),
        (lambda: layers.CenterCrop(4, 4)(np.ones((4, 4))), "CenterCrop: `images` must"),
        (
            lambda: layers.Resizing(
                4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True
            )(np.ones((4, 4, 3))),
            "Set only one",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            wrong()
