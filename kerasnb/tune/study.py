"""`search` and `Study`: trials one after the other, in this cell or behind it."""

import inspect
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb import random, runs
from kerasnb.core import frontend
from kerasnb.core.errors import check, message, optional, reject_unknown, suggest
from kerasnb.core.frontend import Displayable
from kerasnb.models import Model
from kerasnb.runs.curves import better
from kerasnb.tune.pruning import Pruning

_DIRECTIONS = {"min": "minimize", "max": "maximize"}


def search(
    build: Callable[[Any], Any],
    x: Any = None,
    y: Any = None,
    *,
    validation_data: Any = None,
    trials: int = 20,
    epochs: int = 5,
    metric: str = "val_loss",
    direction: str | None = None,
    pruner: Any = "median",
    sampler: Any = "tpe",
    seed: int | None = 0,
    name: str = "study",
    background: bool = False,
    storage: Any = None,
    timeout: float | None = None,
    callbacks: Any = (),
    on_error: str = "raise",
    verbose: int | str = "auto",
    **fit: Any,
) -> "Study":
    """Train `build(trial)` for many settings and find those with the best `metric`.

    `build` takes an Optuna trial and returns a compiled model. A trial's value is its
    best epoch's; trials that lag behind the others are pruned. Each trial is a run in
    `kerasnb.runs`, named `study/0`, `study/1`, ...

    `direction` (`"minimize"` or `"maximize"`) is guessed from the metric. `pruner` is
    `"median"`, `"percentile"`, `"halving"`, `"hyperband"`, None or one of Optuna's;
    `sampler` is `"tpe"`, `"random"`, `"qmc"` or one of Optuna's. With `background=True`
    the search runs in a thread and this returns at once. `storage`, the path of an
    SQLite file or any storage of Optuna, keeps the trials: the same call again goes on
    until there are `trials` of them. After `timeout` seconds no new trial begins.
    `callbacks` are those of each `fit`, or a function of the trial that returns them;
    further arguments go to `fit` as they are. With `on_error="continue"` a trial that
    fails does not end the search.

    The same `seed` gives the same study: each trial begins with it, so that models
    differ by their settings alone. (A background search shares Python's and NumPy's
    generators with the cells that run meanwhile.)

        def build(trial):
            units = trial.suggest_int("units", 8, 256, log=True)
            model = keras.Sequential([keras.layers.Dense(units, "relu"), ...])
            model.compile("adam", "mse")
            return model

        study = keras.tune.search(build, x, y, validation_split=0.2, trials=30)
        study.best_params, study.best_model()

    Errors: ValueError for wrong arguments; RuntimeError, with the settings of the
    trial, when one fails.
    """
    who = "search"
    check(callable(build), who, "build", build, "a function of a trial")
    for key, value in (("trials", trials), ("epochs", epochs)):
        whole = isinstance(value, int) and value > 0
        check(whole, who, key, value, "a positive whole number")
    known = ("minimize", "maximize", None)
    check(direction in known, who, "direction", direction, f"one of {known}")
    ways = ("raise", "continue")
    check(on_error in ways, who, "on_error", on_error, f"one of {ways}")
    taken = inspect.signature(Model.fit).parameters
    reject_unknown(who, [n for n in fit if n not in taken], taken)
    validated = validation_data is not None or fit.get("validation_split")
    if metric.startswith("val_") and not validated:
        raise ValueError(
            f"search: `{metric}` needs validation data: pass validation_data=(x, y) or "
            "validation_split=0.2."
        )
    if validation_data is not None:
        fit["validation_data"] = validation_data
    optuna = _optuna()
    plan = _Plan(
        build, {"x": x, "y": y, "epochs": epochs, **fit}, metric, seed, callbacks
    )
    plan.on_error, plan.sampler = on_error, _sampler_maker(optuna, sampler, seed)
    direction = direction or _DIRECTIONS[better(metric)]
    with _quiet(optuna):
        found = optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            direction=direction,
            pruner=_pruner(optuna, pruner, epochs),
            load_if_exists=storage is not None,
        )
    check(
        found.direction.name == direction.upper(),
        *(who, "direction", direction, f"that of the stored study `{name}`"),
    )
    study = Study(found, plan, trials)
    study._start(trials - study._counted(), timeout, background, verbose)
    return study


