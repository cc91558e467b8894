"""kerasnb.training: fit, evaluate, predict and single batches"""

import jax
import jax.numpy as jnp
import keras as real
import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 8)).astype("float32")
Y = RNG.integers(0, 3, 50).astype("int32")


def stack(k, dropout=0.5, norm=True):
    """The same chain in kerasnb (`k=keras`) and in the released Keras (`k=real`)."""
    chain = [k.Input((8,)), k.layers.Dense(16, activation="relu")]
    if norm:
        chain.append(k.layers.BatchNormalization())
    if dropout:
        chain.append(k.layers.Dropout(dropout))
    chain.append(k.layers.Dense(3, activation="softmax"))
    model = k.Sequential(chain)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def values_of(model):
    trained = [np.asarray(v.value) for v in model.variables]
    return trained + [np.asarray(v.value) for v in model.optimizer.variables]


def assert_close(ours, theirs, atol=1e-5):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-4)


def test_a_whole_training_run_is_that_of_keras():
    histories, results = [], []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        model = stack(k)
        history = model.fit(
            X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0,
            validation_data=(X[:20], Y[:20]),
        )  # fmt: skip
        histories.append(history.history)
        results.append(values_of(model))
    ours, theirs = histories
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-4, err_msg=name)
    assert_close(*results)


@pytest.mark.parametrize("rows", [48, 50, 5])
def test_the_compiled_loop_equals_single_steps(rows):
    keras.utils.set_random_seed(3)
    fitted = stack(keras)
    start = [np.array(v.value) for v in fitted.variables]
    stepped = stack(keras)
    for v, value in zip(stepped.variables, start, strict=True):
        v.assign(value)
    fitted.fit(X[:rows], Y[:rows], 16, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for at in range(0, rows, 16):
            stepped.train_on_batch(
                X[at : min(at + 16, rows)], Y[at : min(at + 16, rows)]
            )
    assert_close(values_of(fitted), values_of(stepped), atol=1e-6)


def test_the_compiled_loop_equals_eager_steps():
    results = []
    for eager in (False, True):
        keras.utils.set_random_seed(3)
        model = stack(keras)
        model.run_eagerly = eager
        model.fit(X, Y, 16, epochs=1, shuffle=False, verbose=0)
        results.append(values_of(model))
    assert_close(*results)


def compilations_of(model):
    return {
        key[0]: program.compilations
        for key, program in model._programs.items()
        if isinstance(program, loop.Program)
    }


@pytest.mark.parametrize(("arrays", "programs"), [(64, 1), (0, 2)])
def test_one_program_serves_every_epoch_and_one_more_the_odd_batch(
    monkeypatch, arrays, programs
):
    monkeypatch.setattr(loop, "SHORT", arrays)  # both in one, where that is quick
    model = stack(keras)
    model.fit(X, Y, 16, epochs=3, verbose=0, validation_split=0.2)
    model.fit(X[:40], Y[:40], 16, epochs=2, verbose=0)
    assert compilations_of(model) == {"train": programs, "test": 1}


def test_the_learning_rate_changes_without_a_new_program():
    model = stack(keras)
    model.fit(X, Y, 25, verbose=0)
    before = compilations_of(model)
    model.optimizer.learning_rate = 0.0
    weights = [np.array(v.value) for v in model.trainable_variables]
    model.fit(X, Y, 25, verbose=0)
    assert compilations_of(model) == before
    assert_close([v.value for v in model.trainable_variables], weights, atol=0)


def test_callbacks_get_every_batch_with_its_own_logs():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_train_batch_end(self, batch, logs=None):
            seen.append(("end", batch, logs["loss"]))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(("epoch", epoch, logs["loss"]))

    keras.utils.set_random_seed(1)
    stack(keras).fit(X, Y, 16, epochs=2, shuffle=False, verbose=0, callbacks=[Watch()])
    ours, seen[:] = list(seen), []

    class RealWatch(real.callbacks.Callback):
        on_train_batch_begin = Watch.on_train_batch_begin
        on_train_batch_end = Watch.on_train_batch_end
        on_epoch_end = Watch.on_epoch_end

    real.utils.set_random_seed(1)
    stack(real).fit(
        X, Y, 16, epochs=2, shuffle=False, verbose=0, callbacks=[RealWatch()]
    )
    assert [e[:2] for e in ours] == [e[:2] for e in seen]
    losses = [[e[2] for e in events if len(e) > 2] for events in (ours, seen)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_callback_may_change_the_model_between_batches():
    class Freeze(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for v in self.model.trainable_variables:
                v.assign(np.zeros(v.shape))

    model = stack(keras, norm=False)
    model.fit(X, Y, 16, verbose=0, callbacks=[Freeze()])
    assert all(not np.any(v.value) for v in model.trainable_variables)


def test_a_callback_may_stop_the_training_at_a_batch():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = stack(keras)
    history = model.fit(X, Y, 10, epochs=5, verbose=0, callbacks=[Stop()])
    assert len(history.epoch) == 1
    assert int(model.optimizer.iterations.value) == 2


SAMPLE_WEIGHTS = np.linspace(0.1, 2, 50).astype("float32")


@pytest.mark.parametrize(
    ("weight", "class_weight"),
    [(None, None), (SAMPLE_WEIGHTS, None), (None, {0: 0.2, 1: 2.0})],
)
def test_weights_of_samples_and_classes_count_as_in_keras(weight, class_weight):
    logs = []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        model = stack(k, dropout=0)
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["accuracy"],
        )
        found = model.fit(
            X, Y, 16, epochs=2, shuffle=False, verbose=0, sample_weight=weight,
            class_weight=class_weight,
        )  # fmt: skip
        logs.append(found.history)
    assert set(logs[0]) == set(logs[1])
    for name in logs[1]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=2e-4)


def two_headed(k):
    a, b = k.Input((4,), name="left"), k.Input((4,), name="right")
    both = k.layers.Concatenate()([a, b])
    hidden = k.layers.Dense(5, activation="tanh", name="hidden")(both)
    first = k.layers.Dense(3, activation="softmax", name="kind")(hidden)
    second = k.layers.Dense(1, name="size")(hidden)
    return k.Model([a, b], [first, second])


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_inputs_and_outputs_train_as_in_keras(as_dict):
    x = [X[:, :4], X[:, 4:]]
    y = [Y, X[:, :1] * 2]
    loss = ["sparse_categorical_crossentropy", "mse"]
    metrics = [["accuracy"], ["mae"]]
    weights = [1.0, 0.3]
    if as_dict:
        x = {"left": x[0], "right": x[1]}
        y = {"kind": y[0], "size": y[1]}
        loss = {"kind": loss[0], "size": loss[1]}
        metrics = {"kind": ["accuracy"], "size": ["mae"]}
        weights = {"kind": 1.0, "size": 0.3}
    logs = []
    for k in (keras, real):
        k.utils.set_random_seed(2)
        model = two_headed(k)
        model.compile("adam", loss, loss_weights=weights, metrics=metrics)
        logs.append(model.fit(x, y, 16, epochs=2, shuffle=False, verbose=0).history)
        logs[-1]["evaluated"] = model.evaluate(x, y, verbose=0)
    assert set(logs[0]) == set(logs[1])
    for name in logs[1]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=3e-4)


