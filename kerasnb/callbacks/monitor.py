"""Callbacks that watch one number: `EarlyStopping`, `ReduceLROnPlateau`."""

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasnb.callbacks.callback import Callback, Logs
from kerasnb.callbacks.progress import say
from kerasnb.callbacks.rates import learning_rates, optimizers_of
from kerasnb.core.errors import check, reject_unknown, suggest


class MonitorCallback(Callback):
    """Watches the number named `monitor` and knows when it has become better.

    `mode` says which way that is: `"min"`, `"max"`, or `"auto"`, by what the model's
    metrics say of themselves. An improvement is a change of more than `min_delta`
    against `best`, which starts at `baseline`.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            known = suggest(mode, ("auto", "min", "max"))
            warnings.warn(
                f'{type(self).__name__}: `mode` "{mode}" is unknown, "auto" is used.'
                f"{known}",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Callable[[Any, Any], Any] | None = None

    def get_monitor_value(self, logs: Logs | None) -> float | None:
        """The watched number; None with a warning when it is not there."""
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            hint = suggest(self.monitor, logs)
            if self.monitor.startswith("val_") and not any(
                name.startswith("val_") for name in logs
            ):
                hint += (
                    " Names with val_ need validation data: "
                    "fit(..., validation_split=0.2)."
                )
            warnings.warn(
                f"{type(self).__name__} watches `{self.monitor}`, which is not there. "
                f"There are: {', '.join(logs) or 'none'}.{hint}",
                stacklevel=3,
            )
        return value

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if self.monitor_op is None:
            self.monitor_op = self._find_monitor_op()
        if reference is None:
            return True
        down = self.monitor_op is operator.lt
        margin = value + self.min_delta if down else value - self.min_delta
        return bool(self.monitor_op(margin, reference))

    def _find_monitor_op(self) -> Callable[[Any, Any], Any]:
        direction = self.mode if self.mode != "auto" else self._direction()
        if direction is None:
            raise ValueError(
                f"{type(self).__name__}: whether `{self.monitor}` should grow or "
                'shrink is not known; say mode="max" or mode="min".'
            )
        return operator.lt if direction == "min" else operator.gt

    def _direction(self) -> str | None:
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return "min"
        for metric in _flat_metrics(getattr(self.model, "metrics", None) or ()):
            # With several outputs the names are output_metric.
            if name == metric.name or name.endswith(f"_{metric.name}"):
                way = getattr(metric, "_direction", None)
                if way is not None:
                    return "max" if way == "up" else "min"
        return None


def _flat_metrics(metrics: Any) -> list[Any]:
    flat: list[Any] = []
    for metric in metrics:
        inner = getattr(metric, "metrics", None)
        flat += _flat_metrics(inner) if inner else [metric]
    return flat


class EarlyStopping(MonitorCallback):
    """Stop when `monitor` has not improved for `patience` epochs.

    With `restore_best_weights` the weights of the best epoch come back at the end.
    `baseline` must be beaten for the wait to begin anew; the first `start_from_epoch`
    epochs do not count.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._restart()

    def _restart(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew: the same object may serve several runs."""
        self._restart()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the number, and wait or stop."""
        value = self.get_monitor_value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._is_improvement(value, self.best):
            self.best = value
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring the best weights back, if that is wanted."""
        if self.stopped_epoch and self.verbose:
            say(
                f"Epoch {self.stopped_epoch + 1}: stopped early, {self.monitor} has "
                f"not improved for {self.wait} epochs."
            )
        if self.best_weights is not None:
            if self.verbose:
                say(f"The weights of epoch {self.best_epoch + 1} are restored.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Multiply the learning rate by `factor` when `monitor` has not improved.

    That is after `patience` epochs, never below `min_lr`; the next `cooldown` epochs
    do not count. The rate is added to the logs.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        known = "monitor factor patience verbose mode min_delta cooldown min_lr".split()
        reject_unknown("ReduceLROnPlateau", kwargs, known)
        check(factor < 1, "ReduceLROnPlateau", "factor", factor, "less than 1")
        super().__init__(monitor, mode, min_delta=min_delta)
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self._restart()

    def _restart(self) -> None:
        self.best: float | None = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self._restart()

    def in_cooldown(self) -> bool:
        """Whether the last change is too recent to count epochs."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the number, and reduce the rate if it is time."""
        logs = {} if logs is None else logs
        logs.update(learning_rates(self.model))
        value = self.get_monitor_value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch: int) -> bool:
        reduced = False
        for name, optimizer in optimizers_of(self.model).items():
            old = float(optimizer.learning_rate)
            if old > np.float32(self.min_lr):
                new = max(old * self.factor, self.min_lr)
                optimizer.learning_rate = new
                reduced = True
                if self.verbose:
                    say(f"Epoch {epoch + 1}: {name} is reduced to {new:.4g}.")
        return reduced
