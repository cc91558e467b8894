"""kerasnb.training beside Keras': whole runs from the same weights, without shuffling.

Histories, hooks and predictions agree to 1e-4: of one, or of the value where larger.
"""

import keras as real
import numpy as np
import pytest

import kerasnb as nb

# Keras' own conversion to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

RNG = np.random.default_rng(3)
ROWS = 44  # not a multiple of any batch size here
X = RNG.normal(size=(ROWS, 8)).astype("float32")
LABELS = RNG.integers(0, 3, ROWS).astype("int32")
NUMBERS = np.float32(X[:, :2] @ RNG.normal(size=(2, 1)))
WEIGHTS = np.float32(RNG.uniform(0.2, 2.0, ROWS))
PICTURES = RNG.normal(size=(ROWS, 8, 8, 2)).astype("float32")
WORDS = RNG.integers(1, 9, (ROWS, 6)).astype("int32")
for row, length in zip(WORDS, RNG.integers(2, 7, ROWS), strict=True):
    row[length:] = 0
TAGS = (WORDS % 4).astype("int32")


def close(ours, theirs, where=""):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=str(where))


def same_logs(ours, theirs, where=""):
    """The same names in the same order, with the same values."""
    assert list(ours) == list(theirs), where
    for name in theirs:
        close(ours[name], theirs[name], (where, name))


def same_nest(ours, theirs):
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same_nest(a, b)
        return
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    close(ours, theirs)


def twins(make):
    """A model in both libraries, with the same weights and names."""
    models = []
    for k in (nb, real):
        k.utils.clear_session()
        k.utils.set_random_seed(5)
        models.append(make(k))
    if models[0].built:
        models[1].set_weights(models[0].get_weights())
    return models


# --- Five models ----------------------------------------------------------------------


