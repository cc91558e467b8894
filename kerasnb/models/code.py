"""A model as the Python script that makes it: `to_code`."""

import ast
import builtins
import inspect
import keyword
import re
from collections.abc import Iterator
from typing import Any

from kerasnb.core import dtypes
from kerasnb.core.configurable import (
    Configurable,
    constructor_signature,
    deserialize,
)
from kerasnb.core.graph import KerasTensor, Node, OpCall
from kerasnb.core.naming import fresh_names, to_snake_case
from kerasnb.core.registry import is_library, room_of
from kerasnb.layers.input_layer import InputLayer
from kerasnb.layers.layer import Layer
from kerasnb.models.functional import Functional
from kerasnb.models.sequential import Sequential


def to_code(model: Any) -> str:
    """The script that makes a model like this one, with new weights.

    Functions of the user's own and classes of theirs appear by their names, which a
    comment lists. With `import keras` in place of `import kerasnb as keras` (and the
    same for `layers`) it makes the model in Keras.

    >>> from kerasnb import Sequential, layers
    >>> print(to_code(Sequential([layers.Input((4,)), layers.Dense(2)], name="net")))
    import kerasnb as keras
    from kerasnb import layers
    <BLANKLINE>
    net = keras.Sequential([
        keras.Input((4,)),
        layers.Dense(2),
    ], name="net")
    """
    name = _identifier(model.name)
    lines = _definition(model, name, {})
    if model.compiled:
        lines += _compile(model, name)
    used = _names_used("\n".join(lines))
    head = ["import kerasnb as keras"]
    head += ["from kerasnb import layers"] * ("layers" in used)
    if own := sorted(used - {"keras", "layers"}):
        head += ["", f"# Your own, which the script needs: {', '.join(own)}."]
    return "\n".join([*head, "", *lines])


def _names_used(script: str) -> set[str]:
    """The names that a script needs from elsewhere."""
    try:
        nodes = [n for n in ast.walk(ast.parse(script)) if isinstance(n, ast.Name)]
    except SyntaxError:  # an argument that Python cannot write
        return {"keras", "layers"}
    made = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    return {node.id for node in nodes} - made - set(dir(builtins))


def _definition(model: Any, name: str, made: dict[Any, str]) -> list[str]:
    """The lines that define a model under a name; inner models come first."""
    if isinstance(model, Sequential):
        return _sequential(model, name, made)
    if isinstance(model, Functional):
        return _functional(model, name, made)
    return [f"{name} = {_made_by(model)}"]


def _sequential(model: Sequential, name: str, made: dict[Any, str]) -> list[str]:
    before, lines = [], []
    for layer in model._all_layers():
        if _is_graph(layer):
            inner = made.setdefault(layer, _fresh(_identifier(layer.name), made))
            before += [*_definition(layer, inner, made), ""]
            lines.append(f"    {inner},")
        else:
            lines.append(f"    {_made_by(layer)},")
    end = f'], name="{model.name}")'
    return [*before, f"{name} = keras.Sequential([", *lines, end]


def _functional(model: Functional, name: str, made: dict[Any, str]) -> list[str]:
    nodes = model._function._nodes
    lines: list[str] = []
    called: dict[Any, int] = {}
    for node in nodes:
        called[node.operation] = called.get(node.operation, 0) + 1
    for operation, times in called.items():
        if isinstance(operation, InputLayer) or operation in made:
            continue
        if _is_graph(operation):
            made[operation] = _fresh(_identifier(operation.name), made)
            lines += [*_definition(operation, made[operation], made), ""]
        elif times > 1 and not isinstance(operation, OpCall):
            made[operation] = _fresh(_identifier(operation.name), made)
            lines.append(f"{made[operation]} = {_made_by(operation)}")
    names = _name_tensors(model, nodes, made)

    def value(x: Any) -> str:
        return names[id(x)] if isinstance(x, KerasTensor) else code_of(x)

    for node in nodes:
        outputs = ", ".join(names[id(t)] for t in node.output_tensors)
        if node.is_input:
            lines.append(f"{outputs} = {_made_by(node.operation)}")
        else:
            lines.append(f"{outputs} = {_call(node, value, made)}")
    inputs = _structure(model.input, names)
    outputs = _structure(model.output, names)
    return [*lines, f'{name} = keras.Model({inputs}, {outputs}, name="{model.name}")']


