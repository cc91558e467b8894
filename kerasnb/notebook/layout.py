"""Where the boxes of a graph go: layers from top to bottom, few crossings, calm lines.

The classic layered drawing (Sugiyama, Tagawa & Toda, 1981): give each box a layer,
break long edges into one piece a layer, order the layers so that few edges cross, then
slide the boxes of each layer to where their neighbours are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Point = tuple[float, float]
Edge = tuple[str, str]

ROOM = 18.0  # between neighbours of a layer
_LANE = 26.0  # the room that a passing edge takes
_SWEEPS = 12


@dataclass
class Drawing:
    """Boxes by their top left corners, edges as the points they pass."""

    width: float = 0.0
    height: float = 0.0
    places: dict[str, Point] = field(default_factory=dict)
    routes: dict[Edge, list[Point]] = field(default_factory=dict)


def layered(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge], gap: float
) -> Drawing:
    """Place boxes of the given sizes so that every edge runs downwards.

    `sizes` is in an order in which every edge runs forwards; `gap` is the height left
    between two layers.
    """
    if not sizes:
        return Drawing()
    edges = list(dict.fromkeys(edges))
    rank = _rank(list(sizes), edges)
    layers, links, lanes = _split_long_edges(list(sizes), edges, rank)
    _order(layers, links)
    width = {lane: _LANE for chain in lanes.values() for lane in chain}
    width |= {name: size[0] for name, size in sizes.items()}
    centre = _slide(layers, links, width)

    drawing, y = Drawing(), 0.0
    middle: dict[str, tuple[float, float]] = {}  # the top and bottom of a lane
    for layer in layers:
        height = max(sizes[name][1] for name in layer if name in sizes)
        for name in layer:
            if name in sizes:
                x = centre[name] - sizes[name][0] / 2
                drawing.places[name] = (x, y + (height - sizes[name][1]) / 2)
            else:
                middle[name] = (y, y + height)
        y += height + gap
    drawing.height = y - gap
    drawing.width = max(x + sizes[name][0] for name, (x, _) in drawing.places.items())
    for edge in edges:
        source, target = edge
        bottom = drawing.places[source][1] + sizes[source][1]
        route = [(centre[source], bottom)]
        for lane in lanes[edge]:
            route += [(centre[lane], y) for y in middle[lane]]
        route.append((centre[target], drawing.places[target][1]))
        drawing.routes[edge] = route
    right = (
        max(x for route in drawing.routes.values() for x, _ in route) if edges else 0
    )
    drawing.width = max(drawing.width, right + _LANE / 2)
    return drawing


def _rank(names: list[str], edges: list[Edge]) -> dict[str, int]:
    """A layer for each box: below all its sources; sources just above their targets."""
    rank = dict.fromkeys(names, 0)
    place = {name: i for i, name in enumerate(names)}
    for source, target in sorted(edges, key=lambda edge: place[edge[0]]):
        rank[target] = max(rank[target], rank[source] + 1)
    entered = {target for _, target in edges}
    for name in names:
        after = [rank[target] for source, target in edges if source == name]
        if name not in entered and after:
            rank[name] = min(after) - 1
    return rank


def _split_long_edges(
    names: list[str], edges: list[Edge], rank: dict[str, int]
) -> tuple[list[list[str]], list[Edge], dict[Edge, list[str]]]:
    """Layers of boxes and lanes, the short links between them, the lanes by edge."""
    layers: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
    for name in names:
        layers[rank[name]].append(name)
    links: list[Edge] = []
    lanes: dict[Edge, list[str]] = {}
    for source, target in edges:
        chain = [
            f"{source}\n\n{target}\n{level}"
            for level in range(rank[source] + 1, rank[target])
        ]
        for level, lane in enumerate(chain, rank[source] + 1):
            layers[level].append(lane)
        links += pairwise([source, *chain, target])
        lanes[source, target] = chain
    return layers, links, lanes


def _neighbours(links: list[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for source, target in links:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _order(layers: list[list[str]], links: list[Edge]) -> None:
    """Sort each layer by the middle of its neighbours; keep the best order seen."""
    above, below = _neighbours(links)
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers, below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        near = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            place = {name: i for each in layers for i, name in enumerate(each)}
            wanted = {
                name: _mean([place[n] for n in near.get(name, [])], place[name])
                for name in layer
            }
            layer.sort(key=wanted.__getitem__)
        found = _crossings(layers, below)
        if found < fewest:
            fewest, best = found, [list(layer) for layer in layers]
    layers[:] = best


def _crossings(layers: list[list[str]], below: dict[str, list[str]]) -> int:
    """How many pairs of links cross."""
    crossed = 0
    for upper, lower in pairwise(layers):
        place = {name: i for i, name in enumerate(lower)}
        ends = [
            sorted(place[target] for target in below.get(name, []) if target in place)
            for name in upper
        ]
        flat = [end for each in ends for end in each]
        crossed += sum(
            flat[i] > flat[j] for i in range(len(flat)) for j in range(i + 1, len(flat))
        )
    return crossed


# --- Centres ------------------------------------------------------------------------


def _slide(
    layers: list[list[str]], links: list[Edge], width: Mapping[str, float]
) -> dict[str, float]:
    """Centres of boxes and lanes: straight where a path goes on, else near neighbours.

    What runs straight moves as one beam. A beam goes to the mean of what it is linked
    to, as far as the beams beside it let it.
    """
    beams = _beams(links)
    while True:
        beam = {name: i for i, names in enumerate(beams) for name in names}
        for name in (name for layer in layers for name in layer if name not in beam):
            beam[name] = len(beams)
            beams.append([name])
        apart: dict[tuple[int, int], float] = {}
        for layer in layers:
            for a, b in pairwise(layer):
                pair = beam[a], beam[b]
                room = (width[a] + width[b]) / 2 + ROOM
                apart[pair] = max(apart.get(pair, 0.0), room)
        order = _from_left(len(beams), apart)
        if order is not None:
            break
        # Two beams that cross cannot both be straight: the longest gives way.
        longest = max(range(len(beams)), key=lambda i: len(beams[i]))
        del beams[longest]

    linked: dict[int, list[int]] = {}
    for one, other in ((beam[source], beam[target]) for source, target in links):
        if one != other:
            linked.setdefault(one, []).append(other)
            linked.setdefault(other, []).append(one)
    x = dict.fromkeys(range(len(beams)), 0.0)
    _part(x, order, apart)
    mass = [sum(0.1 if _is_lane(name) else 1.0 for name in names) for names in beams]
    for _ in range(_SWEEPS * 5):
        wanted = {i: _mean([x[other] for other in linked.get(i, [])], x[i]) for i in x}
        x = {i: (x[i] + wanted[i]) / 2 for i in x}
        for _ in range(10):
            for (left, right), room in apart.items():
                # Who is too near gives way; the heavier one less.
                short = max(room - (x[right] - x[left]), 0.0)
                short /= mass[left] + mass[right]
                x[left] -= short * mass[right]
                x[right] += short * mass[left]
    _part(x, order, apart)
    start = min(x[beam[name]] - width[name] / 2 for layer in layers for name in layer)
    return {name: x[beam[name]] - start for layer in layers for name in layer}


def _part(
    x: dict[int, float], order: list[int], apart: Mapping[tuple[int, int], float]
) -> None:
    """Push what is still too near to the right."""
    left: dict[int, list[tuple[int, float]]] = {}
    for (a, b), room in apart.items():
        left.setdefault(b, []).append((a, room))
    for i in order:
        x[i] = max([x[i], *(x[a] + room for a, room in left.get(i, []))])


def _beams(links: list[Edge]) -> list[list[str]]:
    """Paths that should be straight.

    Through lanes, and from box to box where a fork or a join has only one box on that
    side, the other ways being lanes that pass by.
    """
    above, below = _neighbours(links)

    def only(names: list[str]) -> str | None:
        boxes = [name for name in names if not _is_lane(name)] or names
        return boxes[0] if len(boxes) == 1 else None

    after = {}
    for a, b in links:
        if only(below[a]) == b and only(above[b]) == a:
            after[a] = b
    beams = []
    for start in after.keys() - set(after.values()):
        beam = [start]
        while beam[-1] in after:
            beam.append(after[beam[-1]])
        beams.append(beam)
    return sorted(beams)


def _is_lane(name: str) -> bool:
    return name.count("\n") > 1


def _from_left(count: int, apart: Mapping[tuple[int, int], float]) -> list[int] | None:
    """The beams so that each comes after those on its left; None if they cross."""
    before = dict.fromkeys(range(count), 0)
    right: dict[int, list[int]] = {}
    for a, b in apart:
        before[b] += 1
        right.setdefault(a, []).append(b)
    ready = [i for i in range(count) if not before[i]]
    for i in ready:
        for b in right.get(i, []):
            before[b] -= 1
            if not before[b]:
                ready.append(b)
    return ready if len(ready) == count else None


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
