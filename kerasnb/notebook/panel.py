"""The live training panel: a run of `fit`, drawn while it happens, with its buttons.

Rows travel to the page once each, as float32, at most ten times a second, and of a fast
training only as many as a picture shows; the whole record stays here and is sent again
when a page asks for it. What the notebook holds is the still twin, refreshed now and
then: it is what a saved notebook shows.
"""

import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from kerasnb import runs
from kerasnb.core import errors, frontend
from kerasnb.notebook import charts, svg, widget
from kerasnb.notebook.mailbox import Mailbox, Message, pump
from kerasnb.training.run import OVER

_BETWEEN_MESSAGES = 0.09  # seconds; a shade under the ten a second that are allowed
_BETWEEN_STILLS = {"widget": 10.0, "html": 1.0}
_MOST_VALUES = 800  # in a message; steps beyond are thinned, spikes kept
_MOST_WHOLE = 400_000  # values in a message that brings everything
_MOST_CHARTS = 12
_GHOSTS, _GHOST_POINTS = 3, 100
# In a place that is opened by hand, and in no still picture: it is measured when there
# is time for it, so that two runs of a notebook would differ.
_ASIDE = ("gradient_norm",)


def _rate(value: Any) -> float:
    """A learning rate that a page sent."""
    rate = float(value)
    if not 0 < rate < math.inf:
        raise ValueError(f"{rate} is no learning rate")
    return rate


_ORDERS: dict[str, tuple[str, Callable[[Any], Any] | None]] = {
    # what a control sends: what it asks of the run, and how to read its value
    "pause": ("pause", None),
    "resume": ("resume", None),
    "step": ("advance", None),
    "finish": ("stop_after_epoch", None),
    "stop": ("stop", None),
    "mark": ("mark", None),
    "roll_back": ("roll_back", str),
    "rate": ("set_learning_rate", _rate),
    "silence": ("silence", str),
}
_ALWAYS = {"elapsed", "samples_per_second", "seconds_left"}  # news only while it runs


