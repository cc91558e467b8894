"""A zoo of small models, by which files travel between kerasnb and the released Keras.

Each entry makes its model from the same code for either library, called `k` here. Its
options say how the model is compiled (None: not at all) and what is special about it.
Together the entries hold every public layer, optimizer, schedule, loss and metric.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from tests.losses.samples import CODES, LABELS, NUMBERS, SHARES, SIGNS, WORDS, data
from tests.models import zoo as models
from tests.saving.own import PACKAGE, module, own

ROWS = 4


def momentum(k: Any) -> dict[str, Any]:
    """How an entry is compiled that says nothing else."""
    return {"optimizer": k.optimizers.SGD(0.05, momentum=0.9), "loss": "mse"}


@dataclass(frozen=True)
class Entry:
    """How to make a model, to compile it, and to compare it with another."""

    make: Callable[[Any], Any]
    compile: Callable[[Any], dict[str, Any]] | None = momentum
    shape: tuple[int, ...] | None = None  # of the inputs of a model that does not know
    below: int = 9  # inputs of whole numbers are from 0 up to this
    limit: float = 1e-5  # how far apart numbers may be, as a share of the largest
    draws: bool = False  # its training depends on numbers that files do not keep
    kinds: tuple[str, ...] = ()  # of the targets, one for each output
    masks: bool = False  # Keras puts operations that make masks into the graph
    namesakes: bool = False  # outputs have one name, by which Keras mixes up losses
    merged: bool = False  # its file has fewer weights than the model
    wide: bool = False  # it needs numbers of 64 bits
    custom: bool = False  # its file is read with `custom_objects`
    shards: bool = False  # its weights go through several files as well

    def inputs(self, model: Any, seed: int) -> Any:
        """Random inputs in the structure that the model takes."""
        rng = np.random.default_rng(seed)

        def draw(tensor: Any) -> np.ndarray:
            shape = [ROWS if d is None else d for d in tensor.shape]
            if "int" in tensor.dtype:
                return rng.integers(0, self.below, shape).astype(tensor.dtype)
            return rng.normal(size=shape).astype(tensor.dtype)

        if self.shape:
            return rng.normal(size=(ROWS, *self.shape)).astype("float32")
        sequential = hasattr(model, "pop")
        return jax.tree.map(draw, model.inputs[0] if sequential else model.input)

    def targets(self, outputs: Any, seed: int) -> Any:
        """Random targets in the structure of the outputs."""
        flat, structure = jax.tree.flatten(outputs)
        kinds = self.kinds or (NUMBERS,) * len(flat)
        made = [
            data(kind, out.shape, seed=seed)[0]
            for kind, out in zip(kinds, flat, strict=True)
        ]
        return jax.tree.unflatten(structure, made)


ZOO: dict[str, Entry] = {}


def entry(**options: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Put a model into the zoo."""

    def put(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ZOO[make.__name__] = Entry(make, **options)
        return make

    return put


def chain(k: Any, shape: tuple[int | None, ...], *layers: Any, **how: Any) -> Any:
    """A Sequential."""
    return k.Sequential([k.Input(shape, **how), *layers])


def fan(k: Any, shape: tuple[int | None, ...], *layers: Any) -> Any:
    """A model in which each layer sees the inputs and makes an output."""
    x = k.Input(shape)
    return k.Model(x, [layer(x) for layer in layers])


# --- Topologies -----------------------------------------------------------------------

SPECIAL = {
    "chain": {"compile": None},
    "dead_ends": {"compile": None},
    "masked": {"masks": True},
    "nested": {"namesakes": True, "shards": True},
    "operations": {"compile": None},
    "shared": {"namesakes": True},
    "structures": {"compile": None},
    "two_heads": {"compile": None},  # Keras trains with `training=True` all the same
}
for make in models.ZOO + models.STRANGER:
    ZOO[make.__name__] = Entry(make, **SPECIAL.get(make.__name__, {}))


@entry(shape=(5,))
def deferred(k):
    """A Sequential that learns its shapes when it is called."""
    return k.Sequential([k.layers.Dense(3, "tanh"), k.layers.Dense(2)])


@entry()
def siamese(k):
    left, right = k.Input((4,)), k.Input((4,))
    encoder = chain(k, (4,), k.layers.Dense(3, "tanh"), k.layers.Dense(2))
    distance = k.ops.abs(encoder(left) - encoder(right))
    return k.Model([left, right], k.layers.Dense(1)(distance), name="siamese")


@entry(shards=True)
def residual(k):
    x = out = k.Input((8, 8, 2))
    for _ in range(2):
        skip = out
        out = k.layers.Conv2D(2, 3, padding="same", use_bias=False)(out)
        out = k.layers.BatchNormalization()(out)
        out = k.layers.ReLU()(out + skip)
    out = k.layers.GlobalAveragePooling2D()(out)
    return k.Model(x, k.layers.Dense(2)(out), name="residual")


@entry()
def deep_nest(k):
    """Models in models in models, called several times."""
    core = chain(k, (3,), k.layers.Dense(3, "tanh"), k.layers.BatchNormalization())
    x = k.Input((3,))
    middle = k.Model(x, core(core(x)) + k.layers.Dense(3)(x), name="middle")
    y = k.Input((3,))
    return k.Model(y, k.layers.Dense(2)(middle(middle(y)) * y), name="deep_nest")


@entry()
def frozen(k):
    """Layers and a model that training leaves alone, some of them inside others."""
    x, y = k.Input((3,)), k.Input((3,))
    core = k.Model(y, k.layers.BatchNormalization()(k.layers.Dense(3)(y)), name="core")
    core.trainable = False
    out = k.layers.Dense(3, trainable=False)(core(x))
    out = k.layers.Dense(2)(k.layers.BatchNormalization()(out))
    return k.Model(x, out, name="frozen")


@entry()
def sums_of_ops(k):
    """Operations with several results, constants and keywords among layers."""
    x, o = k.Input((4, 3)), k.ops
    mean, variance = o.moments(x, axes=[1], keepdims=True)
    x1 = (x - mean) / o.sqrt(variance + 1e-3)
    left, right = o.split(k.layers.Dense(4)(x1), 2, axis=-1)
    out = o.concatenate([left * o.sigmoid(right), 1 - left, x * 2], axis=-1)
    return k.Model(x, o.mean(out, axis=1) @ np.ones((7, 2), "float32"))


@entry()
def optional_input(k):
    x = k.Input((3,), name="x")
    more = k.Input((3,), name="more", dtype="int32")
    out = k.layers.Add()([k.layers.Dense(3)(x), k.ops.cast(more, "float32")])
    return k.Model({"x": x, "more": more}, {"out": out, "twice": out * 2})


@entry()
def named_layers_twice(k):
    """Layers with the same inner names in several places."""
    parts = [
        chain(k, (3,), k.layers.Dense(3, name="a"), k.layers.Dense(3, name="b"))
        for _ in range(2)
    ]
    return chain(k, (3,), *parts, k.layers.Dense(2, name="a"))


# --- Layers ---------------------------------------------------------------------------


@entry()
def activations(k):
    L = k.layers
    return chain(
        k,
        (5,),
        L.Dense(4, "gelu", bias_initializer="ones"),
        L.LeakyReLU(0.1),
        L.Dense(4, "swish", kernel_regularizer=k.regularizers.L1L2(0.01, 0.02)),
        L.PReLU(alpha_initializer="ones"),
        L.Dense(4, kernel_constraint=k.constraints.MaxNorm(1.5), use_bias=False),
        L.ELU(0.5),
        L.ReLU(6.0, 0.1),
        L.Activation("tanh"),
        L.ActivityRegularization(0.01, 0.02),
        L.Identity(),
        L.Dense(3),
        L.Softmax(),
    )


@entry(compile=None)
def initial_values(k):
    """Every initializer, as objects in the config of layers."""
    made = [
        getattr(k.initializers, name)(**({"seed": 1} if "Seeded" in how else {}))
        for name, how in INITIALIZERS.items()
    ]
    layers = [k.layers.Dense(3, kernel_initializer=each) for each in made]
    return fan(
        k, (3,), *layers, k.layers.Dense(3, bias_initializer=k.initializers.Constant(2))
    )


INITIALIZERS = {
    **dict.fromkeys(("Zeros", "Ones", "Identity"), ""),
    **dict.fromkeys(
        (
            "GlorotNormal",
            "GlorotUniform",
            "HeNormal",
            "HeUniform",
            "LecunNormal",
            "LecunUniform",
            "Orthogonal",
            "RandomNormal",
            "RandomUniform",
            "TruncatedNormal",
            "VarianceScaling",
        ),
        "Seeded",
    ),
}


@entry()
def penalties(k):
    """Every regularizer and constraint."""
    r, c, D = k.regularizers, k.constraints, k.layers.Dense
    return chain(
        k,
        (4,),
        D(4, kernel_regularizer=r.L1(0.01), kernel_constraint=c.NonNeg()),
        D(4, kernel_regularizer=r.L2(0.01), kernel_constraint=c.UnitNorm()),
        D(4, kernel_regularizer="l1", bias_regularizer=r.L1L2(0.1, 0.1)),
        D(4, kernel_regularizer=r.OrthogonalRegularizer(0.01, mode="columns")),
        D(2, kernel_constraint=c.MinMaxNorm(0.1, 0.9), activity_regularizer="l2"),
    )


SPACES = {1: (9, 4), 2: (8, 8, 4), 3: (5, 4, 4, 4)}


def convolutions(k, rank):
    """Convolutions of a rank, and what pads, crops and stretches."""

    def of(kind, *args, **more):
        return getattr(k.layers, f"{kind}{rank}D")(*args, **more)

    layers = [
        of("ZeroPadding", 1),
        of("Conv", 4, 2, strides=2, activation="tanh", padding="same"),
        of("UpSampling", 2),
        getattr(k.layers, f"Conv{rank}DTranspose")(4, 2),
        of("Cropping", 1),
        of("Conv", 4, 2, groups=2, dilation_rate=2, padding="same", use_bias=False),
    ]
    if rank < 3:
        layers += [
            of("DepthwiseConv", 2, depth_multiplier=2),
            of("SeparableConv", 3, 2, padding="same"),
        ]
    return chain(k, SPACES[rank], *layers, k.layers.Flatten(), k.layers.Dense(1))


def pools(k, rank):
    """Every way to pool at a rank."""

    def of(kind, *args, **more):
        return getattr(k.layers, f"{kind}{rank}D")(*args, **more)

    return fan(
        k,
        SPACES[rank],
        of("MaxPooling", 2),
        of("AveragePooling", 2, strides=1, padding="same"),
        of("GlobalMaxPooling", keepdims=True),
        of("GlobalAveragePooling", data_format="channels_first"),
        of("AdaptiveMaxPooling", 2),
        of("AdaptiveAveragePooling", (3, 2, 1)[:rank]),
        of("SpatialDropout", 0.5, seed=3),
    )


for rank in SPACES:
    ZOO[f"convolutions_{rank}d"] = Entry(functools.partial(convolutions, rank=rank))
    ZOO[f"pools_{rank}d"] = Entry(functools.partial(pools, rank=rank), None)


@entry()
def channels_first(k):
    L, how = k.layers, {"data_format": "channels_first"}
    return chain(
        k,
        (2, 8, 8),
        L.Conv2D(4, 3, **how),
        L.BatchNormalization(axis=1),
        L.SeparableConv2D(4, 2, **how),
        L.MaxPooling2D(**how),
        L.GlobalAveragePooling2D(**how),
        L.Dense(2),
    )


@entry()
def norms(k):
    L = k.layers
    return chain(
        k,
        (4, 6),
        L.BatchNormalization(momentum=0.8, scale=False),
        L.LayerNormalization(axis=[1, 2]),
        L.GroupNormalization(2),
        L.RMSNormalization(),
        L.SpectralNormalization(L.Dense(3), power_iterations=2),
        L.BatchNormalization(center=False, renorm=True, name="renorm"),
        L.UnitNormalization(),
        L.Dense(2),
    )


@entry(draws=True)
def noises(k):
    L = k.layers
    return chain(
        k,
        (6, 4),
        L.Dropout(0.3, seed=1),
        L.GaussianNoise(0.2, seed=2),
        L.SpatialDropout1D(0.3, seed=3),
        L.Dense(4, "selu"),
        L.AlphaDropout(0.2, seed=4),
        L.GaussianDropout(0.2, seed=5),
        L.Dropout(0.3, noise_shape=(None, 1, 4), seed=7),
        L.Dense(2),
    )


@entry(draws=True)
def noisy_graph(k):
    """Layers that work in training only; Keras notes the default of `training`."""
    x, L = k.Input((6, 6, 2)), k.layers
    out = L.RandomContrast(0.5, value_range=(0, 1), seed=1)(x)
    out = L.Flatten()(L.SpatialDropout2D(0.5, seed=2)(out))
    return k.Model(x, L.Dense(2)(L.Dropout(0.5, seed=3)(out)))


@entry()
def merges(k):
    L, x = k.layers, k.Input((3, 4))
    a, b = L.Dense(4)(x), L.Dense(4, "tanh")(x)
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum)
    joined = [kind()([a, b]) for kind in kinds]
    joined.append(L.Dot((2, 2), normalize=True)([a, b]))
    return k.Model(x, L.Dense(2)(L.Concatenate(axis=-1)(joined)))


