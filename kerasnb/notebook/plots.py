"""Lines and dots of several series in one still picture, told apart by dashes too."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerasnb.notebook import charts, svg

WIDTH, HEIGHT = 384, 220
_LEFT, _RIGHT, _ROW = 50, 368, 17
_MOST = 22  # letters of a name in the legend

LOOKS = (
    *(("train", ""), ("valid", "5 4"), ("good", "2 3"), ("hint", "9 3")),
    *(("bad", "7 3 2 3"), ("muted", ""), ("train", "2 3"), ("valid", "")),
)
"""Colour and dashes of the first, second, ... line."""


@dataclass(frozen=True)
class Series:
    """One line, or dots: `mark` is `"line"`, `"thin"`, `"dots"` or `"crosses"`.

    Without a name it is not in the legend.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    look: int = 0
    mark: str = "line"


def plot(
    title: str,
    series: Sequence[Series],
    unit: str,
    note: str = "",
    label: str = "",
    log: bool = False,
    end: float | None = None,
) -> str:
    """Series over one pair of axes, as an SVG picture with a legend.

    With `log` the values, which must be positive, are on a logarithmic axis; with an
    `end` the other axis goes from 0 to there at least.
    """
    named = [one for one in series if one.name]
    columns = 3 if all(len(one.name) < 14 for one in named) else 2
    top = 42 + _ROW * -(-len(named) // columns)
    bottom = top + HEIGHT - 86
    low, high = charts.limits(np.concatenate([one.y for one in series]), (), log)
    xs = np.concatenate([*(one.x for one in series), [] if end is None else [0, end]])
    left, right = (float(xs.min()), float(xs.max())) if len(xs) else (0.0, 1.0)
    if left == right:
        left, right = left - 0.5, right + 0.5

    def across(x: np.ndarray) -> np.ndarray:
        return _LEFT + (np.asarray(x, float) - left) / (right - left) * (_RIGHT - _LEFT)

    def down(y: np.ndarray) -> np.ndarray:
        share = (np.asarray(y, float) - low) / (high - low)
        if log:
            share = np.log(np.asarray(y, float) / low) / np.log(high / low)
        return bottom - share * (bottom - top)

    out = [svg.tag("text", svg.text(title), class_="name", x=14, y=22)]
    if note:
        out.append(svg.tag("text", svg.text(note), class_="muted end", x=_RIGHT, y=22))
    for i, one in enumerate(named):
        x, y = 14 + 364 // columns * (i % columns), 37 + _ROW * (i // columns)
        out += [
            _sample(one, x, y),
            svg.tag("text", svg.text(_short(one.name)), x=x + 28, y=y + 4),
        ]
    rows = charts.log_ticks(low, high) if log else charts.ticks(low, high, wanted=4)
    for mark, at in zip(rows, down(np.array(rows)).tolist(), strict=True):
        out += [
            svg.tag("line", class_="grid", x1=_LEFT, x2=_RIGHT, y1=at, y2=at),
            _words(charts.tick_label(mark), _LEFT - 8, at + 3.5, "end"),
        ]
    out.append(
        svg.tag("line", class_="axis", x1=_LEFT, x2=_RIGHT, y1=bottom, y2=bottom)
    )
    marks = charts.ticks(left, right, wanted=6, least=1)
    for mark, at in zip(marks, across(np.array(marks)).tolist(), strict=True):
        out += [
            svg.tag("line", class_="axis", x1=at, x2=at, y1=bottom, y2=bottom + 4),
            _words(charts.tick_label(mark), at, bottom + 17, "mid"),
        ]
    out.append(_words(unit, _LEFT - 8, bottom + 17, "end"))
    out += [_drawn(one, across(one.x), down(one.y)) for one in series]
    return svg.document(WIDTH, bottom + 24, *out, rules=RULES, label=label or title)


RULES = (
    ".name{font-size:13px;font-weight:600}"
    ".grid{stroke:var(--line)}.axis{stroke:var(--muted);stroke-opacity:.6}"
    ".line,.thin,.crosses{fill:none;stroke-width:1.75;stroke-linejoin:round}"
    ".thin{stroke-width:1;stroke-opacity:.55}.crosses{stroke-width:1.5}"
)


def _words(words: str, x: float, y: float, where: str) -> str:
    return svg.tag("text", svg.text(words), class_=f"muted {where}", x=x, y=y)


def _short(name: str) -> str:
    return name if len(name) <= _MOST else f"{name[: _MOST - 1]}…"


def _style(one: Series) -> dict[str, str | None]:
    colour, dashes = LOOKS[one.look % len(LOOKS)]
    if one.mark == "dots":
        return {"style": f"fill:var(--{colour})"}
    dashes = dashes if one.mark == "line" else ""
    style = f"stroke:var(--{colour})" + (f";stroke-dasharray:{dashes}" * bool(dashes))
    return {"style": style, "class_": one.mark}


def _drawn(one: Series, xs: np.ndarray, ys: np.ndarray) -> str:
    if one.mark in ("line", "thin"):
        if len(xs) == 1:
            return _dots(one, xs, ys)
        return svg.tag("path", d=svg.path(xs, ys), **_style(one))
    if one.mark == "dots":
        return _dots(one, xs, ys)
    pairs = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if y == y]
    d = "".join(f"M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6" for x, y in pairs)
    return svg.tag("path", d=d, **_style(one))


def _dots(one: Series, xs: np.ndarray, ys: np.ndarray) -> str:
    colour, _ = LOOKS[one.look % len(LOOKS)]
    return "".join(
        svg.tag(
            "circle", cx=float(x), cy=float(y), r=2.75, style=f"fill:var(--{colour})"
        )
        for x, y in zip(xs, ys, strict=True)
        if y == y
    )


def _sample(one: Series, x: float, y: float) -> str:
    """What the legend shows for a series, 22 pixels wide."""
    if one.mark in ("line", "thin"):
        return svg.tag("path", d=f"M{x},{y}h22", **_style(one))
    return _drawn(one, np.array([x + 11.0]), np.array([y + 0.0]))
