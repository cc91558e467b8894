"""kerasnb.activations"""

import inspect

import jax
import keras
import numpy as np
import pytest

from kerasnb import activations
from kerasnb.core.graph import KerasTensor

X = np.float32(np.linspace(-7.3, 7.1, 40)).reshape(4, 10)
OPTIONS = {
    "relu": [
        {},
        {"negative_slope": 0.2},
        {"max_value": 2.0},
        {"max_value": 6},
        {"threshold": 0.5},
        {"threshold": 0.5, "negative_slope": 0.1},
        {"negative_slope": 0.1, "max_value": 3.0},
    ],
    "threshold": [{"threshold": 0.5, "default_value": 2.0}],
    "softmax": [{}, {"axis": 0}],
    "gelu": [{}, {"approximate": True}],
    "elu": [{}, {"alpha": 0.5}],
}
CASES = [
    (name, options)
    for name in sorted(keras.src.activations.ALL_OBJECTS_DICT)
    for options in OPTIONS.get(name, [{}])
    if name != "sparsemax"
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_values_and_gradients_agree_with_keras(name, options):
    ours, theirs = getattr(activations, name), getattr(keras.activations, name)

    @jax.jit
    def run(x):
        weights = np.cos(X[:, :1])
        losses = [
            lambda x, f=f: (f(x, **options) * weights).sum() for f in (ours, theirs)
        ]
        return [(f(x, **options)) for f in (ours, theirs)], [
            jax.grad(loss)(x) for loss in losses
        ]

    values, slopes = run(X)
    np.testing.assert_allclose(*values, 1e-6, 1e-7)
    np.testing.assert_allclose(*slopes, 1e-5, 1e-6)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_placeholders_keep_their_shape_and_dtype(name, options):
    y = getattr(activations, name)(KerasTensor((None, 10), "bfloat16"), **options)
    assert y.shape == ((None, 5) if name == "glu" else (None, 10))
    assert y.dtype == "bfloat16"


def test_sparsemax_gives_probabilities_many_of_which_are_zero():
    # Keras adds up the wrong numbers as soon as more than one of them is positive.
    p = activations.sparsemax(X)
    np.testing.assert_allclose(p.sum(-1), 1, 1e-6)
    assert (p[0] > 0).sum() == 2
    one = np.float32([[0, 5, 1], [7, 1, 2]])
    np.testing.assert_allclose(
        activations.sparsemax(one), keras.activations.sparsemax(one)
    )
    best = activations.sparsemax(X, axis=0)
    # The nearest point with a sum of one: moving any mass makes the distance larger.
    moved = best + 0.01 * np.float32([[1], [-1], [0], [0]])
    assert (((best - X) ** 2).sum() < ((np.clip(moved, 0, 1) - X) ** 2).sum()).all()


def test_signatures_equal_those_of_keras():
    for name in dir(keras.activations):
        theirs = getattr(keras.activations, name)
        if not inspect.isfunction(theirs):
            continue
        ours = inspect.signature(getattr(activations, name)).parameters.values()
        wanted = inspect.signature(theirs).parameters.values()
        if name in ("get", "serialize", "deserialize"):
            assert [p.name for p in ours] == [p.name for p in wanted], name
        else:
            assert [(p.name, p.default) for p in ours] == [
                (p.name, p.default) for p in wanted
            ], name


def test_names_stand_for_functions_and_back():
    assert activations.get("swish") is activations.silu
    assert activations.get(None) is activations.linear
    for name in keras.src.activations.ALL_OBJECTS_DICT:
        assert activations.get(name) is getattr(activations, name)
        fn = getattr(keras.activations, name)
        stored = activations.serialize(activations.get(name))
        assert stored == keras.activations.serialize(fn)
        assert activations.deserialize(stored) is activations.get(name)
    assert activations.get(np.tanh) is np.tanh


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match=r'Unknown activation "reluu".*mean "relu"'):
        activations.get("reluu")
    with pytest.raises(ValueError, match="3 is not an activation"):
        activations.get(3)