@entry(custom=True)
def shapes(k):
    L = k.layers
    return chain(
        k,
        (3, 4),
        L.Permute((2, 1)),
        L.Dense(4),
        L.Reshape((2, -1)),
        L.Flatten(),
        L.RepeatVector(2),
        L.TimeDistributed(L.Dense(3)),
        L.EinsumDense("abc,cd->abd", output_shape=(None, 2), bias_axes="d"),
        L.Lambda(own(k)["halved"], output_shape=(2, 2), arguments={"by": 2}),
    )


@entry()
def attentions(k):
    L = k.layers
    q, v = k.Input((4, 6)), k.Input((5, 6))
    heads = L.MultiHeadAttention(2, 3, output_shape=4)
    groups = L.GroupQueryAttention(4, 4, 2)
    out = [
        L.Attention(use_scale=True, score_mode="concat")([q, v]),
        L.AdditiveAttention()([q, v, v]),
        heads(q, v),
        groups(q, v, use_causal_mask=True),
    ]
    return k.Model([q, v], L.Dense(2)(L.Concatenate()(out)))


@entry(masks=True)
def tables(k):
    """Embeddings, with masks on their way to those who heed them."""
    L, x = k.layers, k.Input((5,), dtype="int32")
    tied = L.ReversibleEmbedding(9, 4)
    free = L.ReversibleEmbedding(9, 4, tie_weights=False, mask_zero=True)
    vectors = L.Embedding(9, 4, mask_zero=True)(x)
    heads = L.MultiHeadAttention(2, 2)(vectors, vectors)
    out = L.Add()([vectors, heads, tied(x), free(x)])
    back = L.Concatenate()([tied(out, reverse=True), free(out, reverse=True)])
    return k.Model(x, L.GRU(2)(L.Masking(0.5)(back)))


