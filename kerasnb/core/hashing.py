"""Hashes of strings that are the same everywhere, computed for many strings at once.

`fingerprint64` is FarmHash's `Fingerprint64` (Pike and Alakuijala, 2014), `siphash64`
is SipHash-2-4 (Aumasson and Bernstein, 2012). TensorFlow, and so each Keras model with
hashed features, puts strings into bins by them. All arithmetic is modulo 2**64, on
arrays: strings of equal length take the same path, and go through it together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

U = np.uint64
_K0, _K1, _K2 = U(0xC3A5C85C97CB3127), U(0xB492B66FBE98F273), U(0x9AE16A3B2F90404F)


def fingerprint64(strings: Sequence[bytes]) -> np.ndarray:
    """FarmHash's 64 bits for each string.

    >>> fingerprint64([b"hello"])
    array([13009744463427800296], dtype=uint64)
    """
    return _by_length(strings, _farmhash)


def siphash64(strings: Sequence[bytes], key: Sequence[int]) -> np.ndarray:
    """SipHash-2-4 of each string under a key of two numbers of 64 bits.

    >>> siphash64([b"hello"], (0, 0))
    array([10142490492830962361], dtype=uint64)
    """
    return _by_length(strings, lambda data: _siphash(data, key))


def combine64(first: Any, second: Any) -> np.ndarray:
    """One hash for two, of which the order matters (FarmHash's `FingerprintCat64`)."""
    factor = U(0xC6A4A7935BD1E995)
    with np.errstate(over="ignore"):
        mixed = (first ^ factor) ^ _shift_mix(second * factor) * factor
        return _shift_mix(_shift_mix(mixed * factor) * factor)


def _by_length(strings: Sequence[bytes], hash_equal: Callable) -> np.ndarray:
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    hashes = np.empty(len(strings), U)
    with np.errstate(over="ignore"):
        for length in np.unique(lengths):
            where = np.flatnonzero(lengths == length)
            text = b"".join([strings[i] for i in where.tolist()])
            data = np.frombuffer(text, np.uint8).reshape(len(where), length)
            hashes[where] = hash_equal(data)
    return hashes


def _word(data: np.ndarray, at: int, size: int = 8) -> np.ndarray:
    """The little-endian number in the bytes from `at` on, of each string."""
    piece = np.ascontiguousarray(data[:, at : at + size])
    return piece.view(f"<u{size}")[:, 0].astype(U)


def _rotate_right(x: np.ndarray, bits: int) -> np.ndarray:
    return (x >> U(bits)) | (x << U(64 - bits))


def _shift_mix(x: np.ndarray) -> np.ndarray:
    return x ^ (x >> U(47))


# --- FarmHash -------------------------------------------------------------------------


def _fold(u: Any, v: Any, factor: Any) -> np.ndarray:
    a = _shift_mix((u ^ v) * factor)
    return _shift_mix((v ^ a) * factor) * factor


def _farmhash(data: np.ndarray) -> np.ndarray:
    count, length = data.shape
    if length > 64:
        return _farmhash_long(data)
    if length == 0:
        return np.full(count, _K2)
    factor, rot = _K2 + U(2 * length), _rotate_right
    if length < 4:
        a, b, c = (data[:, i].astype(U) for i in (0, length >> 1, length - 1))
        y, z = a + (b << U(8)), U(length) + (c << U(2))
        return _shift_mix(y * _K2 ^ z * _K0) * _K2
    if length < 8:
        a, b = _word(data, 0, 4), _word(data, length - 4, 4)
        return _fold(U(length) + (a << U(3)), b, factor)
    if length <= 16:
        a, b = _word(data, 0) + _K2, _word(data, length - 8)
        return _fold(rot(b, 37) * factor + a, (rot(a, 25) + b) * factor, factor)
    a = _word(data, 0) * (_K1 if length <= 32 else _K2)
    b = _word(data, 8)
    c, d = _word(data, length - 8) * factor, _word(data, length - 16) * _K2
    y, z = rot(a + b, 43) + rot(c, 30) + d, a + rot(b + _K2, 18) + c
    if length <= 32:
        return _fold(y, z, factor)
    z = _fold(y, z, factor)
    e, f = _word(data, 16) * factor, _word(data, 24)
    g = (y + _word(data, length - 32)) * factor
    h = (z + _word(data, length - 24)) * factor
    return _fold(rot(e + f, 43) + rot(g, 30) + h, e + rot(f + a, 18) + g, factor)


def _farmhash_long(data: np.ndarray) -> np.ndarray:
    count, length = data.shape
    rot = _rotate_right

    def weak(at: int, a: Any, b: Any) -> tuple:
        w, x, y, z = (_word(data, at + 8 * i) for i in range(4))
        a = a + w
        b, c = rot(b + a + z, 21), a
        a = a + x + y
        return a + z, b + rot(a, 44) + c

    def round_(at: int, factor: Any, state: tuple, nine: Any) -> tuple:
        x, y, z, (v0, v1), (w0, w1) = state
        x = rot(x + y + v0 + _word(data, at + 8), 37) * factor
        y = rot(y + v1 + _word(data, at + 48), 42) * factor
        x = x ^ w1 * nine
        y = y + v0 * nine + _word(data, at + 40)
        z = rot(z + w0, 33) * factor
        v = weak(at, v1 * factor, x + w0)
        w = weak(at + 32, z + w1, y + _word(data, at + 16))
        return z, y, x, v, w

    zero = np.zeros(count, U)
    y = zero + U(81) * _K1 + U(113)
    state = (
        U(81) * _K2 + _word(data, 0),
        y,
        _shift_mix(y * _K2 + U(113)) * _K2,
        (zero, zero),
        (zero, zero),
    )
    end = (length - 1) // 64 * 64
    for at in range(0, end, 64):
        state = round_(at, _K1, state, U(1))
    x, y, z, (v0, v1), (w0, w1) = state
    factor = _K1 + ((z & U(0xFF)) << U(1))
    w0 = w0 + U((length - 1) & 63)
    v0 = v0 + w0
    state = (x, y, z, (v0, v1), (w0 + v0, w1))
    x, y, z, (v0, v1), (w0, w1) = round_(length - 64, factor, state, U(9))
    return _fold(
        _fold(v0, w0, factor) + _shift_mix(y) * _K0 + z,
        _fold(v1, w1, factor) + x,
        factor,
    )


# --- SipHash --------------------------------------------------------------------------


def _siphash(data: np.ndarray, key: Sequence[int]) -> np.ndarray:
    count, length = data.shape
    low, high = (U(int(k) % 2**64) for k in key)
    state = [
        np.full(count, start)
        for start in (
            low ^ U(0x736F6D6570736575),
            high ^ U(0x646F72616E646F6D),
            low ^ U(0x6C7967656E657261),
            high ^ U(0x7465646279746573),
        )
    ]

    def mix(rounds: int) -> None:
        a, b, c, d = state
        for _ in range(rounds):
            a, c = a + b, c + d
            b, d = _rotate_right(b, 51) ^ a, _rotate_right(d, 48) ^ c
            a, c = _rotate_right(a, 32) + d, c + b
            b, d = _rotate_right(b, 47) ^ c, _rotate_right(d, 43) ^ a
            c = _rotate_right(c, 32)
        state[:] = a, b, c, d

    # The last word holds the bytes that remain, and the length in its highest byte.
    words = length // 8 + 1
    padded = np.zeros((count, words * 8), np.uint8)
    padded[:, :length], padded[:, -1] = data, length % 256
    for i in range(words):
        word = _word(padded, 8 * i)
        state[3] = state[3] ^ word
        mix(2)
        state[0] = state[0] ^ word
    state[2] = state[2] ^ U(0xFF)
    mix(4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]
