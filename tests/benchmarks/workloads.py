"""The models and data that are timed, for every side that trains them.

A workload is a row of `TABLE`. A side is a function of a workload that returns a lap: a
function that trains one epoch and returns the seconds it took, after a first one that
compiles. Sides whose package is not installed are left out. Nothing of JAX is imported
before a side asks for it: a process may be that of PyTorch alone.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.turns import Lap, timed


@dataclass(frozen=True)
class Workload:
    """A kind of model, the shape of a sample, how many, and in what batches."""

    kind: str
    shape: tuple
    rows: int
    batch: int
    sizes: tuple = ()  # of the layers of a dense model
    words: int = 0  # inputs are numbers of words below it

    def data(self, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, noise."""
        rng, rows = np.random.default_rng(0), rows or self.rows
        x: Any = rng.random((rows, *self.shape), "float32")
        if self.words:
            x = rng.integers(0, self.words, (rows, *self.shape)).astype("int32")
        if self.sizes and self.sizes[-1] == 1:
            return x, rng.integers(0, 2, rows).astype("float32")
        return x, rng.integers(0, 10, rows).astype("int32")


def dense(batch: int, *sizes: int, rows: int = 10_000) -> Workload:
    """A chain of dense layers."""
    return Workload("dense", sizes[:1], rows, batch, sizes)


TABLE = {
    "tabular 1000x8, batch 32": dense(32, 8, 16, 1, rows=1000),
    "MLP 784-128-10, batch 32": dense(32, 784, 128, 10),
    "MLP 784-128-10, batch 128": dense(128, 784, 128, 10),
    "CNN 28x28, batch 128": Workload("cnn", (28, 28, 1), 2048, 128),
    "ResNet-20, batch 64": Workload("resnet", (32, 32, 3), 256, 64),
    "LSTM(64), 64 steps, batch 64": Workload("lstm", (64, 32), 1024, 64),
    "transformer, batch 32": Workload("transformer", (64,), 512, 32, words=1000),
}
GROWTH = {
    "width": {n: dense(128, 784, n, 10, rows=4000) for n in (32, 128, 512, 2048)},
    "depth": {n: dense(128, *[128] * n, 10, rows=4000) for n in (2, 5, 9, 17)},
    "batch": {n: dense(n, 784, 128, 10) for n in (8, 64, 512, 2048)},
    "rows": {n: dense(32, 784, 128, 10, rows=n) for n in (500, 5_000, 50_000)},
}


# --- kerasnb and Keras ----------------------------------------------------------------


def build(k: Any, work: Workload) -> Any:
    """The model of a workload in either library; it puts out logits."""
    layers = k.layers
    inputs = x = k.Input(work.shape, dtype="int32" if work.words else "float32")
    if work.kind == "dense":
        for width in work.sizes[1:-1]:
            x = layers.Dense(width, activation="relu")(x)
        return k.Model(inputs, layers.Dense(work.sizes[-1])(x))
    if work.kind == "cnn":
        for filters in (32, 64):
            x = layers.Conv2D(filters, 3, activation="relu")(x)
            x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(0.5)(layers.Flatten()(x))
    elif work.kind == "lstm":
        x = layers.LSTM(64)(x)
    elif work.kind == "transformer":
        x = _attentive(k, x)
    else:
        x = _residual(k, x)
    return k.Model(inputs, layers.Dense(10)(x))


def _attentive(k: Any, x: Any) -> Any:
    layers = k.layers
    places = k.ops.cumsum(k.ops.ones_like(x), axis=1) - 1
    x = layers.Embedding(1000, 64)(x) + layers.Embedding(64, 64)(places)
    for _ in range(2):
        y = layers.MultiHeadAttention(4, 16)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(y))
        y = layers.Dense(64)(layers.Dense(128, activation="relu")(x))
        x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(y))
    return layers.GlobalAveragePooling1D()(x)


def _residual(k: Any, x: Any) -> Any:
    layers = k.layers

    def normalised(x: Any, filters: int, size: int = 3, stride: int = 1) -> Any:
        how = {"strides": stride, "padding": "same", "use_bias": False}
        return layers.BatchNormalization()(layers.Conv2D(filters, size, **how)(x))

    x = layers.ReLU()(normalised(x, 16))
    wide = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            stride = 1 if filters == wide else 2
            y = layers.ReLU()(normalised(x, filters, stride=stride))
            y = normalised(y, filters)
            if stride == 2:
                x = normalised(x, filters, 1, 2)
            x, wide = layers.ReLU()(y + x), filters
    return layers.GlobalAveragePooling2D()(x)


def compiled(k: Any, work: Workload, metrics: Any = ("accuracy",)) -> Any:
    """The model, ready to be trained."""
    model = build(k, work)
    losses = k.losses
    if work.sizes and work.sizes[-1] == 1:
        loss: Any = losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=list(metrics))
    return model


