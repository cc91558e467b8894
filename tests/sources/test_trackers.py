"""Trackers of experiments that come with callbacks for Keras, as they are released."""

import numpy as np
import pytest

import kerasnb as keras

# What these packages warn of is not ours to mend.
pytestmark = [pytest.mark.sources, pytest.mark.filterwarnings("ignore")]

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = X.sum(1)
LOGGED = ("loss", "mae", "val_loss", "val_mae")


def fit(*callbacks):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    options = {"epochs": 3, "validation_split": 0.5, "verbose": 0}
    return model, model.fit(X, Y, 4, callbacks=list(callbacks), **options).history


def test_weights_and_biases_logs_batches_and_epochs_and_keeps_models(
    tmp_path, monkeypatch
):
    import wandb
    from wandb.integration.keras import WandbMetricsLogger, WandbModelCheckpoint

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    best_file = tmp_path / "best.keras"
    with wandb.init(project="digits", dir=tmp_path) as run:
        keeper = WandbModelCheckpoint(str(best_file), save_best_only=True)
        _, history = fit(WandbMetricsLogger(log_freq=1), keeper)
        seen = dict(run.summary)
    for name in LOGGED:
        assert seen[f"epoch/{name}"] == pytest.approx(history[name][-1])
    assert seen["epoch/learning_rate"] == pytest.approx(0.01)
    assert seen["batch/batch_step"] == 3 * 3 - 1
    best = keras.models.load_model(best_file)
    assert best.predict(X, verbose=0).shape == (24, 1)


def test_mlflow_logs_metrics_and_the_optimizer(tmp_path, monkeypatch):
    # The server it asks for instead would be a second package.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow
    from mlflow.keras.callback import MlflowCallback

    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        model, history = fit(MlflowCallback())
    seen = mlflow.get_run(run.info.run_id).data
    for name in ("loss", "mae"):
        assert seen.metrics[name] == pytest.approx(history[name][-1])
    assert seen.params["optimizer_name"] == model.optimizer.name
    assert float(seen.params["optimizer_learning_rate"]) == pytest.approx(0.01)
