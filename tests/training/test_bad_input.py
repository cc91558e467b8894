"""kerasnb.training: one readable sentence for each mistake, and nothing lost"""

import warnings

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def weights_of(model):
    return [np.array(v.value) for v in model.variables]


def assert_refused(model, match, call, error=ValueError):
    before = weights_of(model)
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)
    model.fit(X, Y, verbose=0)  # It still works.


# --- One sentence for each mistake ----------------------------------------------------

THREE = np.arange(20) % 3
SPARSE = "sparse_categorical_crossentropy"


def classifier(units=3, loss=SPARSE, activation="softmax", **compiled):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation)])
    model.compile("sgd", loss, **compiled)
    return model


def regressor(**compiled):
    return classifier(3, "mse", None, **compiled)


def two_outputs(loss="mse", **compiled):
    x = keras.Input((4,))
    outputs = [layers.Dense(1, name="price")(x), layers.Dense(1, name="size")(x)]
    model = keras.Model(x, outputs)
    model.compile("sgd", loss, **compiled)
    return model


def two_inputs():
    x = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    model = keras.Model(x, layers.Dense(1)(layers.Concatenate()(list(x.values()))))
    model.compile("sgd", "mse")
    return model


def uncompiled():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1)])


def batches(spoiled=None, count=4):
    for i in range(count):
        if isinstance(spoiled, Exception) and i == 2:
            raise spoiled
        yield spoiled if spoiled is not None and i == 2 else (X[:4], THREE[:4])


def multiplied(y_true, y_pred):
    return keras.ops.matmul(y_true, y_pred)


ONE, HALF = X[:, :1], {"x": X[:4]}

