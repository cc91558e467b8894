"""HDF5 files from anywhere, read with distrust.

A group, dataset or attribute is looked at before it is followed: no links to other
places or files, no datasets whose numbers lie elsewhere, that are packed in ways which
load more code, or that claim more than the file may hold. Everything that reads HDF5
comes through `Hdf5`.
"""

import contextlib
import functools
import io
import itertools
import math
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import jax.numpy as jnp
import numpy as np

from kerasnb.core.errors import printable, readable_size, show
from kerasnb.saving.files import DamagedFileError, may_unfold_to

# Kinds of numbers that HDF5 does not know: kept as raw bytes, named in an attribute.
EXTENSION_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")

# gzip, shuffle, fletcher32: others may run out of bounds, or be libraries to load.
_GZIP = 1
_FILTERS = (_GZIP, 2, 3)
_CHUNKS = 100_000
_BLOCK = 1 << 24


class Hdf5:
    """An open HDF5 file, or one inside another file; a context that closes it.

    All that is read from it together may be no more than a file of `held` bytes, its
    own size unless it is inside another one, can mean.
    """

    def __init__(
        self, who: str, file: Any, label: str, held: int | None = None
    ) -> None:
        self.label = label
        try:
            stream = hasattr(file, "seek")
            size = file.seek(0, io.SEEK_END) if stream else Path(file).stat().st_size
            self.root = h5py().File(file, "r")
        except PermissionError:
            raise
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{who}: {label} is not a whole HDF5 file; it was cut off or altered. "
                "Save it or copy it again."
            ) from error
        self._file = file
        self.held = size if held is None else held
        self.left = may_unfold_to(self.held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.root.close()

    def group(self, place: str) -> Any:
        """The group of that path, or None where the file has no such place."""
        item = self.root
        for name in place.split("/"):
            with self.explaining(place):
                if name not in item:
                    return None
            item = self.member(item, name, "Group")
        return item

    def names(self, group: Any) -> list[str]:
        """The names of the members of a group."""
        with self.explaining(group.name):
            return [str(name) for name in group]

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

    def is_group(self, parent: Any, name: str) -> bool:
        """Whether a member of a group is a group as well, and inside this file."""
        place = f"{parent.name.rstrip('/')}/{name}"
        with self.explaining(place):
            if not isinstance(parent.get(name, getlink=True), h5py().HardLink):
                self.refuse(place, "is a link to somewhere else")
            return parent.get(name, getclass=True) is h5py().Group

    def array(self, group: Any, key: str) -> np.ndarray:
        """The array of that name in a group."""
        dataset = self.member(group, key, "Dataset")
        place = dataset.name
        with self.explaining(place):
            if dataset.external or dataset.is_virtual:
                self.refuse(place, "keeps its numbers in another file")
            name = self.attribute(dataset, "dtype")
            dtype = dataset.dtype
            special = isinstance(name, str) and name in EXTENSION_DTYPES
            if special:
                wanted = np.dtype(jnp.dtype(str(name)))
                plain = (
                    dtype.itemsize == wanted.itemsize
                    and dtype.kind in "Vu"
                    and dtype.names is None
                    and dtype.subdtype is None
                )
            else:
                plain = dtype.kind in "biufc"
            if not plain:
                self.refuse(place, f"holds {show(dtype)} instead of numbers")
            if dataset.shape is None:
                self.refuse(place, "has no shape")
            self._claim(place, dataset.shape, dtype.itemsize)
            if dataset.chunks is not None:
                self._check_chunks(dataset)
            array = dataset[()]
            return np.asarray(array).view(wanted) if special else np.asarray(array)

    def attribute(self, item: Any, name: str) -> str | list[str] | int | float | None:
        """A text, a list of texts or a number noted beside an item; None without it."""
        place = f"{item.name} ({name})"
        with self.explaining(place):
            if name not in item.attrs:
                return None
            stored = item.attrs.get_id(name)
            dtype, shape = stored.dtype, stored.shape
            text = h5py().check_string_dtype(dtype) is not None
            if shape is None or len(shape) > 1 or not (text or dtype.kind in "biuf"):
                self.refuse(place, f"holds {show(dtype)} instead of text")
            # Texts of any length may all be the same one, the longest there is.
            each = self._longest_text if dtype.kind == "O" else dtype.itemsize
            self._claim(place, shape, each)
            value = item.attrs[name]
            if dtype.kind == "O":  # they may have been longer
                texts = [value] if shape == () else value
                self.left += each * len(texts) - sum(map(len, texts))
            if shape == ():
                return _text(value) if text else value.item()
            return [_text(x) for x in value] if text else []

    @functools.cached_property
    def _longest_text(self) -> int:
        """The size of the largest heap in the file: no text in it is longer."""
        found, file = 0, self._file
        with contextlib.ExitStack() as stack:
            if not hasattr(file, "seek"):
                file = stack.enter_context(Path(file).open("rb"))
            for at in itertools.count(0, _BLOCK):
                file.seek(at)
                if not (block := file.read(_BLOCK + 15)):
                    break
                for heap in re.finditer(rb"GCOL\x01.{3}(.{8})", block, re.DOTALL):
                    size = int.from_bytes(heap[1], "little")
                    file.seek(at + heap.start())
                    self._check_heap(file.read(min(size, self.held)))
                    found = max(found, size)
        return min(found, self.held)

    def _check_heap(self, heap: bytes) -> None:
        """Refuse a heap of texts in which the library would look for ever."""
        at = 16
        while at + 16 <= len(heap):
            number, size = struct.unpack_from("<H6xQ", heap, at)
            at += 16 + -(-size // 8) * 8 if number else size
            if not (number or size) or at > len(heap):
                self.refuse("/", "keeps its texts in a heap that is damaged")

    def _claim(self, place: str, shape: Sequence[int] | None, itemsize: int) -> None:
        size = math.prod(shape or ()) * itemsize
        if size > self.left:
            self.refuse(
                place,
                f"claims the shape {tuple(shape or ())}, {readable_size(size)}, which "
                "is more than the file can mean",
            )
        self.left -= size

    def _check_chunks(self, dataset: Any) -> None:
        """Refuse pieces that are too many, or that unfold to more than they should."""
        place, chunks = dataset.name, dataset.chunks
        counts = (-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True))
        if math.prod(counts) > _CHUNKS and self.left < math.inf:
            self.refuse(place, "is cut into too many pieces")
        size = math.prod(chunks) * dataset.dtype.itemsize
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if any(f not in _FILTERS for f in filters) or len(set(filters)) < len(filters):
            self.refuse(place, "is packed in an unusual way; write it without, or gzip")
        if size > self.left + dataset.nbytes:
            self.refuse(place, f"is kept in pieces of {readable_size(size)}")
        if not filters:
            return
        for i in range(dataset.id.get_num_chunks()):
            chunk = dataset.id.get_chunk_info(i)
            if chunk.size > 2 * size + 1024:
                self.refuse(place, "has a piece that is larger than it says")
            skipped = [f for n, f in enumerate(filters) if chunk.filter_mask >> n & 1]
            if _GZIP in filters and _GZIP not in skipped:
                _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
                after = filters[filters.index(_GZIP) + 1 :]
                packed = packed[: len(packed) - 4 * (3 in after)]
                # The library unpacks to the end, however far that is.
                found = zlib.decompressobj().decompress(packed, size + 5)
                if len(found) > size + 4:
                    self.refuse(place, "has a piece that unfolds to more than it says")

    def refuse(self, place: str, reason: str) -> None:
        """Raise the error of a member that is not read, for a reason."""
        place = printable(place)[:200]
        raise DamagedFileError(f"{self.label} is not loaded: its {place} {reason}.")

    @contextlib.contextmanager
    def explaining(self, place: str) -> Iterator[None]:
        """Raise what a broken HDF5 file causes as one sentence."""
        try:
            yield
        except DamagedFileError:
            raise
        except _HDF5_ERRORS as error:
            raise DamagedFileError(
                f"{self.label} is damaged: its {printable(place)[:200]} cannot be read."
            ) from error


_HDF5_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    zlib.error,
)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


# --- Writing --------------------------------------------------------------------------

# Above this the content goes through a temporary file instead of memory.
_IN_MEMORY = 1 << 24


@contextlib.contextmanager
def hdf5_image(size: int, file: BinaryIO, folder: Path) -> Iterator[Any]:
    """A new HDF5 file for about `size` bytes, which goes to an open file at the end.

    The HDF5 library does not come back from a full disk; so it writes to memory, or
    for a large model to a temporary file in `folder`, and the bytes are copied.
    """
    with io.BytesIO() if size < _IN_MEMORY else _temporary(folder) as image:
        with h5py().File(image, "w") as root:
            yield root
        image.seek(0)
        while block := image.read(1 << 24):
            file.write(block)


def _temporary(folder: Path) -> Any:
    return tempfile.TemporaryFile(dir=folder)


def h5py() -> Any:
    """The package h5py: a quarter of a second to import, so not before it is needed."""
    import h5py

    return h5py
