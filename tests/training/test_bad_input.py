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
