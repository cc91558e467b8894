"""One of the processes that train one model together (`test_processes.py`).

Arguments: the port of the first process, this process's number, a folder for all.
"""

import json
import os
import signal
import sys
import threading

import jax
import numpy as np

import kerasnb
from kerasnb import callbacks, distribution, layers
from kerasnb.distribution import DataParallel, DeviceMesh, LayoutMap, ModelParallel


def data(seed=0):
    """Features and labels, the same everywhere."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(83, 5)).astype("float32"), rng.integers(0, 3, 83)


def made():
    """A model with dropout and batch statistics, from a fixed seed."""
    kerasnb.utils.set_random_seed(3)
    model = kerasnb.Sequential(
        [
            layers.Dense(8, activation="relu", name="wide"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, name="last"),
        ]
    )
    loss = kerasnb.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kerasnb.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def trained(rows=slice(None), **options):
    """A model after two epochs, and what that gave."""
    model, (x, y) = made(), data()
    options = {"batch_size": 16, "epochs": 2, "verbose": 0, **options}
    history = model.fit(x[rows], y[rows], **options).history
    return model, {
        "history": history,
        "evaluation": model.evaluate(x, y, verbose=0),
        "prediction": model.predict(x[:7], verbose=0).tolist(),
        "weights": [w.tolist() for w in model.get_weights()],
    }


class Asks(callbacks.Callback):
    """Ask something of a run after an epoch, in the first process alone."""

    def __init__(self, **asked):
        super().__init__()
        self.asked = asked

    def on_epoch_end(self, epoch, logs=None):
        for name, when in self.asked.items():
            if epoch == when and jax.process_index() == 0:
                getattr(self, name)()

    def rate(self):
        self.model.run.set_learning_rate(0.25)

    def pause(self):
        self.model.run.pause()
        threading.Timer(0.3, self.model.run.resume).start()

    def stop(self):
        self.model.run.stop()

    def interrupt(self):
        os.kill(os.getpid(), signal.SIGINT)


class Fails(callbacks.Callback):
    """Fail after the second epoch, in the last process alone."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and jax.process_index() == 1:
            raise ZeroDivisionError("on purpose")


def ended(**options):
    """How an endless training ended: the error, the steps, the learning rate."""
    model, (x, y) = made(), data()
    error = ""
    try:
        model.fit(x, y, batch_size=16, epochs=10**6, verbose=0, **options)
    except (KeyboardInterrupt, RuntimeError, ZeroDivisionError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    rate = float(model.optimizer.learning_rate)
    return {"error": error, "steps": model.run.step, "rate": rate}


def main(port, number, folder):
    """Everything, in the order in which all processes do it."""
    said = {}
    distribution.initialize(f"127.0.0.1:{port},127.0.0.1:0", 2, number)
    said["devices"] = len(distribution.list_devices())
    said["draw"] = float(np.random.random())
    with DataParallel().scope():
        model, said["data parallel"] = trained()
        model.save(f"{folder}/model.keras")
        x, y = data()
        backup = callbacks.BackupAndRestore(f"{folder}/backup")
        model.fit(x, y, epochs=1, verbose=0, callbacks=[backup])
        loaded = kerasnb.models.load_model(f"{folder}/model.keras")
        said["loaded"] = loaded.evaluate(x, y, verbose=0)
        said["asked"] = ended(callbacks=[Asks(rate=1, pause=2, stop=3)])
        said["interrupted"] = ended(callbacks=[Asks(interrupt=1)])
        said["failed"] = ended(callbacks=[Fails()])
        try:
            model.fit(x[: 40 + number], y[: 40 + number], verbose=0)
        except ValueError as error:
            said["unequal"] = str(error)

    mesh = DeviceMesh((1, 2), ["batch", "model"])
    layout_map = LayoutMap(mesh)
    layout_map[".*wide/kernel"] = (None, "model")
    with ModelParallel(layout_map=layout_map).scope():
        keep = callbacks.OrbaxCheckpoint(f"{folder}/steps")
        model, said["model parallel"] = trained(callbacks=[keep])
        said["whole"] = model.layers[0].kernel.box.is_fully_addressable
        again = kerasnb.models.load_model(f"{folder}/steps")
        said["from orbax"] = again.evaluate(x, y, verbose=0)

    with DataParallel(auto_shard_dataset=False).scope():
        # Every second half batch: together they are the batches of all rows.
        half = np.arange(80).reshape(5, 2, 8)[:, number].ravel()
        _, said["own rows"] = trained(half, batch_size=8, shuffle=False)
    print(json.dumps(said))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
