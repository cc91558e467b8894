"""MobileNet: depthwise convolutions, each followed by one of 1x1."""

import warnings
from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import STORE, Files, Network, describe, shared
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor
from kerasnb.layers import (
    Activation,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from kerasnb.models.functional import Functional

# Filters and stride of each block.
_BLOCKS = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
]
_SIZES = (128, 160, 192, 224)
_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}

preprocess_input = preprocessing("tf")


def MobileNet(  # noqa: D103 (`describe` writes it)
    input_shape: tuple | None = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 0.001,
    include_top: bool = True,
    weights: str | None = "imagenet",
    input_tensor: KerasTensor | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Functional:
    who = "MobileNet"
    if weights == "imagenet":
        expected = "1 with weights of ImageNet"
        check(
            depth_multiplier == 1, who, "depth_multiplier", depth_multiplier, expected
        )
        check_alpha(who, alpha, tuple(_ALPHAS))
    network = Network(
        who,
        usual_size(input_shape, _SIZES),
        **shared(locals()),
    )
    rows = trained_size(network, _SIZES)
    if alpha in _ALPHAS:
        file = f"mobilenet_{_ALPHAS[alpha]}_{rows}_tf"
        names = (f"{file}.h5", f"{file}_no_top.h5")
        network.files = Files(f"{STORE}mobilenet/", names)
    x = Conv2D(
        int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1"
    )(network.image)
    x = _norm_relu(network, x, "conv1")
    for i, (filters, stride) in enumerate(_BLOCKS, 1):
        if stride == 2:
            x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = DepthwiseConv2D(
            3,
            padding="same" if stride == 1 else "valid",
            depth_multiplier=depth_multiplier,
            strides=stride,
            use_bias=False,
            name=f"conv_dw_{i}",
        )(x)
        x = _norm_relu(network, x, f"conv_dw_{i}")
        filters = int(filters * alpha)
        name_pw = f"conv_pw_{i}"
        x = Conv2D(filters, 1, padding="same", use_bias=False, name=name_pw)(x)
        x = _norm_relu(network, x, name_pw)
    if include_top:
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((classes,), name="reshape_2")(x)
        x = Activation(classifier_activation, name="predictions")(x)
    else:
        x = network.pool(x)
    return network.model(x, name or f"mobilenet_{alpha:0.2f}_{rows}")


def _norm_relu(network: Network, x: Any, name: str) -> Any:
    return ReLU(6.0, name=f"{name}_relu")(network.norm(x, f"{name}_bn"))


def usual_size(input_shape: tuple | None, sizes: tuple[int, ...]) -> int:
    """The side of square images there are weights for, 224 for others."""
    sides = {s for s in input_shape or () if s is not None and s > 4}
    return sides.pop() if len(sides) == 1 and sides <= set(sizes) else 224


def trained_size(network: Network, sizes: tuple[int, ...]) -> int | None:
    """The side of the images that the weights to load were trained on."""
    rows = network.rows
    square = rows in sizes and network.shape.count(rows) == 2
    if network.weights != "imagenet" or square:
        return rows
    listed = ", ".join(map(str, sizes))
    warnings.warn(
        f"{network.who}: weights were trained on squares of {listed} pixels; those "
        f"for 224 are taken for `input_shape` {network.shape}.",
        stacklevel=3,
    )
    return 224


def check_alpha(who: str, alpha: float, known: tuple[float, ...]) -> None:
    """Weights are published for some widths only."""
    listed = ", ".join(map(str, known))
    expected = f"one of {listed} with weights of ImageNet"
    check(alpha in known, who, "alpha", alpha, expected)


describe(MobileNet, __name__, "MobileNet", 224, "Howard et al., 2017")
