"""One pass over the data: chunks of compiled steps, and Python's turn between them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.graph import leaves
from kerasnb.core.state import bind
from kerasnb.training.data import Stream, Table
from kerasnb.training.interrupts import Interrupts
from kerasnb.training.loop import Pace, Program, StepByStep, batches_of
from kerasnb.training.memory import keep_buffers
from kerasnb.training.run import Run

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer

STREAM_BLOCK = 16  # batches of a stream that wait for one another, at most
STREAM_WAIT = 0.1  # seconds they wait, at most


class Work:
    """Training or evaluation of a model on one source of data."""

    def __init__(
        self,
        trainer: "Trainer",
        who: str,
        source: Table | Stream,
        batch_size: int | None,
        steps: int | None,
        *,
        training: bool,
        shuffle: bool = False,
    ) -> None:
        self.trainer, self.who, self.source = trainer, who, source
        self.training, self.shuffle = training, shuffle
        self.interrupts = Interrupts()
        self.batch_size = 0
        self.y_spec: Any = None
        self._pace = Pace()
        self._data: Any = None
        self._iterator: Iterator | None = None
        self._partial: Any = None
        if isinstance(source, Table):
            self.batch_size = min(batch_size or 32, source.rows)
            every = source.batch_count(self.batch_size)
            count: int | None = min(every, steps or every)
        else:
            count = steps if steps is not None else source.length
        limit = settings.max_steps_per_epoch()
        self.steps_per_epoch = settings.limited(count, limit, "steps_per_epoch")

    # --- Getting ready ----------------------------------------------------------------

    def prepare(self) -> None:
        """Build the model, put the data on the device, compile."""
        keep_buffers()
        source = self.source
        if isinstance(source, Table):
            first = source.take(slice(0, self.batch_size))
        else:
            first = self._peek()
        self.y_spec = self.trainer._prepare(first)
        self._groups = self.trainer._groups(self.training)
        self._fresh = self.trainer._program("fresh metrics", self._fresh_metrics)
        step = self.trainer.train_step if self.training else self.trainer.test_step
        kind = StepByStep if self.trainer.run_eagerly else Program
        self._program = self.trainer._program(
            f"{'train' if self.training else 'test'}", lambda: kind(step)
        )
        if not isinstance(source, Table):
            return
        self._data = jax.tree.map(jnp.asarray, source.data)
        full, rest = divmod(source.rows, self.batch_size)
        self._full = self._program.prepare(
            self._state(), self._data, self.batch_size, full
        )
        if rest:
            compile_later = self._program.lower(self._state(), self._data, rest, 1)
            if full > 1:  # The first epoch can go on while the odd last batch compiles.
                pool = ThreadPoolExecutor(1, "kerasnb-compile")
                self._partial = pool.submit(compile_later)
                pool.shutdown(wait=False)
            else:
                self._partial = compile_later()

    def _fresh_metrics(self) -> list[jax.Array]:
        """The metrics' values at the beginning of an epoch; nothing changes."""
        metrics = self.trainer.metrics
        variables = self._groups[-1]
        with bind(variables, [v.box for v in variables], open=True) as frame:
            for metric in metrics:
                metric.reset_state()
            return [jnp.array(frame.values[v]) for v in variables]

    def _peek(self) -> tuple:
        """The first batch of a stream, which stays the first."""
        source = self.source
        assert isinstance(source, Stream)
        iterator = source.batches()
        first = next(iterator, None)
        if first is None:
            raise ValueError(
                f"{self.who}: `x` is empty; there is nothing to compute on."
            )
        self.batch_size = len(next(a for a in leaves(first[0]) if a is not None))
        self._iterator = _chain(first, iterator)
        return first

    def _state(self) -> tuple[list, ...]:
        return tuple([v.box for v in group] for group in self._groups)

    def _store(self, state: tuple[list, ...]) -> None:
        for group, values in zip(self._groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.box = value

    # --- Running ----------------------------------------------------------------------

    def run_epoch(self, run: Run, hooks: Any) -> dict[str, Any]:
        """One epoch of training, or what is left of it; the logs of its last step."""
        trainer = self.trainer

        def note(count: int, samples: int, curves: dict) -> None:
            scalars = {k: v for k, v in curves.items() if v.ndim == 1}
            run.note_steps(count, samples, scalars)

        def turn() -> bool:
            trainer._notice(run)
            return trainer.stop_training

        return self._pass_over("train", hooks, note, turn, run)

    def run_whole(self, hooks: Any, notice: Callable[[], None] | None = None) -> dict:
        """One pass of evaluation; the results."""

        def turn() -> bool:
            if notice is not None:
                notice()
            return False

        hooks.on_test_begin()
        logs = self._pass_over("test", hooks, lambda *step: None, turn)
        hooks.on_test_end(logs)
        return logs

    def run_single(self) -> dict[str, Any]:
        """All rows as one batch, without beginning the metrics anew."""
        index = jnp.arange(self.batch_size, dtype=jnp.int32)[None]
        return _logs_at(self._chunk(self._full, self._data, index, 0, 1, False), -1)

    def _pass_over(
        self,
        phase: str,
        hooks: Any,
        note: Callable[[int, int, dict], None],
        turn: Callable[[], bool],
        run: Run | None = None,
    ) -> dict[str, Any]:
        """Run all batches; callbacks and `turn` have Python's turns between chunks."""
        begin_hook = getattr(hooks, f"on_{phase}_batch_begin")
        end_hook = getattr(hooks, f"on_{phase}_batch_end")
        suffix = "batches" if phase == "train" else f"{phase}_batches"
        single = getattr(hooks, f"needs_{suffix}")
        replay = getattr(hooks, f"wants_{suffix}") and not single
        done, logs = 0, {}
        # A run that was killed goes on in the middle of an epoch.
        skipped = 0 if run is None else run.step_in_epoch
        if run is not None and skipped:
            logs = dict(run.logs)
        for chunks, data, index, lo, hi in self._blocks(run):
            at = lo + min(hi - lo, max(0, skipped - done))
            done += at - lo
            while at < hi:
                left = hi - at
                if single:
                    count = min(self.trainer.steps_per_execution, left)
                    begin_hook(done)
                else:
                    count = self._pace.steps(left)
                began = time.perf_counter()
                curves = self._chunk(
                    chunks, data, index, at, at + count, begins=done == 0
                )
                self._pace.learn(count, time.perf_counter() - began)
                logs = _logs_at(curves, -1)
                first = done
                at += count
                done += count
                note(count, count * index.shape[1], curves)
                if single:
                    end_hook(done - 1, logs)
                elif replay:
                    hooks.replay(phase, first, count, curves)
                if turn():
                    return logs
        if not done:
            raise ValueError(
                f"{self.who}: the data ran out before the first batch of an epoch. "
                "An iterator can be gone through once; pass a list, a dataset or a "
                "generator that does not end, with `steps_per_epoch`."
            )
        return logs

    def _chunk(
        self, chunks: Any, data: Any, index: Any, lo: int, hi: int, begins: bool
    ) -> dict[str, np.ndarray]:
        with self.interrupts.held():
            state, ring = chunks.run(
                self._state(), data, index, lo, hi, begins, self._fresh
            )
            self._store(state)
        return chunks.read(ring, hi - lo)

    # --- Where batches come from ------------------------------------------------------

    def _blocks(self, run: Run | None) -> Iterator[tuple]:
        """`(chunks, data, index, lo, hi)`: batches that one program can run through."""
        if isinstance(self.source, Table):
            return self._table_blocks(self.source, run)
        return self._stream_blocks(self.source)

    def _table_blocks(self, table: Table, run: Run | None) -> Iterator[tuple]:
        order = None
        if self.shuffle:
            order = run.order if run is not None and run.step_in_epoch else None
            if order is None:
                order = np.random.permutation(table.rows).astype(np.int32)
        if run is not None:
            run.order = order
        full, rest = batches_of(table.rows, self.batch_size, order)
        steps = table.batch_count(self.batch_size)
        steps = min(steps, self.steps_per_epoch or steps)
        if len(full):
            index = jnp.asarray(full)
            yield self._full, self._data, index, 0, min(len(full), steps)
        if len(rest) and steps > len(full):
            if isinstance(self._partial, Future):
                self._partial = self._partial.result()
            yield self._partial, self._data, jnp.asarray(rest[None]), 0, 1

    def _stream_blocks(self, stream: Stream) -> Iterator[tuple]:
        left = self.steps_per_epoch
        iterator = self._iterator
        if iterator is None:
            iterator = stream.batches()
        while left is None or left > 0:
            most = STREAM_BLOCK if left is None else min(STREAM_BLOCK, left)
            group = _gather(iterator, most)
            if not group:
                break
            for same in _by_shape(group):
                data, rows = _stack(same, STREAM_BLOCK)
                data = jax.tree.map(jnp.asarray, data)
                index = np.arange(STREAM_BLOCK * rows, dtype=np.int32)
                chunks = self._program.prepare(self._state(), data, rows, STREAM_BLOCK)
                yield (
                    chunks,
                    data,
                    jnp.asarray(index.reshape(STREAM_BLOCK, rows)),
                    0,
                    len(same),
                )
            left = None if left is None else left - len(group)
        # An iterator without an end goes on next epoch from where it is.
        keep = self.steps_per_epoch is not None and stream.length is None
        self._iterator = iterator if keep or not stream.restarts else None
        if stream.on_epoch_end is not None:
            stream.on_epoch_end()

    def loss_around(self, row: int) -> float:
        """The loss of the batch that begins with `row`; nothing changes."""
        table = self.source
        assert isinstance(table, Table)
        rows = np.arange(row, row + self.batch_size) % table.rows
        groups = self.trainer._groups(training=False)
        state = tuple([v.box for v in group] for group in groups)
        logs, _ = jax.jit(self.trainer.test_step)(state, table.take(rows))
        return float(logs["loss"])


def _logs_at(curves: dict[str, np.ndarray], i: int) -> dict[str, Any]:
    return {k: float(v[i]) if v.ndim == 1 else v[i] for k, v in curves.items()}


def _chain(first: Any, rest: Iterator) -> Iterator:
    yield first
    yield from rest


def _gather(iterator: Iterator, most: int) -> list[tuple]:
    """Up to `most` batches, fewer when they come slowly."""
    began = time.monotonic()
    group: list[tuple] = []
    while len(group) < most and (not group or time.monotonic() - began < STREAM_WAIT):
        batch = next(iterator, None)
        if batch is None:
            break
        group.append(batch)
    return group


def _by_shape(group: list[tuple]) -> Iterator[list[tuple]]:
    """Runs of batches with equal shapes."""
    same: list[tuple] = []
    shape = None
    for batch in group:
        found = [a.shape for a in leaves(batch) if a is not None]
        if same and found != shape:
            yield same
            same = []
        shape = found
        same.append(batch)
    yield same


def _stack(batches: list[tuple], count: int) -> tuple[Any, int]:
    """Batches of one shape under one another, filled up to `count` of them."""
    padded = batches + [batches[-1]] * (count - len(batches))
    data = jax.tree.map(lambda *parts: np.concatenate(parts), *padded)
    return data, len(next(a for a in leaves(batches[0]) if a is not None))
