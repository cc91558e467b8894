"""Optimizers around something else: dynamic loss scaling, and any optax optimizer."""

from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from kerasnb.core.configurable import Configurable
from kerasnb.core.errors import check, show
from kerasnb.core.variable import Variable
from kerasnb.initializers import Constant
from kerasnb.optimizers.gradients import choose
from kerasnb.optimizers.optimizer import Optimizer, layout_beside
from kerasnb.optimizers.options import Options


class LossScaleOptimizer(Optimizer):
    """Scale the loss so that small float16 gradients do not vanish.

    The loss is multiplied by a scale and the gradients are divided by it again. When a
    gradient is not finite, the step is skipped and the scale halved; after
    `dynamic_growth_steps` finite steps it doubles.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        expected = "an optimizer"
        given = isinstance(inner_optimizer, Optimizer)
        check(given, "LossScaleOptimizer", "inner_optimizer", inner_optimizer, expected)
        for option in Options.__annotations__:
            # Old files carry these with their defaults.
            if (value := kwargs.pop(option, None)) not in (None, False, 0.99):
                raise ValueError(
                    f"LossScaleOptimizer does not support `{option}`; give "
                    f"{option}={show(value)} to the inner optimizer."
                )
        super().__init__(0.0, name=name, **kwargs)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None  # or gradients were divided twice

    def build(self, var_list: Sequence[Variable]) -> None:
        """The scale, the steps since it last changed, and the inner optimizer."""
        if self.built:
            return
        zero, scale = "zeros", Constant(self.initial_scale)
        self.step_counter = self.add_variable((), zero, "int32", name="step_counter")
        self.dynamic_scale = self.add_variable(
            (), scale, "float32", name="dynamic_scale"
        )
        self.inner_optimizer.build(var_list)
        super().build(var_list)

    @property
    def variables(self) -> list[Variable]:
        """Its own variables, then those of the inner optimizer."""
        return super().variables + self.inner_optimizer.variables

    @property
    def _rates(self) -> list[Any]:
        return [*super()._rates, *self.inner_optimizer._rates]

    @property
    def iterations(self) -> Any:
        """How many steps the inner optimizer made."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self.inner_optimizer.learning_rate = rate

    @property
    def _compiles(self) -> bool:
        return super()._compiles and self.inner_optimizer._compiles

    def _settings(self) -> tuple:
        return (*super()._settings(), *self.inner_optimizer._settings())

    def _apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        def step() -> None:
            scale, count = self.dynamic_scale.raw, self.step_counter.raw
            unscaled = [
                g if v.overwrite_with_gradient else g / scale
                for g, v in zip(grads, variables, strict=True)
            ]
            self.inner_optimizer._apply(unscaled, variables)
            grow = count == self.dynamic_growth_steps - 1
            self.dynamic_scale.assign(jnp.where(grow, 2 * scale, scale))
            self.step_counter.assign(jnp.where(grow, 0, count + 1))

        def skip() -> None:
            self.dynamic_scale.assign(self.dynamic_scale.raw * 0.5)
            self.step_counter.assign(0)

        choose(
            self.check_finite(grads), step, skip, [*variables, *self.mutable_variables]
        )

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all numbers in all gradients are finite."""
        given = [jnp.asarray(g) for g in grads if g is not None]
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in given]))

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale of this moment."""
        return loss * (self.dynamic_scale.raw if self.built else self.initial_scale)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Give the weights their final values, as the inner optimizer has them."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The inner optimizer and the settings of the scale."""
        return {**Configurable.get_config(self), "name": self.name}


