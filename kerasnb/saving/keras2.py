"""What Keras 2 wrote about a model, in the words of Keras 3.

The JSON of old files says the same as that of `.keras` files with other names: this
file translates it, as data, before anything is built from it. Tables tell what was
renamed or left; JSON of Keras 3 passes through as it is.

- an object is `class_name` and `config`, without a module: the argument that it stands
  in tells which room it belongs to;
- a call in a graph is a list of `[layer, call, output, keywords]`;
- a function of TensorFlow between two layers is a layer `TFOpLambda`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from kerasnb.core.errors import show

Config = dict[str, Any]

# Where an object belongs, by the end of the name of the argument that holds it.
_ROOMS = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "learning_rate": "optimizers.schedules",
    "optimizer": "optimizers",
}
_CLASSES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "ThresholdedReLU": "ReLU",
    "LossScaleOptimizerV3": "LossScaleOptimizer",
}
# Arguments by the class (a pattern) that had them: their name now, None where they say
# nothing today.
_ARGUMENTS: tuple[tuple[str, dict[str, str | None]], ...] = (
    ("LeakyReLU", {"alpha": "negative_slope"}),
    ("SpatialDropout.D", {"noise_shape": None}),
    ("Random.*", {"rng_type": None, "force_generator": None}),
    ("ReLU", {"theta": "threshold"}),
    ("Embedding", {"input_length": None}),
    ("(Depthwise|Separable)Conv.D|Conv.DTranspose", {"groups": None}),
    (
        "SeparableConv.D",
        {
            "kernel_initializer": None,
            "kernel_regularizer": None,
            "kernel_constraint": None,
        },
    ),
    ("BatchNormalization", {"fused": None, "virtual_batch_size": None}),
    (
        "MultiHeadAttention",
        {
            "query_shape": None,
            "key_shape": None,
            "value_shape": None,
            "softmax_robust_masking": None,
        },
    ),
    ("Lambda", {"module": None, "function_type": None, "output_shape_module": None}),
    ("CategoryEncoding", {"max_tokens": "num_tokens"}),
)
# Those of all layers, and of all objects of other rooms.
_EVERYWHERE: dict[str, dict[str, str | None]] = {
    "layers": {"batch_input_shape": None, "time_major": None},
    "initializers": {"dtype": None},
    "losses": {"fn": None},
    "metrics": {"fn": None},
    "optimizers": {
        "lr": "learning_rate",
        "jit_compile": None,
        "is_legacy_optimizer": None,
        "schedule_decay": None,
        "dynamic": None,
    },
}


def modern_model(config: Any) -> Config:
    """The `model_config` of a `.h5` file as `config.json` would have it.

    >>> old = {"class_name": "LeakyReLU", "config": {"alpha": 0.5}}
    >>> modern_model(old)["config"]
    {'negative_slope': 0.5}
    """
    if not (isinstance(config, dict) and isinstance(config.get("class_name"), str)):
        raise ValueError("it has no `class_name`")
    return _object(config, "layers")


def modern_compile(training: Any) -> Config:
    """The `training_config` of a `.h5` file as the arguments of `compile`.

    >>> sgd = {"class_name": "SGD", "config": {"lr": 0.5}}
    >>> modern_compile({"optimizer_config": sgd})["optimizer"]["config"]
    {'learning_rate': 0.5}
    """
    made = dict(training)
    optimizer = made.pop("optimizer_config", None)
    made["optimizer"] = _translate(optimizer, "optimizers")
    for name, room in _COMPILED.items():
        if made.get(name) is not None:
            made[name] = _functions(_translate(made[name], room))
    return made


_COMPILED = {"loss": "losses", "metrics": "metrics", "weighted_metrics": "metrics"}


def _functions(value: Any) -> Any:
    """Names of losses and metrics, which may be the user's own functions."""
    if isinstance(value, list):
        # A list for each output; None in it is no metric.
        lists = [x if not isinstance(x, list) else _named(x) for x in value]
        return [_functions(item) for item in lists]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _functions(item) for key, item in value.items()}
    return _function(value) if isinstance(value, str) else value


