"""Signals over time: frames, Fourier transforms, complex numbers as pairs."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import budget, dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array, tensor

# --- Complex numbers ------------------------------------------------------------------


@op
def view_as_complex(x: Any) -> Array:
    """Pairs of real and imaginary parts as complex numbers.

    Shapes: `(..., 2) -> (...)`.

    >>> view_as_complex([[1.0, 2.0]]).tolist()
    [(1+2j)]
    """
    x = dtypes.as_array(x)
    pairs = x.ndim > 0 and x.shape[-1] == 2
    check(pairs, "view_as_complex", "x", x, "pairs of numbers along the last axis")
    x = x.astype("float32")
    return jax.lax.complex(x[..., 0], x[..., 1])


@op
def view_as_real(x: Any) -> Array:
    """Real and imaginary part along a new last axis. Shapes: `s -> s + (2,)`.

    >>> view_as_real([1 + 2j]).tolist()
    [[1.0, 2.0]]
    """
    x = dtypes.as_array(x)
    return jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)


@op
def polar(abs_: Any, angle: Any) -> Array:
    """The complex numbers `abs_ · e^(i · angle)`. Shapes: `s, s -> s`, broadcast.

    >>> polar([2.0], [0.0]).tolist()
    [(2+0j)]
    """
    size, angle = dtypes.as_array(abs_), dtypes.as_array(angle)
    return _complex("polar", (size * jnp.cos(angle), size * jnp.sin(angle)))


def _complex(who: str, x: Any) -> Array:
    """The complex numbers of a pair of real and imaginary parts."""
    pair = isinstance(x, tuple | list) and len(x) == 2
    check(pair, who, "x", x, "a pair of arrays, the real and the imaginary parts")
    real, imag = (dtypes.as_array(part) for part in x)
    if real.shape != imag.shape:
        raise ValueError(
            f"{who}: real and imaginary parts must have the same shape, not "
            f"{real.shape} and {imag.shape}."
        )
    for part in (real, imag):
        check(dtypes.is_float(part.dtype), who, "x", part, "a pair of arrays of floats")
    return jax.lax.complex(real, imag)


def _pair(x: Array) -> tuple[Array, Array]:
    return jnp.real(x), jnp.imag(x)


# --- Fourier transforms ---------------------------------------------------------------


@op
def fft(x: Any) -> tuple[Array, Array]:
    """`Σ x[n] · e^(-2πi · kn/N)` along the last axis; `x` and the result are pairs.

    A pair holds the real and the imaginary parts. Shapes: `(s, s) -> (s, s)`.

    >>> [part.tolist() for part in fft(([1.0, 0.0], [0.0, 0.0]))]
    [[1.0, 1.0], [0.0, 0.0]]
    """
    return _pair(jnp.fft.fft(_complex("fft", x)))


@op
def fft2(x: Any) -> tuple[Array, Array]:
    """`fft` along the last two axes. Shapes: `(s, s) -> (s, s)`.

    >>> fft2((jnp.ones((2, 2)), jnp.zeros((2, 2))))[0].tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """
    return _pair(jnp.fft.fft2(_complex("fft2", x)))


@op
def ifft2(x: Any) -> tuple[Array, Array]:
    """What `fft2` was made from. Shapes: `(s, s) -> (s, s)`.

    >>> ifft2((jnp.ones((2, 2)), jnp.zeros((2, 2))))[0].tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    return _pair(jnp.fft.ifft2(_complex("ifft2", x)))


@op
def rfft(x: Any, fft_length: int | None = None) -> tuple[Array, Array]:
    """The first half of `fft` of real numbers, cut or zero-padded to `fft_length`.

    Shapes: `(..., n) -> (..., n // 2 + 1), (..., n // 2 + 1)`.

    >>> [part.tolist() for part in rfft([1.0, 1.0])]
    [[2.0, 0.0], [0.0, 0.0]]
    """
    return _pair(jnp.fft.rfft(tensor(x), fft_length))


@op
def irfft(x: Any, fft_length: int | None = None) -> Array:
    """The real numbers that `rfft` was made from.

    Shapes: `(..., n), (..., n) -> (..., fft_length)`, `2(n - 1)` long by default.

    >>> irfft(([2.0, 0.0], [0.0, 0.0])).tolist()
    [1.0, 1.0]
    """
    return jnp.fft.irfft(_complex("irfft", x), fft_length)


# --- Frames ---------------------------------------------------------------------------


@op
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Array:
    """The windows of a signal, a new one every `sequence_stride` elements.

    Shapes: `(..., n) -> (..., 1 + (n - sequence_length) // sequence_stride,
    sequence_length)`.

    >>> extract_sequences([1, 2, 3, 4], 2, 1).tolist()
    [[1, 2], [2, 3], [3, 4]]
    """
    x = dtypes.as_array(x)
    check(x.ndim > 0, "extract_sequences", "x", x, "an array of one or more axes")
    for name, value in (("length", sequence_length), ("stride", sequence_stride)):
        _check_positive("extract_sequences", f"sequence_{name}", value)
    return _frames(x, sequence_length, sequence_stride)


