"""Lambda: any function as a layer, and no code from files without permission."""

import json

import keras
import numpy as np
import pytest

from kerasnb import layers, ops
from kerasnb.core import registry
from kerasnb.core.configurable import deserialize, serialize
from tests.helpers import close, same_config

X = np.array([[1.0, 2.0, 3.0]], "float32")


@registry.register_keras_serializable("tests")
def halve(x, by=2.0):
    return x / by


def test_a_lambda_is_written_as_keras_writes_it():
    factor = 3.0
    function = lambda x: x * factor + 1  # noqa: E731
    mine = layers.Lambda(function, name="it").get_config()
    wanted = keras.layers.Lambda(function, name="it").get_config()
    same_config(mine, wanted)
    stored = json.loads(json.dumps(mine))
    theirs = keras.layers.Lambda.from_config(dict(stored), safe_mode=False)
    close(theirs(X), X * 3 + 1, "in Keras")
    close(layers.Lambda.from_config(stored, safe_mode=False)(X), X * 3 + 1, "here")


def test_defaults_and_closures_come_back():
    factor = 3.0
    function = lambda x, plus=1.0: x * factor + plus  # noqa: E731
    stored = json.loads(json.dumps(serialize(layers.Lambda(function))))
    with registry.safe_mode(False):
        close(deserialize(stored)(X), X * 3 + 1, "here; Keras stumbles over defaults")


def test_code_in_a_file_is_refused():
    stored = json.loads(json.dumps(serialize(layers.Lambda(lambda x: x + 1))))
    message = "brings a Python lambda along.*safe_mode=False"
    with pytest.raises(ValueError, match=message):
        deserialize(stored)
    with pytest.raises(ValueError, match=message):
        layers.Lambda.from_config(stored["config"])
    inside = json.loads(json.dumps(serialize(layers.Activation(lambda x: x + 1))))
    with pytest.raises(ValueError, match=message):
        deserialize(inside)
    with registry.safe_mode(False):
        close(deserialize(stored)(X), X + 1, "allowed")
        close(deserialize(inside)(X), X + 1, "allowed")


def test_permission_can_be_given_for_good_and_taken_back():
    stored = json.loads(json.dumps(serialize(layers.Lambda(lambda x: x + 1))))
    registry.enable_unsafe_deserialization()
    try:
        close(deserialize(stored)(X), X + 1, "allowed")
    finally:
        registry.disable_unsafe_deserialization()
    with pytest.raises(ValueError, match="brings a Python lambda along"):
        deserialize(stored)


def test_a_function_with_a_name_needs_no_permission():
    layer = layers.Lambda(halve, arguments={"by": 4.0})
    stored = json.loads(json.dumps(serialize(layer)))
    close(deserialize(stored)(X), X / 4, "registered")
    stored = json.loads(json.dumps(serialize(layers.Lambda(ops.square))))
    close(deserialize(stored)(X), X**2, "one of ours")


def test_an_unknown_function_says_what_to_pass():
    def third(x):
        return x / 3

    stored = json.loads(json.dumps(serialize(layers.Lambda(third))))
    with pytest.raises(ValueError, match=r"pass\s+custom_objects=\{'third': third\}"):
        deserialize(stored)
    with registry.custom_object_scope({"third": third}):
        close(deserialize(stored)(X), X / 3, "custom")
    config = stored["config"]
    close(layers.Lambda.from_config(config, {"third": third})(X), X / 3, "custom")


def test_code_of_another_python_is_told_so():
    stored = serialize(layers.Lambda(lambda x: x + 1))
    stored["config"]["function"]["config"]["code"] = "AAAA\n"
    with (
        registry.safe_mode(False),
        pytest.raises(ValueError, match="another version of"),
    ):
        deserialize(stored)


def test_a_lambda_finds_the_usual_names_when_it_comes_back():
    stored = serialize(layers.Lambda(lambda x: ops.square(x) + np.pi))
    with registry.safe_mode(False):
        close(deserialize(stored)(X), X**2 + np.float32(np.pi), "ops and np")


def test_a_function_may_take_training_and_a_mask():
    layer = layers.Lambda(
        lambda x, training, mask: x if training else x * mask[..., None]
    )
    mask = np.array([True])
    close(layer(X, training=True), X, "training")
    close(layer(X, mask=~mask), X * 0, "mask")


def test_something_else_than_a_function_is_refused():
    with pytest.raises(
        ValueError, match="Lambda: `function` must be a function, not 3"
    ):
        layers.Lambda(3)
