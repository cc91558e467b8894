"""EfficientNet: one small network, made wider, deeper and sharper together."""

import math
from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import (
    Files,
    Network,
    divisible,
    same_padding,
    variant,
)
from kerasnb.initializers import VarianceScaling
from kerasnb.layers import (
    Activation,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Normalization,
    Rescaling,
    Reshape,
    ZeroPadding2D,
    add,
    multiply,
)

# Kernel, how many, filters in and out, how much wider inside, stride.
_BLOCKS = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)
_STDDEV = (0.229, 0.224, 0.225)

preprocess_input = preprocessing(None)


def kernels() -> VarianceScaling:
    """What convolutions begin with."""
    return VarianceScaling(2.0, "fan_out", "truncated_normal")


def classifier() -> dict[str, Any]:
    """What the classifier begins with."""
    return {"kernel_initializer": VarianceScaling(1 / 3, "fan_out", "uniform")}


def efficientnet(
    network: Network, x: Any, width: float, depth: float, dropout: float
) -> Any:
    """The layers of the first EfficientNet."""
    x = Rescaling(1 / 255)(x)
    x = Normalization(axis=network.axis)(x)
    if network.weights == "imagenet":
        # The published weights expect this once more.
        x = Rescaling([1 / math.sqrt(s) for s in _STDDEV])(x)
    x = ZeroPadding2D(same_padding(network, x, 3), name="stem_conv_pad")(x)
    x = _conv(x, divisible(32 * width), "stem_conv", 3, strides=2, padding="valid")
    x = norm_swish(network, x, "stem_")
    total = sum(math.ceil(depth * block[1]) for block in _BLOCKS)
    number = 0
    for i, (kernel, count, inside, filters, wider, stride) in enumerate(_BLOCKS, 1):
        channels = divisible(inside * width)
        for j in range(math.ceil(depth * count)):
            x = _block(
                network,
                x,
                channels,
                divisible(filters * width),
                kernel,
                stride if j == 0 else 1,
                wider,
                0.2 * number / total,
                f"block{i}{chr(97 + j)}_",
            )
            channels = divisible(filters * width)
            number += 1
    x = _conv(x, divisible(1280 * width), "top_conv")
    x = norm_swish(network, x, "top_")
    names = ("avg_pool", "max_pool")
    return network.head(x, names=names, dropout=dropout, **classifier())


def _conv(x: Any, filters: int, name: str, size: int = 1, **options: Any) -> Any:
    options = {"padding": "same"} | options
    return Conv2D(
        filters,
        size,
        use_bias=False,
        kernel_initializer=kernels(),
        name=name,
        **options,
    )(x)


def norm_swish(network: Network, x: Any, name: str, **options: Any) -> Any:
    """Batch normalisation and swish."""
    x = network.norm(x, f"{name}bn", **options)
    return Activation("swish", name=f"{name}activation")(x)


def weigh_channels(network: Network, x: Any, narrow: int, name: str) -> Any:
    """Each channel times a number from 0 to 1 that the whole image decides."""
    filters = x.shape[network.axis]
    shape = (filters, 1, 1) if network.axis == 1 else (1, 1, filters)
    weight = GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    weight = Reshape(shape, name=f"{name}se_reshape")(weight)
    for count, activation, step in (
        (narrow, "swish", "reduce"),
        (filters, "sigmoid", "expand"),
    ):
        weight = Conv2D(
            count,
            1,
            padding="same",
            activation=activation,
            kernel_initializer=kernels(),
            name=f"{name}se_{step}",
        )(weight)
    return multiply([x, weight], name=f"{name}se_excite")


def _block(
    network: Network,
    x: Any,
    channels: int,
    filters: int,
    kernel: int,
    stride: int,
    wider: int,
    drop: float,
    name: str,
) -> Any:
    shortcut = x
    if wider != 1:
        x = _conv(x, channels * wider, f"{name}expand_conv")
        x = norm_swish(network, x, f"{name}expand_")
    if stride == 2:
        pad = same_padding(network, x, kernel)
        x = ZeroPadding2D(pad, name=f"{name}dwconv_pad")(x)
    x = DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        depthwise_initializer=kernels(),
        name=f"{name}dwconv",
    )(x)
    x = norm_swish(network, x, name)
    x = weigh_channels(network, x, max(1, int(channels * 0.25)), name)
    x = _conv(x, filters, f"{name}project_conv")
    x = network.norm(x, f"{name}project_bn")
    if stride == 1 and channels == filters:
        x = add_shortcut(x, shortcut, drop, name)
    return x


def add_shortcut(x: Any, shortcut: Any, drop: float, name: str) -> Any:
    """The sum; in training `x` is left out for some of the images."""
    if drop > 0:
        x = Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return add([x, shortcut], name=f"{name}add")


# Width, depth, side of the images, dropout, hashes of the files.
_VARIANTS = (
    (
        (1.0, 1.0, 224, 0.2),
        "902e53a9f72be733fc0bcb005b3ebbac",
        "50bc09e76180e00e4465e1a485ddc09d",
    ),
    (
        (1.0, 1.1, 240, 0.2),
        "1d254153d4ab51201f1646940f018540",
        "74c4e6b3e1f6a1eea24c589628592432",
    ),
    (
        (1.1, 1.2, 260, 0.3),
        "b15cce36ff4dcbd00b6dd88e7857a6ad",
        "111f8e2ac8aa800a7a99e3239f7bfb39",
    ),
    (
        (1.2, 1.4, 300, 0.3),
        "ffd1fdc53d0ce67064dc6a9c7960ede0",
        "af6d107764bb5b1abb91932881670226",
    ),
    (
        (1.4, 1.8, 380, 0.4),
        "18c95ad55216b8f92d7e70b3a046e2fc",
        "ebc24e6d6c33eaebbd558eafbeedf1ba",
    ),
    (
        (1.6, 2.2, 456, 0.4),
        "ace28f2a6363774853a83a0b21b9421a",
        "38879255a25d3c92d5e44e04ae6cec6f",
    ),
    (
        (1.8, 2.6, 528, 0.5),
        "165f6e37dce68623721b423839de8be5",
        "9ecce42647a20130c1f39a5d4cb75743",
    ),
    (
        (2.0, 3.1, 600, 0.5),
        "8c03f828fec3ef71311cd463b6759d99",
        "cbcfe4450ddf6f3ad90b1b398090fe4a",
    ),
)


def _variant(i: int) -> Any:
    (width, depth, size, dropout), *hashes = _VARIANTS[i]
    name = f"efficientnetb{i}"
    folder = "https://storage.googleapis.com/keras-applications/"
    return variant(
        efficientnet,
        f"EfficientNetB{i}",
        name,
        size,
        Files(folder, (f"{name}.h5", f"{name}_notop.h5"), (hashes[0], hashes[1])),
        "Tan and Le, 2019",
        width=width,
        depth=depth,
        dropout=dropout,
    )


EfficientNetB0 = _variant(0)
EfficientNetB1 = _variant(1)
EfficientNetB2 = _variant(2)
EfficientNetB3 = _variant(3)
EfficientNetB4 = _variant(4)
EfficientNetB5 = _variant(5)
EfficientNetB6 = _variant(6)
EfficientNetB7 = _variant(7)
