"""Normalisation: numbers that are hard to compute, and what happens to statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.masks import get_mask
from kerasnb.core.state import functional, read
from tests.helpers import both, case, check_layer, close

IMAGE, FIRST, STEPS = (2, 5, 4, 6), (2, 6, 5, 4), (3, 5, 4)

TABLE = [
    case("GroupNormalization", IMAGE, groups=2, _unknown=(0, 1, 2)),
    case("GroupNormalization", FIRST, groups=3, axis=1, epsilon=1e-5, center=False),
    case("GroupNormalization", STEPS, groups=-1, scale=False, gamma_regularizer="l2"),
    case("GroupNormalization", (3, 4), groups=1),
    case("RMSNormalization", STEPS, _unknown=(0, 1)),
    case("RMSNormalization", IMAGE, axis=[2, 3], epsilon=1e-4),
    case("UnitNormalization", STEPS, _unknown=(0, 1)),
    case("UnitNormalization", IMAGE, axis=[1, 2]),
    case(
        "SpectralNormalization",
        STEPS,
        layer=case("Dense", units=3),
        power_iterations=2,
        _training=True,
    ),
    case(
        "SpectralNormalization",
        IMAGE,
        layer=case("Conv2D", filters=3, kernel_size=2),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_moments_keep_their_digits(mean):
    x = np.random.default_rng(0).normal(mean, 1.0, (64, 4, 3)).astype("float32")
    ours, theirs = both("BatchNormalization", momentum=0.0)
    y, z = ours(x, training=True), theirs(x, training=True)
    # float32 itself holds x to 6e-8 of its mean.
    close(y, z, "outputs", atol=1e-5 + 4e-7 * mean)
    exact = x.astype("float64").var((0, 1))
    close(np.asarray(ours.moving_variance.value, "float64"), exact, "variance", 2e-5)


@pytest.mark.parametrize("shape", [(5, 2), (2, 2, 1, 3)])
def test_derivatives_of_every_order_and_mode_are_those_of_the_formula(shape):
    layer = layers.BatchNormalization()
    layer.build(shape)
    pure = functional(layer, layer.variables)
    keys = jax.random.split(jax.random.key(0), 3)
    x, weights, other = (jax.random.normal(key, shape) for key in keys)

    def ours(x):
        return jnp.sum(weights * pure(read(layer.variables), x, training=True)[0])

    def formula(x):
        axes = tuple(range(x.ndim - 1))
        centred = x - x.mean(axes)
        return jnp.sum(weights * centred / jnp.sqrt((centred**2).mean(axes) + 1e-3))

    for derivative in (jax.grad, jax.jacfwd, jax.hessian):
        close(derivative(ours)(x), derivative(formula)(x), derivative.__name__, 2e-5)
    close(
        jax.vmap(jax.grad(ours))(jnp.stack([x, other])),
        jax.vmap(jax.grad(formula))(jnp.stack([x, other])),
        "several at once",
        2e-5,
    )


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


def test_groups_between_those_of_a_layer_and_of_an_instance():
    x = np.random.default_rng(0).normal(3.0, 2.0, (2, 5, 4)).astype("float32")
    one = layers.GroupNormalization(groups=1)(x)
    close(one.mean((1, 2)), np.zeros(2, "float32"), "one group")
    each = layers.GroupNormalization(groups=-1)
    close(each(x).mean(1), np.zeros((2, 4), "float32"), "a group for each channel")
    assert each.groups == 4
    assert each.get_config()["groups"] == 4


@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_group_moments_keep_their_digits(mean):
    x = np.random.default_rng(0).normal(mean, 1.0, (2, 64, 6)).astype("float32")
    y = np.asarray(layers.GroupNormalization(groups=2, epsilon=0.0)(x))
    groups = x.astype("float64").reshape(2, 64, 2, 3)
    wanted = groups - groups.mean((1, 3), keepdims=True)
    wanted = wanted / groups.std((1, 3), keepdims=True)
    assert np.abs(y - wanted.reshape(x.shape)).max() < 1e-5 + 4e-7 * mean


def test_unit_length_survives_sixteen_bits_and_zeros():
    x = np.array([[300.0, 400.0], [0.0, 0.0]], "float16")
    y = layers.UnitNormalization(dtype="float16")(x)
    assert y.dtype == np.float16
    assert np.abs(np.asarray(y, "float32") - [[0.6, 0.8], [0.0, 0.0]]).max() < 1e-3


def test_spectral_normalisation_brings_the_largest_singular_value_to_one():
    x = np.ones((2, 6), "float32")
    layer = layers.SpectralNormalization(layers.Dense(5), power_iterations=30)
    layer(x)
    start = np.asarray(layer.layer.kernel)
    close(layer(x), x @ start, "outside of training nothing changes")
    y = layer(x, training=True)
    close(y, x @ start / np.linalg.norm(start, 2), "divided", 1e-4, 1e-4)
    close(layer(x), y, "and kept", 1e-4, 1e-4)
    assert np.linalg.norm(np.asarray(layer.kernel), 2) == pytest.approx(1, abs=1e-3)
    assert layer.kernel is layer.layer.kernel


def test_spectral_normalisation_leaves_a_kernel_of_zeros_alone():
    dense = layers.Dense(2, kernel_initializer="zeros")
    layer = layers.SpectralNormalization(dense)
    assert layer(np.ones((1, 3), "float32"), training=True).tolist() == [[0.0, 0.0]]
    assert np.isfinite(layer.vector_u).all()


def test_spectral_normalisation_wraps_embeddings():
    layer = layers.SpectralNormalization(layers.Embedding(4, 3), power_iterations=20)
    y = layer(np.array([[0, 1, 3]]), training=True)
    assert y.dtype == np.float32
    table = np.asarray(layer.layer.embeddings)
    close(y[0], table[[0, 1, 3]], "rows")
    assert np.linalg.norm(table, 2) == pytest.approx(1, abs=1e-2)


def test_synchronized_statistics_are_those_of_all_parts_of_a_batch():
    """On one device the collective has nothing to add; that it is there is seen."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("parts",))
    spec = jax.sharding.PartitionSpec("parts")
    x = np.random.default_rng(0).normal(3.0, 2.0, (8, 3)).astype("float32")
    wanted = layers.BatchNormalization()(x, training=True)

    def mapped(layer):
        layer.build(x.shape)
        run = functional(lambda x: layer(x, training=True), layer.variables)
        values = read(layer.variables)
        return jax.shard_map(
            lambda x: run(values, x)[0], mesh=mesh, in_specs=spec, out_specs=spec
        )

    for together in (True, False):
        part = mapped(layers.BatchNormalization(synchronized=together))
        assert ("psum" in str(jax.make_jaxpr(part)(x))) == together
        close(jax.jit(part)(x), wanted, "one part")
    outside = layers.BatchNormalization(synchronized=True)
    close(outside(x, training=True), wanted, "outside of a map")
    assert outside.get_config()["synchronized"] is True