# What the model is, what is called, the sentence; in `fit` x and y are filled in.
TARGETS = [
    (classifier, {"y": np.eye(3)[THREE]}, "one class number.*use categorical_cross"),
    (classifier, {"y": THREE + 1}, "label 3, .*3 outputs, .*0 to 2. Labels count from"),
    (classifier, {"y": THREE - 1}, "label -1, but the model has 3 outputs"),
    (classifier, {"y": THREE * 4}, "label 8.*The last layer would need 9 units"),
    (classifier, {"y": THREE + 0.5}, "`y` holds .*5, but class numbers must be whole"),
    (classifier, {"y": np.array(list("abc"))[THREE]}, "`y` holds <U1 .* np.unique"),
    (classifier, {"y": ["cat"] * 20}, "`y` holds .* data .* np.unique"),
    (
        classifier,
        {"y": None},
        f"fit: `y` is missing, the targets that the loss {SPARSE}",
    ),
    (classifier, {"y": THREE[:19]}, "same number of rows, but x has 20, y has 19"),
    (classifier, {"y": [THREE, THREE]}, "`y` holds 2 arrays and the model has one"),
    (classifier, {"y": THREE + 2**40}, "`y` holds 109951162777., which is no int32"),
    (
        lambda: classifier(loss="categorical_crossentropy"),
        {"y": THREE},
        "one number for each class.*use sparse_categorical_crossentropy",
    ),
    (
        lambda: classifier(loss="binary_crossentropy", activation="sigmoid"),
        {"y": THREE},
        "the model's output.*use sparse_categorical_crossentropy and a softmax",
    ),
    (lambda: classifier(1), {"y": THREE}, "1 output, .*use binary_crossentropy and"),
    (regressor, {"y": X}, r"output, \(batch, 3\), not \(batch, 4\)"),
    (regressor, {"y": np.full((20, 3), np.nan)}, "`y` holds NaN or infinity in 20 of"),
    (two_outputs, {"y": ONE}, "one array and the model has 2 outputs"),
    (two_outputs, {"y": {"price": ONE, "sise": ONE}}, 'Did you mean "size"'),
]
INPUTS = [
    (classifier, {"x": X[:, :3]}, r"inputs of shape \(None, 4\) and got \(20, 3\)"),
    (classifier, {"x": X[:, 0]}, r"inputs of shape \(None, 4\) and got \(20,\)"),
    (classifier, {"x": X[:, None]}, r"shape \(None, 4\) and got \(20, 1, 4\)"),
    (classifier, {"x": None}, "fit: `x` is missing"),
    (classifier, {"x": "data.csv"}, "This is one object.* load the file"),
    (classifier, {"x": batches}, "a function: call it"),
    (classifier, {"x": [[1, 2, 3, 4], [1, 2]]}, "different lengths; pad them"),
    (classifier, {"x": X[:0], "y": THREE[:0]}, "fit: `x` is empty"),
    (classifier, {"x": [], "y": []}, "fit: `x` is empty"),
    (classifier, {"x": np.full((20, 4), "a", object)}, "`x` holds object data"),
    (classifier, {"x": X.astype(complex)}, "the real and the imaginary part"),
    (classifier, {"x": np.zeros((20, 4), "M8[s]")}, "Turn dates into numbers"),
    (classifier, {"x": [X, X]}, "has 1 inputs .* and got 2"),
    (classifier, {"x": np.full((20, 4), np.inf)}, "`x` holds NaN or infinity in 20"),
    (two_inputs, {"x": {"left": X}, "y": ONE}, "needs the input `right` and got"),
    (two_inputs, {"x": {"left": X, "up": X}, "y": ONE}, "needs the input `right`"),
]
STREAMS = [
    (batches(count=0), "`x` is empty"),
    (batches(RuntimeError("unplugged")), "unplugged"),
    (batches((X[:4, :3], THREE[:4])), r"batch 2 .*and got \(4, 3\)"),
    (batches((X[:4],)), r"batch 2: it has the structure \(array,\), and the first"),
    (batches((HALF, THREE[:4])), "batch 2: it has the structure .*'x': array"),
    (batches((X[:4], THREE[:3])), "batch 2: all arrays .* x has 4, y has 3"),
    (iter([(X, THREE + 1)]), "label 3"),
    (iter([(X, THREE, X, X)]), "batch 0: a batch must be x, .* not 4 items"),
]
WEIGHTS = [
    ({"sample_weight": np.ones(19)}, "sample_weight has 19"),
    ({"sample_weight": np.ones((20, 3))}, r"`sample_weight` of shape \(20, 3\)"),
    ({"sample_weight": np.full(20, np.nan)}, "`sample_weight` holds NaN"),
    ({"class_weight": {"cat": 1.0}}, "`class_weight` names the class 'cat', but"),
    ({"class_weight": {0.5: 1.0}}, "`class_weight` names the class 0.5, but"),
    ({"class_weight": {0: "much"}}, r"`class_weight\[0\]` must be a finite number"),
    ({"class_weight": "balanced"}, "`class_weight` must be a dict .*not 'balanced'"),
    ({"class_weight": {0: 1.0}, "sample_weight": THREE}, "no `sample_weight` beside"),
]
NUMBERS = [
    ({"epochs": 0}, "fit: `epochs` must be a positive whole number, not 0"),
    ({"epochs": "3"}, "`epochs` must be a positive whole number, not '3'"),
    ({"batch_size": 0}, "`batch_size` must be a positive whole number"),
    ({"batch_size": 8.0}, "`batch_size` must be a positive whole number"),
    ({"steps_per_epoch": -1}, "`steps_per_epoch` must be a positive whole number"),
    ({"validation_steps": 0}, "`validation_steps` must be a positive whole number"),
    ({"initial_epoch": -1}, "`initial_epoch` must be a whole number, 0 or more"),
    ({"validation_freq": 0}, "`validation_freq` must be a positive whole number, or"),
    ({"verbose": "loud"}, '`verbose` must be "auto", 0'),
    ({"validation_split": 1.0}, "`validation_split` must be a number from 0 to 1"),
    ({"validation_split": 1.5}, "`validation_split` must be a number from 0 to 1"),
    ({"validation_split": "0.2"}, "`validation_split` must be a number from 0 to 1"),
    ({"validation_split": 0.99}, "20 rows leaves nothing to train"),
    ({"validation_data": (X, THREE, X, X)}, "`validation_data` must be .*tuple of 4"),
    ({"validation_data": (X, THREE[:5])}, "validation data: all arrays must have"),
    ({"validation_data": (X, THREE + 7)}, "label 9"),
    ({"validation_data": X}, "fit, validation data: `y` is missing"),
    ({"validation_data": (X[:0], THREE[:0])}, "fit, validation data: `x` is empty"),
    ({"callbacks": ["early"]}, "'early' is not a callback"),
    ({"callbacks": [keras.callbacks.History]}, r"a class; pass an object, History\("),
    ({"epoch": 3}, 'fit has no argument `epoch`. Did you mean "epochs"'),
]
MISTAKES = [
    *TARGETS,
    *INPUTS,
    *((classifier, {"x": x, "y": None}, match) for x, match in STREAMS),
    *((classifier, how, match) for how, match in WEIGHTS + NUMBERS),
    (uncompiled, {}, "fit: the model must be compiled first: model.compile"),
    (lambda: classifier(loss=None), {}, "nothing to minimise: compile the model with"),
    (lambda: regressor(), {"y": ["a"] * 20}, "np.unique"),
    (
        lambda: two_outputs(["mse"] * 3),
        {"y": [ONE, ONE]},
        "`loss` has 3 entries and the model has 2 output",
    ),
    (
        lambda: two_outputs({"price": "mse", "sise": "mse"}),
        {"y": [ONE, ONE]},
        '`sise` that the model does not have.*Did you mean "size"',
    ),
    (
        lambda: two_outputs(metrics={"pric": "mae"}),
        {"y": [ONE, ONE]},
        '`metrics` names an output `pric` .*Did you mean "price"',
    ),
    (
        lambda: two_outputs(loss_weights=[1.0]),
        {"y": [ONE, ONE]},
        "`loss_weights` has 1 entries and the model has 2",
    ),
    (lambda: regressor(metrics="mae"), {"y": X[:, :3]}, r"write metrics=\['mae'\]"),
    (
        lambda: regressor(metrics=[keras.metrics.Accuracy()]),
        {"y": X[:, :2]},
        r"`accuracy` cannot work on `y` of shape \(20, 2\) and outputs of",
    ),
    (
        lambda: classifier(metrics=[keras.metrics.Accuracy()]),
        {},
        r"the metric `accuracy` cannot work on `y` of shape \(20,\) and outputs of",
    ),
    (
        lambda: classifier(loss=multiplied),
        {"y": X[:, :3]},
        r"the loss `multiplied` cannot work on `y` of shape \(20, 3\) and outputs",
    ),
    (
        lambda: classifier(loss=lambda y_pred: y_pred),
        {},
        r"the loss `<lambda>` is called with \(y_true, y_pred\): .* takes 1",
    ),
]


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[2][:40])
def test_a_mistake_in_fit_is_answered_in_one_sentence(row):
    make, given, match = row
    model = make()
    before = weights_of(model)
    data = {"x": X, "y": THREE, "verbose": 0}
    kinds = (ValueError, TypeError, RuntimeError)
    with pytest.raises(kinds, match=match) as caught:
        model.fit(**data | given)
    assert "\n" not in str(caught.value)
    assert "JAX has removed" not in str(getattr(caught.value, "__notes__", ""))
    if "batch 2" not in match and match != "unplugged":  # two batches were good
        for a, b in zip(before, weights_of(model), strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(w).all() for w in weights_of(model))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: uncompiled().compile("adamm"), 'Did you mean "adam"'),
        (lambda: classifier(loss="mean_square_error"), 'mean "mean_squared_error"'),
        (lambda: classifier(metrics=["acuracy"]), 'Did you mean "accuracy"'),
        (lambda: classifier(metric=["mae"]), 'no argument `metric`. .*"metrics"'),
        (lambda: uncompiled().compile(0.01, "mse"), "0.01 is not an optimizer"),
        (lambda: classifier(loss=3), "`loss` must be a name, a function or an object"),
        (lambda: classifier(loss_weights="abc"), "`loss_weights` must be numbers"),
        (
            lambda: classifier(loss=keras.metrics.MeanSquaredError()),
            "`loss` MeanSquaredError is a metric, which cannot be trained on",
        ),
        (lambda: keras.optimizers.SGD(float("nan")), "`learning_rate` is NaN"),
        (lambda: keras.optimizers.SGD("0.1"), "`learning_rate` must be a number"),
        (lambda: classifier().evaluate(X, verbose=0), "evaluate: `y` is missing"),
        (lambda: classifier().evaluate(X, THREE + 1, verbose=0), "label 3"),
        (lambda: classifier().evaluate(X, THREE, batch_size=-1), "`batch_size` must"),
        (lambda: classifier().predict(X, batch_size=0), "predict: `batch_size` must"),
        (lambda: classifier().predict(X[0], verbose=0), r"batch with x\[None\]"),
        (lambda: classifier().predict(X, step=3), 'Did you mean "steps"'),
        (lambda: classifier().train_on_batch(X, THREE[:3]), "x has 20, y has 3"),
        (lambda: classifier().train_on_batch(X, THREE + 7), "label 9"),
        (lambda: classifier().save("m.txt"), "must end in `.keras`"),
    ],
)
def test_a_mistake_elsewhere_is_answered_in_one_sentence(call, match):
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "given", "match"),
    [
        (
            lambda: classifier(1, "binary_crossentropy"),
            {"y": THREE % 2},
            "softmax over one unit, which is always 1.*sigmoid",
        ),
        (classifier, {"sample_weight": np.zeros(20)}, "all sample weights are 0"),
        (classifier, {"class_weight": dict.fromkeys(range(3), 0)}, "weights are 0"),
        (classifier, {"steps_per_epoch": 9}, "9 steps were asked for and .* 1 batch"),
        (
            classifier,
            {"x": batches(), "y": None, "steps_per_epoch": 9},
            "the data ended after 4 of the 9",
        ),
        (
            classifier,
            {"callbacks": [keras.callbacks.EarlyStopping("val_acc")]},
            "EarlyStopping watches `val_acc`, which is not there",
        ),
    ],
)
def test_what_keras_lets_pass_is_warned_about(make, given, match):
    with pytest.warns(UserWarning, match=match):
        make().fit(**{"x": X, "y": THREE, "verbose": 0} | given)


