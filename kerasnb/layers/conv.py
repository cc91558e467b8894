"""Convolutions: the same small kernel at every place of the input.

One class holds what all of them share; the number of spatial axes is the class
attribute `rank`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb import activations, ops
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import choice, data_format_of, int_tuple, positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.weighted import WeightedLayer
from kerasnb.layers.windows import WindowSpec


class BaseConv(WeightedLayer):
    """What all convolutions share: a window, a bias, an activation.

        z[p, f] = sum over q, c of x[strides·p + dilation·q, c] · kernel[q, c, f]
        y = activation(z + bias)

    A subclass sets `rank`, the number of spatial axes, and makes its own kernels.
    """

    rank: ClassVar[int]

    def __init__(
        self,
        filters: int | None,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        groups: int,
        activation: Any,
        use_bias: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        self.filters = (
            filters if filters is None else positive_int(who, "filters", filters)
        )
        self.kernel_size = int_tuple(who, "kernel_size", kernel_size, self.rank)
        self.strides = int_tuple(who, "strides", strides, self.rank)
        self.dilation_rate = int_tuple(who, "dilation_rate", dilation_rate, self.rank)
        self.padding = choice(who, "padding", padding, self._paddings())
        self.data_format = data_format_of(who, data_format)
        self.groups = positive_int(who, "groups", groups)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias: Variable | None = None
        if filters is not None and filters % groups:
            raise ValueError(
                f"{who}: `filters` must be a multiple of `groups`, and {filters} is "
                f"not one of {groups}."
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{who}: `strides` and `dilation_rate` cannot both be above 1; they "
                f"are {self.strides} and {self.dilation_rate}."
            )
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _paddings(self) -> tuple[str, ...]:
        return ("valid", "same", "causal") if self.rank == 1 else ("valid", "same")

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _channels(self, input_shape: tuple) -> int:
        """The number of input channels; from now on the layer insists on it."""
        axis = self._channel_axis
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"{self._who()} needs inputs with a known number of channels (axis "
                f"{axis}) and got the shape {tuple(input_shape)}."
            )
        if channels % self.groups:
            raise ValueError(
                f"{self._who()} splits its input into groups={self.groups} and so "
                f"needs a multiple of that as channels, not {channels} (input shape "
                f"{tuple(input_shape)})."
            )
        self.input_spec = WindowSpec(
            sizes=self._window(),
            why=f'kernel_size={self.kernel_size}; try padding="same" or a smaller one',
            data_format=self.data_format,
            min_ndim=self.rank + 2,
            axes={axis: channels},
        )
        if problem := self.input_spec.mismatch(tuple(input_shape)):
            raise ValueError(
                f"{self._who()} {problem} and got the shape {tuple(input_shape)}."
            )
        return channels

    def _window(self) -> tuple[int, ...]:
        """How much input one output needs along each axis."""
        if self.padding != "valid":
            return (1,) * self.rank
        pairs = zip(self.kernel_size, self.dilation_rate, strict=True)
        return tuple((size - 1) * dilation + 1 for size, dilation in pairs)

    def _make_bias(self, length: int) -> None:
        if self.use_bias:
            self.bias = self._make("bias", (length,))

    def _finish(self, outputs: jax.Array) -> jax.Array:
        """Add the bias along the channels and apply the activation."""
        if self.bias is not None:
            bias = self.bias.value
            if self.data_format == "channels_first":
                bias = bias.reshape(-1, *(1,) * self.rank)
            outputs = outputs + bias
        return self.activation(outputs)


class Conv(BaseConv):
    """A convolution with one kernel from the channels of a group to its filters."""

    filters: int

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            groups,
            activation,
            use_bias,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self._describe(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: tuple) -> None:
        """Make `kernel` and `bias` for the number of channels in `input_shape`."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._make("kernel", shape)
        self._make_bias(self.filters)

    def convolution_op(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """The convolution without bias and activation, for subclasses to change."""
        padding = self.padding
        if padding == "causal":
            inputs, padding = self._pad_the_past(inputs), "valid"
        return ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )

    def _pad_the_past(self, inputs: jax.Array) -> jax.Array:
        before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
        widths = [(0, 0), (0, 0), (0, 0)]
        widths[1 if self.data_format == "channels_last" else 2] = (before, 0)
        return jnp.pad(inputs, widths)

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(convolution + bias)`."""
        return self._finish(self.convolution_op(inputs, self.kernel.value))


class Conv1D(Conv):
    """Convolution along one axis, such as time; `padding="causal"` never looks ahead.

        z[t, f] = sum over q, c of x[t + q, c] · kernel[q, c, f]
        y = activation(z + bias)

    Shapes: `(batch, steps, channels) -> (batch, new_steps, filters)`; channels second
    with `"channels_first"`.

    >>> Conv1D(4, 3, padding="same")(jnp.ones((2, 8, 3))).shape
    (2, 8, 4)
    """

    rank = 1


class Conv2D(Conv):
    """Convolution over height and width: the same small filters at every pixel.

        z[i, j, f] = sum over p, q, c of x[i + p, j + q, c] · kernel[p, q, c, f]
        y = activation(z + bias)

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    filters)`; channels second with `"channels_first"`. `padding="valid"` shrinks by
    `kernel_size - 1`, `"same"` gives `ceil(length / strides)`.

    >>> Conv2D(8, 3, activation="relu")(jnp.ones((2, 28, 28, 1))).shape
    (2, 26, 26, 8)
    """

    rank = 2


class Conv3D(Conv):
    """Convolution over three axes, such as a volume or a film.

    Shapes: `(batch, a, b, c, channels) -> (batch, new_a, new_b, new_c, filters)`;
    channels second with `"channels_first"`.

    >>> Conv3D(4, 2)(jnp.ones((1, 3, 3, 3, 1))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3
