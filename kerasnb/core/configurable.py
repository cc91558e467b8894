"""Objects that remember how they were made, and how they become plain data.

A `Configurable` binds the arguments of its constructor when it is created. From these
follow `get_config`, `from_config`, copies and files, without a line in the subclass.
`serialize` turns such an object into the dictionary that Keras' files hold;
`deserialize` reads it back.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Self, TypeVar

import numpy as np

from kerasnb.core import budget, registry
from kerasnb.core.errors import check, reject_unknown, show, suggest

R = TypeVar("R")


def per_class(fn: Callable[[Any], R]) -> Callable[[Any], R]:
    """Remember what `fn` answered for each class."""
    return cache(fn)


class Configurable:
    """An object whose configuration is the arguments of its constructor.

    For classes of this package an attribute named like the argument wins over the
    argument, so that `Conv2D(8, 3).get_config()["kernel_size"]` is `(3, 3)`.
    """

    _config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if registry.is_library(cls):
            registry.add_library_class(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Bind and remember the constructor's arguments."""
        self = super().__new__(cls)
        try:
            bound = constructor_signature(cls).bind(None, *args, **kwargs)
        except TypeError:
            # copy and pickle call __new__ bare; __init__ itself reports most mistakes.
            known = constructor_signature(cls).parameters
            if all(p.kind is not p.VAR_KEYWORD for p in known.values()):
                unknown = [name for name in kwargs if name not in known]
                reject_unknown(cls.__name__, unknown, list(known)[1:])
            object.__setattr__(self, "_config", {})
            return self
        bound.apply_defaults()
        object.__setattr__(self, "_config", _flatten(bound))
        _check_switches(cls, self._config)
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, for `from_config`."""
        own = constructor_is_ours(type(self))
        config = {}
        for name, value in self._config.items():
            if own and hasattr(self, name):
                value = getattr(self, name)
            config[name] = serialize(value, f"{type(self).__name__}({name}=...)")
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object like the one whose `get_config` returned `config`."""
        return cls(**{name: deserialize(value) for name, value in config.items()})


@per_class
def constructor_signature(cls: type) -> inspect.Signature:
    """The signature of `cls.__init__`, `self` included."""
    return inspect.signature(cls.__init__)  # type: ignore[misc]


@per_class
def constructor_is_ours(cls: type) -> bool:
    """Whether the constructor in force was written in this package."""
    owner = next(base for base in cls.__mro__ if "__init__" in base.__dict__)
    return registry.is_library(owner)


@per_class
def _switches(cls: type) -> tuple[str, ...]:
    """The arguments of our constructors that are either on or off."""
    if not constructor_is_ours(cls):
        return ()
    found = {
        name: None
        for base in cls.__mro__
        if registry.is_library(base) and "__init__" in base.__dict__
        for name, parameter in constructor_signature(base).parameters.items()
        if parameter.annotation is bool
        or (parameter.annotation is parameter.empty and type(parameter.default) is bool)
    }
    return tuple(found)


def _check_switches(cls: type, config: Mapping[str, Any]) -> None:
    """Refuse `use_bias="no"`, which would be on; 0, 1 and None are as in Keras."""
    for name in _switches(cls):
        value = config.get(name)
        if value is None or value is True or value is False or hasattr(value, "dtype"):
            continue
        good = isinstance(value, int | float) and value in (0, 1)
        check(good, cls.__name__, name, value, "True or False")


def _flatten(bound: inspect.BoundArguments) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, parameter in list(bound.signature.parameters.items())[1:]:
        value = bound.arguments[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            config |= value
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            config[name] = value
    return config


# --- Objects as plain data -----------------------------------------------------------

_LITERALS = (str, int, float, bool, type(None))


def serialize(obj: Any, where: str | None = None) -> Any:
    """`obj` as Keras' files hold it: literals, lists, dicts, tagged dicts for the rest.

    `where` names the argument in the error for something that cannot be written.
    """
    if isinstance(obj, _LITERALS):
        return obj
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, list) or type(obj) is tuple:
        items = [serialize(item, where) for item in obj]
        return tuple(items) if type(obj) is tuple else items
    if isinstance(obj, Mapping) and not isinstance(obj, Configurable):
        return {key: serialize(value, where) for key, value in obj.items()}
    for kind, write in _WRITERS:
        if isinstance(obj, kind):
            return write(obj)
    if hasattr(obj, "get_config"):
        return serialize_object(obj)
    if isinstance(obj, type(np.dtype("f4"))):
        return obj.name
    if hasattr(obj, "shape") and hasattr(obj, "dtype"):
        array = np.asarray(obj)
        tag = "__numpy__" if isinstance(obj, np.ndarray) else "__tensor__"
        value = {"value": array.tolist(), "dtype": str(array.dtype)}
        return {"class_name": tag, "config": value}
    if isinstance(obj, type):
        name = registry.get_registered_name(obj)
        return {"class_name": "__typespec__", "config": name, "registered_name": name}
    if callable(obj):
        return serialize_function(obj)
    place = f"{where}: " if where else ""
    raise TypeError(
        f"{place}{show(obj)} cannot be written to a config; give the class a "
        "get_config() method, or pass plain data."
    )


