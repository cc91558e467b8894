"""A model that does nothing, for callbacks of both libraries."""

from pathlib import Path

import pytest


class FakeOptimizer:
    name = "fake"

    def __init__(self) -> None:
        self.learning_rate = 1.0


class FakeModel:
    """What callbacks may ask of a model, noting what they do to it."""

    def __init__(self) -> None:
        self.optimizer = FakeOptimizer()
        self.metrics: list = []
        self.stop_training = False
        self.weights = 0
        self.saved: list[str] = []

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights

    def save(self, filepath, overwrite=True):
        Path(filepath).write_text(f"model {self.weights}")
        self.saved.append(str(filepath))

    def save_weights(self, filepath, overwrite=True):
        Path(filepath).write_text(f"weights {self.weights}")
        self.saved.append(str(filepath))


@pytest.fixture
def make_model():
    return FakeModel


def run(callbacks, rows, model, epochs=None):
    """Lead callbacks through epochs with the given logs, as `fit` would; the logs."""
    for callback in callbacks:
        callback.set_model(model)
        callback.set_params({"epochs": len(rows), "steps": 1, "verbose": 0})
        callback.on_train_begin({})
    seen = []
    for epoch, row in enumerate(rows):
        logs = dict(row)
        for callback in callbacks:
            callback.on_epoch_begin(epoch, {})
        model.weights = epoch + 1
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        seen.append(logs)
        if model.stop_training:
            break
    for callback in callbacks:
        callback.on_train_end({})
    return seen


@pytest.fixture
def lead():
    return run
