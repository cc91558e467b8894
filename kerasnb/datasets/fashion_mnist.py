"""Seventy thousand small pictures of clothes, shaped like MNIST."""

import gzip

import numpy as np

from kerasnb.datasets.sources import dataset_file

_HEADER = {"images-idx3": 16, "labels-idx1": 8}  # bytes before the data


def load_data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return Fashion-MNIST as `(x_train, y_train), (x_test, y_test)`.

    The labels are 0 T-shirt/top, 1 Trouser, 2 Pullover, 3 Dress, 4 Coat, 5 Sandal,
    6 Shirt, 7 Sneaker, 8 Bag, 9 Ankle boot. The files are downloaded once to
    `~/.keras/datasets/fashion-mnist`. Raises OSError without a network.

    Shapes: images `(60000, 28, 28)` and `(10000, 28, 28)`, labels `(60000,)` and
    `(10000,)`, all uint8; pixels from 0 to 255.

    Xiao, Rasul and Vollgraf, 2017 (https://arxiv.org/abs/1708.07747). Copyright
    Zalando SE, MIT licence.
    """
    return _part("train"), _part("t10k")


def _part(prefix: str) -> tuple[np.ndarray, np.ndarray]:
    labels = _read(prefix, "labels-idx1")
    return _read(prefix, "images-idx3").reshape(len(labels), 28, 28), labels


def _read(prefix: str, kind: str) -> np.ndarray:
    with gzip.open(dataset_file(f"{prefix}-{kind}-ubyte.gz"), "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=_HEADER[kind])
