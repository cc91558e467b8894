"""kerasnb.constraints"""

import inspect

import keras
import numpy as np
import pytest

from kerasnb import constraints
from kerasnb.core.configurable import deserialize, serialize

CASES = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.5, "axis": [0, 1]}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.8, "rate": 0.7, "axis": 1}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_constrained_weights_and_configs_agree_with_keras(name, options, rng):
    w = np.float32(rng.normal(size=(4, 3)))
    ours = getattr(constraints, name)(**options)
    theirs = getattr(keras.constraints, name)(**options)
    np.testing.assert_allclose(ours(w), theirs(w), 1e-6)
    assert ours.get_config() == theirs.get_config()
    assert serialize(ours) == keras.saving.serialize_keras_object(theirs)
    assert deserialize(serialize(ours)).get_config() == ours.get_config()


def test_signatures_equal_those_of_keras():
    for name in dir(keras.constraints):
        theirs = getattr(keras.constraints, name)
        if inspect.isclass(theirs):
            ours = inspect.signature(getattr(constraints, name))
            wanted = inspect.signature(theirs)
            assert [(p.name, p.default) for p in ours.parameters.values()] == [
                (p.name, p.default) for p in wanted.parameters.values()
            ], name


def test_names_stand_for_constraints():
    assert isinstance(constraints.get("max_norm"), constraints.MaxNorm)
    assert constraints.get(None) is None
    for name in keras.src.constraints.ALL_OBJECTS_DICT:
        constraints.get(name)
    with pytest.raises(ValueError, match='Did you mean "non_neg"'):
        constraints.get("nonneg_")
