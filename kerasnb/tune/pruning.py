"""`Pruning`: tells Optuna how a trial goes, and ends one that leads nowhere."""

import math
from typing import Any

from kerasnb.callbacks import Callback
from kerasnb.core.errors import check, optional, suggest
from kerasnb.runs.curves import better


class Pruning(Callback):
    """Report `monitor` to an Optuna trial after each epoch; stop when it is pruned.

    `kerasnb.tune.search` adds one to every trial. In an objective of your own:

        def objective(trial):
            model = build(trial)
            watch = keras.tune.Pruning(trial, "val_loss")
            model.fit(x, y, epochs=20, validation_split=0.2, callbacks=[watch])
            return watch.result()

    `value` is the best value so far, `epoch` its epoch, counted from 1, and `pruned`
    says whether the trial was ended. Which way is better, the study says; `mode` does
    where there is none.
    """

    def __init__(
        self, trial: Any, monitor: str = "val_loss", mode: str = "auto"
    ) -> None:
        super().__init__()
        check(
            hasattr(trial, "should_prune"), "Pruning", "trial", trial, "an Optuna trial"
        )
        check(
            mode in ("auto", "min", "max"),
            *("Pruning", "mode", mode, '"auto", "min" or "max"'),
        )
        self.trial, self.monitor = trial, monitor
        study = getattr(trial, "study", None)
        if mode == "auto" and study is not None:
            mode = "max" if study.direction.name == "MAXIMIZE" else "min"
        self.sign = -1 if (better(monitor) if mode == "auto" else mode) == "max" else 1
        self.value = math.nan
        self.epoch = 0
        self.pruned = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget what an earlier training has reached."""
        self.value, self.epoch, self.pruned = math.nan, 0, False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Report the epoch, and stop the training when Optuna gives up on it."""
        logs = logs or {}
        if self.monitor not in logs:
            hint = suggest(self.monitor, logs)
            validated = any(name.startswith("val_") for name in logs)
            if self.monitor.startswith("val_") and not validated:
                hint += " Names with val_ need validation data."
            raise ValueError(
                f"Pruning watches `{self.monitor}`, which is not there. There are: "
                f"{', '.join(logs)}.{hint}"
            )
        value = float(logs[self.monitor])
        if math.isnan(self.value) or self.sign * value < self.sign * self.value:
            self.value, self.epoch = value, epoch + 1
            self.improved()
        self.trial.report(value, epoch)
        if self.trial.should_prune():
            self.pruned = True
            self.model.stop_training = True

    def improved(self) -> None:
        """What to do when a value is the best so far; for subclasses."""

    def result(self) -> float:
        """The best value; raises `optuna.TrialPruned` when the trial was pruned."""
        if self.pruned:
            optuna = optional("optuna", "to search for settings", "tune")
            raise optuna.TrialPruned(f"pruned with {self.monitor} {self.value:.4g}")
        return self.value