def generator():
    while True:
        for at in range(0, 48, 16):
            yield X[at : at + 16], Y[at : at + 16]


@pytest.mark.parametrize("kind", ["generator", "list", "sequence"])
def test_batches_from_iterables_train_like_arrays(kind):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return X[i * 16 : i * 16 + 16], Y[i * 16 : i * 16 + 16]

    source = {
        "generator": generator,
        "list": lambda: Finite([(X[a : a + 16], Y[a : a + 16]) for a in (0, 16, 32)]),
        "sequence": Batches,
    }[kind]()
    keras.utils.set_random_seed(5)
    model = stack(keras)
    steps = 3 if kind == "generator" else None
    options = {"epochs": 2, "steps_per_epoch": steps, "shuffle": False, "verbose": 0}
    streamed = model.fit(source, **options)
    keras.utils.set_random_seed(5)
    other = stack(keras)
    whole = other.fit(X[:48], Y[:48], 16, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        streamed.history["loss"], whole.history["loss"], rtol=1e-5
    )
    assert_close(values_of(model), values_of(other), atol=1e-6)


class Finite:
    """An iterable that can be gone through again."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_batches_of_odd_sizes_are_each_a_step():
    sizes = [(0, 10), (10, 30), (30, 50)]
    source = Finite([(X[a:b], Y[a:b]) for a, b in sizes])
    keras.utils.set_random_seed(5)
    model = stack(keras)
    model.fit(source, verbose=0)
    keras.utils.set_random_seed(5)
    other = stack(keras)
    for a, b in sizes:
        other.train_on_batch(X[a:b], Y[a:b])
    assert_close(values_of(model), values_of(other), atol=1e-6)


def test_predict_is_the_model_on_every_row():
    model = stack(keras)
    expected = np.asarray(model(X))
    for batch_size in (7, 32, 64):
        np.testing.assert_allclose(
            model.predict(X, batch_size, verbose=0), expected, atol=1e-6
        )
    np.testing.assert_allclose(model.predict_on_batch(X), expected, atol=1e-6)


def test_evaluate_agrees_with_keras_and_with_test_on_batch():
    found = []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        model = stack(k)
        found.append(model.evaluate(X, Y, batch_size=16, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5)
    model = stack(keras)
    as_dict = model.evaluate(X, Y, verbose=0, return_dict=True, batch_size=50)
    model.reset_metrics()
    assert model.test_on_batch(X, Y) == [as_dict["loss"], as_dict["accuracy"]]


def test_evaluation_and_prediction_change_nothing():
    model = stack(keras)
    before = [np.array(v.value) for v in model.variables]
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model(X)
    assert_close([v.value for v in model.variables], before, atol=0)


def test_fit_goes_on_from_where_it_was():
    results = []
    for calls in (1, 2):
        keras.utils.set_random_seed(4)
        model = stack(keras)
        for _ in range(calls):
            model.fit(X, Y, 25, epochs=4 // calls, shuffle=False, verbose=0)
        results.append(values_of(model))
    assert_close(*results, atol=0)


def test_a_subclass_with_lazy_layers_trains():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(8, activation="relu")
            self.drop = layers.Dropout(0.2)
            self.out = layers.Dense(3, activation="softmax")

        def call(self, x, training=False):
            return self.out(self.drop(self.hidden(x), training=training))

    keras.utils.set_random_seed(0)
    model = Net()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    history = model.fit(X, Y, epochs=20, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert len(model.trainable_variables) == 4


def test_losses_added_by_layers_count():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * jnp.sum(jnp.abs(x)))
            return x

    inputs = keras.Input((8,))
    x = layers.Dense(4, kernel_regularizer="l2")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(Penalty()(x)))
    model.compile("sgd", "mse")
    found = model.evaluate(X, X[:, :1], batch_size=50, verbose=0)
    hidden = np.asarray(model.layers[1](X))
    error = np.mean((np.asarray(model(X)) - X[:, :1]) ** 2)
    l2 = 0.01 * np.sum(np.asarray(model.layers[1].kernel) ** 2)
    expected = error + 0.1 * np.abs(hidden).sum() + l2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_train_step_in_keras_form_for_jax_is_used():
    class Doubled(keras.Model):
        def train_step(self, state, data):
            logs, state = super().train_step(state, data)
            return {**logs, "twice": 2 * logs["loss"]}, state

    inputs = keras.Input((8,))
    model = Doubled(inputs, layers.Dense(3, activation="softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy")
    logs = model.fit(X, Y, verbose=0).history
    np.testing.assert_allclose(logs["twice"][0], 2 * logs["loss"][0], rtol=1e-6)


def test_frozen_layers_do_not_move():
    model = stack(keras, norm=False)
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    before = [np.array(v.value) for v in model.layers[0].weights]
    model.fit(X, Y, verbose=0)
    assert_close([v.value for v in model.layers[0].weights], before, atol=0)
    assert len(model.trainable_variables) == 2


def test_any_plain_function_is_a_loss_or_a_metric():
    def cubic(y_true, y_pred):
        return jnp.abs(y_true - y_pred) ** 3

    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", cubic, metrics=[cubic])
    loss, metric = model.evaluate(X, X[:, :1], verbose=0)
    np.testing.assert_allclose(loss, metric, rtol=1e-5)


def test_masks_reach_the_loss_and_the_metrics():
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]], "int32")
    targets = np.ones((2, 4, 1), "float32")
    logs = []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        inputs = k.Input((4,), dtype="int32")
        x = k.layers.Embedding(5, 3, mask_zero=True)(inputs)
        x = k.layers.LSTM(2, return_sequences=True)(x)
        model = k.Model(inputs, k.layers.Dense(1)(x))
        model.compile("sgd", "mse", metrics=["mae"])
        logs.append(model.evaluate(ids, targets, verbose=0))
    np.testing.assert_allclose(*logs, rtol=1e-5)


def test_chunks_grow_until_they_last_a_tick():
    pace = loop.Pace()
    for _ in range(10):
        steps = pace.steps(10**6)
        pace.learn(steps, steps * 1e-4)
    assert 500 <= pace.steps(10**6) <= 1500
    assert pace.steps(7) == 7


def test_mixed_precision_trains():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    x = layers.Dense(16, activation="relu", dtype="mixed_bfloat16")(inputs)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert {v.dtype for v in model.weights} == {"float32"}


def test_the_model_is_current_after_every_chunk():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.array(self.model.layers[0].kernel))
            assert not jax.tree.leaves(self.model.variables)[0].is_deleted()

    stack(keras).fit(X, Y, epochs=3, verbose=0, callbacks=[Look()])
    assert not np.allclose(seen[0], seen[1])