def _named(items: list[Any]) -> list[Any]:
    return [item for item in items if item is not None]


def _function(name: str) -> Config:
    return {"class_name": "function", "config": name, "registered_name": "function"}


# --- Objects --------------------------------------------------------------------------


def _translate(value: Any, room: str) -> Any:
    if isinstance(value, list):
        return [_translate(item, room) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return _translate(value["items"], room)
    if isinstance(value.get("class_name"), str) and "config" in value:
        return _object(value, room)
    return {key: _translate(item, _room(key, room)) for key, item in value.items()}


def _room(argument: str, room: str) -> str:
    """Where an object in this argument of an object of `room` belongs."""
    ends = (found for end, found in _ROOMS.items() if argument.endswith(end))
    return next(ends, room)


def _object(config: Config, room: str) -> Config:
    name: str = config["class_name"]
    inner: Any = config["config"]
    if name.startswith("__") or name == "function":
        return config
    if name in ("Policy", "PolicyV1") and isinstance(inner, dict):
        return inner["name"]
    made = {key: value for key, value in config.items() if key not in _REPLACED}
    package, _, short = name.rpartition(">")
    if package:
        made["registered_name"] = name
        # What nobody gave a package was put into this one, Keras' own classes too.
        name = short if package == "Custom" else name
    made.setdefault("module", f"keras.{room}")
    name = _CLASSES.get(name, name)
    if isinstance(inner, list) or "layers" in inner:
        chain = name == "Sequential"
        name = "Functional" if name in ("Model", "Network") else name
        inner = _chain(inner) if chain else _graph(inner)
    else:
        # A copy: the config of one layer may stand in several places.
        inner = _renamed(name, dict(inner), room)
        inner = {k: _translate(v, _room(k, room)) for k, v in inner.items()}
    made |= {"class_name": name, "config": inner}
    return made


# Layers are built when they are called.
_REPLACED = ("class_name", "config", "inbound_nodes", "build_config")


def _renamed(name: str, config: Config, room: str) -> Config:
    tables = [table for cls, table in _ARGUMENTS if re.fullmatch(cls, name)]
    if config.get("time_major"):
        raise ValueError(
            f"{name} `{config.get('name')}` has time_major=True, which Keras 3 left "
            "out: its inputs are (batch, time, ...)"
        )
    wraps = name in ("MeanMetricWrapper", "LossFunctionWrapper")
    if wraps and isinstance(config.get("fn"), str):
        config["fn"] = _function(config["fn"])
    elif not wraps:
        tables.append(_EVERYWHERE.get(room, {}))
    if (fix := _FIXES.get(name) or _FIXES.get(room)) is not None:
        fix(config)
    for old, new in ((k, v) for table in tables for k, v in table.items()):
        if old in config:
            value = config.pop(old)
            if new is not None:
                config.setdefault(new, value)
    return config


def _fix_batch_normalization(config: Config) -> None:
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _fix_gru(config: Config) -> None:
    config.setdefault("reset_after", False)  # there was no other way at first


def _fix_input(config: Config) -> None:
    if "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")


def _fix_lambda(config: Config) -> None:
    """Code is marked as such, which safe mode refuses; a name is that of a function."""
    function = config.get("function")
    if isinstance(function, list):
        code = dict(zip(("code", "defaults", "closure"), function, strict=False))
        config["function"] = {"class_name": "__lambda__", "config": code}
    elif isinstance(function, str):
        config["function"] = _function(function)
    if config.pop("output_shape_type", "raw") != "raw":
        del config["output_shape"]  # shapes are found by tracing


def _fix_loss(config: Config) -> None:
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"


