"""kerasnb.runs.weights: a record keeps those of its best epoch"""

import gc

import numpy as np
import pytest

import kerasnb as keras
from kerasnb.core import settings
from kerasnb.runs import weights
from kerasnb.training import run

FIT = {"epochs": 5, "batch_size": 8, "validation_split": 0.25, "verbose": 0}


@pytest.fixture(autouse=True)
def room():
    """As much room as ever, and nothing of other tests in it."""
    yield
    settings._settings["best_weights"] = 256


class Watch(keras.callbacks.Callback):
    """Notes the weights of each epoch, and makes the later ones worse."""

    def __init__(self, worse_after=99):
        super().__init__()
        self.seen, self.worse_after = [], worse_after

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.get_weights())
        if epoch + 1 >= self.worse_after:
            self.model.optimizer.learning_rate = 3.0


def equal(a, b):
    return all(map(np.array_equal, a, b))


@pytest.mark.parametrize("monitor", ["val_loss", "loss"])
def test_the_weights_of_the_best_epoch_come_back(make, data, monitor):
    model, watch = make(), Watch(worse_after=2)
    split = 0.25 if monitor == "val_loss" else 0.0
    model.fit(*data, **{**FIT, "validation_split": split}, callbacks=watch)
    run = keras.runs[-1]
    values = run.history[monitor]
    best = int(np.argmin(values))
    assert best < 4 and not equal(model.get_weights(), watch.seen[best])
    assert run.load_best() == run.best[monitor][1] == best + 1
    assert equal(model.get_weights(), watch.seen[best])
    assert (run.best_weights.monitor, run.best_weights.value) == (monitor, min(values))


def test_they_fit_into_another_model_like_it_and_into_no_other(make, data):
    model = make()
    model.fit(*data, **FIT)
    other = make(seed=1)
    keras.runs[-1].load_best(other)
    keras.runs[-1].load_best()
    assert equal(model.get_weights(), other.get_weights())
    with pytest.raises(ValueError, match=r"kernel` has the shape \(3, 4\) .* \(3, 5\)"):
        keras.runs[-1].load_best(make(units=5))
    with pytest.raises(ValueError, match="4 weights there and 2 here"):
        keras.runs[-1].load_best(
            keras.Sequential([keras.Input((3,)), *make().layers[:1]])
        )


def test_seeds_and_the_optimizer_stay_as_they_are(make, data):
    model = make()
    model.fit(*data, **FIT)
    seeds = [np.asarray(v.value) for v in model.non_trainable_variables]
    steps = int(model.optimizer.iterations.value)
    keras.runs[-1].load_best()
    after = [np.asarray(v.value) for v in model.non_trainable_variables]
    assert seeds and equal(seeds, after)
    assert int(model.optimizer.iterations.value) == steps


def test_a_model_that_is_gone_is_asked_for(make, data):
    model = make()
    model.fit(*data, **FIT)
    del model
    gc.collect()
    with pytest.raises(ValueError, match="model of run `net` is not here any more"):
        keras.runs[-1].load_best()
    assert keras.runs[-1].load_best(make()) >= 1


def test_the_model_is_made_anew_and_no_seed_moves(make, data):
    model = make()
    model.fit(*data, **FIT)
    keras.runs[-1].load_best()
    state = np.random.get_state()[1].copy(), keras.random.uniform((2,), seed=None)
    made = keras.runs[-1].best_model()
    assert np.array_equal(np.random.get_state()[1], state[0])
    assert made is not model and made.compiled
    assert np.array_equal(made.predict(data[0]), model.predict(data[0]))


def test_a_model_that_is_being_trained_is_left_alone(make, data):
    model, met = make(), []

    class Loads(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match="is being trained") as error:
                keras.runs[-1].load_best()
            met.append(error)

    model.fit(*data, **FIT, callbacks=Loads())
    assert len(met) == 5


