"""ResNet: blocks that add what they compute to what they were given."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.layers import Activation, Add, Conv2D, MaxPooling2D, ZeroPadding2D

EPSILON = 1.001e-5

preprocess_input = preprocessing("caffe")


def resnet(network: Network, x: Any, blocks: tuple[int, ...]) -> Any:
    """The layers of the first ResNet, with so many blocks in each of four stages."""
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = norm_relu(network, x, "conv1")
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if stage and not i else 1
            name = f"conv{stage + 2}_block{i + 1}"
            x = _block(network, x, 64 * 2**stage, stride, name, first=i == 0)
    return network.head(x, names=("avg_pool", "max_pool"))


def norm_relu(network: Network, x: Any, name: str) -> Any:
    """Batch normalisation and ReLU."""
    x = network.norm(x, f"{name}_bn", epsilon=EPSILON)
    return Activation("relu", name=f"{name}_relu")(x)


def _block(
    network: Network, x: Any, filters: int, stride: int, name: str, first: bool
) -> Any:
    shortcut = x
    if first:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = network.norm(shortcut, f"{name}_0_bn", epsilon=EPSILON)
    x = Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = norm_relu(network, x, f"{name}_1")
    x = Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = norm_relu(network, x, f"{name}_2")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = network.norm(x, f"{name}_3_bn", epsilon=EPSILON)
    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


def _resnet(depth: int, *hashes: str, blocks: tuple[int, ...]) -> Any:
    name = f"resnet{depth}"
    files = usual_files("resnet", name, *hashes)
    source = "He et al., 2015"
    return variant(resnet, f"ResNet{depth}", name, 224, files, source, blocks=blocks)


ResNet50 = _resnet(
    50,
    "2cb95161c43110f7111970584f804107",
    "4d473c1dd8becc155b73f8504c6f6626",
    blocks=(3, 4, 6, 3),
)
ResNet101 = _resnet(
    101,
    "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    "88cf7a10940856eca736dc7b7e228a21",
    blocks=(3, 4, 23, 3),
)
ResNet152 = _resnet(
    152,
    "100835be76be38e30d865e96f2aaae62",
    "ee4c566cf9a93f14d82f913c2dc6dd0c",
    blocks=(3, 8, 36, 3),
)
