"""kerasnb.runs: the records that `fit` leaves, as a sequence"""

import contextlib
import gc
import random
import weakref

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kerasnb as keras
from kerasnb.runs import Record, Runs, curves, fingerprint

FIT = {"epochs": 2, "batch_size": 8, "validation_split": 0.25, "verbose": 0}


def test_a_fit_leaves_its_settings_seed_versions_data_curves_and_timing(make, data):
    model = make()
    history = model.fit(*data, **FIT, class_weight=None)
    (run,) = keras.runs
    assert run.name == "net" and run.status == "finished" and run.over
    assert run.history == history.history and run.epochs == history.epoch == [0, 1]
    assert run.epochs_done == 2 and run.seed == 7
    told = {k: run.settings[k] for k in ("loss", "epochs", "batch_size", "optimizer")}
    assert told == {"loss": "mse", "epochs": 2, "batch_size": 8, "optimizer": "Adam"}
    assert run.settings["optimizer.learning_rate"] == pytest.approx(0.001)
    assert {"python", "kerasnb", "jax", "numpy", "optax"} <= set(run.versions)
    shapes = {part: [e["shape"] for e in found] for part, found in run.data.items()}
    assert shapes == {"training": [[24, 3], [24, 1]], "validation": [[8, 3], [8, 1]]}
    assert run.timing["train"] > 0 and run.timing["compile"] > 0
    assert run.timing["validation"] > 0
    assert run.steps.tolist() == list(range(6)) and len(run.curves["loss"]) == 6
    lowest = min(history.history["val_loss"])
    epoch = history.history["val_loss"].index(lowest) + 1
    assert run.best["val_loss"] == (lowest, epoch)
    assert run.code == model.to_code() and run.config["class_name"] == "Sequential"
    assert run.model["parameters"] == model.count_params()


def test_a_record_keeps_neither_model_nor_data_alive(make, data):
    model, x = make(), data[0].copy()
    model.fit(x, data[1], verbose=0)
    watched = weakref.ref(model), weakref.ref(x)
    del model, x
    gc.collect()
    assert [ref() for ref in watched] == [None, None]
    assert keras.runs[-1].code.startswith("import kerasnb")


def test_only_the_last_records_are_kept():
    runs = Runs(range(5), kept=3)
    assert list(runs) == [2, 3, 4]
    assert keras.runs.session._records.maxlen == 100


def test_names_are_told_apart_and_found_again(make, data):
    model = make()
    model.fit(*data, verbose=0)
    with keras.runs.named("wide") as made:
        model.fit(*data, verbose=0)
    model.fit(*data, verbose=0)
    assert [run.name for run in keras.runs] == ["net", "wide", "net-2"]
    assert made == [keras.runs["wide"]] and "wide" in keras.runs
    assert keras.runs[made[0].id] is keras.runs[1] is keras.runs[-2]
    assert [run.name for run in keras.runs[1:]] == ["wide", "net-2"]
    keras.runs[0].rename("first")
    assert keras.runs["first"] is keras.runs[0]
    with pytest.raises(LookupError, match="no run 'wade'. Did you mean \"wide\""):
        keras.runs["wade"]
    with pytest.raises(IndexError, match="There are 3 runs, and none at 3"):
        keras.runs[3]
    keras.runs.clear()
    assert len(keras.runs) == 0 and repr(keras.runs) == "<Runs: none yet>"


