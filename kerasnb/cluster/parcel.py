"""Objects on their way between a notebook and its engines, large arrays uncopied.

Everything is pickled by value where it was made in the notebook (`cloudpickle`), by
name where both sides can import it. It travels only between a user's own processes,
over the signed channels of ipyparallel.
"""

import pickle
from typing import Any

import numpy as np

from kerasnb.core.errors import optional, show

LARGE = 1 << 20  # bytes of an array that is sent beside the pickle, not in it
MOST = 60  # of these; ipyparallel looks into lists of fewer than 64 things

Parcel = list[Any]


def pack(obj: Any) -> Parcel:
    """`obj` as bytes, followed by its large arrays as they are in memory."""
    large: list[np.ndarray] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE or len(large) == MOST:
            return True  # stays in the pickle
        large.append(np.frombuffer(raw, np.uint8))
        return False

    cloudpickle = optional("cloudpickle", "to send models to engines", "cluster")
    head = cloudpickle.dumps(obj, protocol=5, buffer_callback=beside)
    return [head, *large]


def unpack(parcel: Parcel) -> Any:
    """The object that `pack` was given."""
    head, *large = parcel
    return pickle.loads(head, buffers=large)


def pack_each(who: str, **parts: Any) -> Parcel:
    """`pack(parts)`, or a sentence that names the part which cannot travel."""
    try:
        return pack(parts)
    except Exception:
        for name, part in parts.items():
            for one in part if isinstance(part, list) else [part]:
                _try(who, name, one)
        raise


def _try(who: str, name: str, part: Any) -> None:
    try:
        pack(part)
    except Exception as error:  # noqa: BLE001 - objects fail in ways of their own
        reason = f"{type(error).__name__}: {error}"
        raise TypeError(
            f"{who}: {show(part)} in `{name}` cannot travel to the engines ({reason}). "
            f"{_MENDS.get(name, _MENDS[''])}"
        ) from None


_MENDS = {
    "callbacks": "Open files and connections in its on_train_begin, or set "
    "`at_home = True` in it: its hooks of epochs are then called in the notebook.",
    "data": "Pass arrays, or a function without arguments that each engine calls to "
    "make the data itself.",
    "": "Let it hold data and functions only, no open files, locks or connections.",
}
