"""What `fit` calls: `begin` opens the record of a run, which follows it to its end."""

import datetime
import json
import platform
import re
import secrets
import sys
import threading
import time
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import jax

from kerasnb.core import settings
from kerasnb.core.configurable import serialize_object
from kerasnb.core.registry import get_registered_name, is_library
from kerasnb.random import seeded
from kerasnb.runs import curves, fingerprint, folder, start, weights
from kerasnb.runs.record import Record, base_name, take_again
from kerasnb.saving.files import Replacing

_ARGUMENTS = (
    *("batch_size", "epochs", "validation_split", "shuffle", "class_weight"),
    *("initial_epoch", "steps_per_epoch", "validation_steps"),
    *("validation_batch_size", "validation_freq"),
)
_BETWEEN_WRITES = 1.0  # seconds, and twenty times what the last write took

_named: ContextVar[tuple[str, list[Record]] | None] = ContextVar("named", default=None)


@contextmanager
def named(name: str) -> Iterator[list[Record]]:
    """Give the runs of each `fit` inside a name, instead of the model's.

    What it opens is the list of their records.

        with kerasnb.runs.named("wide"):
            model.fit(x, y, epochs=5)
        kerasnb.runs["wide"]
    """
    made: list[Record] = []
    token = _named.set((str(name), made))
    try:
        yield made
    finally:
        _named.reset(token)


def open_record(
    kept: Iterable[Record],
    model: Any,
    run: Any,
    given: Mapping[str, Any],
    data: Mapping[str, Any],
    preparing: float,
) -> Record:
    """The record of a run of `fit` that begins now, which from now on follows it.

    `given` are the arguments of `fit`, `data` its sources of batches, `preparing` the
    seconds that building and compiling took.
    """
    found = {kind: _fingerprint(source) for kind, source in data.items() if source}
    again = take_again()
    if again is not None:
        again.begin(model, found)
    name, made = _named.get() or (model.name, [])
    now = datetime.datetime.now().astimezone()
    described = _describe(model)
    record = Record(
        {
            "id": f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            "name": _distinct(name, kept),
            "began": now.isoformat(timespec="milliseconds"),
            "status": "running",
            "message": "",
            "model": described.facts,
            "settings": {**described.compiled, **_settings(given, run)},
            "arguments": {key: folder.plain(given[key]) for key in _ARGUMENTS},
            "callbacks": _callbacks(given["callbacks"]),
            "seed": None,
            "data": found,
            "versions": versions(),
            "devices": _devices(),
            "timing": {"compile": round(preparing, 4)},
            "epochs_done": 0,
            "alarms": [],
        }
    )
    run.name = record.name
    record.start = start.Start.of(model, run.random)
    record.seed = record.start.generators.seed
    record.note_model(described.config, described.code, described.custom)
    held = None
    parent = settings.runs_dir()
    if parent is not None and jax.process_index() == 0:
        held = _open_folder(record, model, parent)
    record.follow(model)
    run.listeners.append(Follower(record, held))
    run.keeper = weights.Keeper(record, model)
    made.append(record)
    return record


class Follower:
    """Takes over into the record what the run has done; one of the run's listeners."""

    def __init__(self, record: Record, held: BinaryIO | None) -> None:
        self.record, self.held = record, held
        self._next_write = time.monotonic() + _BETWEEN_WRITES
        self._generation = 0

    def __call__(self, run: Any, final: bool = False) -> None:
        """Take in what is new; trouble ends the record with a warning, not the run."""
        record = self.record
        try:
            written = record.folder is not None and (
                final or time.monotonic() >= self._next_write
            )
            if final or len(run.epoch_index) != len(record.epochs):
                self._take(run, final)
            if final or written:
                record.steps, record.curves = curves.decimate(*run.step_points())
            if written:
                began = time.monotonic()
                record.write()
                done = time.monotonic()
                wait = max(_BETWEEN_WRITES, 20 * (done - began))
                self._next_write = done + wait
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            run.listeners = [one for one in run.listeners if one is not self]
            warnings.warn(
                f"The record of run `{record.name}` ends here ({error}); training goes "
                "on.",
                stacklevel=2,
            )
            final = True
        if final and record.folder is not None:
            folder.release(record.folder, self.held)
            self.held = None

    def _take(self, run: Any, final: bool) -> None:
        record = self.record
        # What is there already stays so, unless the run went back to before it.
        held = record.history if run.generation == self._generation else {}
        self._generation = run.generation
        record.history = {
            name: (old := held.get(name, [])) + folder.plain(values[len(old) :])
            for name, values in run.history.items()
        }
        record.epochs_done = len(run.epoch_index)
        record.alarms = [alarm.plain() for alarm in run.alarms]
        first = run.epoch - record.epochs_done
        record.epochs = list(range(first, run.epoch))
        record.place({name: run.epochs_of.get(name, []) for name in run.history})
        validating = run.validation_seconds
        record.timing |= {
            "train": round(run.elapsed - validating, 4),
            "validation": round(validating, 4),
        }
        if record.timing["train"] > 0:
            rate = run.samples / record.timing["train"]
            record.timing["samples_per_second"] = round(rate, 1)
        if final:
            record.status, record.message = run.status, run.message


# --- Facts ----------------------------------------------------------------------------