def serialize_object(obj: Any) -> dict[str, Any]:
    """An object with `get_config` as `module, class_name, config, registered_name`."""
    cls = type(obj)
    inner = obj.get_config()
    if not isinstance(inner, Mapping):
        raise TypeError(
            f"{cls.__name__}.get_config() must return a dict, not {show(inner)}."
        )
    config = {
        "module": registry.module_name(cls),
        "class_name": cls.__name__,
        "config": serialize(inner, f"{cls.__name__}.get_config()"),
        "registered_name": (
            None if registry.is_library(cls) else registry.get_registered_name(cls)
        ),
    }
    for extra in ("build_config", "compile_config"):
        get = getattr(obj, f"get_{extra}", None)
        if get is not None and (value := get()) is not None:
            config[extra] = serialize(value)
    if (scope := _sharing.get()) is not None and scope.writing:
        config[_NUMBER] = scope.number_of(obj)
    return config


def serialize_function(fn: Callable) -> Any:
    """A function of this package as its name, a user's as a tagged reference."""
    if registry.is_library(fn):
        return fn.__name__
    return {
        "module": "builtins",
        "class_name": "function",
        "config": registry.get_registered_name(fn),
        "registered_name": "function",
    }


def deserialize(config: Any) -> Any:
    """The object that `serialize` turned into `config`; other data as it is."""
    if type(config) in (list, tuple):
        return type(config)(deserialize(item) for item in config)
    if not isinstance(config, dict):
        return config
    name = config.get("class_name")
    if not isinstance(name, str) or "config" not in config:
        return {key: deserialize(value) for key, value in config.items()}
    if name in _READERS:
        return _READERS[name](config)
    return deserialize_object(config)


def deserialize_object(config: dict[str, Any]) -> Any:
    """Rebuild an object from `module, class_name, config, registered_name`."""
    scope, number = _sharing.get(), config.get(_NUMBER)
    if scope is not None and scope.writing:
        scope = None
    if scope is not None and number in scope.read:
        return scope.read[number]
    cls: Any = registry.find_class(
        config.get("module"), config["class_name"], config.get("registered_name")
    )
    try:
        obj = cls.from_config(config["config"])
    except Exception as error:
        _note_whose(error, config)
        raise
    if config.get("build_config") and hasattr(obj, "build_from_config"):
        obj.build_from_config(deserialize(config["build_config"]))
    if config.get("compile_config") and hasattr(obj, "compile_from_config"):
        obj.compile_from_config(config["compile_config"])
    if scope is not None and number is not None:
        scope.read[number] = obj
    return obj


def _note_whose(error: Exception, config: dict[str, Any]) -> None:
    """Note in an error which named object could not be made; `whose` reads it."""
    inner = config["config"]
    name = inner.get("name") if isinstance(inner, dict) else None
    # Not for what holds layers: the error is about one of them, or about all.
    if isinstance(name, str) and "layers" not in inner and not whose(error):
        error.whose = (config["class_name"], name)  # type: ignore[attr-defined]


def whose(error: Exception) -> tuple[str, str] | None:
    """Class and name of the object that could not be made, where that is known."""
    return getattr(error, "whose", None)


class _Sharing:
    """The objects met while one file is written or read.

    Not both: a layer that is read may describe and copy a part of its own, whose number
    would be that of another object in the file.
    """

    def __init__(self, writing: bool) -> None:
        self.writing = writing
        # Objects are kept with their ids: an id is free again when its object is gone.
        self.written: dict[int, tuple[int, Any]] = {}
        self.read: dict[Any, Any] = {}

    def number_of(self, obj: Any) -> int:
        """The number that all configs of this object carry."""
        return self.written.setdefault(id(obj), (len(self.written) + 1, obj))[0]


_sharing: ContextVar[_Sharing | None] = ContextVar("sharing", default=None)


@contextmanager
def sharing(writing: bool = False) -> Iterator[None]:
    """One file's worth of objects: one that occurs twice is the same when read back."""
    token = _sharing.set(_Sharing(writing))
    try:
        yield
    finally:
        _sharing.reset(token)


