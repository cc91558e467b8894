"""A training run that may be killed: `python killed_run.py FOLDER SECONDS`.

It writes what it ends with to FOLDER/result.npz. SECONDS after `fit` has begun it kills
itself with SIGKILL, unless it is done; 0 lets it live.
"""

import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np

import kerasnb
from kerasnb import callbacks, layers


class Count(callbacks.Callback):
    """Counts what it is told, and starts the clock of the killer."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.seen = 0
        self.draws = []

    def on_train_begin(self, logs=None):
        if self.seconds:
            kill = threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL))
            kill.daemon = True
            kill.start()
        self.seconds = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        self.draws.append(random.random())


def main(folder: Path, seconds: float, save_freq: str | int) -> None:
    kerasnb.utils.set_random_seed(5)
    model = kerasnb.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype("float32")
    count = Count(seconds)
    run = model.fit(
        x,
        x.sum(1, keepdims=True),
        batch_size=16,
        epochs=12,
        validation_split=0.2,
        verbose=0,
        callbacks=[
            callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq),
            callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=0.5),
            callbacks.EarlyStopping(patience=11, restore_best_weights=True),
            callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
            count,
        ],
    )
    state = [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]
    seeds = [np.asarray(v.value) for v in model.non_trainable_variables]
    curves = [np.array(run.history[name]) for name in sorted(run.history)]
    facts = [np.array(count.seen), np.array(count.draws), np.array(run.epoch)]
    np.savez(folder / "result.npz", *state, *seeds, *curves, *facts)


if __name__ == "__main__":
    freq = sys.argv[3] if len(sys.argv) > 3 else "epoch"
    main(
        Path(sys.argv[1]),
        float(sys.argv[2]),
        int(freq) if freq.isdigit() else freq,
    )
