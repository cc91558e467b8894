"""`OrbaxCheckpoint`: the state of a training into folders, by all its processes."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.callbacks.callback import Logs
from kerasnb.callbacks.checkpoint import ModelCheckpoint
from kerasnb.callbacks.monitor import MonitorCallback
from kerasnb.callbacks.progress import say
from kerasnb.core.errors import check
from kerasnb.saving.model_file import checkpoint_parts
from kerasnb.saving.orbax import orbax


class OrbaxCheckpoint(ModelCheckpoint):
    """Keep the model in Orbax checkpoints, written while the training goes on.

    Below `directory` there is a folder for each checkpoint, named by its epoch or, with
    a number of batches as `save_freq`, by the batches trained on so far; the latest
    `max_to_keep` stay. Each process writes the parts of the weights that it has, so
    that weights spread over many are never gathered. `keras.models.load_model(
    directory)` and, for `save_weights_only=True`, `model.load_weights(directory)` read
    the latest one back, under the distribution that is in force then.

    With `save_on_background=False` the training waits for the disk. The other arguments
    are those of `ModelCheckpoint`. Needs the package orbax-checkpoint.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ) -> None:
        MonitorCallback.__init__(self, monitor, mode, initial_value_threshold)
        self._check_frequency(save_freq)
        check(
            max_to_keep is None or (isinstance(max_to_keep, int) and max_to_keep > 0),
            "OrbaxCheckpoint",
            "max_to_keep",
            max_to_keep,
            "a positive number of checkpoints, or None for all",
        )
        orbax()
        self.directory = os.fspath(directory)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        self.max_to_keep = max_to_keep
        self.save_on_background = save_on_background
        self.save_weights_only = save_weights_only
        self._batches = self._before = 0
        self._last_batch: int | None = None
        self._current_epoch = 0
        self._folder: Any = None

    def _open(self) -> Any:
        if self._folder is None:
            training = orbax().training
            keep, every = None, training.save_decision_policies.FixedIntervalPolicy(1)
            if self.max_to_keep is not None:
                keep = training.preservation_policies.LatestN(self.max_to_keep)
            self._folder = training.Checkpointer(
                Path(self.directory).absolute(),
                preservation_policy=keep,
                save_decision_policy=every,
            )
        return self._folder

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Count the batches on from those that the optimizer has seen."""
        model = self.model
        self._before = int(model.optimizer.iterations) - model.run.step

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Wait until the last checkpoint is whole."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def wait_until_finished(self) -> None:
        """Wait until every checkpoint begun so far is whole, in all processes."""
        if self._folder is not None:
            self._folder.wait()

    def is_multihost_enabled(self) -> bool:
        """Whether several processes write the checkpoints together."""
        return jax.process_count() > 1

    def is_primary_host(self) -> bool:
        """Whether this process is the first one, or the only one."""
        return jax.process_index() == 0

    @property
    def checkpointer(self) -> Any:
        """Orbax' own object, which lists and reads the checkpoints."""
        return self._open()

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        if not self._is_due(epoch, logs):
            return
        step = epoch if batch is None else self._before + self.model.run.step
        with contextlib.ExitStack() as stack:
            parts = checkpoint_parts(self.model, self.save_weights_only, stack)
        if self.save_on_background:
            # The training gives the buffers away before all is on disk.
            parts["pytree"] = jax.tree.map(jnp.copy, parts["pytree"])
            self._open().save_checkpointables_async(step, parts, overwrite=True)
        else:
            self._open().save_checkpointables(step, parts, overwrite=True)
        if self.verbose:
            say(f"Epoch {epoch + 1}: saved to {Path(self.directory, str(step))}.")
