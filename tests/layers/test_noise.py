"""Noise: how much of it, what it keeps, and when there is none."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import both, case, check_layer, close

TABLE = [
    case("AlphaDropout", (4, 5), rate=0.3, seed=3, _training=True),
    case("AlphaDropout", (4, 5), rate=0.3, seed=3),
    case(
        "AlphaDropout",
        (4, 5, 3),
        rate=0.5,
        noise_shape=(None, 1, 3),
        seed=3,
        _training=True,
    ),
    case("ActivityRegularization", (4, 5), l1=0.1, l2=0.2),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


X = np.random.default_rng(0).normal(size=(100, 8, 5, 50)).astype("float32")
RATE = 0.3
NOISE = {
    "Dropout": (RATE, np.sqrt(1 / (1 - RATE))),
    "SpatialDropout2D": (RATE, np.sqrt(1 / (1 - RATE))),
    "GaussianDropout": (RATE, np.sqrt(1 + RATE / (1 - RATE))),
    "GaussianNoise": (RATE, np.sqrt(1 + RATE**2)),
    "AlphaDropout": (RATE, 1.0),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_keeps_the_mean_and_gives_the_variance_it_says(name):
    argument, spread = NOISE[name]
    layer = getattr(layers, name)(argument, seed=1)
    y = np.asarray(layer(X, training=True))
    assert abs(y.mean()) < 0.02
    assert y.std() == pytest.approx(spread, abs=0.02)
    np.testing.assert_array_equal(layer(X), X)
    assert np.abs(np.asarray(layer(X, training=True)) - y).max() > 0.1


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(name, rate):
    layer = getattr(layers, name)(rate, seed=1)
    y = np.asarray(layer(np.ones((300, 200), "float32"), training=True))
    dropped, kept = np.unique(y)
    assert dropped < kept
    assert (y == dropped).mean() == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize(
    ("name", "axes"),
    [("Dropout", (1, 3)), ("AlphaDropout", (1, 3)), ("SpatialDropout2D", (1, 2))],
)
def test_one_decision_holds_along_shared_axes(name, axes):
    options = {} if "Spatial" in name else {"noise_shape": (None, 1, None, 1)}
    layer = getattr(layers, name)(0.5, seed=1, **options)
    y = np.asarray(layer(np.ones_like(X[:4]), training=True))
    assert np.all(y.max(axes) == y.min(axes))
    assert y.std() > 0.3


@pytest.mark.parametrize("name", [*NOISE, "SpatialDropout1D", "SpatialDropout3D"])
def test_a_strength_of_zero_draws_nothing(name):
    layer = getattr(layers, name)(0.0)
    assert layer.variables == []
    x = jnp.ones((2,) + (3,) * (getattr(layer, "rank", 1) + 1))
    np.testing.assert_array_equal(layer(x, training=True), x)


def test_alpha_dropout_keeps_the_moments_of_selu():
    x = keras.activations.selu(X)
    y = np.asarray(layers.AlphaDropout(0.2, seed=2)(x, training=True))
    assert y.mean() == pytest.approx(0, abs=0.02)
    assert y.std() == pytest.approx(1, abs=0.02)


def test_activity_regularization_adds_what_keras_adds():
    ours, theirs = both("ActivityRegularization", l1=0.2, l2=0.3)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    assert ours(x) is not None
    theirs(x)
    close(ours.losses, theirs.losses, "losses")
    wanted = (0.2 * np.abs(x).sum() + 0.3 * np.square(x).sum()) / 4
    assert float(ours.losses[0]) == pytest.approx(wanted, rel=1e-5)
    assert layers.ActivityRegularization().supports_masking


def test_a_rate_that_leaves_nothing_is_refused():
    for name, rate in (("AlphaDropout", 1.0), ("AlphaDropout", -0.5)):
        with pytest.raises(ValueError, match="`rate` must be a number from 0 to 1"):
            getattr(layers, name)(rate)
    with pytest.raises(ValueError, match="`l1` must be"):
        layers.ActivityRegularization(l1=-1.0)
