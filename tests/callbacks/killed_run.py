"""Runs that may be killed: `python -m tests.callbacks.killed_run` forks itself.

Each line on standard input is a JSON object `{scenario, folder, seconds, event, by}`.
A fork runs the scenario in the folder and writes what it ends with to `result.npz`. It
gets the signal `by`, SIGKILL if none is given, `seconds` after it began to train, or
at the `event`-th thing it does to a file. The answer tells how it ended.

Forks have not touched JAX's devices before, and share a cache of compiled programs.
"""

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

import kerasnb
from kerasnb import callbacks, layers

ROWS = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
TARGETS = ROWS.sum(1, keepdims=True)
LONGEST = 240  # seconds, for a fork that hangs


# --- What is trained ------------------------------------------------------------------


class Batches(kerasnb.utils.PyDataset):
    """Batches in an order that changes with every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(3)
        self.order = np.arange(10)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, i):
        rows = slice(self.order[i] * 16, self.order[i] * 16 + 16)
        return ROWS[rows], TARGETS[rows]

    def on_epoch_end(self) -> None:
        self.rng.shuffle(self.order)


def endless(seed):
    """Batches of random rows, one after the other without end."""
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.integers(0, 200, 16)
        yield ROWS[rows], TARGETS[rows]


class Count(callbacks.Callback):
    """Remembers in all the ways there are, and writes down how far the run is."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.progress = folder / "progress.txt"
        self.seen = 0
        self.draws = []
        self.state = {"best": (0.0, None), 3: {1, 2}, "array": np.zeros(2)}
        self.rng = np.random.default_rng(8)

    def write(self, word: str) -> None:
        with self.progress.open("a") as file:
            file.write(f"{word} {self.model.run.step}\n")

    def on_train_begin(self, logs=None):
        self.begun = False
        begin()

    def on_epoch_begin(self, epoch, logs=None):
        if not self.begun:
            self.write("begin")
        self.begun = True

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        self.draws.append(random.random() + self.rng.random())
        self.state["array"] += logs["loss"]
        self.write("at")


class CountSteps(Count):
    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        self.write("at")


def network():
    model = kerasnb.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    rate = kerasnb.optimizers.schedules.CosineDecay(0.02, 200)
    return model, rate


def train(folder: Path, model, data, counter, others, **backup) -> None:
    run = model.fit(
        **data,
        verbose=0,
        callbacks=[
            callbacks.BackupAndRestore(
                folder / "backup", delete_checkpoint=False, **backup
            ),
            *others,
            counter(folder),
        ],
    )
    count = next(c for c in model.run.callbacks if isinstance(c, Count))
    state = [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]
    seeds = [np.asarray(v.value) for v in model.non_trainable_variables]
    curves = [np.array(run.history[name]) for name in sorted(run.history)]
    facts = [np.array(count.seen), np.array(count.draws), count.state["array"]]
    facts += [np.array(run.epoch), np.array(count.rng.random())]
    finish(folder, *state, *seeds, *curves, *facts)


def finish(folder: Path, *arrays) -> None:
    draft = folder / ".result.npz"
    np.savez(draft, *arrays)
    draft.rename(folder / "result.npz")


ARRAYS = {"x": ROWS, "y": TARGETS, "batch_size": 16, "validation_split": 0.2}


def by_epoch(folder: Path) -> None:
    model, _ = network()
    model.compile("adam", "mse", metrics=["mae"])
    others = [
        callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=0.5),
        callbacks.EarlyStopping(patience=11, restore_best_weights=True),
        callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
        callbacks.CSVLogger(folder / "log.csv"),
    ]
    train(folder, model, ARRAYS | {"epochs": 12}, Count, others)


def by_steps(folder: Path) -> None:
    model, rate = network()
    model.compile(kerasnb.optimizers.AdamW(rate), "mse")
    others = [
        callbacks.EarlyStopping("loss", patience=2, min_delta=9, start_from_epoch=2),
        callbacks.ModelCheckpoint(
            folder / "s{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=4
        ),
        callbacks.ModelCheckpoint(folder / "last.keras", save_freq=5),
        callbacks.CSVLogger(folder / "log.csv", append=True),
    ]
    data = ARRAYS | {"epochs": 7}
    train(folder, model, data, CountSteps, others, save_freq=3, double_checkpoint=True)


def from_dataset(folder: Path) -> None:
    model, rate = network()
    model.compile(kerasnb.optimizers.SGD(rate, momentum=0.9), "mse")
    data = {"x": Batches(), "validation_data": (ROWS[:32], TARGETS[:32]), "epochs": 8}
    others = [callbacks.CSVLogger(folder / "log.csv", append=True)]
    train(folder, model, data, CountSteps, others, save_freq=2)


def from_generator(folder: Path) -> None:
    model, _ = network()
    model.compile("adam", "mse")
    data = {"x": endless(1), "steps_per_epoch": 9, "epochs": 10}
    data |= {"validation_data": endless(2), "validation_steps": 2}
    others = [callbacks.ModelCheckpoint(folder / "e{epoch}-{loss:.2f}.keras")]
    train(folder, model, data, Count, others)


def saving(folder: Path) -> None:
    """Save over the same files again and again; all weights hold one number."""
    model, _ = network()
    model.compile("adam", "mse")
    begin()
    for number in range(40):
        model.set_weights([np.full_like(w, number) for w in model.get_weights()])
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        model.save_weights(folder / "parts.weights.json", max_shard_size=5e-7)
    finish(folder, np.array(number))


SCENARIOS = {f.__name__: f for f in (by_epoch, by_steps, from_dataset, from_generator)}
SCENARIOS["saving"] = saving


# --- The server -----------------------------------------------------------------------

_TOUCHES = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")
_fork = {"folder": "", "tell": -1, "event": 0, "by": 0, "touches": 0, "begun": False}


def begin() -> None:
    """From here on a fork may be killed."""
    _fork["begun"] = True
    os.write(_fork["tell"], b"!")


def count_touch(event: str, arguments: tuple) -> None:
    """Count what is done to the files of a run, and die when its time has come."""
    mine = _fork["begun"] and event in _TOUCHES
    if mine and str(arguments[0]).startswith(_fork["folder"]):
        _fork["touches"] += 1
        if _fork["touches"] == _fork["event"]:
            os.kill(os.getpid(), _fork["by"])


def run_fork(scenario: str) -> None:
    """What a fork does; never returns."""
    folder = Path(_fork["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(folder / "errors.txt", os.O_CREAT | os.O_WRONLY), 2)
    os.dup2(2, 1)
    signal.alarm(LONGEST)
    sys.addaudithook(count_touch)
    try:
        kerasnb.utils.set_random_seed(5)
        SCENARIOS[scenario](folder)
        os.write(_fork["tell"], str(_fork["touches"]).encode())
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(2 if isinstance(error, KeyboardInterrupt) else 1)


def fork(scenario, folder, seconds=0, event=0, by=signal.SIGKILL) -> dict:
    """Run a scenario in a fork, and kill it in time; how it ended."""
    news, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _fork.update(folder=folder, tell=tell, event=event, by=by)
        run_fork(scenario)
    os.close(tell)
    os.read(news, 1)
    began = time.monotonic()
    # The other end of the pipe is closed when the fork has ended.
    if not select.select([news], [], [], seconds or None)[0]:
        os.kill(child, by)
    touches = os.read(news, 100)
    _, status = os.waitpid(child, 0)
    os.close(news)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "touches": int(touches or 0),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(fork(**json.loads(line))), flush=True)
