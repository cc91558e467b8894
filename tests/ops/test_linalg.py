"""kerasnb.ops.linalg; the table of test_against_keras has the values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor


@pytest.fixture
def matrices(rng):
    a = rng.normal(size=(2, 3, 4, 4)).astype("float32")
    return jnp.asarray(a @ a.swapaxes(-1, -2) + 4 * np.eye(4, dtype="float32"))


@pytest.mark.parametrize("upper", [False, True])
def test_every_matrix_of_a_batch_is_factorised_and_inverted(matrices, upper):
    factor = ops.cholesky(matrices, upper)
    product = factor.mT @ factor if upper else factor @ factor.mT
    np.testing.assert_allclose(product, matrices, 1e-4, 1e-4)
    inverse = ops.cholesky_inverse(factor, upper)
    np.testing.assert_allclose(inverse, ops.inv(matrices), 1e-3, 1e-4)


def test_factors_multiply_to_the_matrix(matrices):
    q, r = ops.qr(matrices)
    np.testing.assert_allclose(q @ r, matrices, 1e-4, 1e-4)
    u, s, v = ops.svd(matrices, full_matrices=False)
    np.testing.assert_allclose((u * s[..., None, :]) @ v, matrices, 1e-4, 1e-4)
    values, vectors = ops.eigh(matrices)
    np.testing.assert_allclose(
        matrices @ vectors, vectors * values[..., None, :], 1e-4, 1e-3
    )
    factors, pivots = ops.lu_factor(matrices)
    assert factors.shape == matrices.shape and pivots.shape == (2, 3, 4)


def test_a_matrix_that_is_not_positive_definite_is_named_or_gives_nan():
    wrong = jnp.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="`x`, of shape \\(2, 2\\), is not positive"):
        ops.cholesky(wrong)
    assert jnp.isnan(jax.jit(ops.cholesky)(wrong)).any()


def test_placeholders_may_have_unknown_batches():
    x = KerasTensor((None, 4, 4))
    assert [t.shape for t in ops.eig(x)] == [(None, 4), (None, 4, 4)]
    assert ops.eig(x)[0].dtype == "complex64"
    assert ops.det(x).shape == (None,)
    assert ops.solve(x, KerasTensor((None, 4, 2))).shape == (None, 4, 2)
    assert ops.norm(x, axis=(1, 2)).shape == (None,)
    value, slope = ops.jvp(lambda a: a * 2, (x,), (x,))
    assert value.shape == slope.shape == (None, 4, 4)


def test_wrong_shapes_are_answered_with_one_sentence():
    x = jnp.ones((2, 3))
    for name in ("cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "logdet"):
        with pytest.raises(ValueError, match=f"{name}: `x` must be a square matrix"):
            getattr(ops, name)(x)
        with pytest.raises(ValueError, match=f"{name}: `x` must be a matrix, an array"):
            getattr(ops, name)(x[0])
    with pytest.raises(ValueError, match="solve: `b` must be of 2 rows"):
        ops.solve(jnp.eye(2), jnp.ones(3))
    with pytest.raises(ValueError, match="lstsq: `b` must be of 2 rows"):
        ops.lstsq(x, jnp.ones(3))
    with pytest.raises(ValueError, match="qr: `mode` must be one of"):
        ops.qr(x, "raw")
    with pytest.raises(ValueError, match="norm: `ord` must be a number or one of"):
        ops.norm(x, "frob")
