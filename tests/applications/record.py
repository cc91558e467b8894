"""What Keras' architectures are made of, in a file: `applications.json`.

Keras takes minutes to build all of its architectures, so their facts are recorded once
and `test_architectures.py` compares ours with the record. To write it again, after an
update of Keras or a new row:

    KERAS_BACKEND=jax python -m tests.applications.record

and to see the first differences of one row beside Keras itself:

    KERAS_BACKEND=jax python -m tests.applications.record "MobileNet alpha=0.25"

A row is what a model is called with; its facts are the numbers of layers, of weights
and of parameters, and hashes of what is too long to keep: the whole configuration
(layers, arguments, connections), the weights (layer, name, shape, dtype, trainable),
the file that would be downloaded (name, address, hash) with the number of warnings.
"""

import ast
import contextlib
import hashlib
import itertools
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from kerasnb import applications, config, initializers
from kerasnb.applications import network
from kerasnb.applications.network import Network
from kerasnb.core.configurable import serialize
from kerasnb.core.graph import KerasTensor, map_structure
from kerasnb.core.naming import reset_names
from kerasnb.layers import Layer
from kerasnb.models.functional import Functional

FILE = Path(__file__).parents[1] / "files" / "applications.json"

# One of each family, the smallest images it takes, whether the channels may come first.
FAMILIES = {
    "ConvNeXtTiny": (32, False),
    "DenseNet121": (32, False),
    "EfficientNetB0": (32, True),
    "EfficientNetV2B0": (32, True),
    "InceptionResNetV2": (75, True),
    "InceptionV3": (75, True),
    "MobileNet": (32, True),
    "MobileNetV2": (32, True),
    "MobileNetV3Small": (32, True),
    "NASNetMobile": (32, False),
    "ResNet50": (32, True),
    "ResNet50V2": (32, True),
    "VGG16": (32, True),
    "Xception": (71, False),
}


def rows() -> list[str]:
    """The models of the record: a name and options as in a call."""
    names = [name for name in vars(applications) if name[0].isupper()]
    made = names + [f"{n} include_top=False" for n in names if n not in FAMILIES]
    new = "weights=None"
    for name, (side, channels_first) in FAMILIES.items():
        small = f"{name} {new} input_shape=({side},{side},3)"
        odd = f"{name} {new} include_top=False input_shape=({side + 6},{side + 13},1)"
        # Keras raises KeyError for other names of this family.
        named = "" if name == "EfficientNetV2B0" else " name='body'"
        made += [
            f"{small} classes=7 classifier_activation=None",
            f"{name} include_top=False pooling='avg'",
            f"{odd} pooling='max'{named}",
        ]
        if channels_first:
            made.append(f"{name} {new} data_format='channels_first'")
    for alpha, top, side in ((0.25, True, 128), (0.5, False, 160), (0.75, True, 192)):
        sized = f"input_shape=({side},{side},3)"
        made.append(f"MobileNet alpha={alpha} include_top={top} {sized}")
    made.append(f"MobileNet {new} alpha=0.3 depth_multiplier=2 dropout=0.5")
    for alpha in (0.35, 0.5, 0.75):
        made.append(f"MobileNetV2 alpha={alpha} input_shape=(96,96,3)")
    made += [f"MobileNetV2 alpha={alpha} include_top=False" for alpha in (1.3, 1.4)]
    plain = "minimalistic=True dropout_rate=0.0 include_preprocessing=False"
    for name in ("MobileNetV3Small", "MobileNetV3Large"):
        made += [
            f"{name} alpha=0.75",
            f"{name} minimalistic=True include_top=False",
            f"{name} {new} alpha=1.25 {plain}",
        ]
    for name in ("ConvNeXtTiny", "EfficientNetV2B0", "EfficientNetV2S"):
        made.append(f"{name} {new} include_preprocessing=False")
    return made


def options_of(row: str) -> tuple[str, dict[str, Any]]:
    """The name of a row and its keywords."""
    name, *words = row.split(" ")
    pairs = (word.split("=") for word in words)
    return name, {key: ast.literal_eval(value) for key, value in pairs}


# --- Facts of a model -----------------------------------------------------------------


def facts(row: str, library: Any = applications) -> dict[str, Any]:
    """All that is compared, of our model or of Keras'."""
    ours = library is applications
    name, options = options_of(row)
    data_format = options.pop("data_format", "channels_last")
    fetched: list[tuple] = []

    def fetch(fname: str, origin: str, **how: Any) -> str:
        fetched.append((fname, origin, how.get("file_hash")))
        return fname

    if ours:
        settings, write, building = config, serialize, _quick
    else:
        import keras

        settings, building = keras.config, quick_keras
        write = keras.saving.serialize_keras_object
    with (
        warnings.catch_warnings(record=True) as caught,
        building(fetch),
        _image_data_format(settings, data_format),
    ):
        warnings.simplefilter("always")
        model = getattr(library, name)(**options)
    return {
        "warnings": sum(w.category is UserWarning for w in caught),
        "layers": [layer.name for layer in model.layers],
        "parameters": model.count_params(),
        "config": canonical(write(model)),
        "weights": [
            (_inside(w.path), tuple(w.shape), str(w.dtype), w.trainable)
            for w in model.weights
        ],
        "file": fetched,
    }