@entry()
def recurrent(k):
    L = k.layers
    return chain(
        k,
        (4, 3),
        L.SimpleRNN(3, return_sequences=True),
        L.LSTM(3, return_sequences=True, unit_forget_bias=False),
        L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode="ave"),
        L.GRU(2, reset_after=False, go_backwards=True, unroll=True),
    )


@entry()
def cells(k):
    """Cells, stacks of them, and a cell of one's own."""
    L, x = k.layers, k.Input((4, 3))
    stack = L.StackedRNNCells([L.LSTMCell(2), L.SimpleRNNCell(3)])
    out, state = L.RNN(L.GRUCell(2), return_state=True)(x)
    out = [L.RNN(stack)(x), out, state, L.RNN(own(k)["Leaky"](2))(x)]
    return k.Model(x, L.Dense(2)(L.Concatenate()(out)))


@entry()
def stateful(k):
    x = k.Input((4, 3), batch_size=ROWS)
    out = k.layers.LSTM(2, stateful=True, return_sequences=True)(x)
    return k.Model(x, k.layers.GRU(2, stateful=True)(out))


@entry()
def two_directions(k):
    """A backward layer of another kind, and states from an encoder to a decoder."""
    L, x = k.layers, k.Input((4, 3))
    both = L.Bidirectional(
        L.LSTM(2, return_sequences=True),
        backward_layer=L.GRU(2, return_sequences=True, go_backwards=True),
    )
    out, *states = L.LSTM(2, return_state=True)(both(x))
    said = L.LSTM(2, return_sequences=True)(x, initial_state=states)
    return k.Model(x, L.TimeDistributed(L.Dense(2))(said) + L.RepeatVector(4)(out))


