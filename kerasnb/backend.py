"""Facts about numbers and the session: `keras.backend`."""

import gc
from typing import Any

from kerasnb.core import naming
from kerasnb.core.dtypes import is_float as is_float_dtype
from kerasnb.core.dtypes import is_int as is_int_dtype
from kerasnb.core.dtypes import result_type as result_type
from kerasnb.core.dtypes import standardize_dtype as standardize_dtype
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
