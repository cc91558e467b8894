"""A run on the engines, told to the notebook while it happens.

On the first engine `Reporter` sends what its `Run` has learnt, ten times a second at
most, and `Checkpoint` a copy of each backup. In the notebook `Mirror` keeps a `Run` of
the same facts, which the live panel and the progress line watch as they watch any
other; what they ask of it goes the other way.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from kerasnb import runs
from kerasnb.callbacks import BackupAndRestore, Callback, CallbackList
from kerasnb.callbacks.backup import FILE
from kerasnb.core import frontend
from kerasnb.saving.files import Replacing
from kerasnb.training.run import Run

_POSITION = (
    *("epoch", "step", "step_in_epoch", "samples", "logs", "history", "epoch_index"),
)

Publish = Callable[[dict[str, Any]], None]


# --- On the engines -------------------------------------------------------------------


class Channel:
    """What the first engine tells the notebook, and what the notebook asks of it."""

    def __init__(self, publish: Publish | None) -> None:
        self._publish = publish
        self.sent: list[tuple[str, tuple]] = []
        self._run: Run | None = None
        self._early: list[tuple[str, Any]] = []
        self.told = 0  # steps

    def send(self, kind: str, *content: Any) -> None:
        """Tell the notebook; engines other than the first keep silent."""
        if self._publish is not None:
            self.sent.append((kind, content) if kind != "backup" else ("nothing", ()))
            self._publish({str(len(self.sent) - 1): (kind, content)})

    def begin(self, run: Run) -> None:
        """From now on requests are for this run; early ones are made now."""
        self._run = run
        while self._early:
            run._requests.put(self._early.pop(0))

    def ask(self, op: str, value: Any) -> None:
        """Pass a request on to the run; called in the thread of control messages."""
        if self._run is None:
            self._early.append((op, value))
        else:
            self._run._requests.put((op, value))


class Reporter(Callback):
    """Tells the notebook how far the run is; the last of the callbacks."""

    passive = True
    comes_last = True

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def on_train_begin(self, logs: Any = None) -> None:
        """Tell what kind of run begins, and where."""
        run = self.model.run
        settings = (
            *(run.model_name, run.epochs, run._initial_epoch, run.batch_size),
            *(run.steps_per_epoch, run.metrics_names),
        )
        self._channel.told = run.step
        position = {name: getattr(run, name) for name in _POSITION}
        self._channel.send("begin", settings, position)
        self._channel.begin(run)
        run.listeners.append(self._listen)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Tell the results of an epoch, after those of its steps."""
        self._listen(self.model.run)
        self._channel.send("epoch", epoch, dict(logs or {}))

    def _listen(self, run: Run, final: bool = False) -> None:
        index, curves = run.step_points(self._channel.told)
        facts = {"status": run.status, "learning_rate": run.learning_rate}
        self._channel.told = run.step
        self._channel.send("steps", len(index), run.samples, curves, facts)


class Checkpoint(BackupAndRestore):
    """Backups of a run on engines: the first one writes them and sends copies home.

    Those after epochs take no more than a tenth of the time: of very short epochs some
    go without.
    """

    def __init__(
        self, folder: str, every: Any, channel: Channel, backup: bytes | None
    ) -> None:
        super().__init__(folder, every)
        self._channel = channel
        self._file = Path(folder, FILE)
        self._next = [0.0]
        if backup is not None:
            self._file.write_bytes(backup)

    def _save(self) -> None:
        # All engines together, or none: they may have to gather the weights.
        skip = self.save_freq == "epoch" and time.monotonic() < self._next[0]
        if multihost_utils.broadcast_one_to_all(np.int32(skip)):
            return
        began = time.monotonic()
        super()._save()
        run = self.model.run
        place = (run.epoch, run.step, run.step_in_epoch)
        if jax.process_index() == 0:
            self._channel.send("backup", self._file.read_bytes(), place)
        ended = time.monotonic()
        self._next[0] = ended + 9 * (ended - began)


# --- In the notebook ------------------------------------------------------------------


class Mirror:
    """The run as the notebook sees it: `Run`, callbacks at home, the last backup."""

    def __init__(
        self,
        model: Any,
        callbacks: list[Any],
        verbose: Any,
        folder: Path,
        given: dict[str, Any],
        source: Any,
    ) -> None:
        self.model, self._callbacks, self._verbose = model, callbacks, verbose
        self._given, self._source = given, source
        self._made = time.monotonic()
        self.path = folder / FILE
        self.run: Run | None = None
        self.kept: tuple[int, int, int] | None = None  # epoch, step, step in epoch
        self.over = False
        self.ending: tuple[str, str] | None = None  # if not as the engines see it
        self.hooks: Any = None
        self.number = 0  # of the next message
        self._epoch: int | None = None
        self._paused: float | None = None

    def hear(self, messages: dict[str, Any]) -> None:
        """Take messages in, in their order; those that came leave the dict."""
        while (message := messages.pop(str(self.number), None)) is not None:
            self.number += 1
            kind, content = message
            getattr(self, f"_hear_{kind}")(*content)

    def _hear_begin(self, settings: tuple, position: dict[str, Any]) -> None:
        self.run = run = Run(*settings)
        for name, value in position.items():
            setattr(run, name, value)
        self.model.run = run
        verbose = self._verbose
        watched = verbose == "auto" and frontend.display_mode() in ("widget", "html")
        self.hooks = CallbackList(
            self._callbacks,
            add_history=True,
            add_progbar=not watched and verbose not in (0, None),
            model=self.model,
            verbose=1 if verbose == "auto" else verbose,
            epochs=run.epochs,
            steps=run.steps_per_epoch,
        )
        run.callbacks = self.hooks.callbacks
        if watched:
            frontend.notebook("panel").watch(run)
        took = time.monotonic() - self._made
        runs.begin(self.model, run, self._given, {"training": self._source}, took)
        self.hooks.on_train_begin()

    def _hear_steps(
        self, count: int, samples: int, curves: dict, facts: dict[str, Any]
    ) -> None:
        run = self.run
        assert run is not None
        if count:
            self._begin_epoch()
            first = run.step_in_epoch
            run.note_steps(count, samples - run.samples, curves)
            if self.hooks.wants_batches:
                self.hooks.replay("train", first, count, curves)
        now = time.monotonic()
        if self._paused is not None:
            run.note_pause(now - self._paused)
        self._paused = now if facts["status"] == "paused" else None
        if facts["status"] in ("running", "paused"):  # how it ends is said at the end
            run.status = facts["status"]
        run.learning_rate = facts["learning_rate"]

    def _hear_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        self._begin_epoch()
        assert self.run is not None
        self.run.note_epoch(epoch, logs)
        self.hooks.on_epoch_end(epoch, logs)
        self._epoch = None

    def _begin_epoch(self) -> None:
        assert self.run is not None
        if self._epoch is None:
            self._epoch = self.run.epoch
            self.hooks.on_epoch_begin(self._epoch)

    def _hear_backup(self, content: bytes, place: tuple[int, int, int]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with Replacing("cluster.fit") as files, files.open(self.path) as file:
            file.write(content)
        self.kept = place

    def _hear_nothing(self) -> None:
        """In place of a backup that is of no use any more."""

    def _hear_end(self) -> None:
        self.over = True
