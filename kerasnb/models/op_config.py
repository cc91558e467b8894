"""Single operations of a functional model (`x * 2`, `ops.sum(x)`) in Keras' files.

Keras keeps an operation as a class: `ops.sum` is `keras.src.ops.numpy.Sum`, whose
constructor takes the settings (`axis`) and whose call takes the operands (`x`). Here an
operation is a function that takes both. The names of its parameters tell them apart.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasnb import activations
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.errors import show, suggest
from kerasnb.core.graph import OPS, Node, OpCall, op
from kerasnb.ops import (
    arrange,
    convolution,
    core,
    image,
    linalg,
    math,
    nn,
    numpy,
    pooling,
    signal,
)

# Parameters that are given in a call; all others are settings of the operation.
_OPERANDS = frozenset(
    "x x1 x2 xs y a array images inputs kernel depthwise_kernel pointwise_kernel "
    "target targets output predictions y_true y_pred condition condlist choicelist "
    "default indices values updates start_indices data segment_ids sorted_sequence "
    "variable query key value bias mask scale q bins fill_value start stop step "
    "weights constant_values mean variance offset index branches operands pred "
    "true_fn false_fn init_val loop_vars elements elems f init".split()
)
# The operands of operations that use these names in another way.
_IRREGULAR: dict[str, tuple[str, ...]] = {
    "bincount": ("x",),
    "cdist": ("x", "y"),
    "ctc_decode": ("inputs", "sequence_lengths"),
    "affine_transform": ("images", "transform"),
    "ctc_loss": ("target", "output", "target_length", "output_length"),
    "diagonal": ("x",),
    "elastic_transform": ("images",),
    "histogram": ("x",),
    "isclose": ("x1", "x2", "rtol", "atol"),
    "layer_normalization": ("x", "gamma", "beta"),
    "jvp": ("fun", "primals", "tangents"),
    "lstsq": ("a", "b"),
    "map_coordinates": ("inputs", "coordinates"),
    "perspective_transform": ("images", "start_points", "end_points"),
    "polar": ("abs_", "angle"),
    "resize": ("images",),
    "scale_and_translate": ("images", "output_shape", "scale", "translation"),
    "solve": ("a", "b"),
    "solve_triangular": ("a", "b"),
    "ssim": ("image1", "image2"),
    "trace": ("x",),
    "trapezoid": ("y",),
    "unique": ("x",),
}
# Names of Keras' classes that are not the function's in camel case.
_CLASSES = {
    "allclose": "AllClose",
    "batch_normalization": "BatchNorm",
    "cdist": "CDist",
    "ctc_decode": "CTCDecode",
    "ctc_loss": "CTCLoss",
    "isin": "IsIn",
    "layer_normalization": "LayerNorm",
    "hsv_to_rgb": "HSVToRGB",
    "psnr": "PSNR",
    "rgb_to_grayscale": "RGBToGrayscale",
    "rgb_to_hsv": "RGBToHSV",
    "rms_normalization": "RMSNorm",
    "searchsorted": "SearchSorted",
}
_CLASSES |= {
    name: name.upper()
    for name in "fft fft2 ifft2 irfft istft jvp rfft ssim stft svd".split()
}
# Second names of classes, found in files.
_ALIASES = {
    "Abs": "Absolute",
    "BitwiseNot": "BitwiseInvert",
    "Conj": "Conjugate",
    "LeftShift": "BitwiseLeftShift",
    "RightShift": "BitwiseRightShift",
}
# Where operations live here, and where in Keras; the later import from the earlier.
_ROOMS = (
    (core, "core"),
    (math, "math"),
    (numpy, "numpy"),
    (arrange, "numpy"),
    (nn, "nn"),
    (convolution, "nn"),
    (pooling, "nn"),
    (linalg, "linalg"),
    (signal, "math"),
    (image, "image"),
)


@op
def convert_to_tensor(
    x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None
) -> Any:
    """The array itself: placeholders need no conversion, but Keras' files have it."""
    return core.convert_to_tensor(x, dtype)