def mlp(k):
    model = k.Sequential(
        [
            k.Input((8,)),
            k.layers.Dense(16, "relu", kernel_regularizer="l2"),
            k.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(
        k.optimizers.RMSprop(0.01, momentum=0.5),
        k.losses.BinaryCrossentropy(label_smoothing=0.1),
        metrics=["accuracy", k.metrics.AUC(name="auc")],
        weighted_metrics=["mae", k.metrics.Precision(name="precision")],
    )
    data = X, np.float32(NUMBERS > 0)
    return model, data, {"sample_weight": WEIGHTS}


def cnn(k):
    model = k.Sequential(
        [
            k.Input((8, 8, 2)),
            k.layers.Conv2D(4, 3, padding="same", use_bias=False),
            k.layers.BatchNormalization(momentum=0.8),
            k.layers.Activation("relu"),
            k.layers.MaxPooling2D(),
            k.layers.Flatten(),
            k.layers.Dense(3),
        ]
    )
    model.compile(
        k.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        k.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", k.metrics.SparseTopKCategoricalAccuracy(2, name="top")],
    )
    return model, (PICTURES, LABELS), {}


def lstm(k):
    inputs = k.Input((6,), dtype="int32")
    x = k.layers.Embedding(9, 5, mask_zero=True)(inputs)
    x = k.layers.LSTM(7, return_sequences=True)(x)
    model = k.Model(inputs, k.layers.Dense(4, "softmax")(x))
    model.compile(
        k.optimizers.AdamW(0.01, clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", "sparse_categorical_crossentropy"],
    )
    return model, (WORDS, TAGS), {}


def several(k):
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    hidden = k.layers.Dense(6, "tanh")(k.layers.Concatenate()([left, right]))
    outputs = {
        "size": k.layers.Dense(1, name="size")(hidden),
        "kind": k.layers.Dense(3, "softmax", name="kind")(hidden),
    }
    model = k.Model({"left": left, "right": right}, outputs)
    model.compile(
        k.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        loss={"kind": "sparse_categorical_crossentropy", "size": "huber"},
        loss_weights={"kind": 0.5, "size": 2.0},
        metrics={"kind": ["accuracy"], "size": ["mae", "mse"]},
        weighted_metrics={"size": ["mse"], "kind": ["accuracy"]},
    )
    data = {"left": X[:, :4], "right": X[:, 4:]}, {"kind": LABELS, "size": NUMBERS}
    return model, data, {"sample_weight": {"kind": WEIGHTS, "size": WEIGHTS[::-1]}}


def transformer(k):
    inputs = k.Input((6,), dtype="int32")
    x = k.layers.Embedding(9, 8)(inputs)
    x = k.layers.LayerNormalization()(x + k.layers.MultiHeadAttention(2, 4)(x, x))
    x = k.layers.LayerNormalization()(x + k.layers.Dense(8, "gelu")(x))
    x = k.layers.GlobalAveragePooling1D()(x)
    model = k.Model(inputs, k.layers.Dense(4, "softmax")(x))
    rate = k.optimizers.schedules.CosineDecay(0.001, 20, 0.1, "", 0.02, 5)
    model.compile(
        k.optimizers.AdamW(rate, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9),
        k.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["categorical_accuracy", k.metrics.F1Score("macro", name="f1")],
    )
    return model, (WORDS, np.float32(np.eye(4)[TAGS[:, 0]])), {}


@pytest.mark.parity
@pytest.mark.parametrize("make", [mlp, several, cnn, lstm, transformer])
def test_five_models_train_evaluate_and_predict_as_in_keras(make):
    made = twins(lambda k: make(k)[0])
    _, (x, y), extra = make(nb)
    runs = []
    for model in made:
        history = model.fit(
            x, y, batch_size=8, epochs=3, shuffle=False, verbose=0,
            validation_data=(x, y), validation_batch_size=10, **extra,
        )  # fmt: skip
        runs.append(
            (
                history.history,
                model.evaluate(
                    x, y, batch_size=7, verbose=0, return_dict=True, **extra
                ),
                model.evaluate(x, y, verbose=0),
                model.predict(x, batch_size=9, verbose=0),
            )
        )
    (ours, mine, mine_listed, p), (theirs, wanted, wanted_listed, q) = runs
    if make is lstm:  # Keras loses the mask between the gradient and the metrics
        for history in (ours, theirs):
            del history["accuracy"], history["sparse_categorical_crossentropy"]
    same_logs(ours, theirs)
    same_logs(mine, wanted)
    close(mine_listed, wanted_listed)
    same_nest(p, q)
    assert ours["loss"][-1] < ours["loss"][0]
    for a, b in zip(made[0].get_weights(), made[1].get_weights(), strict=True):
        close(a, b)


# --- What fit and compile are told ----------------------------------------------------

HOOKS = [n for n in dir(real.callbacks.Callback) if n.startswith("on_")]
HOOKS = [n for n in HOOKS if n not in ("on_batch_begin", "on_batch_end")]


def recorder(k, calls):
    """A callback that notes every call and its logs."""

    def note(name):
        def hook(self, *args, logs=None):
            *where, logs = (*args, logs) if logs is not None else args or (None,)
            calls.append((name, *where, dict(logs or {})))

        return hook

    return type("Recorder", (k.callbacks.Callback,), {n: note(n) for n in HOOKS})()


def same_calls(ours, theirs):
    assert [c[:-1] for c in ours] == [c[:-1] for c in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if "predict" not in a[0]:
            same_logs(a[-1], b[-1], a[:-1])


def small(k, **compile):
    model = k.Sequential(
        [k.Input((8,)), k.layers.Dense(6, "tanh"), k.layers.Dense(3, "softmax")]
    )
    settings = {
        "optimizer": "adam",
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    }
    model.compile(**(settings | compile))
    return model


TOGETHER = X, LABELS
FIT = {
    "validation_split": {"validation_split": 0.3},
    "validation_split, weights": {"validation_split": 0.3, "sample_weight": WEIGHTS},
    "validation_freq": {
        "validation_data": TOGETHER, "validation_freq": 2, "epochs": 4,
    },
    "validation epochs": {
        "validation_data": TOGETHER, "validation_freq": [1, 4], "epochs": 4,
    },
    "validation_steps": {
        "validation_data": TOGETHER, "validation_steps": 2, "validation_batch_size": 5,
    },
    "validation weights": {"validation_data": (X, LABELS, WEIGHTS)},
    "class_weight": {"class_weight": {0: 0.5, 1: 2.0, 2: 1.5}},
    "class_weight, some": {"class_weight": {1: 2.0}, "validation_split": 0.2},
    "initial_epoch": {"initial_epoch": 2, "epochs": 4},
    "steps_per_epoch": {"steps_per_epoch": 2, "epochs": 2},
    "batch_size": {"batch_size": 100},
    "one at a time": {"batch_size": 1, "epochs": 1},
}  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("options", FIT.values(), ids=FIT)
def test_options_of_fit_mean_what_they_mean_in_keras(options):
    settings = {"batch_size": 10, "epochs": 2, "shuffle": False, "verbose": 0}
    histories, calls = [], ([], [])
    for model, k, seen in zip(twins(small), (nb, real), calls, strict=True):
        watch = recorder(k, seen)
        found = model.fit(X, LABELS, **(settings | options | {"callbacks": [watch]}))
        histories.append((found.history, found.epoch, found.params))
    same_logs(histories[0][0], histories[1][0])
    assert histories[0][1:] == histories[1][1:]
    same_calls(*calls)


COMPILE = {
    "eager": lambda k: {"run_eagerly": True},
    "no jit": lambda k: {"jit_compile": False},
    "steps_per_execution": lambda k: {"steps_per_execution": 5},
    "one metric twice": lambda k: {"metrics": ["accuracy", "acc"]},
    "objects and names": lambda k: {
        "optimizer": "SGD",
        "metrics": [
            k.metrics.SparseCategoricalAccuracy(),
            "sparse_categorical_crossentropy",
            k.metrics.sparse_categorical_accuracy,
        ],
    },
    "weighted": lambda k: {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]},
    "weighted only": lambda k: {"metrics": None, "weighted_metrics": ["accuracy"]},
    "no metrics": lambda k: {"metrics": None},
    "an own loss": lambda k: {
        "loss": lambda y, p: k.ops.sum(p, axis=-1) + k.ops.square(p[:, 0])
    },
    "crossentropy": lambda k: {"loss": "crossentropy", "metrics": None},
    "a list": lambda k: {
        "loss": ["sparse_categorical_crossentropy"],
        "loss_weights": [0.5],
        "metrics": [["accuracy"]],
    },
    "a weight": lambda k: {"loss_weights": 0.25},
    "sum": lambda k: {"loss": k.losses.SparseCategoricalCrossentropy(reduction="sum")},
    "scaled": lambda k: {
        "optimizer": k.optimizers.LossScaleOptimizer(k.optimizers.SGD(0.1), 64.0, 3)
    },
    "a factor": lambda k: {"optimizer": k.optimizers.SGD(0.1, loss_scale_factor=8.0)},
    # Ten rows make a batch, and the odd one at the end of an epoch counts as one.
    "accumulated": lambda k: {
        "optimizer": k.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    },
    "accumulated, several steps at once": lambda k: {
        "optimizer": k.optimizers.Adam(0.01, gradient_accumulation_steps=3),
        "steps_per_execution": 2,
        "jit_compile": True,
    },
}


@pytest.mark.parity
@pytest.mark.parametrize("make", COMPILE.values(), ids=COMPILE)
def test_options_of_compile_mean_what_they_mean_in_keras(make):
    histories, calls, results = [], ([], []), []
    models = twins(lambda k: small(k, **make(k)))
    for model, k, seen in zip(models, (nb, real), calls, strict=True):
        watch = recorder(k, seen)
        found = model.fit(
            X, LABELS, 10, 2, 0, [watch], shuffle=False, sample_weight=WEIGHTS,
            validation_data=(X, LABELS, WEIGHTS),
        )  # fmt: skip
        histories.append(found.history)
        seen_by_others = {"verbose": 0, "callbacks": [watch], "batch_size": 15}
        results.append(
            [
                model.evaluate(X, LABELS, return_dict=True, **seen_by_others),
                model.predict(X, **seen_by_others),
                model.train_on_batch(X, LABELS, return_dict=True),
                model.test_on_batch(X, LABELS, WEIGHTS, return_dict=True),
                model.predict_on_batch(X),
            ]
        )
    same_logs(*histories)
    if models[0].steps_per_execution == 1:  # Keras counts beyond the last batch
        same_calls(*calls)
    for ours, theirs in zip(*results, strict=True):
        same_logs(ours, theirs) if isinstance(theirs, dict) else close(ours, theirs)


# --- Several outputs ------------------------------------------------------------------


def nest(k, form):
    """A model whose outputs are a list, a dict or both."""
    inputs = k.Input((8,), name="x")
    hidden = k.layers.Dense(5, "tanh")(inputs)
    a, b = k.layers.Dense(1, name="a")(hidden), k.layers.Dense(2, name="b")(hidden)
    c = k.layers.Dense(3, "softmax", name="c")(hidden)
    outputs = {
        "list": [a, b, c],
        "dict": {"size": a, "pair": b, "kind": c},
        "nest": {"first": a, "rest": [b, c]},
        "list of one": {"first": a, "rest": [b]},
    }[form]
    return k.Model(inputs, outputs)


TARGETS = [NUMBERS, X[:, :2], LABELS]
BY_NAME = dict(zip(("size", "pair", "kind"), TARGETS, strict=True))
CE = "sparse_categorical_crossentropy"
OUTPUTS = {
    "one loss for all": ("list", [*TARGETS[:2], X[:, :3]], {"loss": "mse"}),
    "one loss and metric": (
        "list",
        [*TARGETS[:2], X[:, :3]],
        {"loss": "mae", "metrics": [["mse"], ["mse"], ["mse"]]},
    ),
    "lists": (
        "list",
        TARGETS,
        {
            "loss": ["mse", "mae", CE],
            "loss_weights": [1.0, 0.5, 2.0],
            "metrics": [["mae"], None, ["accuracy"]],
        },
    ),
    "partial": ("list", TARGETS, {"loss": ["mse", None, CE]}),
    "dicts by name of layer": (
        "list",
        TARGETS,
        {
            "loss": {"a": "mse", "b": "mse", "c": CE},
            "loss_weights": {"a": 0.1, "b": 1.0, "c": 1.0},
            "metrics": {"c": "accuracy", "a": ["mae", "mse"]},
        },
    ),
    "dicts": (
        "dict",
        BY_NAME,
        {
            "loss": {"kind": CE, "size": "mse", "pair": "huber"},
            "metrics": {"kind": ["accuracy"]},
            "weighted_metrics": {"pair": ["mae"]},
        },
    ),
    "a dict, partial": (
        "dict",
        BY_NAME,
        {"loss": {"kind": CE, "size": "mse"}, "metrics": {"kind": ["accuracy"]}},
    ),
}


@pytest.mark.parity
@pytest.mark.parametrize(("form", "y", "compile"), OUTPUTS.values(), ids=OUTPUTS)
def test_several_outputs_are_matched_as_in_keras(form, y, compile):
    runs = []
    for model in twins(lambda k: nest(k, form)):
        model.compile("sgd", **compile)
        runs.append(
            (
                model.fit(
                    X, y, 10, 2, 0, shuffle=False, validation_split=0.2,
                ).history,
                model.evaluate(X, y, verbose=0, return_dict=True),
                model.evaluate(X, y, verbose=0),
                model.predict(X, verbose=0),
            )
        )  # fmt: skip
    (ours, mine, listed, p), (theirs, wanted, wanted_list, q) = runs
    same_logs(ours, theirs)
    same_logs(mine, wanted)
    close(listed, wanted_list)
    same_nest(p, q)


@pytest.mark.parity
def test_nested_outputs_are_matched_by_their_place():
    model = nest(nb, "nest")
    model.compile(
        "sgd",
        loss={"first": "mse", "rest": ["mae", CE]},
        loss_weights={"first": 1.0, "rest": [0.5, 0.25]},
        metrics={"first": ["mae"], "rest": [None, ["accuracy"]]},
    )
    y = {"first": NUMBERS, "rest": [X[:, :2], LABELS]}
    found = model.evaluate(X, y, verbose=0, return_dict=True)
    parts = [found[f"{name}_loss"] for name in "abc"]
    close(found["loss"], parts[0] + 0.5 * parts[1] + 0.25 * parts[2])
    assert {"a_mae", "c_accuracy"} < set(found)


@pytest.mark.parametrize(
    "loss", ["mse", {"first": "mse", "rest": ["mse"]}, {"first": "mse", "rest": "mse"}]
)
def test_a_list_of_one_output_is_matched_by_its_place(loss):
    model = nest(nb, "list of one")
    model.compile("sgd", loss=loss, metrics={"rest": ["mae", "mse"]})
    y = {"first": NUMBERS, "rest": [X[:, :2]]}
    found = model.evaluate(X, y, verbose=0, return_dict=True)
    close(found["loss"], found["first_loss"] + found["rest_loss"])
    close(found["rest_mse"], found["rest_loss"])


# --- Half precision -------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("scaled", [True, False])
def test_float16_is_scaled_as_in_keras(scaled):
    def make(k):
        k.config.set_dtype_policy("mixed_float16")
        model = k.Sequential(
            [
                k.Input((8,)),
                k.layers.Dense(16, "relu", dtype="mixed_float16"),
                k.layers.Dense(3, "softmax", dtype="float32"),
            ]
        )
        model.compile("adam", CE, metrics=["accuracy"], auto_scale_loss=scaled)
        return model

    runs = []
    try:
        for model in twins(make):
            history = model.fit(X, LABELS, 10, 3, 0, shuffle=False).history
            runs.append((history, type(model.optimizer).__name__))
    finally:
        for k in (nb, real):
            k.config.set_dtype_policy("float32")
    assert runs[0][1] == runs[1][1]
    assert list(runs[0][0]) == list(runs[1][0])
    for name, values in runs[1][0].items():  # 16 bits are rounded differently
        np.testing.assert_allclose(runs[0][0][name], values, rtol=1e-2, atol=1e-2)