@dataclass
class _Plan:
    """How each trial is done."""

    build: Callable[[Any], Any]
    fit: dict[str, Any]
    metric: str
    seed: int | None
    callbacks: Any
    on_error: str = "raise"
    sampler: Callable[[int], Any] = field(default=lambda number: None)


@dataclass(frozen=True)
class Trial:
    """One trial of a study: what was tried, and what came of it."""

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    epochs: int
    seconds: float | None
    run: str
    error: str


class Study(Displayable):
    """A search that goes on or is over; draws itself as the last line of a cell.

    `status` is `"running"`, `"finished"`, `"stopped"`, `"interrupted"` or `"failed"`;
    `study` is Optuna's own object, for everything this one does not do.
    """

    def __init__(self, study: Any, plan: _Plan, trials: int) -> None:
        self.study = study
        self.name: str = study.study_name
        self.metric = plan.metric
        self.direction: str = study.direction.name.lower()
        self.wanted = trials
        self.status = "running"
        self.message = ""
        self.watchers: list[Callable[..., None]] = []
        self._plan = plan
        self._error: BaseException | None = None
        self._stopping = False
        self._verbose = False
        self._thread: threading.Thread | None = None
        self._model: Any = None
        self._kept: tuple[int, list[np.ndarray], Any] | None = None

    def __repr__(self) -> str:
        words = f"{self.status}, {len(self.trials)} trials"
        if (best := self.best) is not None:
            words += f", best {self.metric} {best.value:.4g}"
        return f"<Study {self.name}: {words}>"

    # --- Results ----------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        return [self._row(trial) for trial in self.study.get_trials(deepcopy=False)]

    @property
    def best(self) -> Trial | None:
        """The trial with the best value, None before one is complete."""
        done = [t for t in self.trials if t.state == "complete" and t.value is not None]
        sign = -1 if self.direction == "maximize" else 1
        return min(
            done, key=lambda t: (sign * (t.value or 0.0), t.number), default=None
        )

    @property
    def best_params(self) -> dict[str, Any]:
        """The settings of the best trial."""
        return self._best().params

    @property
    def best_value(self) -> float:
        """The metric of the best trial, in its best epoch."""
        return self._best().value or 0.0

    def best_model(self, retrain: bool = False) -> Any:
        """A model with the settings of the best trial and the weights it had then.

        The weights are kept while the study lives. For a study that was begun in
        another process, `retrain=True` trains them again, from the same seed.
        """
        best, plan = self._best(), self._plan
        kept = self._kept
        trial = _optuna().trial.FixedTrial(best.params, best.number)
        if kept is not None and kept[0] == best.number:
            with self._seeds():
                model = plan.build(trial)
            if not model.built:
                model.build_from_config(kept[2])
            model.set_weights(kept[1])
            return model
        if not retrain:
            raise ValueError(
                f"The weights of trial {best.number} are not in this process, which "
                "did not train it; best_model(retrain=True) trains them again."
            )
        watch = Pruning(trial, self.metric, better(self.metric))
        with runs.named(f"{self.name}/{best.number} again"), self._seeds():
            model = plan.build(trial)
            told = {**plan.fit, "epochs": best.epochs, "verbose": 0}
            model.fit(callbacks=[*self._callbacks(trial), watch], **told)
        return model

    # --- While it runs ----------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> "Study":
        """Wait for the end of a background search, at most `timeout` seconds.

        Raises what ended it, when a trial failed.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self

    def stop(self) -> None:
        """End the search; the trial that runs ends at a whole step."""
        self._stopping = True
        run = getattr(self._model, "run", None)
        if run is not None:
            run.stop()

    def resume(
        self,
        trials: int | None = None,
        timeout: float | None = None,
        background: bool = False,
        verbose: int | str = "auto",
    ) -> "Study":
        """Go on with so many further trials, by default those that are missing."""
        if self.status == "running":
            raise ValueError(f"resume: the study `{self.name}` is running.")
        missing = self.wanted - self._counted()
        more = missing if trials is None else trials
        self.wanted += more - missing
        self._start(more, timeout, background, verbose)
        return self

    # --- Inside -----------------------------------------------------------------------

    def _start(
        self, count: int, timeout: float | None, background: bool, verbose: Any
    ) -> None:
        self.status, self.message = "running", ""
        self._stopping, self._error = False, None
        self._background = background
        self._verbose = verbose not in (0, None)
        self.watchers = []
        if self._verbose and frontend.display_mode() in ("widget", "html"):
            frontend.notebook("tuning").watch(self)
            self._verbose = False  # the picture says it all
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        if background:
            self._thread = threading.Thread(
                target=self._run,
                args=(count, deadline),
                name="kerasnb-tune",
                daemon=True,
            )
            self._thread.start()
            return
        self._thread = None
        self._run(count, deadline)
        self.wait()

    def _run(self, count: int, deadline: float) -> None:
        """All the trials; whatever ends them is kept for `wait`."""
        try:
            while count > 0 and not self._stopping and time.monotonic() < deadline:
                self._try()
                count -= 1
            self.status = "stopped" if self._stopping else "finished"
            if count > 0 and not self._stopping:
                self.message = "out of time"
            if self.status == "finished" and self.best is None and self.trials:
                self.status, self.message = "failed", "no trial was completed"
        except BaseException as error:  # noqa: BLE001 - raised again by `wait`
            self._error = error
            kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.status, self.message = kind, str(error)
            if kind == "interrupted" and frontend.in_notebook():
                self._error = None
        finally:
            self._model = None
            self._tell(final=True)

    def _try(self) -> None:
        """One trial, from its settings to its value."""
        optuna, study, plan = _optuna(), self.study, self._plan
        sampler = plan.sampler(len(study.get_trials(deepcopy=False)))
        if sampler is not None:
            study.sampler = sampler
        with _quiet(optuna):
            trial = study.ask()
        states = optuna.trial.TrialState
        value, state, error = None, states.FAIL, None
        watch = _Watch(self, trial)
        record: list[Any] = []
        try:
            with runs.named(f"{self.name}/{trial.number}") as record, self._seeds():
                model = plan.build(trial)
                check(
                    getattr(model, "compiled", False),
                    *(
                        "search",
                        "build",
                        model,
                        "a function that returns a compiled model",
                    ),
                )
                self._model = model
                model.fit(
                    callbacks=[*self._callbacks(trial), watch], **plan.fit, verbose=0
                )
                if model.run.status == "interrupted":
                    raise KeyboardInterrupt
            if watch.pruned:
                state = states.PRUNED
            elif not self._stopping:
                value, state = watch.value, states.COMPLETE
                if not math.isfinite(value):
                    value, state = None, states.FAIL
                    trial.set_user_attr("error", f"{self.metric} was not a number")
        except optuna.TrialPruned:
            state = states.PRUNED
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
            trial.set_user_attr("error", error)
            if plan.on_error == "raise":
                raise RuntimeError(
                    f"search: trial {trial.number} with {self.words(trial.params)} "
                    f'failed: {error} (on_error="continue" would go on.)'
                ) from caught
        finally:
            self._model = None
            for made in record:
                trial.set_user_attr("run", made.name)
                if state == states.PRUNED:
                    made.end("pruned", f"pruned after {made.epochs_done} epochs")
            trial.set_user_attr("epochs", watch.epoch)
            with _quiet(optuna):
                study.tell(trial, value, state)
            self._print(trial.number)
        self._tell()

    def _callbacks(self, trial: Any) -> list[Any]:
        given = self._plan.callbacks
        return list(given(trial) if callable(given) else given or ())

    def _seeds(self) -> AbstractContextManager[None]:
        """Begin a trial with the seed; afterwards the generators are as before.

        A background search leaves them: cells may have drawn from them meanwhile.
        """
        if self._background and self._plan.seed is not None:
            random.set_random_seed(self._plan.seed)
            return nullcontext()
        return random.seeded(self._plan.seed)

    def _best(self) -> Trial:
        best = self.best
        if best is None:
            raise ValueError(f"No trial of the study `{self.name}` is complete yet.")
        return best

    def _counted(self) -> int:
        """The trials that need not be done again."""
        return sum(t.state in ("complete", "pruned") for t in self.trials)

    def _row(self, trial: Any) -> Trial:
        state, notes = trial.state.name.lower(), trial.user_attrs
        value = trial.value if state == "complete" else None
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        duration = trial.duration
        return Trial(
            trial.number,
            {"fail": "failed" if notes.get("error") else "stopped"}.get(state, state),
            value,
            dict(trial.params),
            int(notes.get("epochs", len(trial.intermediate_values))),
            None if duration is None else duration.total_seconds(),
            str(notes.get("run", "")),
            str(notes.get("error", "")),
        )

    @staticmethod
    def words(params: dict[str, Any]) -> str:
        """Settings in words: `units=32, rate=0.01`."""
        shown = (
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
            for k, v in params.items()
        )
        return ", ".join(shown) or "no settings"

    def _print(self, number: int) -> None:
        if not self._verbose:
            return
        row = next(t for t in reversed(self.trials) if t.number == number)
        value = "" if row.value is None else f" {self.metric} {row.value:.4g}"
        print(f"trial {number} {row.state}:{value}  {self.words(row.params)}")

    def _tell(self, final: bool = False) -> None:
        for watcher in self.watchers:
            watcher(self, final=final)


class _Watch(Pruning):
    """The pruning of a study's own trials, which also keeps the best weights."""

    def __init__(self, owner: Study, trial: Any) -> None:
        super().__init__(trial, owner.metric)
        self._owner = owner
        best = owner.best
        self._to_beat = None if best is None else best.value

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin, unless the search was stopped while the model was compiled."""
        super().on_train_begin(logs)
        if self._owner._stopping:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Report the epoch to Optuna and to whoever watches the study."""
        super().on_epoch_end(epoch, logs)
        self._owner._tell()

    def improved(self) -> None:
        """Keep the weights when no trial was better."""
        beaten = self._to_beat
        if beaten is None or self.sign * self.value < self.sign * beaten:
            model = self.model
            shapes = model.get_build_config()
            self._owner._kept = (self.trial.number, model.get_weights(), shapes)


