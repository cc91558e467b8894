"""ResNet whose blocks normalise first and leave the sum as it is."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.applications.resnet import norm_relu
from kerasnb.layers import Add, Conv2D, MaxPooling2D, ZeroPadding2D

preprocess_input = preprocessing("tf")


def resnet_v2(network: Network, x: Any, blocks: tuple[int, ...]) -> Any:
    """The layers of the second ResNet, with so many blocks in each of four stages."""
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if i == count - 1 and stage < 3 else 1
            name = f"conv{stage + 2}_block{i + 1}"
            x = _block(network, x, 64 * 2**stage, stride, name, first=i == 0)
    x = norm_relu(network, x, "post")
    return network.head(x, names=("avg_pool", "max_pool"))


def _block(
    network: Network, x: Any, filters: int, stride: int, name: str, first: bool
) -> Any:
    active = norm_relu(network, x, f"{name}_preact")
    shortcut = x
    if first:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(active)
    elif stride > 1:
        shortcut = MaxPooling2D(1, strides=stride)(x)
    x = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(active)
    x = norm_relu(network, x, f"{name}_1")
    x = ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    name2 = f"{name}_2_conv"
    x = Conv2D(filters, 3, strides=stride, use_bias=False, name=name2)(x)
    x = norm_relu(network, x, f"{name}_2")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return Add(name=f"{name}_out")([shortcut, x])


def _resnet(depth: int, *hashes: str, blocks: tuple[int, ...]) -> Any:
    name = f"resnet{depth}v2"
    files = usual_files("resnet", name, *hashes)
    source = "He et al., 2016"
    title = f"ResNet{depth}V2"
    return variant(resnet_v2, title, name, 224, files, source, blocks=blocks)


ResNet50V2 = _resnet(
    50,
    "3ef43a0b657b3be2300d5770ece849e0",
    "fac2f116257151a9d068a22e544a4917",
    blocks=(3, 4, 6, 3),
)
ResNet101V2 = _resnet(
    101,
    "6343647c601c52e1368623803854d971",
    "c0ed64b8031c3730f411d2eb4eea35b5",
    blocks=(3, 4, 23, 3),
)
ResNet152V2 = _resnet(
    152,
    "a49b44d1979771252814e80f8ec446f9",
    "ed17cf2e0169df9d443503ef94b23b33",
    blocks=(3, 8, 36, 3),
)
