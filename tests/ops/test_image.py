"""kerasnb.ops.image"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import Input
from kerasnb.ops import image
from tests.helpers import QUICK, close

pytestmark = pytest.mark.parity  # slow to compile

LAST, FIRST = "channels_last", "channels_first"


def pictures(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Random images with values from 0 to 1, or to 255 for integers."""
    x = np.random.default_rng(len(shape)).random(shape)
    return (x * 255).astype(dtype) if "int" in dtype else x.astype(dtype)


def turns(count: int) -> np.ndarray:
    """Affine transforms that turn and move a little, each differently."""
    rng = np.random.default_rng(count)
    plain = np.array([1, 0, 0, 0, 1, 0, 0, 0], "float32")
    noise = rng.uniform(-0.3, 0.3, (count, 8)) * [1, 1, 4, 1, 1, 4, 0, 0]
    return (plain + noise).astype("float32")


def corners(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The corners of 9 x 7 images, and where they move."""
    start = np.tile(
        np.array([[[0, 0], [6, 0], [0, 8], [6, 8]]], "float32"), [count, 1, 1]
    )
    noise = np.random.default_rng(0).uniform(-1.5, 1.5, start.shape)
    return start, (start + noise).astype("float32")


def laid_out(x: Any, data_format: str) -> Any:
    """Channels-last images in a data format."""
    return np.moveaxis(x, -1, -3) if data_format == FIRST else x


def agree(name: str, *args: Any, **how: Any) -> None:
    """Ours and Keras' give the same, and a placeholder of the same shape."""
    fn = getattr(image, name)
    mine, theirs = (
        jax.jit(partial(f, **how), compiler_options=QUICK)(*args)
        for f in (fn, getattr(keras.ops.image, name))
    )
    close(mine, theirs, f"{name} {how}")
    inputs = [Input(batch_shape=x.shape, dtype=str(x.dtype)) for x in args]
    spec = fn(*inputs, **how)
    assert (spec.shape, spec.dtype) == (theirs.shape, str(theirs.dtype))


BATCH, ONE = (2, 9, 7, 3), (9, 7, 3)


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("shape", [BATCH, ONE], ids=str)
def test_colours_agree_with_keras(shape, data_format):
    x = laid_out(pictures(*shape), data_format)
    for name in ("rgb_to_grayscale", "rgb_to_hsv", "hsv_to_rgb"):
        agree(name, x, data_format=data_format)
    agree("rgb_to_grayscale", pictures(*ONE, dtype="uint8"))


def test_turning_colours_there_and_back_changes_nothing():
    x = pictures(*BATCH)
    close(image.hsv_to_rgb(image.rgb_to_hsv(x)), jnp.asarray(x), "there and back")


@pytest.mark.parametrize("method", image.RESIZE_METHODS)
def test_resize_agrees_with_keras(method):
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        agree("resize", x, size=(5, 11), interpolation=method, data_format=data_format)
    agree("resize", pictures(*ONE), size=(4, 4), interpolation=method, antialias=True)
    byte = pictures(*ONE, dtype="uint8")
    agree("resize", byte, size=(12, 5), interpolation=method)


@pytest.mark.parametrize("size", [(5, 5), (4, 12), (20, 6)], ids=str)
@pytest.mark.parametrize("keep", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
def test_resize_keeps_proportions_as_keras_does(keep, size):
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        how = {keep: True, "fill_value": 0.5, "data_format": data_format}
        agree("resize", x, size=size, **how)
    agree("resize", pictures(*ONE), size=size, **{keep: True})


@pytest.mark.parametrize("fill_mode", image.FILL_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_transform_agrees_with_keras(interpolation, fill_mode):
    how = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": 0.3}
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        agree("affine_transform", x, turns(2), data_format=data_format, **how)
    agree("affine_transform", pictures(*ONE), turns(1)[0], **how)
    agree("affine_transform", pictures(*ONE, dtype="uint8"), turns(1)[0], **how)


def test_one_affine_transform_serves_a_whole_batch():
    x, t = pictures(*BATCH), turns(1)[0]
    close(
        image.affine_transform(x, t)[1], image.affine_transform(x[1], t), "one for all"
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_perspective_transform_agrees_with_keras(interpolation):
    how = {"interpolation": interpolation, "fill_value": 0.3}
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        agree("perspective_transform", x, *corners(2), data_format=data_format, **how)
    points = [p[0] for p in corners(1)]
    agree("perspective_transform", pictures(*ONE), *points, **how)


@pytest.mark.parametrize("fill_mode", image.FILL_MODES)
def test_map_coordinates_agrees_with_keras(fill_mode):
    x = pictures(6, 5)
    places = np.random.default_rng(1).uniform(-4, 9, (2, 3, 4)).astype("float32")
    for order in (0, 1):
        agree("map_coordinates", x, places, order=order, fill_mode=fill_mode)


@pytest.mark.parametrize("size", [(3, 3), (5, 2), (31, 27)], ids=str)
def test_gaussian_blur_agrees_with_keras(size):
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        how = {"kernel_size": size, "sigma": (0.8, 5.0), "data_format": data_format}
        agree("gaussian_blur", x, **how)


def test_elastic_transform_agrees_with_keras():
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        how = {"alpha": 3.0, "sigma": 1.3, "seed": 4, "data_format": data_format}
        # Keras' does not run compiled.
        theirs = keras.ops.image.elastic_transform(x, **how)
        close(image.elastic_transform(x, **how), theirs, data_format)
    compiled = jax.jit(partial(image.elastic_transform, **how))(x)
    close(compiled, theirs, "compiled")


def test_elastic_transform_is_another_one_each_time_without_a_seed():
    x = pictures(*ONE)
    first, second = image.elastic_transform(x), image.elastic_transform(x)
    assert not np.allclose(first, second)


def test_edges_and_similarity_agree_with_keras():
    for data_format in (LAST, FIRST):
        x, y = (laid_out(pictures(2, n, 14, 3), data_format) for n in (13, 13))
        agree("sobel_edges", x, data_format=data_format)
        y = (0.8 * x + 0.1).astype("float32")
        agree("ssim", x, y, data_format=data_format)
    agree("ssim", pictures(12, 12, 1), pictures(12, 12, 1), filter_size=4, k1=0.1)


def test_scale_and_translate_agrees_with_keras():
    x, scale = pictures(*ONE), np.array([0.5, 1.5], "float32")
    mine = image.scale_and_translate(x, (5, 9, 3), scale, scale, (0, 1), "cubic")
    theirs = keras.ops.image.scale_and_translate(
        x, (5, 9, 3), scale, scale, (0, 1), "cubic"
    )
    close(mine, theirs, "scale_and_translate")


def test_margins_agree_with_keras():
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        how = {"data_format": data_format}
        agree("pad_images", x, top_padding=1, bottom_padding=2, left_padding=0,
              target_width=9, **how)  # fmt: skip
        agree("pad_images", x, bottom_padding=1, target_height=12, right_padding=3,
              target_width=12, **how)  # fmt: skip
        agree("crop_images", x, top_cropping=1, bottom_cropping=2, left_cropping=3,
              target_width=2, **how)  # fmt: skip
        agree("crop_images", x, bottom_cropping=1, target_height=3, right_cropping=3,
              left_cropping=1, **how)  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        {"size": 3},
        {"size": (3, 2), "strides": (2, 1), "padding": "same"},
        {"size": 2, "strides": 1, "dilation_rate": 2},
    ],
    ids=str,
)
def test_patches_agree_with_keras(how):
    for data_format in (LAST, FIRST):
        x = laid_out(pictures(*BATCH), data_format)
        agree("extract_patches", x, data_format=data_format, **how)
    agree("extract_patches", pictures(*ONE), **how)


def test_patches_of_volumes_agree_with_keras():
    x = pictures(2, 5, 4, 6, 2)
    agree("extract_patches_3d", x, size=2)
    agree("extract_patches", x, size=(2, 3, 2), strides=(1, 1, 2), padding="same")
    agree("extract_patches_3d", x[0], size=(2, 1, 3))


def test_gradients_agree_with_keras():
    x, t = jnp.asarray(pictures(*BATCH)), jnp.asarray(turns(2))
    for name, args in (
        ("affine_transform", (t,)),
        ("extract_patches", (3, 2)),
        ("gaussian_blur", ((3, 3), (1.0, 1.0), LAST)),
    ):
        mine, theirs = (
            jax.jit(jax.grad(lambda x, f=fn, a=args: jnp.sin(f(x, *a) * 3).sum()))(x)
            for fn in (getattr(image, name), getattr(keras.ops.image, name))
        )
        close(mine, theirs, f"gradient of {name}", atol=1e-4)


def test_an_empty_batch_stays_empty():
    x = jnp.ones((0, 9, 7, 3))
    assert image.affine_transform(x, turns(1)[0]).shape == x.shape
    assert image.resize(x, (4, 4)).shape == (0, 4, 4, 3)
    assert image.extract_patches(x, 3).shape == (0, 3, 2, 27)


def test_unknown_sizes_pass_through_symbolic_calls():
    x = Input((None, None, 3))
    assert image.affine_transform(x, turns(1)[0]).shape == (None, None, None, 3)
    assert image.resize(x, (4, 5), pad_to_aspect_ratio=True).shape == (None, 4, 5, 3)
    padded = image.pad_images(x, 1, 1, target_height=2000, target_width=3000)
    assert padded.shape[-1] == 3


def test_mistakes_are_told_in_one_sentence():
    x = pictures(*ONE)
    for wrong, sentence in (
        (lambda: image.resize(x, (4,)), "`size` must be two positive integers"),
        (lambda: image.resize(x, (4, 4), "cubic"), "`interpolation` must be one of"),
        (lambda: image.resize(x[0], (4, 4)), "one image .rank 3. or a batch"),
        (lambda: image.rgb_to_hsv(x.astype("uint8")), "of a floating dtype"),
        (lambda: image.rgb_to_grayscale(x[..., :2]), "1 or 3 channels"),
        (lambda: image.affine_transform(x, [1, 2]), "8 numbers"),
        (lambda: image.pad_images(x, 1, 1), "Give exactly two of top_padding"),
        (lambda: image.crop_images(x, 1, 1, 99, 1), "at least 0"),
        (lambda: image.map_coordinates(x, x, 2), "`coordinates` must be an array"),
        (lambda: image.extract_patches(x, (1, 2, 3, 4)), "a tuple of 2 or 3"),
    ):
        with pytest.raises(ValueError, match=sentence):
            wrong()
