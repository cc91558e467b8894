"""Convolutions beside Keras', and how they are computed."""

from inspect import Parameter, signature

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import layers, ops
from tests.helpers import both, case, check_layer, close

IMAGE = (2, 7, 6, 4)
FIRST = (2, 4, 7, 6)
STEPS = (2, 6, 3)
SPACE = (0, 1, 2)

TABLE = [
    case("DepthwiseConv1D", STEPS, kernel_size=3, depth_multiplier=2),
    case("DepthwiseConv1D", (2, 3, 6), kernel_size=2, data_format="channels_first"),
    case("DepthwiseConv2D", IMAGE, kernel_size=3, padding="same", _unknown=SPACE),
    case(
        "DepthwiseConv2D",
        IMAGE,
        kernel_size=(3, 2),
        strides=2,
        depth_multiplier=3,
        use_bias=False,
        activation="relu",
    ),
    case(
        "DepthwiseConv2D",
        FIRST,
        kernel_size=2,
        dilation_rate=(2, 3),
        data_format="channels_first",
    ),
    case("SeparableConv1D", STEPS, filters=4, kernel_size=3, _unknown=(0, 1)),
    case("SeparableConv2D", IMAGE, filters=3, kernel_size=3, padding="same", strides=2),
    case(
        "SeparableConv2D",
        FIRST,
        filters=3,
        kernel_size=2,
        depth_multiplier=2,
        dilation_rate=2,
        activation="tanh",
        data_format="channels_first",
    ),
    case("Conv1DTranspose", STEPS, filters=4, kernel_size=3, strides=2),
    case("Conv1DTranspose", STEPS, filters=4, kernel_size=2, dilation_rate=3),
    case(
        "Conv2DTranspose",
        IMAGE,
        filters=3,
        kernel_size=3,
        strides=2,
        padding="same",
        activation="relu",
        _unknown=SPACE,
    ),
    case(
        "Conv2DTranspose",
        FIRST,
        filters=3,
        kernel_size=(2, 3),
        strides=(3, 2),
        output_padding=(2, 0),
        data_format="channels_first",
    ),
    case(
        "Conv3DTranspose",
        (1, 3, 2, 3, 2),
        filters=2,
        kernel_size=2,
        strides=2,
        use_bias=False,
        _unknown=(0, 1),
    ),
    case("Conv2D", IMAGE, filters=6, kernel_size=3, groups=2, strides=2),
    case("Conv1D", (2, 5, 4), filters=4, kernel_size=3, groups=4, padding="causal"),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_transposed_convolution_is_as_long_as_in_keras(rank, padding):
    x = np.ones((1, *(3,) * rank, 1), "float32")
    for size, stride in ((1, 1), (3, 1), (2, 3), (4, 2)):
        for extra in (None, *range(stride)):
            args = {
                "filters": 1,
                "kernel_size": size,
                "strides": stride,
                "padding": padding,
                "output_padding": extra,
                "kernel_initializer": "ones",
            }
            ours, theirs = both(f"Conv{rank}DTranspose", **args)
            close(ours(x), np.asarray(theirs(x)), str(args))


def test_conv3d_transpose_takes_its_arguments_in_keras_order():
    layer = layers.Conv3DTranspose(4, 2, (2, 2, 1), "same", "channels_first", (1, 1, 0))
    assert layer.output_padding == (1, 1, 0)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    with pytest.raises(TypeError, match="too many"):
        layers.Conv3DTranspose(*range(2, 30))
    with pytest.raises(
        ValueError, match='no argument `stride`. Did you mean "strides"'
    ):
        layers.Conv3DTranspose(4, 2, stride=2)


MISTAKES = {
    "DepthwiseConv2D: `depth_multiplier` must be a positive integer, not 0.": (
        lambda k: k.DepthwiseConv2D(3, depth_multiplier=0)
    ),
    'SeparableConv1D: `padding` must be "valid" or "same", not \'causal\'.': (
        lambda k: k.SeparableConv1D(3, 3, padding="causal")
    ),
    "Conv2DTranspose: `output_padding` must be smaller than strides=(2, 1) along each "
    "axis, not (1, 1).": (
        lambda k: k.Conv2DTranspose(3, 3, strides=(2, 1), output_padding=1)
    ),
    "Conv1DTranspose: `strides` and `dilation_rate` cannot both be above 1; they are "
    "(2,) and (2,).": lambda k: k.Conv1DTranspose(3, 3, strides=2, dilation_rate=2),
    "DepthwiseConv2D `it` needs at least 5 along axis 1 (kernel_size=(5, 5); try "
    'padding="same" or a smaller one) and got the shape (None, 3, 9, 1).': (
        lambda k: k.DepthwiseConv2D(5, name="it")(k.Input((3, 9, 1)))
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared just below
        MISTAKES[message](layers)
    assert str(raised.value) == message
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Keras'
        MISTAKES[message](keras.layers)


def test_a_class_statement_may_change_defaults_of_the_constructor():
    class Halving(layers.Conv2D, strides=(2, 2)):
        """A convolution with another default."""

    assert Halving(3, 2).strides == (2, 2)
    assert Halving(3, 2).get_config()["strides"] == (2, 2)
    assert layers.Conv2D(3, 2).strides == (1, 1)
    with pytest.raises(TypeError, match='`stride`. Did you mean "strides"'):

        class Wrong(layers.Conv2D, stride=2):
            """A slip of the pen."""


def test_a_general_method_shows_the_parameters_of_its_layer():
    def shown(method):
        return [*signature(method).parameters]

    assert shown(layers.Conv2D(1, 1).compute_output_shape) == ["input_shape"]
    assert shown(layers.GRU(1)) == [
        *("sequences", "initial_state", "mask", "training", "kwargs")
    ]
    parameters = signature(layers.LSTM.compute_output_shape).parameters
    assert [*parameters] == ["self", "sequences_shape", "initial_state_shape"]
    assert parameters["sequences_shape"].default is Parameter.empty
    assert layers.LSTM(2).compute_output_shape((None, 5, 3)) == (None, 2)

    class Mine(layers.Conv2D):
        """A class of one's own, whose own methods come first."""

        def compute_output_shape(self, input_shape):
            return (0, *super().compute_output_shape(input_shape))

    assert Mine(1, 2).compute_output_shape((2, 3, 3, 1)) == (0, 2, 2, 2, 1)


@pytest.mark.parametrize("groups", [4, 2])
def test_gradients_of_groups_are_those_of_jax(groups):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 6, 5, 4)), "float32")
    kernel = jnp.asarray(rng.normal(size=(3, 2, 4 // groups, 8)), "float32")

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (2, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def ours(x, kernel):
        return ops.conv(x, kernel, strides=(2, 1), padding="same")

    def facts(conv):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(conv(x, kernel)))

        def slope(kernel):
            return jnp.sum(jax.grad(loss)(x, kernel) ** 2)

        @jax.jit
        def run(x, kernel):
            return conv(x, kernel), jax.grad(loss, (0, 1))(x, kernel)

        return (*run(x, kernel), jax.jit(jax.grad(slope))(kernel))

    close(
        facts(ours), facts(plain), "values, gradients, second derivatives", 1e-4, 1e-5
    )
