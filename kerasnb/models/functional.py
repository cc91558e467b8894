"""`Functional`: the model between some inputs and some outputs of a graph of calls."""

from collections.abc import Mapping
from typing import Any, Self

import jax

from kerasnb.core import dtypes
from kerasnb.core.configurable import constructor_signature, deserialize, serialize
from kerasnb.core.errors import check, show, suggest
from kerasnb.core.graph import (
    Function,
    KerasTensor,
    Node,
    OpCall,
    Operation,
    any_symbolic,
    is_symbolic,
    leaves,
    map_structure,
    node_of,
)
from kerasnb.layers.host import as_numpy, holds_text, text_as_array
from kerasnb.layers.input_layer import Input, InputLayer
from kerasnb.layers.layer import Layer, call_facts
from kerasnb.models import op_config
from kerasnb.models.border import Prepared, find_border
from kerasnb.models.model import Model


class Functional(Model):
    """A model given by its inputs and outputs: `Model(inputs, outputs)`.

    Inputs and outputs may be one tensor, or lists and dicts of them.
    """

    _UNTRACKED = Model._UNTRACKED | {"_border", "_function", "_layers"}
    _saved_first = ("layers",)

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any
    ) -> None:
        for what, tree in (("inputs", inputs), ("outputs", outputs)):
            for x in leaves(tree):
                if not is_symbolic(x):
                    raise ValueError(
                        f"Model: `{what}` must be made by keras.Input and by calling "
                        f"layers, and holds {show(x)}."
                    )
        trainable = kwargs.pop("trainable", None)
        Layer.__init__(self, name=name, **kwargs)
        if not _all_inputs(inputs):
            inputs, outputs = _reroot(inputs, outputs)
        self._function = Function(inputs, outputs, name=f"{self.name}_graph")
        self._layers = [x for x in self._function.operations if isinstance(x, Layer)]
        self._check_names()
        self._border = find_border(self._function, _unfold)
        self.built = True
        if trainable is not None:
            self.trainable = trainable

    def _check_names(self) -> None:
        seen: dict[str, Operation] = {}
        for operation in self._function.operations:
            other = seen.setdefault(operation.name, operation)
            if other is not operation:
                raise ValueError(
                    f"Model `{self.name}` has two layers named `{operation.name}`; "
                    "give one of them another `name`."
                )

    # --- Structure --------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers of the model, inputs included."""
        return list(self._layers)

    def _sublayers(self) -> list[Layer]:
        extra = [x for x in super()._sublayers() if x not in self._layers]
        return [*self._layers, *extra]

    @property
    def operations(self) -> list[Operation]:
        """Layers and single operations in the order of their calls."""
        return self._function.operations

    @property
    def inputs(self) -> list[KerasTensor]:
        """The placeholders of the inputs."""
        return self._function._inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The placeholders of the outputs."""
        return self._function._outputs

    @property
    def input(self) -> Any:
        """The inputs in the structure they were given in."""
        return self._function._inputs_struct

    @property
    def output(self) -> Any:
        """The outputs in the structure they were given in."""
        return self._function._outputs_struct

    @property
    def input_shape(self) -> Any:
        """The shapes of the inputs."""
        return _shapes(self.input)

    @property
    def output_shape(self) -> Any:
        """The shapes of the outputs."""
        return _shapes(self.output)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return [t._keras_history[0].name for t in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs."""
        return [t._keras_history[0].name for t in self.outputs]

    # --- Calls ------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Replay the graph on `inputs`."""
        del training, mask  # Both reach the layers by the call context and the arrays.
        if self._border is not None and isinstance(inputs, Prepared):
            return self._border.device.replay(inputs.values)
        return self._function.replay(self._fit_inputs(inputs))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Placeholders with the shapes and dtypes of the results."""
        if self._border is None:
            return super().compute_output_spec(*args, **kwargs)
        # Text cannot be traced; each layer says what comes out of it.
        return self._function.replay(
            self._in_order(args[0]),
            lambda operation, args, kwargs: operation.compute_output_spec(
                *args, **kwargs
            ),
        )

    def _before_step(self, x: Any) -> Any:
        if self._border is None or isinstance(x, Prepared):
            return x
        return self._border.cross(self._fit_inputs(x))

    def _fit_inputs(self, inputs: Any) -> list[Any]:
        """The inputs in the order of the graph, with rank and dtype brought in line."""
        return [
            self._fit_input(value, tensor)
            for value, tensor in zip(self._in_order(inputs), self.inputs, strict=True)
        ]

    def _in_order(self, inputs: Any) -> list[Any]:
        """The inputs in the order of the graph."""
        expected = self.inputs
        if isinstance(inputs, Mapping):
            keys = list(self.input) if isinstance(self.input, Mapping) else None
            names = sorted(keys) if keys is not None else self.input_names
            missing = [name for name in names if name not in inputs]
            if missing:
                near = suggest(missing[0], inputs)
                raise ValueError(
                    f"Model `{self.name}` needs the input `{missing[0]}` and got "
                    f"{sorted(inputs)}.{near}"
                )
            values = [text_as_array(inputs[name]) for name in names]
            values = leaves(dict(enumerate(values)))
        elif len(expected) == 1:
            values = leaves(text_as_array(inputs))
        elif isinstance(inputs, list | tuple):
            values = leaves([text_as_array(x) for x in inputs])
        else:
            values = leaves(inputs)
        if len(values) != len(expected):
            raise ValueError(
                f"Model `{self.name}` has {len(expected)} inputs {self.input_names} "
                f"and got {len(values)}."
            )
        return values

    def _fit_input(self, value: Any, tensor: KerasTensor) -> Any:
        if value is None:
            if not getattr(tensor._keras_history[0], "optional", False):
                raise ValueError(
                    f"Model `{self.name}` got None for the input "
                    f"`{tensor._keras_history[0].name}`, which is not optional."
                )
            return None
        text = tensor.dtype == "string"
        if text:
            value = as_numpy(value)
        elif not isinstance(value, jax.Array):
            value = dtypes.as_array(value)
        shape, rank = tensor.shape, value.ndim
        if rank == len(shape) - 1 and shape[-1] == 1:
            value = value[..., None]
        elif rank == len(shape) + 1 and value.shape[-1] == 1:
            value = value[..., 0]
        wrong = value.ndim != len(shape) or any(
            want is not None and want != got
            for want, got in zip(shape[1:], value.shape[1:], strict=True)
        )
        if wrong:
            raise ValueError(
                f"Model `{self.name}` expects inputs of shape {shape} and got "
                f"{tuple(value.shape)}{_batch_hint(shape, value.shape)}."
            )
        if text:
            name = tensor._keras_history[0].name
            good = value.dtype.kind == "O" or value.size == 0
            check(good, f"Model `{self.name}`", name, value, "text")
            return value
        dtype = dtypes.canonical(tensor.dtype)
        return value if value.dtype == dtype else value.astype(dtype)

    def _convert(self, x: Any) -> Any:
        # The graph's inputs say which dtype they want; a model casts nothing before.
        if holds_text(x):
            return x
        if hasattr(x, "__array__") and not isinstance(x, jax.Array | KerasTensor):
            return dtypes.as_array(x)
        return x

    # --- Configuration ----------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The graph as plain data: layers, their calls, the inputs and outputs."""
        if type(self) is not Functional and not passes_graph(type(self)):
            return Layer.get_config(self)
        indices = _node_indices(self._function._nodes)
        layers = []
        for operation in self.operations:
            config = (
                op_config.write(operation)
                if isinstance(operation, OpCall)
                else serialize(operation)
            )
            config["name"] = operation.name
            config["inbound_nodes"] = [
                _write_call(node, indices)
                for node in self._function._nodes
                if node.operation is operation and not node.is_input
            ]
            layers.append(config)

        def reference(tensor: KerasTensor) -> list[Any]:
            operation, _, index = tensor._keras_history
            node = indices[id(node_of(tensor))] + _first_index(operation)
            return [operation.name, node, index]

        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": layers,
            "input_layers": map_structure(reference, self.input),
            "output_layers": map_structure(reference, self.output),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model whose `get_config` returned `config`, with new weights."""
        if "layers" not in config:
            return cls(**{k: deserialize(v) for k, v in config.items()})
        described = {c["name"]: c for c in config["layers"]}
        operations = {name: _read_operation(c) for name, c in described.items()}
        made: dict[tuple[str, int], Node] = {}
        for name, operation in operations.items():
            if isinstance(operation, InputLayer):
                made[name, 0] = operation._inbound_nodes[0]
        waiting = [
            (c["name"], i, call)
            for c in config["layers"]
            for i, call in enumerate(c["inbound_nodes"])
        ]
        while waiting:
            later = []
            for name, index, call in waiting:
                if index and (name, index - 1) not in made:
                    later.append((name, index, call))
                    continue
                if not _is_ready(call, made):
                    later.append((name, index, call))
                    continue
                args, kwargs = _read_call(call, made)
                operation = operations[name]
                # Keras notes the default of `training` as if it had been given. Kept,
                # a Dropout would never drop anything, whatever the model is told.
                default = _default_of_training(operation)
                if default is not None and kwargs.get("training") is default:
                    del kwargs["training"]
                if isinstance(operation, OpCall):
                    args, kwargs = op_config.recall(
                        described[name], operation.fn, args, kwargs
                    )
                if not any_symbolic(args, kwargs):
                    raise ValueError(
                        f"The file's graph cannot be rebuilt: `{name}` is called on "
                        "values, not on what a layer makes."
                    )
                before = len(operations[name]._inbound_nodes)
                operations[name](*args, **kwargs)
                made[name, index] = operations[name]._inbound_nodes[before]
            if len(later) == len(waiting):
                raise ValueError(
                    f"The file's graph cannot be rebuilt: `{later[0][0]}` is called on "
                    "outputs that no layer of the file makes."
                )
            waiting = later

        def tensor(reference: Any) -> KerasTensor:
            name, node, index = reference
            node -= _first_index(operations[name])
            return made[name, node].output_tensors[index]

        inputs = _map_references(tensor, config["input_layers"])
        outputs = _map_references(tensor, config["output_layers"])
        # A model that trains may hold layers that do not, and they know it themselves.
        extra = {} if config.get("trainable", True) else {"trainable": False}
        return cls(inputs, outputs, name=config.get("name"), **extra)

    def get_build_config(self) -> dict[str, Any] | None:
        """Nothing to note: a graph is built when it is made."""
        return {"input_shape": None}

    def build(self, input_shape: Any = None) -> None:
        """Nothing to do: a graph is built when it is made."""

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Nothing to do: a graph is built when it is made."""


