"""What a model is made of, as plain data: layers, calls, shapes, sizes, costs.

Reads only what Keras makes public of a model, so that it serves any model with Keras'
attributes; pictures and tables are made of the result.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os.path import commonpath
from typing import Any

import jax
import numpy as np

from kerasnb.notebook.costs import count_flops


@dataclass(frozen=True)
class Weight:
    """One array that a layer holds."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return self.size * _itemsize(self.dtype)


@dataclass
class Step:
    """One call of a layer, or of a function, on the way from inputs to outputs."""

    id: str
    name: str
    kind: str
    shape: tuple[tuple[int | None, ...], ...] = ()
    dtype: str = "float32"
    weights: tuple[Weight, ...] = ()
    trainable: bool = True
    flops: int | None = None
    """Multiplications and additions for one sample, None where not counted."""
    source: str = ""
    """Where the layer was made: `line 6: Conv2D(64, 3)`."""
    config: dict[str, Any] = field(default_factory=dict)
    repeated: bool = False
    """Whether the same layer was called before: its weights are counted there."""

    @property
    def params(self) -> int:
        """How many numbers its weights hold."""
        return sum(weight.size for weight in self.weights)

    @property
    def weight_bytes(self) -> int:
        """Memory of its weights."""
        return sum(weight.nbytes for weight in self.weights)

    @property
    def activation_bytes(self) -> int | None:
        """Memory of its output for one sample, None where a size is open."""
        sizes = [_sample_size(shape) for shape in self.shape]
        known = [size for size in sizes if size is not None]
        if not sizes or len(known) < len(sizes):
            return None
        return sum(known) * _itemsize(self.dtype)

    @property
    def settings(self) -> str:
        """The arguments that tell layers of a kind apart, in a few words."""
        return " ".join(_settings(self.config))


@dataclass
class Group:
    """Steps that may be drawn as one box: a nested model or a repeated block."""

    id: str
    name: str
    kind: str
    """The class of a nested model, `"block"` or `"repeat"`."""
    graph: "Graph"
    count: int = 1
    """How often a repeated block repeats."""

    @property
    def shape(self) -> tuple[tuple[int | None, ...], ...]:
        """Output shapes: those of the steps that lead out."""
        inner = {edge.source for edge in self.graph.edges}
        ends = [item for item in self.graph.items if item.id not in inner]
        return ends[-1].shape if ends else ()


@dataclass(frozen=True)
class Edge:
    """A tensor on its way from one item to another."""

    source: str
    target: str
    shape: tuple[int | None, ...] = ()


@dataclass
class Graph:
    """Items in the order of computation, and the tensors between them."""

    items: list[Step | Group] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """All steps, those inside groups too."""
        for item in self.items:
            if isinstance(item, Group):
                yield from item.graph.steps()
            else:
                yield item

    def groups(self) -> Iterator[Group]:
        """All groups, those inside groups too."""
        for item in self.items:
            if isinstance(item, Group):
                yield item
                yield from item.graph.groups()


