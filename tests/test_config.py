"""kerasnb.config beside keras.config."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb.core import compilation


@pytest.fixture
def limits():
    """Settings that are free again after the test."""
    yield kerasnb.config
    kerasnb.config.set_max_epochs(None)
    kerasnb.config.set_max_steps_per_epoch(None)


def trained(model):
    model.compile("sgd", "mse")
    batches = []
    watch = kerasnb.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batches.append(batch)
    )
    x = np.ones((20, 1))
    run = model.fit(x, x, batch_size=4, epochs=5, verbose=0, callbacks=[watch])
    return len(run.epoch), len(batches)


def test_limits_cut_epochs_and_steps_and_say_so(limits):
    model = kerasnb.Sequential([kerasnb.layers.Dense(1)])
    limits.set_max_epochs(2)
    limits.set_max_steps_per_epoch(3)
    with pytest.warns(UserWarning, match="Limiting") as said:
        # The second epoch goes on where the first ended, as in Keras: 3 and 2 of 5.
        assert trained(model) == (2, 5)
    assert {str(w.message).partition(",")[0] for w in said} == {
        "Limiting epochs to 2",
        "Limiting steps_per_epoch to 3",
    }
    with pytest.warns(UserWarning, match="Limiting steps to 3"):
        assert model.predict(np.ones((20, 1)), batch_size=4, verbose=0).shape == (12, 1)


def test_limits_come_from_the_environment_too(limits, monkeypatch):
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "7")
    assert limits.max_epochs() == 7
    assert limits.max_steps_per_epoch() is None
    with pytest.raises(ValueError, match="`max_epochs` must be a positive whole"):
        limits.set_max_epochs(0)


def test_traceback_filtering_is_tracebacks_by_another_name():
    before = kerasnb.config.is_traceback_filtering_enabled()
    try:
        kerasnb.config.disable_traceback_filtering()
        assert kerasnb.config.tracebacks() == "full"
        kerasnb.config.enable_traceback_filtering()
        assert kerasnb.config.is_traceback_filtering_enabled()
    finally:
        kerasnb.config.tracebacks("short" if before else "full")


def test_jax_is_the_only_backend():
    kerasnb.config.set_backend("jax")
    with pytest.raises(ValueError, match="`backend` must be"):
        kerasnb.config.set_backend("torch")
    assert kerasnb.config.is_nnx_enabled() is keras.config.is_nnx_enabled() is False


# --- Compiled programs on disk --------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
import jax
missed, found = [], []
names = {"misses": missed, "hits": found}
jax.monitoring.register_event_listener(
    lambda event, **more: names.get(event.rpartition("_")[2], []).append(event)
)
jax.numpy.ones(3)  # compiled before anybody thought of a cache
missed.clear()
import kerasnb as keras
import numpy as np
assert jax.config.jax_compilation_cache_dir is None, "the import does nothing"
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile("adam", "mse")
x = np.ones((10, 3), "float32")
model.fit(x, x[:, :2], batch_size=4, epochs=2, verbose=0, validation_split=0.2)
model.predict(x, verbose=0)
print(len(missed), len(found), keras.config.compilation_cache())
cache = keras.config.compilation_cache
assert keras.config.info()["compilation_cache"].endswith(" MB)")
assert cache(False) is None and jax.config.jax_compilation_cache_dir is None
assert cache(__file__ if "__file__" in globals() else sys.executable) is None
model.predict(x[:3], batch_size=2, verbose=0)
place = Path(sys.argv[1])
assert cache(place) == cache() and place in cache().parents
jax.jit(lambda x: x * 3.5)(1.0)
assert any(cache().iterdir()), "written to the new place"
"""


def test_a_process_that_comes_again_compiles_nothing(tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    env |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    env.pop("KERASNB_COMPILATION_CACHE")
    seen = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "other")],
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        misses, hits, folder = done.stdout.split(maxsplit=2)
        assert Path(folder.strip()).is_relative_to(tmp_path)
        seen.append((int(misses), int(hits)))
    assert seen[0][0] > 0 and seen[1] == (0, sum(seen[0]))


def test_a_cache_that_jax_was_told_of_stays():
    kerasnb.layers.Dense(1)
    told = Path(jax.config.jax_compilation_cache_dir)
    assert kerasnb.config.compilation_cache() == told and "kerasnb" not in told.parts
    for wrong in ({"path": ""}, {"path": 3}, {"max_size": 0}):
        with pytest.raises(ValueError, match="compilation_cache"):
            kerasnb.config.compilation_cache(**wrong)


@pytest.mark.parametrize("told", ["off", "0", ""])
def test_the_environment_can_switch_the_cache_off(told, monkeypatch):
    monkeypatch.setenv("KERASNB_COMPILATION_CACHE", told)
    assert compilation._folder() is None


def test_programs_that_were_not_used_for_longest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_max_size", 100)
    files = compilation.Files(tmp_path)
    for i in range(9):
        files.put(str(i), bytes(10))
        os.utime(tmp_path / f"{i}-cache", (i, i))
    assert files.get("0") == bytes(10) and files.get("x") is None
    files.put("big", bytes(40))
    kept = {path.name.removesuffix("-cache") for path in tmp_path.iterdir()}
    assert {"0", "big", "8"} <= kept and "1" not in kept
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 80


def test_a_folder_that_cannot_be_written_to_is_no_trouble(tmp_path, monkeypatch):
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    assert not compilation._is_good(nowhere / "below")
    files = compilation.Files(nowhere / "below")
    files.put("key", b"program")
    assert files.get("key") is None
