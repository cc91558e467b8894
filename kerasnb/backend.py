"""Facts about numbers and the session: `keras.backend`."""

import gc
from contextlib import AbstractContextManager
from typing import Any

import jax

from kerasnb.core import naming
from kerasnb.core.dtypes import is_float as is_float_dtype
from kerasnb.core.dtypes import is_int as is_int_dtype
from kerasnb.core.dtypes import result_type as result_type
from kerasnb.core.dtypes import standardize_dtype as standardize_dtype
from kerasnb.core.errors import check
from kerasnb.core.graph import is_symbolic
from kerasnb.core.settings import backend as backend
from kerasnb.core.settings import epsilon as epsilon
from kerasnb.core.settings import floatx as floatx
from kerasnb.core.settings import image_data_format as image_data_format
from kerasnb.core.settings import set_epsilon as set_epsilon
from kerasnb.core.settings import set_floatx as set_floatx
from kerasnb.core.settings import set_image_data_format as set_image_data_format

__all__ = [
    "backend",
    "clear_session",
    "device",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a placeholder, as `Input` and symbolic calls make them.

    >>> is_keras_tensor(3)
    False
    """
    return is_symbolic(x)


def clear_session(free_memory: bool = True) -> None:
    """Count the names of layers and models from zero again.

    Models that are in use go on working. With `free_memory` Python also collects what
    nothing refers to any more.
    """
    naming.reset_names()
    if free_memory:
        gc.collect()


def get_uid(prefix: str = "") -> int:
    """A number for `prefix` that goes up by one with every call.

    >>> get_uid("row"), get_uid("row")
    (1, 2)
    """
    name = naming.unique(prefix)
    return 1 if name == prefix else 1 + int(name.rpartition("_")[2])


def device(device_name: str | jax.Device) -> AbstractContextManager:
    """Make arrays on one device inside a `with`: `"cpu:0"`, `"gpu:1"`, a `jax.Device`.

    >>> with device("cpu:0"):
    ...     print(jax.numpy.ones(2).device.platform)
    cpu
    """
    if not isinstance(device_name, str):
        check(
            isinstance(device_name, jax.Device),
            "device",
            "device_name",
            device_name,
            'a name such as "gpu:0" or a jax.Device',
        )
        return jax.default_device(device_name)
    kind, _, number = device_name.lower().partition(":")
    found = _devices(kind)
    index = int(number) if number.isdigit() else 0
    if (number and not number.isdigit()) or index >= len(found):
        known = ", ".join(f"{d.platform}:{d.id}" for d in found or jax.devices())
        raise ValueError(
            f'device: there is no "{device_name}" here; this process has {known}.'
        )
    return jax.default_device(found[index])


def _devices(kind: str) -> list[jax.Device]:
    try:
        return jax.devices(kind)
    except RuntimeError:  # JAX's word for "no such platform"
        return []
