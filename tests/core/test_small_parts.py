"""kerasnb.core: errors, naming, masks, dtypes, settings"""

import gc

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import config
from kerasnb.core import dtypes, naming
from kerasnb.core.errors import check, optional, reject_unknown, suggest
from kerasnb.core.masks import _masks, get_mask, set_mask


def test_check_speaks_in_one_sentence():
    with pytest.raises(ValueError, match="rate") as caught:
        check(False, "Dropout", "rate", 2, "a number from 0 to 1")
    assert str(caught.value) == ("Dropout: `rate` must be a number from 0 to 1, not 2.")


def test_suggest_is_silent_when_nothing_is_near():
    assert suggest("relju", ["relu"]) == ' Did you mean "relu"?'
    assert suggest("SGDD", ["sgd"]) == ' Did you mean "sgd"?'
    assert suggest("adma", ["adamax", "adam"]) == ' Did you mean "adam"?'
    assert suggest("zzz", ["relu"]) == ""


def test_an_unknown_argument_is_rejected_with_its_neighbour():
    with pytest.raises(TypeError, match='no argument `unit`. Did you mean "units"'):
        reject_unknown("Dense", ["unit"], ["units", "name"])


def test_a_missing_package_names_the_extra():
    with pytest.raises(ImportError, match=r"pip install 'kerasnb\[notebook\]'"):
        optional("no_such_package_here", "to draw", "notebook")


@pytest.mark.parametrize(
    "name",
    ["Conv2D", "LSTM", "PReLU", "GlobalAveragePooling2D", "MyLayer", "DepthwiseConv2D"],
)
def test_snake_case_is_keras_own(name):
    from keras.src.utils.naming import to_snake_case

    assert naming.to_snake_case(name) == to_snake_case(name)


def test_names_count_up_in_a_session_and_anew_in_a_cell():
    naming.reset_names()
    assert [naming.unique("dense") for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    with naming.fresh_names():
        assert naming.unique("dense") == "dense"
    assert naming.unique("dense") == "dense_3"


def test_scopes_make_paths():
    with naming.name_scope("model"), naming.name_scope("dense"):
        assert naming.current_path() == "model/dense"
    assert naming.current_path() == ""


def test_a_mask_lives_as_long_as_its_array():
    x = jnp.ones((2, 3))
    mask = jnp.array([[True, True, False]] * 2)
    set_mask(x, mask)
    assert get_mask(x) is mask
    before = len(_masks)
    del x
    gc.collect()
    assert len(_masks) == before - 1


def test_a_mask_can_be_kept_beside_a_tracer():
    def trace(x):
        set_mask(x, x > 0)
        return get_mask(x)

    assert jax.jit(trace)(jnp.array([1.0, -1.0])).tolist() == [True, False]


DTYPES = "bool int8 int32 uint8 int64 bfloat16 float16 float32 float64".split()


@pytest.mark.parametrize("first", DTYPES)
def test_dtypes_combine_as_in_keras(first):
    from keras.src.backend import result_type

    for second in [*DTYPES, int, float]:
        assert dtypes.result_type(first, second) == result_type(first, second)


@pytest.mark.parametrize(
    "value", ["float32", np.float32, float, int, bool, jnp.bfloat16, "int8", None]
)
def test_dtype_names_are_standardised_as_in_keras(value):
    assert dtypes.standardize_dtype(value) == keras.backend.standardize_dtype(value)


@pytest.mark.parametrize("name", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_policies_agree_with_keras(name):
    ours, theirs = dtypes.DTypePolicy(name), keras.DTypePolicy(name)
    assert ours.compute_dtype == theirs.compute_dtype
    assert ours.variable_dtype == theirs.variable_dtype
    assert ours.get_config() == theirs.get_config()


def test_unknown_dtypes_and_policies_are_named():
    with pytest.raises(ValueError, match='Did you mean "float32"'):
        dtypes.standardize_dtype("flot32")
    with pytest.raises(ValueError, match="mixed_float16"):
        dtypes.DTypePolicy("mixed_flot16")


def test_settings_can_be_read_and_set():
    assert config.floatx() == "float32" and config.epsilon() == 1e-7
    config.set_floatx("float16")
    try:
        assert dtypes.standardize_dtype(None) == "float16"
    finally:
        config.set_floatx("float32")
    with pytest.raises(ValueError, match="set_floatx"):
        config.set_floatx("int32")
    with pytest.raises(ValueError, match="channels_last"):
        config.set_image_data_format("channels_middle")


def test_display_follows_the_environment_until_it_is_set(monkeypatch):
    from kerasnb.core import settings

    monkeypatch.setitem(settings._settings, "display", None)
    monkeypatch.setenv("KERASNB_DISPLAY", "html")
    assert config.display() == "html"
    assert config.display("text") == "text" == config.display()