@entry()
def moving_pictures(k):
    L = k.layers
    a, b, c = k.Input((2, 4, 1)), k.Input((2, 4, 4, 1)), k.Input((2, 3, 3, 3, 1))
    out = [
        L.ConvLSTM1D(2, 2)(a),
        L.ConvLSTM2D(2, 2, strides=2)(b),
        L.ConvLSTM3D(1, 2, padding="same")(c),
    ]
    flat = L.Concatenate()([L.Flatten()(each) for each in out])
    return k.Model([a, b, c], L.Dense(1)(flat))


@entry(compile=None)
def sounds(k):
    L, x = k.layers, k.Input((120, 1))
    mel = L.MelSpectrogram(32, 8, sampling_rate=1000, num_mel_bins=6)
    spectrum = L.STFTSpectrogram(frame_length=16, mode="real")
    return k.Model(x, [mel(x[..., 0]), spectrum(x)])


@entry()
def prepared(k):
    """Numbers made ready, by layers that have looked at data."""
    L, x, codes = k.layers, k.Input((3,)), k.Input((4,), dtype="int32")
    numbers = np.random.default_rng(0).normal(3, 2, (20, 3)).astype("float32")
    normal, bins = L.Normalization(), L.Discretization(num_bins=3)
    normal.adapt(numbers)
    bins.update_state(numbers)
    bins.finalize_state()
    out = [
        normal(x),
        L.Rescaling(0.5, 1.0)(x),
        L.Normalization(mean=1.0, variance=4.0, axis=None, invert=True)(x),
        L.CategoryEncoding(9, "multi_hot")(codes),
        k.ops.cast(bins(x), "float32"),
        L.Discretization([0.0, 1.0], output_mode="multi_hot")(x),
    ]
    return k.Model([x, codes], L.Dense(2)(L.Concatenate()(out)))


