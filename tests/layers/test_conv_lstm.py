"""Recurrent layers for films beside Keras': states, masks, settings."""

import keras
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import both, case, check_layer, close

ROWS = (2, 3, 6, 2)
FILM = (2, 3, 5, 4, 2)
MASK = np.array([[1, 0, 1], [0, 1, 1]], bool)

TABLE = [
    case("ConvLSTM1D", ROWS, filters=3, kernel_size=3, return_sequences=True),
    case("ConvLSTM2D", FILM, filters=2, kernel_size=(3, 2), padding="same", strides=2),
    case(
        "ConvLSTM2D",
        (2, 3, 2, 5, 4),
        filters=2,
        kernel_size=2,
        dilation_rate=(2, 1),
        data_format="channels_first",
        return_state=True,
        go_backwards=True,
        use_bias=False,
        _unknown=(0, 1),
    ),
    case(
        "ConvLSTM1D",
        ROWS,
        filters=2,
        kernel_size=2,
        dropout=0.3,
        recurrent_dropout=0.2,
        seed=5,
        unit_forget_bias=False,
        _training=True,
    ),
    case("ConvLSTM3D", (1, 2, 3, 2, 3, 1), filters=2, kernel_size=2),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


def frames():
    return np.random.default_rng(0).normal(size=ROWS).astype("float32")


def test_masked_frames_are_left_out():
    args = {"filters": 2, "kernel_size": 3, "padding": "same", "return_sequences": True}
    # In a loop Keras' layer does not take a mask.
    ours, theirs = both("ConvLSTM1D", unroll=True, **args)
    unrolled = ours(frames(), mask=MASK)
    close(unrolled, theirs(frames(), mask=MASK), "masked")
    ours.unroll, ours.zero_output_for_mask = False, True
    zeros = np.where(MASK[..., None, None], unrolled, 0)
    close(ours(frames(), mask=MASK), zeros, "in a loop, with zeros")


def test_a_stateful_layer_goes_on_where_it_ended():
    ours, theirs = both("ConvLSTM1D", filters=2, kernel_size=3, stateful=True)
    first, second = ours(frames()), ours(frames())
    close([first, second], [theirs(frames()), theirs(frames())], "stateful")
    assert np.abs(first - second).max() > 1e-4
    ours.reset_state()
    close(ours(frames()), first, "after reset_state")


def test_states_can_be_given_and_come_back():
    ours, theirs = both("ConvLSTM1D", filters=2, kernel_size=3, return_state=True)
    ours(frames())
    start = [np.full((2, 4, 2), value, "float32") for value in (0.5, -0.5)]
    mine = ours(frames(), initial_state=start)
    close(mine, theirs(frames(), initial_state=start), "states")
    assert np.abs(mine[0] - ours(frames())[0]).max() > 1e-3


def test_convolutions_before_the_loop_give_the_same(monkeypatch):
    # The way of GPUs, here on the CPU.
    layer = layers.ConvLSTM1D(2, 3, dropout=0.3, seed=1, return_sequences=True)
    layer(frames())
    in_the_loop = layer(frames(), training=True)
    layer.cell.seed_generator.state.assign([1, 0])
    monkeypatch.setattr(type(layer), "_projects_at_once", lambda self: True)
    del layer.__dict__["_programs"]
    close(layer(frames(), training=True), in_the_loop, "before the loop")


MISTAKES = {
    "ConvLSTM2D: `kernel_size` must be a positive integer or 2 of them, not (3,).": (
        lambda k: k.ConvLSTM2D(2, (3,))
    ),
    "ConvLSTM1D: `filters` must be a positive integer, not 2.5.": (
        lambda k: k.ConvLSTM1D(2.5, 3)(k.Input((3, 6, 2)))
    ),
    "ConvLSTM1D: `strides` and `dilation_rate` cannot both be above 1; they are (2,) "
    "and (2,).": lambda k: k.ConvLSTM1D(2, 3, strides=2, dilation_rate=2),
    "ConvLSTMCell `conv_lstm_cell` needs images of a known size, with a known number "
    "of channels, and got steps of shape (None, None, 2).": (
        lambda k: k.ConvLSTM1D(2, 3)(k.Input((3, None, 2)))
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared just below
        MISTAKES[message](layers)
    assert str(raised.value) == message
    with pytest.raises((ValueError, TypeError)):  # the words are Keras'
        MISTAKES[message](keras.layers)
