"""A run in the background of a real kernel: its cells, its button, its end."""

import json
import time

import pytest

from tests.notebook.one_kernel import Kernel

pytestmark = pytest.mark.kernels

FIRST = """
import kerasnb as keras, numpy as np, time
keras.config.runs_dir({folder!r})
x = np.random.default_rng(0).normal(size=(512, 8)).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
"""
TRAIN = """
class Says(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 20:
            print("SAID in epoch 20")
run = model.fit(x, x[:, :1], epochs=10**6, background=True, callbacks=[Says()])
"""
FAIL = """
class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise OSError("the disk is full")
run = model.fit(x, x[:, :1], epochs=2, verbose=0, background=True, callbacks=[Fails()])
"""


@pytest.fixture
def kernel(tmp_path):
    made = Kernel()
    assert made.run(FIRST.format(folder=str(tmp_path / "runs"))).ok
    yield made
    made.close()


def test_cells_run_beside_a_run_that_the_stop_button_leaves_alone(kernel):
    first = kernel.client.execute(TRAIN)
    kernel.client.get_shell_msg(timeout=60)  # The cell is over.
    # An interrupted cell would take those behind it along, for a moment.
    alone = {"stop_on_error": False}
    second = kernel.client.execute("while True: time.sleep(0.01)", **alone)
    assert printed(kernel, "SAID") == first
    kernel.manager.interrupt_kernel()
    kernel.client.get_shell_msg(timeout=60)
    kernel.client.execute("print('WAITS'); run.wait()", **alone)
    printed(kernel, "WAITS")
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    kernel.client.get_shell_msg(timeout=60)
    shown = kernel.run("was = run.step\nwhile run.step == was: time.sleep(0.01)")
    assert shown.ok and kernel.run("print(run.status)").text == "running"
    assert second != first


def printed(kernel, words):
    """The cell under which something is printed, whatever runs meanwhile."""
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        if words in message["content"].get("text", ""):
            return message["parent_header"]["msg_id"]


def test_an_error_waits_for_whoever_waits(kernel):
    assert kernel.run(FAIL).ok
    shown = kernel.run("run.wait()")
    assert not shown.ok and "OSError: the disk is full" in shown.text
    assert kernel.run("print(run.status)").text == "failed"


def test_the_end_of_the_kernel_ends_the_run_at_a_whole_step(kernel, tmp_path):
    assert kernel.run(TRAIN).ok
    assert kernel.run("while run.epoch < 3: time.sleep(.01)").ok
    kernel.manager.shutdown_kernel(now=False)
    (record,) = (tmp_path / "runs").glob("*/run.json")
    facts = json.loads(record.read_text())
    assert facts["status"] == "stopped" and facts["epochs_done"] >= 3
