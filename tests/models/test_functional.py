"""kerasnb.models.functional"""

import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from tests.models.zoo import (
    ZOO,
    assert_same_outputs,
    build,
    data_for,
    lists,
    nested,
    outputs_of,
    plain,
    shared,
)


@pytest.fixture(scope="module", params=ZOO, ids=lambda make: make.__name__)
def pair(request):
    """A model of the zoo in both libraries, with the same weights."""
    ours, theirs = build(request.param)
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def test_the_config_is_the_one_that_keras_writes(pair):
    ours, theirs = pair
    found, wanted = json.loads(ours.to_json()), json.loads(theirs.to_json())
    assert plain(found) == plain(wanted)


def test_layers_and_weights_come_in_the_order_of_keras(pair):
    ours, theirs = pair
    assert [x.name for x in ours.layers] == [x.name for x in theirs.layers]
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]


def test_a_config_of_either_library_makes_the_model_of_the_other(pair):
    ours, theirs = pair
    data = data_for(ours)
    from_theirs = nb.models.model_from_json(theirs.to_json())
    from_ours = keras.models.model_from_json(ours.to_json())
    for model in (from_theirs, from_ours):
        model.set_weights(ours.get_weights())
        assert_same_outputs(model, theirs, data)


def test_a_config_read_and_written_again_is_the_same(pair):
    ours, _ = pair
    again = nb.models.model_from_json(ours.to_json())
    assert json.loads(again.to_json()) == json.loads(ours.to_json())


def test_shapes_of_inputs_and_outputs_agree_with_keras(pair):
    ours, theirs = pair
    shapes = lambda tensors: [tuple(t.shape) for t in tensors]  # noqa: E731
    assert shapes(ours.inputs) == shapes(theirs.inputs)
    assert shapes(ours.outputs) == shapes(theirs.outputs)
    data = data_for(ours, rows=3)
    got = [x.shape[1:] for x in outputs_of(ours, data)]
    known = [s[1:] for s in shapes(ours.outputs)]
    assert len(got) == len(known)
    for real, symbolic in zip(got, known, strict=True):
        assert all(s in (None, r) for r, s in zip(real, symbolic, strict=True))


def test_outputs_keep_the_structure_they_were_given_in():
    x = nb.Input((2,))
    model = nb.Model(x, {"one": layers.ReLU()(x), "two": [x * 2, (x * 3,)]})
    out = model(jnp.ones((1, 2)))
    assert set(out) == {"one", "two"}
    assert out["two"][0].tolist() == [[2, 2]] and out["two"][1][0].tolist() == [[3, 3]]