def _name_tensors(
    model: Functional, nodes: list[Node], made: dict[Any, str]
) -> dict[int, str]:
    """A variable for each tensor: `x` while nobody needs it later on."""
    last_use: dict[int, int] = {}
    for i, node in enumerate(nodes):
        for tensor in node.input_tensors:
            last_use[id(tensor)] = i
    kept = {id(t) for t in model.outputs}
    names: dict[int, str] = {}
    taken = set(made.values())
    for i, node in enumerate(nodes):
        for tensor in node.output_tensors:
            passing = not node.is_input and len(node.output_tensors) == 1
            passing &= last_use.get(id(tensor), i + 1) == i + 1
            if passing and (id(tensor) not in kept or i == len(nodes) - 1):
                names[id(tensor)] = "x"
                continue
            base = _identifier(node.operation.name)
            if node.is_input and len(model.inputs) == 1:
                base = "inputs"
            found, count = base, 1
            while found in taken or found in ("x", "keras", "layers"):
                count += 1
                found = f"{base}_{count}"
            taken.add(found)
            names[id(tensor)] = found
    return names


def _call(node: Node, value: Any, made: dict[Any, str]) -> str:
    operation = node.operation
    arguments = [_structure_with(x, value) for x in node.args]
    arguments += [f"{k}={_structure_with(v, value)}" for k, v in node.kwargs.items()]
    if isinstance(operation, OpCall):
        if operation.fn.__name__ == "get_item":
            return f"{arguments[0]}[{_index(node.args[1])}]"
        return f"keras.ops.{operation.fn.__name__}({', '.join(arguments)})"
    maker = made.get(operation) or _made_by(operation)
    return f"{maker}({', '.join(arguments)})"


def _index(index: Any) -> str:
    if isinstance(index, tuple):
        return ", ".join(_index(part) for part in index)
    if isinstance(index, slice):
        ends = ("" if n is None else str(n) for n in (index.start, index.stop))
        step = "" if index.step is None else f":{index.step}"
        return ":".join(ends) + step
    return "..." if index is Ellipsis else repr(index)


def _structure(tree: Any, names: dict[int, str]) -> str:
    return _structure_with(tree, lambda tensor: names[id(tensor)])


def _structure_with(tree: Any, value: Any) -> str:
    if isinstance(tree, list):
        return f"[{', '.join(_structure_with(x, value) for x in tree)}]"
    if isinstance(tree, tuple):
        inside = ", ".join(_structure_with(x, value) for x in tree)
        return f"({inside},)" if len(tree) == 1 else f"({inside})"
    if isinstance(tree, dict):
        items = (f"{code_of(k)}: {_structure_with(v, value)}" for k, v in tree.items())
        return f"{{{', '.join(items)}}}"
    return value(tree)


def _compile(model: Any, name: str) -> list[str]:
    arguments = dict(model._compile_arguments)
    said, optimizer = arguments["optimizer"], model.optimizer
    if optimizer is not None and not (
        isinstance(said, str) and not arguments_of(optimizer)
    ):
        arguments["optimizer"] = optimizer
    defaults = inspect.signature(type(model).compile).parameters
    lines = [
        f"    {key}={map_code(value)},"
        for key, value in arguments.items()
        if key == "optimizer" or not _is_default(value, defaults[key].default)
    ]
    return ["", f"{name}.compile(", *lines, ")"]


def map_code(tree: Any) -> str:
    """Python for nested lists and dicts of things."""
    return _structure_with(tree, code_of)


# --- Objects --------------------------------------------------------------------------


def _made_by(layer: Any) -> str:
    """The constructor's call that makes a layer, its own name left out."""
    if isinstance(layer, InputLayer):
        return f"keras.Input({_joined(_input_arguments(layer))})"
    cls = type(layer)
    path = f"layers.{cls.__name__}" if _is_public(cls) else cls.__name__
    if isinstance(layer, Sequential | Functional) and is_library(cls):
        path = f"keras.{cls.__name__}"
    given = arguments_of(layer)
    for said in _SHAPES - constructor_signature(cls).parameters.keys():
        given.pop(said, None)  # the script has a keras.Input for it
    if re.fullmatch(rf'"{to_snake_case(cls.__name__)}(_\d+)?"', given.get("name", "")):
        del given["name"]
    return f"{path}({_joined(_with_positions(cls, given))})"


_SHAPES = {"input_shape", "batch_input_shape", "input_dim"}


def _input_arguments(layer: InputLayer) -> Iterator[str]:
    batch, *shape = layer.batch_shape
    yield code_of(tuple(shape))
    if batch is not None:
        yield f"batch_size={batch}"
    if layer.dtype != "float32":
        yield f'dtype="{layer.dtype}"'
    if not re.fullmatch(r"input_layer(_\d+)?|.*_input|keras_tensor.*", layer.name):
        yield f'name="{layer.name}"'


