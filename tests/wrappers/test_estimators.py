"""kerasnb.wrappers"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import kerasnb as keras
from kerasnb.training import loop
from kerasnb.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer
from tests.notebook.conftest import ipython, shell  # noqa: F401

X, Y = make_classification(60, 4, n_clusters_per_class=1, random_state=1)
WORDS = np.array(["left", "right"])[Y]
ONE_BATCH = {"batch_size": 512}  # one shape, one program


def chain(width, units, activation, loss, rate=0.1):
    layers = [keras.Input((width,)), keras.layers.Dense(units, activation=activation)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def linear(X, y, loss="mse", activation=None, rate=0.1):
    return chain(X.shape[1], y.shape[1], activation, loss, rate)


def classifier(epochs=20, **options):
    softmax = {"loss": "categorical_crossentropy", "activation": "softmax"}
    return SKLearnClassifier(
        linear,
        model_kwargs=softmax | options,
        fit_kwargs={"epochs": epochs, **ONE_BATCH},
    )


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


# What Keras expects to fail of its own wrappers, with its reasons.
REPEATS = "assumes that two fits give the same"
EXPECTED = {
    "check_classifier_data_not_an_array": REPEATS,
    "check_supervised_y_2d": REPEATS,
    "check_fit_idempotent": REPEATS,
    "check_classifiers_one_label_sample_weights": "a weight of zero is not left out",
    "check_classifiers_classes": "a short training may leave a class out",
    "check_classifiers_train": "decision_function gives a number for each class",
}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        classifier(epochs=5),
        # One output after a softmax is always 1: two fits do give the same.
        SKLearnRegressor(linear, False, {"activation": "softmax"}, ONE_BATCH),
        SKLearnTransformer(linear, False, {"activation": "softmax"}, ONE_BATCH),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learn_approves_of_what_it_approves_of_in_keras(estimator):
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in found if r["status"] == "failed"}
    unexpected = {name: e for name, e in failed.items() if name not in EXPECTED}
    assert not unexpected
    assert sum(r["status"] == "passed" for r in found) >= 35


def test_a_classifier_learns_words_and_tells_them_apart():
    fitted = classifier().fit(X, WORDS)
    assert fitted.classes_.tolist() == ["left", "right"]
    assert fitted.score(X, WORDS) > 0.9
    outputs = fitted.decision_function(X)
    assert outputs.shape == (60, 2)
    assert (fitted.classes_[outputs.argmax(axis=1)] == fitted.predict(X)).all()
    assert fitted.epoch_ == len(fitted.history_.history["loss"]) == 20


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (2, "softmax", "sparse_categorical_crossentropy"),
        (2, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (1, "sigmoid", "binary_crossentropy"),
        (1, None, keras.losses.BinaryCrossentropy(from_logits=True)),
        (1, "tanh", "hinge"),
    ],
)
def test_targets_come_in_the_form_that_the_loss_wants(units, activation, loss):
    model = chain(4, units, activation, loss)
    fitted = SKLearnClassifier(model, fit_kwargs={"epochs": 40, **ONE_BATCH})
    assert fitted.fit(X, WORDS).score(X, WORDS) > 0.9


def test_a_regressor_answers_in_the_form_of_its_targets():
    for targets in (X[:, 0], X[:, :2]):
        fitted = SKLearnRegressor(linear, fit_kwargs={"epochs": 60}).fit(X, targets)
        assert fitted.predict(X).shape == targets.shape
        assert fitted.score(X, targets) > 0.9


def test_samples_may_have_any_shape():
    pictures = X.reshape(60, 2, 2)
    layers = [keras.Input((2, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss)
    fitted = SKLearnClassifier(model, fit_kwargs={"epochs": 20, **ONE_BATCH})
    assert cross_val_score(fitted, pictures, Y, cv=2).mean() > 0.8


def test_a_given_model_is_cloned_for_every_fit():
    model = chain(4, 1, None, "mse")
    before = model.get_weights()
    fitted = SKLearnRegressor(model, fit_kwargs=ONE_BATCH).fit(X, Y)
    assert fitted.model_ is not model
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_with_warm_start_a_fit_goes_on_where_the_last_one_ended():
    model = chain(4, 1, None, "mse")
    estimator = SKLearnRegressor(model, warm_start=True, fit_kwargs=ONE_BATCH)
    first = estimator.fit(X, Y, epochs=5).history_.history["loss"]
    second = estimator.fit(X, Y, epochs=5).history_.history["loss"]
    assert estimator.model_ is model and second[0] < first[-1]
    copy = clone(estimator)
    assert copy.model is not model and not hasattr(copy, "model_")


def test_a_clone_has_every_setting_and_nothing_learned():
    fitted = classifier(epochs=1).fit(X, Y)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert again.fit_kwargs is not fitted.fit_kwargs
    with pytest.raises(NotFittedError):
        again.predict(X)


def test_arguments_of_fit_go_before_those_remembered():
    estimator = classifier(epochs=5)
    weights = np.where(Y == 0, 1.0, 0.0)
    assert estimator.fit(X, Y, epochs=2, sample_weight=weights).epoch_ == 2
    assert estimator.fit_kwargs["epochs"] == 5
    found = estimator.fit(X, Y, epochs=40, sample_weight=weights).predict(X)
    assert (found == 0).mean() > 0.8


def test_a_fitted_estimator_survives_a_pickle():
    fitted = classifier(epochs=2).fit(X, WORDS)
    again = pickle.loads(pickle.dumps(fitted))
    outputs = fitted.decision_function(X)
    np.testing.assert_allclose(again.decision_function(X), outputs, rtol=1e-6)
    assert again.history_.history == fitted.history_.history


def test_it_works_in_pipelines_at_either_end():
    fitted = make_pipeline(StandardScaler(), classifier()).fit(X, WORDS)
    assert fitted.score(X, WORDS) > 0.9
    features = SKLearnTransformer(linear, fit_kwargs={"epochs": 30}).fit(X, Y)
    pipe = make_pipeline(FrozenEstimator(features), LogisticRegression())
    assert pipe.fit(X, WORDS).score(X, WORDS) > 0.8


def test_a_search_compiles_once_for_models_that_are_alike():
    loop._EXECUTABLES.clear()
    grid = {"model_kwargs": [{"rate": rate} for rate in (0.0, 0.1, 0.3)]}
    found = GridSearchCV(
        SKLearnRegressor(linear, fit_kwargs={"epochs": 30, **ONE_BATCH}), grid, cv=3
    ).fit(X, X[:, 0])
    assert found.best_params_ != grid["model_kwargs"][0]
    assert found.score(X, X[:, 0]) > 0.8
    # Of ten fits nine are on 40 samples, and the last one on all 60.
    programs = [text for text, *_ in loop._EXECUTABLES]
    assert sum("module @jit__chunk " in text for text in programs) == 2


@pytest.mark.parity
def test_fits_run_in_several_processes():
    scores = cross_val_score(classifier(), X, WORDS, cv=2, n_jobs=2)
    get_reusable_executor().shutdown(wait=True)
    assert scores.shape == (2,) and scores.mean() > 0.8


CELL = """
Dense(8, activation="relu")
Dropout(0.1)
Dense(2, activation="softmax")
"""


def test_a_search_over_a_model_of_a_cell(shell):  # noqa: F811
    shell.user_ns.update(X=X, WORDS=WORDS, keras=keras)
    options = "--optimizer adam --learning-rate 0.02 --loss auto --quiet"
    shell.run_cell_magic("kmodel", f"reader --input 4 {options}", CELL)
    ran = shell.run_cell("""
