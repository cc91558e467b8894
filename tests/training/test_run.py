"""kerasnb.training.run: what watchers see, and what they may ask for"""

import gc
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import memory
from kerasnb.training.run import Run

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = X[:, :1]


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


class AtEpoch(keras.callbacks.Callback):
    """Asks something of the run at the end of an epoch."""

    def __init__(self, epoch, ask):
        super().__init__()
        self.epoch, self.ask = epoch, ask

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.ask(self.model.run)


def test_a_run_knows_its_curves_and_its_place(model):
    model.fit(X, Y, 16, epochs=3, verbose=0, validation_split=0.25)
    run = model.run
    assert (run.status, run.epoch, run.epochs) == ("finished", 3, 3)
    assert (run.step, run.steps_per_epoch, run.samples) == (9, 3, 144)
    assert run.epoch_index == [3, 6, 9]
    assert sorted(run.history) == ["loss", "val_loss"]
    assert run.metrics_names == ["loss"]
    index, curves = run.step_points()
    assert index.tolist() == list(range(9)) and len(curves["loss"]) == 9
    assert curves["loss"][2] == pytest.approx(run.history["loss"][0])
    assert run.step_points(since=7)[0].tolist() == [7, 8]


def test_a_run_that_is_over_does_not_keep_its_data(model):
    x = np.zeros((1237, 4), "float32")
    model.fit(x, x[:, :1], 16, epochs=2, verbose=0, callbacks=[AtEpoch(0, Run.mark)])
    gc.collect()
    assert model.run.status == "finished" and len(model.run.marks) == 1
    assert not [a for a in jax.live_arrays() if a.shape[:1] == (1237,)]


def test_points_are_kept_when_there_are_many_chunks():
    run = Run("m", 1, 0, 1, 2000)
    for i in range(1500):
        run.note_steps(1, 1, {"loss": np.array([float(i)])})
    index, curves = run.step_points()
    assert index.tolist() == list(range(1500))
    assert curves["loss"].tolist() == list(range(1500))
    assert len(run._points) <= 512


def test_a_watcher_may_stop_after_the_epoch(model):
    model.fit(X, Y, epochs=50, verbose=0, callbacks=[AtEpoch(2, Run.stop_after_epoch)])
    assert model.run.epoch == 3 and model.run.status == "stopped"
    assert "epoch 3 of 50" in model.run.message


def test_a_watcher_may_stop_at_once_and_what_was_learned_stays(model):
    before = np.array(model.layers[0].kernel)
    model.fit(X, Y, epochs=10**6, verbose=0, callbacks=[AtEpoch(1, Run.stop)])
    assert model.run.status == "stopped" and model.run.epoch < 10
    assert not np.allclose(before, model.layers[0].kernel)
    assert len(model.history.epoch) == model.run.epoch


def test_a_watcher_may_change_the_learning_rate(model):
    model.fit(
        X, Y, epochs=3, verbose=0,
        callbacks=[AtEpoch(0, lambda run: run.set_learning_rate(0.5))],
    )  # fmt: skip
    assert float(model.optimizer.learning_rate) == 0.5
    assert model.run.learning_rate == 0.5


def test_a_pause_holds_the_training_until_resume(model):
    told = []

    def pause(run):
        run.pause()
        threading.Timer(0.4, run.resume).start()
        run.listeners.append(lambda run, final=False: told.append(run.status))

    model.fit(X, Y, epochs=3, verbose=0, callbacks=[AtEpoch(0, pause)])
    assert "paused" in told and told[-1] == "finished"
    assert model.run.epoch == 3
    assert model.run.elapsed < 30


def test_listeners_hear_of_a_failure(model):
    def fail(run):
        run.listeners.append(lambda run, final=False: heard.append((run.status, final)))
        raise OSError("disk full")

    heard = []
    with pytest.raises(OSError, match="disk full"):
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[AtEpoch(0, fail)])
    assert heard == [("failed", True)]
    assert model.run.message == "OSError: disk full"


def test_listeners_are_told_ten_times_a_second_and_of_a_new_status_at_once():
    run = Run("m", 1, 0, 1, 100)
    told = []
    run.listeners.append(lambda run, final=False: told.append((run.status, final)))
    for _ in range(100):
        run.tell()
    run.status = "paused"
    for _ in range(100):
        run.tell()
    run.finish("finished")
    assert told == [("running", False), ("paused", False), ("finished", True)]


def test_keeping_buffers_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("KERASNB_KEEP_MEMORY", "0")
    assert memory.keep_buffers.__wrapped__() is False


HOLES = """
import numpy as np, psutil
from kerasnb.training import memory

def resident():
    return psutil.Process().memory_info().rss / 1e6

if not memory.keep_buffers():
    print("None None None")
    raise SystemExit
large, small = [], []
for _ in range(100):  # 200 MB, and between them what stays
    large.append(np.ones(250_000))
    small.append(np.ones(100))
del large[:]
full = resident()
print(memory.give_back(), full - resident() > 150, memory.give_back())
"""


def test_memory_that_lies_idle_between_small_arrays_is_handed_back_once():
    told = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True
    ).stdout.split()
    if told[0] == "None":
        pytest.skip("this platform keeps no buffers")
    assert told == ["True", "True", "False"]
