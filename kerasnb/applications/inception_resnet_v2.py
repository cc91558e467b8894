"""Inception blocks whose output is added, scaled down, to their input."""

from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.inception_v3 import HALVE, mix, stem
from kerasnb.applications.network import Network, usual_files, variant
from kerasnb.layers import Activation, Conv2D, Layer

_ENTRY = [
    [(96, 1, 1)],
    [(48, 1, 1), (64, 5, 5)],
    [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
    ["average", (64, 1, 1)],
]
_HALVING = [
    [(384, 3, 3, HALVE)],
    [(256, 1, 1), (256, 3, 3), (384, 3, 3, HALVE)],
    ["max"],
]
_HALVING_AGAIN = [
    [(256, 1, 1), (384, 3, 3, HALVE)],
    [(256, 1, 1), (288, 3, 3, HALVE)],
    [(256, 1, 1), (288, 3, 3), (320, 3, 3, HALVE)],
    ["max"],
]
# Name, branches, how many in a row, how much of the output is added.
_BLOCK35 = (
    "block35",
    [
        [(32, 1, 1)],
        [(32, 1, 1), (32, 3, 3)],
        [(32, 1, 1), (48, 3, 3), (64, 3, 3)],
    ],
    10,
    0.17,
)
_BLOCK17 = (
    "block17",
    [[(192, 1, 1)], [(128, 1, 1), (160, 1, 7), (192, 7, 1)]],
    20,
    0.1,
)
_BLOCK8 = (
    "block8",
    [[(192, 1, 1)], [(192, 1, 1), (224, 1, 3), (256, 3, 1)]],
    10,
    0.2,
)

preprocess_input = preprocessing("tf")


class CustomScaleLayer(Layer):
    """`a + scale · b` of two inputs, under the name that files know it by.

    Shapes: two of the same shape, which is that of the output.

    >>> CustomScaleLayer(0.5)([np.ones(2), np.ones(2)]).tolist()
    [1.5, 1.5]
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: list) -> Any:
        """The first input and so much of the second."""
        return inputs[0] + inputs[1] * self.scale


def inception_resnet(network: Network, x: Any) -> Any:
    """The layers of the second Inception-ResNet."""
    x = mix(network, stem(network, x), _ENTRY, "mixed_5b")
    x = _residual(network, x, *_BLOCK35)
    x = mix(network, x, _HALVING, "mixed_6a")
    x = _residual(network, x, *_BLOCK17)
    x = mix(network, x, _HALVING_AGAIN, "mixed_7a")
    x = _residual(network, x, *_BLOCK8)
    x = Conv2D(1536, 1, padding="same", use_bias=False, name="conv_7b")(x)
    x = network.norm(x, "conv_7b_bn", scale=False)
    x = Activation("relu", name="conv_7b_ac")(x)
    return network.head(x)


def _residual(
    network: Network, x: Any, kind: str, branches: list, count: int, scale: float
) -> Any:
    for i in range(1, count + 1):
        name = f"{kind}_{i}"
        # The very last block adds all of its output, and does not activate.
        last = kind == "block8" and i == count
        mixed = mix(network, x, branches, f"{name}_mixed")
        channels = x.shape[network.axis]
        up = Conv2D(channels, 1, padding="same", name=f"{name}_conv")(mixed)
        x = CustomScaleLayer(1.0 if last else scale)([x, up])
        if not last:
            x = Activation("relu", name=f"{name}_ac")(x)
    return x


InceptionResNetV2 = variant(
    inception_resnet,
    "InceptionResNetV2",
    "inception_resnet_v2",
    299,
    usual_files(
        "inception_resnet_v2",
        "inception_resnet_v2",
        "e693bd0210a403b3192acc6073ad2e96",
        "d19885ff4a710c122648d3b5c3b684e4",
    ),
    "Szegedy et al., 2016",
    smallest=75,
)
