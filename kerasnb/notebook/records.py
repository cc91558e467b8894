"""How records of runs draw themselves: one, many in a table, several compared."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kerasnb.notebook import charts, plots, svg
from kerasnb.notebook.facts import text_table
from kerasnb.runs import Comparison, Record, Runs
from kerasnb.runs.curves import is_number

Pair = tuple[Callable[[], str], Callable[[], str]]
"""What makes the words, and what makes the HTML."""

_ROWS = 20  # runs in a table; older ones are counted
_COLUMNS = 4  # results in it
_OVERLAID = len(plots.LOOKS)


def heading(name: str, words: str) -> str:
    """A name, and what is to be said of it."""
    strong = svg.tag("strong", svg.text(name))
    return svg.tag("p", strong, svg.text(f" · {words}"), style="margin:4px 0")


def value(given: Any) -> str:
    """A setting or result in a table.

    >>> value(0.0010000000475), value(["a", 2]), value(None)
    ('0.001000', 'a, 2', '–')
    """
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, float):
        return charts.number(given)
    if isinstance(given, list | tuple):
        return ", ".join(map(value, given))
    return "–" if given is None or given == "" else str(given)


def seconds(given: float | None) -> str:
    r"""A duration in seconds, which stays on one line.

    >>> seconds(3.14159), seconds(None)
    ('3.1\xa0s', '–')
    """
    return "–" if given is None else f"{given:.1f}\xa0s"


# --- One run --------------------------------------------------------------------------


def picture_of_record(record: Record) -> Pair:
    """Status, curves and settings of a run."""

    def facts() -> dict[str, str]:
        told = record.settings
        optimizer = str(told.get("optimizer", "–"))
        if (rate := told.get("optimizer.learning_rate")) is not None:
            optimizer += f", learning rate {value(rate)}"
        losses = [k for k in told if k == "loss" or k.startswith(("loss.", "loss["))]
        loss = value([told[k] for k in losses if "." not in k])
        model = record.model
        size = f"{model['class']}, {charts.count(model['parameters'])} parameters"
        batch = value(told.get("batch_size"))
        shown = {
            "model": size,
            "optimizer": optimizer,
            "loss": loss,
            "epochs": f"{record.epochs_done} of {value(told.get('epochs'))}",
            "batch size": batch,
            "seed": value(record.seed),
            **{part: _data(entries) for part, entries in record.data.items()},
            "callbacks": ", ".join(record.callbacks),
            "time": _times(record),
            "computed by": f"{record.devices}; {_versions(record)}",
        }
        return {name: words for name, words in shown.items() if words}

    def text() -> str:
        lines = [f"  {name:<12}  {words}" for name, words in facts().items()]
        results = [f"  best {n:<7}  {words}" for n, words in _best(record)]
        return "\n".join([f"{record.name}: {headline(record)}", *results, *lines])

    def still() -> str:
        curves = _curves(record)
        drawn = (
            svg.image(charts.curve(curves, name), charts.describe(curves, name))
            for name in (curves.plans if len(curves.epochs) else ())
        )
        script = svg.tag("pre", svg.text(record.code))
        return svg.tag(
            "div",
            heading(record.name, headline(record)),
            svg.tag("div", *drawn),
            svg.table(["setting", "value"], facts().items(), align="ll"),
            svg.tag("details", svg.tag("summary", "The model as a script"), script)
            if record.code
            else "",
        )

    return text, still


def headline(record: Record) -> str:
    """The status of a run, how far it came, and why it ended."""
    done = f"{record.epochs_done} epoch{'' if record.epochs_done == 1 else 's'}"
    if record.status == "finished":
        return f"finished, {done}"
    told = record.message or f"after {done}"
    return told if told.startswith(record.status) else f"{record.status}: {told}"


def _best(record: Record) -> Iterable[tuple[str, str]]:
    for name, (best, epoch) in record.best.items():
        yield name, f"{charts.number(best)} in epoch {epoch}"


def _data(entries: Sequence[dict[str, Any]]) -> str:
    words = []
    for entry in entries:
        if "shape" in entry:
            shape = "x".join(map(str, entry["shape"]))
            words.append(f"{entry['name']} {shape} {entry['dtype']}")
        else:
            words.append(f"{entry.get('batches') or 'unknown number of'} batches")
    return ", ".join(words)


def _times(record: Record) -> str:
    parts = [
        f"{seconds(record.timing[kind])} {words}"
        for kind, words in (
            ("train", "training"),
            ("validation", "validation"),
            ("compile", "compiling"),
        )
        if record.timing.get(kind)
    ]
    return ", ".join(parts)


def _versions(record: Record) -> str:
    names = {"python": "Python"}
    return ", ".join(f"{names.get(k, k)} {v}" for k, v in record.versions.items())


def _curves(record: Record) -> charts.Curves:
    """A record's numbers as the charts want them."""
    curves = charts.Curves(over=record.over)
    gap = float("nan")
    history = {
        name: [v if is_number(v) else gap for v in values]
        for name, values in record.rows().items()
        if any(map(is_number, values))
    }
    if not history:
        return curves
    curves.epochs.extend(history)
    curves.first_epoch = record.epochs[0] if record.epochs else 0
    done = len(curves.epochs)
    curves.step = int(record.steps[-1]) + 1 if len(record.steps) else done
    curves.steps_per_epoch = curves.step / done
    curves.total_epochs = curves.first_epoch + done
    if len(record.steps):
        curves.steps.extend({"step": record.steps + 1, **record.curves})
    plans = dict.fromkeys(name.removeprefix("val_") for name in history)
    curves.plans = tuple(dict.fromkeys(["loss"] * ("loss" in plans) + list(plans)))
    return curves


