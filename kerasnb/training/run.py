"""`Run`: what one `fit` is doing, for whoever watches, and what they ask of it.

The loop writes, watchers read: a live panel, a progress line, a test. Watchers never
touch the loop; they put requests into a queue which the loop empties between two calls
of the compiled program, that is at whole steps only.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

OVER = ("finished", "stopped", "interrupted", "failed")
MARKS = 8  # kept at most


class Mark(NamedTuple):
    """A step that a run can go back to: `epoch` counts those that were over by then."""

    name: str
    step: int
    epoch: int


def _nothing(*_: Any) -> None:
    """What a run has to tell its data and the other processes, outside of `fit`."""


class Run:
    """One training run: its progress, its curves, and the requests made of it.

    `status` is "queued", "running" or "paused", and in the end "finished", "stopped",
    "interrupted" or "failed". Anybody may ask for `pause`, `resume`, `advance`,
    `stop`, `stop_after_epoch`, `set_learning_rate`, `mark` and `roll_back`, from any
    thread; the training does so at a whole step. `wait` waits for the end of one that
    goes on in the background.

        run = model.fit(x, y, epochs=50, background=True)
        run.mark("before")
        run.set_learning_rate(0.1)
        run.roll_back("before")
        run.wait()
    """

    def __init__(
        self,
        model_name: str,
        epochs: int,
        initial_epoch: int,
        batch_size: int | None,
        steps_per_epoch: int | None,
        metrics_names: Sequence[str] = (),
    ) -> None:
        self.model_name = self.name = model_name
        self._metrics_names = list(metrics_names)
        self._initial_epoch = initial_epoch
        self.epochs, self.epoch = epochs, initial_epoch
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.step = 0
        self.step_in_epoch = 0
        self.samples = 0
        self.status = "running"
        self.message = ""
        self.background = False
        self.withdraw: Callable[[Run], bool] = lambda run: False  # from the queue
        self.result: Any = None  # the `History`
        self.exception: BaseException | None = None
        self.random: Any = np.random  # whence the order of the data
        self.trouble: Any = None  # why the loss is not finite; `training/nonfinite.py`
        # What a backup keeps beside the variables, and restores.
        self.order: np.ndarray | None = None
        self.callbacks: list[Any] = []
        self.catch_up: Callable[[], None] = _nothing  # the data, with `epoch`
        self.logs: dict[str, float] = {}
        self.history: dict[str, list[float]] = {}
        self.epochs_of: dict[str, list[int]] = {}
        self.epoch_index: list[int] = []
        self.learning_rate: float | None = None
        self.listeners: list[Callable[..., None]] = []
        self.keeper: Any = None  # of the weights of the best epoch; `runs/weights.py`
        # What the processes that share this run tell each other between two chunks.
        self.share: Callable[[Run], None] = _nothing
        self.stops_after_epoch = False
        self.allowance: int | None = None  # steps until the next pause
        # Counts how often the curves were cut back: watchers then read all again.
        self.generation = 0
        self.marks: list[Mark] = []
        self.stays = ""  # why this run cannot go back, where it cannot
        self.alarms: list[Any] = []
        self.silenced: set[str] = set()
        self.gradient_norm: float | None = None
        self._health: list[tuple[int, dict[str, float]]] = []
        self._requests: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._asked: list[str] = []  # names of marks that are not made yet
        self._counted = 0
        self._points: Points = []
        self._started = time.monotonic()
        self._finished: float | None = None
        self._paused_for = 0.0
        self.validation_seconds = 0.0
        self._last_notice = 0.0
        self._told = ""  # the status that the listeners know
        self._recent: list[tuple[float, int, int]] = []
        self._over = threading.Event()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    # --- Requests, from any thread ----------------------------------------------------

    def pause(self) -> None:
        """Hold the training after the current steps."""
        self._requests.put(("pause", None))

    def resume(self) -> None:
        """Go on after a pause."""
        self._requests.put(("resume", None))

    def advance(self, steps: int = 1) -> None:
        """Go on for so many steps, then pause (again)."""
        if int(steps) < 1:
            raise ValueError(f"advance: `steps` must be 1 or more, not {steps!r}.")
        self._requests.put(("advance", int(steps)))

    def stop(self) -> None:
        """End the training after the current steps; what was learned stays."""
        if self.status == "queued" and self.withdraw(self):
            self.finish("stopped", "stopped before it began")
        self._requests.put(("stop", None))

    def stop_after_epoch(self) -> None:
        """End the training when this epoch is over."""
        self._requests.put(("stop_after_epoch", None))

    def set_learning_rate(self, value: float) -> None:
        """Go on with another learning rate."""
        if not 0 <= float(value) < float("inf"):
            raise ValueError(
                f"set_learning_rate: `value` must be a number from 0 on, not {value!r}."
            )
        self._requests.put(("learning_rate", float(value)))

    def mark(self, name: str | None = None) -> str:
        """Keep the whole state of this step, to go back to; returns the mark's name.

        A mark holds copies of the weights, the optimizer, the seeds, the metrics and of
        what callbacks remember. Eight are kept: another one takes the place of the
        oldest, of those without a name of their own if there are any.
        """
        self._refuse_when_over("mark")
        self._counted += name is None
        name = str(name or f"mark {self._counted}")
        self._asked.append(name)
        self._requests.put(("mark", name))
        return name

    def roll_back(self, mark: "Mark | str | None" = None) -> None:
        """Go back to a mark, the last one unless named: it goes on from that step.

        Everything is as it was, also the order of the data; curves, history and later
        marks are cut off. Batches from an iterator cannot be had again: such a run says
        so, and goes on.
        """
        self._refuse_when_over("roll_back")
        name = mark.name if isinstance(mark, Mark) else mark
        if self.stays:
            raise ValueError(f"roll_back: {self.stays}")
        names = [*(one.name for one in self.marks), *self._asked]
        if not names or (name is not None and name not in names):
            asked = "no mark" if name is None else f"no mark `{name}`"
            known = f"; its marks are {names}" if names else ""
            raise ValueError(
                f"roll_back: run `{self.name}` has {asked} to go back to{known}. "
                "run.mark() makes one."
            )
        self._requests.put(("roll_back", name))

    def _refuse_when_over(self, who: str) -> None:
        if self.done:
            raise RuntimeError(
                f"{who}: run `{self.name}` is {self.status}, and its weights stay as "
                "they are; fit the model again to go on."
            )

    def silence(self, kind: str) -> None:
        """Hear no more alarms of this kind, and forget those there were."""
        self.silenced.add(kind)
        self.alarms = [alarm for alarm in self.alarms if alarm.kind != kind]

    def next_request(self, seconds: float = 0) -> tuple[str, Any] | None:
        """The oldest request not yet answered, None when there is none for so long."""
        try:
            return (
                self._requests.get(timeout=seconds)
                if seconds
                else (self._requests.get_nowait())
            )
        except queue.Empty:
            return None

    # --- In the background ------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the run has come to its end, whatever that was."""
        return self._over.is_set()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that the run trains in."""
        return self._thread is threading.current_thread()

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the end."""
        return self._waiting > 0

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end of the run; returns its `History`.

        Raises what ended a run that failed, and a TimeoutError when it still goes on
        after `timeout` seconds. To interrupt the waiting does not stop the run.
        """
        if self.is_here and not self.done:
            raise RuntimeError(
                f"wait: this is the thread of run `{self.name}`, which would wait for "
                "itself."
            )
        self._waiting += 1
        try:
            over = self._over.wait(timeout)
        finally:
            self._waiting -= 1
        if not over:
            raise TimeoutError(
                f"wait: run `{self.name}` is {self.status} at step {self.step} after "
                f"{timeout} seconds and goes on; run.stop() ends it."
            )
        if self.exception is not None:
            raise self.exception
        return self.result

    def __repr__(self) -> str:
        steps = "" if self.status == "queued" else f", {self.step} steps"
        return (
            f"<Run {self.name}: {self.status}, {self.epoch} of {self.epochs} "
            f"epochs{steps}>"
        )

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

    @property
    def memory(self) -> int | None:
        """Bytes in use on the first device, None where it does not say (the CPU)."""
        held = jax.local_devices()[0].memory_stats()
        return held and held.get("bytes_in_use")

    def _speed(self, column: int) -> float | None:
        """Samples (1) or steps (2) in a second, over the last chunks."""
        recent = self._recent
        if len(recent) < 2:
            return None
        first, last = recent[0], recent[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds > 0 else None

    def step_points(self, since: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Per-step curves from step `since` on: step numbers and values by name."""
        steps: list[np.ndarray] = []
        curves: dict[str, list[np.ndarray]] = {}
        for index, values in self._points:
            first = int(np.searchsorted(index, since))
            if first < len(index):
                steps.append(index[first:])
                for name, value in values.items():
                    curves.setdefault(name, []).append(value[first:])
        if not steps:
            return np.zeros(0, "int64"), {}
        return np.concatenate(steps), {k: np.concatenate(v) for k, v in curves.items()}

    def health_points(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What is measured at some steps only, as `gradient_norm`: steps and values.

        A value that was not measured at a step is NaN there.
        """
        points = list(self._health)
        names = dict.fromkeys(name for _, values in points for name in values)
        return np.array([step for step, _ in points], "int64"), {
            name: np.array([values.get(name, np.nan) for _, values in points])
            for name in names
        }

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """Per-step curves from the beginning."""
        return self.step_points()[1]

    def in_words(self) -> str:
        """What the run is doing, for a sentence."""
        where = "in the background " if self.background else ""
        epoch = min(self.epoch + 1, self.epochs)
        return (
            f"run `{self.name}` of model `{self.model_name}` is {self.status} {where}"
            f"(epoch {epoch} of {self.epochs})"
        )

    # --- Notes, from the loop ---------------------------------------------------------

    def begin(self) -> None:
        """It is this run's turn; the clock starts."""
        self.status = "running"
        self._started = time.monotonic()
        self._thread = threading.current_thread()

    def note_steps(
        self, count: int, samples: int, curves: dict[str, np.ndarray]
    ) -> None:
        """`count` more steps are done; `curves` holds their scalar logs."""
        index = np.arange(self.step, self.step + count)
        self._points.append((index, curves))
        if len(self._points) > 512:
            self._points = _packed(self._points)
        self.step += count
        self.step_in_epoch += count
        self.samples += samples
        if self.allowance is not None:
            self.allowance -= count
        self.logs = {name: float(values[-1]) for name, values in curves.items()}
        now = time.monotonic() - self._paused_for
        self._recent.append((now, self.samples, self.step))
        if len(self._recent) > 50:
            del self._recent[0]

    def note_epoch(
        self, epoch: int, logs: dict[str, float], step: int | None = None
    ) -> None:
        """An epoch is over, with these results; it ended with `step`, or just now."""
        step = self.step if step is None else step
        self.epoch = epoch + 1
        self.step_in_epoch = self.step - step
        self.epoch_index.append(step)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
            self.epochs_of.setdefault(name, []).append(epoch)

    def note_health(self, step: int, values: dict[str, float]) -> None:
        """What was measured at a step: `gradient_norm` and its like."""
        self._health.append((step, values))
        self.gradient_norm = values.get("gradient_norm", self.gradient_norm)

    def note_alarm(self, alarm: Any) -> bool:
        """Something is wrong; whether that is news, and wanted."""
        known = any((a.kind, a.layer) == (alarm.kind, alarm.layer) for a in self.alarms)
        if known or alarm.kind in self.silenced:
            return False
        self.alarms = [*self.alarms, alarm]
        return True

    def note_mark(self, name: str) -> Mark:
        """The state of this step is kept; the oldest mark goes when there are many."""
        kept = [one for one in self.marks if one.name != name]
        if len(kept) >= MARKS:
            unnamed = (m for m in kept if m.name.removeprefix("mark ").isdigit())
            oldest = next(unnamed, kept[0])
            kept.remove(oldest)
        self.marks = [*kept, Mark(name, self.step, self.epoch)]
        self._asked.remove(name)
        return self.marks[-1]

    def cut(self) -> None:
        """The run went back to `step`: what came after it is forgotten."""
        index, curves = self.step_points()
        kept = index < self.step
        self._points = [(index[kept], {k: v[kept] for k, v in curves.items()})]
        self._health = [point for point in self._health if point[0] < self.step]
        self.alarms = [alarm for alarm in self.alarms if alarm.step <= self.step]
        self.marks = [mark for mark in self.marks if mark.step <= self.step]
        self.trouble = None
        self._recent = []
        self.generation += 1
        if self.keeper is not None:
            self.keeper.cut(self)

    def note_pause(self, seconds: float) -> None:
        """The loop has waited."""
        self._paused_for += seconds

    def finish(
        self, status: str, message: str = "", error: BaseException | None = None
    ) -> None:
        """The run is over; everybody is told for the last time."""
        self.exception, self.message = error, message
        self.status = status
        self._finished = time.monotonic()
        try:
            self.tell(final=True)
        finally:
            # A run stays with its model; its data and marks do not.
            self.keeper, self.share, self.catch_up = None, _nothing, _nothing
            self._over.set()

    @property
    def news_due(self) -> bool:
        """Whether listeners are to be told again."""
        late = time.monotonic() - self._last_notice >= 0.1
        return late or self.status != self._told

    def tell(self, final: bool = False) -> None:
        """Tell the listeners, at most ten times a second but for a new status."""
        if not final and not self.news_due:
            return
        self._last_notice, self._told = time.monotonic(), self.status
        for listener in self.listeners:
            listener(self, final=final)


Points = list[tuple[np.ndarray, dict[str, np.ndarray]]]


def _packed(points: Points) -> Points:
    """The same points in fewer pieces; long ones are left alone, which saves copies."""
    points, size = list(points), 0
    last: Points = []
    while points and (len(last) < 256 or len(points[-1][0]) <= size):
        last.insert(0, points.pop())
        size += len(last[0][0])
    names = dict.fromkeys(name for _, values in last for name in values)
    curves = {n: np.concatenate([v[n] for _, v in last if n in v]) for n in names}
    return [*points, (np.concatenate([index for index, _ in last]), curves)]
