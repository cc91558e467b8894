"""kerasnb.training.background: a run in a thread, and what others may do meanwhile"""

import io
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import redirect_stderr

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.core import claim

X = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
Y = X[:, :1]


def new(**how):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model.compile(**({"optimizer": "adam", "loss": "mse"} | how))
    return model


@pytest.fixture
def model():
    return new()


@pytest.fixture
def forever(model):
    """A run that has begun and would go on for long."""
    run = model.fit(X, Y, 8, epochs=10**6, verbose=0, background=True)
    until(lambda: run.step > 0)
    yield run
    run.stop()
    run._over.wait(30)


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def test_a_run_in_the_background_is_that_of_a_blocking_fit(model):
    blocking = new()
    history = blocking.fit(X, Y, 8, epochs=4, verbose=0, validation_split=0.25)
    model = new()
    x = X.copy()
    run = model.fit(
        x, Y, 8, epochs=4, verbose=0, validation_split=0.25, background=True
    )
    x[:] = 0  # Cells may use their arrays and NumPy's generator again.
    np.random.random(1000)
    assert run.wait() is model.history and run.done and run.status == "finished"
    assert model.history.history == history.history == run.history
    for v, v2 in zip(blocking._all_variables(), model._all_variables(), strict=True):
        np.testing.assert_array_equal(np.asarray(v), np.asarray(v2), v.path)


def test_whatever_is_read_meanwhile_is_of_one_whole_step(tmp_path):
    """Two copies of a weight are trained alike: they differ only if a read is torn."""

    class Twice(layers.Layer):
        def build(self, shape):
            first = [self.add_weight((300, 300), "zeros") for _ in range(6)]
            self.copies = first

        def call(self, x):
            total = sum(x @ w for w in self.copies)
            return total.sum(-1, keepdims=True)

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((300,)), Twice()])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.default_rng(0).normal(size=(64, 300)).astype("float32")
    run = model.fit(x, x[:, :1], 8, epochs=10**6, verbose=0, background=True)
    until(lambda: run.step > 0)

    def same(arrays):
        for array in arrays:
            np.testing.assert_array_equal(array, arrays[0])

    same_before, seen = None, set()
    for i in range(12):
        weights = model.get_weights()
        same(weights)
        seen.add(weights[0].tobytes())
        assert np.isfinite(model.predict(x[:8], verbose=0)).all()
        assert np.isfinite(np.asarray(model(x[:2]))).all()
        assert np.isfinite(model.evaluate(x, x[:, :1], verbose=0))
        assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
        if i % 6 == 0:
            model.save(tmp_path / "one.keras")
            loaded = keras.models.load_model(
                tmp_path / "one.keras", custom_objects={"Twice": Twice}
            )
            same(loaded.get_weights())
            steps = int(loaded.optimizer.iterations)
            assert same_before is None or steps > same_before
            same_before = steps
    assert len(seen) > 1, "nothing was trained meanwhile"
    run.stop()
    run.wait()
    same(model.get_weights())


def test_what_is_compiled_meanwhile_follows_the_training(model, forever):
    def told():
        w, b = model.layers[-1].get_weights()
        hidden = keras.Model(model.inputs, model.layers[-2].output)(X)
        wanted = np.asarray(hidden) @ w + b
        np.testing.assert_allclose(model.predict(X, verbose=0), wanted, atol=1e-4)
        np.testing.assert_allclose(model(X), wanted, atol=1e-4)
        loss = model.evaluate(X, Y, verbose=0)
        assert loss == pytest.approx(((wanted - Y) ** 2).mean(), rel=1e-4)
        return loss

    forever.pause()
    until(lambda: forever.status == "paused")
    before, step = told(), forever.step
    told()
    forever.set_learning_rate(1.0)
    forever.advance(5)
    until(lambda: forever.step == step + 5 and forever.status == "paused")
    assert told() > before


def test_an_array_that_somebody_holds_is_never_taken_away(model, forever):
    held = [model.layers[0].kernel.value, model.optimizer.iterations.value]
    before = [np.array(a) for a in held]
    step = forever.step
    until(lambda: forever.step > step + 50)
    for array, copy in zip(held, before, strict=True):
        np.testing.assert_array_equal(np.asarray(array), copy)
    assert int(model.optimizer.iterations) > int(before[1])


