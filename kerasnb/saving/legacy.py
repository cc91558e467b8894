"""Keras' old `.h5` format: whole models and weights of Keras 2, tf.keras and Keras 3.

The attributes `model_config` and `training_config` hold JSON; a group holds the weights
of each layer, under the name of the layer and in the order that `weight_names` tells:
those that are trained first. A file of weights alone is such a group by itself.

What is read is checked to fit before anything is changed, as in `saving/weights.py`.
"""

import contextlib
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb import losses
from kerasnb.core import registry
from kerasnb.core.configurable import serialize_shared
from kerasnb.core.errors import show
from kerasnb.core.placement import gather, one_writer
from kerasnb.core.state import bind, write
from kerasnb.core.variable import Variable
from kerasnb.saving.files import DamagedFileError, Replacing, may_write, read_json
from kerasnb.saving.hdf5 import EXTENSION_DTYPES, Hdf5, hdf5_image
from kerasnb.saving.keras2 import modern_compile, modern_model

# The version of Keras whose files these are.
KERAS_VERSION = "3.15.1"
ENDINGS = (".h5", ".hdf5")

_WEIGHTS, _OPTIMIZER = "model_weights", "optimizer_weights"
_TOP = "top_level_model_weights"
# What HDF5 keeps of an attribute; longer lists go to several.
_ATTRIBUTE_LIMIT = 64512


# --- Reading --------------------------------------------------------------------------


class Legacy:
    """A whole model in a `.h5` file, as `load_model` reads it."""

    def __init__(self, who: str, path: Path, stack: contextlib.ExitStack) -> None:
        self.who, self.label = who, str(path)
        self.file = stack.enter_context(Hdf5(who, path, self.label))
        self.held = self.file.held

    def read(self, name: str) -> bytes:
        """The description of the model, as `config.json` has it."""
        root, described = self.file.root, self._json("model_config")
        if described is None:
            alone = "; make the model and call its load_weights" * is_legacy(self.file)
            raise ValueError(
                f"{self.who}: {self.label} has no `model_config`, so it does not hold "
                f"a whole model{alone}."
            )
        training = self._json("training_config")
        try:
            config = modern_model(described)
            if training is not None:
                config["compile_config"] = modern_compile(training)
        except ValueError as error:
            raise ValueError(f"{self.label} cannot be loaded: {error}.") from error
        except _INCOMPLETE as error:
            raise DamagedFileError(
                f"{self.label} cannot be loaded: its description of the model is not "
                f"complete ({type(error).__name__}: {error})."
            ) from error
        text, version = json.dumps(config), self.file.attribute(root, "keras_version")
        if '"hard_sigmoid"' in text and not str(version).startswith("3"):
            warnings.warn(
                f"{self.label} was written by Keras 2, whose hard_sigmoid is "
                "0.2 * x + 0.5; here it is that of Keras 3, x / 6 + 0.5, so outputs "
                "may differ a little from those of old.",
                stacklevel=4,
            )
        return text.encode()

    def _json(self, name: str) -> Any:
        text = self.file.attribute(self.file.root, name)
        if text is None:
            return None
        return read_json(self.who, f"{self.label} is damaged: its {name}", str(text))

    def assets(self) -> Iterator[tuple[str, bytes]]:
        """The files of layers: there are none in this format."""
        return iter(())

    def restore(self, model: Any) -> None:
        """Give the model its weights, and its optimizer the state it had."""
        group = self.file.member(self.file.root, _WEIGHTS, "Group")
        saved = [layer for layer in _saved_layers(self.file, group) if layer.names]
        pairs = {layer.name: layer for layer in _with_weights(self.label, model)}
        order = [pairs[layer.name] for layer in saved if layer.name in pairs]
        # Both come from one file, so the names agree, even where the order does not.
        if len(order) != len(saved) or len(order) != len(pairs):
            order = _match_in_order(self.label, saved, list(pairs.values()))
        with _all_or_nothing():
            _assign(_Fit(self.label), model, zip(order, saved, strict=True))
            _assign_own(_Fit(self.label), model, self.file, group)
            if getattr(model, "optimizer", None) is not None:
                self._restore_optimizer(model.optimizer, _pairs(order, saved))
        _finish(order)

    def _restore_optimizer(
        self, optimizer: Any, layers: list[tuple[Any, "_Saved"]]
    ) -> None:
        if _OPTIMIZER not in self.file.names(self.file.root):
            return
        group = self.file.member(self.file.root, _OPTIMIZER, "Group")
        names = _names(self.file, group, "weight_names")
        values = [_array(self.file, group, name) for name in names]
        if len(values) <= 2 and not any(value.any() for value in values[:1]):
            return  # It was saved before its first step.
        trained = {
            name: variable
            for layer, saved in layers
            for name, variable in _pairs(saved.names, layer.trainable_weights)
        }
        # The first versions put the weights into the order of their names.
        for order in (trained.values(), [v for _, v in sorted(trained.items())]):
            places = _optimizer_places(optimizer, names, list(dict.fromkeys(order)))
            if [v.shape for v in places] == [a.shape for a in values[: len(places)]]:
                for variable, value in _pairs(places, values):
                    variable.assign(value)
                return
        warnings.warn(
            f"The state of optimizer `{optimizer.name}` is not loaded from "
            f"{self.label}: the {len(values)} variables of the file do not fit the "
            f"{len(places)} of {type(optimizer).__name__}. Training starts with a new "
            "one.",
            stacklevel=4,
        )


