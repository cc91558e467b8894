"""`Layer`: weights and the computation that uses them.

A subclass writes `build` (make weights, from the shapes of the inputs) and `call`
(compute, on arrays). Everything else follows: shapes from tracing `call`, the
configuration from the constructor's arguments, purity from `core/state.py`.

`Layer.__call__` prepares a call: it converts and casts the inputs, builds the layer the
first time, fills in `training` and the masks, and records the call when an input is a
placeholder. A symbolic call traces `call` twice, so Python side effects in it (a print)
happen twice.
"""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import constraints, initializers, regularizers
from kerasnb.core import compilation, dtypes, naming, placement
from kerasnb.core.claim import steadily
from kerasnb.core.configurable import (
    constructor_signature,
    deserialize,
    per_class,
    serialize,
)
from kerasnb.core.dtypes import DTypePolicy
from kerasnb.core.errors import show, suggest
from kerasnb.core.frontend import Displayable
from kerasnb.core.graph import (
    KerasTensor,
    Node,
    Operation,
    any_symbolic,
    leaves,
    map_structure,
    output_spec,
)
from kerasnb.core.masks import get_mask, set_mask
from kerasnb.core.registry import custom_object_scope, is_library
from kerasnb.core.state import bind, functional, outside, read
from kerasnb.core.variable import Variable
from kerasnb.layers.input_spec import InputSpec, check_inputs
from kerasnb.layers.scopes import collect_losses as collect_losses
from kerasnb.layers.scopes import collecting, current_remat, rematerialized_call
from kerasnb.random import SeedGenerator


@dataclass(frozen=True)
class CallContext:
    """What the layers inside a call inherit from it."""

    training: bool | None = None


_context: ContextVar[CallContext | None] = ContextVar("call_context", default=None)
_changes = [0]  # how often an attribute of any layer was set


def current_call() -> CallContext | None:
    """What the innermost call that is open hands on to the layers inside it."""
    return _context.get()


def changes() -> int:
    """A number that is another one after an attribute of any layer was set.

    What was found by walking through layers holds as long as it stays the same, except
    for layers that are not `settled`.
    """
    return _changes[0]