AUGMENT = {
    "AugMix": {"value_range": (0, 1)},
    "AutoContrast": {"value_range": (0, 1)},
    "CenterCrop": {"height": 5, "width": 6},
    "ContrastLimitedAdaptiveHistogramEqualization": {"value_range": (0, 1)},
    "CutMix": {"factor": 0.5},
    "MixUp": {"alpha": 0.3},
    "RandAugment": {"value_range": (0, 1), "num_ops": 1},
    "RandomBrightness": {"factor": (0.1, 0.4)},
    "RandomColorDegeneration": {"factor": 0.3},
    "RandomColorJitter": {"value_range": (0, 1), "hue_factor": 0.2},
    "RandomContrast": {"factor": 0.3},
    # Smaller, it cuts out the middle outside of training; in Keras it does nothing.
    "RandomCrop": {"height": 8, "width": 8},
    "RandomElasticTransform": {"factor": 0.5},
    "RandomErasing": {"factor": 0.4},
    "RandomFlip": {"mode": "horizontal"},
    "RandomGaussianBlur": {"factor": 0.5, "kernel_size": 3},
    "RandomGrayscale": {"factor": 0.5},
    "RandomHue": {"factor": 0.5, "value_range": (0, 1)},
    "RandomInvert": {"factor": 0.5},
    "RandomPerspective": {"factor": 0.5, "scale": 0.3},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.3, "fill_mode": "constant"},
    "RandomSaturation": {"factor": 0.3},
    "RandomSharpness": {"factor": 0.3},
    "RandomShear": {"x_factor": (0.1, 0.2), "y_factor": (0.0, 0.1)},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": (-0.1, 0.2)},
    "RandomZoom": {"height_factor": 0.2},
    "Resizing": {"height": 5, "width": 6, "interpolation": "bicubic"},
    "Solarization": {"addition_factor": 0.1, "value_range": (0, 1)},
}


# Those that take no seed.
UNSEEDED = (
    "AutoContrast",
    "CenterCrop",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "Resizing",
    "Solarization",
)


@entry(compile=None)
def pictures_changed(k):
    """Every layer that changes pictures, most of them in training only."""
    layers = [
        getattr(k.layers, name)(**args)
        if name in UNSEEDED
        else getattr(k.layers, name)(seed=1, **args)
        for name, args in AUGMENT.items()
    ]
    return fan(k, (8, 8, 3), *layers)


@entry(compile=None)
def pipeline(k):
    L = k.layers
    steps = [L.Equalization((0, 1)), L.Rescaling(2.0), L.CenterCrop(4, 4)]
    more = [L.MaxNumBoundingBoxes(3), L.Resizing(5, 5)]
    return chain(k, (8, 8, 3), L.Pipeline(steps), L.Pipeline(more), L.Flatten())


# --- Classes and functions of one's own -----------------------------------------------


@entry()
def own_layers(k):
    made = own(k)
    block, gated = made["Block"], made["Gated"]
    return chain(k, (3,), block(4, depth=2), gated(k.layers.Dense(3)), block(2))


@entry(custom=True)
def own_layers_unregistered(k):
    made = own(k)
    return chain(k, (3,), made["Plain"](2.0), made["Plain"](3.0, name="again"))