def test_a_blocking_fit_lets_other_threads_look_too():
    model, seen = new(), []

    def look(run, final=False):
        def read():
            seen.append(float(model.optimizer.learning_rate))
            seen.append(float(np.sum(model.layers[0].kernel)))

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()

    class Listen(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.run.listeners.append(look)

    model.fit(X, Y, 8, epochs=3, verbose=0, callbacks=[Listen()])
    assert len(seen) >= 2 and np.isfinite(seen).all()
    assert not claim._claims


REFUSED = {
    "fit": lambda m: m.fit(X, Y, verbose=0),
    "compile": lambda m: m.compile("sgd", "mse"),
    "train_on_batch": lambda m: m.train_on_batch(X, Y),
    "set_weights": lambda m: m.set_weights(m.get_weights()),
    "assign": lambda m: m.layers[0].kernel.assign(np.zeros((4, 8))),
    "learning_rate": lambda m: setattr(m.optimizer, "learning_rate", 0.1),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_disturb_the_training_is_refused_in_a_sentence(what, model, forever):
    words = (
        r"run `[\w-]+` of model `sequential\w*` is running in the background \(epoch"
    )
    with pytest.raises(RuntimeError, match=words) as caught:
        REFUSED[what](model)
    assert "stop()" in str(caught.value) and "wait()" in str(caught.value)
    assert forever.status == "running"


def test_runs_wait_for_one_another_and_one_that_waits_can_be_stopped(model, forever):
    other = new()
    second = other.fit(X, Y, epochs=1, verbose=0, background=True)
    third = model.fit(X, Y, epochs=1, verbose=0, background=True)
    assert (second.status, third.status) == ("queued", "queued")
    assert repr(second).endswith("queued, 0 of 1 epochs>")
    with pytest.raises(RuntimeError, match="is queued in the background"):
        other.compile("sgd", "mse")
    second.stop()
    assert second.done and second.status == "stopped" and second.wait() is None
    other.compile("sgd", "mse")
    forever.stop()
    assert len(third.wait().epoch) == 1 and model.run is third


def test_an_error_is_raised_by_wait_and_said_in_one_line(model):
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise OSError("disk full")

    said = io.StringIO()
    with redirect_stderr(said):
        run = model.fit(X, Y, epochs=3, verbose=0, callbacks=[Fails()], background=True)
        run._over.wait(60)
        until(lambda: said.getvalue())
    assert said.getvalue() == (
        f"Run `{run.name}` failed after 3 steps: OSError: disk full\n"
        "run.wait() raises it.\n"
    )
    with pytest.raises(OSError, match="disk full"):
        run.wait()
    assert run.status == "failed" and isinstance(run.exception, OSError)
    assert model.fit(X, Y, verbose=0).epoch == [0]


def test_wrong_arguments_are_told_at_once(model):
    for wrong, words in (
        ({"epochs": -1}, "epochs"),
        ({"y": Y[:5]}, "rows"),
        ({"callbacks": [3]}, "callback"),
        ({"background": "yes"}, "background"),
    ):
        given = {"x": X, "y": Y, "background": True, **wrong}
        with pytest.raises((ValueError, TypeError), match=words):
            model.fit(**given)


def test_waiting_can_end_without_the_run(model, forever):
    with pytest.raises(TimeoutError, match=r"is running at step \d+ after 0.01 sec"):
        forever.wait(0.01)

    def wait(run, final=False):
        if not raised:
            with pytest.raises(RuntimeError, match="would wait for itself"):
                run.wait()
            raised.append(True)

    raised = []
    forever.listeners.append(wait)
    until(lambda: raised)
    assert forever.status == "running"


SCRIPT = textwrap.dedent(
    """
    import os, signal, threading, time
    import numpy as np
    import kerasnb as keras
    from kerasnb import layers

    x = np.random.rand(2000, 8).astype("float32")
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1)])
    model.compile("adam", "mse")
    run = model.fit(x, x[:, :1], epochs=10**6, verbose=0, background=True)
    while not run.step:
        time.sleep(0.01)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        run.wait()
    except KeyboardInterrupt:
        step = run.step
        while run.step == step:
            time.sleep(0.01)
        print("waiting ended,", run.status)
    """
)


def test_ctrl_c_ends_the_waiting_and_the_end_of_the_program_ends_the_run():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    first, *rest = done.stdout.splitlines()
    assert first == "waiting ended, running", done.stderr
    assert len(rest) == 1 and "was stopped after" in rest[0]
    assert done.returncode == 0 and done.stderr == ""
