"""A loss that became NaN or infinite: the step, the layer, the weights of before.

The weights of that moment are gone: the compiled steps took their buffers over. So a
`Rewind` copies the state from time to time, on the host, and notes the chunks of steps
since. When a loss is not finite it runs these chunks again up to the step that spoiled
it, and looks there: first forward, layer by layer, then at the loss, the gradient and
the update.
"""

import operator
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.graph import leaves
from kerasnb.core.state import bind
from kerasnb.layers.layer import Layer, collect_losses
from kerasnb.training.alarms import Alarm
from kerasnb.training.data import unpack_x_y_sample_weight
from kerasnb.training.loop import batch_at, length
from kerasnb.training.run import Run

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer

Cause = tuple[str, str, str]  # the cause, what to try, the layer

EVERY = 0.5  # seconds between two copies
SMALL = 1 << 24  # bytes of a state that is copied without being asked for
DATA = 1 << 26  # bytes of streamed data to hold on to


class Rewind:
    """The way back to the step before a loss stopped being finite.

    Small states are copied for every `fit`, at most twice a second; with `always`, as
    `TerminateOnNaN` wishes it, those of any size.
    """

    def __init__(self, trainer: "Trainer", run: Run, always: bool) -> None:
        self._trainer, self._run, self._always = trainer, run, always
        self._copies: list[np.ndarray] | None = None
        self._left: list[Any] = []
        self._chunks: list[tuple] = []
        self._last: tuple = ()
        self._taken = -EVERY
        self._held = 0
        self._off = False

    def before(self, state: tuple, *chunk: Any) -> None:
        """A chunk `(chunks, data, index, lo, hi, begins, fresh)` is about to run."""
        self._last = chunk
        if self._off:
            return
        flat = [a for group in state for a in group]
        # A callback may have changed a rate or a weight since the last chunk.
        same = len(flat) == len(self._left) and all(map(operator.is_, flat, self._left))
        if not self._chunks or chunk[1] is not self._chunks[-1][1]:
            self._held += sum(a.nbytes for a in jax.tree.leaves(chunk[1]))
        age = time.monotonic() - self._taken
        if age > EVERY or self._held > DATA or not same or self._copies is None:
            self._copies, self._chunks = None, []
            # Something that changes in every step is not followed, unless asked to.
            if age > EVERY / 10 or self._always:
                self._copy(state, flat)
        self._chunks.append(chunk)

    def _copy(self, state: tuple, flat: list[Any]) -> None:
        whole = all(getattr(a, "is_fully_addressable", True) for a in flat)
        size = sum(a.nbytes for a in flat)
        if not whole or (size > SMALL and not self._always):
            self._off = True
            return
        self._shape = [len(group) for group in state]
        self._places = [getattr(a, "sharding", None) for a in flat]
        self._copies = [np.array(a) for a in flat]
        self._taken, self._held = time.monotonic(), 0

    def after(self, state: tuple, curves: dict[str, np.ndarray]) -> None:
        """The chunk has run; looks at its losses."""
        loss = curves.get("loss")
        fine = loss is None or np.isfinite(loss).all()
        if loss is not None and not fine and self._run.trouble is None:
            self._run.trouble = self._explain(loss)
            self._off, self._copies, self._chunks = True, None, []
            wanted = "nan" in settings.alarms()
            news = wanted and self._run.note_alarm(self._run.trouble.alarm)
            if news and not self._always:
                warnings.warn(f"fit: {self._run.trouble.sentence}", stacklevel=2)
        self._left = [a for group in state for a in group]

    # --- Going back -------------------------------------------------------------------

    def _explain(self, losses: np.ndarray) -> "Trouble":
        first = int(np.argmax(~np.isfinite(losses.reshape(len(losses), -1)).all(-1)))
        run = self._run
        what = "NaN" if np.isnan(losses[first]).any() else "infinite"
        _, _, index, lo, *_ = self._last
        epoch, step = run.epoch, run.step_in_epoch + first
        if len(index[0]) > 1:  # the chunk may go through several
            ahead, step = divmod(step, length(index))
            epoch += ahead
        where = f"the loss became {what} in epoch {epoch + 1}, step {step + 1}"
        rate = self._trainer._learning_rate()

        def alarm(cause: str, mend: str, layer: str) -> Alarm:
            now = "" if rate is None else f" (now {rate:.3g})"
            seen, hint = f"{where}: {cause}", mend.format(rate=now)
            # The chunk is not counted yet, so `run.step` is the number of its first.
            return Alarm("nan", seen, hint, run.step + first + 1, epoch, layer)

        if self._off or self._copies is None:
            return Trouble(alarm(*_look_at_weights(self._trainer)))
        chunks, data, index, lo, _, *rest = self._chunks[-1]
        self._chunks[-1] = (chunks, data, index, lo, lo + first + 1, *rest)
        last = sum(hi - lo for *_, lo, hi, _, _ in self._chunks) - 1
        at, values = self._find(last)
        cause, mend, layer = find_cause(self._trainer, values, self._batch(at))
        if at < last - 1:
            cause = f"{last - at} steps before, {cause}"

        def restore() -> None:
            groups = self._trainer._groups(training=True)
            for group, new in zip(groups, values, strict=True):
                for variable, value in zip(group, new, strict=True):
                    variable.box = value

        return Trouble(alarm(cause, mend, layer), restore)

    def _find(self, last: int) -> tuple[int, tuple]:
        """The step that spoiled step `last` of the window, and the state before it."""
        state = self._state_before(last)
        if last == 0 or self._fine(state):
            return last, state
        good, bad, at = 0, last, last - 1
        found = None
        while bad - good > 1:
            state = self._state_before(at)
            if self._fine(state):
                good, found = at, state
            else:
                bad = at
            at = (good + bad) // 2
        return good, self._state_before(good) if found is None else found

    def _state_before(self, step: int) -> tuple:
        """The state after the first `step` steps since the copy was made."""
        assert self._copies is not None
        # Copied once more: the steps take over the buffers they are given.
        flat = iter(
            jax.device_put(jnp.array(a), place)
            for a, place in zip(self._copies, self._places, strict=True)
        )
        state: Any = tuple([next(flat) for _ in range(n)] for n in self._shape)
        for chunks, data, index, lo, hi, begins, fresh in self._chunks:
            count = min(step, hi - lo)
            if count:
                state, _ = chunks.run(state, data, index, lo, lo + count, begins, fresh)
            step -= count
        return state

    def _batch(self, step: int) -> Any:
        for _, data, index, lo, hi, *_ in self._chunks:
            if step < hi - lo:
                rows = batch_at(index, lo + step)
                return jax.tree.map(lambda a, rows=rows: a[rows], data)
            step -= hi - lo
        raise IndexError(step)

    def _fine(self, state: tuple) -> bool:
        """Whether what was finite in the copy is so still; metrics do not count."""
        assert self._copies is not None
        now = [a for group in state[:-1] for a in group]
        pairs = zip(self._copies, now, strict=False)
        return all(_finite(b) for a, b in pairs if _finite(a))


