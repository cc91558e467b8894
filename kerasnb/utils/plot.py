"""A model as a drawing by Graphviz: `plot_model` and `model_to_dot`.

The notebook's model card draws itself; this is for reports, and needs `pydot` and, for
pictures, the `dot` program.
"""

import html
from itertools import pairwise
from pathlib import Path
from typing import Any

from kerasnb.core.errors import optional
from kerasnb.core.graph import map_structure
from kerasnb.models.functional import Functional
from kerasnb.models.sequential import Sequential
from kerasnb.models.summary import type_name


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """The graph of a model's layers as a `pydot.Dot`.

    `rankdir` is `"TB"` (downwards) or `"LR"`, `splines` how lines run. With
    `expand_nested` the models inside are drawn as boxes of their layers; `subgraph`
    returns the `pydot.Cluster` of such a box. A subclassed model is one node.
    """
    pydot = optional("pydot", "to draw a model with Graphviz", "plot")
    for name in kwargs:
        raise ValueError(f"model_to_dot has no argument `{name}`.")
    if not model.built:
        raise ValueError(
            f"model_to_dot: the model `{model.name}` has no weights yet: call it on "
            "data or build it first."
        )
    shown = {
        "names": show_layer_names,
        "activations": show_layer_activations,
        "shapes": show_shapes,
        "dtypes": show_dtype,
        "trainable": show_trainable,
    }
    if subgraph:
        box: Any = {"style": "dashed", "label": model.name, "labeljust": "l"}
        dot = pydot.Cluster(graph_name=model.name, **box)
    else:
        dot = pydot.Dot(rankdir=rankdir, concentrate=True, dpi=dpi, splines=splines)
        dot.set_node_defaults(shape="record")
    _draw(pydot, dot, model, shown, expand_nested)
    return dot


def plot_model(
    model: Any,
    to_file: str | Path = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> "Drawing":
    """Draw a model's layers into a file: `.png`, `.svg`, `.pdf`, `.dot`, ...

    Returns the `Drawing`, which a notebook shows. For the arguments see `model_to_dot`.
    """
    path = Path(to_file)
    dot = model_to_dot(
        model,
        show_shapes,
        show_dtype,
        show_layer_names,
        rankdir,
        expand_nested,
        dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        splines=splines,
        **kwargs,
    )
    kind = path.suffix[1:] or "png"
    try:
        data = dot.to_string().encode() if kind == "dot" else dot.create(format=kind)
    except OSError as error:
        raise ImportError(
            "plot_model needs Graphviz for pictures; install it (apt, brew or conda "
            'install graphviz), or write its text: plot_model(model, "model.dot").'
        ) from error
    path.write_bytes(data)
    return Drawing(path, data)


class Drawing:
    """A picture in a file, which a notebook shows."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self._data = path, data

    def __repr__(self) -> str:
        return f"<Drawing {self.path}>"

    def _repr_svg_(self) -> str | None:
        return self._data.decode() if self.path.suffix == ".svg" else None

    def _repr_png_(self) -> bytes | None:
        return self._data if self.path.suffix == ".png" else None


# --- Nodes and lines ------------------------------------------------------------------


def _draw(
    pydot: Any, dot: Any, model: Any, shown: dict[str, bool], nested: bool
) -> None:
    if not isinstance(model, Functional | Sequential):
        dot.add_node(_node(pydot, model, shown))
        return
    for layer in _operations(model):
        if nested and isinstance(layer, Functional | Sequential):
            box = pydot.Cluster(layer.name, style="dashed", label=layer.name)
            box.set("labeljust", "l")
            _draw(pydot, box, layer, shown, nested)
            dot.add_subgraph(box)
        else:
            dot.add_node(_node(pydot, layer, shown))
    for source, target in _lines(model, nested):
        dot.add_edge(pydot.Edge(str(id(source)), str(id(target)), penwidth=2))


def _operations(model: Any) -> list[Any]:
    return model.layers if isinstance(model, Sequential) else model._function.operations


def _lines(model: Any, nested: bool) -> list[tuple[Any, Any]]:
    """Each layer with each that works on its outputs, once."""
    if isinstance(model, Sequential):
        pairs = [(a, b, 0) for a, b in pairwise(model.layers)]
    else:
        own = model._function._nodes
        pairs = [
            (parent.operation, node.operation, i)
            for node in own
            for i, parent in enumerate(node.parent_nodes)
            if any(parent is other for other in own)
        ]
    if nested:
        pairs = [(_last(source), _first(target, i), i) for source, target, i in pairs]
    return list(dict.fromkeys((source, target) for source, target, _ in pairs))


def _last(layer: Any) -> Any:
    """The layer inside a nested model that makes its output."""
    while isinstance(layer, Functional | Sequential):
        layer = layer.outputs[0]._keras_history[0]
    return layer


def _first(layer: Any, i: int) -> Any:
    """The layer inside a nested model that takes its input number `i`."""
    while isinstance(layer, Functional | Sequential):
        chain = isinstance(layer, Sequential)
        layer = layer.layers[0] if chain else layer.inputs[i]._keras_history[0]
    return layer


def _node(pydot: Any, layer: Any, shown: dict[str, bool]) -> Any:
    kind = html.escape(type_name(layer))
    name = html.escape(layer.name)
    title = f"<b>{name}</b> ({kind})" if shown["names"] else f"<b>{kind}</b>"
    rows = [[_cell(title, "black", "white", 16)]]
    activation = getattr(layer, "activation", None)
    if shown["activations"] and activation is not None:
        called = getattr(activation, "name", getattr(activation, "__name__", None))
        rows.append([_cell(f"Activation: <b>{html.escape(str(called))}</b>")])
    facts = []
    if shown["shapes"]:
        if type_name(layer) != "InputLayer":
            facts.append(_cell(f"Input shape: <b>{_fact(layer, 'input', 'shape')}</b>"))
        facts.append(_cell(f"Output shape: <b>{_fact(layer, 'output', 'shape')}</b>"))
    if shown["dtypes"]:
        facts.append(_cell(f"Output dtype: <b>{_fact(layer, 'output', 'dtype')}</b>"))
    if shown["trainable"] and getattr(layer, "weights", None):
        word, colour = (
            ("Trainable", "forestgreen")
            if layer.trainable
            else ("Non-trainable", "firebrick")
        )
        facts.append(_cell(f"<b>{word}</b>", colour, "white"))
    rows += [facts] * bool(facts)
    width = max(len(row) for row in rows)
    lines = ("".join(row).replace("<td", _span(width, row)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table border="0" cellborder="1" bgcolor="black" cellpadding="10">{body}'
    return pydot.Node(
        str(id(layer)), label=f"<{table}</table>>", fontname="Helvetica", margin=0
    )


def _span(width: int, row: list[str]) -> str:
    return f'<td colspan="{width // len(row)}"'


def _cell(text: str, back: str = "white", colour: str = "black", size: int = 14) -> str:
    font = f'<font point-size="{size}" color="{colour}">{text}</font>'
    return f'<td bgcolor="{back}">{font}</td>'


def _fact(layer: Any, side: str, what: str) -> str:
    """A shape or dtype, `?` where the layer was not called once on placeholders."""
    try:
        facts = map_structure(lambda t: str(getattr(t, what)), getattr(layer, side))
    except (AttributeError, ValueError):
        return "?"
    if isinstance(facts, dict):
        facts = ", ".join(f"{name}: {fact}" for name, fact in facts.items())
    return html.escape(str(facts).replace("'", ""))
