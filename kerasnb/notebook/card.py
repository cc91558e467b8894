"""The model card: what a model is made of, as a graph, a table and totals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kerasnb.notebook import charts, svg, widget
from kerasnb.notebook.mailbox import Mailbox, Message
from kerasnb.notebook.scene import Box, draw, group_title, text_width
from kerasnb.notebook.structure import Graph, Group, ModelGraph, shape_text
from kerasnb.notebook.structure import describe as describe

_MOST_OPEN = 24  # a model of more steps starts with its groups folded
_MOST_ROWS = 40  # a longer table starts folded away
_TALLEST = 1100.0  # a higher still picture starts folded away


# --- The still twin -----------------------------------------------------------------

_COLOURS = {
    "input": "muted",
    "learn": "train",
    "norm": "hint",
    "drop": "valid",
    "join": "good",
    "shape": "muted",
    "group": "text",
}
_RULES = (
    ".box{fill:var(--back);stroke:var(--edge);stroke-width:1.25}"
    ".frame{fill:var(--tint);stroke:var(--edge);stroke-dasharray:4 3}"
    ".edge{fill:none;stroke:var(--muted);stroke-width:1.25;stroke-opacity:.75}"
    ".title{font-size:12px;font-weight:600}.note{font-size:12px}"
    ".shape{font-size:10.5px;fill:var(--muted);paint-order:stroke;"
    "stroke:var(--back);stroke-width:3px;stroke-linejoin:round}"
    + "".join(f".{name}-bar{{fill:var(--{role})}}" for name, role in _COLOURS.items())
)


def picture(model: ModelGraph, opened: set[str]) -> str:
    """The graph as an SVG picture; empty when the connections aren't known."""
    scene = draw(model, opened)
    if not scene.boxes:
        return ""
    margin = 12.0
    body = [svg.tag("path", class_="edge", d=path) for path in scene.paths]
    body += [
        svg.tag("text", svg.text(words), class_="shape", x=x, y=y)
        for x, y, words in scene.labels
    ]
    frames = [_drawn(box) for box in scene.boxes if box.role == "frame"]
    boxes = [_drawn(box) for box in scene.boxes if box.role != "frame"]
    return svg.document(
        scene.width + scene.overhang + 2 * margin,
        scene.height + 2 * margin,
        svg.tag("g", *frames, *body, *boxes, transform=f"translate({margin},{margin})"),
        rules=_RULES,
        label=f"Graph of {model.name}",
    )


def _drawn(box: Box) -> str:
    """One box as SVG."""
    x, y, width, height = box.x, box.y, box.width, box.height
    if box.role == "frame":
        return svg.tag(
            "rect", class_="frame", x=x, y=y, width=width, height=height, rx=8
        ) + (svg.tag("text", svg.text(box.title), class_="title", x=x + 12, y=y + 17))
    out = []
    if box.role == "group":  # a second card behind: there is more inside
        out.append(
            svg.tag(
                "rect",
                class_="box deck",
                x=x + 4,
                y=y + 4,
                width=width,
                height=height,
                rx=6,
            )
        )
    out += [
        svg.tag(
            "rect", class_=f"box {box.role}", x=x, y=y, width=width, height=height, rx=6
        ),
        svg.tag(
            "rect",
            class_=f"{box.family}-bar",
            x=x + 6,
            y=y + 9,
            width=3,
            height=height - 18,
            rx=1.5,
        ),
        svg.tag(
            "text",
            svg.tag(
                "tspan", svg.text(_cut(box.title, box.width - 24, 12)), class_="title"
            ),
            svg.tag("tspan", " " + svg.text(box.note), class_="note muted")
            if box.note
            else "",
            x=x + 16,
            y=y + 18,
        ),
        svg.tag(
            "text",
            svg.text(_cut(box.small, box.width - 20, 11)),
            class_="muted",
            x=x + 16,
            y=y + 33,
        ),
    ]
    return "".join(out)


def _cut(words: str, width: float, size: float) -> str:
    """Words that fit, an ellipsis where they did not."""
    if text_width(words, size) <= width:
        return words
    while words and text_width(words + "…", size) > width:
        words = words[:-1]
    return words + "…"


