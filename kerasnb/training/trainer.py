"""`Trainer`: `compile`, `fit`, `evaluate`, `predict` and the steps in them.

The steps have Keras' form for JAX: `train_step(state, data) -> (logs, state)` where
`state` holds the values of the trainable, the other, the optimizer's and the metrics'
variables. They are pure, so a subclass may replace them, and `training/loop.py` runs
any number of them in one compiled program.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import losses as losses_room
from kerasnb import metrics as metrics_room
from kerasnb import optimizers as optimizers_room
from kerasnb.core.claim import Claim, claim, latest
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.errors import check, names_arguments
from kerasnb.core.graph import leaves, map_structure
from kerasnb.core.masks import get_mask, set_mask
from kerasnb.core.state import bind, functional
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import changes, collect_losses
from kerasnb.training.checks import check_compile, check_counts
from kerasnb.training.compiled import (
    CHOSEN_BY_SHAPE,
    CompiledLoss,
    CompiledMetrics,
    add_result,
    output_names,
)
from kerasnb.training.crew import crew_of
from kerasnb.training.data import Table, unpack_x_y_sample_weight
from kerasnb.training.fitting import Fit
from kerasnb.training.interrupts import Interrupts
from kerasnb.training.loop import signature
from kerasnb.training.predict import Predictor, check_is_batch
from kerasnb.training.run import Run
from kerasnb.training.work import Work

State = tuple[list, ...]


class Trainer(Predictor):
    """A layer that can be trained; `Model` is made of it."""

    _UNTRACKED = Predictor._UNTRACKED | {
        "optimizer",
        "_compile_arguments",
        "_compile_loss",
        "_compile_metrics",
        "_loss_tracker",
        "_losses_override",
        "_interrupts",
        "history",
        "run",
        "_background",
    }

    optimizer: Any = None
    stop_training: bool = False
    steps_per_execution: int = 1
    history: Any = None
    run: Run | None = None
    _background: Run | None = None  # the last one that was asked for

    _compile_arguments: dict[str, Any] | None = None
    _compile_loss: CompiledLoss | None = None
    _compile_metrics: CompiledMetrics | None = None
    _loss_tracker: Any = None
    _losses_override: list[Any] | None = None
    _compiled_for: list[str] | None = None

    # --- compile ----------------------------------------------------------------------

    @names_arguments
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how to train: the optimizer, the loss, what to measure.

        `loss`, `loss_weights` and `metrics` may be given once, as a list in the order
        of the outputs, or as a dict by output name. Any function
        `(y_true, y_pred) -> array` serves as a loss or metric.
        """
        arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        check(
            isinstance(steps_per_execution, int) and steps_per_execution > 0,
            "compile",
            "steps_per_execution",
            steps_per_execution,
            "a positive whole number",
        )
        self._check_free("compile")
        # Everything that can be wrong is looked up before anything changes.
        check_compile(loss, loss_weights)
        optimizer = optimizers_room.get(optimizer)
        _check_names(loss, losses_room.get)
        _check_names([metrics, weighted_metrics], metrics_room.get)
        if (
            auto_scale_loss
            and self.dtype_policy.name == "mixed_float16"
            and optimizer is not None
            and not isinstance(optimizer, optimizers_room.LossScaleOptimizer)
        ):
            optimizer = optimizers_room.LossScaleOptimizer(optimizer)
        self.optimizer = optimizer
        self._compile_arguments = arguments
        self._compile_loss = None if loss is None else CompiledLoss(loss, loss_weights)
        self._compile_metrics = CompiledMetrics(metrics, weighted_metrics)
        self._loss_tracker = metrics_room.Mean(name="loss")
        self.run_eagerly = run_eagerly
        self.jit_compile = not run_eagerly and bool(jit_compile)
        self.steps_per_execution = steps_per_execution
        self.stop_training = False
        self._programs = {}
        self._compiled_for = None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compile_arguments is not None

    @property
    def loss(self) -> Any:
        """The loss as it was given to `compile`."""
        return (self._compile_arguments or {}).get("loss")

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as plain data, None before it was called."""
        if self._compile_arguments is None:
            return None
        config = dict(self._compile_arguments)
        config["optimizer"] = self.optimizer
        return {name: map_structure(serialize, value) for name, value in config.items()}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as `get_compile_config` noted; builds the optimizer when it can."""
        known = inspect.signature(Trainer.compile).parameters
        arguments = {k: deserialize(v) for k, v in config.items() if k in known}
        self.compile(**arguments)
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    # --- Metrics ----------------------------------------------------------------------

    @property
    def metrics(self) -> list[Any]:
        """All metrics: the running loss, those given to `compile`, those of layers."""
        found: list[Any] = []
        if self._loss_tracker is not None:
            found.append(self._loss_tracker)
        if self._compile_loss is not None:
            found.extend(self._compile_loss.metrics)
        if self._compile_metrics is not None:
            found.extend(self._compile_metrics.metrics)
        found.extend(self._layer_metrics())
        return list(dict.fromkeys(found))

    @property
    def metrics_names(self) -> list[str]:
        """The names of the metrics."""
        return [metric.name for metric in self.metrics]

    def _all_variables(self) -> list[Variable]:
        """All that training changes."""
        slots = [] if self.optimizer is None else self.optimizer.variables
        return [*self.variables, *self.metrics_variables, *slots]

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of all metrics."""
        return [v for metric in self.metrics for v in metric.variables]

    def reset_metrics(self) -> None:
        """Begin all metrics anew."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The values of all metrics so far, by name."""
        logs: dict[str, Any] = {}
        compiled = self._compile_metrics
        own = set(map(id, compiled.metrics)) if compiled is not None else set()
        for metric in self.metrics:
            if id(metric) not in own:
                add_result(logs, metric.name, metric.result())
        if compiled is not None:
            logs.update(compiled.result())
        return logs

    def _curves(self) -> list[str]:
        """The names under which `fit` will log, as far as they are known before."""
        losses = self._compile_loss.metrics if self._compile_loss is not None else []
        labels = [e[-1] for e in self._compile_metrics.entries]  # type: ignore[union-attr]
        return list(dict.fromkeys(["loss", *(m.name for m in losses), *labels]))

    # --- The steps --------------------------------------------------------------------

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch: that of `compile` plus what layers added."""
        parts = []
        if self._compile_loss is not None:
            parts.append(self._compile_loss(y, y_pred, sample_weight))
        parts.extend(jnp.sum(jnp.asarray(extra)) for extra in self.losses)
        if not parts:
            raise ValueError(
                "There is nothing to minimise: compile the model with a `loss`, or let "
                "a layer call `add_loss`."
            )
        return sum(parts[1:], start=parts[0])

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Show the metrics one more batch; returns their values so far."""
        if self._compile_metrics is not None and y is not None:
            self._compile_metrics.update(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def losses(self) -> list[Any]:
        """What the last call added, and the regularisation of the weights."""
        if self._losses_override is not None:
            return self._losses_override
        return super().losses

    def compute_loss_and_updates(
        self,
        trainable_variables: list,
        non_trainable_variables: list,
        metrics_variables: list,
        x: Any,
        y: Any,
        sample_weight: Any,
        training: bool = False,
        optimizer_variables: list | None = None,
    ) -> tuple[Any, tuple]:
        """The loss as a pure function of the variables, for `jax.grad`.

        Returns `(loss, (unscaled_loss, y_pred, non_trainable, metrics))`.
        """
        values = (trainable_variables, non_trainable_variables, metrics_variables)
        cls = type(self)

        def run() -> tuple[Any, Any]:
            with collect_losses() as added:
                y_pred = self(x, training=training)
            with self._losses_are(added + self._regularization()):
                return self._loss_of(x, y, y_pred, sample_weight, training), y_pred

        if (cls.stateless_call, cls.stateless_compute_loss) == _STATELESS:
            (loss, y_pred), (_, *new) = self._with_values(run, *values)
        else:  # A subclass has its own: one after the other, as Keras goes about it.
            y_pred, rest, added = self.stateless_call(
                *values[:2], x, return_losses=True, training=training
            )
            with self._losses_are(added):
                loss, (_, *new) = self.stateless_compute_loss(
                    values[0], rest, values[2], x, y, y_pred, sample_weight, training
                )
        scaled = loss
        if training and self.optimizer is not None and optimizer_variables is not None:
            with bind(self.optimizer.variables, optimizer_variables):
                scaled = self.optimizer.scale_loss(loss)
        return scaled, (loss, y_pred, *new)

    def stateless_compute_loss(
        self,
        trainable_variables: list,
        non_trainable_variables: list,
        metrics_variables: list,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple[Any, tuple[list, list, list]]:
        """`compute_loss` as a pure function: the loss, the variables' new values."""
        return self._with_values(
            lambda: self._loss_of(x, y, y_pred, sample_weight, training),
            trainable_variables,
            non_trainable_variables,
            metrics_variables,
        )

    def _with_values(self, fn: Callable[[], Any], *values: list) -> tuple[Any, Any]:
        """`fn` with values for the variables of each group; what they are after it."""
        groups = self._groups(training=False)
        pure = functional(fn, [v for group in groups for v in group])
        out, new = pure([value for part in values for value in part])
        ends = np.cumsum([len(group) for group in groups])
        return out, (new[: ends[0]], new[ends[0] : ends[1]], new[ends[1] :])

    def _loss_of(self, x: Any, y: Any, y_pred: Any, weight: Any, training: bool) -> Any:
        data = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": weight}
        # A `compute_loss` that was written for Keras 3.0 does not ask for `training`.
        known = inspect.signature(self.compute_loss).parameters
        if "training" in known or any(p.kind is p.VAR_KEYWORD for p in known.values()):
            data["training"] = training
        return self.compute_loss(**data)

    @contextmanager
    def _losses_are(self, losses: list) -> Iterator[None]:
        """Let `self.losses` be these, those of the call before, for `compute_loss`."""
        self._losses_override = losses
        try:
            yield
        finally:
            self._losses_override = None

    def _loss_and_masks(
        self,
        trainable: list,
        rest: list,
        metrics: list,
        data: tuple,
        training: bool,
        slots: list | None,
    ) -> tuple[Any, tuple]:
        """The loss for `jax.grad`, and the masks of the outputs beside the updates."""
        how: dict[str, Any] = {"training": training}
        if training:
            how["optimizer_variables"] = slots
        values = (trainable, rest, metrics)
        loss, aux = self.compute_loss_and_updates(*values, *data, **how)
        # A mask belongs to the array inside this function; it goes out beside it.
        return loss, (*aux, map_structure(get_mask, aux[1]))

    def _metrics_step(
        self, metrics: list, loss: Any, y_pred: Any, masks: Any, data: tuple
    ) -> tuple[dict[str, Any], list]:
        """Bring the metrics up to date with a batch; logs and new metric values."""
        x, y, sample_weight = data
        for output, mask in zip(leaves(y_pred), leaves(masks), strict=False):
            if mask is not None:
                set_mask(output, mask)

        def run() -> dict[str, Any]:
            rows = next(a.shape[0] for a in leaves(x) if a is not None)
            if self._loss_tracker in self.metrics:  # unless a subclass lists its own
                self._loss_tracker.update_state(loss, sample_weight=rows)
            return self.compute_metrics(x, y, y_pred, sample_weight)

        return functional(run, self.metrics_variables)(metrics)

    def train_step(self, state: State, data: Any) -> tuple[dict[str, Any], State]:
        """One step of training, as a pure function."""
        trainable, rest, slots, metrics = state
        data = unpack_x_y_sample_weight(data)
        gradient = jax.value_and_grad(self._loss_and_masks, has_aux=True)
        (_, aux), grads = gradient(trainable, rest, metrics, data, True, slots)
        loss, y_pred, rest, metrics, masks = aux
        trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
        logs, metrics = self._metrics_step(metrics, loss, y_pred, masks, data)
        return logs, (trainable, rest, slots, metrics)

    def test_step(self, state: State, data: Any) -> tuple[dict[str, Any], State]:
        """One step of evaluation, as a pure function."""
        trainable, rest, metrics = state
        data = unpack_x_y_sample_weight(data)
        _, aux = self._loss_and_masks(trainable, rest, metrics, data, False, None)
        loss, y_pred, rest, metrics, masks = aux
        logs, metrics = self._metrics_step(metrics, loss, y_pred, masks, data)
        return logs, (trainable, rest, metrics)

    # --- fit --------------------------------------------------------------------------

    @names_arguments
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        background: bool = False,
    ) -> Any:
        """Train for `epochs` passes over the data; returns the `History`.

        `x` and `y` are arrays (or lists, dicts, frames of them), or `x` yields batches
        `(x, y)`. In a notebook the training draws itself; interrupting it keeps
        everything learned so far and returns the history.

        With `background=True` the training goes on in a thread and the `Run` comes back
        at once: other cells run meanwhile, and what they read of the model, call or
        save is that of a whole step. Such runs follow one another; the arrays are
        copied, and the order of the data is that of a `fit` in this place.
        `run.wait()` waits for the end and returns the history.
        """
        fit = Fit(self, locals())
        fit.build()
        if background:
            return fit.later()
        fit.compile()
        fit.watch()
        return fit.go()

    def _check_free(self, who: str) -> None:
        """Refuse what cannot be done while the model is trained in the background."""
        run = self._background
        if run is not None and not run.done and not run.is_here:
            raise RuntimeError(
                f"{who}: {run.in_words()}. Call run.wait() or run.stop() first; "
                "model.run is that run once it has begun."
            )

    def _learning_rate(self) -> float | None:
        rate = getattr(self.optimizer, "learning_rate", None)
        if isinstance(rate, Variable):
            return float(latest(rate))
        return None if rate is None or callable(rate) else float(rate)

    # --- evaluate, single batches -----------------------------------------------------

    @names_arguments
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and metrics on the given data: a list, or a dict by name.

        With a loss alone the result is one number.
        """
        for name in kwargs:
            raise ValueError(f"evaluate has no argument `{name}`.")
        self._check_compiled("evaluate")
        check_counts("evaluate", batch_size=batch_size, steps=steps)
        source = self._source("evaluate", x, y, sample_weight)
        work = Work(self, "evaluate", source, batch_size, steps, training=False)
        work.prepare()
        verbose = verbose if work.crew.first else 0
        hooks = self._hooks(callbacks, verbose, work.steps_per_epoch)
        with self._at_work(work):
            logs = work.run_whole(hooks)
        return logs if return_dict else self._flat(logs)

    @names_arguments
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step on one batch; the metrics begin anew, as in Keras."""
        self._check_compiled("train_on_batch", needs_optimizer=True)
        table = self._source("train_on_batch", x, y, sample_weight, class_weight)
        return self._on_batch("train_on_batch", table, True, return_dict)

    @names_arguments
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Evaluate one batch; the metrics begin anew, as in Keras."""
        self._check_compiled("test_on_batch")
        table = self._source("test_on_batch", x, y, sample_weight)
        return self._on_batch("test_on_batch", table, False, return_dict)

    def _on_batch(self, who: str, table: Any, training: bool, return_dict: bool) -> Any:
        check_is_batch(who, table)
        # Taken out while it is at work: another thread makes one of its own.
        kept = (self._programs or {}).pop(who, None)
        if kept is not None and kept[0] == self._form_of(table, kept[1]):
            work = kept[1]
            with self._at_work(work):
                logs = work.run_single(table)
        else:
            how, kept = {"training": training, "single": True}, None
            work = Work(self, who, table, table.rows, None, **how)
            work.prepare()
            with self._at_work(work):
                logs = work.run_single()
            settled = all(layer._settled() for layer in self._flatten_layers())
            if work.let_go() and settled and type(self).metrics is Trainer.metrics:
                kept = self._form_of(table, work), work
        if kept is not None:
            self._programs[who] = kept  # type: ignore[index]
        return logs if return_dict else self._flat(logs)

    def _form_of(self, table: Table, work: Work) -> tuple:
        """What must be as it was, for `work` to go on with this batch."""
        flat, structure = jax.tree.flatten(table.data)
        slots = self.optimizer.variables if work.training else ()
        crew = crew_of(v for group in work.groups for v in group)
        arrays = ((type(a), a.shape, a.dtype) for a in flat)
        return (changes(), crew, structure, *arrays, *map(id, slots))

    @contextmanager
    def _at_work(self, work: Work) -> Iterator[None]:
        """Let `work` have the variables; copies, where another thread trains them."""
        kind = Claim if work.training else claim
        said = lambda: f"{work.who} of `{self.name}` is at work"  # noqa: E731
        with (
            Interrupts(work.crew.several) as work.interrupts,
            kind(said, work.groups) as work.claim,
        ):
            yield

    def _flat(self, logs: Mapping[str, Any]) -> Any:
        """The logs as a list: the metrics as given, the others by name, as in Keras.

        The metrics of several outputs are among the others: `kind_accuracy`.
        """
        names = [metric.name for metric in self.metrics if metric.name in logs]
        names += sorted(name for name in logs if name not in names)
        return logs[names[0]] if len(names) == 1 else [logs[name] for name in names]

    # --- Getting ready ----------------------------------------------------------------

    def _check_compiled(self, who: str, needs_optimizer: bool = False) -> None:
        if not self.compiled:
            raise ValueError(
                f"{who}: the model must be compiled first: "
                'model.compile(optimizer="adam", loss=...).'
            )
        if needs_optimizer and self.optimizer is None:
            raise ValueError(f"{who}: the model was compiled without an optimizer.")

    def _prepare(self, batch: tuple) -> Any:
        """Build what is not built yet, for batches like this; the outputs' shapes."""
        if not self.built:
            self._build_from(batch[0])
        kind = f"outputs for {signature(batch)}"
        y_pred = self._program(kind, lambda: self._match(batch))
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return y_pred

    def _match(self, batch: tuple) -> Any:
        """Match losses and metrics with the outputs; the outputs' shapes."""
        x, y, sample_weight = unpack_x_y_sample_weight(batch)

        def forward(x: Any) -> Any:
            with collect_losses():
                return self(x, training=False)

        with bind((), (), open=True):
            y_pred = jax.eval_shape(forward, x)
        names = output_names(y_pred, getattr(self, "output_names", None))
        if y is not None and self._compiled_for != names:
            if self._compile_loss is not None:
                self._compile_loss.build(y, y_pred, names)
            if self._compile_metrics is not None:
                self._compile_metrics.build(y, y_pred, names)
                self._build_metrics(x, y, y_pred, sample_weight)
            self._compiled_for = names
        return y_pred

    def _build_metrics(self, x: Any, y: Any, y_pred: Any, weight: Any) -> None:
        """Let metrics that make their variables on first use make them."""
        before = self.metrics_variables

        def update(x: Any, y: Any, y_pred: Any, weight: Any) -> Any:
            return self.compute_metrics(x, y, y_pred, weight)

        # A user's compute_metrics may do anything; only ours is known to be harmless.
        if type(self).compute_metrics is Trainer.compute_metrics and y is not None:
            with bind(before, [v.raw for v in before], open=True):
                jax.eval_shape(update, x, y, y_pred, weight)

    def _groups(self, training: bool) -> tuple[list[Variable], ...]:
        """The variables that a step's state is made of, in its order."""
        slots = [list(self.optimizer.variables)] if training else []
        return (
            list(self.trainable_variables),
            list(self.non_trainable_variables),
            *slots,
            self.metrics_variables,
        )


# What `compute_loss_and_updates` may do at one go, unless a subclass has its own.
_STATELESS = (Trainer.stateless_call, Trainer.stateless_compute_loss)


def _check_names(given: Any, find: Callable[[str], Any]) -> None:
    """Look up the names among losses or metrics, so that a wrong one fails at once."""
    for name in leaves(given):
        if isinstance(name, str) and name.lower() not in CHOSEN_BY_SHAPE:
            find(name)


def _is_due(epoch: int, frequency: int | Sequence[int]) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return (epoch + 1) in frequency
