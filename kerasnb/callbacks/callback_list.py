"""`CallbackList`: all callbacks of a run as one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasnb.callbacks.callback import (
    BATCH_HOOKS,
    Callback,
    Logs,
    does_something,
    plain_logs,
)
from kerasnb.callbacks.progress import ProgbarLogger
from kerasnb.callbacks.records import History
from kerasnb.core.errors import show
from kerasnb.core.graph import leaves


class CallbackList(Callback):
    """Several callbacks called as one, in order.

    `fit` makes one from its `callbacks` argument, with a `History` and a progress bar
    at the end. All hooks hand the same dict of plain floats to each callback in turn,
    so that one may add to it what the next one reads.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self._known: dict[tuple, bool] = {}
        self.callbacks = [c for c in leaves(callbacks) if c is not None]
        for callback in self.callbacks:
            _check_callback(callback)
        self.history = self._find_or_add(History, add_history)
        self.progbar = self._find_or_add(ProgbarLogger, add_progbar)
        # One that looks at the others, as a backup does, has its turn after them.
        self.callbacks.sort(key=lambda callback: getattr(callback, "comes_last", False))
        self.set_model(model)
        self.set_params(params)

    def _find_or_add(self, kind: type, add: bool) -> Any:
        for callback in self.callbacks:
            if isinstance(callback, kind):
                return callback
        if not add:
            return None
        self.callbacks.append(kind())
        return self.callbacks[-1]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.callbacks)

    def append(self, callback: Any) -> None:
        """Add a callback at the end."""
        _check_callback(callback)
        self.callbacks.append(callback)

    def set_params(self, params: dict[str, Any]) -> None:
        """Tell every callback the settings of this run."""
        self.params = params
        for callback in self.callbacks if params else ():
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Tell every callback the model, and the model its history."""
        if model is None:
            return
        super().set_model(model)
        self._known = {}
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    # --- Which batches matter ---------------------------------------------------------

    @property
    def needs_batches(self) -> bool:
        """Whether training must run one step at a time."""
        return self._needs("train")

    @property
    def needs_test_batches(self) -> bool:
        """Whether evaluation must run one step at a time."""
        return self._needs("test")

    @property
    def needs_predict_batches(self) -> bool:
        """Whether prediction must run one step at a time."""
        return self._needs("predict")

    @property
    def wants_batches(self) -> bool:
        """Whether any callback has a hook for the batches of training."""
        return self.watches("train")

    @property
    def wants_test_batches(self) -> bool:
        """Whether any callback has a hook for the batches of evaluation."""
        return self.watches("test")

    @property
    def wants_predict_batches(self) -> bool:
        """Whether any callback has a hook for the batches of prediction."""
        return self.watches("predict")

    def watches(self, phase: str) -> bool:
        """Whether a batch hook of any callback does something in this phase."""
        return self._any(phase, every=True)

    def _needs(self, phase: str) -> bool:
        return self._any(phase, every=False)

    def _any(self, phase: str, every: bool) -> bool:
        """Whether a batch hook does something, of those that are not passive."""
        # Looked up once for each run: an epoch may take less time than that.
        key = (phase, every, *map(id, self.callbacks))
        if key not in self._known:
            self._known[key] = any(
                _watches(callback, phase)
                and (every or not getattr(callback, "passive", False))
                for callback in self.callbacks
            )
        return self._known[key]

    def replay(
        self, phase: str, first: int, count: int, logs: Mapping[str, Sequence]
    ) -> None:
        """Tell every callback about steps that are done already; see `Callback`."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.replay(phase, first, count, logs)

    # --- Hooks ------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_epoch_end", logs, epoch)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_batch_begin", logs, batch)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_batch_end", logs, batch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_train_batch_begin", logs, batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_train_batch_end", logs, batch)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_test_batch_begin", logs, batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_test_batch_end", logs, batch)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_predict_batch_begin", logs, batch)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Hand on to every callback."""
        self._tell("on_predict_batch_end", logs, batch)

    def _tell(self, hook: str, logs: Logs | None, *where: int) -> None:
        logs = plain_logs(logs)
        for callback in self.callbacks:
            getattr(callback, hook)(*where, logs)


def _watches(callback: Any, phase: str) -> bool:
    if isinstance(callback, Callback):
        return callback.watches(phase)
    return any(does_something(callback, hook) for hook in BATCH_HOOKS[phase])


def _check_callback(callback: Any) -> None:
    if isinstance(callback, type):
        raise TypeError(
            f"callbacks: {callback.__name__} is a class; pass an object, "
            f"{callback.__name__}(...)."
        )
    if not hasattr(callback, "set_model") or not hasattr(callback, "on_epoch_end"):
        raise TypeError(
            f"callbacks: {show(callback)} is not a callback; pass objects from "
            "keras.callbacks or of your own subclass of keras.callbacks.Callback."
        )