@entry(shape=(3,), shards=True)
def own_model(k):
    return own(k)["Mine"](4)


@entry()
def own_functional_model(k):
    x = k.Input((3,))
    return own(k)["Chatty"](x, k.layers.Dense(2)(x))


@entry()
def own_model_inside(k):
    x = k.Input((3,))
    return k.Model(x, k.layers.Dense(2)(own(k)["Mine"](4)(x)))


def _own_training(k):
    made = own(k)
    return {
        "optimizer": "rmsprop",
        "loss": made["cubed"],
        "metrics": [made["Largest"](name="most", dtype="float32"), made["cubed"]],
    }


@entry(compile=_own_training)
def own_functions(k):
    """Functions and small classes of one's own wherever an argument takes them."""
    made = own(k)
    dense = k.layers.Dense(
        3,
        activation=made["bent"],
        kernel_initializer=made["Slope"](0.1),
        kernel_regularizer=made["Fourth"](0.01),
    )
    return chain(k, (4,), dense, k.layers.Activation(made["bent"]), k.layers.Dense(2))


@entry(draws=True)
def jax_functions(k):
    return chain(k, (3,), k.layers.JaxLayer(own(k)["run"], own(k)["start"], seed=1))


@entry(draws=True)
def flax_module(k):
    known = k.saving.register_keras_serializable(PACKAGE)(module())
    return chain(k, (3,), k.layers.FlaxLayer(known(4), seed=1))


# --- Number formats -------------------------------------------------------------------


def in_format(k, dtype):
    L, how = k.layers, {"dtype": dtype}
    return chain(
        k,
        (4, 3),
        L.Conv1D(4, 2, **how),
        L.BatchNormalization(**how),
        L.LSTM(3, **how) if "16" not in dtype or "mixed" in dtype else L.Flatten(**how),
        L.Dense(2, activation="tanh", **how),
        L.Dense(2, dtype="float32"),
    )


for name, limit in {
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "mixed_float16": 4e-3,
    "mixed_bfloat16": 3e-2,
    "float64": 1e-5,
}.items():
    make = functools.partial(in_format, dtype=name)
    ZOO[name] = Entry(make, limit=limit, wide=name == "float64")


def quantized(k, mode):
    L = k.layers
    x = k.Input((4, 6))
    out = L.Dense(4, activation="relu")(x)
    out = L.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(out)
    model = k.Model(x, L.Dense(2)(out))
    model.quantize(mode)
    return model


for name in ("int8", "int4", "float8"):
    make = functools.partial(quantized, mode=name)
    ZOO[f"quantized_{name}"] = Entry(make, None)


@entry(compile=None)
def quantized_tables(k):
    x = k.Input((4,), dtype="int32")
    model = k.Model(x, k.layers.Dense(2)(k.layers.Embedding(9, 4)(x)))
    model.quantize("int8")
    return model


@entry(compile=None, merged=True)
def adapters(k):
    """Layers with LoRA, which files keep as ordinary weights."""
    x = k.Input((5,), dtype="int32")
    model = k.Model(x, k.layers.Dense(3)(k.layers.Embedding(9, 4)(x)))
    for layer in model.layers[1:]:
        layer.enable_lora(2)
        for weight in layer.trainable_variables:
            if weight.name.endswith("_b"):  # zero at first
                weight.assign(np.ones(weight.shape))
    return model


# --- Training -------------------------------------------------------------------------


def small(k):
    L = k.layers
    return chain(k, (3,), L.Dense(4, "tanh"), L.BatchNormalization(), L.Dense(2))


def rate(kind, *arguments):
    """A schedule in whichever library."""
    return lambda k: getattr(k.optimizers.schedules, kind)(*arguments)


