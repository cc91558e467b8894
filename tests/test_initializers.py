"""kerasnb.initializers"""

import inspect

import jax
import keras
import numpy as np
import pytest

from kerasnb import initializers, random
from kerasnb.core.configurable import deserialize, serialize

CASES = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 0.25}),
    ("Identity", {"gain": 2.0}),
    ("RandomNormal", {"mean": 0.1, "stddev": 0.2}),
    ("RandomUniform", {"minval": -1.0, "maxval": 0.5}),
    ("TruncatedNormal", {"stddev": 0.3}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
    ("Orthogonal", {"gain": 0.5}),
    ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "normal"}),
    ("VarianceScaling", {"distribution": "untruncated_normal"}),
    ("VarianceScaling", {"distribution": "uniform", "mode": "fan_avg"}),
    ("GlorotUniform", {"input_axes": [1], "output_axes": [0, 2]}),
]
RANDOM = [c for c in CASES if "seed" in inspect.signature(
    getattr(initializers, c[0])
).parameters]  # fmt: skip


def _label(case):
    return "-".join([case[0], *map(str, case[1].values())])


@pytest.mark.parametrize("case", CASES, ids=_label)
def test_values_equal_those_of_keras_to_the_last_bit(case):
    name, options = case
    shapes = [(5, 5)] if name == "Identity" else [(64, 10), (3, 3, 4, 8)]
    if "input_axes" in options:
        shapes = shapes[1:]
    if case in RANDOM:
        options = {**options, "seed": 7}
    for shape in shapes:
        ours = getattr(initializers, name)(**options)(shape)
        theirs = getattr(keras.initializers, name)(**options)(shape)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=_label)
def test_configs_equal_those_of_keras_and_travel_both_ways(case):
    name, options = case
    ours = getattr(initializers, name)(**options)
    theirs = getattr(keras.initializers, name)(**options)
    wanted = theirs.get_config()
    if name == "Identity":  # Keras forgets the gain, but reads it
        wanted = options
    assert ours.get_config() == wanted
    stored = serialize(ours)
    assert stored == keras.saving.serialize_keras_object(theirs) | {"config": wanted}
    assert deserialize(stored).get_config() == ours.get_config()
    there = keras.initializers.deserialize(stored)
    assert there.get_config() == theirs.get_config()


def test_signatures_equal_those_of_keras():
    for name in dir(keras.initializers):
        theirs = getattr(keras.initializers, name)
        if not inspect.isclass(theirs):
            continue
        ours = getattr(initializers, name)
        assert _parameters(ours) == _parameters(theirs), name


def _parameters(cls):
    return [(p.name, p.default) for p in inspect.signature(cls).parameters.values()]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "bool"])
def test_constants_come_in_any_dtype(dtype):
    for name in ("Zeros", "Ones"):
        ours = getattr(initializers, name)()((2, 3), dtype=dtype)
        theirs = getattr(keras.initializers, name)()((2, 3), dtype=dtype)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
def test_stft_agrees_with_keras(side, scaling):
    options = {"side": side, "scaling": scaling, "window": "hamming"}
    ours = initializers.STFT(**options)((16, 1, 9))
    theirs = keras.initializers.STFT(**options)((16, 1, 9))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (
        initializers.STFT(**options).get_config()
        == keras.initializers.STFT(**options).get_config()
    )


def test_one_global_seed_gives_the_weights_of_keras():
    names = ["glorot_uniform", "he_normal", "orthogonal", "uniform", "normal"]
    random.set_random_seed(3)
    ours = [initializers.get(name) for name in names]
    keras.utils.set_random_seed(3)
    theirs = [keras.initializers.get(name) for name in names]
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine((6, 4)), wanted((6, 4)))


def test_an_initializer_repeats_itself_and_one_with_a_generator_does_not():
    fixed = initializers.GlorotUniform()
    np.testing.assert_array_equal(fixed((3,)), fixed((3,)))
    fresh = initializers.GlorotUniform(seed=random.SeedGenerator(1))
    assert (fresh((3,)) != fresh((3,))).any()
    again = deserialize(serialize(fresh))
    assert isinstance(again.seed, random.SeedGenerator)


def test_initial_values_are_computed_at_once_while_jax_traces():
    def make(x):
        with jax.ensure_compile_time_eval():
            return x + float(initializers.HeNormal(seed=1)((2, 2))[0, 0])

    expected = float(initializers.HeNormal(seed=1)((2, 2))[0, 0])
    assert jax.jit(make)(0.0) == pytest.approx(expected)


def test_get_takes_names_configs_classes_functions_and_arrays():
    assert isinstance(initializers.get("zero"), initializers.Zeros)
    assert isinstance(initializers.get("GlorotUniform"), initializers.GlorotUniform)
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    config = {"class_name": "Constant", "config": {"value": 2.0}}
    assert initializers.get(config).value == 2.0
    make = lambda shape, dtype=None: np.ones(shape)  # noqa: E731
    assert initializers.get(make) is make
    assert initializers.get(np.arange(3))((3,)).tolist() == [0, 1, 2]
    assert initializers.get(None) is None
    for name in keras.src.initializers.ALL_OBJECTS_DICT:
        if name not in ("Initializer", "initializer"):
            initializers.get(name)


def test_mistakes_are_answered_with_one_sentence():
    with pytest.raises(ValueError, match='Did you mean "glorot_uniform"'):
        initializers.get("glorot_unifrom")
    with pytest.raises(ValueError, match="Identity: `shape` must be of rank 2"):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match="`scale` must be a positive number"):
        initializers.VarianceScaling(scale=0)
    with pytest.raises(ValueError, match="`mode` must be one of"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        initializers.HeNormal(seed="x")
    with pytest.raises(ValueError, match="the shape \\(3,\\) of the array"):
        initializers.get(np.arange(3))((4,))
