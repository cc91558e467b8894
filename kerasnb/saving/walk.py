"""Where in a file the state of an object goes.

Keras' files have no table of contents: the place of a layer's weights follows from how
the layer is reached from the model, `layers/dense_1` or `encoder/norm`. This file walks
objects as Keras does, so that both libraries find the same places:

- from an object to those kept in its attributes, in alphabetic order, private ones
  last, a model's `layers` first; attributes that every such object has are left out;
- in a list, tuple or dict, a place is named after the class in snake case, and numbered
  from the second of that name on; a list in a list is called `container`;
- an object that is reached twice stays at the first place.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from kerasnb.core.naming import to_snake_case
from kerasnb.layers.layer import Layer
from kerasnb.losses import Loss
from kerasnb.metrics import Metric
from kerasnb.optimizers import Optimizer

KINDS: tuple[type, ...] = (Layer, Optimizer, Metric, Loss)


def places(root: Any, skip: Iterable[Any] = ()) -> Iterator[tuple[str, Any]]:
    """Each object with a state in `root`, itself included, after its place.

    >>> from kerasnb.layers import Dense
    >>> class Pair(Layer):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.both = [Dense(1), Dense(1)]
    >>> [place for place, _ in places(Pair())]
    ['', 'both/dense', 'both/dense_1']
    """
    # The objects are kept with their ids: an id is free again when its object is gone.
    seen = {id(x): x for x in skip}
    # An explicit stack: models are nested deeper than Python likes to recurse.
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        place, item = stack.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, KINDS):
            yield place, item
            inside = _attributes(item)
        else:
            inside = _named_items(item)
        found = [
            (f"{place}/{name}" if place else name, value)
            for name, value in inside
            if isinstance(value, (*KINDS, list, tuple, dict))
        ]
        stack.extend(reversed(found))


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    first = getattr(type(obj), "_saved_first", ())
    hidden = _base_names(next(kind for kind in KINDS if isinstance(obj, kind)))
    hidden = hidden | getattr(type(obj), "_UNTRACKED", frozenset())
    names = [n for n in dir(obj) if n not in hidden and not n.startswith("__")]
    for name in [*first, *sorted(names, key=_public_first), "optimizer"]:
        try:
            value = getattr(obj, name)
        except Exception:  # noqa: BLE001, S112 - a property that fails keeps no state
            continue
        yield name, value


def _public_first(name: str) -> str:
    return f"~{name}" if name.startswith("_") else name


@functools.cache
def _base_names(kind: type) -> frozenset[str]:
    """The attributes of an object that is nothing but a layer, an optimizer, ..."""
    arguments = {"learning_rate": 1.0} if kind is Optimizer else {}
    return frozenset(dir(kind(name="base", **arguments)))


def _named_items(container: Any) -> Iterator[tuple[str, Any]]:
    counts: Counter[str] = Counter()
    for item in container.values() if isinstance(container, dict) else container:
        if not isinstance(item, (*KINDS, list, tuple, dict)):
            continue
        known = isinstance(item, KINDS)
        name = to_snake_case(type(item).__name__) if known else "container"
        yield name if not counts[name] else f"{name}_{counts[name]}", item
        counts[name] += 1
