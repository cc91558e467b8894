"""kerasnb.random"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from scipy import stats

from kerasnb import random
from kerasnb.core.state import functional

SHAPES = [(), (7, 5), (3, 3, 1, 32), (16384,), (513, 65)]
SEEDS = [0, 123456789, 2**32 - 1]
SIZE = (200, 100)  # one shape for what is slow to compile


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numpy_computes_the_bits_of_jax(shape):
    for seed in SEEDS:
        key = np.array([seed, 5], "uint32")
        ours = random.threefry_bits(key, int(np.prod(shape))).reshape(shape)
        np.testing.assert_array_equal(ours, jax.random.bits(jnp.asarray(key), shape))


SAMPLERS = {
    "uniform": lambda r, s, seed: r.uniform(s, -0.3, 0.7, seed=seed),
    "uniform_far": lambda r, s, seed: r.uniform(s, 5, 5.001, seed=seed),
    "normal": lambda r, s, seed: r.normal(s, 0.5, 0.1, seed=seed),
    "truncated_normal": lambda r, s, seed: r.truncated_normal(s, 0.0, 2.0, seed=seed),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_made_by_numpy_equal_those_of_keras_to_the_last_bit(name, shape):
    for seed in SEEDS[1:]:
        ours = SAMPLERS[name](random, shape, seed)
        theirs = SAMPLERS[name](keras.random, shape, seed)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_samples_made_by_numpy_compile_nothing_for_a_new_shape():
    random.normal((3,), seed=1)
    with jax.log_compiles(False), _count_compilations() as compiled:
        random.uniform((3, 17), seed=1)
        random.truncated_normal((5, 23), seed=1)
        random.normal((19, 2), 1.0, 2.0, seed=1)
    assert compiled == []


class _count_compilations:
    """The names of what JAX compiles inside."""

    def __enter__(self) -> list:
        self.names: list = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self.names

    def _listen(self, event: str, duration: float, **kwargs) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.names.append(kwargs)

    def __exit__(self, *args) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)


OTHERS = {
    "randint": lambda r, seed: r.randint((5, 3), -4, 9, seed=seed),
    "categorical": lambda r, seed: r.categorical(
        np.float32([[0, 1, 2], [3, 0, 0]]), 7, seed=seed
    ),
    "dropout": lambda r, seed: r.dropout(jnp.ones((8, 6)), 0.3, seed=seed),
    "dropout_noise_shape": lambda r, seed: r.dropout(
        jnp.ones((8, 6)), 0.3, (None, 1), seed=seed
    ),
    "shuffle": lambda r, seed: r.shuffle(jnp.arange(12).reshape(6, 2), seed=seed),
    "gamma": lambda r, seed: r.gamma(SIZE, 2.0, seed=seed),
    "beta": lambda r, seed: r.beta(SIZE, 2.0, 3.0, seed=seed),
    "binomial": lambda r, seed: r.binomial(SIZE, 10.0, 0.3, seed=seed),
    "bfloat16": lambda r, seed: r.normal((5,), dtype="bfloat16", seed=seed),
    "float16": lambda r, seed: r.uniform((5,), dtype="float16", seed=seed),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_samples_equal_those_of_keras_to_the_last_bit(name):
    draw = OTHERS[name]
    ours, theirs = draw(random, 3), draw(keras.random, 3)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(
        np.asarray(ours, "float64"), np.asarray(theirs, "float64")
    )


def test_a_seed_generator_gives_the_keys_of_keras():
    ours = random.SeedGenerator(7)
    theirs = keras.random.SeedGenerator(7)
    for ordered in (True, True, False, True):
        mine = ours.next(ordered=ordered)
        assert mine.dtype == jnp.uint32
        np.testing.assert_array_equal(mine, theirs.next(ordered=ordered))
    assert ours.state.name == "seed_generator_state"
    assert not ours.state.trainable


def test_a_seed_generator_remembers_what_it_was_given():
    assert random.SeedGenerator(7, name="dice").get_config() == {
        "seed": 7,
        "name": "dice",
    }
    config = random.SeedGenerator().get_config()
    assert config == {"seed": None, "name": "seed_generator"}
    assert random.SeedGenerator.from_config(config).get_config() == config


def test_a_seed_generator_moves_on_inside_compiled_code():
    seeds = random.SeedGenerator(1)

    def two():
        return random.normal((2,), seed=seeds), random.normal((2,), seed=seeds)

    (first, second), (state,) = jax.jit(functional(two, [seeds.state]))(
        [seeds.state.value]
    )
    assert state.tolist() == [1, 2]
    np.testing.assert_array_equal(first, random.normal((2,), seed=seeds))
    np.testing.assert_array_equal(second, random.normal((2,), seed=seeds))


def test_numbers_without_a_seed_follow_set_random_seed_as_in_keras():
    random.set_random_seed(11)
    ours = [random.normal((3,)), random.uniform((2,))]
    keras.utils.set_random_seed(11)
    theirs = [keras.random.normal((3,)), keras.random.uniform((2,))]
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, wanted)
    assert random.get_random_seed() == 11


def test_numbers_without_a_seed_are_refused_inside_compiled_code():
    with pytest.raises(ValueError, match=r"Keep a `keras.random.SeedGenerator\(\)`"):
        jax.jit(lambda: random.normal((2,)))()


def test_a_seed_of_the_wrong_kind_is_refused():
    with pytest.raises(ValueError, match=r"`seed` must be an integer.*not 'lucky'"):
        random.normal((2,), seed="lucky")
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        random.set_random_seed(1.5)
    with pytest.raises(TypeError, match=r'no argument `sead`\. Did you mean "seed"'):
        random.SeedGenerator(sead=1)


def test_dtypes_that_cannot_be_sampled_are_refused():
    with pytest.raises(ValueError, match="`dtype` must be a floating dtype"):
        random.uniform((2,), dtype="int32")
    with pytest.raises(ValueError, match="`dtype` must be an integer dtype"):
        random.randint((2,), 0, 5, dtype="float32")
    with pytest.raises(ValueError, match=r"`logits` must be an array of shape"):
        random.categorical(np.ones(3, "float32"), 2)


def test_dropout_of_nothing_and_of_everything_draws_no_number():
    x = jnp.arange(4.0)
    assert random.dropout(x, 0.0) is x
    assert random.dropout(x, 1.0).tolist() == [0, 0, 0, 0]


# --- What the numbers are like, whatever the generator --------------------------------

CONTINUOUS = {
    "uniform": (lambda **how: random.uniform(SIZE, -1, 3, **how), stats.uniform(-1, 4)),
    "normal": (lambda **how: random.normal(SIZE, 2, 0.5, **how), stats.norm(2, 0.5)),
    "truncated_normal": (
        lambda **how: random.truncated_normal(SIZE, 1, 0.5, **how),
        stats.truncnorm(-2, 2, loc=1, scale=0.5),
    ),
    "gamma": (lambda **how: random.gamma(SIZE, 0.5, **how), stats.gamma(0.5)),
    "beta": (lambda **how: random.beta(SIZE, 2.0, 5.0, **how), stats.beta(2, 5)),
}


QUICK = ("uniform", "normal", "truncated_normal")  # to compile


@pytest.mark.parametrize("name", [*CONTINUOUS, *(f"compiled-{n}" for n in QUICK)])
def test_samples_have_the_distribution_they_are_said_to_have(name):
    draw, wanted = CONTINUOUS[name.removeprefix("compiled-")]
    # Outside of compiled code NumPy computes most of them.
    if name.startswith("compiled"):
        values = jax.jit(lambda key: draw(seed=key))(jnp.array([7, 0], "uint32"))
    else:
        values = draw(seed=7)
    assert values.shape == SIZE
    assert values.dtype == "float32"
    _agrees(np.asarray(values, "float64"), wanted)
    assert stats.kstest(np.asarray(values).ravel(), wanted.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", [*QUICK, "beta"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_samples_keep_mean_variance_and_range(name, dtype):
    draw, wanted = CONTINUOUS[name]
    values = draw(seed=7, dtype=dtype)
    assert values.dtype == dtype
    _agrees(np.asarray(values, "float64"), wanted, slack=0.02)
    assert len(np.unique(np.asarray(values, "float64"))) > 100


def _agrees(values, wanted, slack=1e-6):
    """Mean, variance and range are those of a distribution of SciPy's."""
    assert np.isfinite(values).all()
    assert values.mean() == pytest.approx(wanted.mean(), abs=0.03 * wanted.std())
    assert values.std() == pytest.approx(wanted.std(), rel=0.03)
    low, high = wanted.support()
    assert low - slack <= values.min()
    assert values.max() <= high + slack


