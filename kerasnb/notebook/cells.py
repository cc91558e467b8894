"""The running cell: when it began, what its last run has left on the page, its end.

What a cell has drawn already need not be drawn again; and what it drew when it was run
before leaves the page now, so that the live half of it may go. When a cell is over and
its reader thinks, there is time for work that the next cell may be glad of.
"""

import contextlib
import contextvars
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

IDLE = 0.5  # seconds after a cell; sooner than that, the next one was waiting already

_began = time.monotonic()
_running = ""
_drawn: dict[str, list[Any]] = defaultdict(list)
_planned: Callable[[], Iterator[None]] | None = None
_stop = threading.Event()


def began() -> float:
    """The `time.monotonic()` at which the cell that is running began."""
    return _began


def draws(widget: Any) -> None:
    """Note that the running cell shows `widget`: closed when that cell runs again."""
    if _running:
        _drawn[_running].append(widget)


def when_idle(work: Callable[[], Iterator[None]]) -> None:
    """Do `work` in a thread when the running cell is over, unless another one follows.

    `work` yields between its parts: there it ends when a cell begins. An error in it
    ends it without a word.
    """
    global _planned
    _planned = work


def watch(shell: Any = None) -> None:
    """Take note of each cell that begins in `shell`, by default the running one.

    The cell in which this is first called counts as begun now.
    """
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    if shell is not None and _note not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _note)
        shell.events.register("post_run_cell", _over)


def unwatch(shell: Any) -> None:
    """Take no more note of the cells of `shell`."""
    if _note in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", _note)
        shell.events.unregister("post_run_cell", _over)
    _drawn.clear()
    _no_more()


def _note(info: Any) -> None:
    global _began, _running
    _began, _running = time.monotonic(), _name_of(info)
    _no_more()
    for widget in _drawn.pop(_running, ()):
        widget.close()


def _name_of(info: Any) -> str:
    """What a cell is known by: its number, where the front end tells it.

    Elsewhere its text; of a `%%magic NAME` cell these two words, whatever follows.
    """
    if (number := getattr(info, "cell_id", None)) is not None:
        return str(number)
    text = str(info.raw_cell).strip()
    return " ".join(text.split(maxsplit=2)[:2]) if text.startswith("%%") else text


def _no_more() -> None:
    """Drop what is planned; what is being done ends with its present part."""
    global _planned
    _planned = None
    _stop.set()


def _over(*_: Any) -> None:
    global _planned, _stop
    if _planned is None:
        return
    work, _planned, _stop = _planned, None, threading.Event()
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(_work, work, _stop), name="kerasnb-ahead", daemon=True
    ).start()


def _work(work: Callable[[], Iterator[None]], stop: threading.Event) -> None:
    if stop.wait(IDLE):
        return
    with contextlib.suppress(Exception):  # Whoever needs it will meet the error.
        for _ in work():
            if stop.is_set():
                return
