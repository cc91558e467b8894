"""Images as the networks of ImageNet want them, and their answers in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.datasets.download import get_file

_CLASSES = "https://storage.googleapis.com/download.tensorflow.org/data/"
_MEAN, _STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN_BGR = (103.939, 116.779, 123.68)


def preprocess_input(
    x: Any, data_format: str | None = None, mode: str = "caffe"
) -> Any:
    """Pixels from 0 to 255 on the scale that a network was trained with.

        "tf":     x / 127.5 - 1
        "torch":  (x / 255 - mean) / stddev, of the colours in ImageNet
        "caffe":  blue, green, red, each less its mean in ImageNet

    Shapes: `(height, width, 3)` or `(batch, height, width, 3)`, and the same out; NumPy
    arrays give NumPy arrays. Unlike in Keras, the array passed in is never changed.

    >>> preprocess_input(np.array([[[0.0, 127.5, 255.0]]]), mode="tf").tolist()
    [[[-1.0, 0.0, 1.0]]]
    """
    return _preprocessed(x, data_format, mode)


def _preprocessed(x: Any, data_format: str | None, mode: str) -> Any:
    who = "preprocess_input"
    modes = '"caffe", "tf" or "torch"'
    check(mode in ("caffe", "tf", "torch"), who, "mode", mode, modes)
    data_format = data_format or settings.image_data_format()
    formats = ("channels_first", "channels_last")
    expected = '"channels_first" or "channels_last"'
    check(data_format in formats, who, "data_format", data_format, expected)
    if isinstance(x, np.ndarray):
        if x.dtype.kind != "f":
            x = x.astype(settings.floatx())
        return _scaled(np, x, data_format, mode)
    return _traced(x, data_format, mode)


@op
def _traced(x: Any, data_format: str, mode: str) -> Any:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(settings.floatx())
    return _scaled(jnp, x, data_format, mode)


def _scaled(xp: Any, x: Any, data_format: str, mode: str) -> Any:
    if mode == "tf":
        return (x / 127.5 - 1.0).astype(x.dtype)
    axis = x.ndim - 3 if data_format == "channels_first" else x.ndim - 1
    shape = [3 if i == axis else 1 for i in range(x.ndim)]

    def colours(values: tuple) -> Any:
        return xp.asarray(values, x.dtype).reshape(shape)

    if mode == "torch":
        return (x / 255.0 - colours(_MEAN)) / colours(_STDDEV)
    return xp.flip(x, axis) - colours(_MEAN_BGR)


def preprocessing(mode: str | None) -> Callable[..., Any]:
    """The `preprocess_input` of one family; None where the model does it itself."""

    def preprocess_input(x: Any, data_format: str | None = None) -> Any:
        return x if mode is None else _preprocessed(x, data_format, mode)

    preprocess_input.__doc__ = (
        "Nothing: the model itself brings pixels from 0 to 255 to its scale."
        if mode is None
        else f'Pixels from 0 to 255 on the scale "{mode}" of '
        "`kerasnb.applications.imagenet_utils.preprocess_input`."
    )
    return preprocess_input


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The `top` likeliest classes of ImageNet: `(WordNet id, name, probability)`.

    The names are downloaded once. Shapes: `(batch, 1000)`.
    """
    expected = "of shape (batch, 1000), what a classifier of ImageNet gives"
    right = len(np.shape(preds)) == 2 and np.shape(preds)[1] == 1000
    check(right, "decode_predictions", "preds", preds, expected)
    name = "imagenet_class_index.json"
    path = get_file(
        name,
        _CLASSES + name,
        cache_subdir="models",
        file_hash="c2c37ea517e94d9795004a39431a14cb",
    )
    names = json.loads(Path(path).read_text())
    return [
        [(*names[str(i)], row[i]) for i in np.argsort(row)[::-1][:top]]
        for row in np.asarray(preds)
    ]
