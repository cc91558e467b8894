"""Files of every family: written by Keras, read here, and the other way round."""

import h5py
import jax
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from kerasnb import applications, models
from kerasnb.core.configurable import serialize
from tests.applications.record import FAMILIES, canonical, quick_keras
from tests.helpers import QUICK

# Keras' variables are older than NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

SCALING = keras.layers.Rescaling | keras.layers.Normalization


def some_values(variable, rng):
    """Random values with which signals neither die nor grow."""
    shape, path = tuple(variable.shape), variable.path
    if "int" in str(variable.dtype):
        return np.asarray(variable)
    if "variance" in path or "gamma" in path:
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) == 4 and shape[-1] == 1:
        # Depthwise, and mostly the middle: the image may be of one pixel by now.
        values = rng.normal(size=shape) * 0.1
        values[shape[0] // 2, shape[1] // 2] *= 13
    elif len(shape) > 1:
        gain = 1 if "project" in path else 2  # no activation follows
        values = rng.normal(size=shape) * np.sqrt(gain / np.prod(shape[:-1]))
    else:
        gate = "se_expand" in path or "squeeze_excite_conv_1" in path  # stands open
        values = rng.normal(size=shape) * 0.1 + 3 * gate
    return values.astype("float32")


def predictions(model, x):
    """What a model of either library answers, in a program that is quick to compile."""
    values = [
        [v.value for v in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    def answer(trainable, others, x):
        return model.stateless_call(trainable, others, x, training=False)[0]

    return np.asarray(jax.jit(answer, compiler_options=QUICK)(*values, x))


def same(mine, wanted):
    for a, b in zip(mine.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def forget(model):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])


@pytest.mark.parity
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_travels_both_ways_and_answers_alike(name, tmp_path, rng):
    side, _ = FAMILIES[name]
    options = {"classes": 5, "classifier_activation": None}
    options |= {"input_shape": (side, side, 3), "weights": None}
    with quick_keras():
        theirs = getattr(keras.applications, name)(**options)
    theirs.set_weights([some_values(w, rng) for w in theirs.weights])
    scaling = [x for x in theirs.layers if isinstance(x, SCALING)]
    for layer in scaling:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it copies its weights

    theirs.save(tmp_path / "theirs.keras")
    ours = models.load_model(tmp_path / "theirs.keras")
    same(ours, theirs)
    config = canonical(keras.saving.serialize_keras_object(theirs))
    assert canonical(serialize(ours)) == config
    size = 100 if scaling else 1  # some take pixels, and some what is made of them
    x = (size * rng.normal(size=(2, side, side, 3))).astype("float32")
    wanted = predictions(theirs, x)
    # Relative to how answers differ: what only biases say is no answer.
    limit = 1e-4 * np.ptp(wanted, axis=0).max()
    assert limit > 1e-6 * np.abs(wanted).max()
    np.testing.assert_allclose(predictions(ours, x), wanted, rtol=0, atol=limit)

    ours.save_weights(tmp_path / "ours.weights.h5")
    forget(theirs)
    theirs.load_weights(tmp_path / "ours.weights.h5")
    same(ours, theirs)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    forget(ours)
    ours.load_weights(tmp_path / "theirs.weights.h5")
    same(ours, theirs)

    # What Keras publishes are files of this kind.
    path = tmp_path / "published.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    same(getattr(applications, name)(**options | {"weights": str(path)}), theirs)
