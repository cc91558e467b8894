"""kerasnb.optimizers.schedules: agreement with the released Keras."""

import jax
import keras
import numpy as np
import pytest

from kerasnb.optimizers import schedules

CASES = [
    ("ExponentialDecay", (0.1, 10, 0.5)),
    ("ExponentialDecay", (0.1, 10, 0.5, True)),
    ("InverseTimeDecay", (0.1, 10, 0.5)),
    ("InverseTimeDecay", (0.1, 10, 0.5, True)),
    ("PiecewiseConstantDecay", ([5, 10, 20], [1.0, 0.5, 0.25, 0.1])),
    ("PolynomialDecay", (0.1, 10)),
    ("PolynomialDecay", (0.1, 10, 0.01, 2.0, True)),
    ("CosineDecay", (0.1, 10)),
    ("CosineDecay", (0.0, 10, 0.1, "warm", 0.5, 7)),
    ("CosineDecayRestarts", (0.1, 10)),
    ("CosineDecayRestarts", (0.1, 10, 1.0, 0.9, 0.1)),
    ("CosineDecayRestarts", (0.1, 5, 1.5, 0.9)),
]


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_the_rate_at_every_step_agrees_with_keras(name, arguments):
    ours = getattr(schedules, name)(*arguments)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments)
    steps = np.array([0, 1, 4, 5, 6, 7, 9, 10, 11, 17, 20, 21, 35], "int32")
    compiled = jax.vmap(ours)(steps)
    expected = [np.asarray(theirs(step)) for step in steps]
    np.testing.assert_allclose(compiled, expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(ours(7), compiled[5], rtol=1e-6)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_config_travels_both_ways(name, arguments):
    ours = getattr(schedules, name)(*arguments)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments)
    data = schedules.serialize(ours)
    assert data == keras.optimizers.schedules.serialize(theirs)
    again = schedules.deserialize(data)
    assert type(again) is type(ours)
    assert again.get_config() == theirs.get_config()


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="CosineDecay: `decay_steps` must be greater"):
        schedules.CosineDecay(0.1, 0)
    with pytest.raises(ValueError, match="one value more than the 2 boundaries"):
        schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2])


def test_an_own_schedule_is_saved_by_its_arguments():
    class Halve(schedules.LearningRateSchedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / 2**step

    assert Halve(8.0)(2) == 2.0
    assert Halve(8.0).get_config() == {"start": 8.0}
    with pytest.raises(NotImplementedError, match="must write `__call__"):
        schedules.LearningRateSchedule()(0)
