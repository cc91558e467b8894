"""kerasnb.runs: training again, from memory and from disk"""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kerasnb as keras
from kerasnb.runs import folder

FIT = {"epochs": 3, "batch_size": 8, "validation_split": 0.25, "verbose": 0}


def test_a_run_of_a_seeded_model_is_repeated_bit_for_bit(make, data):
    model = make()
    np.random.random(5)  # the order of the rows does not follow the seed alone
    first = model.fit(*data, **FIT)
    before = random.getstate(), np.random.get_state()[1].tolist()
    again = keras.runs[0].rerun(*data, verbose=0)
    assert again.history == first.history
    for a, b in zip(again.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert [run.name for run in keras.runs] == ["net", "net-2"]
    assert keras.runs.compare().settings == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x + 1, y), "x has other values than run `net` had"),
        (lambda x, y: (x[:16], y[:16]), r"x has other shape \(12, 3\)"),
        (lambda x, y: (x.astype("float16"), y), "x has other values"),
    ],
)
def test_other_data_is_refused_unless_it_is_allowed(change, words, make, data):
    make().fit(*data, **FIT)
    with pytest.raises(ValueError, match=words):
        keras.runs[0].rerun(*change(*data), verbose=0)
    assert keras.runs[0].rerun(*change(*data), verbose=0, allow_other_data=True)


def test_a_run_that_began_with_trained_weights_needs_the_disk(make, data, tmp_path):
    model = make()
    model.fit(*data, **FIT)
    model.fit(*data, **FIT)
    with pytest.raises(ValueError, match=r"settings alone .*trained before.*runs_dir"):
        keras.runs[1].rerun(*data, verbose=0)
    make(seed=None).fit(*data, **FIT)
    with pytest.raises(ValueError, match=r"not made right after set_random_seed\(7\)"):
        keras.runs[-1].rerun(*data, verbose=0)
    keras.config.runs_dir(tmp_path)
    third = model.fit(*data, **FIT)
    assert keras.runs[-1].rerun(*data, verbose=0).history == third.history
    (kept, _) = keras.runs.load()
    assert kept.history == third.history
    assert kept.rerun(*data, verbose=0).history == third.history


def test_callbacks_are_asked_for_again(make, data):
    stop = keras.callbacks.EarlyStopping("loss", patience=0)
    first = make().fit(*data, **FIT, callbacks=[stop])
    with pytest.raises(ValueError, match="callbacks EarlyStopping; pass them again"):
        keras.runs[0].rerun(*data)
    again = keras.runs[0].rerun(*data, callbacks=[stop], verbose=0)
    assert again.history == first.history


def test_layers_and_losses_of_ones_own_are_found_again(data):
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def own_loss(y, y_pred):
        return (y - y_pred) ** 2

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), Twice(), keras.layers.Dense(1)])
    model.compile("sgd", own_loss)
    first = model.fit(*data, verbose=0)
    assert keras.runs[0].rerun(*data, verbose=0).history == first.history


def test_another_model_may_stand_in(make, data):
    first = make().fit(*data, **FIT)
    again = keras.runs[0].rerun(*data, model=make(), verbose=0)
    assert again.history == first.history
    with pytest.raises(ValueError, match="began with weights"):
        keras.runs[0].rerun(*data, model=make(seed=8), verbose=0)


# --- On disk --------------------------------------------------------------------------


@pytest.fixture
def kept(make, data, tmp_path):
    """A finished run on disk, read again."""
    keras.config.runs_dir(tmp_path / "runs")
    make().fit(*data, **FIT)
    return keras.runs.load()[0]


def test_a_folder_holds_all_that_the_record_said(kept):
    run = keras.runs[-1]
    for name in ("id", "name", "status", "settings", "arguments", "seed", "data"):
        assert getattr(kept, name) == getattr(run, name), name
    assert kept.history == run.history and kept.epochs == run.epochs
    assert kept.best == run.best and kept.code.strip() == run.code
    np.testing.assert_array_equal(kept.curves["loss"], run.curves["loss"])
    assert keras.runs.compare(kept, run).settings == {}
    files = {file.name for file in kept.folder.iterdir()}
    assert files == {
        *("run.json", "history.csv", "steps.csv", "model.json", "model.py"),
        *("start.npz", "best.npz"),
    }
    run.rename("better")
    assert keras.runs.load(kept.folder / "run.json").name == "better"


