"""Valid files made wrong: zip members, JSON trees, HDF5 structure, raw bytes."""

import contextlib
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

# Numbers at the edges of what somebody may have thought of.
NUMBERS: list[Any] = [0, 1, -1, 2, 255, 2**15, 10**6, 2**31 - 1, 2**31, 2**32, 10**9]
NUMBERS += [10**12, 2**63, -(2**63), 10**40, 0.5, -0.5, 1e-30, 1e30, float("nan")]
NUMBERS += [float("inf"), 3.7, True]
# Sizes that a hasty reader would make room for.
SIZES = [0, 1, 0xFF, 0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63, 2**64 - 1]


def tagged(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def function(name: Any, module: str = "builtins") -> dict[str, Any]:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


STRANGE: list[Any] = [
    None,
    "",
    "x",
    "os.system",
    "__import__",
    "/etc/passwd",
    "../../etc/passwd",
    "é\u202e\x00\x1b[31m",
    "a" * 5000,
    "relu",
    "linear",
    "channels_first",
    "same",
    [],
    {},
    [[]],
    [None],
    [None, None],
    [None, 3],
    [-1, 0],
    [1, 2, 3, 4, 5, 6, 7, 8],
    {"a": {}},
    function("eval"),
    function("/etc/passwd"),
    function("enable_unsafe_deserialization", "keras.config"),
    tagged("__numpy__", value=[1.0, 2.0], dtype="float32"),
    tagged("__numpy__", value=["a"], dtype="S1000000000"),
    tagged("__numpy__", value=[], dtype="O"),
    tagged("__tensor__", value=[[1], [1, 2]], dtype="int32"),
    tagged("__bytes__", value="x"),
    tagged("__slice__", start=0, stop=10**9, step=1),
    tagged("__ellipsis__"),
    tagged("__tuple__", value=[1, 2]),
    {"class_name": "__typespec__", "config": "Dense"},
    tagged("__lambda__", code="4wEAAAA=", defaults=None, closure=None),
    tagged("__keras_tensor__", shape=[None, 3], dtype="float32", keras_history=None),
    {"module": "os", "class_name": "system", "config": {"command": "true"}},
    {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "exp"}},
]


# --- Bytes ----------------------------------------------------------------------------


def raw(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, lost, doubled or moved, or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        at, n = rng.randrange(len(data)), min(len(data), rng.choice((1, 2, 4, 8, 64)))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + n] = rng.randbytes(n)
        elif kind == 2:
            size = rng.choice(SIZES)
            form = rng.choice(("<H", "<I", "<Q"))
            width = struct.calcsize(form)
            data[at : at + width] = struct.pack(form, size % 256**width)
        elif kind == 3:
            del data[at : at + n]
        elif kind == 4:
            data[at:at] = data[at : at + n]
        elif kind == 5 and rng.random() < 0.3:
            del data[at:]
        else:
            other = rng.randrange(len(data))
            data[at : at + n] = data[other : other + n]
    return bytes(data)