def arguments_of(obj: Configurable) -> dict[str, str]:
    """The arguments of a constructor that differ from its defaults, as Python.

    They appear as they were given: `kernel_size=3`, not `(3, 3)`.
    """
    parameters = constructor_signature(type(obj)).parameters
    given = dict(obj._config)
    own, plain = _config_of(obj), {}
    if is_library(type(obj)):
        plain = _plain_config(type(obj), given)
    if "learning_rate" in parameters and "learning_rate" in own:
        rate = own["learning_rate"]  # It may have changed since it was given.
        given = {"learning_rate": _rounded(rate), **given}
    found = {}
    for name, value in given.items():
        parameter = parameters.get(name)
        default = _BASE.get(name) if parameter is None else parameter.default
        if name == "dtype" and isinstance(obj, Layer):
            value = None if obj.dtype_policy == dtypes.dtype_policy() else value
        usual = _is_default(value, default)
        if default is not inspect.Parameter.empty and name in plain:
            usual |= _is_default(own.get(name), plain[name])
        if not usual:
            found[name] = code_of(value)
    return found


_BASE = {"trainable": True, "autocast": True}


def _config_of(obj: Configurable) -> dict[str, Any]:
    try:
        return obj.get_config()
    except (TypeError, NotImplementedError):  # a user's class that cannot be written
        return {}


def _plain_config(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """The configuration of an object made with the required arguments alone."""
    required = {
        name: given[name]
        for name, parameter in constructor_signature(cls).parameters.items()
        if parameter.default is parameter.empty and name in given
    }
    with fresh_names():
        try:
            return cls(**required).get_config()
        except (TypeError, ValueError):
            return {}


def _rounded(rate: Any) -> Any:
    """A learning rate as it was meant, without the digits that float32 adds."""
    return float(f"{rate:.6g}") if isinstance(rate, float) else deserialize(rate)


def _with_positions(cls: type, given: dict[str, str]) -> Iterator[str]:
    """Arguments as they are usually written: the required first ones by position."""
    leading = True
    for name, parameter in list(constructor_signature(cls).parameters.items())[1:]:
        leading &= parameter.default is parameter.empty and name in given
        if leading and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            yield given[name]
        elif name in given:
            yield f"{name}={given[name]}"
    parameters = constructor_signature(cls).parameters
    yield from (f"{k}={v}" for k, v in given.items() if k not in parameters)


def _joined(parts: Any) -> str:
    return ", ".join(parts)


def code_of(value: Any) -> str:
    """Python that makes a value: a literal, a call, or the name of a function."""
    if isinstance(value, str):
        return f'"{value}"' if '"' not in value and value.isprintable() else repr(value)
    if isinstance(value, list | tuple | dict):
        return map_code(value)
    small = isinstance(value, float) and 0 < abs(value) <= 1
    if small and value == 1 / round(1 / value):
        return repr(value) if len(repr(value)) < 10 else f"1 / {round(1 / value)}"
    if isinstance(value, Layer):
        return _made_by(value)
    if isinstance(value, Configurable):
        cls = type(value)
        room = f"keras.{room_of(cls.__module__)}." if is_library(cls) else ""
        given = arguments_of(value)
        given.pop("name", None)
        return f"{room}{cls.__name__}({_joined(_with_positions(cls, given))})"
    if callable(value) and hasattr(value, "__name__"):
        if is_library(value):
            return f"keras.{room_of(value.__module__)}.{value.__name__}"
        return value.__name__ if value.__name__.isidentifier() else "your_function"
    if hasattr(value, "tolist"):
        return f"keras.ops.array({value.tolist()!r})"
    return repr(value)


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, Configurable) and isinstance(default, str):
        plain = not any(v is not None for v in value._config.values())
        return plain and to_snake_case(type(value).__name__) == default
    try:
        return value is default or bool(value == default)
    except ValueError:  # an array
        return False


def _is_public(cls: type) -> bool:
    return is_library(cls) and room_of(cls.__module__) == "layers"


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, Sequential | Functional)


def _identifier(name: str) -> str:
    """A variable for something of this name; no word of Python, nor of the script.

    >>> _identifier("my net"), _identifier("2d"), _identifier("class")
    ('my_net', 'model_2d', 'class_')
    """
    name = re.sub(r"\W", "_", name)
    name = name if re.match(r"[^\W\d]", name) else f"model_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name


_TAKEN = ("keras", "layers", "x", "inputs")


def _fresh(name: str, made: dict[Any, str]) -> str:
    while name in made.values():
        name += "_"
    return name


__all__ = ["arguments_of", "code_of", "to_code"]
