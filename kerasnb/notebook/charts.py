"""Curves of a training run: numbers as words, axes, thinning, still pictures.

The first half has a twin in `draw.js`; both are tested on the same table, so that a
live and a saved picture of the same run agree.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasnb.notebook import svg
from kerasnb.runs.curves import direction as direction
from kerasnb.runs.curves import thin as thin

# --- Numbers as words ---------------------------------------------------------------


def number(value: float | None) -> str:
    """A number in at most four significant digits.

    >>> number(0.98), number(0.0000123456), number(12345.6)
    ('0.9800', '1.235e-5', '12346')
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-4:
        digits, power = f"{value:.3e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{value:.0f}" if size >= 1000 else f"{value:#.4g}".rstrip(".")


def count(value: float | None) -> str:
    """A count in groups of three, a narrow space between.

    >>> count(1234567).split()
    ['1', '234', '567']
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value):,}".replace(",", "\u202f")


def clock(seconds: float | None) -> str:
    """Seconds as a clock.

    >>> clock(42), clock(725), clock(11230)
    ('0:42', '12:05', '3:07:10')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def memory(size: float | None) -> str:
    """A size in bytes with three significant digits.

    >>> memory(512), memory(1210000)
    ('512 B', '1.21 MB')
    """
    if size is None or not math.isfinite(size):
        return "–"
    units = ["B", "kB", "MB", "GB", "TB"]
    power = 0
    while power < len(units) - 1 and size >= 999.5:
        size, power = size / 1000, power + 1
    digits = f"{size:#.3g}".rstrip(".") if power else f"{size:g}"
    return f"{digits} {units[power]}"


# --- Axes ---------------------------------------------------------------------------

_ROUND = ((1, 2**0.5), (2, 10**0.5), (5, 50**0.5))


def ticks(low: float, high: float, wanted: float, least: float = 0) -> list[float]:
    """Round values that divide [low, high] into about `wanted` parts.

    >>> ticks(0, 1, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    # the nearest of 1, 2, 5, 10 as the eye compares: by ratio
    factor = next((f for f, end in _ROUND if rough / power < end), 10)
    step = max(factor * power, least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, with 2 and 5 while there is room.

    >>> log_ticks(0.05, 2)
    [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    """
    decades = math.log10(high / low)
    if decades <= 0.8:
        return ticks(low, high, 4)
    factors = (1,) if decades > 2.5 else (1, 2, 5)
    every = max(1, math.ceil(decades / 5))
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    marks = (float(f"{f}e{p}") for p in powers if p % every == 0 for f in factors)
    return [m for m in marks if low * (1 - 1e-9) <= m <= high * (1 + 1e-9)]


def tick_label(mark: float) -> str:
    """An axis label: as few digits as tell neighbouring ticks apart.

    >>> tick_label(0.25), tick_label(3.0), tick_label(0.00002)
    ('0.25', '3', '2e-5')
    """
    if mark == 0:
        return "0"
    if 1e-3 <= abs(mark) < 1e5:
        return f"{mark:.6g}"
    digits, power = f"{mark:.5e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def room_for(value: float, limit: float) -> float:
    """The end of an axis that has reached `value`: 1, 2, 5, 10, ... at most `limit`.

    >>> room_for(2.3, 8), room_for(5.1, 8)
    (5.0, 8)
    """
    end, i = 1.0, 0
    while end < value:
        end *= 2.5 if i % 3 == 1 else 2
        i += 1
    return min(end, max(limit, value))


def limits(
    marked: Iterable[float], lines: Iterable[float], log: bool = False
) -> tuple[float, float]:
    """The range an axis should show.

    Every marked point, and the lines but for the wildest hundredth of their values: a
    first step or a burst must not flatten the rest.
    """

    def usable(values: Iterable[float]) -> list[float]:
        return [float(v) for v in values if math.isfinite(v) and (v > 0 or not log)]

    seen, ordered = usable(marked), sorted(usable(lines))
    if ordered:
        skipped = len(ordered) // 100
        seen += [ordered[skipped], ordered[-1 - skipped]]
    if not seen:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(seen), max(seen)
    if log:
        room = max((high / low) ** 0.06, 1.02)
        return low / room, high * room
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return max(low - room, 0.0 if low >= 0 else -math.inf), high + room


