"""kerasnb.training.interrupts: Ctrl-C ends at a whole step and loses nothing"""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from kerasnb.training.interrupts import Interrupts

SCRIPT = textwrap.dedent(
    """
    import os, pathlib, random, signal, sys, tempfile, threading, time
    import numpy as np
    import kerasnb as keras
    from kerasnb import layers

    what, times = sys.argv[1], int(sys.argv[2])
    x = np.random.rand(2000, 8).astype("float32")
    y = x[:, :1]
    model = keras.Sequential([
        keras.Input((8,)), layers.Dense(32), layers.BatchNormalization(),
        layers.Dropout(0.1), layers.Dense(1),
    ])
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0, validation_split=0.1)
    model.evaluate(x, y, verbose=0)
    folder = tempfile.TemporaryDirectory()
    path = pathlib.Path(folder.name, "model.keras")
    model.save(path)

    def fit():
        model.fit(x, y, epochs=10000, verbose=0, validation_split=0.1)

    def evaluate():
        while True:
            model.evaluate(x, y, verbose=0)

    def save():
        while True:
            model.fit(x[:64], y[:64], verbose=0)
            model.save(path)

    def press(heard, seconds):
        time.sleep(seconds)
        while not heard.is_set():  # A collection of garbage swallows one at times.
            os.kill(os.getpid(), signal.SIGINT)
            heard.wait(2)

    def wait():
        model.run.wait()

    if what == "wait":
        going = model.fit(x, y, epochs=10**6, verbose=0, background=True)
        while not going.step:
            time.sleep(0.01)
    random.seed(0)
    done = 0
    for attempt in range(times):
        heard = threading.Event()
        button = threading.Thread(target=press, args=(heard, random.random() * 0.15))
        before, last_run = int(model.optimizer.iterations.value), model.run
        try:
            button.start()
            globals()[what]()
        except KeyboardInterrupt:
            done += 1
            heard.set()
        button.join()
        # Weights, statistics, seeds and optimizer slots are those of a whole step.
        for v in [*model.variables, *model.optimizer.variables]:
            assert np.all(np.isfinite(np.asarray(v.value, dtype="float32"))), v.path
        assert int(model.optimizer.iterations.value) >= before
        assert np.isfinite(model.predict(x[:4], verbose=0)).all()
        if what == "save":
            kept = keras.models.load_model(path)
            assert int(kept.optimizer.iterations) <= int(model.optimizer.iterations)
        elif what == "wait":
            assert going.status == "running"
        else:  # An early interrupt comes before the run has begun.
            assert model.run is last_run or model.run.status == "interrupted"
    if what == "wait":
        going.stop()
        going.wait(60)
    print("interrupted", done)
    """
)


def interrupted(what, times):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, what, str(times)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert f"interrupted {times}" in result.stdout, result.stdout + result.stderr


def test_random_interrupts_never_lose_the_weights():
    interrupted("fit", 40)


@pytest.mark.kills
@pytest.mark.parametrize("what", ["fit", "evaluate", "save", "wait"])
def test_hundreds_of_random_interrupts_lose_nothing(what):
    interrupted(what, 75)


def test_an_interrupt_is_held_until_the_step_is_whole():
    events = []

    def step(interrupts):
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGINT)
            np.linalg.inv(np.eye(50))
            events.append("stored")
        events.append("never")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        step(interrupts)
    assert events == ["stored"]


def test_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
