"""Matrices: factorisations, equations, inverses, norms.

All but `lstsq` treat the last two axes as the matrix and those before as a batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array, Axis, axes


def _matrices(who: str, x: Any, name: str = "x", square: bool = False) -> Array:
    """`x` as an array of matrices, or a sentence about its shape."""
    x = dtypes.as_array(x)
    check(x.ndim >= 2, who, name, x, "a matrix, an array of two or more axes")
    fits = not square or x.shape[-1] == x.shape[-2]
    check(fits, who, name, x, "a square matrix")
    return x


# --- Factorisations -------------------------------------------------------------------


@op
def cholesky(x: Any, upper: bool = False) -> Array:
    """The triangular `L` with `L · Lᴴ = x`, or `U` with `Uᴴ · U = x` with `upper`.

    Shapes: `(..., n, n) -> (..., n, n)`. A matrix that is not positive definite raises
    a ValueError; inside compiled code its factor is NaN.

    >>> cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = _matrices("cholesky", x, square=True)
    factor = jnp.linalg.cholesky(x, upper=upper)
    if not isinstance(factor, jax.core.Tracer) and jnp.isnan(factor).any():
        raise ValueError(
            f"cholesky: `x`, of shape {x.shape}, is not positive definite; adding a "
            "small multiple of the identity may help."
        )
    return factor


@op
def cholesky_inverse(x: Any, upper: bool = False) -> Array:
    """The inverse of the matrix whose Cholesky factor is `x`.

    Shapes: `(..., n, n) -> (..., n, n)`.

    >>> cholesky_inverse([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [[0.25, 0.0], [0.0, 1.0]]
    """
    x = _matrices("cholesky_inverse", x, square=True)
    identity = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = jax.scipy.linalg.solve_triangular(x, identity, lower=not upper)
    return inverse @ inverse.mT if upper else inverse.mT @ inverse


@op
def lu_factor(x: Any) -> tuple[Array, Array]:
    """`L` and `U` with `P · L · U = x` in one matrix, and the rows that `P` exchanges.

    Shapes: `(..., m, n) -> (..., m, n), (..., min(m, n))`.

    >>> [a.tolist() for a in lu_factor([[1.0, 2.0], [2.0, 2.0]])]
    [[[2.0, 2.0], [0.5, 1.0]], [1, 1]]
    """
    factors, pivots, _ = jax.lax.linalg.lu(_inexact(_matrices("lu_factor", x)))
    return factors, pivots


@op
def qr(x: Any, mode: str = "reduced") -> tuple[Array, Array]:
    """`Q` with orthonormal columns and a triangular `R`, `Q · R = x`.

    Shapes: `(..., m, n) -> (..., m, k), (..., k, n)`, `k = min(m, n)`; with
    `mode="complete"` `k = m`.

    >>> [a.shape for a in qr(jnp.ones((4, 2)))]
    [(4, 2), (2, 2)]
    """
    modes = ("reduced", "complete")
    check(mode in modes, "qr", "mode", mode, f"one of {modes}")
    return tuple(jnp.linalg.qr(_matrices("qr", x), mode=mode))


@op
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """`U`, the singular values `s`, and `Vᴴ`, with `U · diag(s) · Vᴴ = x`.

    Shapes: `(..., m, n) -> (..., m, m), (..., k), (..., n, n)`, `k = min(m, n)`;
    `(..., m, k), (..., k), (..., k, n)` without `full_matrices`; only the values
    without `compute_uv`.

    >>> svd([[3.0, 0.0], [0.0, 4.0]], compute_uv=False).tolist()
    [4.0, 3.0]
    """
    out = jnp.linalg.svd(
        _matrices("svd", x), full_matrices=full_matrices, compute_uv=compute_uv
    )
    return tuple(out) if compute_uv else out


@op
def eig(x: Any) -> tuple[Array, Array]:
    """Eigenvalues and, in columns, eigenvectors: complex numbers, on the CPU only.

    Shapes: `(..., n, n) -> (..., n), (..., n, n)`.

    >>> sorted(eig([[2.0, 0.0], [0.0, 3.0]])[0].real.tolist())
    [2.0, 3.0]
    """
    return tuple(jnp.linalg.eig(_matrices("eig", x, square=True)))  # type: ignore[return-value]


@op
def eigh(x: Any) -> tuple[Array, Array]:
    """Eigenvalues, rising, and eigenvectors of symmetric or Hermitian matrices.

    Shapes: `(..., n, n) -> (..., n), (..., n, n)`.

    >>> eigh([[2.0, 0.0], [0.0, 3.0]])[0].tolist()
    [2.0, 3.0]
    """
    return tuple(jnp.linalg.eigh(_matrices("eigh", x, square=True)))


# --- Equations and inverses -----------------------------------------------------------


