"""`Callback`: Python's turn during training, evaluation and prediction.

A compiled loop runs many steps in one go, so not every hook can be called while the
model is at that very step. Which ones must be is read off each callback's class:

- hooks of epochs and of the whole run cost nothing and are always exact;
- a batch hook that only reads its logs is **replayed** after the steps are done, with
  the same numbers in the same order; such a callback says `passive = True`;
- any other batch hook stops the loop after every step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Logs = dict[str, Any]

# The hooks that are called for every batch of a phase.
BATCH_HOOKS = {
    "train": (
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_batch_begin",
        "on_batch_end",
    ),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Something that is told what happens during `fit`, `evaluate` and `predict`.

    Override the hooks you need. `self.model` is the model at work; `self.params` holds
    `epochs`, `steps` (None when unknown) and `verbose`. `logs` maps the names of the
    loss and the metrics to numbers. `self.model.stop_training = True` ends `fit`.

    A callback that overrides a batch hook makes training run one step at a time, so
    that the hook finds the model as it is after that very batch. If the hook only reads
    `logs`, set `passive = True` in the class: training then runs at full speed and the
    hook is called with the same logs a moment later.

        class Curve(Callback):
            passive = True

            def on_train_begin(self, logs=None):
                self.losses = []

            def on_train_batch_end(self, batch, logs=None):
                self.losses.append(logs["loss"])
    """

    passive = False
    params: dict[str, Any] | None = None
    _model: Any = None

    def __init__(self) -> None:
        self.params = None
        self._model = None

    def set_params(self, params: dict[str, Any]) -> None:
        """Take note of `epochs`, `steps` and `verbose`."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take note of the model."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model that is trained, evaluated or asked to predict."""
        return self._model

    # --- Which batches matter ---------------------------------------------------------

    def watches(self, phase: str) -> bool:
        """Whether a batch hook of "train", "test" or "predict" does anything here."""
        return any(does_something(self, hook) for hook in BATCH_HOOKS[phase])

    def replay(
        self, phase: str, first: int, count: int, logs: Mapping[str, Sequence]
    ) -> None:
        """Call the batch hooks of steps that are done already.

        `logs` maps each name to one value per step, `count` of them, from batch `first`
        on. A callback that has a quicker way to read them may override this.
        """
        if not self.watches(phase):
            return
        begin = getattr(self, f"on_{phase}_batch_begin")
        end = getattr(self, f"on_{phase}_batch_end")
        for i in range(count):
            begin(first + i, {})
            end(first + i, logs_at(logs, i))

    # --- Hooks ------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once when `fit` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once when `fit` ends, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch; the first one is number 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch and its validation, whose names begin with `val_`."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An old name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """An old name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `fit`."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `fit`, with the means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when `evaluate` or the validation in `fit` begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when `evaluate` or the validation in `fit` ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `evaluate` and of the validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `evaluate` and of the validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when `predict` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when `predict` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `predict`, with its `outputs`."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def does_something(callback: Any, hook: str) -> bool:
    """Whether a callback's hook is more than the empty one it was born with."""
    method = getattr(callback, hook, None)
    function = getattr(method, "__func__", method)
    # Keras marks its own empty hooks: its callbacks may be used here as well.
    empty = (None, getattr(Callback, hook))
    return function not in empty and not getattr(function, "_is_default", False)


def logs_at(logs: Mapping[str, Sequence], i: int) -> Logs:
    """The logs of one step out of those of many."""
    return {name: plain(values[i]) for name, values in sorted(logs.items())}


def plain(value: Any) -> Any:
    """A scalar of any library as a Python float; anything else as it is."""
    scalar = isinstance(value, int | float) or getattr(value, "shape", None) == ()
    return float(value) if scalar else value


def plain_logs(logs: Mapping[str, Any] | None) -> Logs:
    """Logs by name in alphabetical order, as plain numbers."""
    return {name: plain(value) for name, value in sorted((logs or {}).items())}