# --- Optuna ---------------------------------------------------------------------------


def _optuna() -> Any:
    return optional("optuna", "to search for settings", "tune")


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's line on every trial: the study shows itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _storage(storage: Any) -> Any:
    """A path as the SQLite file there; anything else as Optuna takes it."""
    if isinstance(storage, str | Path) and "://" not in str(storage):
        return f"sqlite:///{Path(storage).absolute()}"
    return storage


def _named(who: str, given: Any, table: dict[Any, Any], method: str) -> Any:
    """What a name in a table stands for; an object of Optuna's as it is."""
    if given in table if isinstance(given, str | None) else False:
        return table[given]
    names = ", ".join(f'"{name}"' for name in table if name)
    if not hasattr(given, method):
        raise ValueError(
            message("search", who, given, f"one of {names}, or an object of Optuna's")
            + suggest(given, [name for name in table if name])
        )
    return lambda: given


def _pruner(optuna: Any, given: Any, epochs: int) -> Any:
    pruners = optuna.pruners
    table = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
        "percentile": lambda: pruners.PercentilePruner(25.0, n_warmup_steps=1),
        "halving": pruners.SuccessiveHalvingPruner,
        "hyperband": lambda: pruners.HyperbandPruner(max_resource=epochs),
        None: pruners.NopPruner,
    }
    return _named("pruner", given, table, "prune")()


def _sampler_maker(optuna: Any, given: Any, seed: int | None) -> Callable[[int], Any]:
    """A function that makes the sampler for each trial.

    It is made anew for every trial, from the seed and the trial's number: a study that
    was interrupted then goes on as it would have.
    """
    samplers = optuna.samplers

    def at(number: int) -> int | None:
        if seed is None:
            return None
        return int(np.random.SeedSequence([abs(seed), number]).generate_state(1)[0])

    table = {
        "tpe": lambda number: samplers.TPESampler(seed=at(number)),
        "random": lambda number: samplers.RandomSampler(seed=at(number)),
        "qmc": lambda number: samplers.QMCSampler(
            seed=seed, warn_independent_sampling=False
        ),
    }
    made = _named("sampler", given, table, "sample_relative")
    return made if given in table else lambda number: made()
