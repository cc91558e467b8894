"""kerasnb.regularizers"""

import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import regularizers
from kerasnb.core.configurable import deserialize, serialize

CASES = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {}),
    ("L2", {"l2": 0.3}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.2, "l2": 0.1}),
    ("OrthogonalRegularizer", {"factor": 0.5}),
    ("OrthogonalRegularizer", {"mode": "columns"}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_penalties_gradients_and_configs_agree_with_keras(name, options, rng):
    x = jnp.asarray(rng.normal(size=(4, 3)), "float32")
    ours = getattr(regularizers, name)(**options)
    theirs = getattr(keras.regularizers, name)(**options)
    np.testing.assert_allclose(ours(x), theirs(x), 1e-6)
    np.testing.assert_allclose(
        jax.grad(lambda w: ours(w).sum())(x),
        jax.grad(lambda w: theirs(w).sum())(x),
        1e-5,
    )
    for key, value in theirs.get_config().items():
        if isinstance(value, float):  # Keras rounds some of them to float32
            assert ours.get_config()[key] == pytest.approx(value)
        else:
            assert ours.get_config()[key] == value
    assert serialize(ours)["class_name"] == name
    assert deserialize(serialize(ours)).get_config() == ours.get_config()
    there = keras.regularizers.deserialize(serialize(ours))
    np.testing.assert_allclose(there(x), ours(x), 1e-6)


def test_signatures_equal_those_of_keras():
    for name in dir(keras.regularizers):
        theirs = getattr(keras.regularizers, name)
        if inspect.isclass(theirs):
            ours = inspect.signature(getattr(regularizers, name))
            wanted = inspect.signature(theirs)
            assert [(p.name, p.default) for p in ours.parameters.values()] == [
                (p.name, p.default) for p in wanted.parameters.values()
            ], name


def test_names_stand_for_regularizers():
    assert regularizers.get("l2").l2 == 0.01
    assert isinstance(regularizers.get("L1L2"), regularizers.L1L2)
    assert regularizers.get(None) is None
    for name in keras.src.regularizers.ALL_OBJECTS_DICT:
        regularizers.get(name)
    with pytest.raises(ValueError, match='Unknown regularizer "l3"'):
        regularizers.get("l3")


def test_a_negative_or_infinite_factor_is_refused():
    for value in (-1, float("inf"), "much"):
        with pytest.raises(ValueError, match="L2: `l2` must be a number of at least 0"):
            regularizers.L2(value)
    with pytest.raises(ValueError, match="`mode` must be one of"):
        regularizers.OrthogonalRegularizer(mode="diagonals")