def test_values_that_are_no_numbers_survive(kept):
    kept.history = {"loss": [0.1, float("nan"), float("inf")], "second": [0.1 + 0.2]}
    kept.place({"second": [1]})
    kept.write()
    read = keras.runs.load(kept.folder)
    assert repr(read.history) == repr(kept.history)
    assert read.places == {"loss": [0, 1, 2], "second": [1]}
    assert read.best == {"loss": (0.1, 1), "second": (0.1 + 0.2, 2)}


CUT = b'{"format": "kerasnb run 1", "na'
BROKEN = {
    "cut": ("run.json", CUT, "cannot be read .JSONDecodeError."),
    "foreign": ("run.json", b'{"runs": 3}', "is not a record of this version"),
    "a list": ("run.json", b"[]", "is not a record of this version"),
    "lacking": ("run.json", b'{"format": "kerasnb run 1"}', "lacks 'id'"),
    "words": ("history.csv", b"epoch,loss\n1,__import__('os')\n", "not a table"),
    "ragged": ("history.csv", b"epoch,loss\n1\n", "not a table of numbers"),
    "binary": ("history.csv", bytes(range(256)), "not a table of numbers"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_told_in_a_sentence(kind, kept):
    name, content, words = BROKEN[kind]
    (kept.folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        keras.runs.load(kept.folder)
    with pytest.warns(UserWarning, match=words):
        assert len(keras.runs.load(kept.folder.parent)) == 0


def test_a_cut_beginning_is_told_in_a_sentence(kept, data):
    path = kept.folder / "start.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="does not hold the beginning of a run"):
        kept.rerun(*data, verbose=0)


def test_a_place_without_runs_is_told_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="it does not exist"):
        keras.runs.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="it is empty"):
        keras.runs.load(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"it has no run\.json"):
        keras.runs.load(tmp_path)
    with pytest.raises(ValueError, match="name a folder"):
        keras.runs.load()


def test_a_file_in_the_place_of_the_folder_stops_before_training(make, data, tmp_path):
    (tmp_path / "runs").touch()
    keras.config.runs_dir(tmp_path / "runs")
    model = make()
    weights = model.get_weights()
    with pytest.raises(OSError, match="runs_dir: cannot make a folder in .*: not a"):
        model.fit(*data, verbose=0)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_names_get_folders_of_their_own(tmp_path):
    made = [folder.make(tmp_path / "deep" / "runs", "net") for _ in range(3)]
    assert [path.name for path in made] == ["net", "net-2", "net-3"]


def test_the_environment_may_name_the_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(keras.core.settings._settings, "runs_dir", ...)
    monkeypatch.setenv("KERASNB_RUNS_DIR", str(tmp_path))
    assert keras.config.runs_dir() == tmp_path
    assert keras.config.runs_dir(None) is None
    with pytest.raises(
        ValueError, match="`path` must be the path of a folder, or None"
    ):
        keras.config.runs_dir(3)


ENDLESS = """
import sys
import numpy as np
import kerasnb as keras
keras.config.runs_dir(sys.argv[1])
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
model.fit(x, y, epochs=10**6, verbose=0)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_run_is_running_for_others_until_its_process_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            found = list(tmp_path.glob("*/history.csv"))
            if found and len(found[0].read_text().splitlines()) > 1:
                break
            time.sleep(0.05)
        assert keras.runs.load(tmp_path)[0].status == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    (run,) = keras.runs.load(tmp_path)
    assert run.status == "killed" and run.epochs_done > 0
    assert run.message == f"killed after {len(run.epochs)} whole epochs"
    run.arguments["epochs"] = 2
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    again = run.rerun(x, y, verbose=0)
    assert again.history["loss"] == run.history["loss"][:2]
