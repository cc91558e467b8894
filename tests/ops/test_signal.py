"""kerasnb.ops.signal; the table of test_against_keras has most values."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor

CASES = [
    # sequence_length, sequence_stride, fft_length, window
    (8, 2, 8, "hann"),
    (8, 4, 10, "hamming"),
    (8, 3, 16, None),
    (40, 7, 40, "hann"),  # frames that do not overlap by whole chunks
]


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_spectra_and_signals_agree_with_keras(case, center, rng):
    length, stride, size, window = case
    x = jnp.asarray(rng.normal(size=(2, 150)), "float32")

    @jax.jit
    def run(x):
        answers = []
        for library in (ops, keras.ops):
            spectrum = library.stft(x, length, stride, size, window, center)
            back = [
                library.istft(spectrum, length, stride, size, n, window, center)
                for n in (None, 20)
            ]
            answers.append((spectrum, back))
        return answers

    for a, b in zip(*map(jax.tree.leaves, run(x)), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 2e-5)


def test_frames_beside_one_another_come_back_unlike_in_keras(rng):
    x = jnp.asarray(rng.normal(size=64), "float32")
    spectrum = ops.stft(x, 8, 8, 8, "hamming", center=False)
    back = ops.istft(spectrum, 8, 8, 8, window="hamming", center=False)
    np.testing.assert_allclose(back, x, 1e-4, 1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("length", [2, 4, 20])
def test_sequences_are_the_windows_of_a_signal(length, stride):
    x = np.arange(60).reshape(2, 30)
    wanted = np.lib.stride_tricks.sliding_window_view(x, length, -1)[:, ::stride]
    np.testing.assert_array_equal(ops.extract_sequences(x, length, stride), wanted)


def test_a_signal_shorter_than_the_window_has_no_sequences():
    assert ops.extract_sequences(jnp.ones((2, 3)), 5, 2).shape == (2, 0, 5)


def test_placeholders_have_unknown_times():
    x = KerasTensor((None, None))
    assert [t.shape for t in ops.stft(x, 4, 2, 4)] == [(None, None, 3)] * 2
    assert ops.istft(ops.stft(x, 4, 2, 4), 4, 2, 4).shape == (None, None)
    assert ops.extract_sequences(x, 4, 2).shape == (None, None, 4)
    assert ops.irfft(ops.rfft(KerasTensor((None, 8)))).shape == (None, 8)


def test_distances_have_gradients_where_they_are_zero():
    x = jnp.array([[0.0, 1.0], [3.0, 5.0]])
    slopes = jax.grad(lambda x: jnp.sum(ops.cdist(x, x[:1])))(x)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[1], [0.6, 0.8], 1e-6)


def test_mistakes_are_answered_with_one_sentence():
    x = jnp.ones(16)
    with pytest.raises(
        ValueError, match="stft: `fft_length` must be `sequence_length`"
    ):
        ops.stft(x, 8, 4, 4)
    with pytest.raises(ValueError, match="stft: `window` must be one of"):
        ops.stft(x, 4, 2, 4, "kaiser")
    with pytest.raises(ValueError, match="stft: `window` must be of shape \\(4,\\)"):
        ops.stft(x, 4, 2, 4, jnp.ones(3))
    with pytest.raises(ValueError, match="stft: `x` must be of dtype float32"):
        ops.stft(x.astype("int32"), 4, 2, 4)
    with pytest.raises(ValueError, match="istft: `sequence_stride` must be a positive"):
        ops.istft((jnp.ones((2, 3)),) * 2, 4, 0, 4)
    with pytest.raises(ValueError, match="fft: `x` must be a pair of arrays"):
        ops.fft(x)
    with pytest.raises(ValueError, match="fft: real and imaginary parts must have the"):
        ops.fft((x, x[1:]))
    with pytest.raises(ValueError, match="`x` must be a pair of arrays of floats"):
        ops.irfft((x.astype("int32"), x))
    with pytest.raises(
        ValueError, match="`sequence_length` must be a positive integer"
    ):
        ops.extract_sequences(x, 0, 1)
    with pytest.raises(ValueError, match="pairs of numbers along the last axis"):
        ops.view_as_complex(x)
    with pytest.raises(ValueError, match="cdist: `y` must be of rows of 2 numbers"):
        ops.cdist(jnp.ones((1, 2)), jnp.ones((1, 3)))
