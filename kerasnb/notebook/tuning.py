"""How a search for settings draws itself, when it is over and while it goes on."""

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasnb.core import errors
from kerasnb.notebook import charts, plots, svg
from kerasnb.notebook.facts import text_table
from kerasnb.notebook.records import Pair, heading, value
from kerasnb.tune import Study, Trial

_SHOWN = 5
_LATER = "Settings: drawn from the second trial on"
_AXES = 6  # settings in the parallel coordinates
_BETWEEN = 1.0  # seconds from one picture to the next


def picture_of_study(study: Study) -> Pair:
    """Best value so far, settings of all trials, a table of the best."""
    rows = study.trials

    def table() -> tuple[list[str], list[list[Any]]]:
        best = ranked(study, rows)[:_SHOWN]
        names = list(dict.fromkeys(name for row in best for name in row.params))
        head = ["trial", study.metric, *names, "epochs"]
        return head, [
            [
                row.number,
                value(row.value),
                *(value(row.params.get(name)) for name in names),
                row.epochs,
            ]
            for row in best
        ]

    def text() -> str:
        head, best = table()
        lines = [f"{study.name}: {headline(study, rows)}"]
        lines += [text_table(head, best)] if best else []
        return "\n".join([*lines, *_failures(study, rows)])

    def still() -> str:
        head, best = table()
        words = "".join(svg.tag("p", svg.text(line)) for line in _failures(study, rows))
        return svg.tag(
            "div",
            heading(study.name, headline(study, rows)),
            svg.tag("div", progress(study, rows), coordinates(study, rows)),
            svg.tag(
                "div",
                svg.table(head, best) if best else "",
                # As high as it will be, so that nothing below moves.
                style="overflow-x:auto"
                + ";min-height:152px" * (study.status == "running"),
            ),
            words,
        )

    return text, still


def headline(study: Study, rows: Sequence[Trial]) -> str:
    """How the search stands, in one line."""
    counts = {
        state: sum(row.state == state for row in rows)
        for state in ("complete", "pruned", "failed")
    }
    done = sum(counts.values())
    parts = [f"{study.status}, {done} of {max(study.wanted, done)} trials"]
    if study.message and study.status != "failed":
        parts[0] += f" ({study.message})"
    parts += [
        f"{n} {state}" for state, n in counts.items() if n and state != "complete"
    ]
    if best := ranked(study, rows):
        number = charts.number(best[0].value)
        parts.append(f"best {study.metric} {number} in trial {best[0].number}")
    return " · ".join(parts)


def ranked(study: Study, rows: Sequence[Trial]) -> list[Trial]:
    """The complete trials, best first."""
    sign = -1 if study.direction == "maximize" else 1
    done = [r for r in rows if r.state == "complete" and r.value is not None]
    return sorted(done, key=lambda row: (sign * (row.value or 0.0), row.number))


def _failures(study: Study, rows: Sequence[Trial]) -> list[str]:
    """What went wrong in the last trials that failed."""
    failed = [row for row in rows if row.state == "failed" and row.error][-3:]
    return [
        f"Trial {row.number} failed with {study.words(row.params)}: {row.error}"
        for row in failed
    ]


def progress(study: Study, rows: Sequence[Trial]) -> str:
    """The value of each trial, pruned ones crossed, and the best so far as a line."""
    done = sorted(ranked(study, rows), key=lambda row: row.number)
    pruned = [r for r in rows if r.state == "pruned" and r.value is not None]

    def series(name: str, found: Sequence[Trial], look: int, mark: str) -> plots.Series:
        x = np.array([row.number for row in found], float)
        y = np.array([row.value for row in found], float)
        return plots.Series(name, x, y, look, mark)

    x, y = np.zeros((2, 0))
    if done:
        best = np.maximum if study.direction == "maximize" else np.minimum
        values = best.accumulate(np.array([row.value for row in done], float))
        x = np.repeat([row.number for row in done], 2)[1:].astype(float)
        x, y = np.append(x, rows[-1].number), np.repeat(values, 2)
    drawn = [
        plots.Series("best so far", x, y, 0),
        series("complete", done, 0, "dots"),
        series("pruned", pruned, 5, "crosses"),
    ]
    label = f"{study.metric} of each trial: {headline(study, rows)}"
    log = _is_wide([row.value for row in (*done, *pruned)])
    note = "logarithmic" if log else ""
    reached = max(1, rows[-1].number if rows else 1)
    end = charts.room_for(reached, max(1, study.wanted - 1))
    if study.status != "running":
        end = reached
    picture = plots.plot(study.metric, drawn, "trial", note, label, log, end)
    return svg.image(picture, label)


def _is_wide(values: Sequence[Any]) -> bool:
    """Whether values are told apart on a logarithmic axis alone."""
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)


# --- Parallel coordinates -------------------------------------------------------------

_WIDTH, _TOP, _BOTTOM, _LEFT, _RIGHT = 384, 46, 177, 40, 344
_RULES = (
    ".name{font-size:13px;font-weight:600}.axis{stroke:var(--edge)}"
    ".rest{fill:none;stroke:var(--muted);stroke-opacity:.45}"
    ".good{fill:none;stroke:var(--train);stroke-opacity:.75;stroke-width:1.25}"
    ".first{fill:none;stroke:var(--valid);stroke-width:2.25}"
)


