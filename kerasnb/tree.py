"""Nested lists, tuples and dicts: `keras.tree`.

A structure is nested where it is a list, tuple, namedtuple, deque or dict (also ordered
or with defaults); all else is a leaf: arrays, variables, None, and subclasses of these
containers. Dicts are walked by their sorted keys, ordered dicts in their order.

Two functions know the containers: `_open` takes one apart, `_like` makes one of the
same kind. (`jax.tree` is close, but opens variables, drops None and reorders dicts.)
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kerasnb.core.errors import show


class MAP_TO_NONE:
    """What the function given to `traverse` returns to put None in a place."""


_DICTS = (dict, OrderedDict, defaultdict)
_Path = tuple[Any, ...]


def _open(structure: Any) -> list[tuple[Any, Any]] | None:
    """The items of one container with their keys, in order; None for a leaf."""
    kind = type(structure)
    if kind is OrderedDict:
        return [*structure.items()]
    if kind in _DICTS:
        return [(key, structure[key]) for key in _sorted(structure)]
    if kind in (list, tuple, deque) or _is_namedtuple(structure):
        return [*enumerate(structure)]
    return None


def _like(structure: Any, items: list[Any]) -> Any:
    """A container like `structure` with other items, given in the order of `_open`."""
    kind: Any = type(structure)
    if kind is deque:
        return deque(items, structure.maxlen)
    if kind not in _DICTS:
        return kind(*items) if _is_namedtuple(structure) else kind(items)
    found = {
        key: item for (key, _), item in zip(_open(structure) or (), items, strict=True)
    }
    ordered = {key: found[key] for key in structure}
    if kind is defaultdict:
        return defaultdict(structure.default_factory, ordered)
    return kind(ordered)


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and isinstance(getattr(x, "_fields", None), tuple)


def _sorted(keys: Iterable[Any]) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:  # of several types: by the names of those first
        return sorted(
            keys, key=lambda k: (f"{type(k).__module__}.{type(k).__qualname__}", k)
        )


def is_nested(structure: Any) -> bool:
    """Whether `structure` is a container and not a leaf.

    >>> is_nested({"a": 1}), is_nested(None)
    (True, False)
    """
    return _open(structure) is not None


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; dicts by their sorted keys.

    >>> flatten({"b": [1, (2,)], "a": None})
    [None, 1, 2]
    """
    return [leaf for _, leaf in _walk(structure, ())]


def flatten_with_path(structure: Any) -> list[tuple[_Path, Any]]:
    """The leaves, each after the keys and indices that lead to it.

    >>> flatten_with_path([{"foo": 42}])
    [((0, 'foo'), 42)]
    """
    return [*_walk(structure, ())]


