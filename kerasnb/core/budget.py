"""What a file may cost while it is loaded: memory in proportion to what it holds.

A description of one line can ask for terabytes: `Dense(10**12)`. While a file is
loaded there is a budget, and whatever makes something as large as a number in a config
says spends it first. Outside of loading nothing is counted: a user may ask for a lot.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kerasnb.core import registry
from kerasnb.core.errors import readable_size

FLOOR = 48 << 20
# Weights, and the state of an optimizer that the file may not hold yet.
EXPANSION = 8


class Budget:
    """What may still be spent on one file that holds `held` bytes."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.left: float = FLOOR + EXPANSION * held
        if registry.code_is_allowed():  # whoever trusts a file trusts its sizes
            self.left = math.inf


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget_for(held: int) -> Iterator[None]:
    """Load a file of `held` bytes while the scope is open."""
    token = _budget.set(Budget(held))
    try:
        yield
    finally:
        _budget.reset(token)


def is_loading() -> bool:
    """Whether a file is being loaded, which will bring the values of variables."""
    return _budget.get() is not None


def spend(what: str, shape: Sequence[Any], itemsize: int = 4) -> None:
    """Count what is about to be made and kept; see `afford`."""
    size = afford(what, shape, itemsize)
    if (budget := _budget.get()) is not None:
        budget.left -= size


def afford(what: str, shape: Sequence[Any], itemsize: int = 4) -> int:
    """The size of what is about to be made; a ValueError when no file can mean it.

    >>> with budget_for(held=1000):
    ...     afford("the kernel", (10**6, 10**6))
    Traceback (most recent call last):
    ValueError: the kernel would take 3.64 TB, and the file holds 1000.00 B. If you \
trust the file, load it with safe_mode=False.
    """
    budget = _budget.get()
    if budget is None:
        return 0
    try:
        size = itemsize * math.prod(max(int(n), 0) for n in shape)
    except (TypeError, ValueError, OverflowError):
        return 0  # no shape at all; whoever asked for it will say so
    if size > budget.left:
        raise ValueError(
            f"{what} would take {readable_size(size)}, and the file holds "
            f"{readable_size(budget.held)}. If you trust the file, load it with "
            "safe_mode=False."
        )
    return size