MISTAKES = {
    "GroupNormalization: `groups` must be a positive integer, or -1 for one group per "
    "channel, not 0.": lambda x: layers.GroupNormalization(0),
    "GroupNormalization `it` cannot split 4 channels, those of axis -1 of an input of "
    "shape (2, 4), into groups=3 of equal size.": (
        lambda x: layers.GroupNormalization(3, name="it")(x)
    ),
    "GroupNormalization `it` cannot split 4 channels, those of axis -1 of an input of "
    "shape (2, 4), into groups=8 of equal size.": (
        lambda x: layers.GroupNormalization(8, name="it")(x)
    ),
    "RMSNormalization `it` normalises along axis=3, which an input of shape (2, 4) "
    "does not have.": lambda x: layers.RMSNormalization(3, name="it")(x),
    "UnitNormalization `it` normalises along axis=2, which an input of shape (2, 4) "
    "does not have.": lambda x: layers.UnitNormalization(2, name="it")(x),
    "SpectralNormalization: `power_iterations` must be a positive integer, not 0.": (
        lambda x: layers.SpectralNormalization(layers.Dense(2), 0)
    ),
    "SpectralNormalization `it` needs a layer with a `kernel` or `embeddings`, which "
    "ReLU `inner` does not have.": (
        lambda x: layers.SpectralNormalization(layers.ReLU(name="inner"), name="it")(x)
    ),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared in full
        MISTAKES[sentence](np.ones((2, 4), "float32"))
    assert str(caught.value) == sentence


def test_a_mask_given_in_the_call_goes_on_with_the_outputs():
    x, mask = jnp.ones((2, 5, 3)), jnp.ones((2, 5), bool)
    assert get_mask(layers.BatchNormalization()(x, mask=mask)) is mask
