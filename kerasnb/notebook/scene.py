"""Where everything on the picture of a model goes: boxes, edges, words; in pixels.

The same coordinates serve the still picture and the live one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kerasnb.notebook import charts, layout
from kerasnb.notebook.structure import (
    Edge,
    Graph,
    Group,
    ModelGraph,
    Step,
    short_shape,
)

_STEM = 20.0  # an edge starts straight down, its shape written beside it
_GAP = _STEM + 24.0  # between layers of boxes
_HEIGHT = 42.0
_NARROWEST, _WIDEST = 108.0, 264.0
_PAD, _HEAD = 14.0, 32.0  # inside the frame of an opened group

_FAMILIES = (
    # what a kind of layer is for, by a part of its name; the first match wins
    ("input", ("Input",)),
    ("norm", ("Normalization",)),
    ("drop", ("Dropout", "Noise")),
    (
        "join",
        (
            "Add",
            "Subtract",
            "Multiply",
            "Average",
            "Maximum",
            "Minimum",
            "Concatenate",
            "Dot",
            "add",
            "multiply",
            "concatenate",
            "stack",
        ),
    ),
    ("learn", ("Conv", "Dense", "Embedding", "LSTM", "GRU", "RNN", "Attention")),
)


def family(kind: str) -> str:
    """What a kind of layer is for; decides its colour.

    >>> family("Conv2D"), family("BatchNormalization"), family("AveragePooling2D")
    ('learn', 'norm', 'shape')
    """
    if "Pooling" in kind:
        return "shape"
    for name, parts in _FAMILIES:
        if any(part in kind for part in parts):
            return name
    return "shape"


@dataclass
class Box:
    """A rectangle with two lines of words."""

    id: str
    name: str
    role: str
    """`"step"`, `"group"` (folded) or `"frame"` (a group that is open)."""
    family: str
    x: float
    y: float
    width: float
    height: float
    title: str
    note: str
    small: str
    source: str = ""


@dataclass
class Scene:
    """A picture of a graph, or of a part of it."""

    width: float = 0.0
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    routes: list[list[layout.Point]] = field(default_factory=list)
    """Edges by the points that they pass."""
    labels: list[tuple[float, float, str]] = field(default_factory=list)
    """Words beside edges: shapes."""

    def add(self, part: "Scene", x: float, y: float) -> None:
        """Put another scene in, its corner at (x, y)."""
        self.boxes += [replace(box, x=box.x + x, y=box.y + y) for box in part.boxes]
        self.routes += [[(px + x, py + y) for px, py in route] for route in part.routes]
        self.labels += [(lx + x, ly + y, words) for lx, ly, words in part.labels]

    @property
    def paths(self) -> list[str]:
        """The edges as SVG paths that leave and arrive upright."""
        return [_curve(route) for route in self.routes]

    @property
    def overhang(self) -> float:
        """How far words stand out on the right."""
        ends = (x + text_width(words, 10.5) for x, _, words in self.labels)
        return max(0.0, *ends, self.width) - self.width


def draw(model: ModelGraph, opened: set[str]) -> Scene:
    """Place the graph of `model`, with the groups in `opened` laid open."""
    if not model.connected:
        return Scene()
    return _scene(model.graph, opened, framed=False)


_IN, _OUT = "\nin", "\nout"  # where edges enter and leave an open group


def _scene(graph: Graph, opened: set[str], framed: bool) -> Scene:
    """The items of `graph`; `framed` adds ways in and out at the top and the bottom."""
    inner = {
        item.id: _scene(item.graph, opened, framed=True)
        for item in graph.items
        if isinstance(item, Group) and item.id in opened
    }
    sizes: dict[str, tuple[float, float]] = {_IN: (0.0, 0.0)} if framed else {}
    for item in graph.items:
        if item.id in inner:
            part = inner[item.id]
            least = text_width(group_title(item), 12, bold=True) + 60
            sizes[item.id] = max(part.width + 2 * _PAD, least), part.height
        else:
            sizes[item.id] = _box_width(item), _HEIGHT
    edges = [(edge.source, edge.target) for edge in graph.edges]
    if framed:
        entered = {target for _, target in edges}
        left = {source for source, _ in edges}
        sizes[_OUT] = (0.0, 0.0)
        edges += [(_IN, item.id) for item in graph.items if item.id not in entered]
        edges += [(item.id, _OUT) for item in graph.items if item.id not in left]
    drawing = layout.layered(sizes, edges, _GAP)

    scene = Scene(drawing.width, drawing.height)
    for item in graph.items:
        x, y = drawing.places[item.id]
        scene.boxes.append(_box(item, x, y, sizes[item.id], item.id in inner))
        if item.id in inner:
            scene.add(
                inner[item.id], x + (sizes[item.id][0] - inner[item.id].width) / 2, y
            )
    for (source, target), route in drawing.routes.items():
        # An open group is entered and left in the middle of its frame.
        first = (drawing.width / 2, _GAP - _HEAD) if source == _IN else route[0]
        last = route[-1]
        if target == _OUT:
            last = (drawing.width / 2, drawing.height - _GAP + _PAD)
        scene.routes.append(_stemmed([first, *route[1:-1], last], source != _IN))
    for source, shape in _labels(graph.edges):
        x, y = drawing.places[source]
        width, height = sizes[source]
        scene.labels.append((x + width / 2 + 7, y + height + 14, shape))
    if not framed:
        return scene
    framed_scene = Scene(scene.width, scene.height + _HEAD + _PAD - 2 * _GAP)
    framed_scene.add(scene, 0.0, _HEAD - _GAP)
    return framed_scene


def _stemmed(route: list[layout.Point], stem: bool) -> list[layout.Point]:
    """A route that starts straight down where it would bend at once."""
    (x, y), following = route[0], route[1]
    bends = abs(following[0] - x) > 0.5
    return [route[0], (x, y + _STEM), *route[1:]] if stem and bends else route


def _curve(route: list[layout.Point]) -> str:
    """A line that leaves and arrives upright."""
    (x, y), rest = route[0], route[1:]
    out = [f"M{x:.1f},{y:.1f}"]
    for x1, y1 in rest:
        if abs(x - x1) < 0.5:
            out.append(f"L{x1:.1f},{y1:.1f}")
        else:
            middle = (y + y1) / 2
            out.append(f"C{x:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
        x, y = x1, y1
    return " ".join(out)


def _labels(edges: list[Edge]) -> Iterator[tuple[str, str]]:
    """The shapes that leave each item, once."""
    leaving: dict[str, dict[str, None]] = {}
    for edge in edges:
        if edge.shape:
            leaving.setdefault(edge.source, {})[short_shape(edge.shape)] = None
    for source, shapes in leaving.items():
        yield source, ", ".join(shapes)


# --- Words in boxes -----------------------------------------------------------------


def _box(
    item: Step | Group, x: float, y: float, size: tuple[float, float], opened: bool
) -> Box:
    title, note, small = _words(item)
    place = (x, y, *size)
    if isinstance(item, Group):
        role = "frame" if opened else "group"
        return Box(item.id, item.name, role, "group", *place, title, note, small)
    role, kind, source = "step", family(item.kind), item.source
    return Box(item.id, item.name, role, kind, *place, title, note, small, source)


def _words(item: Step | Group) -> tuple[str, str, str]:
    """Kind, what tells it apart, and the quiet second line."""
    if isinstance(item, Group):
        return group_title(item), "", _group_note(item)
    parts = [item.name]
    if item.repeated:
        parts.append("again")
    elif item.params:
        parts.append(f"{charts.count(item.params)} parameters")
    if item.params and not item.trainable:
        parts.append("frozen")
    return item.kind, item.settings, " · ".join(parts)


def group_title(group: Step | Group) -> str:
    """The name of a group, and how often it repeats."""
    if isinstance(group, Group) and group.count > 1:
        return f"{group.count} × {group.name}"
    return group.name


def _group_note(group: Group) -> str:
    steps = list(group.graph.steps())
    params = sum(step.params for step in steps)
    kind = "" if group.kind in ("block", "repeat") else f"{group.kind} of "
    again = all(step.repeated for step in steps)
    held = "again" if again else f"{charts.count(params)} parameters"
    return f"{kind}{len(steps)} layers · {held}"


def _box_width(item: Step | Group) -> float:
    title, note, small = _words(item)
    first = text_width(title, 12, bold=True) + text_width(note, 12) + 6 * bool(note)
    chevron = 14 if isinstance(item, Group) else 0
    words = max(first, text_width(small, 11)) + chevron
    return min(max(words + 28, _NARROWEST), _WIDEST)


def text_width(words: str, size: float, bold: bool = False) -> float:
    """About how wide words will be; fonts differ, so this is on the generous side."""
    width = 0.0
    for letter in words:
        if letter in "iljtfI.,:;|!'()[] /·\u202f":
            width += 0.36
        elif letter in "mwMW@%…×":
            width += 0.92
        else:
            width += 0.7 if letter.isupper() else 0.61
    return width * size * (1.06 if bold else 1.0)
