"""What the tests of records share: small data, a small model, an empty sequence."""

import numpy as np
import pytest

import kerasnb as keras


@pytest.fixture(autouse=True)
def no_runs():
    """No records from other tests, and none on disk unless a test asks."""
    keras.config.runs_dir(None)
    keras.runs.clear()
    yield
    keras.config.runs_dir(None)
    keras.runs.clear()


@pytest.fixture
def data():
    """Thirty-two rows of three numbers, and a target."""
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    return x, x.sum(1, keepdims=True)


@pytest.fixture
def make():
    """Makes the model, the same each time it follows the same seed."""

    def make(seed=7, units=4, name="net"):
        if seed is not None:
            keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(units, activation="relu"),
                keras.layers.Dropout(0.25),
                keras.layers.Dense(1),
            ],
            name=name,
        )
        model.compile("adam", "mse", metrics=["mae"])
        return model

    return make