# --- The record of a run ------------------------------------------------------------


class Rows:
    """A table of float32 rows that only grows, and stays drawable however long it gets.

    Beyond `limit` rows it is thinned in place, spikes kept. A page has a limit of its
    own, so that it need not be told.
    """

    def __init__(self, limit: int = 1 << 17):
        self.limit = limit
        self.names: tuple[str, ...] = ()
        self._held = np.empty((0, 0), np.float32)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> np.ndarray:
        """All rows, `(rows, names)`."""
        return self._held[: self._length]

    def __getitem__(self, name: str) -> np.ndarray:
        """One column; empty when there is none of that name."""
        if name not in self.names:
            return np.empty(0, np.float32)
        return self.values[:, self.names.index(name)]

    def extend(self, columns: Mapping[str, Sequence[float] | np.ndarray]) -> np.ndarray:
        """Append rows given as columns of equal length; new names start with gaps.

        Returns the rows that were added, in the order of `names`.
        """
        names = tuple(columns)
        added = np.stack([np.asarray(columns[n], np.float32) for n in names], 1)
        if not set(names) <= set(self.names):
            self._widen(tuple(dict.fromkeys(self.names + names)))
        rows = np.full((len(added), len(self.names)), np.nan, np.float32)
        rows[:, [self.names.index(n) for n in names]] = added
        end = self._length + len(rows)
        if end > len(self._held):
            room = max(end, 2 * len(self._held), 256)
            grown = np.empty((room, rows.shape[1]), np.float32)
            grown[: self._length] = self.values
            self._held = grown
        self._held[self._length : end] = rows
        self._length = end
        if end > self.limit:
            buckets = self.limit // (4 * len(self.names))
            keep = [thin(column, buckets) for column in self.values.T]
            self._held = self.values[np.unique(np.concatenate(keep))].copy()
            self._length = len(self._held)
        return rows

    def _widen(self, names: tuple[str, ...]) -> None:
        held = np.full((self._length, len(names)), np.nan, np.float32)
        held[:, : len(self.names)] = self.values
        self.names, self._held = names, held


@dataclass(frozen=True)
class Earlier:
    """A run before this one, drawn behind it: by name, its epochs and its values."""

    name: str
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Sign:
    """Something that happened at a step: a `"mark"` or an `"alarm"`."""

    kind: str
    name: str
    step: int


