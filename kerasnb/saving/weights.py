"""Weights in HDF5 files, in Keras' layout.

Each object with a state has a group `<place>/vars` (`saving/walk.py` says where), with
its name as an attribute and its variables as datasets `0`, `1`, ... A large model may
be spread over several files, which a `.weights.json` file lists.

Loading changes all of a model or nothing: values are assigned inside a frame
(`core/state.py`), and reach the variables when everything has been found to fit.
"""

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kerasnb.core.errors import printable, show
from kerasnb.core.placement import gather, one_writer
from kerasnb.core.state import bind, write
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import Layer
from kerasnb.saving import legacy, safetensors
from kerasnb.saving.files import (
    Archive,
    DamagedFileError,
    Replacing,
    is_file_name,
    may_write,
    read_json,
    readable_size,
    require_beside,
    require_file,
)
from kerasnb.saving.hdf5 import EXTENSION_DTYPES, Hdf5, hdf5_image
from kerasnb.saving.orbax import Checkpoint, is_checkpoint
from kerasnb.saving.walk import places

WEIGHTS = "model.weights.h5"

_GIB = 1024**3


def save_weights(
    model: Any,
    filepath: str | Path,
    overwrite: bool = True,
    max_shard_size: float | None = None,
    objects_to_skip: Iterable[Any] | None = None,
) -> None:
    """Write the weights of a model to a `.weights.h5` file.

    With `max_shard_size`, a number of gigabytes, they go to several files that the
    `.weights.json` file named here lists. The state of the optimizer is written too,
    where there is one. An existing file is replaced in one step, or stays as it was.
    A `.safetensors` file, for other programs, has the weights alone.
    """
    who, path = "save_weights", Path(filepath)
    require_model(who, model)
    if path.name.endswith(safetensors.ENDINGS):
        _require_built(who, model)
        arrays = safetensors.collect(who, model, objects_to_skip or ())
        with one_writer(model.variables) as writes, Replacing(who) as files:
            if writes and may_write(who, path, overwrite):
                safetensors.write(who, arrays, files, path, max_shard_size)
        return
    if max_shard_size is None and not path.name.endswith(".weights.h5"):
        raise ValueError(
            f"{who}: the name of the file must end in `.weights.h5`, not "
            f"{show(path.name)}; to keep the whole model, model.save("
            f'"{path.stem or "model"}.keras").'
        )
    if max_shard_size is not None and not path.name.endswith(
        ("weights.h5", "weights.json")
    ):
        raise ValueError(
            f"{who}: with `max_shard_size` the name of the file must end in "
            f"`.weights.json`, not {show(path.name)}."
        )
    _require_built(who, model)
    groups = collect(model, objects_to_skip or ())
    with one_writer(model.variables) as writes, Replacing(who) as files:
        if not writes or not may_write(who, path, overwrite):
            return
        if max_shard_size is None:
            with files.open(path) as file:
                write_image(groups, file, path.parent)
        else:
            _write_shards(who, groups, files, path, max_shard_size)


def load_weights(
    model: Any,
    filepath: str | Path,
    skip_mismatch: bool = False,
    objects_to_skip: Iterable[Any] | None = None,
    by_name: bool | None = None,
) -> None:
    """Read a model's weights from a `.weights.h5`, `.weights.json` or `.keras` file.

    A `.safetensors` file (or its index) and a folder of Orbax checkpoints, of which the
    latest one is read, will do as well.
    Nothing is changed when anything does not fit; with `skip_mismatch` the layers that
    do not fit are left alone, with a warning.
    """
    who, path = "load_weights", Path(filepath)
    require_model(who, model)
    _require_built(who, model)
    if is_checkpoint(path):
        Checkpoint(who, path).restore(model)
        return
    if path.name.endswith((".h5", ".hdf5")) and not path.name.endswith(".weights.h5"):
        if objects_to_skip is not None:
            raise ValueError(
                f"{who}: `objects_to_skip` belongs to `.weights.h5` files; with "
                "by_name=True only layers of the same names are loaded from a "
                f"{path.suffix} file."
            )
        with Hdf5(who, require_file(who, path), str(path)) as file:
            legacy.load_weights(who, model, file, skip_mismatch, bool(by_name))
        return
    if by_name is not None:
        raise ValueError(
            f"{who}: `by_name` belongs to the old `.h5` format; layers of a "
            f"{path.suffix} file are matched by their places in the model."
        )
    if path.name.endswith(safetensors.ENDINGS):
        skip = list(objects_to_skip or ())
        tensors = safetensors.StoredTensors(who, path, model, skip)
        restore(model, tensors, str(path), skip_mismatch, [*skip, *tensors.others])
        return
    if not path.name.endswith((".weights.h5", ".weights.json", ".keras")):
        raise ValueError(
            f"{who}: the name of the file must end in `.weights.h5`, `.weights.json`, "
            f"`.keras` or `.h5`, not {show(path.name)}."
        )
    require_file(who, path)
    with open_weights(who, path) as stored:
        restore(model, stored, str(path), skip_mismatch, objects_to_skip or ())


