"""VGG: blocks of 3x3 convolutions, each ending in a halving of the image."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.layers import Conv2D, Dense, Flatten, MaxPooling2D

SOURCE = "Simonyan and Zisserman, 2014"

preprocess_input = preprocessing("caffe")


def vgg(network: Network, x: Any, convolutions: tuple[int, ...]) -> Any:
    """The layers of VGG, with so many convolutions in each of the five blocks."""
    for block, count in enumerate(convolutions, 1):
        filters = min(32 * 2**block, 512)
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            x = Conv2D(filters, 3, activation="relu", padding="same", name=name)(x)
        x = MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if not network.include_top:
        return network.pool(x)
    x = Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = Dense(4096, activation="relu", name=name)(x)
    return network.classify(x)


VGG16 = variant(
    vgg,
    "VGG16",
    "vgg16",
    224,
    usual_files(
        "vgg16",
        "vgg16",
        "64373286793e3c8b2b4e3219cbf3544b",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    SOURCE,
    convolutions=(2, 2, 3, 3, 3),
)