def _pairs(some: Iterable[Any], others: Iterable[Any]) -> list[tuple[Any, Any]]:
    """What stands at the same place, as far as both go."""
    return list(zip(some, others, strict=False))


_INCOMPLETE = (KeyError, IndexError, AttributeError, TypeError, RecursionError)


def is_legacy(file: Hdf5) -> bool:
    """Whether an open file has the layout of the old format."""
    names = ("layer_names", "layer_names0")
    listed = any(file.attribute(file.root, name) is not None for name in names)
    return listed or _WEIGHTS in file.names(file.root)


def load_weights(
    who: str, model: Any, file: Hdf5, skip_mismatch: bool, by_name: bool
) -> None:
    """Read the weights of a model's layers, in their order or by their names."""
    label, group = file.label, file.root
    if _WEIGHTS in file.names(group) and not _names(file, group, "layer_names"):
        group = file.member(group, _WEIGHTS, "Group")
    elif not is_legacy(file):
        raise ValueError(
            f"{who}: {label} has no list of layers, so it is no file of Keras' old "
            "`.h5` format; if Keras 3 wrote it, let its name end in `.weights.h5`."
        )
    saved, fit = _saved_layers(file, group), _Fit(label, skip_mismatch, by_name)
    if by_name:
        found = {x.name: x for x in saved}
        named = [x for x in _layers(label, model) if x.name in found]
        pairs = [(x, found[x.name]) for x in named]
    else:
        saved = [x for x in saved if x.names]
        order = _match_in_order(label, saved, _with_weights(label, model))
        pairs = list(zip(order, saved, strict=True))
    with _all_or_nothing():
        _assign(fit, model, pairs)
        _assign_own(fit, model, file, group)
    for message in fit.skipped:
        warnings.warn(f"{message} It is left as it was.", stacklevel=4)
    _finish([layer for layer, _ in pairs])


@dataclass
class _Saved:
    """A layer of a file: its name and the places of its weights."""

    file: Hdf5
    group: Any
    name: str
    names: list[str]

    def arrays(self) -> Iterator[np.ndarray]:
        for name in self.names:
            yield _array(self.file, self.group, name)


def _saved_layers(file: Hdf5, group: Any) -> list[_Saved]:
    found = []
    for name in _names(file, group, "layer_names"):
        inner = group
        for part in name.split("/"):
            inner = file.member(inner, part, "Group")
        found.append(_Saved(file, inner, name, _names(file, inner, "weight_names")))
    return found


def _names(file: Hdf5, item: Any, name: str) -> list[str]:
    """A list of names noted beside a group, in one attribute or in several."""
    parts = [file.attribute(item, name)]
    if parts == [None]:
        numbered = (file.attribute(item, f"{name}{i}") for i in itertools.count())
        parts = list(itertools.takewhile(lambda part: part is not None, numbered))
    found: list[str] = []
    for part in parts:
        if not isinstance(part, list):
            file.refuse(item.name, f"has `{name}` {show(part)} instead of a list")
        found += part  # type: ignore[arg-type]
    return found


def _array(file: Hdf5, group: Any, name: str) -> np.ndarray:
    *above, last = name.split("/")
    for part in above:
        group = file.member(group, part, "Group")
    return file.array(group, last)


