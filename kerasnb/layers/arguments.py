"""What constructors of layers check and normalise, once for all layers."""

import operator
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from kerasnb.core import settings
from kerasnb.core.errors import check, message, suggest

DATA_FORMATS = ("channels_last", "channels_first")


def positive_int(who: str, name: str, value: Any) -> int:
    """`value` as an int of at least one.

    >>> positive_int("Dense", "units", -1)
    Traceback (most recent call last):
    ValueError: Dense: `units` must be a positive integer, not -1.
    """
    number = _as_int(value)
    check(number is not None and number > 0, who, name, value, "a positive integer")
    return number  # type: ignore[return-value]


def int_tuple(
    who: str, name: str, value: Any, rank: int, minimum: int = 1
) -> tuple[int, ...]:
    """`rank` integers of at least `minimum`; a single one stands for all of them.

    >>> int_tuple("Conv2D", "strides", 2, rank=2)
    (2, 2)
    """
    single = _as_int(value)
    values: tuple = ()
    if single is not None:
        values = (single,) * rank
    elif isinstance(value, Iterable) and not isinstance(value, str):
        values = tuple(_as_int(item) for item in value)
    good = len(values) == rank and all(v is not None and v >= minimum for v in values)
    kind = "positive integer" if minimum == 1 else f"integer of at least {minimum}"
    plural = kind.replace("integer", "integers")
    expected = f"a {kind} or {rank} of them"
    if rank == 1:
        expected = f"a {kind}"
    elif minimum != 1:
        expected = f"an {kind} or {rank} {plural}"
    check(good, who, name, value, expected)
    return values


def choice(who: str, name: str, value: Any, options: Sequence[str]) -> str:
    """`value` in lower case, one of `options`.

    >>> choice("Conv2D", "padding", "sane", ("valid", "same"))
    Traceback (most recent call last):
    ValueError: Conv2D: `padding` must be "valid" or "same", not 'sane'. Did you ...
    """
    lowered = value.lower() if isinstance(value, str) else value
    if lowered not in options:
        *most, last = (f'"{option}"' for option in options)
        expected = f"{', '.join(most)} or {last}"
        raise ValueError(message(who, name, value, expected) + suggest(value, options))
    return lowered


def data_format_of(who: str, value: Any) -> str:
    """Where the channels are; the process-wide setting when `value` is None."""
    if value is None:
        return settings.image_data_format()
    return choice(who, "data_format", value, DATA_FORMATS)


def share(who: str, name: str, value: Any, below_one: bool = False) -> float:
    """A number from 0 to 1; `below_one` leaves 1 itself out."""
    good = isinstance(value, Real) and 0 <= float(value) <= 1
    good = good and not (below_one and value == 1)
    expected = "a number from 0 to 1" + (", 1 not included" if below_one else "")
    check(good, who, name, value, expected)
    return value


def _as_int(value: Any) -> int | None:
    try:
        return operator.index(value)
    except TypeError:
        return None
