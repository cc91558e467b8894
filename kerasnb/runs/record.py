"""`Record`: what one `fit` was told, what came of it, and how to do it again."""

import json
import re
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.configurable import deserialize
from kerasnb.core.frontend import Displayable
from kerasnb.core.registry import custom_object_scope
from kerasnb.random import seeded
from kerasnb.runs import curves, folder, start, weights
from kerasnb.saving.files import DamagedFileError, Replacing

OVER = ("finished", "stopped", "pruned", "interrupted", "failed", "killed")

_SAVED = (
    *("id", "name", "began", "status", "message", "model", "settings", "arguments"),
    *("callbacks", "seed", "data", "versions", "devices", "timing", "epochs_done"),
    "alarms",
)


class Record(Displayable):
    """One run of `fit`: settings, seed, versions, data, curves, timing, result.

    `history` and `epochs` are those of the run's `History`, `places` the epochs of each
    curve, which differ where validation is not held in all of them; `steps` and
    `curves` the values of single steps, thinned; `settings` what `compile` and `fit`
    were told, as plain data; `best` the best value of each curve with its epoch,
    counted from 1. A record holds no data and no model; of the weights those of its
    best epoch, while there is room for them (`kerasnb.config.best_weights`).
    """

    id: str
    name: str
    began: str
    status: str
    message: str
    model: dict[str, Any]
    settings: dict[str, Any]
    arguments: dict[str, Any]
    callbacks: list[str]
    seed: int | None
    data: dict[str, list[dict[str, Any]]]
    versions: dict[str, str]
    devices: str
    timing: dict[str, float]
    epochs_done: int
    alarms: list[dict[str, Any]]

    def __init__(self, facts: Mapping[str, Any]) -> None:
        for name in _SAVED:
            # Records of earlier versions know of no alarms.
            known = name in facts or name != "alarms"
            setattr(self, name, facts[name] if known else [])
        self.history: dict[str, list[Any]] = {}
        self.epochs: list[int] = []
        self.places: dict[str, list[int]] = {}
        self.steps = np.zeros(0, np.int64)
        self.curves: dict[str, np.ndarray] = {}
        self.folder: Path | None = None
        self.start: start.Start | None = None
        self.best_weights: weights.Weights | None = None
        self._model: weakref.ref[Any] | None = None
        self._written: weights.Weights | None = None  # those on disk
        self._texts: dict[str, bytes] = {}
        self._custom: dict[str, Any] = {}

    def __repr__(self) -> str:
        done = f"{self.epochs_done} epoch{'' if self.epochs_done == 1 else 's'}"
        last = [f"{k}={v[-1]:.4g}" for k, v in self.history.items() if _is_drawn(v)]
        return f"<Record {self.name}: {', '.join([self.status, done, *last])}>"

    # --- Facts ------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self.status in OVER

    @property
    def best(self) -> dict[str, tuple[float, int]]:
        """The best value of each curve and its epoch, counted from 1."""
        found = curves.best(self.history)
        return {
            n: (value, self.places[n][row] + 1) for n, (value, row) in found.items()
        }

    @property
    def code(self) -> str:
        """The script that makes the model, empty where it could not be written."""
        return self._text("code")

    @property
    def config(self) -> dict[str, Any] | None:
        """The model's configuration, None where it has none."""
        text = self._text("config")
        return json.loads(text) if text else None

    def _text(self, kind: str) -> str:
        held = self._texts.get(kind)
        return zlib.decompress(held).decode() if held else ""

    def place(self, places: Mapping[str, list[int]]) -> None:
        """Say which epochs the values of each curve belong to.

        Where they are not known, as in a run that went on after it was killed, a short
        curve is taken to be that of the last epochs.
        """
        for name, values in self.history.items():
            known = places.get(name, [])
            late = self.epochs[len(self.epochs) - len(values) :]
            self.places[name] = list(known) if len(known) == len(values) else late

    def rows(self) -> dict[str, list[Any]]:
        """The history with one value an epoch, None where a curve has none."""
        found = {
            name: dict(zip(self.places[name], values, strict=True))
            for name, values in self.history.items()
        }
        return {name: list(map(at.get, self.epochs)) for name, at in found.items()}

    def note_model(self, config: bytes, code: bytes, custom: dict[str, Any]) -> None:
        """Keep the model's configuration and script, both compressed."""
        self._texts = {"config": config, "code": code}
        self._custom = custom

    def rename(self, name: str) -> None:
        """Give the run another name, on disk as well."""
        self._change(name=name)

    def end(self, status: str, message: str = "") -> None:
        """Say how a run has ended, where its owner knows better than `fit` did."""
        self._change(status=status, message=message)

    def _change(self, **facts: str) -> None:
        vars(self).update(facts)
        if self.folder is not None:
            self.write()

    # --- The weights of the best epoch ------------------------------------------------

    def follow(self, model: Any) -> None:
        """Know the model that is trained, for as long as somebody else keeps it."""
        self._model = weakref.ref(model)

    @property
    def trained(self) -> Any:
        """The model that was trained, None when it is gone."""
        return self._model() if self._model is not None else None

    def load_best(self, model: Any = None) -> int:
        """Put the weights of the best epoch into a model; returns that epoch, from 1.

        The best epoch is that of the lowest `val_loss`, without validation of the
        lowest `loss`. By default the model is the one that was trained. The optimizer
        stays as it is.

        Errors: ValueError when the weights were not kept, when the model is another
        one or is being trained.
        """
        found = self._find_weights()
        model = model if model is not None else self.trained
        if model is None:
            raise ValueError(
                f"load_best: the model of run `{self.name}` is not here any more; "
                "load_best(model) takes one like it, and best_model() makes it anew "
                "with these weights."
            )
        run = getattr(model, "run", None)
        if run is not None and run.status not in OVER:
            raise ValueError(
                f"load_best: `{model.name}` is being trained; stop that run first, or "
                "pass another model like it."
            )
        found.put_into(model, self.name)
        return found.epoch + 1

    def best_model(self, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The model of this run made anew, with the weights of its best epoch.

        Errors: ValueError when the weights were not kept, or the model cannot be made
        from its configuration.
        """
        found = self._find_weights()
        custom = {**self._custom, **(custom_objects or {})}
        # Its layers draw first weights, which must not move the seeds of others.
        with seeded(None), custom_object_scope(custom):
            model = self._rebuild("best_model")
        found.put_into(model, self.name)
        return model

    def fits(self, model: Any) -> bool:
        """Whether the weights of the best epoch can be put into a model."""
        return self.keeps_best and self._find_weights().fit(model)

    @property
    def keeps_best(self) -> bool:
        """Whether `load_best` has weights to load."""
        return self.best_weights is not None or (
            self.folder is not None and (self.folder / weights.FILE).exists()
        )

    def _find_weights(self) -> weights.Weights:
        if self.best_weights is not None:
            return self.best_weights
        if self.folder is not None and (self.folder / weights.FILE).exists():
            return weights.load(self.folder / weights.FILE)
        raise ValueError(
            f"load_best: the weights of run `{self.name}` were not kept. All records "
            f"together keep {settings.best_weights():g} MB; "
            "kerasnb.config.best_weights(1000) keeps more of the runs to come."
        )

    def forget_best(self) -> None:
        """No epoch has weights to load: those that had were taken back."""
        self.best_weights = self._written = None
        if self.folder is not None:
            (self.folder / weights.FILE).unlink(missing_ok=True)

    # --- Doing it again ---------------------------------------------------------------

    def rerun(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        callbacks: Any = None,
        model: Any = None,
        custom_objects: Mapping[str, Any] | None = None,
        allow_other_data: bool = False,
        verbose: int | str = "auto",
    ) -> Any:
        """Train the same model in the same way from the same beginning.

        With the same data the history is the same, bit for bit, on the same kind of
        machine. Returns the `History`, whose `model` is the model. A run that was kept
        on disk (`kerasnb.config.runs_dir`) begins with the very weights it had; another
        one makes them anew from its seed, which works when the model was made right
        after `set_random_seed`. A `model` like the recorded one replaces one that
        cannot be rebuilt.

        Errors: ValueError when the data differs (`allow_other_data=True` trains all the
        same), or when something needed was not recorded.
        """
        if self.callbacks and callbacks is None:
            raise ValueError(
                f"rerun: run `{self.name}` had the callbacks "
                f"{', '.join(self.callbacks)}; pass them again as callbacks=[...], or "
                "callbacks=[] to train without."
            )
        first, values = self.start, None
        if self.folder is not None and (self.folder / start.FILE).exists():
            first, values = start.load(self.folder / start.FILE)
        if first is None:
            raise ValueError(
                f"rerun: run `{self.name}` has no record of its beginning "
                f"({start.FILE} is not in its folder)."
            )
        again = Again(self, first, values, allow_other_data)
        custom = {**self._custom, **(custom_objects or {})}
        with (
            seeded(first.generators.seed),
            custom_object_scope(custom),
            again.expected(),
        ):
            if model is None:
                model = self._rebuild("rerun")
            given = {**self.arguments, "callbacks": callbacks, "verbose": verbose}
            if validation_data is not None:
                given["validation_data"] = validation_data
            return model.fit(x, y, sample_weight=sample_weight, **given)

    def _rebuild(self, who: str) -> Any:
        config = self.config
        if config is None:
            raise ValueError(
                f"{who}: the model of run `{self.name}` has no configuration "
                f"({self.model['problem']}); pass a compiled one {_PASS[who]}."
            )
        try:
            return deserialize(config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{who}: the model of run `{self.name}` cannot be rebuilt ({error}); "
                "pass your classes as custom_objects={...}, or a model "
                f"{_PASS[who]}."
            ) from error

    # --- On disk ----------------------------------------------------------------------

    def write(self) -> None:
        """Bring the files in the run's folder up to date."""
        assert self.folder is not None
        facts = {name: getattr(self, name) for name in _SAVED}
        facts["best"] = self.best
        text = json.dumps({"format": folder.FORMAT, **facts}, indent=1)
        names = list(self.history)
        rows = zip((e + 1 for e in self.epochs), *self.rows().values(), strict=True)
        drawn = list(self.curves)
        points = zip(
            (self.steps + 1).tolist(),
            *(self.curves[n].tolist() for n in drawn),
            strict=True,
        )
        with Replacing("runs_dir") as files:
            folder.write(files, self.folder / folder.RUN, text)
            history = folder.table(["epoch", *names], rows)
            folder.write(files, self.folder / folder.HISTORY, history)
            steps = folder.table(["step", *drawn], points)
            folder.write(files, self.folder / folder.STEPS, steps)
            kept = self.best_weights
            if kept is not None and kept is not self._written:
                weights.save(kept, self.folder / weights.FILE, files)
                self._written = kept

    @classmethod
    def read(cls, path: Path) -> "Record":
        """The record in a folder; one whose process is gone was killed."""
        facts = folder.read(path)
        try:
            record = cls(facts)
        except KeyError as error:
            raise DamagedFileError(
                f"runs.load: {path / folder.RUN} lacks {error}."
            ) from None
        record.folder = path
        kinds = {"status": str, "name": str, "settings": dict, "model": dict}
        kinds |= {"arguments": dict, "data": dict, "timing": dict, "callbacks": list}
        for name, kind in kinds.items():
            if not isinstance(getattr(record, name), kind):
                raise DamagedFileError(
                    f"runs.load: `{name}` in {path / folder.RUN} is no {kind.__name__}."
                )
        table = folder.read_table(path / folder.HISTORY)
        record.epochs = [int(e or 0) - 1 for e in table.pop("epoch", [])]
        for name, values in table.items():
            held = zip(record.epochs, values, strict=True)
            found = [(epoch, v) for epoch, v in held if v is not None]
            record.places[name] = [epoch for epoch, _ in found]
            record.history[name] = [v for _, v in found]
        steps = folder.read_table(path / folder.STEPS)
        record.steps = np.array(steps.pop("step", []), np.int64) - 1
        record.curves = {k: np.array(v, np.float32) for k, v in steps.items()}
        for text_kind, file in (("config", folder.CONFIG), ("code", folder.CODE)):
            text = folder.read_text(path / file)
            record._texts[text_kind] = zlib.compress(text.encode()) if text else b""
        if not record.over and not folder.is_alive(path):
            record.status = "killed"
            record.message = f"killed after {len(record.epochs)} whole epochs"
        return record


_PASS = {"rerun": "as model=...", "best_model": "to load_best"}


def _is_drawn(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[-1], int | float)


class Again:
    """A recorded beginning, waiting for the `fit` that is to have it."""

    def __init__(
        self,
        record: Record,
        first: start.Start,
        values: list[np.ndarray] | None,
        allow_other_data: bool,
    ) -> None:
        self.record, self.first, self.values = record, first, values
        self.allow_other_data = allow_other_data

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Be taken up by the next `fit` inside."""
        token = _again.set(self)
        try:
            yield
        finally:
            _again.reset(token)

    def begin(self, model: Any, data: Mapping[str, Any]) -> None:
        """Check the data and put a model at the recorded beginning."""
        name = self.record.name
        if not self.allow_other_data and (odd := _differing(self.record.data, data)):
            raise ValueError(
                f"rerun: {odd} than run `{name}` had, so the result would differ; "
                "allow_other_data=True trains on it all the same."
            )
        variables = start.variables_of(model)
        if self.values is not None:
            shapes = [v.shape for v in variables]
            if shapes != [tuple(v.shape) for v in self.values]:
                raise ValueError(
                    f"rerun: the model has other weights than the one of run `{name}`."
                )
            for variable, value in zip(variables, self.values, strict=True):
                variable.store(jnp.asarray(value))
        elif start.fingerprint.of_weights(variables) != self.first.weights:
            hint = "call keras.utils.set_random_seed(...) right before making the model"
            if self.first.generators.seed is not None:
                hint = "the model was trained before, loaded, or not made right after "
                hint += f"set_random_seed({self.first.generators.seed})"
            raise ValueError(
                f"rerun: run `{name}` began with weights that its settings alone do "
                f"not give ({hint}). They are kept when "
                'kerasnb.config.runs_dir("runs") is called before `fit`.'
            )
        self.first.generators.restore()


_again: ContextVar[Again | None] = ContextVar("again", default=None)


def take_again() -> Again | None:
    """The beginning that this `fit` is to have, at most once."""
    again = _again.get()
    _again.set(None)
    return again


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """In words, what is other about the data; None when nothing is known to be."""
    for part in sorted({*wanted, *found}):
        before = {entry["name"]: entry for entry in wanted.get(part) or ()}
        after = {entry["name"]: entry for entry in found.get(part) or ()}
        label = "validation " if part == "validation" else ""
        for name in dict.fromkeys([*before, *after]):
            a, b = before.get(name), after.get(name)
            if a is None or b is None:
                there = "is missing" if b is None else "is given"
                return f"{label}{name} {there}, which is other data"
            if a != b:
                same = a.get("shape") == b.get("shape")
                what = "values" if same else f"shape {tuple(b.get('shape') or ())}"
                return f"{label}{name} has other {what}"
    return None


def base_name(name: str) -> str:
    """A name without the number that told it from its likes.

    >>> base_name("digits-3"), base_name("digits")
    ('digits', 'digits')
    """
    return re.sub(r"-\d+$", "", name)
