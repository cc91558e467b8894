"""`fit` against hand-written JAX: the same model, data and optimizer, in one process.

Run it: `make bench`, or `python tests/benchmarks/against_handwritten.py`. Laps of both
take turns, so that a busy machine slows both; the ratio of the best laps counts.
"""

import argparse
import json
import time

import numpy as np
from handwritten import make_epoch

import kerasnb as keras
from kerasnb import layers

SETTINGS = {
    # name: (rows, batch size, epochs in a lap)
    "mlp": (10_000, 32, 3),
    "cnn": (4_096, 128, 1),
}


def model_of(name):
    if name == "mlp":
        stack = [
            keras.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    else:
        stack = [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    model = keras.Sequential(stack)
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


class LapTimer(keras.callbacks.Callback):
    """Notes the time at the end of every lap, and runs the other side in between."""

    def __init__(self, epochs_in_lap, other):
        super().__init__()
        self.epochs, self.other = epochs_in_lap, other
        self.laps, self.began = [], None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch % self.epochs == 0:
            self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.epochs == 0:
            self.laps.append(time.perf_counter() - self.began)
            self.other()


def measure(name, laps):
    rows, batch_size, epochs = SETTINGS[name]
    rng = np.random.default_rng(0)
    shape = (784,) if name == "mlp" else (28, 28, 1)
    x = rng.random((rows, *shape), "float32")
    y = rng.integers(0, 10, rows).astype("int32")
    epoch, state = make_epoch(name, x, y, batch_size)
    state, *_ = epoch(state)
    hand = []

    def lap_by_hand():
        nonlocal state
        began = time.perf_counter()
        for _ in range(epochs):
            state, *_ = epoch(state)
        hand.append(time.perf_counter() - began)

    timer = LapTimer(epochs, lap_by_hand)
    model_of(name).fit(
        x, y, batch_size, epochs=epochs * (laps + 1), verbose=0, callbacks=[timer]
    )
    ours = timer.laps[1:]
    hand = hand[1:]
    return {
        "hand_ms": 1000 * min(hand) / epochs,
        "fit_ms": 1000 * min(ours) / epochs,
        "ratio": min(ours) / min(hand),
        "ratio_of_medians": float(np.median(ours) / np.median(hand)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(SETTINGS))
    parser.add_argument("--laps", type=int, default=7)
    args = parser.parse_args()
    for name in args.models:
        found = measure(name, args.laps)
        print(name, json.dumps({k: round(v, 3) for k, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
