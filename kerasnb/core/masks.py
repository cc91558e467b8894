"""Masks travel beside arrays: which time steps of a batch are real, which are padding.

JAX arrays take no attributes, so the mask of an array is kept in a table beside it
until the array is gone.
"""

import functools
import weakref
from typing import Any

_masks: dict[int, tuple[weakref.ref, Any]] = {}


def get_mask(x: Any) -> Any:
    """The mask that belongs to an array or placeholder, None when there is none."""
    entry = _masks.get(id(x))
    return entry[1] if entry is not None and entry[0]() is x else None


def set_mask(x: Any, mask: Any) -> None:
    """Attach a mask to an array or placeholder; None takes it away."""
    key = id(x)
    if mask is None:
        _masks.pop(key, None)
    else:
        # The table is bound here because module globals go first when Python ends.
        forget = functools.partial(_forget, _masks, key)
        _masks[key] = (weakref.ref(x, forget), mask)


def _forget(table: dict[int, Any], key: int, _: weakref.ref) -> None:
    table.pop(key, None)
