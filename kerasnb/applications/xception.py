"""Xception: separable convolutions with shortcuts around them."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.layers import Activation, Conv2D, MaxPooling2D, SeparableConv2D, add

# Block number, and the filters of its separable convolutions.
_NARROWING = {2: (128, 128), 3: (256, 256), 4: (728, 728), 13: (728, 1024)}

preprocess_input = preprocessing("tf")


def xception(network: Network, x: Any) -> Any:
    """The layers of Xception."""
    for i, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(x)
        x = network.norm(x, f"{name}_bn")
        x = Activation("relu", name=f"{name}_act")(x)
    for block in range(2, 14):
        if block in _NARROWING:
            x = _narrowing(network, x, block)
            continue
        shortcut = x
        for i in (1, 2, 3):
            x = _separable(network, x, 728, f"block{block}_sepconv{i}")
        x = add([x, shortcut])
    for i, filters in enumerate((1536, 2048), 1):
        name = f"block14_sepconv{i}"
        x = _separable(network, x, filters, name, first="convolve")
        x = Activation("relu", name=f"{name}_act")(x)
    return network.head(x)


def _narrowing(network: Network, x: Any, block: int) -> Any:
    """Half the size, and a shortcut of the same size."""
    filters = _NARROWING[block]
    shortcut = Conv2D(filters[-1], 1, strides=2, padding="same", use_bias=False)(x)
    shortcut = network.norm(shortcut)
    for i, count in enumerate(filters, 1):
        first = "convolve" if block == 2 and i == 1 else "activate"
        x = _separable(network, x, count, f"block{block}_sepconv{i}", first)
    x = MaxPooling2D(3, strides=2, padding="same", name=f"block{block}_pool")(x)
    return add([x, shortcut])


def _separable(
    network: Network, x: Any, filters: int, name: str, first: str = "activate"
) -> Any:
    if first == "activate":
        x = Activation("relu", name=f"{name}_act")(x)
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return network.norm(x, f"{name}_bn")


Xception = variant(
    xception,
    "Xception",
    "xception",
    299,
    usual_files(
        "xception",
        "xception",
        "0a58e3b7378bc2990ea3b43d5981f1f6",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    "Chollet, 2016",
    smallest=71,
)