def _shapes(tensors: Any) -> Any:
    """The shapes of inputs or outputs; a list of one is as good as that one."""
    shapes = map_structure(lambda t: t.shape, tensors)
    return shapes[0] if isinstance(shapes, list) and len(shapes) == 1 else shapes


def _unfold(operation: Operation, args: tuple, kwargs: dict) -> Any:
    """Call an operation on placeholders, or replay the graph of a model on text."""
    inner = getattr(operation, "_functional", None) or operation
    if isinstance(inner, Functional) and inner._border is not None:
        return inner._function.replay(inner._in_order(args[0]), _unfold)
    return operation(*args, **kwargs)


def _batch_hint(want: tuple, got: tuple) -> str:
    if len(got) == len(want) - 1 and all(
        w in (None, g) for w, g in zip(want[1:], got, strict=True)
    ):
        return ", which is one sample; put it into a batch with x[None]"
    return ""


def _all_inputs(tree: Any) -> bool:
    return all(
        t._keras_history is not None
        and isinstance(t._keras_history[0], InputLayer)
        and t._keras_history[0].output is t
        for t in leaves(tree)
    )


def _reroot(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """The part of a graph from tensors in its middle on, beginning with new inputs."""
    new = map_structure(
        lambda t: Input(batch_shape=t.shape, dtype=t.dtype, name=f"{t.name}CLONE"),
        inputs,
    )
    return new, Function(inputs, outputs).replay(leaves(new))


def passes_graph(cls: type) -> bool:
    """Whether a user's subclass can be made again from inputs and outputs."""
    parameters = list(constructor_signature(cls).parameters.values())[1:]
    names = [p.name for p in parameters]
    return names[:2] == ["inputs", "outputs"] or (
        len(parameters) == 2 and parameters[0].kind is parameters[0].VAR_POSITIONAL
    )


def _node_indices(nodes: list[Node]) -> dict[int, int]:
    """For each call its number among the calls of the same operation in this model."""
    count: dict[int, int] = {}
    indices = {}
    for node in nodes:
        key = id(node.operation)
        indices[id(node)] = count.get(key, 0)
        count[key] = indices[id(node)] + 1
    return indices


def _write_call(node: Node, indices: dict[int, int]) -> dict[str, Any]:
    def write(x: Any) -> Any:
        if not is_symbolic(x):
            return serialize(x)
        operation, _, index = x._keras_history
        config = serialize(x)
        config["config"]["keras_history"] = [
            operation.name,
            indices[id(node_of(x))],
            index,
        ]
        return config

    args: Any = node.args
    kwargs = node.kwargs
    if isinstance(node.operation, OpCall):
        args, kwargs = op_config.call_arguments(node)
    return {
        "args": map_structure(write, list(args)),
        "kwargs": map_structure(write, kwargs),
    }


def _read_call(call: Any, made: dict) -> tuple[list, dict[str, Any]]:
    def read(x: Any) -> Any:
        if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
            name, node, index = x["config"]["keras_history"]
            return made[name, node].output_tensors[index]
        if isinstance(x, dict) and "class_name" in x and "config" in x:
            return deserialize(x)
        if isinstance(x, dict):
            return {k: read(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [read(v) for v in x]
        return x

    return read(call["args"]), read(call["kwargs"])


def _default_of_training(operation: Operation) -> bool | None:
    if not isinstance(operation, Layer):
        return None
    return call_facts(type(operation)).training_default


def _is_ready(call: Any, made: dict) -> bool:
    """Whether all that a call of a file works on has been made."""
    if isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            name, node, _ = call["config"]["keras_history"]
            return (name, node) in made
        call = list(call.values())
    return not isinstance(call, list) or all(_is_ready(x, made) for x in call)


def _first_index(operation: Operation) -> int:
    """What Keras counts the calls of an operation from, where it names an output."""
    return 1 if isinstance(operation, Functional) else 0


def _read_operation(config: dict[str, Any]) -> Operation:
    if op_config.is_operation(config):
        return op_config.read(config)
    return deserialize({k: v for k, v in config.items() if k != "inbound_nodes"})


def _map_references(fn: Any, tree: Any) -> Any:
    """`fn` on every `[name, node, index]` of a structure."""
    if isinstance(tree, dict):
        return {k: _map_references(fn, v) for k, v in tree.items()}
    if len(tree) == 3 and isinstance(tree[0], str) and isinstance(tree[1], int):
        return fn(tree)
    return [_map_references(fn, v) for v in tree]