class Ends(keras.callbacks.Callback):
    """Ends the first epoch in some way."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        if self.error is None:
            self.model.stop_training = True
        else:
            raise self.error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (None, "stopped", "stopped in epoch 1 of 3"),
        (OSError("no disk"), "failed", "OSError: no disk"),
        (KeyboardInterrupt(), "interrupted", "interrupted after 1 whole steps"),
    ],
)
def test_a_record_says_how_its_run_ended(error, status, words, make, data):
    with contextlib.suppress(OSError, KeyboardInterrupt):
        make().fit(*data, epochs=3, verbose=0, callbacks=[Ends(error)])
    (run,) = keras.runs
    assert (run.status, run.message) == (status, words)
    assert run.epochs_done == 1 and len(run.history["loss"]) == 1
    assert run.callbacks == ["Ends"]


def test_validation_now_and_then_keeps_its_epochs(make, data):
    how = {**FIT, "epochs": 4, "validation_freq": 2}
    history = make().fit(*data, **how)
    (run,) = keras.runs
    first, second = history.history["val_loss"]
    assert run.places["val_loss"] == [1, 3]
    assert run.rows()["val_loss"] == [None, first, None, second]
    assert run.best["val_loss"] == min((first, 2), (second, 4))
    assert run.settings["validation_freq"] == 2


def test_a_transformation_of_optax_is_noted_by_its_name(data):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optax.sgd(0.1), lambda y, y_pred: (y - y_pred) ** 2)
    model.fit(*data, verbose=0)
    run = keras.runs[-1]
    assert run.status == "finished" and run.settings["optimizer"]


def test_a_record_costs_the_random_generators_nothing(make, data):
    def drawn(fits):
        model = make()
        for _ in range(fits):
            model.fit(*data, shuffle=False, verbose=0)
        return random.random(), np.random.random()

    assert drawn(fits=2) == drawn(fits=0)


def test_a_model_without_a_configuration_has_a_record_all_the_same(data):
    class Odd(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(1)

        def call(self, x):
            return self.inner(x)

        def get_config(self):
            raise NotImplementedError("not written")

    model = Odd()
    model.compile("sgd", "mse")
    model.fit(*data, verbose=0)
    run = keras.runs[-1]
    assert run.config is None and "not written" in run.model["problem"]
    with pytest.raises(ValueError, match=r"has no configuration .* as model=\.\.\."):
        run.rerun(*data)


def test_trouble_in_a_record_ends_the_record_alone(make, data, tmp_path, monkeypatch):
    keras.config.runs_dir(tmp_path)
    model = make()

    def full(self):
        if self.epochs_done:
            raise OSError("the disk is full")

    monkeypatch.setattr(Record, "write", full)
    with pytest.warns(UserWarning, match="ends here .the disk is full.; training goes"):
        history = model.fit(*data, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


# --- Comparing ------------------------------------------------------------------------


def test_a_comparison_shows_only_the_settings_that_differ(make, data):
    make(units=4, name="narrow").fit(*data, **FIT)
    make(units=8, name="wide").fit(*data, **{**FIT, "batch_size": 12})
    found = keras.runs.compare("narrow", keras.runs[-1])
    assert found.names == ["narrow", "wide"]
    assert found.settings == {
        "model": [f'layers.Dense({units}, activation="relu")' for units in (4, 8)],
        "parameters": [21, 41],
        "batch_size": [8, 12],
    }
    assert found.results["epochs"] == [2, 2]
    lowest = [run.best["val_loss"][0] for run in keras.runs]
    assert found.results["best val_loss"] == lowest
    assert keras.runs.compare(0, 0).settings == {}
    assert keras.runs.compare().names == ["narrow", "wide"]


# --- Fingerprints and curves ----------------------------------------------------------


def of(x):
    return fingerprint.of_data((x,))[0]["hash"]


@pytest.mark.parametrize("rows", [4, 5000])
@pytest.mark.parametrize("row", [0, -1])
def test_a_fingerprint_sees_the_first_and_the_last_row(rows, row):
    x = np.zeros((rows, 9), "float32")
    other = x.copy()
    other[row, 0] = 1
    assert of(x) == of(x.copy()) == of(jnp.asarray(x)) == of(np.asfortranarray(x))
    assert len({of(x), of(other)}) == 2


def test_a_fingerprint_of_huge_data_reads_little_of_it():
    x = np.broadcast_to(np.float32(1), (10**9, 1000))  # four terabytes
    assert len(of(x)) == 16
    assert of(np.broadcast_to(np.float32(1), (3, 10**9)))


def test_a_fingerprint_names_the_parts_of_nested_data():
    x = {"a": np.zeros((2, 1)), "b": [np.zeros(2)]}
    names = [entry["name"] for entry in fingerprint.of_data((x, np.zeros(2)))]
    assert names == ["x['a']", "x['b'][0]", "y"]


def test_batches_have_their_number_for_a_fingerprint(make, data):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return data

    make().fit(Batches(), verbose=0)
    found = keras.runs[-1].data["training"]
    assert found == [{"name": "x", "batches": 3, "restarts": True}]


def test_long_curves_keep_their_spikes():
    loss = np.ones(100_000)
    loss[54_321] = 9
    steps, kept = curves.decimate(np.arange(100_000), {"loss": loss})
    assert len(steps) < 1000 and steps[0] == 0 and steps[-1] == 99_999
    assert kept["loss"].max() == 9
