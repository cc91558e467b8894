"""The table of a model's layers, as text."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp

from kerasnb.core.graph import Node, OpCall, Operation
from kerasnb.models import op_config
from kerasnb.saving.files import readable_size

_CHAIN = ("Layer (type)", "Output Shape", "Param #")
_GRAPH = (*_CHAIN, "Connected to")


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> str:
    """The layers with their output shapes and numbers of parameters, and the totals.

    `line_length` is the width of the table, `positions` are the right edges of its
    columns as shares of it. `layer_range` names the first and the last layer to show,
    as patterns.
    """
    graph = getattr(model, "_function", None)
    nodes = graph._nodes if graph is not None else []
    is_graph = bool(nodes) and not _is_chain(nodes)
    titles = list(_GRAPH if is_graph else _CHAIN)
    if positions is None:
        positions = (0.3, 0.56, 0.74, 1.0) if is_graph else (0.45, 0.80, 1.0)
    length = 108 if is_graph else 88
    if show_trainable:
        titles.append("Trainable")
        positions = [*(0.9 * p for p in positions), 1.0]
        length += 12
    if line_length is None:
        line_length = min(length, shutil.get_terminal_size().columns - 4)
    if len(positions) != len(titles):
        raise ValueError(
            f"summary: `positions` must hold {len(titles)} numbers, one for each of "
            f"the columns {titles}, not {len(positions)}."
        )
    rows = [
        _row(layer, level, nodes if is_graph else None, show_trainable)
        for top in _in_range(_operations(model), layer_range)
        for layer, level in _expand(top, expand_nested)
    ]
    aligned = ["<", "<", ">", "<"][: len(_GRAPH if is_graph else _CHAIN)]
    aligned += ["^"] * show_trainable
    table = _table(titles, rows, aligned, _widths(positions, line_length))
    return "\n".join([f'Model: "{model.name}"', table, *_totals(model)])


# --- What the table says --------------------------------------------------------------


def _operations(model: Any) -> list[Operation]:
    graph = getattr(model, "_function", None)
    return model.layers if graph is None else graph.operations


def _is_chain(nodes: Sequence[Node]) -> bool:
    """Whether each call works on the output of the one before, each layer once."""
    used = {id(parent) for node in nodes for parent in node.parent_nodes}
    ends = [node for node in nodes if id(node) not in used]
    layers = [node.operation for node in nodes]
    return (
        len(ends) == 1
        and all(len(node.input_tensors) <= 1 for node in nodes)
        and len(set(layers)) == len(layers)
    )


def _expand(layer: Any, nested: bool, level: int = 0) -> Iterator[tuple[Any, int]]:
    yield layer, level
    if nested:
        for inner in getattr(layer, "layers", ()):
            yield from _expand(inner, nested, level + 1)


def _row(
    layer: Any, level: int, nodes: Sequence[Node] | None, show_trainable: bool
) -> list[str]:
    indent = "   " * level + "└ " if level else ""
    row = [f"{indent}{layer.name} ({type_name(layer)})", shape_text(layer)]
    row.append(_parameters(layer))
    if nodes is not None:
        row.append(_sources(layer, nodes))
    if show_trainable:
        has_weights = len(getattr(layer, "weights", ())) > 0
        row.append(("Y" if layer.trainable else "N") if has_weights else "-")
    return row


def type_name(layer: Any) -> str:
    """The class of a layer; for a single operation the class that Keras has for it."""
    if isinstance(layer, OpCall):
        return op_config.place_of(layer.fn)[1]
    return type(layer).__name__


def shape_text(layer: Any) -> str:
    """The shape of the outputs of a layer's last call, `"?"` where it is not known."""
    if layer._inbound_nodes:
        shapes = [tensor.shape for tensor in layer._inbound_nodes[-1].output_tensors]
    else:
        shapes = _shapes_by_tracing(layer)
    texts = [f"({', '.join(str(d) for d in shape)})" for shape in shapes]
    if not texts:
        return "?"
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _shapes_by_tracing(layer: Any) -> list[Any]:
    built_for = getattr(layer, "_build_shapes", None) or {}
    if not built_for and not getattr(layer, "_function", None):
        return []
    try:
        if (shape := getattr(layer, "output_shape", None)) is not None:
            return _flat_shapes(shape)
        return _flat_shapes(layer.compute_output_shape(**built_for))
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        # The layer cannot be called alone on that shape; the table says "?".
        return []


def _flat_shapes(shapes: Any) -> list[Any]:
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    if all(d is None or isinstance(d, int) for d in shapes):
        return [shapes]
    return [shape for inner in shapes for shape in _flat_shapes(inner)]