class _Described:
    """What is to be said of a model: computed once, as long as it stays as it is."""

    def __init__(self, model: Any) -> None:
        # A script is found by making layers to compare with, and these draw seeds.
        with seeded(None):
            text, problem = _attempted(lambda: json.dumps(serialize_object(model)))
            code, _ = _attempted(model.to_code)
        told = model.get_compile_config() if text else model._compile_arguments
        self.compiled = dict(flatten(folder.plain(told)))
        self.custom = dict(_own_objects(model))
        self.config, self.code = _packed(text), _packed(code)
        self.facts = {
            "name": model.name,
            "class": type(model).__name__,
            "parameters": sum(v.size for v in model.weights),
            "fingerprint": fingerprint.of_text(re.sub(r'"name": "[^"]*"', "", text)),
            **({"problem": problem} if problem else {}),
        }


def _attempted(make: Callable[[], str]) -> tuple[str, str]:
    """A text, or nothing and the reason: a user's `get_config` may do anything."""
    try:
        return make(), ""
    except Exception as error:  # noqa: BLE001 - it becomes part of the record
        return "", f"{type(error).__name__}: {error}"


_described: weakref.WeakKeyDictionary[Any, tuple] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _describe(model: Any) -> _Described:
    """A model that is trained again and again is described once."""
    state = (
        id(model._compile_arguments),
        model._learning_rate(),
        tuple(layer.trainable for layer in model._flatten_layers()),
    )
    with _lock:
        held = _described.get(model)
        if held is None or held[0] != state:
            held = _described[model] = (state, _Described(model))
    return held[1]


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode(), 1) if text else b""


def _own_objects(model: Any) -> Iterator[tuple[str, Any]]:
    """Classes and functions of the user's own that the configuration names."""
    found = [type(layer) for layer in model._flatten_layers()]
    found += [
        value if hasattr(value, "__name__") else type(value)
        for value in _leaves(model._compile_arguments or {})
        if callable(value)
    ]
    for value in found:
        if not is_library(value):
            yield get_registered_name(value), value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        yield value
        return
    for inner in value:
        yield from _leaves(inner)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested configurations as lines: a dotted path, a value; None is left out.

    >>> dict(flatten({"optimizer": {"class_name": "SGD", "config": {"momentum": 0.9}}}))
    {'optimizer': 'SGD', 'optimizer.momentum': 0.9}
    """
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            inner = value["config"]
            known = isinstance(inner, Mapping)
            yield path, value["class_name"] if known else str(inner)
            value = {k: v for k, v in inner.items() if k != "name"} if known else {}
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(
        isinstance(inner, Mapping | list | tuple) for inner in value
    ):
        for i, inner in enumerate(value):
            yield from flatten(inner, f"{path}[{i}]")
    elif value is not None:
        yield path, list(value) if isinstance(value, tuple) else value


def _settings(given: Mapping[str, Any], run: Any) -> dict[str, Any]:
    """The arguments of `fit` that say something, the batch size as it was used."""
    usual = {"validation_split": 0.0, "initial_epoch": 0, "validation_freq": 1}
    told = {k: folder.plain(given[k]) for k in _ARGUMENTS if given[k] != usual.get(k)}
    return {**told, "epochs": run.epochs, "batch_size": run.batch_size}


def _callbacks(given: Any) -> list[str]:
    """The names of the callbacks that the user gave."""
    given = getattr(given, "callbacks", given) or []
    given = given if isinstance(given, list | tuple) else [given]
    own = ("History", "ProgbarLogger")  # which `fit` adds itself
    return [n for one in given if (n := type(one).__name__) not in own]


def _fingerprint(source: Any) -> list[dict[str, Any]]:
    if hasattr(source, "data"):
        return fingerprint.of_data(source.data)
    return fingerprint.of_stream(source)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of what computes."""
    packages = {name: version(name) for name in ("jax", "jaxlib", "numpy", "optax")}
    own = sys.modules["kerasnb"].__version__
    return {"python": platform.python_version(), "kerasnb": own, **packages}


@cache
def _devices() -> str:
    devices = jax.devices()
    kind = devices[0].device_kind
    return kind if len(devices) == 1 else f"{len(devices)} x {kind}"


def _distinct(name: str, kept: Iterable[Record]) -> str:
    """`name`, with a number when a record has it already: `digits`, `digits-2`, ..."""
    names = {record.name for record in kept}
    if name not in names:
        return name
    same = (n for n in names if base_name(n) == name and n != name)
    return f"{name}-{1 + max((int(n.rpartition('-')[2]) for n in same), default=1)}"


def _open_folder(record: Record, model: Any, parent: Path) -> BinaryIO:
    """Make the run's folder, with all that is known at its beginning."""
    slug = re.sub(r"[^\w.-]+", "-", record.name).strip("-.")[:60]
    name = re.sub(r"-(?=\w+$)", f"-{slug}-", record.id) if slug else record.id
    path = record.folder = folder.make(parent, name)
    held = folder.hold(path)
    assert record.start is not None
    with Replacing("runs_dir") as files:
        start.save(record.start, start.variables_of(model), path / start.FILE, files)
        if record.config is not None:
            folder.write(files, path / folder.CONFIG, json.dumps(record.config))
        folder.write(files, path / folder.CODE, record.code + "\n")
    record.write()
    return held