@op
def inv(x: Any) -> Array:
    """The inverse. Shapes: `(..., n, n) -> (..., n, n)`.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return jnp.linalg.inv(_matrices("inv", x, square=True))


@op
def pinv(x: Any, rcond: float | None = None) -> Array:
    """The Moore-Penrose inverse; singular values below `rcond` times the largest are 0.

    Shapes: `(..., m, n) -> (..., n, m)`.

    >>> pinv(2 * jnp.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    return jnp.linalg.pinv(_matrices("pinv", x), rcond)


@op
def solve(a: Any, b: Any) -> Array:
    """`x` with `a · x = b`. Shapes: `(..., n, n), (n,) or (..., n, k) -> like b`.

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0]).tolist()
    [0.5, 0.25]
    """
    return jnp.linalg.solve(*_equation("solve", a, b))


@op
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Array:
    """`x` with `a · x = b`, looking only at the upper (or lower) triangle of `a`.

    Shapes: `(..., n, n), (n,) or (..., n, k) -> like b`.

    >>> solve_triangular([[2.0, 7.0], [0.0, 7.0]], [3.0, 0.0]).tolist()
    [1.5, 0.0]
    """
    a, b = _equation("solve_triangular", a, b)
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower)


def _equation(who: str, a: Any, b: Any) -> tuple[Array, Array]:
    a, b = _matrices(who, a, "a", square=True), dtypes.as_array(b)
    rows, n = b.shape[-2:][:1], a.shape[-1]
    check(rows == (n,), who, "b", b, f"of {n} rows, as many as `a` has")
    return a, b


@op
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Array:
    """The `x` for which `|b - a · x|` is least, the shortest one if there are several.

    Shapes: `(m, n), (m,) or (m, k) -> (n,) or (n, k)`.

    >>> [round(x, 3) for x in lstsq([[1.0], [1.0]], [1.0, 3.0]).tolist()]
    [2.0]
    """
    a, b = dtypes.as_array(a), dtypes.as_array(b)
    check(a.ndim == 2, "lstsq", "a", a, "one matrix, an array of two axes")
    fits = b.ndim in (1, 2) and b.shape[0] == a.shape[0]
    check(fits, "lstsq", "b", b, f"of {a.shape[0]} rows, as many as `a` has")
    return jnp.linalg.lstsq(a, b, rcond=rcond)[0]


# --- Numbers about matrices -----------------------------------------------------------


@op
def det(x: Any) -> Array:
    """The determinant. Shapes: `(..., n, n) -> (...)`.

    >>> float(det([[2.0, 1.0], [1.0, 2.0]]))
    3.0
    """
    return jnp.linalg.det(_matrices("det", x, square=True))


@op
def slogdet(x: Any) -> tuple[Array, Array]:
    """Sign of the determinant, and the logarithm of its size.

    Shapes: `(..., n, n) -> (...), (...)`.

    >>> [float(a) for a in slogdet(-jnp.eye(3))]
    [-1.0, 0.0]
    """
    return tuple(jnp.linalg.slogdet(_matrices("slogdet", x, square=True)))


@op
def logdet(x: Any) -> Array:
    """The logarithm of the determinant's size. Shapes: `(..., n, n) -> (...)`.

    >>> float(logdet(jnp.eye(3)))
    0.0
    """
    return jnp.linalg.slogdet(_matrices("logdet", x, square=True))[1]


@op
def matrix_rank(x: Any, tol: float | None = None) -> Array:
    """How many singular values are larger than `tol`. Shapes: `(..., m, n) -> (...)`.

    >>> int(matrix_rank(jnp.ones((3, 3))))
    1
    """
    return jnp.linalg.matrix_rank(_matrices("matrix_rank", x), tol=tol).astype("int32")


@op
def norm(
    x: Any,
    ord: int | float | str | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Array:
    """The length of vectors or the size of matrices, `(Σ |x|²)^½` by default.

    `ord` is `p` for `(Σ |x|^p)^(1/p)` and ±inf for the largest or smallest; over two
    axes also `"fro"`, `"nuc"` (the sum of the singular values) and ±2 (the largest or
    smallest of them), while ±1 and ±inf go by the sums of columns and rows.

    Shapes: `s -> s` without `axis`.

    >>> float(norm([3.0, 4.0]))
    5.0
    """
    names = ("fro", "nuc")
    known = not isinstance(ord, str) or ord in names
    check(known, "norm", "ord", ord, f"a number or one of {names}")
    return jnp.linalg.norm(_inexact(dtypes.as_array(x)), ord, axes(axis), keepdims)


def _inexact(x: Array) -> Array:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return x.astype(dtypes.result_type(x.dtype.name, float))


# --- Derivatives ----------------------------------------------------------------------


@op
def jvp(fun: Callable, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """`fun(*primals)`, and how it changes when the primals move along the tangents.

    With `has_aux`, `fun` returns a pair whose second part is handed through.

    >>> value, slope = jvp(lambda x: x**2, (3.0,), (1.0,))
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    primals, tangents = (
        jax.tree.map(dtypes.as_array, tuple(xs)) for xs in (primals, tangents)
    )
    return jax.jvp(fun, primals, tangents, has_aux)