class Branch(layers.Layer):
    def call(self, x):
        return x if x.sum() > 0 else -x


class Numpy(layers.Layer):
    def call(self, x):
        return np.abs(x)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (Branch, r"Branch `mine`: line \d+, `return x if x.sum\(\) > 0 .* keras.ops.w"),
        (Numpy, r"Numpy `mine`: line \d+, `return np.abs\(x\)`, asks for the values"),
    ],
)
def test_a_layer_that_cannot_be_compiled_is_named_with_its_line(layer, match):
    with pytest.raises(TypeError, match=match) as caught:
        keras.Sequential([keras.Input((4,)), layer(name="mine")])
    assert "\n" not in str(caught.value)


# --- What is kept ---------------------------------------------------------------------


def test_x_and_y_of_different_lengths(model):
    assert_refused(
        model,
        "x has 20 and y has 19|x has 20, y has 19",
        lambda: model.fit(X, Y[:19], verbose=0),
    )


def test_empty_data(model):
    assert_refused(model, "`x` is empty", lambda: model.fit(X[:0], Y[:0], verbose=0))
    assert_refused(model, "`x` is empty", lambda: model.predict(X[:0], verbose=0))
    assert_refused(model, "`x` is empty", lambda: model.fit(iter([]), verbose=0))


def test_labels_out_of_range(model):
    assert_refused(model, "label", lambda: model.fit(X, Y + 1, verbose=0))
    assert_refused(model, "label", lambda: model.fit(X, Y - 1, verbose=0))


