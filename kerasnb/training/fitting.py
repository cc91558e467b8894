"""`Fit`: one call of `fit`, from its arguments to its last epoch.

What is asked of the run while it goes on is answered here, between two chunks of
compiled steps: pause, other rates, marks and ways back to them.
"""

import time
import warnings
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from kerasnb import callbacks as callbacks_room
from kerasnb import runs
from kerasnb.callbacks import states
from kerasnb.callbacks.progress import say
from kerasnb.core import frontend, settings
from kerasnb.core.claim import Claim
from kerasnb.core.errors import check
from kerasnb.training import background, memory
from kerasnb.training.checks import check_counts, check_fit
from kerasnb.training.data import Stream, Table, find_nan, split
from kerasnb.training.interrupts import Interrupts
from kerasnb.training.nonfinite import Rewind
from kerasnb.training.run import Run
from kerasnb.training.watch import Watch
from kerasnb.training.work import Work

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer

_ONCE = (
    "the {what} come from an iterator, which hands out each batch once, so that this "
    "run cannot go back; pass arrays or a PyDataset."
)
_SEVERAL = "a run of several processes cannot go back."


class Fit:
    """One call of `fit` with the arguments `given`, by their names."""

    def __init__(self, trainer: "Trainer", given: dict[str, Any]) -> None:
        self._began = time.monotonic()
        self.trainer, self.given = trainer, given
        self.frequency = given["validation_freq"]
        _check(trainer, given)
        most = settings.limited(given["epochs"], settings.max_epochs(), "epochs")
        self.epochs = given["epochs"] if most is None else most
        source, validation = self._sources()
        self.sources = {"training": source, "validation": validation}
        size, steps = given["batch_size"], given["steps_per_epoch"]
        shuffle = bool(given["shuffle"])
        self.work = Work(
            trainer,
            "fit",
            source,
            size,
            steps,
            training=True,
            shuffle=shuffle,
            together=True,
        )
        self.validation = None
        if validation is not None:
            self.validation = Work(
                trainer,
                "fit, validation data",
                validation,
                given["validation_batch_size"] or size,
                given["validation_steps"],
                training=False,
            )
        self._works = [work for work in (self.work, self.validation) if work]
        self._kept: dict[str, tuple[dict, dict]] = {}
        self._given: dict[int, dict] = {}  # arguments of callbacks, by `id`
        self._later: list[str] = []  # marks that wait for a step
        self._target: str | None = None  # the mark to go back to
        self._between = True  # two epochs

    # --- Getting ready ----------------------------------------------------------------

    def _sources(self) -> tuple[Any, Any]:
        """Batches to train and to validate with."""
        given, trainer = self.given, self.trainer
        names = ("x", "y", "sample_weight", "class_weight")
        source = trainer._source("fit", *(given[name] for name in names))
        data = given["validation_data"]
        validation = None
        if isinstance(data, list | tuple):
            if not 2 <= len(data) <= 3:
                raise ValueError(
                    "fit: `validation_data` must be (x, y) or (x, y, sample_weight), "
                    f"not a {type(data).__name__} of {len(data)}."
                )
            validation = trainer._source("fit, validation data", *data)
        elif data is not None:
            validation = trainer._source("fit, validation data", data)
        if given["background"]:
            # Other cells may change their arrays while this one trains.
            source, validation = _own(source), _own(validation)
        if given["validation_split"] and validation is None:
            if not isinstance(source, Table):
                raise ValueError(
                    "fit: `validation_split` needs arrays; pass `validation_data` for "
                    "batches from an iterable."
                )
            source, validation = split("fit", source, given["validation_split"])
        return source, validation

    def build(self) -> None:
        """Build the model, and the run with its callbacks: nothing slow."""
        trainer, given = self.trainer, self.given
        for work in self._works:
            work.build()
        self.run = run = Run(
            trainer.name,
            self.epochs,
            given["initial_epoch"],
            self.work.batch_size,
            self.work.steps_per_epoch,
            trainer._curves(),
        )
        run.share, run.catch_up = self.work.share, self._catch_up
        run.stays = self._why_not_back()
        verbose = given["verbose"] if self.work.crew.first else 0
        self._watched = verbose == "auto" and frontend.display_mode() in (
            "widget",
            "html",
        )
        self.hooks = given["callbacks"]
        if not isinstance(self.hooks, callbacks_room.CallbackList):
            # What is redrawn in place would run into what is typed meanwhile.
            usual = 2 if given["background"] else 1
            self.hooks = callbacks_room.CallbackList(
                given["callbacks"],
                add_history=True,
                add_progbar=not self._watched and verbose not in (0, None),
                verbose=usual if verbose == "auto" else verbose,
                epochs=self.epochs,
                steps=self.work.steps_per_epoch,
            )
        run.callbacks = self.hooks.callbacks

    def compile(self) -> None:
        """Put the data on the device and compile: what takes its time."""
        memory.give_back()  # what the fit before has left
        self.work.compile()
        self._check_data()
        if self.validation is not None:
            self.validation.compile()

    def watch(self) -> None:
        """Show the run where `fit` was called, if it draws itself."""
        if self._watched:
            frontend.notebook("panel").watch(self.run)

    def later(self) -> Run:
        """Train in the background, when it is this run's turn."""
        trainer, run = self.trainer, self.run
        # Cells that draw random numbers meanwhile leave the order of the data alone.
        run.random = np.random.RandomState()
        run.random.set_state(np.random.get_state())
        np.random.randint(2)  # The next run draws others.
        trainer._background = run

        def train() -> None:
            self.compile()
            self.go()

        run.background, run.status = True, "queued"
        self.watch()
        background.submit(run, train)
        return run

    def _check_data(self) -> None:
        """Look for NaN in the data once before training."""
        source = self.work.source
        found = find_nan(source.data) if isinstance(source, Table) else None
        if found is not None and not np.isfinite(self.work.loss_around(found[1])):
            raise ValueError(
                f"fit: {found[0]}, which makes the loss NaN. Replace these values or "
                "drop the rows (np.nan_to_num, DataFrame.dropna); nothing was changed."
            )

    def _why_not_back(self) -> str:
        """Why the run cannot go back to an earlier step; empty when it can."""
        if self.work.crew.several:
            return _SEVERAL
        for work, what in zip(
            self._works, ("batches", "batches to validate with"), strict=False
        ):
            if isinstance(work.source, Stream) and not work.source.restarts:
                return _ONCE.format(what=what)
        return ""

    def _catch_up(self) -> None:
        """Tell the data of the epochs that a resumed run has behind it."""
        passed = range(self.given["initial_epoch"], self.run.epoch)
        self.work.catch_up(len(passed))
        if self.validation is not None:
            self.validation.catch_up(sum(map(self._is_due, passed)))

    def _is_due(self, epoch: int) -> bool:
        """Whether this epoch is validated."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return (epoch + 1) in self.frequency

    # --- The run ----------------------------------------------------------------------

    def go(self) -> Any:
        """Train; returns the `History`."""
        trainer, run, hooks = self.trainer, self.run, self.hooks
        trainer.run, trainer.stop_training = run, False
        hooks.set_model(trainer)
        self._careful = any(getattr(c, "goes_back", False) for c in hooks.callbacks)
        self.work.rewind = Rewind(trainer, run, self._careful)
        self.work.random = run.random
        preparing = time.monotonic() - self._began
        # A panel shows alarms itself; beside a progress line they are lines too.
        aloud = say if hooks.progbar is not None else None
        watch = self.work.watch = Watch(trainer, run, self.work, preparing, aloud)
        run.begin()
        try:
            runs.begin(trainer, run, self.given, self.sources, preparing)
            with Interrupts(self.work.crew.several) as interrupts:
                with Claim(run.in_words, self._groups()) as claim:
                    for work in self._works:
                        work.interrupts, work.claim = interrupts, claim
                    watch.begin()
                    self._epochs()
                    watch.end()
                early = run.epoch < run.epochs
                run.finish("stopped" if early else "finished", self._why_stopped())
        except KeyboardInterrupt:
            trainer.history = run.result = hooks.history
            run.finish("interrupted", f"interrupted after {run.step} whole steps")
            if not frontend.in_notebook():
                raise
        except BaseException as error:
            run.finish("failed", f"{type(error).__name__}: {error}", error)
            self.work.crew.fail()
            raise
        return trainer.history

    def _groups(self) -> list[list[Any]]:
        return [group for work in self._works for group in work.groups]

    def _why_stopped(self) -> str:
        run = self.run
        if run.epoch >= run.epochs:
            return ""
        epoch = run.epoch + (run.step_in_epoch > 0)
        return f"stopped in epoch {epoch} of {run.epochs}"

    def _epochs(self) -> None:
        """All epochs, some of them again where the run goes back."""
        trainer, run, hooks = self.trainer, self.run, self.hooks
        logs: dict[str, Any] = {}
        self._given = {id(c): states.arguments(c) for c in hooks.callbacks}
        hooks.on_train_begin()
        begins = True
        self._answer()
        while self._target or not (
            run.epoch >= run.epochs or trainer.stop_training or run.stops_after_epoch
        ):
            if self._target:
                begins = self._go_back()
                self._answer()
                continue
            if begins:
                hooks.on_epoch_begin(run.epoch)
            logs, begins = self._epoch(), True
        trainer.history = run.result = hooks.history
        run.learning_rate = trainer._learning_rate()
        # Averaged weights, where the optimizer keeps some, take their place.
        trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
        hooks.on_train_end(logs)
        run.share(run)

    def _epoch(self) -> dict[str, Any]:
        """An epoch, or what is left of it, and its validation; the logs."""
        run = self.run
        self._between = False
        passed = self._passed if self._unseen else None
        logs = self.work.run_epoch(run, self.hooks, self._turn, passed)
        epoch = run.epoch
        if self.validation is not None and not self._target and self._is_due(epoch):
            began = time.monotonic()
            found = self.validation.run_whole(self.hooks, self._turn_of_validation)
            run.validation_seconds += time.monotonic() - began
            logs |= {f"val_{name}": value for name, value in found.items()}
        self._between = True
        if not self._target:
            logs = {name: logs[name] for name in sorted(logs)}
            run.note_epoch(epoch, logs)
            if run.keeper is not None:
                run.keeper.look(run)
            self.hooks.on_epoch_end(epoch, logs)
            self._answer()
        return logs

    @property
    def _unseen(self) -> bool:
        """Whether the ends of epochs may be told later, as nobody would know."""
        kinds = {type(self.hooks), *map(type, self.hooks.callbacks)}
        known = {callbacks_room.CallbackList, callbacks_room.History}
        return self.validation is None and kinds <= known

    def _passed(self, step: int, logs: dict[str, Any], weights: Any) -> None:
        """An epoch ended with this step, while the next ones went on."""
        run, epoch = self.run, self.run.epoch
        run.note_epoch(epoch, logs, step)
        if weights is not None:
            run.keeper.look(run, weights)
        self.hooks.on_epoch_end(epoch, logs)
        self.hooks.on_epoch_begin(epoch + 1)

    def _turn(self) -> bool:
        """Python's turn in training; whether the epoch ends here."""
        self._answer()
        return self.trainer.stop_training or bool(self._target)

    def _turn_of_validation(self) -> bool:
        self._answer()
        return bool(self._target)

    # --- What is asked of it ----------------------------------------------------------

    def _answer(self) -> None:
        """Tell who watches, and do what they asked for; waits while paused."""
        trainer, run = self.trainer, self.run
        patience = 0.0
        while True:
            if run.allowance == 0:
                run.allowance, run.status = None, "paused"
            if run.news_due:
                run.learning_rate = trainer._learning_rate()
                run.tell()
            began = time.monotonic()
            request = run.next_request(patience)
            if patience:
                run.note_pause(time.monotonic() - began)
            while request is not None:
                self._do(*request)
                # What comes after a way back is asked of the step that it leads to.
                request = None if self._target else run.next_request()
            if self._later and self._has_place:
                self._mark()
            run.share(run)
            if run.status != "paused" or self._target:
                return
            patience = 0.05

    def _do(self, what: str, value: Any) -> None:
        trainer, run = self.trainer, self.run
        if what in ("pause", "resume"):
            run.status = "paused" if what == "pause" else "running"
            run.allowance = None
        elif what == "advance":
            run.status, run.allowance = "running", (run.allowance or 0) + value
        elif what == "stop":
            trainer.stop_training, run.status = True, "running"
            self._target = None
        elif what == "stop_after_epoch":
            run.stops_after_epoch = True
        elif what == "learning_rate":
            try:
                trainer.optimizer.learning_rate = run.learning_rate = value
            except TypeError as error:  # it follows a schedule
                warnings.warn(f"fit: {error}", stacklevel=2)
        elif what == "mark":
            self._later.append(value)
            if self._has_place:
                self._mark()
        elif what == "roll_back" and run.marks and not trainer.stop_training:
            name = value or run.marks[-1].name
            self._target = name if name in self._kept else None

    @property
    def _has_place(self) -> bool:
        """Whether a run can go on from this moment: not before an epoch's first step.

        A stream may keep the loop waiting there, its order drawn and nothing done.
        """
        return self._between or self.run.step_in_epoch > 0

    def _mark(self) -> None:
        """Keep the state of this step under the names that were asked for."""
        run = self.run
        state, seen = states.take_down(
            self.trainer, states.neighbours(run), self._given
        )
        # On the CPU these are the very buffers that the next steps write into.
        arrays = {name: np.array(array) for name, array in seen.items()}
        for name in self._later:
            self._kept[name] = state, arrays
            run.note_mark(name)
        self._later = []
        self._forget()

    def _forget(self) -> None:
        names = {mark.name for mark in self.run.marks}
        self._kept = {k: v for k, v in self._kept.items() if k in names}

    def _go_back(self) -> bool:
        """Put everything back to where it was at the mark; whether an epoch begins."""
        trainer, run = self.trainer, self.run
        state, arrays = self._kept[str(self._target)]
        self._target = None
        for work in self._works:
            work.go_back()
        others = states.put_back(trainer, state, arrays, ValueError)
        states.restore_generators(run, state, arrays)
        states.remind(states.neighbours(run), others)
        run.cut()
        self._forget()
        self.work.rewind = Rewind(trainer, run, self._careful)
        self._between = run.step_in_epoch == 0
        return self._between


def _check(trainer: "Trainer", given: dict[str, Any]) -> None:
    """Refuse arguments that cannot be meant."""
    trainer._check_compiled("fit", needs_optimizer=True)
    if not given["background"]:
        trainer._check_free("fit")
    counts = ("epochs", "batch_size", "steps_per_epoch", "validation_steps")
    names = (*counts, "validation_batch_size")
    check_counts("fit", **{name: given[name] for name in names})
    keys = ("initial_epoch", "verbose", "validation_split", "validation_freq")
    check_fit(*(given[key] for key in keys))
    check(
        isinstance(given["background"], bool),
        "fit",
        "background",
        given["background"],
        "True or False",
    )


def _own(source: Any) -> Any:
    """A source whose arrays nobody else can change."""
    if not isinstance(source, Table):
        return source
    own = [
        np.array(a) if isinstance(a, np.ndarray) else a
        for a in jax.tree.leaves(source.data)
    ]
    return Table(jax.tree.unflatten(jax.tree.structure(source.data), own), source.rows)
