"""What outlives a change of the model: `%%kmodel --keep`.

Two models are laid side by side, layer by layer. A layer is as it was when its class,
its arguments and the shapes of its weights are the same, and its name, unless that was
numbered by itself. It takes over the values of its variables, and the new optimizer
what the old one knew about them, so that training goes on as if nothing had happened.
"""

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import jax

from kerasnb.core.claim import together
from kerasnb.core.configurable import serialize
from kerasnb.core.naming import to_snake_case
from kerasnb.core.registry import is_library
from kerasnb.core.variable import Variable
from kerasnb.layers import Normalization
from kerasnb.layers.layer import Layer
from kerasnb.models import Sequential
from kerasnb.models.functional import Functional
from kerasnb.optimizers import Optimizer
from kerasnb.optimizers.schedules import LearningRateSchedule

Twins = dict[Variable, Variable]
"""What each variable of the old model is in the new one."""
Values = dict[Variable, jax.Array]

_MOST = 12  # names in a sentence


@dataclass
class Kept:
    """Which layers of a model took over weights, which began anew, which are gone.

    A layer of a nested model has its path, unless all of that model fared alike.
    `optimizer` says what became of the optimizer's state, if there was any.
    """

    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    optimizer: str = ""

    def __str__(self) -> str:
        if not self.kept:
            return "No layer is as it was: all weights are new."
        gone = [f"the earlier {n}" if n in self.new else n for n in self.dropped]
        parts = {
            "Kept the weights of ": self.kept,
            "New: ": self.new,
            "Dropped: ": gone,
        }
        told = [f"{words}{_listed(names)}." for words, names in parts.items() if names]
        return " ".join([*told, *([self.optimizer] if self.optimizer else [])])


def keep_weights(old: Any, new: Any) -> Kept:
    """Give the layers of `new` that are as in `old` the values they had there.

    Layers may have moved, and nested models may have been changed inside. What a layer
    has learned by `adapt` in the cell stays. The optimizer goes on where the old one
    was when both are alike but for the learning rate: with its slots for these layers
    and its count of steps, which a learning rate schedule that is new begins anew. A
    learning rate stays what it has become, unless the new model asks for another.
    `old` does not change; while a run in the background trains it, all values are those
    of one whole step.
    """
    pairs = _pairs(list(_leaves(old)), list(_leaves(new)))
    twins: Twins = {}
    for source, layer in pairs:
        twins.update(zip(source.variables, layer.variables, strict=True))
    slots = [v for part in _parts(old.optimizer) for v in part.variables]
    values = together([*twins, *slots])
    for before, variable in twins.items():
        if before is not variable:
            variable.assign(values[before])
    result = Kept(*_split(new, [layer for _, layer in pairs]))
    result.dropped = _split(old, [source for source, _ in pairs])[1]
    if pairs:
        result.optimizer = _keep_optimizer(old, new, twins, values)
    return result


# --- Layers -------------------------------------------------------------------------


def _leaves(model: Any) -> Iterator[Layer]:
    """The layers that hold variables, those of nested models in their place."""
    for layer in model.layers:
        if _is_open(layer):
            yield from _leaves(layer)
        elif layer.variables:
            yield layer


def _is_open(layer: Layer) -> bool:
    """Whether the layers inside can be told apart one by one."""
    return isinstance(layer, Functional | Sequential)


def _pairs(old: list[Layer], new: list[Layer]) -> list[tuple[Layer, Layer]]:
    """Which layer of `old` each layer of `new` was, for those that are as they were."""
    both = set(old) & set(new)
    same = [layer for layer in dict.fromkeys(new) if layer in both]
    found = [(layer, layer) for layer in same]
    before = [x for x in dict.fromkeys(old) if x not in both]
    after = [x for x in dict.fromkeys(new) if x not in both and not _is_adapted(x)]
    signs = {layer: _signature(layer) for layer in (*before, *after)}
    first, second = ([signs[x] for x in layers] for layers in (before, after))
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for i, j, length in matcher.get_matching_blocks():
        found += zip(before[i : i + length], after[j : j + length], strict=True)
    # What has moved is left over on both sides.
    waiting: dict[str, list[Layer]] = defaultdict(list)
    done = {layer for pair in found for layer in pair}
    for layer in before:
        if layer not in done:
            waiting[signs[layer]].append(layer)
    for layer in after:
        if layer not in done and waiting[signs[layer]]:
            found.append((waiting[signs[layer]].pop(0), layer))
    return found


