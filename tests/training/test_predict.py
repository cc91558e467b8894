"""kerasnb.training.predict and rows: what is compiled, shared, padded, and what not."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers, ops
from kerasnb.training import loop, sweep
from kerasnb.training.loop import compile_once
from kerasnb.training.rows import stay_apart

# --- Rows that hear of one another ----------------------------------------------------

X = np.random.default_rng(0).random((6, 4, 4, 3), "float32")
V = X[:, 0, 0]
TABLE = jnp.ones((9, 5))

APART = {
    "dense": lambda x: jnp.tanh(x @ jnp.ones((3, 2)) + 1),
    "flat": lambda x: x.reshape(x.shape[0], -1),
    "softmax": jax.nn.softmax,
    "row numbers": lambda x: x + jnp.arange(x.shape[0])[:, None, None, None],
    "time major": lambda x: jax.lax.scan(
        lambda c, t: (c + t, c), x[:, 0], jnp.moveaxis(x, 1, 0)
    )[0],
    "embedding": lambda x: TABLE[jnp.int32(x * 3)],
    "along features": lambda x: jnp.sort(x, -1) + jnp.cumsum(x, 1),
    "same place": lambda x: x[:, 1, ::2] + x[:, 2, 1:3],
    "own place": lambda x: jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1),
    "pool": lambda x: jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    ),
    "conditional": lambda x: jax.lax.cond(True, jnp.sin, jnp.cos, x),
    "attention": lambda x: jax.nn.dot_product_attention(x, x, x),
    "jitted": lambda x: jax.jit(jax.nn.gelu)(x),
}
MIXED = {
    "batch mean": lambda x: x - x.mean(0),
    "size": lambda x: x / x.shape[0],
    "backwards": lambda x: x[::-1],
    "first row": lambda x: x + x[0],
    "shifted": lambda x: jnp.roll(x, 1, 0),
    "sorted": lambda x: jnp.sort(x, 0),
    "running sum": lambda x: jnp.cumsum(x, 0),
    "rows with rows": lambda x: x[:, 0, 0] @ x[:, 0, 0].T,
    "one for all": lambda x: x.sum(0),
    "rows as steps": lambda x: jax.lax.scan(lambda c, t: (c + t, c), x[0] * 0, x)[1],
    "turned": lambda x: jnp.moveaxis(x, 0, 1),
    "split rows": lambda x: x.reshape(-1, 3),
    "other row": lambda x: x[jnp.argsort(x[:, 0, 0, 0])],
    "first rows": lambda x: x[:2],
    "random": lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
    "callback": lambda x: jax.pure_callback(lambda x: x, x, x),
    "asks for the number": lambda x: x * float(x.shape[0] + 0.5),
    "batch in the kernel": lambda x: jnp.einsum("bijk,bijl->kl", x, x) @ x,
}


@pytest.mark.parametrize("name", APART)
def test_rows_that_stay_apart_are_seen_to(name):
    fn = APART[name]
    assert stay_apart(fn, X)
    # What that claims: rows of a longer batch are those of the short one.
    longer = np.concatenate([X, X[:3]])
    np.testing.assert_allclose(fn(longer)[:6], fn(X), atol=1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_mix_are_not_taken_for_separate(name):
    assert not stay_apart(MIXED[name], X)


# --- Models ---------------------------------------------------------------------------


def mlp(k):
    return k.Sequential(
        [
            k.Input((3,)),
            k.layers.Dense(4, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.Dropout(0.5),
            k.layers.Dense(2),
        ]
    )


def branched(k):
    """Two inputs, a dict of outputs, a mask on the way."""
    words, numbers = k.Input((5,), dtype="int32", name="w"), k.Input((3,), name="n")
    h = k.layers.Embedding(9, 4, mask_zero=True)(words)
    h = k.layers.LSTM(3)(h)
    both = k.layers.Concatenate()([h, numbers])
    return k.Model(
        {"w": words, "n": numbers}, {"a": k.layers.Dense(2)(both), "b": [both]}
    )


def attentive(k):
    x = k.Input((5, 4))
    h = k.layers.MultiHeadAttention(2, 3)(x, x)
    h = k.layers.LayerNormalization()(k.ops.add(h, x))
    return k.Model(x, k.layers.TimeDistributed(k.layers.Dense(2))(h))


def convolutional(k):
    return k.Sequential(
        [
            k.Input((8, 8, 2)),
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.MaxPooling2D(2),
            k.layers.Conv2DTranspose(2, 3, padding="same"),
            k.layers.GlobalAveragePooling2D(),
            k.layers.Dense(3, activation="softmax"),
        ]
    )


MODELS = [mlp, branched, attentive, convolutional]


def data_for(model, rows):
    rng = np.random.default_rng(rows)
    if isinstance(model.input, dict):
        return {
            "w": rng.integers(0, 9, (rows, 5)).astype("int32"),
            "n": rng.random((rows, 3), "float32"),
        }
    return rng.random((rows, *model.input_shape[1:]), "float32")


def pair(make):
    ours, theirs = make(kerasnb), make(keras)
    ours.set_weights([np.asarray(w.value) for w in theirs.weights])
    return ours, theirs


def programs(model):
    """How many rows those programs take that `predict` has compiled."""
    forward = model._programs["forward"][1]
    return [sorted(sizes) for sizes in forward._sizes.values()]


@pytest.mark.parametrize("make", MODELS)
def test_predict_pads_and_says_what_keras_says(make):
    ours, theirs = pair(make)
    for rows, batch_size in ((70, 32), (1, None), (33, 64), (7, 32), (5, 4), (70, 4)):
        x = data_for(ours, rows)
        found = ours.predict(x, batch_size=batch_size, verbose=0)
        wanted = theirs.predict(x, batch_size=batch_size or 32, verbose=0)
        assert jax.tree.structure(found) == jax.tree.structure(wanted)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert isinstance(a, np.ndarray) and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert programs(ours) == [[1, 8, 32, 64]]
    for rows in range(9, 16):  # seven more sizes and one more program
        ours.predict(data_for(ours, rows), verbose=0)
    assert programs(ours) == [[1, 8, 16, 32, 64]]


def test_rows_that_mix_keep_their_exact_size():
    x = kerasnb.Input((3,))
    model = kerasnb.Model(x, ops.subtract(x, ops.mean(x, axis=0, keepdims=True)))
    for rows in (4, 3):
        found = model.predict(V[:rows], verbose=0)
        np.testing.assert_allclose(found, V[:rows] - V[:rows].mean(0), atol=1e-6)
    assert programs(model) == [[3, 4]]


@pytest.mark.parametrize("mix", [False, True])
def test_many_batches_are_few_calls_and_the_same(mix, monkeypatch):
    calls = []

    def counted(lowered):
        program = compile_once(lowered)
        return lambda *args: (calls.append(args[3:]), program(*args))[1]

    monkeypatch.setattr(sweep, "compile_once", counted)
    monkeypatch.setattr(sweep, "BYTES", 100 * 4 * (3 + 3) * 4)  # blocks of 100 batches
    monkeypatch.setattr(loop, "TICK", 1e9)  # however slow the machine
    x = kerasnb.Input((3,))
    mean = ops.mean(x, axis=0, keepdims=True) if mix else 2.0
    model = kerasnb.Model(x, {"out": ops.subtract(x, mean)})
    rows = np.random.default_rng(0).random((601, 3), "float32")
    parts = [rows[i : i + 4] for i in range(0, 601, 4)]
    wanted = np.concatenate([p - (p.mean(0) if mix else 2.0) for p in parts])
    for given in (rows, jnp.asarray(rows)):
        found = model.predict(given, batch_size=4, verbose=0)["out"]
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    # Calls grow with the pace; the odd batch is among them if it may be filled up.
    assert [(int(lo), int(hi)) for lo, hi in calls[:3]] == [(0, 4), (4, 36), (36, 100)]
    assert len(calls) == 6 and int(calls[3][1]) == (50 if mix else 51)
    assert (programs(model) == [[1]]) == mix


def test_outputs_are_arrays_of_their_own():
    x = kerasnb.Input((3,))
    model = kerasnb.Model(x, layers.Dense(2)(x))
    pair = kerasnb.Model(x, [layers.Dense(2)(x), layers.Identity()(x)])
    for rows in (1, 1, 4, 3, 32, 33, 300, 301):  # one call, padded ones, many, swept
        given = np.ones((rows, 3), "float32")
        found = [model.predict(given, verbose=0), *pair.predict(given, verbose=0)]
        if rows < 32:
            found.append(model.predict_on_batch(given))
            found += pair.predict_on_batch(given)
        for out in found:
            assert out.flags.writeable and out.flags.owndata and len(out) == rows
            out[:] = -1
        assert (given == 1).all()
        assert (model.predict(given, verbose=0) != -1).all()


def test_arrays_of_jax_are_cut_without_a_program_for_every_length():
    x = kerasnb.Input((3,))
    model = kerasnb.Model(x, 2 * x)
    model.predict(jnp.ones((300, 3)), verbose=0)
    given = [jnp.ones((rows, 3)) for rows in (301, 319)]
    compiled = []

    def listen(event, *args, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for array in given:
            assert (model.predict(array, verbose=0) == 2).all()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


def test_programs_for_sizes_of_batches_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(sweep, "KEPT", 3)
    x = kerasnb.Input((3,))
    model = kerasnb.Model(x, 2 * x)
    for size in range(1, 9):
        out = model.predict(np.ones((100, 3)), batch_size=size, verbose=0)
        assert (out == 2).all()
    (found,) = (p[0] for k, p in model._programs.items() if k[0].startswith("predict"))
    assert len(found._sweep._known) == 3


said = []


def told(x):
    said.append(x)
    return x


class Loud(layers.Layer):
    """Notes its calls, which a compiled call would not."""

    def call(self, x):
        return 2 * told(x)


def test_unknown_layers_keep_the_exact_size():
    model = kerasnb.Sequential([kerasnb.Input((3,)), Loud()])
    for rows in (4, 3):
        assert model.predict(V[:rows], verbose=0).shape == (rows, 3)
    assert programs(model) == [[3, 4]]


def test_a_model_like_another_shares_its_program(monkeypatch):
    monkeypatch.setattr(loop, "_EXECUTABLES", {})
    first = mlp(kerasnb)
    other = kerasnb.models.clone_model(first)
    x = V[:4]
    assert not np.allclose(first.predict(x, verbose=0), other.predict(x, verbose=0))
    assert len(loop._EXECUTABLES) == 1


def test_predict_sees_new_weights_layers_and_formats():
    model = mlp(kerasnb)
    x = V[:2]
    before = model.predict(x, verbose=0)
    model.predict(x, verbose=0)
    model.layers[-1].bias.assign([1.0, 2.0])
    moved = before + np.array([1.0, 2.0], "float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), moved, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(x.astype("float64"), verbose=0), moved, atol=1e-6
    )
    model.pop()
    assert model.predict(x, verbose=0).shape == (2, 4)
    model.add(layers.Dense(5))
    assert model.predict(x, verbose=0).shape == (2, 5)
    with jax.default_matmul_precision("float32"):
        assert model.predict(x, verbose=0).shape == (2, 5)


@pytest.mark.parametrize("library", [kerasnb, keras])
def test_callbacks_see_every_batch(library):
    seen = []

    class Watch(library.callbacks.Callback):
        def on_predict_begin(self, logs=None):
            seen.append("begin")

        def on_predict_batch_begin(self, batch, logs=None):
            seen.append(batch)

        def on_predict_batch_end(self, batch, logs=None):
            seen.append(np.asarray(logs["outputs"]).shape)

        def on_predict_end(self, logs=None):
            seen.append("end")

    mlp(library).predict(V[:5], batch_size=4, verbose=0, callbacks=[Watch()])
    assert seen == ["begin", 0, (4, 2), 1, (1, 2), "end"]


def test_a_callback_may_change_the_weights_between_batches():
    model = kerasnb.Sequential([kerasnb.Input((3,)), layers.Dense(1)])

    def clear(batch, logs):
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])

    watch = kerasnb.callbacks.Callback()
    watch.on_predict_batch_end = clear
    found = model.predict(V, batch_size=3, verbose=0, callbacks=[watch])
    assert found[:3].any() and not found[3:].any()


# --- model(x) -------------------------------------------------------------------------


def compiled(model):
    calls = model._calls
    return [call for call in calls._found.values() if call] if calls else []


@pytest.mark.parametrize("make", MODELS)
def test_a_call_that_comes_again_is_compiled_and_the_same(make):
    ours, theirs = pair(make)
    x = data_for(ours, 3)
    wanted = theirs(x)
    for count in (0, 1, 1):
        found = ours(x)
        assert len(compiled(ours)) == count
        assert jax.tree.structure(found) == jax.tree.structure(wanted)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert isinstance(a, jax.Array)
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_compiled_calls_move_statistics_and_seeds_as_python_does():
    one, other = mlp(kerasnb), mlp(kerasnb)
    one.set_weights(other.get_weights())
    for model in (one, other):
        model.layers[2].seed_generator.state.assign([1, 2])
    one.compiled_calls = False
    for _ in range(4):
        np.testing.assert_allclose(
            one(V, training=True), other(V, training=True), atol=1e-5
        )
    assert compiled(other) and not compiled(one)
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_masks_come_out_of_a_compiled_call():
    x = kerasnb.Input((3,), dtype="int32")
    model = kerasnb.Model(x, layers.Embedding(4, 2, mask_zero=True)(x))
    words = np.array([[1, 0, 2]])
    masks = [kerasnb.core.masks.get_mask(model(words)) for _ in range(3)]
    assert compiled(model)
    assert [m.tolist() for m in masks] == [[[True, False, True]]] * 3


@pytest.mark.parametrize(
    "layer",
    [
        Loud,
        lambda: layers.Lambda(lambda x: told(x)),
        lambda: layers.Dense(3, activation=told),
    ],
)
def test_a_users_function_is_called_each_time(layer):
    model = kerasnb.Sequential([kerasnb.Input((3,)), layer()])
    said.clear()
    for i in range(1, 4):
        model(V)
        assert len(said) == i


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.ActivityRegularization(l2=1.0),
        lambda: layers.Dense(3, activity_regularizer="l2"),
    ],
)
def test_a_call_leaves_its_losses_behind(layer):
    model = kerasnb.Sequential([kerasnb.Input((3,)), layer()])
    found = []
    for factor in (1, 2, 3, 4):
        model(V * factor)
        found.append(*model.losses)
    np.testing.assert_allclose(found, [found[0] * i for i in (1, 4, 9, 16)], rtol=1e-5)


def test_a_layer_may_say_that_it_can_be_compiled():
    model = kerasnb.Sequential([kerasnb.Input((3,)), Loud()])
    model.layers[0].compiled_calls = True
    said.clear()
    for _ in range(5):
        model(V)
    assert len(said) == 2 and compiled(model)


@pytest.mark.parametrize("how", ["run_eagerly", "jit_compile"])
def test_a_model_that_is_not_to_be_compiled_is_not(how):
    model = mlp(kerasnb)
    model.compile("sgd", "mse", **{how: how == "run_eagerly"})
    for _ in range(3):
        model(V)
    assert not compiled(model)


def test_transformations_go_through_a_compiled_model():
    model = mlp(kerasnb)
    for _ in range(3):
        outputs = model(V)
    assert compiled(model)
    np.testing.assert_allclose(jax.jit(model)(V), outputs, atol=1e-6)
    kernel = model.layers[0].kernel

    def loss(value):
        with kerasnb.StatelessScope([(kernel, value)]):
            return model(V).sum()

    assert float(jnp.abs(jax.grad(loss)(kernel.value)).sum()) > 0
    assert model(kerasnb.Input((3,))).shape == (None, 2)
    rows = jax.vmap(lambda row: model(row[None])[0])(jnp.asarray(V))
    np.testing.assert_allclose(rows, outputs, atol=1e-5)


def test_setting_anything_on_a_layer_is_seen():
    model = mlp(kerasnb)
    for _ in range(3):
        model(V)
    model.layers[0].activation = kerasnb.activations.tanh
    twin = mlp(kerasnb)
    twin.layers[0].activation = kerasnb.activations.tanh
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(model(V), twin(V), atol=1e-6)


def test_a_wrong_shape_is_explained_as_before():
    model = mlp(kerasnb)
    for _ in range(2):
        with pytest.raises(ValueError, match="expects inputs of shape"):
            model(np.ones((2, 5), "float32"))


# --- What is remembered of the layers -------------------------------------------------


class Growing(kerasnb.Model):
    """Keeps layers in a list, which may grow."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(3)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_a_list_of_layers_may_grow():
    model = Growing()
    model(V)
    assert len(model.weights) == 2
    model.blocks.append(layers.Dense(2))
    assert model(V).shape == (6, 2)
    assert len(model.weights) == 4 and len(model._flatten_layers()) == 3
    assert model.predict(V, verbose=0).shape == (6, 2)


def test_weights_added_later_are_found():
    model = mlp(kerasnb)
    count = len(model.weights)
    model.layers[0].add_weight((2,), name="extra")
    assert len(model.weights) == count + 1
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == count + 1 - 5
