"""The same weights and gradients for the optimizers of both libraries."""

import keras
import numpy as np
import pytest

from kerasnb.core.naming import name_scope
from kerasnb.core.variable import Variable

STEPS = 6
SHAPES = {"kernel": (4, 3), "bias": (3,), "cube": (2, 3, 2)}


class Pair:
    """Weights of kerasnb and of Keras that start equal, and gradients for both."""

    def __init__(self, rng: np.random.Generator) -> None:
        values = [rng.normal(size=s).astype("float32") for s in SHAPES.values()]
        with name_scope("dense"):
            self.ours = [
                Variable(v, name=n) for n, v in zip(SHAPES, values, strict=True)
            ]
        with keras.name_scope("dense"):
            self.theirs = [
                keras.Variable(v, name=n) for n, v in zip(SHAPES, values, strict=True)
            ]
        self.grads = [
            [2 * rng.normal(size=v.shape).astype("float32") for v in values]
            for _ in range(STEPS)
        ]

    def assert_equal(self, ours, theirs, where: str = "") -> None:
        """Weights and optimizer variables: same number, shapes, dtypes and values."""
        mine = self.ours + ours.variables
        yours = self.theirs + theirs.variables
        kinds = [(v.shape, v.dtype) for v in mine]
        assert kinds == [(tuple(v.shape), v.dtype) for v in yours], where
        for a, b in zip(mine, yours, strict=True):
            np.testing.assert_allclose(
                a.value,
                np.asarray(b.value),
                rtol=2e-5,
                atol=2e-6,
                err_msg=f"{where} {a.path}",
            )


@pytest.fixture
def pair(rng) -> Pair:
    return Pair(rng)
