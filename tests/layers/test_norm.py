"""Normalisation: numbers that are hard to compute, and what happens to statistics."""

import jax
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.state import functional, read
from tests.helpers import both, close


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_one_pass_moments_keep_their_digits(mean):
    x = np.random.default_rng(0).normal(mean, 1.0, (64, 4, 3)).astype("float32")
    ours, theirs = both("BatchNormalization", momentum=0.0)
    y, z = ours(x, training=True), theirs(x, training=True)
    # float32 itself holds x to 6e-8 of its mean.
    close(y, z, "outputs", atol=1e-5 + 4e-7 * mean)
    exact = x.astype("float64").var((0, 1))
    close(np.asarray(ours.moving_variance.value, "float64"), exact, "variance", 2e-5)


def test_a_constant_channel_has_variance_zero():
    x = np.full((16, 2), 3.14159e3, "float32")
    layer = layers.BatchNormalization(momentum=0.0)
    assert np.all(np.abs(layer(x, training=True)) < 1e-2)
    assert np.all(np.asarray(layer.moving_variance.value) >= 0)


def test_statistics_move_the_same_way_eagerly_and_compiled():
    x = np.random.default_rng(0).normal(3.0, 2.0, (8, 3)).astype("float32")
    eager, compiled = layers.BatchNormalization(), layers.BatchNormalization()
    eager.build(x.shape)
    compiled.build(x.shape)
    run = jax.jit(functional(lambda x: compiled(x, training=True), compiled.variables))
    values = read(compiled.variables)
    for _ in range(3):
        out, values = run(values, x)
        close(eager(x, training=True), out, "outputs")
    close([v.value for v in eager.variables], values, "statistics")


def test_a_frozen_layer_uses_and_keeps_its_running_statistics():
    x = np.random.default_rng(0).normal(3.0, 2.0, (8, 3)).astype("float32")
    layer = layers.BatchNormalization(epsilon=0.0)
    layer(x)
    layer.trainable = False
    close(layer(x, training=True), x, "frozen")


def test_only_batch_normalisation_mixes_samples():
    assert layers.BatchNormalization.mixes_samples
    assert not layers.LayerNormalization.mixes_samples


def test_layer_normalisation_by_an_old_option_only_divides():
    x = np.random.default_rng(0).normal(3.0, 2.0, (8, 3)).astype("float32")
    layer = layers.LayerNormalization(rms_scaling=True, epsilon=0.0)
    close(layer(x), x / x.std(-1, keepdims=True), "rms_scaling")
    assert [v.name for v in layer.weights] == ["gamma"]
    assert layer.get_config()["rms_scaling"] is True
    assert layers.LayerNormalization.from_config(layer.get_config()).rms_scaling


def test_wrong_axes_are_named():
    x = np.ones((2, 3), "float32")
    for name in ("BatchNormalization", "LayerNormalization"):
        with pytest.raises(ValueError, match=f"{name} `it` normalises along axis=2"):
            getattr(layers, name)(axis=2, name="it")(x)


def test_renorm_limits_must_be_sensible():
    with pytest.raises(ValueError, match="`renorm_clipping` must be a dict"):
        layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1})