def still(model: ModelGraph, opened: set[str] | None = None) -> str:
    """The card as HTML without scripts: totals, graph, table."""
    opened = first_opened(model) if opened is None else opened
    totals = (
        svg.tag("strong", svg.text(value)) + svg.text(f" {label}")
        for label, value in totals_of(model)
    )
    head = svg.tag("strong", svg.text(model.name)) + svg.text(f" · {model.kind}")
    parts = [
        svg.tag("p", head, style="margin:4px 0"),
        svg.tag("p", " · ".join(totals), style="margin:4px 0 8px"),
    ]
    drawn = picture(model, opened)
    if drawn:
        image = svg.image(drawn, alt_text(model))
        tall = draw(model, opened).height > _TALLEST
        summary = svg.tag("summary", "Graph")
        parts.append(
            svg.tag("details", summary, image) if tall else svg.tag("div", image)
        )
    head_row = ["Layer", "Kind", "Output shape", "Parameters", "Memory", "FLOPs"]
    rows = rows_of(model)

    def table(rows: list[Row]) -> str:
        cells = ([row.indented, *_cells(row)] for row in rows)
        return svg.table(head_row, cells, align="lllrrr")

    if len(rows) <= _MOST_ROWS:
        parts.append(table(rows))
    else:
        summary = svg.tag("summary", f"All {len(model.layers)} layers")
        parts.append(table([row for row in rows if not row.depth]))
        parts.append(svg.tag("details", summary, table(rows)))
    return svg.tag("div", *parts)


def alt_text(model: ModelGraph) -> str:
    """The graph in words: its layers with their output shapes, in order."""
    steps = model.steps
    said = [f"{step.name} {shape_text(step.shape)}" for step in steps[:40]]
    more = f", and {len(steps) - 40} more" if len(steps) > 40 else ""
    return f"Graph of {model.name}: {', '.join(said)}{more}"


def totals_of(model: ModelGraph) -> list[tuple[str, str]]:
    """What the head of the card says: label and value."""
    fixed = model.params - model.trainable_params
    memory = charts.memory(model.weight_bytes)
    said = [
        ("layers", charts.count(len(model.layers))),
        ("parameters", charts.count(model.params)),
    ]
    if fixed:
        said.append(("non-trainable", charts.count(fixed)))
    said.append(("weights", memory))
    if model.activation_bytes is not None:
        said.append(("outputs per sample", charts.memory(model.activation_bytes)))
    if model.flops is not None:
        said.append(("FLOPs per sample", operations(model.flops)))
    return said + list(model.compiled.items())


def operations(number: int | None) -> str:
    """A number of operations with three digits: `12.3 M`."""
    if number is None:
        return "–"
    return charts.memory(number).removesuffix("B").strip().replace("k", "k")


@dataclass
class Row:
    """One line of the table of layers."""

    id: str
    name: str
    kind: str
    depth: int
    shape: str
    params: int
    memory: int
    flops: int | None
    trainable: bool
    group: bool = False

    @property
    def indented(self) -> str:
        """The name, one space in for each group around it."""
        return "\u2003" * self.depth + self.name


def rows_of(model: ModelGraph) -> list[Row]:
    """The table of layers; a group is followed by what it holds, one step in."""

    def walk(graph: Graph, depth: int) -> Iterator[Row]:
        for item in graph.items:
            if isinstance(item, Group):
                steps = list(item.graph.steps())
                counted = [step.flops for step in steps if step.flops is not None]
                yield Row(
                    item.id,
                    group_title(item),
                    "" if item.kind in ("block", "repeat") else item.kind,
                    depth,
                    shape_text(item.shape),
                    sum(step.params for step in steps),
                    sum(step.weight_bytes for step in steps),
                    sum(counted) if counted else None,
                    any(step.trainable for step in steps),
                    group=True,
                )
                yield from walk(item.graph, depth + 1)
            else:
                yield Row(
                    item.id,
                    item.name + (" (again)" if item.repeated else ""),
                    item.kind,
                    depth,
                    shape_text(item.shape),
                    item.params,
                    item.weight_bytes,
                    item.flops,
                    item.trainable,
                )

    return list(walk(model.graph, 0))


def _cells(row: Row) -> list[str]:
    return [
        row.kind,
        row.shape,
        charts.count(row.params) if row.params else "–",
        charts.memory(row.memory) if row.memory else "–",
        operations(row.flops),
    ]


