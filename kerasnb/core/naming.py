"""Names: made from class names, unique in a session, joined into paths by scopes."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kerasnb.core.errors import check

_counters: ContextVar[Counter | None] = ContextVar("name_counters", default=None)
_session: Counter = Counter()
_scopes: ContextVar[tuple[str, ...]] = ContextVar("name_scopes", default=())

# A class that Keras itself calls by another name than the public one.
_INNER_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


def to_snake_case(name: str) -> str:
    """`DepthwiseConv2D` -> `depthwise_conv2d`, by the rule that names file members."""
    name = re.sub(r"\W+", "", _INNER_NAMES.get(name, name))
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def check_name(who: str, name: Any) -> None:
    """Raise a ValueError for a name that would do something to where it is printed.

    Control characters move a terminal's cursor, others turn the writing round.
    """
    good = name is None or (isinstance(name, str) and not _ACTIVE.search(name))
    expected = "letters, digits and signs without control characters"
    check(good, who, "name", name, expected)


_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def unique(prefix: str) -> str:
    """`prefix` the first time in a session, then `prefix_1`, `prefix_2`, ..."""
    counter = _counters.get()
    if counter is None:
        counter = _session
    count = counter[prefix]
    counter[prefix] += 1
    return f"{prefix}_{count}" if count else prefix


def auto_name(obj: Any) -> str:
    """A fresh name for an object, from the name of its class."""
    cls = obj if isinstance(obj, type) else type(obj)
    return unique(to_snake_case(cls.__name__))


def name_of(fn: Any) -> str:
    """The name of a function, or that of a callable object's class in snake case."""
    return getattr(fn, "__name__", None) or to_snake_case(type(fn).__name__)


@contextmanager
def fresh_names() -> Iterator[None]:
    """Count names from zero inside, so that re-running a cell repeats its names."""
    token = _counters.set(Counter())
    try:
        yield
    finally:
        _counters.reset(token)


def reset_names() -> None:
    """Forget every name given so far."""
    _session.clear()


@contextmanager
def name_scope(name: str) -> Iterator[None]:
    """Prefix the paths of variables created inside with `name/`."""
    token = _scopes.set((*_scopes.get(), name))
    try:
        yield
    finally:
        _scopes.reset(token)


@contextmanager
def at_path(path: str) -> Iterator[None]:
    """Create variables under `path`, whatever scopes are open outside."""
    token = _scopes.set((path,) if path else ())
    try:
        yield
    finally:
        _scopes.reset(token)


def current_path() -> str:
    """The open scopes, joined: `"model/dense"`."""
    return "/".join(_scopes.get())
