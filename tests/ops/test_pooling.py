"""kerasnb.ops.pooling"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor

CASES = [
    # images, window, strides, padding
    ((2, 9, 3), 2, None, "valid"),
    ((2, 9, 3), 3, None, "same"),
    ((2, 9, 8, 3), 2, None, "valid"),
    ((2, 9, 8, 3), (3, 2), None, "same"),
    ((2, 9, 8, 3), 3, 2, "valid"),
    ((2, 9, 8, 3), 3, 2, "same"),
    ((2, 9, 8, 3), 2, 1, "same"),
    ((2, 9, 8, 3), 2, 3, "valid"),
    ((2, 5, 4, 6, 3), 2, None, "same"),
    ((2, 5, 4, 6, 3), (2, 1, 3), None, "valid"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_agree_with_keras_among_equals_too(case):
    images, window, strides, padding = case
    # Keras' ops need the strides, its layers fill them in.
    strides = window if strides is None else strides
    options = (window, strides, padding, "channels_last")

    @jax.jit
    def run(x):
        answers = []
        for library in (ops, keras.ops):
            for name in ("max_pool", "average_pool"):
                pool = getattr(library, name)
                y, pull = jax.vjp(lambda x, pool=pool: pool(x, *options), x)
                answers.append((y, pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape))))
        return answers[:2], answers[2:]

    rng = np.random.default_rng(0)
    for x in (rng.normal(size=images), rng.integers(-1, 2, images)):  # many equals
        ours, theirs = run(jnp.asarray(x, "float32"))
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_channels_first_is_the_same_transposed(name):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 9, 8)), "float32")
    for options in ((2, 2, "valid"), (3, 2, "same")):
        ours = getattr(ops, name)(x, *options, "channels_first")
        theirs = getattr(keras.ops, name)(x, *options, "channels_first")
        np.testing.assert_allclose(ours, theirs, 1e-6)


def test_the_strides_are_the_window_unless_given():
    x = jnp.arange(12.0).reshape(1, 4, 3, 1)
    np.testing.assert_array_equal(ops.max_pool(x, 2), ops.max_pool(x, 2, 2))
    np.testing.assert_array_equal(ops.average_pool(x, 2), ops.average_pool(x, 2, 2))


def test_the_largest_of_blocks_can_be_differentiated_forwards_and_twice():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 1)), "float32")
    direction = jnp.cos(x)

    def loss(x):
        return jnp.sum(ops.max_pool(x, 2) ** 3)

    _, forwards = jax.jvp(loss, (x,), (direction,))
    np.testing.assert_allclose(forwards, jnp.sum(jax.grad(loss)(x) * direction), 1e-5)
    hessian = jax.hessian(loss)(x)[0, :, :, 0, 0, :, :, 0].reshape(16, 16)
    assert (np.count_nonzero(hessian, axis=0) <= 1).all()
    assert np.count_nonzero(hessian) == 4


def test_integers_pool_in_their_own_dtype():
    x = jnp.arange(16, dtype="int32").reshape(1, 4, 4, 1)
    assert ops.max_pool(x, 2)[0, :, :, 0].tolist() == [[5, 7], [13, 15]]
    assert ops.max_pool(x, 2).dtype == "int32"


def test_a_window_of_the_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="`pool_size` must be 2 numbers"):
        ops.max_pool(jnp.ones((1, 4, 4, 1)), (2, 2, 2))


ADAPTIVE = [((7,), (3,)), ((6,), (3,)), ((7,), (7,)), ((3,), (5,)), ((5, 7), (2, 4))]


@pytest.mark.parametrize("name", ["max", "average"])
@pytest.mark.parametrize("case", [*ADAPTIVE, ((4, 5, 3), (2, 2, 2))], ids=str)
def test_adaptive_windows_begin_and_end_at_fractions_of_the_length(name, case):
    spatial, sizes = case
    x = np.random.default_rng(0).normal(size=(2, *spatial, 3)).astype("float32")
    reduce = np.max if name == "max" else np.mean
    wanted = x
    for axis, (n, size) in enumerate(zip(spatial, sizes, strict=True), 1):
        windows = [range(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
        wanted = np.stack(
            [reduce(wanted.take(window, axis), axis) for window in windows], axis
        )
    pool = getattr(ops, f"adaptive_{name}_pool")
    np.testing.assert_allclose(pool(x, sizes), wanted, 1e-5, 1e-6)
    first = pool(np.moveaxis(x, -1, 1), sizes, "channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), wanted, 1e-5, 1e-6)


@pytest.mark.parametrize("sizes", [(3, 3), (4, 5)], ids=str)
def test_adaptive_gradients_agree_with_keras_among_equals_too(sizes):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 7, 6, 3)), "float32")

    @jax.jit
    def run(x):
        answers = []
        for library in (ops, keras.ops):
            for name in ("adaptive_max_pool", "adaptive_average_pool"):
                pool = getattr(library, name)
                y, pull = jax.vjp(lambda x, pool=pool: pool(x, sizes), x)
                answers.append((y, pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape))))
        return answers[:2], answers[2:]

    for a, b in zip(*map(jax.tree.leaves, run(x)), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_adaptive_pools_take_unknown_axes():
    x = KerasTensor((None, None, 7, 3))
    assert ops.adaptive_average_pool(x, (2, 3)).shape == (None, 2, 3, 3)
    assert ops.adaptive_max_pool(x, 4).shape == (None, 4, 4, 3)
    with pytest.raises(ValueError, match="`output_size` must be 2 positive integers"):
        ops.adaptive_max_pool(x, (2, 2, 2))
    with pytest.raises(ValueError, match="images of one to three spatial axes"):
        ops.adaptive_average_pool(jnp.ones((2, 3)), 1)
