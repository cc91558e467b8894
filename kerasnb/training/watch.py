"""`Watch`: gathers what is known of a run, asks the rules, and lets alarms ring.

It has its turn between two chunks of steps, at most four times a second, and at the
end. An alarm goes to `run.alarms`, once for each kind and layer; where no panel shows
it, it is said in a line as well.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, Var, jaxprs_in_params

from kerasnb.core import settings
from kerasnb.core.graph import leaves
from kerasnb.core.registry import is_library
from kerasnb.core.state import bind
from kerasnb.layers.layer import collect_losses
from kerasnb.random import seeded
from kerasnb.training.alarms import FIRST, ROWS, Known, Numbers, look
from kerasnb.training.compiled import align_targets
from kerasnb.training.data import Table
from kerasnb.training.health import Health
from kerasnb.training.loop import Index, length
from kerasnb.training.run import Run

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer
    from kerasnb.training.work import Work

BETWEEN = 0.25  # seconds between two looks at the rules
_WRONG = {"learning_rate", "plateau"}


class Watch:
    """The watch over one `fit`; `say` is told each alarm, where a line is wanted."""

    def __init__(
        self,
        trainer: "Trainer",
        run: Run,
        work: "Work",
        preparing: float,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._trainer, self._run, self._work, self._say = trainer, run, work, say
        self.kinds = settings.alarms()
        self.health = Health(trainer, run, preparing)
        # A look is work for all processes, and each has a clock of its own.
        self.health.off |= work.crew.several
        self._facts: dict[str, Any] = {}
        self._first: np.ndarray = np.zeros(0)
        self._due = 0.0
        self._data: Any = None
        self._chunk: tuple[Any, Index, int] | None = None
        self._told = False  # of all first losses

    def begin(self) -> None:
        """Look at the data, before the first step."""
        if not self.kinds:
            return
        self._facts = facts_of_data(self._trainer, self._work)
        self._ring({"scale", "labels"})
        self._due = time.monotonic() + BETWEEN

    def turn(self, data: Any, index: Index, at: int) -> None:
        """Some steps were made, the last with batch `at` of `data`."""
        if not self.kinds:
            return
        if self._chunk is None or index[0].shape[2] == self._work.batch_size:
            self._chunk = data, index, at
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + BETWEEN
        if not (isinstance(self._work.source, Table) or self._work.crew.several):
            self._look_at_labels(data, np.asarray(index[0])[0, : at + 1].ravel())
        self.health.turn(self._state, self._last_chunk)
        self._ring(self.kinds)

    def end(self) -> None:
        """The run is over: nothing is to be missed."""
        if not self.kinds or self._chunk is None:
            return
        kinds = {alarm.kind for alarm in self._run.alarms}
        kinds |= {alarm.kind for alarm in look(self._known(), self.kinds)}
        # A run that went wrong is worth a closer look: the reason rings with it.
        if kinds & _WRONG or self._went_wrong():
            self.health.at_once(self._state, self._some_chunks)
        self._ring(self.kinds, last=True)

    def _look_at_labels(self, data: Any, rows: np.ndarray) -> None:
        """Later batches of a stream may hold labels that the first did not."""
        outputs, y = self._facts.get("classes"), leaves(data[1:2])
        if outputs and y and y[0].size <= 1_000_000:
            high = int(np.asarray(y[0])[rows].max())
            if high >= outputs:
                self._facts["labels"] = (0, high, outputs)

    # --- What is known ----------------------------------------------------------------

    def _state(self) -> tuple:
        return self._work.claim.look(self._work.groups)

    def _last_chunk(self) -> tuple[Any, Any, np.int32]:
        """The data, the rows of full batches of this epoch, which of these it was."""
        assert self._chunk is not None
        data, index, at = self._chunk
        epoch, at = divmod(at, length(index))
        rows = index[0][epoch]
        return data, rows, np.int32(min(at, len(rows) - 1))

    def _some_chunks(self) -> Iterator[tuple]:
        data, rows, _ = self._last_chunk()
        count, size = rows.shape
        for number in range(max(3, min(-(-ROWS // size), 16))):
            yield data, rows, np.int32(number % count)

    def _went_wrong(self) -> bool:
        """Whether the loss hardly fell: what else is wrong is then worth knowing."""
        first = self._first
        return len(first) >= FIRST // 2 and bool(
            np.median(first[-20:]) > 0.9 * np.median(first[:20])
        )

    def _known(self) -> Known:
        run = self._run
        return Known(
            run.step,
            run.epoch,
            self._work.batch_size,
            run.history,
            run.epochs_of,
            self._first_losses().tolist(),
            self.health.samples,
            run.learning_rate,
            callbacks={type(one).__name__ for one in run.callbacks},
            rung={alarm.kind for alarm in run.alarms},
            **{name: fact for name, fact in self._facts.items() if name != "classes"},
        )

    def _first_losses(self) -> np.ndarray:
        """The loss of each of the first batches; the curve has the mean of an epoch."""
        run = self._run
        if not self._told and is_library(type(self._trainer).train_step):
            steps, curves = run.step_points()
            means = np.asarray(curves.get("loss", ()), float)[:FIRST]
            self._told = len(means) == FIRST
            if len(means) and steps[0] == 0:
                ends = [0, *(n for n in run.epoch_index if n < len(means))]
                place = steps[: len(means)]
                starts = np.array(ends)[np.searchsorted(ends, place, "right") - 1]
                count = place - starts + 1
                before = np.where(count > 1, np.roll(means, 1), 0)
                with np.errstate(all="ignore"):  # one of infinite means is NaN
                    losses = count * means - (count - 1) * before
                # The last batch of an epoch may have had fewer rows.
                odd = np.isin(place + 1, run.epoch_index) & (count > 1)
                self._first = losses[~odd]
        return self._first

    # --- What is said -----------------------------------------------------------------

    def _ring(self, kinds: Any, last: bool = False) -> None:
        run = self._run
        if run.learning_rate is None:
            run.learning_rate = self._trainer._learning_rate()
        for alarm in look(self._known(), set(kinds) & set(self.kinds)):
            if alarm.kind == "plateau" and self.health.is_learning and not last:
                continue  # until the reason is known
            if run.note_alarm(alarm) and self._say is not None:
                note = ""
                if len(run.alarms) == 1:
                    note = ' (Silence alarms with kerasnb.config.alarms("off").)'
                self._say(alarm.text + note)


# --- The data -------------------------------------------------------------------------

_REGRESSION = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")
_NUMBERS = 200_000  # looked at


def facts_of_data(trainer: Any, work: Any) -> dict[str, Any]:
    """What the rules want to know of inputs, targets and labels."""
    source = work.source
    data = source.data if isinstance(source, Table) else source.peek()
    x, y = data[0], data[1] if len(data) > 1 else None
    inputs = [n for a, key in _arrays(x, "x") if (n := _numbers(a, key)) is not None]
    strange = [max(abs(n.low), abs(n.high)) for n in inputs]
    if any(size > 100 or 0 < size < 0.01 for size in strange):
        raw = goes_in_raw(trainer, x)
        inputs = [n._replace(raw=n.name in raw) for n in inputs]
    facts: dict[str, Any] = {"inputs": inputs}
    parts = getattr(trainer._compile_loss, "parts", ())
    if y is None or not is_library(type(trainer).compute_loss) or not parts:
        return facts
    outputs = leaves(work.y_spec)
    targets = align_targets(y, work.y_spec, trainer._compile_loss.names)
    wanted = []
    for part, target, out in zip(parts, targets, outputs, strict=False):
        fn = getattr(getattr(part, "fn", None), "__name__", "")
        if target is None or not hasattr(target, "dtype"):
            continue
        if fn in _REGRESSION and _ends_linear(trainer):
            wanted.append(_numbers(target, "y"))
        elif fn.endswith("categorical_crossentropy") and len(outputs) == 1:
            facts["labels"] = _labels(target, out.shape[-1], isinstance(source, Table))
            facts["classes"] = out.shape[-1] if fn.startswith("sparse") else None
    facts["targets"] = [numbers for numbers in wanted if numbers is not None]
    return facts


def _arrays(tree: Any, name: str) -> list[tuple[Any, str]]:
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(leaf, name + jax.tree_util.keystr(path)) for path, leaf in found]


def _numbers(array: Any, name: str) -> Numbers | None:
    """The size of some of the numbers of an array."""
    if not getattr(array, "is_fully_addressable", True) or not array.size:
        return None
    rows = max(8, min(256, _NUMBERS // max(array.size // len(array), 1)))
    some = array[:: max(len(array) // rows, 1)][:rows]
    some = np.asarray(some[:rows])
    if some.dtype.kind not in "iuf":
        return None
    some = some.astype(float)
    some = some[np.isfinite(some).reshape(len(some), -1).all(1)]
    if not len(some):
        return None
    spread = 1.0
    if some.ndim == 2 and len(some) > 1:
        sizes = some.std(0)
        sizes = sizes[sizes > 0]
        spread = float(sizes.max() / sizes.min()) if len(sizes) else 1.0
    rms = float(np.sqrt(np.mean(some * some)))
    return Numbers(name, float(some.min()), float(some.max()), rms, spread)


def _ends_linear(trainer: Any) -> bool:
    """Whether the outputs are a plain sum, which nothing scales after the weights."""
    last = (getattr(trainer, "layers", None) or [None])[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "linear")
    return hasattr(last, "kernel") and activation == "linear"


def _labels(y: Any, outputs: int, whole: bool) -> tuple[int, int, int] | None:
    """The lowest and the highest class in `y`, and how many there may be."""
    if not whole or y.size > 10_000_000 or outputs > 1000:
        return None
    y = np.asarray(y)
    if y.ndim > 1 and y.shape[-1] == outputs:
        used = np.flatnonzero(y.reshape(-1, outputs).any(0))
        every = len(used) and len(used) == used[-1] - used[0] + 1
        return (int(used[0]), int(used[-1]), outputs) if every else None
    return int(y.min()), int(y.max()), outputs


_KEEPS = frozenset(
    """
    broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice
    expand_dims pad reduce_max reduce_window_max reshape rev slice squeeze stop_gradient
    transpose
    """.split()
)
_WEIGHS = frozenset({"conv_general_dilated", "dot_general", "keras_conv"})


def goes_in_raw(trainer: Any, x: Any) -> set[str]:
    """The names of the inputs that weights are multiplied with as they are.

    Read off the traced program, so that it does not matter by which layer or line an
    input is scaled, looked up or normalised before.
    """

    def spec(a: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(a.dtype)
        return jax.ShapeDtypeStruct((2, *a.shape[1:]), dtype)

    def forward(x: Any) -> Any:
        with collect_losses():
            return trainer(x, training=False)

    try:
        with seeded(None), bind((), (), open=True):
            program = jax.make_jaxpr(forward)(jax.tree.map(spec, x)).jaxpr
    except Exception:  # noqa: BLE001 - a user's own call may be anything
        return set()
    names = [name for _, name in _arrays(x, "x")]
    found: set[str] = set()
    _follow(program, dict(zip(program.invars, names, strict=True)), found)
    return found


def _follow(program: Jaxpr, marks: dict[Var, str], found: set[str]) -> None:
    """Follow marked arrays through a program, to the first product with weights."""

    def of(variables: Sequence[Any], marks: dict[Var, str]) -> list[str | None]:
        # Numbers in the text of a program are no variables.
        return [marks.get(v) if isinstance(v, Var) else None for v in variables]

    for eqn in program.eqns:
        given = of(eqn.invars, marks)
        name = next(filter(None, given), None)
        if name is None:
            continue
        if eqn.primitive.name in _WEIGHS:
            found.add(name)
        elif eqn.primitive.name in _KEEPS:
            marks.update(dict.fromkeys(eqn.outvars, name))
        for inner in jaxprs_in_params(eqn.params):
            if len(inner.invars) == len(given):
                own = {v: m for v, m in zip(inner.invars, given, strict=True) if m}
                _follow(inner, own, found)
                made = zip(eqn.outvars, of(inner.outvars, own), strict=False)
                marks.update({v: m for v, m in made if m})
