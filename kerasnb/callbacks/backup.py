"""`BackupAndRestore`: a run that was killed goes on as if it had not been."""

import contextlib
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.callbacks.callback import Callback, Logs
from kerasnb.callbacks.progress import ProgbarLogger
from kerasnb.core import placement
from kerasnb.core.errors import check
from kerasnb.random import Generators
from kerasnb.saving.files import Replacing, make_folder, sweep

FILE = "latest.npz"  # the last backup in its folder
_POSITION = ("epoch", "step_in_epoch", "step", "samples", "logs", "history")


class BackupAndRestore(Callback):
    """Keep the whole state of a run in `backup_dir`, and go on from it.

    When `fit` is called again after the process was killed, it goes on from the last
    backup: weights, optimizer, seeds, metrics, the place in the data and its order, the
    state of the other callbacks and the random generators of Python and NumPy are
    restored, so that the result is, bit for bit, that of a run without interruption.

    A backup is made after every epoch, or after every `save_freq` batches. It is one
    file, put in place when it is complete; with `double_checkpoint` the one before is
    kept as well, and used when the last cannot be read. When `fit` ends by itself the
    backup is deleted, unless `delete_checkpoint=False`.

    Of the other callbacks everything is kept that is data: numbers, text, arrays and
    containers of these. What they were given as arguments stays as it is given now.
    Batches that were trained on are drawn again and skipped, and a `PyDataset` is told
    of the epochs that have passed; data that draws random numbers is repeated as far
    as its seeds are.

        model.fit(x, y, epochs=90, callbacks=[BackupAndRestore("backup")])
    """

    comes_last = True  # it keeps what the others have become

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        who = "BackupAndRestore"
        folder = os.fspath(backup_dir) if backup_dir else ""
        check(folder != "", who, "backup_dir", backup_dir, "the path of a folder")
        good = save_freq == "epoch" or (isinstance(save_freq, int) and save_freq >= 1)
        check(good, who, "save_freq", save_freq, '"epoch" or a number of batches')
        self.backup_dir = folder
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._since = 0
        self._others: list[tuple[str, dict[str, Any]]] | None = None
        self._given: dict[int, dict[str, Any]] = {}

    def watches(self, phase: str) -> bool:
        """Batches matter only when backups are made by their number."""
        return phase == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the last backup, where there is one."""
        self._since = 0
        self._given = {id(c): _arguments(c) for _, c in self._neighbours()}
        path = Path(self.backup_dir, FILE)
        for candidate in (path, _previous(path)):
            if not candidate.exists():
                continue
            try:
                state, arrays = read_backup(candidate)
            except (OSError, ValueError, KeyError):
                if candidate is path and _previous(path).exists():
                    continue
                raise ValueError(
                    f"BackupAndRestore: the backup {candidate} cannot be read; delete "
                    f"the folder {self.backup_dir} to begin from the beginning."
                ) from None
            self._restore(state, arrays)
            return

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Give the other callbacks back what they held in the middle of this epoch."""
        if self._others is not None:
            self._restore_others(self._others)
            self._others = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Make a backup when enough batches have passed since the last one."""
        self._since += self.model.run.step_in_epoch - batch
        if isinstance(self.save_freq, int) and self._since >= self.save_freq:
            self._since = 0
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Make a backup when they are made by epoch."""
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the backup: there is nothing left to go on with."""
        if not self.delete_checkpoint:
            return
        path = Path(self.backup_dir, FILE)
        for file in (path, _previous(path)):
            file.unlink(missing_ok=True)
        sweep(path.parent)  # what a kill left behind
        with contextlib.suppress(OSError):  # something else is in it, or it never was
            Path(self.backup_dir).rmdir()

    # --- The state of a run -----------------------------------------------------------

    def _variables(self) -> list[Any]:
        model = self.model
        return [
            *model.trainable_variables,
            *model.non_trainable_variables,
            *model.optimizer.variables,
            *model.metrics_variables,
        ]

    def _neighbours(self) -> Iterator[tuple[str, Any]]:
        for callback in self.model.run.callbacks:
            if not isinstance(callback, BackupAndRestore | ProgbarLogger):
                yield type(callback).__name__, callback

    def _save(self) -> None:
        run, arrays = self.model.run, _Arrays()
        state = {
            "variables": [
                [v.path, arrays.add(placement.gather(v.raw)), v.dtype]
                for v in self._variables()
            ],
            "position": {name: getattr(run, name) for name in _POSITION},
            "epoch_index": list(run.epoch_index),
            "order": None if run.order is None else arrays.add(run.order),
            "stopped": bool(self.model.stop_training),
            "generators": _plain(vars(Generators.now()), arrays),
            "callbacks": [
                [kind, _attributes(callback, self._given.get(id(callback), {}), arrays)]
                for kind, callback in self._neighbours()
            ],
        }
        path = Path(self.backup_dir, FILE)
        make_folder("BackupAndRestore", path.parent)
        with (
            placement.one_writer(self._variables()) as writes,
            Replacing("BackupAndRestore") as files,
        ):
            if not writes:
                return
            with files.open(path) as file:
                text = np.frombuffer(json.dumps(state).encode(), np.uint8)
                np.savez(file, state=text, **arrays.named)  # type: ignore[arg-type]
            if self.double_checkpoint and path.exists():
                with files.open(_previous(path)) as file:
                    file.write(path.read_bytes())

    def _restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        variables, kept = self._variables(), state["variables"]
        # Paths may differ: a cell that is run again makes `sequential_1`.
        found = [v.shape for v in variables]
        wanted = [arrays[name].shape for _, name, _ in kept]
        if found != wanted:
            pairs = zip(kept, found, wanted, strict=False)
            odd = next((x for (x, _, _), a, b in pairs if a != b), None)
            raise ValueError(
                f"BackupAndRestore: the backup in {self.backup_dir} is of another model"
                + (f", whose `{odd}` has another shape" if odd else "")
                + ". Delete the folder to begin from the beginning."
            )
        for variable, (_, name, dtype) in zip(variables, kept, strict=True):
            # NumPy's files know no bfloat16: its bytes come back as plain ones.
            value = jnp.asarray(arrays[name].view(jnp.dtype(dtype)))
            variable.store(value)
        run = self.model.run
        for name, value in state["position"].items():
            setattr(run, name, value)
        run.epoch_index[:] = state["epoch_index"]
        run.order = None if state["order"] is None else arrays[state["order"]]
        self.model.stop_training = state["stopped"]
        run.catch_up()  # with the random numbers of this run's beginning
        Generators(**_back(state["generators"], arrays)).restore()
        self._others = [
            (kind, {name: _back(v, arrays) for name, v in attributes.items()})
            for kind, attributes in state["callbacks"]
        ]
        self._restore_others(self._others)

    def _restore_others(self, states: list[tuple[str, dict[str, Any]]]) -> None:
        """Callbacks are found again by their classes, those of one class in order."""
        waiting: dict[str, list[dict[str, Any]]] = {}
        for kind, attributes in states:
            waiting.setdefault(kind, []).append(attributes)
        for kind, callback in self._neighbours():
            if waiting.get(kind):
                vars(callback).update(waiting[kind].pop(0))


# --- Objects as JSON and arrays -------------------------------------------------------


class _Arrays:
    """The arrays of a state, by the names they have in the file."""

    def __init__(self) -> None:
        self.named: dict[str, np.ndarray] = {}

    def add(self, array: np.ndarray) -> str:
        name = f"array{len(self.named)}"
        self.named[name] = array
        return name


def _arguments(callback: Any) -> dict[str, Any]:
    """The arguments of a callback's constructor, as far as it keeps them."""
    names = inspect.signature(type(callback)).parameters
    return {k: v for k, v in vars(callback).items() if k in names}


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
        array = np.asarray(value)
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
        array = arrays[inner].view(jnp.dtype(value["dtype"]))
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


def read_backup(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The state of a run in a backup, and its arrays by their names there."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("state").tobytes()), arrays


def _previous(path: Path) -> Path:
    return path.with_name("previous.npz")
