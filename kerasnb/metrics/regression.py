"""How far predictions are from their targets, and how they move together."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import losses, ops
from kerasnb.core import dtypes, settings
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.core.variable import Variable
from kerasnb.losses.loss import same_rank
from kerasnb.metrics.mean import Mean, mean_of
from kerasnb.metrics.metric import Metric

Array = jax.Array

# --- Means of losses ------------------------------------------------------------------

MeanSquaredError = mean_of("MeanSquaredError", losses.mean_squared_error)
MeanAbsoluteError = mean_of("MeanAbsoluteError", losses.mean_absolute_error)
MeanAbsolutePercentageError = mean_of(
    "MeanAbsolutePercentageError", losses.mean_absolute_percentage_error
)
MeanSquaredLogarithmicError = mean_of(
    "MeanSquaredLogarithmicError", losses.mean_squared_logarithmic_error
)
LogCoshError = mean_of("LogCoshError", losses.log_cosh, name="logcosh")
Hinge = mean_of("Hinge", losses.hinge)
SquaredHinge = mean_of("SquaredHinge", losses.squared_hinge)
CategoricalHinge = mean_of("CategoricalHinge", losses.categorical_hinge)
KLDivergence = mean_of("KLDivergence", losses.kl_divergence)
Poisson = mean_of("Poisson", losses.poisson)
BinaryCrossentropy = mean_of(
    "BinaryCrossentropy",
    losses.binary_crossentropy,
    without=["axis"],
    label_smoothing=0,
)
CategoricalCrossentropy = mean_of(
    "CategoricalCrossentropy", losses.categorical_crossentropy, label_smoothing=0
)
SparseCategoricalCrossentropy = mean_of(
    "SparseCategoricalCrossentropy", losses.sparse_categorical_crossentropy
)


# --- Means of other numbers -----------------------------------------------------------


def _aligned(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = dtypes.as_array(y_pred)
    return same_rank(dtypes.as_array(y_true).astype(y_pred.dtype), y_pred)


@op
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """The cosine of the angle between target and prediction; 1 is best.

    Shapes: `(..., d), (..., d) -> (...)`.

    >>> cosine_similarity([[0.0, 2.0]], [[0.0, 3.0]]).tolist()
    [1.0]
    """
    return -losses.cosine_similarity(y_true, y_pred, axis)


CosineSimilarity = mean_of("CosineSimilarity", cosine_similarity, direction="up")


@op
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """How well a line maps predictions to targets, from -1 to 1.

    Shapes: `(..., n), (..., n) -> (...)`, along `axis`.

    >>> round(float(pearson_correlation([[0.0, 1.0, 2.0]], [[0.0, 2.0, 4.0]])[0]), 4)
    1.0
    """
    y_true, y_pred = _aligned(y_true, y_pred)

    def standard(x: Array) -> Array:
        x = x - jnp.mean(x, axis, keepdims=True)
        return x / jnp.std(x, axis, keepdims=True)

    return jnp.mean(standard(y_true) * standard(y_pred), axis)


PearsonCorrelation = mean_of("PearsonCorrelation", pearson_correlation, direction="up")


@op
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """How close predictions are to targets, from -1 to 1 (Lin, 1989).

        2 · cov(t, p) / (var(t) + var(p) + (mean(t) - mean(p))²)

    Shapes: `(..., n), (..., n) -> (...)`, along `axis`.

    >>> round(float(concordance_correlation([[0.0, 1.0]], [[0.0, 1.0]])[0]), 4)
    1.0
    """
    y_true, y_pred = _aligned(y_true, y_pred)
    (mean_true, var_true), (mean_pred, var_pred) = (
        ops.moments(y, axis, keepdims=True) for y in (y_true, y_pred)
    )
    # Keras centres both factors on the mean prediction; the difference is a product
    # with mean zero.
    covariance = (y_true - mean_pred) * (y_pred - mean_pred)
    spread = var_true + var_pred + jnp.square(mean_true - mean_pred)
    return jnp.mean(2 * covariance / (spread + settings.epsilon()), axis)


ConcordanceCorrelation = mean_of(
    "ConcordanceCorrelation", concordance_correlation, direction="up"
)


class RootMeanSquaredError(Mean):
    """The square root of the mean squared error, in the unit of the targets.

    >>> float(RootMeanSquaredError()([0.0, 0.0], [3.0, 3.0]))
    3.0
    """

    _direction = "down"

    def __init__(
        self, name: str | None = "root_mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take a batch into the mean."""
        y_true, y_pred = same_rank(
            dtypes.as_array(y_true, self.dtype), dtypes.as_array(y_pred, self.dtype)
        )
        super().update_state(jnp.square(y_pred - y_true), sample_weight)

    def result(self) -> Array:
        """The error so far."""
        return jnp.sqrt(super().result())


