"""Runs that train in a thread of their own while other cells are executed.

There is one such thread, and it takes one run after the other: two at once would take
each other's device away and leave nobody faster.
"""

import atexit
import contextlib
import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable

import jax

from kerasnb.training.run import Run

LEAVING = 20.0  # seconds that the last steps may take when the interpreter ends

_lock = threading.Lock()
_queue: deque[tuple[Run, Callable[[], None]]] = deque()
_thread: threading.Thread | None = None
_leaving = False


def submit(run: Run, train: Callable[[], object]) -> None:
    """Let `train` run when those before it are over; what it raises ends up in `run`.

    It prints into the cell that called this, and sees the same context variables.
    """
    global _thread
    context = contextvars.copy_context()
    # A device chosen with `jax.default_device` is that of one thread.
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    run.withdraw = _withdraw

    def turn() -> None:
        with jax.default_device(device):
            context.run(_train, run, train)

    with _lock:
        _queue.append((run, turn))
        if _thread is None:
            _thread = threading.Thread(
                target=_work, name="kerasnb-training", daemon=True
            )
            _thread.start()


def _work() -> None:
    global _thread
    while True:
        with _lock:
            if not _queue:
                _thread = None
                return
            run, turn = _queue[0]
        with _lock:
            if not _queue or _queue[0][0] is not run:  # withdrawn a moment ago
                continue
            run.begin()
        turn()
        with _lock:
            _queue.popleft()


def _train(run: Run, train: Callable[[], object]) -> None:
    try:
        train()
    except BaseException as error:  # noqa: BLE001  (it is raised by `wait`)
        if not run.done:
            run.finish("failed", f"{type(error).__name__}: {error}", error)
        if not run.awaited and not _leaving:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it
                print(
                    f"Run `{run.name}` failed after {run.step} steps: {run.message}\n"
                    "run.wait() raises it.",
                    file=sys.stderr,
                )


def _withdraw(run: Run) -> bool:
    """Take a run that has not begun out of the queue; whether it was there."""
    with _lock:
        for place in _queue:
            if place[0] is run and run.status == "queued":
                _queue.remove(place)
                return True
    return False


@atexit.register
def _leave() -> None:
    """End what trains at a whole step, so that files and records are whole as well."""
    global _leaving
    _leaving = True
    with _lock:
        left = [run for run, _ in _queue]
    for run in reversed(left):
        run.stop()
    for run in left:
        with contextlib.suppress(TimeoutError, Exception):
            run.wait(LEAVING)
            if run.status == "stopped":
                print(
                    f"Run `{run.name}` was stopped after {run.step} steps because the "
                    "program ends; run.wait() waits for the end of a run."
                )
