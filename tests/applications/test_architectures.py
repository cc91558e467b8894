"""The architectures beside those of Keras: the same layers, weights and answers."""

import inspect

import jax
import keras
import numpy as np
import pytest

from kerasnb import applications, layers, models
from kerasnb.applications.network import Network

# One of each family, with the smallest images it takes.
FAMILIES = {
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "DenseNet121": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "EfficientNetV2S": 32,
    "ConvNeXtTiny": 32,
}
OTHERS = sorted(
    name
    for name, value in vars(applications).items()
    if inspect.isfunction(value) and name not in FAMILIES
)


def both(name: str, **options):
    """The model of that name, here and in Keras, with the same random weights."""
    jax.clear_caches()
    ours = getattr(applications, name)(weights=None, **options)
    theirs = getattr(keras.applications, name)(weights=None, **options)
    return ours, theirs


def check_structure(ours, theirs):
    """Layers in the same order under the same names; weights of the same shapes."""
    plain = [w.shape for w in ours.weights]
    assert plain == [tuple(w.shape) for w in theirs.weights]
    kinds = [type(layer).__name__ for layer in ours.layers]
    assert kinds == [type(layer).__name__ for layer in theirs.layers]
    given = {layer.name for layer in theirs.layers if _is_given(layer)}
    assert given <= {layer.name for layer in ours.layers}
    paths = [_inside(w.path) for w in theirs.weights if _inside(w.path)]
    assert [_inside(w.path) for w in ours.weights if _inside(w.path)] == paths


def _is_given(layer) -> bool:
    """Whether the layer has a name of its own, not one counted up."""
    counted = keras.src.utils.naming.to_snake_case(type(layer).__name__)
    return not layer.name.startswith(counted)


def _inside(path: str) -> str:
    """A weight's name inside its layer; seeds and counters are not compared."""
    return path.rpartition("/")[2]


def check_answers(ours, theirs, size: int):
    """With the same weights both give the same numbers."""
    random = np.random.default_rng(0)
    values = [
        np.abs(random.normal(1, 0.1, w.shape))
        if "var" in w.path or "gamma" in w.path
        else random.normal(0, 0.05, w.shape)
        for w in theirs.weights
    ]
    theirs.set_weights(values)
    ours.set_weights(values)
    x = random.uniform(0, 255, (2, size, size, 3)).astype("float32")
    expected = np.asarray(theirs(x, training=False))
    np.testing.assert_allclose(
        np.asarray(ours(x, training=False)),
        expected,
        rtol=1e-4,
        atol=1e-5 * np.abs(expected).max(),
    )


def test_an_architecture_has_the_layers_and_weights_of_keras():
    check_structure(*both("MobileNet", input_shape=(32, 32, 3), classes=7))


@pytest.mark.parity
@pytest.mark.parametrize("include_top", [True, False], ids=["classifier", "bare"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_as_keras(name, include_top):
    size = FAMILIES[name]
    options = {"classes": 7} if include_top else {"pooling": "avg"}
    ours, theirs = both(
        name, include_top=include_top, input_shape=(size, size, 3), **options
    )
    check_structure(ours, theirs)
    check_answers(ours, theirs, size)


@pytest.mark.parity
@pytest.mark.parametrize("name", OTHERS)
def test_every_size_of_a_family_has_the_weights_of_keras(name):
    size = FAMILIES.get(name, 32)
    ours, theirs = both(name, input_shape=(size, size, 3), classes=5)
    check_structure(ours, theirs)


def test_an_architecture_goes_behind_other_layers():
    image = layers.Input((40, 40, 3))
    flipped = layers.RandomFlip()(image)
    body = applications.MobileNet(
        include_top=False, weights=None, input_tensor=flipped, alpha=0.25
    )
    assert body.inputs[0] is image
    model = models.Sequential([body, layers.GlobalAveragePooling2D()])
    assert model(np.zeros((1, 40, 40, 3))).shape == (1, 256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "imagenette"}, "weights"),
        ({"classes": 3}, "classes.*1000"),
        ({"classifier_activation": "relu"}, "softmax"),
        ({"input_shape": (64, 64, 3)}, "input_shape"),
        ({"weights": None, "input_shape": (8, 8, 3)}, "at least 32 by 32"),
        ({"weights": None, "input_shape": (None, None, 3)}, "include_top=False"),
        ({"weights": None, "input_shape": (64, 64)}, "height, width and channels"),
        ({"include_top": False, "input_shape": (64, 64, 1)}, "3 channels"),
        ({"alpha": 0.3}, "alpha.*0.25"),
    ],
    ids=str,
)
def test_wrong_arguments_answer_in_a_sentence(options, message):
    with pytest.raises(ValueError, match=f"MobileNet: .*{message}"):
        applications.MobileNet(**options)


def test_weights_that_cannot_be_downloaded_name_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(
        "kerasnb.applications.network.STORE", "http://127.0.0.1:9/applications/"
    )
    network = Network("VGG16", 224, weights=None)
    assert network.shape == (224, 224, 3)
    with pytest.raises(OSError, match="mobilenet_2_5_128_tf_no_top.h5"):
        applications.mobilenet.Files(
            "http://127.0.0.1:9/", ("a.h5", "mobilenet_2_5_128_tf_no_top.h5")
        ).fetch(include_top=False)
