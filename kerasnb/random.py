"""Random numbers: seed generators and samplers, bit-equal to Keras on JAX.

A seed is an int (the same numbers every time), a `SeedGenerator` (new numbers at every
call) or None (a global generator, which `set_random_seed` makes reproducible).

JAX compiles one program per shape, which costs a model's first step dearly: a weight
of a new shape is a new program. Here float32 numbers with a known seed are computed by
NumPy instead, with JAX's own Threefry counter scheme and to the same last bit.
"""

import contextvars
import math
import operator
import random as python_random
from collections import abc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes, naming
from kerasnb.core.configurable import Configurable
from kerasnb.core.errors import check, reject_unknown, show
from kerasnb.core.variable import Variable

Shape = abc.Sequence[int]

# --- Seeds ----------------------------------------------------------------------------


class SeedGenerator(Configurable):
    """A source of fresh random keys: a seed and a counter in one variable.

    Pass it as the `seed` of a sampler; every call then gives new numbers, also inside
    compiled code. Without a `seed` one is drawn from Python's `random`.

    >>> seeds = SeedGenerator(seed=42)
    >>> seeds.next().tolist(), seeds.next().tolist()
    ([42, 0], [42, 1])
    """

    def __init__(
        self, seed: int | None = None, name: str | None = None, **kwargs: Any
    ) -> None:
        self._config.pop("backend", None)
        reject_unknown("SeedGenerator", set(kwargs) - {"backend"}, ("seed", "name"))
        self.name = name or naming.auto_name(self)
        self.seed = seed
        initial = _as_int(make_default_seed() if seed is None else seed)
        with naming.name_scope(self.name):
            self.state = Variable(
                lambda shape, dtype: _key_of(initial),
                shape=(2,),
                dtype="uint32",
                trainable=False,
                name="seed_generator_state",
            )

    def next(self, ordered: bool = True) -> jax.Array:
        """The current key, as a raw `uint32 (2,)` array; the next call gives another.

        With `ordered=False` the keys are scattered instead of counted up.
        """
        key = self.state.value
        now = key if _is_traced(key) else np.asarray(key)
        if self.state._layout is not None and now is not key:
            key = jnp.asarray(now)  # What is drawn need not lie where the state does.
        if ordered:
            self.state.assign(now + np.array([0, 1], "uint32"))
        else:
            self.state.assign((now + np.uint32(1)) * np.uint32(5387) % 933199)
        return key


_global_generator: SeedGenerator | None = None
_global_seed: int | None = None


def global_seed_generator() -> SeedGenerator:
    """The generator behind `seed=None`; an error while JAX traces."""
    global _global_generator
    if _is_traced(jnp.zeros(())):
        raise ValueError(
            "Random numbers without a seed were asked for inside a traced function, "
            "where they would be drawn once and then repeat. Keep a "
            "`keras.random.SeedGenerator()` on the layer and pass it as `seed`."
        )
    if _global_generator is None:
        _global_generator = SeedGenerator()
    return _global_generator


def make_default_seed() -> int:
    """A seed from Python's `random`, from 1 to 10**9."""
    return (_aside.get() or python_random).randint(1, int(1e9))


_aside: contextvars.ContextVar[python_random.Random | None]
_aside = contextvars.ContextVar("aside", default=None)


@contextmanager
def seeds_aside() -> abc.Iterator[None]:
    """Draw seeds in this thread from elsewhere: nobody else's numbers change.

    >>> before = Generators.now()
    >>> with seeds_aside():
    ...     seed = make_default_seed()
    >>> bool((before.python == Generators.now().python).all())
    True
    """
    token = _aside.set(python_random.Random(0))
    try:
        yield
    finally:
        _aside.reset(token)


