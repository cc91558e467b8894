"""kerasnb.backend"""

import keras
import numpy as np
import pytest

from kerasnb import backend, layers


def test_every_name_of_keras_is_there():
    wanted = {n for n in vars(keras.backend) if not n.startswith("_")}
    assert wanted <= set(vars(backend))


def test_clearing_the_session_counts_names_from_zero():
    assert layers.Dense(1).name == "dense"
    assert layers.Dense(1).name == "dense_1"
    backend.clear_session()
    assert layers.Dense(1).name == "dense"


def test_numbers_of_names_go_up_by_one():
    assert [backend.get_uid("row") for _ in range(3)] == [1, 2, 3]
    assert backend.get_uid("row_2") == 1
    assert backend.get_uid() == 1


def test_placeholders_are_recognised():
    assert backend.is_keras_tensor(layers.Input((2,)))
    assert not backend.is_keras_tensor(np.ones(2))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "uint32", "bool"])
def test_kinds_of_numbers_are_those_of_keras(dtype):
    assert backend.is_float_dtype(dtype) == keras.backend.is_float_dtype(dtype)
    assert backend.is_int_dtype(dtype) == keras.backend.is_int_dtype(dtype)
    assert backend.standardize_dtype(dtype) == dtype
