"""`BackupAndRestore`: a run that was killed goes on as if it had not been."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb.callbacks import states
from kerasnb.callbacks.callback import Callback, Logs
from kerasnb.core import placement
from kerasnb.core.errors import check
from kerasnb.saving.files import Replacing, make_folder, sweep

FILE = "latest.npz"  # the last backup in its folder


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
        self._others: states.Others | None = None
        self._given: dict[int, dict[str, Any]] = {}

    def watches(self, phase: str) -> bool:
        """Batches matter only when backups are made by their number."""
        return phase == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the last backup, where there is one."""
        self._since = 0
        self._given = {id(c): states.arguments(c) for _, c in self._neighbours()}
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
            states.remind(self._neighbours(), self._others)
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

    def _neighbours(self) -> list[tuple[str, Any]]:
        return list(states.neighbours(self.model.run, aside=(BackupAndRestore,)))

    def _save(self) -> None:
        state, arrays = states.take_down(self.model, self._neighbours(), self._given)
        path = Path(self.backup_dir, FILE)
        make_folder("BackupAndRestore", path.parent)
        with (
            placement.one_writer(states.variables_of(self.model)) as writes,
            Replacing("BackupAndRestore") as files,
        ):
            if not writes:
                return
            with files.open(path) as file:
                text = np.frombuffer(json.dumps(state).encode(), np.uint8)
                np.savez(file, state=text, **arrays)  # type: ignore[arg-type]
            if self.double_checkpoint and path.exists():
                with files.open(_previous(path)) as file:
                    file.write(path.read_bytes())

    def _restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        def of_another(odd: str) -> ValueError:
            return ValueError(
                f"BackupAndRestore: the backup in {self.backup_dir} is of another model"
                + (f", whose `{odd}` has another shape" if odd else "")
                + ". Delete the folder to begin from the beginning."
            )

        self._others = states.put_back(self.model, state, arrays, of_another)
        run = self.model.run
        run.catch_up()  # with the random numbers of this run's beginning
        states.restore_generators(run, state, arrays)
        states.remind(self._neighbours(), self._others)


def read_backup(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The state of a run in a backup, and its arrays by their names there."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("state").tobytes()), arrays


def _previous(path: Path) -> Path:
    return path.with_name("previous.npz")