class Trouble:
    """What made a loss not finite, as an alarm; `restore` goes back to before."""

    def __init__(self, alarm: Alarm, restore: Callable[[], None] | None = None) -> None:
        self.alarm, self.restore = alarm, restore
        self.sentence = alarm.text.removeprefix("Alarm: ")


# --- The step that did it -------------------------------------------------------------

_SLOWER = (
    "a smaller learning rate{rate}, clipnorm=1.0 in the optimizer, or data scaled to "
    "about -1 to 1"
)
_DOMAIN = (
    "to keep exponents small and logarithms, roots and divisors away from 0, or a "
    "smaller learning rate{rate}"
)
_LARGE = 1e4  # beyond that the numbers have run away


def find_cause(trainer: "Trainer", state: tuple, batch: Any) -> Cause:
    """What makes the step from `state` on `batch` not finite, what to try, the layer.

    `state` holds the values of the trainable, the other, the optimizer's and the
    metrics' variables, as `train_step` takes them.
    """
    data = unpack_x_y_sample_weight(batch)
    for name, part in zip(("x", "y", "sample_weight"), data, strict=True):
        if not _all_finite(part):
            found = f"`{name}` of that batch holds NaN or infinity"
            return found, "to replace these values or to drop their rows", ""
    try:
        return (
            _look_forward(trainer, state, data)
            or _look_back(trainer, state, data)
            or _look_at_step(trainer, state, batch)
        )
    except Exception:  # noqa: BLE001 - a user's own step may be anything; fit goes on
        return "which layer made it so was not found", _SLOWER, ""


class _Found(Exception):
    """A layer whose output is not finite, though its input is."""


def _look_forward(trainer: Any, state: tuple, data: tuple) -> Cause | None:
    """The first layer with an output that is not finite, for finite input."""
    groups = trainer._groups(training=True)
    variables = [v for group in groups for v in group]
    values = [a for group in state for a in group]

    def look(layer: Layer, given: Any, out: Any) -> None:
        if not _all_finite(out) and _all_finite(given):
            raise _Found(layer, _largest(given))

    try:
        with (
            bind(variables, values, open=True),
            collect_losses(),
            calls_seen(trainer, look),
        ):
            trainer(data[0], training=True)
    except _Found as seen:
        layer, largest = seen.args
        weights = dict(zip(map(id, variables), values, strict=True))
        own = [weights[id(v)] for v in layer.variables if id(v) in weights]
        name = name_of(layer)
        if not _all_finite(own):
            return f"the weights of {name} are not finite", _SLOWER, layer.name
        heavy = f", its weights up to {_largest(own):.2g}" if own else ""
        found = (
            f"{name} is the first layer with an output that is not finite for finite "
            f"input (up to {largest:.2g}{heavy})"
        )
        mend = _SLOWER if max(largest, _largest(own)) > _LARGE else _DOMAIN
        return found, mend, layer.name
    return None


