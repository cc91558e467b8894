"""Sound as pictures: spectrograms of signals."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import ops
from kerasnb.core import budget, settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.initializers import STFT, _window
from kerasnb.layers.arguments import choice, data_format_of, positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer


class MelSpectrogram(Layer):
    """The power of a signal in bands of pitch, as the ear hears it, in decibel.

        P = |STFT(x)| ** mag_exp · mel,     10 · log10(max(P, min_power) / ref_power)

    No value is further than `top_db` below the largest of the batch. With
    `power_to_db=False` the result is `P`.

    Shapes: `(time,) -> (num_mel_bins, frames)`, or the same after a batch axis;
    `frames` is `time // sequence_stride + 1`.

    >>> MelSpectrogram(num_mel_bins=64)(np.zeros((2, 16000))).shape
    (2, 64, 32)
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = "MelSpectrogram"
        self.fft_length = positive_int(who, "fft_length", fft_length)
        self.sequence_stride = positive_int(who, "sequence_stride", sequence_stride)
        self.sequence_length = sequence_length or fft_length
        check(
            self.sequence_length <= fft_length,
            who,
            "sequence_length",
            sequence_length,
            f"at most fft_length={fft_length}",
        )
        if isinstance(window, str):
            choice(who, "window", window, ("hann", "hamming"))
        self.window = window
        self.sampling_rate = sampling_rate
        self.num_mel_bins = positive_int(who, "num_mel_bins", num_mel_bins)
        budget.afford(f"{who}: its filters", (self.fft_length, num_mel_bins), 16)
        self.min_freq = min_freq
        self.max_freq = max_freq or int(sampling_rate / 2)
        self.power_to_db = power_to_db
        self.top_db = top_db
        self.mag_exp = mag_exp
        self.min_power = min_power
        self.ref_power = ref_power
        self.mixes_samples = bool(power_to_db)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The spectrogram, computed in at least 32 bits."""
        dtype = jnp.promote_types(self.compute_dtype, "float32")
        x = inputs.astype(dtype)
        margin = self.fft_length // 2
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(margin, margin)], mode="reflect")
        frames = ops.extract_sequences(x, self.fft_length, self.sequence_stride)
        spectrum = jnp.fft.rfft(frames * jnp.asarray(self._window(), dtype))
        power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
        if self.mag_exp != 2:
            # The root's slope is infinite at 0 and would turn gradients into NaN.
            loud = power > 0
            power = jnp.where(loud, jnp.where(loud, power, 1) ** (self.mag_exp / 2), 0)
        mel = self.linear_to_mel_weight_matrix(
            self.num_mel_bins,
            power.shape[-1],
            self.sampling_rate,
            self.min_freq,
            self.max_freq,
            dtype,
        )
        out = power @ mel  # (..., frames, bands)
        if self.power_to_db:
            reference = max(abs(self.ref_power), self.min_power)
            out = 10 * jnp.log10(jnp.maximum(out, self.min_power))
            out = out - 10 * math.log10(reference)
            out = jnp.maximum(out, jnp.max(out, initial=-jnp.inf) - self.top_db)
        return jnp.swapaxes(out, -1, -2).astype(self.compute_dtype)

    def _window(self) -> np.ndarray:
        length, window = self.sequence_length, self.window
        if window is None:
            return np.ones(self.fft_length)
        if isinstance(window, str):
            window = _window(window, length, True)
        check(
            np.shape(window) == (length,),
            "MelSpectrogram",
            "window",
            window,
            f"a name or {length} numbers",
        )
        left = (self.fft_length - length) // 2
        return np.pad(window, (left, self.fft_length - length - left))

    def linear_to_mel_weight_matrix(
        self,
        num_mel_bins: int = 20,
        num_spectrogram_bins: int = 129,
        sampling_rate: int = 8000,
        lower_edge_hertz: float = 125.0,
        upper_edge_hertz: float = 3800.0,
        dtype: Any = "float32",
    ) -> jax.Array:
        """Triangles, evenly spaced in mel, that sum up frequencies into bands.

            mel(f) = 1127 · log(1 + f / 700)

        Shapes: `-> (num_spectrogram_bins, num_mel_bins)`.
        """

        def mel(hertz: Any) -> Any:
            return 1127.0 * np.log1p(np.asarray(hertz, "float64") / 700.0)

        bins = mel(np.linspace(0.0, sampling_rate / 2, num_spectrogram_bins))[:, None]
        edges = np.linspace(
            mel(lower_edge_hertz), mel(upper_edge_hertz), num_mel_bins + 2
        )
        low, centre, high = edges[:-2], edges[1:-1], edges[2:]
        rising = (bins - low) / (centre - low)
        falling = (high - bins) / (high - centre)
        matrix = np.maximum(0.0, np.minimum(rising, falling))
        matrix[0] = 0.0  # a constant has no pitch
        return jnp.asarray(matrix, dtype)


class STFTSpectrogram(Layer):
    """The short-time Fourier transform of signals, by kernels that can be trained.

    A frame of `frame_length` steps, one every `frame_step`, becomes frequencies from 0
    to half the sampling rate. `mode` says what is shown of them:

        "real", "imag", "stft" (one after the other), "angle",
        "psd" = re² + im²,  "magnitude" = √(re² + im²),  "log" = log of that

    Shapes: `(batch, time, channels) -> (batch, frames, channels · frequencies)`, with
    `expand_dims` `(batch, frames, frequencies, channels)`; `real_kernel` and
    `imag_kernel` are `(frame_length, 1, fft_length // 2 + 1)`.

    >>> STFTSpectrogram(frame_length=256)(np.zeros((2, 1024, 1))).shape
    (2, 7, 129)
    """

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = "STFTSpectrogram"
        modes = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
        self.mode = choice(who, "mode", mode, modes)
        self.frame_length = positive_int(who, "frame_length", frame_length)
        self.frame_step, self.fft_length = frame_step, fft_length
        self._step = frame_step or max(1, frame_length // 2)
        self._fft_length = fft_length or 2 ** math.ceil(math.log2(frame_length))
        expected = f"from 1 to frame_length={frame_length}"
        check(1 <= self._step <= frame_length, who, "frame_step", frame_step, expected)
        expected = f"at least frame_length={frame_length}"
        check(self._fft_length >= frame_length, who, "fft_length", fft_length, expected)
        if self._fft_length & -self._fft_length != self._fft_length:
            warnings.warn(
                f"{who}: `fft_length` should be a power of two, not {fft_length}.",
                stacklevel=2,
            )
        check(
            scaling in ("density", "spectrum", None),
            who,
            "scaling",
            scaling,
            '"density", "spectrum" or None',
        )
        STFT("real", window, scaling, periodic)  # an unknown window fails here
        self.window, self.periodic, self.scaling = window, periodic, scaling
        self.padding = choice(who, "padding", padding, ("valid", "same"))
        self.expand_dims = expand_dims
        self.data_format = data_format_of(who, data_format)
        self.input_spec = InputSpec(ndim=3)

    real_kernel: Variable
    imag_kernel: Variable

    def build(self, input_shape: Any) -> None:
        """Make the kernels that the mode needs."""
        shape = (self.frame_length, 1, self._fft_length // 2 + 1)
        for side, unused in (("real", "imag"), ("imag", "real")):
            if self.mode != unused:
                start = STFT(side, self.window, self.scaling, self.periodic)
                kernel = self.add_weight(shape, start, name=f"{side}_kernel")
                setattr(self, f"{side}_kernel", kernel)

    def call(self, inputs: jax.Array, training: bool | None = None) -> jax.Array:
        """The spectrogram."""
        last = self.data_format == "channels_last"
        x = jnp.swapaxes(inputs, 1, 2) if last else inputs  # (batch, channels, time)
        if self.padding == "same":
            steps = -(-x.shape[-1] // self._step)
            missing = (steps - 1) * self._step + self.frame_length - x.shape[-1]
            left = max(0, missing) // 2
            x = jnp.pad(x, ((0, 0), (0, 0), (left, max(0, missing) - left)))
        batch, channels, time = x.shape

        def transform(kernel: jax.Array) -> jax.Array:
            # The gradient of frames is three times faster than that of a convolution.
            if training or not batch or time < self.frame_length:
                return ops.extract_sequences(x, self.frame_length, self._step) @ kernel
            signals = x.reshape(batch * channels, time, 1)
            out = ops.conv(
                signals,
                kernel[:, None],
                self._step,
                "valid",
                data_format="channels_last",
            )
            return out.reshape(batch, channels, *out.shape[1:])

        def side(kernel: Any) -> jax.Array:
            return transform(kernel.value[:, 0].astype(x.dtype))

        out = self._show(side)  # (batch, channels, frames, frequencies)
        if self.expand_dims:
            return jnp.moveaxis(out, 1, 3) if last else out
        count, width = out.shape[2:]
        if last:
            return jnp.moveaxis(out, 1, 2).reshape(batch, count, channels * width)
        return jnp.swapaxes(out, 2, 3).reshape(batch, channels * width, count)

    def _show(self, side: Any) -> jax.Array:
        if self.mode in ("real", "imag"):
            return side(getattr(self, f"{self.mode}_kernel"))
        real, imag = side(self.real_kernel), side(self.imag_kernel)
        if self.mode == "stft":
            return jnp.concatenate([real, imag], -1)
        if self.mode == "angle":
            return jnp.arctan2(imag, real)
        power = jnp.square(real) + jnp.square(imag)
        if self.mode == "psd":
            # All but the first and the last stand for two frequencies, f and -f.
            return power.at[..., 1:-1].multiply(2)
        small = settings.epsilon()
        magnitude = jnp.sqrt(jnp.maximum(power, small))
        if self.mode == "magnitude":
            return magnitude
        return jnp.log(jnp.maximum(magnitude, small))
