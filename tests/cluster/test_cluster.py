"""kerasnb.cluster: two real engines on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

import kerasnb as keras
from kerasnb import callbacks, cluster, layers
from kerasnb.cluster import EngineLostError

pytestmark = pytest.mark.cluster

RNG = np.random.default_rng(7)
X = RNG.normal(size=(192, 6)).astype("float32")
Y = X[:, :1] * X[:, 1:2] + X[:, 2:3]


def make_model():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    keras.utils.set_random_seed(11)
    return model


class Slowly(callbacks.Callback):
    """Leaves time for somebody to do something in the middle of a run."""

    def __init__(self, seconds=0.05):
        super().__init__()
        self.seconds = seconds
        self.epochs_seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_seen += 1
        time.sleep(self.seconds)


class AtHome(callbacks.Callback):
    """Calls a function of this process after an epoch."""

    at_home = True

    def __init__(self, epoch, function):
        super().__init__()
        self.epoch, self.function = epoch, function

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.function()


def alone(epochs=4, **options):
    """The same run in this process."""
    model = make_model()
    history = model.fit(X, Y, epochs=epochs, batch_size=32, verbose=0, **options)
    return model, history


def same_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def same_history(a, b):
    assert a.epoch == b.epoch and list(a.history) == list(b.history)
    for name, values in a.history.items():
        np.testing.assert_allclose(values, b.history[name], atol=1e-5)


@pytest.fixture(scope="module")
def engines():
    with cluster.start(2) as started:
        yield started


def fit(engines, model, epochs=4, **options):
    options = {"verbose": 0, "batch_size": 32, "epochs": epochs} | options
    return engines.fit(model, X, Y, **options)


def test_fit_on_engines_is_fit(engines):
    validation = (X[:40], Y[:40])
    model, slowly = make_model(), Slowly(0)
    history = fit(engines, model, validation_data=validation, callbacks=[slowly])
    other, wanted = alone(validation_data=validation)
    same_history(wanted, history)
    same_weights(other, model)
    assert slowly.epochs_seen == 4  # what the callback became there came home
    assert history is model.history
    assert (model.run.status, model.run.step) == ("finished", 24)
    assert len(model.run.steps["loss"]) == 24
    record = keras.runs[-2]  # before the one of `alone`
    assert (record.status, record.epochs_done) == ("finished", 4)
    # Further training goes on from here, optimizer and all.
    assert int(model.optimizer.iterations) == 24
    keras.utils.set_random_seed(5)
    fit(engines, model, epochs=1)
    drawn = np.random.rand()
    keras.utils.set_random_seed(5)
    other.fit(X, Y, epochs=1, batch_size=32, verbose=0)
    same_weights(other, model)
    assert drawn == np.random.rand()  # as if it had been computed here
    np.testing.assert_allclose(
        engines.evaluate(model, X, Y), other.evaluate(X, Y, verbose=0), atol=1e-5
    )
    wanted = other.predict(X[:7], verbose=0)
    np.testing.assert_allclose(engines.predict(model, X[:7]), wanted, atol=1e-5)
    np.testing.assert_allclose(engines.predict(model, X[:1]), wanted[:1], atol=1e-5)


def test_engines_can_make_the_data_themselves(engines):
    def data():
        return X, Y

    unbuilt = keras.Sequential([layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    history = engines.fit(unbuilt, data, epochs=2, verbose=0)
    assert history.epoch == [0, 1] and unbuilt.count_params() == 7


def test_models_can_be_spread_over_engines(engines, tmp_path):
    names = engines.devices()
    assert len(names) == 2 == len(engines)

    def split():
        mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], names)
        layout = keras.distribution.LayoutMap(mesh)
        layout[".*dense/kernel"] = (None, "model")
        return keras.distribution.ModelParallel(layout_map=layout)

    model = make_model()
    history = fit(engines, model, distribution=split, backup_dir=tmp_path)
    other, wanted = alone()
    same_history(wanted, history)
    same_weights(other, model)


def test_a_run_is_steered_from_here(engines):
    model = make_model()

    def steer():
        model.run.set_learning_rate(0.5)
        model.run.stop_after_epoch()

    history = fit(
        engines, model, epochs=500, callbacks=[Slowly(), AtHome(2, steer)], verbose=0
    )
    assert 3 <= len(history.epoch) < 200
    assert model.run.status == "stopped"
    assert float(model.optimizer.learning_rate) == 0.5


def test_an_interrupt_ends_at_a_whole_step_with_the_weights_at_home(engines):
    model = make_model()
    start = model.get_weights()

    def interrupt():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        fit(engines, model, epochs=500, callbacks=[Slowly(), AtHome(1, interrupt)])
    assert model.run.status == "interrupted"
    assert int(model.optimizer.iterations) == model.run.step > 0
    assert not np.allclose(model.get_weights()[0], start[0])
    # The engines are there for the next.
    assert [row["state"] for row in engines.status] == ["idle", "idle"]
    assert all(row["memory"] > 1e6 for row in engines.status)


@pytest.mark.parametrize("victim", [1, 0])
def test_the_loss_of_an_engine_costs_no_more_than_an_epoch(engines, victim, tmp_path):
    wanted, history = alone(epochs=6)
    pids, model = engines.run(os.getpid), make_model()

    def kill():
        os.kill(pids[victim], signal.SIGKILL)

    def options(*more):
        early = callbacks.EarlyStopping("loss", patience=9)
        return {"callbacks": [Slowly(0.2), early, *more], "backup_dir": tmp_path}

    began = time.monotonic()
    with pytest.raises(EngineLostError) as caught:
        fit(engines, model, epochs=6, **options(AtHome(2, kill)))
    assert time.monotonic() - began < 30
    told = str(caught.value)
    assert f"engine {victim} on host" in told and "of 6, after step" in told
    assert str(tmp_path / "latest.npz") in told and "resume=True" in told
    # The weights are those of the end of an epoch: a run up to there has the same.
    epochs = int(model.optimizer.iterations) // 6
    assert epochs >= 1
    same_weights(alone(epochs)[0], model)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "lost" in {row["state"] for row in engines.status}
    # The next call brings fresh engines, and the run ends as it would have.
    resumed = fit(engines, model, epochs=6, resume=True, **options())
    same_history(history, resumed)
    same_weights(wanted, model)
    assert list(tmp_path.parent.glob(f"{tmp_path.name}/*")) == []


def test_errors_come_home_as_sentences(engines, tmp_path):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        engines.run(lambda: 1 / 0)
    with pytest.raises(ValueError, match="cluster.run: `function` must be a function"):
        engines.run(3)
    model = make_model()
    with pytest.raises(TypeError, match="has no argument `epoch`. Did you mean"):
        engines.fit(model, X, Y, epoch=3)
    slowly = Slowly()
    slowly.lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot travel to the engines.*at_home"):
        fit(engines, model, callbacks=[slowly])
    with pytest.raises(TypeError, match="a function that each engine calls"):
        engines.fit(model, (batch for batch in [(X, Y)]))
    with pytest.raises(ValueError, match="nothing to resume"):
        fit(engines, model, resume=True, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="`model` must be a compiled model"):
        engines.fit(None, X, Y)

    def broken():
        raise ValueError("broken data")

    with pytest.raises(ValueError, match="broken data"):
        engines.fit(model, broken)
    with pytest.raises(EngineLostError, match="did not end `run` within 0.1 seconds"):
        engines.run(time.sleep, 1, timeout=0.1)
    same_weights(make_model(), model)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cluster.start(0), ValueError, "`n` must be a positive number"),
        (lambda: cluster.start("slrm", 2), ValueError, 'Did you mean "slurm"'),
        (lambda: cluster.attach("here"), ValueError, "`client` must be an ipyparallel"),
        (lambda: cluster.attach(profile="nobody"), EngineLostError, "nobody answers"),
    ],
)
def test_misuse_is_told_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_others_engines_can_be_attached_to_and_stay(engines):
    attached = cluster.attach(cluster_id=engines._launched.cluster_id)
    assert attached.devices() == engines.devices()
    assert attached.run(lambda: 5) == [5, 5]
    with pytest.raises(RuntimeError, match="started by somebody else"):
        attached.restart()
    attached.stop()
    assert engines.run(lambda: 6) == [6, 6]


def test_nothing_runs_on_when_the_notebook_is_killed():
    code = (
        "import os, time\nfrom kerasnb import cluster\n"
        "engines = cluster.start(1)\n"
        "pids = [*engines.run(os.getpid), engines._launched.controller.process.pid]\n"
        "print(*pids, flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as notebook:
        pids = [int(word) for word in notebook.stdout.readline().split()]
        children = psutil.Process(notebook.pid).children(recursive=True)
        pids = {*pids, *(child.pid for child in children)}
        notebook.kill()
    assert len(pids) > 2  # the controller has processes of its own
    limit = time.monotonic() + 30
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, pids))
