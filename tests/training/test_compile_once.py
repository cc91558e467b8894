"""kerasnb.training.loop: models of one architecture share their programs"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kerasnb as keras
from kerasnb.training import loop

X = np.ones((8, 2), "float32")


def fitted(factor, how):
    """A model that multiplies by a number of its own in its compiled step."""

    def times(x):
        if how == "callback":
            shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
            return jax.pure_callback(lambda x: factor * np.asarray(x), shape, x)
        return x * factor if how == "constant" else x * jnp.full(2, factor)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", lambda y, y_pred: jax.lax.stop_gradient(times(y)) + 0 * y_pred)
    return model.fit(X, X[:, :1], epochs=2, verbose=0).history["loss"][0]


@pytest.mark.parametrize("how", ["constant", "array", "callback"])
def test_what_a_program_holds_beside_its_text_is_its_own(how):
    assert [fitted(factor, how) for factor in (2.0, 3.0, 2.0)] == [2.0, 3.0, 2.0]


def test_equal_models_share_a_program_and_the_oldest_ones_go(monkeypatch):
    monkeypatch.setattr(loop, "_EXECUTABLES", {})
    monkeypatch.setattr(loop, "KEPT", 2)
    seen = []
    for factor in (1.0, 1.0, 2.0, 3.0):
        fitted(factor, "constant")
        seen.append(len(loop._EXECUTABLES))
    assert seen == [1, 1, 2, 2]
