"""kerasnb.models.model"""

import copy
import json
import pickle

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from tests.models.zoo import assert_same_outputs, build, data_for, lists, operations


def _pickled(model):
    return pickle.loads(pickle.dumps(model))


def _pair(k):
    """A model of the user's own, the same class for both libraries."""

    class Pair(k.Model):
        def __init__(self, units=2, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.second = k.layers.Dense(units, name="second")
            self.first = k.layers.Dense(3, name="first")
            self.more = [
                k.layers.Dense(1, name="third"),
                {"n": k.layers.ReLU(name="n")},
            ]

        def call(self, x, training=False):
            x = self.second(self.first(x))
            return self.more[1]["n"](self.more[0](x))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    return Pair


def test_layers_of_a_subclass_come_in_the_order_of_assignment():
    ours, theirs = build(lambda k: _pair(k)())
    names = ["second", "first", "third", "n"]
    assert [x.name for x in ours.layers] == names == [x.name for x in theirs.layers]


def test_build_makes_the_weights_of_a_subclass():
    model = _pair(nb)()
    model.build((None, 4))
    assert model.built and model.count_params() == 15 + 8 + 3
    assert model(np.ones((2, 4))).shape == (2, 1)


def test_building_tries_shapes_without_leaving_a_trace():
    model = _pair(nb)()
    model.build((None, 4))
    assert model._inbound_nodes == [] and model.losses == []


def test_a_subclass_is_rebuilt_from_its_description():
    with nb.saving.custom_object_scope({"Pair": (Pair := _pair(nb))}):
        model = Pair(5, name="p")
        model(np.ones((2, 4), "float32"))
        again = nb.models.model_from_json(model.to_json())
    assert again.units == 5 and again.name == "p" and again.built
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_a_model_with_several_arguments_is_rebuilt_from_its_description():
    class Sum(nb.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.left, self.right = layers.Dense(2), layers.Dense(2)

        def call(self, a, b):
            return self.left(a) + self.right(b)

    model = Sum()
    model(np.ones((2, 3)), np.ones((2, 4)))
    with nb.saving.custom_object_scope({"Sum": Sum}):
        again = nb.models.model_from_json(model.to_json())
    assert [w.shape for w in again.weights] == [(3, 2), (2,), (4, 2), (2,)]


def test_a_layer_is_found_by_name_or_position():
    model, _ = build(lists)
    assert model.get_layer("left") is model.get_layer(
        index=model.layers.index(model.get_layer("left"))
    )
    with pytest.raises(ValueError, match='no layer `lefd`. Did you mean "left"'):
        model.get_layer("lefd")
    with pytest.raises(ValueError, match="has 7 layers and none at 9"):
        model.get_layer(index=9)


def test_plain_arguments_of_a_model_are_explained():
    with pytest.raises(TypeError, match="takes Model\\(inputs, outputs\\)"):
        nb.Model(3)


def test_json_reads_back_in_keras():
    ours, _ = build(lists)
    theirs = keras.models.model_from_json(ours.to_json())
    theirs.set_weights(ours.get_weights())
    data = [np.ones((2, 4), "float32"), np.ones((2, 5), "float32")]
    assert_same_outputs(ours, theirs, data)
    assert json.loads(ours.to_json(indent=1)) == json.loads(ours.to_json())


def test_weights_are_got_and_set_in_one_order():
    model, theirs = build(lists)
    shapes = [tuple(w.shape) for w in theirs.weights]
    assert [w.shape for w in model.get_weights()] == shapes
    with pytest.raises(ValueError, match="has 8 weights and got 1 values"):
        model.set_weights([1])
    wrong = [np.zeros(w.shape) for w in model.weights]
    wrong[3] = np.zeros((9, 9))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"has shape .* \(9, 9\)"):
        model.set_weights(wrong)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_subclass_without_call_says_so():
    with pytest.raises(NotImplementedError, match="no `call`"):
        type("Bare", (nb.Model,), {})()(jnp.ones((1, 2)))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, _pickled], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("make", [lists, operations], ids=lambda make: make.__name__)
def test_a_copy_gives_the_same_outputs_from_weights_of_its_own(make, copied):
    model, _ = build(make)
    again = copied(model)
    assert_same_outputs(again, model, data_for(model))
    assert not {*map(id, again.weights)} & {*map(id, model.weights)}


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, _pickled], ids=["deepcopy", "pickle"]
)
def test_a_copy_of_a_trained_model_trains_on(copied):
    model = nb.Sequential([nb.layers.Input((2,)), nb.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x = np.ones((4, 2), "float32")
    model.fit(x, x[:, :1], verbose=0)
    again = copied(model)
    histories = [m.fit(x, x[:, :1], verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]
    assert_same_outputs(again, model, x)
