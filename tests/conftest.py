"""What every test starts from: Keras on JAX, the CPU, fresh names, one seed."""

import os

# Before the first import of either library: both read these once.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import random

import numpy as np
import pytest


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