def require_model(who: str, model: Any) -> None:
    """Raise a TypeError for something that is no model of this package."""
    if not isinstance(model, Layer):
        raise TypeError(
            f"{who}: `model` must be a model or a layer made with kerasnb, not "
            f"{show(model)}."
        )


def _require_built(who: str, model: Any) -> None:
    if not getattr(model, "built", True):
        raise ValueError(
            f"{who}: {type(model).__name__} `{model.name}` has no weights yet: call it "
            "on data, or use model.build(input_shape), first."
        )


# --- From a model to groups of arrays, and back ---------------------------------------


@dataclass
class Group:
    """The state of one object: its place, its name, its arrays by key."""

    place: str
    name: str | None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def collect(model: Any, skip: Iterable[Any] = ()) -> list[Group]:
    """The state of a model and of everything inside it, as arrays on the host."""
    groups = []
    for place, obj in places(model, skip):
        if hasattr(obj, "save_own_variables"):
            store: dict[str, Any] = {}
            obj.save_own_variables(store)
            name = getattr(obj, "name", None)
            groups.append(Group(place, name if isinstance(name, str) else None, store))
    # First all references, then all copies: a step that ends meanwhile does no harm.
    for group in groups:
        group.arrays = {str(key): _array(v) for key, v in group.arrays.items()}
    return groups


def _array(value: Any) -> np.ndarray:
    return gather(value.raw if isinstance(value, Variable) else value)


def restore(
    model: Any,
    stored: "Stored | safetensors.StoredTensors",
    label: str,
    skip_mismatch: bool = False,
    skip: Iterable[Any] = (),
) -> None:
    """Give the variables of a model the values of a file: all of them, or none."""
    failed: list[tuple[Any, Exception]] = []
    with bind((), (), open=True) as everything:
        for place, obj in places(model, skip):
            if not hasattr(obj, "load_own_variables"):
                continue
            try:
                with bind((), (), open=True) as frame:
                    obj.load_own_variables(stored.group(place))
            except DamagedFileError:
                raise
            except Exception as error:  # noqa: BLE001 - also from a user's own method
                failed.append((obj, error))
            else:
                everything.values.update(frame.values)
    if failed:
        message = _explain(label, failed)
        if not skip_mismatch:
            raise ValueError(f"{message} Nothing was changed.") from failed[0][1]
        warnings.warn(f"{message} They keep the values they had.", stacklevel=3)
    write(list(everything.values), list(everything.values.values()))


def _explain(label: str, failed: list[tuple[Any, Exception]]) -> str:
    obj, error = failed[0]
    who = f"{type(obj).__name__} `{getattr(obj, 'name', '')}`"
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    reason = printable(str(text))[:400].rstrip(".") or type(error).__name__
    reason = reason if who in reason else f"{who}: {reason}"
    message = f"The weights in {label} do not fit the model. {reason}."
    others = [f"`{getattr(o, 'name', type(o).__name__)}`" for o, _ in failed[1:]]
    if others:
        more = "" if len(others) <= 8 else f" and {len(others) - 8} more"
        message += f" Nor do those of {', '.join(others[:8])}{more} fit."
    return message


# --- Writing --------------------------------------------------------------------------


def write_image(groups: Sequence[Group], file: BinaryIO, folder: Path) -> None:
    """Write groups as an HDF5 file into an open file."""
    size = sum(array.nbytes for group in groups for array in group.arrays.values())
    with hdf5_image(size, file, folder) as root:
        for group in groups:
            _write_group(root, group)


def _write_group(root: Any, group: Group) -> None:
    if not group.arrays and not group.name:
        return
    target = root.require_group(f"{group.place}/vars" if group.place else "vars")
    if group.name:
        target.attrs["name"] = group.name
    for key, array in group.arrays.items():
        dataset = target.create_dataset(key, data=array)
        if array.dtype.name in EXTENSION_DTYPES:
            dataset.attrs["dtype"] = array.dtype.name


def _write_shards(
    who: str, groups: list[Group], files: Replacing, path: Path, max_shard_size: float
) -> None:
    if path.suffix != ".json":
        renamed = path.with_suffix(".json")
        warnings.warn(
            f"{who}: weights in several files are listed in a `.json` file, so "
            f"{path.name} becomes {renamed.name}.",
            stacklevel=3,
        )
        path = renamed
    limit, base = float(max_shard_size) * _GIB, path.stem.replace(".weights", "")
    shards, weight_map, total = _split(who, groups, limit)
    for i, shard in enumerate(shards):
        with files.open(path.parent / f"{base}_{i:05}.weights.h5") as file:
            write_image(shard, file, path.parent)
    listing = {
        "metadata": {"total_size": total},
        "weight_map": {
            place: [f"{base}_{i:05}.weights.h5" for i in where]
            for place, where in weight_map.items()
        },
    }
    with files.open(path) as file:
        file.write(json.dumps(listing, indent=4).encode())


