"""One readable sentence for each mistake a user can make."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def show(value: Any) -> str:
    """`value` as an error message prints it: short, on one line."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: str) -> str:
    r"""A text on one line, with nothing in it that moves a terminal's cursor.

    >>> printable("a\x1b[31m")
    'a?[31m'
    """
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in text)


def readable_size(size: float) -> str:
    """A number of bytes as people write it: `1536` -> `"1.50 KB"`."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB" if size < 1e9 else "far too much"


def suggest(name: Any, known: Iterable[str]) -> str:
    """` Did you mean "x"?` when a known name is close to `name`, else nothing.

    >>> suggest("relju", ["relu", "gelu"])
    ' Did you mean "relu"?'
    """
    known = {str(k): None for k in known}
    lowered: dict[str, str] = {}
    for k in known:
        lowered.setdefault(k.lower(), k)
    given = str(name).lower()
    near = difflib.get_close_matches(given, lowered, n=5, cutoff=0.6)
    # Two letters that changed places are the likeliest slip: "adma" is no "adamax".
    near.sort(key=lambda k: sorted(k) != sorted(given))
    return f' Did you mean "{printable(lowered[near[0]])}"?' if near else ""


def message(who: str | None, argument: str, value: Any, expected: str) -> str:
    """The sentence that `check` raises."""
    prefix = f"{who}: " if who else ""
    return f"{prefix}`{argument}` must be {expected}, not {show(value)}."


def check(
    condition: Any, who: str | None, argument: str, value: Any, expected: str
) -> None:
    """Raise a ValueError naming `who`, the argument, its value and what is expected.

    >>> check(False, "Dropout", "rate", 2, "a number from 0 to 1")
    Traceback (most recent call last):
    ValueError: Dropout: `rate` must be a number from 0 to 1, not 2.
    """
    if not condition:
        raise ValueError(message(who, argument, value, expected))


def reject_unknown(who: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a TypeError for the first of `names`, an argument `who` does not take."""
    for name in names:
        raise TypeError(
            f"{who} has no argument `{name}`.{suggest(name, known)}".rstrip()
        )


def names_arguments(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorate a method: an argument it does not take is answered by the nearest one.

    What JAX adds to an error about the frames it has hidden is taken off.

    >>> @names_arguments
    ... def fit(epochs=1):
    ...     return epochs
    >>> fit(epoch=3)
    Traceback (most recent call last):
    TypeError: fit has no argument `epoch`. Did you mean "epochs"?
    """

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            trace = error.__traceback__
            if isinstance(error, TypeError) and trace and trace.tb_next is None:
                known = inspect.signature(fn).parameters
                unknown = [name for name in kwargs if name not in known]
                reject_unknown(fn.__name__, unknown, [k for k in known if k != "self"])
            if hasattr(error, "__notes__"):
                kept = [n for n in error.__notes__ if "JAX has removed" not in n]
                error.__notes__ = kept
            raise

    return call


def optional(module: str, purpose: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{package} is needed {purpose}: pip install 'kerasnb[{extra}]'."
        ) from error
