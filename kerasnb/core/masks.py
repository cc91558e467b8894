"""Masks travel beside arrays: which time steps of a batch are real and which are padding.

JAX arrays take no attributes, so the mask of an array is kept in a table beside it
until the array is gone.
"""

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
        _masks[key] = (weakref.ref(x, lambda _: _masks.pop(key, None)), mask)
