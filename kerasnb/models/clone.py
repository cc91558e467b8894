"""`clone_model`: the same architecture again, with weights of its own."""

from collections.abc import Callable
from typing import Any

from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.errors import show
from kerasnb.core.graph import (
    KerasTensor,
    Operation,
    is_symbolic,
    leaves,
    map_structure,
)
from kerasnb.core.registry import custom_object_scope
from kerasnb.layers.input_layer import Input, InputLayer
from kerasnb.layers.layer import Layer
from kerasnb.models.functional import Functional, passes_graph
from kerasnb.models.sequential import Sequential


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model of the same architecture with new weights.

    `clone_function(layer)` makes each new layer (by default from its configuration);
    `call_function(layer, *args, **kwargs)` calls it, and may add layers before or after
    it in a functional model. With `recursive` both reach into nested models, else a
    nested model is cloned as one layer. `input_tensors` take the place of the inputs.

    >>> from kerasnb.layers import Dense, Input
    >>> model = Sequential([Input((4,)), Dense(2)])
    >>> clone_model(model).layers[0].kernel is model.layers[0].kernel
    False
    """
    if call_function is not None and isinstance(model, Sequential):
        raise ValueError(
            "clone_model: `call_function` works on functional models only; in the "
            f"Sequential `{model.name}` layers are listed, not called."
        )
    return _Cloner(clone_function, call_function, recursive).clone(model, input_tensors)


class _Cloner:
    """One cloning, in which a layer that occurs twice is cloned once."""

    def __init__(
        self,
        clone_function: Callable[[Any], Any] | None,
        call_function: Callable[..., Any] | None,
        recursive: bool,
    ) -> None:
        self.given = clone_function
        self.call_function = call_function
        self.recursive = recursive
        self.clones: dict[int, Any] = {}

    def clone(self, model: Any, inputs: Any = None) -> Any:
        if isinstance(model, Sequential):
            new = self._chain(model, inputs)
        elif isinstance(model, Functional):
            new = self._graph(model, inputs)
        elif self.given or self.call_function or inputs is not None:
            raise ValueError(
                "clone_model: only Sequential and functional models can be cloned "
                f"layer by layer; {type(model).__name__} `{model.name}` is neither. "
                "Call clone_model(model) without further arguments."
            )
        else:
            with custom_object_scope({type(model).__name__: type(model)}):
                new = deserialize(serialize(model))
        self.clones[id(model)] = new
        return new

    def layer(self, layer: Operation) -> Any:
        """The clone of a layer or of a single operation."""
        if id(layer) in self.clones:
            return self.clones[id(layer)]
        if self.recursive and isinstance(layer, Sequential | Functional):
            return self.clone(layer)
        if not isinstance(layer, Layer):
            return layer  # an operation without weights serves both models
        if self.given is not None:
            new = self.given(layer)
        else:
            with custom_object_scope({type(layer).__name__: type(layer)}):
                new = type(layer).from_config(layer.get_config())
        self.clones[id(layer)] = new
        return new

    def _chain(self, model: Sequential, inputs: Any) -> Sequential:
        layers = [self.layer(layer) for layer in model.layers]
        given = leaves(inputs)
        if inputs is not None and (len(given) != 1 or not is_symbolic(given[0])):
            raise ValueError(
                "clone_model: `input_tensors` of a Sequential model must be one "
                f"keras.Input, not {show(inputs)}."
            )
        first = model._input_layer
        if inputs is not None:
            name = None if first is None else first.name
            layers.insert(0, Input(tensor=given[0], name=name))
        elif first is not None:
            layers.insert(0, InputLayer.from_config(first.get_config()))
        new = Sequential(layers, name=model.name, trainable=model.trainable)
        self._compile_like(new, model)
        return new

    def _graph(self, model: Functional, inputs: Any) -> Any:
        if inputs is None:
            inputs = map_structure(_new_input, model.input)
        elif len(leaves(inputs)) != len(model.inputs) or not all(
            map(is_symbolic, leaves(inputs))
        ):
            raise ValueError(
                "clone_model: `input_tensors` must be placeholders in the structure of "
                f"the model's inputs, {model.input_names}."
            )
        outputs = model._function.replay(leaves(inputs), self._call)
        cls = type(model) if passes_graph(type(model)) else Functional
        new = cls(inputs, outputs, name=model.name)
        self._compile_like(new, model)
        return new

    def _call(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        new = self.layer(layer)
        if self.call_function is not None:
            return self.call_function(new, *args, **kwargs)
        return new(*args, **kwargs)

    @staticmethod
    def _compile_like(new: Any, model: Any) -> None:
        if model.compiled:
            new.compile_from_config(model.get_compile_config())


def _new_input(tensor: KerasTensor) -> KerasTensor:
    layer = tensor._keras_history[0]
    return Input(
        batch_shape=tensor.shape,
        dtype=tensor.dtype,
        name=layer.name,
        optional=getattr(layer, "optional", False),
    )
