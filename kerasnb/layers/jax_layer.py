"""Models of other libraries as layers: pure JAX functions and Flax modules.

`JaxLayer` holds the parameters of a model that is written as functions, the common
form of models in JAX; `FlaxLayer` those of a `flax.linen` module. What runs on other
engines (`TFSMLayer`, `TorchModuleWrapper`) cannot run here and says what can.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import tree
from kerasnb.core import dtypes
from kerasnb.core.configurable import deserialize
from kerasnb.core.errors import check, optional, suggest
from kerasnb.core.registry import custom_object_scope
from kerasnb.layers.layer import Layer
from kerasnb.random import SeedGenerator, draw_seed


class JaxLayer(Layer):
    """A model written as JAX functions: `y = call_fn(params, inputs)`.

    `call_fn` takes some of these arguments, known by their names: `params`, `state`
    (then it returns the outputs and the new state), `rng` (a raw JAX key in training,
    else None), `inputs` (always) and `training`. `init_fn`, of `rng`, `inputs` and
    `training`, returns the first parameters, or the parameters and the state; it is
    not needed where `params` and `state` are given. Both are trees of arrays; each
    float takes the layer's dtype. `native_serialization_platforms` is kept for files.

    Shapes: those of `call_fn`.

    >>> def start(rng, inputs):
    ...     return {"kernel": jax.random.normal(rng, (inputs.shape[-1], 2))}
    >>> layer = JaxLayer(lambda params, inputs: inputs @ params["kernel"], start)
    >>> layer(jnp.ones((5, 3))).shape, layer.weights[0].shape
    ((5, 2), (3, 2))
    """

    def __init__(
        self,
        call_fn: Callable,
        init_fn: Callable | None = None,
        params: Any = None,
        state: Any = None,
        seed: int | None = None,
        native_serialization_platforms: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Values belong to the file of weights, and a seed to its generator's state.
        for name in ("params", "state", "seed"):
            self._config.pop(name, None)
        self.native_serialization_platforms = native_serialization_platforms
        self.call_fn, self.init_fn = call_fn, init_fn
        self._call_names = self._names(
            "call_fn", call_fn, "params", "state", "rng", "inputs", "training"
        )
        self._init_names: list[str] = []
        if init_fn is not None:
            self._init_names = self._names(
                "init_fn", init_fn, "rng", "inputs", "training"
            )
        elif params is None and state is None and self._has_weights():
            raise ValueError(
                f"{type(self).__name__}: `call_fn` takes params or state, so one of "
                "`init_fn`, `params` and `state` must be given."
            )
        self.params = self._make(params, trainable=True)
        self.state = self._make(state, trainable=False)
        if params is not None or state is not None:
            self.built = True
        self.seed_generator = SeedGenerator(seed) if "rng" in self._call_names else None

    def _names(self, argument: str, fn: Callable, *known: str) -> list[str]:
        who, names = type(self).__name__, list(inspect.signature(fn).parameters)
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{who}: `{argument}` must not take `{name}`; it may take "
                    f"{', '.join(known)}.{suggest(name, known)}"
                )
        if "inputs" not in names:
            raise ValueError(f"{who}: `{argument}` must take an argument `inputs`.")
        return names

    def _has_weights(self) -> bool:
        return "params" in self._call_names or "state" in self._call_names

    def _make(self, values: Any, trainable: bool) -> Any:
        """The same tree with a variable for each array and number."""

        def variable(value: Any) -> Any:
            if isinstance(value, bool | int | float):
                value = np.asarray(value, dtypes.standardize_dtype(type(value)))
            if not isinstance(value, np.ndarray | np.generic | jax.Array):
                return value  # what else a model keeps there: settings
            # Floats take the dtype of the layer's policy.
            dtype = None if dtypes.is_float(value.dtype) else value.dtype
            return self.add_weight(value.shape, np.asarray(value), dtype, trainable)

        return jax.tree.map(variable, values)

    def build(self, input_shape: Any) -> None:
        """Call `init_fn`, on ones in the shape of the inputs (1 for unknown axes)."""
        if self.params is not None or self.state is not None or not self._has_weights():
            return

        def ones(shape: Any) -> jax.Array:
            return jnp.ones([1 if d is None else d for d in shape])

        # Real values, also when the first call happens in a trace.
        with jax.ensure_compile_time_eval():
            given = {
                "rng": lambda: jax.tree.map(jnp.asarray, self._get_init_rng()),
                "inputs": lambda: tree.map_shape_structure(ones, input_shape),
                "training": lambda: True,
            }
            assert self.init_fn is not None
            made = self.init_fn(*(given[name]() for name in self._init_names))
        params, state = made if "state" in self._call_names else (made, None)
        self.params = self._make(params, trainable=True)
        self.state = self._make(state, trainable=False)

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """The outputs of `call_fn`; its new state is kept."""
        given = {
            "params": lambda: _values(self.params),
            "state": lambda: _values(self.state),
            "rng": lambda: self._get_call_rng(training),
            "inputs": lambda: inputs,
            "training": lambda: training,
        }
        out = self.call_fn(*(given[name]() for name in self._call_names))
        if "state" not in self._call_names:
            return out
        good = isinstance(out, tuple) and len(out) == 2
        expected = "a function that returns (outputs, new state), as it takes `state`"
        check(good, self._who(), "call_fn", self.call_fn, expected)
        outputs, state = out
        try:
            jax.tree.map(lambda new, old: old.assign(new), state, self.state)
        except (AttributeError, ValueError, TypeError) as error:
            raise ValueError(
                f"{self._who()}: the state that `call_fn` returned is not made like "
                f"the one it began with: {str(error).splitlines()[0]}"
            ) from error
        return outputs

    # What a subclass may change: which keys the functions get.

    def _get_init_seed(self) -> jax.Array:
        return draw_seed(None)

    def _get_init_rng(self) -> Any:
        return self._get_init_seed()

    def _get_call_seed(self) -> jax.Array:
        assert self.seed_generator is not None
        return self.seed_generator.next()

    def _get_call_rng(self, training: bool | None) -> Any:
        return self._get_call_seed() if training else None


def _values(variables: Any) -> Any:
    # To jax.tree a variable is a container of its value.
    return jax.tree.map(lambda value: value, variables)


class FlaxLayer(JaxLayer):
    """A `flax.linen` module as a layer.

    `method` (a method of the module or a function of the module, `__call__` by default)
    takes `inputs`, and `training` where it needs to know. `variables` are those that
    `module.init` returned; without them the layer calls it. The collection `params` is
    trained; all others are state. `dropout` gets a key in training.

    Shapes: those of the module.

    >>> import flax.linen
    >>> FlaxLayer(flax.linen.Dense(2))(jnp.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        module: Any,
        method: Any = None,
        variables: Any = None,
        **kwargs: Any,
    ) -> None:
        linen = optional("flax.linen", "to run a Flax module", "flax")
        self._mutable = linen.DenyList(["params"])
        self.module, self.method = module, method
        called = inspect.signature(method or module.__call__).parameters
        self._takes_training = "training" in called
        params, state = _split(variables)
        super().__init__(self._apply, self._initialize, params, state, **kwargs)
        self._config.pop("variables", None)
        self._config.setdefault("native_serialization_platforms", None)

    def _apply(
        self, params: Any, state: Any, rng: Any, inputs: Any, training: Any
    ) -> Any:
        options = {"training": training} if self._takes_training else {}
        return self.module.apply(
            {**(params or {}), **(state or {})},
            inputs,
            rngs=rng,
            method=self.method,
            mutable=self._mutable,
            **options,
        )

    def _initialize(self, rng: Any, inputs: Any, training: Any) -> tuple[Any, Any]:
        options = {"training": training} if self._takes_training else {}
        made = self.module.init(rng, inputs, method=self.method, **options)
        return _split(made)

    def _get_init_rng(self) -> Any:
        return {name: self._get_init_seed() for name in ("params", "dropout")}

    def _get_call_rng(self, training: bool | None) -> Any:
        return {"dropout": self._get_call_seed()} if training else {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a method of the module by its name."""
        config = super().get_config()
        if getattr(self.method, "__self__", None) == self.module:
            config["method"] = self.method and self.method.__name__
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """A layer like the one whose `get_config` gave `config`, with new weights."""
        with custom_object_scope(custom_objects):
            config = {**config, "module": deserialize(config["module"])}
            if isinstance(config.get("method"), str):
                config["method"] = getattr(config["module"], config["method"])
            return super().from_config(config)


def _split(variables: Any) -> tuple[Any, Any]:
    """The collection `params`, and the other collections of a module."""
    if variables is None:
        return None, None
    params = {name: tree for name, tree in variables.items() if name == "params"}
    return params, {n: tree for n, tree in variables.items() if n not in params}


class TFSMLayer(Layer):
    """Keras' layer around a TensorFlow SavedModel, which needs TensorFlow.

    Raises a NotImplementedError that says what to use instead.
    """

    def __init__(
        self,
        filepath: Any,
        call_endpoint: str = "serve",
        call_training_endpoint: str | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _refuse(
            "TFSMLayer",
            "a TensorFlow SavedModel",
            "Save the model as a .keras file and open it with "
            "keras.models.load_model(path), or give its weights to the same layers.",
        )


class TorchModuleWrapper(Layer):
    """Keras' layer around a PyTorch module, which needs PyTorch.

    Raises a NotImplementedError that says what to use instead.
    """

    def __init__(
        self,
        module: Any,
        name: str | None = None,
        output_shape: Any = None,
        **kwargs: Any,
    ) -> None:
        _refuse(
            "TorchModuleWrapper",
            "a PyTorch module",
            "Write the module as a function of jax.numpy for keras.layers.JaxLayer, "
            "with the arrays of module.state_dict() as its `params`.",
        )


def _refuse(who: str, what: str, instead: str) -> NoReturn:
    raise NotImplementedError(f"{who} runs {what}, and here all runs on JAX. {instead}")
