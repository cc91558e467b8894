"""Masks: made, passed on and used as in Keras."""

import keras
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.masks import get_mask
from tests.helpers import both, case, close

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
Z = np.random.default_rng(1).normal(size=(2, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
MASKED = {
    "SimpleRNN": {"units": 4},
    "LSTM": {"units": 4, "return_sequences": True},
    "GRU": {"units": 4, "return_state": True, "go_backwards": True},
    "RNN": {"cell": [case("LSTMCell", units=4), case("GRUCell", units=4)]},
    "Bidirectional": {"layer": case("GRU", units=4, return_sequences=True)},
    "TimeDistributed": {"layer": case("Dense", units=2)},
    "BatchNormalization": {},
    "GlobalAveragePooling1D": {},
}


def keras_mask(x):
    return getattr(x, "_keras_mask", None)


@pytest.mark.parametrize("name", MASKED)
def test_a_layer_leaves_out_masked_steps(name):
    ours, theirs = both(name, **MASKED[name])
    options = {"training": True} if name == "BatchNormalization" else {}
    y = ours(X, mask=MASK, **options)
    theirs.build(X.shape)
    start = [v * 0 + 0.1 if "moving" not in v.path else v for v in ours.weights]
    ours.set_weights([np.asarray(v) for v in start])
    theirs.set_weights([np.asarray(v) for v in start])
    y, z = ours(X, mask=MASK, **options), theirs(X, mask=MASK, **options)
    close(y, z, name)
    close([v.value for v in ours.weights], [v.value for v in theirs.weights], name)
    assert np.abs(np.asarray(y[0] if isinstance(y, tuple) else y)).max() > 0


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.parametrize("unroll", [False, True])
def test_a_masked_step_can_give_zeros(name, unroll):
    options = {"units": 3, "return_sequences": True, "zero_output_for_mask": True}
    layer = getattr(layers, name)(unroll=unroll, **options)
    y = np.asarray(layer(X, mask=MASK))
    assert np.all(y[~MASK] == 0)
    assert np.all(y[MASK] != 0)


def test_softmax_gives_masked_elements_nothing():
    ours, theirs = both("Softmax")
    mask = MASK[:, :3]
    close(ours(X[:, 0], mask=mask), theirs(X[:, 0], mask=mask), "softmax")
    with pytest.raises(ValueError, match=r"Softmax `it` got a mask of shape \(2, 4\)"):
        ours(X[:, 0], mask=np.ones((2, 4), bool))


def test_masking_and_embedding_make_masks():
    x = X.copy()
    x[0, 1] = 7
    ours, theirs = both("Masking", mask_value=7)
    mine, wanted = ours(x), theirs(x)
    close(mine, wanted, "masking")
    close(get_mask(mine), keras_mask(wanted), "masking")
    ids = np.array([[3, 0, 1], [0, 0, 2]])
    ours, theirs = both("Embedding", input_dim=5, output_dim=2, mask_zero=True)
    close(get_mask(ours(ids)), keras_mask(theirs(ids)), "embedding")


CHAIN = [
    ("Dense", {"units": 3}),
    ("Activation", {"activation": "relu"}),
    ("LSTM", {"units": 3, "return_sequences": True}),
    ("Dropout", {"rate": 0.5}),
    ("TimeDistributed", {"layer": case("Dense", units=3)}),
    ("LayerNormalization", {}),
    ("Bidirectional", {"layer": case("GRU", units=3, return_sequences=True)}),
]


def test_a_mask_travels_through_a_chain_of_layers():
    ids = np.array([[3, 1, 1, 0], [2, 2, 0, 0]])
    x = layers.Embedding(5, 3, mask_zero=True)(ids)
    for name, args in CHAIN:
        x = both(name, **args)[0](x)
        np.testing.assert_array_equal(get_mask(x), ids != 0, name)
    assert get_mask(layers.LSTM(3)(x)) is None
    assert get_mask(layers.GlobalAveragePooling1D()(x)) is None


def test_a_mask_survives_a_cast_to_float16():
    x = layers.Masking(mask_value=0.0)(X)
    y = layers.Dense(2, dtype="mixed_float16")(x)
    assert get_mask(y) is not None


MERGES = ["Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("masked", ["both", "first", "second"])
def test_a_merge_joins_masks(name, masked):
    x, z = X.copy(), Z.copy()
    x[0, 1] = x[1, 2] = z[0, 1] = z[1, 4] = 0
    ours, theirs = both(name)
    joined = []
    for library, layer in ((layers, ours), (keras.layers, theirs)):
        first, second = library.Masking(0.0), library.Masking(0.0)
        a = first(x) if masked != "second" else keras.ops.convert_to_tensor(x)
        b = second(z) if masked != "first" else keras.ops.convert_to_tensor(z)
        joined.append(layer([a, b]))
    close(*joined, name)
    mine, wanted = get_mask(joined[0]), keras_mask(joined[1])
    assert (mine is None) == (wanted is None)
    if wanted is not None:
        np.testing.assert_array_equal(mine, wanted)


def test_a_dot_product_has_no_mask():
    x = layers.Masking(0.0)(X)
    assert get_mask(layers.Dot(axes=2)([x, x])) is None


def test_a_mask_reaches_layers_inside_a_symbolic_model():
    from kerasnb.core.graph import Function

    ids = np.array([[3, 1, 1, 0], [2, 2, 0, 0]])
    inputs = layers.Input((4,), dtype="int32")
    table, lstm = layers.Embedding(5, 3, mask_zero=True), layers.LSTM(3)
    whole = Function(inputs, lstm(table(inputs)))
    eager = lstm(table(ids))
    close(whole(ids), eager, "symbolic")
    assert np.abs(eager - lstm(table(ids), mask=np.ones_like(ids, bool))).max() > 1e-4
