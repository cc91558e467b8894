"""What a user is told who makes a mistake: the layer, the shapes, the likely mend."""

import keras
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.layers import Input

X = np.ones((2, 4), "float32")
MISTAKES = {
    "Dense: `units` must be a positive integer, not -1.": lambda k: k.Dense(-1),
    "Dense: `units` must be a positive integer, not 2.5.": lambda k: k.Dense(2.5),
    'Conv2D: `padding` must be "valid" or "same", not \'sane\'. Did you mean "same"?': (
        lambda k: k.Conv2D(4, 3, padding="sane")
    ),
    "Conv2D: `kernel_size` must be a positive integer or 2 of them, not (3, 3, 3).": (
        lambda k: k.Conv2D(4, (3, 3, 3))
    ),
    "Conv2D: `filters` must be a positive integer, not 0.": lambda k: k.Conv2D(0, 3),
    "Conv2D: `filters` must be a multiple of `groups`, and 4 is not one of 3.": (
        lambda k: k.Conv2D(4, 3, groups=3)
    ),
    "Conv1D: `strides` and `dilation_rate` cannot both be above 1; "
    "they are (2,) and (2,).": lambda k: k.Conv1D(4, 3, strides=2, dilation_rate=2),
    'MaxPooling2D: `data_format` must be "channels_last" or "channels_first", '
    "not 'channel_last'. Did you mean \"channels_last\"?": (
        lambda k: k.MaxPooling2D(data_format="channel_last")
    ),
    "Dropout: `rate` must be a number from 0 to 1, not 2.": lambda k: k.Dropout(2),
    "Dropout: `noise_shape` must be a tuple of positive integers and None, not "
    "(0, 1).": (lambda k: k.Dropout(0.5, noise_shape=(0, 1))),
    "ZeroPadding2D: `padding` must be an integer of at least 0 or 2 integers of at "
    "least 0, not (1, -1).": lambda k: k.ZeroPadding2D(((1, -1), (0, 0))),
    "LSTM: `units` must be a positive integer, not 0.": lambda k: k.LSTM(0),
    "Embedding: `input_dim` must be a positive integer, not 0.": (
        lambda k: k.Embedding(0, 3)
    ),
    "Permute: `dims` must be the numbers from 1 to the number of axes, batch aside, in "
    "some order, not (1, 3).": lambda k: k.Permute((1, 3)),
    "ReLU: `max_value` must be a number of at least 0, not -1.": (
        lambda k: k.ReLU(max_value=-1)
    ),
    'Conv2D has no argument `stride`. Did you mean "strides"?': (
        lambda k: k.Conv2D(4, 3, stride=2)
    ),
    "Input: `shape` must be a tuple of lengths such as (28, 28, 1), None for unknown "
    "ones, not 3.": lambda k: k.Input(3),
    "Input: pass either `shape` or `batch_shape`, not both.": (
        lambda k: k.Input((3,), batch_shape=(2, 3))
    ),
    "Bidirectional: `merge_mode` must be None or one of "
    "('sum', 'mul', 'ave', 'concat'), not 'max'.": (
        lambda k: k.Bidirectional(k.LSTM(3), merge_mode="max")
    ),
    "Dense `it` needs inputs whose last axis has a known length and got the shape "
    "(None, None); give `Input` that length.": (
        lambda k: k.Dense(3, name="it")(k.Input((None,)))
    ),
    "Conv2D `it` needs at least 5 along axis 1 (kernel_size=(5, 5); try "
    'padding="same" or a smaller one) and got the shape (None, 3, 3, 1).': (
        lambda k: k.Conv2D(4, 5, name="it")(k.Input((3, 3, 1)))
    ),
    "Conv2D `it` expects at least 4 axes and got the shape (None, 28, 28).": (
        lambda k: k.Conv2D(4, 3, name="it")(k.Input((28, 28)))
    ),
    "Add `it` got shapes (None, 24, 24, 32) and (None, 26, 26, 32), which do not "
    "broadcast.": (
        lambda k: k.Add(name="it")([k.Input((24, 24, 32)), k.Input((26, 26, 32))])
    ),
    "Concatenate `it` got shapes (None, 3, 4) and (None, 4, 4), which differ in more "
    "than the axis to join, -1.": (
        lambda k: k.Concatenate(name="it")([k.Input((3, 4)), k.Input((4, 4))])
    ),
    "Subtract `it` got shapes (None, 3), (None, 3) and (None, 3), not two shapes that "
    "broadcast.": lambda k: k.Subtract(name="it")([k.Input((3,)) for _ in range(3)]),
    "Dot `it` got shapes (None, 3) and (None, 4), not two shapes of equal lengths "
    "along axes=1, batch aside.": (
        lambda k: k.Dot(1, name="it")([k.Input((3,)), k.Input((4,))])
    ),
    "Reshape `it` cannot turn samples of shape (4,), 4 values, into the shape (3,).": (
        lambda k: k.Reshape((3,), name="it")(k.Input((4,)))
    ),
    "Cropping1D `it` needs at least 5 along axis 1 (cropping=(2, 2)) and got the shape "
    "(None, 4, 3).": lambda k: k.Cropping1D(2, name="it")(k.Input((4, 3))),
    "LSTM `it` is stateful and so needs inputs with a known batch size; it got the "
    "shape (None, 5, 3). Give `Input` a `batch_shape`.": (
        lambda k: k.LSTM(3, stateful=True, name="it")(k.Input((5, 3)))
    ),
    "LSTM `it` expects 3 axes and got the shape (None, 5).": (
        lambda k: k.LSTM(3, name="it")(k.Input((5,)))
    ),
    "Dense `it` was called on a tensor and 5; a call takes tensors, and settings "
    "belong where the layer is made.": lambda k: k.Dense(3, name="it")(X, 5),
    "Flatten `it` was called on a tensor and 'a'; a call takes tensors, and settings "
    "belong where the layer is made.": (
        lambda k: k.Flatten(name="it")(k.Input((5,)), "a")
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared just below
        MISTAKES[message](layers)
    assert str(raised.value) == message


@pytest.mark.parametrize("message", MISTAKES)
def test_keras_raises_the_same_kind_of_error(message):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Keras'
        MISTAKES[message](keras.layers)


def test_a_built_layer_insists_on_its_width():
    layer = layers.Dense(3, name="dense_1")
    layer(np.ones((2, 20), "float32"))
    message = "Dense `dense_1` was built for 20 along axis -1 and got the shape"
    for wrong in (np.ones((2, 5), "float32"), Input((5,))):
        with pytest.raises(ValueError, match=message):
            layer(wrong)


def test_a_pooling_window_must_fit():
    # Keras builds such a model and fails when it runs.
    with pytest.raises(
        ValueError, match=r"MaxPooling2D `it` needs at least 5 along axis 1"
    ):
        layers.MaxPooling2D(5, name="it")(Input((3, 3, 1)))


def test_only_sequences_of_known_length_are_unrolled():
    # Keras builds such a model and fails when it runs.
    with pytest.raises(
        ValueError, match="GRU `it` can only unroll sequences of a known"
    ):
        layers.GRU(3, unroll=True, name="it")(Input((None, 3)))


def test_a_stateful_layer_insists_on_its_batch_size():
    layer = layers.GRU(2, stateful=True, name="it")
    layer(np.ones((4, 3, 2), "float32"))
    with pytest.raises(
        ValueError, match="keeps states for batches of 4; it got a batch"
    ):
        layer(np.ones((3, 3, 2), "float32"))


def test_axes_of_the_wrong_type_are_type_errors():
    for make in (
        lambda k: k.Dot(axes="1"),
        lambda k: k.LayerNormalization(axis="1"),
        lambda k: k.RepeatVector(2.5),
        lambda k: k.UpSampling1D(2.5),
    ):
        for library in (layers, keras.layers):
            with pytest.raises(TypeError):
                make(library)
