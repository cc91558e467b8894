"""How weights start: `keras.initializers`, without compiling where possible."""

import importlib
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import random
from kerasnb.core import dtypes
from kerasnb.core.configurable import Catalog, Configurable
from kerasnb.core.errors import check, optional
from kerasnb.core.naming import to_snake_case

Shape = Sequence[int]


class Initializer(Configurable):
    """A function `(shape, dtype) -> array` that remembers its arguments.

    Subclasses write `__call__`; their config follows from the constructor.
    """

    scratch = 8
    """Bytes that one element takes beside its own while the array is made."""

    def __init__(self) -> None:
        # Present, so that arguments it does not take are refused.
        super().__init__()

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The values of a new weight."""
        raise NotImplementedError(f"{type(self).__name__} has no `__call__` method.")

    def clone(self) -> "Initializer":
        """An initializer made from the same arguments."""
        return type(self).from_config(self.get_config())


# --- Constants ------------------------------------------------------------------------


def _array(values: Any, dtype: Any) -> jax.Array:
    """An array from NumPy values, always copied: the device may share their memory.

    `jnp.zeros(shape)` and `jnp.asarray(values)` would compile a program per shape.
    """
    return jax.device_put(np.array(values, jnp.dtype(dtypes.canonical(dtype))))


class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,)).tolist()
    [0.0, 0.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Zeros of that shape."""
        return _array(np.zeros(tuple(shape), "int8"), dtype)


class Ones(Initializer):
    """All ones.

    >>> Ones()((2,)).tolist()
    [1.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """Ones of that shape."""
        return _array(np.ones(tuple(shape), "int8"), dtype)


class Constant(Initializer):
    """One number everywhere, or an array that broadcasts to the shape.

    >>> Constant(3.0)((2,)).tolist()
    [3.0, 3.0]
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The value, as often as the shape asks for it."""
        return _array(np.broadcast_to(np.asarray(self.value), tuple(shape)), dtype)


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, zero elsewhere.

    >>> Identity()((2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The matrix; ValueError for another rank than 2."""
        check(len(shape) == 2, "Identity", "shape", tuple(shape), "of rank 2")
        return _array(self.gain * np.eye(shape[0], shape[1]), dtype)


class STFT(Initializer):
    """The cosines or sines of a short-time Fourier transform, windowed.

    Shapes: `(frame_length, input_channels, fft_length)`, as a 1D convolution's kernel.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        sides, scalings = ("real", "imag"), ("density", "spectrum", None)
        check(side in sides, "STFT", "side", side, f"one of {sides}")
        check(scaling in scalings, "STFT", "scaling", scaling, f"one of {scalings}")
        if isinstance(window, str):
            _window(window, 1, periodic)  # an unknown name fails here, not in `build`
        self.side, self.window = side, window
        self.scaling, self.periodic = scaling, periodic

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The kernel."""
        length, _, bins = shape
        dtype = dtypes.canonical(dtype)
        time = jnp.arange(length, dtype=dtype).reshape(-1, 1, 1)
        frequency = jnp.arange(bins, dtype=dtype).reshape(1, 1, -1) / (2 * (bins - 1))
        angle = -2 * time * frequency * jnp.asarray(math.pi, dtype)
        kernel = jnp.cos(angle) if self.side == "real" else jnp.sin(angle)
        if self.window is not None:
            window = self.window
            if isinstance(window, str):
                window = _window(window, length, self.periodic)
            window = jnp.asarray(window, dtype)
            check(
                window.shape == (length,),
                "STFT",
                "window",
                window,
                f"an array of shape ({length},)",
            )
            kernel = kernel * window.reshape(-1, 1, 1)
            if self.scaling == "density":
                kernel = kernel / jnp.sqrt(jnp.sum(jnp.square(window)))
            elif self.scaling == "spectrum":
                kernel = kernel / jnp.sum(jnp.abs(window))
        return jnp.broadcast_to(kernel, tuple(shape))


