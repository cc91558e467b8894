"""kerasnb.models.sequential"""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from tests.models.zoo import assert_same_outputs, build, chain, plain


def _dense(units=2, **options):
    return layers.Dense(units, **options)


def test_the_input_is_not_among_the_layers():
    model = nb.Sequential([nb.Input((3,)), _dense(name="d")])
    assert [layer.name for layer in model.layers] == ["d"]
    assert model.built and model.input_shape == (None, 3)
    assert model.output_shape == (None, 2)


def test_without_an_input_weights_are_made_at_the_first_call():
    model = nb.Sequential([_dense(4), _dense(1)])
    assert not model.built and model.weights == []
    assert model(np.ones((5, 3))).shape == (5, 1)
    assert model.built and [w.shape for w in model.weights] == [
        (3, 4),
        (4,),
        (4, 1),
        (1,),
    ]
    assert model.input_shape == (5, 3) or model.input_shape == (None, 3)


def test_build_makes_the_weights_for_a_shape():
    model = nb.Sequential([_dense(4)])
    model.build((None, 3))
    assert model.count_params() == 16


def test_a_chain_with_an_input_cannot_be_built_for_another_shape():
    model = nb.Sequential([nb.Input((3,)), _dense()], name="s")
    with pytest.raises(ValueError, match=r"`s` has an input of shape \(None, 3\)"):
        model.build((None, 4))


def test_a_first_layer_may_say_the_shape_of_the_input():
    model = nb.Sequential([_dense(input_shape=(3,))])
    assert model.built and model.input_shape == (None, 3)


def test_a_built_model_in_front_says_the_shape_of_the_input():
    first = nb.Sequential([nb.Input((3,)), _dense(4)])
    model = nb.Sequential([first, _dense(1)])
    assert model.built and model.input_shape == (None, 3)


def test_so_does_a_model_that_was_cut_out_of_another():
    first = nb.Sequential([nb.Input((3,)), _dense(4)])
    front = nb.Model(first.inputs, first.output)  # whose inputs are a list of one
    assert front.input_shape == (None, 3) and front.output_shape == (None, 4)
    model = nb.Sequential([front, _dense(1)])
    assert model.built and model.input_shape == (None, 3)


def test_add_and_pop_change_the_chain():
    model = nb.Sequential([nb.Input((3,))])
    model.add(_dense(4, name="a"))
    model.add(_dense(5, name="b"))
    assert model.output_shape == (None, 5)
    assert model.pop().name == "b"
    assert model.output_shape == (None, 4) and len(model.weights) == 2
    model.add(_dense(6, name="c"))
    assert model.output_shape == (None, 6)


def test_one_layer_alone_is_a_chain_too():
    assert nb.Sequential(_dense())(np.ones((1, 3))).shape == (1, 2)


def test_a_chain_takes_and_gives_structures_where_its_layers_do():
    class Swap(layers.Layer):
        def call(self, pair):
            return pair[1], pair[0]

    model = nb.Sequential([Swap()])
    one, other = model((jnp.zeros(1), jnp.ones(1)))
    assert one.tolist() == [1] and other.tolist() == [0]


@pytest.mark.parametrize("with_input", [True, False], ids=["input", "no-input"])
def test_the_config_is_the_one_that_keras_writes(with_input):
    def make(k):
        first = [k.Input((3,), name="x")] if with_input else []
        return k.Sequential([*first, k.layers.Dense(2, name="d")], name="s")

    ours, theirs = build(make)
    assert plain(ours.get_config()) == plain(theirs.get_config())


def test_a_chain_built_without_an_input_keeps_its_shape_in_the_config():
    ours, theirs = build(
        lambda k: k.Sequential([k.layers.Dense(2, name="d")], name="s")
    )
    for model in (ours, theirs):
        model.build((None, 3))
    found, wanted = plain(ours.get_config()), plain(theirs.get_config())
    for config in (found, wanted):  # the names of the input that was made up
        config["layers"][0]["config"].pop("name")
    assert found == wanted
    assert nb.Sequential.from_config(ours.get_config()).built
    again = keras.Sequential.from_config(ours.get_config())
    again.set_weights(ours.get_weights())
    assert_same_outputs(ours, again, np.ones((2, 3), "float32"))


MISTAKES = {
    "not a layer": (lambda: [3], "`s` is made of layers, not 3"),
    "a class": (lambda: [layers.Dense], "`s` is made of layers, not <class"),
    "a name twice": (
        lambda: [_dense(name="d"), _dense(name="d")],
        "already has a layer named `d`",
    ),
    "an input later": (
        lambda: [_dense(name="d"), nb.Input((2,))],
        "an Input must come first, before `d`",
    ),
    "two inputs": (
        lambda: [nb.Input((2,)), nb.Input((2,))],
        "an Input must come first",
    ),
}


@pytest.mark.parametrize(("items", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_cannot_be_in_a_chain_is_named(items, sentence):
    with pytest.raises(ValueError, match=sentence):
        nb.Sequential(items(), name="s")


def test_a_layer_with_several_outputs_cannot_be_in_a_built_chain():
    class Two(layers.Layer):
        def call(self, x):
            return x, x

    with pytest.raises(ValueError, match="`two` gives several outputs"):
        nb.Sequential([nb.Input((2,)), Two(name="two"), _dense()])


def test_what_is_not_known_before_the_input_is_says_so():
    model = nb.Sequential([_dense()], name="s")
    for name in ("inputs", "outputs", "input_shape", "output_shape", "input"):
        with pytest.raises(AttributeError, match=f"`s` has no `{name}` yet"):
            getattr(model, name)
    with pytest.raises(ValueError, match="no layers yet"):
        nb.Sequential().build((None, 2))
    with pytest.raises(TypeError, match="no layers to take off"):
        nb.Sequential().pop()


def test_shapes_that_do_not_fit_name_the_layer():
    model, _ = build(chain)
    with pytest.raises(
        ValueError, match=r"`chain.*` expects inputs of shape \(None, 3\)"
    ):
        model(np.ones((2, 7)))