class Layer(Operation, Displayable):
    """The base of all layers: weights, and a computation that uses them.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
    ...     def call(self, x):
    ...         return x * self.scale
    >>> Scale()(np.ones((2, 3))).shape
    (2, 3)
    """

    _UNTRACKED = frozenset(
        {"_build_shapes", "_config", "_inbound_nodes", "_losses", "_memory", "_path"}
    )

    # What belongs to this object and this process, and is not copied or pickled.
    _UNCOPIED = frozenset({"_programs", "run", "_memory"})
    _memory: dict[str, Any] = {"changes": None}

    supports_masking: bool = False
    _is_quantized: bool = False
    input_spec: Any = None
    # Outputs for one sample depend on the other samples of the batch (as in training
    # batch normalisation); a batch must then never be padded.
    mixes_samples: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _remember_build(cls.__dict__["build"])  # type: ignore
        if is_library(cls):
            _show_parameters(cls)

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        compilation.begin()
        super().__init__(name)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._trainable = bool(trainable)
        self._dtype_policy = dtypes.get_policy(kwargs.pop("dtype_policy", dtype))
        self.autocast = autocast
        self.built = False
        self._trainable_variables: list[Variable] = []
        self._non_trainable_variables: list[Variable] = []
        self._losses: list[Any] = []
        self._build_shapes: dict[str, Any] | None = None
        self._path: str | None = None
        self._remat = current_remat()
        # Keras 2 spelling of a first layer's input, understood by Sequential.
        shape = kwargs.pop("input_shape", None)
        if (width := kwargs.pop("input_dim", None)) is not None:
            shape = (width,)
        self._input_shape_argument = None if shape is None else tuple(shape)
        for unknown in kwargs:
            known = [*constructor_signature(type(self)).parameters, *_BASE_ARGUMENTS]
            raise ValueError(
                f"{type(self).__name__} has no argument `{unknown}`."
                f"{suggest(unknown, known)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in self._UNCOPIED}

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get(name, _changes) is not value:
            _changes[0] += name not in self._UNTRACKED
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _changes[0] += 1
        super().__delattr__(name)

    # --- To be written by subclasses --------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the weights, given the shapes of the inputs."""
        self.built = True

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs; by default that of the inputs."""
        return previous_mask

    # --- Weights ----------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """A new variable of this layer, kept in the layer's variable dtype.

        `initializer` defaults to `"glorot_uniform"` for floats and `"zeros"` else.
        """
        self._check_initialized()
        if isinstance(shape, str):
            raise ValueError(
                f"{self._who()}: add_weight takes the shape first; write "
                f'add_weight(shape, name="{shape}").'
            )
        shape = () if shape is None else tuple(shape)
        if None in shape:
            raise ValueError(
                f"{self._who()} cannot make the weight `{name}` of shape {shape}: the "
                "axes it depends on must be known. Give the input a full shape."
            )
        dtype = dtypes.standardize_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtypes.is_float(dtype) else "zeros"
        # After `build`, too, a weight belongs under the path that the layer has by now.
        scope = self._scope() if self._path else naming.name_scope(self.name)
        with _nothing() if self._in_scope() else scope:
            variable = Variable(
                initializers.get(initializer),
                shape=shape,
                dtype=dtype,
                trainable=trainable,
                autocast=autocast,
                aggregation=aggregation,
                name=name,
            )
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        if trainable:
            self._trainable_variables.append(variable)
            variable.trainable = self._trainable
        else:
            self._non_trainable_variables.append(variable)
        _changes[0] += 1
        return variable

    def _in_scope(self) -> bool:
        return naming.current_path().rpartition("/")[2] == self.name

    def _tracked(self) -> Iterator[Any]:
        """The values of the attributes, containers opened, in order of assignment."""
        stack = [
            value
            for name, value in self.__dict__.items()
            if name not in self._UNTRACKED and not _is_plain(value)
        ]
        stack.reverse()
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                stack.extend(v for v in reversed(value.values()) if not _is_plain(v))
            elif isinstance(value, list | tuple):
                stack.extend(v for v in reversed(value) if not _is_plain(v))
            else:
                yield value

    def _own_variables(self) -> list[Variable]:
        """Variables of this layer itself: those made trainable, then the others."""
        first = dict.fromkeys(self._trainable_variables)
        second = dict.fromkeys(self._non_trainable_variables)
        for value in self._tracked():
            if isinstance(value, Variable) and value not in first.keys() | second:
                (first if value.trainable else second)[value] = None
        return [*first, *second]

    def _sublayers(self) -> list["Layer"]:
        """The layers kept in attributes, in order of assignment."""
        found = (x for x in self._tracked() if isinstance(x, Layer) and x is not self)
        return list(dict.fromkeys(found))

    def _flatten_layers(
        self, include_self: bool = True, recursive: bool = True
    ) -> list["Layer"]:
        """This layer and those inside it, depth first, each once."""
        if include_self and recursive:
            return self._remember("layers", self._find_layers)
        return self._find_layers(include_self, recursive)

    def _find_layers(
        self, include_self: bool = True, recursive: bool = True
    ) -> list["Layer"]:
        found: dict[Layer, None] = {}

        def visit(layer: Layer, depth: int) -> None:
            if layer in found:
                return
            found[layer] = None
            if recursive or depth == 0:
                for inner in layer._sublayers():
                    visit(inner, depth + 1)

        visit(self, 0)
        return [layer for layer in found if include_self or layer is not self]

    def _settled(self) -> bool:
        """Whether setting attributes is the only way to change what this layer holds.

        A list, say, may get one more layer. Those of our own classes do not.
        """
        own = is_library(type(self))
        added = {id(x) for name in _WEIGHT_LISTS for x in self.__dict__.get(name, ())}
        return not any(
            isinstance(value, list | dict | Variable)
            and id(value) not in added
            and not (own and (name.startswith("_") or _holds_plain(value)))
            for name, value in self.__dict__.items()
            if name not in self._UNTRACKED and name not in _WEIGHT_LISTS
        )

    def _remember(self, what: str, find: Callable[[], list]) -> list:
        """What `find()` returns, found anew only after something changed."""
        memory = self._memory
        if memory["changes"] != changes():
            settled = all(layer._settled() for layer in self._find_layers())
            self._memory = memory = {"changes": changes(), "settled": settled}
        if what not in memory:
            found = find()
            if not memory["settled"]:
                return found
            memory[what] = found
        return list(memory[what])

    def _gather(self, own: Callable[["Layer"], Sequence[Variable]]) -> list[Variable]:
        out: dict[Variable, None] = {}
        for layer in self._flatten_layers():
            out |= dict.fromkeys(own(layer))
        return list(out)

    def _seed_states(self) -> list[Variable]:
        """The states of the random generators kept in attributes."""
        return [x.state for x in self._tracked() if isinstance(x, SeedGenerator)]

    def _own_metrics(self) -> list[Any]:
        """The metrics kept in attributes; known by what they do, not by their class."""
        return [
            x
            for x in self._tracked()
            if hasattr(x, "update_state") and not isinstance(x, Layer)
        ]

    def _layer_metrics(self) -> list[Any]:
        """The metrics kept by this layer and those inside it."""

        def find() -> list[Any]:
            return [m for layer in self._flatten_layers() for m in layer._own_metrics()]

        return self._remember("metrics", find)

    @property
    def weights(self) -> list[Variable]:
        """All weights, those of inner layers included; no seeds, no metric states."""
        return self._remember("weights", lambda: self._gather(Layer._own_variables))

    @property
    def variables(self) -> list[Variable]:
        """All variables: weights and the states of random generators."""
        own = lambda x: [*x._own_variables(), *x._seed_states()]  # noqa: E731
        return self._remember("variables", lambda: self._gather(own))

    @property
    def metrics_variables(self) -> list[Variable]:
        """The states of the metrics kept by this layer and those inside it."""
        return [v for metric in self._layer_metrics() for v in metric.variables]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes by their gradients."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights without gradients: frozen ones, running statistics."""
        return [v for v in self.weights if not (v.trainable and self.trainable)]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that training changes by their gradients."""
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables without gradients: frozen weights, statistics, seeds."""
        return [v for v in self.variables if not (v.trainable and self.trainable)]

    @property
    def trainable(self) -> bool:
        """Whether training may change the weights; setting it reaches inner layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._trainable_variables:
            variable.trainable = self._trainable
        for layer in self._sublayers():
            layer.trainable = value

    @steadily
    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights' values."""
        return [np.array(v.numpy()) for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights' values, in the order of `weights`."""
        own = self.weights
        if len(own) != len(weights):
            raise ValueError(
                f"{self._who()} has {len(own)} weights and got {len(weights)} values."
            )
        for variable, value in zip(own, weights, strict=True):
            if tuple(np.shape(value)) != variable.shape:
                raise ValueError(
                    f"{self._who()}: the weight `{variable.path}` has shape "
                    f"{variable.shape} and got a value of shape {np.shape(value)}."
                )
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        if not self.built:
            raise ValueError(
                f"{self._who()} has no weights yet: call it on data or build it first."
            )
        return sum(v.size for v in self.weights)

    @property
    def path(self) -> str:
        """The names of the layers around this one and its own, joined by slashes."""
        return self._path or self.name

    # --- Number formats ---------------------------------------------------------------

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Which dtypes this layer computes in and keeps its weights in."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        policy = dtypes.get_policy(value)
        if isinstance(self._dtype_policy, MutableMapping) and self._path:
            if self._path in self._dtype_policy:
                del self._dtype_policy[self._path]
            self._dtype_policy[self._path] = policy
        else:
            self._dtype_policy = policy
        mode = policy.quantization_mode
        if mode is not None and self.built and not self._is_quantized:
            self.quantize(mode)

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return self._dtype_policy.at(self._path).variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation and of the outputs."""
        return self._dtype_policy.at(self._path).compute_dtype

    input_dtype = compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """The quantisation in force, such as `"int8"`; None for plain floats."""
        return self._dtype_policy.at(self._path).quantization_mode

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Keep the weights in few bits from now on; some kinds of layers can."""
        raise NotImplementedError(
            f"{self._who()} cannot be quantised; Dense, EinsumDense, Embedding and "
            "ReversibleEmbedding can."
        )

    # --- Losses -----------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Add a scalar, or several, to the loss that training minimises."""
        collector = collecting()
        for item in leaves(loss):
            (self._losses if collector is None else collector).append(item)

    @property
    def losses(self) -> list[Any]:
        """What the last call added, and the regularisation of the weights."""
        added = [x for layer in self._flatten_layers() for x in layer._losses]
        return added + self._regularization()

    def _regularization(self) -> list[Any]:
        return [
            v.regularizer(v.value)
            for v in self.trainable_weights
            if v.regularizer is not None
        ]

    def _clear_losses(self) -> None:
        for layer in self._flatten_layers():
            layer._losses.clear()

    # --- Calls ------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Prepare and make a call; see the head of this file."""
        self._check_initialized()
        facts = call_facts(type(self))
        if len(args) > 1 and is_library(type(self).call):
            self._reject_settings(args[1:])
        args = map_structure(self._convert, args)
        kwargs = {k: map_structure(self._convert, v) for k, v in kwargs.items()}
        inputs = args[0] if args else kwargs.get(facts.first)
        if self.input_spec is not None and inputs is not None:
            check_inputs(self._who(), self.input_spec, inputs)

        outer = _context.get()
        if outer is None and collecting() is None and not any_symbolic(args):
            self._clear_losses()
        user_kwargs = dict(kwargs)
        training = self._resolve_training(facts, args, kwargs, outer)
        self._fill_masks(facts, args, kwargs)
        token = _context.set(CallContext(training))
        try:
            with self._scope():
                if not self.built:
                    self._build_for(facts, args, kwargs)
                if any_symbolic(args, kwargs):
                    return self.symbolic_call(*args, **user_kwargs)
                outputs = self._run(*args, **kwargs)
                if placement.distribution() is not None:
                    outputs = placement.constrained(naming.current_path(), outputs)
                self._pass_mask_on(inputs, outputs, kwargs.get("mask"))
        except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            raise self._explain(error, args, kwargs) from error
        finally:
            _context.reset(token)
        if self.activity_regularizer is not None:
            for output in leaves(outputs):
                # For one sample: the strength must not depend on the batch size.
                samples = max(1, output.shape[0]) if output.ndim else 1
                self.add_loss(self.activity_regularizer(output) / samples)
        return outputs

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        with dtypes.autocast(self.compute_dtype if self.autocast else None):
            if self._remat is None:
                outputs = self.call(*args, **kwargs)
            else:
                outputs = rematerialized_call(self, args, kwargs)
        self.built = True
        return outputs

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call on placeholders and hand out those for its results."""
        outputs = self.compute_output_spec(*args, **kwargs)
        return Node(self, args, kwargs, outputs).outputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Placeholders with the shapes and dtypes of the results, by tracing `call`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            args = map_structure(self._convert, args)
            with bind((), (), open=True), collect_losses():
                return self._run(*args, **kwargs)

        return output_spec(run, *args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shape of the outputs for the shapes of the inputs."""

        def placeholder(shape: Any) -> Any:
            if _is_shape(shape):
                return KerasTensor(shape, self.input_dtype)
            if isinstance(shape, dict):
                return {k: placeholder(v) for k, v in shape.items()}
            return [placeholder(s) for s in shape]

        args = tuple(placeholder(a) for a in args)
        kwargs = {k.removesuffix("_shape"): placeholder(v) for k, v in kwargs.items()}
        facts = call_facts(type(self))
        if "input" in kwargs:
            kwargs[facts.first] = kwargs.pop("input")
        with self._scope():
            if not self.built:
                self._build_for(facts, args, kwargs)
            out = self.compute_output_spec(*args, **kwargs)
        return map_structure(lambda t: t.shape, out)

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple:
        """Call the layer with the given values of its variables, changing nothing.

        Returns `(outputs, non_trainable_variables)`, with the losses as a third item
        when asked for.
        """
        self._check_built_for_stateless()
        trainable, rest = self.trainable_variables, self.non_trainable_variables
        for kind, own, given in (
            ("trainable", trainable, trainable_variables),
            ("non_trainable", rest, non_trainable_variables),
        ):
            if len(own) != len(given):
                raise ValueError(
                    f"{self._who()}.stateless_call: `{kind}_variables` must hold "
                    f"{len(own)} values, not {len(given)}."
                )

        def run() -> tuple[Any, list]:
            with collect_losses() as losses:
                out = self(*args, **kwargs)
            return out, losses + (self._regularization() if return_losses else [])

        values = [*trainable_variables, *non_trainable_variables]
        shown = self.metrics_variables  # Layers may update them; it goes nowhere.
        variables = [*trainable, *rest, *shown]
        (out, losses), new = functional(run, variables)([*values, *read(shown)])
        new = new[len(trainable) : len(values)]
        return (out, new, losses) if return_losses else (out, new)

    def _check_built_for_stateless(self) -> None:
        if not self.built:
            raise ValueError(
                f"{self._who()} must be built before stateless_call: call it on data "
                "or use layer.build(input_shape)."
            )

    def _convert(self, x: Any) -> Any:
        """An input as an array in the layer's compute dtype (floats only)."""
        if isinstance(x, np.ndarray | np.generic | Variable):
            x = dtypes.as_array(x.value if isinstance(x, Variable) else x)
        floating = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
        if self.autocast and floating and x.dtype != self.input_dtype:
            mask, x = get_mask(x), x.astype(self.input_dtype)
            set_mask(x, mask)
        return x

    def _reject_settings(self, more: tuple) -> None:
        """Behind the input only tensors are given by position, as in Keras."""
        for value in more:
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                raise ValueError(
                    f"{self._who()} was called on a tensor and {show(value)}; a call "
                    "takes tensors, and settings belong where the layer is made."
                )

    def _resolve_training(
        self,
        facts: "CallFacts",
        args: tuple,
        kwargs: dict,
        outer: CallContext | None,
    ) -> bool | None:
        """The value of `training`: given, else the caller's, else `call`'s default."""
        inherited = outer.training if outer is not None else None
        if facts.training is None:
            given = kwargs.pop("training", None) if not facts.any_keyword else None
            return inherited if given is None else given
        if facts.training < len(args):
            return args[facts.training]
        training = kwargs.get("training")
        if training is None:
            training = inherited
        if training is None:
            training = facts.training_default
        kwargs["training"] = training
        return training

    def _fill_masks(self, facts: "CallFacts", args: tuple, kwargs: dict) -> None:
        """Hand each array's mask to the `mask` or `<argument>_mask` parameter."""
        for name, (position, source) in facts.masks.items():
            if position < len(args) or kwargs.get(name) is not None:
                continue
            index = facts.names.index(source)
            x = args[index] if index < len(args) else kwargs.get(source)
            if x is None or any_symbolic(x):
                continue
            masks = map_structure(get_mask, x)
            if any(mask is not None for mask in leaves(masks)):
                kwargs[name] = masks

    def _pass_mask_on(self, inputs: Any, outputs: Any, given: Any) -> None:
        if not self.supports_masking:
            return
        previous = map_structure(get_mask, inputs) if given is None else given
        overridden = type(self).compute_mask is not Layer.compute_mask
        if not overridden and all(mask is None for mask in leaves(previous)):
            return
        masks = self.compute_mask(inputs, previous)
        if masks is None:
            return
        flat = leaves(outputs)
        for output, mask in zip(flat, leaves(masks), strict=False):
            if mask is not None and get_mask(output) is None:
                set_mask(output, mask)

    # --- Building ---------------------------------------------------------------------

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """The name scope of this layer: where it was first used, plus its name."""
        if self._path is None:
            outer = naming.current_path()
            self._path = f"{outer}/{self.name}" if outer else self.name
        with naming.at_path(self._path):
            yield

    def _build_for(self, facts: "CallFacts", args: tuple, kwargs: dict) -> None:
        """Call `build` with the shapes of the arrays of a first call."""
        shapes: dict[str, Any] = {}
        for index, name in enumerate(facts.names):
            value = args[index] if index < len(args) else kwargs.get(name)
            if value is not None and any(hasattr(x, "shape") for x in leaves(value)):
                shapes[f"{name}_shape"] = map_structure(_shape_of, value)
        if not self._has_own_build():
            # Inner layers build themselves as they run.
            self._build_shapes = shapes or None
            return
        wanted = _parameters(type(self).build)
        if wanted.keys() & shapes.keys() and (len(shapes) > 1 or len(wanted) > 1):
            chosen = {k: v for k, v in shapes.items() if k in wanted}
            self.build(**chosen)
        elif shapes:
            self.build(next(iter(shapes.values())))
        else:
            self.build(None)

    @classmethod
    def _has_own_build(cls) -> bool:
        """Whether `build` makes weights of this layer itself."""
        return cls.build is not Layer.build

    def get_build_config(self) -> dict[str, Any] | None:
        """The input shapes the layer was built with."""
        shapes = self._build_shapes
        if shapes is None:
            return None
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": shapes}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layer for the shapes that `get_build_config` noted."""
        if not config or self.built:
            return
        shapes = config.get("shapes_dict")
        if shapes is None and config.get("input_shape") is not None:
            shapes = {"input_shape": config["input_shape"]}
        if shapes is None:
            return
        shapes = {name: _as_shape(shape) for name, shape in shapes.items()}
        if not self._has_own_build():
            self.built, self._build_shapes = True, shapes
        elif len(shapes) == 1:
            self.build(*shapes.values())
        else:
            self.build(**shapes)

    # --- Configuration and files ------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, for `from_config`."""
        base = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize(self.dtype_policy),
        }
        try:
            config = super().get_config()
        except TypeError:
            # A user's class that writes its own get_config adds what cannot be guessed.
            if is_library(type(self).get_config):
                raise
            config = {}
        legacy = _LEGACY - constructor_signature(type(self)).parameters.keys()
        for name in _NOT_CONFIG | legacy:
            config.pop(name, None)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize(self.activity_regularizer)
        return {**config, **base}

    def _saved_variables(self) -> list[Variable]:
        """The layer's own variables in the order in which files hold them."""
        return self._own_variables()

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put the layer's own variables into `store`, numbered."""
        for i, variable in enumerate(self._saved_variables()):
            store[str(i)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Take the layer's own variables from `store`, numbered."""
        own = self._saved_variables()
        if len(store.keys()) != len(own):
            hint = "" if self.built else " It is not built; call it on data first."
            raise ValueError(
                f"{self._who()} has {len(own)} variables and the file holds "
                f"{len(store.keys())} for it.{hint}"
            )
        for i, variable in enumerate(own):
            variable.assign(store[str(i)])

    # --- Errors -----------------------------------------------------------------------

    def _check_initialized(self) -> None:
        if "_losses" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__() first."
            )

    def _who(self) -> str:
        return f"{type(self).__name__} `{self.name}`"

    def _explain(self, error: Exception, args: tuple, kwargs: dict) -> Exception:
        """The same error with the layer, and the shapes when JAX or NumPy raised it."""
        if getattr(error, "layer", None):
            return error
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
            needed = TypeError(f"{self._who()}: {_values_needed(frames)}")
            needed.layer = self  # type: ignore[attr-defined]
            return needed
        raised_in = frames[-1].filename.replace("\\", "/") if frames else ""
        others = ("jax", "numpy", "opt_einsum")
        foreign = any(f"/{package}/" in raised_in for package in others)
        by_us = raised_in.startswith(_PACKAGE)
        if not foreign and not (by_us and type(error) not in _SENTENCES):
            words = str(error)
            named = type(self).__name__ in words or any(
                f"`{layer.name}`" in words for layer in self._flatten_layers()
            )
            if by_us and not named:  # it comes from an op, say
                error = type(error)(f"{self._who()}: {error}")
            error.layer = self  # type: ignore[attr-defined]
            return error
        arrays = [x for x in leaves((args, kwargs)) if hasattr(x, "shape")]
        shapes = ", ".join(str(tuple(x.shape)) for x in arrays) or show(args)
        reason = str(error).strip().splitlines()[0].rstrip(".")
        explained = ValueError(
            f"{self._who()} cannot work on input of shape {shapes}: {reason}."
        )
        explained.layer = self  # type: ignore[attr-defined]
        return explained

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """A layer like the one whose `get_config` gave `config`, with new weights."""
        known = constructor_signature(cls).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
        later = {}
        if not takes_all:  # a class whose constructor keeps to its own arguments
            absent = [k for k in _BASE_ARGUMENTS if k in config and k not in known]
            later = {name: deserialize(config[name]) for name in absent}
            config = {k: v for k, v in config.items() if k not in later}
        with custom_object_scope(custom_objects):
            layer = super().from_config(config)
        if "name" in later:
            layer.name = later["name"]
        if "dtype" in later:
            layer.dtype_policy = later["dtype"]
        if "trainable" in later:
            layer.trainable = later["trainable"]
        return layer


def _values_needed(frames: list[traceback.FrameSummary]) -> str:
    """Why a traced array was asked for its values, by the user's last line."""
    libraries = (_PACKAGE, "/jax/", "/jaxlib/", "/numpy/")
    own = [f for f in frames if not any(x in f.filename for x in libraries)]
    where = f"line {own[-1].lineno}, `{own[-1].line}`, asks" if own else "a line asks"
    return (
        f"{where} for the values of an array, which compiled code does not have yet; "
        "use keras.ops.where or keras.ops.cond for a decision and keras.ops instead of "
        "NumPy, or do it outside of the model."
    )


_SENTENCES = (TypeError, ValueError)  # what our own messages are raised as
_PACKAGE = str(Path(__file__).parents[1]).replace("\\", "/") + "/"
_WEIGHT_LISTS = ("_trainable_variables", "_non_trainable_variables")
_BASE_ARGUMENTS = ("activity_regularizer", "trainable", "dtype", "autocast", "name")
_NOT_CONFIG = {"dtype_policy", "autocast"}
_LEGACY = {"input_shape", "input_dim"}


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | np.ndarray)


