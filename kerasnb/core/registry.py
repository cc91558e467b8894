"""Which class a name in a file stands for: the package's own, and the user's.

Files name a class by `module`, `class_name` and `registered_name`. Classes of this
package are found under Keras' public module (`kerasnb.layers.conv.Conv2D` is
`keras.layers` / `Conv2D`); users' classes under the name they registered. Nothing is
ever imported because a file says so.
"""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, Self, TypeVar

from kerasnb.core.errors import suggest

T = TypeVar("T")

_PACKAGE = "kerasnb"
# Classes that Keras files keep outside the module of their room.
_MODULES = {
    "Sequential": "keras",
    "Model": "keras",
    "Functional": "keras.src.models.functional",
    "DTypePolicy": "keras",
    "FloatDTypePolicy": "keras",
    "Quantizer": "keras",
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
    "LayerScale": "keras.src.applications.convnext",
    "StochasticDepth": "keras.src.applications.convnext",
    "Cross": "keras.src.layers.preprocessing.feature_space",
    "Feature": "keras.src.layers.preprocessing.feature_space",
    "TFDConcat": "keras.src.layers.preprocessing.feature_space",
    "TFDIdentity": "keras.src.layers.preprocessing.feature_space",
}

_library: dict[tuple[str, str], Any] = {}
_custom: dict[str, Any] = {}
_custom_names: dict[Any, str] = {}
_scope: ContextVar[Mapping[str, Any]] = ContextVar(
    "custom_objects", default=MappingProxyType({})
)
_unsafe = ContextVar("unsafe_deserialization", default=False)
_unsafe_everywhere = False


def room_of(module: str) -> str:
    """The room of a module: `kerasnb.layers.conv` and `keras.layers` -> `layers`."""
    parts = [p for p in module.split(".") if p not in ("keras", _PACKAGE, "src")]
    if parts[:2] == ["optimizers", "schedules"]:
        return "optimizers.schedules"
    return parts[0] if parts else ""


def is_library(obj: Any) -> bool:
    """Whether a class or function belongs to this package."""
    return (getattr(obj, "__module__", "") or "").partition(".")[0] == _PACKAGE


def add_library_class(cls: type) -> None:
    """Make a class of this package known under its room and name."""
    _library[room_of(cls.__module__), cls.__name__] = cls


def module_name(obj: Any) -> str | None:
    """The `module` a file gives for a class: Keras' public one, None for a user's."""
    if not is_library(obj):
        return None if obj in _custom_names else obj.__module__
    return _MODULES.get(obj.__name__, f"keras.{room_of(obj.__module__)}")


def find_class(module: str | None, name: str, registered: str | None) -> type:
    """The class that a file's `module`, `class_name`, `registered_name` stand for."""
    for key in (registered, name):
        if key is not None and (found := get_registered_object(key)) is not None:
            return found
    if module is None or module.partition(".")[0] == "keras":
        room = room_of(module or "")
        found = _library.get((room, name))
        elsewhere = room in ("", "models", "engine", "legacy") or name in _MODULES
        if found is None and elsewhere:
            found = next((c for (_, n), c in _library.items() if n == name), None)
        if found is not None:
            return found
    known = [*_custom, *_scope.get(), *(n for _, n in _library)]
    raise TypeError(
        f"The file names a class `{registered or name}` that is not known here."
        f"{suggest(name, known)} If it is yours, pass custom_objects={{'{name}': "
        f"{name}}} or decorate it with @keras.saving.register_keras_serializable()."
    )


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[T], T]:
    """Decorate a class or function so that files can name it `package>name`.

    >>> @register_keras_serializable("docs")
    ... def double(x):
    ...     return 2 * x
    >>> get_registered_name(double)
    'docs>double'
    """

    def register(obj: T) -> T:
        own_name = getattr(obj, "__name__", str(obj))
        registered = f"{package}>{name or own_name}"
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ValueError(
                f"{own_name} cannot be registered: it has no get_config() method."
            )
        _custom[registered] = obj
        _custom_names[obj] = registered
        return obj

    return register


def get_registered_name(obj: Any) -> str:
    """The name a class or function was registered under, else its own name."""
    return _custom_names.get(obj, getattr(obj, "__name__", str(obj)))


def get_registered_object(
    name: str,
    custom_objects: dict[str, Any] | None = None,
    module_objects: dict[str, Any] | None = None,
) -> Any:
    """The class or function registered under `name`, or None."""
    for table in (_scope.get(), _custom, custom_objects or {}, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """The table of the user's registered classes and functions; may be changed."""
    return _custom


class CustomObjectScope:
    """Let files name the given classes and functions while the scope is open.

    >>> class Own:
    ...     pass
    >>> with CustomObjectScope({"Own": Own}):
    ...     get_registered_object("Own").__name__
    'Own'
    """

    def __init__(self, custom_objects: dict[str, Any] | None) -> None:
        self.custom_objects = custom_objects or {}
        self._tokens: list[Token] = []

    def __enter__(self) -> Self:
        self._tokens.append(_scope.set({**_scope.get(), **self.custom_objects}))
        return self

    def __exit__(self, *error: object) -> None:
        _scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope


def enable_unsafe_deserialization() -> None:
    """Allow files to bring Python code (lambdas) along; trust every file you open."""
    global _unsafe_everywhere
    _unsafe_everywhere = True


def disable_unsafe_deserialization() -> None:
    """Refuse files that bring Python code along; the default."""
    global _unsafe_everywhere
    _unsafe_everywhere = False


@contextmanager
def safe_mode(safe: bool) -> Iterator[None]:
    """Refuse (True) or allow (False) code from files while the scope is open."""
    token = _unsafe.set(not safe)
    try:
        yield
    finally:
        _unsafe.reset(token)


def code_is_allowed() -> bool:
    """Whether a file may bring Python code along at this moment."""
    return _unsafe.get() or _unsafe_everywhere


def is_lambda(obj: Any) -> bool:
    """Whether `obj` is a function without a name of its own."""
    return isinstance(obj, types.FunctionType) and obj.__name__ == "<lambda>"
