"""Each layer against Keras' layer of the same name: forward, gradient, and in a loop.

Run it: `make bench`, or `python -m tests.benchmarks.layers [--only conv]`. Both sides
are compiled by JAX and take turns, so that a busy machine slows both. A ratio below 1
says that ours is faster: that of the best laps, and in brackets that of the medians.
"loop" is the gradient as `fit` runs it, many steps in one program.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import layers
from tests.helpers import Case, both, case, inputs_for, keras_stateless

IMAGE, SMALL, ROW = (32, 28, 28, 16), (32, 14, 14, 32), (32, 256)
STEPS, LONG, VOLUME = (32, 64, 32), (32, 256, 16), (8, 12, 12, 12, 8)
PICTURE = (32, 32, 32, 3)
STEPS_IN_LOOP = 4

TABLE = {
    "dense": [
        case("Dense", (32, 784), units=128, activation="relu"),
        case("Dense", STEPS, units=64),
        case("EinsumDense", STEPS, equation="abc,cd->abd", output_shape=(None, 64)),
        case("Embedding", (32, 64), input_dim=5000, output_dim=64, _below=5000),
        case("ReversibleEmbedding", (32, 64), input_dim=5000, output_dim=64, _below=99),
    ],
    "conv": [
        case("Conv1D", LONG, filters=32, kernel_size=3, activation="relu"),
        case("Conv1D", LONG, filters=32, kernel_size=5, padding="causal"),
        case("Conv2D", (32, 28, 28, 1), filters=32, kernel_size=3),
        case("Conv2D", IMAGE, filters=32, kernel_size=3, padding="same"),
        case("Conv2D", IMAGE, filters=32, kernel_size=3, strides=2, padding="same"),
        case("Conv2D", IMAGE, filters=32, kernel_size=1),
        case("Conv2D", IMAGE, filters=32, kernel_size=3, groups=4),
        case("Conv2D", IMAGE, filters=32, kernel_size=3, dilation_rate=2),
        case("Conv3D", VOLUME, filters=8, kernel_size=3),
        case("Conv1DTranspose", STEPS, filters=32, kernel_size=3, strides=2),
        case("Conv2DTranspose", SMALL, filters=16, kernel_size=3, strides=2),
        case("Conv3DTranspose", (8, 6, 6, 6, 8), filters=8, kernel_size=2, strides=2),
        case("DepthwiseConv1D", LONG, kernel_size=3),
        case("DepthwiseConv2D", IMAGE, kernel_size=3, padding="same"),
        case("DepthwiseConv2D", IMAGE, kernel_size=3, depth_multiplier=2, strides=2),
        case("SeparableConv1D", LONG, filters=32, kernel_size=3),
        case("SeparableConv2D", IMAGE, filters=32, kernel_size=3, padding="same"),
    ],
    "pool": [
        case("MaxPooling1D", LONG),
        case("MaxPooling2D", IMAGE),
        case("MaxPooling2D", IMAGE, pool_size=3, strides=2, padding="same"),
        case("MaxPooling3D", VOLUME),
        case("AveragePooling1D", LONG, pool_size=2),
        case("AveragePooling2D", IMAGE, pool_size=2),
        case("AveragePooling2D", IMAGE, pool_size=3, strides=1, padding="same"),
        case("AveragePooling3D", VOLUME, pool_size=2),
        *(
            case(f"Global{kind}Pooling{rank}D", shape)
            for rank, shape in ((1, LONG), (2, IMAGE), (3, VOLUME))
            for kind in ("Average", "Max")
        ),
        *(
            case(f"Adaptive{kind}Pooling{rank}D", shape, output_size=4)
            for rank, shape in ((1, LONG), (2, IMAGE), (3, VOLUME))
            for kind in ("Average", "Max")
        ),
    ],
    "recurrent": [
        *(case(name, STEPS, units=64) for name in ("SimpleRNN", "GRU", "LSTM")),
        case("LSTM", STEPS, units=64, return_sequences=True, _mask=True),
        case("GRU", STEPS, units=64, dropout=0.2, seed=1, _training=True),
        case("Bidirectional", STEPS, layer=case("LSTM", units=32)),
        case("TimeDistributed", STEPS, layer=case("Dense", units=32)),
        case(
            "RNN", STEPS, cell=[case("LSTMCell", units=32), case("GRUCell", units=32)]
        ),
        case("ConvLSTM1D", (8, 10, 28, 4), filters=8, kernel_size=3),
        case("ConvLSTM2D", (8, 8, 14, 14, 4), filters=8, kernel_size=3),
        case("ConvLSTM3D", (4, 4, 8, 8, 8, 2), filters=4, kernel_size=3),
    ],
    "norm": [
        case("BatchNormalization", IMAGE, _training=True),
        case("BatchNormalization", ROW, _training=True),
        case("BatchNormalization", IMAGE, _training=False),
        case("LayerNormalization", STEPS),
        case("GroupNormalization", IMAGE, groups=4),
        case("RMSNormalization", STEPS),
        case("UnitNormalization", STEPS),
        case(
            "SpectralNormalization", ROW, layer=case("Dense", units=64), _training=True
        ),
        case("Normalization", ROW, mean=0.5, variance=2.0, axis=None),
    ],
    "noise": [
        case("Dropout", (128, 1024), rate=0.5, seed=1, _training=True),
        case("SpatialDropout2D", IMAGE, rate=0.5, seed=1, _training=True),
        case("AlphaDropout", ROW, rate=0.5, seed=1, _training=True),
        case("GaussianDropout", ROW, rate=0.5, seed=1, _training=True),
        case("GaussianNoise", ROW, stddev=0.5, seed=1, _training=True),
    ],
    "activation": [
        case("Activation", IMAGE, activation="gelu"),
        case("ReLU", IMAGE, negative_slope=0.1, max_value=6.0),
        case("LeakyReLU", IMAGE),
        case("PReLU", IMAGE, shared_axes=[1, 2]),
        case("ELU", IMAGE),
        case("Softmax", STEPS),
    ],
    "attention": [
        case("Attention", STEPS, STEPS),
        case("AdditiveAttention", (32, 32, 16), (32, 32, 16)),
        case("MultiHeadAttention", STEPS, STEPS, num_heads=4, key_dim=16, _spread=True),
        case(
            "GroupQueryAttention",
            STEPS,
            STEPS,
            head_dim=16,
            num_query_heads=4,
            num_key_value_heads=2,
            _spread=True,
        ),
    ],
    "shape": [
        *(
            case(name, IMAGE, IMAGE)
            for name in "Add Subtract Multiply Average Maximum Minimum".split()
        ),
        case("Concatenate", IMAGE, IMAGE),
        case("Dot", STEPS, STEPS, axes=2),
        case("Flatten", IMAGE),
        case("Reshape", ROW, target_shape=(16, 16)),
        case("Permute", IMAGE, dims=(3, 1, 2)),
        case("RepeatVector", ROW, n=8),
        case("ZeroPadding2D", IMAGE),
        case("Cropping2D", IMAGE, cropping=2),
        case("UpSampling1D", STEPS),
        case("UpSampling2D", SMALL),
        case("UpSampling2D", SMALL, interpolation="bilinear"),
        case("UpSampling3D", VOLUME),
        case("Masking", STEPS),
    ],
    "image": [
        case("Rescaling", PICTURE, scale=1 / 255),
        case("Resizing", PICTURE, height=24, width=24),
        case("Resizing", PICTURE, height=64, width=48, interpolation="bicubic"),
        case("CenterCrop", PICTURE, height=24, width=24),
        case("RandomFlip", PICTURE, seed=1, _training=True),
        case("RandomRotation", PICTURE, factor=0.2, seed=1, _training=True),
        case("RandomZoom", PICTURE, height_factor=0.2, seed=1, _training=True),
        case(
            "RandomTranslation",
            PICTURE,
            height_factor=0.2,
            width_factor=0.2,
            seed=1,
            _training=True,
        ),
        case("RandomContrast", PICTURE, factor=0.2, seed=1, _training=True),
        case("RandomBrightness", PICTURE, factor=0.2, seed=1, _training=True),
        case("STFTSpectrogram", (8, 8000, 1), frame_length=256, frame_step=128),
        case("MelSpectrogram", (8, 8000), fft_length=256, sequence_stride=128),
    ],
}
IN_LOOPS = ("conv", "pool", "recurrent")


def programs_of(layer: Any, row: Case, looped: bool) -> dict[str, Callable]:
    """A layer of either library as compiled functions without arguments."""
    own = isinstance(layer, layers.Layer)
    x = jax.tree.map(jnp.asarray, inputs_for(row))
    layer(*row.arguments(x), **row.options)
    trainable = [jnp.asarray(v.value) for v in layer.trainable_variables]
    rest = [jnp.asarray(v.value) for v in layer.non_trainable_variables]
    mask = (
        {"mask": jnp.arange(x.shape[1]) < jnp.full((len(x), 1), 50)} if row.mask else {}
    )

    def forward(trainable: list, rest: list, x: Any) -> Any:
        how = row.options | mask
        if own:
            return layer.stateless_call(trainable, rest, *row.arguments(x), **how)[0]
        return keras_stateless(layer, trainable, rest, *row.arguments(x), **how)[0]

    def loss(trainable: list, rest: list, x: Any) -> Any:
        outputs = jax.tree.leaves(forward(trainable, rest, x))
        return sum(jnp.sum(jnp.square(y)) for y in outputs)

    gradient = jax.grad(loss, 0 if row.below else (0, 2))

    def train(trainable: list, rest: list, x: Any) -> Any:
        def step(_: int, state: tuple) -> tuple:
            trainable, x = state
            grads = gradient(trainable, rest, x)
            moved = (grads, x) if row.below else grads
            return jax.tree.map(lambda a, g: a - 1e-6 * g, (trainable, x), moved)

        return jax.lax.fori_loop(0, STEPS_IN_LOOP, step, (trainable, x))

    found = {"forward": forward, "gradient": gradient}
    if looped:
        found["loop"] = train
    # The seeds are arguments too: what is constant would be drawn by the compiler.
    return {k: _ready(fn, trainable, rest, x) for k, fn in found.items()}


def _ready(fn: Callable, *args: Any) -> Callable:
    compiled = jax.jit(fn).lower(*args).compile()
    return lambda: jax.block_until_ready(compiled(*args))


def compare(ours: Callable, theirs: Callable, laps: int, clock: Callable) -> tuple:
    """Our best lap in ms, and the ratios of the best and of the median laps."""
    lasted = {ours: [], theirs: []}
    began = time.perf_counter()
    for fn in (ours, theirs):
        fn()
    calls = max(1, math.ceil(0.02 / (time.perf_counter() - began)))
    for lap in range(laps):
        for fn in (ours, theirs) if lap % 2 else (theirs, ours):
            began = clock()
            for _ in range(calls):
                fn()
            lasted[fn].append((clock() - began) / calls)
    best, other = min(lasted[ours]), min(lasted[theirs])
    medians = [statistics.median(lasted[fn]) for fn in (ours, theirs)]
    return 1000 * best, best / other, medians[0] / medians[1]


def measure(row: Case, looped: bool, laps: int, clock: Callable) -> dict[str, tuple]:
    pair = [programs_of(layer, row, looped) for layer in both(row.name, **row.args)]
    return {kind: compare(*(p[kind] for p in pair), laps, clock) for kind in pair[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default="", help="families or layers with this in them"
    )
    parser.add_argument("--laps", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="CPU time, not the clock's")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    for family, rows in TABLE.items():
        wanted = [
            row
            for row in rows
            if args.only.lower() in f"{family} {row.name}".lower()
            and hasattr(layers, row.name)
        ]
        for row in wanted:
            found = measure(row, family in IN_LOOPS, args.laps, clock)
            cells = [
                f"{kind} {ms:8.3f} ms {best:5.2f} ({median:.2f})"
                for kind, (ms, best, median) in found.items()
            ]
            slow = "  <" if max(best for _, best, _ in found.values()) > 1.1 else ""
            print(f"{str(row)[:56]:56}", *cells, slow, flush=True)


if __name__ == "__main__":
    main()