DISCRETE = {
    "randint": (
        lambda seed: random.randint(SIZE, -2, 5, seed=seed),
        dict.fromkeys(range(-2, 5), 1 / 7),
    ),
    "binomial": (
        lambda seed: random.binomial(SIZE, 4.0, 0.3, seed=seed),
        {k: stats.binom(4, 0.3).pmf(k) for k in range(5)},
    ),
    "categorical": (
        lambda seed: random.categorical(np.log([[0.1, 0.2, 0.7]] * 2), 10000, "int32",
                                        seed),
        {0: 0.1, 1: 0.2, 2: 0.7},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_each_value_comes_as_often_as_it_should(name):
    draw, shares = DISCRETE[name]
    values = np.asarray(draw(4)).ravel()
    found, counts = np.unique(values, return_counts=True)
    assert found.tolist() == list(shares)
    wanted = [share * values.size for share in shares.values()]
    assert stats.chisquare(counts, wanted).pvalue > 1e-3


def test_each_row_of_logits_has_its_own_probabilities():
    logits = np.log(np.array([[0.9, 0.1], [0.2, 0.8]], "float32"))
    drawn = np.asarray(random.categorical(logits, 5000, seed=2))
    np.testing.assert_allclose(drawn.mean(1), [0.1, 0.8], atol=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate, dtype):
    y = random.dropout(jnp.ones(SIZE, dtype), rate, seed=3)
    assert y.dtype == dtype
    y = np.asarray(y, "float64")
    assert (y == 0).mean() == pytest.approx(rate, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose(y[y > 0], 1 / (1 - rate), rtol=0.01)
    # Neither rows nor columns are dropped together.
    for axis in (0, 1):
        shares = (y == 0).mean(axis)
        assert shares.std() < 2 * (rate * (1 - rate) / y.shape[axis]) ** 0.5


def test_a_shuffle_brings_every_element_everywhere_equally_often():
    order = np.stack([random.shuffle(jnp.arange(4), seed=s) for s in range(1, 601)])
    assert np.all(np.sort(order, 1) == np.arange(4))
    for place in range(4):
        counts = np.bincount(order[:, place], minlength=4)
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("ordered", [True, False])
def test_the_keys_of_a_generator_give_unrelated_numbers(ordered):
    seeds = random.SeedGenerator(5)
    draws = np.stack(
        [random.normal((4000,), seed=_key(seeds.next(ordered))) for _ in range(5)]
    )
    between = np.corrcoef(draws) - np.eye(5)
    assert np.abs(between).max() < 0.06
    later = [np.corrcoef(d[:-1], d[1:])[0, 1] for d in draws]
    assert np.abs(later).max() < 0.06


def _key(key):
    """A generator that gives this key next."""
    seeds = random.SeedGenerator(0)
    seeds.state.assign(key)
    return seeds
