"""keras.utils.legacy beside ours, and names in scopes."""

import keras
import pytest

import kerasnb
from kerasnb.utils import legacy


def double(x):
    return 2 * x


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.regularizers.L1L2(0.1, 0.2),
        lambda library: library.layers.Dense(
            3, activation="relu", kernel_regularizer="l2", name="d"
        ),
        lambda library: library.initializers.Constant(3.0),
        lambda library: double,
        lambda library: None,
    ],
)
def test_the_plain_form_is_that_of_keras(make):
    ours = legacy.serialize_keras_object(make(kerasnb))
    theirs = keras.utils.legacy.serialize_keras_object(make(keras))
    if isinstance(theirs, dict):
        # Keras has the mere names of seeds that were drawn.
        assert ours["class_name"] == theirs["class_name"]
        assert ours["config"].keys() >= theirs["config"].keys()
    else:
        assert ours == theirs


def test_an_object_comes_back_from_its_plain_form():
    plain = legacy.serialize_keras_object(kerasnb.layers.Dense(3, name="d"))
    again = legacy.deserialize_keras_object(plain, vars(kerasnb.layers))
    assert (again.units, again.name) == (3, "d")
    own = {"double": double, "L": kerasnb.regularizers.L2}
    assert legacy.deserialize_keras_object("double", {}, own) is double
    assert isinstance(legacy.deserialize_keras_object("L", own), own["L"])
    assert legacy.deserialize_keras_object(double) is double


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match='There is no layer `Dens`. Did you mean "de'):
        legacy.deserialize_keras_object(
            "Dens", vars(kerasnb.layers), printable_module_name="layer"
        )
    with pytest.raises(ValueError, match="Cannot make a object from 3"):
        legacy.deserialize_keras_object(3)
    with pytest.raises(ValueError, match="it has no get_config"):
        legacy.serialize_keras_object(3)


def test_a_scope_of_custom_objects_is_a_class_and_nests():
    with kerasnb.utils.CustomObjectScope({"a": double}):
        with kerasnb.saving.custom_object_scope({"b": len}):
            assert kerasnb.saving.get_registered_object("a") is double
            assert kerasnb.saving.get_registered_object("b") is len
        assert kerasnb.saving.get_registered_object("b") is None
    assert kerasnb.saving.get_registered_object("a") is None
