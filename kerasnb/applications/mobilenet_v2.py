"""MobileNetV2: blocks that widen, filter each channel, and narrow again."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.mobilenet import check_alpha, trained_size, usual_size
from kerasnb.applications.network import (
    KERNELS,
    STORE,
    Files,
    Network,
    describe,
    divisible,
    same_padding,
    shared,
)
from kerasnb.core.graph import KerasTensor
from kerasnb.layers import Add, Conv2D, DepthwiseConv2D, ReLU, ZeroPadding2D
from kerasnb.models.functional import Functional

# Filters, stride of the first, how many in a row.
_BLOCKS = (
    (16, 1, 1),
    (24, 2, 2),
    (32, 2, 3),
    (64, 2, 4),
    (96, 1, 3),
    (160, 2, 3),
    (320, 1, 1),
)
_SIZES = (96, 128, 160, 192, 224)
_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
NORM = {"epsilon": 1e-3, "momentum": 0.999}

preprocess_input = preprocessing("tf")


def MobileNetV2(  # noqa: D103 (`describe` writes it)
    input_shape: tuple | None = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: str | None = "imagenet",
    input_tensor: KerasTensor | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Functional:
    if weights == "imagenet":
        check_alpha("MobileNetV2", alpha, _ALPHAS)
    if input_shape is None and input_tensor is not None:
        input_shape = tuple(input_tensor.shape[1:])
    network = Network(
        "MobileNetV2",
        usual_size(input_shape, _SIZES),
        **shared(locals()),
    )
    rows = trained_size(network, _SIZES)
    file = f"mobilenet_v2_{KERNELS}_{float(alpha)}_{rows}"
    names = (f"{file}.h5", f"{file}_no_top.h5")
    network.files = Files(f"{STORE}mobilenet_v2/", names)
    filters = divisible(32 * alpha)
    x = Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name="Conv1")(
        network.image
    )
    x = ReLU(6.0, name="Conv1_relu")(network.norm(x, "bn_Conv1", **NORM))
    number = 0
    for filters, stride, count in _BLOCKS:
        for i in range(count):
            width = divisible(int(filters * alpha))
            x = _block(network, x, width, stride if i == 0 else 1, number)
            number += 1
    last = divisible(1280 * alpha) if alpha > 1 else 1280
    x = Conv2D(last, 1, use_bias=False, name="Conv_1")(x)
    x = ReLU(6.0, name="out_relu")(network.norm(x, "Conv_1_bn", **NORM))
    x = network.head(x, average=None)
    return network.model(x, name or f"mobilenetv2_{alpha:0.2f}_{rows}")


def _block(network: Network, x: Any, filters: int, stride: int, number: int) -> Any:
    shortcut, channels = x, x.shape[network.axis]
    name = f"block_{number}_" if number else "expanded_conv_"
    same: dict[str, Any] = {"padding": "same", "use_bias": False}
    if number:
        x = Conv2D(6 * channels, 1, name=f"{name}expand", **same)(x)
        x = network.norm(x, f"{name}expand_BN", **NORM)
        x = ReLU(6.0, name=f"{name}expand_relu")(x)
    if stride == 2:
        x = ZeroPadding2D(same_padding(network, x, 3), name=f"{name}pad")(x)
    x = DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{name}depthwise",
    )(x)
    x = network.norm(x, f"{name}depthwise_BN", **NORM)
    x = ReLU(6.0, name=f"{name}depthwise_relu")(x)
    x = Conv2D(filters, 1, name=f"{name}project", **same)(x)
    x = network.norm(x, f"{name}project_BN", **NORM)
    if channels == filters and stride == 1:
        x = Add(name=f"{name}add")([shortcut, x])
    return x


describe(MobileNetV2, __name__, "MobileNetV2", 224, "Sandler et al., 2018")
