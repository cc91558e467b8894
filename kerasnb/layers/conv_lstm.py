"""Recurrent layers for films: an LSTM whose products are convolutions.

The number of spatial axes is the class attribute `rank`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.layers.arguments import choice, data_format_of, int_tuple, positive_int
from kerasnb.layers.cells import LSTMCell, check_batch_size
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.recurrent import OfCell, OneCellRNN
from kerasnb.ops._geometry import make_geometry

Array = jax.Array


class ConvLSTMCell(LSTMCell):
    """One step of `ConvLSTM`: `LSTMCell` with convolutions for products.

    The convolution of the states keeps their size; that of the inputs need not. The
    options beside the convolution's are those of `LSTMCell`.

    Shapes: `(batch, *space, d), [h, c] -> (batch, *new_space, filters), [h', c']`.
    """

    _seed_first = True

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        **kwargs: Any,
    ) -> None:
        who = f"ConvLSTM{rank}D"
        super().__init__(positive_int(who, "filters", filters), **kwargs)
        self.rank, self.filters = rank, filters
        self.kernel_size = int_tuple(who, "kernel_size", kernel_size, rank)
        self.strides = int_tuple(who, "strides", strides, rank)
        self.padding = choice(who, "padding", padding, ("valid", "same"))
        self.data_format = data_format_of(who, data_format)
        self.dilation_rate = int_tuple(who, "dilation_rate", dilation_rate, rank)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{who}: `strides` and `dilation_rate` cannot both be above 1; they "
                f"are {self.strides} and {self.dilation_rate}."
            )
        self._gate_axis = -1 if self.data_format == "channels_last" else -1 - rank

    def _count_masks(self, each_gate: bool) -> int:
        return self.gates

    def build(self, input_shape: tuple) -> None:
        """Make the kernels and the bias for the size of the images and the channels."""
        *space, channels = input_shape[1:]
        if self.data_format == "channels_first":
            channels, *space = input_shape[1:]
        if None in input_shape[1:]:
            raise ValueError(
                f"{self._who()} needs images of a known size, with a known number of "
                f"channels, and got steps of shape {tuple(input_shape)}."
            )
        shape = (*self.kernel_size, channels, self.gates * self.filters)
        window = (self.strides, self.padding, self.dilation_rate)
        self._space = make_geometry((1, *space, channels), shape, *window).outputs
        if 0 in self._space:
            raise ValueError(
                f"{self._who()}: the steps of shape {tuple(input_shape)} are smaller "
                f"than the window of kernel_size={self.kernel_size}; try "
                'padding="same" or a smaller one.'
            )
        self.kernel = self._make("kernel", shape)
        shape = (*self.kernel_size, self.filters, self.gates * self.filters)
        self.recurrent_kernel = self._make("recurrent", shape, name="recurrent_kernel")
        if self.use_bias:
            self.bias = self._make_bias()

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Zeros, of the size of the outputs."""
        check_batch_size(self, batch_size)
        shape = (batch_size, *self._space, self.filters)
        if self.data_format == "channels_first":
            shape = (batch_size, self.filters, *self._space)
        return [jnp.zeros(shape, self.compute_dtype) for _ in range(2)]

    def _project(self, inputs: Array, masks: Any) -> Array:
        window = (self.strides, self.padding, self.data_format, self.dilation_rate)
        z = self._convolve(inputs, self.kernel.value, masks, *window)
        if self.bias is None:
            return z
        bias = self.bias.value
        return z + (
            bias if self._gate_axis == -1 else bias.reshape(-1, *[1] * self.rank)
        )

    def _recur(self, h: Array, masks: Any) -> Array:
        window = (1, "same", self.data_format)
        return self._convolve(h, self.recurrent_kernel.value, masks, *window)

    def _convolve(self, x: Array, kernel: Array, masks: Any, *window: Any) -> Array:
        """All gates in one convolution, or one for each gate with masks of its own."""

        def convolve(x: Array, kernel: Array) -> Array:
            images = x.reshape(-1, *x.shape[-1 - self.rank :])  # steps before batch
            z = ops.conv(images, kernel, *window)
            return z.reshape(*x.shape[: -1 - self.rank], *z.shape[1:])

        if masks is None:
            return convolve(x, kernel)
        pairs = zip(masks, jnp.split(kernel, self.gates, -1), strict=True)
        return jnp.concatenate([convolve(x * m, k) for m, k in pairs], self._gate_axis)


class ConvLSTM(OneCellRNN):
    """What the ConvLSTM layers share; a subclass sets `rank`."""

    rank: ClassVar[int]

    filters = OfCell()
    kernel_size = OfCell()
    strides = OfCell()
    padding = OfCell()
    data_format = OfCell()
    dilation_rate = OfCell()
    unit_forget_bias = OfCell()

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        recipe = {
            "rank": self.rank,
            "filters": filters,
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            "data_format": data_format,
            "dilation_rate": dilation_rate,
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "unit_forget_bias": unit_forget_bias,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "seed": seed,
        }
        super().__init__(
            ConvLSTMCell,
            recipe,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll=kwargs.pop("unroll", False),
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)


class ConvLSTM1D(ConvLSTM):
    """`LSTM` over rows of pixels: what it multiplies, this convolves.

    `strides`, `padding` and `dilation_rate` are those of the convolution of the inputs;
    that of the state keeps its size. The other options are those of `LSTM`.

    Shapes: `(batch, steps, length, channels) -> (batch, new_length, filters)`, or
    `(batch, steps, new_length, filters)` with `return_sequences`; channels before the
    length with `"channels_first"`.

    >>> ConvLSTM1D(4, 3)(jnp.ones((2, 5, 8, 3))).shape
    (2, 6, 4)
    """

    rank = 1


class ConvLSTM2D(ConvLSTM):
    """`LSTM` over images, such as those of a film: what it multiplies, this convolves.

        i, f, g, o = channels of x * kernel + h * recurrent + bias
        c' = s(f) · c + s(i) · activation(g)      s is `recurrent_activation`
        h' = s(o) · activation(c')                * is a convolution

    `strides`, `padding` and `dilation_rate` are those of the convolution of the inputs;
    that of the state keeps its size. The other options are those of `LSTM`. (Shi et
    al., 2015)

    Shapes: `(batch, steps, height, width, channels) -> (batch, new_height, new_width,
    filters)`, with the steps kept by `return_sequences`; channels before height and
    width with `"channels_first"`.

    >>> ConvLSTM2D(4, 3, padding="same")(jnp.ones((1, 3, 5, 5, 2))).shape
    (1, 5, 5, 4)
    """

    rank = 2


class ConvLSTM3D(ConvLSTM):
    """`LSTM` over volumes: what it multiplies, this convolves; see `ConvLSTM2D`.

    Shapes: `(batch, steps, a, b, c, channels) -> (batch, new_a, new_b, new_c,
    filters)`, with the steps kept by `return_sequences`; channels before the space with
    `"channels_first"`.

    >>> ConvLSTM3D(2, 2)(jnp.ones((1, 2, 3, 3, 3, 1))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3
