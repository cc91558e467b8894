"""Every layer beside Keras' layer of the same name, over a grid of its arguments.

`make parity` runs it. A row names layers, the shapes of their inputs (channels last)
and the values to try each argument with; `tests/layers/grid.py` draws the cases.
"""

import keras
import pytest

from kerasnb import layers
from tests.helpers import case
from tests.layers.grid import check_drawn, grid

ROW, STEPS = (3, 5), (2, 4, 3)
LINE, IMAGE, VOLUME = (2, 9, 4), (2, 7, 6, 4), (2, 5, 4, 3, 2)
SPACES = {1: LINE, 2: IMAGE, 3: VOLUME}
EITHER = [False, True]
TRAINING = [None, False, True]
FORMATS = ["channels_last", "channels_first"]
PADDING = ["valid", "same"]
# Keras' sparsemax adds up the wrong numbers: tests/test_activations.py.
NO_ACTIVATIONS = ("deserialize", "get", "glu", "serialize", "sparsemax", "threshold")
ACTIVATIONS = [
    name
    for name, function in vars(keras.activations).items()
    if callable(function) and name not in NO_ACTIVATIONS
]


def unstretched(setting):
    """Strides and dilation exclude each other."""
    return setting["strides"] == 1 or setting["dilation_rate"] == 1


def unpadded(setting):
    """What is added to the output is less than a stride."""
    added = setting["output_padding"] or 0
    return unstretched(setting) and added < setting["strides"]


