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
    import os, random, signal, threading
    import numpy as np
    import kerasnb as keras
    from kerasnb import layers

    x = np.random.rand(2000, 8).astype("float32")
    y = x[:, :1]
    model = keras.Sequential([
        keras.Input((8,)), layers.Dense(32), layers.BatchNormalization(),
        layers.Dropout(0.1), layers.Dense(1),
    ])
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0, validation_split=0.1)

    random.seed(0)
    done = 0
    for attempt in range(40):
        timer = threading.Timer(
            random.random() * 0.15, lambda: os.kill(os.getpid(), signal.SIGINT)
        )
        before, last_run = int(model.optimizer.iterations.value), model.run
        try:
            timer.start()
            model.fit(x, y, epochs=10000, verbose=0, validation_split=0.1)
        except KeyboardInterrupt:
            done += 1
        timer.join()
        # Weights, statistics, seeds and optimizer slots are those of a whole step.
        for v in [*model.variables, *model.optimizer.variables]:
            assert np.all(np.isfinite(np.asarray(v.value, dtype="float32"))), v.path
        assert int(model.optimizer.iterations.value) >= before
        assert np.isfinite(model.predict(x[:4], verbose=0)).all()
        # An early interrupt comes before the run has begun.
        assert model.run is last_run or model.run.status == "interrupted"
    print("interrupted", done)
    """
)


def test_random_interrupts_never_lose_the_weights():
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "interrupted 40" in result.stdout, result.stdout + result.stderr


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
