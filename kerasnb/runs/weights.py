"""The weights of a run's best epoch: kept beside its record, put into a model again.

They are copied at the end of each epoch that is better than those before it, into the
memory of the host. All records together keep no more than `config.best_weights()`; the
oldest ones lose theirs first. A run with a folder has them there as well.
"""

import itertools
import json
import math
import threading
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.claim import latest
from kerasnb.runs.curves import is_number
from kerasnb.saving.files import DamagedFileError, Replacing

FILE = "best.npz"


@dataclass(frozen=True)
class Weights:
    """The weights of one epoch, and what it was the best by."""

    epoch: int
    monitor: str
    value: float
    names: list[str]
    arrays: list[np.ndarray]

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(array.nbytes for array in self.arrays)

    def fit(self, model: Any) -> bool:
        """Whether a model has weights of these shapes."""
        shapes = [tuple(v.shape) for v in model.weights]
        return shapes == [array.shape for array in self.arrays]

    def put_into(self, model: Any, run: str) -> None:
        """Give a model these weights; the optimizer stays as it is."""
        variables = model.weights
        if not self.fit(model):
            shapes = [tuple(v.shape) for v in variables]
            mine = [array.shape for array in self.arrays]
            odd = [
                f"`{name}` has the shape {a} there and {b} here"
                for name, a, b in zip(self.names, mine, shapes, strict=False)
                if a != b
            ]
            many = f"{len(mine)} weights there and {len(shapes)} here"
            raise ValueError(
                f"load_best: `{model.name}` is not the model of run `{run}`: "
                f"{odd[0] if odd else many}."
            )
        for variable, array in zip(variables, self.arrays, strict=True):
            variable.assign(array)


class Keeper:
    """Looks at each epoch of a run, and keeps the weights of the best one so far."""

    def __init__(self, record: Any, model: Any) -> None:
        self.record = record
        self._model = weakref.ref(model)
        # Those that were the best when a mark was made, until others were better.
        self._past: list[Weights] = []
        # By what, and how good it was: also when its weights had to make way.
        self._best = ("", math.inf)

    @property
    def to_beat(self) -> float:
        """The loss below which an epoch is the best so far."""
        return self._least("loss")

    def _least(self, monitor: str) -> float:
        return self._best[1] if self._best[0] == monitor else math.inf

    def look(self, run: Any, values: Sequence[Any] | None = None) -> None:
        """Keep the weights if the epoch that just ended is the best.

        `values` are those of trainable and other variables, where the model has gone on
        in the meantime.
        """
        model = self._model()
        monitor = "val_loss" if "val_loss" in run.history else "loss"
        losses = run.history.get(monitor)
        if model is None or not losses or run.epochs_of[monitor][-1] != run.epoch - 1:
            return
        loss = losses[-1]
        if not is_number(loss) or loss >= self._least(monitor):
            return
        self._best = (monitor, float(loss))
        variables = model.weights
        # A glance: what is held on to would be copied once more before the next step.
        boxes = list(map(latest, variables))
        if sum(box.nbytes for box in boxes) > _limit():
            return
        if values is not None:
            every = (*model.trainable_variables, *model.non_trainable_variables)
            held = dict(zip(map(id, every), itertools.chain(*values), strict=True))
            boxes = [held[id(v)] for v in variables]
        arrays = copied(boxes)
        if arrays is not None:
            names = [v.path for v in variables]
            found = Weights(run.epoch - 1, monitor, float(loss), names, arrays)
            self._past = [
                old
                for old, new in itertools.pairwise([*self._bests, found])
                if any(old.epoch < mark.epoch <= new.epoch for mark in run.marks)
            ]
            self.record.best_weights = found
            _admit(self.record)

    def cut(self, run: Any) -> None:
        """The run went back to a mark: the best of what remains is so again."""
        self._past = [one for one in self._bests if one.epoch < run.epoch]
        self.record.best_weights = self._past.pop() if self._past else None
        if self.record.best_weights is None:
            self.record.forget_best()
        monitor = self._best[0]
        losses = filter(is_number, run.history.get(monitor, ()))
        self._best = (monitor, min(losses, default=math.inf))
        _admit(self.record)

    @property
    def _bests(self) -> list[Weights]:
        best = self.record.best_weights
        return [*self._past, *([] if best is None else [best])]


def copied(boxes: Sequence[Any]) -> list[np.ndarray] | None:
    """Copies in the host's memory; None when they are spread over processes."""
    if not all(
        box.is_fully_addressable or box.is_fully_replicated
        for box in boxes
        if isinstance(box, jax.Array)
    ):
        return None
    # On the CPU what comes back are views of memory that training writes over.
    return [np.array(array) for array in jax.device_get(list(boxes))]


# --- How much is kept -----------------------------------------------------------------

_keeping: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _limit() -> float:
    return settings.best_weights() * 1e6


def _admit(record: Any) -> None:
    """Let a record's weights in, and those of the oldest ones out where it is full."""
    with _lock:
        _keeping.pop(record.id, None)
        _keeping[record.id] = record
        held = [r for r in _keeping.values() if r.best_weights is not None]
        total = sum(r.best_weights.size for r in held)
        for old in held[:-1]:
            if total <= _limit():
                return
            total -= old.best_weights.size
            old.best_weights = None


# --- On disk --------------------------------------------------------------------------


def save(weights: Weights, path: Path, files: Replacing) -> None:
    """Write them as arrays and a line of JSON."""
    facts = {
        "epoch": weights.epoch,
        "monitor": weights.monitor,
        "value": weights.value,
        "names": weights.names,
        "dtypes": [str(array.dtype) for array in weights.arrays],
    }
    named = {f"weight{i}": array for i, array in enumerate(weights.arrays)}
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with files.open(path) as file:
        np.savez(file, facts=text, **named)  # type: ignore[arg-type]


def load(path: Path) -> Weights:
    """Read what `save` wrote."""
    try:
        with path.open("rb") as binary, np.load(binary, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            # NumPy's files know no bfloat16: its bytes come back as plain ones.
            arrays = [
                file[f"weight{i}"].view(jnp.dtype(dtype))
                for i, dtype in enumerate(facts["dtypes"])
            ]
        names = [str(name) for name in facts["names"]]
        epoch, value = int(facts["epoch"]), float(facts["value"])
        return Weights(epoch, str(facts["monitor"]), value, names, arrays)
    except _BROKEN as error:
        raise DamagedFileError(
            f"load_best: {path} does not hold the weights of an epoch "
            f"({type(error).__name__}); it was cut off or altered."
        ) from None


_BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)
