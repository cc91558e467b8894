"""A look into a model: what its weights hold and what its layers answer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasnb import models
from kerasnb.core import naming
from kerasnb.core.graph import KerasTensor, leaves, map_structure, node_of
from kerasnb.layers.layer import Layer
from kerasnb.notebook import charts, rasters, svg
from kerasnb.notebook.display import percent, statistics
from kerasnb.notebook.facts import Still, text_table

_MOST_SAMPLES = 256


def inspect(model: Any, x: Any = None, *, layer: str | None = None) -> "Inspection":
    """What the weights of `model` hold, and what its layers answer to the samples `x`.

    With `layer` only that one, in more detail: its filters, and its answer to the first
    sample as maps.
    """
    chosen = list(model.layers) if layer is None else [model.get_layer(layer)]
    answers: dict[Layer, np.ndarray] = {}
    count = 0
    if x is not None:
        count = min(len(leaves(x)[0]), _MOST_SAMPLES)
        answers = activations(model, x, chosen)
    return Inspection(model.name, chosen, answers, count, detailed=layer is not None)


def activations(model: Any, x: Any, layers: list[Layer]) -> dict[Layer, np.ndarray]:
    """What layers of a model of known graph answer to the first samples of `x`."""
    outputs = getattr(model, "outputs", None) if model.built else None
    if not outputs:
        raise ValueError(
            f"`{model.name}` has no graph to follow; activations are shown for "
            "Sequential and functional models that are built."
        )
    tensors = {
        layer: tensor
        for layer, tensor in _tensors_of(outputs).items()
        if layer in layers
    }
    if not tensors:
        return {}
    few = map_structure(lambda a: np.asarray(a)[:_MOST_SAMPLES], x)
    with naming.fresh_names():
        part = models.Model(model.inputs, list(tensors.values()))
        found = part(few if isinstance(few, dict) else leaves(few))
    return {
        layer: np.asarray(value, "float32")
        for layer, value in zip(tensors, leaves(found), strict=True)
    }


def _tensors_of(outputs: list[KerasTensor]) -> dict[Any, KerasTensor]:
    """For each layer on the way to the outputs the tensor of its last call."""
    found: dict[Any, KerasTensor] = {}
    waiting, seen = list(outputs), set()
    while waiting:
        tensor = waiting.pop()
        node = node_of(tensor)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if not node.is_input:
            found.setdefault(node.operation, tensor)
        waiting.extend(node.input_tensors)
    return found


@dataclass
class Spread:
    """Many numbers, in words and as a histogram."""

    owner: str
    what: str
    values: np.ndarray
    note: str = ""

    @property
    def row(self) -> list[str]:
        """Owner, what, shape and the spread."""
        facts = statistics(self.values)
        shape = "x".join(map(str, self.values.shape)) or "1"
        spread = [facts.get(name, "–") for name in _SPREAD]
        if not facts:
            spread[0] = charts.number(float(self.values.ravel()[0]))
        return [self.owner, self.what, shape, *spread, self.note]


_SPREAD = ("mean", "deviation", "least", "greatest", "zeros")
_HEAD = ["layer", "what", "shape", *_SPREAD, "note"]


class Inspection(Still):
    """Weights and activations of some layers of a model."""

    def __init__(
        self,
        name: str,
        layers: list[Layer],
        answers: dict[Layer, np.ndarray],
        samples: int,
        detailed: bool,
    ):
        self.name, self.layers, self.answers = name, layers, answers
        self.samples, self.detailed = samples, detailed
        self.weights = [
            Spread(layer.name, v.path.rpartition("/")[2], np.asarray(v.value))
            for layer in layers
            for v in layer.weights
        ]
        self.activations = [
            Spread(layer.name, "activation", values, _dead_words(values))
            for layer, values in answers.items()
        ]

    def text(self) -> str:
        """The tables in plain text."""
        return "\n".join([self._headline(), text_table(*self._table())])

    def _headline(self) -> str:
        what = f"{self.name}/{self.layers[0].name}" if self.detailed else self.name
        on = f", on {self.samples:,} samples" if self.samples else ""
        numbers = sum(spread.values.size for spread in self.weights)
        return f"{what}: {numbers:,} numbers in {len(self.weights)} weights{on}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows, layer by layer; without notes when there are none."""
        order = {layer.name: i for i, layer in enumerate(self.layers)}
        spreads = sorted(
            [*self.weights, *self.activations], key=lambda spread: order[spread.owner]
        )
        rows = [spread.row for spread in spreads]
        width = len(_HEAD) if any(row[-1] for row in rows) else len(_HEAD) - 1
        return _HEAD[:width], [row[:width] for row in rows]

    def still(self) -> str:
        """The tables, with histograms; filters and maps of a single layer."""
        head = svg.tag("strong", svg.text(self._headline()))
        parts = [svg.tag("p", head, style="margin:4px 0 8px")]
        spreads = [*self.weights, *self.activations]
        table = svg.table(*self._table(), align="lll")
        parts.append(svg.tag("div", table, style="max-width:100%;overflow-x:auto"))
        figures = [_figure(s, self.detailed) for s in spreads if s.values.size > 24]
        parts.append(svg.tag("div", *figures, style="margin-top:8px"))
        if self.detailed:
            parts += [_maps(spread) for spread in spreads]
        return svg.tag("div", *parts)


def _figure(spread: Spread, large: bool) -> str:
    label = f"Histogram of {spread.owner} {spread.what}"
    size = (336, 110) if large else (184, 56)
    drawn = rasters.histogram(spread.values, label, *size)
    if not drawn:
        return ""
    return svg.tag(
        "span",
        svg.image(drawn, label),
        svg.tag(
            "span",
            svg.text(f"{spread.owner} {spread.what}"),
            style="display:block;font-size:11px",
        ),
        style="display:inline-block;vertical-align:top;margin:0 8px 10px 0",
    )


def _maps(spread: Spread) -> str:
    """The filters of a convolution, or the answer to the first sample, as pictures."""
    values, words = spread.values, ""
    if spread.what == "kernel" and values.ndim == 4:
        maps = np.moveaxis(values, -1, 0)  # (filters, height, width, channels)
        words = f"{len(maps)} filters"
        if maps.shape[-1] not in (1, 3):
            maps, words = maps[..., :1], f"{words}, their first channel"
    elif spread.what == "activation" and values.ndim == 4:
        maps = np.moveaxis(values[0], -1, 0)[..., None]
        words = f"{len(maps)} maps of the first sample"
    elif spread.what == "activation" and values.ndim == 3:
        maps = values[:1, ..., None]
        words = "steps down, units across, of the first sample"
    else:
        return ""
    title = svg.tag("p", svg.text(f"{spread.owner}: {words}"), style="margin:8px 0 4px")
    pixels = rasters.tiles(maps)
    return title + rasters.image(pixels, f"{spread.owner}: {words}", 420)


def _dead_words(values: np.ndarray) -> str:
    """How many units answer nothing to any sample."""
    if values.ndim < 2 or not (values == 0).any():
        return ""
    dead = int((values == 0).all(axis=tuple(range(values.ndim - 1))).sum())
    if not dead:
        return ""
    share = percent(dead / values.shape[-1])
    return f"{dead} of {values.shape[-1]} units never answer ({share})"
