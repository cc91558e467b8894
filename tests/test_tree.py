"""`keras.tree` beside Keras' own, on written and on generated structures."""

import inspect
import random
from collections import OrderedDict, defaultdict, deque, namedtuple

import keras
import numpy as np
import pytest

from kerasnb import Variable, tree

Point = namedtuple("Point", "x y")
Other = namedtuple("Other", "x y")


class Listlike(list):
    """A subclass of a container is a leaf."""


WRITTEN = [
    1,
    None,
    (),
    [],
    {},
    [None],
    [1, (2, [3, None]), {"b": 4, "a": {"d": 5, "c": ()}}],
    OrderedDict([("b", 1), ("a", [2, 3])]),
    defaultdict(list, {"b": 1, "a": 2}),
    deque([1, (2, 3)], maxlen=4),
    Point(1, Point([2], None)),
    {3: "c", 1: "a", 2: Point(1, 2)},
    {"a": 1, 2: "b", (1, 2): 3},
    [Listlike([1, 2]), {1, 2}, "text", range(3)],
    {"x": (None, 3), "y": [(2, 3), (None, None, 1)], "z": 7},
]


def generated(rng: random.Random, depth: int = 0) -> object:
    """A random structure of every kind of container."""
    if depth == 4 or rng.random() < 0.25:
        return rng.choice([None, rng.randrange(9), "leaf", 2.5])
    items = [generated(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = rng.sample("abcdef", len(items))
    return rng.choice(
        [
            list,
            tuple,
            deque,
            lambda items: dict(zip(keys, items, strict=True)),
            lambda items: OrderedDict(zip(keys, items, strict=True)),
            lambda items: defaultdict(int, zip(keys, items, strict=True)),
            lambda items: Point(*[*items, None, 1][:2]),
        ]
    )(items)


STRUCTURES = [*WRITTEN, *(generated(random.Random(i)) for i in range(60))]


def same(ours: object, theirs: object) -> None:
    """Equal, of the same types, with dicts in the same order."""
    assert repr(ours) == repr(theirs)
    assert ours == theirs


def outcome(fn: object, *args: object) -> object:
    """What a call returns, or which kind of error it raises."""
    try:
        return fn(*args)
    except (ValueError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize("index", range(len(STRUCTURES)))
def test_a_structure_is_taken_apart_and_put_together_as_in_keras(index):
    structure, theirs = STRUCTURES[index], keras.tree
    same(tree.is_nested(structure), theirs.is_nested(structure))
    same(tree.flatten(structure), theirs.flatten(structure))
    same(tree.flatten_with_path(structure), theirs.flatten_with_path(structure))
    same(tree.lists_to_tuples(structure), theirs.lists_to_tuples(structure))
    flat = [*range(len(tree.flatten(structure)))]
    packed = tree.pack_sequence_as(structure, flat)
    same(packed, theirs.pack_sequence_as(structure, flat))
    same(tree.flatten(packed), flat)
    for library in (tree, theirs):
        with pytest.raises(ValueError, match=r"leaves|few|number of"):
            library.pack_sequence_as(structure, [*flat, 1])
    same(tree.map_structure(str, structure), theirs.map_structure(str, structure))
    same(
        tree.map_structure(str, structure, none_is_leaf=False),
        theirs.map_structure(str, structure, none_is_leaf=False),
    )
    same(
        tree.map_shape_structure(repr, structure),
        theirs.map_shape_structure(repr, structure),
    )


@pytest.mark.parametrize("top_down", [True, False])
def test_traversing_visits_and_replaces_as_in_keras(top_down):
    def walk(library):
        seen = []

        def visit(part):
            seen.append(part)
            if part == 2:
                return library.MAP_TO_NONE
            return "pair" if isinstance(part, tuple) and len(part) == 2 else None

        out = [library.traverse(visit, s, top_down) for s in STRUCTURES]
        return out, seen

    for mine, wanted in zip(walk(tree), walk(keras.tree), strict=True):
        same(mine, wanted)


def changed(structure: object, rng: random.Random) -> object:
    """The same structure, with one container changed or made a leaf, or none."""
    parts = []
    tree.traverse(parts.append, structure)
    chosen = rng.choice(parts)
    new = rng.choice(
        [chosen, None, [chosen], [1, 2], (1, 2), {"a": 1}, Other(1, 2), deque([1])]
    )
    if rng.random() < 0.3 and isinstance(chosen, dict):
        new = rng.choice([dict, OrderedDict])(chosen.items())
    return tree.traverse(lambda part: new if part is chosen else None, structure)


@pytest.mark.parametrize("index", range(len(STRUCTURES)))
def test_structures_are_compared_as_in_keras(index):
    rng, first = random.Random(index), STRUCTURES[index]
    for _ in range(8):
        second = changed(first, rng)
        for a, b in ((first, second), (second, first)):
            for name in ("assert_same_structure", "assert_same_paths"):
                mine = outcome(getattr(tree, name), a, b)
                assert mine == outcome(getattr(keras.tree, name), a, b), (name, a, b)
            pair = lambda *items: f"{items}"  # noqa: E731
            same(
                outcome(tree.map_structure, pair, a, b),
                outcome(keras.tree.map_structure, pair, a, b),
            )
            # Keras refuses None in the first, though its manual maps up to it.
            shallow = tree.map_structure(lambda x: 0, a)
            same(
                outcome(tree.map_structure_up_to, shallow, repr, b),
                outcome(keras.tree.map_structure_up_to, shallow, repr, b),
            )


def test_the_signatures_are_those_of_keras():
    names = [n for n in dir(keras.tree) if not n.startswith("_")]
    assert len(names) == 12
    for name in names:
        ours, theirs = getattr(tree, name), getattr(keras.tree, name)
        if inspect.isfunction(theirs):
            facts = [
                [(p.name, p.kind, p.default) for p in s.parameters.values()]
                for s in (inspect.signature(ours), inspect.signature(theirs))
            ]
            assert facts[0] == facts[1], name


def test_arrays_and_variables_are_leaves():
    structure = [np.ones(2), {"v": Variable(1.0)}]
    assert [type(x).__name__ for x in tree.flatten(structure)] == [
        "ndarray",
        "Variable",
    ]


def test_a_difference_is_told_by_its_place():
    with pytest.raises(ValueError, match=r"differ at \['a'\]\[1\]: \[2\] and 3\."):
        tree.map_structure(max, {"a": [1, [2]]}, {"a": [1, 3]})
    with pytest.raises(ValueError, match="3 items and the structure 2 leaves"):
        tree.pack_sequence_as((0, 0), [1, 2, 3])
    with pytest.raises(TypeError, match="must be a function, not 1"):
        tree.map_structure(1, [2])