# --- Many -----------------------------------------------------------------------------


def picture_of_runs(runs: Runs) -> Pair:
    """A table, the latest run last, with a small picture of each loss."""
    shown = list(runs)[-_ROWS:]
    columns = columns_of(shown)

    def words() -> str:
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        if len(runs) > len(shown):
            count += f", the last {len(shown)} of them shown"
        return count

    def text() -> str:
        if not shown:
            return NONE
        return f"{words()}\n{_results_text(shown)}"

    def still() -> str:
        if not shown:
            return svg.tag("p", svg.text(NONE))
        best = f"; {', '.join(columns)}: best of all epochs" if columns else ""
        return svg.tag("div", heading("Runs", words() + best), _results(shown))

    return text, still


NONE = "No runs yet: every `fit` adds one."


def cells(record: Record, columns: Sequence[str]) -> list[Any]:
    """Name, status, epochs and best results of a run, as a table shows them."""
    best = (record.best.get(name, (None, 0))[0] for name in columns)
    results = (charts.number(found) for found in best)
    return [record.name, record.status, record.epochs_done, *results]


def _results_text(records: Sequence[Record]) -> str:
    # Without seconds: the words are the same each time for the same training.
    columns = columns_of(records)
    head = ["run", "status", "epochs", *columns]
    return text_table(head, (cells(record, columns) for record in records))


def _results(records: Sequence[Record]) -> str:
    """The results as a table, one row a run."""
    columns = columns_of(records)
    rows = []
    for record in records:
        name, *rest = cells(record, columns)
        took = seconds(record.timing.get("train"))
        rows.append([name, svg.Markup(sparkline(record)), *rest, took])
    head = ["run", "loss", "status", "epochs", *columns, "time"]
    table = svg.table(head, rows, align="lll")
    return svg.tag("div", table, style="overflow-x:auto")


def columns_of(records: Sequence[Record]) -> list[str]:
    """The results worth a column: validation before training, the loss first."""
    names = dict.fromkeys(name for record in records for name in record.history)
    held = [name for name in names if name.startswith("val_")]
    rest = [name for name in names if name not in held and f"val_{name}" not in held]
    order = sorted(held + rest, key=lambda name: name.removeprefix("val_") != "loss")
    return order[:_COLUMNS]


def sparkline(record: Record) -> str:
    """A run's loss as a small picture without axes: training, validation dashed."""
    drawn = small_curve(record)
    style = "width:96px;max-width:none"
    return svg.image(*drawn, style) if drawn else ""


