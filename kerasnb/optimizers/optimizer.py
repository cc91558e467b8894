"""`Optimizer`: everything about a training step except the rule.

The base class owns what all optimizers share: the learning rate, clipping, weight
decay, gradient accumulation, moving averages of the weights, loss scaling, constraints.
A subclass names its **rule**, an optax `GradientTransformation` for one array, and the
base keeps the rule's state in variables, ordered and named as Keras' files have them.

`apply` reads and assigns variables as if nothing were compiled. Inside a frame
(`core/state.py`) the same code is a pure function; outside of one, `apply` compiles
itself, once for each set of variables.
"""

import inspect
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import initializers
from kerasnb.core import budget, naming, placement, registry, settings
from kerasnb.core.configurable import Configurable, serialize
from kerasnb.core.errors import check, reject_unknown, show
from kerasnb.core.free_memory import check_fits
from kerasnb.core.state import current_frame, functional, read, write
from kerasnb.core.variable import Variable
from kerasnb.optimizers import rules
from kerasnb.optimizers.gradients import choose, clip
from kerasnb.optimizers.lazy import optax
from kerasnb.optimizers.options import Options, is_number, spell_options
from kerasnb.optimizers.schedules.schedule import LearningRateSchedule

Array = jax.Array


class Optimizer(Configurable):
    """The base of all optimizers: from gradients to new weights.

    A step does, in this order: divide by `loss_scale_factor`, average over
    `gradient_accumulation_steps` calls, clip, decay (`w <- w - learning_rate *
    weight_decay * w`), the rule, the moving average of the weights, the constraints.

    `learning_rate` is a number, a `LearningRateSchedule` (asked at every step), or a
    function without arguments. A number is kept in a variable that may change while a
    compiled loop runs: `optimizer.learning_rate = 1e-4`. Clip each gradient to a norm
    (`clipnorm`), all together (`global_clipnorm`) or each number (`clipvalue`): one of
    the three. With `use_ema` an average of the weights is kept, `a <- ema_momentum * a
    + (1 - ema_momentum) * w`, which replaces them every `ema_overwrite_frequency`
    steps, or once at the end of `fit`.

    Two ways to write your own. By a rule, as here: `transform` returns an optax
    transformation, `slots` says which fields of its state are kept and under which
    names. Or as in Keras: `build` creates variables with `add_optimizer_variables`,
    `update_step` assigns them.
    """

    # State field -> name of the variable that keeps it. One dict for each round over
    # the weights: all fields of the first dict for every weight, then the second...
    slots: ClassVar[tuple[Mapping[str, str], ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        init = cls.__dict__.get("__init__")
        if init is not None and "options" in inspect.signature(init).parameters:
            cls.__init__ = spell_options(init, Optimizer.__init__)  # type: ignore[method-assign]

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        who = type(self).__name__
        self._reject(kwargs)
        self._config.pop("learning_rate", None)  # it changes; see get_config
        clips = {
            "clipnorm": clipnorm,
            "clipvalue": clipvalue,
            "global_clipnorm": global_clipnorm,
        }
        given = [f"{k}={v}" for k, v in clips.items() if v is not None]
        if len(given) > 1:
            raise ValueError(
                f"{who}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` can "
                f"be set, not {' and '.join(given)}."
            )
        steps, every = gradient_accumulation_steps, ema_overwrite_frequency
        check(
            not steps or (isinstance(steps, int) and steps >= 2),
            who,
            "gradient_accumulation_steps",
            steps,
            "an integer of at least 2, or None",
        )
        if use_ema:
            expected = "a number from 0 to 1"
            check(0 <= ema_momentum <= 1, who, "ema_momentum", ema_momentum, expected)
            check(
                not every or (isinstance(every, int) and every >= 1),
                who,
                "ema_overwrite_frequency",
                every,
                "an integer of at least 1, or None",
            )
        naming.check_name(type(self).__name__, name)
        self.name = name or naming.auto_name(self)
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue = clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self._swapped = False
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._undecayed: tuple[frozenset[Variable], str] = (frozenset(), "")
        self._cache: dict[Any, Any] = {}
        # Each variable, with the weight that it goes with and its part beside it.
        self._tracked: dict[Variable, tuple[Variable, str] | None] = {}
        self._trainable_variables: list[Variable] = []
        self._index: dict[Variable, int] = {}
        self._slots: dict[str, list[Variable | None]] = {}
        with naming.at_path(self.name):
            self._iterations = Variable(0, None, "int32", False, name="iteration")
            self._rate = self._make_rate(learning_rate)

    def _reject(self, unknown: dict[str, Any]) -> None:
        who = type(self).__name__
        if "decay" in unknown:
            # Old scripts carry it; Keras 3 ignores it too.
            self._config.pop("decay", None)
            if unknown.pop("decay") is not None:
                warnings.warn(
                    f"{who}: `decay` is no longer supported and is ignored; pass "
                    "learning_rate=keras.optimizers.schedules.InverseTimeDecay(...).",
                    stacklevel=4,
                )
        if "lr" in unknown:
            raise TypeError(
                f'{who} has no argument `lr`. Did you mean "learning_rate"?'
            )
        known = inspect.signature(type(self).__init__).parameters
        reject_unknown(who, unknown, [k for k in known if k not in ("self", "kwargs")])

    def _make_rate(self, rate: Any) -> Any:
        if rate is None or isinstance(rate, LearningRateSchedule):
            return rate
        if is_number(rate):
            if np.isnan(float(rate)):
                raise ValueError(
                    f"{type(self).__name__}: `learning_rate` is NaN; pass a number "
                    "such as 0.001."
                )
            return Variable(
                float(rate), None, settings.floatx(), False, name="learning_rate"
            )
        if callable(rate):
            return rate
        raise TypeError(
            f"{type(self).__name__}: `learning_rate` must be a number, a schedule from "
            "keras.optimizers.schedules, or a function without arguments, not "
            f"{show(rate)}."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # A variable kept in an attribute is part of the state, as in Keras.
        if isinstance(value, Variable) and value not in self._tracked:
            self._tracked[value] = None
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs do not travel.
        return {**self.__dict__, "_cache": {}}

    # --- The rule, which subclasses write ---------------------------------------------

    def transform(self, variable: Variable) -> "optax.GradientTransformation":
        """The rule for one weight, as an optax transformation of one array.

        Its `update(gradient, state, weight, learning_rate=..., step=...)` returns what
        is added to the weight; `step` counts from 0. State fields named `count` are
        given `step` and need no slot.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no rule: write `transform`, or `build` and "
            "`update_step`."
        )

    def start(self, slot: str, variable: Variable) -> Any:
        """The initializer of a slot, giving the values that the rule's `init` gives.

        Kept apart because running `init` would compile a program for every shape.
        """
        return "zeros"

    def update_step(
        self, gradient: Array, variable: Variable, learning_rate: Any
    ) -> None:
        """Move one weight: by the rule, or as a subclass writes it."""
        rule, fields, tree = self._rules()[variable]
        index, step = self._get_variable_index(variable), jnp.asarray(self.iterations)
        own = [self._slots[slot][index] if slot else None for slot, _ in fields]
        weight = variable.raw
        delta, state = rule.update(
            jnp.asarray(gradient, weight.dtype),
            jax.tree.unflatten(tree, [step if v is None else v.raw for v in own]),
            weight,
            learning_rate=jnp.asarray(learning_rate, rules.precise(weight.dtype)),
            step=step,
        )
        for slot, value in zip(own, jax.tree.leaves(state), strict=True):
            if slot is not None:
                slot.assign(value)
        variable.assign(weight + delta)

    def _rules(self) -> dict[Variable, tuple[Any, list[tuple[str, Any]], Any]]:
        """For each weight: the rule, its slots with their shapes, its state's tree."""
        key = ("rules", self._settings())
        if key not in self._cache:
            moved = [
                v for v in self._trainable_variables if not v.overwrite_with_gradient
            ]
            made = [optax.with_extra_args_support(self.transform(v)) for v in moved]
            weights = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in moved]
            states = jax.eval_shape(
                lambda ws: [r.init(w) for r, w in zip(made, ws, strict=True)], weights
            )
            names = {"count": ""}
            for group in self.slots:
                names.update(group)
            table = {}
            for variable, rule, state in zip(moved, made, states, strict=True):
                leaves, tree = jax.tree.flatten_with_path(state)
                fields = [(names[path[-1].name], leaf) for path, leaf in leaves]
                table[variable] = rule, fields, tree
            self._cache[key] = table
        return self._cache[key]

    # --- Variables --------------------------------------------------------------------

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the variables that go with the given weights."""
        if self.built:
            return
        variables = list(variables)
        self._cache.clear()  # of a try with other weights, which was refused
        self._trainable_variables = variables
        self._check_fits(variables)
        self._index = {variable: i for i, variable in enumerate(variables)}
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._sums = [
                self.add_variable_from_reference(variable, "gradient_accumulator")
                for variable in variables
            ]
        self._slots = {slot: [] for group in self.slots for slot in group.values()}
        for group in self.slots:
            for variable in variables:
                self._add_slots(group.values(), variable)
        self.built = True

    def _check_fits(self, variables: list[Variable]) -> None:
        """Refuse what the machine cannot hold before the first part of it is made."""
        if budget.is_loading() or placement.distribution() is not None:
            return
        rules = self._rules().values() if self.slots else ()
        kept = [leaf for _, fields, _ in rules for slot, leaf in fields if slot]
        copies = bool(self.use_ema) + bool(self.gradient_accumulation_steps)
        sizes = [
            x.size * jnp.dtype(x.dtype).itemsize for x in kept + copies * variables
        ]
        check_fits(
            f"What {type(self).__name__} keeps beside the weights",
            sum(sizes),
            scratch=2 * max(sizes, default=0),
            remedy="Make the model smaller, or take an optimizer that keeps less: SGD.",
        )

    def _add_slots(self, wanted: Iterable[str], variable: Variable) -> None:
        _, fields, _ = self._rules().get(variable, (None, [], None))
        shapes = dict(fields)
        for slot in wanted:
            made = None
            if slot in shapes:
                made = self.add_variable(
                    shapes[slot].shape,
                    self.start(slot, variable),
                    shapes[slot].dtype,
                    layout=layout_beside(variable, shapes[slot].shape),
                    name=f"{_flat_path(variable)}_{slot}",
                )
                self._tracked[made] = variable, slot
            self._slots[slot].append(made)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Create a variable that is saved with the optimizer."""
        with naming.at_path(self.name):
            variable = Variable(
                initializers.get(initializer),
                tuple(shape),
                dtype,
                trainable=False,
                aggregation=aggregation,
                name=name,
                layout=layout,
            )
        self._tracked[variable] = None
        return variable

    def add_variable_from_reference(
        self,
        reference_variable: Variable,
        name: str | None = None,
        initializer: Any = "zeros",
    ) -> Variable:
        """Create a variable shaped like a weight and named after it."""
        made = self.add_variable(
            reference_variable.shape,
            initializer,
            reference_variable.dtype,
            layout=layout_beside(reference_variable, reference_variable.shape),
            name=f"{_flat_path(reference_variable)}_{name or 'var'}",
        )
        self._tracked[made] = reference_variable, name or "var"
        return made

    def add_optimizer_variables(
        self,
        trainable_variables: Sequence[Variable],
        name: str | Sequence[str],
        initializer: Any = "zeros",
    ) -> Any:
        """Create one variable per weight, or one of each name per weight.

        Returns a list, or with several names a tuple of lists. Weights that are
        overwritten by their gradient get None.
        """
        names = [name] if isinstance(name, str) else list(name)
        if isinstance(initializer, list | tuple):
            starts = list(initializer)
        else:
            starts = [initializer] * len(names)
        check(
            len(starts) == len(names),
            type(self).__name__,
            "initializer",
            initializer,
            f"one initializer, or one for each of the {len(names)} names",
        )
        made: tuple[list[Variable | None], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for row, slot, start in zip(made, names, starts, strict=True):
                row.append(
                    None
                    if variable.overwrite_with_gradient
                    else self.add_variable_from_reference(variable, slot, start)
                )
        return made[0] if isinstance(name, str) else made

    @property
    def variables(self) -> list[Variable]:
        """All variables in the order of Keras' files: counter, rate, slots."""
        return list(self._tracked)

    @property
    def mutable_variables(self) -> list[Variable]:
        """The variables that a step assigns: all but the learning rate.

        A compiled loop takes the learning rate as an input of its own, read at every
        call and never written back, so that another thread may change it meanwhile.
        """
        rates = self._rates
        return [v for v in self.variables if not any(v is rate for rate in rates)]

    @property
    def _rates(self) -> list[Any]:
        return [self._rate]

    @property
    def iterations(self) -> Any:
        """How many times the weights were moved."""
        if self.gradient_accumulation_steps:
            return self._iterations.raw // self.gradient_accumulation_steps
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate: its variable, or what the schedule says at this step."""
        if isinstance(self._rate, LearningRateSchedule):
            return self._rate(self._iterations.raw)
        return self._rate if isinstance(self._rate, Variable) else self._rate()

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        if not is_number(rate):
            rate = self._make_rate(rate)
            if isinstance(self._rate, Variable):
                del self._tracked[self._rate]
            self._rate = rate
        elif isinstance(self._rate, Variable):
            self._rate.assign(float(rate))
        else:
            raise TypeError(
                f"{type(self).__name__} `{self.name}` follows a learning rate schedule "
                f"({show(self._rate)}), so its rate cannot be set to {rate}. Create "
                "the optimizer with a number to be able to change it."
            )

    def _get_variable_index(self, variable: Variable) -> int:
        return self._index[variable]

    def assign(self, variable: Variable, value: Any) -> None:
        """Set a variable."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add to a variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract from a variable."""
        variable.assign_sub(value)

    # --- The step ---------------------------------------------------------------------

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Variable]]
    ) -> Variable:
        """Move weights by pairs of gradient and weight; returns the counter."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)
        return self._iterations

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[Variable] | None = None,
    ) -> None:
        """Move the weights by their gradients.

        Without `trainable_variables` the gradients are those of the weights that the
        optimizer was built with, in that order. A gradient of None leaves its weight
        alone.
        """
        if len(grads) == 0:
            return
        grads, variables = self._match(list(grads), trainable_variables)
        inside = current_frame() is not None or any(
            isinstance(g, jax.core.Tracer) for g in grads
        )
        if inside or not self._compiles:
            self._apply(grads, variables)
        else:
            self._apply_compiled(grads, tuple(variables))

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list, list]:
        """The new values of weights and of `variables` for the given ones."""
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} must be built before `stateless_apply`: call "
                "optimizer.build(model.trainable_variables)."
            )
        weights, own = self._trainable_variables, self.variables
        for argument, given, expected in (
            ("optimizer_variables", optimizer_variables, own),
            ("trainable_variables", trainable_variables, weights),
        ):
            if len(given) != len(expected):
                raise ValueError(
                    f"stateless_apply: `{argument}` must hold {len(expected)} values, "
                    f"one for each variable, not {len(given)}."
                )
        pure = functional(lambda: self.apply(grads), [*weights, *own])
        _, values = pure([*trainable_variables, *optimizer_variables])
        return values[: len(weights)], values[len(weights) :]

    def _match(
        self, grads: list[Any], variables: Sequence[Variable] | None
    ) -> tuple[list[Any], list[Variable]]:
        """Gradients with their weights, without those that have none."""
        who = type(self).__name__
        if variables is not None:
            variables = list(variables)
            self.build(variables)
        elif not self.built:
            raise ValueError(
                f"{who} does not know its weights yet: pass them, apply(grads, "
                "variables), or call optimizer.build(variables) first."
            )
        else:
            variables = self._trainable_variables
        if len(grads) != len(variables):
            raise ValueError(
                f"{who} got {len(grads)} gradients for {len(variables)} weights; each "
                "weight needs one."
            )
        for variable in variables:
            if variable not in self._index:
                raise ValueError(
                    f"{who} `{self.name}` was built for other weights and does not "
                    f"know `{variable.path}`; create a new optimizer for new weights."
                )
        pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        if not pairs:
            raise ValueError(f"{who}: no weight has a gradient, all are None.")
        if len(pairs) < len(grads):
            idle = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
            warnings.warn(
                f"{who}: there is no gradient for {', '.join(idle)}; the loss does not "
                "depend on them.",
                stacklevel=3,
            )
        return [jnp.asarray(g) for g, _ in pairs], [v for _, v in pairs]

    @property
    def _compiles(self) -> bool:
        """Whether everything that a step runs is known to be traceable."""
        return registry.is_library(type(self)) and (
            isinstance(self._rate, Variable) or registry.is_library(type(self._rate))
        )

    def _settings(self) -> tuple:
        """What a trace takes for granted; when it changes, it is traced again."""
        own = vars(self).items()
        plain = [v for k, v in own if isinstance(v, _PLAIN) and k != "built"]
        return (*plain, id(self._rate))

    def _apply_compiled(
        self, grads: list[Any], variables: tuple[Variable, ...]
    ) -> None:
        key = ("apply", variables, self._settings())
        state = [*self._trainable_variables, *self.mutable_variables]
        rates = [v for v in self.variables if v not in set(state)]
        if key not in self._cache:
            step = functional(
                lambda grads: self._apply(grads, variables), state + rates
            )
            self._cache[key] = jax.jit(step)
        _, values = self._cache[key](read(state + rates), grads)
        write(state, values[: len(state)])

    def _apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        pairs = list(zip(grads, variables, strict=True))
        for grad, variable in pairs:
            if variable.overwrite_with_gradient:
                self._overwrite(variable, grad)
        moved = [v for v in variables if not v.overwrite_with_gradient]
        if moved:
            scale = self.loss_scale_factor
            grads = [g for g, v in pairs if not v.overwrite_with_gradient]
            grads = grads if scale is None else [g / scale for g in grads]
            if self.gradient_accumulation_steps:
                self._accumulate(grads, moved)
            else:
                self._step(grads, moved)
            if self.use_ema:
                self._average()
            for variable in moved:
                if variable.constraint is not None:
                    variable.assign(variable.constraint(variable.raw))
        self._iterations.assign_add(1)

    def _step(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        grads = self._clip(grads)
        rate = self.learning_rate
        for variable in variables:
            decay = self._decay_of(variable)
            if decay is not None and self._is_decayed(variable):
                w = variable.raw
                variable.assign(w - w * _like(decay, w) * _like(rate, w))
        self._move(grads, variables, rate)

    def _move(
        self, grads: Sequence[Any], variables: Sequence[Variable], rate: Any
    ) -> None:
        for grad, variable in zip(grads, variables, strict=True):
            self.update_step(grad, variable, rate)

    def _clip(self, grads: Sequence[Any]) -> Sequence[Any]:
        return clip(grads, self.clipnorm, self.clipvalue, self.global_clipnorm)

    # --- Gradient accumulation, averages, weight decay, loss scale --------------------

    def _is_last_of_group(self) -> Array:
        done, group = self._iterations.raw, self.gradient_accumulation_steps or 1
        return (done + 1) % group == 0

    def _accumulate(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Add the gradients up; every n-th call, step by their mean."""
        sums = [self._sums[self._index[v]] for v in variables]
        totals = [g + s.raw for g, s in zip(grads, sums, strict=True)]

        def step() -> None:
            mean = [t / self.gradient_accumulation_steps for t in totals]
            self._step(mean, variables)
            for s in sums:
                s.assign(jnp.zeros(s.shape, s.dtype))

        def wait() -> None:
            for s, total in zip(sums, totals, strict=True):
                s.assign(total)

        state = [*variables, *self.mutable_variables]
        choose(self._is_last_of_group(), step, wait, state)

    def _overwrite(self, variable: Variable, grad: Any) -> None:
        """The gradient is the new value; over several calls, the largest of them."""
        if not self.gradient_accumulation_steps:
            variable.assign(grad)
            return
        last, largest = self._is_last_of_group(), self._sums[self._index[variable]]
        total = jnp.maximum(grad, largest.raw)
        variable.assign(jnp.where(last, total, variable.raw))
        largest.assign(jnp.where(last, jnp.zeros_like(total), total))

    def _average(self) -> None:
        every = self.ema_overwrite_frequency
        started = jnp.not_equal(jnp.asarray(self.iterations), 0)
        due = (jnp.asarray(self.iterations) + 1) % every == 0 if every else None
        for variable, average in zip(
            self._trainable_variables, self._averages, strict=True
        ):
            if average is None:
                continue
            w = variable.raw
            keep = started.astype(w.dtype) * self.ema_momentum
            average.assign(keep * average.raw + (1 - keep) * w)
            if due is not None:
                variable.assign(jnp.where(due, average.raw, w))

    def swap_averages(self, averaged: bool) -> None:
        """Let the weights and their averages change places, or back again."""
        if averaged != self._swapped and self.use_ema and self.built:
            pairs = zip(self._trainable_variables, self._averages, strict=True)
            for variable, average in pairs:
                if average is not None:
                    variable.box, average.box = average.box, variable.box
            self._swapped = averaged

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Give the weights their final values: with `use_ema`, their averages."""
        if not self.use_ema or not self.built:
            return
        self.swap_averages(False)
        for variable in var_list:
            average = self._averages[self._index[variable]]
            if average is not None:
                variable.assign(average.raw)

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Spare weights from `weight_decay`: these, or those with such a name.

        To be called before training; `var_names` are patterns searched in the names.
        """
        self._undecayed = frozenset(var_list or ()), "|".join(var_names or ())
        self._cache.clear()

    def _is_decayed(self, variable: Variable) -> bool:
        spared, pattern = self._undecayed
        named = bool(pattern) and re.search(pattern, variable.name) is not None
        return variable not in spared and not named

    def _decay_of(self, variable: Variable) -> float | None:
        return self.weight_decay

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`; the step divides it out again."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # --- Config and files -------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the learning rate of this moment."""
        rate = self._rate
        options = {name: getattr(self, name) for name in Options.__annotations__}
        return {
            **super().get_config(),
            **options,
            "learning_rate": float(rate)
            if isinstance(rate, Variable)
            else serialize(rate),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """An optimizer like the one whose `get_config` returned `config`."""
        with registry.custom_object_scope(custom_objects):
            return super().from_config(config)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set `variables` from arrays in the same order."""
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} must be built before `set_weights`: call "
                "optimizer.build(model.trainable_variables)."
            )
        for variable, value in zip(self.variables, weights, strict=False):
            variable.assign(value)

    def save_own_variables(self, store: Any) -> None:
        """Write `variables` into a file's group, as `0`, `1`, ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = np.asarray(variable)

    def load_own_variables(self, store: Any) -> None:
        """Read `variables` from a file's group; warn and skip when they do not fit."""
        found, wanted = len(store.keys()), len(self.variables)
        if 0 < found <= 2 < wanted and not np.asarray(store["0"]).any():
            wanted = found  # it was saved before its first step: there are no slots
        if found != wanted:
            hint = "" if self.built else " It was not built yet."
            warnings.warn(
                f"The state of optimizer `{self.name}` is not loaded: the file has "
                f"{found} variables, the optimizer {wanted}.{hint}",
                stacklevel=2,
            )
            return
        for i, variable in enumerate(self.variables[:wanted]):
            variable.assign(store[str(i)])


class RuleOptimizer(Optimizer):
    """The base of those whose `build` takes `var_list`, by that name: all but SGD."""

    def build(self, var_list: Sequence[Variable]) -> None:
        """Create the variables that go with the given weights."""
        super().build(var_list)


def layout_beside(variable: Variable | None, shape: Sequence[int]) -> Any:
    """What goes with a weight and is as large lies where the weight does."""
    if variable is None or tuple(shape) != variable.shape:
        return None
    return variable._layout


_PLAIN = (bool, int, float, str, type(None))


def _flat_path(variable: Variable) -> str:
    return variable.path.replace("/", "_")


def _like(value: Any, w: Array) -> Array:
    return jnp.asarray(value, w.dtype)
