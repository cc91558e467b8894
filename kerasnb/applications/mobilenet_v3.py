"""MobileNetV3: blocks found by a search, some of which weigh their channels."""

import warnings
from collections.abc import Callable
from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.mobilenet import check_alpha
from kerasnb.applications.mobilenet_v2 import NORM
from kerasnb.applications.network import (
    STORE,
    Files,
    Network,
    describe,
    divisible,
    same_padding,
    shared,
)
from kerasnb.core.graph import KerasTensor
from kerasnb.layers import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    Rescaling,
    ZeroPadding2D,
)
from kerasnb.models.functional import Functional

# How much wider inside, filters, kernel (0: 5, or 3 when minimalistic), stride, whether
# channels are weighed, whether the activation is the one of the later blocks.
_SMALL = (
    (1, 16, 3, 2, True, False),
    (72 / 16, 24, 3, 2, False, False),
    (88 / 24, 24, 3, 1, False, False),
    (4, 40, 0, 2, True, True),
    (6, 40, 0, 1, True, True),
    (6, 40, 0, 1, True, True),
    (3, 48, 0, 1, True, True),
    (3, 48, 0, 1, True, True),
    (6, 96, 0, 2, True, True),
    (6, 96, 0, 1, True, True),
    (6, 96, 0, 1, True, True),
)
_LARGE = (
    (1, 16, 3, 1, False, False),
    (4, 24, 3, 2, False, False),
    (3, 24, 3, 1, False, False),
    (3, 40, 0, 2, True, False),
    (3, 40, 0, 1, True, False),
    (3, 40, 0, 1, True, False),
    (6, 80, 3, 2, False, True),
    (2.5, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True),
    (6, 112, 3, 1, True, True),
    (6, 112, 3, 1, True, True),
    (6, 160, 0, 2, True, True),
    (6, 160, 0, 1, True, True),
    (6, 160, 0, 1, True, True),
)
_HASHES = {
    "large_224_0.75": (
        "765b44a33ad4005b3ac83185abf1d0eb",
        "40af19a13ebea4e2ee0c676887f69a2e",
    ),
    "large_224_1.0": (
        "59e551e166be033d707958cf9e29a6a7",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "large_minimalistic_224_1.0": (
        "675e7b876c45c57e9e63e6d90a36599c",
        "ec5221f64a2f6d1ef965a614bdae7973",
    ),
    "small_224_0.75": (
        "cb65d4e5be93758266aa0a7f2c6708b7",
        "ebdb5cc8e0b497cd13a7c275d475c819",
    ),
    "small_224_1.0": (
        "8768d4c2e7dee89b9d02b2d03d65d862",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "small_minimalistic_224_1.0": (
        "99cd97fb2fcdad2bf028eb838de69e37",
        "cde8136e733e811080d9fcd8a252f7e4",
    ),
}

preprocess_input = preprocessing(None)


def _hard_swish(x: Any) -> Any:
    return Activation("hard_swish")(x)


def _relu(x: Any) -> Any:
    return ReLU()(x)


def _variant(kind: str, blocks: tuple, last: int) -> Callable[..., Functional]:
    title = f"MobileNetV3{kind.title()}"

    def make(
        input_shape: tuple | None = None,
        alpha: float = 1.0,
        minimalistic: bool = False,
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        classes: int = 1000,
        pooling: str | None = None,
        dropout_rate: float = 0.2,
        classifier_activation: Any = "softmax",
        include_preprocessing: bool = True,
        name: str = title,
    ) -> Functional:
        if weights == "imagenet":
            check_alpha(title, alpha, (1.0,) if minimalistic else (0.75, 1.0))
        if input_shape is None and input_tensor is not None:
            input_shape = tuple(input_tensor.shape[1:])
        network = Network(
            title,
            224,
            any_size=True,
            **shared(locals()),
        )
        if weights == "imagenet" and network.shape.count(224) != 2:
            warnings.warn(
                f"{title}: the weights were trained on 224 by 224 pixels, and "
                f"`input_shape` is {network.shape}.",
                stacklevel=2,
            )
        file = f"{kind}{'_minimalistic' * minimalistic}_224_{alpha}"
        if file in _HASHES:
            start = f"weights_mobilenet_v3_{file}_float"
            names = (f"{start}.h5", f"{start}_no_top_v2.h5")
            network.files = Files(f"{STORE}mobilenet_v3/", names, _HASHES[file])
        late = _relu if minimalistic else _hard_swish
        x = network.image
        if include_preprocessing:
            x = Rescaling(scale=1 / 127.5, offset=-1.0)(x)
        x = Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
        x = late(network.norm(x, "conv_bn", **NORM))
        for number, (wider, filters, kernel, stride, weighs, is_late) in enumerate(
            blocks
        ):
            x = _block(
                network,
                x,
                wider,
                divisible(filters * alpha),
                kernel or (3 if minimalistic else 5),
                stride,
                weighs and not minimalistic,
                late if is_late else _relu,
                f"expanded_conv_{number}_" if number else "expanded_conv_",
            )
        wide = divisible(x.shape[network.axis] * 6)
        x = Conv2D(wide, 1, padding="same", use_bias=False, name="conv_1")(x)
        x = late(network.norm(x, "conv_1_bn", **NORM))
        if not include_top:
            return network.model(network.pool(x, ("avg_pool", "max_pool")), name)
        x = GlobalAveragePooling2D(keepdims=True)(x)
        filters = divisible(last * alpha) if alpha > 1 else last
        x = late(Conv2D(filters, 1, padding="same", name="conv_2")(x))
        if dropout_rate > 0:
            x = Dropout(dropout_rate)(x)
        x = Conv2D(classes, 1, padding="same", name="logits")(x)
        x = Activation(classifier_activation, name="predictions")(Flatten()(x))
        return network.model(x, name)

    return describe(make, __name__, title, 224, "Howard et al., 2019")


def _block(
    network: Network,
    x: Any,
    wider: float,
    filters: int,
    kernel: int,
    stride: int,
    weighs: bool,
    activation: Callable[[Any], Any],
    name: str,
) -> Any:
    shortcut, channels = x, x.shape[network.axis]
    inner = divisible(channels * wider)
    same: dict[str, Any] = {"padding": "same", "use_bias": False}
    if name != "expanded_conv_":
        x = Conv2D(inner, 1, name=f"{name}expand", **same)(x)
        x = activation(network.norm(x, f"{name}expand_bn", **NORM))
    if stride == 2:
        pad = same_padding(network, x, kernel)
        x = ZeroPadding2D(pad, name=f"{name}depthwise_pad")(x)
    x = DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{name}depthwise",
    )(x)
    x = activation(network.norm(x, f"{name}depthwise_bn", **NORM))
    if weighs:
        x = _weigh_channels(x, inner, f"{name}squeeze_excite_")
    x = Conv2D(filters, 1, name=f"{name}project", **same)(x)
    x = network.norm(x, f"{name}project_bn", **NORM)
    if stride == 1 and channels == filters:
        x = Add(name=f"{name}add")([shortcut, x])
    return x


def _weigh_channels(x: Any, filters: int, name: str) -> Any:
    """Each channel times a number from 0 to 1 that the whole image decides."""
    weight = GlobalAveragePooling2D(keepdims=True, name=f"{name}avg_pool")(x)
    narrow = divisible(filters * 0.25)
    weight = Conv2D(narrow, 1, padding="same", name=f"{name}conv")(weight)
    weight = ReLU(name=f"{name}relu")(weight)
    weight = Conv2D(filters, 1, padding="same", name=f"{name}conv_1")(weight)
    weight = ReLU(6.0)(weight + 3.0) * (1 / 6)
    return Multiply(name=f"{name}mul")([x, weight])


MobileNetV3Small = _variant("small", _SMALL, 1024)
MobileNetV3Large = _variant("large", _LARGE, 1280)