class OptaxOptimizer(Optimizer):
    """Any optax `GradientTransformation` as an optimizer.

    The transformation sees all weights at once, as a dict from their paths, so that
    masks and labels by name work. Every array of its state becomes a variable that is
    saved with the model. Its learning rate can be seen and changed when it was made
    with `optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)`.

    `compile(optimizer=optax.adam(1e-3))` makes one of these by itself.

    >>> import optax
    >>> w = Variable([1.0, 2.0])
    >>> OptaxOptimizer(optax.sgd(0.5)).apply([[1.0, 1.0]], [w])
    >>> w.value.tolist()
    [0.5, 1.5]
    """

    def __init__(self, transformation: Any, **options: Unpack[Options]) -> None:
        check(
            is_optax(transformation),
            "OptaxOptimizer",
            "transformation",
            transformation,
            "an optax GradientTransformation, such as optax.adam(1e-3)",
        )
        if options.get("weight_decay") is not None:
            raise ValueError(
                "OptaxOptimizer does not support `weight_decay`; chain "
                "optax.add_decayed_weights into the transformation."
            )
        super().__init__(None, **options)
        if not isinstance(transformation, tuple):  # optax.MultiSteps
            transformation = transformation.gradient_transformation()
        self.transformation = transformation

    def build(self, variables: Sequence[Variable]) -> None:
        """Make a variable of every array in the transformation's state."""
        if self.built:
            return
        super().build(variables)
        weights = dict(zip(self._names(), self._trainable_variables, strict=True))
        with jax.ensure_compile_time_eval():
            state = self.transformation.init({k: v.box for k, v in weights.items()})
        # A random key is kept as its numbers.
        self._keys = [_key_kind(leaf) for leaf in jax.tree.leaves(state)]
        state = jax.tree.map(
            lambda x: jax.random.key_data(x) if _key_kind(x) else x, state
        )
        leaves, self._tree = jax.tree.flatten_with_path(state)
        self._state = [
            self.add_variable(
                jnp.shape(leaf),
                lambda shape, dtype, leaf=leaf: jnp.array(leaf),
                jnp.asarray(leaf).dtype,
                layout=layout_beside(weights.get(_key(path[-1])), jnp.shape(leaf))
                if path
                else None,
                name="_".join(_key(k) for k in path) or "state",
            )
            for path, leaf in leaves
        ]
        for (path, _), variable in zip(leaves, self._state, strict=True):
            # Transformations keep what goes with each weight under its name.
            keys = [getattr(entry, "key", None) for entry in path]
            if name := next((key for key in keys if key in weights), None):
                rest = zip(path, keys, strict=True)
                part = "_".join(_key(entry) for entry, key in rest if key != name)
                self._tracked[variable] = weights[name], part
        rates = [
            variable
            for (path, _), variable in zip(leaves, self._state, strict=True)
            if path and _key(path[-1]) == "learning_rate"
        ]
        self._exposed_rate = rates[0] if rates else None

    def _names(self) -> list[str]:
        paths = [v.path for v in self._trainable_variables]
        if len(set(paths)) == len(paths):
            return paths
        return [f"{path}_{i}" for i, path in enumerate(paths)]

    def _move(
        self, grads: Sequence[Any], variables: Sequence[Variable], rate: Any
    ) -> None:
        names = self._names()
        weights = {
            name: v.raw
            for name, v in zip(names, self._trainable_variables, strict=True)
        }
        # Weights without a gradient: the transformation sees zeros, and they stay.
        given = dict(zip(variables, grads, strict=True))
        tree = {
            name: jnp.asarray(given.get(v, jnp.zeros(v.shape)), v.dtype)
            for name, v in zip(names, self._trainable_variables, strict=True)
        }
        kept = [
            jax.random.wrap_key_data(v.raw, impl=kind) if kind else v.raw
            for v, kind in zip(self._state, self._keys, strict=True)
        ]
        state = jax.tree.unflatten(self._tree, kept)
        deltas, state = self.transformation.update(tree, state, weights)
        for variable, value in zip(self._state, jax.tree.leaves(state), strict=True):
            variable.assign(jax.random.key_data(value) if _key_kind(value) else value)
        for name, variable in zip(names, self._trainable_variables, strict=True):
            if variable in given:
                variable.assign(variable.raw + deltas[name])

    @property
    def learning_rate(self) -> Any:
        """The learning rate's variable, if the transformation lays it open."""
        if getattr(self, "_exposed_rate", None) is None:
            raise AttributeError(
                "This optax optimizer keeps its learning rate to itself; make it with "
                "optax.inject_hyperparams(optax.adam)(learning_rate=...) to see and "
                "change it."
            )
        return self._exposed_rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self.learning_rate.assign(float(rate))

    def _step(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        self._move(self._clip(grads), variables, None)

    @property
    def _compiles(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        """An error: the functions of a transformation cannot be written to a file."""
        raise TypeError(
            "An optax transformation is made of functions and cannot be written to a "
            "config. Save the weights with model.save_weights(...), or compile with an "
            "optimizer from keras.optimizers before saving the model."
        )


def is_optax(value: Any) -> bool:
    """Whether `value` is an optax transformation, told without importing optax."""
    if isinstance(value, tuple):
        return getattr(value, "_fields", ()) == ("init", "update")
    return hasattr(value, "gradient_transformation") and not isinstance(value, type)


def _key_kind(leaf: Any) -> Any:
    """What kind of random key an array holds, None for numbers."""
    keys = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if keys else None


def _key(entry: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute)).replace("/", "_")
    return str(entry)