def test_one_hot_labels_for_a_sparse_loss(model):
    assert_refused(
        model,
        "categorical_crossentropy|CategoricalCrossentropy",
        lambda: model.fit(X, np.eye(2)[Y], verbose=0),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_the_data_is_found_before_it_spoils_the_weights(model, value):
    spoiled = X.copy()
    spoiled[13, 2] = value
    assert_refused(
        model, "`x` holds NaN or infinity in 1 of 20 rows, the first is row 13",
        lambda: model.fit(spoiled, Y, batch_size=4, verbose=0),
    )  # fmt: skip


def test_nan_that_the_model_handles_is_no_error():
    inputs = keras.Input((4,))
    x = layers.Lambda(lambda x: keras.ops.nan_to_num(x))(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    spoiled = X.copy()
    spoiled[3] = np.nan
    assert np.isfinite(model.fit(spoiled, Y, verbose=0).history["loss"][0])


def test_inputs_of_another_shape(model):
    with pytest.raises(ValueError, match=r"expects inputs of shape \(None, 4\)"):
        model.fit(np.ones((20, 5)), Y, verbose=0)
    with pytest.raises(ValueError, match="one sample"):
        model(X[0])


def test_text_instead_of_numbers(model):
    labels = np.array(["cat", "dog"])[Y]
    assert_refused(model, "np.unique", lambda: model.fit(X, labels, verbose=0))


def test_fit_before_compile():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="must be compiled first"):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"optimizer": "adamm"}, 'Unknown optimizer "adamm". Did you mean "adam"'),
        ({"loss": "mean_square_error"}, 'Did you mean "mean_squared_error"'),
        ({"loss": "mse", "metrics": ["acuracy"]}, 'Did you mean "accuracy"'),
        ({"loss": "mse", "metrics": "mae"}, r"metrics=\['mae'\]"),
        ({"steps_per_execution": 0}, "steps_per_execution"),
    ],
)
def test_wrong_names_in_compile_leave_the_old_settings(model, arguments, match):
    optimizer = model.optimizer

    def compile_and_fit():
        model.compile(**arguments)
        model.fit(X, Y, verbose=0)

    with pytest.raises(ValueError, match=match):
        compile_and_fit()
    if arguments.get("metrics") != "mae":
        assert model.optimizer is optimizer


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_counts_must_be_positive(model, name, value):
    assert_refused(
        model, f"`{name}` must be", lambda: model.fit(X, Y, verbose=0, **{name: value})
    )


def test_an_unknown_argument_of_a_layer_is_near_a_known_one():
    with pytest.raises((ValueError, TypeError), match='Did you mean "activation"'):
        layers.Dense(3, activaton="relu")


def test_an_output_named_wrongly_in_a_dict_of_losses():
    x = keras.Input((4,))
    outputs = [layers.Dense(1, name="price")(x), layers.Dense(1, name="size")(x)]
    model = keras.Model(x, outputs)
    model.compile("sgd", {"prise": "mse"})
    with pytest.raises(ValueError, match='`prise`.*Did you mean "price"'):
        model.fit(X, [X[:, :1], X[:, 1:2]], verbose=0)


def test_a_used_up_iterator_says_so(model):
    batches = iter([(X, Y)])
    model.fit(batches, verbose=0)
    with pytest.raises(ValueError, match="`x` is empty"):
        model.fit(batches, verbose=0)


def test_an_iterator_too_short_for_the_epochs_says_so(model):
    with pytest.raises(ValueError, match="the data ran out"):
        model.fit(iter([(X, Y)]), epochs=2, verbose=0)


def test_nothing_warns_in_an_ordinary_fit(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, epochs=2, verbose=0, validation_split=0.2)