def _fix_optimizer(config: Config) -> None:
    if config.get("epsilon", 1) is None:
        del config["epsilon"]
    rate = config.get("learning_rate", config.get("lr"))
    if (decay := config.pop("decay", 0.0)) and isinstance(rate, float | int):
        config["learning_rate"] = {
            "class_name": "InverseTimeDecay",
            "config": {
                "initial_learning_rate": rate,
                "decay_steps": 1,
                "decay_rate": decay,
            },
        }


_FIXES: dict[str, Callable[[Config], None]] = {
    "BatchNormalization": _fix_batch_normalization,
    "GRU": _fix_gru,
    "GRUCell": _fix_gru,
    "InputLayer": _fix_input,
    "Lambda": _fix_lambda,
    "losses": _fix_loss,
    "optimizers": _fix_optimizer,
}


# --- Models ---------------------------------------------------------------------------


def _chain(config: Any) -> Config:
    """A Sequential model, with the input that its first layer may only hint at."""
    made = dict(config) if isinstance(config, dict) else {"layers": config}
    layers = made["layers"]
    shape = _input_shape(layers[0]) if layers else None
    made["layers"] = [_object(layer, "layers") for layer in layers]
    if shape is not None:
        inner = layers[0]["config"]
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        known = dtype if isinstance(dtype, str) else "float32"
        made["layers"].insert(0, _input(shape, known))
    return made


def _input(shape: Any, dtype: str) -> Config:
    inner = {"batch_shape": shape, "dtype": dtype}
    return {"module": "keras.layers", "class_name": "InputLayer", "config": inner}


def _input_shape(layer: Config) -> Any:
    """The shape of the input of a first layer which is not an input itself."""
    inner = layer["config"]
    if layer["class_name"] == "Sequential":
        inside = inner if isinstance(inner, list) else inner["layers"]
        return _input_shape(inside[0]) if inside else None
    if layer["class_name"] == "InputLayer" or not isinstance(inner, dict):
        return None
    return inner.get("batch_input_shape")


def _graph(config: Any) -> Config:
    """A functional model: the calls of its layers in the form of today."""
    layers = config["layers"]
    first = _first_calls(config)
    made = []
    for layer in layers:
        name, calls = layer["name"], layer["inbound_nodes"]
        old = [call for call in calls if not _is_modern(call)]
        read = [_call(layer, call, first) for call in old] or calls
        if layer["class_name"] in _TENSORFLOW:
            new = _operation(layer, read)
        elif _is_operation(layer):
            new = layer | {"module": _OPERATIONS, "registered_name": None}
        else:
            new = _object(layer, "layers") | {"inbound_nodes": read}
        made.append(new | {"name": name})
    ends = {
        # Keras 3 counts the calls of a functional model from 1 in this place alone.
        name: _is_model(layer) - first.get(name, 0)
        for name, layer in ((layer["name"], layer) for layer in layers)
    }
    calls = [call for layer in layers for call in layer["inbound_nodes"]]
    modern = all(map(_is_modern, calls))

    def end(reference: Any) -> Any:
        if isinstance(reference, dict):
            return {key: end(value) for key, value in reference.items()}
        if not _is_reference(reference):
            return [end(item) for item in reference]
        name, call, output = reference[:3]
        return [name, call if modern else call + ends.get(name, 0), output]

    def unwrap(references: Any) -> Any:
        alone = isinstance(references, list) and len(references) == 1
        return references[0] if alone and not modern else references

    return {
        **config,
        "layers": made,
        "input_layers": end(unwrap(config["input_layers"])),
        "output_layers": end(unwrap(config["output_layers"])),
    }


def _is_modern(call: Any) -> bool:
    return isinstance(call, dict) and call.keys() == {"args", "kwargs"}


