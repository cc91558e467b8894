"""`Run`: what one `fit` is doing, for whoever watches, and what they ask of it.

The loop writes, watchers read: a live panel, a progress line, a test. Watchers never
touch the loop; they put requests into a queue which the loop empties between two calls
of the compiled program, that is at whole steps only.
"""

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Run:
    """One training run: its progress, its curves, and the requests made of it."""

    def __init__(
        self,
        model_name: str,
        epochs: int,
        initial_epoch: int,
        batch_size: int | None,
        steps_per_epoch: int | None,
        metrics_names: Sequence[str] = (),
    ) -> None:
        self.model_name = model_name
        self._metrics_names = list(metrics_names)
        self._initial_epoch = initial_epoch
        self.epochs, self.epoch = epochs, initial_epoch
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.step = 0
        self.step_in_epoch = 0
        self.samples = 0
        self.status = "running"
        self.message = ""
        self.trouble: Any = None  # why the loss is not finite; `training/nonfinite.py`
        # What a backup keeps beside the variables, and restores.
        self.order: np.ndarray | None = None
        self.callbacks: list[Any] = []
        self.catch_up: Callable[[], None] = lambda: None  # the data, with `epoch`
        self.logs: dict[str, float] = {}
        self.history: dict[str, list[float]] = {}
        self.epochs_of: dict[str, list[int]] = {}
        self.epoch_index: list[int] = []
        self.learning_rate: float | None = None
        self.listeners: list[Callable[..., None]] = []
        # What the processes that share this run tell each other between two chunks.
        self.share: Callable[[Run], None] = lambda run: None
        self.stops_after_epoch = False
        self._requests: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._points: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        self._started = time.monotonic()
        self._finished: float | None = None
        self._paused_for = 0.0
        self.validation_seconds = 0.0
        self._last_notice = 0.0
        self._recent: list[tuple[float, int, int]] = []

    # --- Requests, from any thread ----------------------------------------------------

    def pause(self) -> None:
        """Hold the training after the current steps."""
        self._requests.put(("pause", None))

    def resume(self) -> None:
        """Go on after a pause."""
        self._requests.put(("resume", None))

    def stop(self) -> None:
        """End the training after the current steps; what was learned stays."""
        self._requests.put(("stop", None))

    def stop_after_epoch(self) -> None:
        """End the training when this epoch is over."""
        self._requests.put(("stop_after_epoch", None))

    def set_learning_rate(self, value: float) -> None:
        """Go on with another learning rate."""
        self._requests.put(("learning_rate", float(value)))

    def next_request(self) -> tuple[str, Any] | None:
        """The oldest request not yet answered, None when there is none."""
        try:
            return self._requests.get_nowait()
        except queue.Empty:
            return None

    # --- Facts, for watchers ----------------------------------------------------------

    @property
    def metrics_names(self) -> list[str]:
        """The curves there are or will be, validation left out."""
        seen = [n for n in self.history or self.logs if not n.startswith("val_")]
        return seen or self._metrics_names

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, pauses left out."""
        end = self._finished or time.monotonic()
        return end - self._started - self._paused_for

    @property
    def samples_per_second(self) -> float | None:
        """Samples trained on in a second, over the last few seconds."""
        return self._speed(1)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the present speed, None when nobody can know."""
        speed = self._speed(2)
        if not self.steps_per_epoch or not speed:
            return None
        epochs = self.epochs - self._initial_epoch
        return (self.steps_per_epoch * epochs - self.step) / speed

    def _speed(self, column: int) -> float | None:
        """Samples (1) or steps (2) in a second, over the last chunks."""
        if len(self._recent) < 2:
            return None
        first, last = self._recent[0], self._recent[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds > 0 else None

    def step_points(self, since: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Per-step curves from step `since` on: step numbers and values by name."""
        steps: list[np.ndarray] = []
        curves: dict[str, list[np.ndarray]] = {}
        for index, values in self._points:
            keep = index >= since
            if keep.any():
                steps.append(index[keep])
                for name, value in values.items():
                    curves.setdefault(name, []).append(value[keep])
        if not steps:
            return np.zeros(0, "int64"), {}
        return np.concatenate(steps), {k: np.concatenate(v) for k, v in curves.items()}

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """Per-step curves from the beginning."""
        return self.step_points()[1]

    # --- Notes, from the loop ---------------------------------------------------------

    def note_steps(
        self, count: int, samples: int, curves: dict[str, np.ndarray]
    ) -> None:
        """`count` more steps are done; `curves` holds their scalar logs."""
        index = np.arange(self.step, self.step + count)
        self._points.append((index, curves))
        if len(self._points) > 512:
            self._points = [self.step_points()]
        self.step += count
        self.step_in_epoch += count
        self.samples += samples
        self.logs = {name: float(values[-1]) for name, values in curves.items()}
        now = time.monotonic() - self._paused_for
        self._recent.append((now, self.samples, self.step))
        if len(self._recent) > 50:
            del self._recent[0]

    def note_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """An epoch is over, with these results."""
        self.epoch = epoch + 1
        self.step_in_epoch = 0
        self.epoch_index.append(self.step)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
            self.epochs_of.setdefault(name, []).append(epoch)

    def note_pause(self, seconds: float) -> None:
        """The loop has waited."""
        self._paused_for += seconds

    def finish(self, status: str, message: str = "") -> None:
        """The run is over; everybody is told for the last time."""
        self.status, self.message = status, message
        self._finished = time.monotonic()
        self.tell(final=True)

    def tell(self, final: bool = False) -> None:
        """Tell the listeners, at most ten times a second but for the last time."""
        now = time.monotonic()
        if not final and now - self._last_notice < 0.1:
            return
        self._last_notice = now
        for listener in self.listeners:
            listener(self, final=final)
