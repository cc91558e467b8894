"""kerasnb.applications.imagenet_utils, and `preprocess_input` of every family."""

import importlib
import json
import pkgutil

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import applications, layers, models
from kerasnb.applications import imagenet_utils

MODULES = [
    module.name
    for module in pkgutil.iter_modules(applications.__path__)
    if module.name not in ("imagenet_utils", "network")
]


def images(shape, dtype="float32"):
    return np.random.default_rng(1).uniform(0, 255, shape).astype(dtype)


def theirs_of(name):
    return importlib.import_module(f"keras.applications.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_family_scales_and_decodes_as_in_keras(name):
    ours = importlib.import_module(f"kerasnb.applications.{name}")
    theirs = theirs_of(name)
    x = images((2, 3, 4, 3))
    np.testing.assert_allclose(
        ours.preprocess_input(x), theirs.preprocess_input(x.copy()), rtol=1e-6
    )
    assert ours.decode_predictions is imagenet_utils.decode_predictions
    public = {n for n in vars(theirs) if not n.startswith("_")}
    assert public <= set(vars(ours))


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("shape", [(3, 5, 3), (2, 3, 5, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first", None])
def test_pixels_are_scaled_as_in_keras(mode, shape, data_format):
    how = {"mode": mode, "data_format": data_format}
    theirs = keras.applications.imagenet_utils.preprocess_input
    for dtype in ("float32", "float64", "uint8"):
        x = images(shape, dtype)
        before = x.copy()
        mine, wanted = (
            imagenet_utils.preprocess_input(x, **how),
            theirs(x.copy(), **how),
        )
        assert isinstance(mine, np.ndarray)
        assert mine.dtype == wanted.dtype
        np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-5)
        np.testing.assert_array_equal(x, before)
    x = jnp.asarray(images(shape))
    mine, wanted = imagenet_utils.preprocess_input(x, **how), theirs(x, **how)
    assert mine.dtype == wanted.dtype
    np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-5)


def test_pixels_are_scaled_inside_a_model():
    inputs = layers.Input((4, 4, 3))
    outputs = applications.resnet.preprocess_input(inputs)
    x = images((2, 4, 4, 3))
    found = models.Model(inputs, outputs).predict(x, verbose=0)
    wanted = applications.resnet.preprocess_input(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"mode": "jpeg"}, {"data_format": "channels_middle"}]
)
def test_unknown_scales_and_formats_are_refused_as_in_keras(options):
    x = images((2, 2, 3))
    for library in (imagenet_utils, keras.applications.imagenet_utils):
        with pytest.raises(ValueError, match=next(iter(options))):
            library.preprocess_input(x, **options)


@pytest.fixture
def class_index(monkeypatch, tmp_path):
    """Names of a thousand classes, in place of those to download."""
    index = {str(i): [f"n{i:08}", f"thing_{i}"] for i in range(1000)}
    path = tmp_path / "index.json"
    path.write_text(json.dumps(index))
    monkeypatch.setattr(imagenet_utils, "get_file", lambda *_, **__: str(path))
    theirs = keras.src.applications.imagenet_utils
    monkeypatch.setattr(theirs, "CLASS_INDEX", index)


def test_answers_are_put_in_words_as_in_keras(class_index, rng):
    preds = rng.dirichlet(np.ones(1000), size=3).astype("float32")
    preds[2] = np.round(preds[2], 3)  # many of which are alike
    theirs = keras.applications.imagenet_utils.decode_predictions
    for top in (1, 5, 1000):
        found = imagenet_utils.decode_predictions(preds, top=top)
        assert found == theirs(preds, top=top)
        assert found == imagenet_utils.decode_predictions(jnp.asarray(preds), top=top)


@pytest.mark.parametrize("shape", [(1000,), (2, 10), (2, 1000, 1)])
def test_answers_of_other_models_have_no_words(class_index, shape):
    for library in (imagenet_utils, keras.applications.imagenet_utils):
        with pytest.raises(ValueError, match="1000"):
            library.decode_predictions(np.zeros(shape))
