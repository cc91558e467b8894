"""Fingerprints: whether data, weights or a model are the same, without keeping them.

They are taken at the beginning of every `fit` and so must cost next to nothing: of
large arrays a bounded sample of the values is hashed, first and last row included.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

SMALL = 1 << 16  # bytes; arrays up to this size are hashed whole
ROWS, VALUES = 64, 512  # of larger ones: rows, and values of each row
VARIABLES = 64  # weights that are looked at, and on a device other than the CPU
FETCHED = 8


def of_text(text: str) -> str:
    """A short hash of a text.

    >>> of_text("model")
    '1d5bdd92b51a0a1a'
    """
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def of_data(data: Any) -> list[dict[str, Any]]:
    """Name, shape, dtype and hash of each array in `(x, y, sample_weight)`.

    >>> of_data((np.zeros((2, 3), "float32"),))[0]["shape"]
    [2, 3]
    """
    names = ("x", "y", "sample_weight")
    return [
        {
            "name": name,
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "hash": _hash_array(leaf),
        }
        for part, column in zip(names, data, strict=False)
        for name, leaf in _leaves(part, column)
    ]


def of_stream(stream: Any) -> list[dict[str, Any]]:
    """What is known of batches without taking any: their number and their source."""
    return [{"name": "x", "batches": stream.length, "restarts": stream.restarts}]


def of_weights(variables: Sequence[Any]) -> str:
    """A hash of a sample of the values of some of the variables."""
    on_host = jax.default_backend() == "cpu"
    if not on_host:  # each one waits for the device
        variables = [v for v in variables if v.size * 4 <= SMALL][: FETCHED * 4]
    every = max(1, -(-len(variables) // (VARIABLES if on_host else FETCHED)))
    digest = hashlib.blake2b(digest_size=8)
    for variable in variables[::every]:
        digest.update(f"{variable.shape}{variable.dtype}".encode())
        array = local(variable.box)
        if array is not None:
            flat = array.reshape(-1)
            digest.update(flat[:: max(1, flat.size // VALUES)].tobytes())
    return digest.hexdigest()


def local(array: Any) -> np.ndarray | None:
    """The values of an array, None when they are spread over other processes."""
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        return None
    return np.asarray(array)


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(f"{name}[{i}]", inner)
    elif hasattr(value, "shape"):
        yield name, value


def _hash_array(array: Any) -> str | None:
    """None for what would first have to come from a device."""
    small = array.nbytes <= SMALL if hasattr(array, "nbytes") else False
    if isinstance(array, jax.Array):
        if not small and jax.default_backend() != "cpu":
            return None
        array = local(array)
    if not isinstance(array, np.ndarray) or array.dtype.kind == "O":
        return None
    digest = hashlib.blake2b(digest_size=8)
    if small or array.ndim == 0:
        digest.update(array.tobytes())
        return digest.hexdigest()
    for i in np.linspace(0, len(array) - 1, min(ROWS, len(array))).astype(int):
        row = array[i]
        if array.ndim == 1:
            row = array[i : i + VALUES]
        digest.update(row.flat[:: max(1, row.size // VALUES)].tobytes())
    return digest.hexdigest()
