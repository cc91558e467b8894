"""How objects draw themselves as the last line of a cell: text, and HTML beside it."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasnb import callbacks, models
from kerasnb.cluster import Cluster
from kerasnb.core import frontend
from kerasnb.core.naming import to_snake_case
from kerasnb.core.variable import Variable
from kerasnb.export import Export
from kerasnb.layers.layer import Layer
from kerasnb.models.code import arguments_of
from kerasnb.notebook import (
    card,
    cells,
    charts,
    engines,
    kruns,
    panel,
    rasters,
    records,
    svg,
    tuning,
    widget,
)
from kerasnb.notebook.facts import Facts as Facts
from kerasnb.notebook.facts import text_table
from kerasnb.runs import Comparison, Record, Runs
from kerasnb.tune import Study


def mimebundle(obj: Any) -> Any:
    """What a front end needs to show a model, layer, variable or history.

    In a notebook text, HTML and, for a model, a live view; elsewhere text alone. A
    picture that fails is left out with a warning: showing an object breaks no cell.
    """
    mode = frontend.display_mode()
    if mode == "none" or _was_drawn(obj):
        return {"text/plain": repr(obj)}
    try:
        picture = next(make for kind, make in HANDLERS if isinstance(obj, kind))(obj)
        if mode == "text":
            return {"text/plain": picture.text()}
        if mode == "widget" and picture.live is not None and widget.available():
            return picture.live().bundle()
        return {"text/html": picture.still(), "text/plain": picture.text()}
    except Exception as error:  # noqa: BLE001 - whatever a picture may run into
        warnings.warn(
            f"The picture of {type(obj).__name__} failed ({type(error).__name__}: "
            f"{error}); here is its name.",
            stacklevel=2,
        )
        return {"text/plain": repr(obj)}


def _was_drawn(obj: Any) -> bool:
    """Whether the cell shows this already: a `fit` or a search as its last line."""
    if isinstance(obj, Study):
        return tuning.was_drawn(obj, cells.began())
    run = getattr(getattr(obj, "model", None), "run", None)
    if not isinstance(obj, callbacks.History) or run is None:
        return False
    live = any(isinstance(one, panel.LivePanel) for one in run.listeners)
    return live and (run._finished or 0) > cells.began()


class Picture:
    """The forms in which an object can be shown; `live` is for those with a widget."""

    def __init__(
        self,
        text: Callable[[], str],
        still: Callable[[], str],
        live: Callable[[], Any] | None = None,
    ):
        self.text, self.still, self.live = text, still, live


def _facts(title: str, facts: Any) -> Picture:
    shown = Facts(title, facts)
    return Picture(shown.text, shown.still)


def _heading(name: str, words: str) -> str:
    strong = svg.tag("strong", svg.text(name))
    return svg.tag("p", strong, svg.text(f" · {words}"), style="margin:4px 0")


# --- Models ------------------------------------------------------------------------


def _model(model: Any) -> Picture:
    graph = card.describe(model)
    return Picture(
        lambda: card.summary_text(graph),
        lambda: card.still(graph),
        lambda: card.ModelCard(graph),
    )


# --- Layers ------------------------------------------------------------------------

_WEIGHTS = ("weight", "shape", "dtype", "numbers", "trained")


def _layer(layer: Layer) -> Picture:
    kind = type(layer).__name__
    state = f"{sum(v.size for v in layer.weights):,} parameters"
    if not layer.weights:
        state = "no weights" if layer.built else "not built yet"
    settings = _settings(layer)
    rows = [
        (
            re.sub(rf"^.*?{re.escape(layer.name)}/", "", v.path),
            "x".join(map(str, v.shape)) or "1",
            v.dtype,
            f"{v.size:,}",
            "yes" if v.trainable else "no",
        )
        for v in layer.weights
    ]

    def text() -> str:
        parts = [f"{kind} `{layer.name}`, {state}"]
        parts += [f"  {name} = {value}" for name, value in settings.items()]
        return "\n".join([*parts, *([text_table(_WEIGHTS, rows)] if rows else [])])

    def still() -> str:
        table = svg.table(["setting", "value"], settings.items(), align="ll")
        return svg.tag(
            "div",
            _heading(layer.name, f"{kind} · {state}"),
            table if settings else "",
            svg.table(_WEIGHTS, rows, align="lll") if rows else "",
        )

    return Picture(text, still)


def _settings(layer: Layer) -> dict[str, str]:
    """The arguments that a layer was given beside the defaults."""
    skipped = "name" if _auto_named(layer) else ""
    given = arguments_of(layer)
    return {name: text for name, text in given.items() if name != skipped}


def _auto_named(layer: Layer) -> bool:
    name = to_snake_case(type(layer).__name__)
    return re.fullmatch(rf"{name}(_\d+)?", layer.name) is not None


# --- Variables ---------------------------------------------------------------------


def _variable(variable: Variable) -> Picture:
    array = np.asarray(variable.value)
    words = f"shape {array.shape}, {variable.dtype}"
    if not variable.trainable:
        words += ", not trained"
    facts = statistics(array)
    shown = np.array2string(array, precision=4, threshold=24, edgeitems=3)

    def text() -> str:
        line = "  ".join(f"{name} {value}" for name, value in facts.items())
        return "\n".join(filter(None, [f"{variable.path}: {words}", line, shown]))

    def still() -> str:
        rows = [list(facts.values())]
        table = svg.table(list(facts), rows, align="r") if facts else ""
        picture = ""
        if array.size > 24 and array.dtype.kind in "fiu":
            label = f"Histogram of {variable.path}"
            picture = svg.image(rasters.histogram(array, label, 336, 96), label)
        values = svg.tag("pre", svg.text(shown))
        whole = svg.tag("details", svg.tag("summary", "Values"), values)
        body = values if array.size <= 24 else picture + table + whole
        return svg.tag("div", _heading(variable.path, words), body)

    return Picture(text, still)


def statistics(array: np.ndarray) -> dict[str, str]:
    """The spread of many numbers, in words; empty for a few."""
    if array.size < 2:
        return {}
    values = array.astype("float64")
    finite = values[np.isfinite(values)]
    bad = array.size - finite.size
    facts = {}
    if finite.size:
        facts = {
            "mean": charts.number(float(finite.mean())),
            "deviation": charts.number(float(finite.std())),
            "least": charts.number(float(finite.min())),
            "greatest": charts.number(float(finite.max())),
            "zeros": percent(float((finite == 0).mean())),
        }
    return facts | ({"not finite": f"{bad:,}"} if bad else {})


def percent(share: float) -> str:
    """A share in whole percents, a small one never as nothing.

    >>> percent(0.984), percent(0.001), percent(0.0)
    ('98%', '<1%', '0%')
    """
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 < share < 1:
        return ">99%"
    return f"{share:.0%}"


# --- Histories ---------------------------------------------------------------------


def _history(history: Any) -> Picture:
    curves = charts.Curves(over=True)
    values = {k: list(map(float, v)) for k, v in history.history.items() if len(v)}
    if values:
        length = max(map(len, values.values()))
        padded = {k: [float("nan")] * (length - len(v)) + v for k, v in values.items()}
        curves.epochs.extend(padded)
        curves.first_epoch = history.epoch[0] if history.epoch else 0
        curves.step = length
        curves.steps_per_epoch = 1
        names = ["loss"] * ("loss" in values) + [n.removeprefix("val_") for n in values]
        plans = dict.fromkeys(names)
        curves.plans = tuple(plans)
    done = len(curves.epochs)
    words = f"{done} epoch{'' if done == 1 else 's'}"

    def text() -> str:
        if not done:
            return "History: nothing trained yet"
        last = zip(curves.epochs.names, curves.epochs.values[-1], strict=True)
        shown = "  ".join(f"{name} {charts.number(float(v))}" for name, v in last)
        return f"History of {words}\n{shown}"

    def still() -> str:
        if not done:
            return svg.tag("p", svg.text(text()))
        drawn = (
            svg.image(charts.curve(curves, name), charts.describe(curves, name))
            for name in charts.pictured(curves)
        )
        head = _heading("History", words)
        table = charts.epoch_table(curves)
        return svg.tag("div", head, svg.tag("div", *drawn), table)

    return Picture(text, still)


HANDLERS: list[tuple[type, Callable[[Any], Picture]]] = [
    (models.Model, _model),
    (Layer, _layer),
    (Variable, _variable),
    (callbacks.History, _history),
    (Record, lambda record: Picture(*records.picture_of_record(record))),
    (Runs, lambda runs: Picture(*records.picture_of_runs(runs), kruns.live(runs))),
    (
        Comparison,
        lambda runs: Picture(*records.picture_of_comparison(runs), kruns.live(runs)),
    ),
    (Export, lambda made: _facts(f"{made.name}, exported", made.facts)),
    (Study, lambda study: Picture(*tuning.picture_of_study(study))),
    (Cluster, lambda cluster: Picture(*engines.picture_of_cluster(cluster))),
]
"""Who draws what; the first that fits an object is asked."""
