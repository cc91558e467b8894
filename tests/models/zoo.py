"""Models that both libraries can build: each function takes one of them as `k`."""

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np

import kerasnb
from kerasnb.core.naming import reset_names
from kerasnb.layers.layer import call_facts

LIBRARIES = (kerasnb, keras)


def chain(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((3,), name="x"),
            k.layers.Dense(4, activation="relu", name="hidden"),
            k.layers.BatchNormalization(name="norm"),
            k.layers.Dropout(0.5, name="drop"),
            k.layers.Dense(2, kernel_regularizer="l2", name="out"),
        ],
        name="chain",
    )


def pictures(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((6, 6, 1), name="x"),
            k.layers.Rescaling(1 / 255, name="scale"),
            k.layers.Conv2D(3, 3, padding="same", activation="relu", name="conv"),
            k.layers.MaxPooling2D(name="pool"),
            k.layers.Flatten(name="flat"),
            k.layers.Dense(2, activation="softmax", name="out"),
        ],
        name="pictures",
    )


def words(k: Any) -> Any:
    lstm = k.layers.LSTM(3, name="lstm")
    return k.Sequential(
        [
            k.Input((5,), dtype="int32", name="x"),
            k.layers.Embedding(9, 4, mask_zero=True, name="table"),
            k.layers.Bidirectional(lstm, name="both"),
            k.layers.Dense(2, name="out"),
        ],
        name="words",
    )


def lists(k: Any) -> Any:
    """Two inputs and two outputs, in lists."""
    a, b = k.Input((4,), name="a"), k.Input((5,), name="b")
    left = k.layers.Dense(3, name="left")(a)
    both = k.layers.Add(name="both")([left, k.layers.Dense(3, name="right")(b)])
    out = k.layers.Dense(1, name="sum_out")(both)
    return k.Model(
        [a, b], [out, k.layers.Dense(2, name="left_out")(left)], name="lists"
    )


def dicts(k: Any) -> Any:
    """Inputs and outputs in dicts whose keys are not in alphabetic order."""
    inputs = {"z": k.Input((4,), name="z"), "a": k.Input((5,), name="a")}
    joined = k.layers.Concatenate(name="join")([inputs["z"], inputs["a"]])
    outputs = {
        "q": k.layers.Dense(1, name="q")(joined),
        "b": k.layers.Dense(2, name="bb")(joined),
    }
    return k.Model(inputs, outputs, name="dicts")


def shared(k: Any) -> Any:
    """One layer called three times."""
    x = k.Input((4,), name="x")
    dense = k.layers.Dense(4, name="dense")
    twice = dense(dense(x))
    return k.Model(x, [twice, dense(k.layers.ReLU(name="relu")(twice))], name="shared")


def nested(k: Any) -> Any:
    """Models in a model, called twice, one of them an output itself."""
    encoder = k.Sequential(
        [k.Input((4,), name="ex"), k.layers.Dense(3, name="e1")], name="encoder"
    )
    hx = k.Input((3,), name="hx")
    head = k.Model(hx, k.layers.Dense(2, name="h1")(hx), name="head")
    x = k.Input((4,), name="x")
    code = encoder(x)
    return k.Model(x, [head(code), head(encoder(code[:, :1] * x)), code], name="nested")


def dead_ends(k: Any) -> Any:
    """An input that leads nowhere, and a layer that no output needs."""
    x, unused = k.Input((4,), name="x"), k.Input((2,), name="unused")
    k.layers.Dense(9, name="forgotten")(x)
    return k.Model([x, unused], k.layers.Dense(1, name="out")(x), name="dead_ends")


def from_the_middle(k: Any) -> Any:
    x = k.Input((4,), name="x")
    hidden = k.layers.Dense(3, name="hidden")(x)
    out = k.layers.Dense(2, name="out")(hidden)
    return k.Model(hidden, out, name="from_the_middle")


def operations(k: Any) -> Any:
    """Single operations of many kinds between placeholders and constants."""
    o, x, y = k.ops, k.Input((4, 6), name="x"), k.Input((4, 6), name="y")
    outputs = [
        o.sum(o.concatenate([x * 2, 2 - x], axis=-1), axis=-1, keepdims=True),
        x[:, 0],
        x[..., 1:3] / 3,
        o.reshape(x, (-1, 24)),
        o.where(x > 0, x, 0.0),
        o.einsum("bij,bkj->bik", x, y),
        o.split(x, 2, axis=1)[1],
        abs(-x) ** 2,
        o.max(x, axis=(1, 2)),
        o.one_hot(o.cast(x, "int32"), 3, dtype="float32"),
        o.take(x, np.array([0, 1]), axis=1),
        o.clip(x, -1, 1),
        o.top_k(x, 2)[0],
        x @ o.transpose(y, (0, 2, 1)),
        x + np.ones((6,), "float32"),
        o.stack([x, y]),
        o.relu(x),
        o.softmax(x, axis=1),
        k.activations.softmax(x),
        k.activations.gelu(x),
        o.full_like(x, 3),
        o.logical_not(x > 0),
        o.expand_dims(x, 1),
        o.repeat(x, 2, axis=1),
        o.minimum(x, 1.0) // 2,
    ]
    return k.Model([x, y], outputs, name="operations")