class Run(Protocol):
    """What the panel reads of a run; what it asks of it is in `_ORDERS`."""

    name: str
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
    gradient_norm: float | None
    memory: float | None  # bytes in use on the device
    status: str
    message: str
    marks: Sequence[Any]  # each with a name, a step and an epoch
    alarms: Sequence[Any]  # each with a kind, a sentence, a hint, a step and a layer
    silenced: set[str]
    stops_after_epoch: bool
    stays: str  # why it cannot go back, where it cannot
    generation: int  # counts up when the run goes back: curves are to be read again
    listeners: list[Any]

    def step_points(self, since: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Numbers of the steps from `since` on, and the values after each."""

    def health_points(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The same of what is measured at some steps only, from the beginning."""


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
        self.curves.earlier = _earlier(run)
        self.view: TrainingPanel | None = None
        self._lock = threading.RLock()
        self._output: Any = None
        self._taken = self._health_taken = 0  # steps read from the run
        self._read: dict[str, int] = {}  # epochs read, by name
        self._generation = run.generation
        self._part = 0  # number of the last message
        self._whole = True  # whether the next one brings everything
        self._fresh: dict[str, list[np.ndarray]] = {}  # rows that no message has had
        self._names: list[tuple[str, ...]] = []
        self._told: dict[str, Any] = {}  # facts that the page has
        self._refused = ""  # why the last request was none
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
        self._refused = ""
        if op in _ORDERS:
            method, read = _ORDERS[op]
            try:
                values = [] if read is None else [read(message.get("value"))]
                getattr(self.run, method)(*values)
            except (TypeError, ValueError) as error:
                self._refused = str(error)  # the page says so
        elif op == "sync":
            with self._lock:
                self._whole = True
                self._send()

    # --- the still twin -------------------------------------------------------------

    def text(self) -> str:
        """The run in words: status and last values, nothing that varies by machine."""
        run, epochs = self.run, self.curves.epochs
        lines = [f"{run.name}: {self._headline()}"]
        if len(epochs):
            values = zip(epochs.names, epochs.values[-1], strict=True)
            shown = (f"{name} {charts.number(float(v))}" for name, v in values)
            lines.append("  ".join(shown))
        if run.marks:
            marks = (f"{mark.name} (step {mark.step})" for mark in run.marks)
            lines.append(f"marks: {', '.join(marks)}")
        # At which step it was seen depends on the machine, so the words leave it out.
        alarms = (f"alarm: {one.sentence} {one.hint}" for one in self._alarms())
        return "\n".join([*lines, *(alarm.strip() for alarm in alarms)])

    def still(self) -> str:
        """The run as pictures and a table, without scripts."""
        run, curves = self.run, self.curves
        head = svg.tag("strong", svg.text(run.name)) + svg.text(
            f" · {self._headline()}"
        )
        drawn = (
            svg.image(
                charts.curve(curves, name, note="" if i else self._note()),
                charts.describe(curves, name),
            )
            for i, name in enumerate(charts.pictured(curves))
        )
        warned = [svg.tag("li", svg.text(words)) for words in self._warnings()]
        return svg.tag(
            "div",
            svg.tag("p", head, style="margin:4px 0 8px"),
            svg.tag("div", *drawn),
            svg.tag("ul", *warned) if warned else "",
            charts.epoch_table(curves),
        )

    def _alarms(self) -> list[Any]:
        """Those that nobody has silenced, oldest first."""
        run = self.run
        return [alarm for alarm in run.alarms if alarm.kind not in run.silenced]

    def _warnings(self) -> list[str]:
        """Each alarm in words: when, what was seen, what to try."""
        return [
            f"step {one.step}: {one.sentence} {one.hint}".strip()
            for one in self._alarms()
        ]

    def _headline(self) -> str:
        """Status, how far, and why, in one line."""
        run, done = self.run, len(self.curves.epochs)
        if run.status == "queued":
            return "queued"
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
        if run.generation != self._generation:  # it went back: read all again
            self._generation, self._whole = run.generation, True
            self._taken, self._health_taken, self._read = 0, 0, {}
            new = charts.Curves()
            curves.steps, curves.epochs, curves.health = (
                *(new.steps, new.epochs),
                new.health,
            )
        curves.step, curves.total_epochs = int(run.step), int(run.epochs)
        curves.steps_per_epoch = run.steps_per_epoch
        if not run.steps_per_epoch and run.epoch_index:
            curves.steps_per_epoch = run.epoch_index[-1] / len(run.epoch_index)
        curves.over = run.status in OVER
        curves.signs = [charts.Sign("mark", one.name, one.step) for one in run.marks]
        curves.signs += [
            charts.Sign("alarm", one.sentence, one.step) for one in self._alarms()
        ]
        index, values = run.step_points(self._taken)
        if len(index):
            self._taken = int(index[-1]) + 1
            self._add("steps", _lighter({"step": index + 1, **values}, _MOST_VALUES))
        self._gather_health()
        history = dict(run.history)
        known = [*run.metrics_names, *history, *values]
        plans = dict.fromkeys(["loss", *(n.removeprefix("val_") for n in known)])
        pairs = (name for plan in plans for name in (plan, f"val_{plan}"))
        self._gather_epochs({n: history[n] for n in pairs if n in history})
        curves.plans = tuple(plans)[:_MOST_CHARTS]

    def _gather_health(self) -> None:
        index, values = self.run.health_points()
        norms = values.get("gradient_norm")
        new = index[self._health_taken :]
        if norms is None or not len(new):
            return
        columns = {"step": new + 1, "gradient_norm": norms[self._health_taken :]}
        self._health_taken = len(index)
        self._add("health", _lighter(columns, _MOST_VALUES))

    def _add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Append rows to a table, and remember them for the next message."""
        rows = getattr(self.curves, table).extend(columns)
        if self.view is not None:
            self._fresh.setdefault(table, []).append(rows)

    def _gather_epochs(self, history: dict[str, list[float]]) -> None:
        """New rows of the history; a value missing from an epoch becomes a gap."""
        new = {n: list(v[self._read.get(n, 0) :]) for n, v in history.items()}
        rows = max(map(len, new.values()), default=0)
        if not rows:
            return
        for name, values in new.items():
            self._read[name] = self._read.get(name, 0) + len(values)
            new[name] = [math.nan] * (rows - len(values)) + values
        self._add("epochs", new)

    def _send(self) -> None:
        """Send the rows that the page lacks, and the facts that have changed."""
        if self.view is None:
            return
        tables = {name: getattr(self.curves, name) for name in _TABLES}
        names = [rows.names for rows in tables.values()]
        whole = self._whole or names != self._names
        if whole:
            self._told = {}
            buffers = [_whole(rows) for rows in tables.values()]
        else:
            buffers = [
                np.concatenate(self._fresh[name]).tobytes()
                if name in self._fresh
                else b""
                for name in tables
            ]
        facts = self._facts()
        news = {
            k: v for k, v in facts.items() if k not in self._told or v != self._told[k]
        }
        if not (whole or self._fresh or news.keys() - _ALWAYS):
            return
        self._part, self._whole, self._names = self._part + 1, False, names
        self._fresh, self._told = {}, facts
        message = {"op": "append", "part": self._part, "whole": whole, "facts": news}
        if whole:
            message["names"] = dict(zip(tables, map(list, names), strict=True))
        self.view.send(message, buffers=buffers)

    def _facts(self) -> dict[str, Any]:
        run, curves = self.run, self.curves
        begun = run.step_in_epoch > 0 or not curves.over
        measured = {
            name: getattr(run, name)
            for name in (
                *("samples_per_second", "seconds_left", "elapsed"),
                *("learning_rate", "gradient_norm", "memory"),
            )
        }
        measured["steps_per_epoch"] = curves.steps_per_epoch
        return {
            "name": run.name,
            "status": run.status,
            "message": self._reason(),
            "refused": self._refused,
            "stays": run.stays,
            "ending": run.stops_after_epoch,
            "epoch": min(int(run.epoch) + begun, int(run.epochs)),
            "epochs": int(run.epochs),
            "first_epoch": curves.first_epoch,
            "generation": self._generation,
            "step": int(run.step),
            "step_in_epoch": int(run.step_in_epoch),
            "charts": [
                {
                    "name": name,
                    "better": charts.direction(name),
                    "aside": name in _ASIDE,
                }
                for name in (*curves.plans, *_ASIDE)
            ],
            "marks": [
                {"name": one.name, "step": int(one.step), "epoch": int(one.epoch)}
                for one in run.marks
            ],
            "alarms": [
                {name: getattr(one, name) for name in _ALARM} | {"step": int(one.step)}
                for one in self._alarms()
            ],
            "earlier": self._ghosts(),
            **{name: _finite(value) for name, value in measured.items()},
        }

    def _ghosts(self) -> list[dict[str, Any]]:
        """Earlier runs as JSON; only a whole message has them."""
        if self._told:
            return self._told["earlier"]
        return [
            {
                "name": one.name,
                "lines": {
                    name: [x.tolist(), [_finite(v) for v in y]]
                    for name, (x, y) in one.lines.items()
                },
            }
            for one in self.curves.earlier
        ]


_TABLES = ("steps", "epochs", "health")
_ALARM = ("kind", "sentence", "hint", "layer")


def watch(run: Run) -> LivePanel:
    """Show `run` under the cell that started it."""
    return LivePanel(run)


def _earlier(run: Run) -> list[charts.Earlier]:
    """The last runs of the same model in this process, by epoch."""
    found = []
    for record in list(runs.session):
        if not record.over or record.model.get("name") != run.model_name:
            continue
        lines = {}
        for name, values in record.history.items():
            numbers = [v if isinstance(v, int | float) else math.nan for v in values]
            y = np.asarray(numbers, float)
            x = np.asarray(record.places.get(name, ()), float) + 1
            if len(x) == len(y) > 1:
                kept = charts.thin(y, _GHOST_POINTS // 2)
                lines[name] = (x[kept], y[kept])
        if lines:
            found.append(charts.Earlier(record.name, lines))
    return found[-_GHOSTS:]


def _lighter(columns: dict[str, np.ndarray], values: int) -> dict[str, np.ndarray]:
    """Rows of one message, spikes kept when there are too many `values` to draw."""
    most = values // len(columns)
    if len(columns["step"]) <= most:
        return columns
    buckets = max(1, most // (2 * len(columns)))
    places = [charts.thin(column, buckets) for column in columns.values()]
    kept = np.unique(np.concatenate(places))
    return {name: column[kept] for name, column in columns.items()}


def _whole(rows: charts.Rows) -> bytes:
    """All rows, or as many as a page may be given at once."""
    values = rows.values
    if values.size > _MOST_WHOLE and "step" in rows.names:
        columns = dict(zip(rows.names, values.T, strict=True))
        values = np.stack(list(_lighter(columns, _MOST_WHOLE).values()), 1)
    return np.ascontiguousarray(values).tobytes()


def _finite(value: Any) -> float | None:
    """A number that JSON can carry, in as many digits as anybody reads, or None."""
    if value is None:
        return None
    value = float(f"{float(value):.7g}")
    return value if math.isfinite(value) else None