def _weights(layer: Any) -> list[Variable]:
    """The weights of a layer in the order of these files."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _layers(label: str, model: Any) -> list[Any]:
    """The layers of a model, whose weights the file lists; a layer has none."""
    if not hasattr(model, "layers"):
        raise DamagedFileError(
            f"{label} holds the weights of models, not of a {type(model).__name__}."
        )
    return model.layers


def _with_weights(label: str, model: Any) -> list[Any]:
    return [layer for layer in _layers(label, model) if layer.weights]


def _match_in_order(label: str, saved: Sequence[_Saved], layers: list[Any]) -> list:
    if len(saved) == len(layers):
        return layers

    def listed(named: Sequence[Any]) -> str:
        names = [f"`{x.name}`" for x in named[:6]] + ["..."] * (len(named) > 6)
        count = f"{len(named)} layer{'s' * (len(named) != 1)}"
        return f"{count} ({', '.join(names)})" if names else count

    raise ValueError(
        f"The weights in {label} do not fit the model: the file has weights for "
        f"{listed(saved)}, the model has {listed(layers)}. With by_name=True those "
        "whose names agree are loaded. Nothing was changed."
    )


class _Fit:
    """What to do about weights that do not fit: raise an error, or note and skip."""

    def __init__(
        self, label: str, skip_mismatch: bool = False, by_name: bool = False
    ) -> None:
        self.label, self.skip_mismatch, self.by_name = label, skip_mismatch, by_name
        self.skipped: list[str] = []

    def refuse(self, what: str, may_skip: bool = True) -> None:
        message = f"The weights in {self.label} do not fit the model: {what}."
        if not (self.skip_mismatch and may_skip):
            raise ValueError(f"{message} Nothing was changed.")
        self.skipped.append(message)


def _assign(fit: _Fit, model: Any, pairs: Any) -> None:
    for layer, saved in pairs:
        who = f"{type(layer).__name__} `{layer.name}`"
        if saved.name != layer.name:
            who += f" (`{saved.name}` in the file)"
        _assign_all(fit, who, _weights(layer), len(saved.names), saved.arrays())


def _assign_own(fit: _Fit, model: Any, file: Hdf5, group: Any) -> None:
    """The weights that a model has beside those of its layers."""
    if _TOP not in file.names(group):
        return
    inner = file.member(group, _TOP, "Group")
    saved = _Saved(file, inner, _TOP, _names(file, inner, "weight_names"))
    who = f"{type(model).__name__} `{model.name}` itself"
    _assign_all(fit, who, model._own_variables(), len(saved.names), saved.arrays())


def _assign_all(
    fit: _Fit,
    who: str,
    weights: Sequence[Variable],
    count: int,
    arrays: Iterator[np.ndarray],
) -> None:
    if len(weights) != count:
        what = f"{who} has {len(weights)} weights and the file holds {count} for it"
        fit.refuse(what, may_skip=fit.by_name)
        return
    for variable, array in zip(weights, arrays, strict=True):
        if variable.shape == array.shape:
            variable.assign(array)
        else:
            fit.refuse(
                f"{who} has a {variable.name} of shape {variable.shape}, the file one "
                f"of {array.shape}"
            )


@contextlib.contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Let what is assigned inside reach the variables at the end, unless it fails."""
    with bind((), (), open=True) as frame:
        yield
    write(list(frame.values), list(frame.values.values()))


def _finish(layers: Sequence[Any]) -> None:
    """Let layers that prepare something from their weights do so."""
    for layer in layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _optimizer_places(
    optimizer: Any, names: Sequence[str], trained: Sequence[Variable]
) -> list[Variable]:
    """The optimizer's variables in the order in which a file lists their values.

    Weights are counted in the order of the file. Keras 2 had no variable for the rate;
    up to 2.10 it listed all of one kind together, and later, as Keras 3, of one weight.
    """
    own, slots = optimizer.variables, getattr(optimizer, "_slots", None)
    if not slots or not names:
        return own
    known = optimizer._index
    if set(trained) != set(known):
        trained = list(known)
    slots = [[slot[known[v]] for v in trained] for slot in slots.values()]
    counter = names[0].rpartition("/")[2]
    if counter not in ("iteration", "iteration:0"):
        return [own[0], *(v for slot in slots for v in slot if v is not None)]
    moved = {
        before: after
        for old, new in zip(optimizer._slots.values(), slots, strict=True)
        for before, after in zip(old, new, strict=True)
        if before is not None and after is not None
    }
    rates = optimizer._rates if counter.endswith(":0") else []
    return [moved.get(v, v) for v in own if not any(v is rate for rate in rates)]


# --- Writing --------------------------------------------------------------------------


