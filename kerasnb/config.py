"""Process-wide settings and facts: `keras.config` and what a notebook adds to it."""

import platform
import sys
from typing import Any

import jax
import numpy

from kerasnb.core.compilation import compilation_cache as compilation_cache
from kerasnb.core.compilation import compilation_cache_size
from kerasnb.core.dtypes import dtype_policy as dtype_policy
from kerasnb.core.dtypes import set_dtype_policy as set_dtype_policy
from kerasnb.core.errors import check
from kerasnb.core.registry import (
    disable_unsafe_deserialization as disable_unsafe_deserialization,
)
from kerasnb.core.registry import (
    enable_unsafe_deserialization as enable_unsafe_deserialization,
)
from kerasnb.core.settings import alarms as alarms
from kerasnb.core.settings import backend as backend
from kerasnb.core.settings import best_weights as best_weights
from kerasnb.core.settings import disable_flash_attention as disable_flash_attention
from kerasnb.core.settings import (
    disable_interactive_logging as disable_interactive_logging,
)
from kerasnb.core.settings import (
    disable_traceback_filtering as disable_traceback_filtering,
)
from kerasnb.core.settings import display as display
from kerasnb.core.settings import enable_flash_attention as enable_flash_attention
from kerasnb.core.settings import (
    enable_interactive_logging as enable_interactive_logging,
)
from kerasnb.core.settings import (
    enable_traceback_filtering as enable_traceback_filtering,
)
from kerasnb.core.settings import epsilon as epsilon
from kerasnb.core.settings import floatx as floatx
from kerasnb.core.settings import image_data_format as image_data_format
from kerasnb.core.settings import (
    is_flash_attention_enabled as is_flash_attention_enabled,
)
from kerasnb.core.settings import (
    is_interactive_logging_enabled as is_interactive_logging_enabled,
)
from kerasnb.core.settings import (
    is_traceback_filtering_enabled as is_traceback_filtering_enabled,
)
from kerasnb.core.settings import max_epochs as max_epochs
from kerasnb.core.settings import max_steps_per_epoch as max_steps_per_epoch
from kerasnb.core.settings import runs_dir as runs_dir
from kerasnb.core.settings import set_epsilon as set_epsilon
from kerasnb.core.settings import set_floatx as set_floatx
from kerasnb.core.settings import set_image_data_format as set_image_data_format
from kerasnb.core.settings import set_max_epochs as set_max_epochs
from kerasnb.core.settings import set_max_steps_per_epoch as set_max_steps_per_epoch
from kerasnb.core.settings import tracebacks as tracebacks


def info() -> dict[str, Any]:
    """Devices, versions and settings, for a bug report or a run's record."""
    cache = compilation_cache()
    return {
        "kerasnb": sys.modules["kerasnb"].__version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": numpy.__version__,
        "devices": [str(device) for device in jax.devices()],
        "floatx": floatx(),
        "image_data_format": image_data_format(),
        "display": display(),
        "compilation_cache": None
        if cache is None
        else f"{cache} ({compilation_cache_size() / 1e6:.1f} MB)",
    }


def is_nnx_enabled() -> bool:
    """Whether layers are Flax NNX modules: never, they are plain JAX."""
    return False


def set_backend(backend: str) -> None:
    """Choose the array library: JAX, the only one there is.

    Any other name raises a ValueError.
    """
    check(backend == "jax", "set_backend", "backend", backend, '"jax"')
