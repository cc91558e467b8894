"""DenseNet: every layer of a block sees the outputs of all before it."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.applications.resnet import EPSILON, norm_relu
from kerasnb.layers import (
    Activation,
    AveragePooling2D,
    Concatenate,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)

GROWTH = 32  # channels that a layer adds

preprocess_input = preprocessing("torch")


def densenet(network: Network, x: Any, blocks: tuple[int, ...]) -> Any:
    """The layers of DenseNet, with so many layers in each of four blocks."""
    x = ZeroPadding2D(3)(x)
    x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = norm_relu(network, x, "conv1")
    x = ZeroPadding2D(1)(x)
    x = MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, count in enumerate(blocks, 2):
        if stage > 2:  # half the channels, half the size
            name = f"pool{stage - 1}"
            x = norm_relu(network, x, name)
            half = x.shape[network.axis] // 2
            x = Conv2D(half, 1, use_bias=False, name=f"{name}_conv")(x)
            x = AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)
        for i in range(1, count + 1):
            x = _layer(network, x, f"conv{stage}_block{i}")
    x = network.norm(x, "bn", epsilon=EPSILON)
    x = Activation("relu", name="relu")(x)
    return network.head(x, names=("avg_pool", "max_pool"))


def _layer(network: Network, x: Any, name: str) -> Any:
    new = norm_relu(network, x, f"{name}_0")
    new = Conv2D(4 * GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(new)
    new = norm_relu(network, new, f"{name}_1")
    name2 = f"{name}_2_conv"
    new = Conv2D(GROWTH, 3, padding="same", use_bias=False, name=name2)(new)
    return Concatenate(axis=network.axis, name=f"{name}_concat")([x, new])


def _densenet(depth: int, *hashes: str, blocks: tuple[int, ...]) -> Any:
    name = f"densenet{depth}"
    return variant(
        densenet,
        f"DenseNet{depth}",
        name,
        224,
        usual_files("densenet", name, *hashes),
        "Huang et al., 2016",
        channels_first=False,
        blocks=blocks,
    )


DenseNet121 = _densenet(
    121,
    "9d60b8095a5708f2dcce2bca79d332c7",
    "30ee3e1110167f948a6b9946edeeb738",
    blocks=(6, 12, 24, 16),
)
DenseNet169 = _densenet(
    169,
    "d699b8f76981ab1b30698df4c175e90b",
    "b8c4d4c20dd625c148057b9ff1c1176b",
    blocks=(6, 12, 32, 32),
)
DenseNet201 = _densenet(
    201,
    "1ceb130c1ea1b78c3bf6114dbdfd8807",
    "c13680b51ded0fb44dff2d8f86ac8bb1",
    blocks=(6, 12, 48, 32),
)