def test_a_compiled_call_gives_the_outputs_of_an_eager_one():
    model, _ = build(nested)
    data = data_for(model)
    compiled = jax.jit(lambda x: model(x))
    for a, b in zip(model(data), compiled(data), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_shared_layer_has_its_weights_once():
    model, _ = build(shared)
    assert [w.path for w in model.weights] == ["dense/kernel", "dense/bias"]


def test_freezing_a_model_freezes_its_layers():
    model, _ = build(lists)
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 8
    model.trainable = True
    model.get_layer("left").trainable = False
    assert [w.path for w in model.non_trainable_weights] == ["left/kernel", "left/bias"]


def test_a_model_can_be_called_on_placeholders_again():
    model, _ = build(lists)
    a, b = nb.Input((4,)), nb.Input((5,))
    again = nb.Model([a, b], [2 * y for y in model([a, b])])
    data = data_for(model)
    for once, twice in zip(model(data), again(data), strict=True):
        np.testing.assert_allclose(2 * once, twice, rtol=1e-6)


# --- What may be passed as inputs -----------------------------------------------------


def _widths(k, *shapes, **options):
    """A model that says what its inputs looked like."""
    inputs = [
        k.Input(shape, name=f"in{i}", **options) for i, shape in enumerate(shapes)
    ]
    outputs = [k.ops.reshape(k.ops.cast(x, "float32"), (-1, 2)) for x in inputs]
    if len(inputs) == 1:
        return k.Model(inputs[0], outputs[0])
    return k.Model(inputs, outputs)


FITTING = {
    "a last axis of length one is dropped": ((2,), np.ones((3, 2, 1), "float32")),
    "a last axis of length one is added": ((2, 1), np.ones((3, 2), "float32")),
    "whole numbers become floats": ((2,), np.ones((3, 2), "int64")),
    "double precision becomes single": ((2,), np.ones((3, 2), "float64")),
    "a dict by name": ((2,), {"in0": np.ones((3, 2), "float32")}),
    "a list of one": ((2,), [np.ones((3, 2), "float32")]),
}


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(("shape", "data"), FITTING.values(), ids=FITTING.keys())
def test_inputs_are_brought_in_line_as_in_keras(shape, data):
    ours, theirs = build(lambda k: _widths(k, shape))
    found, wanted = outputs_of(ours, data), outputs_of(theirs, data)
    np.testing.assert_array_equal(found[0], wanted[0])


def test_a_list_model_takes_its_inputs_by_name_in_any_order():
    model, _ = build(lists)
    a, b = data_for(model)
    for one, other in zip(model([a, b]), model({"b": b, "a": a}), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dict_model_takes_a_dict_in_any_order():
    model, theirs = build(lambda k: ZOO[4](k))
    data = data_for(model)
    turned = dict(reversed(data.items()))
    theirs.set_weights(model.get_weights())
    assert_same_outputs(model, theirs, turned)


def test_an_optional_input_may_be_left_out():
    class Plus(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    x, y = nb.Input((2,), name="x"), nb.Input((2,), name="y", optional=True)
    model = nb.Model([x, y], Plus()(x, y))
    assert model([jnp.ones((1, 2)), None]).tolist() == [[1, 1]]
    assert model([jnp.ones((1, 2)), jnp.ones((1, 2))]).tolist() == [[2, 2]]


WRONG = {
    "another length": (
        np.ones((3, 5)),
        r"expects inputs of shape \(None, 2\) .*\(3, 5\)",
    ),
    "one sample": (
        np.ones(2),
        r"which is one sample; put it into a batch with x\[None\]",
    ),
    "too many axes": (np.ones((3, 2, 2)), r"got \(3, 2, 2\)"),
    "two inputs": ([np.ones((3, 2))] * 2, r"has 1 inputs \['in0'\] and got 2"),
    "an unknown name": ({"in_0": np.ones((3, 2))}, r'needs the input `in0`.*"in_0"'),
    "text": (np.array([["a", "b"]]), "numbers are expected"),
}


@pytest.mark.parametrize(("data", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_inputs_that_do_not_fit_are_named_in_a_sentence(data, sentence):
    model, _ = build(lambda k: _widths(k, (2,)))
    with pytest.raises(ValueError, match=sentence):
        model(data)


def test_none_for_an_input_that_is_needed_is_an_error():
    model, _ = build(lists)
    with pytest.raises(
        ValueError, match="None for the input `b`, which is not optional"
    ):
        model([np.ones((1, 4)), None])


# --- Mistakes in the graph ------------------------------------------------------------


def test_outputs_must_come_from_placeholders():
    with pytest.raises(ValueError, match="`outputs` must be made by keras.Input"):
        nb.Model(nb.Input((2,)), np.ones(2))


def test_an_input_that_is_missing_is_named():
    a, b = nb.Input((2,), name="a"), nb.Input((2,), name="b")
    with pytest.raises(ValueError, match="depend on the input `b`"):
        nb.Model(a, layers.Add()([a, b]))


def test_two_layers_of_one_name_are_an_error():
    x = nb.Input((2,), name="x")
    y = layers.Dense(2, name="same")(x)
    with pytest.raises(ValueError, match="two layers named `same`"):
        nb.Model(x, layers.Dense(2, name="same")(y))


def test_a_config_whose_graph_has_a_hole_is_refused():
    model, _ = build(lists)
    config = model.get_config()
    config["layers"] = [c for c in config["layers"] if c["name"] != "right"]
    with pytest.raises(ValueError, match="`both`.* outputs that no layer of the file"):
        nb.Model.from_config(config)


# --- Subclasses -----------------------------------------------------------------------


def test_a_subclass_that_passes_inputs_on_becomes_functional():
    class Tower(nb.Model):
        def __init__(self, units, **kwargs):
            x = nb.Input((3,))
            super().__init__(x, layers.Dense(units)(x), **kwargs)
            self.units = units

        def get_config(self):
            return {"units": self.units, "name": self.name}

    tower = Tower(2, name="tower")
    assert tower.output_shape == (None, 2) and len(tower.layers) == 2
    again = Tower.from_config(tower.get_config())
    assert again.output_shape == (None, 2) and again.name == "tower"


def test_a_functional_subclass_writes_its_graph_as_keras_does():
    def make(k):
        class Same(k.Model):
            pass

        x = k.Input((3,), name="x")
        return Same(x, k.layers.Dense(1, name="d")(x), name="same")

    ours, theirs = build(make)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    again = type(ours).from_config(ours.get_config())
    assert type(again) is type(ours) and again.output_shape == (None, 1)


@pytest.mark.parametrize("given", [False, True])
def test_a_given_training_stays_whatever_the_model_is_told(given):
    # Keras' guide to fine-tuning promises it; its `fit` and `predict` override it.
    x = nb.Input((4,))
    model = nb.Model(x, layers.Dropout(0.9, seed=1)(x, training=given))
    for told in (True, False, None):
        dropped = not np.all(model(np.ones((8, 4)), training=told) == 1)
        assert dropped == given
