"""What every test starts from: Keras on JAX, the CPU, fresh names, one seed."""

import gc
import os

# Before the first import of either library: both read these once.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import random
import signal
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest

from kerasnb.core import compilation

# Shells start background jobs with Ctrl-C switched off, and so would be their children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nearly every program of a test runs once: XLA's older emitters, which later versions
# of JAX no longer have, compile it in half the time.
if version("jax").startswith("0.10."):
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_parallel_codegen_split_count=1"
    )

# Tests compile the same small programs again and again; the second time, also in a
# later run and in another worker, they are read back: files are whole or not there.
_COMPILED = Path(__file__).parent.with_name("build") / "compiled" / "shared"
_COMPILED.mkdir(parents=True, exist_ok=True)
os.environ["KERASNB_COMPILATION_CACHE"] = str(_COMPILED)  # for other processes
jax.config.update("jax_compilation_cache_dir", str(_COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
compilation.write_whole_files(_COMPILED)

# Going through all that is loaded and compiled, in search of garbage, takes a second.
gc.set_threshold(20_000, 10, 100)


def pytest_collection_finish():
    """Let the search for garbage pass over what was loaded before the tests."""
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_session():
    """Names counted from zero and every seed set, so that test order is no matter."""
    from kerasnb.core.naming import reset_names

    reset_names()
    random.seed(1234)
    np.random.seed(1234)


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace):
    """What every `>>>` example may use without importing it."""
    import jax

    doctest_namespace.update(jax=jax, jnp=jax.numpy, np=np)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(1234)
