"""kerasnb.models.clone"""

import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.core.naming import reset_names
from kerasnb.models.clone import clone_model
from tests.models.zoo import ZOO, assert_same_outputs, build, data_for, nested, shared


@pytest.fixture(scope="module", params=ZOO, ids=lambda make: make.__name__)
def model(request):
    reset_names()
    return request.param(nb)


@pytest.mark.parametrize("recursive", [False, True], ids=["flat", "recursive"])
def test_a_clone_has_the_same_architecture_and_its_own_weights(model, recursive):
    clone = clone_model(model, recursive=recursive)
    assert type(clone) is type(model) and clone.name == model.name
    assert [x.name for x in clone.layers] == [x.name for x in model.layers]
    assert not {*map(id, clone.weights)} & {*map(id, model.weights)}
    clone.set_weights(model.get_weights())
    assert_same_outputs(clone, model, data_for(model))


def test_a_clone_is_compiled_like_the_model():
    model, _ = build(ZOO[0])
    model.compile(nb.optimizers.SGD(0.5), "mse", metrics=["mae"])
    clone = clone_model(model)
    assert clone.compiled and clone.optimizer is not model.optimizer
    assert float(clone.optimizer.learning_rate) == 0.5 and clone.loss == "mse"


def test_clone_function_makes_the_layers():
    def widen(layer):
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            config["units"] += 1
        return type(layer).from_config(config)

    model, _ = build(ZOO[0])
    assert clone_model(model, clone_function=widen).output_shape == (None, 3)


def test_clone_function_reaches_into_nested_models_only_when_recursive():
    seen = []

    def note(layer):
        seen.append(layer.name)
        return type(layer).from_config(layer.get_config())

    model, _ = build(nested)
    clone_model(model, clone_function=note)
    assert seen == ["encoder", "head"]
    seen.clear()
    clone_model(model, clone_function=note, recursive=True)
    assert seen == ["e1", "h1"]


def test_a_shared_layer_is_cloned_once():
    model, _ = build(shared)
    seen = []
    clone_model(model, clone_function=lambda x: seen.append(x.name) or x)
    assert seen == ["dense", "relu"]


def test_call_function_may_add_layers():
    def call(layer, *args, **kwargs):
        out = layer(*args, **kwargs)
        return layers.ReLU()(out) if isinstance(layer, layers.Dense) else out

    model, _ = build(ZOO[3])
    clone = clone_model(model, clone_function=lambda x: x, call_function=call)
    assert len(clone.layers) == len(model.layers) + 4
    assert clone.get_layer("left").kernel is model.get_layer("left").kernel


def test_a_clone_may_begin_at_other_placeholders():
    x = nb.Input((3,), batch_size=7)
    model, _ = build(ZOO[0])
    assert clone_model(model, input_tensors=x).output_shape == (7, 2)
    first, second = nb.Input((4,)), nb.Input((5,))
    two, _ = build(ZOO[3])
    assert clone_model(two, input_tensors=[first, second]).input_names == [
        first._keras_history[0].name,
        second._keras_history[0].name,
    ]


def test_a_subclass_is_cloned_by_its_config():
    class Mine(nb.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    model = Mine(3)
    model(np.ones((1, 2)))
    clone = clone_model(model)
    assert type(clone) is Mine and clone.dense.units == 3 and clone.built
    with pytest.raises(ValueError, match="only Sequential and functional models"):
        clone_model(model, clone_function=lambda x: x)


def test_keras_agrees_on_the_mistakes():
    ours, theirs = build(ZOO[0])
    for clone, model in ((clone_model, ours), (keras.models.clone_model, theirs)):
        with pytest.raises(ValueError, match="call_function"):
            clone(model, call_function=lambda layer, x: layer(x))
        with pytest.raises(ValueError, match="input_tensors"):
            clone(model, input_tensors=3)