def _holds_plain(value: Any) -> bool:
    if isinstance(value, Variable) or not value:
        return False
    return all(_is_plain(x) for x in leaves(value))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        d is None or isinstance(d, int | np.integer) for d in value
    )


def _as_shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _as_shape(v) for k, v in value.items()}
    if _is_shape(value):
        return tuple(value)
    return [_as_shape(v) for v in value]


def _shape_of(x: Any) -> Any:
    return tuple(x.shape) if hasattr(x, "shape") else None


def _remember_build(build: Callable) -> Callable:
    """Wrap a `build` method: name its variables, note its shapes, mark it built."""

    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        if self.__dict__.get("_is_building"):  # super().build(...)
            build(self, *args, **kwargs)
            return
        self._check_initialized()
        self.__dict__["_is_building"] = True
        # Weights are made for good even when the first call happens in a trace.
        try:
            with self._scope(), outside():
                build(self, *args, **kwargs)
        finally:
            del self.__dict__["_is_building"]
        names = list(_parameters(build))
        self._build_shapes = {**dict(zip(names, args, strict=False)), **kwargs}
        self.built = True

    return wrapped


def _show_parameters(cls: type[Layer]) -> None:
    """Let methods that work for all layers show the parameters of this class.

    Not for users' classes: what pickles a class by value would meet the copies.
    """
    for name, like in (
        ("__call__", cls.call),
        ("compute_output_spec", cls.call),
        ("compute_output_shape", cls.build),
    ):
        general = getattr(Layer, name)
        if getattr(cls, name).__code__ is not general.__code__:
            continue
        method: Any = FunctionType(
            general.__code__, general.__globals__, name, closure=general.__closure__
        )
        functools.update_wrapper(method, general)
        shown = list(inspect.signature(like).parameters.values())
        shown[1:2] = [p.replace(default=p.empty) for p in shown[1:2]]
        if name == "__call__" and shown[-1].kind is not inspect.Parameter.VAR_KEYWORD:
            # Every layer takes `training` and `mask`, used or not.
            shown.append(inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD))
        method.__signature__ = inspect.Signature(shown)
        setattr(cls, name, method)