def _inside(path: str) -> str:
    """Layer and name of a weight: Keras puts scopes around the layers of NASNet."""
    return "/".join(path.split("/")[-2:])


def canonical(value: Any) -> Any:
    """A configuration without what the two libraries say differently, or not at all.

    That is: None; the shape that a layer without weights was built for; `training` of
    calls, which a model decides anew; and the axis of the channels, 3 or -1.
    """
    if isinstance(value, dict):
        dropped = {"build_config", "compile_config", "registered_name", "training"}
        kept = {k: canonical(value[k]) for k in sorted(value.keys() - dropped)}
        if kept.get("axis") in (3, [3], [-1]):
            kept["axis"] = -1
        return {key: item for key, item in kept.items() if item is not None}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def brief(found: dict[str, Any]) -> list:
    """The facts as the record keeps them."""
    return [
        len(found["layers"]),
        len(found["weights"]),
        found["parameters"],
        _hash(found["config"]),
        _hash(found["weights"]),
        _hash([found["file"], found["warnings"]]),
    ]


def _hash(part: Any) -> str:
    return hashlib.md5(json.dumps(part).encode()).hexdigest()[:12]


def published(row: str) -> str:
    """The last of our brief facts, the file to download, without a model to build."""
    name, options = options_of(row)
    fetched: list[tuple] = []

    def fetch(fname: str, origin: str, **how: Any) -> str:
        fetched.append((fname, origin, how.get("file_hash")))
        return fname

    def stop(made: Network) -> None:
        raise _FirstLayerError(made)

    with (
        warnings.catch_warnings(record=True) as caught,
        mock.patch.object(
            Network, "image", property(stop, lambda *_: None), create=True
        ),
        mock.patch.object(network, "get_file", fetch),
    ):
        warnings.simplefilter("always")
        try:
            getattr(applications, name)(**options)
        except _FirstLayerError as error:
            error.args[0].files.fetch(options.get("include_top", True))
    return _hash([fetched, sum(w.category is UserWarning for w in caught)])


class _FirstLayerError(Exception):
    """Carries a network whose first layer was about to be made."""


# --- Building without the cost of it --------------------------------------------------


_traced: dict[str, KerasTensor] = {}


@contextlib.contextmanager
def _quick(fetch: Any) -> Iterator[None]:
    """Ours: weights are zeros, layers alike are traced once, nothing is fetched."""
    trace = Layer.compute_output_spec

    def trace_once(layer: Layer, *args: Any, **kwargs: Any) -> Any:
        config = layer.get_config() | {"name": None}
        shapes = map_structure(lambda x: getattr(x, "shape", x), [args, kwargs])
        key = f"{type(layer)} {config} {shapes}"
        if key not in _traced:
            _traced[key] = trace(layer, *args, **kwargs)
        return KerasTensor(_traced[key].shape, _traced[key].dtype)

    reset_names()
    with (
        mock.patch.object(initializers.VarianceScaling, "__call__", _zeros),
        mock.patch.object(Layer, "compute_output_spec", trace_once),
        mock.patch.object(network, "get_file", fetch),
        mock.patch.object(Functional, "load_weights"),
    ):
        yield


@contextlib.contextmanager
def quick_keras(fetch: Any = None) -> Iterator[None]:
    """The same of Keras, which compiles a program for every shape of a weight."""
    import keras

    keras.backend.clear_session()
    kinds = keras.initializers
    with (
        mock.patch.object(kinds.VarianceScaling, "__call__", _zeros),
        mock.patch.object(kinds.Zeros, "__call__", _zeros),
        mock.patch.object(kinds.Ones, "__call__", _zeros),
        mock.patch.object(keras.src.utils.file_utils, "get_file", fetch),
        mock.patch.object(keras.Model, "load_weights"),
    ):
        yield


def _zeros(self: Any, shape: Any, dtype: Any = None, **_: Any) -> Any:
    return jax.device_put(np.zeros(shape, dtype or "float32"))


@contextlib.contextmanager
def _image_data_format(config: Any, data_format: str) -> Iterator[None]:
    before = config.image_data_format()
    config.set_image_data_format(data_format)
    try:
        yield
    finally:
        config.set_image_data_format(before)


# --- The record -----------------------------------------------------------------------


def differences(mine: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """Where two nested values differ, a line for each place."""
    if isinstance(mine, dict) and isinstance(wanted, dict):
        for key in sorted(mine.keys() | wanted.keys()):
            yield from differences(mine.get(key), wanted.get(key), f"{where}.{key}")
    elif isinstance(mine, list | tuple) and isinstance(wanted, list | tuple):
        if len(mine) != len(wanted):
            yield f"{where}: {len(mine)} here, {len(wanted)} in Keras"
        for i, pair in enumerate(zip(mine, wanted, strict=False)):
            yield from differences(*pair, f"{where}[{i}]")
    elif mine != wanted or type(mine) is not type(wanted):
        yield f"{where}: {mine!r} here, {wanted!r} in Keras"


def main(*chosen: str) -> None:
    """Write the record, or print how the chosen rows differ."""
    import keras

    for row in chosen:
        print(row)
        pair = facts(row), facts(row, keras.applications)
        print(*itertools.islice(differences(*pair), 30), sep="\n")
    if not chosen:
        lines = [
            f"{json.dumps(row)}: {json.dumps(brief(facts(row, keras.applications)))}"
            for row in rows()
        ]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