def _walk(structure: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    items = _open(structure)
    if items is None:
        yield path, structure
        return
    for key, item in items:
        yield from _walk(item, (*path, key))


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Apply `func` to every part, containers included.

    Where it returns None the part stays (and is entered, when going down); else what it
    returns takes the part's place, and `MAP_TO_NONE` stands for None.

    >>> traverse(lambda x: sum(x) if isinstance(x, list) else None, {"a": [1, 2]})
    {'a': 3}
    """
    if not callable(func):
        raise TypeError(f"`func` must be a function, not {show(func)}.")

    def inside(part: Any) -> Any:
        items = _open(part)
        if items is None:
            return part
        return _like(part, [traverse(func, item, top_down) for _, item in items])

    if not top_down:
        structure = inside(structure)
    found = func(structure)
    if found is None:
        return inside(structure) if top_down else structure
    return None if found is MAP_TO_NONE else found


def map_structure(
    func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True
) -> Any:
    """The structure of what `func` returns for the leaves, of several side by side.

    With `none_is_leaf=False` None stays None. ValueError when structures differ.

    >>> map_structure(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
    """
    if not callable(func):
        raise TypeError(f"`func` must be a function, not {show(func)}.")
    first, *rest = _at_least_one(structures)

    def visit(path: _Path, first: Any, *rest: Any) -> Any:
        if first is None and not none_is_leaf:
            if any(other is not None for other in rest):
                raise _differ(path, first, *rest)
            return None
        if (items := _open(first)) is None:
            if any(map(is_nested, rest)) or (
                not none_is_leaf and any(other is None for other in rest)
            ):
                raise _differ(path, first, *rest)
            return func(first, *rest)
        return _like(first, _beside(visit, path, first, items, rest))

    return visit((), first, *rest)


def map_structure_up_to(
    shallow_structure: Any, func: Callable[..., Any], *structures: Any
) -> Any:
    """`map_structure` that stops where `shallow_structure` does.

    >>> map_structure_up_to([None, None], len, [[1, 1], [2, 2, 2]])
    [2, 3]
    """
    _at_least_one(structures)

    def visit(path: _Path, first: Any, *rest: Any) -> Any:
        if (items := _open(first)) is None:
            return func(*rest)
        return _like(first, _beside(visit, path, first, items, rest))

    return visit((), shallow_structure, *structures)


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raise a ValueError unless both are nested alike, in containers of the same kinds.

    All dicts are of one kind. `check_types` is ignored, as in Keras.

    >>> assert_same_structure([(0, 1)], [[2, 3]])
    Traceback (most recent call last):
    ValueError: The structures differ at [0]: (0, 1) and [2, 3].
    """

    def visit(path: _Path, a: Any, b: Any) -> None:
        items = _open(a)
        if items is None and is_nested(b):
            raise _differ(path, a, b)
        if items is not None:
            _beside(visit, path, a, items, (b,))

    visit((), a, b)


def _beside(
    visit: Callable, path: _Path, first: Any, items: list, rest: Iterable[Any]
) -> list[Any]:
    """Visit the items of a container beside those of others, which must be alike."""
    others = []
    for other in rest:
        opened = _open(other)
        kinds = type(first), type(other)
        alike = kinds[0] is kinds[1] or all(kind in _DICTS for kind in kinds)
        if (
            opened is None
            or not alike
            or {k for k, _ in opened} != {k for k, _ in items}
        ):
            raise _differ(path, first, other)
        others.append(dict(opened))
    return [visit((*path, k), item, *(o[k] for o in others)) for k, item in items]


def _differ(path: _Path, *parts: Any) -> ValueError:
    place = "".join(f"[{key!r}]" for key in path)
    at = f" at {place}" if place else ""
    return ValueError(f"The structures differ{at}: {' and '.join(map(show, parts))}.")


def _at_least_one(structures: tuple) -> tuple:
    if not structures:
        raise ValueError("At least one structure is needed.")
    return structures


def assert_same_paths(a: Any, b: Any) -> None:
    """Raise a ValueError unless the same paths lead to the leaves of both.

    >>> assert_same_paths([0, 1], (2, 3))
    """
    first, second = (dict.fromkeys(p for p, _ in _walk(x, ())) for x in (a, b))
    missing = [*(p for p in first if p not in second)]
    added = [*(p for p in second if p not in first)]
    if missing or added:
        raise ValueError(
            "The structures have different paths: "
            f"only in `a` {show(missing)}, only in `b` {show(added)}."
        )


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """`flat_sequence` in the shape of `structure`, whose leaves are ignored.

    >>> pack_sequence_as({"b": 0, "a": (0, 0)}, [1, 2, 3])
    {'b': 3, 'a': (1, 2)}
    """
    flat = [*flat_sequence]
    count = len(flatten(structure))
    if len(flat) != count:
        raise ValueError(
            f"`flat_sequence` has {len(flat)} items and the structure {count} leaves."
        )
    leaves = iter(flat)
    return map_structure(lambda _: next(leaves), structure)


def lists_to_tuples(structure: Any) -> Any:
    """The same structure with a tuple for each list.

    >>> lists_to_tuples([{"a": [1]}])
    ({'a': (1,)},)
    """
    change = lambda part: tuple(part) if isinstance(part, list) else None  # noqa: E731
    return traverse(change, structure, top_down=False)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """`map_structure` whose leaves are shapes: tuples or lists of integers and None.

    >>> map_shape_structure(len, {"x": (None, 3), "y": [2]})
    {'x': 2, 'y': 1}
    """
    if _is_shape(structure) or (items := _open(structure)) is None:
        return func(structure)
    return _like(structure, [map_shape_structure(func, item) for _, item in items])


def _is_shape(x: Any) -> bool:
    return isinstance(x, list | tuple) and all(
        d is None or isinstance(d, int) for d in x
    )


__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]