def coordinates(study: Study, rows: Sequence[Trial]) -> str:
    """Each complete trial as a line through its settings, the best ones in colour."""
    best = ranked(study, rows)
    names = list(dict.fromkeys(name for row in best for name in row.params))[:_AXES]
    if len(best) < 2 or not names:
        # The room is kept: nothing may jump when the second trial is done.
        return svg.image(_sheet(label=_LATER), _LATER)
    axes = [
        _Axis(n, [row.params.get(n) for row in best], _is_log(study, n)) for n in names
    ]
    values = [row.value for row in best]
    axes.append(_Axis(study.metric, values, _is_wide(values)))
    xs = np.linspace(_LEFT, _RIGHT, len(axes))
    ys = np.stack([axis.places() for axis in axes])  # (axes, trials)
    quarter = max(1, len(best) // 4)
    lines = []
    for rank in reversed(range(len(best))):
        kind = "first" if rank == 0 else "good" if rank < quarter else "rest"
        lines.append(svg.tag("path", class_=kind, d=svg.path(xs, ys[:, rank])))
    label = "Settings of the trials; of the best: " + ", ".join(
        f"{name} {value(best[0].params.get(name))}" for name in names
    )
    drawn = (part for x, axis in zip(xs, axes, strict=True) for part in axis.drawn(x))
    note = svg.tag("text", "best orange", class_="muted end", x=368, y=22)
    return svg.image(_sheet(note, *drawn, *lines, label=label), label)


def _sheet(*parts: str, label: str) -> str:
    title = svg.tag("text", "Settings", class_="name", x=14, y=22)
    size = _WIDTH, _BOTTOM + 40
    return svg.document(*size, title, *parts, rules=_RULES, label=label)


class _Axis:
    """One setting: numbers on a line, or choices at equal distances."""

    def __init__(self, name: str, values: Sequence[Any], log: bool) -> None:
        self.name, self.values = name, values
        numeric = [
            v for v in values if isinstance(v, int | float) and not isinstance(v, bool)
        ]
        self.choices: list[Any] | None = None
        if len(numeric) < sum(v is not None for v in values):
            self.choices = sorted({v for v in values if v is not None}, key=str)
            numeric = [0, len(self.choices) - 1]
        self.log = log and min(numeric, default=0) > 0
        self.low, self.high = min(numeric), max(numeric)

    def places(self) -> np.ndarray:
        """Where each trial's value lies; a gap where it has none."""
        return np.array([self._place(value) for value in self.values])

    def _place(self, value: Any) -> float:
        if value is None:
            return math.nan
        at = float(self.choices.index(value) if self.choices else value)
        low, high = float(self.low), float(self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low) if high > low else 0.5
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def drawn(self, x: float) -> list[str]:
        """The axis with its ends, or its choices, and its name below."""
        ends = self.choices or [self.low, self.high]
        shown = dict.fromkeys(ends[:: max(1, len(ends) // 4)])
        line = {"x1": float(x), "x2": float(x), "y1": _TOP, "y2": _BOTTOM}
        out = [svg.tag("line", class_="axis", **line)]
        for end in shown:
            y = self._place(end)
            below = y > _BOTTOM - 4
            at = {"x": float(x), "y": y + 14 if below else y - 5}
            words = _short(end if self.choices else _number(end), 8)
            out.append(svg.tag("text", svg.text(words), class_="muted mid", **at))
        name = {"x": float(x), "y": _BOTTOM + 31}
        out.append(
            svg.tag("text", svg.text(_short(self.name, 13)), class_="mid", **name)
        )
        return out


def _number(given: Any) -> str:
    return str(given) if isinstance(given, int) else f"{given:.3g}"


def _short(given: Any, most: int) -> str:
    words = str(given)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _is_log(study: Study, name: str) -> bool:
    found = study.study.get_trials(deepcopy=False)
    kinds = (trial.distributions.get(name) for trial in found)
    return any(getattr(kind, "log", False) for kind in kinds)


# --- Live -----------------------------------------------------------------------------


class LiveStudy:
    """Shows a study under its cell until it ends, anew at most once a second."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.ended = -math.inf
        self._drawn = time.monotonic()
        notebook = errors.optional(
            "IPython.display", "to draw in a notebook", "notebook"
        )
        self._output = notebook.display(self._bundle(), raw=True, display_id=True)
        study.watchers.append(self)

    def __call__(self, study: Study, final: bool = False) -> None:
        """Draw what is new; trouble in the drawing never ends the search."""
        now = time.monotonic()
        if not final and now - self._drawn < _BETWEEN:
            return
        if final:
            self.ended = now
        try:
            if self._output is not None:
                self._output.update(self._bundle(), raw=True)
        except Exception as error:  # noqa: BLE001 - whatever a picture may run into
            study.watchers = [one for one in study.watchers if one is not self]
            warnings.warn(
                f"The study stopped drawing ({type(error).__name__}: {error}); the "
                "search goes on.",
                stacklevel=2,
            )
        self._drawn = time.monotonic()

    def _bundle(self) -> dict[str, str]:
        text, still = picture_of_study(self.study)
        return {"text/html": still(), "text/plain": text()}


def watch(study: Study) -> LiveStudy:
    """Show `study` under the cell that began it."""
    return LiveStudy(study)


def was_drawn(study: Study, since: float) -> bool:
    """Whether the cell that began at `since` shows the study already."""
    return any(
        isinstance(one, LiveStudy) and (study.status == "running" or one.ended > since)
        for one in study.watchers
    )
