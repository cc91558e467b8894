"""Losses of numbers: differences, hinges, angles, counts."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, settings
from kerasnb.core.graph import op
from kerasnb.losses.loss import as_class, same_rank
from kerasnb.losses.targets import distributions, wants
from kerasnb.ops import mean, normalize

Array = jax.Array


def _pair(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Targets and predictions in the dtype of the predictions."""
    y_pred = dtypes.as_array(y_pred)
    return dtypes.as_array(y_true).astype(y_pred.dtype), y_pred


def _aligned(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """The same, and of one rank."""
    return same_rank(*_pair(y_true, y_pred))


# --- Differences ----------------------------------------------------------------------


@op
def mean_squared_error(y_true: Any, y_pred: Any) -> Array:
    """`mean((y_true - y_pred)²)`.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> mean_squared_error([[0.0, 1.0]], [[1.0, 1.0]]).tolist()
    [0.5]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    return mean(jnp.square(y_true - y_pred), axis=-1)


MeanSquaredError = as_class("MeanSquaredError", mean_squared_error)


@op
def mean_absolute_error(y_true: Any, y_pred: Any) -> Array:
    """`mean(|y_true - y_pred|)`.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> mean_absolute_error([[0.0, 1.0]], [[1.0, 1.0]]).tolist()
    [0.5]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    return mean(jnp.abs(y_true - y_pred), axis=-1)


MeanAbsoluteError = as_class("MeanAbsoluteError", mean_absolute_error)


@op
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Array:
    """`100 · mean(|(y_true - y_pred) / y_true|)`.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]]).tolist()
    [25.0]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    size = jnp.maximum(jnp.abs(y_true), jnp.asarray(settings.epsilon(), y_pred.dtype))
    return 100.0 * mean(jnp.abs((y_true - y_pred) / size), axis=-1)


MeanAbsolutePercentageError = as_class(
    "MeanAbsolutePercentageError", mean_absolute_percentage_error
)


@op
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Array:
    """`mean((log(1 + y_true) - log(1 + y_pred))²)`, negative numbers counting as zero.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> mean_squared_logarithmic_error([[0.0]], [[0.0]]).tolist()
    [0.0]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    floor = jnp.asarray(settings.epsilon(), y_pred.dtype)
    logs = [jnp.log(jnp.maximum(y, floor) + 1.0) for y in (y_pred, y_true)]
    return mean(jnp.square(logs[0] - logs[1]), axis=-1)


MeanSquaredLogarithmicError = as_class(
    "MeanSquaredLogarithmicError", mean_squared_logarithmic_error
)


@op
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Array:
    """Quadratic near zero, linear beyond `delta`.

        L(e) = e² / 2                    for |e| <= delta,   e = y_pred - y_true
               delta · (|e| - delta / 2)   otherwise

    Shapes: `(..., d), (..., d) -> (...)`, averaged over the last axis.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
    [1.5]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    error = jnp.abs(y_pred - y_true)
    limit = jnp.asarray(delta, error.dtype)
    far = limit * error - 0.5 * jnp.square(limit)
    return mean(jnp.where(error <= limit, 0.5 * jnp.square(error), far), axis=-1)


Huber = as_class("Huber", huber, name="huber_loss")


@op
def log_cosh(y_true: Any, y_pred: Any) -> Array:
    """`mean(log(cosh(y_pred - y_true)))`: about `e²/2` near zero, `|e| - log 2` beyond.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> log_cosh([[0.0]], [[0.0]]).tolist()
    [0.0]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    error = y_pred - y_true
    # cosh itself overflows from 89 on.
    return mean(error + jax.nn.softplus(-2.0 * error) - math.log(2.0), axis=-1)


LogCosh = as_class("LogCosh", log_cosh)


# --- Angles, counts, distributions ----------------------------------------------------


@op
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Minus the cosine of the angle between target and prediction, from -1 to 1.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> cosine_similarity([[0.0, 2.0]], [[0.0, 3.0]]).tolist()
    [-1.0]
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    return -jnp.sum(normalize(y_true, axis) * normalize(y_pred, axis), axis=axis)


CosineSimilarity = as_class("CosineSimilarity", cosine_similarity)


@op
def poisson(y_true: Any, y_pred: Any) -> Array:
    """`mean(y_pred - y_true · log(y_pred))`, for counts with expectation `y_pred`.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> poisson([[0.0]], [[2.0]]).tolist()
    [2.0]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    tiny = jnp.asarray(settings.epsilon(), y_pred.dtype)
    return mean(y_pred - y_true * jnp.log(y_pred + tiny), axis=-1)


Poisson = as_class("Poisson", poisson)


@wants(distributions)
@op
def kl_divergence(y_true: Any, y_pred: Any) -> Array:
    """`Σ y_true · log(y_true / y_pred)`, of two distributions.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> kl_divergence([[1.0, 0.0]], [[1.0, 0.0]]).tolist()
    [0.0]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    y_true = jnp.clip(y_true, settings.epsilon(), 1)
    y_pred = jnp.clip(y_pred, settings.epsilon(), 1)
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


KLDivergence = as_class("KLDivergence", kl_divergence)


# --- Hinges ---------------------------------------------------------------------------


def _signs(y_true: Array) -> Array:
    """Targets of 0 and 1 as -1 and 1; others as they are."""
    binary = jnp.all((y_true == 0) | (y_true == 1))
    return jnp.where(binary, 2.0 * y_true - 1.0, y_true)


@op
def hinge(y_true: Any, y_pred: Any) -> Array:
    """`mean(max(1 - y_true · y_pred, 0))` for targets of -1 and 1, or 0 and 1.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> hinge([[1.0, -1.0]], [[2.0, 0.0]]).tolist()
    [0.5]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    return mean(jnp.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


Hinge = as_class("Hinge", hinge)


@op
def squared_hinge(y_true: Any, y_pred: Any) -> Array:
    """`mean(max(1 - y_true · y_pred, 0)²)` for targets of -1 and 1, or 0 and 1.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> squared_hinge([[1.0, -1.0]], [[2.0, 0.0]]).tolist()
    [0.5]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    margin = jnp.maximum(1.0 - _signs(y_true) * y_pred, 0.0)
    return mean(jnp.square(margin), axis=-1)


SquaredHinge = as_class("SquaredHinge", squared_hinge)


@wants(distributions)
@op
def categorical_hinge(y_true: Any, y_pred: Any) -> Array:
    """`max(1 + the best wrong score - the right score, 0)`.

    Shapes: `(..., n), (..., n) -> (...)`, the targets being one-hot codes.

    >>> categorical_hinge([[0.0, 1.0]], [[0.5, 2.0]]).tolist()
    [0.0]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


CategoricalHinge = as_class("CategoricalHinge", categorical_hinge)
