"""`KerasFileEditor`: look into a file of weights, and change it without its model."""

import contextlib
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb.core.errors import printable, show, suggest
from kerasnb.core.frontend import display_mode
from kerasnb.saving.files import Archive, Replacing, read_json, require_file
from kerasnb.saving.hdf5 import Hdf5
from kerasnb.saving.weights import (
    Group,
    Stored,
    collect,
    open_member,
    open_weights,
    require_model,
    write_image,
)

_VARS = "vars"


class KerasFileEditor:
    """The weights in a `.keras` or `.weights.h5` file, to be looked at and changed.

    Objects (layers, an optimizer) are named by their places, `layers/dense_1`, or by
    the last part of it where that is the only one of that name; weights by their
    numbers, `"0"`, `"1"`, ... The file itself stays as it is: `save` writes another.
    As the last line of a notebook cell an editor shows what is inside.

    >>> import tempfile
    >>> from kerasnb import Input, Sequential, layers
    >>> model = Sequential([Input((2,)), layers.Dense(1, name="old")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_weights(f"{folder}/m.weights.h5")
    ...     editor = KerasFileEditor(f"{folder}/m.weights.h5")
    Keras model file 'm.weights.h5'
    >>> editor.rename_object("dense", "dense_7")
    >>> editor.summary()
    Weights in m.weights.h5
      layers/dense_7 ('old')
        0: shape (2, 1), float32
        1: shape (1,), float32
    """

    def __init__(self, filepath: str | Path) -> None:
        who, path = "KerasFileEditor", Path(filepath)
        self.filepath = str(filepath)
        self.metadata: dict[str, Any] | None = None
        self.config: dict[str, Any] | None = None
        if not path.name.endswith((".keras", ".weights.h5", ".weights.json")):
            raise ValueError(
                f"{who}: the name of the file must end in `.keras` or `.weights.h5`, "
                f"not {show(path.name)}."
            )
        with contextlib.ExitStack() as stack:
            require_file(who, path)
            if path.suffix == ".keras":
                archive = Archive(who, path)
                stack.callback(archive.close)
                self.config, self.metadata = (
                    read_json(who, f"{path}: its {name}", archive.read(name))
                    for name in ("config.json", "metadata.json")
                )
                stored = open_member(archive, stack)
            else:
                stored = stack.enter_context(open_weights(who, path))
            self._objects = _read(stored)
        print(f"Keras model file {show(path.name)}")
        if isinstance(self.metadata, dict):
            version, date = (
                show(self.metadata.get(key)) for key in ("keras_version", "date_saved")
            )
            print(f"Saved with Keras {version} - date: {date}")

    # --- Looking ----------------------------------------------------------------------

    @property
    def weights_dict(self) -> dict[str, Any]:
        """The weights, nested as their objects are; to change them call the methods."""
        nested: dict[str, Any] = {}
        for place, group in self._filled():
            inner = nested
            for name in place.split("/") if place else ():
                inner = inner.setdefault(name, {})
            inner.update(group.arrays)
        return nested

    def _filled(self) -> Iterator[tuple[str, Group]]:
        return ((p, group) for p, group in self._objects.items() if group.arrays)

    def summary(self) -> None:
        """Print what is inside."""
        print(self._text())

    def _text(self) -> str:
        lines = [f"Weights in {printable(Path(self.filepath).name)}"]
        for place, group in self._filled():
            lines.append(f"  {_title(place, group)}")
            lines += [
                f"    {printable(k)}: {_facts(x)}" for k, x in group.arrays.items()
            ]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        bundle = {"text/plain": self._text()}
        if display_mode() in ("widget", "html"):
            bundle["text/html"] = self._html()
        return bundle

    def _html(self) -> str:
        parts = []
        for place, group in self._filled():
            size = sum(array.size for array in group.arrays.values())
            rows = "".join(
                f"<tr><th scope='row'>{html.escape(key)}</th>"
                f"<td>{' × '.join(map(str, array.shape)) or 'one number'}</td>"
                f"<td>{html.escape(array.dtype.name)}</td></tr>"
                for key, array in group.arrays.items()
            )
            parts.append(
                f"<details><summary>{html.escape(_title(place, group))}: {size:,} "
                f"numbers</summary><table><thead><tr><th>weight</th><th>shape</th>"
                f"<th>dtype</th></tr></thead><tbody>{rows}</tbody></table></details>"
            )
        name = html.escape(Path(self.filepath).name)
        return f"<div><b>Weights in {name}</b>{''.join(parts)}</div>"

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Print where the file and a model differ.

        Returns a dict: `status` is `"success"` or `"error"`, `error_count` counts what
        is missing or of another shape, `match_count` the weights that fit.
        """
        require_model("KerasFileEditor.compare", reference_model)
        print("Running comparison")
        here = {place: group.arrays for place, group in self._filled()}
        there = {g.place: g.arrays for g in collect(reference_model) if g.arrays}
        errors = [
            *_missing(here, there, "present in the file, missing from the model"),
            *_missing(there, here, "present in the model, missing from the file"),
        ]
        matches = 0
        for place in here.keys() & there.keys():
            for key in here[place].keys() & there[place].keys():
                found, wanted = here[place][key].shape, there[place][key].shape
                if found == wanted:
                    matches += 1
                    continue
                name = f"{place}/{key}"
                errors.append(
                    f"Weight {name}: shape {found} in the file, {wanted} in the model"
                )
        for error in sorted(errors):
            print(f"...{printable(error)}")
        print(
            f"Found {_count(len(errors), 'error')}: the file does not fit the model"
            if errors
            else f"The file fits the model: {_count(matches, 'matching weight')}"
        )
        return {
            "status": "error" if errors else "success",
            "error_count": len(errors),
            "match_count": matches,
        }

    # --- Changing ---------------------------------------------------------------------

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Give an object (a layer, say) another name, `new_name`, at its old place."""
        if "/" in new_name or not new_name:
            raise ValueError(
                "KerasFileEditor.rename_object: `new_name` must be a name such as "
                f'"dense_1", not a path, not {show(new_name)}.'
            )
        old = self._place(object_name)
        new = "/".join([*old.split("/")[:-1], new_name])
        if new in self._every_place():
            raise ValueError(
                f"KerasFileEditor.rename_object: the file has an object {new} already."
            )
        moved = {}
        for place, group in self._objects.items():
            if _is_inside(place, old):
                place = new + place[len(old) :]
            moved[place] = Group(place, group.name, group.arrays)
        self._objects = moved

    def delete_object(self, object_name: str) -> None:
        """Remove an object and all that is inside it."""
        gone = self._place(object_name)
        self._objects = {
            place: group
            for place, group in self._objects.items()
            if not _is_inside(place, gone)
        }

    def add_object(self, object_path: str, weights: Mapping[str, Any]) -> None:
        """Add an object at a place, `layers/dense_2`, with weights by their numbers."""
        arrays = _arrays("add_object", weights)
        parent, _, _ = object_path.rpartition("/")
        if parent:
            self._place(parent)
        if object_path in self._every_place():
            raise ValueError(
                f"KerasFileEditor.add_object: the file has an object {object_path} "
                "already; change it with add_weights, or delete it first."
            )
        self._objects[object_path] = Group(object_path, None, arrays)

    def add_weights(self, object_name: str, weights: Mapping[str, Any]) -> None:
        """Add weights to an object, or replace those of the same numbers."""
        arrays, place = _arrays("add_weights", weights), self._place(object_name)
        group = self._objects.setdefault(place, Group(place, None))
        group.arrays = _sorted(group.arrays | arrays)

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Remove a weight from an object."""
        place = self._place(object_name)
        arrays = self._objects[place].arrays if place in self._objects else {}
        if str(weight_name) not in arrays:
            raise ValueError(
                f"KerasFileEditor.delete_weight: {printable(place)} has no weight "
                f"{show(weight_name)}; it has {printable(', '.join(arrays)) or 'none'}."
            )
        del arrays[str(weight_name)]

    def save(self, filepath: str | Path) -> None:
        """Write the weights as they are now to a `.weights.h5` file, replacing it."""
        who, path = "KerasFileEditor.save", Path(filepath)
        if not path.name.endswith(".weights.h5"):
            raise ValueError(
                f"{who}: the name of the file must end in `.weights.h5`, not "
                f"{show(path.name)}."
            )
        with Replacing(who) as files, files.open(path) as file:
            write_image(list(self._objects.values()), file, path.parent)

    def resave_weights(self, filepath: str | Path) -> None:
        """The same as `save`."""
        self.save(filepath)

    # --- Names ------------------------------------------------------------------------

    def _every_place(self) -> set[str]:
        """The places of objects, and those on the way to them."""
        found = set(self._objects) - {""}
        for place in list(found):
            while (place := place.rpartition("/")[0]) and place not in found:
                found.add(place)
        return found

    def _place(self, name: str) -> str:
        """The place that a name or a path stands for."""
        known = self._every_place()
        if "/" in name:
            found = [name] if name in known else []
        else:
            found = sorted(p for p in known if p.rpartition("/")[2] == name)
        if not found:
            names = {*known, *(place.rpartition("/")[2] for place in known)}
            raise ValueError(
                f"KerasFileEditor: the file has no object {show(name)}."
                f"{suggest(name, names)} summary() lists them."
            )
        if len(found) > 1:
            raise ValueError(
                f"KerasFileEditor: {show(name)} may be "
                f"{printable(' or '.join(found[:4]))}; give "
                "the whole path."
            )
        return found[0]


# --- Reading --------------------------------------------------------------------------


def _read(stored: Stored) -> dict[str, Group]:
    """The objects in the files, by their places."""
    objects: dict[str, Group] = {}
    for file in stored.files:
        seen: set[Any] = set()
        waiting = [("", file.root)]
        while waiting:
            place, item = waiting.pop()
            if item.id in seen:  # a group inside itself would never end
                file.refuse(item.name, "is in the file twice")
            seen.add(item.id)
            inner = []
            for name in file.names(item):
                if file.is_group(item, name):
                    inside = f"{place}/{name}" if place else name
                    inner.append((inside, file.member(item, name, "Group")))
                else:
                    _add(objects, file, place, item, name)
            if place.rpartition("/")[2] == _VARS:
                _name(objects, file, place, item)
            waiting += reversed(inner)
    for group in objects.values():
        group.arrays = _sorted(group.arrays)
    return objects


def _owner(place: str) -> str:
    """The place of the object whose variables are kept at a place."""
    parent, _, last = place.rpartition("/")
    return parent if last == _VARS else place


def _add(
    objects: dict[str, Group], file: Hdf5, place: str, item: Any, key: str
) -> None:
    owner = _owner(place)
    group = objects.setdefault(owner, Group(owner, None))
    group.arrays[key] = file.array(item, key)


def _name(objects: dict[str, Group], file: Hdf5, place: str, item: Any) -> None:
    owner, name = _owner(place), file.attribute(item, "name")
    group = objects.setdefault(owner, Group(owner, None))
    group.name = name if isinstance(name, str) else None


def _sorted(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By number: HDF5 lists `10` before `2`."""
    order = sorted(arrays, key=lambda key: (len(key), key))
    return {key: arrays[key] for key in order}


def _arrays(method: str, weights: Any) -> dict[str, np.ndarray]:
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"KerasFileEditor.{method}: `weights` must be a dict of arrays by their "
            f'names, {{"0": kernel, "1": bias}}, not {show(weights)}.'
        )
    return _sorted({str(key): np.asarray(value) for key, value in weights.items()})


# --- Words ----------------------------------------------------------------------------


def _missing(one: dict, other: dict, where: str) -> Iterator[str]:
    for place, arrays in one.items():
        if place not in other:
            yield f"Object {place} {where}"
            continue
        for key in arrays.keys() - other[place].keys():
            yield f"Weight {place}/{key} {where}"


def _is_inside(place: str, outer: str) -> bool:
    return place == outer or place.startswith(f"{outer}/")


def _title(place: str, group: Group) -> str:
    name = f" ({show(group.name)})" if group.name else ""
    return f"{printable(place) or 'the model itself'}{name}"


def _facts(array: np.ndarray) -> str:
    return f"shape {array.shape}, {array.dtype.name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