def conversation(k: Any) -> Any:
    """States handed from one layer to another, in keywords."""
    x, y = k.Input((5, 3), name="x"), k.Input((4, 3), name="y")
    out, *states = k.layers.LSTM(2, return_state=True, name="listens")(x)
    speaks = k.layers.LSTM(2, return_sequences=True, name="speaks")
    said = speaks(y, initial_state=states)
    return k.Model([x, y], [said, out], name="conversation")


def masked(k: Any) -> Any:
    x = k.Input((5,), dtype="int32", name="x")
    vectors = k.layers.Embedding(9, 3, mask_zero=True, name="table")(x)
    return k.Model(x, k.layers.GRU(2, name="gru")(vectors), name="masked")


def structures(k: Any) -> Any:
    """Lists in dicts, for inputs and outputs."""
    pair = [k.Input((2,), name="b"), k.Input((1,), name="c")]
    inputs = {"z": k.Input((3,), name="z"), "pair": pair}
    joined = k.layers.Concatenate(name="join")([inputs["z"], *pair])
    return k.Model(inputs, {"one": [joined, (joined * 2,)]}, name="structures")


def two_heads(k: Any) -> Any:
    """A model with two outputs in a model, and a layer told how it is called."""
    x = k.Input((3,), name="x")
    heads = [k.layers.Dense(2, name="p")(x), k.layers.Dense(1, name="q")(x)]
    inner = k.Model(x, heads, name="inner")
    y = k.Input((3,), name="y")
    frozen = k.layers.BatchNormalization(name="norm")(y, training=False)
    p, q = inner(frozen)
    return k.Model(y, [q, p], name="outer")


ZOO: tuple[Callable[[Any], Any], ...] = (
    chain,
    pictures,
    words,
    lists,
    dicts,
    shared,
    nested,
    dead_ends,
    from_the_middle,
    operations,
)
# More of them, for files only: each costs some seconds of Keras.
STRANGER: tuple[Callable[[Any], Any], ...] = (
    conversation,
    masked,
    structures,
    two_heads,
)


def build(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The model of both libraries, ours first, with names counted from zero."""
    reset_names()
    keras.utils.clear_session(free_memory=False)
    return make(kerasnb), make(keras)


def data_for(model: Any, rows: int = 2) -> Any:
    """Random inputs in the structure that the model takes."""
    rng = np.random.default_rng(0)

    def draw(tensor: Any) -> np.ndarray:
        shape = [rows if d is None else d for d in tensor.shape]
        if "int" in tensor.dtype:
            return rng.integers(0, 9, shape).astype(tensor.dtype)
        return rng.normal(size=shape).astype(tensor.dtype)

    single = hasattr(model, "pop")  # Keras' Sequential has no `input`
    return jax.tree.map(draw, model.inputs[0] if single else model.input)


def outputs_of(model: Any, data: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model(data))]


def assert_same_outputs(one: Any, other: Any, data: Any, atol: float = 3e-6) -> None:
    pairs = zip(outputs_of(one, data), outputs_of(other, data), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=atol)


def plain(config: Any) -> Any:
    """A config as JSON has it, without what says nothing or is numbered at random."""
    if isinstance(config, dict):
        inner = {key: plain(v) for key, v in config.items() if key not in _NOISE}
        for call in inner.get("inbound_nodes", ()):
            _forget_default(inner["class_name"], call)
        return {key: value for key, value in inner.items() if value not in (None, {})}
    if isinstance(config, list | tuple):
        return [plain(item) for item in config]
    return config


def _forget_default(name: str, call: Any) -> None:
    """Keras notes the default of `training` as if it had been given."""
    layer = getattr(kerasnb.layers, name, None)
    if layer is not None and call.get("kwargs"):
        default = call_facts(layer).training_default
        if default is not None and call["kwargs"].get("training") is default:
            del call["kwargs"]["training"]
            if not call["kwargs"]:
                del call["kwargs"]


# Keras gives no name to built-in classes but to this one; and notes the input shapes of
# layers that have nothing to build.
_NOISE = ("shared_object_id", "registered_name", "build_config")