def serialize_shared(obj: Any) -> Any:
    """`serialize(obj)`, with a number on each object that occurs more than once."""
    with sharing(writing=True):
        config = serialize(obj)
    counts: Counter[int] = Counter()

    def count(item: Any) -> None:
        if isinstance(item, dict):
            counts.update([item[_NUMBER]] if _NUMBER in item else [])
            item = item.values()
        elif not isinstance(item, list | tuple):
            return
        for inner in item:
            count(inner)

    def keep_shared(item: Any) -> Any:
        if isinstance(item, dict):
            return {
                key: keep_shared(value)
                for key, value in item.items()
                if key != _NUMBER or counts[value] > 1
            }
        return [*map(keep_shared, item)] if isinstance(item, list | tuple) else item

    count(config)
    return keep_shared(config)


_NUMBER = "shared_object_id"


def _read_function(config: dict[str, Any]) -> Any:
    name = config["config"]
    if isinstance(
        name, dict
    ):  # older files: {"class_name": "function", "config": {...}}
        name = name.get("config", "")
    found = registry.get_registered_object(name)
    # A plain name is left to the room that knows it: an activation, a loss.
    return name if found is None else found


def _read_array(config: dict[str, Any]) -> np.ndarray:
    inner = config["config"]
    items, dtype = np.array(inner["value"], object), np.dtype(inner["dtype"])
    if dtype.kind in "US":  # each item as long as the longest, whatever the dtype says
        longest = max((len(str(x)) for x in items.flat), default=1)
        budget.spend("an array of text", (items.size, longest))
        dtype = np.dtype(dtype.kind)
    elif dtype.type is np.void:
        raise ValueError(f"An array of dtype {show(dtype)} is not one of numbers.")
    return np.array(inner["value"], dtype)


_WRITERS: list[tuple[type, Callable[[Any], Any]]] = [
    (bytes, lambda b: {"class_name": "__bytes__", "config": {"value": b.decode()}}),
    (
        slice,
        lambda s: {
            "class_name": "__slice__",
            "config": {"start": s.start, "stop": s.stop, "step": s.step},
        },
    ),
    (type(Ellipsis), lambda _: {"class_name": "__ellipsis__", "config": {}}),
]
_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "function": _read_function,
    "__numpy__": _read_array,
    "__tensor__": _read_array,
    "__bytes__": lambda c: c["config"]["value"].encode(),
    "__slice__": lambda c: slice(*(c["config"][k] for k in ("start", "stop", "step"))),
    "__ellipsis__": lambda _: Ellipsis,
    "__tuple__": lambda c: tuple(deserialize(c["config"]["value"])),
    "__typespec__": lambda c: registry.find_class(None, c["config"], None),
}


def add_value_kind(
    kind: type | None,
    write: Callable[[Any], Any] | None,
    tag: str,
    read: Callable[[dict[str, Any]], Any],
) -> None:
    """Teach `serialize` and `deserialize` one more kind of value."""
    if kind is not None and write is not None:
        _WRITERS.append((kind, write))
    _READERS[tag] = read


# --- Names for objects: "relu", "adam", "mse" ----------------------------------------


class Catalog:
    """The objects of one room by name, and its `get`, `serialize` and `deserialize`.

    `kind` names them in errors ("activation"); `base` is their class, None for
    functions; `entries` maps every accepted name to a class or a function.
    """

    def __init__(
        self, kind: str, base: type | None, entries: Mapping[str, Any]
    ) -> None:
        self.kind, self.base, self.entries = kind, base, dict(entries)
        self._lower = {
            name.lower(): value for name, value in reversed(self.entries.items())
        }

    def get(self, identifier: Any) -> Any:
        """The object that a name, a config, a class or an object stands for."""
        if identifier is None:
            return None
        if isinstance(identifier, dict):
            identifier = deserialize(identifier)
        if isinstance(identifier, str):
            identifier = self.find(identifier)
        if isinstance(identifier, type):
            return identifier()
        if callable(identifier) or (self.base and isinstance(identifier, self.base)):
            return identifier
        raise ValueError(
            f"{show(identifier)} is not {_article(self.kind)}: pass a name such as "
            f'"{next(iter(self.entries))}", an object or a function.'
        )

    def find(self, name: str) -> Any:
        """The class or function of that name, or a ValueError with the nearest one."""
        found = registry.get_registered_object(name)
        if found is None:
            found = self.entries.get(name, self._lower.get(name.lower()))
        if found is None:
            raise ValueError(
                f'Unknown {self.kind} "{name}".{suggest(name, self.entries)}'
            )
        return found

    def serialize(self, obj: Any) -> Any:
        """The object as plain data."""
        return serialize(obj)

    def deserialize(self, config: Any, custom_objects: dict | None = None) -> Any:
        """The object that plain data or a name stands for."""
        with registry.custom_object_scope(custom_objects):
            return self.get(config)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
