"""Spectrograms: agreement with Keras, silence, what depends on the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import case, check_layer

MEL = {"fft_length": 64, "num_mel_bins": 8, "sampling_rate": 2000}
STFT = {"frame_length": 20, "frame_step": 7}

TABLE = [
    case("MelSpectrogram", (3, 300), sequence_stride=25, **MEL),
    case(
        "MelSpectrogram",
        (300,),
        sequence_length=50,
        window="hamming",
        power_to_db=False,
        mag_exp=1.0,
        _unknown=(),
        **MEL,
    ),
    case("STFTSpectrogram", (2, 60, 3), **STFT),
    case("STFTSpectrogram", (2, 60, 1), mode="magnitude", window=None, **STFT),
    case("STFTSpectrogram", (2, 60, 1), mode="imag", periodic=True, **STFT),
    case("STFTSpectrogram", (2, 60, 1), mode="angle", window="hamming", **STFT),
    case(
        "STFTSpectrogram",
        (2, 60, 3),
        mode="psd",
        padding="same",
        expand_dims=True,
        fft_length=64,
        scaling="spectrum",
        **STFT,
    ),
    case(
        "STFTSpectrogram",
        (2, 3, 60),
        mode="stft",
        data_format="channels_first",
        scaling=None,
        **STFT,
    ),
    case(
        "STFTSpectrogram",
        (2, 3, 60),
        mode="real",
        data_format="channels_first",
        expand_dims=True,
        padding="same",
        frame_length=16,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


@pytest.mark.parametrize("mag_exp", [1.0, 2.0, 3.0])
def test_silence_has_a_finite_gradient(mag_exp):
    layer = layers.MelSpectrogram(mag_exp=mag_exp, **MEL)
    gradient = jax.grad(lambda x: layer(x).sum())(jnp.zeros(200))
    assert np.isfinite(gradient).all()


def test_a_tone_is_loudest_in_the_band_of_its_pitch():
    layer = layers.MelSpectrogram(
        num_mel_bins=40, min_freq=0.0, fft_length=1024, sampling_rate=8000
    )
    bands = layer.linear_to_mel_weight_matrix(40, 513, 8000, 0.0, 4000.0)
    centres = np.argmax(bands, 0) * 8000 / 1024
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(8000) / 8000).astype("float32")
    loudest = int(np.argmax(layer(tone)[:, 5]))
    assert loudest == int(np.argmin(np.abs(centres - 1000)))


def test_decibels_are_relative_to_the_whole_batch_so_a_batch_is_never_padded():
    assert layers.MelSpectrogram().mixes_samples
    assert not layers.MelSpectrogram(power_to_db=False).mixes_samples


def test_frames_of_every_stride_are_the_same_steps():
    x = np.random.default_rng(0).normal(size=(2, 97)).astype("float32")
    for step in (1, 4, 5, 8):
        layer = layers.STFTSpectrogram("real", frame_length=8, frame_step=step)
        layer.build((None, 97, 1))
        frames = np.lib.stride_tricks.sliding_window_view(x, 8, 1)[:, ::step]
        wanted = frames @ np.asarray(layer.real_kernel.value)[:, 0]
        np.testing.assert_allclose(layer(x[..., None]), wanted, atol=1e-5)


def test_an_empty_batch_and_a_signal_shorter_than_a_frame_give_nothing():
    layer = layers.STFTSpectrogram(frame_length=20)
    assert layer(np.zeros((0, 60, 1), "float32")).shape == (0, 5, 17)
    assert layer(np.zeros((2, 10, 1), "float32")).shape == (2, 0, 17)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("MelSpectrogram", {"fft_length": 8, "sequence_length": 9}, "at most"),
        ("MelSpectrogram", {"window": "han"}, 'Did you mean "hann"'),
        ("STFTSpectrogram", {"mode": "power"}, "`mode` must be"),
        ("STFTSpectrogram", {"frame_step": 300}, "frame_length=256"),
        ("STFTSpectrogram", {"fft_length": 128}, "at least frame_length"),
        ("STFTSpectrogram", {"scaling": "loud"}, "`scaling` must be"),
    ],
)
def test_a_wrong_argument_is_named(name, args, words):
    with pytest.raises(ValueError, match=words):
        getattr(layers, name)(**args)


def test_an_fft_length_that_is_slow_warns():
    with pytest.warns(UserWarning, match="power of two"):
        layers.STFTSpectrogram(frame_length=20, fft_length=30)
