"""kerasnb.initializers"""

import inspect

import jax
import keras
import numpy as np
import pytest
from scipy import stats

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


# --- What the numbers are like, whatever the generator --------------------------------

CUT = 0.87962566103423978  # the spread of a normal distribution cut at two deviations


def _uniform(low, high):
    return stats.uniform(low, high - low)


def _spread(kind, variance):
    """The distribution of a kind with mean 0 and this variance."""
    deviation = variance**0.5
    if kind == "uniform":
        return _uniform(-deviation * 3**0.5, deviation * 3**0.5)
    if kind == "normal":
        return stats.norm(0, deviation)
    return stats.truncnorm(-2, 2, scale=deviation / CUT)


# A dense kernel has 300 inputs and 200 outputs, a convolution's 9 · 40 and 9 · 60.
DENSE, WINDOW = (300, 200), (3, 3, 40, 60)
DISTRIBUTIONS = [
    ("RandomNormal", {}, DENSE, stats.norm(0, 0.05)),
    ("RandomNormal", {"mean": 2.0, "stddev": 0.5}, DENSE, stats.norm(2, 0.5)),
    ("RandomUniform", {}, DENSE, _uniform(-0.05, 0.05)),
    ("RandomUniform", {"minval": 1.0, "maxval": 4.0}, WINDOW, _uniform(1, 4)),
    ("TruncatedNormal", {}, DENSE, stats.truncnorm(-2, 2, scale=0.05)),
    (
        "TruncatedNormal",
        {"mean": 1.0, "stddev": 0.5},
        WINDOW,
        stats.truncnorm(-2, 2, loc=1, scale=0.5),
    ),
    ("GlorotUniform", {}, DENSE, _spread("uniform", 2 / 500)),
    ("GlorotUniform", {}, WINDOW, _spread("uniform", 2 / 900)),
    ("GlorotNormal", {}, DENSE, _spread("cut", 2 / 500)),
    ("LecunUniform", {}, DENSE, _spread("uniform", 1 / 300)),
    ("LecunNormal", {}, WINDOW, _spread("cut", 1 / 360)),
    ("HeUniform", {}, WINDOW, _spread("uniform", 2 / 360)),
    ("HeNormal", {}, DENSE, _spread("cut", 2 / 300)),
    ("HeNormal", {}, (50000,), _spread("cut", 2 / 50000)),
    (
        "VarianceScaling",
        {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
        DENSE,
        _spread("normal", 3 / 200),
    ),
    (
        "VarianceScaling",
        {"mode": "fan_avg", "input_axes": [1, 2], "output_axes": [0]},
        (50, 30, 40),
        _spread("cut", 1 / ((1200 + 50) / 2)),
    ),
]


@pytest.mark.parametrize(
    "row", DISTRIBUTIONS, ids=lambda r: "-".join(map(str, [r[0], *r[1].values(), r[2]]))
)
def test_values_have_the_distribution_they_are_said_to_have(row):
    name, options, shape, wanted = row
    made = getattr(initializers, name)(**options, seed=5)(shape)
    assert made.shape == shape
    values = np.asarray(made, "float64").ravel()
    assert values.mean() == pytest.approx(wanted.mean(), abs=0.02 * wanted.std())
    assert values.std() == pytest.approx(wanted.std(), rel=0.02)
    low, high = wanted.support()
    assert low - 1e-6 <= values.min()
    assert values.max() <= high + 1e-6
    assert stats.kstest(values, wanted.cdf).pvalue > 1e-3
    other = np.asarray(getattr(initializers, name)(**options, seed=6)(shape)).ravel()
    assert abs(np.corrcoef(values, other)[0, 1]) < 0.03


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", sorted({row[0] for row in DISTRIBUTIONS}))
def test_sixteen_bits_keep_the_distribution(name, dtype):
    made = getattr(initializers, name)(seed=5)(DENSE, dtype=dtype)
    full = np.asarray(getattr(initializers, name)(seed=5)(DENSE))
    assert made.dtype == dtype
    values = np.asarray(made, "float64")
    assert np.isfinite(values).all()
    assert values.std() == pytest.approx(full.std(), rel=0.03)
    assert abs(values.mean()) < 0.03 * full.std()
    assert np.abs(values).max() < np.abs(full).max() * 1.05
    assert len(np.unique(values)) > 100


@pytest.mark.parametrize(
    "shape", [(40, 40), (70, 30), (30, 70), (3, 5, 4, 32), (2, 2, 50)], ids=str
)
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_orthogonal_rows_or_columns_have_the_length_of_the_gain(shape, gain):
    made = np.asarray(initializers.Orthogonal(gain, seed=3)(shape), "float64")
    matrix = made.reshape(-1, shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    unit = gain**2 * np.eye(matrix.shape[1])
    np.testing.assert_allclose(matrix.T @ matrix, unit, atol=2e-6)


def test_every_rotation_is_equally_likely_for_an_orthogonal_start():
    """Elements of both signs everywhere, the diagonal too, all of one variance."""
    made = np.stack([initializers.Orthogonal(seed=s)((4, 4)) for s in range(1, 1501)])
    np.testing.assert_allclose(made.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(made.var(0), 1 / 4, atol=0.03)
    assert (np.linalg.det(made) > 0).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_orthogonal_matrices_come_in_any_float_type(dtype):
    made = initializers.Orthogonal(seed=3)((16, 8), dtype=dtype)
    assert made.dtype == dtype
    matrix = np.asarray(made, "float64")
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=0.02)