@dataclass
class ModelGraph:
    """A model as plain data."""

    name: str
    kind: str
    graph: Graph
    connected: bool = True
    """Whether the edges are known; a subclassed model hides them in its `call`."""
    compiled: dict[str, str] = field(default_factory=dict)
    """Optimizer, loss and metrics in words, when there are any."""

    @property
    def steps(self) -> list[Step]:
        """All steps in the order of computation."""
        return list(self.graph.steps())

    @property
    def layers(self) -> list[Step]:
        """Steps without second calls of a layer."""
        return [step for step in self.steps if not step.repeated]

    @property
    def params(self) -> int:
        """How many numbers the weights hold."""
        return sum(layer.params for layer in self.layers)

    @property
    def trainable_params(self) -> int:
        """How many of them training changes."""
        held = (weight for layer in self.layers for weight in layer.weights)
        return sum(weight.size for weight in held if weight.trainable)

    @property
    def weight_bytes(self) -> int:
        """Memory of all weights."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int | None:
        """Memory of all outputs for one sample, None where a size is open."""
        held = [step.activation_bytes for step in self.steps]
        known = [size for size in held if size is not None]
        return sum(known) if len(known) == len(held) else None

    @property
    def flops(self) -> int | None:
        """Multiplications and additions for one sample, None if nothing was counted."""
        counted = [step.flops for step in self.steps if step.flops is not None]
        return sum(counted) if counted else None


def describe(model: Any) -> ModelGraph:
    """Read `model` as plain data; one that is not built yet lists its layers only."""
    outputs = _tensors(getattr(model, "outputs", None))
    if outputs:
        graph = _traced(outputs, (), set())
    else:
        graph = Graph([_step(layer, None, layer.name) for layer in model.layers])
        if type(model).__name__ == "Sequential":
            ids = [item.id for item in graph.items]
            graph.edges = [Edge(a, b) for a, b in itertools.pairwise(ids)]
    folded = fold(graph)
    connected = bool(folded.edges) or len(folded.items) < 2
    return ModelGraph(
        model.name, type(model).__name__, folded, connected, _compiled(model)
    )


# --- Reading the graph of calls -----------------------------------------------------


def _traced(outputs: list[Any], path: tuple[str, ...], called: set[int]) -> Graph:
    """The calls that lead to `outputs`, in an order in which they can be computed."""
    graph = Graph()
    maker: dict[tuple[int, int], str] = {}  # (operation, call) -> item
    for operation, index in _calls(outputs):
        node = operation._inbound_nodes[index]
        if path and not node.input_tensors:
            continue  # a nested model's own Input: the frame stands for it
        inner = _tensors(getattr(operation, "outputs", None))
        name = "/".join((*path, operation.name))
        times = sum(item.id.partition("@")[0] == name for item in graph.items)
        name = f"{name}@{times + 1}" if times else name
        maker[id(operation), index] = name
        if inner:
            within = fold(_traced(inner, (*path, operation.name), called))
            graph.items.append(
                Group(name, operation.name, type(operation).__name__, within)
            )
        else:
            repeated = id(operation) in called
            called.add(id(operation))
            graph.items.append(_step(operation, node, name, repeated))
        for tensor in node.input_tensors:
            source = maker.get(_origin(tensor))
            if source is not None:
                graph.edges.append(Edge(source, name, tuple(tensor.shape)))
    return graph


def _calls(outputs: list[Any]) -> list[tuple[Any, int]]:
    """The calls behind `outputs`, each after those it needs, without recursion."""
    done: dict[tuple[int, int], tuple[Any, int]] = {}
    waiting = [(tensor, False) for tensor in reversed(outputs)]
    while waiting:
        tensor, ready = waiting.pop()
        operation, index, _ = tensor._keras_history
        key = (id(operation), index)
        if key in done:
            continue
        if ready:
            done[key] = (operation, index)
            continue
        waiting.append((tensor, True))
        inputs = operation._inbound_nodes[index].input_tensors
        waiting += [(each, False) for each in reversed(list(inputs))]
    return list(done.values())


def _origin(tensor: Any) -> tuple[int, int]:
    operation, index, _ = tensor._keras_history
    return id(operation), index


def _tensors(tree: Any) -> list[Any]:
    """The symbolic tensors in a list or dict of them."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [t for value in tree.values() for t in _tensors(value)]
    if isinstance(tree, list | tuple):
        return [t for value in tree for t in _tensors(value)]
    return [tree] if hasattr(tree, "_keras_history") else []


def _step(layer: Any, node: Any, name: str, repeated: bool = False) -> Step:
    """One call of one layer."""
    tensors = list(node.output_tensors) if node is not None else []
    shapes = tuple(tuple(tensor.shape) for tensor in tensors)
    weights = tuple(
        Weight(_last(w), tuple(w.shape), str(w.dtype), bool(w.trainable))
        for w in getattr(layer, "weights", ())
    )
    kind = type(layer).__name__
    if kind == "OpCall":
        kind = layer.fn.__name__
    step = Step(
        id=name,
        name=layer.name,
        kind=kind,
        shape=shapes,
        dtype=str(tensors[0].dtype) if tensors else "float32",
        weights=weights,
        trainable=bool(getattr(layer, "trainable", True)),
        source=_source(layer),
        config=_config(layer),
        repeated=repeated,
    )
    step.flops = _flops(layer, node)
    if repeated:
        step.weights = ()
    return step


