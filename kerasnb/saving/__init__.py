"""Models and weights in files, and the names of classes in them: `keras.saving`."""

from typing import Any

from kerasnb.core.configurable import deserialize as _deserialize
from kerasnb.core.configurable import serialize as _serialize
from kerasnb.core.registry import CustomObjectScope as CustomObjectScope
from kerasnb.core.registry import code_is_allowed as _code_is_allowed
from kerasnb.core.registry import custom_object_scope as custom_object_scope
from kerasnb.core.registry import get_custom_objects as get_custom_objects
from kerasnb.core.registry import get_registered_name as get_registered_name
from kerasnb.core.registry import get_registered_object as get_registered_object
from kerasnb.core.registry import (
    register_keras_serializable as register_keras_serializable,
)
from kerasnb.core.registry import safe_mode as _safe_mode
from kerasnb.saving.file_editor import KerasFileEditor as KerasFileEditor
from kerasnb.saving.model_file import load_model as load_model
from kerasnb.saving.model_file import save_model as save_model
from kerasnb.saving.weights import load_weights as load_weights
from kerasnb.saving.weights import save_weights as save_weights


def serialize_keras_object(obj: Any) -> Any:
    """An object as plain data, the way files hold it.

    >>> from kerasnb.regularizers import L2
    >>> serialize_keras_object(L2(0.5))["class_name"]
    'L2'
    """
    return _serialize(obj)


def deserialize_keras_object(
    config: Any,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
    **kwargs: Any,
) -> Any:
    """The object that `serialize_keras_object` described.

    A config that brings Python code along is refused unless `safe_mode=False`.

    >>> from kerasnb.regularizers import L2
    >>> deserialize_keras_object(serialize_keras_object(L2(0.5))).l2
    0.5
    """
    for name in kwargs:
        if name != "module_objects":  # of old callers; names are found without it
            raise TypeError(f"deserialize_keras_object has no argument `{name}`.")
    safe = safe_mode and not _code_is_allowed()
    with custom_object_scope(custom_objects), _safe_mode(safe):
        return _deserialize(config)