def _is_operation(layer: Config) -> bool:
    """Whether Keras 3 meant an operation, `x * 2`, where it gave no module."""
    inner = layer["config"]
    known = "module" in layer or layer["class_name"] == "InputLayer"
    bare = isinstance(inner, dict) and "name" in inner and "trainable" not in inner
    return bare and not known and all(map(_is_modern, layer["inbound_nodes"]))


def _is_reference(value: Any) -> bool:
    """Whether this is `[layer, call, output]`, with keywords or without."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _is_model(layer: Config) -> bool:
    inner = layer["config"]
    graph = isinstance(inner, dict) and "layers" in inner
    return graph and layer["class_name"] != "Sequential"


def _first_calls(config: Config) -> dict[str, int]:
    """The numbers from which the calls of models inside this one are counted.

    A model that knows its input when it is made is its own first call in Keras 2.
    """
    calls = {layer["name"]: layer["inbound_nodes"] for layer in config["layers"]}
    models = {
        layer["name"]
        for layer in config["layers"]
        if isinstance(layer["config"], list) or "layers" in layer["config"]
    }
    used: dict[str, list[int]] = {name: [] for name in models}
    for name, call, *_ in _references([config["output_layers"], list(calls.values())]):
        if name in used:
            used[name].append(call)
    return {name: 0 if 0 in found or not found else 1 for name, found in used.items()}


def _references(value: Any) -> Iterator[list[Any]]:
    """All references in a structure, those in keywords included."""
    if _is_reference(value):
        yield value
        value = value[3:]
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _call(layer: Config, call: Any, first: dict[str, int]) -> Config:
    """One call of a layer: what it was given, in order and by keyword."""
    kwargs: Config = {}

    def tensor(reference: list[Any]) -> Any:
        name, number, output, *rest = reference
        kwargs.update(rest[0] if rest and rest[0] else {})
        if name == "_CONSTANT_VALUE":
            return output
        history = [name, number - first.get(name, 0), output]
        inner = {"shape": None, "dtype": None, "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": inner}

    def read(value: Any) -> Any:
        if _is_reference(value):
            return tensor(value)
        if isinstance(value, dict):
            return {key: read(item) for key, item in value.items()}
        return [read(item) for item in value] if isinstance(value, list) else value

    args = read(call)
    if isinstance(args, list) and len(args) == 1:
        args = args[0]
    given = {k: read(v) for k, v in dict(kwargs).items() if v is not None}
    if isinstance(args, list) and layer["class_name"] in _RECURRENT:
        args, *states = args
        given.setdefault("initial_state", states)
    return {"args": [args], "kwargs": given}


_RECURRENT = {
    *("RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
}


# --- Functions of TensorFlow ----------------------------------------------------------

_OPERATIONS = "keras.src.ops.numpy"  # or any module of them: names are unique
_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_REDUCED = {"axis": "axis", "keepdims": "keepdims"}
# The operation that a function is today, and the names of its arguments.
_FUNCTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "argmax": ("Argmax", {"axis": "axis"}),
    "bias_add": ("Add", {"bias": "x2"}),
    "cast": ("Cast", {"dtype": "dtype"}),
    "clip_by_value": ("Clip", {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "concat": ("Concatenate", {"axis": "axis"}),
    "cumsum": ("Cumsum", {"axis": "axis"}),
    "expand_dims": ("ExpandDims", {"axis": "axis"}),
    "gather": ("Take", {"indices": "indices", "axis": "axis"}),
    "gelu": ("Gelu", {"approximate": "approximate"}),
    "getitem": ("GetItem", {"slice_spec": "key"}),
    "l2_normalize": ("Normalize", {"axis": "axis"}),
    "leaky_relu": ("LeakyRelu", {"alpha": "negative_slope"}),
    "matmul": ("Matmul", {"b": "x2"}),
    "one_hot": ("OneHot", {"depth": "num_classes", "axis": "axis"}),
    "pad": ("Pad", {"paddings": "pad_width", "constant_values": "constant_values"}),
    "reduce_max": ("Max", _REDUCED),
    "reduce_mean": ("Mean", _REDUCED),
    "reduce_min": ("Min", _REDUCED),
    "reduce_prod": ("Prod", _REDUCED),
    "reduce_sum": ("Sum", _REDUCED),
    "reshape": ("Reshape", {"shape": "newshape"}),
    "resize": ("Resize", {"size": "size", "method": "interpolation"}),
    "softmax": ("Softmax", {"axis": "axis"}),
    "split": ("Split", {"num_or_size_splits": "indices_or_sections", "axis": "axis"}),
    "squeeze": ("Squeeze", {"axis": "axis"}),
    "stack": ("Stack", {"axis": "axis"}),
    "tile": ("Tile", {"multiples": "repeats"}),
    "transpose": ("Transpose", {"perm": "axes"}),
    "where": ("Where", {"x": "x1", "y": "x2"}),
}
_FUNCTIONS |= {
    name: (operation, {"y": "x2"})
    for name, operation in {
        "add": "Add",
        "subtract": "Subtract",
        "sub": "Subtract",
        "multiply": "Multiply",
        "mul": "Multiply",
        "divide": "Divide",
        "truediv": "TrueDivide",
        "floordiv": "FloorDivide",
        "pow": "Power",
        "maximum": "Maximum",
        "minimum": "Minimum",
        "equal": "Equal",
        "not_equal": "NotEqual",
        "greater": "Greater",
        "greater_equal": "GreaterEqual",
        "less": "Less",
        "less_equal": "LessEqual",
    }.items()
}
_FUNCTIONS |= {
    name: (name.capitalize(), {})
    for name in "relu relu6 sigmoid tanh elu selu silu softplus exp log sqrt rsqrt "
    "square sin cos floor round erf reciprocal".split()
}
_FUNCTIONS |= {"abs": ("Absolute", {}), "negative": ("Negative", {})}


def _operation(layer: Config, calls: list[Config]) -> Config:
    """A function of TensorFlow between two layers as an operation of Keras 3."""
    inner = layer["config"]
    function = str(inner.get("function", inner.get("node_def")))
    name, known = _FUNCTIONS.get(function.rpartition(".")[2], (None, {}))
    wrong = "" if name else " and is not known here"
    for call in calls:
        given = call["kwargs"]
        taken = {known[k]: _value(k, v) for k, v in given.items() if k in known}
        call["kwargs"] = taken
        if name == "Gelu":
            taken.setdefault("approximate", False)
        for key, value in given.items():
            if key not in known and key not in _SILENT and value not in _NOTHING:
                wrong = wrong or f" with {key}={show(value)}, which is not known here"
    if wrong:
        raise ValueError(
            f"its layer `{layer['name']}` calls TensorFlow's function "
            f"{show(function)[1:-1]}{wrong}; put a layer of Keras in its place"
        )
    return {
        "module": _OPERATIONS,
        "class_name": name,
        "config": {"name": layer["name"]},
        "registered_name": name,
        "inbound_nodes": calls,
    }


_SILENT = ("name", "out_type", "preserve_aspect_ratio")
_NOTHING = (None, False, 0, "CONSTANT")


def _value(key: str, value: Any) -> Any:
    """What stands for dtypes and slices in keywords of functions."""
    if key == "dtype" and isinstance(value, str):
        return (re.findall(r"\w+", value) or [value])[-1]  # <dtype: 'float16'>
    if key != "slice_spec":
        return value
    return [_part_of_key(part) for part in value] if isinstance(value, list) else value


def _part_of_key(part: Any) -> Any:
    if isinstance(part, dict) and part.keys() == {"start", "stop", "step"}:
        return {"class_name": "__slice__", "config": part}
    ellipsis = isinstance(part, dict) and part.get("class_name") == "__ellipsis__"
    if ellipsis or part == "Ellipsis":
        return {"class_name": "__ellipsis__", "config": {}}
    return part