def _window(name: str, length: int, periodic: bool) -> np.ndarray:
    signal = optional("scipy.signal", "for the windows of STFT", "audio")
    return signal.get_window(name, length, periodic)


# --- Random ---------------------------------------------------------------------------


class RandomInitializer(Initializer):
    """An initializer with a seed: an int, a `SeedGenerator`, or None for a fresh one.

    The same initializer gives the same values at every call unless its seed is a
    `SeedGenerator`.
    """

    scratch = 16  # random bits, and steps to numbers of another width

    def __init__(self, seed: "int | random.SeedGenerator | None" = None) -> None:
        self.seed = seed
        # `seed` stays what the user said, for the config; this is what is drawn from.
        self._source = random.make_default_seed() if seed is None else seed
        if not isinstance(seed, random.SeedGenerator):
            random.draw_seed(self._source)  # a wrong kind of seed fails here


class RandomNormal(RandomInitializer):
    """Normal numbers of the given mean and standard deviation.

    >>> RandomNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None
    ) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """A sample of that shape."""
        return random.normal(shape, self.mean, self.stddev, dtype, self._source)


class TruncatedNormal(RandomNormal):
    """Normal numbers, none further than two standard deviations from the mean.

    >>> bool(abs(TruncatedNormal(seed=1)((100,))).max() < 0.1)
    True
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """A sample of that shape."""
        return random.truncated_normal(
            shape, self.mean, self.stddev, dtype, self._source
        )


class RandomUniform(RandomInitializer):
    """Equally likely numbers from `minval` to `maxval`.

    >>> bool(abs(RandomUniform(seed=1)((100,))).max() < 0.05)
    True
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None
    ) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """A sample of that shape."""
        return random.uniform(shape, self.minval, self.maxval, dtype, self._source)


class VarianceScaling(RandomInitializer):
    """Random numbers of variance `scale / n`, so that signals keep their size.

    `n` is the number of inputs of a unit (`mode="fan_in"`), of outputs (`"fan_out"`)
    or their mean (`"fan_avg"`). `distribution` is `"truncated_normal"`,
    `"untruncated_normal"` or `"uniform"`; `input_axes` and `output_axes` name the axes
    of the shape to count, where they are not the usual ones.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        who = type(self).__name__
        check(scale > 0, who, "scale", scale, "a positive number")
        check(mode in _FANS, who, "mode", mode, f"one of {tuple(_FANS)}")
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        check(
            distribution in _DISTRIBUTIONS,
            who,
            "distribution",
            distribution,
            f"one of {_DISTRIBUTIONS}",
        )
        super().__init__(seed)
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """A sample of that shape."""
        fans = compute_fans(shape, self.input_axes, self.output_axes)
        variance = self.scale / max(1.0, _FANS[self.mode](*fans))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(shape, -limit, limit, dtype, self._source)
        if self.distribution == "untruncated_normal":
            stddev = math.sqrt(variance)
            return random.normal(shape, 0.0, stddev, dtype, self._source)
        # Cutting at two standard deviations shrinks the spread by this factor.
        stddev = math.sqrt(variance) / 0.87962566103423978
        return random.truncated_normal(shape, 0.0, stddev, dtype, self._source)


_DISTRIBUTIONS = ("uniform", "truncated_normal", "untruncated_normal")
_FANS = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2.0,
}


def compute_fans(
    shape: Shape,
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """How many inputs and outputs each unit of a weight of that shape has.

    >>> compute_fans((784, 128)), compute_fans((3, 3, 16, 32))
    ((784, 128), (144, 288))
    """
    shape = tuple(int(n) for n in shape)
    if input_axes is not None and output_axes is not None:
        return (
            math.prod(shape[axis] for axis in input_axes),
            math.prod(shape[axis] for axis in output_axes),
        )
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    window = math.prod(shape[:-2])  # a convolution's; 1 for a matrix
    return shape[-2] * window, shape[-1] * window


class _Preset(VarianceScaling):
    """A `VarianceScaling` with a name of its own."""

    preset: tuple[float, str, str]

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.preset, seed, input_axes, output_axes)