def save_legacy(
    who: str, model: Any, path: Path, overwrite: bool, include_optimizer: bool
) -> None:
    """Write a whole model as Keras 3 does when the name ends in `.h5`."""
    warnings.warn(
        f"{who}: {path.name} is written in Keras' old `.h5` format, which keeps less "
        f'than a `.keras` file: better is model.save("{path.stem}.keras").',
        stacklevel=4,
    )
    # All that can fail on the side of the model comes before the first file.
    facts, arrays = _describe(model, include_optimizer), _collect(model)
    optimizer = getattr(model, "optimizer", None) if include_optimizer else None
    state = _named_arrays(optimizer.variables) if optimizer is not None else []
    size = sum(a.nbytes for _, named in [*arrays, ("", state)] for _, a in named)
    with one_writer(model.variables) as writes, Replacing(who) as files:
        if not writes or not may_write(who, path, overwrite):
            return
        with files.open(path) as file, hdf5_image(size, file, path.parent) as root:
            for name, value in facts.items():
                root.attrs[name] = value
            _write_weights(root.create_group(_WEIGHTS), model, arrays)
            if state:
                _write_arrays(root.create_group(_OPTIMIZER), state)


def _describe(model: Any, include_optimizer: bool) -> dict[str, str | bytes]:
    """The attributes of a file: what the model is and how it was compiled."""
    config = serialize_shared(model)
    compiled = config.get("compile_config")
    described = {
        "class_name": registry.get_registered_name(type(model)),
        "config": config["config"],
    }
    facts: dict[str, Any] = {"model_config": described}
    if compiled is not None and compiled.get("optimizer") and include_optimizer:
        optimizer = compiled.pop("optimizer")
        facts["training_config"] = compiled | {
            "loss": _full_names(compiled.get("loss")),
            "optimizer_config": {
                "class_name": optimizer["registered_name"] or optimizer["class_name"],
                "config": optimizer["config"],
            },
        }
    return {
        "keras_version": KERAS_VERSION,
        "backend": "jax",
        **{name: json.dumps(value).encode() for name, value in facts.items()},
    }


def _full_names(loss: Any) -> Any:
    """Losses without the short names, `mse`, which Keras reads in other files only."""
    if isinstance(loss, dict) and "class_name" not in loss:
        return {key: _full_names(value) for key, value in loss.items()}
    if isinstance(loss, list):
        return [_full_names(value) for value in loss]
    if isinstance(loss, str):
        with contextlib.suppress(ValueError):  # a name for what the data will decide
            return getattr(losses.get(loss), "__name__", loss)
    return loss


_Named = list[tuple[str, np.ndarray]]


def _collect(model: Any) -> list[tuple[str, _Named]]:
    """The arrays of each layer, and of the model itself, on the host."""
    # In this order a name that begins another one comes first.
    layers = sorted(model.layers, key=lambda layer: layer.name)
    found = [(layer.name, _named_arrays(_weights(layer))) for layer in layers]
    return [*found, (_TOP, _named_arrays(model._own_variables()))]


def _named_arrays(variables: Sequence[Variable]) -> _Named:
    """Arrays by the paths of variables, numbered where several have the same."""
    named: dict[str, np.ndarray] = {}
    # First all references, then all copies: a step that ends meanwhile does no harm.
    for path, value in [(v.path, v.raw) for v in variables]:
        name, number = path, 1
        while name in named:
            name, number = f"{path}_{number}", number + 1
        named[name] = gather(value)
    return list(named.items())


def _write_weights(group: Any, model: Any, arrays: list[tuple[str, _Named]]) -> None:
    _write_names(group, "layer_names", [layer.name for layer in model.layers])
    group.attrs["backend"] = b"jax"
    group.attrs["keras_version"] = KERAS_VERSION.encode()
    for name, named in arrays:
        _write_arrays(group.require_group(name), named)


def _write_arrays(group: Any, named: _Named) -> None:
    _write_names(group, "weight_names", [name for name, _ in named])
    for name, array in named:
        dataset = group.create_dataset(name, data=array)
        if array.dtype.name in EXTENSION_DTYPES:
            dataset.attrs["dtype"] = array.dtype.name


def _write_names(group: Any, name: str, names: list[str]) -> None:
    whole = np.asarray([item.encode() for item in names])
    count = -(-whole.nbytes // _ATTRIBUTE_LIMIT)
    if count <= 1:
        group.attrs[name] = whole
        return
    rows = max(1, _ATTRIBUTE_LIMIT // whole.itemsize)
    for i, start in enumerate(range(0, len(whole), rows)):
        group.attrs[f"{name}{i}"] = whole[start : start + rows]
