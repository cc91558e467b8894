"""`ModelCheckpoint`: the model into a file, while it learns."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from kerasnb.callbacks.callback import BATCH_HOOKS, Logs, does_something
from kerasnb.callbacks.monitor import MonitorCallback
from kerasnb.callbacks.progress import say
from kerasnb.core.errors import check, show, suggest
from kerasnb.core.registry import is_library
from kerasnb.saving.files import Replacing, make_folder


class ModelCheckpoint(MonitorCallback):
    """Save the model, or its weights, after every epoch or every `save_freq` batches.

    `filepath` may hold `{epoch}`, `{batch}` and the names in the logs, formatted as
    Python does: `"best-{epoch:02d}-{val_loss:.3f}.keras"`. With `save_best_only` a file
    is written when `monitor` has improved, against `initial_value_threshold` at first.

    A file is written under another name first and then moved into its place: a reader
    never finds half of one, and an interrupt never costs the last good one.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._batches = 0
        self._last_batch: int | None = None
        self._current_epoch = 0
        self._check_frequency(save_freq)
        endings = (".weights.h5",) if save_weights_only else (".keras", ".h5")
        ending = " or ".join(endings)
        check(
            self.filepath.endswith(endings),
            "ModelCheckpoint",
            "filepath",
            self.filepath,
            f"a path ending in {ending}"
            + (" (with save_weights_only=True)" if save_weights_only else ""),
        )

    def _check_frequency(self, save_freq: str | int) -> None:
        check(
            save_freq == "epoch" or (isinstance(save_freq, int) and save_freq >= 1),
            type(self).__name__,
            "save_freq",
            save_freq,
            '"epoch" or a number of batches',
        )

    def watches(self, phase: str) -> bool:
        """Batches matter only when files are written by their number."""
        if phase == "train" and self.save_freq == "epoch":
            own = ModelCheckpoint.on_train_batch_end
            return any(
                does_something(self, hook) and getattr(type(self), hook) is not own
                for hook in BATCH_HOOKS[phase]
            )
        return super().watches(phase)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Take note of the epoch."""
        self._current_epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save when enough batches have passed since the last time."""
        if not isinstance(self.save_freq, int):
            return
        last = self._last_batch
        self._batches += batch + 1 if last is None or batch <= last else batch - last
        self._last_batch = batch
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._current_epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save when files are written by epoch."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = Path(self._path(epoch, batch, logs))
        if not self._is_due(epoch, logs):
            return
        if path.is_dir():
            raise IsADirectoryError(
                f"ModelCheckpoint: `filepath` {path} is a directory; give the name of "
                "a file in it."
            )
        make_folder("ModelCheckpoint", path.parent)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        _replace(path, save)
        if self.verbose:
            say(f"Epoch {epoch + 1}: saved to {path}.")

    def _is_due(self, epoch: int, logs: Logs) -> bool:
        if not self.save_best_only:
            return True
        value = self.get_monitor_value(logs)
        if value is None:
            return True
        if getattr(value, "shape", ()) != ():
            warnings.warn(
                f"ModelCheckpoint: `{self.monitor}` is not a single number, so that "
                "every epoch is saved.",
                stacklevel=4,
            )
            return True
        before = "" if self.best is None else f" from {self.best:.5g}"
        better = self._is_improvement(value, self.best)
        if self.verbose:
            how = (
                f"improved{before} to {value:.5g}"
                if better
                else f"did not improve{before}"
            )
            say(f"Epoch {epoch + 1}: {self.monitor} {how}.")
        if better:
            self.best = value
        return better

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        values = {"epoch": epoch + 1, **logs}
        if batch is not None:
            values.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**values)
        except KeyError as error:
            name = error.args[0]
            raise ValueError(
                f"ModelCheckpoint: `filepath` asks for {{{name}}}, which is not there. "
                f"There are: {', '.join(values)}.{suggest(name, values)}"
            ) from None
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint: `filepath` {show(self.filepath)} cannot be filled "
                f"with {', '.join(values)}: {str(error).rstrip('.')}. Write names with "
                'formats for numbers, as "{epoch:02d}-{loss:.3f}.keras".'
            ) from None


def _replace(path: Path, save: Callable[..., object]) -> None:
    if is_library(save):  # it never leaves half a file
        save(str(path), overwrite=True)
        return
    with Replacing("ModelCheckpoint") as files:
        save(str(files.draft(path)), overwrite=True)