def draw_seed(seed: "int | SeedGenerator | jax.Array | None") -> jax.Array:
    """The raw JAX key that a seed stands for; a generator moves on.

    >>> draw_seed(7).tolist()
    [7, 0]
    """
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if seed is None:
        return global_seed_generator().next(ordered=False)
    if isinstance(seed, jax.Array):
        return seed
    return jax.device_put(_key_of(_as_int(seed)))


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy and every weight and dropout made from now on."""
    global _global_generator, _global_seed
    seed = _as_int(seed)
    _global_generator, _global_seed = None, seed
    python_random.seed(seed)
    np.random.seed(seed)  # users' own data code reads this generator


def get_random_seed() -> int | None:
    """The seed last given to `set_random_seed`, or None."""
    return _global_seed


@dataclass(frozen=True)
class Generators:
    """The states of all generators: Python's, NumPy's and the one behind `seed=None`.

    Plain arrays and numbers, small enough to keep many and to send elsewhere.

    >>> before = Generators.now()
    >>> first = np.random.random()
    >>> before.restore()
    >>> np.random.random() == first
    True
    """

    python: np.ndarray
    numpy: np.ndarray
    rest: tuple[float | None, int, int, float]
    seed: int | None = None
    key: np.ndarray | None = None

    @classmethod
    def now(cls, numpy: Any = np.random) -> "Generators":
        """Their present states; `numpy` may be another generator than NumPy's own."""
        _, words, gauss = python_random.getstate()
        _, keys, position, has_gauss, cached = numpy.get_state(legacy=True)
        rest = (gauss, int(position), int(has_gauss), float(cached))
        ours = _global_generator
        return cls(
            np.array(words, np.uint32),
            np.array(keys, np.uint32),
            rest,
            _global_seed,
            None if ours is None else np.asarray(ours.state.value),
        )

    def restore(self, numpy: Any = np.random) -> None:
        """Put the generators back into these states, or a `numpy` of one's own."""
        global _global_generator, _global_seed
        gauss, position, has_gauss, cached = self.rest
        numpy.set_state(("MT19937", self.numpy, position, has_gauss, cached))
        if numpy is not np.random:
            return
        _global_seed = self.seed
        if self.key is None:
            _global_generator = None
        else:
            global_seed_generator().state.assign(self.key)
        python_random.setstate((3, tuple(self.python.tolist()), gauss))


@contextmanager
def seeded(seed: int | None) -> abc.Iterator[None]:
    """Seed everything inside; afterwards the generators go on as if it had not been.

    >>> with seeded(1):
    ...     first = np.random.random()
    >>> with seeded(1):
    ...     np.random.random() == first
    True
    """
    before = Generators.now()
    try:
        if seed is not None:
            set_random_seed(seed)
        yield
    finally:
        before.restore()


def _as_int(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise ValueError(
            "`seed` must be an integer, a `keras.random.SeedGenerator` or None, "
            f"not {show(seed)}."
        ) from None


def _key_of(seed: int) -> np.ndarray:
    return np.array([seed & 0xFFFFFFFF, 0], "uint32")


def _is_traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer)


# --- Samplers -------------------------------------------------------------------------


