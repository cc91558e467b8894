"""`Lambda`: any function as a layer, and functions without a name in files.

A Python lambda has no name that a file could give, so Keras writes its compiled code.
Reading that back runs whatever the author of the file put there: it is refused unless
`keras.config.enable_unsafe_deserialization()` or `safe_mode=False` allows it.
"""

import binascii
import codecs
import inspect
import marshal
import sys
import types
from collections.abc import Callable
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from kerasnb import ops
from kerasnb.core import registry
from kerasnb.core.configurable import (
    add_value_kind,
    deserialize,
    serialize,
    serialize_function,
)
from kerasnb.core.errors import check
from kerasnb.core.graph import OPS
from kerasnb.layers.layer import Layer


class Lambda(Layer):
    """`function(inputs, **arguments)` as a layer without weights.

    The function may also take `mask` and `training`. `output_shape` is only kept for
    files; shapes are found by tracing. `mask` is the mask of the outputs, or a function
    `(inputs, mask) -> mask`. A function with a name is saved by that name; better still
    is a subclass of `Layer`.

    Shapes: those of the function.

    >>> Lambda(lambda x: x**2)(jnp.array([3.0])).tolist()
    [9.0]
    """

    def __init__(
        self,
        function: Callable,
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(function, str):
            function = _named(function)
        check(callable(function), "Lambda", "function", function, "a function")
        super().__init__(**kwargs)
        self.function = function
        self.arguments = arguments or {}
        self.mask = mask
        self.supports_masking = mask is not None
        self._output_shape = output_shape
        # Without an inspectable signature (some built-in functions) it takes neither.
        try:
            known = set(inspect.signature(function).parameters)
        except ValueError:
            known = set()
        self._takes = [name for name in ("mask", "training") if name in known]

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """The value of the function."""
        given = {"mask": mask, "training": training}
        extra = {name: given[name] for name in self._takes}
        return self.function(inputs, **self.arguments, **extra)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """What `mask` is or returns."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; lambdas as their compiled code."""
        config = super().get_config()
        for name in ("function", "output_shape", "mask"):
            value: Any = self._config.get(name)
            if registry.is_lambda(value):
                code, defaults, closure = _dump(value)
                config[name] = {
                    "class_name": "__lambda__",
                    "config": {
                        "code": code,
                        "defaults": serialize(defaults),
                        "closure": serialize(closure),
                    },
                }
            elif name != "function" and value is None:
                del config[name]
        config["arguments"] = serialize(self.arguments)
        return config

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Self:
        """A layer from `get_config()`; code is only read with `safe_mode=False`."""
        safe = not registry.code_is_allowed() if safe_mode is None else safe_mode
        with registry.custom_object_scope(custom_objects), registry.safe_mode(safe):
            return super().from_config(config)


def _named(name: str) -> Callable:
    found = OPS.get(name)
    if found is None:
        raise ValueError(
            f"Lambda: the function `{name}` is not known here; pass "
            f"custom_objects={{'{name}': {name}}} or decorate it with "
            "@keras.saving.register_keras_serializable()."
        )
    return found


# --- Python code in files -------------------------------------------------------------


def _dump(function: types.FunctionType) -> tuple[str, Any, Any]:
    """The code of a function as text, its defaults and what it closes over."""
    code = codecs.encode(marshal.dumps(function.__code__), "base64").decode("ascii")
    cells = function.__closure__
    closure = tuple(cell.cell_contents for cell in cells) if cells else None
    return code, function.__defaults__, closure


def _load(config: dict[str, Any]) -> types.FunctionType:
    """The function whose code a config brings along, if that is allowed."""
    if not registry.code_is_allowed():
        raise ValueError(
            "The file brings a Python lambda along, whose code could do anything. If "
            "you trust the file, load it with safe_mode=False or call "
            "keras.config.enable_unsafe_deserialization() first."
        )
    inner = config["config"]
    if "value" in inner:
        text, defaults, closure = inner["value"]
    else:
        text, defaults, closure = inner["code"], inner["defaults"], inner["closure"]
    try:
        code = marshal.loads(codecs.decode(text.encode("ascii"), "base64"))
    except (binascii.Error, EOFError, TypeError, ValueError) as error:
        raise ValueError(
            "The Python lambda in the file cannot be read; it was probably written by "
            f"another version of Python than {sys.version.split()[0]}. Give the "
            "function a name, and load the file with custom_objects={name: function}."
        ) from error
    defaults = None if defaults is None else tuple(deserialize(list(defaults)))
    cells = None
    if closure is not None:
        cells = tuple(types.CellType(value) for value in deserialize(list(closure)))
    package = sys.modules.get(__name__.partition(".")[0])
    known = {"keras": package, "kerasnb": package, "ops": ops, "jnp": jnp, "np": np}
    return types.FunctionType(code, known, code.co_name, defaults, cells)


def _write(function: types.FunctionType) -> Any:
    if not registry.is_lambda(function):
        return serialize_function(function)
    value = [serialize(part) for part in _dump(function)]
    return {"class_name": "__lambda__", "config": {"value": value}}


add_value_kind(types.FunctionType, _write, "__lambda__", _load)