@dataclass
class Curves:
    """What a picture of a run needs to know, in plain numbers."""

    plans: tuple[str, ...] = ("loss",)
    """Names of the metrics to draw, without `val_`."""
    steps: Rows = field(default_factory=Rows)
    """Running values: a column `step`, the number of steps done, and one a metric."""
    epochs: Rows = field(default_factory=lambda: Rows(limit=sys.maxsize))
    """Values by epoch, validation ones as `val_...`; row and epoch go together."""
    health: Rows = field(default_factory=Rows)
    """Like `steps`, of what is measured at some steps only."""
    signs: Sequence[Sign] = ()
    earlier: Sequence[Earlier] = ()
    step: int = 0
    """How many steps are done."""
    steps_per_epoch: float | None = None
    """None while nobody knows: then the x axis counts steps."""
    first_epoch: int = 0
    total_epochs: int = 1
    over: bool = False

    def epoch_at(self, row: Any) -> Any:
        """Where a row of the epochs lies on the x axis, or an array of rows."""
        return self.first_epoch + row + 1

    def step_to_x(self, step: np.ndarray) -> np.ndarray:
        """Where steps lie, in epochs (in steps while epochs are unknown)."""
        per = self.steps_per_epoch
        step = np.asarray(step, np.float64)
        return self.first_epoch + step / per if per else step

    def running(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which `name` was measured, and its values there."""
        rows = self.health if name in self.health.names else self.steps
        return rows["step"], rows[name]

    def restarts(self, step: np.ndarray) -> np.ndarray:
        """Where in `step` a new epoch begins, and running values start afresh."""
        per = self.steps_per_epoch or math.inf
        return np.flatnonzero(np.diff((step - 1) // per)) + 1

    @property
    def span(self) -> tuple[float, float]:
        """First and last x that the axes show."""
        known = bool(self.steps_per_epoch)
        first = self.first_epoch if known else 0
        last_row = self.epoch_at(len(self.epochs) - 1) if len(self.epochs) else first
        reached = max(last_row, float(self.step_to_x(np.array(self.step))))
        if self.over:
            return first, max(reached, first + 1e-6)
        limit = self.total_epochs - self.first_epoch if known else math.inf
        return first, first + room_for(reached - first, limit)

    def judged(self, name: str) -> np.ndarray:
        """The values that decide which epoch is best: validation if there is any."""
        held = self.epochs[f"val_{name}"]
        return held if len(held) else self.epochs[name]

    def best(self, name: str) -> int | None:
        """The row of the best epoch so far, None where nobody knows what is better."""
        values, way = self.judged(name), direction(name)
        if way is None or not np.isfinite(values).any():
            return None
        sign = -1 if way == "max" else 1
        return int(np.argmin(np.where(np.isfinite(values), sign * values, np.inf)))


# --- Still pictures -----------------------------------------------------------------

_RULES = (
    ".name{font-size:13px;font-weight:600}.quiet text{fill:var(--muted)}"
    ".grid{stroke:var(--line)}.axis{stroke:var(--muted);stroke-opacity:.6}"
    ".steps,.train,.valid,.past,.best{fill:none;stroke:var(--train);"
    "stroke-linejoin:round}"
    ".steps{stroke-opacity:.5}.train,.valid{stroke-width:1.75}"
    ".valid{stroke:var(--valid);stroke-dasharray:5 4}"
    ".past{stroke:var(--muted);stroke-opacity:.45}.late{stroke-dasharray:3 3}"
    ".dot{fill:var(--train)}"
    ".ring{fill:var(--back);stroke:var(--valid);stroke-width:1.5}"
    ".best{stroke:var(--text);stroke-width:1.25}"
    ".mark{stroke:var(--muted);fill:var(--muted)}"
    ".alarm{stroke:var(--bad);fill:var(--bad)}"
)
_WIDTH, _HEIGHT = 384, 240
_BUCKETS = 160  # parts of a long line, each drawn by its least and greatest value
_POINTS = 200  # parts of the lines of one run, all its pictures together
_CELLS = 300  # of a table that is folded away
_PICTURES = 6  # at most, of one run
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 368, 58, 196


@dataclass
class _Axes:
    """The ranges of a picture's two axes, and where values lie on it."""

    xs: tuple[float, float]
    ys: tuple[float, float]

    def x(self, values: np.ndarray) -> np.ndarray:
        low, high = self.xs
        return _LEFT + (values - low) / (high - low) * (_RIGHT - _LEFT)

    def y(self, values: np.ndarray) -> np.ndarray:
        low, high = self.ys
        return _BOTTOM - (values - low) / (high - low) * (_BOTTOM - _TOP)


def pictured(curves: Curves) -> tuple[str, ...]:
    """The metrics that a saved notebook shows as pictures; others are in the table."""
    return curves.plans[:_PICTURES]


def curve(curves: Curves, name: str, note: str = "") -> str:
    """One metric's curves as an SVG picture, training and validation together."""
    train, valid = curves.epochs[name], curves.epochs[f"val_{name}"]
    step, running = curves.running(name)
    buckets = max(16, min(_BUCKETS, _POINTS // max(1, len(pictured(curves)))))
    shown = thin(running, buckets)
    marked = [*train, *valid, *running[-1:]]
    known = bool(curves.steps_per_epoch)
    past = [
        (part, *(a[thin(one.lines[part][1], buckets // 4)] for a in one.lines[part]))
        for one in curves.earlier
        for part in (name, f"val_{name}")
        if known and part in one.lines
    ]
    seen = [y[x <= curves.span[1]] for _, x, y in past]
    axes = _Axes(curves.span, limits(marked, np.concatenate([running[shown], *seen])))
    reset = curves.restarts(step[shown] if name in curves.steps.names else step[:0])
    step_x = np.insert(axes.x(curves.step_to_x(step[shown])), reset, np.nan)
    step_y = np.insert(axes.y(running[shown]), reset, np.nan)
    lines = [
        svg.tag(
            "path",
            class_="past late" if part.startswith("val_") else "past",
            d=svg.path(axes.x(x), axes.y(y)),
        )
        for part, x, y in past
    ]
    lines.append(svg.tag("path", class_="steps", d=svg.path(step_x, step_y)))
    dots = [_sign(sign, axes, curves) for sign in curves.signs]
    ends = ("start", "mid", "end")
    for values, line, dot in ((train, "train", "dot"), (valid, "valid", "ring")):
        rows = thin(values, buckets)
        xs, ys = axes.x(curves.epoch_at(rows)), axes.y(values[rows])
        if not len(rows):
            continue
        few = len(values) < (_RIGHT - _LEFT) / 7
        dotted = {f"marker_{end}": f"url(#{dot})" for end in ends} if few else {}
        dots.append(svg.tag("path", class_=line, d=svg.path(xs, ys), **dotted))
    best = curves.best(name)
    if best is not None and len(curves.epochs) > 1:
        at = axes.y(curves.judged(name))[best]
        dots.append(_circle("best", axes.x(np.array(curves.epoch_at(best))), at, 6.5))
    size = {"width": _RIGHT - _LEFT, "height": _BOTTOM - _TOP + 4}
    window = svg.tag("rect", x=_LEFT, y=_TOP - 2, **size)
    return svg.document(
        _WIDTH,
        _HEIGHT,
        svg.tag("clipPath", window, id="in"),
        *(_marker(dot, radius) for dot, radius in (("dot", 2.5), ("ring", 2.75))),
        *_grid(axes, "epoch" if curves.steps_per_epoch else "step"),
        svg.tag("g", *lines, clip_path="url(#in)"),
        *dots,
        *_head(curves, name, note),
        rules=_RULES,
        label=describe(curves, name),
    )


def _circle(kind: str, x: Any, y: Any, radius: float) -> str:
    if not math.isfinite(y):
        return ""
    return svg.tag("circle", class_=kind, cx=float(x), cy=float(y), r=radius)


def _marker(kind: str, radius: float) -> str:
    """The little circle at each epoch, written once for all of them."""
    size = {"markerWidth": 8, "markerHeight": 8, "refX": 4, "refY": 4}
    units = {"markerUnits": "userSpaceOnUse"}
    return svg.tag("marker", _circle(kind, 4, 4, radius), id=kind, **size, **units)


def _sign(sign: Sign, axes: _Axes, curves: Curves) -> str:
    """A hairline where something happened: a flag for a mark, a triangle for alarms."""
    x = float(axes.x(curves.step_to_x(np.array(sign.step))))
    if not _LEFT <= x <= _RIGHT:
        return ""
    head = "v-7h8l-2.5,3.5l2.5,3.5z" if sign.kind == "mark" else "l-4,-7h8z"
    line = svg.tag("path", d=f"M{x:.1f},{_BOTTOM}V{_TOP}", stroke_dasharray="2 3")
    flag = svg.tag("path", d=f"M{x:.1f},{_TOP}{head}", stroke="none")
    return svg.tag("g", line, flag, class_=sign.kind)


def describe(curves: Curves, name: str) -> str:
    """A metric's curves in words, for whoever cannot see them.

    Ends with the best epoch, as `loss: train 0.02, validation 0.03 after 5 epochs;
    best 0.029 at epoch 4`.
    """
    train, valid = curves.epochs[name], curves.epochs[f"val_{name}"]
    if not len(train):
        _, running = curves.running(name)
        return f"{name}: {number(running[-1]) if len(running) else 'no values yet'}"
    parts = [f"{name}: train {number(train[-1])}"]
    if len(valid):
        parts.append(f", validation {number(valid[-1])}")
    parts.append(f" after {len(train)} epoch{'s' if len(train) > 1 else ''}")
    best = curves.best(name)
    if best is not None and len(train) > 1:
        value = number(curves.judged(name)[best])
        parts.append(f"; best {value} at epoch {curves.epoch_at(best)}")
    return "".join(parts)


def _head(curves: Curves, name: str, note: str) -> list[str]:
    """Title, the last values with their line samples, and a quiet note."""
    train, valid = curves.epochs[name], curves.epochs[f"val_{name}"]
    _, running = curves.running(name)
    latest = train[-1] if len(train) else running[-1] if len(running) else None
    out = [svg.tag("text", svg.text(_title(name)), class_="name", x=14, y=22)]
    best = curves.best(name)
    if best is not None:
        value = number(curves.judged(name)[best])
        words = f"best {value}, epoch {curves.epoch_at(best)}"
        out.append(svg.tag("text", words, class_="muted end", x=_RIGHT, y=22))
    series = [("train", "train", "dot", latest)]
    if len(valid):
        series.append(("valid", "validation", "ring", valid[-1]))
    for i, (kind, word, mark, last) in enumerate(series):
        left = 14 + 150 * i
        strong = {"class_": "strong", "style": "fill:var(--text)"}
        shown = svg.tag("tspan", number(last), **strong)
        out += [
            svg.tag("path", class_=kind, d=f"M{left},38h22"),
            _circle(mark, left + 11, 38, 2.6),
            svg.tag("text", f"{word} ", shown, class_="muted", x=left + 28, y=42),
        ]
    past = [one.name for one in curves.earlier if name in one.lines]
    if past:
        names = ", ".join(past)
        words = f"behind: {names}" if len(names) < 28 else "behind: earlier runs"
        at = {"x": 14, "y": _HEIGHT - 7}
        out.append(svg.tag("text", svg.text(words), class_="muted", **at))
    if note:
        corner = {"x": _RIGHT, "y": _HEIGHT - 7}
        out.append(svg.tag("text", svg.text(note), class_="muted end", **corner))
    return out


def _title(name: str) -> str:
    """A metric's name; what is no metric of the user's reads as words."""
    return "gradient norm" if name == "gradient_norm" else name


def _grid(axes: _Axes, unit: str) -> list[str]:
    """Axes: hairlines for values, short marks for epochs."""
    rows = ticks(*axes.ys, wanted=4)
    whole = 0 if axes.xs[1] - axes.xs[0] < 1 else 1
    columns = ticks(*axes.xs, wanted=6, least=whole)
    downs = axes.y(np.array(rows)).tolist()
    acrosses = axes.x(np.array(columns)).tolist()
    out = [
        svg.tag("path", class_=kind, d=d)
        for kind, d in (
            ("grid", "".join(f"M{_LEFT},{at:.1f}H{_RIGHT}" for at in downs)),
            ("axis", f"M{_LEFT},{_BOTTOM}H{_RIGHT}"),
            ("axis", "".join(f"M{at:.1f},{_BOTTOM}v4" for at in acrosses)),
        )
    ]
    sides = [
        (tick_label(mark), _LEFT - 8, at + 3.5)
        for mark, at in zip(rows, downs, strict=True)
    ]
    sides.append((unit, _LEFT - 8, _BOTTOM + 17))
    below = [
        (tick_label(mark), at, _BOTTOM + 17)
        for mark, at in zip(columns, acrosses, strict=True)
    ]
    for where, words in (("end", sides), ("mid", below)):
        texts = (svg.tag("text", text, x=x, y=y) for text, x, y in words)
        out.append(svg.tag("g", *texts, class_=f"quiet {where}"))
    return out


def epoch_table(curves: Curves, most: int = 12) -> str:
    """Values by epoch as an HTML table; of a long run some epochs, folded away.

    A saved notebook keeps it, so it stays small however long the run.
    """
    names, done = curves.epochs.names, len(curves.epochs)
    if not done:
        return ""
    if done <= most:
        return _table(curves, range(done))
    count = min(done, max(most, _CELLS // len(names)))
    places = np.unique(np.linspace(0, done - 1, count).round().astype(int)).tolist()
    words = f"All {done} epochs" if count == done else f"{count} of {done} epochs"
    last = [0, *range(done - 5, done)]
    whole = svg.tag("details", svg.tag("summary", words), _table(curves, places))
    return _table(curves, last) + whole


def _table(curves: Curves, rows: Iterable[int]) -> str:
    """Some rows of the epochs, in as few letters as a table takes."""
    head = ["epoch", *curves.epochs.names]
    top = "".join(svg.tag("th", svg.text(name), scope="col") for name in head)
    body = (
        svg.tag("th", str(curves.epoch_at(row)))
        + "".join(f"<td>{number(float(v))}</td>" for v in curves.epochs.values[row])
        for row in rows
    )
    return svg.tag(
        "table",
        svg.tag("thead", svg.tag("tr", top)),
        svg.tag("tbody", *(svg.tag("tr", row) for row in body)),
        style="text-align:right;border-spacing:12px 2px;"
        "font-variant-numeric:tabular-nums",
    )
