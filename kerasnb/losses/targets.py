"""Do targets fit a loss? Asked on the host before training, with NumPy.

Compiled code cannot raise: a label of 10 with ten classes would silently cost nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasnb.core.errors import show

Shape = Sequence[int | None]

_titles: dict[Callable, str] = {}
_checks: dict[Callable, Callable[[str, np.ndarray, Shape, dict], None]] = {}


def name_function(fn: Callable, title: str) -> None:
    """Call `fn` by the name of its class in errors."""
    _titles.setdefault(fn, title)
    _checks.setdefault(fn, same_shape)


def wants(check: Callable) -> Callable[[Callable], Callable]:
    """Decorate a loss function: `check` tells whether targets fit it."""

    def mark(fn: Callable) -> Callable:
        _checks[fn] = check
        return fn

    return mark


def check_targets(
    fn: Callable, y_true: Any, y_pred_shape: Shape, options: dict[str, Any]
) -> None:
    """Raise a ValueError when `y_true` cannot be meant for the loss function `fn`."""
    if fn not in _checks or isinstance(y_true, dict | tuple):
        return  # the user's own function knows best
    y = np.asarray(y_true)
    if y.size and y.dtype.kind in "biuf" and None not in tuple(y_pred_shape)[1:]:
        _checks[fn](_titles[fn], y, tuple(y_pred_shape), options)


def anything(who: str, y: np.ndarray, shape: Shape, options: dict) -> None:
    """Every target fits."""


def same_shape(who: str, y: np.ndarray, shape: Shape, options: dict) -> None:
    """Targets of the shape of the predictions, but for a last axis of length one."""
    wanted, given = tuple(shape[1:]), y.shape[1:]
    if len(given) == len(wanted):
        fits = all(a == b or 1 in (a, b) for a, b in zip(given, wanted, strict=True))
    else:
        fits = (*given, 1) == wanted or given == (*wanted, 1)
    if not fits:
        raise ValueError(
            f"{who}: `y` must have the shape of the model's output, "
            f"{_with_batch(wanted)}, not {_with_batch(given)}."
            f"{_places(wanted, given)}"
        )


def fractions(who: str, y: np.ndarray, shape: Shape, options: dict) -> None:
    """Targets from 0 to 1 of the shape of the predictions."""
    wanted, given = tuple(shape[1:]), y.shape[1:]
    if given != wanted and (*given, 1) != wanted and given != (*wanted, 1):
        hint = _places(wanted, given)
        if wanted and wanted[-1] != 1 and given in ((), (1,)) and len(wanted) == 1:
            hint = (
                " For one class out of many use sparse_categorical_crossentropy and a "
                "softmax; for a yes or no give the last layer one unit."
            )
        raise ValueError(
            f"{who}: `y` must have the shape of the model's output, "
            f"{_with_batch(wanted)}, not {_with_batch(given)}.{hint}"
        )
    low, high = y.min(), y.max()
    if low < 0 or high > 1:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{who}: `y` holds {show(wrong.item())}, but targets must be 0 or 1, or "
            "lie between; for several classes use sparse_categorical_crossentropy."
        )


def distributions(who: str, y: np.ndarray, shape: Shape, options: dict) -> None:
    """One number for each class: one-hot codes or probabilities."""
    wanted, given = tuple(shape[1:]), y.shape[1:]
    if given == wanted:
        return
    hint = _places(wanted, given)
    if given == wanted[:-1] or given == (*wanted[:-1], 1):
        hint = (
            " For class numbers as targets use sparse_categorical_crossentropy, or "
            "turn them into codes with keras.utils.to_categorical."
        )
    raise ValueError(
        f"{who}: `y` must hold one number for each class, shape "
        f"{_with_batch(wanted)}, not {_with_batch(given)}.{hint}"
    )


def classes(who: str, y: np.ndarray, shape: Shape, options: dict) -> None:
    """The number of a class for each sample."""
    axis = options.get("axis", -1) % len(shape)
    count = shape[axis]
    wanted, given = tuple(n for i, n in enumerate(shape) if i != axis)[1:], y.shape[1:]
    if given not in (wanted, (*wanted, 1)) or (count == 1 and given == shape[1:] == ()):
        hint = _places((*wanted, count), given)
        if given == tuple(shape[1:]):
            hint = " For one-hot codes as targets use categorical_crossentropy."
        raise ValueError(
            f"{who}: `y` must hold one class number for each sample, shape "
            f"{_with_batch(wanted)}, not {_with_batch(given)}.{hint}"
        )
    ignored = options.get("ignore_class")
    labels = y if ignored is None else y[y != ignored]
    if not labels.size:
        return
    if labels.dtype.kind == "f" and (labels % 1).any():
        wrong = labels[labels % 1 != 0][0]
        raise ValueError(
            f"{who}: `y` holds {show(wrong.item())}, but class numbers must be whole."
        )
    low, high = labels.min(), labels.max()
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{who}: `y` holds the label {int(wrong)}, but the model has {count} "
            f"output{'s' if count > 1 else ''}, so labels must be "
            f"{f'0 to {count - 1}' if count > 1 else '0'}."
            f"{_mend(low, high, count)}"
        )


def _mend(low: Any, high: Any, count: int) -> str:
    if count == 1:
        return " For a yes or no use binary_crossentropy and a sigmoid."
    if low == 1 and high == count:
        return " Labels count from 0: subtract 1."
    if low >= 0:
        return f" The last layer would need {int(high) + 1} units."
    return ""


def _places(wanted: Shape, given: Shape) -> str:
    """What to do about a model that answers for each place, and targets that do not."""
    if tuple(given[-1:]) in ((1,), tuple(wanted[-1:])):
        given = given[:-1]
    if len(given) >= len(wanted) - 1:
        return ""
    places = " x ".join(str(n) for n in wanted[len(given) : -1])
    return (
        f" The model answers for each of {places} places; to answer once, put Flatten()"
        " before the last Dense, or a global pooling."
    )


def _with_batch(shape: Sequence[int | None]) -> str:
    return f"({', '.join(['batch', *map(str, shape)])}{',' if not shape else ''})"
