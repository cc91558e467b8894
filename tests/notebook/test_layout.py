"""kerasnb.notebook.layout"""

import random
from itertools import combinations, pairwise

import pytest

from kerasnb.notebook.layout import ROOM, layered

GAP = 40.0


def boxes(names, width=100.0, height=40.0):
    return dict.fromkeys(names, (width, height))


def overlap(a, b, drawing, sizes):
    (ax, ay), (bx, by) = drawing.places[a], drawing.places[b]
    (aw, ah), (bw, bh) = sizes[a], sizes[b]
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah


def centre(name, drawing, sizes):
    return drawing.places[name][0] + sizes[name][0] / 2


def random_graph(seed):
    draw = random.Random(seed)
    names = [f"n{i}" for i in range(draw.randint(2, 25))]
    sizes = {name: (draw.uniform(40, 220), draw.uniform(20, 90)) for name in names}
    edges = [pair for pair in combinations(names, 2) if draw.random() < 0.12]
    return sizes, edges


@pytest.mark.parametrize("seed", range(30))
def test_no_two_boxes_overlap_and_every_edge_runs_down(seed):
    sizes, edges = random_graph(seed)
    drawing = layered(sizes, edges, GAP)
    for a, b in combinations(sizes, 2):
        assert not overlap(a, b, drawing, sizes), (a, b)
    for source, target in edges:
        route = drawing.routes[source, target]
        heights = [y for _, y in route]
        assert heights == sorted(heights)
        assert route[0][1] == drawing.places[source][1] + sizes[source][1]
        assert route[-1][1] == drawing.places[target][1]


@pytest.mark.parametrize("seed", range(30))
def test_a_long_edge_passes_beside_the_boxes_on_its_way(seed):
    sizes, edges = random_graph(seed)
    drawing = layered(sizes, edges, GAP)
    for route in drawing.routes.values():
        for (x0, y0), (x1, y1) in pairwise(route):
            if abs(x0 - x1) > 0.5:
                continue  # a bend, which lies between two layers
            for name, (x, y) in drawing.places.items():
                width, height = sizes[name]
                inside = x < x0 < x + width and y0 < y + height and y < y1
                assert not inside, name


@pytest.mark.parametrize("seed", range(10))
def test_the_picture_holds_everything(seed):
    sizes, edges = random_graph(seed)
    drawing = layered(sizes, edges, GAP)
    for name, (x, y) in drawing.places.items():
        assert x >= -1e-6
        assert y >= -1e-6
        assert x + sizes[name][0] <= drawing.width + 1e-6
        assert y + sizes[name][1] <= drawing.height + 1e-6
    points = [x for route in drawing.routes.values() for x, _ in route]
    assert all(-1e-6 <= x <= drawing.width for x in points)


def test_a_chain_is_a_straight_line():
    names = "abcdef"
    sizes = {name: (50.0 + 20 * i, 40.0) for i, name in enumerate(names)}
    drawing = layered(sizes, list(pairwise(names)), GAP)
    assert len({round(centre(name, drawing, sizes), 3) for name in names}) == 1


def test_a_skip_connection_passes_beside_a_straight_main_path():
    sizes = boxes(["x", "conv", "norm", "add", "y"])
    edges = [*pairwise(sizes), ("x", "add")]
    drawing = layered(sizes, edges, GAP)
    assert len({round(centre(name, drawing, sizes), 3) for name in sizes}) == 1
    right = drawing.places["conv"][0] + 100
    assert max(x for x, _ in drawing.routes["x", "add"]) > right


def test_branches_stand_side_by_side_below_their_fork():
    sizes = boxes(["in", "a", "b", "c", "out"])
    edges = [("in", n) for n in "abc"] + [(n, "out") for n in "abc"]
    drawing = layered(sizes, edges, GAP)
    assert len({drawing.places[n][1] for n in "abc"}) == 1
    assert centre("in", drawing, sizes) == pytest.approx(
        centre("b", drawing, sizes), abs=1
    )
    assert drawing.places["b"][0] - drawing.places["a"][0] >= 100 + ROOM - 1e-6


def test_an_order_with_crossings_is_untangled():
    sizes = boxes(["a", "b", "c", "d"])
    drawing = layered(sizes, [("a", "d"), ("b", "c")], GAP)
    place = {name: drawing.places[name][0] for name in sizes}
    assert (place["a"] < place["b"]) == (place["d"] < place["c"])


def test_an_input_of_a_late_layer_stands_just_above_it():
    sizes = boxes(["a", "b", "c", "late", "join"])
    drawing = layered(sizes, [*pairwise("abc"), ("c", "join"), ("late", "join")], GAP)
    assert drawing.places["late"][1] == drawing.places["c"][1]


def test_the_empty_and_the_single_graph_are_drawn():
    assert layered({}, [], GAP).places == {}
    assert layered(boxes("a"), [], GAP).places == {"a": (0.0, 0.0)}
