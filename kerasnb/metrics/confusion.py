"""Metrics that count right and wrong answers: precision, recall, areas under curves.

All of them keep some of four counts, one for each threshold: a prediction above the
threshold is a "yes". What they make of the counts is a formula.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import budget, dtypes, settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.losses.loss import same_rank
from kerasnb.metrics.metric import Metric
from kerasnb.ops import divide_no_nan

Array = jax.Array
Thresholds = float | Sequence[float] | None

COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
_NEVER = -1e10  # what predictions outside of the largest `top_k` are replaced by


class ConfusionMetric(Metric):
    """The base: keeps the counts that `keeps` names, as variables of these names."""

    keeps: tuple[str, ...] = COUNTS

    def __init__(
        self,
        thresholds: Sequence[float],
        *,
        name: str | None,
        dtype: Any,
        top_k: int | None = None,
        class_id: int | None = None,
        shape: Sequence[int] = (),
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._thresholds = list(thresholds)
        self.top_k, self.class_id = top_k, class_id
        shape = (len(self.thresholds), *shape)
        for count in self.keeps:
            title = count if len(self.keeps) > 1 else "accumulator"
            setattr(self, count, self.add_variable(shape, "zeros", name=title))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        self._count(y_true, y_pred, sample_weight)

    def _count(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        multi_label: bool = False,
        label_weights: Any = None,
    ) -> None:
        dtype = getattr(self, self.keeps[0]).dtype
        y_pred, y_true = same_rank(
            dtypes.as_array(y_pred, dtype), dtypes.as_array(y_true, dtype)
        )
        weight = jnp.ones((), dtype)
        if sample_weight is not None:
            weight = dtypes.as_array(sample_weight, dtype)
            while weight.ndim < y_pred.ndim:
                weight = weight[..., None]
            if weight.ndim == y_pred.ndim + 1 and weight.shape[-1] == 1:
                weight = weight[..., 0]
        if self.top_k is not None:
            y_pred = _largest(y_pred, self.top_k)
        if self.class_id is not None:
            check(
                y_pred.ndim > 1,
                type(self).__name__,
                "y_pred",
                y_pred,
                "of shape (batch, classes) when `class_id` is given",
            )
            y_true, y_pred = (y[..., self.class_id, None] for y in (y_true, y_pred))
        if label_weights is not None:
            weight = weight * dtypes.as_array(label_weights, dtype)
        weight = jnp.broadcast_to(weight, y_pred.shape)
        if not multi_label:
            y_true, y_pred, weight = (
                x.reshape(-1, 1) for x in (y_true, y_pred, weight)
            )
        yes = (y_true != 0).astype(dtype) * weight
        no = weight - yes
        count = _by_bucket if _are_even(self.thresholds) else _by_comparison
        hits = [count(amount, y_pred, self.thresholds) for amount in (yes, no)]
        true, false = hits if multi_label else [h[:, 0] for h in hits]
        all_yes, all_no = (
            jnp.sum(x, axis=0 if multi_label else None) for x in (yes, no)
        )
        counts = dict(
            zip(COUNTS, (true, false, all_no - false, all_yes - true), strict=True)
        )
        for name in self.keeps:
            getattr(self, name).assign_add(counts[name])

    @property
    def thresholds(self) -> list[float]:
        """Above which a prediction counts as a "yes"."""
        return list(self._thresholds)

    def rate(self, name: str) -> Array:
        """One of the usual quotients of counts, by its name."""
        above, below = _RATES[name]
        part = getattr(self, above).value
        return divide_no_nan(part, part + getattr(self, below).value)

    def one_or_all(self, values: Array) -> Array:
        """A single number when there is a single threshold."""
        return values[0] if len(self.thresholds) == 1 else values


_RATES = {
    "precision": ("true_positives", "false_positives"),
    "recall": ("true_positives", "false_negatives"),
    "sensitivity": ("true_positives", "false_negatives"),
    "specificity": ("true_negatives", "false_positives"),
    "fall_out": ("false_positives", "true_negatives"),
}


def _largest(y_pred: Array, k: int) -> Array:
    """The `k` largest predictions of each sample; the others as never chosen."""
    _, where = jax.lax.top_k(y_pred, k)
    kept = jnp.sum(jax.nn.one_hot(where, y_pred.shape[-1], dtype=y_pred.dtype), -2)
    return y_pred * kept + _NEVER * (1 - kept)


def _are_even(thresholds: Sequence[float]) -> bool:
    """Whether three or more thresholds divide 0 to 1 evenly, roundings aside."""
    if len(thresholds) < 3:
        return False
    even = np.linspace(0, 1, len(thresholds))
    return np.allclose(thresholds, even, atol=2 * settings.epsilon())


def _by_comparison(amount: Array, y_pred: Array, thresholds: Sequence[float]) -> Array:
    """The sum of `amount` over the predictions above each threshold.

    Shapes: `(n, labels), (n, labels) -> (thresholds, labels)`.
    """
    limits = jnp.asarray(thresholds, y_pred.dtype)
    above = y_pred[None] > limits[:, None, None]
    return jnp.sum(jnp.where(above, amount, 0), axis=1)


def _by_bucket(amount: Array, y_pred: Array, thresholds: Sequence[float]) -> Array:
    """The same for even thresholds, by adding up buckets between them."""
    last = len(thresholds) - 1
    bucket = jnp.ceil(jnp.clip(y_pred, 0.0, 1.0) * last).astype("int32") - 1
    if thresholds[0] < 0 or thresholds[-1] > 1:
        bucket = jnp.maximum(bucket, 0)  # the first threshold lies below all
    # A prediction of zero lies above no threshold; its bucket of -1 is dropped.
    add = jax.vmap(lambda a, b: jax.ops.segment_sum(a, b, last + 1, mode="drop"), 1, 1)
    sums = add(amount, jnp.where(bucket < 0, last + 1, bucket))
    return jnp.cumsum(sums[::-1], axis=0)[::-1]


def parse_thresholds(who: str, thresholds: Thresholds, default: float) -> list[float]:
    """Thresholds as a list; ValueError unless all lie from 0 to 1."""
    if thresholds is None:
        return [default]
    items: list[Any] = [thresholds]
    if isinstance(thresholds, list | tuple):
        items = list(thresholds)
    good = all(item is not None and 0 <= item <= 1 for item in items)
    check(good, who, "thresholds", thresholds, "a number from 0 to 1, or several")
    return items


# --- Counts ---------------------------------------------------------------------------


class _Count(ConfusionMetric):
    """One of the four counts."""

    def __init__(
        self,
        thresholds: Thresholds = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        parsed = parse_thresholds(type(self).__name__, thresholds, 0.5)
        super().__init__(parsed, name=name, dtype=dtype)
        self.init_thresholds = thresholds

    def result(self) -> Array:
        """The count so far, for each threshold."""
        return self.one_or_all(getattr(self, self.keeps[0]).value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        return super().get_config() | {"thresholds": self.init_thresholds}


class TruePositives(_Count):
    """How often "yes" was right.

    >>> float(TruePositives()([0, 1, 1], [0.9, 0.8, 0.1]))
    1.0
    """

    keeps = ("true_positives",)


class FalsePositives(_Count):
    """How often "yes" was wrong.

    >>> float(FalsePositives()([0, 1, 1], [0.9, 0.8, 0.1]))
    1.0
    """

    keeps = ("false_positives",)


class TrueNegatives(_Count):
    """How often "no" was right.

    >>> float(TrueNegatives()([0, 1, 1], [0.9, 0.8, 0.1]))
    0.0
    """

    keeps = ("true_negatives",)


class FalseNegatives(_Count):
    """How often "no" was wrong.

    >>> float(FalseNegatives()([0, 1, 1], [0.9, 0.8, 0.1]))
    1.0
    """

    keeps = ("false_negatives",)


# --- Rates ----------------------------------------------------------------------------


class _Rate(ConfusionMetric):
    """A quotient of two counts."""

    _direction = "up"
    quotient: str

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        default = 0.5 if top_k is None else _NEVER
        parsed = parse_thresholds(type(self).__name__, thresholds, default)
        super().__init__(parsed, name=name, dtype=dtype, top_k=top_k, class_id=class_id)
        self.init_thresholds = thresholds

    def result(self) -> Array:
        """The rate so far, for each threshold."""
        return self.one_or_all(self.rate(self.quotient))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        return super().get_config() | {"thresholds": self.init_thresholds}


class Precision(_Rate):
    """The share of right ones among the answers "yes"; 0 when there are none.

    `top_k` takes the k largest predictions of a sample as "yes"; `class_id` looks at
    one class only.

    >>> float(Precision()([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1]))
    0.6666666865348816
    """

    quotient, keeps = "precision", ("true_positives", "false_positives")


class Recall(_Rate):
    """The share of the right answers "yes" that was found; 0 when there are none.

    `top_k` takes the k largest predictions of a sample as "yes"; `class_id` looks at
    one class only.

    >>> float(Recall()([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1]))
    0.6666666865348816
    """

    quotient, keeps = "recall", ("true_positives", "false_negatives")


# --- The best rate that another one allows --------------------------------------------


class _BestRate(ConfusionMetric):
    """The largest `best` over all thresholds where `given` is large enough."""

    _direction = "up"
    best: str
    given: str

    def __init__(
        self,
        value: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: Any,
    ) -> None:
        who = type(self).__name__
        check(0 <= value <= 1, who, self.given, value, "a number from 0 to 1")
        check(
            num_thresholds > 0,
            who,
            "num_thresholds",
            num_thresholds,
            "a positive integer",
        )
        super().__init__(
            even_thresholds(num_thresholds), name=name, dtype=dtype, class_id=class_id
        )
        setattr(self, self.given, value)
        self.value, self.num_thresholds = value, num_thresholds

    def result(self) -> Array:
        """The best rate so far."""
        allowed = self.rate(self.given) >= self.value
        return jnp.max(jnp.where(allowed, self.rate(self.best), 0), initial=0)


def even_thresholds(count: int) -> list[float]:
    """That many thresholds from 0 to 1; 0.5 when it is one."""
    budget.spend(f"{count} thresholds", (count,), 64)
    return [0.5] if count == 1 else [i * 1.0 / (count - 1) for i in range(count)]


class SensitivityAtSpecificity(_BestRate):
    """The best sensitivity at a specificity of at least the given one.

    >>> float(SensitivityAtSpecificity(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9]))
    1.0
    """

    best, given = "sensitivity", "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_BestRate):
    """The best specificity at a sensitivity of at least the given one.

    >>> float(SpecificityAtSensitivity(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9]))
    1.0
    """

    best, given = "specificity", "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_BestRate):
    """The best precision at a recall of at least the given one.

    >>> float(PrecisionAtRecall(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9]))
    1.0
    """

    best, given = "precision", "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_BestRate):
    """The best recall at a precision of at least the given one.

    >>> float(RecallAtPrecision(0.9)([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9]))
    0.5
    """

    best, given = "recall", "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)


# --- Areas ----------------------------------------------------------------------------

_HEIGHTS: dict[str, Callable[[Array, Array], Array]] = {
    "interpolation": lambda a, b: (a + b) / 2.0,
    "majoring": jnp.maximum,
    "minoring": jnp.minimum,
}


class AUC(ConfusionMetric):
    """The area under a curve that runs over all thresholds.

    `curve` is `"ROC"` (recall over fall-out: the chance that a "yes" sample gets more
    than a "no" sample), `"PR"` (precision over recall) or `"PRGAIN"` (Flach & Kull,
    2015). `summation_method` is `"interpolation"`, `"minoring"` or `"majoring"`. With
    `multi_label` every column has a curve of its own and the mean is returned, weighted
    by `label_weights`.

    >>> round(float(AUC()([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])), 3)
    0.75
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        curves, ways = ("ROC", "PR", "PRGAIN"), tuple(_HEIGHTS)
        check(str(curve).upper() in curves, "AUC", "curve", curve, f"one of {curves}")
        check(
            str(summation_method).lower() in ways,
            "AUC",
            "summation_method",
            summation_method,
            f"one of {ways}",
        )
        check(
            not num_labels or multi_label,
            "AUC",
            "num_labels",
            num_labels,
            "None unless `multi_label` is True",
        )
        if thresholds is not None:
            num_thresholds = len(thresholds) + 2
            inner = sorted(thresholds)
        else:
            check(
                num_thresholds > 1,
                "AUC",
                "num_thresholds",
                num_thresholds,
                "an integer above 1",
            )
            inner = even_thresholds(num_thresholds)[1:-1]
        # The outer ones lie a little outside, so that all and none are points too.
        tiny = settings.epsilon()
        self.keeps = () if multi_label and not num_labels else COUNTS
        super().__init__(
            [0.0 - tiny, *inner, 1.0 + tiny],
            name=name,
            dtype=dtype,
            shape=(num_labels,) if num_labels else (),
        )
        self.num_thresholds, self.given_thresholds = num_thresholds, thresholds
        self.curve = str(curve).upper()
        self.summation_method = str(summation_method).lower()
        self.multi_label, self.num_labels = multi_label, num_labels
        self.label_weights, self.from_logits = label_weights, from_logits

    def build(self, y_true_shape: Any, y_pred_shape: Any) -> None:
        """Make the counts of each label when `num_labels` did not say how many."""
        if self.keeps:
            return
        check(
            len(y_pred_shape) == 2,
            "AUC",
            "y_pred",
            tuple(y_pred_shape),
            "of shape (batch, labels) when `multi_label` is True",
        )
        self.keeps = COUNTS
        shape = (self.num_thresholds, y_pred_shape[1])
        self.add_zeros(*COUNTS, shape=shape)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        y_true, y_pred = dtypes.as_array(y_true), dtypes.as_array(y_pred)
        self.build(y_true.shape, y_pred.shape)
        y_pred = jax.nn.sigmoid(y_pred) if self.from_logits else y_pred
        label_weights = None if self.multi_label else self.label_weights
        self._count(y_true, y_pred, sample_weight, self.multi_label, label_weights)

    def result(self) -> Array:
        """The area so far."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolate_pr_auc()
        x, y = self._points()
        height = _HEIGHTS[self.summation_method](y[:-1], y[1:])
        return self._area((x[:-1] - x[1:]) * height)

    def _area(self, parts: Array) -> Array:
        """The sum of the parts between thresholds; the mean of it over labels."""
        if not self.multi_label:
            return jnp.sum(parts)
        areas = jnp.sum(parts, axis=0)
        if self.label_weights is None:
            return jnp.mean(areas)
        weights = dtypes.as_array(self.label_weights, areas.dtype)
        return divide_no_nan(jnp.sum(areas * weights), jnp.sum(weights))

    def _points(self) -> tuple[Array, Array]:
        if self.curve == "ROC":
            return self.rate("fall_out"), self.rate("recall")
        if self.curve == "PR":
            return self.rate("recall"), self.rate("precision")
        tp, fp, tn, fn = (getattr(self, name).value for name in COUNTS)
        odds = divide_no_nan(tp + fn, tn + fp)
        recall_gain = 1.0 - odds * divide_no_nan(fn, tp)
        precision_gain = 1.0 - odds * divide_no_nan(fp, tp)
        recall_gain = jnp.where(tp == 0, 0.0, jnp.maximum(recall_gain, 0.0))
        return recall_gain, jnp.where(tp == 0, 1.0, precision_gain)

    def interpolate_pr_auc(self) -> Array:
        """The area under precision over recall.

        Between thresholds the counts, not the precision, change linearly (Davis &
        Goadrich, 2006).
        """
        tp, fp, _, fn = (getattr(self, name).value for name in COUNTS)
        positive = tp + fp
        gained, more = tp[:-1] - tp[1:], positive[:-1] - positive[1:]
        slope = divide_no_nan(gained, jnp.maximum(more, 0))
        intercept = tp[1:] - slope * positive[1:]
        ratio = jnp.where(
            (positive[:-1] > 0) & (positive[1:] > 0),
            divide_no_nan(positive[:-1], jnp.maximum(positive[1:], 0)),
            1.0,
        )
        area = slope * (gained + intercept * jnp.log(ratio))
        return self._area(divide_no_nan(area, jnp.maximum(tp[1:] + fn[1:], 0)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config() | {"thresholds": self.given_thresholds}
        if self.given_thresholds is None:
            del config["thresholds"]
        return config


# --- F scores -------------------------------------------------------------------------


class FBetaScore(Metric):
    """The harmonic mean of precision and recall, the latter weighing `beta²`.

        (1 + beta²) · precision · recall / (beta² · precision + recall)

    A prediction above `threshold` is a "yes"; without one, the largest of a sample.
    `average` joins the classes: None gives one number each, `"micro"` counts all
    together, `"macro"` is the mean, `"weighted"` weighs by how often a class occurs.

    Shapes: `(b, classes), (b, classes)`.

    >>> y = np.array([[1, 0], [0, 1]])
    >>> p = np.array([[0.8, 0.2], [0.1, 0.9]])
    >>> round(float(FBetaScore(average="macro")(y, p)), 4)
    1.0
    """

    _direction = "up"
    true_positives: Variable
    false_positives: Variable
    false_negatives: Variable
    intermediate_weights: Variable

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        who, ways = type(self).__name__, (None, "micro", "macro", "weighted")
        check(average in ways, who, "average", average, f"one of {ways}")
        check(
            isinstance(beta, float) and beta > 0, who, "beta", beta, "a positive float"
        )
        check(
            threshold is None or (isinstance(threshold, float) and 0 < threshold <= 1),
            who,
            "threshold",
            threshold,
            "None or a float above 0 and at most 1",
        )
        self.average, self.beta, self.threshold = average, beta, threshold

    def build(self, y_true_shape: Any, y_pred_shape: Any) -> None:
        """Make a variable for each class; ValueError for another rank than 2."""
        check(
            len(y_true_shape) == len(y_pred_shape) == 2,
            type(self).__name__,
            "y_pred",
            tuple(y_pred_shape),
            "of shape (batch, classes), as `y_true`",
        )
        shape = () if self.average == "micro" else (y_pred_shape[-1],)
        self.add_zeros(
            "true_positives",
            "false_positives",
            "false_negatives",
            "intermediate_weights",
            shape=shape,
            dtype=self.dtype,
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        y_true = dtypes.as_array(y_true, self.dtype)
        y_pred = dtypes.as_array(y_pred, self.dtype)
        if not hasattr(self, "true_positives"):
            self.build(y_true.shape, y_pred.shape)
        if self.threshold is None:
            largest = jnp.max(y_pred, axis=-1, keepdims=True)
            yes = (y_pred >= largest) & (jnp.abs(y_pred) > 1e-9)
        else:
            yes = y_pred > self.threshold
        yes = yes.astype(self.dtype)
        weight: Any = 1.0
        if sample_weight is not None:
            weight = dtypes.as_array(sample_weight, self.dtype)[:, None]
        axis = None if self.average == "micro" else 0
        for variable, amount in (
            (self.true_positives, yes * y_true),
            (self.false_positives, yes * (1 - y_true)),
            (self.false_negatives, (1 - yes) * y_true),
            (self.intermediate_weights, y_true),
        ):
            variable.assign_add(jnp.sum(amount * weight, axis=axis))

    def result(self) -> Array:
        """The score so far."""
        tiny, square = settings.epsilon(), self.beta**2
        right = self.true_positives.value
        precision = right / (right + self.false_positives.value + tiny)
        recall = right / (right + self.false_negatives.value + tiny)
        score = precision * recall / (square * precision + recall + tiny) * (1 + square)
        if self.average == "weighted":
            weights = self.intermediate_weights.value
            return jnp.sum(score * weights / (jnp.sum(weights) + tiny))
        return score if self.average is None else jnp.mean(score)


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall, `2·p·r / (p + r)`.

    See `FBetaScore` for `average` and `threshold`.

    >>> y = np.array([[1, 0], [0, 1]])
    >>> p = np.array([[0.8, 0.2], [0.1, 0.9]])
    >>> round(float(F1Score(average="macro")(y, p)), 4)
    1.0
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
