"""Weights in `.safetensors` files, as Hugging Face keeps them.

A file is the length of a header, the header (JSON: name, dtype, shape and place of
each tensor) and the bytes. Tensors are named by where a layer is in its model
(`saving/walk.py`) and by the name of the variable: `layers/dense_1/kernel`. Such names
do not change when a model is made a second time, as a variable's path may.
A large model may be spread over several files, listed in `.safetensors.index.json`.

Only weights are written: other programs have no use for the state of an optimizer.
The format is read here and not by the package `safetensors`, whose NumPy side cannot
read float8; the package checks in the tests what is written.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import jax.numpy as jnp
import numpy as np

from kerasnb.core.errors import readable_size, show, suggest
from kerasnb.core.placement import gather
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import Layer
from kerasnb.saving.files import (
    DamagedFileError,
    Replacing,
    is_file_name,
    read_json,
    require_beside,
    require_file,
)
from kerasnb.saving.walk import places

FILE, INDEX = ".safetensors", ".safetensors.index.json"
ENDINGS = (FILE, INDEX)

_GIB = 1024**3
_MAX_HEADER = 100_000_000  # what the format allows
_DTYPES = {
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "C64": "complex64",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_CODES = {name: code for code, name in _DTYPES.items()}


# --- Names ----------------------------------------------------------------------------


def tensor_names(
    model: Any, skip: Iterable[Any] = ()
) -> Iterator[tuple[str, str, str, Any]]:
    """For each weight: its layer's place, its key there, its name, its value.

    >>> from kerasnb.layers import Dense
    >>> layer = Dense(1)
    >>> layer.build((None, 2))
    >>> [name for _, _, name, _ in tensor_names(layer)]
    ['kernel', 'bias']
    """
    counts: Counter[str] = Counter()
    for place, obj in places(model, skip):
        if not isinstance(obj, Layer):
            continue
        store: dict[str, Any] = {}
        obj.save_own_variables(store)
        for key, value in store.items():
            # A layer that stores something else than its variables names it itself.
            name = value.name if isinstance(value, Variable) else str(key)
            full = f"{place}/{name}" if place else name
            counts[full] += 1
            if (repeats := counts[full]) > 1:
                full = f"{full}_{repeats - 1}"
            yield place, str(key), full, value


# --- Writing --------------------------------------------------------------------------


def collect(who: str, model: Any, skip: Iterable[Any]) -> dict[str, np.ndarray]:
    """The weights of a model by the names of their tensors, on the host."""
    # First all references, then all copies: a step that ends meanwhile does no harm.
    values = {
        name: value.raw if isinstance(value, Variable) else value
        for _, _, name, value in tensor_names(model, skip)
    }
    arrays = {name: gather(value) for name, value in values.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _CODES:
            raise ValueError(
                f"{who}: a `{FILE}` file cannot hold the {array.dtype} numbers of "
                f"{name}; save the weights as `.weights.h5`."
            )
    return arrays


def write(
    who: str,
    arrays: Mapping[str, np.ndarray],
    files: Replacing,
    path: Path,
    max_shard_size: float | None = None,
) -> None:
    """Write tensors to a file, or to several and a list of them."""
    base = path.name.removesuffix(INDEX).removesuffix(FILE)
    shards = _split(who, arrays, max_shard_size)
    if len(shards) == 1 and path.name.endswith(FILE):
        with files.open(path) as file:
            _write(arrays, file)
        return
    weight_map: dict[str, str] = {}
    for i, shard in enumerate(shards, 1):
        name = f"{base}-{i:05}-of-{len(shards):05}{FILE}"
        weight_map |= dict.fromkeys(shard, name)
        with files.open(path.with_name(name)) as file:
            _write(shard, file)
    total = sum(array.nbytes for array in arrays.values())
    listing = {"metadata": {"total_size": total}, "weight_map": weight_map}
    with files.open(path.with_name(f"{base}{INDEX}")) as file:
        file.write(json.dumps(listing, indent=2).encode())


def _split(
    who: str, arrays: Mapping[str, np.ndarray], max_shard_size: float | None
) -> list[dict[str, np.ndarray]]:
    limit = math.inf if max_shard_size is None else float(max_shard_size) * _GIB
    shards: list[dict[str, np.ndarray]] = [{}]
    room = limit
    for name, array in arrays.items():
        if array.nbytes > limit:
            raise ValueError(
                f"{who}: {name} takes {readable_size(array.nbytes)}, more than a file "
                f"of max_shard_size={limit / _GIB:g} (gigabytes) may hold."
            )
        if array.nbytes > room:
            shards.append({})
            room = limit
        shards[-1][name] = array
        room -= array.nbytes
    return shards


def _write(arrays: Mapping[str, np.ndarray], file: BinaryIO) -> None:
    # The widest numbers first, so that each tensor lies where its numbers may.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": {"format": "kerasnb"}}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in ordered:
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


# --- Reading --------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a tensor is, and what."""

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of a file, or of those in an index, read when they are asked for."""

    def __init__(self, who: str, path: Path) -> None:
        index = path.with_name(f"{path.name.removesuffix('.index.json')}.index.json")
        if path.name.endswith(FILE) and (path.exists() or not index.exists()):
            self.table = _read_header(who, require_file(who, path))
        else:
            self.table = _read_index(who, require_file(who, index))

    def __getitem__(self, name: str) -> np.ndarray:
        place = self.table[name]
        size = math.prod(place.shape) * place.dtype.itemsize
        data = np.fromfile(place.path, np.uint8, size, offset=place.offset)
        return data.view(place.dtype).reshape(place.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)


def _read_index(who: str, path: Path) -> dict[str, Place]:
    listing = read_json(who, str(path), path.read_bytes())
    weight_map = listing.get("weight_map") if isinstance(listing, dict) else None
    if not isinstance(weight_map, dict):
        raise DamagedFileError(
            f"{who}: {path} is not a list of weight files: it needs a `weight_map`."
        )
    found: dict[str, dict[str, Place]] = {}
    for tensor, name in weight_map.items():
        if not is_file_name(name) or not name.endswith(FILE):
            _refuse(who, path, f"it names {show(name)}, which is no file beside it")
        if name not in found:
            shard = require_beside(who, path.with_name(name), path)
            found[name] = _read_header(who, shard)
        if tensor not in found[name]:
            _refuse(who, path, f"{show(tensor)} is not in {name}, as it says")
    return {tensor: found[name][tensor] for tensor, name in weight_map.items()}


def _read_header(who: str, path: Path) -> dict[str, Place]:
    """The place of each tensor; all that the file says is checked."""
    held = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if held < 8 or length > min(held - 8, _MAX_HEADER):
            _refuse(who, path, "its header would be longer than the file")
        header = read_json(who, f"the header of {path}", file.read(length))
    if not isinstance(header, dict):
        _refuse(who, path, "its header is not a table")
    header.pop("__metadata__", None)
    table, ends = {}, [0]
    for name, facts in header.items():
        if (place := _place(path, 8 + length, facts)) is None:
            _refuse(who, path, f"it describes {show(name)} as {show(facts)}")
        table[name] = place
    # One after the other, from the header to the end of the file.
    offsets = [facts["data_offsets"] for facts in header.values()]
    ends += [end for _, end in sorted(offsets)]
    if [begin for begin, _ in sorted(offsets)] != ends[:-1]:
        _refuse(who, path, "its tensors overlap or leave gaps")
    if (left := held - 8 - length) != ends[-1]:
        _refuse(
            who,
            path,
            f"its tensors take {readable_size(ends[-1])} and it holds "
            f"{readable_size(left)}; it was cut off or altered",
        )
    return table


def _place(path: Path, start: int, facts: Any) -> Place | None:
    """The place that a header describes, None when it does not make sense."""
    try:
        dtype = np.dtype(jnp.dtype(_DTYPES[facts["dtype"]]))
        shape, (begin, end) = tuple(facts["shape"]), facts["data_offsets"]
        numbers = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        fits = numbers and end - begin == math.prod(shape) * dtype.itemsize
    except (KeyError, TypeError, ValueError):
        return None
    return Place(path, start + begin, dtype, shape) if fits else None


def _refuse(who: str, path: Path, reason: str) -> NoReturn:
    raise DamagedFileError(f"{who}: {path} is not opened: {reason}.")


class StoredTensors:
    """Tensors by the places of the layers they belong to, as `restore` wants them."""

    def __init__(
        self, who: str, path: Path, model: Any, skip: Iterable[Any] = ()
    ) -> None:
        tensors = Tensors(who, path)
        # What has no weights of a layer: the optimizer, metrics, losses.
        self.others = [x for _, x in places(model) if not isinstance(x, Layer)]
        self.names: dict[str, dict[str, str]] = {}
        for place, key, name, _ in tensor_names(model, skip):
            self.names.setdefault(place, {})[key] = name
        wanted = [name for keys in self.names.values() for name in keys.values()]
        if wanted and not any(name in tensors for name in wanted):
            first = next(iter(tensors), "nothing")
            raise ValueError(
                f"{who}: {path} holds none of the weights of `{model.name}`: the model "
                f"looks for {show(wanted[0])} and {len(wanted) - 1} more, the file has "
                f"{show(first)} and {max(len(tensors) - 1, 0)} more."
            )
        self.tensors = tensors

    def group(self, place: str) -> "StoredLayer":
        """The arrays of the layer at a place."""
        return StoredLayer(self.tensors, self.names.get(place, {}))


class StoredLayer(Mapping[str, np.ndarray]):
    """The arrays of one layer by their keys, as `load_own_variables` takes them."""

    def __init__(
        self, tensors: Mapping[str, np.ndarray], names: Mapping[str, str]
    ) -> None:
        self.tensors, self.names = tensors, names

    def __getitem__(self, key: str) -> np.ndarray:
        name = self.names.get(key, key)
        if name not in self.tensors:
            raise KeyError(
                f"the file has no tensor {name!r}.{suggest(name, self.tensors)}"
            )
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