def _is_adapted(layer: Layer) -> bool:
    """Whether the cell has shown the layer data to learn its numbers from."""
    return isinstance(layer, Normalization) and any(
        variable.numpy().any() for variable in layer.variables[:1]
    )


def _signature(layer: Layer) -> str:
    """What must be equal for a layer to count as the same."""
    try:
        config = serialize(layer.get_config())
    except TypeError:  # It holds what no file can; then the very objects count.
        config = dict(layer._config)
    if re.fullmatch(rf"{to_snake_case(type(layer).__name__)}(_\d+)?", layer.name):
        config.pop("name", None)
    config.pop("trainable", None)  # Frozen or not, the weights are the same.
    own = [f for f in layer._config.values() if isinstance(f, FunctionType)]
    code = [repr(_essence(f.__code__)) for f in own if not is_library(f)]
    shapes = [variable.shape for variable in layer.variables]
    parts = [*_kind(layer), config, code, shapes]
    return json.dumps(parts, sort_keys=True, default=repr)


def _essence(code: CodeType) -> tuple:
    """What a function does, wherever it is written."""
    consts = [_essence(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, consts, code.co_names


def _split(model: Any, chosen: Iterable[Layer]) -> tuple[list[str], list[str]]:
    """The names of layers with weights, those that are all chosen and the others."""
    chosen = set(chosen)
    yes: list[str] = []
    no: list[str] = []

    def visit(layers: Iterable[Any], path: str) -> None:
        for layer in dict.fromkeys(layers):
            inner = list(_leaves(layer)) if _is_open(layer) else [layer]
            states = {x in chosen for x in inner if x.weights and not _is_adapted(x)}
            if len(states) == 1:
                (yes if states.pop() else no).append(path + layer.name)
            elif states:
                visit(layer.layers, f"{path}{layer.name}/")

    visit(model.layers, "")
    return yes, no


def _listed(names: list[str]) -> str:
    """Names in a sentence, not too many of them."""
    if len(names) <= _MOST:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST - 1])} and {len(names) - _MOST + 1} others"


# --- The optimizer ------------------------------------------------------------------


def fresh_optimizer(given: Any) -> Any:
    """An optimizer as `given`, but a copy of one that moves the weights of a model."""
    if not isinstance(given, Optimizer) or not given.built:
        return given
    if hasattr(given, "transformation"):
        return type(given)(**given._config)
    try:
        return type(given).from_config(given.get_config())
    except (TypeError, ValueError):  # Its parts are functions: it stays what it is.
        return given


def note_rates(model: Any) -> None:
    """Remember the learning rates that a model is made with; training may change them.

    To be called once the model is compiled.
    """
    for part in _parts(model.optimizer):
        part.__dict__["_first_rate"] = _rate_of(part)


def _keep_optimizer(old: Any, new: Any, twins: Twins, values: Values) -> str:
    """Let the new model's optimizer go on where the old one's was; the words for it."""
    before, after = old.optimizer, new.optimizer
    if after is None or before is None or before is after or not before.built:
        return ""
    steps = int(before.iterations)
    waiting = list(_parts(before))
    couples: list[tuple[Optimizer, Optimizer]] = []
    for part in _parts(after):
        twin = next((x for x in waiting if _alike(_settings(x), _settings(part))), None)
        if twin is not None:
            waiting.remove(twin)
            couples.append((twin, part))
    if not couples:
        return f"{type(after).__name__} begins anew: {_why_anew(before, after)}."
    after.build(new.trainable_variables)
    for twin, part in couples:
        _transfer(twin, part, twins, values)
    if not int(after.iterations) and steps:
        return f"{type(after).__name__} goes on, and its schedule begins anew."
    return _goes_on(after)


def _goes_on(optimizer: Any) -> str:
    steps = int(optimizer.iterations)
    words = f"{type(optimizer).__name__} goes on after {steps} step{'s' * (steps != 1)}"
    now, first = _rate_of(optimizer), getattr(optimizer, "_first_rate", None)
    if isinstance(now, float) and isinstance(first, float) and now != first:
        words += f", with the learning rate {now:.4g} that it came to"
    return f"{words}."