def _parameters(layer: Any) -> str:
    if not hasattr(layer, "built"):
        return "0"
    return f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"


def _sources(layer: Any, nodes: Sequence[Node]) -> str:
    """The tensors that the calls of a layer work on: `name[call][output]`."""
    sources = [
        f"{tensor._keras_history[0].name}[{tensor._keras_history[1]}]"
        f"[{tensor._keras_history[2]}]"
        for node in layer._inbound_nodes
        if any(node is own for own in nodes)
        for tensor in node.input_tensors
    ]
    return ", ".join(sources) or "-"


def _in_range(layers: Sequence[Any], names: Sequence[str] | None) -> Sequence[Any]:
    if names is None:
        return layers
    if len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"summary: `layer_range` must be two names of layers, not {names!r}."
        )
    found = [
        [i for i, layer in enumerate(layers) if re.match(name, layer.name)]
        for name in names
    ]
    for name, places in zip(names, found, strict=True):
        if not places:
            known = [layer.name for layer in layers]
            raise ValueError(
                f"summary: `layer_range` names `{name}`, which is none of the layers "
                f"{known}."
            )
    first, last = found
    if min(first) > max(last):
        first, last = last, first
    return layers[min(first) : max(last) + 1]


def _totals(model: Any) -> Iterator[str]:
    trainable, rest = (
        _count(model.trainable_weights),
        _count(model.non_trainable_weights),
    )
    optimizer = getattr(model, "optimizer", None)
    has_state = getattr(optimizer, "built", False)
    state = _count(getattr(optimizer, "variables", ())) if has_state else (0, 0.0)
    total = [sum(parts) for parts in zip(trainable, rest, state, strict=True)]
    lines = [("Total", total), ("Trainable", trainable), ("Non-trainable", rest)]
    lines += [("Optimizer", state)] * has_state
    for what, (count, size) in lines:
        yield f" {what} params: {count:,} ({readable_size(size)})"


def _count(variables: Iterable[Any]) -> tuple[int, float]:
    """How many numbers some variables hold, and how many bytes they take."""
    own = {id(v): v for v in variables}.values()
    return sum(v.size for v in own), sum(v.size * _bytes(v.dtype) for v in own)


def _bytes(dtype: str) -> float:
    return 1 / 8 if dtype == "bool" else jnp.dtype(dtype).itemsize


# --- Drawing --------------------------------------------------------------------------


def _widths(positions: Sequence[float], line_length: int) -> list[int]:
    """The widths of the columns, the spaces beside their texts included."""
    edges = [0, *(int(p * line_length) for p in positions)]
    widths = [b - a for a, b in pairwise(edges)]
    if min(widths) < 4:
        raise ValueError(
            f"summary: {line_length} characters are too few for {len(widths)} columns; "
            "pass a larger `line_length`."
        )
    # The lines between the columns take their room from all columns alike.
    widths = [width + 2 for width in widths]
    excess = sum(widths) + len(widths) + 1 - line_length
    for i, width in enumerate(widths):
        share = min(width, round(excess / (len(widths) - i)))
        widths[i] -= share
        excess -= share
    return widths


def _table(
    titles: list[str], rows: list[list[str]], aligned: list[str], widths: list[int]
) -> str:
    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * width for width in widths) + right

    def draw(cells: list[str], bar: str, sink: bool = False) -> Iterator[str]:
        wrapped = [_wrap(c, w - 2) for c, w in zip(cells, widths, strict=True)]
        height = max(map(len, wrapped))
        for i, lines in enumerate(wrapped):
            blank = [""] * (height - len(lines))
            wrapped[i] = blank + lines if sink else lines + blank
        for line in zip(*wrapped, strict=True):
            parts = [
                f" {text:{align}{width - 2}} "
                for text, align, width in zip(line, aligned, widths, strict=True)
            ]
            yield bar + bar.join(parts) + bar

    lines = [rule("┏", "━", "┳", "┓"), *draw(titles, "┃", sink=True)]
    lines.append(rule("┡", "━", "╇", "┩"))
    for i, row in enumerate(rows):
        lines += [rule("├", "─", "┼", "┤")] * (i > 0)
        lines += draw(row, "│")
    lines.append(rule("└", "─", "┴", "┘"))
    return "\n".join(lines)


def _wrap(text: str, width: int) -> list[str]:
    """A text in lines broken at spaces; a word longer than a line is cut short."""
    lines = [""]
    for word in re.findall(r"\s*\S+\s*", text):
        if not lines[-1] or len(lines[-1]) + len(word.rstrip()) <= width:
            lines[-1] += word
        else:
            lines.append(word)
    lines = [line.rstrip() for line in lines]
    return [x if len(x) <= width else x[: width - 1] + "…" for x in lines]