class GlorotUniform(_Preset):
    """Uniform, variance `2 / (fan_in + fan_out)` (Glorot & Bengio, 2010).

    The usual start of kernels.

    >>> GlorotUniform(seed=1)((2, 3)).shape
    (2, 3)
    """

    preset = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal, variance `2 / (fan_in + fan_out)` (Glorot & Bengio, 2010)."""

    preset = (1.0, "fan_avg", "truncated_normal")


class LecunUniform(_Preset):
    """Uniform, variance `1 / fan_in` (LeCun et al., 1998)."""

    preset = (1.0, "fan_in", "uniform")


class LecunNormal(_Preset):
    """Truncated normal, variance `1 / fan_in` (LeCun et al., 1998); for `selu`."""

    preset = (1.0, "fan_in", "truncated_normal")


class HeUniform(_Preset):
    """Uniform, variance `2 / fan_in` (He et al., 2015); for `relu`."""

    preset = (2.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal, variance `2 / fan_in` (He et al., 2015); for `relu`."""

    preset = (2.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal rows or columns, times `gain`.

    Axes before the last are joined (Saxe et al., 2014). The usual start of recurrent
    kernels.

    >>> q = Orthogonal(seed=1)((4, 4))
    >>> bool(jnp.allclose(q @ q.T, jnp.eye(4), atol=1e-6))
    True
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The matrix; ValueError for a rank below 2."""
        shape = tuple(shape)
        check(len(shape) >= 2, "Orthogonal", "shape", shape, "of rank 2 or more")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        sample = random.normal(tall, dtype=dtype, seed=self._source)
        # SciPy is where JAX has its LAPACK from; asked directly, it compiles nothing.
        linalg = importlib.import_module("scipy.linalg")
        q, r = linalg.qr(np.asarray(sample, "float32"), mode="economic")
        # QR fixes the signs by convention; undone, every rotation is equally likely.
        q = q * np.sign(np.diagonal(r))
        q = np.float32(self.gain) * (q.T if rows < columns else q)
        return _array(q.reshape(shape), dtype)


# --- By name --------------------------------------------------------------------------

_CLASSES = (
    Zeros,
    Ones,
    Constant,
    Identity,
    STFT,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Initializer,
)
_catalog = Catalog(
    "initializer",
    Initializer,
    {to_snake_case(cls.__name__): cls for cls in _CLASSES}
    | {cls.__name__: cls for cls in _CLASSES}
    | {
        "zero": Zeros,
        "one": Ones,
        "normal": RandomNormal,
        "uniform": RandomUniform,
        "IdentityInitializer": Identity,
        "OrthogonalInitializer": Orthogonal,
        "STFTInitializer": STFT,
    },
)
deserialize = _catalog.deserialize

zeros, ones, constant, identity, stft = Zeros, Ones, Constant, Identity, STFT
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
random_normal, random_uniform = RandomNormal, RandomUniform
truncated_normal, variance_scaling = TruncatedNormal, VarianceScaling
orthogonal = OrthogonalInitializer = Orthogonal
IdentityInitializer, STFTInitializer = Identity, STFT


def serialize(initializer: Any) -> Any:
    """An initializer as plain data, for `deserialize`."""
    return _catalog.serialize(initializer)


def get(identifier: Any) -> Any:
    """The initializer that a name, a config, a class or an array stands for.

    A random one without a seed draws its seed here.

    >>> get("zeros")((2,)).tolist(), get(None)
    ([0.0, 0.0], None)
    """
    if isinstance(identifier, np.ndarray | np.generic | jax.Array):
        return _FromArray(identifier)
    return _catalog.get(identifier)


class _FromArray(Initializer):
    """The values of a given array."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __call__(self, shape: Shape, dtype: Any = None) -> jax.Array:
        """The array; ValueError when another shape is asked for."""
        check(
            tuple(shape) == tuple(self.values.shape),
            "initializer",
            "shape",
            tuple(shape),
            f"the shape {tuple(self.values.shape)} of the array given as initializer",
        )
        return _array(self.values, dtype)
