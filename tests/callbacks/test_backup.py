"""Runs that are killed and go on."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import kerasnb
from kerasnb import callbacks, layers
from tests.callbacks.killed_run import network

ROOT = Path(__file__).parents[2]


INTERRUPTED = 2  # how a fork ends that got SIGINT


class Nursery:
    """The server of `killed_run.py`."""

    def __init__(self, cache):
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.callbacks.killed_run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def run(self, scenario, folder, **kill):
        """How a run in the folder ended: `status`, `seconds`, `touches`."""
        folder.mkdir(exist_ok=True)
        request = {"scenario": scenario, "folder": str(folder), **kill}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        errors = (folder / "errors.txt").read_text()
        killed = (-signal.SIGKILL, -signal.SIGTERM, INTERRUPTED) if kill else ()
        assert answer["status"] in (0, *killed), errors
        return answer


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    nursery = Nursery(tmp_path_factory.mktemp("cache"))
    yield nursery
    nursery.process.stdin.close()
    assert nursery.process.wait(60) == 0
    nursery.process.stdout.close()


def drafts(folder):
    return list(folder.rglob(".kerasnb-*"))


def contents(folder):
    """What all files of a run hold, which proves that they can be read."""
    found = {}
    model, _ = network()
    for path in sorted(folder.rglob("[!.]*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".npz":
            with np.load(path) as file:
                found |= {f"{name}/{key}": file[key] for key in file.files}
        elif path.suffix == ".keras":
            weights = kerasnb.saving.load_model(path).get_weights()
            found |= {f"{name}/{i}": w for i, w in enumerate(weights)}
        elif path.suffix == ".json" or name.endswith("model.weights.h5"):
            model.load_weights(path)
            found |= {f"{name}/{i}": w for i, w in enumerate(model.get_weights())}
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                found[name] = np.array(sorted(arrays_in(file)))
        elif path.suffix == ".csv":
            found[name] = np.frombuffer(path.read_bytes(), np.uint8)
            assert not found[name].size or found[name][-1] == ord("\n")
    return found


def arrays_in(group):
    """The sums of all arrays in an HDF5 file."""
    for item in group.values():
        if hasattr(item, "shape"):
            yield float(np.sum(item[()], dtype="float64"))
        else:
            yield from arrays_in(item)


def lost_steps(folder):
    """The most steps that were known to be made and had to be made again."""
    lost, last = 0, 0
    for line in (folder / "progress.txt").read_text().splitlines():
        word, step = line.split()
        if word == "begin":
            lost = max(lost, last - int(step))
        last = int(step)
    return lost


# The most steps that a kill may cost: those between two backups, and the one that was
# made when the next had not begun.
MAY_COST = {
    "by_epoch": 10,
    "by_steps": 4,
    "from_dataset": 3,
    "from_generator": 9,
    "saving": None,
}


SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT]


def killed_again_and_again(nursery, scenario, folder, kills, rng, whole):
    """Run to the end, `kills` times killed on the way; begins anew if need be."""
    done, attempt, finished = 0, 0, None
    while done < kills or finished is None:
        place = folder / str(attempt)
        kill = {}
        if done < kills:
            if rng.random() < 0.5:
                kill = {"event": rng.randint(1, whole["touches"])}
            else:
                kill = {"seconds": rng.uniform(0, whole["seconds"] / 2)}
            kill["by"] = rng.choice(SIGNALS)
        ended = nursery.run(scenario, place, **kill)
        if ended["status"]:
            done += 1
            found = contents(place)
            if scenario == "saving":
                numbers = {k: v for k, v in found.items() if not k.startswith("parts")}
                for name in ("model.keras", "model.weights.h5"):
                    values = [v for k, v in numbers.items() if k.startswith(name)]
                    assert len({v.flat[0] for v in values}) <= 1
        else:
            finished, attempt = place, attempt + 1
    return finished


@pytest.mark.parametrize("scenario", MAY_COST)
@pytest.mark.parametrize(
    "kills", [1, pytest.param(12, marks=pytest.mark.kills)], ids=["once", "often"]
)
def test_a_run_killed_at_any_instant_ends_as_if_it_had_not_been(
    tmp_path, nursery, scenario, kills
):
    whole = nursery.run(scenario, tmp_path / "whole")
    rng = random.Random(f"{scenario} {kills}")
    (tmp_path / "killed").mkdir()
    folder = killed_again_and_again(
        nursery, scenario, tmp_path / "killed", kills, rng, whole
    )
    wanted, found = contents(tmp_path / "whole"), contents(folder)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        if not name.startswith("backup/"):  # it holds the paths of files
            np.testing.assert_array_equal(found[name], value, name)
    assert not drafts(folder)
    if MAY_COST[scenario] is not None:
        assert lost_steps(folder) <= MAY_COST[scenario]


def small():
    model = kerasnb.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


class Fail(callbacks.Callback):
    """Ends the run by an error in the given epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            raise RuntimeError("the power went out")


def train(model, folder, *others, **options):
    x = np.linspace(-1, 1, 40, dtype="float32").reshape(20, 2)
    backup = callbacks.BackupAndRestore(folder, **options)
    return model.fit(
        x, x[:, :1], epochs=4, batch_size=4, verbose=0, callbacks=[backup, *others]
    )


def test_a_run_goes_on_after_the_last_whole_epoch(tmp_path):
    with pytest.raises(RuntimeError, match="power"):
        train(small(), tmp_path / "b", Fail(2))
    history = train(small(), tmp_path / "b")
    assert len(history.history["loss"]) == 4
    assert history.epoch == [0, 1, 2, 3]
    assert not (tmp_path / "b").exists()


