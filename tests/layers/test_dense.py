"""kerasnb.layers.dense."""

import numpy as np
import pytest

from kerasnb import layers


def test_the_kernel_is_there_after_build():
    layer = layers.Dense(3)
    with pytest.raises(AttributeError, match="Dense `.*` has no `kernel` before"):
        layer.kernel  # noqa: B018
    layer(np.ones((2, 4)))
    assert layer.kernel.shape == (4, 3) and layer.kernel in set(layer.weights)


def test_a_subclass_may_make_its_own_kernel():
    class Ones(layers.Dense):
        def build(self, input_shape):
            shape = (input_shape[-1], self.units)
            self.kernel = self.add_weight(shape, "ones", name="kernel")

    layer = Ones(3)
    assert layer(np.ones((2, 4))).tolist() == [[4.0] * 3] * 2
    assert layer.count_params() == 12


def test_inputs_of_unknown_width_are_refused():
    with pytest.raises(ValueError, match="last axis has a known length"):
        layers.Dense(3).build((2, None))
