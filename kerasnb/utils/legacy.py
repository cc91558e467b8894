"""Keras 2's plain form of objects: `{"class_name": ..., "config": ...}`.

Files of today hold more (see `saving`); code written for Keras 2 calls these.
"""

import inspect
from typing import Any

from kerasnb.core.errors import suggest
from kerasnb.core.registry import (
    custom_object_scope,
    get_registered_name,
    get_registered_object,
)


def serialize_keras_object(instance: Any) -> Any:
    """The class name and configuration of an object; of a function its name.

    >>> from kerasnb.regularizers import L2
    >>> serialize_keras_object(L2(0.5))
    {'class_name': 'L2', 'config': {'l2': 0.5}}
    """
    instance = inspect.unwrap(instance) if callable(instance) else instance
    if instance is None:
        return None
    if hasattr(instance, "get_config"):
        return {
            "class_name": get_registered_name(type(instance)),
            "config": {k: _inner(v) for k, v in instance.get_config().items()},
        }
    if hasattr(instance, "__name__"):
        return get_registered_name(instance)
    raise ValueError(f"Cannot serialize {instance!r}: it has no get_config() method.")


def _inner(value: Any) -> Any:
    if isinstance(value, dict) or not hasattr(value, "get_config"):
        return get_registered_name(value) if inspect.isfunction(value) else value
    return serialize_keras_object(value) | {"__passive_serialization__": True}


def deserialize_keras_object(
    identifier: Any,
    module_objects: dict[str, Any] | None = None,
    custom_objects: dict[str, Any] | None = None,
    printable_module_name: str = "object",
) -> Any:
    """The object of a class name and configuration, or of a name.

    Names are looked up among `custom_objects`, the registered objects and
    `module_objects`.

    >>> from kerasnb import regularizers
    >>> plain = {"class_name": "L2", "config": {"l2": 0.5}}
    >>> deserialize_keras_object(plain, vars(regularizers)).l2
    0.5
    """
    if identifier is None or inspect.isfunction(identifier):
        return identifier
    if isinstance(identifier, str):
        found = _find(identifier, module_objects, custom_objects, printable_module_name)
        return found() if inspect.isclass(found) else found
    if not isinstance(identifier, dict) or "class_name" not in identifier:
        raise ValueError(
            f"Cannot make a {printable_module_name} from {identifier!r}: a name or a "
            'dict with "class_name" and "config" is expected.'
        )
    name, config = identifier["class_name"], identifier.get("config", {})
    cls = _find(name, module_objects, custom_objects, printable_module_name)
    with custom_object_scope(custom_objects):
        return cls.from_config(config) if hasattr(cls, "from_config") else cls(**config)


def _find(
    name: str,
    module_objects: dict[str, Any] | None,
    custom_objects: dict[str, Any] | None,
    kind: str,
) -> Any:
    found = get_registered_object(name, custom_objects, module_objects)
    if found is None:
        known = [*(custom_objects or {}), *(module_objects or {})]
        raise ValueError(
            f"There is no {kind} `{name}`.{suggest(name, known)} Name your own in a "
            "`custom_object_scope`."
        )
    return found
