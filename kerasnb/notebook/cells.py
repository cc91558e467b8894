"""When the running cell began: what it has drawn already need not be drawn again."""

import sys
import time
from typing import Any

_began = time.monotonic()


def began() -> float:
    """The `time.monotonic()` at which the cell that is running began."""
    return _began


def watch(shell: Any = None) -> None:
    """Take note of each cell that begins in `shell`, by default the running one.

    The cell in which this is first called counts as begun now.
    """
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    if shell is not None and _note not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _note)


def unwatch(shell: Any) -> None:
    """Take no more note of the cells of `shell`."""
    if _note in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", _note)


def _note(*_: Any) -> None:
    global _began
    _began = time.monotonic()
