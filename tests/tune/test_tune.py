"""kerasnb.tune: a search with Optuna"""

import random
import threading
import time

import numpy as np
import optuna
import pytest

import kerasnb as keras

X = np.random.default_rng(0).normal(size=(24, 2)).astype("float32")
Y = X.sum(1, keepdims=True)
QUIET = {"validation_split": 0.25, "epochs": 3, "verbose": 0}


def build(trial):
    """A linear model whose rate of learning is to be found."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="line")
    rate = trial.suggest_float("rate", 1e-4, 0.3, log=True)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def values(study):
    return [(t.number, t.state, t.value, t.params) for t in study.trials]


@pytest.fixture(autouse=True)
def no_runs():
    keras.runs.clear()
    yield
    keras.runs.clear()


@pytest.fixture(scope="module")
def study():
    """Eight trials."""
    return keras.tune.search(build, X, Y, trials=8, **QUIET)


def test_a_search_finds_the_best_trial_and_its_model(study):
    assert study.status == "finished" and len(study.trials) == 8
    done = [t for t in study.trials if t.state == "complete"]
    assert study.best_value == min(t.value for t in done)
    assert study.best_params == study.best.params and study.best.run
    model = study.best_model()
    loss = model.evaluate(X[18:], Y[18:], verbose=0)
    assert loss == pytest.approx(study.best_value, rel=1e-5)
    assert model is not study.best_model()
    assert study.study.best_params == study.best_params


def test_the_same_seed_gives_the_same_study_whatever_was_drawn_before(study):
    random.random(), np.random.random()
    before = random.getstate(), np.random.get_state()[1].tolist()
    again = keras.tune.search(build, X, Y, trials=8, **QUIET)
    assert values(again) == values(study)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    other = keras.tune.search(build, X, Y, trials=1, seed=1, **QUIET)
    assert values(other) != values(study)[:1]


def test_each_trial_is_a_run(study):
    found = keras.tune.search(build, X, Y, trials=7, name="rates", **QUIET)
    assert [run.name for run in keras.runs] == [f"rates/{i}" for i in range(7)]
    assert [t.run for t in found.trials] == [run.name for run in keras.runs]
    for trial in found.trials:
        run = keras.runs[trial.run]
        states = {"finished": "complete", "pruned": "pruned"}
        assert states[run.status] == trial.state


def test_a_hopeless_trial_is_pruned():
    class Prune(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1 and trial.last_step == 1

    found = keras.tune.search(build, X, Y, trials=3, pruner=Prune(), **QUIET)
    assert [t.state for t in found.trials] == ["complete", "pruned", "complete"]
    assert [len(run.history["loss"]) for run in keras.runs] == [3, 2, 3]
    assert keras.runs[1].status == "pruned"


def test_a_stored_study_goes_on_as_it_would_have(study, tmp_path):
    stored = {"storage": tmp_path / "study.db", **QUIET}
    first = keras.tune.search(build, X, Y, trials=2, **stored)
    second = keras.tune.search(build, X, Y, trials=4, **stored)
    assert values(first) == values(second)
    assert values(second) == values(study)[:4]
    wanted = min(range(4), key=lambda i: study.trials[i].value)
    second._kept = None  # as in a process that did not train it
    with pytest.raises(ValueError, match=r"not in this process.*retrain=True"):
        second.best_model()
    model = second.best_model(retrain=True)
    assert second.best.number == wanted
    loss = model.evaluate(X[18:], Y[18:], verbose=0)
    assert loss == pytest.approx(second.best_value, rel=1e-5)
    with pytest.raises(
        ValueError, match="`direction` must be that of the stored study"
    ):
        keras.tune.search(build, X, Y, direction="maximize", **stored)
    assert len(second.resume(1, verbose=0).trials) == 5


def test_a_search_behind_the_cell_is_stopped_at_a_whole_step():
    plan = {**QUIET, "epochs": 10**6}
    found = keras.tune.search(build, X, Y, background=True, pruner=None, **plan)
    assert found.status == "running" and threading.active_count() > 1
    with pytest.raises(ValueError, match="is running"):
        found.resume()
    deadline = time.monotonic() + 60
    while not (keras.runs and keras.runs[-1].epochs_done):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found.stop()
    found.wait(60)
    assert found.status == "stopped" and found.trials[0].state == "stopped"
    assert keras.runs[-1].status == "stopped" and keras.runs[-1].epochs_done
    with pytest.raises(ValueError, match="No trial of the study `study` is complete"):
        found.best_model()


def test_a_time_limit_begins_no_further_trial():
    found = keras.tune.search(build, X, Y, timeout=0, **QUIET)
    assert found.trials == [] and found.message == "out of time"


def fails(trial):
    if trial.suggest_int("units", 1, 9) and trial.number == 1:
        raise TypeError("no such layer")
    return build(trial)


def test_an_error_comes_with_the_settings_of_its_trial():
    with pytest.raises(RuntimeError, match=r"trial 1 with units=\d failed: TypeError"):
        keras.tune.search(fails, X, Y, trials=3, **QUIET)
    told = {"trials": 3, "on_error": "continue", **QUIET}
    found = keras.tune.search(fails, X, Y, **told)
    assert [t.state for t in found.trials] == ["complete", "failed", "complete"]
    assert found.trials[1].error == "TypeError: no such layer"
    behind = keras.tune.search(
        fails, X, Y, background=True, **{**told, "on_error": "raise"}
    )
    with pytest.raises(RuntimeError, match="no such layer"):
        behind.wait(60)
    assert behind.status == "failed" and len(behind.trials) == 2


def diverges(trial):
    model = build(trial)
    model.compile(keras.optimizers.SGD(1e30), "mse")
    return model


def test_a_model_that_diverges_is_a_trial_that_failed():
    found = keras.tune.search(diverges, X, Y, trials=1, on_error="continue", **QUIET)
    assert found.trials[0].state == "failed" and found.trials[0].error
    assert found.status == "failed" and found.message == "no trial was completed"


WRONG = {
    "build": ({"build": 3}, "`build` must be a function of a trial"),
    "trials": ({"trials": 0}, "`trials` must be a positive whole number"),
    "pruner": ({"pruner": "medain"}, 'Did you mean "median"'),
    "sampler": ({"sampler": 3}, "`sampler` must be one of"),
    "direction": ({"direction": "up"}, "`direction` must be one of"),
    "on_error": ({"on_error": "go"}, "`on_error` must be one of"),
    "fit": ({"batchsize": 3}, 'no argument `batchsize`. Did you mean "batch_size"'),
    "metric": ({"validation_split": 0}, "`val_loss` needs validation data"),
    "unknown": (
        {"metric": "val_los"},
        'There are: loss, val_loss. Did you mean "val_l',
    ),
    "model": ({"build": lambda trial: 3}, "a function that returns a compiled model"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_argument_is_told_in_a_sentence(kind):
    change, words = WRONG[kind]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words):
        keras.tune.search(
            **{"build": build, "x": X, "y": Y, "trials": 1, **QUIET} | change
        )


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasnb\[tune\]'"):
        keras.tune.search(build, X, Y, trials=1, **QUIET)


def test_a_callback_prunes_in_an_objective_of_ones_own():
    class Prune(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1

    def objective(trial):
        model = build(trial)
        watch = keras.tune.Pruning(trial, "loss")
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
        return watch.result()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = optuna.create_study(
        pruner=Prune(), sampler=optuna.samplers.RandomSampler(seed=0)
    )
    found.optimize(objective, n_trials=2)
    assert [t.state.name for t in found.trials] == ["COMPLETE", "PRUNED"]


def test_progress_is_printed_line_by_line_in_a_terminal(capsys):
    keras.tune.search(build, X, Y, trials=1, **{**QUIET, "verbose": 1})
    assert capsys.readouterr().out.startswith("trial 0 complete: val_loss ")