def _split(
    who: str, groups: list[Group], limit: float
) -> tuple[list[list[Group]], dict[str, list[int]], int]:
    """Shards of at most `limit` bytes; where each group went; the bytes in all."""
    shards: list[list[Group]] = [[]]
    weight_map: dict[str, list[int]] = {}
    room, total = limit, 0
    for group in groups:
        shards[-1].append(Group(group.place, group.name))
        for key, array in group.arrays.items():
            if array.nbytes > limit:
                raise ValueError(
                    f"{who}: variable {key} of `{group.name}` takes "
                    f"{readable_size(array.nbytes)}, more than a file of "
                    f"max_shard_size={limit / _GIB:g} (gigabytes) may hold."
                )
            if array.nbytes > room:
                shards.append([Group(group.place, group.name)])
                room = limit
            shards[-1][-1].arrays[key] = array
            where = weight_map.setdefault(f"/{group.place}/vars".replace("//", "/"), [])
            if len(shards) - 1 not in where:
                where.append(len(shards) - 1)
            room, total = room - array.nbytes, total + array.nbytes
    return shards, weight_map, total


# --- Reading --------------------------------------------------------------------------


@contextlib.contextmanager
def open_weights(who: str, path: Path) -> Iterator["Stored"]:
    """The weights in a `.weights.h5`, `.weights.json` or `.keras` file."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".json":
            yield _open_shards(who, path, stack)
        elif path.suffix == ".keras":
            archive = Archive(who, path)
            stack.callback(archive.close)
            yield open_member(archive, stack)
        else:
            label = str(path)
            yield Stored([stack.enter_context(Hdf5(who, path, label))], label)


def open_member(archive: Archive, stack: contextlib.ExitStack) -> "Stored":
    """The weights inside a `.keras` file."""
    image = archive.open(WEIGHTS)
    label = f"{WEIGHTS} of {archive.label}"
    file = stack.enter_context(Hdf5(archive.who, image, label, archive.held))
    return Stored([file], archive.label)


def _open_shards(who: str, path: Path, stack: contextlib.ExitStack) -> "Stored":
    try:
        weight_map = read_json(who, str(path), path.read_bytes())["weight_map"]
        found = {
            place.strip("/"): [names] if isinstance(names, str) else list(names)
            for place, names in weight_map.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            f"{who}: {path} is not a list of weight files: it needs a `weight_map`."
        ) from error
    opened: dict[str, Hdf5] = {}
    for name in (name for names in found.values() for name in names):
        if not is_file_name(name):
            raise DamagedFileError(
                f"{who}: {path} is not opened: it names {show(name)}, a file outside "
                "of its folder."
            )
        if name not in opened:
            shard = require_beside(who, path.parent / name, path)
            opened[name] = stack.enter_context(Hdf5(who, shard, str(shard)))
    where = {place: [opened[n] for n in names] for place, names in found.items()}
    return Stored(list(opened.values()), str(path), where)


class Stored:
    """The groups of one or more open HDF5 files."""

    def __init__(
        self,
        files: Sequence[Hdf5],
        label: str,
        where: Mapping[str, Sequence[Hdf5]] | None = None,
    ) -> None:
        self.files, self.label, self.where = files, label, where

    def group(self, place: str) -> "StoredGroup":
        """The arrays of the object at a place; none when the file has no such place."""
        full = f"{place}/vars" if place else "vars"
        files = self.files if self.where is None else self.where.get(full, ())
        found = [(file, _find(file, full)) for file in files]
        return StoredGroup(
            full, [(f, group) for f, group in found if group is not None]
        )


def _find(file: Hdf5, full: str) -> Any:
    names = file.names(file.root)
    if "_layer_checkpoint_dependencies" in names and "layers" not in names:
        # The name of `layers` in files of Keras 2.13.
        full = full.replace("layers", "_layer_checkpoint_dependencies")
    return file.group(full)


class StoredGroup(Mapping[str, np.ndarray]):
    """The arrays of one object, as `load_own_variables` takes them."""

    def __init__(self, place: str, groups: Sequence[tuple[Hdf5, Any]]) -> None:
        self.place = place
        self.found: dict[str, tuple[Hdf5, Any]] = {}
        for file, group in groups:
            for key in file.names(group):
                self.found.setdefault(key, (file, group))

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.found:
            raise KeyError(
                f"the file has no variable {key!r} at {self.place}; it has "
                f"{sorted(self)}"
            )
        file, group = self.found[key]
        return file.array(group, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)
