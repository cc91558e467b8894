"""kerasnb.layers.augment, augment_color, augment_geometry, augment_mix"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.core.configurable import deserialize, serialize
from tests.helpers import (
    QUICK,
    agree_on_config,
    agree_on_mixed_precision,
    agree_on_shapes,
    both,
    case,
    close,
    survives_copies,
)

pytestmark = pytest.mark.parity  # slow to compile

SHAPE = (3, 10, 8, 3)
FIRST = (3, 3, 10, 8)


def pictures(*shape: int) -> np.ndarray:
    """The same random images every time, with values from 0 to 255."""
    rng = np.random.default_rng(0)
    return (rng.random(shape or SHAPE) * 255).round(1).astype("float32")


def first(x: np.ndarray) -> np.ndarray:
    """Images with their channels before the height."""
    return np.moveaxis(x, -1, -3)


UNIT = {"value_range": (0, 1)}

# These draw the same numbers as Keras' layers of the same seed.
SAME_DRAWS = [
    case("RandomBrightness", SHAPE, factor=0.4, seed=1),
    case("RandomColorDegeneration", SHAPE, factor=(0.2, 0.9), seed=1),
    case(
        "RandomColorJitter", SHAPE, brightness_factor=0.2, contrast_factor=0.3,
        saturation_factor=(0.3, 0.6), hue_factor=0.2, seed=1,
    ),
    case("RandomContrast", SHAPE, factor=(0.3, 0.8), seed=1),
    case("RandomErasing", SHAPE, factor=(0.4, 0.9), scale=(0.2, 0.6), seed=1),
    case("RandomErasing", SHAPE, fill_value=9, scale=(0.2, 0.6), seed=1),
    case("RandomFlip", SHAPE, mode="horizontal", seed=1),
    case("RandomFlip", SHAPE, seed=3),
    case("RandomGaussianBlur", SHAPE, factor=(0.2, 0.9), kernel_size=(5, 3), seed=1),
    case("RandomGrayscale", SHAPE, factor=0.6, seed=1),
    case("RandomHue", SHAPE, factor=(0.3, 0.9), seed=1),
    case("RandomInvert", SHAPE, factor=(0.2, 0.8), seed=1),
    case("RandomPerspective", SHAPE, factor=(0.5, 0.9), scale=0.4, seed=1),
    case("RandomPosterization", SHAPE, factor=(2, 6), seed=1),
    case("RandomRotation", SHAPE, factor=0.3, fill_mode="constant", seed=1),
    case("RandomRotation", SHAPE, factor=(0.1, 0.2), interpolation="nearest", seed=1),
    case("RandomSaturation", SHAPE, factor=(0.2, 0.8), seed=1),
    case("RandomSharpness", SHAPE, factor=(0.1, 0.9), seed=1),
    case("RandomShear", SHAPE, x_factor=(0.1, 0.4), y_factor=(0.0, 0.3), seed=1),
    case("RandomTranslation", SHAPE, height_factor=0.3, width_factor=0.2, seed=1),
    case("RandomZoom", SHAPE, height_factor=(-0.4, 0.4), width_factor=0.3, seed=1),
    case("RandomZoom", SHAPE, height_factor=0.3, fill_mode="wrap", seed=1),
    case("Solarization", SHAPE, addition_factor=0.2, threshold_factor=0.9, seed=1),
    case("CutMix", SHAPE, factor=0.8, seed=1),
    case("MixUp", SHAPE, alpha=0.4, seed=1),
]  # fmt: skip

CHANNELS_FIRST = {
    "RandomColorDegeneration", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
    "RandomHue", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomTranslation", "CutMix", "RandomPerspective",
}  # fmt: skip

# The order of draws is another one, or Keras' layer does not run compiled.
OTHERS = [
    case("RandomCrop", SHAPE, height=6, width=5, seed=1),
    case("RandomElasticTransform", SHAPE, factor=(0.5, 1.0), seed=1),
    case("RandAugment", SHAPE, num_ops=2, factor=(0.1, 0.5), seed=1),
    case("AugMix", SHAPE, num_chains=2, chain_depth=2, factor=0.4, seed=1),
]

EVERY = [*SAME_DRAWS, *OTHERS]


def trained(layer: Any, x: Any, steps: int = 1) -> tuple[list, list]:
    """Training steps of a layer of either library, compiled: results and state."""
    state = [jnp.asarray(v.value) for v in layer.non_trainable_variables]

    @partial(jax.jit, compiler_options=QUICK)
    def step(state: list, x: Any) -> tuple[Any, list]:
        return layer.stateless_call([], state, x, training=True)

    results = []
    for _ in range(steps):
        out, state = step(state, x)
        results.append(out)
    return results, state


# Keras asks for 64-bit integers, and warns of its own layers without `build`.
KERAS_WARNS = pytest.mark.filterwarnings("ignore:Explicitly requested dtype|`build")


@KERAS_WARNS
@pytest.mark.parametrize("row", SAME_DRAWS, ids=str)
def test_agrees_with_keras_and_draws_the_same_numbers(row):
    x, args = pictures(), row.args
    if row.name in CHANNELS_FIRST:
        x, args = first(x), {"data_format": "channels_first", **args}
    ours, theirs = both(row.name, **args)
    theirs.build(x.shape)
    if row.name == "RandomColorJitter":
        # Compiled, Keras' hues are wrong where rounding separates equal values.
        (mine,), _ = trained(ours, x)
        close(mine, theirs(x, training=True), str(row), atol=1e-4)
        return
    close(trained(ours, x), trained(theirs, x), str(row), atol=1e-4)


@pytest.mark.parametrize("row", SAME_DRAWS, ids=str)
def test_channels_first_is_the_same_in_another_order(row):
    x = pictures()
    (one,), _ = trained(getattr(layers, row.name)(**row.args), x)
    layer = getattr(layers, row.name)(data_format="channels_first", **row.args)
    if row.name == "RandomErasing" and "fill_value" not in row.args:
        return  # the noise is drawn in the other order, too
    (two,), _ = trained(layer, first(x))
    close(first(np.asarray(one)), two, str(row), atol=1e-4)


@KERAS_WARNS
def test_randaugment_draws_the_numbers_keras_draws():
    ours, theirs = both("RandAugment", factor=(0.1, 0.5), seed=1)
    mine, wanted = (x.get_random_transformation(pictures()) for x in (ours, theirs))
    assert mine["layer_idxes"].tolist() == wanted["layer_idxes"].tolist()
    assert list(mine["transforms"]) == list(wanted["transforms"])
    for name in ("random_brightness", "solarization", "random_posterization"):
        drawn, expected = mine["transforms"][name], wanted["transforms"][name]
        close(drawn, expected, name)


@KERAS_WARNS
@pytest.mark.parametrize("row", EVERY, ids=str)
def test_agrees_with_keras_on_shapes_and_configs(row):
    ours, theirs = both(row.name, **row.args)
    assert len(ours.variables) == len(theirs.variables)
    agree_on_shapes(row, ours, theirs)
    agree_on_config(ours, theirs)
    agree_on_mixed_precision(row)


@pytest.mark.parametrize("row", EVERY, ids=str)
def test_is_reproducible_and_off_outside_of_training(row):
    x = jnp.asarray(pictures())
    layer = getattr(layers, row.name)(**row.args)
    again = getattr(layers, row.name)(**row.args)
    close(layer(x), again(x), "the same seed")
    survives_copies(layer, row, x)
    if row.name != "RandomCrop":
        close(layer(x, training=False), x, "not in training")
        before = layer.generator.state.value.tolist()
        layer(x, training=False)
        assert layer.generator.state.value.tolist() == before


@pytest.mark.parametrize("row", EVERY, ids=str)
def test_takes_single_images_bytes_and_half_precision(row):
    make = getattr(layers, row.name)
    one = make(**row.args)(layers.Input(batch_shape=SHAPE[1:]))
    assert one.shape == make(**row.args)(layers.Input(batch_shape=SHAPE)).shape[1:]
    bytes_ = make(**row.args)(layers.Input(batch_shape=SHAPE, dtype="uint8"))
    assert bytes_.dtype == ("uint8" if row.name == "RandomGrayscale" else "float32")
    half, _ = trained(make(**row.args, dtype="mixed_float16"), pictures() / 256)
    assert half[0].dtype == "float16"
    assert np.isfinite(np.asarray(half[0])).all()


def test_elastic_transform_agrees_with_keras_outside_of_compiled_programs():
    x = pictures()
    ours, theirs = both("RandomElasticTransform", factor=(0.5, 1.0), seed=1)
    close(ours(x), theirs(x), "elastic")
    (one, two), _ = trained(ours, x, 2)
    assert not np.allclose(one, two)


def test_crop_draws_the_window_keras_draws():
    x = pictures()
    ours, theirs = both("RandomCrop", height=6, width=5, seed=5)
    close(ours(x, training=True), theirs(x, training=True), "crop")
    (one, two), _ = trained(ours, x, 2)
    assert one.shape == (3, 6, 5, 3)
    assert not np.allclose(one, two)


def test_crop_is_the_middle_outside_of_training_and_for_small_images():
    x = pictures()
    layer = layers.RandomCrop(8, 8)
    close(layer(x, training=False), jnp.asarray(x[:, 1:9]), "the middle")
    assert layers.RandomCrop(20, 10)(x, training=True).shape == (3, 20, 10, 3)


# --- Statistics -----------------------------------------------------------------------


MANY = np.full((2000, 2, 2, 3), 100.0, "float32")


def test_a_factor_is_the_probability_of_an_image_to_be_changed():
    for layer in (
        layers.RandomInvert((0.3, 0.3), seed=2),
        layers.RandomGrayscale(0.3, seed=2),
        layers.RandomErasing((0.3, 0.3), (1, 1), fill_value=(0, 0, 0), seed=2),
        layers.RandomGaussianBlur((0.3, 0.3), sigma=(1, 1), seed=2),
    ):
        x = MANY * np.array([0.5, 1.0, 1.5], "float32")
        changed = np.abs(np.asarray(layer(x)) - x).max(axis=(1, 2, 3)) > 1
        assert 0.25 < changed.mean() < 0.35, layer


def test_half_of_the_images_are_mirrored():
    x = np.tile(np.arange(2.0)[None, None, :, None], (2000, 1, 1, 1))
    mirrored = np.asarray(layers.RandomFlip("horizontal", seed=3)(x))[:, 0, 0, 0]
    assert 0.46 < mirrored.mean() < 0.54


def test_brightness_is_drawn_evenly_from_its_factor():
    added = np.asarray(layers.RandomBrightness((-0.2, 0.4), seed=3)(MANY))[:, 0, 0, 0]
    added = (added - 100) / 255
    assert -0.2 <= added.min() < -0.19
    assert 0.39 < added.max() <= 0.4
    assert abs(added.mean() - 0.1) < 0.02


def test_angles_moves_and_zooms_stay_in_their_ranges():
    draw = layers.RandomRotation((-0.1, 0.3), seed=1).get_random_transformation(MANY)
    assert -36 <= draw["angle"].min() < -34 < 107 < draw["angle"].max() <= 108
    layer = layers.RandomTranslation(0.5, (0, 0.5), seed=1)
    moves = layer.get_random_transformation(MANY)["translations"]
    assert -1 <= moves[:, 1].min() < -0.95
    assert 0 <= moves[:, 0].min() < 0.05
    zoom = layers.RandomZoom((-0.3, -0.1), seed=1).get_random_transformation(MANY)
    assert abs(zoom["height_zoom"].mean() - 0.8) < 0.01


def test_mixed_weights_have_the_mean_of_their_distribution():
    drawn = layers.MixUp(alpha=2.0, seed=1).get_random_transformation(MANY)
    assert abs(drawn["mix_weight"].mean() - 0.5) < 0.02
    assert abs(drawn["mix_weight"].var() - 1 / 20) < 0.01


def test_every_layer_of_randaugment_is_chosen_in_time():
    layer = layers.RandAugment(num_ops=2000, seed=1)
    chosen = layer.get_random_transformation(pictures())["layer_idxes"]
    counts = np.bincount(chosen, minlength=11)
    assert counts.min() > 120
    assert counts.max() < 250


def test_augmix_draws_other_chains_in_every_step_of_a_compiled_program():
    layer = layers.AugMix(seed=2)
    (one, two), _ = trained(layer, pictures(), 2)
    assert not np.allclose(one, two)
    drawn = layer.get_random_transformation(pictures())
    assert drawn["chain_transforms"]["layer"].shape == (3, 3)
    np.testing.assert_allclose(drawn["chain_mixing_weights"].sum(), 1.0, rtol=1e-5)
    assert layers.AugMix(all_ops=False).names == layer.names[:7]


# --- Labels, boxes, masks -------------------------------------------------------------


BOXES = np.array([[[1, 2, 4, 6], [0, 0, 8, 10]]] * 3, "float32")


def data(**more: Any) -> dict[str, Any]:
    """A batch of images with labels, masks and boxes (left, top, right, bottom)."""
    boxes = {"boxes": BOXES.copy(), "labels": np.array([[1, 2]] * 3)}
    x = pictures()
    masks = (x[..., :1] > 128).astype("uint8")
    return {
        "images": x,
        "labels": np.eye(3, dtype="float32"),
        "bounding_boxes": boxes,
        "segmentation_masks": masks,
        **more,
    }


MOVING = [
    case("RandomFlip", SHAPE, mode="horizontal", seed=1),
    case("RandomFlip", SHAPE, seed=3),
    case("RandomPerspective", SHAPE, factor=(0.5, 0.9), scale=0.4, seed=1),
    case("RandomRotation", SHAPE, factor=0.3, seed=1),
    case("RandomShear", SHAPE, x_factor=(0.1, 0.4), y_factor=(0.0, 0.3), seed=1),
    case("RandomTranslation", SHAPE, height_factor=0.3, width_factor=0.2, seed=1),
    case("RandomZoom", SHAPE, height_factor=(-0.4, 0.4), width_factor=0.3, seed=1),
]


@pytest.mark.parametrize("row", MOVING, ids=str)
def test_boxes_and_masks_agree_with_keras(row):
    ours, theirs = both(row.name, bounding_box_format="xyxy", **row.args)
    mine, wanted = ours(data(), training=True), theirs(data(), training=True)
    assert mine.keys() == wanted.keys()
    # Keras gives some masks as floats.
    mine["segmentation_masks"] = np.asarray(mine["segmentation_masks"], "float32")
    wanted["segmentation_masks"] = np.asarray(wanted["segmentation_masks"], "float32")
    close(mine, wanted, str(row), atol=1e-4)


@pytest.mark.parametrize("row", MOVING, ids=str)
def test_boxes_of_every_format_move_alike(row):
    moved = {}
    for form in ("xyxy", "rel_yxyx", "center_xywh"):
        made = getattr(layers, row.name)(bounding_box_format=form, **row.args)
        convert = kerasnb.utils.bounding_boxes.convert_format
        size = {"height": 10, "width": 8}
        boxes = {"boxes": convert(BOXES, "xyxy", form, **size)}
        boxes["labels"] = np.array([[1, 2]] * 3)
        out = made(data(bounding_boxes=boxes), training=True)["bounding_boxes"]
        moved[form] = convert(out["boxes"], form, "xyxy", **size)
    close(moved["rel_yxyx"], moved["xyxy"], "relative", atol=1e-4)
    close(moved["center_xywh"], moved["xyxy"], "centred", atol=1e-4)


@pytest.mark.parametrize("name", ["RandomFlip", "RandomTranslation", "RandomZoom",
                                  "RandomRotation", "RandomCrop"])  # fmt: skip
def test_a_box_stays_around_the_pixels_it_was_drawn_around(name):
    x = np.zeros((1, 40, 30, 1), "float32")
    x[0, 12:20, 10:18] = 1.0
    args = {"RandomTranslation": (0.2, 0.2), "RandomZoom": ((-0.2, 0.2), 0.1),
            "RandomRotation": (0.05,), "RandomCrop": (34, 25)}  # fmt: skip
    fill = {} if name in ("RandomFlip", "RandomCrop") else {"fill_mode": "constant"}
    layer = getattr(layers, name)(
        *args.get(name, ()), seed=2, bounding_box_format="xyxy", **fill
    )
    boxes = {"boxes": [[[10.0, 12, 18, 20]]], "labels": [[1]]}
    out = layer({"images": x, "bounding_boxes": boxes}, training=True)
    rows, columns = np.nonzero(np.asarray(out["images"])[0, ..., 0] > 0.5)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(out["bounding_boxes"]["boxes"][0, 0], seen, atol=1.6)


def test_everything_survives_colour_layers():
    out = layers.RandomHue(0.5, seed=1, bounding_box_format="xyxy")(data())
    expected = data()
    for key in ("labels", "bounding_boxes", "segmentation_masks"):
        close(jax.tree.map(jnp.asarray, expected[key]), out[key], key)
    assert not np.allclose(out["images"], expected["images"])


def test_the_given_dict_is_left_alone():
    given = data()
    layers.RandomFlip(bounding_box_format="xyxy", seed=3)(given)
    assert isinstance(given["images"], np.ndarray)
    np.testing.assert_array_equal(given["bounding_boxes"]["boxes"], BOXES)


def test_single_images_with_everything():
    one = jax.tree.map(lambda x: x[0], data())
    for name in ("RandomFlip", "RandomTranslation", "RandomHue", "RandAugment"):
        args = (0.2, 0.2)[: {"RandomTranslation": 2, "RandomHue": 1}.get(name, 0)]
        layer = getattr(layers, name)(*args, bounding_box_format="xyxy", seed=1)
        out = layer(one)
        shapes = jax.tree.map(lambda x: x.shape, out)
        assert shapes == jax.tree.map(lambda x: x.shape, one), name


def test_lists_of_boxes_of_different_lengths_are_filled_up():
    boxes = {"boxes": [[[0.0, 0, 2, 2]], [], [[1.0, 1, 2, 3], [2.0, 2, 4, 4]]],
             "labels": [[1], [], [2, 3]]}  # fmt: skip
    layer = layers.RandomBrightness(0.1, bounding_box_format="xyxy")
    out = layer({"images": pictures(), "bounding_boxes": boxes})["bounding_boxes"]
    assert out["labels"].tolist() == [[1, -1], [-1, -1], [2, 3]]
    assert out["boxes"].shape == (3, 2, 4)


def test_mixing_mixes_labels_like_images():
    for name in ("MixUp", "CutMix"):
        x = np.stack([np.full((20, 20, 1), i) for i in range(4)]).astype("float32")
        layer = getattr(layers, name)(seed=4)
        out = layer({"images": x, "labels": np.eye(4, dtype="float32")})
        assert out["labels"].shape == (4, 4)
        np.testing.assert_allclose(np.sum(out["labels"], 1), 1.0, rtol=1e-5)
        expected = np.asarray(out["labels"]) @ np.arange(4)
        np.testing.assert_allclose(out["images"].mean((1, 2, 3)), expected, atol=0.2)
        whole = layer({"images": x, "labels": np.arange(4.0)})["labels"]
        assert whole.shape == (4,)


def test_mixup_keeps_the_boxes_of_both_images_and_mixes_masks():
    out = layers.MixUp(seed=1, bounding_box_format="xyxy")(data())
    assert out["bounding_boxes"]["boxes"].shape == (3, 4, 4)
    assert out["bounding_boxes"]["labels"].shape == (3, 4)
    assert out["segmentation_masks"].shape == (3, 10, 8, 1)
    with pytest.raises(NotImplementedError, match="CutMix cannot transform bounding"):
        layers.CutMix(bounding_box_format="xyxy")(data())
    with pytest.raises(NotImplementedError, match="cannot move bounding boxes"):
        layers.RandomElasticTransform(bounding_box_format="xyxy")(data())


def test_randaugment_moves_boxes_and_masks_with_the_images():
    ours = layers.RandAugment(num_ops=3, seed=7, bounding_box_format="xyxy")
    drawn = ours.get_random_transformation(data())
    out = ours.transform_bounding_boxes(
        jax.tree.map(jnp.asarray, data()["bounding_boxes"]), drawn
    )
    expected = {k: jnp.asarray(v) for k, v in data()["bounding_boxes"].items()}
    for index in drawn["layer_idxes"].tolist():
        layer = getattr(ours, ours.names[index])
        own = drawn["transforms"][ours.names[index]]
        expected = layer.transform_bounding_boxes(expected, own)
    close(out, expected, "boxes")
    masks = ours.transform_segmentation_masks(data()["segmentation_masks"], drawn)
    assert masks.dtype == "uint8"
    assert set(np.unique(masks)) <= {0, 1}


def test_the_number_of_boxes_can_be_fixed():
    ours, theirs = both("MaxNumBoundingBoxes", max_number=4, bounding_box_format="xyxy")
    small, large = ours(data()), theirs(data())
    close(small["bounding_boxes"], large["bounding_boxes"], "more")
    one = layers.MaxNumBoundingBoxes(1, bounding_box_format="xyxy")(data())
    assert one["bounding_boxes"]["labels"].tolist() == [[1]] * 3
    close(one["images"], jnp.asarray(pictures()), "images")


# --- In models ------------------------------------------------------------------------


@KERAS_WARNS
def test_a_pipeline_is_its_layers_in_a_row():
    def made(library: Any) -> Any:
        inner = [library.RandomFlip(seed=1), library.RandomBrightness(0.2, seed=2)]
        return library.Pipeline(inner, name="it")

    ours, theirs = made(layers), made(keras.layers)
    close(ours(pictures()), theirs(pictures()), "pipeline")
    x = jnp.asarray(pictures())
    close(ours(x, training=False), x, "not in training")
    assert ours.get_config().keys() == theirs.get_config().keys()
    assert [type(x) for x in deserialize(serialize(ours)).layers] == [
        layers.RandomFlip, layers.RandomBrightness]  # fmt: skip
    stored = keras.saving.serialize_keras_object(theirs)
    assert deserialize(stored).layers[1].factor == (-0.2, 0.2)
    assert keras.saving.deserialize_keras_object(serialize(ours)).name == "it"


def test_augmentation_is_part_of_a_compiled_fit():
    model = kerasnb.Sequential(
        [
            layers.Input((10, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip(seed=1),
            layers.RandomRotation(0.1, seed=1),
            layers.RandAugment(value_range=(0, 1), seed=1),
            layers.RandomCrop(8, 8, seed=1),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    x, y = np.tile(pictures(), (4, 1, 1, 1)), np.ones((12, 2), "float32")
    history = model.fit(x, y, epochs=2, batch_size=5, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert model.predict(x, verbose=0).shape == (12, 2)
    close(model.predict(x, verbose=0), model.predict(x, verbose=0), "no draws")


def test_mistakes_are_told_in_one_sentence():
    x = pictures()
    for wrong, sentence in (
        (lambda: layers.RandomRotation(2.0), "Rotation: `factor` must be from -1"),
        (lambda: layers.RandomZoom((0.1, 2)), "`height_factor` must be a number from"),
        (lambda: layers.RandomShear(-0.1), "`x_factor` must be a number from 0 to 1"),
        (lambda: layers.RandomFlip("sideways"), "`mode` must be"),
        (lambda: layers.RandomGaussianBlur(kernel_size=4), "`kernel_size` must be"),
        (lambda: layers.RandomHue(0.1, value_range=3), "`value_range` must be two"),
        (lambda: layers.RandomErasing(fill_value="x"), "`fill_value` must be"),
        (lambda: layers.RandomTranslation(0.1, 0.1, "mirror"), "`fill_mode` must be"),
        (lambda: layers.RandomFlip(bounding_box_format="xy"), "`bounding_box_format`"),
        (lambda: layers.RandomFlip()(x[0, 0]), "one image .rank 3. or a batch"),
        (lambda: layers.RandomFlip()(data()), "RandomFlip got bounding boxes and does"),
        (lambda: layers.RandomFlip(bounding_box_format="xyxy")(
            data(bounding_boxes={"boxes": BOXES})), "the keys .boxes. and .labels."),
        (lambda: layers.MixUp(0.0), "`alpha` must be a positive number"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            wrong()
