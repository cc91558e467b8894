"""How the files of this folder were made: with Keras 2, which is `tf_keras` today.

    pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0
    python tests/files/legacy/make.py

Each model is trained for two steps and written to NAME.h5. NAME.npz holds its inputs
(`x0`, `x1`, ...), targets (`y0`, ...), predictions (`p0`, ...), and its predictions
after one more step (`q0`, ...), which tell whether the optimizer goes on as it was.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as k

FOLDER = Path(__file__).parent
ROWS = 4
old = k.optimizers.legacy


def classifier() -> Any:
    """A chain for pictures, with the optimizers of Keras 2.11 and later."""
    model = k.Sequential(
        [
            k.layers.Conv2D(3, 3, input_shape=(8, 8, 1), kernel_regularizer="l2"),
            k.layers.BatchNormalization(axis=[3]),
            k.layers.LeakyReLU(alpha=0.2),
            k.layers.DepthwiseConv2D(2, padding="same"),
            k.layers.ReLU(max_value=6.0),
            k.layers.SeparableConv2D(4, 3, activation="relu"),
            k.layers.Conv2DTranspose(2, 2, strides=2),
            k.layers.MaxPooling2D(),
            k.layers.Dropout(0.0),
            k.layers.Flatten(),
            k.layers.Dense(3, activation="softmax", name="out"),
        ],
        name="classifier",
    )
    loss = k.losses.SparseCategoricalCrossentropy()
    model.compile(k.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def words() -> Any:
    """Recurrent layers and a mask, with an optimizer of the time before 2.11."""
    x = k.Input((5,), dtype="int32", name="x")
    h = k.layers.Embedding(9, 4, mask_zero=True, input_length=5, name="table")(x)
    lstm = k.layers.LSTM(3, return_sequences=True)
    h = k.layers.Bidirectional(lstm, name="both")(h)
    h = k.layers.GRU(3, return_sequences=True, reset_after=False, name="old_gru")(h)
    h = k.layers.TimeDistributed(k.layers.Dense(3), name="each")(h)
    h, state = k.layers.GRU(2, return_sequences=True, return_state=True, name="gru")(h)
    h = k.layers.SimpleRNN(2, name="rnn")(h, initial_state=state)
    model = k.Model(x, k.layers.Dense(1, name="out")(h), name="words")
    model.compile(old.Adam(0.01), "mse", metrics=["mae"])
    return model


def heads() -> Any:
    """Models in a model, a shared layer, two inputs and outputs, dicts in `compile`."""
    encoder = k.Sequential(
        [k.layers.Dense(4, input_shape=(3,), name="e1"), k.layers.BatchNormalization()],
        name="encoder",
    )
    hx = k.Input((4,), name="hx")
    head = k.Model(hx, k.layers.Dense(2, activation="tanh")(hx), name="head")
    a, b = k.Input((3,), name="a"), k.Input((3,), name="b")
    shared = k.layers.Dense(3, name="shared")
    one, two = encoder(shared(a)), k.layers.Dense(4, name="wide")(shared(shared(b)))
    both = k.layers.Concatenate(name="join")([one, two])
    frozen = k.layers.Dense(4, name="frozen", trainable=False)
    p = k.layers.Dense(1, name="p")(frozen(both))
    q = k.layers.Average(name="q")([head(one), head(two)])
    model = k.Model([a, b], [p, q], name="heads")
    model.compile(
        old.SGD(0.1, momentum=0.9, decay=0.01, nesterov=True),
        loss={"p": "mse", "q": k.losses.Huber(delta=0.5)},
        loss_weights={"p": 1.0, "q": 0.5},
        metrics={"q": [k.metrics.MeanSquaredError(name="squares"), "mae"]},
    )
    return model


def attention() -> Any:
    """Operations of TensorFlow between layers, attention, a schedule, a policy."""
    x = k.Input((4, 6), name="x")
    h = k.layers.LayerNormalization(name="norm")(x)
    h = k.layers.MultiHeadAttention(2, 3, name="attention")(h, h)
    h = k.layers.Add(name="skip")([x, h])
    h = k.layers.Conv1D(6, 3, padding="causal", dtype="float32", name="conv")(h)
    h = h * 0.5 + x
    h = tf.nn.relu(h) - 1.0
    h = tf.reshape(h, [-1, 4, 6, 1, 1])
    h = k.layers.ConvLSTM2D(2, 1, recurrent_activation="sigmoid", name="film")(h)
    out = k.layers.Dense(2, name="out")(k.layers.Flatten(name="flat")(h))
    model = k.Model(x, out, name="attention")
    rate = k.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    model.compile(k.optimizers.RMSprop(rate, centered=True), "mae")
    return model


def functions() -> Any:
    """Functions of TensorFlow on tensors, which become layers of their own kind."""
    x, y = k.Input((4, 6), name="x"), k.Input((4, 6), name="y")
    picture = k.Input((4, 4, 1), name="picture")
    outputs = [
        1 - x,
        x / 2,
        (x + y) * 3,
        tf.abs(x) ** 2,
        -x,
        x @ tf.transpose(y, [0, 2, 1]),
        x[:, 0],
        x[..., 1:3],
        x[:, tf.newaxis],
        tf.concat([x, y], -1),
        tf.stack([x, y], 1),
        tf.reduce_mean(x, axis=1, keepdims=True),
        tf.reduce_sum(x, -1),
        tf.reduce_max(x, axis=[1, 2]),
        tf.nn.softmax(x, axis=-1),
        tf.sigmoid(x),
        tf.nn.relu6(x),
        tf.nn.gelu(x),
        tf.nn.leaky_relu(x, 0.1),
        tf.cast(x, tf.float16),
        tf.squeeze(tf.expand_dims(x, 1), 1),
        tf.clip_by_value(x, -1.0, 1.0),
        tf.maximum(x, y),
        tf.math.exp(x),
        tf.square(x),
        tf.one_hot(tf.cast(x, tf.int32), 3),
        tf.nn.l2_normalize(x, -1),
        tf.image.resize(picture, (2, 2)),
        tf.split(x, 2, axis=1)[1],
        tf.tile(x, [1, 2, 1]),
        tf.pad(x, [[0, 0], [1, 1], [0, 0]]),
        tf.gather(x, [0, 1], axis=1),
        tf.where(x > 0, x, y),
        tf.nn.bias_add(x, [1.0] * 6),
        k.backend.mean(x, axis=1),
        k.activations.relu(x),
    ]
    return k.Model([x, y, picture], outputs, name="functions")


MODELS: tuple[Callable[[], Any], ...] = (
    classifier,
    words,
    heads,
    attention,
    functions,
)


def draw(rng: np.random.Generator, tensor: Any) -> np.ndarray:
    shape = (ROWS, *tensor.shape[1:])
    if tensor.dtype.is_integer:
        return rng.integers(0, 9, shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def main() -> None:
    for make in MODELS:
        k.utils.set_random_seed(1)
        model = make()
        rng = np.random.default_rng(0)
        inputs = [draw(rng, tensor) for tensor in model.inputs]
        targets = [draw(rng, tensor) for tensor in model.outputs if model.optimizer]
        if make is classifier:
            targets = [rng.integers(0, 3, ROWS).astype("int32")]
        x, y = (part[0] if len(part) == 1 else part for part in (inputs, targets))
        step = model.train_on_batch if model.optimizer else lambda x, y: None
        step(x, y), step(x, y)
        model.save(FOLDER / f"{make.__name__}.h5")
        arrays = {f"x{i}": array for i, array in enumerate(inputs)}
        arrays |= {f"y{i}": array for i, array in enumerate(targets)}
        for letter in "pq" if model.optimizer else "p":
            outputs = model(x)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            arrays |= {f"{letter}{i}": np.asarray(o) for i, o in enumerate(outputs)}
            step(x, y)
        np.savez_compressed(FOLDER / f"{make.__name__}.npz", **arrays)


if __name__ == "__main__":
    main()
