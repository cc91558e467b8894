"""The architectures beside those of Keras: the same layers and weights."""

import jax
import keras
import numpy as np
import pytest

from kerasnb import applications, layers, models
from kerasnb.applications.network import Network

# Some of the families, with the smallest images they take.
FAMILIES = {"ResNet50V2": 32, "DenseNet121": 32, "Xception": 71, "MobileNetV2": 32}


def both(name: str, **options):
    """The model of that name, here and in Keras."""
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


def test_an_architecture_has_the_layers_and_weights_of_keras():
    check_structure(*both("MobileNet", input_shape=(32, 32, 3), classes=7))


@pytest.mark.parity
@pytest.mark.parametrize("name", FAMILIES)
def test_families_have_the_layers_and_weights_of_keras(name):
    side = FAMILIES[name]
    check_structure(*both(name, input_shape=(side, side, 3), classes=7))


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
