"""Sums over segments, the largest elements, special functions."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array, Axis, axes, dressed, tensor, unary

rsqrt = unary(jax.lax.rsqrt)
erf = unary(jax.scipy.special.erf)
erfc = unary(jax.scipy.special.erfc)
erfinv = unary(jax.scipy.special.erfinv)


def _segment(fn: Any) -> Any:
    """A reduction over groups of rows, `(data, segment_ids, num_segments, sorted)`."""

    def call(
        data: Any,
        segment_ids: Any,
        num_segments: int | None = None,
        sorted: bool = False,
    ) -> Array:
        check(
            num_segments is not None,
            fn.__name__,
            "num_segments",
            num_segments,
            "the number of segments, an integer",
        )
        ids = dtypes.as_array(segment_ids)
        return fn(tensor(data), ids, num_segments, indices_are_sorted=sorted)

    return dressed(call, fn)


segment_sum = _segment(jax.ops.segment_sum)
segment_max = _segment(jax.ops.segment_max)
segment_min = _segment(jax.ops.segment_min)
segment_prod = _segment(jax.ops.segment_prod)


@op
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`log(Σ e^x)`, computed without overflow. Shapes: `s -> s` without `axis`.

    >>> float(logsumexp([1000.0]))
    1000.0
    """
    return jax.scipy.special.logsumexp(tensor(x), axis=axes(axis), keepdims=keepdims)


@op
def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Array, Array]:
    """The `k` largest elements along the last axis, and where they stand.

    Shapes: `(..., n) -> (..., k), (..., k)`.

    >>> [a.tolist() for a in top_k([1, 3, 2], 2)]
    [[3, 2], [1, 2]]
    """
    values, indices = jax.lax.top_k(dtypes.as_array(x), k)
    return values, indices


@op
def in_top_k(targets: Any, predictions: Any, k: int) -> Array:
    """Whether the prediction of the target is among the `k` largest.

    Shapes: `(b,), (b, n) -> (b,)`.

    >>> in_top_k([0], [[0.1, 0.9]], 1).tolist()
    [False]
    """
    targets, predictions = dtypes.as_array(targets), dtypes.as_array(predictions)
    own = jnp.take_along_axis(predictions, targets[..., None], axis=-1)
    own = jnp.where(jnp.isnan(own), -jnp.inf, own)
    return 1 + jnp.sum(predictions > own, axis=-1) <= k


@op
def cdist(x: Any, y: Any) -> Array:
    """The distance of each row of `x` from each row of `y`, `sqrt(Σ (x - y)²)`.

    Shapes: `(..., n, d), (..., m, d) -> (..., n, m)`. The gradient is zero where the
    distance is.

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]]).tolist()
    [[5.0, 1.0]]
    """
    x, y = dtypes.as_array(x), dtypes.as_array(y)
    for name, rows in (("x", x), ("y", y)):
        check(rows.ndim >= 2, "cdist", name, rows, "an array of two or more axes")
    same = x.shape[-1] == y.shape[-1]
    check(same, "cdist", "y", y, f"of rows of {x.shape[-1]} numbers, as `x` is")
    # Differences, not `|x|² - 2x·y + |y|²`, which loses all digits of near neighbours.
    total = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), axis=-1)
    apart = total > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, total, 1)), 0)