def first_opened(model: ModelGraph) -> set[str]:
    """The groups that a card shows open at first: all of a small model, else none."""
    if len(model.steps) > _MOST_OPEN:
        return set()
    return {group.id for group in model.graph.groups()}


def summary_text(model: ModelGraph) -> str:
    """The table of layers in plain text, the same each time for the same model."""
    head = ("Layer (type)", "Output Shape", "Param #")
    lines = [
        (
            "  " * row.depth + row.name + (f" ({row.kind})" if row.kind else ""),
            row.shape,
            f"{row.params:,}",
        )
        for row in rows_of(model)
    ]
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(3)]

    def ruled(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def line(cells: tuple[str, ...]) -> str:
        name, shape, params = cells
        return f"│ {name:<{widths[0]}} │ {shape:<{widths[1]}} │ {params:>{widths[2]}} │"

    fixed = model.params - model.trainable_params
    return "\n".join(
        [
            f'Model: "{model.name}"',
            ruled("┌", "┬", "┐"),
            line(head),
            ruled("├", "┼", "┤"),
            *map(line, lines),
            ruled("└", "┴", "┘"),
            f" Total params: {model.params:,} ({charts.memory(model.weight_bytes)})",
            f" Trainable params: {model.trainable_params:,}",
            f" Non-trainable params: {fixed:,}",
        ]
    )


# --- The live half ------------------------------------------------------------------


class ModelCard(widget.Widget, source=__file__, styles=("card",)):
    """A model's graph, table and totals; a click on a layer selects it.

    `selected` is the name of the chosen layer, empty for none; it may be set as well.
    """

    if widget.available():
        selected = widget.traitlets.Unicode("").tag(sync=True)
        _scene = widget.traitlets.Dict().tag(sync=True)
        _card = widget.traitlets.Dict().tag(sync=True)

    def __init__(self, model: Any):
        self.graph = model if isinstance(model, ModelGraph) else describe(model)
        self.opened = first_opened(self.graph)
        super().__init__(_scene=self._drawn(), _card=_content(self.graph))
        self._mailbox = Mailbox(self, self._obey)

    def _obey(self, message: Message) -> None:
        """Fold or unfold a group."""
        if message["op"] != "fold" or "group" not in message:
            return
        if message.get("open"):
            self.opened.add(message["group"])
        else:
            self.opened.discard(message["group"])
        self._scene = self._drawn()

    def _drawn(self) -> dict[str, Any]:
        scene = draw(self.graph, self.opened)
        return {
            "width": scene.width + scene.overhang,
            "height": scene.height,
            "edges": scene.paths,
            "labels": scene.labels,
            "boxes": [vars(box) for box in scene.boxes],
        }

    def still(self) -> str:
        """The card as HTML without scripts."""
        return still(self.graph, self.opened)

    def text(self) -> str:
        """The table of layers in plain text."""
        return summary_text(self.graph)


def _content(model: ModelGraph) -> dict[str, Any]:
    """What the page shows beside the graph: words only."""
    details = {
        step.id: {
            "source": step.source,
            "weights": [
                [w.name, str(w.shape), w.dtype, "" if w.trainable else "fixed"]
                for w in step.weights
            ],
            "config": _settings(step.config),
        }
        for step in model.steps
    }
    return {
        "name": model.name,
        "kind": model.kind,
        "connected": model.connected,
        "totals": totals_of(model),
        "rows": [
            {
                "id": row.id,
                "name": row.name,
                "depth": row.depth,
                "group": row.group,
                "cells": _cells(row),
            }
            for row in rows_of(model)
        ],
        "details": details,
    }


def _settings(config: dict[str, Any]) -> list[list[str]]:
    """What was chosen of a layer: all but its name and what it does without."""
    return [
        [key, _short(value)]
        for key, value in config.items()
        if key != "name" and value is not None
    ]


def _short(value: Any) -> str:
    """A setting on one line; an object by its class and what was chosen of it."""
    if isinstance(value, dict) and "class_name" in value:
        inside = value.get("config")
        shown = inside if isinstance(inside, dict) else {}
        if value["class_name"] == "DTypePolicy":
            return str(shown.get("name"))
        chosen = [f"{k}={v}" for k, v in shown.items() if k != "name" and v is not None]
        return f"{value['class_name']}({', '.join(chosen)})"
    words = str(value)
    return words if len(words) <= 120 else words[:119] + "…"
