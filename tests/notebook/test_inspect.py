"""kerasnb.notebook.inspect"""

import numpy as np
import pytest

import kerasnb as keras
from kerasnb.notebook import inspect
from kerasnb.notebook.inspect import activations


def convolutions():
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    y = keras.layers.Conv2D(2, 1, name="second")(x)
    x = keras.layers.Flatten(name="flat")(y)
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(x), name="net")


def test_weights_are_listed_with_their_spread():
    net = convolutions()
    net.get_layer("out").bias.assign([1.0, 2.0, 3.0])
    text = inspect(net).text()
    assert text.splitlines()[0] == "net: 269 numbers in 6 weights"
    row = next(line for line in text.splitlines() if "out" in line and "bias" in line)
    assert row.split() == [
        "out",
        "bias",
        "3",
        "2.000",
        "0.8165",
        "1.000",
        "3.000",
        "0%",
    ]


def test_activations_are_those_of_the_model(rng):
    net = convolutions()
    x = rng.normal(size=(5, 8, 8, 1)).astype("float32")
    found = activations(net, x, net.layers)
    assert [layer.name for layer in found] and net.layers[0] not in found
    values = {layer.name: value for layer, value in found.items()}
    conv = net.get_layer("conv")
    np.testing.assert_allclose(values["conv"], conv(x), rtol=1e-5)
    np.testing.assert_allclose(values["out"], net(x), rtol=1e-5)


def test_units_that_never_answer_are_counted(rng):
    net = convolutions()
    kernel, bias = net.get_layer("conv").get_weights()
    net.get_layer("conv").set_weights([kernel, bias - np.array([9, 0, 9, 0])])
    text = inspect(net, rng.uniform(size=(5, 8, 8, 1)), layer="conv").text()
    assert text.startswith("net/conv: 40 numbers in 2 weights, on 5 samples")
    assert "2 of 4 units never answer (50%)" in text


def test_one_layer_is_shown_with_its_filters_and_maps(rng):
    net = convolutions()
    x = rng.normal(size=(300, 8, 8, 1))
    page = inspect(net, x, layer="conv").still()
    assert "conv: 4 filters" in page and "conv: 4 maps of the first sample" in page
    assert page.count("data:image/png") == 2 and "<svg" not in page
    assert "on 256 samples" in page  # the first ones
    page = inspect(net, layer="second").still()
    assert "2 filters, their first channel" in page


def test_a_sequential_model_works_and_one_without_a_graph_explains(rng):
    chain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    assert "activation" in inspect(chain, rng.normal(size=(4, 3))).text()

    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.out = keras.layers.Dense(2, name="out")

        def call(self, inputs):
            return self.out(inputs)

    own = Own()
    own(np.zeros((1, 3)))
    assert "own: 8 numbers in 2 weights" in inspect(own).text()
    with pytest.raises(ValueError, match="`own` has no graph to follow"):
        inspect(own, np.zeros((1, 3)))


def test_looking_takes_no_names_and_changes_no_weights(rng):
    net = convolutions()
    before = net.get_weights()
    inspect(net, rng.normal(size=(4, 8, 8, 1)))
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert keras.Sequential().name == "sequential"