def _why_anew(before: Any, after: Any) -> str:
    if _kind(before) != _kind(after):
        return f"the one before was {type(before).__name__}"
    if hasattr(after, "transformation"):
        return (
            "its transformation is not known to be the one before; make it in another "
            "cell and give its name, as in --optimizer {name}"
        )
    return "its settings are not those of the one before"


def _parts(optimizer: Any) -> Iterator[Any]:
    """An optimizer and those inside it."""
    if optimizer is None:
        return
    yield optimizer
    yield from _parts(getattr(optimizer, "inner_optimizer", None))
    for part in getattr(optimizer, "optimizers", ()):
        yield from _parts(part)


def _rate_of(optimizer: Any) -> Any:
    """The learning rate as a number or as the data that describe a schedule."""
    rate = optimizer._rate
    return float(rate.value) if isinstance(rate, Variable) else serialize(rate)


def _settings(optimizer: Any) -> Any:
    """What must be equal for an optimizer to go on: all but rates and names."""
    if hasattr(optimizer, "transformation"):
        options = {k: v for k, v in optimizer._config.items() if k != "transformation"}
        return _kind(optimizer), optimizer.transformation, options
    return _kind(optimizer), _without_rates(serialize(optimizer.get_config()))


def _kind(thing: Any) -> list[str]:
    """What a class is known by; a cell that defines it may have been run again."""
    return [type(thing).__module__, type(thing).__qualname__]


def _without_rates(config: Any) -> Any:
    if isinstance(config, dict):
        skipped = ("learning_rate", "name", "registered_name")
        return {k: _without_rates(v) for k, v in config.items() if k not in skipped}
    if isinstance(config, list | tuple):
        return [_without_rates(value) for value in config]
    return config


def _alike(a: Any, b: Any, seen: set[tuple[int, int]] | None = None) -> bool:
    """Whether two values do the same; functions by their code and what they hold."""
    seen = set() if seen is None else seen
    if a is b or (id(a), id(b)) in seen:
        return True
    if type(a) is not type(b):
        return False
    alike = partial(_alike, seen=seen)
    if isinstance(a, FunctionType):
        seen.add((id(a), id(b)))  # It may hold itself.
        held = [[c.cell_contents for c in f.__closure__ or ()] for f in (a, b)]
        same = a.__code__ == b.__code__ and a.__globals__ is b.__globals__
        return same and alike([a.__defaults__, held[0]], [b.__defaults__, held[1]])
    if isinstance(a, partial):
        return alike([a.func, a.args, a.keywords], [b.func, b.args, b.keywords])
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return isinstance(a, str | int | float) and a == b


def _transfer(old: Any, new: Any, twins: Twins, values: Values) -> None:
    """Give an optimizer what another one like it knows, weight by weight."""
    copied = [(old._iterations, new._iterations)]
    own = {tie: v for v, tie in new._tracked.items() if tie is not None}
    for variable, tie in old._tracked.items():
        target = own.get((twins.get(tie[0]), tie[1])) if tie is not None else None
        if target is not None and target.shape == variable.shape:
            copied.append((variable, target))
    others, rest = _loose(old), _loose(new)
    if [(v.name, v.shape) for v in others] == [(v.name, v.shape) for v in rest]:
        copied += zip(others, rest, strict=True)
    rates = _rate_of(old), _rate_of(new)
    if isinstance(new._rate, LearningRateSchedule) and rates[0] != rates[1]:
        del copied[0]  # Another schedule has its beginning before it.
    first = getattr(old, "_first_rate", None), getattr(new, "_first_rate", None)
    if all(isinstance(x, float) for x in (*rates, *first)) and first[0] == first[1]:
        copied.append((old._rate, new._rate))
    for variable, target in copied:
        target.assign(values[variable])


def _loose(optimizer: Any) -> list[Variable]:
    """The variables that go with no weight, without the counter and the rate."""
    counter = (optimizer._iterations, optimizer._rate)
    loose = [v for v, tie in optimizer._tracked.items() if tie is None]
    return [v for v in loose if not any(v is one for one in counter)]
