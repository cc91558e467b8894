"""kerasnb.config beside keras.config."""

import keras
import numpy as np
import pytest

import kerasnb


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