def small_curve(
    record: Record, width: int = 96, height: int = 28
) -> tuple[str, str] | None:
    """The picture of a `sparkline`, and what it says in words."""
    lines = [
        (kind, np.array(record.history.get(name) or [], float))
        for kind, name in (("train", "loss"), ("valid", "val_loss"))
    ]
    if len(lines[0][1]) < 2 and len(record.curves.get("loss", ())) > 1:
        lines = [("train", record.curves["loss"].astype(float))]
    seen = np.concatenate([ys for _, ys in lines])
    if not np.isfinite(seen).any():
        return None
    low, high = charts.limits(seen, ())
    drawn = []
    for kind, ys in lines:
        xs = 3 + np.arange(len(ys)) / max(1, len(ys) - 1) * (width - 6)
        at = height - 3 - (ys - low) / (high - low) * (height - 6)
        drawn.append(svg.tag("path", class_=kind, d=svg.path(xs, at)))
    ends = [charts.number(float(v)) for v in lines[0][1][[0, -1]]]
    label = f"loss of {record.name}: from {ends[0]} to {ends[1]}"
    return svg.document(width, height, *drawn, rules=_SPARK, label=label), label


_SPARK = (
    ".back{fill:none}"  # rows of a table have colours of their own
    ".train{fill:none;stroke:var(--train);stroke-width:1.5}"
    ".valid{fill:none;stroke:var(--valid);stroke-width:1.5;stroke-dasharray:4 3}"
)


# --- Several compared -----------------------------------------------------------------


def picture_of_comparison(found: Comparison) -> Pair:
    """The results, the settings that differ, and the curves over one another."""

    def text() -> str:
        if not found.runs:
            return NONE
        differ = differing(found, "; ")
        head = ["setting", *found.names]
        told = text_table(head, differ) if differ else _SAME
        return f"{_results_text(found.runs)}\n\n{told}"

    def still() -> str:
        if not found.runs:
            return svg.tag("p", svg.text(NONE))
        lined = [
            [svg.Markup(svg.text(cell).replace("\n", "<br>")) for cell in row]
            for row in differing(found, "\n")
        ]
        table = svg.table(["setting", *found.names], lined, align="l")
        differ = svg.tag("div", table, style="overflow-x:auto")
        return svg.tag(
            "div",
            heading("Runs", f"{len(found.runs)} compared"),
            svg.tag("div", *(svg.image(*drawn) for drawn in overlays(found))),
            _results(found.runs),
            differ if lined else svg.tag("p", _SAME),
        )

    return text, still


_SAME = "All settings are the same."


def differing(found: Comparison, lines: str) -> list[list[str]]:
    """The settings that are not the same, one row each; `lines` parts those of code."""
    return [
        [name, *(value(v).replace("\n", lines) for v in values)]
        for name, values in found.settings.items()
    ]


def overlays(found: Comparison) -> list[tuple[str, str]]:
    """For each metric the picture of its curves, and that in words."""
    pictures = (overlay(found.runs, name) for name in _plans(found))
    return [drawn for drawn in pictures if drawn is not None]


def _plans(found: Comparison) -> list[str]:
    names = dict.fromkeys(name.removeprefix("val_") for name in found.curves)
    return sorted(names, key=lambda name: name != "loss")[:_COLUMNS]


def overlay(records: Sequence[Record], name: str) -> tuple[str, str] | None:
    """One metric of several runs over one another: validation where there is any."""
    shown = list(records)[-_OVERLAID:]
    series, words = [], []
    for look, record in enumerate(shown):
        train, held = (_line(record, curve, look) for curve in (name, f"val_{name}"))
        main = held if len(held.y) else train
        if len(held.y) and len(train.y):
            series.append(plots.Series("", train.x, train.y, look, "thin"))
        if len(main.y):
            series.append(main)
            words.append(f"{record.name} {charts.number(float(main.y[-1]))}")
    if not series:
        return None
    thin = any(one.mark == "thin" for one in series)
    note = "thin: training" if thin else ""
    if len(records) > len(shown):
        note = f"the last {len(shown)} of {len(records)} runs"
    label = f"{name} of several runs, at the end: {', '.join(words)}"
    return plots.plot(name, series, "epoch", note, label), label


def _line(record: Record, curve: str, look: int) -> plots.Series:
    values = record.history.get(curve, [])
    y = np.array([v if is_number(v) else float("nan") for v in values], float)
    x = np.array(record.places.get(curve, ()), float) + 1
    kept = charts.thin(y, 160) if len(y) else slice(0)
    return plots.Series(record.name, x[kept], y[kept], look)