class Laps:
    """One long `fit` in a thread of its own, which goes on an epoch at a time."""

    def __init__(self, k: Any, work: Workload, model: Any = None, **options: Any):
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._ends, self._error = False, RuntimeError("the training came to its end")
        laps = self

        class Gate(k.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                laps._go.acquire()
                self.model.stop_training = laps._ends
                laps._began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                laps.seconds = time.perf_counter() - laps._began
                self.model.stop_training = laps._ends
                laps._done.release()

        x, y = work.data()
        model = model or compiled(k, work)
        options = {"verbose": 0, "callbacks": [], **options}
        options["callbacks"] = [Gate(), *options["callbacks"]]

        def run() -> None:
            try:
                model.fit(x, y, work.batch, epochs=1_000_000, **options)
            except BaseException as error:  # noqa: BLE001 (told to who waits)
                self._error = error
            self.seconds = None
            self._done.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def __call__(self) -> float:
        """Train one epoch; its seconds."""
        self._go.release()
        self._done.acquire()
        if self.seconds is None:
            self._done.release()  # Whoever asks again hears it again.
            raise self._error
        return self.seconds

    def end(self) -> None:
        """Let the training end; one that hangs is left behind."""
        self._ends = True
        self._go.release()
        self._thread.join(20)


def kerasnb(work: Workload) -> Laps:
    """Ours."""
    import kerasnb

    return Laps(kerasnb, work)


def keras(work: Workload) -> Laps:
    """The released Keras on JAX."""
    import keras

    return Laps(keras, work)


FEW, MANY = 2, 42  # epochs of two fits: the difference is that of so many epochs


def whole(k: Any, work: Workload, looks: bool) -> Lap:
    """An epoch of `fit`: a long one less a short one, and `looks` at every epoch."""
    model, (x, y), seen = compiled(k, work), work.data(), []

    class Look(k.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(logs["loss"])

    def fit(epochs: int) -> float:
        how = {"epochs": epochs, "verbose": 0, "callbacks": [Look()] * looks}
        return timed(lambda: model.fit(x, y, work.batch, **how))()

    return lambda: (fit(MANY) - fit(FEW)) / (MANY - FEW)


# --- By hand, and other libraries -----------------------------------------------------


def handwritten(work: Workload) -> Lap:
    """One compiled call an epoch."""
    from tests.benchmarks.handwritten import make_epoch

    epoch, state = make_epoch(work.kind, *work.data(), work.batch, work.sizes)

    def run() -> None:
        nonlocal state
        state, *_ = epoch(state)

    return timed(run)


def flax(work: Workload) -> Lap:
    """Flax NNX with optax: `nnx.jit` on a step, a Python loop over batches."""
    import optax
    from flax import nnx

    from tests.benchmarks.flax_models import build, loss_of

    model = build(work)
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        gradient = nnx.value_and_grad(lambda m: loss_of(m(x), y), has_aux=True)
        (loss, right), grads = gradient(model)
        optimizer.update(model, grads)
        return loss, right

    x, y = work.data()

    def run() -> None:
        order, logs = np.random.permutation(len(x)), []
        for at in range(0, len(x), work.batch):
            rows = order[at : at + work.batch]
            logs.append(step(model, optimizer, x[rows], y[rows]))
        [float(part) for part in logs[-1]]

    return timed(run)


def torch(work: Workload) -> Lap:
    """PyTorch, eagerly."""
    import torch as t

    from tests.benchmarks.torch_models import build

    t.set_num_threads(os.cpu_count() or 1)
    model = build(work)
    optimizer = t.optim.Adam(model.parameters(), 1e-3)
    x, y = map(t.from_numpy, work.data())
    y = y if y.dtype.is_floating_point else y.long()
    binary = t.nn.functional.binary_cross_entropy_with_logits

    def run() -> None:
        model.train()
        total, right = t.zeros(()), t.zeros(())
        for rows in t.randperm(len(x)).split(work.batch):
            optimizer.zero_grad()
            out = model(x[rows])
            if out.shape[-1] == 1:
                loss = binary(out[:, 0], y[rows])
                good = (out[:, 0] > 0) == (y[rows] > 0.5)
            else:
                loss = t.nn.functional.cross_entropy(out, y[rows])
                good = out.argmax(1) == y[rows]
            loss.backward()
            optimizer.step()
            total += loss.detach()
            right += good.sum()
        float(total), float(right)

    return timed(run)


def installed(side: str) -> bool:
    """Whether the package of a side is there."""
    return side == "handwritten" or importlib.util.find_spec(side) is not None


SIDES: dict[str, Callable[[Workload], Lap]] = {
    "kerasnb": kerasnb,
    "handwritten": handwritten,
    "keras": keras,
    "flax": flax,
    "torch": torch,
}