from sklearn.model_selection import GridSearchCV

def builder(X, y, rate):
    model = keras.models.clone_model(reader)
    model.compile(keras.optimizers.Adam(rate), model.loss)
    return model

settings = {"epochs": 15, "batch_size": 64}
by_epochs = GridSearchCV(
    keras.wrappers.SKLearnClassifier(reader),
    {"fit_kwargs": [settings | {"epochs": n} for n in (1, 40)]},
    cv=2,
).fit(X, WORDS)
by_rate = GridSearchCV(
    keras.wrappers.SKLearnClassifier(builder, fit_kwargs=settings),
    {"model_kwargs": [{"rate": 0.0}, {"rate": 0.05}]},
    cv=2,
).fit(X, WORDS)
""")
    ran.raise_error()
    by_epochs, by_rate = shell.user_ns["by_epochs"], shell.user_ns["by_rate"]
    assert by_epochs.best_params_["fit_kwargs"]["epochs"] == 40
    assert by_rate.best_params_ == {"model_kwargs": {"rate": 0.05}}
    for search in (by_epochs, by_rate):
        assert search.best_score_ > 0.8


def test_metadata_goes_to_fit_when_it_is_asked_for():
    with pytest.raises(RuntimeError, match="metadata routing"):
        classifier().set_fit_request(sample_weight=True)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = classifier().set_fit_request(sample_weight=True)
        search = GridSearchCV(estimator, {"warm_start": [False]}, cv=2)
        search.fit(X, Y, sample_weight=np.where(Y == 0, 1.0, 0.0))
    assert (search.predict(X) == 0).mean() > 0.9


def bare(X, y):
    return keras.Sequential([keras.layers.Dense(1)])


@pytest.mark.parametrize(
    ("estimator", "targets", "error", "words"),
    [
        (SKLearnRegressor(bare), Y, RuntimeError, "must be compiled, with a loss"),
        (SKLearnRegressor("mse"), Y, TypeError, "`model` must be a compiled model"),
        (SKLearnRegressor(lambda X, y: 1), Y, TypeError, "must return a compiled"),
        (classifier(), X[:, 0], ValueError, "Unknown label type: continuous"),
        (classifier(), np.ones(60), ValueError, "only one class, 1.0"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(estimator, targets, error, words):
    with pytest.raises(error, match=words):
        estimator.fit(X, targets)


def test_scikit_learn_is_imported_when_an_estimator_is_asked_for():
    code = """if True:
        import sys, kerasnb
        assert "sklearn" not in sys.modules
        assert dir(kerasnb.wrappers)[0] == "SKLearnClassifier"
        sys.modules["sklearn"] = None
        try:
            kerasnb.wrappers.SKLearnRegressor
        except ImportError as error:
            print(error)
    """
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert "pip install 'kerasnb[sklearn]'" in found.stdout, found.stderr
    with pytest.raises(AttributeError, match="no attribute `SKLearnCluster`"):
        _ = keras.wrappers.SKLearnCluster
