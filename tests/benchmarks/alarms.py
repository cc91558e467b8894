"""`fit` with alarms on beside `fit` with alarms off, in one process.

Run it: `python tests/benchmarks/alarms.py`. Epochs of both take turns, so that a busy
machine slows both. `share` is the part of the time that was spent on the rules and
on samples of the gradient, all of which fall into the epochs with alarms; `ratio` is
that of the median epochs. `--always` has samples in runs that are too short for them.
"""

import argparse
import json
import time

import numpy as np

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import health, watch

SETTINGS = {
    # name: (shape, rows, batch size)
    "tabular": ((8,), 20_000, 32),
    "mlp": ((784,), 10_000, 32),
    "cnn": ((28, 28, 1), 2_048, 128),
}


def make(name):
    stack = {
        "tabular": [layers.Dense(16, activation="relu"), layers.Dense(1)],
        "mlp": [layers.Dense(128, activation="relu"), layers.Dense(10)],
        "cnn": [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ],
    }[name]
    model = keras.Sequential([keras.Input(SETTINGS[name][0]), *stack])
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", "mse" if name == "tabular" else classes)
    return model


class Turns(keras.callbacks.Callback):
    """Has the watch over the run sleep in every other epoch, and notes the times."""

    def __init__(self):
        super().__init__()
        self.times, self.inside = {True: [], False: []}, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        # on, off, off, on: whatever drifts, drifts for both.
        self.on = epoch % 4 in (0, 3)
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.times[self.on].append(time.perf_counter() - self.began)


def measure(name, seconds):
    shape, rows, batch_size = SETTINGS[name]
    rng = np.random.default_rng(0)
    x = rng.random((rows, *shape), "float32")
    # Something that can be learned: a run that goes wrong is looked at more closely.
    scores = x.reshape(rows, -1) @ rng.normal(size=(x[0].size, 10)).astype("float32")
    scores -= scores.mean(0)
    y = scores[:, :1] if name == "tabular" else scores.argmax(1).astype("int32")
    model, turns = make(name), Turns()
    model.fit(x, y, batch_size, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size, epochs=2, verbose=0)
    epochs = 4 * max(3, int(seconds * 2 / (time.perf_counter() - began) / 4))
    turn = watch.Watch.turn

    def every_other(self, *chunk):
        if turns.on:
            began = time.perf_counter()
            turn(self, *chunk)
            turns.inside += time.perf_counter() - began

    watch.Watch.turn = every_other
    try:
        model.fit(x, y, batch_size, epochs=epochs, verbose=0, callbacks=[turns])
    finally:
        watch.Watch.turn = turn
    on, off = np.array(turns.times[True]), np.array(turns.times[False])
    return {
        "epochs": epochs,
        "seconds": on.sum() + off.sum(),
        "epoch_ms": 1000 * off.min(),
        "ratio": float(np.median(on) / np.median(off)),
        "share": turns.inside / (on.sum() + off.sum()),
        "samples": len(model.run.health_points()[0]),
        "alarms": len(model.run.alarms),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(SETTINGS))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--always", action="store_true", help="compile at once")
    args = parser.parse_args()
    if args.always:
        health.Health._is_paid_for = lambda self: True
    for name in args.models:
        found = measure(name, args.seconds)
        print(name, json.dumps({k: round(v, 3) for k, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
