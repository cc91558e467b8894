"""What all architectures share: their arguments, input, classifier and weights.

An architecture is a function `body(network, x, ...)` that adds its layers to `x`;
`variant` makes the public function of it, with Keras' arguments.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasnb import activations
from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor
from kerasnb.datasets.download import get_file
from kerasnb.layers import (
    BatchNormalization,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
)
from kerasnb.models.functional import Functional
from kerasnb.utils import get_source_inputs

STORE = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERNELS = "weights_tf_dim_ordering_tf_kernels"
_SHARED = (
    "include_top",
    "weights",
    "input_tensor",
    "input_shape",
    "pooling",
    "classes",
    "classifier_activation",
)


@dataclass(frozen=True)
class Files:
    """Published weights: the folder, the file with the classifier and without it."""

    folder: str
    names: tuple[str, str]
    hashes: tuple[str | None, str | None] = (None, None)
    saved_as: tuple[str, str] | None = None

    def fetch(self, include_top: bool) -> str:
        """The path of the file, downloaded and its hash checked where one is known."""
        i = 0 if include_top else 1
        return get_file(
            (self.saved_as or self.names)[i],
            self.folder + self.names[i],
            cache_subdir="models",
            file_hash=self.hashes[i],
        )


def usual_files(folder: str, name: str, *hashes: str) -> Files:
    """Files named after the pattern that most architectures follow."""
    names = (f"{name}_{KERNELS}.h5", f"{name}_{KERNELS}_notop.h5")
    return Files(f"{STORE}{folder}/", names, hashes)  # type: ignore[arg-type]


def shared(given: dict[str, Any]) -> dict[str, Any]:
    """Of a maker's `locals()`, the arguments that every architecture has."""
    return {name: given[name] for name in _SHARED}


class Network:
    """One model of an architecture while it is made."""

    def __init__(
        self,
        who: str,
        size: int,
        files: Files | None = None,
        smallest: int = 32,
        *,
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        input_shape: tuple | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        channels_first: bool = True,
        any_size: bool = False,
    ) -> None:
        self.who, self.files = who, files
        self.include_top, self.weights = include_top, weights
        self.pooling, self.classes = pooling, classes
        self.activation = classifier_activation
        first = settings.image_data_format() == "channels_first"
        if first and not channels_first:
            raise ValueError(
                f"{who} works with the image data format channels_last alone; call "
                'kerasnb.config.set_image_data_format("channels_last").'
            )
        self.axis = 1 if first else -1
        self._check_weights()
        sized = include_top and not any_size  # the classifier needs one size
        shape = self._shape(input_shape, size, smallest, sized)
        self._given = input_tensor
        if input_tensor is None:
            self.image = Input(shape=shape)
        elif isinstance(input_tensor, KerasTensor):
            self.image = input_tensor
        else:
            self.image = Input(tensor=input_tensor, shape=shape)
        self.shape = shape

    def _check_weights(self) -> None:
        weights = self.weights
        known = weights in ("imagenet", None) or Path(str(weights)).exists()
        expected = 'None, "imagenet" or the path of a weights file'
        check(known, self.who, "weights", weights, expected)
        if weights == "imagenet" and self.include_top:
            expected = '1000 for weights="imagenet" with include_top=True'
            check(self.classes == 1000, self.who, "classes", self.classes, expected)
        if weights is not None and self.include_top:
            given = activations.get(self.activation)
            right = given in (activations.get("softmax"), activations.get(None))
            expected = '"softmax" or None with pretrained weights'
            name = "classifier_activation"
            check(right, self.who, name, self.activation, expected)

    def _shape(
        self, given: tuple | None, size: int, smallest: int, sized: bool
    ) -> tuple:
        """The shape of one image: what was given, or the usual one."""
        if given is not None:
            given = tuple(given)
            expected = "a tuple of height, width and channels, in the image data format"
            check(len(given) == 3, self.who, "input_shape", given, expected)
        first = self.axis == 1
        channels = 3 if given is None else given[0 if first else 2]
        pretrained = self.weights == "imagenet"
        if given is not None and not pretrained and channels not in (1, 3):
            warnings.warn(
                f"{self.who} usually expects 1 or 3 channels, and `input_shape` "
                f"{given} has {channels}.",
                stacklevel=4,
            )
        if pretrained and given is not None:
            check(channels == 3, self.who, "input_shape", given, "with 3 channels")
        usual = (channels, size, size) if first else (size, size, channels)
        if pretrained and sized:
            expected = f"{usual} with weights and classifier of ImageNet"
            right = given in (None, usual)
            check(right, self.who, "input_shape", given, expected)
            return usual
        if given is None:
            if sized:
                return usual
            return (3, None, None) if first else (None, None, 3)
        sides = given[1:] if first else given[:2]
        enough = all(side is None or side >= smallest for side in sides)
        expected = f"at least {smallest} by {smallest} pixels"
        check(enough, self.who, "input_shape", given, expected)
        whole = not (sized and None in given)
        expected = "without None (a classifier needs a size), or include_top=False"
        check(whole, self.who, "input_shape", given, expected)
        return given

    @property
    def rows(self) -> int | None:
        """The height of an image."""
        return self.shape[1 if self.axis == 1 else 0]

    @property
    def channels(self) -> int:
        """The colours of an image, or what stands for them."""
        return self.shape[0 if self.axis == 1 else 2]

    # --- Parts that all architectures have --------------------------------------------

    def norm(self, x: Any, name: str | None = None, **options: Any) -> Any:
        """Batch normalisation over the channels."""
        return BatchNormalization(axis=self.axis, name=name, **options)(x)

    def pool(self, x: Any, names: tuple[str | None, str | None] = (None, None)) -> Any:
        """The end of a model without classifier, as `pooling` says."""
        if self.pooling == "avg":
            return GlobalAveragePooling2D(name=names[0])(x)
        if self.pooling == "max":
            return GlobalMaxPooling2D(name=names[1])(x)
        return x

    def classify(self, x: Any, **options: Any) -> Any:
        """The last layer of a classifier."""
        activation = self.activation
        return Dense(self.classes, activation, name="predictions", **options)(x)

    def head(
        self,
        x: Any,
        average: str | None = "avg_pool",
        names: tuple[str | None, str | None] = (None, None),
        dropout: float = 0.0,
        **options: Any,
    ) -> Any:
        """The usual end: the classifier on the mean of each channel, or `pool`."""
        if not self.include_top:
            return self.pool(x, names)
        x = GlobalAveragePooling2D(name=average)(x)
        if dropout > 0:
            x = Dropout(dropout, name="top_dropout")(x)
        return self.classify(x, **options)

    def model(self, x: Any, name: str | None) -> Functional:
        """The finished model, with its weights."""
        inputs: Any = self.image
        if self._given is not None:
            inputs = get_source_inputs(self._given)
            inputs = inputs[0] if len(inputs) == 1 else inputs
        model = Functional(inputs, x, name=name)
        if self.weights == "imagenet":
            if self.files is None:
                raise ValueError(
                    f"{self.who}: no weights are published for these arguments; pass "
                    "weights=None, or the path of a weights file."
                )
            model.load_weights(self.files.fetch(self.include_top))
        elif self.weights is not None:
            model.load_weights(self.weights)
        return model


