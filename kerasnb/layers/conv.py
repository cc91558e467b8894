"""Convolutions: the same small kernel at every place of the input.

One class holds what all of them share; the number of spatial axes is the class
attribute `rank`.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import activations, ops
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import choice, data_format_of, int_tuple, positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.lora import LowRankLayer, adapted_weight
from kerasnb.layers.weighted import WeightedLayer
from kerasnb.layers.windows import Ranked, WindowSpec


class BaseConv(Ranked, WeightedLayer):
    """What all convolutions share: a window, a bias, an activation.

        z[p, f] = sum over q, c of x[strides·p + dilation·q, c] · kernel[q, c, f]
        y = activation(z + bias)

    A subclass sets `rank`, the number of spatial axes, and makes its own kernels.
    """

    groups = 1

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        self.kernel_size = int_tuple(who, "kernel_size", kernel_size, self.rank)
        self.strides = int_tuple(who, "strides", strides, self.rank)
        self.dilation_rate = int_tuple(who, "dilation_rate", dilation_rate, self.rank)
        self.padding = choice(who, "padding", padding, self._paddings())
        self.data_format = data_format_of(who, data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias: Variable | None = None
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _paddings(self) -> tuple[str, ...]:
        return ("valid", "same")

    def _strides_or_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__}: `strides` and `dilation_rate` cannot both be "
                f"above 1; they are {self.strides} and {self.dilation_rate}."
            )

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


class Conv(LowRankLayer, BaseConv):
    """A convolution with one kernel from the channels of a group to its filters."""

    kernel = adapted_weight("kernel")

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
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        who = type(self).__name__
        self.filters = positive_int(who, "filters", filters)
        self.groups = positive_int(who, "groups", groups)
        if filters % groups:
            raise ValueError(
                f"{who}: `filters` must be a multiple of `groups`, and {filters} is "
                f"not one of {groups}."
            )
        self._strides_or_dilation()
        self._describe(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def _paddings(self) -> tuple[str, ...]:
        return ("valid", "same", "causal") if self.rank == 1 else ("valid", "same")

    def build(self, input_shape: tuple) -> None:
        """Make `kernel` and `bias` for the number of channels in `input_shape`."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._make("kernel", shape)
        self._make_bias(self.filters)
        self._start_lora()

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
        return self._finish(self.convolution_op(inputs, self._weight()))


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


class Conv2D(Conv, strides=(1, 1), dilation_rate=(1, 1)):
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


