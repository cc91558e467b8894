"""The same seed gives the same weights and dropout as in Keras, bit for bit."""

import random

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasnb import layers
from kerasnb.random import set_random_seed

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


def chain(library):
    return [
        library.Dense(5, kernel_initializer="he_normal"),
        library.Dropout(0.5),
        library.Dropout(0.0),
        library.GaussianNoise(0.3),
        library.LSTM(4, return_sequences=True, dropout=0.3),
        library.Bidirectional(library.SimpleRNN(4, recurrent_dropout=0.4)),
        library.BatchNormalization(gamma_initializer="random_normal"),
        library.Embedding(4, 3),
        library.Dense(2, bias_initializer="random_uniform"),
    ]


def build(library):
    """The layers, built for each other, and the next number of Python's `random`."""
    made, shape = chain(library), X.shape
    for layer in made:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return made, random.random()


def test_a_chain_of_layers_draws_as_keras_does():
    set_random_seed(42)
    ours, mine = build(layers)
    keras.utils.set_random_seed(42)
    theirs, wanted = build(keras.layers)
    assert mine == wanted
    for a, b in zip(ours, theirs, strict=True):
        for v, w in zip(a.variables, b.variables, strict=True):
            # The last bit of an orthogonal matrix is the factorisation's.
            atol = 2e-7 if "recurrent" in v.path else 0
            np.testing.assert_allclose(v.value, w.value, 0, atol, err_msg=v.path)


def test_dropout_keeps_the_same_elements_as_keras():
    for kind in ("Dropout", "SpatialDropout1D"):
        set_random_seed(7)
        mine = [getattr(layers, kind)(0.4) for _ in range(2)]
        keras.utils.set_random_seed(7)
        wanted = [getattr(keras.layers, kind)(0.4) for _ in range(2)]
        for a, b in zip(mine, wanted, strict=True):
            for _ in range(2):
                y, z = a(X, training=True), b(X, training=True)
                np.testing.assert_array_equal(y, z)


def test_a_layer_that_drops_nothing_has_no_seed():
    assert layers.Dropout(0).variables == []
    assert len(layers.Dropout(0.1).variables) == 1


def test_dropout_is_new_at_every_turn_of_a_loop():
    layer = layers.Dropout(0.5, seed=1)
    eager = [np.asarray(layer(jnp.ones(8), training=True)) for _ in range(3)]
    other = layers.Dropout(0.5, seed=1)

    def turn(state, _):
        out, state = other.stateless_call([], state, jnp.ones(8), training=True)
        return state, out

    start = [v.value for v in other.non_trainable_variables]
    _, looped = jax.lax.scan(turn, start, None, 3)
    np.testing.assert_array_equal(np.asarray(looped), eager)