def _check_positive(who: str, argument: str, value: Any) -> None:
    right = isinstance(value, int) and value > 0
    check(right, who, argument, value, "a positive integer")


def _frames(x: Array, length: int, stride: int) -> Array:
    count = max((x.shape[-1] - length) // stride + 1, 0)
    # Frames that overlap by whole chunks are a few slices; others are gathered.
    chunk = math.gcd(length, stride)
    if length // chunk > 16:
        places = np.arange(count)[:, None] * stride + np.arange(length)
        return x[..., places]
    step, chunks = stride // chunk, x.shape[-1] // chunk
    x = x[..., : chunks * chunk].reshape(*x.shape[:-1], chunks, chunk)
    parts = [
        x[..., first : first + (count - 1) * step + 1 : step, :][..., :count, :]
        for first in range(length // chunk)
    ]
    return jnp.concatenate(parts, axis=-1)


def _overlap_add(frames: Array, stride: int) -> Array:
    """The sum of frames laid over one another: what `_frames` is the transpose of."""
    *batch, count, length = frames.shape
    whole = jax.ShapeDtypeStruct((*batch, (count - 1) * stride + length), frames.dtype)
    (out,) = jax.linear_transpose(lambda x: _frames(x, length, stride), whole)(frames)
    return out


@op
def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Array, Array]:
    """The spectrum of a signal over time: `rfft` of its windowed frames.

    `window` is `"hann"`, `"hamming"`, an array of `sequence_length` or None; `center`
    mirrors the signal at its ends, so that frames are centred on their time.

    Shapes: `(..., n) -> (..., frames, fft_length // 2 + 1)`, twice: real and imaginary.

    >>> stft(jnp.ones(8), 4, 2, 4)[0].shape
    (5, 3)
    """
    x = dtypes.as_array(x)
    check(x.dtype in ("float32", "float64"), "stft", "x", x, "of dtype float32")
    _check_positive("stft", "sequence_stride", sequence_stride)
    taper = _taper("stft", window, sequence_length, fft_length, x.dtype)
    if center:
        edges = [(0, 0)] * (x.ndim - 1) + [(fft_length // 2, fft_length // 2)]
        x = jnp.pad(x, edges, mode="reflect")
    return _pair(jnp.fft.rfft(_frames(x, fft_length, sequence_stride) * taper))


@op
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Array:
    """The signal with the spectrum `x`, a pair of real and imaginary parts.

    Frames are windowed again, added up and divided by the sum of the squared windows,
    which undoes `stft` wherever a window was not zero. Without a window, frames count
    as often as they overlap: the signal is `fft_length / sequence_stride` times larger.

    Shapes: `(..., frames, fft_length // 2 + 1)`, twice, `-> (..., length)`.

    >>> [round(v, 3) for v in istft(stft(jnp.arange(8.0), 4, 2, 4), 4, 2, 4).tolist()]
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    x = _complex("istft", x)
    check(x.ndim >= 2, "istft", "x", x, "a pair of arrays (..., frames, bins)")
    _check_positive("istft", "sequence_stride", sequence_stride)
    dtype = jnp.real(x).dtype
    taper = _taper("istft", window, sequence_length, fft_length, dtype)
    frames = jnp.fft.irfft(x, fft_length) * taper
    weights = jnp.broadcast_to(jnp.square(taper), frames.shape[-2:])
    total = _overlap_add(weights, sequence_stride)
    signal = _overlap_add(frames, sequence_stride) / jnp.where(total > 1e-10, total, 1)
    if window is None:
        signal = signal * (fft_length / sequence_stride)
    start = fft_length // 2 if center else 0
    if length is not None:
        return signal[..., start : start + length]
    return signal[..., start : signal.shape[-1] - start]


def _taper(
    who: str, window: Any, sequence_length: int, fft_length: int, dtype: Any
) -> Array:
    """The window as an array of `fft_length`, zero on both sides."""
    budget.afford(f"{who}: a window of {fft_length} steps", (fft_length,), 64)
    if fft_length < sequence_length:
        raise ValueError(
            f"{who}: `fft_length` must be `sequence_length` or more, not {fft_length} "
            f"with a `sequence_length` of {sequence_length}."
        )
    if window is None:
        return jnp.ones(fft_length, dtype)
    if isinstance(window, str):
        known = {"hann": np.hanning, "hamming": np.hamming}
        check(window in known, who, "window", window, f"one of {tuple(known)}")
        # Periodic: the element after the last one would be the first again.
        window = known[window](sequence_length + 1)[:-1]
    window = dtypes.as_array(window).astype(dtype)
    fits = window.shape == (sequence_length,)
    check(fits, who, "window", window, f"of shape ({sequence_length},)")
    before = (fft_length - sequence_length) // 2
    return jnp.pad(window, (before, fft_length - sequence_length - before))
