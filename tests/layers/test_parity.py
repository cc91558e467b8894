"""Every layer beside Keras' layer of the same name, by one table."""

import inspect

import keras
import pytest

from kerasnb import layers
from tests.helpers import case, check_layer, signature_of

IMAGE = (2, 7, 6, 4)
FIRST = (2, 4, 7, 6)
STEPS = (2, 6, 3)
VOLUME = (2, 5, 4, 6, 2)
SPACE = (0, 1, 2)

TABLE = [
    # --- dense
    case("Dense", (3, 5), units=4),
    case(
        "Dense", (2, 3, 5), units=4, activation="relu", use_bias=False, _unknown=(0, 1)
    ),
    case("Embedding", (2, 5), input_dim=9, output_dim=3, _below=9, _unknown=(0, 1)),
    case("Embedding", (2, 5), input_dim=9, output_dim=3, mask_zero=True, _below=9),
    # --- convolutions
    case("Conv1D", STEPS, filters=4, kernel_size=3, _unknown=(0, 1)),
    case("Conv1D", STEPS, filters=4, kernel_size=3, padding="causal", dilation_rate=2),
    case("Conv1D", (2, 3, 6), filters=2, kernel_size=3, data_format="channels_first"),
    case("Conv2D", IMAGE, filters=3, kernel_size=3, activation="relu", _unknown=SPACE),
    case("Conv2D", IMAGE, filters=4, kernel_size=(3, 2), padding="same", strides=2),
    case("Conv2D", IMAGE, filters=4, kernel_size=2, groups=2, use_bias=False),
    case("Conv2D", IMAGE, filters=2, kernel_size=2, dilation_rate=(2, 1)),
    case("Conv2D", FIRST, filters=2, kernel_size=3, data_format="channels_first"),
    case("Conv2D", IMAGE, filters=2, kernel_size=1, strides=2),
    case("Conv3D", VOLUME, filters=3, kernel_size=2, padding="same", _unknown=(0, 1)),
    # --- pooling
    case("MaxPooling1D", STEPS, _unknown=(0, 1)),
    case("MaxPooling1D", STEPS, pool_size=3, strides=2, padding="same"),
    case("MaxPooling2D", IMAGE, _unknown=SPACE),
    case("MaxPooling2D", IMAGE, pool_size=3, strides=1, padding="same"),
    case("MaxPooling2D", FIRST, pool_size=(2, 3), data_format="channels_first"),
    case("MaxPooling3D", VOLUME, pool_size=2),
    case("AveragePooling1D", STEPS, pool_size=2),
    case("AveragePooling2D", IMAGE, pool_size=2, padding="same", _unknown=SPACE),
    case("AveragePooling2D", FIRST, pool_size=3, data_format="channels_first"),
    case("AveragePooling3D", VOLUME, pool_size=2, strides=1),
    case("GlobalAveragePooling1D", STEPS, _unknown=(0, 1)),
    case("GlobalAveragePooling2D", IMAGE, keepdims=True, _unknown=SPACE),
    case("GlobalAveragePooling3D", VOLUME, data_format="channels_first"),
    case("GlobalMaxPooling1D", STEPS, data_format="channels_first"),
    case("GlobalMaxPooling2D", IMAGE, _unknown=SPACE),
    case("GlobalMaxPooling3D", VOLUME, keepdims=True),
    # --- shapes
    case("Flatten", (2, 3, 4)),
    case("Flatten", (2, 3, 4, 5), data_format="channels_first"),
    case("Flatten", (3,)),
    case("Reshape", (2, 12), target_shape=(3, -1), _unknown=(0, 1)),
    case("Reshape", (2, 12), target_shape=(2, 3, 2)),
    case("Permute", (2, 3, 4, 5), dims=(3, 1, 2), _unknown=(0, 1)),
    case("RepeatVector", (2, 3), n=4),
    case("ZeroPadding1D", STEPS, padding=(1, 2), _unknown=(0, 1)),
    case("ZeroPadding2D", IMAGE, padding=(1, 2)),
    case(
        "ZeroPadding2D",
        (2, 4, 3, 5),
        padding=((0, 1), (2, 0)),
        data_format="channels_first",
    ),
    case("ZeroPadding3D", VOLUME, padding=2),
    case("Cropping1D", STEPS, cropping=(2, 1), _unknown=(0, 1)),
    case("Cropping2D", IMAGE, cropping=((0, 1), (2, 0))),
    case("Cropping3D", VOLUME, data_format="channels_last"),
    case("UpSampling1D", STEPS, size=3),
    case("UpSampling2D", IMAGE, _unknown=SPACE),
    case(
        "UpSampling2D",
        (2, 2, 3, 4),
        data_format="channels_first",
        interpolation="bilinear",
    ),
    case("UpSampling2D", IMAGE, size=(2, 3), interpolation="bicubic"),
    case("UpSampling3D", VOLUME, size=(1, 2, 3)),
    # --- normalisation
    case("BatchNormalization", (8, 3)),
    case("BatchNormalization", (8, 3), _training=True),
    case("BatchNormalization", IMAGE, _training=True, momentum=0.6, _unknown=SPACE),
    case("BatchNormalization", IMAGE, _training=True, axis=1, scale=False),
    case("BatchNormalization", (8, 3), _training=True, center=False, trainable=False),
    case(
        "BatchNormalization",
        (8, 3),
        _training=True,
        renorm=True,
        renorm_clipping={"rmax": 1.5, "rmin": 0.5, "dmax": 0.3},
    ),
    case("LayerNormalization", STEPS, _unknown=(0, 1)),
    case("LayerNormalization", IMAGE, axis=[1, 2], epsilon=1e-5, scale=False),
    # --- noise
    case("Dropout", (4, 5), rate=0.5, seed=3, _training=True),
    case("Dropout", (4, 5), rate=0.5, seed=3, _training=False),
    case(
        "Dropout", (4, 5, 3), rate=0.3, noise_shape=(None, 1, 3), seed=3, _training=True
    ),
    case("Dropout", (4, 5), rate=0, _training=True),
    case("SpatialDropout1D", STEPS, rate=0.5, seed=3, _training=True),
    case("SpatialDropout2D", IMAGE, rate=0.5, seed=3, _training=True),
    case(
        "SpatialDropout3D",
        VOLUME,
        rate=0.5,
        seed=3,
        data_format="channels_first",
        _training=True,
    ),
    case("GaussianNoise", (4, 5), stddev=0.5, seed=3, _training=True),
    case("GaussianDropout", (4, 5), rate=0.5, seed=3, _training=True),
    # --- activations
    case("Activation", (3, 5), activation="tanh"),
    case("ReLU", (3, 5)),
    case("ReLU", (3, 5), max_value=1.0, negative_slope=0.1, threshold=0.2),
    case("LeakyReLU", (3, 5)),
    case("PReLU", (3, 5)),
    case("PReLU", (2, 3, 4, 5), shared_axes=[1, 2], alpha_initializer="ones"),
    case("ELU", (3, 5), alpha=0.5),
    case("Softmax", (3, 5)),
    case("Softmax", (3, 5, 2), axis=[1, 2]),
    # --- merges
    case("Add", (3, 4), (3, 4), (3, 4)),
    case("Add", (3, 2, 4), (3, 4), (3, 2, 1)),
    case("Subtract", (3, 4), (3, 1)),
    case("Multiply", (3, 4), (3, 4)),
    case("Average", (3, 4), (3, 4), (3, 4)),
    case("Maximum", (3, 4), (3, 4)),
    case("Minimum", (3, 4), (3, 4)),
    case("Concatenate", (3, 4, 2), (3, 4, 3)),
    case("Concatenate", (3, 4, 2), (3, 1, 2), axis=1, _unknown=(0, 1)),
    case("Dot", (3, 4), (3, 4), axes=1),
    case("Dot", (3, 4, 5), (3, 5, 2), axes=(2, 1)),
    case("Dot", (3, 4, 5), (3, 4), axes=1, normalize=True),
    case("Dot", (3, 2, 4, 5), (3, 6, 4), axes=(2, 2)),
    # --- general
    case("Identity", (3, 4)),
    case("Masking", STEPS, mask_value=0.5),
    case("Rescaling", (2, 4, 4, 3), scale=0.5, offset=-1.0),
    case("Rescaling", (2, 4, 4, 3), scale=1 / 255, _below=255),
    # --- recurrent
    case("RNN", STEPS, cell=case("GRUCell", units=4), return_sequences=True),
    case(
        "RNN",
        STEPS,
        cell=[case("LSTMCell", units=4), case("SimpleRNNCell", units=4)],
        return_state=True,
        go_backwards=True,
    ),
    case("Bidirectional", STEPS, layer=case("LSTM", units=4)),
    case(
        "Bidirectional",
        STEPS,
        layer=case("GRU", units=4, return_sequences=True, return_state=True),
        merge_mode="ave",
        _unknown=(0, 1),
    ),
    case(
        "Bidirectional",
        STEPS,
        layer=case("SimpleRNN", units=4, return_sequences=True),
        backward_layer=case("GRU", units=4, return_sequences=True, go_backwards=True),
        merge_mode=None,
    ),
    case("TimeDistributed", STEPS, layer=case("Dense", units=2), _unknown=(0, 1)),
    case(
        "TimeDistributed", (2, *IMAGE), layer=case("Conv2D", filters=2, kernel_size=3)
    ),
    case(
        "TimeDistributed",
        STEPS,
        layer=case("Dropout", rate=0.5, seed=3),
        _training=True,
    ),
    case("TimeDistributed", STEPS, layer=case("BatchNormalization"), _training=True),
    case(
        "SimpleRNN",
        STEPS,
        units=4,
        dropout=0.3,
        recurrent_dropout=0.2,
        seed=5,
        _training=True,
        _unknown=(0, 1),
    ),
    case("LSTM", STEPS, units=4, return_sequences=True, _unknown=(0, 1)),
    case("LSTM", STEPS, units=4, return_state=True, go_backwards=True, use_bias=False),
    case("LSTM", (2, 3, 3), units=4, unroll=True, unit_forget_bias=False),
    case(
        "LSTM",
        STEPS,
        units=4,
        dropout=0.3,
        recurrent_dropout=0.2,
        seed=5,
        _training=True,
    ),
    case("GRU", STEPS, units=4, return_sequences=True, return_state=True),
    case("GRU", STEPS, units=4, dropout=0.2, seed=5, _training=True),
    case(
        "GRU",
        STEPS,
        units=4,
        reset_after=False,
        go_backwards=True,
        recurrent_dropout=0.2,
        seed=5,
        _training=True,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_layer_agrees_with_keras(row):
    check_layer(row)


PUBLIC = sorted(
    name
    for name in dir(layers)
    if inspect.isclass(getattr(layers, name)) and hasattr(keras.layers, name)
)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_constructor_takes_keras_arguments(name):
    """Same names, order and defaults."""
    assert signature_of(getattr(layers, name)) == signature_of(
        getattr(keras.layers, name)
    )


def test_every_row_of_the_table_is_a_public_layer():
    assert {row.name for row in TABLE} <= set(PUBLIC)