def test_room_is_limited_and_the_oldest_make_way(make, data):
    one = sum(v.size for v in make().weights) * 4
    keras.config.best_weights(2.5 * one / 1e6)
    for _ in range(3):
        make().fit(*data, **FIT)
    assert [run.keeps_best for run in keras.runs] == [False, True, True]
    with pytest.raises(ValueError, match="weights of run `net` were not kept"):
        keras.runs[0].load_best(make())
    for limit in (0, 0.5 * one / 1e6):
        keras.config.best_weights(limit)
        make().fit(*data, **FIT)
        assert not keras.runs[-1].keeps_best
    with pytest.raises(ValueError, match="must be a number from 0 up"):
        keras.config.best_weights(-1)


def test_a_folder_has_them_as_well(make, data, tmp_path):
    keras.config.runs_dir(tmp_path)
    model = make()
    model.fit(*data, **FIT)
    run = keras.runs[-1]
    read = keras.runs.load(run.folder)
    assert read.keeps_best
    other = make(seed=1)
    assert read.load_best(other) == run.load_best()
    assert equal(model.get_weights(), other.get_weights())
    path = run.folder / weights.FILE
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="does not hold the weights of an epoch"):
        read.load_best(other)


def test_half_precision_and_statistics_are_kept(data, tmp_path):
    keras.config.runs_dir(tmp_path)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, dtype="bfloat16"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(*data, epochs=1, verbose=0)
    before = model.get_weights()
    model.set_weights([0 * w for w in before])
    keras.runs.load()[-1].load_best(model)
    assert equal(model.get_weights(), before)
    assert {str(w.dtype) for w in before} == {"bfloat16", "float32"}


class Run:
    """As much of a run as `Keeper` looks at."""

    def __init__(self, *losses, marks=()):
        self.epoch, self.marks = len(losses), [run.Mark("m", 0, n) for n in marks]
        self.history = {"loss": list(losses)}
        self.epochs_of = {"loss": list(range(len(losses)))}


class Kept:
    """As much of a record as `Keeper` changes."""

    best_weights, id = None, "1"

    def forget_best(self):
        self.best_weights = None
        self.forgotten = True


@pytest.fixture
def kept(make):
    model = make()
    record = Kept()
    keeper = weights.Keeper(record, model)
    keeper.model = model  # which it holds no longer than others do
    return keeper


def test_losses_that_are_no_number_keep_nothing(kept):
    kept.look(Run(float("nan")))
    assert kept.record.best_weights is None


def test_weights_of_epochs_that_were_taken_back_are_forgotten(kept):
    kept.look(Run(0.5))
    kept.look(Run(0.5, 0.1, marks=[1]))
    assert kept.record.best_weights.epoch == 1
    # Rolled back to the end of the first epoch, which is now the best again ...
    kept.cut(Run(0.5))
    assert (kept.record.best_weights.epoch, kept.to_beat) == (0, 0.5)
    # ... and the second comes out worse this time.
    kept.look(Run(0.5, 0.3))
    assert (kept.record.best_weights.epoch, kept.to_beat) == (1, 0.3)


def test_an_epoch_worse_than_one_whose_weights_had_to_make_way_is_not_the_best(kept):
    kept.look(Run(0.5))
    kept.record.best_weights = None  # as another run's are let in
    kept.look(Run(0.5, 0.7))
    assert kept.record.best_weights is None
    kept.look(Run(0.5, 0.7, 0.4))
    assert (kept.record.best_weights.epoch, kept.to_beat) == (2, 0.4)


def test_going_back_before_every_best_epoch_leaves_no_weights(kept):
    kept.look(Run(0.5))
    kept.cut(Run())
    assert (kept.record.best_weights, kept.to_beat) == (None, float("inf"))
    assert kept.record.forgotten


def test_what_is_forgotten_is_gone_from_the_folder_too(make, data, tmp_path):
    keras.config.runs_dir(tmp_path)
    model = make()
    model.fit(*data, **FIT)
    run = keras.runs[-1]
    run.forget_best()
    run.write()
    read = keras.runs.load(run.folder)
    assert not run.keeps_best and not read.keeps_best
    with pytest.raises(ValueError, match="were not kept"):
        read.load_best(model)