def _source(layer: Any) -> str:
    """Line and text of the cell that made a layer, as `%%kmodel` noted them."""
    noted = getattr(layer, "_source_line", None)
    if noted is None:
        return ""
    line, text = noted if isinstance(noted, tuple) else (noted, "")
    return f"line {line}: {text}" if text else f"line {line}"


def _last(weight: Any) -> str:
    """A weight's name within its layer."""
    return str(getattr(weight, "path", weight.name)).rpartition("/")[2]


def _config(layer: Any) -> dict[str, Any]:
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - a user's own layer may have none, and is drawn
        return {}
    return config if isinstance(config, dict) else {}


def _compiled(model: Any) -> dict[str, str]:
    """How the model was compiled, in words."""
    optimizer = getattr(model, "optimizer", None)
    said: dict[str, str] = {}
    if optimizer is not None:
        said["optimizer"] = type(optimizer).__name__
        rate = getattr(optimizer, "learning_rate", None)
        if rate is not None and not callable(rate):
            said["learning rate"] = f"{float(rate):.4g}"
    loss = getattr(model, "loss", None)
    if loss is not None:
        said["loss"] = _words(loss)
    return said


def _words(value: Any) -> str:
    """A setting as a person would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    for name in ("name", "__name__"):
        if hasattr(value, name):
            return str(getattr(value, name))
    return type(value).__name__


# --- Costs --------------------------------------------------------------------------


def _flops(layer: Any, node: Any) -> int | None:
    """Operations for one sample, None where there are no products or no known sizes."""
    tensors = list(node.input_tensors) if node is not None else []
    matrices = any(len(w.shape) > 1 for w in getattr(layer, "weights", ()))
    if not (matrices or len(tensors) > 1) or not tensors:
        return None
    if any(_sample_size(tuple(t.shape)) is None for t in tensors):
        return None

    def call(*arrays: Any) -> Any:
        value = {id(t): x for t, x in zip(tensors, arrays, strict=True)}
        args, kwargs = node.fill(lambda t: value[id(t)])
        variables = (layer.trainable_variables, layer.non_trainable_variables)
        held = ([v.value for v in group] for group in variables)
        return layer.stateless_call(*held, *args, **kwargs)[0]

    try:
        specs = [jax.ShapeDtypeStruct((1, *t.shape[1:]), t.dtype) for t in tensors]
        return count_flops(call, *specs) or None
    except Exception:  # noqa: BLE001 - a layer that cannot be traced is drawn all the same
        return None


def _sample_size(shape: tuple[int | None, ...]) -> int | None:
    """How many numbers a tensor holds for one sample, None where an axis is open."""
    known = [size for size in shape[1:] if size is not None]
    return math.prod(known) if len(known) == len(shape[1:]) else None


def _itemsize(dtype: str) -> int:
    if dtype == "bfloat16":
        return 2
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 0  # strings and other things that are not stored as numbers


_TELLING = (
    # argument, how to say it
    ("units", "{}"),
    ("filters", "{}"),
    ("kernel_size", "{}"),
    ("pool_size", "{}"),
    ("rate", "{}"),
    ("scale", "× {:.4g}"),
    ("output_dim", "{}"),
    ("num_heads", "{} heads"),
    ("target_shape", "{}"),
    ("activation", "{}"),
)


def _settings(config: dict[str, Any]) -> Iterator[str]:
    for name, form in _TELLING:
        value = config.get(name)
        if value in (None, "linear") or isinstance(value, bool):
            continue
        if isinstance(value, list | tuple):
            value = "×".join(map(str, value))
        elif isinstance(value, dict):
            value = value.get("class_name", "")
        try:
            yield form.format(value)
        except ValueError:
            yield str(value)


# --- Folding ------------------------------------------------------------------------


_LONG = 20  # a graph with more items than this is folded


def fold(graph: Graph) -> Graph:
    """A graph that is short enough to take in: branches and repeats become groups.

    A short graph is clearer as it is. In a long one, what lies between a fork and the
    join of all its ways becomes a block, and blocks that repeat become one group.
    """
    if len(graph.items) <= _LONG:
        return graph
    for start, length in reversed(_branched(graph)):
        block = graph.items[start : start + length]
        graph = _grouped(graph, start, length, _title(block), "block")
    signs = [_sign(item) for item in graph.items]
    spans: list[tuple[int, int, int]] = []
    start = 0
    while start < len(signs):
        period, count = _repeat_at(signs, start)
        if count > 1:
            spans.append((start, period, count))
        start += period * count
    for start, period, count in reversed(spans):
        title = _title(graph.items[start : start + period])
        graph = _grouped(graph, start, period * count, title, "repeat", count)
    return graph


def _branched(graph: Graph) -> list[tuple[int, int]]:
    """Where the ways from one item part and come together again: start and length."""
    place = {item.id: i for i, item in enumerate(graph.items)}
    last = list(range(len(place)))  # how far the outputs of an item reach
    for edge in graph.edges:
        a, b = place[edge.source], place[edge.target]
        last[a] = max(last[a], b)
    spans, start, reach = [], 0, 0
    for i in range(len(last)):
        # Nothing before this item is needed after it: the graph is one line here.
        if reach <= i:
            if i - start > 1:
                spans.append((start + 1, i - start))
            start = i
        reach = max(reach, last[i])
    return spans


def _title(block: list[Step | Group]) -> str:
    """What the items of a block share in their names, else its first and last kind."""
    shared = commonpath([item.name for item in block]).rstrip("_0123456789")
    if len(block) > 1 and len(shared) > 2:
        return shared
    ends = [item.name if isinstance(item, Group) else item.kind for item in block]
    if len(ends) > 2:
        return f"{ends[0]} … {ends[-1]}"
    return ", ".join(dict.fromkeys(ends))


def _sign(item: Step | Group) -> tuple[Any, ...]:
    if isinstance(item, Group):
        return (item.kind, item.count, *map(_sign, item.graph.items))
    return (item.kind, item.shape, item.params)


def _repeat_at(signs: list[tuple[Any, ...]], start: int) -> tuple[int, int]:
    """Length and number of the repeats from `start` on; those that cover most."""
    best = (1, 1)
    left = len(signs) - start
    for period in range(1, left // 2 + 1):
        block = signs[start : start + period]
        count = 1
        while signs[start + count * period : start + (count + 1) * period] == block:
            count += 1
        enough = count >= 2 and period * count >= 4
        if enough and period * count > best[0] * best[1]:
            best = (period, count)
    return best


def _grouped(
    graph: Graph, start: int, length: int, title: str, kind: str, count: int = 1
) -> Graph:
    """The graph with `length` items from `start` on put into one group."""
    inside = graph.items[start : start + length]
    names = {item.id for item in inside}
    within = Graph(inside, [e for e in graph.edges if {e.source, e.target} <= names])
    group = Group(f"{inside[0].id}…{inside[-1].id}", title, kind, within, count)

    def outer(edge: Edge) -> Edge:
        source = group.id if edge.source in names else edge.source
        target = group.id if edge.target in names else edge.target
        return Edge(source, target, edge.shape)

    crossing = (outer(e) for e in graph.edges if not {e.source, e.target} <= names)
    items: list[Step | Group] = [*graph.items[:start], group]
    items += graph.items[start + length :]
    return Graph(items, list(dict.fromkeys(crossing)))


# --- Words --------------------------------------------------------------------------


def shape_text(shapes: Iterable[tuple[int | None, ...]]) -> str:
    """Shapes as Keras writes them.

    >>> shape_text([(None, 26, 26, 32)])
    '(None, 26, 26, 32)'
    """
    return ", ".join(str(shape) for shape in shapes) or "?"


def short_shape(shape: tuple[int | None, ...]) -> str:
    """A shape without its batch axis, for the edge of a graph.

    >>> short_shape((None, 26, 26, 32))
    '26 × 26 × 32'
    """
    sizes = ["?" if size is None else str(size) for size in shape[1:]]
    return " × ".join(sizes) or "scalar"
