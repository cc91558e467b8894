"""How often predictions are right."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.core import dtypes, settings
from kerasnb.core.graph import op
from kerasnb.losses.loss import same_rank
from kerasnb.metrics.mean import mean_of

Array = jax.Array


@op
def accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where a prediction equals its target, else 0.

    Shapes: `s, s -> s`.

    >>> accuracy([1, 2], [1, 3]).tolist()
    [1.0, 0.0]
    """
    y_pred = dtypes.as_array(y_pred)
    y_true = dtypes.as_array(y_true).astype(y_pred.dtype)
    y_true, y_pred = same_rank(y_true, y_pred)
    return (y_true == y_pred).astype(settings.floatx())


Accuracy = mean_of("Accuracy", accuracy, direction="up")


@op
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """1 where a prediction lies on the right side of the threshold, else 0.

    Shapes: `s, s -> s`.

    >>> binary_accuracy([1, 0], [0.9, 0.6]).tolist()
    [1.0, 0.0]
    """
    y_true, y_pred = same_rank(dtypes.as_array(y_true), dtypes.as_array(y_pred))
    answers = (y_pred > threshold).astype(y_true.dtype)
    return (y_true == answers).astype(settings.floatx())


BinaryAccuracy = mean_of("BinaryAccuracy", binary_accuracy, direction="up")


@op
def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is that of the target's class, else 0.

    Shapes: `(..., n), (..., n) -> (...)`, the targets being one-hot codes.

    >>> categorical_accuracy([[0, 1]], [[0.2, 0.8]]).tolist()
    [1.0]
    """
    right = ops.argmax(y_true, -1) == ops.argmax(y_pred, -1)
    return right.astype(settings.floatx())


CategoricalAccuracy = mean_of(
    "CategoricalAccuracy", categorical_accuracy, direction="up"
)


@op
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is that of the target's class, else 0.

    Shapes: `(...) or (..., 1), (..., n) -> (...)`, the targets being class numbers.

    >>> sparse_categorical_accuracy([1], [[0.2, 0.8]]).tolist()
    [1.0]
    """
    y_true, y_pred = dtypes.as_array(y_true), dtypes.as_array(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    answers = ops.argmax(y_pred, -1)
    right = (y_true == answers.astype(y_true.dtype)).astype(settings.floatx())
    return right[..., 0] if right.ndim > 1 and right.shape[-1] == 1 else right


SparseCategoricalAccuracy = mean_of(
    "SparseCategoricalAccuracy", sparse_categorical_accuracy, direction="up"
)


@op
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """1 where the target's class is among the `k` largest predictions, else 0.

    Shapes: `(..., n), (..., n) -> (...)`, the targets being one-hot codes.

    >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.1, 0.6, 0.3]], k=2).tolist()
    [1.0]
    """
    return _in_top_k(ops.argmax(y_true, -1), dtypes.as_array(y_pred), k)


TopKCategoricalAccuracy = mean_of(
    "TopKCategoricalAccuracy",
    top_k_categorical_accuracy,
    direction="up",
    order="k name dtype",
)


@op
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Array:
    """1 where the target's class is among the `k` largest predictions, else 0.

    With `from_sorted_ids` the predictions are class numbers, the best one first.

    Shapes: `(...), (..., n) -> (...)`, the targets being class numbers.

    >>> sparse_top_k_categorical_accuracy([2], [[0.1, 0.6, 0.3]], k=2).tolist()
    [1.0]
    """
    y_true, y_pred = dtypes.as_array(y_true), dtypes.as_array(y_pred)
    if from_sorted_ids:
        labels = y_true.astype(y_pred.dtype)[..., None]
        found = jnp.any(labels == y_pred[..., :k], axis=-1)
        return found.astype(settings.floatx())
    return _in_top_k(y_true, y_pred, k)


SparseTopKCategoricalAccuracy = mean_of(
    "SparseTopKCategoricalAccuracy",
    sparse_top_k_categorical_accuracy,
    direction="up",
    order="k name dtype from_sorted_ids",
)


def _in_top_k(labels: Array, y_pred: Array, k: int) -> Array:
    flat = y_pred.reshape(-1, y_pred.shape[-1])
    found = ops.in_top_k(labels.reshape(-1).astype("int32"), flat, k)
    return found.reshape(labels.shape).astype(settings.floatx())
