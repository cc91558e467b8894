"""Ten thousand handwritten digits that come with the package: no network needed."""

from pathlib import Path

import numpy as np

_FILE = Path(__file__).with_name("digits28.npz")
_TRAIN = 8000

Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """Return `(x_train, y_train), (x_test, y_test)`, 8,000 and 2,000 MNIST digits.

    The images are a part of the MNIST database in one fixed, mixed order; the last
    2,000 are held out. Every class has at least 670 images to train on and 180 to test
    on.

    Shapes: images `(8000, 28, 28)` and `(2000, 28, 28)`, labels `(8000,)` and
    `(2000,)`, all uint8; pixels from 0 (paper) to 255 (ink).

    MNIST is by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, and these images
    are passed on under its licence, CC BY-SA 3.0
    (https://creativecommons.org/licenses/by-sa/3.0/).

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, x_test.shape
    ((8000, 28, 28), (2000, 28, 28))
    >>> y_train[:5].tolist()
    [3, 8, 1, 0, 4]
    """
    with np.load(_FILE, allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
    return (x[:_TRAIN], y[:_TRAIN]), (x[_TRAIN:], y[_TRAIN:])
