"""EfficientNetV2: its early blocks are plain convolutions, faster to train."""

import math
from collections.abc import Callable
from typing import Any

from kerasnb.applications.efficientnet import (
    add_shortcut,
    classifier,
    kernels,
    norm_swish,
    weigh_channels,
)
from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import STORE, Files, Network, describe, shared
from kerasnb.core.graph import KerasTensor
from kerasnb.initializers import Constant
from kerasnb.layers import Conv2D, DepthwiseConv2D, Normalization, Rescaling
from kerasnb.models.functional import Functional

# How many, filters in and out, how much wider inside, stride; plain convolutions up to
# stride 2 for the third time, depthwise ones that weigh channels after it.
_BLOCKS = {
    "s": (
        (2, 24, 24, 1, 1),
        (4, 24, 48, 4, 2),
        (4, 48, 64, 4, 2),
        (6, 64, 128, 4, 2),
        (9, 128, 160, 6, 1),
        (15, 160, 256, 6, 2),
    ),
    "m": (
        (3, 24, 24, 1, 1),
        (5, 24, 48, 4, 2),
        (5, 48, 80, 4, 2),
        (7, 80, 160, 4, 2),
        (14, 160, 176, 6, 1),
        (18, 176, 304, 6, 2),
        (5, 304, 512, 6, 1),
    ),
    "l": (
        (4, 32, 32, 1, 1),
        (7, 32, 64, 4, 2),
        (7, 64, 96, 4, 2),
        (10, 96, 192, 4, 2),
        (19, 192, 224, 6, 1),
        (25, 224, 384, 6, 2),
        (7, 384, 640, 6, 1),
    ),
    "b": (
        (1, 32, 16, 1, 1),
        (2, 16, 32, 4, 2),
        (2, 32, 48, 4, 2),
        (3, 48, 96, 4, 2),
        (5, 96, 112, 6, 1),
        (8, 112, 192, 6, 2),
    ),
}
PLAIN = 3  # so many rows of each table are plain convolutions
NORM = {"momentum": 0.9}
_MEAN = [0.485, 0.456, 0.406]
_VARIANCE = [0.229**2, 0.224**2, 0.225**2]

preprocess_input = preprocessing(None)


def _rounded(filters: float) -> int:
    return max(8, int(filters + 4) // 8 * 8)


def _variant(
    label: str, size: int, width: float, depth: float, *hashes: str
) -> Callable[..., Functional]:
    title = f"EfficientNetV2{label.upper()}"
    kind = label[0]
    stem = "efficientnetv2-"

    def make(
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        input_shape: tuple | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        include_preprocessing: bool = True,
        name: str = stem + label,
    ) -> Functional:
        names = (f"{stem}{label}.h5", f"{stem}{label}_notop.h5")
        folder = f"{STORE}efficientnet_v2/"
        network = Network(
            title,
            size,
            Files(folder, names, (hashes[0], hashes[1])),
            **shared(locals()),
        )
        x = network.image
        if include_preprocessing and kind == "b" and network.channels == 3:
            x = Rescaling(scale=1 / 255)(x)
            x = Normalization(mean=_MEAN, variance=_VARIANCE, axis=network.axis)(x)
        elif include_preprocessing:
            x = Rescaling(scale=1 / 128, offset=-1)(x)
        x = _layers(network, x, _BLOCKS[kind], width, depth)
        return network.model(x, name)

    return describe(make, __name__, title, size, "Tan and Le, 2021")


def _layers(network: Network, x: Any, blocks: tuple, width: float, depth: float) -> Any:
    x = _conv(x, _rounded(blocks[0][1] * width), "stem_conv", 3, strides=2)
    x = norm_swish(network, x, "stem_", **NORM)
    total = sum(block[0] for block in blocks)
    number = 0
    for i, (count, inside, filters, wider, stride) in enumerate(blocks, 1):
        channels = _rounded(inside * width)
        make = _plain if i <= PLAIN else _depthwise
        for j in range(math.ceil(depth * count)):
            last, name = _rounded(filters * width), f"block{i}{chr(97 + j)}_"
            shortcut = x
            x = make(network, x, channels, last, wider, stride if j == 0 else 1, name)
            if (stride == 1 or j > 0) and channels == last:
                x = add_shortcut(x, shortcut, 0.2 * number / total, name)
            channels = last
            number += 1
    x = _conv(x, _rounded(1280 * width), "top_conv")
    x = norm_swish(network, x, "top_", **NORM)
    names = ("avg_pool", "max_pool")
    start = classifier() | {"bias_initializer": Constant(0.0)}
    return network.head(x, names=names, dropout=0.2, **start)


def _conv(x: Any, filters: int, name: str, size: int = 1, strides: int = 1) -> Any:
    return Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=kernels(),
        name=name,
    )(x)


def _plain(
    network: Network,
    x: Any,
    channels: int,
    filters: int,
    wider: int,
    stride: int,
    name: str,
) -> Any:
    if wider == 1:
        x = _conv(x, filters, f"{name}project_conv", 3, stride)
        return norm_swish(network, x, f"{name}project_", **NORM)
    x = _conv(x, channels * wider, f"{name}expand_conv", 3, stride)
    x = norm_swish(network, x, f"{name}expand_", **NORM)
    x = _conv(x, filters, f"{name}project_conv")
    return network.norm(x, f"{name}project_bn", **NORM)


def _depthwise(
    network: Network,
    x: Any,
    channels: int,
    filters: int,
    wider: int,
    stride: int,
    name: str,
) -> Any:
    x = _conv(x, channels * wider, f"{name}expand_conv")
    x = norm_swish(network, x, f"{name}expand_", **NORM)
    x = DepthwiseConv2D(
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=kernels(),
        name=f"{name}dwconv2",
    )(x)
    x = norm_swish(network, x, name, **NORM)
    x = weigh_channels(network, x, max(1, int(channels * 0.25)), name)
    x = _conv(x, filters, f"{name}project_conv")
    return network.norm(x, f"{name}project_bn", **NORM)


EfficientNetV2B0 = _variant(
    "b0",
    224,
    1.0,
    1.0,
    "21ecbf6da12460d5c40bb2f29ceb2188",
    "893217f2bb855e2983157299931e43ff",
)
EfficientNetV2B1 = _variant(
    "b1",
    240,
    1.0,
    1.1,
    "069f0534ff22adf035c89e2d9547a9dc",
    "0e80663031ca32d657f9caa404b6ec37",
)
EfficientNetV2B2 = _variant(
    "b2",
    260,
    1.1,
    1.2,
    "424e49f28180edbde1e94797771950a7",
    "1dfe2e7a5d45b6632553a8961ea609eb",
)
EfficientNetV2B3 = _variant(
    "b3",
    300,
    1.2,
    1.4,
    "1f1fc43bd98a6e4fd8fdfd551e02c7a0",
    "f6abf7b5849ac99a89b50dd3fd532856",
)
EfficientNetV2S = _variant(
    "s",
    384,
    1.0,
    1.0,
    "e1d88a8495beba45748fedd0cecbe016",
    "af0682fb74e8c54910f2d4393339c070",
)
EfficientNetV2M = _variant(
    "m",
    480,
    1.0,
    1.0,
    "a3bf6aa3276309f4fc6a34aa114c95cd",
    "1b8dc055df72dde80d614482840fe342",
)
EfficientNetV2L = _variant(
    "l",
    480,
    1.0,
    1.0,
    "27e6d408b53c7ebc868fefa357689935",
    "b0b66b5c863aef5b46e8608fe1711615",
)
