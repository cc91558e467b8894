"""Runs that are killed and go on."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kerasnb
from kerasnb import callbacks, layers

ROOT = Path(__file__).parents[2]


def run(folder, seconds, save_freq):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.callbacks.killed_run"]
    command += [str(folder), str(seconds), str(save_freq)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def results(folder):
    with np.load(folder / "result.npz") as file:
        return {name: file[name] for name in file.files}


def killed_again_and_again(folder, save_freq, kills, rng):
    """Run until it ends by itself, killed at random instants; how often it was."""
    done = 0
    while True:
        delay = rng.uniform(0.001, 0.3) if done < kills else 0
        ended = run(folder, delay, save_freq)
        if ended.returncode == 0:
            return done
        assert ended.returncode == -9, ended.stderr
        done += 1
        best = folder / "best.keras"
        if best.exists():
            kerasnb.saving.load_model(best)


@pytest.mark.parametrize(
    ("save_freq", "kills"),
    [
        (3, 1),
        pytest.param("epoch", 25, marks=pytest.mark.kills),
        pytest.param(1, 25, marks=pytest.mark.kills),
    ],
)
def test_a_run_killed_at_any_instant_ends_as_if_it_had_not_been(
    tmp_path, save_freq, kills
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, 0, save_freq).returncode == 0
    rng = random.Random(kills)
    count = killed_again_and_again(killed, save_freq, kills, rng)
    assert count
    wanted, found = results(whole), results(killed)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, name)
    assert not (killed / "backup").exists()


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


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`backup_dir` must be the path of a folder"):
        callbacks.BackupAndRestore("")
    with pytest.raises(ValueError, match="`save_freq` must be"):
        callbacks.BackupAndRestore("b", save_freq="batch")
