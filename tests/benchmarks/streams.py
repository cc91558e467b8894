"""`fit` on streamed batches against `fit` on the same data as arrays.

Run it: `make bench`, or `python -m tests.benchmarks.streams [SOURCE ...]`. Both sides
take turns, so that a busy machine slows both; the ratio of the best epochs counts.
Sources whose package is not installed are left out.
"""

import argparse
import importlib.util
import json
import math
import time

import numpy as np

import kerasnb as keras
from tests.benchmarks.workloads import TABLE, compiled

MODELS = {
    "mlp": TABLE["MLP 784-128-10, batch 32"],
    "cnn": TABLE["CNN 28x28, batch 128"],
}


def generator(x, y, batch_size):
    while True:
        for at in range(0, len(x), batch_size):
            yield x[at : at + batch_size], y[at : at + batch_size]


class Numbered(keras.utils.PyDataset):
    """Batches by number."""

    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.x[rows], self.y[rows]


def workers(x, y, batch_size):
    return Numbered(x, y, batch_size, workers=2)


def tensorflow(x, y, batch_size):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((x, y))
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


class Rows:
    """Samples in memory, as `torch` and `grain` ask for them."""

    def __init__(self, x, y, indices=None):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]

    def __getitems__(self, indices):
        return self.x[indices], self.y[indices]


def torch(x, y, batch_size):
    """Whole batches at once, as `__getitems__` of PyTorch lets a dataset give them."""
    import torch as t
    from torch.utils.data import DataLoader

    def collate(batch):
        return tuple(t.from_numpy(part) for part in batch)

    return DataLoader(Rows(x, y), batch_size=batch_size, collate_fn=collate)


def grain(x, y, batch_size):
    """Whole batches at once, in an `IterDataset`."""
    import grain

    numbers = grain.MapDataset.range(-(-len(x) // batch_size))
    starts = numbers.map(lambda i: slice(i * batch_size, (i + 1) * batch_size))
    return starts.map(lambda rows: (x[rows], y[rows])).to_iter_dataset()


SOURCES = {
    "generator": generator,
    "PyDataset": Numbered,
    "workers": workers,
    "tensorflow": tensorflow,
    "torch": torch,
    "grain": grain,
}


class Epochs(keras.callbacks.Callback):
    """Notes how long every epoch took, but for the first, which may compile."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            self.seconds.append(time.perf_counter() - self.began)


def measure(name, source, laps):
    work, batch_size = MODELS[name], MODELS[name].batch
    rows = work.rows // batch_size * batch_size
    x, y = work.data(rows)
    model, resident, streamed = compiled(keras, work), Epochs(), Epochs()
    options = {"epochs": 3, "verbose": 0}
    steps = rows // batch_size if source == "generator" else None
    for _ in range(laps):
        model.fit(x, y, batch_size, callbacks=[resident], **options)
        batches = SOURCES[source](x, y, batch_size)
        model.fit(batches, steps_per_epoch=steps, callbacks=[streamed], **options)
    return {
        "resident_ms": 1000 * min(resident.seconds),
        "streamed_ms": 1000 * min(streamed.seconds),
        "ratio": min(streamed.seconds) / min(resident.seconds),
        "ratio_of_medians": float(
            np.median(streamed.seconds) / np.median(resident.seconds)
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", default=list(SOURCES))
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--laps", type=int, default=5)
    args = parser.parse_args()
    for source in args.sources:
        package = source in ("tensorflow", "torch", "grain")
        if package and importlib.util.find_spec(source) is None:
            print(source, "is not installed", flush=True)
            continue
        for name in args.models:
            found = measure(name, source, args.laps)
            text = json.dumps({k: round(v, 3) for k, v in found.items()})
            print(f"{source:10} {name:4} {text}", flush=True)


if __name__ == "__main__":
    main()
