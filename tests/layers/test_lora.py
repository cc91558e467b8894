"""kerasnb.layers.lora: low-rank adaptation, beside Keras' layers."""

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from tests.helpers import both, case, check_layer, same_config

TABLE = [
    case("Dense", (3, 5), units=4, lora_rank=2),
    case(
        "EinsumDense",
        (2, 3, 5),
        equation="abc,cde->abde",
        output_shape=(3, 2, 3),
        bias_axes="de",
        lora_rank=2,
        lora_alpha=3,
    ),
    case("Conv1D", (2, 6, 3), filters=4, kernel_size=3, lora_rank=2, lora_alpha=4),
    case("Conv2D", (2, 4, 6, 6), filters=4, kernel_size=2, groups=2, lora_rank=1),
    case("Embedding", (2, 5), input_dim=9, output_dim=3, lora_rank=2, _below=9),
]
LIBRARIES = (kerasnb, keras)

# Keras' own variables are not ready for NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


def stored(layer):
    store = {}
    layer.save_own_variables(store)
    return {k: np.asarray(v) for k, v in store.items()}


@pytest.mark.parametrize("name", ["Dense", "Conv2D", "Embedding"])
def test_enabling_agrees_with_keras(name, rng):
    arguments, shape = {
        "Dense": ({"units": 4}, (3, 5)),
        "Conv2D": ({"filters": 4, "kernel_size": 2}, (2, 4, 4, 3)),
        "Embedding": ({"input_dim": 9, "output_dim": 4}, (2, 3)),
    }[name]
    ours, theirs = both(name, **arguments)
    for layer in (ours, theirs):
        layer.build(shape)
        layer.enable_lora(2, lora_alpha=6, b_initializer="ones")
    facts = [(v.path, tuple(v.shape), v.dtype, v.trainable) for v in theirs.weights]
    assert [(v.path, v.shape, v.dtype, v.trainable) for v in ours.weights] == facts
    values = [rng.normal(size=v.shape).astype("float32") for v in ours.weights]
    ours.set_weights(values)
    theirs.set_weights(values)
    same_config(ours.get_config(), theirs.get_config())
    assert (ours.lora_rank, ours.lora_alpha) == (2, 6)
    weight = ours.adapted
    np.testing.assert_allclose(
        getattr(ours, weight), getattr(theirs, weight), rtol=1e-5, atol=1e-5
    )
    mine, wanted = stored(ours), stored(theirs)
    assert mine.keys() == wanted.keys()
    for key in wanted:
        np.testing.assert_allclose(mine[key], wanted[key], rtol=1e-5, atol=1e-5)
    ours.load_own_variables(wanted)
    np.testing.assert_allclose(getattr(ours, weight), wanted["0"], rtol=1e-5)
    assert not np.any(ours.get_weights()[-1])


def test_training_changes_the_addition_and_nothing_else(rng, tmp_path):
    x, y = rng.integers(0, 9, (8, 4)), rng.normal(size=(8, 3)).astype("float32")
    model = kerasnb.Sequential(
        [layers.Embedding(9, 4), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    )
    model.build((None, 4))
    for layer in (model.layers[0], model.layers[-1]):
        layer.enable_lora(2)
    before = model.predict(x, verbose=0)
    frozen = np.asarray(model.layers[-1]._kernel.value)
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.layers[-1]._kernel.value, frozen)
    after = model.predict(x, verbose=0)
    assert np.abs(after - before).max() > 0
    model.save(tmp_path / "m.keras")
    for library in LIBRARIES:
        again = library.saving.load_model(tmp_path / "m.keras")
        assert again.layers[-1].lora_enabled
        np.testing.assert_allclose(again.predict(x, verbose=0), after, atol=1e-5)


def test_files_keep_the_precision_of_the_weights(rng):
    layer = layers.Dense(2, dtype="mixed_float16")
    layer.build((3, 4))
    layer.enable_lora(1, b_initializer="ones")
    kernel = np.asarray(layer._kernel.value)
    sum_ = kernel + np.asarray(layer.lora_kernel_a.value) @ np.ones((1, 2), "float32")
    assert stored(layer)["0"].dtype == "float32"
    np.testing.assert_allclose(stored(layer)["0"], sum_, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "built", "rank", "message"),
    [
        ({}, False, 2, "must be built before enable_lora"),
        ({"lora_rank": 2}, True, 2, "has LoRA already, of rank 2"),
        ({"kernel_constraint": "max_norm"}, True, 2, "cannot keep a constraint"),
        ({}, True, 0, "`rank` must be a positive integer, not 0"),
    ],
)
def test_what_cannot_be_adapted_is_told(arguments, built, rank, message):
    layer = layers.Dense(3, **arguments)
    if built:
        layer.build((2, 4))
    with pytest.raises(ValueError, match=message):
        layer.enable_lora(rank)
