"""Inputs, arguments of older versions, joins as functions, and other small things."""

import inspect
import warnings

import keras
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.configurable import deserialize, serialize
from tests.helpers import both, close, same_config

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")

INPUTS = [
    {"shape": (3, None)},
    {"shape": (3,), "batch_size": 4, "dtype": "int32", "name": "numbers"},
    {"batch_shape": [None, 2], "optional": True},
    {"shape": ()},
]


@pytest.mark.parametrize("args", INPUTS, ids=str)
def test_an_input_is_keras_input(args):
    mine, wanted = layers.Input(**args), keras.Input(**args)
    assert mine.shape == wanted.shape
    assert mine.dtype == wanted.dtype
    ours, theirs = mine._keras_history[0], wanted._keras_history.operation
    if "name" in args:
        assert mine.name == wanted.name == ours.name
    config = theirs.get_config() | {"name": ours.name}
    same_config(ours.get_config(), config)
    again = deserialize(serialize(ours))
    same_config(again.get_config(), config)
    assert ours.output is mine
    assert ours.weights == []


def test_input_has_keras_arguments():
    mine, wanted = (inspect.signature(f) for f in (layers.Input, keras.Input))
    assert [(p.name, p.default) for p in mine.parameters.values()] == [
        (p.name, p.default) for p in wanted.parameters.values()
    ]


def test_an_input_can_wrap_a_placeholder():
    tensor = layers.Input((3,), dtype="int32")
    again = layers.Input(tensor=tensor)
    assert again is tensor
    with pytest.raises(
        ValueError, match="Input: `dtype` is float32, but the tensor's is"
    ):
        layers.Input(tensor=tensor, dtype="float32")


FUNCTIONS = "add subtract multiply average maximum minimum concatenate dot".split()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_join_is_also_a_function(name):
    ours, theirs = getattr(layers, name), getattr(keras.layers, name)
    assert list(inspect.signature(ours).parameters) == list(
        inspect.signature(theirs).parameters
    )
    pair = [X[:, 0], X[:, 1]]
    close(ours(pair), theirs(pair), name)


def test_other_names_of_layers_are_the_same_layers():
    for name in dir(keras.layers):
        theirs, ours = getattr(keras.layers, name), getattr(layers, name, None)
        if ours is not None and inspect.isclass(theirs):
            # Keras' files and names know this one class as GroupQueryAttention.
            wanted = theirs.__name__.replace("GroupedQuery", "GroupQuery")
            assert ours.__name__ == wanted, name
    for name in ("MaxPool2D", "AvgPool1D", "GlobalAvgPool2D", "Convolution2D"):
        assert hasattr(layers, name)


def test_embedding_takes_its_table():
    table = np.arange(12, dtype="float32").reshape(4, 3)
    layer = layers.Embedding(4, 3, weights=[table])
    close(layer(np.array([2, 0])), table[[2, 0]], "table")
    assert "weights" not in layer.get_config()
    floats = layer(np.array([2.0, 0.0], "float32"))
    close(floats, table[[2, 0]], "numbers given as floats")


def test_arguments_of_older_versions_still_work():
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2
    assert (
        layers.Embedding(4, 3, input_length=7).get_config().get("input_length") is None
    )
    assert layers.InputLayer(input_shape=(3,)).batch_shape == (None, 3)
    assert layers.InputLayer(batch_input_shape=(2, 3)).batch_shape == (2, 3)
    ours, theirs = both("LSTM", units=3, implementation=1)
    same_config(ours.get_config(), theirs.get_config())
    assert "alpha" not in layers.LeakyReLU(alpha=0.2).get_config()


def test_scales_and_offsets_may_be_arrays():
    scale = np.array([1.0, 2.0, 3.0], "float32")
    ours, theirs = both("Rescaling", scale=scale, offset=-1.0)
    close(ours(X), theirs(X), "rescaling")
    again = deserialize(serialize(ours))
    close(again(X), ours(X), "rescaling from its config")


def test_a_convolution_can_be_changed_by_its_op():
    class Doubled(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel * 2)

    x = np.ones((1, 4, 4, 2), "float32")
    plain, doubled = layers.Conv2D(3, 2), Doubled(3, 2)
    plain.build(x.shape)
    doubled.build(x.shape)
    doubled.set_weights(plain.get_weights())
    close(doubled(x), plain(x) * 2, "doubled")


def test_regularizers_of_weights_and_outputs_count():
    losses = []
    for library in (layers, keras.layers):
        layer = library.Dense(
            2,
            kernel_initializer="ones",
            kernel_regularizer="l2",
            bias_regularizer=None,
            activity_regularizer="l1",
        )
        layer(X[:, 0])
        losses.append(float(sum(layer.losses)))
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_constraints_and_regularizers_reach_the_variables():
    layer = layers.Conv2D(2, 3, kernel_constraint="non_neg", bias_regularizer="l1")
    layer.build((None, 4, 4, 1))
    kernel, bias = layer.weights
    assert type(kernel.constraint).__name__ == "NonNeg"
    assert kernel.regularizer is None
    assert type(bias.regularizer).__name__ == "L1"


def test_layers_warn_about_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Softmax()(X)
        layers.GlobalMaxPooling1D()(X)
