"""NASNet: two kinds of cells, found by a search, that see their two predecessors."""

from collections.abc import Callable
from typing import Any

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import (
    STORE,
    Files,
    Network,
    describe,
    same_padding,
    shared,
)
from kerasnb.core.graph import KerasTensor
from kerasnb.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Cropping2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
    add,
    concatenate,
)
from kerasnb.models.functional import Functional

NORM = {"momentum": 0.9997, "epsilon": 1e-3}

preprocess_input = preprocessing("tf")


def _variant(
    kind: str,
    size: int,
    filters: int,
    cells: int,
    stem: int,
    skip_reduction: bool,
    hashes: tuple[str, str],
) -> Callable[..., Functional]:
    title = f"NASNet{kind.title()}"

    def make(
        input_shape: tuple | None = None,
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = f"nasnet_{kind}",
    ) -> Functional:
        if kind == "mobile" and not include_top and input_shape is None:
            input_shape = (size, size, 3)
        names = (f"NASNet-{kind}.h5", f"NASNet-{kind}-no-top.h5")
        saved_as = (f"nasnet_{kind}.h5", f"nasnet_{kind}_no_top.h5")
        network = Network(
            title,
            size,
            Files(f"{STORE}nasnet/", names, hashes, saved_as),
            **shared(locals()),
            channels_first=False,
        )
        x = _conv(network, network.image, stem, "stem_conv1", "stem_bn1", 3, 2)
        x, before = _reduction(network, x, None, filters // 4, "stem_1")
        x, before = _reduction(network, x, before, filters // 2, "stem_2")
        for stage in range(3):
            if stage:
                label = f"reduce_{stage * cells}"
                width = filters * 2**stage
                x, previous = _reduction(network, x, before, width, label)
                before = before if skip_reduction else previous
            for i in range(cells):
                label = str(stage * cells + i + (stage > 0))
                x, before = _normal(network, x, before, filters * 2**stage, label)
        x = network.head(Activation("relu")(x), average=None)
        return network.model(x, name)

    return describe(make, __name__, title, size, "Zoph et al., 2017")


def _conv(
    network: Network, x: Any, filters: int, name: str, norm: str, size: int, stride: int
) -> Any:
    """A convolution that halves the image, or one of 1x1, and its normalisation."""
    x = Conv2D(
        filters,
        size,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return network.norm(x, norm, **NORM)


def _separable(
    network: Network, x: Any, filters: int, size: int, label: str, stride: int = 1
) -> Any:
    """Twice: ReLU, separable convolution, normalisation; the first may halve."""
    for i in (1, 2):
        x = Activation("relu")(x)
        padding = "same"
        if i == 1 and stride == 2:
            pad = same_padding(network, x, size)
            x = ZeroPadding2D(pad, name=f"separable_conv_1_pad_{label}")(x)
            padding = "valid"
        x = SeparableConv2D(
            filters,
            size,
            strides=stride if i == 1 else 1,
            padding=padding,
            use_bias=False,
            name=f"separable_conv_{i}_{label}",
        )(x)
        x = network.norm(x, f"separable_conv_{i}_bn_{label}", **NORM)
    return x


def _adjust(network: Network, before: Any, x: Any, filters: int, label: str) -> Any:
    """The output before the last one, brought to the size and width of this cell."""
    if before is None:
        return x
    if before.shape[-2] != x.shape[-2]:
        before = Activation("relu", name=f"adjust_relu_1_{label}")(before)
        halves = []
        for i in (1, 2):
            half = before
            if i == 2:  # the same, one place further
                half = ZeroPadding2D(((0, 1), (0, 1)))(half)
                half = Cropping2D(((1, 0), (1, 0)))(half)
            name = f"adjust_avg_pool_{i}_{label}"
            half = AveragePooling2D(1, strides=2, padding="valid", name=name)(half)
            half = Conv2D(
                filters // 2,
                1,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"adjust_conv_{i}_{label}",
            )(half)
            halves.append(half)
        before = concatenate(halves, axis=-1)
        return network.norm(before, f"adjust_bn_{label}", **NORM)
    if before.shape[-1] == filters:
        return before
    before = Activation("relu")(before)
    names = (f"adjust_conv_projection_{label}", f"adjust_bn_{label}")
    return _conv(network, before, filters, *names, 1, 1)


def _average(x: Any, name: str, stride: int = 1) -> Any:
    padding = "same" if stride == 1 else "valid"
    return AveragePooling2D(3, strides=stride, padding=padding, name=name)(x)


def _normal(
    network: Network, x: Any, before: Any, filters: int, label: str
) -> tuple[Any, Any]:
    """A cell that keeps the size."""
    p = _adjust(network, before, x, filters, label)
    h = Activation("relu")(x)
    names = (f"normal_conv_1_{label}", f"normal_bn_1_{label}")
    h = _conv(network, h, filters, *names, 1, 1)

    def separable(x: Any, size: int, place: str) -> Any:
        return _separable(network, x, filters, size, f"normal_{place}_{label}")

    def name(part: str) -> str:
        return f"normal_{part}_{label}"

    sums = [
        add([separable(h, 5, "left1"), separable(p, 3, "right1")], name=name("add_1"))
    ]
    pair = [separable(p, 5, "left2"), separable(p, 3, "right2")]
    sums.append(add(pair, name=name("add_2")))
    sums.append(add([_average(h, name("left3")), p], name=name("add_3")))
    pair = [_average(p, name("left4")), _average(p, name("right4"))]
    sums.append(add(pair, name=name("add_4")))
    sums.append(add([separable(h, 3, "left5"), h], name=name("add_5")))
    return concatenate([p, *sums], axis=-1, name=name("concat")), x


def _reduction(
    network: Network, x: Any, before: Any, filters: int, label: str
) -> tuple[Any, Any]:
    """A cell that halves the size."""
    p = _adjust(network, before, x, filters, label)
    h = Activation("relu")(x)

    def name(part: str) -> str:
        return f"reduction_{part}_{label}"

    h = _conv(network, h, filters, name("conv_1"), name("bn_1"), 1, 1)
    pad = same_padding(network, h, 3)
    padded = ZeroPadding2D(pad, name=name("pad_1"))(h)

    def separable(x: Any, size: int, place: str, stride: int = 2) -> Any:
        return _separable(network, x, filters, size, name(place), stride)

    def largest(place: str) -> Any:
        return MaxPooling2D(3, strides=2, padding="valid", name=name(place))(padded)

    pair = [separable(h, 5, "left1"), separable(p, 7, "right1")]
    x1 = add(pair, name=name("add_1"))
    x2 = add([largest("left2"), separable(p, 7, "right2")], name=name("add_2"))
    pair = [_average(padded, name("left3"), 2), separable(p, 5, "right3")]
    x3 = add(pair, name=name("add3"))
    x4 = add([x2, _average(x1, name("left4"))])
    pair = [separable(x1, 3, "left4", 1), largest("right5")]
    x5 = add(pair, name=name("add4"))
    return concatenate([x2, x3, x4, x5], axis=-1, name=name("concat")), x


NASNetMobile = _variant(
    "mobile",
    224,
    44,
    4,
    32,
    False,
    ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
)
NASNetLarge = _variant(
    "large",
    331,
    168,
    6,
    96,
    True,
    ("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"),
)
