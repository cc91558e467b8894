"""One pass over the data: chunks of compiled steps, and Python's turn between them."""

import itertools
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from kerasnb.core import settings
from kerasnb.core.claim import LOCK, Claim
from kerasnb.core.graph import leaves
from kerasnb.core.placement import copied
from kerasnb.core.state import bind
from kerasnb.training.checks import check_batch
from kerasnb.training.crew import ALONE, crew_of
from kerasnb.training.data import Stream, Table
from kerasnb.training.feed import Block, Feed
from kerasnb.training.interrupts import Interrupts
from kerasnb.training.loop import (
    Best,
    Index,
    Once,
    Pace,
    Program,
    StepByStep,
    length,
    parts_of,
    programs_for,
    rows_before,
)
from kerasnb.training.memory import keep_buffers
from kerasnb.training.nonfinite import Rewind
from kerasnb.training.run import Run

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer
    from kerasnb.training.watch import Watch

Blocks = Generator[tuple, None, None]
Passed = Callable[[int, dict[str, Any], Any], None]


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
        together: bool = False,  # several epochs in one call, where nobody looks
        single: bool = False,  # one batch, and that is all
    ) -> None:
        data = source.data if isinstance(source, Table) else source.peek()
        self.crew = crew_of([*trainer.variables, *trainer.metrics_variables], data)
        if isinstance(source, Table):
            batch_size = min(batch_size or 32, source.rows)
            source, batch_size = self.crew.table(source, batch_size)
        self.trainer, self.who, self.source = trainer, who, source
        self.training, self.shuffle, self._together = training, shuffle, together
        self._single = single and self.crew is ALONE
        self.interrupts = Interrupts()
        self.claim = Claim(lambda: who, ())
        self.random: Any = np.random  # whence the order of the data
        self.rewind: Rewind | None = None
        self.watch: Watch | None = None
        self.batch_size = 0
        self.y_spec: Any = None
        self._pace = Pace()
        self._data: Any = None
        self._iterator: Iterator | None = None
        self._goes_on = training and steps is not None
        self._passed = False
        self._skip = 0
        self._partial: Any = None
        self._whole, self._epochs, self._drawn = False, 1, 1
        if isinstance(source, Table):
            self.batch_size = batch_size or 32
            every = source.batch_count(self.batch_size)
            count: int | None = min(every, steps or every)
            if steps is not None and steps > every:
                warnings.warn(
                    f"{who}: {steps} steps were asked for and the data has "
                    f"{every} batches of {self.batch_size}; the epoch ends with them.",
                    stacklevel=3,
                )
        else:
            count = steps if steps is not None else source.length
        limit = settings.max_steps_per_epoch()
        self.steps_per_epoch = settings.limited(count, limit, "steps_per_epoch")

    # --- Getting ready ----------------------------------------------------------------

    def prepare(self) -> None:
        """Build the model, put the data on the device, compile."""
        self.build()
        self.compile()

    def build(self) -> None:
        """Build what is not built yet, and look whether model and data go together."""
        source = self.source
        if isinstance(source, Table):
            first = source.take(slice(0, self.batch_size))
        else:
            first = source.peek()
            self.batch_size = len(next(a for a in leaves(first[0]) if a is not None))
        self.y_spec = self.trainer._prepare(first)
        whole = source.data if isinstance(source, Table) else first
        check_batch(self.trainer, self.who, whole, self.y_spec)

    def compile(self) -> None:
        """Put the data on the device, compile."""
        keep_buffers()
        source = self.source
        self._groups = self.trainer._groups(self.training)
        self.crew.lay_out([v for group in self._groups for v in group])
        self._fresh = self.trainer._program(
            f"fresh metrics {self.crew.key}",
            lambda: self.crew.data(self._fresh_metrics()),
        )
        step = self.trainer._step("train_step" if self.training else "test_step")
        kind: Any = Once if self._single else Program
        kind = StepByStep if self.trainer.run_eagerly else kind
        phase = "train" if self.training else "test"
        name = f"{phase} once" if kind is Once else phase
        self._program = self.trainer._program(name, lambda: kind(step))
        if not isinstance(source, Table):
            return
        self.crew.check_equal(
            self.who,
            rows=source.rows,
            batch_size=self.batch_size,
            steps=self.steps_per_epoch,
        )
        self._data = self.crew.data(source.data)
        state, crew = self._state(), self.crew
        shapes = programs_for(
            state,
            source.rows,
            self.batch_size,
            whole=kind is Program and crew is ALONE,
            several=self.may_go_on,
        )
        self._whole, self._epochs = not shapes[1:], shapes[0][0][0]
        self._full = self._program.prepare(state, self._data, shapes[0], crew)
        if shapes[1:]:
            compile_later = self._program.lower(state, self._data, shapes[1], crew)
            # The first epoch can go on while the odd last batch compiles.
            if shapes[0][0][1] > 1 and not crew.several:
                pool = ThreadPoolExecutor(1, "kerasnb-compile")
                self._partial = pool.submit(compile_later)
                pool.shutdown(wait=False)
            else:
                self._partial = compile_later()

    @property
    def may_go_on(self) -> bool:
        """Whether an epoch ends where all rows were seen, and another may follow."""
        source = self.source
        return (
            self._together
            and isinstance(source, Table)
            and self.steps_per_epoch == source.batch_count(self.batch_size)
        )

    def _fresh_metrics(self) -> list[jax.Array]:
        """The metrics' values at the beginning of an epoch; nothing changes."""
        metrics = self.trainer.metrics
        variables = self._groups[-1]
        with bind(variables, [v.box for v in variables], open=True) as frame:
            for metric in metrics:
                metric.reset_state()
            return [copied(frame.values[v]) for v in variables]

    def _state(self) -> tuple[list, ...]:
        return tuple([v.box for v in group] for group in self._groups)

    @property
    def groups(self) -> tuple[list, ...]:
        """The variables that it works on, as a step has them."""
        return self._groups

    # --- Running ----------------------------------------------------------------------

    def run_epoch(
        self,
        run: Run,
        hooks: Any,
        turn: Callable[[], bool],
        passed: Passed | None = None,
    ) -> dict[str, Any]:
        """One epoch of training, or what is left of it; the logs of its last step.

        With `passed` it may be several. That is told of each but the last: the step it
        ended with, its logs, and its weights if it is the best so far.
        """
        # One may be gone through already, by a run that goes back to its last step.
        if self._epochs == 1 or run.step_in_epoch == self.steps_per_epoch:
            passed = None
        return self._pass_over("train", hooks, turn, run, passed)

    def run_whole(self, hooks: Any, turn: Callable[[], bool] = lambda: False) -> dict:
        """One pass of evaluation; the results."""
        hooks.on_test_begin()
        logs = self._pass_over("test", hooks, turn)
        hooks.on_test_end(logs)
        return logs

    def run_single(self, table: Table | None = None) -> dict[str, Any]:
        """All rows as one batch, or those of another table of the same form."""
        data = self._data
        if table is not None:
            check_batch(self.trainer, self.who, table.data, self.y_spec)
            data = table.data  # which goes to the device with the call
        index = [np.arange(self.batch_size, dtype=np.int32)[None, None]]
        with self.interrupts.held():
            curves = self._chunk(self._full, data, index, 0, 1, True)
        return _logs_at(curves, -1)

    def let_go(self) -> bool:
        """Forget the rows; whether others of their form may come without ado."""
        table, self.source = self.source, Table((), 0)
        here, self._data = self._data, None
        assert isinstance(table, Table)
        pairs = zip(*map(jax.tree.leaves, (table.data, here)), strict=True)
        plain = all(type(a) is np.ndarray and a.dtype == b.dtype for a, b in pairs)
        return plain and isinstance(self._program, Once)

    def _pass_over(
        self,
        phase: str,
        hooks: Any,
        turn: Callable[[], bool],
        run: Run | None = None,
        passed: Passed | None = None,
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
        if skipped and isinstance(self.source, Stream):
            done = skipped  # Its batches begin after them.
        with closing(self._blocks(run, passed is not None)) as blocks:
            for chunks, data, index, lo, hi in blocks:
                at = lo + min(hi - lo, max(0, skipped - done))
                done += at - lo
                if lo == hi and turn():
                    return logs
                while at < hi:
                    steps = length(index)
                    left = hi - at
                    if single:
                        count = min(self.trainer.steps_per_execution, left)
                        begin_hook(done)
                    else:
                        count = self._pace.steps(left)
                    if run is not None and run.allowance:
                        count = min(count, run.allowance)
                    if run is not None and run.stops_after_epoch:
                        count = min(count, steps - at % steps)
                    count = self.crew.agree(count, self.interrupts)
                    self._draw(run, index, -(-(at + count) // steps))
                    began = time.perf_counter()
                    with self.interrupts.held():
                        curves = self._chunk(
                            chunks, data, index, at, at + count, done == 0, run
                        )
                        if run is not None:
                            best = chunks.best
                            self._note(run, index, at, count, curves, best, passed)
                    self._pace.learn(count, time.perf_counter() - began)
                    logs = _logs_at(curves, -1)
                    first = done
                    at += count
                    done += count
                    if self.watch is not None:
                        self.watch.turn(data, index, at - 1)
                    if single:
                        end_hook(done - 1, logs)
                    elif replay:
                        hooks.replay(phase, first, count, curves)
                    if turn() or (passed is not None and at % steps == 0):
                        return logs
        if not done:
            raise ValueError(
                f"{self.who}: the data ran out before the first batch of an epoch. "
                "An iterator can be gone through once; pass a list, a dataset or a "
                "generator that does not end, with `steps_per_epoch`."
            )
        return logs

    def _note(
        self,
        run: Run,
        index: Index,
        lo: int,
        count: int,
        curves: dict[str, np.ndarray],
        best: Best | None,
        passed: Passed | None,
    ) -> None:
        """Tell the run of steps from `lo` on, and of the epochs that ended inside."""
        steps, first, hi = length(index), run.step - lo, lo + count
        scalars = {name: v for name, v in curves.items() if v.ndim == 1}
        run.note_steps(count, rows_before(index, hi) - rows_before(index, lo), scalars)
        if passed is None:
            return
        ends = range(lo - lo % steps + steps, hi, steps)
        found = int(best.epoch) if best is not None and ends else -1
        for end in ends:
            weights = best.weights if best and found == end // steps - 1 else None
            passed(first + end, _logs_at(curves, end - 1 - lo), weights)

    def _chunk(
        self,
        chunks: Any,
        data: Any,
        index: Index,
        lo: int,
        hi: int,
        begins: bool,
        run: Run | None = None,
    ) -> dict[str, np.ndarray]:
        chunk = (data, index, lo, hi, begins, self._fresh)
        keeper = None if run is None else run.keeper
        to_beat = -np.inf if keeper is None else keeper.to_beat
        with LOCK:
            if self.rewind is not None:
                self.rewind.before(self.claim.look(self._groups), chunks, *chunk)
            state, ring = chunks.run(self.claim.take(self._groups), *chunk, to_beat)
            self.claim.give(self._groups, state)
        curves = chunks.read(ring, hi - lo)
        if self.rewind is not None:
            self.rewind.after(state, curves)
        return curves

    # --- Where batches come from ------------------------------------------------------

    def _blocks(self, run: Run | None, together: bool) -> Blocks:
        """`(chunks, data, index, lo, hi)`: batches that one program can run through."""
        if isinstance(self.source, Table):
            return self._table_blocks(self.source, run, together)
        return self._stream_blocks(self.source, run)

    def _table_blocks(self, table: Table, run: Run | None, together: bool) -> Blocks:
        every = table.batch_count(self.batch_size)
        steps, first = min(every, self.steps_per_epoch or every), 0
        order = None
        if run is not None:
            # Short epochs go on where the last one ended, until all rows were seen.
            epoch = run.epoch - run._initial_epoch
            first = epoch % -(-every // steps) * steps
            if self.shuffle and (run.step_in_epoch or first):
                order = run.order
        order = self._order(run) if order is None else order
        parts = parts_of(order, self.batch_size)
        last = min(first + steps, every)
        if self._whole:
            index, self._drawn = parts, 1
            if self._epochs > 1:
                index = [np.zeros((self._epochs, *p.shape[1:]), p.dtype) for p in parts]
                for rows, part in zip(index, parts, strict=True):
                    rows[0] = part[0]
            if run is not None and together:
                last += (min(self._epochs, run.epochs - run.epoch) - 1) * every
            index = [self.crew.index(part) for part in index]
            yield self._full, self._data, index, first, last
            return
        for part in parts:
            count = part.shape[1]
            if first < min(count, last):
                if part is not parts[0] and isinstance(self._partial, Future):
                    self._partial = self._partial.result()
                chunks = self._full if part is parts[0] else self._partial
                index = [self.crew.index(part)]
                yield chunks, self._data, index, max(first, 0), min(count, last)
            first, last = first - count, last - count

    def _order(self, run: Run | None) -> np.ndarray:
        """The order of the rows in an epoch that begins."""
        assert isinstance(self.source, Table)
        rows, order = self.source.rows, None
        if self.shuffle:
            order = self.random.permutation(rows).astype(np.int32)
            order = self.crew.order(order)
        if run is not None:
            run.order = order
        return np.arange(rows, dtype=np.int32) if order is None else order

    def _draw(self, run: Run | None, index: Index, epochs: int) -> None:
        """Draw the order of so many epochs, which the next steps go through."""
        for number in range(self._drawn, epochs):
            parts = parts_of(self._order(run), self.batch_size)
            for rows, part in zip(index, parts, strict=True):
                rows[number] = part[0]
        self._drawn = max(self._drawn, epochs)

    def _stream_blocks(self, stream: Stream, run: Run | None) -> Blocks:
        crew, several = self.crew, self.crew.several
        left = self.steps_per_epoch
        if left is not None and run is not None:
            left -= run.step_in_epoch

        def place(array: Any) -> Any:
            own = crew.key is None and isinstance(array, np.ndarray)
            return jax.device_put(array) if own else crew.data(array)

        stream.begin_epoch()
        batches, taken = self._next_pass(stream, run), 0
        ready: dict[Any, tuple] = {}
        with Feed(batches, left, _as_it_is if several else place, several) as feed:
            for block in feed:
                if block is None:
                    if not several:
                        yield None, None, None, 0, 0  # Python's turn meanwhile.
                    continue
                if not (count := crew.fewest(block.count, self.interrupts)):
                    break
                key = str(block.key)
                data = block.data
                if several:
                    data, numbers = crew.block(data, block.rows, block.size)
                    ready[key] = self._ready(block, data, [numbers], taken, ready)
                elif key not in ready:
                    order = np.arange(block.size * block.rows, dtype=np.int32)
                    index = [crew.index(order.reshape(1, block.size, block.rows))]
                    ready[key] = self._ready(block, data, index, taken, ready)
                yield ready[key][0], data, ready[key][1], 0, count
                taken += count
            else:
                crew.fewest(0, self.interrupts)
        if feed.ended and taken and left is not None and taken < left:
            warnings.warn(
                f"{self.who}: the data ended after {taken} of the {left} batches of "
                "this epoch, which ends here; pass data that repeats itself, or ask "
                "for fewer steps.",
                stacklevel=2,
            )
        # Data goes on where it is when an epoch has a number of steps of its own.
        if (self._goes_on or not stream.restarts) and not feed.ended:
            self._iterator = batches
        stream.end_epoch()

    def _ready(
        self, block: Block, data: Any, index: Any, number: int, earlier: Any
    ) -> tuple:
        """The program for such blocks, and the numbers of their rows."""
        try:
            chunks = self._program.prepare(
                self._state(), data, [part.shape for part in index], self.crew
            )
        except (TypeError, ValueError) as error:
            if not earlier:
                raise
            raise ValueError(
                f"{self.who}: batch {number} of this epoch has arrays of the shapes "
                f"{[shape for shape, _ in block.key]}, unlike those before it. {error}"
            ) from error
        return chunks, index

    def _next_pass(self, stream: Stream, run: Run | None) -> Iterator[tuple]:
        """The batches from the beginning, or from where the last epoch ended."""
        resumed = run is not None and run.step > 0 and not self._passed
        self._passed = True
        batches, self._iterator = self._iterator, None
        if batches is not None:
            if not stream.restarts:
                return batches
            first = next(batches, None)
            if first is not None:
                return itertools.chain([first], batches)
        skip, self._skip, seed = self._skip, 0, 0
        if run is not None and resumed:
            skip = run.step_in_epoch
            if self._goes_on or not stream.restarts:
                skip = run.step
                if stream.restarts and stream.length:
                    skip %= stream.length
        if stream.numbered:
            order = run.order if run is not None and skip else None
            seed = self.random.randint(2**31) if order is None else int(order[0])
            seed = int(self.crew.order(np.array([seed], np.int32))[0])
            if run is not None:
                run.order = np.array([seed])
        return stream.batches(seed, self.shuffle, skip, anew=resumed)

    def catch_up(self, passes: int) -> None:
        """Tell the data of the passes that a resumed run has behind it."""
        if not isinstance(self.source, Stream):
            return
        for _ in range(passes):
            self.source.begin_epoch()
            self.source.end_epoch()
        if not self.training and not self.source.restarts:
            self._skip = passes * (self.steps_per_epoch or 0)

    def go_back(self) -> None:
        """The run went back to an earlier step, and the next pass begins there."""
        self._passed, self._iterator = False, None

    def share(self, run: Run) -> None:
        """Let all processes do what was asked of the first."""
        self.crew.share(self.interrupts, self.trainer, run)

    def loss_around(self, row: int) -> float:
        """The loss of the batch that begins with `row`; nothing changes."""
        table = self.source
        assert isinstance(table, Table)
        rows = np.arange(row, row + self.batch_size) % table.rows
        groups = self.trainer._groups(training=False)
        state = tuple([v.box for v in group] for group in groups)
        logs, _ = jax.jit(self.trainer._step("test_step"))(state, table.take(rows))
        return float(logs["loss"])


def _logs_at(curves: dict[str, np.ndarray], i: int) -> dict[str, Any]:
    return {k: float(v[i]) if v.ndim == 1 else v[i] for k, v in curves.items()}


def _as_it_is(data: Any) -> Any:
    return data
