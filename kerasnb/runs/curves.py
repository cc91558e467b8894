"""What is worth keeping of long curves, and which of their values is best."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KEPT = 256
"""Parts into which the steps of a run are divided; each keeps least and greatest."""


_RISING = (
    *("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "dice"),
    *("cosine", "sensitivity", "specificity", "true_positive", "true_negative"),
)
_FALLING = (
    *("loss", "error", "mse", "mae", "mape", "msle", "crossentropy", "perplexity"),
    *("divergence", "hinge", "poisson", "log_cosh", "logcosh", "huber", "focal"),
    *("false_positive", "false_negative", "deviation", "distance"),
)


def direction(name: str) -> str | None:
    """Whether the best value of a metric is its `"max"` or its `"min"`, by its name.

    None where the name does not tell.

    >>> direction("val_accuracy"), direction("loss"), direction("sure")
    ('max', 'min', None)
    """
    found = (("max", _RISING), ("min", _FALLING))
    low = name.lower()
    return next((way for way, words in found if any(w in low for w in words)), None)


def better(name: str) -> str:
    """What `direction` says, and `"min"` where it does not know.

    >>> better("val_accuracy"), better("sure")
    ('max', 'min')
    """
    return direction(name) or "min"


def best(history: Mapping[str, Sequence[Any]]) -> dict[str, tuple[float, int]]:
    """The best value of each curve and the row of its epoch, NaN left out.

    >>> best({"loss": [0.3, 0.1, 0.2], "accuracy": [0.5, 0.9, 0.8]})
    {'loss': (0.1, 1), 'accuracy': (0.9, 1)}
    """
    found = {}
    for name, values in history.items():
        pick = max if better(name) == "max" else min
        usable = [i for i, v in enumerate(values) if is_number(v)]
        if usable:
            row = pick(usable, key=values.__getitem__)
            found[name] = (values[row], row)
    return found


def is_number(value: Any) -> bool:
    """Whether a value can be compared: a finite number.

    >>> is_number(0.5), is_number(float("nan")), is_number(None)
    (True, False, False)
    """
    return isinstance(value, int | float) and math.isfinite(value)


def thin(y: np.ndarray, buckets: int) -> np.ndarray:
    """The places of a long series worth drawing.

    First, last, and in each of `buckets` equal parts the least and the greatest value,
    so that no spike is lost.
    """
    n = len(y)
    if n <= 2 * buckets:
        return np.arange(n)
    edges = np.arange(buckets + 1) * n // buckets
    width = int(np.diff(edges).max())
    # Equal rows by repeating each part's first value: a repeat is never the first
    # of its row, so it cannot win over the value it copies.
    place = edges[:-1, None] + np.arange(width)
    place = np.where(place < edges[1:, None], place, edges[:-1, None])
    rows = np.asarray(y, np.float64)[place]
    # A NaN is worth drawing as a gap: it counts as the least and the greatest.
    least = np.where(np.isnan(rows), -np.inf, rows).argmin(1)
    most = np.where(np.isnan(rows), np.inf, rows).argmax(1)
    kept = np.take_along_axis(place, np.stack([least, most], 1), 1)
    return np.unique(np.concatenate([[0], kept.ravel(), [n - 1]]))


def decimate(
    steps: np.ndarray, curves: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Step numbers and curves with no more points than a picture shows, spikes kept."""
    if not len(steps) or not curves:
        return steps, dict(curves)
    kept = np.unique(np.concatenate([thin(c, KEPT) for c in curves.values()]))
    return steps[kept], {k: v[kept].astype(np.float32) for k, v in curves.items()}