class Conv3D(Conv, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    """Convolution over three axes, such as a volume or a film.

    Shapes: `(batch, a, b, c, channels) -> (batch, new_a, new_b, new_c, filters)`;
    channels second with `"channels_first"`.

    >>> Conv3D(4, 2)(jnp.ones((1, 3, 3, 3, 1))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3


# --- Each channel by itself -----------------------------------------------------------


class DepthwiseConv(BaseConv):
    """A convolution of each channel by itself, with `depth_multiplier` kernels."""

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.depth_multiplier = positive_int(
            type(self).__name__, "depth_multiplier", depth_multiplier
        )
        self._describe(
            "depthwise",
            depthwise_initializer,
            depthwise_regularizer,
            depthwise_constraint,
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: tuple) -> None:
        """Make `kernel` and `bias` for the number of channels in `input_shape`."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self._make("depthwise", shape, name="kernel")
        self._make_bias(channels * self.depth_multiplier)

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(convolution of each channel + bias)`."""
        outputs = ops.depthwise_conv(
            inputs,
            self.kernel.value,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(outputs)


class DepthwiseConv1D(DepthwiseConv):
    """Convolution along one axis that leaves the channels apart.

        z[t, c·m + j] = sum over q of x[t + q, c] · kernel[q, c, j],   0 <= j < m
        y = activation(z + bias)             m is `depth_multiplier`

    Shapes: `(batch, steps, channels) -> (batch, new_steps, channels·m)`; channels
    second with `"channels_first"`.

    >>> DepthwiseConv1D(3, depth_multiplier=2)(jnp.ones((2, 8, 3))).shape
    (2, 6, 6)
    """

    rank = 1


class DepthwiseConv2D(DepthwiseConv, strides=(1, 1), dilation_rate=(1, 1)):
    """Convolution over height and width that leaves the channels apart.

    Each channel has `depth_multiplier` kernels of its own and gives as many channels.

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    channels·depth_multiplier)`; channels second with `"channels_first"`.

    >>> DepthwiseConv2D(3, padding="same")(jnp.ones((2, 8, 8, 5))).shape
    (2, 8, 8, 5)
    """

    rank = 2


class SeparableConv(BaseConv):
    """A convolution of each channel by itself, then a mix of all channels."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        who = type(self).__name__
        self.filters = positive_int(who, "filters", filters)
        self.depth_multiplier = positive_int(who, "depth_multiplier", depth_multiplier)
        self._describe(
            "depthwise",
            depthwise_initializer,
            depthwise_regularizer,
            depthwise_constraint,
        )
        self._describe(
            "pointwise",
            pointwise_initializer,
            pointwise_regularizer,
            pointwise_constraint,
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: tuple) -> None:
        """Make both kernels and the bias for the channels in `input_shape`."""
        channels, each = self._channels(input_shape), self.depth_multiplier
        shape = (*self.kernel_size, channels, each)
        self.depthwise_kernel = self._make("depthwise", shape, name="depthwise_kernel")
        shape = (*(1,) * self.rank, channels * each, self.filters)
        self.pointwise_kernel = self._make("pointwise", shape, name="pointwise_kernel")
        self._make_bias(self.filters)

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(both convolutions + bias)`."""
        outputs = ops.separable_conv(
            inputs,
            self.depthwise_kernel.value,
            self.pointwise_kernel.value,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(outputs)


class SeparableConv1D(SeparableConv):
    """Convolution along one axis in two cheap steps: in each channel, then across.

    Shapes: `(batch, steps, channels) -> (batch, new_steps, filters)`; channels second
    with `"channels_first"`. `depth_multiplier` is the number of channels that the
    first step makes of each one.

    >>> SeparableConv1D(4, 3)(jnp.ones((2, 8, 3))).shape
    (2, 6, 4)
    """

    rank = 1


class SeparableConv2D(SeparableConv, strides=(1, 1), dilation_rate=(1, 1)):
    """Convolution over height and width in two cheap steps: in each channel, across.

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    filters)`; channels second with `"channels_first"`. `depth_multiplier` is the number
    of channels that the first step makes of each one. (Chollet, 2017)

    >>> SeparableConv2D(4, 3)(jnp.ones((2, 8, 8, 3))).shape
    (2, 6, 6, 4)
    """

    rank = 2


# --- The way back: from small images to large ones ------------------------------------


class ConvTranspose(BaseConv):
    """The gradient of a convolution by its inputs, with a kernel, as a layer."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        output_padding: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
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
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        who = type(self).__name__
        self.filters = positive_int(who, "filters", filters)
        self.output_padding = output_padding
        if output_padding is not None:
            extra = int_tuple(who, "output_padding", output_padding, self.rank, 0)
            self.output_padding = extra
            good = all(e < s for e, s in zip(extra, self.strides, strict=True))
            expected = f"smaller than strides={self.strides} along each axis"
            check(good, who, "output_padding", extra, expected)
        self._strides_or_dilation()
        self._describe(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def _window(self) -> tuple[int, ...]:
        # One element is enough to be spread out.
        return (1,) * self.rank

    def build(self, input_shape: tuple) -> None:
        """Make `kernel` and `bias` for the number of channels in `input_shape`."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, self.filters, channels)
        self.kernel = self._make("kernel", shape)
        self._make_bias(self.filters)

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(transposed convolution + bias)`."""
        outputs = ops.conv_transpose(
            inputs,
            self.kernel.value,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(outputs)


class Conv1DTranspose(ConvTranspose):
    """Transposed convolution along one axis: each step spreads into a window.

        z[strides·t + q, f] = sum over t, c of x[t, c] · kernel[q, f, c]
        y = activation(z + bias)

    `n` steps become `(n - 1)·strides + kernel_size` with `"valid"` (at least
    `n·strides`) and `n·strides` with `"same"`; `output_padding` says otherwise.

    Shapes: `(batch, steps, channels) -> (batch, new_steps, filters)`; channels second
    with `"channels_first"`.

    >>> Conv1DTranspose(4, 3, strides=2)(jnp.ones((2, 5, 3))).shape
    (2, 11, 4)
    """

    rank = 1


class Conv2DTranspose(ConvTranspose, strides=(1, 1), dilation_rate=(1, 1)):
    """Transposed convolution over height and width: each pixel spreads into a window.

    The lengths follow as in `Conv1DTranspose`.

    Shapes: `(batch, height, width, channels) -> (batch, new_height, new_width,
    filters)`; channels second with `"channels_first"`. (Zeiler et al., 2010)

    >>> Conv2DTranspose(4, 3, strides=2, padding="same")(jnp.ones((2, 5, 5, 3))).shape
    (2, 10, 10, 4)
    """

    rank = 2


def _data_format_first(init: Callable) -> Callable:
    """The constructor with `data_format` before `output_padding`."""
    known = signature(init)
    names = list(known.parameters)
    at = names.index("output_padding")
    names[at : at + 2] = reversed(names[at : at + 2])

    order = known.replace(parameters=[known.parameters[name] for name in names])

    @wraps(init)
    def ordered(*args: Any, **kwargs: Any) -> None:
        given = order.bind(*args, **kwargs).arguments
        init(**given.pop("kwargs", {}), **given)

    ordered.__signature__ = order  # type: ignore
    return ordered


class Conv3DTranspose(ConvTranspose, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    """Transposed convolution over three axes: each element spreads into a window.

    The lengths follow as in `Conv1DTranspose`. `data_format` comes before
    `output_padding` among the arguments, unlike in its sisters.

    Shapes: `(batch, a, b, c, channels) -> (batch, new_a, new_b, new_c, filters)`;
    channels second with `"channels_first"`.

    >>> Conv3DTranspose(4, 2, strides=2)(jnp.ones((1, 2, 2, 2, 3))).shape
    (1, 4, 4, 4, 4)
    """

    rank = 3


Conv3DTranspose.__init__ = _data_format_first(  # type: ignore[method-assign]
    Conv3DTranspose.__init__
)
