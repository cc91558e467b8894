"""Models in Orbax checkpoints: folders that all processes of a run write together.

A checkpoint is a folder named by a step. It holds the variables as a tree of arrays,
each process having written the parts that it had, and beside it the description of the
model and the files of its layers. They are Keras' checkpoints, in Keras' places.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kerasnb.core.errors import check, optional
from kerasnb.core.placement import gather
from kerasnb.core.variable import Variable
from kerasnb.saving.files import DamagedFileError, size_of

_CHECKPOINT = "_CHECKPOINT_METADATA"


def orbax() -> Any:
    """The package, where it is installed: the interface that Keras uses."""
    package = optional("orbax.checkpoint", "for Orbax checkpoints", "orbax")
    logging.getLogger("absl").addFilter(_worth_saying)
    return package.v1


def _worth_saying(record: logging.LogRecord) -> bool:
    # Orbax says this of every text in every checkpoint.
    return "Skipping merge of OCDBT" not in str(record.msg)


# What `save_weights_only` keeps of a tree.
WEIGHTS_ALONE = ("trainable_variables", "non_trainable_variables")


# --- Variables as a tree --------------------------------------------------------------


def _groups(model: Any) -> dict[str, list[Variable]]:
    optimizer = getattr(model, "optimizer", None)
    return {
        "trainable_variables": list(model.trainable_variables),
        "non_trainable_variables": list(model.non_trainable_variables),
        "optimizer_variables": [] if optimizer is None else list(optimizer.variables),
        "metrics_variables": list(getattr(model, "metrics_variables", ())),
    }


def state_tree(model: Any, value_format: str = "backend_tensor") -> dict[str, Any]:
    """The variables of a model and its training, nested by the parts of their paths."""
    check(
        value_format in ("backend_tensor", "numpy_array"),
        "get_state_tree",
        "value_format",
        value_format,
        '"backend_tensor" or "numpy_array"',
    )
    tree: dict[str, Any] = {}
    for kind, variables in _groups(model).items():
        tree[kind] = {}
        paths = [v.path for v in variables]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(
                f"get_state_tree: the path {twice[0]!r} belongs to several variables; "
                "give the layers and metrics names of their own."
            )
        for variable in variables:
            *above, name = variable.path.split("/")
            place = tree[kind]
            for part in above:
                place = place.setdefault(part, {})
            raw = variable.raw
            place[name] = gather(raw) if value_format == "numpy_array" else raw
    return tree


def set_state_tree(
    model: Any, tree: Mapping[str, Any], order: Mapping[str, list[str]] | None = None
) -> None:
    """Give the variables the values of a `state_tree`; those it lacks stay."""
    for variable, value in _pairs(model, tree, order):
        variable.assign(value)


def paths_in_order(model: Any) -> dict[str, list[str]]:
    """The paths of the variables, which a tree keeps in the order of the alphabet."""
    return {kind: [v.path for v in found] for kind, found in _groups(model).items()}


def _pairs(
    model: Any, tree: Mapping[str, Any], order: Mapping[str, list[str]] | None = None
) -> list[tuple[Variable, Any]]:
    """The variables of a model and what a tree has for them, by their paths.

    Paths may differ where names were counted up (`seed_generator_3`) or a model is made
    from its config. Variables that are not found then take the values that are left,
    in the `order` of the model that was saved or in that of the alphabet.
    """
    pairs: list[tuple[Variable, Any]] = []
    for kind, variables in _groups(model).items():
        values = dict(_flat(tree.get(kind) or {}))
        found = {v.path for v in variables if v.path in values}
        pairs += [(v, values[v.path]) for v in variables if v.path in found]
        missing = [v for v in variables if v.path not in found]
        listed = (order or {}).get(kind) or values
        left = [values[x] for x in listed if x in values and x not in found]
        if not _fit(missing, left):
            missing.sort(key=lambda v: _by_number(v.path))
            left = [values[x] for x in sorted(values, key=_by_number) if x not in found]
        if _fit(missing, left):
            pairs += zip(missing, left, strict=True)
    return pairs


def _fit(variables: list[Variable], values: list[Any]) -> bool:
    return [v.shape for v in variables] == [tuple(value.shape) for value in values]


def _flat(tree: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}/{name}" if above else name
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _by_number(path: str) -> list[Any]:
    return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", path)]


# --- Folders --------------------------------------------------------------------------


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is an Orbax checkpoint, or holds some."""
    if not path.is_dir():
        return False
    steps = (step for step in path.iterdir() if step.name.isdigit())
    return any((folder / _CHECKPOINT).exists() for folder in (path, *steps))


class Checkpoint:
    """A checkpoint, or the latest one in a folder of them."""

    def __init__(self, who: str, path: Path) -> None:
        self.who, self.label, self._orbax = who, str(path), orbax()
        path = path.absolute()
        steps = [int(step.name) for step in path.iterdir() if step.name.isdigit()]
        if steps:
            with closing(self._orbax.training.Checkpointer(path)) as folder:
                latest = folder.latest
            if latest is None:
                raise DamagedFileError(f"{who}: no checkpoint in {path} is whole.")
            path = path / str(latest.step)
        self.path, self.held = path, size_of(path)
        self._kinds = set(self._orbax.checkpointables_metadata(path).metadata)

    def _load(self, kind: str, abstract: Any = None) -> Any:
        return self._orbax.load_checkpointables(self.path, {kind: abstract})[kind]

    def read(self, name: str) -> bytes:
        """The description of the model."""
        if "model_config" not in self._kinds:
            raise ValueError(
                f"{self.who}: {self.label} holds weights alone; make the model and "
                "call its load_weights."
            )
        return self._load("model_config")["config"].encode()

    def assets(self) -> Iterator[tuple[str, bytes]]:
        """The files of layers, by the names of their places."""
        if "assets" in self._kinds:
            for name, content in _flat(self._load("assets")):
                yield name, np.asarray(content).tobytes()

    def restore(self, model: Any) -> None:
        """Give the model the values of the checkpoint, laid out as it has them."""
        found = self._orbax.metadata(self.path, checkpointable_name="pytree").metadata
        order = None
        if "variables" in self._kinds:
            order = json.loads(self._load("variables")["paths"])
        places = {id(leaf): v for v, leaf in _pairs(model, found, order)}
        missing = [
            v.path for v in model.variables if not any(v is w for w in places.values())
        ]
        if missing:
            raise ValueError(
                f"{self.who}: {self.label} does not fit the model: it has nothing for "
                f"`{missing[0]}`. Nothing was changed."
            )

        def wanted(leaf: Any) -> Any:
            variable = places.get(id(leaf))
            if variable is None:  # of a training that this model does not have
                here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
                return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
            if tuple(leaf.shape) != variable.shape:
                raise ValueError(
                    f"{self.who}: {self.label} does not fit the model: `"
                    f"{variable.path}` has shape {variable.shape} and {leaf.shape} "
                    "there. Nothing was changed."
                )
            return jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=variable.box.sharding
            )

        def nested(tree: Any) -> Any:
            return {
                name: nested(value) if isinstance(value, Mapping) else wanted(value)
                for name, value in tree.items()
            }

        set_state_tree(model, self._load("pytree", nested(found)), order)


def asset_tree(assets: Mapping[str, Path]) -> dict[str, Any]:
    """Files by their names as nested arrays of bytes, which a checkpoint can hold."""
    tree: dict[str, Any] = {}
    for name, path in assets.items():
        *above, last = name.split("/")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = np.frombuffer(path.read_bytes(), np.uint8)
    return tree