# --- JSON -----------------------------------------------------------------------------


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))  # deeper than copy.deepcopy can go


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree, as a container and a key in it."""
    stack = [tree]
    while stack:
        item = stack.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item))
        for key in keys:
            yield item, key
            if isinstance(item[key], dict | list):
                stack.append(item[key])


def tree(rng: random.Random, value: Any, names: list[str]) -> Any:
    """A JSON value with a few places of it changed; `names` are known classes."""
    value = _copy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_nodes(value))
        if not places:
            break
        numbers = [(x, k) for x, k in places if type(x[k]) in (int, float)]
        classes = [(x, k) for x, k in places if k == "class_name"]
        kind = rng.randrange(10)
        inside, key = rng.choice(places)
        if kind <= 2 and numbers:
            inside, key = rng.choice(numbers)
            inside[key] = rng.choice(NUMBERS)
        elif kind == 3 and classes:
            inside, key = rng.choice(classes)
            inside[key] = rng.choice(names)
        elif kind == 4:
            del inside[key]
        elif kind == 5:
            inside[key] = _copy(_at(rng.choice(places)))
        elif kind == 6 and isinstance(inside, dict):
            inside[rng.choice(("units", "name", "x", "layer", "dtype"))] = inside.pop(
                key
            )
        elif kind == 7:
            inside[key] = nested(rng, _copy(inside[key]))
        elif kind == 8 and isinstance(inside, list):
            inside[key:key] = _copy(inside[: rng.choice((1, 3, 50))])
        else:
            inside[key] = _copy(rng.choice([*STRANGE, *NUMBERS]))
    return value


def _at(place: tuple[Any, Any]) -> Any:
    return place[0][place[1]]


def nested(rng: random.Random, value: Any) -> Any:
    """A value inside many lists, dicts or wrappers."""
    kind = rng.randrange(3)
    for _ in range(rng.choice((1, 2, 10, 100, 300))):
        value = (
            [value]
            if kind == 0
            else {"x": value}
            if kind == 1
            else tagged("TimeDistributed", layer=value)
        )
    return value


def text(rng: random.Random, value: Any, names: list[str]) -> bytes:
    """A JSON text with a change in its tree, or in its letters."""
    try:
        written = json.dumps(tree(rng, value, names)).encode()
    except RecursionError:  # too deep a nest to be written by this way
        written = b'{"class_name": "Model", "config": ' + b"[" * 100_000
    if rng.random() < 0.06:
        written = raw(rng, written)
    if rng.random() < 0.02:
        written = written.replace(b'{"', b'{"name": 1, "name": 2, "', 1)
    return written


# --- HDF5 -----------------------------------------------------------------------------


def _unless_refused() -> Any:
    """HDF5 does not write everything that a file may hold."""
    return contextlib.suppress(ValueError, TypeError, OSError, RuntimeError)


def _reshape(rng: random.Random, file: Any, place: str) -> None:
    array = file[place][()]
    del file[place]
    file[place] = np.asarray(array).reshape(-1)[: rng.choice((0, 1, 3))]


def _retype(rng: random.Random, file: Any, place: str) -> None:
    kinds = ["f2", "f8", ">f4", "i8", "c8", "?", "S9", "V4", h5py.string_dtype()]
    kinds += [h5py.ref_dtype, h5py.vlen_dtype("f4"), [("a", "f4")], "(3,)f4"]
    shape = file[place].shape
    del file[place]
    file.create_dataset(place, shape, rng.choice(kinds))


def _grow(rng: random.Random, file: Any, place: str) -> None:
    del file[place]
    shape = tuple(
        rng.choice((1, 1000, 10**6, 2**31)) for _ in range(rng.choice((1, 2)))
    )
    packed = rng.choice((None, "gzip", "lzf"))
    chunks = tuple(min(n, rng.choice((1, 64, 4096))) for n in shape)
    with _unless_refused():
        file.create_dataset(place, shape, "f4", chunks=chunks, compression=packed)


def _repack(rng: random.Random, file: Any, place: str) -> None:
    array = file[place][()]
    if not np.ndim(array) or not np.size(array):
        return
    del file[place]
    options = rng.choice(
        (
            {"compression": "gzip"},
            {"compression": "lzf"},
            {"compression": "gzip", "shuffle": True, "fletcher32": True},
            {"scaleoffset": 2},
            {"chunks": tuple(4096 for _ in array.shape)},
        )
    )
    file.create_dataset(
        place, data=array, maxshape=tuple(None for _ in array.shape), **options
    )


def _link(rng: random.Random, file: Any, place: str) -> None:
    del file[place]
    others: list[str] = []
    file.visit(others.append)
    kind = rng.randrange(4)
    if kind == 0:
        file[place] = h5py.SoftLink(rng.choice(others or ["/x"]))
    elif kind == 1:
        file[place] = h5py.ExternalLink("other.h5", "/x")
    elif kind == 2:
        file[place] = file[rng.choice(others)] if others else file["/"]
    else:
        file[place] = file["/"]  # a group that holds itself


def _elsewhere(rng: random.Random, file: Any, place: str) -> None:
    del file[place]
    if rng.random() < 0.5:
        file.create_dataset(place, (3,), "f4", external=[("/etc/passwd", 0, 12)])
    else:
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
        file.create_virtual_dataset(place, layout)


def _attribute(rng: random.Random, file: Any, place: str) -> None:
    item = file[rng.choice(("/", place))]
    names = [*item.attrs, "dtype", "name", "weight_names", "layer_names"]
    values = ["bfloat16", "float8_e5m2", 3, ["a", "b"], [b"x"], "é", np.zeros(3), ""]
    item.attrs[rng.choice(names)] = rng.choice(values)


def _drop(rng: random.Random, file: Any, place: str) -> None:
    del file[place]


def _move(rng: random.Random, file: Any, place: str) -> None:
    file.move(place, f"{place}_{rng.randrange(3)}")


_CHANGES: list[Callable[[random.Random, Any, str], None]] = [
    _reshape,
    _retype,
    _grow,
    _repack,
    _link,
    _elsewhere,
    _attribute,
    _drop,
    _move,
]


def hdf5(rng: random.Random, content: bytes, names: list[str]) -> bytes:
    """An HDF5 file with its structure, its JSON attributes or its bytes changed."""
    if rng.random() < 0.4:
        return raw(rng, content)
    image = io.BytesIO(content)
    with h5py.File(image, "a") as file:
        places: list[str] = []
        file.visititems(
            lambda name, item: places.append(name) if hasattr(item, "shape") else None
        )
        described = [n for n in ("model_config", "training_config") if n in file.attrs]
        if described and rng.random() < 0.6:
            name = rng.choice(described)
            old = json.loads(file.attrs[name])
            with _unless_refused():
                file.attrs[name] = text(rng, old, names)
        elif places:
            place = rng.choice(places)
            if rng.random() < 0.2:
                place = place.rpartition("/")[0] or place
            change = rng.choice(_CHANGES)
            if hasattr(file[place], "shape") or change in (_link, _attribute, _drop):
                with _unless_refused(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    change(rng, file, place)
    return image.getvalue()


# --- Zip ------------------------------------------------------------------------------


def keras(rng: random.Random, content: bytes, names: list[str]) -> bytes:
    """A `.keras` file with its description, weights, members or bytes changed."""
    kind = rng.random()
    if kind < 0.08:
        return raw(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if kind < 0.75:
        config = json.loads(members["config.json"])
        members["config.json"] = text(rng, config, names)
    elif kind < 0.9:
        members["model.weights.h5"] = hdf5(rng, members["model.weights.h5"], names)
    else:
        name = rng.choice(list(members))
        other = rng.choice(
            ("../x", "/x", "assets/x", "config.json/", "a" * 300, "C:x", "é", name)
        )
        if rng.random() < 0.5:
            members[other] = members.pop(name)
        else:
            members[name] = raw(rng, members[name])
    packing = rng.choice((zipfile.ZIP_STORED,) * 8 + (zipfile.ZIP_DEFLATED, 12, 14))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, data in members.items():
            # Without the hour, so that a case is always the same.
            info = zipfile.ZipInfo(name)
            info.compress_type = packing
            archive.writestr(info, data)
    changed = buffer.getvalue()
    if rng.random() < 0.05:  # the directory at the end lies
        at = (
            changed.rfind(b"PK\1\2") if rng.random() < 0.7 else changed.rfind(b"PK\5\6")
        )
        field = at + rng.choice((6, 8, 10, 16, 20, 24, 28, 30, 38, 42))
        changed = bytearray(changed)
        size = rng.choice(SIZES) % 2**32
        changed[field : field + 4] = struct.pack("<I", size)
    return bytes(changed)


def listing(rng: random.Random, content: bytes, names: list[str]) -> bytes:
    """A list of weight files with something else in it."""
    return text(rng, json.loads(content), names)


def safetensors(rng: random.Random, content: bytes, names: list[str]) -> bytes:
    """A `.safetensors` file with its header or its bytes changed."""
    if rng.random() < 0.3:
        return raw(rng, content)
    (length,) = struct.unpack("<Q", content[:8])
    header = text(rng, json.loads(content[8 : 8 + length]), names)
    told = len(header) if rng.random() < 0.9 else rng.choice(SIZES)
    return struct.pack("<Q", told) + header + content[8 + length :]
