"""Callbacks that act on the run: the learning rate, NaN, and your own functions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasnb.callbacks.callback import HOOKS, Callback, Logs
from kerasnb.callbacks.progress import say
from kerasnb.callbacks.rates import learning_rates, optimizers_of
from kerasnb.core.errors import check, reject_unknown, show


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch to `schedule(epoch, learning_rate)`.

    `schedule` may also take the epoch alone. The rate is added to the logs.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        expected = "a function of the epoch and the learning rate"
        given = callable(schedule)
        check(given, "LearningRateScheduler", "schedule", schedule, expected)
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Ask the schedule and set the rate."""
        for name, optimizer in optimizers_of(self.model).items():
            old = float(optimizer.learning_rate)
            both = _takes_two(self.schedule)
            new = self.schedule(epoch, old) if both else self.schedule(epoch)
            number = isinstance(new, int | float | np.number)
            if not number and getattr(new, "shape", None) != ():
                raise ValueError(
                    "LearningRateScheduler: `schedule` must return a number, not "
                    f"{show(new)}, for epoch {epoch}."
                )
            optimizer.learning_rate = float(new)
            if self.verbose:
                say(f"Epoch {epoch + 1}: {name} is set to {float(new):.4g}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the rate to the logs."""
        if logs is not None:
            logs.update(learning_rates(self.model))


def _takes_two(schedule: Callable) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except (TypeError, ValueError):
        return False
    return True


class TerminateOnNaN(Callback):
    """Stop when the loss is not a finite number; with `raise_error`, by an error.

    It says which layer was the first to make it so, in which step, and what to try. In
    `fit` the weights and the optimizer go back to the last step before that, so that
    what was learned is kept. To be able to, it copies them at most twice a second.
    """

    passive = True
    goes_back = True

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or np.isfinite(loss):
            return
        message = f"The loss is {loss} after batch {batch}; training stops."
        trouble = getattr(getattr(self.model, "run", None), "trouble", None)
        if trouble is not None:
            end = "; training stops."
            if trouble.restore is not None:
                trouble.restore()
                end = "; training stops with the weights of the last good step."
            message = f"TerminateOnNaN: {trouble.sentence.rstrip('.')}{end}"
        self.model.stop_training = True
        if self.raise_error:
            raise RuntimeError(message)
        say(message)

    def replay(
        self, phase: str, first: int, count: int, logs: Mapping[str, Sequence]
    ) -> None:
        """Look for the first bad loss among many steps."""
        if phase != "train" or "loss" not in logs:
            return
        bad = np.flatnonzero(~np.isfinite(np.asarray(logs["loss"])))
        if bad.size:
            self.on_batch_end(
                first + int(bad[0]), {"loss": float(logs["loss"][bad[0]])}
            )


class LambdaCallback(Callback):
    """A callback from functions, one for each hook you name.

    Add `passive=True` if the functions for batches only read their logs; see
    `Callback`.

    >>> seen = []
    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    >>> callback.on_epoch_end(3, {})
    >>> seen
    [3]
    """

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.passive = kwargs.pop("passive", False)
        unknown = [name for name in kwargs if name not in HOOKS]
        reject_unknown("LambdaCallback", unknown, HOOKS)
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if function is not None:
                check(
                    callable(function), "LambdaCallback", name, function, "a function"
                )
                setattr(self, name, function)


class SwapEMAWeights(Callback):
    """Validate, predict and, if asked, save with the averaged weights of the optimizer.

    The optimizer keeps the averages when it is made with `use_ema=True`. With
    `swap_on_epoch` they are the model's weights between the epochs too, for callbacks
    that come after this one, such as `ModelCheckpoint`.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Train on with the weights that are trained."""
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the averages to the callbacks that follow."""
        if self.swap_on_epoch:
            self._swap(True)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Take the averages."""
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Put the trained weights back."""
        self._swap(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Take the averages."""
        self._swap(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Put the trained weights back."""
        self._swap(False)

    def _optimizers(self) -> list[Any]:
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        every = getattr(optimizer, "optimizers", [optimizer])
        found = [one for one in every if getattr(one, "use_ema", False)]
        if not found:
            raise ValueError(
                "SwapEMAWeights needs an optimizer that averages the weights: make it "
                "with use_ema=True."
            )
        return found

    def _swap(self, averaged: bool) -> None:
        for optimizer in self._optimizers():
            optimizer.swap_averages(averaged)