OPTIMIZERS = {
    "SGD": [{"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}],
    "Adam": [
        {"amsgrad": True, "clipnorm": 0.5},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5},
        {"learning_rate": rate("ExponentialDecay", 0.1, 2, 0.5, True)},
        {"learning_rate": rate("CosineDecay", 0.1, 6, 0.1, "fall", 0.2, 2)},
        {"learning_rate": rate("CosineDecayRestarts", 0.1, 2)},
        {"learning_rate": rate("InverseTimeDecay", 0.1, 2, 0.5)},
        {"learning_rate": rate("PiecewiseConstantDecay", [1, 3], [0.3, 0.2, 0.1])},
        {"learning_rate": rate("PolynomialDecay", 0.1, 5)},
    ],
    "AdamW": [{"weight_decay": 0.1, "clipvalue": 0.1}],
    "RMSprop": [{"momentum": 0.5, "centered": True}],
    "Adagrad": [{"initial_accumulator_value": 0.3}],
    "Adadelta": [{"use_ema": True}],
    "Adafactor": [{"beta_2_decay": -0.5}],
    "Adamax": [{"loss_scale_factor": 8.0}],
    "Nadam": [{}],
    "Ftrl": [{"l1_regularization_strength": 0.01}],
    "Lion": [{"gradient_accumulation_steps": 3}],
    "Lamb": [{}],
    "Muon": [{}],
    "ScheduleFreeAdamW": [{"warmup_steps": 3}],
}


def _optimizer(k, name, options):
    given = {"learning_rate": 0.05, **options}
    given = {n: v(k) if callable(v) else v for n, v in given.items()}
    return {"optimizer": getattr(k.optimizers, name)(**given), "loss": "mse"}


def _scaled(k):
    inner = k.optimizers.Adam(0.01)
    scaled = k.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=2)
    return {"optimizer": scaled, "loss": "mse"}


def _several(k):
    o = k.optimizers
    several = o.OptimizerMap(o.SGD(0.1, momentum=0.5), {".*kernel": o.Adam(0.01)})
    return {"optimizer": o.MultiOptimizer(several), "loss": "mse"}


for name, rows in OPTIMIZERS.items():
    for i, options in enumerate(rows):
        how = functools.partial(_optimizer, name=name, options=options)
        ZOO[f"{name}_{i}" if i else name] = Entry(small, how)
ZOO["LossScaleOptimizer"] = Entry(small, _scaled)
ZOO["MultiOptimizer"] = Entry(small, _several)


# What each loss takes as targets.
LOSSES = {
    NUMBERS: (
        "MeanSquaredError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "Huber",
        "LogCosh",
        "CosineSimilarity",
    ),
    SHARES: (
        "MeanSquaredLogarithmicError",
        "Poisson",
        "KLDivergence",
        "BinaryCrossentropy",
        "BinaryFocalCrossentropy",
        "Dice",
        "Tversky",
    ),
    SIGNS: ("Hinge", "SquaredHinge"),
    CODES: (
        "CategoricalHinge",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
    ),
    LABELS: (
        "SparseCategoricalCrossentropy",
        "CategoricalGeneralizedCrossEntropy",
        "Circle",
    ),
    WORDS: ("CTC",),
}
LOSS_OF = {name: kind for kind, names in LOSSES.items() for name in names}


def _losses(k):
    options = {
        "BinaryCrossentropy": {"label_smoothing": 0.1},
        "Tversky": {"alpha": 0.2},
    }
    made = [getattr(k.losses, name)(**options.get(name, {})) for name in LOSS_OF]
    shares = [0.1 * (i + 1) for i in range(len(made))]
    return {"optimizer": "adam", "loss": made, "loss_weights": shares}


@entry(compile=_losses, kinds=tuple(LOSS_OF.values()))
def losses(k):
    """An output for each loss."""
    x = k.Input((6, 3))
    row = k.layers.GlobalAveragePooling1D()(x)
    heads = {
        name: k.layers.Dense(4, "softmax", name=name.lower())(
            x if name == "CTC" else row
        )
        for name in LOSS_OF
    }
    return k.Model(x, [*heads.values()])


