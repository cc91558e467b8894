"""HDF5 files from anywhere, read with distrust.

A group, dataset or attribute is looked at before it is followed: no links to other
places or files, no datasets whose numbers lie elsewhere or that claim more than the
file holds. Everything that reads HDF5 comes through `Hdf5`.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from kerasnb.saving.files import BOMB_FLOOR, DamagedFileError, readable_size

# Kinds of numbers that HDF5 does not know: kept as raw bytes, named in an attribute.
EXTENSION_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


class Hdf5:
    """An open HDF5 file, or one inside another file; a context that closes it."""

    def __init__(self, who: str, file: Any, label: str) -> None:
        self.label = label
        try:
            self.root = h5py().File(file, "r")
        except PermissionError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise DamagedFileError(
                f"{who}: {label} is not a whole HDF5 file; it was cut off or altered. "
                "Save it or copy it again."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.root.close()

    def group(self, place: str) -> Any:
        """The group of that path, or None where the file has no such place."""
        item = self.root
        for name in place.split("/"):
            if name not in item:
                return None
            item = self.member(item, name, "Group")
        return item

    def member(self, parent: Any, name: str, kind: str) -> Any:
        """A member of a group: of the kind that belongs there, and inside this file."""
        place = f"{parent.name.rstrip('/')}/{name}"
        with self.explaining(place):
            if not isinstance(parent.get(name, getlink=True), h5py().HardLink):
                self.refuse(place, "is a link to somewhere else")
            item = parent[name]
            if not isinstance(item, getattr(h5py(), kind)):
                self.refuse(place, f"is not a {kind.lower()}")
        return item

    def array(self, group: Any, key: str) -> np.ndarray:
        """The array of that name in a group."""
        dataset = self.member(group, key, "Dataset")
        place = dataset.name
        with self.explaining(place):
            if dataset.external or dataset.is_virtual:
                self.refuse(place, "keeps its numbers in another file")
            name = dataset.attrs.get("dtype")
            special = isinstance(name, str) and name in EXTENSION_DTYPES
            if dataset.dtype.kind not in "biufc" and not special:
                self.refuse(place, f"holds {dataset.dtype} instead of numbers")
            claimed = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
            present = dataset.id.get_storage_size()
            if dataset.shape is None or claimed > max(BOMB_FLOOR, 1000 * present):
                self.refuse(
                    place,
                    f"claims the shape {dataset.shape} and holds "
                    f"{readable_size(present)}",
                )
            array = dataset[()]
            if special:
                array = np.asarray(array).view(np.dtype(jnp.dtype(name)))
            return np.asarray(array)

    def refuse(self, place: str, reason: str) -> None:
        """Raise the error of a member that is not read, for a reason."""
        raise DamagedFileError(f"{self.label} is not loaded: its {place} {reason}.")

    @contextlib.contextmanager
    def explaining(self, place: str) -> Iterator[None]:
        """Raise what a broken HDF5 file causes as one sentence."""
        try:
            yield
        except DamagedFileError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{self.label} is damaged: its {place} cannot be read."
            ) from error


def h5py() -> Any:
    """The package h5py: a quarter of a second to import, so not before it is needed."""
    import h5py

    return h5py
