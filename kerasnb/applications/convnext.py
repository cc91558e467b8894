"""ConvNeXt: a convolutional network with the habits of a transformer."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from kerasnb import initializers, random
from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import STORE, Files, Network, describe, shared
from kerasnb.core.graph import KerasTensor
from kerasnb.layers import (
    Activation,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Layer,
    LayerNormalization,
    Normalization,
)
from kerasnb.models.functional import Functional
from kerasnb.models.sequential import Sequential

_MEAN, _STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

preprocess_input = preprocessing(None)


class StochasticDepth(Layer):
    """In training, nothing for some of the samples: `y = x · keep / (1 - rate)`.

    `drop_path_rate` is the part of samples left out. Shapes: `s -> s`.

    >>> StochasticDepth(0.5)(jnp.ones((2, 3))).sum().item()  # not in training
    6.0
    """

    def __init__(self, drop_path_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate
        self._seeds = random.SeedGenerator()

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The samples that are kept, scaled up."""
        if not training:
            return x
        keep = 1 - self.drop_path_rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = jnp.floor(keep + random.uniform(shape, seed=self._seeds))
        return x / keep * kept.astype(x.dtype)


class LayerScale(Layer):
    """`gamma · x` with one learned number for each channel, small at first.

    Shapes: `(..., projection_dim) -> (..., projection_dim)`. (Touvron et al., 2021)

    >>> LayerScale(0.5, 2)(jnp.ones((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape: Any) -> None:
        """Make `gamma`."""
        start = initializers.Constant(self.init_values)
        # Without a name of its own, as in Keras.
        self.gamma = self.add_weight((self.projection_dim,), start)

    def call(self, x: Any) -> Any:
        """The inputs, scaled."""
        return x * self.gamma


def _variant(
    label: str, depths: tuple[int, ...], width: int, *hashes: str
) -> Callable[..., Functional]:
    title = f"ConvNeXt{'XLarge' if label == 'xlarge' else label.title()}"
    file = f"convnext_{label}"

    def make(
        include_top: bool = True,
        include_preprocessing: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        input_shape: tuple | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = file,
    ) -> Functional:
        names = (f"{file}.h5", f"{file}_notop.h5")
        network = Network(
            title,
            224,
            Files(f"{STORE}convnext/", names, (hashes[0], hashes[1])),
            **shared(locals()),
            channels_first=False,
        )
        x = network.image
        if include_preprocessing and network.channels == 3:
            mean = [255 * m for m in _MEAN]
            variance = [(255 * s) ** 2 for s in _STDDEV]
            label = f"{name}_prestem_normalization"
            x = Normalization(mean=mean, variance=variance, name=label)(x)
        for stage, depth in enumerate(depths):
            filters = width * 2**stage
            x = _shrink(filters, stage, name)(x)
            for i in range(depth):
                x = _block(x, filters, f"{name}_stage_{stage}_block_{i}")
        if include_top:
            x = GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
            x = LayerNormalization(epsilon=1e-6, name=f"{name}_head_layernorm")(x)
            label = f"{name}_head_dense"
            x = Dense(classes, classifier_activation, name=label)(x)
        else:
            x = LayerNormalization(epsilon=1e-6)(network.pool(x))
        return network.model(x, name)

    return describe(make, __name__, title, 224, "Liu et al., 2022")


def _shrink(filters: int, stage: int, name: str) -> Sequential:
    """What stands before each stage: a quarter of the size at first, then halves."""
    if stage == 0:
        conv = Conv2D(filters, 4, strides=4, name=f"{name}_stem_conv")
        norm = LayerNormalization(epsilon=1e-6, name=f"{name}_stem_layernorm")
        return Sequential([conv, norm], name=f"{name}_stem")
    part = f"{name}_downsampling_"
    norm = LayerNormalization(epsilon=1e-6, name=f"{part}layernorm_{stage - 1}")
    conv = Conv2D(filters, 2, strides=2, name=f"{part}conv_{stage - 1}")
    return Sequential([norm, conv], name=f"{part}block_{stage - 1}")


def _block(x: Any, filters: int, name: str) -> Any:
    shortcut = x
    name_dw = f"{name}_depthwise_conv"
    x = Conv2D(filters, 7, padding="same", groups=filters, name=name_dw)(x)
    x = LayerNormalization(epsilon=1e-6, name=f"{name}_layernorm")(x)
    x = Dense(4 * filters, name=f"{name}_pointwise_conv_1")(x)
    x = Activation("gelu", name=f"{name}_gelu")(x)
    x = Dense(filters, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(1e-6, filters, name=f"{name}_layer_scale")(x)
    return shortcut + Activation("linear", name=f"{name}_identity")(x)


ConvNeXtTiny = _variant(
    "tiny",
    (3, 3, 9, 3),
    96,
    "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
    "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
)
ConvNeXtSmall = _variant(
    "small",
    (3, 3, 27, 3),
    96,
    "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
    "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
)
ConvNeXtBase = _variant(
    "base",
    (3, 3, 27, 3),
    128,
    "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
    "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
)
ConvNeXtLarge = _variant(
    "large",
    (3, 3, 27, 3),
    192,
    "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
    "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
)
ConvNeXtXLarge = _variant(
    "xlarge",
    (3, 3, 27, 3),
    256,
    "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
    "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
)
