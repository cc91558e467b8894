"""kerasnb.core.configurable and kerasnb.core.registry"""

import copy
import pickle
import re

import numpy as np
import pytest

import kerasnb as keras
from kerasnb.core import registry
from kerasnb.core.configurable import Catalog, Configurable, deserialize, serialize


class Brush(Configurable):
    def __init__(self, width, colour="red", *, soft=True, **more):
        self.width, self.more = width * 10, more


@pytest.fixture
def known_brush():
    with registry.custom_object_scope({"Brush": Brush}):
        yield


def test_a_users_object_remembers_its_arguments_defaults_included():
    config = Brush(2, soft=False, tip="round").get_config()
    assert config == {"width": 2, "colour": "red", "soft": False, "tip": "round"}
    assert Brush.from_config(config).get_config() == config


def test_a_subclass_with_its_own_constructor_remembers_its_own_arguments():
    class Fine(Brush):
        def __init__(self, detail=3):
            super().__init__(width=detail)

    assert Fine(detail=4).get_config() == {"detail": 4}
    assert Fine.from_config({"detail": 4}).width == 40


def test_a_wrong_call_still_raises_pythons_own_error():
    with pytest.raises(TypeError, match="'width'"):
        Brush()
    with pytest.raises(TypeError, match="positional"):
        Brush(1, 2, 3)


LAYERS, LOSSES, OPTIMIZERS = keras.layers, keras.losses, keras.optimizers


@pytest.mark.parametrize(
    ("cls", "given", "switch"),
    [
        (LAYERS.Dense, {"units": 3}, "use_bias"),
        (LAYERS.Dense, {"units": 3}, "trainable"),
        (LAYERS.LSTM, {"units": 3}, "return_sequences"),
        (LAYERS.Flatten, {}, "trainable"),
        (LOSSES.BinaryCrossentropy, {}, "from_logits"),
        (OPTIMIZERS.SGD, {}, "nesterov"),
        (OPTIMIZERS.Adam, {}, "use_ema"),
    ],
)
def test_a_switch_is_on_or_off(cls, given, switch):
    # Keras takes the same ones, and "no" as well, for on.
    for value in (True, False, 0, 1, np.bool_(True), None):
        cls(**given, **{switch: value})
    for value in ("no", "True", 2, 0.5, [], {"a": 1}):
        words = f"^{cls.__name__}: `{switch}` must be True or False, not "
        with pytest.raises(ValueError, match=words + re.escape(repr(value))):
            cls(**given, **{switch: value})


def test_a_users_argument_of_the_same_name_may_be_anything():
    class Mine(LAYERS.Dense):
        def __init__(self, use_bias="auto", **more):
            super().__init__(3, use_bias=use_bias == "auto", **more)

    assert Mine().use_bias
    with pytest.raises(ValueError, match="^Same: `use_bias` must be"):
        type("Same", (LAYERS.Dense,), {})(3, use_bias="no")


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))]
)
def test_copies_keep_their_configuration(duplicate):
    assert duplicate(Brush(3)).get_config() == Brush(3).get_config()


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        2.5,
        "text",
        [1, [2, 3]],
        {"a": [1], "b": {"c": None}},
        b"bytes",
        slice(1, None, 2),
        Ellipsis,
    ],
)
def test_plain_values_travel_through_a_config(value):
    assert deserialize(serialize(value)) == value


def test_arrays_travel_through_a_config():
    array = np.array([[1, 2], [3, 4]], "int16")
    back = deserialize(serialize(array))
    assert back.dtype == array.dtype and back.tolist() == array.tolist()


def test_objects_inside_objects_travel(known_brush):
    back = deserialize(serialize({"tools": [Brush(1), Brush(2, "blue")]}))
    assert [b._config["width"] for b in back["tools"]] == [1, 2]


def test_what_cannot_be_written_is_named_with_its_argument():
    with pytest.raises(TypeError, match=r"Brush\(colour=...\)"):
        Brush(1, colour=object()).get_config()


def test_an_unknown_class_is_refused_with_a_hint():
    config = serialize(Brush(1))
    with pytest.raises(TypeError, match="custom_objects"):
        deserialize(config)


def test_a_registered_function_travels_by_name():
    @registry.register_keras_serializable("tests", "square")
    def square(x):
        return x * x

    config = serialize(square)
    assert config["config"] == "tests>square"
    assert deserialize(config) is square


def test_a_custom_scope_ends():
    with registry.custom_object_scope({"Brush": Brush}):
        assert registry.get_registered_object("Brush") is Brush
    assert registry.get_registered_object("Brush") is None


def test_a_class_without_a_config_cannot_be_registered():
    with pytest.raises(ValueError, match="get_config"):
        registry.register_keras_serializable()(type("Plain", (), {}))


def test_a_catalog_suggests_the_nearest_name():
    catalog = Catalog("colour", None, {"Red": dict, "Green": list})
    assert catalog.get("red") == {}
    with pytest.raises(ValueError, match='Unknown colour "gren". Did you mean "Green"'):
        catalog.get("gren")
    with pytest.raises(ValueError, match="is not a colour"):
        catalog.get(3)


def test_code_from_files_is_refused_unless_allowed():
    assert not registry.code_is_allowed()
    with registry.safe_mode(False):
        assert registry.code_is_allowed()
    registry.enable_unsafe_deserialization()
    try:
        assert registry.code_is_allowed()
    finally:
        registry.disable_unsafe_deserialization()
    assert not registry.code_is_allowed()
