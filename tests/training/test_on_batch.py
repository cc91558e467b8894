"""kerasnb.training.trainer: single batches, for which what was prepared is kept"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import trainer

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
W = np.linspace(0, 2, 12).astype("float32")


def make(model=keras.Sequential):
    keras.utils.set_random_seed(3)
    made = model(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    made.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return made


@pytest.fixture
def prepared(monkeypatch):
    """Whose work was prepared, each time that it was."""
    work, found = trainer.Work, []

    def noted(model, who, *args, **kwargs):
        found.append(who)
        return work(model, who, *args, **kwargs)

    monkeypatch.setattr(trainer, "Work", noted)
    return found


def steps(model, keeps, data=(X, Y), **kwargs):
    """The logs of two steps of training and of two looks at the batch."""
    found = []
    for method in (model.train_on_batch, model.test_on_batch) * 2:
        if not keeps:
            model._programs.pop(method.__name__, None)
        found.append(method(*data, return_dict=True, **kwargs))
    return found


def replace_optimizer(model):
    model.optimizer = keras.optimizers.SGD(0.5)


def frozen(model):
    model.layers[0].trainable = False
    model.compile("sgd", "mse")


CHANGES = {
    "nothing": lambda m: {},
    "rows": lambda m: {"data": (X[:7], Y[:7])},
    "values": lambda m: {"data": (X + 1, 1 - Y)},
    "dtype": lambda m: {"data": (X.astype("float64"), Y.astype(int))},
    "weights of samples": lambda m: {"sample_weight": W},
    "device arrays": lambda m: {"data": (keras.ops.array(X), keras.ops.array(Y))},
    "rate": lambda m: setattr(m.optimizer, "learning_rate", 0.3),
    "weights": lambda m: m.set_weights([2 * w for w in m.get_weights()]),
    "frozen": frozen,
    "optimizer": replace_optimizer,
    "compiled": lambda m: m.compile("sgd", "mse", metrics=["mae"]),
    "eagerly": lambda m: setattr(m, "run_eagerly", True),
    "trained": lambda m: m.fit(X, Y, verbose=0) and {},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_prepared_serves_as_long_as_nothing_changes(what, prepared):
    logs, weights = [], []
    for keeps in (True, False):
        model = make()
        found = steps(model, keeps)
        found += steps(model, keeps, **CHANGES[what](model) or {})
        logs.append(found)
        weights.append([np.asarray(v) for v in model._all_variables()])
    assert logs[0] == logs[1]
    assert all(map(np.array_equal, *weights))
    if what in ("nothing", "values", "rate", "weights"):
        assert len(prepared) == 2 + 2 * 4


def test_classes_have_weights_in_each_step(prepared):
    model, other = make(), make()
    for _ in range(3):
        told = model.train_on_batch(X, Y, class_weight={0: 1.0, 1: 3.0})
        assert told == other.train_on_batch(X, Y, sample_weight=1 + 2 * Y[:, 0])
    assert len(prepared) == 3  # To build the other counts as a change.


def test_what_is_wrong_with_a_batch_is_said_of_later_ones_as_well(prepared):
    model = make()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
    model.add(layers.Dense(3, activation="softmax"))
    model.train_on_batch(X, np.zeros(12, int))
    with pytest.raises(ValueError, match="label 7"):
        model.train_on_batch(X, np.full(12, 7))
    assert np.isfinite(model.train_on_batch(X, np.zeros(12, int)))


def test_a_batch_that_is_kept_elsewhere_stays_as_it_is():
    model, seen = make(), []
    for _ in range(3):
        seen.append([model.layers[0].kernel.value, model.get_weights()[0]])
        seen.append([np.array(array) for array in seen[-1]])
        model.train_on_batch(X, Y)
    for held, copies in zip(seen[::2], seen[1::2], strict=True):
        assert all(map(np.array_equal, held, copies))


def test_threads_look_at_batches_at_once():
    model = make()
    wanted = [model.test_on_batch(X[i:], Y[i:]) for i in range(4)]

    def look(i):
        return model.test_on_batch(X[i % 4 :], Y[i % 4 :]) == wanted[i % 4]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, range(80)))


class Listed(keras.Sequential):
    """Has metrics of its own, which may be others at any time."""

    @property
    def metrics(self):
        own = [self.extra] if hasattr(self, "extra") else []
        return list(dict.fromkeys([*own, *super().metrics]))


def test_a_model_that_lists_its_own_metrics_is_asked_each_time(prepared):
    model = make(Listed)
    model.extra = keras.metrics.Mean(name="extra")
    model.train_on_batch(X, Y)
    del model.extra
    model.extra = keras.metrics.Mean(name="other")
    assert "other" in model.train_on_batch(X, Y, return_dict=True)
    assert len(prepared) == 2
