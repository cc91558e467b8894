"""Errors in a notebook without the frames of this package and of JAX.

Of an error that came through this package a cell shows the user's own lines and the
message. `kerasnb.config.tracebacks("full")` shows every frame; `%tb` and `%debug` know
them all in any case.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from kerasnb.core import settings
from kerasnb.notebook.errors import NotebookError
from kerasnb.notebook.hints import is_ours

_HIDDEN = ("IPython", "ipykernel", "contextlib", "threading", "concurrent")

_before: WeakKeyDictionary[Any, tuple[tuple, Any]] = WeakKeyDictionary()


def install(shell: Any) -> None:
    """Show errors in `shell` in their short form from now on."""
    _before[shell] = (shell.custom_exceptions, getattr(shell, "CustomTB", None))
    shell.set_custom_exc((Exception,), _show)


def remove(shell: Any) -> None:
    """Show errors as they were shown before `install`."""
    kinds, handler = _before.pop(shell, ((), None))
    shell.custom_exceptions, shell.CustomTB = kinds, handler


def _show(
    shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: Any = None
) -> None:
    if settings.tracebacks() == "full" or not concerns_us(error):
        _show_plainly(shell, kind, error, trace)
        return
    with shortened(error):
        _show_plainly(shell, kind, error, error.__traceback__)
    # For %tb and %debug everything is there again.
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace


def _show_plainly(shell: Any, kind: type, error: BaseException, trace: Any) -> None:
    before = _before.get(shell, ((), None))
    if before[0] and isinstance(error, before[0]):
        before[1](kind, error, trace)
    else:
        shell.showtraceback((kind, error, trace), running_compiled_code=True)


def concerns_us(error: BaseException) -> bool:
    """Whether an error came through this package."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "kerasnb":
            return not isinstance(error, NotebookError)
        trace = trace.tb_next
    return False


@contextmanager
def shortened(error: BaseException) -> Iterator[None]:
    """Inside, an error and those behind it hold only the frames of the user's code."""
    saved: list[tuple[BaseException, Any, Any, bool]] = []
    chain: BaseException | None = error
    while chain is not None and all(chain is not seen for seen, *_ in saved):
        state = (chain.__traceback__, chain.__cause__, chain.__suppress_context__)
        saved.append((chain, *state))
        behind = chain.__cause__
        if behind is None and not chain.__suppress_context__:
            behind = chain.__context__
        ours = _raised_by_us(chain.__traceback__)
        chain.__traceback__ = users_frames(chain.__traceback__)
        if ours:  # Our sentence says it all.
            chain.__cause__, chain.__suppress_context__ = None, True
            break
        chain = behind
    try:
        yield
    finally:
        for one, trace, cause, suppressed in saved:
            one.__traceback__, one.__cause__ = trace, cause
            one.__suppress_context__ = suppressed


def _raised_by_us(trace: TracebackType | None) -> bool:
    last = None
    while trace is not None:
        last, trace = trace, trace.tb_next
    return last is not None and is_ours(last.tb_frame)


def users_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of libraries; whole if none would be left."""
    frames = []
    at = trace
    while at is not None:
        frame = at.tb_frame
        root = frame.f_globals.get("__name__", "").partition(".")[0]
        if not is_ours(frame) and root not in _HIDDEN:
            frames.append(at)
        at = at.tb_next
    short = None
    for kept in reversed(frames):
        short = TracebackType(short, kept.tb_frame, kept.tb_lasti, kept.tb_lineno)
    return short if frames else trace