class R2Score(Metric):
    """The share of the targets' variance that is explained, `1 - Σ(t-p)² / Σ(t-mean)²`.

    `class_aggregation` joins several outputs: `"uniform_average"`,
    `"variance_weighted_average"`, or None for one number each. `num_regressors` adjusts
    for the number of inputs of a linear model.

    Shapes: `(b, d), (b, d)`.

    >>> t = jnp.array([[1.0], [2.0], [3.0]])
    >>> float(R2Score()(t, t))
    1.0
    """

    _direction = "up"
    num_samples: Variable
    sum: Variable
    squared_sum: Variable
    total_mse: Variable
    count: Variable

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        ways = (None, "uniform_average", "variance_weighted_average")
        check(
            class_aggregation in ways,
            "R2Score",
            "class_aggregation",
            class_aggregation,
            f"one of {ways}",
        )
        check(
            num_regressors >= 0,
            "R2Score",
            "num_regressors",
            num_regressors,
            "an integer of at least 0",
        )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.add_zeros("num_samples")

    def build(self, y_true_shape: Any, y_pred_shape: Any) -> None:
        """Make a variable for each output; ValueError for another rank than 2."""
        check(
            len(y_true_shape) == len(y_pred_shape) == 2,
            "R2Score",
            "y_pred",
            tuple(y_pred_shape),
            "of shape (batch, outputs), as `y_true`",
        )
        shape = (y_pred_shape[-1],)
        self.add_zeros("squared_sum", "sum", shape=shape)
        self.total_mse = self.add_variable(shape, "zeros", name="residual")
        self.add_zeros("count", shape=shape)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into the sums."""
        y_true, y_pred = same_rank(
            dtypes.as_array(y_true, self.dtype), dtypes.as_array(y_pred, self.dtype)
        )
        if not hasattr(self, "count"):
            self.build(y_true.shape, y_pred.shape)
        weight = dtypes.as_array(1 if sample_weight is None else sample_weight)
        weight = weight[:, None] if weight.ndim == 1 else weight
        weight = jnp.broadcast_to(weight, y_true.shape).astype(y_true.dtype)
        self.sum.assign_add(jnp.sum(weight * y_true, 0))
        self.squared_sum.assign_add(jnp.sum(weight * jnp.square(y_true), 0))
        self.total_mse.assign_add(jnp.sum(weight * jnp.square(y_true - y_pred), 0))
        self.count.assign_add(jnp.sum(weight, 0))
        self.num_samples.assign_add(y_true.size)  # all of them, as in Keras

    def result(self) -> Array:
        """The score so far."""
        total = self.squared_sum.value - jnp.square(self.sum.value) / self.count.value
        scores = 1 - self.total_mse.value / total
        score = jnp.where(jnp.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            score = jnp.mean(score)
        elif self.class_aggregation == "variance_weighted_average":
            score = jnp.sum(total * score) / jnp.sum(total)
        if not self.num_regressors:
            return score
        # With no more samples than inputs there is nothing to adjust by.
        n = self.num_samples.value
        free = n - self.num_regressors - 1
        adjusted = 1 - (1 - score) * (n - 1) / jnp.where(free > 0, free, 1)
        return jnp.where(free > 0, adjusted, score)
