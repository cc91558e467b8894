"""kerasnb.utils.images"""

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers, utils
from kerasnb.ops import image
from kerasnb.utils.images import resized
from tests.helpers import close


def picture(*shape: int) -> np.ndarray:
    """A random image of whole numbers, from 0 to 255."""
    values = np.random.default_rng(sum(shape)).integers(0, 256, shape)
    values[0, 0], values[-1, -1] = 0, 255
    return values.astype("float32")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_and_images_agree_with_keras(channels):
    x = picture(5, 7, channels)
    for how in ({}, {"scale": False}):
        mine, theirs = (m.array_to_img(x, **how) for m in (utils, keras.utils))
        assert (mine.mode, mine.size) == (theirs.mode, theirs.size)
        assert mine.tobytes() == theirs.tobytes()
    first = np.moveaxis(x, -1, 0)
    again = utils.array_to_img(first, data_format="channels_first")
    np.testing.assert_array_equal(
        utils.img_to_array(again, data_format="channels_first"), first
    )
    back = utils.img_to_array(again)
    np.testing.assert_array_equal(back, keras.utils.img_to_array(again))
    assert back.dtype == "float32"


def test_large_values_of_one_channel_are_kept():
    x = picture(4, 4, 1) * 100
    img = utils.array_to_img(x, scale=False)
    np.testing.assert_array_equal(utils.img_to_array(img), x)


@pytest.mark.parametrize("mode", ["rgb", "rgba", "grayscale"])
def test_files_are_written_and_read_as_by_keras(tmp_path, mode):
    x, path = picture(9, 7, 4), tmp_path / "a.png"
    utils.save_img(path, x)
    for how in (
        {},
        {"target_size": (4, 5)},
        {"target_size": (4, 10), "interpolation": "bilinear"},
        {"target_size": (3, 9), "interpolation": "box", "keep_aspect_ratio": True},
    ):
        mine, theirs = (
            m.load_img(path, color_mode=mode, **how) for m in (utils, keras.utils)
        )
        assert (mine.mode, mine.size) == (theirs.mode, theirs.size)
        assert mine.tobytes() == theirs.tobytes()


def test_images_go_through_memory_too(tmp_path):
    file = io.BytesIO()
    utils.save_img(file, picture(3, 3, 3), file_format="PNG")
    np.testing.assert_array_equal(
        utils.img_to_array(utils.load_img(file)), picture(3, 3, 3)
    )
    with pytest.warns(UserWarning, match="JPEG files have no transparency"):
        utils.save_img(tmp_path / "a.jpg", picture(8, 8, 4))
    assert utils.load_img(str(tmp_path / "a.jpg")).size == (8, 8)


@pytest.mark.parametrize("method", image.RESIZE_METHODS)
def test_files_are_resized_as_arrays_are(method):
    for shape, size in (((9, 12, 3), (5, 20)), ((4, 5, 1), (4, 3))):
        x = picture(*shape)
        close(resized(x, size, method), image.resize(x, size, method), method, 1e-4)


def test_other_resizing_keeps_a_plain_image_and_its_mean():
    x = picture(12, 8, 3)
    for method in ("area", "gaussian", "mitchellcubic"):
        plain = resized(np.full((5, 7, 1), 3.0), (9, 4), method)
        np.testing.assert_allclose(plain, 3.0, rtol=1e-6)
    small = resized(x, (4, 2), "area")
    np.testing.assert_allclose(small, x.reshape(4, 3, 2, 4, 3).mean((1, 3)), rtol=1e-5)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes: five images of ants, four of bees, of several sizes."""
    for name, count in (("ants", 5), ("bees", 4)):
        (tmp_path / name).mkdir()
        for i in range(count):
            x = np.full((6 + i, 8, 3), 10 * i + (100 if name == "bees" else 0))
            utils.save_img(tmp_path / name / f"{i}.png", x, scale=False)
    (tmp_path / "bees" / "notes.txt").write_text("not an image")
    return tmp_path


def read(folder: Path, **how: Any) -> Any:
    """The dataset of the folder, quiet and small."""
    how = {"image_size": (4, 6), "verbose": False, "batch_size": 4, **how}
    return utils.image_dataset_from_directory(folder, **how)


def test_a_folder_is_read_in_batches_with_its_classes(folder):
    data = read(folder, shuffle=False)
    assert data.class_names == ["ants", "bees"]
    assert len(data.file_paths) == 9
    assert [x.shape for x, _ in data] == [(4, 4, 6, 3), (4, 4, 6, 3), (1, 4, 6, 3)]
    labels = np.concatenate([y for _, y in data])
    assert labels.tolist() == [0] * 5 + [1] * 4
    values = np.concatenate([x for x, _ in data])[:, 0, 0, 0]
    np.testing.assert_allclose(values, [0, 10, 20, 30, 40, 100, 110, 120, 130])


def test_kinds_of_labels_and_images(folder):
    assert read(folder, label_mode="categorical")[0][1].shape == (4, 2)
    assert read(folder, label_mode="binary")[0][1].shape == (4, 1)
    assert read(folder, labels=None)[0].shape == (4, 4, 6, 3)
    assert read(folder, color_mode="grayscale")[0][0].shape == (4, 4, 6, 1)
    first = read(folder, data_format="channels_first", color_mode="rgba")
    assert first[0][0].shape == (4, 4, 4, 6)
    assert read(folder, batch_size=None)[0][0].shape == (4, 6, 3)
    given = read(folder, labels=list(range(9)), shuffle=False)
    assert given[1][1].tolist() == [4, 5, 6, 7]
    assert read(folder, image_size=7)[0][0].shape == (4, 7, 7, 3)
    for keep in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        assert read(folder, **{keep: True})[0][0].shape == (4, 4, 6, 3)


def test_a_folder_is_split_in_two(folder):
    how = {"validation_split": 0.3, "seed": 3}
    train, valid = read(folder, subset="both", **how)
    assert (len(train.file_paths), len(valid.file_paths)) == (7, 2)
    assert not set(train.file_paths) & set(valid.file_paths)
    again = read(folder, subset="validation", **how)
    assert again.file_paths == valid.file_paths


def test_a_model_trains_on_a_folder(folder):
    model = kerasnb.Sequential(
        [
            layers.Input((4, 6, 3)),
            layers.RandomFlip(seed=1),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    data = read(folder, label_mode="binary", seed=1)
    history = model.fit(data, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_mistakes_are_told_in_one_sentence(folder):
    x = picture(4, 4, 3)
    for wrong, sentence in (
        (lambda: utils.array_to_img(x[0]), "`x` must be one image"),
        (lambda: utils.array_to_img(x[..., :2]), "1, 3 or 4 channels"),
        (lambda: utils.load_img(folder / "ants/0.png", "hsv"), "`color_mode` must be"),
        (lambda: read(folder, color_mode="cmyk"), "`color_mode` must be"),
        (lambda: read(folder, interpolation="cubic"), 'Did you mean "bicubic"'),
        (lambda: read(folder, image_size=(1, 2, 3)), "`image_size` must be two"),
        (lambda: read(folder / "none"), "`directory` must be a folder that exists"),
        (
            lambda: read(folder, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
            "set only one",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            wrong()
    with pytest.raises(TypeError, match="`path` must be a path"):
        utils.load_img(3)