@contextmanager
def calls_seen(model: Any, look: Callable[[Layer, Any, Any], None]) -> Iterator[None]:
    """Inside, `look(layer, arguments, outputs)` follows each call in this thread."""
    here = threading.get_ident()

    def seen(layer: Layer) -> Callable:
        call = layer.call

        def watched(*args: Any, **kwargs: Any) -> Any:
            out = call(*args, **kwargs)
            if threading.get_ident() == here:
                look(layer, (args, list(kwargs.values())), out)
            return out

        return watched

    layers = [x for x in model._flatten_layers() if "call" not in vars(x)]
    try:
        for layer in layers:
            vars(layer)["call"] = seen(layer)
        yield
    finally:
        for layer in layers:
            del vars(layer)["call"]


def _look_back(trainer: Any, state: tuple, data: tuple) -> Cause | None:
    """The loss of finite outputs, or the gradient next to the output."""
    trainable, rest, slots, metrics = state

    def loss_of(trainable: list) -> tuple[Any, tuple]:
        values = (trainable, rest, metrics)
        return trainer.compute_loss_and_updates(
            *values, *data, training=True, optimizer_variables=slots
        )

    gradient = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (_, (loss, outputs, *_)), grads = gradient(trainable)
    if not _all_finite(loss):
        found = (
            f"the outputs of the model are finite (up to {_largest(outputs):.2g}) and "
            f"their loss is not (targets up to {_largest(data[1]):.2g})"
        )
        return found, _SLOWER if _largest(outputs) > _LARGE else _DOMAIN, ""
    variables = trainer._groups(training=True)[0]
    for variable, grad in reversed(list(zip(variables, grads, strict=True))):
        if not _finite(grad):
            owner = owners(trainer)[id(variable)]
            found = (
                f"the gradient of {name_of(owner)} is the first that is not finite, "
                "while its output and the loss still are"
            )
            return found, _DOMAIN, owner.name
    return None


def _look_at_step(trainer: Any, state: tuple, batch: Any) -> Cause:
    """The weight or the optimizer's variable that the update makes too large."""
    _, new = jax.jit(trainer._step("train_step"))(state, batch)
    pairs = zip(trainer._groups(training=True)[:3], new, strict=False)
    for group, values in pairs:
        for variable, value in zip(group, values, strict=True):
            if not _finite(value):
                found = f"the optimizer's step made `{variable.path}` infinite"
                return found, _SLOWER, ""
    return "the numbers have grown out of range", _SLOWER, ""


def _look_at_weights(trainer: Any) -> Cause:
    """What can be said when no copy was kept: whose weights are spoiled by now."""
    layers = [x for x in trainer._flatten_layers(include_self=False) if x.variables]
    bad = [x for x in layers if not _all_finite([v.box for v in x.variables])]
    if not bad:
        return "all weights are still finite", _DOMAIN, ""
    others = f" and {len(bad) - 1} more layers" if len(bad) > 1 else ""
    mend = (
        f"{_SLOWER}; callbacks=[keras.callbacks.TerminateOnNaN()] finds the layer and "
        "keeps the weights of the step before"
    )
    found = f"by now the weights of {name_of(bad[0])}{others} are not finite"
    return found, mend, bad[0].name


def name_of(layer: Any) -> str:
    """A layer in a sentence: class, name, and activation if it has one."""
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return layer._who() + (f" (activation {activation})" * (activation != "linear"))


def owners(trainer: Any) -> dict[int, Any]:
    """The innermost layer that each variable belongs to, by the variable's `id`."""
    found: dict[int, tuple[int, Any]] = {}
    for layer in trainer._flatten_layers():
        variables = layer.variables
        for variable in variables:
            held = found.get(id(variable))
            if held is None or len(variables) <= held[0]:
                found[id(variable)] = len(variables), layer
    return {key: layer for key, (_, layer) in found.items()}


def _floats(tree: Any) -> list[Any]:
    """The arrays of numbers with a fraction; those being traced tell nothing."""
    return [
        x
        for x in leaves(tree)
        if hasattr(x, "dtype")
        and not isinstance(x, jax.core.Tracer)
        and jnp.issubdtype(x.dtype, jnp.inexact)
    ]


def _finite(x: Any) -> bool:
    return bool(jnp.isfinite(x).all())


def _all_finite(tree: Any) -> bool:
    return all(map(_finite, _floats(tree)))


def _largest(tree: Any) -> float:
    sizes = [float(jnp.abs(x).max(initial=0)) for x in _floats(tree)]
    return max(sizes, default=0.0)