def test_a_run_that_was_stopped_early_stays_stopped(tmp_path):
    stop = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", epoch > 0)
    )
    train(small(), tmp_path, stop, delete_checkpoint=False)
    again = train(small(), tmp_path)
    assert again.epoch == [0, 1]


def test_the_backup_before_serves_when_the_last_is_damaged(tmp_path):
    with pytest.raises(RuntimeError, match="power"):
        train(small(), tmp_path, Fail(3), double_checkpoint=True)
    (tmp_path / "latest.npz").write_bytes(b"half of it")
    seen = []
    watch = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch)
    )
    train(small(), tmp_path, watch)
    assert seen == [2, 3]


def test_a_backup_that_cannot_be_read_or_is_of_another_model_is_an_error(tmp_path):
    (tmp_path / "latest.npz").write_bytes(b"half of it")
    with pytest.raises(ValueError, match="cannot be read; delete the folder"):
        train(small(), tmp_path)
    (tmp_path / "latest.npz").unlink()
    train(small(), tmp_path, delete_checkpoint=False)
    other = kerasnb.Sequential([layers.Input((2,)), layers.Dense(1, use_bias=False)])
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match="is of another model"):
        train(other, tmp_path)


class Everything(callbacks.Callback):
    """Remembers what JSON has no words for."""

    def __init__(self, patience=1, seen=()):
        super().__init__()
        self.patience, self.seen = patience, list(seen)
        self.rng = np.random.default_rng(4)
        self.state = {}
        self.file = sys.stdout

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch)
        self.state = {
            "tuple": (epoch, None, "a"),
            7: {epoch, epoch + 1},
            "array": np.arange(epoch),
            "scalar": np.float32(0.1),
            "jax": jnp.ones(2, "bfloat16"),
            "draw": self.rng.random(),
        }


def test_callbacks_get_back_what_they_remember_and_keep_their_new_arguments(tmp_path):
    whole = Everything()
    train(small(), tmp_path / "whole", whole)
    with pytest.raises(RuntimeError, match="power"):
        train(small(), tmp_path / "b", Everything(), Fail(3))
    again = Everything(patience=5)
    train(small(), tmp_path / "b", again)
    assert again.patience == 5
    assert again.file is sys.stdout
    assert again.seen == [0, 1, 2, 3]
    assert again.state.keys() == whole.state.keys()
    for key, value in whole.state.items():
        assert type(again.state[key]) is type(value)
        np.testing.assert_array_equal(again.state[key], value)


def test_the_best_value_of_a_checkpoint_survives(tmp_path):
    def checkpoint():
        return callbacks.ModelCheckpoint(
            tmp_path / "{epoch}.keras",
            monitor="loss",
            save_best_only=True,
            mode="max",
            initial_value_threshold=-1.0,
        )

    with pytest.raises(RuntimeError, match="power"):
        train(small(), tmp_path / "b", checkpoint(), Fail(2))
    train(small(), tmp_path / "b", checkpoint())
    # The loss falls: only that of the first epoch is the highest.
    assert [p.name for p in tmp_path.glob("*.keras")] == ["1.keras"]


@pytest.mark.parametrize("append", [False, True])
def test_the_rows_of_a_table_are_those_of_a_whole_run(tmp_path, append):
    def table(name):
        path = tmp_path / name
        path.write_text("epoch,loss,val_loss\r\n7,0.5,0.5\r\n")
        return callbacks.CSVLogger(path, append=append)

    kerasnb.utils.set_random_seed(0)
    train(small(), tmp_path / "whole", table("whole.csv"))
    kerasnb.utils.set_random_seed(0)
    logger = table("killed.csv")
    with pytest.raises(RuntimeError, match="power"):
        train(small(), tmp_path / "b", logger, Fail(2))
    # A row that was written after the last backup is written again.
    with (tmp_path / "killed.csv").open("a") as file:
        file.write("2,0.1,NA\r\n")
    logger = callbacks.CSVLogger(tmp_path / "killed.csv", append=append)
    train(small(), tmp_path / "b", logger)
    texts = [(tmp_path / name).read_bytes() for name in ("whole.csv", "killed.csv")]
    assert texts[0] == texts[1]
    assert (b"7,0.5" in texts[0]) == append


@pytest.mark.parametrize(
    ("make", "who"),
    [
        (lambda p: callbacks.BackupAndRestore(p / "b"), "BackupAndRestore"),
        (lambda p: callbacks.ModelCheckpoint(p / "m.keras"), "save"),
        (lambda p: callbacks.CSVLogger(p / "l.csv", append=True), "CSVLogger"),
    ],
)
def test_a_full_disk_is_named_and_the_old_file_kept(tmp_path, make, who):
    model, x = small(), np.ones((8, 2), "float32")
    how = {"x": x, "y": x[:, :1], "verbose": 0}
    if who == "CSVLogger":
        (tmp_path / "l.csv").write_text("x" * 999 + "\n")
    else:
        kept = callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
        model.fit(
            **how, callbacks=[kept if who == "BackupAndRestore" else make(tmp_path)]
        )
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    weights = None

    class Fill(callbacks.Callback):
        """The disk is full from the end of the first epoch on."""

        def on_epoch_end(self, epoch, logs=None):
            nonlocal weights
            weights = model.get_weights()
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))

    try:
        with pytest.raises(OSError, match=rf"{who}: cannot write .*file too large"):
            model.fit(**how, epochs=3, callbacks=[Fill(), make(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`backup_dir` must be the path of a folder"):
        callbacks.BackupAndRestore("")
    with pytest.raises(ValueError, match="`save_freq` must be"):
        callbacks.BackupAndRestore("b", save_freq="batch")
