"""What is left of the optimizers of Keras 2: their names, and where to go."""

from typing import Any


class Optimizer:
    """An optimizer of Keras 2: an error, in Keras 3 too.

    >>> Optimizer()
    Traceback (most recent call last):
    ImportError: keras.optimizers.legacy is gone since Keras 3: use the optimizer ...
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(
            "keras.optimizers.legacy is gone since Keras 3: use the optimizer of the "
            "same name from keras.optimizers."
        )


Adagrad = Adam = Ftrl = RMSprop = SGD = Optimizer
