"""The compiled loop: any number of training steps in one program.

A step is a pure function `(state, batch) -> (logs, state)`. `Program` wraps it into
loops whose bounds are arguments, so that one compilation serves chunks of every length.
The data stays on the device; each turn gathers its batch by a row of indices. The logs
of every step go into a ring that is read back once a chunk.

An index is a list of parts, the batches of one size: arrays `(epochs, count, size)`. An
epoch goes through its parts one after the other, and a chunk through as many epochs as
it has steps for. A call of a program costs as much as thirty steps of a small model, so
short epochs go by many at a time where nobody looks at each of them.

The number of steps in a chunk is steered so that a chunk takes about a tenth of a
second: Python runs ten times a second, whatever the speed of a step.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kerasnb.core import compilation
from kerasnb.training.crew import ALONE, Crew

TICK = 0.1  # seconds a chunk should take
RING = 4096  # logs kept on the device, and so the longest chunk
AT_ONCE = 1 << 15  # rows in the index of the epochs that one call may go through
SHORT = 64  # arrays in the state of a model whose programs are quickly compiled
SMALL = 1 << 20  # bytes of weights that are copied in next to no time

Step = Callable[[Any, Any], tuple[Any, Any]]
Index = Sequence[Any]  # arrays (epochs, count, size) of row numbers


class Program:
    """The compiled loop over one step function, for each shape of data it meets."""

    def __init__(self, step: Step) -> None:
        # Traced once for what it returns and for the loop, and written out there.
        self._step = jax.jit(step, inline=True)
        self._jitted = jax.jit(self._chunk, donate_argnums=(0, 1))
        self._compiled: dict[Any, Any] = {}
        self.compilations = 0

    def _chunk(
        self,
        state: Any,
        ring: Any,
        fresh: Any,
        data: Any,
        index: Index,
        lo: jax.Array,
        hi: jax.Array,
        *,
        team: Crew = ALONE,
        layout: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Steps `lo` to `hi`; `fresh` are metric values to begin an epoch with.

        A `team` lays out the batch, and `layout` is that of the state. What comes out
        beside state and logs is the best of several epochs; see `Best`.
        """
        begins, initial, to_beat = fresh
        epochs, steps = index[0].shape[0], length(index)

        def step(rows: jax.Array, t: Any, state: Any, ring: Any) -> tuple[Any, Any]:
            batch = jax.tree.map(
                lambda a: a.at[rows].get(mode="promise_in_bounds"), data
            )
            logs, new = self._step(state, team.batch(batch))
            # The loop wants every dtype to stay as it was.
            new = jax.tree.map(lambda b, a: jnp.asarray(a, b.dtype), state, new)
            if layout is not None:
                new = lax.with_sharding_constraint(new, layout)
            ring = jax.tree.map(
                lambda r, v: lax.dynamic_update_index_in_dim(
                    r, jnp.asarray(v, r.dtype), t - lo, 0
                ),
                ring,
                logs,
            )
            return new, ring

        def epoch(number: Any, carry: tuple) -> tuple:
            state, ring, best = carry
            *kept, metrics = state
            anew = begins | (number > lo // steps)
            metrics = [
                jnp.where(anew, a, b) for a, b in zip(initial, metrics, strict=True)
            ]
            state, at = (*kept, metrics), number * steps
            for part in index:
                rows, count = part[number], part.shape[1]

                def body(t: Any, carry: tuple, rows: Any = rows, at: Any = at) -> tuple:
                    row = lax.dynamic_index_in_dim(rows, t - at, 0, keepdims=False)
                    return step(row, t, *carry)

                first, last = (jnp.clip(t, at, at + count) for t in (lo, hi))
                state, ring = lax.fori_loop(first, last, body, (state, ring))
                at = at + count
            if best is not None:
                best = best.better(number, ring["loss"][at - 1 - lo], state, hi >= at)
            return state, ring, best

        if epochs == 1:
            return epoch(0, (state, ring, None))
        plain = "loss" in ring and ring["loss"].ndim == 1
        best = Best.begin(to_beat, state) if plain else None
        return lax.fori_loop(
            lo // steps, (hi + steps - 1) // steps, epoch, (state, ring, best)
        )

    def prepare(
        self, state: Any, data: Any, parts: Sequence, crew: Crew = ALONE
    ) -> "Chunks":
        """Compile for this data, unless that was done; the loop's next part.

        `parts` are the shapes of the index.
        """
        return self.lower(state, data, parts, crew)()

    def lower(
        self, state: Any, data: Any, parts: Sequence, crew: Crew = ALONE
    ) -> Callable[[], "Chunks"]:
        """Trace for this data; calling the result compiles, in whatever thread."""
        key = (signature((state, data)), tuple(parts), crew.key)
        if key in self._compiled:
            return lambda: Chunks(*self._compiled[key])
        state, data = crew.specs(state), crew.specs(data)
        rows = jax.ShapeDtypeStruct((parts[0][-1],), jnp.int32)
        batch = jax.eval_shape(
            lambda data, rows: jax.tree.map(lambda a: a[rows], data), data, rows
        )
        logs, _ = jax.eval_shape(self._step, state, batch)
        ring = jax.tree.map(lambda v: crew.spec((RING, *v.shape), v.dtype), logs)
        index = [crew.spec(part, jnp.int32, split=2) for part in parts]
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        flag = jax.ShapeDtypeStruct((), jnp.bool_)
        number = jax.ShapeDtypeStruct((), jnp.float32)
        jitted = self._jitted
        if crew is not ALONE:
            # What comes out lies as it went in, so that it can go in again.
            layouts = _layouts((state, ring))
            chunk = partial(self._chunk, team=crew, layout=layouts[0])
            jitted = jax.jit(
                chunk, donate_argnums=(0, 1), out_shardings=(*layouts, None)
            )
        lowered = jitted.lower(
            state, ring, (flag, state[-1], number), data, index, scalar, scalar
        )

        def compile() -> Chunks:
            self._compiled[key] = (compile_once(lowered), ring)
            self.compilations += 1
            return Chunks(*self._compiled[key])

        return compile


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Best:
    """The best of the epochs that ended in a chunk: its loss and its weights.

    `epoch` counts from the beginning of the index, and is -1 where none was better.
    """

    loss: Any
    epoch: Any
    weights: Any

    @classmethod
    def begin(cls, to_beat: Any, state: Any) -> "Best":
        """None so far is better than a loss of `to_beat`."""
        return cls(to_beat, jnp.int32(-1), list(state[:2]))

    def better(self, number: Any, loss: Any, state: Any, whole: Any) -> "Best":
        """This one or epoch `number`, if that has come to its end."""
        loss = loss.astype(jnp.float32)
        other = Best(loss, jnp.int32(number), list(state[:2]))
        wins = whole & (loss < self.loss) & jnp.isfinite(loss)
        return jax.tree.map(lambda a, b: jnp.where(wins, a, b), other, self)


class Chunks:
    """A compiled loop at work: runs chunks and hands out the logs of their steps."""

    def __init__(self, executable: Any, ring: Any) -> None:
        self._executable = executable
        self._ring_spec = ring
        self._ring: Any = None
        self.names = sorted(ring)
        self.best: Best | None = None

    def run(
        self,
        state: Any,
        data: Any,
        index: Index,
        lo: int,
        hi: int,
        begins: bool,
        initial: list,
        to_beat: float = np.inf,
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """Run steps `lo` to `hi` of `index`; returns the state and the logs by name.

        `begins` says that the first of them is the first of its epoch. Of epochs with a
        loss below `to_beat` that end inside, the best is in `best` afterwards.
        """
        ring = self._ring
        if ring is None:
            ring = jax.tree.map(
                lambda s: jax.device_put(
                    np.zeros(s.shape, s.dtype), s.sharding, may_alias=False
                ),
                self._ring_spec,
            )
        self._ring = None
        state, self._ring, self.best = self._executable(
            state,
            ring,
            (np.bool_(begins), initial, np.float32(to_beat)),
            data,
            index,
            np.int32(lo),
            np.int32(hi),
        )
        return state, self._ring

    def read(self, ring: Any, count: int) -> dict[str, np.ndarray]:
        """The logs of the last `count` steps; waits until they are computed."""
        return {name: np.asarray(ring[name])[:count] for name in self.names}


class Once:
    """A single step on a whole batch: it takes less time without a loop around it."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._jitted = jax.jit(self._whole, donate_argnums=0)
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def _whole(self, kept: tuple, initial: list, batch: Any) -> tuple[Any, Any]:
        state = (*kept, initial)
        logs, new = self._step(state, batch)
        return jax.tree.map(lambda b, a: jnp.asarray(a, b.dtype), state, new), logs

    def prepare(self, state: Any, data: Any, *unused: Any) -> "OnceReady":
        """Compile for batches like this, unless that was done."""
        key = signature((state, data))
        if key not in self._compiled:
            lowered = self._jitted.lower(state[:-1], state[-1], data)
            self._compiled[key] = compile_once(lowered)
        return OnceReady(self._compiled[key])


class OnceReady:
    """A compiled step, called as `Chunks` are."""

    best = None

    def __init__(self, executable: jax.stages.Compiled) -> None:
        self._executable = executable

    def run(
        self,
        state: Any,
        data: Any,
        index: Index,
        lo: int,
        hi: int,
        begins: bool,
        initial: list,
        to_beat: float,
    ) -> tuple[Any, Any]:
        """Make the step, with metrics that begin anew."""
        return self._executable(state[:-1], initial, data)

    def read(self, logs: dict, count: int) -> dict[str, np.ndarray]:
        """The logs of the step; waits until they are computed."""
        return {name: np.asarray(logs[name])[None] for name in sorted(logs)}


class StepByStep:
    """The same loop in Python, for `run_eagerly=True`: slow, and open to a debugger."""

    best = None

    def __init__(self, step: Step) -> None:
        self._step = step

    def lower(self, *unused: Any) -> Callable[[], "StepByStep"]:
        """Nothing to trace."""
        return lambda: self

    def prepare(self, *unused: Any) -> "StepByStep":
        """Nothing to compile."""
        return self

    def run(
        self,
        state: Any,
        data: Any,
        index: Index,
        lo: int,
        hi: int,
        begins: bool,
        initial: list,
        to_beat: float = np.inf,
    ) -> tuple[Any, Any]:
        """Run steps `lo` to `hi` of `index`, one after the other."""
        if begins:
            state = (*state[:-1], list(initial))
        rows = []
        for t in range(lo, hi):
            batch = jax.tree.map(lambda a, t=t: a[batch_at(index, t)], data)
            logs, state = self._step(state, batch)
            rows.append(logs)
        return state, rows

    def read(self, rows: list[dict], count: int) -> dict[str, np.ndarray]:
        """The logs of the last `count` steps."""
        names = sorted(rows[0])
        return {name: np.stack([np.asarray(r[name]) for r in rows]) for name in names}


class Pace:
    """How many steps the next chunk should have, learned from the last one."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._steps = float(fixed or 4)

    def steps(self, left: int) -> int:
        """The length of the next chunk, of `left` steps that remain."""
        return max(1, min(int(self._steps), left, RING))

    def learn(self, count: int, seconds: float) -> None:
        """A chunk of `count` steps took `seconds`."""
        if self._fixed is None and seconds > 0:
            factor = min(8.0, max(0.25, TICK / seconds))
            if factor < 1 or count >= int(self._steps):
                self._steps = max(1.0, min(float(RING), count * factor))


_EXECUTABLES: dict[Any, jax.stages.Compiled] = {}
_COMPILING: dict[Any, Future] = {}
_LOCK = threading.Lock()
KEPT = 64  # executables that wait for another model like theirs


def compile_once(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """The executable of a program; an equal program has been compiled already.

    Programs are pure: that of a model serves every model of the same architecture, as
    clones, the candidates of a search and a cell that is run again make them. What a
    program holds beside its text (constants, Python functions) is its own. Of two
    threads that want the same program, one waits for the other.
    """
    compilation.begin()
    lowering = getattr(lowered, "_lowering", None)
    devices = getattr(lowering, "_device_list", None)
    if devices is None or getattr(lowering, "const_args", True):
        return lowered.compile()
    text = lowered.as_text()
    if "callback" in text:
        return lowered.compile()
    key = (text, lowered.in_tree, lowered.out_tree, tuple(devices))
    with _LOCK:
        if (known := _EXECUTABLES.pop(key, None)) is not None:
            _EXECUTABLES[key] = known  # The one used last goes last.
            return known
        if (other := _COMPILING.get(key)) is None:
            own = _COMPILING[key] = Future()
    if other is not None:
        with contextlib.suppress(CancelledError):
            return other.result()
        return lowered.compile()  # The other thread was stopped, or failed.
    try:
        executable = lowered.compile()
        with _LOCK:
            _EXECUTABLES[key] = executable
            if len(_EXECUTABLES) > KEPT:
                _EXECUTABLES.pop(next(iter(_EXECUTABLES)))
        own.set_result(executable)
        return executable
    finally:
        own.cancel()  # Unless there is a result.
        with _LOCK:
            del _COMPILING[key]


# --- What an index holds --------------------------------------------------------------


def parts_of(order: np.ndarray, batch_size: int) -> Index:
    """The rows of one epoch in this order, in full batches and a partial one."""
    rows = len(order)
    full = rows // batch_size * batch_size
    parts = order[:full].reshape(1, -1, batch_size), order[full:].reshape(1, 1, -1)
    return [part for part in parts if part.size]


def programs_for(
    state: Any, rows: int, batch_size: int, *, whole: bool, several: bool
) -> list[list[tuple[int, int, int]]]:
    """The shapes of the index of each program that an epoch of so many rows needs.

    One program for the full batches and one for the partial one; where compiling is
    quick and `whole` epochs may be gone through, one for both; where weights are few
    as well, that goes through `several` short epochs.
    """
    full, rest = divmod(rows, batch_size)
    parts = [(1, full, batch_size)] * bool(full) + [(1, 1, rest)] * bool(rest)
    if not whole or len(jax.tree.leaves(state)) > SHORT:
        return [[part] for part in parts]
    weights = jax.tree.leaves(state[:2])
    light = sum(a.size * a.dtype.itemsize for a in weights) <= SMALL
    epochs = max(1, min(64, AT_ONCE // rows)) if light and several else 1
    return [[(epochs, count, size) for _, count, size in parts]]


def length(index: Index) -> int:
    """How many batches an epoch has."""
    return sum(part.shape[1] for part in index)


def batch_at(index: Index, t: int) -> Any:
    """The rows of batch `t`."""
    epoch, t = divmod(t, length(index))
    for part in index:
        if t < part.shape[1]:
            return part[epoch, t]
        t -= part.shape[1]
    raise IndexError(t)


def rows_before(index: Index, t: int) -> int:
    """How many rows the first `t` batches have."""
    epochs, t = divmod(t, length(index))
    found = 0
    for part in index:
        _, count, size = part.shape
        found += (epochs * count + min(t, count)) * size
        t = max(t - count, 0)
    return found


def _layouts(specs: Any) -> Any:
    return jax.tree.map(lambda s: s.sharding, specs)


def signature(tree: Any) -> Any:
    """The structure, shapes and dtypes of nested arrays, to be compared."""
    flat, structure = jax.tree.flatten(tree)
    return structure, tuple((a.shape, a.dtype.name) for a in flat)