class _Directory:
    """Which function is which class of Keras, both ways."""

    def __init__(self) -> None:
        self.place: dict[Callable, tuple[str, str]] = {}
        self.function: dict[str, Callable] = {}
        self.add(convert_to_tensor, "keras.src.ops.core")
        self.add(core.array, "keras.src.ops.numpy")
        self.add(linalg.logdet, "keras.src.ops.math")
        for module, room in _ROOMS:
            for name, fn in vars(module).items():
                is_op = hasattr(fn, "__wrapped__") and OPS.get(fn.__name__) is not None
                if is_op and fn.__name__ == name:
                    self.add(fn, f"keras.src.ops.{room}")
        self.add(activations.softmax, "keras.src.ops.nn")
        self.add(activations.gelu, "keras.src.ops.nn")
        self.add(activations.relu, "keras.src.activations.activations", "ReLU")
        for alias, name in _ALIASES.items():
            self.function[alias] = self.function[name]

    def add(self, fn: Callable, module: str, name: str | None = None) -> None:
        name = name or _camel(fn)
        self.place.setdefault(fn, (module, name))
        self.function.setdefault(name, fn)


def _camel(fn: Callable) -> str:
    name = fn.__name__
    return _CLASSES.get(name, "".join(part.capitalize() for part in name.split("_")))


@functools.cache
def directory() -> _Directory:
    """The one directory, made when it is first needed."""
    return _Directory()


def place_of(fn: Callable) -> tuple[str, str]:
    """The module and the class by which files name an operation.

    Losses and metrics called on placeholders are single operations here and several in
    Keras; they are written under a name that only this package reads.
    """
    return directory().place.get(fn) or (fn.__module__, _camel(fn))


def is_operation(config: dict[str, Any]) -> bool:
    """Whether a layer of a file's graph is a single operation."""
    module = config.get("module") or ""
    own = module.partition(".")[0] == "kerasnb"
    return own or module.startswith(("keras.src.ops", "keras.src.activations"))


def operands(fn: Callable) -> tuple[str, ...]:
    """The parameters that a call of Keras' class takes, in their order."""
    known = _IRREGULAR.get(fn.__name__, _OPERANDS)
    return tuple(n for n in inspect.signature(fn).parameters if n in known)


def call_arguments(node: Node) -> tuple[list[Any], dict[str, Any]]:
    """The operands of a call, as its inbound node lists them."""
    fn, given = _function(node), _bind(node)
    args: list[Any] = []
    for name in operands(fn):
        if inspect.signature(fn).parameters[name].kind is _REST:
            args.extend(given[name])
        else:
            args.append(given[name])
    if fn.__name__ == "get_item" and isinstance(args[1], list):
        args[1] = np.asarray(args[1])  # a list in a file is a tuple
    return args, {}


def write(operation: OpCall) -> dict[str, Any]:
    """An operation as a file describes it, without its calls."""
    fn = operation.fn
    module, name = place_of(fn)
    settings = {
        k: serialize(v, f"ops.{fn.__name__}({k}=...)")
        for k, v in _bind(operation._inbound_nodes[0]).items()
        if k not in operands(fn)
    }
    return {
        "module": module,
        "class_name": name,
        "config": {"name": operation.name, **settings},
        "registered_name": name,
    }


def _function(node: Node) -> Callable:
    assert isinstance(node.operation, OpCall)
    return node.operation.fn


def _bind(node: Node) -> dict[str, Any]:
    bound = inspect.signature(_function(node)).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    extra = given.pop("kwargs", {})
    return {**given, **extra}


def read(config: dict[str, Any]) -> OpCall:
    """The operation that a file describes."""
    name = config["class_name"]
    known = dict(directory().function)
    if not config["module"].startswith("keras."):
        known = {_camel(f): f for f in OPS.values() if f.__module__ == config["module"]}
    if name not in known:
        raise ValueError(
            f"The file uses the operation {name}, which is not known here."
            f"{suggest(name, known)}"
        )
    return OpCall(known[name], config["config"].get("name"))


def recall(
    config: dict[str, Any], fn: Callable, args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The function's own arguments, for the settings and one call in a file."""
    parameters = inspect.signature(fn).parameters
    variadic = next((p.name for p in parameters.values() if p.kind is _REST), None)
    settings = {k: deserialize(v) for k, v in config["config"].items() if k != "name"}
    for name in [k for k in settings if k not in parameters]:
        # A setting of another version of Keras is no matter while it says nothing.
        if (value := settings.pop(name)) not in (None, False):
            raise ValueError(
                f"The file gives {config['class_name']} the setting `{name}` = "
                f"{show(value)}, which is not known here."
            )
    names = [name for name in operands(fn) if name != variadic]
    given = {**settings, **dict(zip(names, args, strict=False)), **kwargs}
    if fn.__name__ == "get_item" and isinstance(given["key"], list):
        given["key"] = tuple(given["key"])
    rest = args[len(names) :]
    if not rest:
        return [], given
    before = list(parameters)[: list(parameters).index(str(variadic))]
    return [*(given.pop(name) for name in before), *rest], given


_REST = inspect.Parameter.VAR_POSITIONAL
