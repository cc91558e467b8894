"""kerasnb.models.op_config"""

import importlib
import inspect

import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb.core.graph import OpCall
from kerasnb.models import op_config
from tests.models.zoo import assert_same_outputs, build, data_for

# Functions without an operation of their own in Keras, most make arrays from numbers.
_NO_CLASS = set(
    "positive zeros ones empty eye identity tri bartlett blackman hamming hanning "
    "kaiser extract_patches_3d".split()
)
# Settings that only Keras has, and which say nothing by default.
_ONLY_KERAS = {"rms_scaling", "kwargs"}


def _parameters(fn):
    return [n for n in inspect.signature(fn).parameters if n not in _ONLY_KERAS]


OPERATIONS = {
    fn.__name__: (fn, place)
    for fn, place in op_config.directory().place.items()
    if fn.__name__ not in _NO_CLASS
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_divides_its_arguments_as_the_class_of_keras_does(name):
    fn, (module, class_name) = OPERATIONS[name]
    theirs = getattr(importlib.import_module(module), class_name)
    settings = [n for n in _parameters(theirs.__init__) if n not in ("self", "name")]
    operands = [n for n in _parameters(theirs.call) if n != "self"]
    assert [*op_config.operands(fn)] == operands
    assert [n for n in _parameters(fn) if n not in operands] == settings


def _pads(k, x):
    return k.ops.pad(x, ((0, 0), (1, 1)), constant_values=2.0)


def _weighs(k, x):
    return k.ops.average(x, axis=1, weights=x)


def _picks_a_list(k, x):
    return k.ops.transpose(x)[[0, 2]]


def _picks_an_axis(k, x):
    return x[:, None, ::2]


def _converts(k, x):
    return k.ops.convert_to_tensor(x, "float32") + 1


def _activates(k, x):
    return k.activations.relu(x, negative_slope=0.5, max_value=1.0)


def _multiplies_many(k, x):
    return k.ops.einsum("bi,bj,k->bijk", x, x, np.ones(2, "float32"))


def _fills(k, x):
    return k.ops.where(x > 0, np.float32(3), x)


def _compares(k, x):
    return k.ops.isclose(x, 0.0, 0.1, 0.2)


def _layer_norms(k, x):
    return k.ops.layer_normalization(x, np.ones(4, "float32"), None, axis=-1)


TRAVELLING = (
    _pads,
    _weighs,
    _picks_an_axis,
    _converts,
    _activates,
    _multiplies_many,
    _fills,
    _compares,
    _layer_norms,
)


def _one(write):
    def make(k):
        x = k.Input((4,), name="x")
        return k.Model(x, write(k, x))

    return make


@pytest.mark.parametrize("write", TRAVELLING, ids=lambda f: f.__name__)
def test_an_operation_travels_both_ways(write):
    ours, theirs = build(_one(write))
    data = data_for(ours, rows=3)
    assert_same_outputs(ours, theirs, data)
    assert_same_outputs(nb.models.model_from_json(theirs.to_json()), ours, data)
    assert_same_outputs(keras.models.model_from_json(ours.to_json()), ours, data)


def test_a_list_of_indices_is_not_taken_for_a_tuple():
    ours, _ = build(_one(lambda k, x: _picks_a_list(nb, x) if k is nb else x))
    data = data_for(ours, rows=3)
    assert ours(data).shape == (2, 3)
    # (Keras itself has no such index on placeholders, and does not read it.)
    assert_same_outputs(nb.models.model_from_json(ours.to_json()), ours, data)


def test_a_loss_between_placeholders_is_read_back():
    x, y = nb.Input((4,), name="x"), nb.Input((4,), name="y")
    model = nb.Model([x, y], nb.losses.mean_squared_error(x, y))
    again = nb.models.model_from_json(model.to_json())
    assert_same_outputs(again, model, data_for(model))


def test_a_loss_between_placeholders_of_keras_is_read():
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    theirs = keras.Model([x, y], keras.losses.cosine_similarity(x, y))
    ours = nb.models.model_from_json(theirs.to_json())
    assert_same_outputs(ours, theirs, data_for(ours))


def _node(class_name, **config):
    model, _ = build(_one(lambda k, x: k.ops.square(x)))
    found = model.get_config()
    found["layers"][1] |= {"class_name": class_name}
    found["layers"][1]["config"] |= config
    return found


def test_an_unknown_operation_is_named_with_the_nearest_one():
    with pytest.raises(ValueError, match=r'the operation Sqare.*Did you mean "Square"'):
        nb.Model.from_config(_node("Sqare"))


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match="gives Square the setting `power` = 3"):
        nb.Model.from_config(_node("Square", power=3))


def test_a_setting_that_says_nothing_is_passed_over():
    model = nb.Model.from_config(_node("Square", power=None))
    assert isinstance(model.operations[1], OpCall)