def uniform(
    shape: Shape,
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Equally likely numbers from `minval` up to, but without, `maxval`.

    >>> uniform((2,), -1, 1, seed=1).shape
    (2,)
    """
    check(
        dtype is None or dtypes.is_float(dtype),
        "uniform",
        "dtype",
        dtype,
        "a floating dtype",
    )
    dtype, key = dtypes.canonical(dtype), draw_seed(seed)
    if _on_host(key, dtype, shape, minval, maxval):
        return jax.device_put(_host_uniform(key, shape, minval, maxval))
    return jax.random.uniform(key, tuple(shape), dtype, minval, maxval)


def normal(
    shape: Shape,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Numbers from a normal distribution.

    >>> normal((2, 3), stddev=0.1, seed=1).shape
    (2, 3)
    """
    dtype, key = dtypes.canonical(dtype), draw_seed(seed)
    if _on_host(key, dtype, shape, mean, stddev):
        sample = _host_gauss(_host_uniform(key, shape, _AFTER_MINUS_ONE, 1.0))
        return jax.device_put(sample * np.float32(stddev) + np.float32(mean))
    return jax.random.normal(key, tuple(shape), dtype) * stddev + mean


def truncated_normal(
    shape: Shape,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Numbers from a normal distribution, none further than two `stddev` from `mean`.

    >>> bool(abs(truncated_normal((1000,), seed=1)).max() < 2)
    True
    """
    dtype, key = dtypes.canonical(dtype), draw_seed(seed)
    if _on_host(key, dtype, shape, mean, stddev):
        host = _host_gauss(_host_uniform(key, shape, -_ERF_SQRT2, _ERF_SQRT2))
        host = np.clip(host, -_BELOW_TWO, _BELOW_TWO)
        return jax.device_put(host * np.float32(stddev) + np.float32(mean))
    sample = jax.random.truncated_normal(key, -2.0, 2.0, tuple(shape), dtype)
    return sample * stddev + mean


def randint(
    shape: Shape, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None
) -> jax.Array:
    """Equally likely integers from `minval` up to, but without, `maxval`.

    >>> bool((randint((100,), 0, 6, seed=1) < 6).all())
    True
    """
    check(
        dtype is None or dtypes.is_int(dtype),
        "randint",
        "dtype",
        dtype,
        "an integer dtype",
    )
    dtype = dtypes.canonical("int32" if dtype is None else dtype)
    return jax.random.randint(draw_seed(seed), tuple(shape), minval, maxval, dtype)


def categorical(
    logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None
) -> jax.Array:
    """Class indices drawn with the probabilities `softmax(logits)`.

    Shapes: `(batch, classes) -> (batch, num_samples)`.

    >>> categorical([[0.0, 100.0]], 3, seed=1).tolist()
    [[1, 1, 1]]
    """
    logits = dtypes.as_array(logits)
    check(
        logits.ndim == 2,
        "categorical",
        "logits",
        logits,
        "an array of shape (batch, classes)",
    )
    shape = (logits.shape[0], num_samples)
    key = draw_seed(seed)
    # An extra axis, so that every sample of a row reads the same logits.
    sample = jax.random.categorical(key, logits[..., None], axis=1, shape=shape)
    return sample.astype(dtypes.canonical(dtype))


def dropout(
    inputs: Any, rate: float, noise_shape: abc.Sequence | None = None, seed: Any = None
) -> jax.Array:
    """Zero a share `rate` of the elements, scale the others by `1 / (1 - rate)`.

    `noise_shape` may hold 1 for axes that share one decision, None for the input's.

    >>> dropout(jnp.ones(4), rate=0.5, seed=1).shape
    (4,)
    """
    inputs = dtypes.as_array(inputs)
    if rate == 1.0:
        return jnp.zeros_like(inputs)
    if rate == 0.0:
        return inputs
    keep = 1.0 - rate
    sizes = inputs.shape if noise_shape is None else noise_shape
    shape = tuple(
        own if size is None else size
        for own, size in zip(inputs.shape, sizes, strict=True)
    )
    kept = jax.random.bernoulli(draw_seed(seed), keep, shape)
    kept = jnp.broadcast_to(kept, inputs.shape)
    return jnp.where(kept, inputs / keep, jnp.zeros((), inputs.dtype))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> jax.Array:
    """The elements along `axis` in random order, each line by itself.

    >>> sorted(shuffle(jnp.arange(3), seed=1).tolist())
    [0, 1, 2]
    """
    key = draw_seed(seed)
    return jax.random.permutation(key, dtypes.as_array(x), axis, independent=True)


def gamma(shape: Shape, alpha: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Numbers from a Gamma distribution of shape parameter `alpha` and scale 1.

    >>> bool((gamma((5,), 2.0, seed=1) > 0).all())
    True
    """
    alpha = dtypes.as_array(alpha)
    dtype = dtypes.canonical(dtype)
    return jax.random.gamma(draw_seed(seed), alpha, tuple(shape), dtype)


def beta(
    shape: Shape, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None
) -> jax.Array:
    """Numbers from 0 to 1 from a Beta distribution.

    >>> bool((beta((5,), 2.0, 3.0, seed=1) < 1).all())
    True
    """
    alpha, beta = dtypes.as_array(alpha), dtypes.as_array(beta)
    dtype = dtypes.canonical(dtype)
    # JAX refuses to make 16-bit numbers from parameters of 32 bits.
    wide = jnp.promote_types(dtype, jnp.promote_types(alpha.dtype, beta.dtype))
    sample = jax.random.beta(draw_seed(seed), alpha, beta, tuple(shape), wide)
    return sample.astype(dtype)


def binomial(
    shape: Shape, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> jax.Array:
    """How often something of the given probability happens in `counts` tries.

    >>> bool((binomial((5,), 10, 0.5, seed=1) <= 10).all())
    True
    """
    counts, probabilities = dtypes.as_array(counts), dtypes.as_array(probabilities)
    dtype = dtypes.canonical(dtype)
    return jax.random.binomial(
        draw_seed(seed), counts, probabilities, tuple(shape), dtype
    )


# --- The same numbers without compiling -----------------------------------------------

# The results go to the device by `device_put`: `jnp.asarray` compiles a program, too,
# for each shape. NumPy's memory is shared then, so nothing may write to it again.
#
# One fixed length serves every shape: the one program that normal numbers need is
# compiled once, and NumPy's passes stay in the processor's cache.
_BLOCK = 1 << 14
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_SQRT2 = np.float32(math.sqrt(2))
_AFTER_MINUS_ONE = np.nextafter(np.float32(-1), np.float32(0))
_BELOW_TWO = np.nextafter(np.float32(2), np.float32(0))
# erf(sqrt(2)) as XLA's float32 arithmetic has it; NumPy has no erf.
_ERF_SQRT2 = np.float32(0.9544997215270996)


def _on_host(key: jax.Array, dtype: str, shape: Shape, *numbers: Any) -> bool:
    """Whether NumPy can stand in: a known key, JAX's default scheme, float32."""
    return (
        dtype == "float32"
        and not _is_traced(key)
        and key.shape == (2,)
        and key.dtype == np.uint32
        and _scheme() == (True, "threefry2x32")
        and all(isinstance(n, int | float | np.number) for n in numbers)
        and math.prod(shape) < 1 << 26  # beyond, the compilation is the lesser cost
    )


def _scheme() -> tuple[bool, str]:
    """How JAX makes random bits: whether counted by element, and by which function."""
    config: Any = jax.config
    return config.jax_threefry_partitionable, config.jax_default_prng_impl


def threefry_bits(key: Any, size: int) -> np.ndarray:
    """The uint32 numbers of `jax.random.bits(key, (size,))`, by NumPy.

    Threefry2x32 with 20 rounds (Salmon et al., 2011) on a 64-bit counter; the two
    halves of each result are joined by exclusive or.

    >>> threefry_bits([0, 0], 2).tolist() == jax.random.bits(
    ...     jnp.zeros(2, "uint32"), (2,)).tolist()
    True
    """
    first, second = (np.uint32(k) for k in np.asarray(key))
    keys = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    out = np.empty(size, np.uint32)
    with np.errstate(over="ignore"):
        for start in range(0, size, _BLOCK):
            counter = np.arange(start, min(start + _BLOCK, size), dtype=np.uint64)
            high = (counter >> np.uint64(32)).astype(np.uint32) + keys[0]
            low = counter.astype(np.uint32) + keys[1]
            for group in range(5):
                for by in _ROTATIONS[group % 2]:
                    high += low
                    low = (low << np.uint32(by)) | (low >> np.uint32(32 - by))
                    low ^= high
                high += keys[(group + 1) % 3]
                low += keys[(group + 2) % 3] + np.uint32(group + 1)
            out[start : start + _BLOCK] = high ^ low
    return out


def _host_uniform(key: Any, shape: Shape, minval: Any, maxval: Any) -> np.ndarray:
    # 23 random bits as the mantissa of a float from 1 to 2.
    bits = threefry_bits(key, math.prod(shape)) >> np.uint32(9) | np.uint32(0x3F800000)
    low, high = np.float32(minval), np.float32(maxval)
    unit = bits.view(np.float32) - np.float32(1)
    # XLA fuses the multiplication and the addition, which then round only once;
    # float64 holds the exact value of both.
    scaled = unit.astype(np.float64) * np.float64(high - low) + np.float64(low)
    return np.maximum(low, scaled.astype(np.float32)).reshape(tuple(shape))


def _host_gauss(uniform: np.ndarray) -> np.ndarray:
    """Standard normal numbers from uniform ones in (-1, 1)."""
    flat, out = uniform.ravel(), np.empty(uniform.size, np.float32)
    with jax.ensure_compile_time_eval():
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            padded = np.pad(part, (0, _BLOCK - part.size))
            block = np.asarray(_gauss_block(padded))
            out[start : start + _BLOCK] = block[: part.size]
    return out.reshape(uniform.shape)


@jax.jit
def _gauss_block(uniform: jax.Array) -> jax.Array:
    return _SQRT2 * jax.lax.erf_inv(uniform)