GRID = [
    # --- dense
    *grid(
        "Dense",
        ROW,
        inputs=[[(2, 3, 5)], [(2, 1, 3, 4)]],
        units=[1, 4],
        activation=[None, "relu", "softmax"],
        use_bias=EITHER,
    ),
    *grid(
        "EinsumDense",
        setup=[
            {"inputs": [ROW], "equation": "ab,bc->ac", "output_shape": 4},
            {
                "inputs": [(2, 3, 5)],
                "equation": "abc,cd->abd",
                "output_shape": (None, 4),
                "bias_axes": "d",
            },
            {
                "inputs": [(2, 3, 5)],
                "equation": "...x,xy->...y",
                "output_shape": 4,
                "bias_axes": "y",
            },
            {
                "inputs": [(2, 3, 4)],
                "equation": "abc,bcd->ad",
                "output_shape": 2,
                "bias_axes": "d",
            },
        ],
        activation=[None, "tanh"],
    ),
    *grid(
        "Embedding",
        (2, 5),
        inputs=[[(3,)], [(2, 3, 2)]],
        below=9,
        input_dim=[9],
        output_dim=[1, 3],
        mask_zero=EITHER,
    ),
    *grid(
        "ReversibleEmbedding",
        (2, 5),
        below=9,
        input_dim=[9],
        output_dim=[3],
        tie_weights=EITHER,
        mask_zero=EITHER,
        logit_soft_cap=[None, 2.0],
    ),
    # --- convolutions and pooling of several shapes come below
    *grid("Flatten", ROW, inputs=[[(2, 3, 4)], [IMAGE], [VOLUME]], data_format=FORMATS),
    *grid("Flatten", (3,)),
    *grid("Reshape", (2, 12), target_shape=[(3, 4), (3, -1), (-1,), (2, 3, 2), (5, 2)]),
    *grid("Permute", (2, 3, 4, 5), dims=[(1, 2, 3), (3, 1, 2), (2, 1), (3, 2, 1)]),
    *grid("RepeatVector", ROW, inputs=[[(2, 1)]], n=[1, 4]),
    *grid("ZeroPadding1D", LINE, padding=[0, 1, (1, 2)], data_format=FORMATS),
    *grid(
        "ZeroPadding2D",
        IMAGE,
        padding=[0, 2, (1, 2), ((0, 1), (2, 0))],
        data_format=FORMATS,
    ),
    *grid(
        "ZeroPadding3D",
        VOLUME,
        padding=[1, (1, 0, 2), ((0, 1), (2, 0), (0, 0))],
        data_format=FORMATS,
    ),
    *grid("Cropping1D", LINE, cropping=[0, 1, (1, 2), 5]),
    *grid(
        "Cropping2D",
        IMAGE,
        cropping=[0, 1, (1, 2), ((0, 1), (2, 0)), 4],
        data_format=FORMATS,
    ),
    *grid(
        "Cropping3D",
        VOLUME,
        cropping=[0, 1, ((0, 1), (2, 0), (0, 0))],
        data_format=FORMATS,
    ),
    *grid("UpSampling1D", LINE, size=[1, 2, 3]),
    *grid(
        "UpSampling2D",
        IMAGE,
        size=[1, 2, (2, 3)],
        data_format=FORMATS,
        interpolation=["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"],
    ),
    *grid("UpSampling3D", VOLUME, size=[1, 2, (1, 2, 3)], data_format=FORMATS),
    # --- normalisation
    *grid(
        "BatchNormalization",
        LINE,
        inputs=[[(8, 3, 4)]],
        axis=[-1, 1],
        momentum=[0.99, 0.5],
        center=EITHER,
        scale=EITHER,
        renorm=EITHER,
        training=TRAINING,
        mask=EITHER,
        trainable=[True, True, False],
        allowed=lambda s: not (s["mask"] and s["axis"] == 1),
    ),
    *grid(
        "LayerNormalization",
        LINE,
        inputs=[[IMAGE]],
        axis=[-1, 1, [1, 2], (1, -1)],
        epsilon=[1e-3, 1e-6],
        center=EITHER,
        scale=EITHER,
    ),
    *grid(
        "GroupNormalization",
        IMAGE,
        inputs=[[LINE], [(3, 4)]],
        groups=[1, 2, 4, -1, 3],
        axis=[-1],
        center=EITHER,
        scale=EITHER,
    ),
    *grid("GroupNormalization", IMAGE, groups=[1, 2], axis=[1, 2, -2], epsilon=[0.1]),
    *grid("RMSNormalization", LINE, inputs=[[IMAGE]], axis=[-1, 1, [1, 2]]),
    *grid("UnitNormalization", LINE, inputs=[[IMAGE]], axis=[-1, 1, [1, 2]]),
    *grid(
        "SpectralNormalization",
        setup=[
            {"inputs": [ROW], "layer": case("Dense", units=3)},
            {"inputs": [IMAGE], "layer": case("Conv2D", filters=3, kernel_size=2)},
        ],
        power_iterations=[1, 2],
        training=TRAINING,
    ),
    # --- noise
    *grid(
        "Dropout GaussianDropout AlphaDropout",
        STEPS,
        rate=[0, 0.5, 0.2],
        seed=[3],
        training=TRAINING,
        mask=EITHER,
    ),
    *grid(
        "Dropout AlphaDropout",
        STEPS,
        rate=[0.5],
        noise_shape=[(2, 1, 3), (None, 1, 3)],
        seed=[3],
        training=[True],
    ),
    *grid(
        "GaussianNoise",
        STEPS,
        stddev=[0, 0.5],
        seed=[3],
        training=TRAINING,
        mask=EITHER,
    ),
    *grid("SpatialDropout1D", LINE, rate=[0, 0.5], seed=[3], training=TRAINING),
    *grid("ActivityRegularization", LINE, l1=[0.0, 0.1], l2=[0.0, 0.2]),
    # --- activations
    *grid("Activation", ROW, activation=ACTIVATIONS),
    *grid("Activation", STEPS, activation=["relu", "softmax"], mask=EITHER),
    *grid(
        "ReLU",
        ROW,
        max_value=[None, 1.0, 0],
        negative_slope=[0.0, 0.1],
        threshold=[0.0, 0.5],
    ),
    *grid("LeakyReLU", ROW, negative_slope=[0.3, 0, 1.5]),
    *grid("PReLU", LINE, inputs=[[IMAGE]], shared_axes=[None, [1], [1, 2]]),
    *grid("ELU", ROW, alpha=[1.0, 0, 0.5]),
    *grid("Softmax", STEPS, axis=[-1, 1, [1, 2], (0, 2)]),
    # --- joins
    *grid(
        "Add Multiply Average Maximum Minimum",
        STEPS,
        STEPS,
        inputs=[[STEPS] * 3, [(2, 4, 1), STEPS], [(2, 3), STEPS], [STEPS]],
        mask=EITHER,
    ),
    *grid("Subtract", STEPS, STEPS, inputs=[[(2, 4, 1), STEPS], [STEPS] * 3]),
    *grid(
        "Concatenate", STEPS, STEPS, inputs=[[STEPS] * 3], axis=[-1, 1, 2], mask=EITHER
    ),
    *grid("Dot", ROW, ROW, axes=[1, -1, (1, 1), 3], normalize=EITHER),
    *grid(
        "Dot", (2, 3, 4), (2, 4, 3), axes=[(1, 2), (2, 1), 1, (-1, 1)], normalize=EITHER
    ),
    # --- general
    *grid("Identity", STEPS, inputs=[[ROW]], mask=[False]),
    *grid("Masking", STEPS, mask_value=[0.0, 0.5], mask=EITHER),
    *grid("Rescaling", IMAGE, scale=[0.5, 2], offset=[0.0, -1.0]),
    *grid("Rescaling", IMAGE, scale=[1 / 255], below=255),
    # --- recurrent
    *grid(
        "SimpleRNN GRU LSTM",
        STEPS,
        units=[3],
        activation=["tanh", "relu"],
        use_bias=[True, False],
        return_sequences=EITHER,
        return_state=EITHER,
        go_backwards=EITHER,
        unroll=EITHER,
        mask=EITHER,
    ),
    *grid(
        "SimpleRNN GRU LSTM",
        STEPS,
        units=[2],
        dropout=[0.0, 0.3],
        recurrent_dropout=[0.0, 0.2],
        seed=[5],
        training=[True],
    ),
    *grid("GRU", STEPS, units=[3], reset_after=EITHER, use_bias=EITHER),
    *grid("LSTM", STEPS, units=[3], unit_forget_bias=EITHER),
    *grid(
        "RNN",
        STEPS,
        cell=[
            case("GRUCell", units=3),
            [case("LSTMCell", units=3), case("SimpleRNNCell", units=2)],
        ],
        return_sequences=EITHER,
        return_state=EITHER,
        zero_output_for_mask=EITHER,
        mask=[True],
    ),
    *grid(
        "Bidirectional",
        STEPS,
        layer=[
            case("GRU", units=3),
            case("LSTM", units=3, return_sequences=True, return_state=True),
        ],
        merge_mode=["concat", "sum", "mul", "ave", None],
        mask=EITHER,
    ),
    *grid(
        "TimeDistributed",
        (2, 4, 3, 5),
        layer=[
            case("Dense", units=2),
            case("LSTM", units=2),
            case("BatchNormalization"),
        ],
        training=TRAINING,
    ),
    *grid(
        "ConvLSTM1D",
        (2, 3, 5, 2),
        filters=[2],
        kernel_size=[1, 3],
        strides=[1, 2],
        padding=PADDING,
        data_format=["channels_last"],
        return_sequences=EITHER,
        return_state=EITHER,
    ),
    *grid(
        "ConvLSTM2D",
        (2, 3, 5, 4, 2),
        filters=[2],
        kernel_size=[2],
        strides=[1, 2],
        padding=PADDING,
        data_format=["channels_last"],
        go_backwards=EITHER,
    ),
    *grid(
        "ConvLSTM3D", (2, 2, 3, 3, 3, 1), filters=[2], kernel_size=[2], padding=PADDING
    ),
    # --- attention
    *grid(
        "Attention",
        (2, 4, 3),
        (2, 5, 3),
        inputs=[[(2, 4, 3), (2, 5, 3), (2, 5, 3)]],
        use_scale=EITHER,
        score_mode=["dot", "concat"],
        mask=EITHER,
        call=[{}, {"use_causal_mask": True}],
    ),
    *grid(
        "AdditiveAttention",
        (2, 4, 3),
        (2, 5, 3),
        inputs=[[(2, 4, 3), (2, 5, 3), (2, 5, 3)]],
        use_scale=EITHER,
        mask=EITHER,
        call=[{}, {"use_causal_mask": True}],
    ),
    *grid(
        "MultiHeadAttention",
        (2, 4, 3),
        (2, 5, 6),
        spread=True,
        inputs=[[(2, 4, 3), (2, 5, 6), (2, 5, 2)]],
        num_heads=[1, 2],
        key_dim=[4],
        value_dim=[None, 3],
        use_bias=EITHER,
        output_shape=[None, 5],
        mask=EITHER,
        call=[{}, {"use_causal_mask": True}, {"return_attention_scores": True}],
    ),
    *grid(
        "GroupQueryAttention",
        (2, 4, 3),
        (2, 5, 3),
        spread=True,
        head_dim=[4],
        num_query_heads=[4, 2],
        num_key_value_heads=[1, 2],
        use_bias=EITHER,
        mask=EITHER,
        call=[{}, {"use_causal_mask": True}],
    ),
    # --- numbers and signals
    *grid(
        "Normalization",
        IMAGE,
        setup=[
            {"mean": 1.0, "variance": 4.0, "axis": None},
            {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [1.0, 4.0, 0.5, 2.0]},
        ],
        invert=EITHER,
    ),
    *grid(
        "STFTSpectrogram",
        (2, 60),
        inputs=[[(2, 60, 1)], [(2, 60, 2)]],
        mode=["log", "magnitude", "psd", "real", "imag", "angle", "stft"],
        frame_length=[16],
        frame_step=[None, 5],
        fft_length=[None, 32],
        window=["hann", "hamming", None],
        scaling=["density", "spectrum", None],
        padding=PADDING,
        expand_dims=EITHER,
        data_format=FORMATS,
    ),
    *grid(
        "MelSpectrogram",
        (2, 120),
        inputs=[[(120,)]],
        fft_length=[32],
        sequence_stride=[8],
        num_mel_bins=[6],
        sampling_rate=[1000],
        power_to_db=EITHER,
        mag_exp=[2.0, 1.0],
    ),
    # --- images
    *grid(
        "Resizing",
        (2, 7, 6, 3),
        height=[4, 9],
        width=[5, 8],
        interpolation=["nearest", "bilinear", "bicubic", "lanczos3", "area"],
        crop_to_aspect_ratio=EITHER,
        data_format=FORMATS,
    ),
    *grid("Resizing", (2, 7, 6, 3), height=[4], width=[9], pad_to_aspect_ratio=[True]),
    *grid(
        "CenterCrop", (2, 7, 6, 3), height=[3, 4], width=[3, 4, 9], data_format=FORMATS
    ),
]
for rank, space in SPACES.items():
    few = rank == 3  # three axes take a compiler long
    conv = {
        "filters": [4],
        "kernel_size": [1, 2] if few else [1, 2, 3],
        "strides": [1, 2] if few else [1, 2, 3],
        "padding": PADDING,
        "data_format": FORMATS,
        "dilation_rate": [1, 2],
        "activation": [None, "tanh"],
        "use_bias": [True, False],
        "allowed": unstretched,
    }
    wide = {k: v for k, v in conv.items() if k != "filters"} | {"padding": PADDING}
    causal = {"padding": ["valid", "same", "causal"]} if rank == 1 else {}
    GRID += grid(f"Conv{rank}D", space, groups=[1, 2], **conv | causal)
    GRID += grid(
        f"Conv{rank}DTranspose",
        space,
        output_padding=[None, 1],
        **conv | {"allowed": unpadded},
    )
    if rank < 3:
        GRID += grid(
            f"DepthwiseConv{rank}D", space, depth_multiplier=[1, 2], **wide | causal
        )
        GRID += grid(
            f"SeparableConv{rank}D", space, depth_multiplier=[1, 2], **conv | causal
        )
    GRID += grid(
        f"MaxPooling{rank}D AveragePooling{rank}D",
        space,
        pool_size=[1, 2, 3],
        strides=[None, 1, 2, 3],
        padding=PADDING,
        data_format=FORMATS,
    )
    GRID += grid(
        f"GlobalAveragePooling{rank}D GlobalMaxPooling{rank}D",
        space,
        data_format=FORMATS,
        keepdims=EITHER,
    )
    GRID += grid(
        f"AdaptiveAveragePooling{rank}D AdaptiveMaxPooling{rank}D",
        space,
        output_size=[1, 2, (3, 2, 1)[:rank]],
        data_format=FORMATS,
    )
    if rank > 1:
        GRID += grid(
            f"SpatialDropout{rank}D",
            space,
            rate=[0, 0.5],
            seed=[3],
            data_format=FORMATS,
            training=TRAINING,
        )

CASES = [row for each in GRID if hasattr(layers, each.name) for row in each]


@pytest.mark.parity
@pytest.mark.parametrize("row", CASES, ids=str)
def test_agrees_with_keras(row):
    check_drawn(row)
