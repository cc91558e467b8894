"""Layers as plain data: `keras.layers.serialize` and `deserialize`."""

from typing import Any

from kerasnb.core.configurable import Catalog
from kerasnb.core.errors import check, show
from kerasnb.layers.layer import Layer

_catalog = Catalog("layer", Layer, {"Layer": Layer})


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer as plain data, weights aside.

    >>> serialize(Layer(name="it"))["config"]["name"]
    'it'
    """
    return _catalog.serialize(layer)


def deserialize(config: dict[str, Any], custom_objects: dict | None = None) -> Layer:
    """The layer that `serialize` wrote as `config`, with new weights.

    >>> deserialize(serialize(Layer(name="it"))).name
    'it'
    """
    good = isinstance(config, dict) and config
    check(good, "layers.deserialize", "config", config, "what layers.serialize gave")
    layer = _catalog.deserialize(config, custom_objects)
    if not isinstance(layer, Layer):
        raise ValueError(
            f"layers.deserialize: `config` describes {show(layer)}, not a layer."
        )
    return layer
