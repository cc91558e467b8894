"""What a run is at a step: taken down, and put back so that it goes on from there.

A state is plain data and arrays beside it. `BackupAndRestore` writes it to a file, a
mark keeps it in memory.
"""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.callbacks.progress import ProgbarLogger
from kerasnb.core import placement
from kerasnb.random import Generators

_POSITION = (
    *("epoch", "step_in_epoch", "step", "samples"),
    *("logs", "history", "epochs_of"),  # copied: the run goes on writing into them
)
Others = list[tuple[str, dict[str, Any]]]
Arrays = dict[str, np.ndarray]


def variables_of(model: Any) -> list[Any]:
    """All that changes in training: weights, seeds, optimizer, metrics."""
    return [variable for group in model._groups(training=True) for variable in group]


def neighbours(run: Any, aside: tuple[type, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The callbacks of a run that are part of its state, each with its class's name."""
    for callback in run.callbacks:
        if not isinstance(callback, (ProgbarLogger, *aside)):
            yield type(callback).__name__, callback


def arguments(callback: Any) -> dict[str, Any]:
    """The arguments of a callback's constructor, as far as it keeps them."""
    names = inspect.signature(type(callback)).parameters
    return {k: v for k, v in vars(callback).items() if k in names}


def take_down(
    model: Any,
    others: Iterable[tuple[str, Any]],
    given: dict[int, dict[str, Any]],
) -> tuple[dict[str, Any], Arrays]:
    """The state of a model's run: plain data, and the arrays it names.

    `given` has the arguments of the callbacks by `id`, as they were in the beginning.
    """
    run, arrays = model.run, _Arrays()
    state = {
        "variables": [
            [v.path, arrays.add(placement.gather(v.raw)), v.dtype]
            for v in variables_of(model)
        ],
        "swapped": [optimizer._swapped for optimizer in _averaging(model)],
        "position": {n: copy.deepcopy(getattr(run, n)) for n in _POSITION},
        "epoch_index": list(run.epoch_index),
        "order": None if run.order is None else arrays.add(run.order),
        "stopped": bool(model.stop_training),
        "generators": _plain(vars(Generators.now(run.random)), arrays),
        "callbacks": [
            [kind, _attributes(callback, given.get(id(callback), {}), arrays)]
            for kind, callback in others
        ],
    }
    return state, arrays.named


def put_back(
    model: Any,
    state: dict[str, Any],
    arrays: Arrays,
    other_model: Callable[[str], Exception],
) -> Others:
    """Give a model and its run what was taken down; the callbacks' states."""
    variables, kept = variables_of(model), state["variables"]
    # Paths may differ: a cell that is run again makes `sequential_1`.
    found = [v.shape for v in variables]
    wanted = [arrays[name].shape for _, name, _ in kept]
    if found != wanted:
        pairs = zip(kept, found, wanted, strict=False)
        raise other_model(next((x for (x, _, _), a, b in pairs if a != b), ""))
    for variable, (_, name, dtype) in zip(variables, kept, strict=True):
        # NumPy's files know no bfloat16: its bytes come back as plain ones.
        variable.store(jnp.asarray(arrays[name].view(jnp.dtype(dtype))))
    swapped = state.get("swapped", [])
    for optimizer, value in zip(_averaging(model), swapped, strict=False):
        optimizer._swapped = value
    run = model.run
    for name, value in copy.deepcopy(state["position"]).items():
        setattr(run, name, value)
    run.epoch_index[:] = state["epoch_index"]
    run.order = None if state["order"] is None else arrays[state["order"]]
    model.stop_training = state["stopped"]
    return [
        (kind, {name: _back(v, arrays) for name, v in attributes.items()})
        for kind, attributes in state["callbacks"]
    ]


def restore_generators(run: Any, state: dict[str, Any], arrays: Arrays) -> None:
    """Put the random generators back into the states they had."""
    Generators(**_back(state["generators"], arrays)).restore(run.random)


def remind(others: Iterable[tuple[str, Any]], states: Others) -> None:
    """Give callbacks their states: found by their classes, those of one in order."""
    waiting: dict[str, list[dict[str, Any]]] = {}
    for kind, attributes in states:
        waiting.setdefault(kind, []).append(attributes)
    for kind, callback in others:
        if waiting.get(kind):
            vars(callback).update(waiting[kind].pop(0))


def _averaging(model: Any) -> list[Any]:
    """The optimizers that may have their averages in the place of the weights."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    every = getattr(optimizer, "optimizers", [optimizer])
    return [one for one in every if hasattr(one, "_swapped")]


# --- Objects as JSON and arrays -------------------------------------------------------


class _Arrays:
    """The arrays of a state, by the names they have in the file."""

    def __init__(self) -> None:
        self.named: dict[str, np.ndarray] = {}

    def add(self, array: np.ndarray) -> str:
        name = f"array{len(self.named)}"
        self.named[name] = array
        return name


def _attributes(
    callback: Any, given: dict[str, Any], arrays: _Arrays
) -> dict[str, Any]:
    """What a callback remembers, as far as it is data: no files, models, functions."""
    kept = {}
    for name, value in vars(callback).items():
        if name in ("params", "_model"):
            continue
        fixed = name in given and given[name] is value
        if fixed and not isinstance(value, list | dict | set):
            continue
        with contextlib.suppress(TypeError):
            kept[name] = _plain(value, arrays)
    return kept


def _plain(value: Any, arrays: _Arrays) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.array(value)  # its own: callbacks may change theirs in place
        if array.dtype.kind not in "biufV":
            raise TypeError
        kind = next(k for k, cls in _ARRAYS.items() if isinstance(value, cls))
        return {kind: arrays.add(array), "dtype": array.dtype.name}
    if isinstance(value, np.random.Generator):
        state = value.bit_generator.state
        return {"generator": _plain(state, arrays)}
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, tuple | set):
        return {type(value).__name__: [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        items = value.items()
        return {"dict": [[_plain(k, arrays), _plain(v, arrays)] for k, v in items]}
    raise TypeError


_ARRAYS = {"scalar": np.generic, "array": np.ndarray, "jax": jax.Array}


def _back(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_back(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    if kind in _ARRAYS:
        array = arrays[inner].view(jnp.dtype(value["dtype"])).copy()
        return {"scalar": array[()], "array": array, "jax": jnp.asarray(array)}[kind]
    inner = _back(inner, arrays)
    if kind == "generator":
        # Only what is one of NumPy's generators is called: the name is from a file.
        made = getattr(np.random, inner["bit_generator"], None)
        if not (isinstance(made, type) and issubclass(made, np.random.BitGenerator)):
            raise ValueError(f"unknown random generator {inner['bit_generator']!r}")
        generator = made()
        generator.state = inner
        return np.random.Generator(generator)
    return {"tuple": tuple, "set": set, "dict": dict}[kind](inner)