# Metrics by the targets they take, with their arguments.
METRICS = {
    NUMBERS: {
        "MeanSquaredError": {},
        "MeanAbsoluteError": {},
        "MeanAbsolutePercentageError": {},
        "RootMeanSquaredError": {},
        "LogCoshError": {},
        "CosineSimilarity": {"axis": 1},
        "PearsonCorrelation": {},
        "ConcordanceCorrelation": {},
        "R2Score": {"class_aggregation": "variance_weighted_average"},
    },
    SHARES: {
        "MeanSquaredLogarithmicError": {},
        "KLDivergence": {},
        "Poisson": {},
        "BinaryCrossentropy": {"label_smoothing": 0.2},
    },
    SIGNS: {"Hinge": {}, "SquaredHinge": {}},
    CODES: {
        "CategoricalHinge": {},
        "CategoricalAccuracy": {},
        "TopKCategoricalAccuracy": {"k": 2},
        "CategoricalCrossentropy": {},
        "BinaryAccuracy": {"threshold": 0.3},
        "TruePositives": {"thresholds": [0.2, 0.7]},
        "FalsePositives": {"thresholds": 0.2},
        "TrueNegatives": {},
        "FalseNegatives": {},
        "Precision": {"top_k": 2},
        "Recall": {"class_id": 2, "thresholds": [0.2, 0.4]},
        "SensitivityAtSpecificity": {"specificity": 0.4},
        "SpecificityAtSensitivity": {"sensitivity": 0.4, "num_thresholds": 5},
        "PrecisionAtRecall": {"recall": 0.4},
        "RecallAtPrecision": {"precision": 0.3},
        "AUC": {"multi_label": True, "curve": "PR", "num_thresholds": 7},
        "FBetaScore": {"average": "micro", "beta": 0.5},
        "F1Score": {"threshold": 0.4},
        "OneHotIoU": {"num_classes": 4, "target_class_ids": [0, 3]},
        "OneHotMeanIoU": {"num_classes": 4},
        "BinaryIoU": {"target_class_ids": [1], "threshold": 0.3},
        "MeanIoU": {"num_classes": 2},
        "IoU": {"num_classes": 2, "target_class_ids": [0]},
        "Accuracy": {},
    },
    LABELS: {
        "SparseCategoricalAccuracy": {},
        "SparseTopKCategoricalAccuracy": {"k": 2},
        "SparseCategoricalCrossentropy": {},
    },
}


def _metrics(k):
    def rows(kind):
        return [getattr(k.metrics, n)(**how) for n, how in METRICS[kind].items()]

    return {
        "optimizer": "sgd",
        "loss": {kind: "mse" for kind in METRICS if kind != LABELS},
        "metrics": {kind: rows(kind) for kind in METRICS},
        "weighted_metrics": {NUMBERS: [k.metrics.MeanMetricWrapper(own(k)["cubed"])]},
    }


@entry(compile=_metrics, kinds=tuple(sorted(METRICS)))
def metrics(k):
    """An output for each kind of targets, with all the metrics of that kind."""
    x = k.Input((3,))
    return k.Model(x, {n: k.layers.Dense(4, "softmax", name=n)(x) for n in METRICS})


# --- Vocabularies, which Keras looks up by TensorFlow ---------------------------------

LETTERS = np.array([["a", "b"], ["a", "c"], ["q", "m"]])
CODES_ASKED = np.array([[12, 5], [7, 0], [-1, 36]], "int32")
TEXTS = np.array(["The cat sat.", "a dog, a cat", "unknown"])
# A layer, its arguments, what it learns from, what it is asked.
LOOKUPS = [
    ("StringLookup", {"num_oov_indices": 2, "mask_token": "m"}, LETTERS, LETTERS),
    ("StringLookup", {"output_mode": "tf_idf"}, LETTERS, LETTERS),
    ("StringLookup", {"vocabulary": ["a", "q"]}, None, LETTERS),
    ("IntegerLookup", {}, CODES_ASKED[:2], CODES_ASKED),
    ("IntegerLookup", {"vocabulary": [5, 7], "invert": True}, None, CODES_ASKED % 3),
    ("Hashing", {"num_bins": 5, "salt": [133, 137]}, None, LETTERS),
    ("HashedCrossing", {"num_bins": 5}, None, [LETTERS[:, :1], CODES_ASKED[:, :1]]),
    ("TextVectorization", {"output_sequence_length": 4}, TEXTS, TEXTS),
    ("TextVectorization", {"output_mode": "tf_idf", "ngrams": 2}, TEXTS, TEXTS),
]


def lookups(k):
    """All of them in one model; each has an input and an output of its own."""
    inputs, outputs = [], []
    for i, (kind, args, learned, asked) in enumerate(LOOKUPS):
        layer = getattr(k.layers, kind)(name=f"lookup_{i}", **args)
        if learned is not None:
            layer.adapt(learned)
        given = asked if isinstance(asked, list) else [asked]
        x = [
            k.Input(a.shape[1:], dtype="int32" if a.dtype.kind == "i" else "string")
            for a in given
        ]
        inputs += x
        outputs.append(layer(x if isinstance(asked, list) else x[0]))
    return k.Model(inputs, outputs, name="lookups")


def answers(model):
    """What each lookup answers: Keras on JAX cannot call a whole model on strings."""
    return [
        np.asarray(model.get_layer(f"lookup_{i}")(asked)).tolist()
        for i, (*_, asked) in enumerate(LOOKUPS)
    ]
