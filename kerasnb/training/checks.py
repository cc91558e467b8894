"""What is wrong with the arguments and data of `fit`, before anything is compiled.

Compiled code cannot raise, and errors of a trace speak of shapes inside; so all that
can be seen from outside is looked at here first.
"""

import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kerasnb import metrics as metrics_room
from kerasnb.core.errors import check, show
from kerasnb.core.graph import leaves
from kerasnb.core.naming import name_of
from kerasnb.core.registry import is_library


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_counts(who: str, **counts: Any) -> None:
    """Numbers of epochs, steps and rows are positive; None is allowed."""
    for name, value in counts.items():
        good = value is None or (is_whole(value) and value > 0)
        check(good, who, name, value, "a positive whole number")


def check_fit(
    initial_epoch: Any, verbose: Any, validation_split: Any, validation_freq: Any
) -> None:
    """The arguments of `fit` that are no data and no counts."""
    good = is_whole(initial_epoch) and initial_epoch >= 0
    check(good, "fit", "initial_epoch", initial_epoch, "a whole number, 0 or more")
    check(verbose in ("auto", 0, 1, 2, None), "fit", "verbose", verbose, _VERBOSE)
    number = isinstance(validation_split, int | float | np.number)
    good = validation_split is None or (number and 0 <= validation_split < 1)
    expected = "a number from 0 to 1, such as 0.2, below 1"
    check(good, "fit", "validation_split", validation_split, expected)
    listed = validation_freq if _is_list(validation_freq) else [validation_freq]
    good = all(is_whole(n) and n > 0 for n in listed)
    expected = "a positive whole number, or a list of epochs that count from 1"
    check(good, "fit", "validation_freq", validation_freq, expected)


_VERBOSE = '"auto", 0 (silent), 1 (a moving line) or 2 (a line for each epoch)'


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | set | np.ndarray) and not isinstance(value, str)


def check_compile(loss: Any, loss_weights: Any) -> None:
    """A loss is no number and no metric, and the weights of losses are numbers."""
    number = isinstance(loss, int | float)
    check(not number, "compile", "loss", loss, "a name, a function or an object")
    for one in leaves(loss):
        kind = one if isinstance(one, type) else type(one)
        if issubclass(kind, metrics_room.Metric):
            raise ValueError(
                f"compile: `loss` {kind.__name__} is a metric, which cannot be trained "
                "on; take the loss of keras.losses of that name, and pass the metric "
                "in `metrics`."
            )
    for weight in leaves(loss_weights):
        number = weight is None or hasattr(weight, "dtype")
        number = number or isinstance(weight, int | float)
        check(number, "compile", "loss_weights", loss_weights, "numbers")


# --- The data -------------------------------------------------------------------------


def check_batch(trainer: Any, who: str, data: tuple, outputs: Any) -> None:
    """Targets that fit the outputs and the loss; weights that weigh something.

    A `train_step` or `compute_loss` of the user's own may take whatever it likes.
    """
    cls = type(trainer)
    own = not (is_library(cls.train_step) and is_library(cls.compute_loss))
    if trainer._compile_loss is None or own:
        return
    y = data[1] if len(data) > 1 else None
    if all(leaf is None for leaf in leaves(y)):
        raise ValueError(
            f"{who}: `y` is missing, the targets that the loss "
            f"{_loss_names(trainer.loss)} compares the outputs with; pass x and y, or "
            "batches (x, y)."
        )
    if all(getattr(leaf, "is_fully_addressable", True) for leaf in leaves(y)):
        trainer._compile_loss.check_targets(y, outputs)
    _check_last_layer(trainer, who, outputs)
    weight = data[2] if len(data) > 2 else None
    for leaf in leaves(weight):
        if isinstance(leaf, np.ndarray) and leaf.size and not leaf.any():
            warnings.warn(
                f"{who}: all sample weights are 0, so that nothing counts and nothing "
                "is learned; pass weights above 0 for the samples that matter.",
                stacklevel=2,
            )


def _loss_names(loss: Any) -> str:
    names = [x if isinstance(x, str) else name_of(x) for x in leaves(loss) if x]
    return ", ".join(dict.fromkeys(map(str, names)))


def _check_last_layer(trainer: Any, who: str, outputs: Any) -> None:
    last = (getattr(trainer, "layers", None) or [None])[-1]
    softmax = getattr(getattr(last, "activation", None), "__name__", "") == "softmax"
    shapes = [tuple(out.shape) for out in leaves(outputs)]
    if softmax and len(shapes) == 1 and shapes[0][-1:] == (1,):
        warnings.warn(
            f"{who}: {last._who()} has a softmax over one unit, which is always 1, so "
            'that nothing can be learned; for a yes or no use activation="sigmoid" and '
            "binary_crossentropy.",
            stacklevel=2,
        )


def class_weights(who: str, given: Any) -> dict[int, float]:
    """`class_weight` as numbers by class."""
    expected = "a dict of a number for each class, such as {0: 1.0, 1: 5.0}"
    check(isinstance(given, Mapping), who, "class_weight", given, expected)
    for key, value in given.items():
        whole = isinstance(key, int | float | np.number) and float(key).is_integer()
        if not whole:
            raise ValueError(
                f"{who}: `class_weight` names the class {show(key)}, but classes are "
                "the whole numbers in `y`; give the number of each class as its key."
            )
        number = isinstance(value, int | float | np.number) and np.isfinite(value)
        check(number, who, f"class_weight[{key}]", value, "a finite number")
    return {int(k): float(v) for k, v in given.items()}


# --- Losses and metrics ---------------------------------------------------------------

_PACKAGE = str(Path(__file__).parents[1]).replace("\\", "/") + "/"


@contextmanager
def named(kind: str, item: Any, y: Any, output: Any, weight: Any = None) -> Iterator:
    """Errors from inside of a loss or metric, with its name and the shapes it got."""
    try:
        yield
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        if getattr(error, "layer", None) or isinstance(error, jax.errors.JAXTypeError):
            raise
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        raised_in = raised_in.replace("\\", "/")
        foreign = any(f"/{name}/" in raised_in for name in ("jax", "numpy"))
        words = str(error).strip().splitlines() or [type(error).__name__]
        arguments = "positional argument" in words[0]
        if not foreign and not arguments and type(error) is not AttributeError:
            raise  # a sentence of ours, or the user's own
        if not foreign and not raised_in.startswith(_PACKAGE):
            raise
        who = f"the {kind} `{getattr(item, 'name', None) or name_of(item)}`"
        if arguments:
            called = f"{who} is called with (y_true, y_pred): {words[0]}."
            raise TypeError(called) from error
        shapes = f"`y` of shape {_shape(y)} and outputs of shape {_shape(output)}"
        if weight is not None:
            shapes += f" with `sample_weight` of shape {_shape(weight)}"
        reason = words[0].rstrip(".")
        raise ValueError(f"{who} cannot work on {shapes}: {reason}.") from error


def _shape(x: Any) -> str:
    shapes = [tuple(leaf.shape) for leaf in leaves(x) if hasattr(leaf, "shape")]
    return ", ".join(map(str, shapes)) or show(x)
