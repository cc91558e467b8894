"""The live training panel: a run of `fit`, drawn while it happens, with its buttons.

Rows travel to the page once each, as float32, at most ten times a second; the whole
record stays here and is sent again when a page asks for it. What the notebook holds is
the still twin, refreshed now and then: it is what a saved notebook shows.
"""

import math
import threading
import time
import warnings
from typing import Any, Protocol

import jax
import numpy as np

from kerasnb.core import errors, frontend
from kerasnb.notebook import charts, svg, widget
from kerasnb.notebook.mailbox import Mailbox, Message, pump

OVER = ("finished", "stopped", "interrupted", "failed")

_BETWEEN_MESSAGES = 0.09  # seconds; a shade under the ten a second that are allowed
_BETWEEN_STILLS = {"widget": 10.0, "html": 1.0}
_MOST_ROWS = 1000  # a message's steps beyond this are thinned, spikes kept
_MOST_CHARTS = 12


_ORDERS = {  # what a button sends, and what it asks of the run
    "pause": "pause",
    "resume": "resume",
    "finish": "stop_after_epoch",
    "stop": "stop",
}


class Run(Protocol):
    """What the panel reads of a run; it also asks it to pause, resume and stop."""

    model_name: str
    metrics_names: list[str]
    history: dict[str, list[float]]
    epoch: int  # how many are over
    epoch_index: list[int]  # the steps that were done when each ended
    epochs: int
    step: int  # how many are done
    step_in_epoch: int
    steps_per_epoch: int | None
    samples_per_second: float | None
    seconds_left: float | None
    elapsed: float
    learning_rate: float | None
    status: str
    message: str
    listeners: list[Any]

    def step_points(self, since: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Numbers of the steps from `since` on, and the values after each."""


class TrainingPanel(widget.Widget, source=__file__, styles=("panel",)):
    """The live half: a view that draws what it is sent and sends what is pressed."""

    def __init__(self, owner: "LivePanel"):
        super().__init__()
        self._owner = owner

    def still(self) -> str:
        """The run as pictures and a table, without scripts."""
        return self._owner.still()

    def text(self) -> str:
        """The run in words."""
        return self._owner.text() if hasattr(self, "_owner") else super().text()


class LivePanel:
    """Shows `run` in the current cell until it ends.

    `mode` is `"widget"`, `"html"` (a still picture, replaced every second), `"text"` or
    `"none"` (nothing); by default what `kerasnb.config.display()` says. Trouble in the
    drawing ends the drawing with a warning, never the training.
    """

    def __init__(self, run: Run, mode: str | None = None):
        self.run = run
        self.mode = mode or frontend.display_mode()
        if self.mode == "widget" and not widget.available():
            self.mode = "html"
        self.curves = charts.Curves(first_epoch=run.epoch - len(run.epoch_index))
        self.view: TrainingPanel | None = None
        self._lock = threading.RLock()
        self._output: Any = None
        self._taken = 0  # steps read from the run
        self._read: dict[str, int] = {}  # epochs read, by name
        self._sent = (0, 0)  # rows of steps and epochs that the page has
        self._generation = -1
        self._status = ""
        self._messaged = self._stilled = -math.inf
        if self.mode not in ("widget", "html"):
            return
        self._gather()
        if self.mode == "widget":
            self.view = TrainingPanel(self)
            self.mailbox = Mailbox(self.view, self.obey)
        self._show()
        run.listeners.append(self)

    # --- called while training ------------------------------------------------------

    def __call__(self, run: Run | None = None, final: bool = False) -> None:
        """Take in what is new and show it; the run calls this as it goes."""
        try:
            self.pump()
            with self._lock:
                self._update(final)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self.run.listeners = [one for one in self.run.listeners if one is not self]
            warnings.warn(
                "The training panel stopped drawing "
                f"({type(error).__name__}: {error}); training goes on.",
                stacklevel=2,
            )

    def pump(self) -> None:
        """Hear the buttons on kernels where only the main thread can (ipykernel 6)."""
        if self.view is not None:
            pump()

    def obey(self, message: Message) -> None:
        """Pass a pressed button on to the run; send all to a page that asks."""
        op = message["op"]
        if op in _ORDERS:
            getattr(self.run, _ORDERS[op])()
        elif op == "sync":
            with self._lock:
                self._generation = -1
                if self.curves.over:
                    self._send()

    # --- the still twin -------------------------------------------------------------

    def text(self) -> str:
        """The run in words: status and last values, nothing that varies by machine."""
        run, curves = self.run, self.curves
        done = len(curves.epochs)
        words = f"{run.model_name}: {self._headline()}"
        if not done:
            return words
        values = zip(curves.epochs.names, curves.epochs.values[-1], strict=True)
        shown = "  ".join(f"{name} {charts.number(float(v))}" for name, v in values)
        return f"{words}\n{shown}"

    def still(self) -> str:
        """The run as pictures and a table, without scripts."""
        run, curves = self.run, self.curves
        head = svg.tag("strong", svg.text(run.model_name)) + svg.text(
            f" · {self._headline()}"
        )
        drawn = (
            svg.image(
                charts.curve(curves, name, note="" if i else self._note()),
                charts.describe(curves, name),
            )
            for i, name in enumerate(curves.plans)
        )
        return svg.tag(
            "div",
            svg.tag("p", head, style="margin:4px 0 8px"),
            svg.tag("div", *drawn),
            charts.epoch_table(curves),
        )

    def _headline(self) -> str:
        """Status, how far, and why, in one line."""
        run, done = self.run, len(self.curves.epochs)
        if run.status == "running":
            return f"training, {done} of {run.epochs} epochs"
        if run.message:
            told = run.message.startswith(run.status)
            return run.message if told else f"{run.status}: {run.message}"
        return f"{run.status} after {done} epoch{'' if done == 1 else 's'}"

    def _reason(self) -> str:
        """The run's message without the status that it may begin with."""
        return self.run.message.removeprefix(self.run.status).strip()

    def _note(self) -> str:
        """Time and speed; inside a picture, because they differ from run to run."""
        run = self.run
        parts = [charts.clock(run.elapsed)]
        if run.samples_per_second:
            parts.append(f"{charts.count(run.samples_per_second)} samples per second")
        return ", ".join(parts)

    # --- inside ---------------------------------------------------------------------

    def _show(self) -> None:
        notebook = errors.optional(
            "IPython.display", "to draw in a notebook", "notebook"
        )
        self._output = notebook.display(self._bundle(), raw=True, display_id=True)
        self._stilled = time.monotonic()

    def _bundle(self) -> dict[str, str]:
        if self.view is not None:
            return self.view.bundle()
        return {"text/html": self.still(), "text/plain": self.text()}

    def _update(self, final: bool) -> None:
        now = time.monotonic()
        changed = final or self.run.status != self._status
        if not changed and now - self._messaged < _BETWEEN_MESSAGES:
            return
        self._messaged, self._status = now, self.run.status
        self._gather()
        if final:
            self.curves.over = True
        self._send()
        if changed or now - self._stilled >= _BETWEEN_STILLS[self.mode]:
            self._stilled = now
            if self._output is not None:  # None outside of IPython, which only prints
                self._output.update(self._bundle(), raw=True)

    def _gather(self) -> None:
        """Copy what the run has learnt since the last time."""
        run, curves = self.run, self.curves
        curves.step, curves.total_epochs = int(run.step), int(run.epochs)
        curves.steps_per_epoch = run.steps_per_epoch
        if not run.steps_per_epoch and run.epoch_index:
            curves.steps_per_epoch = run.epoch_index[-1] / len(run.epoch_index)
        curves.over = run.status in OVER
        index, values = run.step_points(self._taken)
        if len(index):
            self._taken = int(index[-1]) + 1
            curves.steps.extend(_lighter({"step": index + 1, **values}))
        history = dict(run.history)
        known = [*run.metrics_names, *history, *values]
        plans = dict.fromkeys(["loss", *(n.removeprefix("val_") for n in known)])
        curves.plans = tuple(plans)[:_MOST_CHARTS]
        pairs = (name for plan in plans for name in (plan, f"val_{plan}"))
        self._gather_epochs({n: history[n] for n in pairs if n in history})

    def _gather_epochs(self, history: dict[str, list[float]]) -> None:
        """New rows of the history; a value missing from an epoch becomes a gap."""
        new = {n: list(v[self._read.get(n, 0) :]) for n, v in history.items()}
        rows = max(map(len, new.values()), default=0)
        if not rows:
            return
        for name, values in new.items():
            self._read[name] = self._read.get(name, 0) + len(values)
            new[name] = [math.nan] * (rows - len(values)) + values
        self.curves.epochs.extend(new)

    def _send(self) -> None:
        """Send the rows that the page lacks, and the facts of the moment."""
        if self.view is None:
            return
        steps, epochs = self.curves.steps, self.curves.epochs
        generation = steps.generation + epochs.generation
        if generation != self._generation:
            self._sent = (0, 0)
        self._generation = generation
        tables, buffers = {}, []
        for name, rows, at in zip(
            ("steps", "epochs"), (steps, epochs), self._sent, strict=True
        ):
            tables[name] = {"at": at, "names": list(rows.names)}
            buffers.append(np.ascontiguousarray(rows.values[at:]).tobytes())
        self._sent = (len(steps), len(epochs))
        self.view.send(
            {
                "op": "append",
                "generation": generation,
                "facts": self._facts(),
                **tables,
            },
            buffers=buffers,
        )

    def _facts(self) -> dict[str, Any]:
        run, curves = self.run, self.curves
        begun = run.step_in_epoch > 0 or not curves.over
        measured = {
            name: getattr(run, name)
            for name in ("samples_per_second", "seconds_left", "learning_rate")
        }
        measured |= {
            "elapsed": run.elapsed,
            "steps_per_epoch": curves.steps_per_epoch,
            "device_memory": device_memory(),
        }
        return {
            "model": run.model_name,
            "status": run.status,
            "message": self._reason(),
            "epoch": min(int(run.epoch) + begun, int(run.epochs)),
            "epochs": int(run.epochs),
            "first_epoch": curves.first_epoch,
            "step": int(run.step),
            "step_in_epoch": int(run.step_in_epoch),
            "charts": [
                {"name": name, "better": charts.better(name)} for name in curves.plans
            ],
            **{name: _finite(value) for name, value in measured.items()},
        }


def watch(run: Run) -> LivePanel:
    """Show `run` under the cell that started it."""
    return LivePanel(run)


def device_memory() -> float | None:
    """Bytes in use on the first device, None where it does not say (the CPU)."""
    held = jax.local_devices()[0].memory_stats()
    return held and held.get("bytes_in_use")


def _lighter(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of one message, spikes kept when there are too many to draw."""
    if len(columns["step"]) <= _MOST_ROWS:
        return columns
    buckets = _MOST_ROWS // (4 * len(columns))
    places = [charts.thin(column, buckets) for column in columns.values()]
    kept = np.unique(np.concatenate(places))
    return {name: column[kept] for name, column in columns.items()}


def _finite(value: Any) -> float | None:
    """A number that JSON can carry, or None."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None