def variant(
    body: Callable[..., Any],
    title: str,
    name: str,
    size: int,
    files: Files,
    source: str,
    *,
    smallest: int = 32,
    channels_first: bool = True,
    **sizes: Any,
) -> Callable[..., Functional]:
    """The public function of an architecture with the usual arguments."""

    def make(
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_tensor: KerasTensor | None = None,
        input_shape: tuple | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = name,
    ) -> Functional:
        given = shared(locals())
        network = Network(
            title, size, files, smallest, channels_first=channels_first, **given
        )
        return network.model(body(network, network.image, **sizes), name)

    return describe(make, body.__module__, title, size, source)


def describe(
    make: Callable[..., Functional], module: str, title: str, size: int, source: str
) -> Callable[..., Functional]:
    """Give the function that makes an architecture its name and its help."""
    make.__name__ = make.__qualname__ = title
    make.__module__ = module
    make.__doc__ = f"""{title}, for images of {size} by {size} pixels ({source}).

    `weights` are those trained on ImageNet (downloaded once, their hash checked where
    Keras names one), None for new ones, or the path of a weights file. Without the
    classifier (`include_top=False`) images may have any size and `pooling` ends the
    model: None, "avg" or "max". `input_tensor` puts the model behind other layers.
    Pass images through `preprocess_input` of this module.

    Shapes: `(batch, {size}, {size}, 3) -> (batch, classes)`.

        model = {title}(weights=None, classes=10)
    """
    return make


def divisible(filters: float, divisor: int = 8) -> int:
    """A multiple of `divisor` near `filters`, not less than nine tenths of it."""
    found = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * filters else found


def same_padding(network: Network, x: Any, size: int) -> tuple:
    """Zeros around `x` that make stride 2 look where TensorFlow's "same" does."""
    start = 2 if network.axis == 1 else 1
    height, width = x.shape[start : start + 2]
    known = height is not None
    odd = [1 - side % 2 if known else 1 for side in (height, width)]
    half = size // 2
    return ((half - odd[0], half), (half - odd[1], half))
