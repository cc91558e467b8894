"""Inception: several views of the same image side by side, put together again.

A block is a list of branches and a branch a list of steps: `(filters, height, width)`
is a convolution, `HALVE` after it makes it halve the image, "average" and "max" pool,
and a `Fork` runs two steps on the same image.
"""

from dataclasses import dataclass
from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.layers import (
    Activation,
    AveragePooling2D,
    Concatenate,
    Conv2D,
    MaxPooling2D,
)

HALVE = {"strides": 2, "padding": "valid"}
WHOLE = {"padding": "valid"}

preprocess_input = preprocessing("tf")


@dataclass(frozen=True)
class Fork:
    """Steps that all see the same image; their outputs stand side by side."""

    steps: tuple
    name: str | None = None


def convolve(
    network: Network,
    x: Any,
    filters: int,
    height: int,
    width: int,
    options: dict | None = None,
) -> Any:
    """Convolution, batch normalisation without scale, ReLU."""
    options = {"padding": "same"} | (options or {})
    x = Conv2D(filters, (height, width), use_bias=False, **options)(x)
    x = network.norm(x, scale=False)
    return Activation("relu")(x)


def mix(network: Network, x: Any, branches: list, name: str | None) -> Any:
    """The outputs of all branches side by side."""
    outputs = []
    for branch in branches:
        out = x
        for step in branch:
            out = _step(network, out, step)
        outputs.append(out)
    return Concatenate(axis=network.axis, name=name)(outputs)


def _step(network: Network, x: Any, step: Any) -> Any:
    if step == "average":
        return AveragePooling2D(3, strides=1, padding="same")(x)
    if step == "max":
        return MaxPooling2D(3, strides=2)(x)
    if isinstance(step, Fork):
        return mix(network, x, [[s] for s in step.steps], step.name)
    return convolve(network, x, *step)


def stem(network: Network, x: Any) -> Any:
    """The first layers of the Inception family."""
    x = convolve(network, x, 32, 3, 3, HALVE)
    x = convolve(network, x, 32, 3, 3, WHOLE)
    x = convolve(network, x, 64, 3, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = convolve(network, x, 80, 1, 1, WHOLE)
    x = convolve(network, x, 192, 3, 3, WHOLE)
    return MaxPooling2D(3, strides=2)(x)


def _near(pooled: int) -> list:
    return [
        [(64, 1, 1)],
        [(48, 1, 1), (64, 5, 5)],
        [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
        ["average", (pooled, 1, 1)],
    ]


def _crossed(n: int) -> list:
    return [
        [(192, 1, 1)],
        [(n, 1, 1), (n, 1, 7), (192, 7, 1)],
        [(n, 1, 1), (n, 7, 1), (n, 1, 7), (n, 7, 1), (192, 1, 7)],
        ["average", (192, 1, 1)],
    ]


def _wide(fork: str) -> list:
    ends = ((384, 1, 3), (384, 3, 1))
    return [
        [(320, 1, 1)],
        [(384, 1, 1), Fork(ends, fork)],
        [(448, 1, 1), (384, 3, 3), Fork(ends)],
        ["average", (192, 1, 1)],
    ]


_BLOCKS = [
    *(_near(pooled) for pooled in (32, 64, 64)),
    [
        [(384, 3, 3, HALVE)],
        [(64, 1, 1), (96, 3, 3), (96, 3, 3, HALVE)],
        ["max"],
    ],
    *(_crossed(n) for n in (128, 160, 160, 192)),
    [
        [(192, 1, 1), (320, 3, 3, HALVE)],
        [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3, HALVE)],
        ["max"],
    ],
    *(_wide(f"mixed9_{i}") for i in (0, 1)),
]


def inception(network: Network, x: Any) -> Any:
    """The layers of the third Inception."""
    x = stem(network, x)
    for i, block in enumerate(_BLOCKS):
        x = mix(network, x, block, f"mixed{i}")
    return network.head(x)


InceptionV3 = variant(
    inception,
    "InceptionV3",
    "inception_v3",
    299,
    usual_files(
        "inception_v3",
        "inception_v3",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "Szegedy et al., 2015",
    smallest=75,
)