@functools.cache
def _parameters(method: Callable) -> dict[str, inspect.Parameter]:
    """The parameters of a method, `self` left out."""
    parameters = dict(inspect.signature(method).parameters)
    parameters.pop("self", None)
    return parameters


@dataclass(frozen=True)
class CallFacts:
    """What `__call__` needs to know of a class's `call`."""

    names: tuple[str, ...]
    first: str
    training: int | None
    training_default: bool | None
    masks: dict[str, tuple[int, str]]
    any_keyword: bool


@per_class
def call_facts(cls: type[Layer]) -> CallFacts:
    parameters = _parameters(cls.call)
    names = tuple(
        name
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    )
    inputs = [n for n in names if n != "training" and not n.endswith("mask")]
    first = inputs[0] if inputs else ""
    masks = {}
    for i, name in enumerate(names):
        if name == "mask" and first:
            masks[name] = (i, first)
        elif name.endswith("_mask") and name.removesuffix("_mask") in names:
            masks[name] = (i, name.removesuffix("_mask"))
    default = None
    if "training" in names:
        default = parameters["training"].default
        default = default if isinstance(default, bool) else None
    return CallFacts(
        names,
        first,
        names.index("training") if "training" in names else None,
        default,
        masks,
        any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )


__all__ = ["CallContext", "InputSpec", "Layer", "collect_losses"]
