"""Seventy thousand handwritten digits."""

import numpy as np

from kerasnb.datasets.sources import dataset_file


def load_data(
    path: str = "mnist.npz",
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return MNIST as `(x_train, y_train), (x_test, y_test)`, downloading it once.

    `path` is the name of the file in the cache, `~/.keras/datasets`. Raises OSError
    without a network; `kerasnb.datasets.digits28` needs none.

    Shapes: images `(60000, 28, 28)` and `(10000, 28, 28)`, labels `(60000,)` and
    `(10000,)`, all uint8; pixels from 0 to 255, labels from 0 to 9.

    MNIST is by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, licence
    CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/).
    """
    with np.load(dataset_file("mnist.npz", path), allow_pickle=False) as arrays:
        return (
            (arrays["x_train"], arrays["y_train"]),
            (arrays["x_test"], arrays["y_test"]),
        )
