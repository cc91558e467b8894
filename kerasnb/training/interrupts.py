"""Ctrl-C and the notebook's stop button, held back while a step is half done.

The compiled step takes over the buffers of the weights. Between its start and the
moment when the new weights are stored there is nothing an interrupt could leave behind
that is worth having; everywhere else it may come at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Turns SIGINT into a KeyboardInterrupt at whole steps only.

    Signals reach the main thread alone, so elsewhere this does nothing. With
    `together` a first one waits until the processes of a crew have heard of it.
    """

    def __init__(self, together: bool = False) -> None:
        self._together = together
        self._holding = False
        self._caught: tuple[int, FrameType | None] | None = None
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            # An embedding program may have set a handler outside of Python.
            if self._previous is not None:
                signal.signal(signal.SIGINT, self._handle)
                self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._holding or (self._together and self._caught is None):
            self._caught = (number, frame)
        else:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(number, frame)
        elif self._previous == signal.SIG_DFL:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no interrupt through inside; one that came is delivered at the end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._caught is not None and not self._together:
                self._pass_on(*self.clear())

    @property
    def waiting(self) -> bool:
        """Whether an interrupt came that was not delivered."""
        return self._caught is not None

    def clear(self) -> Any:
        """Take the interrupt that waits."""
        caught, self._caught = self._caught, None
        return caught
