"""kerasnb.training.work: short epochs that go by together end as one by one"""

import signal

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import loop
from kerasnb.training.run import Run

ROWS, STEPS = 53, 6  # batches of ten rows, the last of three
X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


class Looks(keras.callbacks.Callback):
    """Looks at the end of each epoch, so that it cannot go by with others."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.get_weights())


@pytest.fixture(autouse=True)
def chunks(monkeypatch):
    """The lengths of all chunks: of twenty steps where they may go over epochs."""
    run, lengths = loop.Chunks.run, []

    def noted(self, state, data, index, lo, hi, *more):
        lengths.append(hi - lo)
        return run(self, state, data, index, lo, hi, *more)

    monkeypatch.setattr(loop.Chunks, "run", noted)
    monkeypatch.setattr(loop.Pace, "steps", lambda self, left: min(left, 20))
    return lengths


@pytest.fixture
def asked(monkeypatch):
    """What is asked of a run once so many steps are done, between two chunks."""
    begin, waiting = Run.begin, {}

    def listen(run, final=False):
        for step in [step for step in waiting if step <= run.step and not final]:
            waiting.pop(step)(run)

    def begun(run):
        begin(run)
        run.listeners.append(listen)

    monkeypatch.setattr(Run, "begin", begun)
    monkeypatch.setattr(Run, "news_due", True)
    return waiting


def make(optimizer="adam", loss="binary_crossentropy", **kwargs):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer, loss, metrics=["accuracy"], **kwargs)
    return model


def fit(model, callbacks=None, **kwargs):
    given = {"epochs": 9, "batch_size": 10, "verbose": 0}
    model.fit(X, Y, callbacks=callbacks, **given | kwargs)
    return model


def assert_same(one, other):
    for group, group2 in zip(one._groups(True), other._groups(True), strict=True):
        for v, v2 in zip(group, group2, strict=True):
            np.testing.assert_array_equal(np.asarray(v), np.asarray(v2), v.path)
    assert one.history.history == other.history.history
    assert list(one.history.history) == list(other.history.history)
    assert one.history.epoch == other.history.epoch
    for name in ("epoch", "step", "step_in_epoch", "samples", "epoch_index", "history"):
        assert getattr(one.run, name) == getattr(other.run, name), name
    for name, values in one.run.steps.items():
        np.testing.assert_array_equal(values, other.run.steps[name])
    assert one.run.status == other.run.status and one.run.logs == other.run.logs
    best, best2 = one.best, other.best
    assert (best.epoch, best.value) == (best2.epoch, best2.value)
    assert all(map(np.array_equal, best.arrays, best2.arrays))


def trained(callbacks=None, compiled=dict, **kwargs):
    model = fit(make(**compiled()), callbacks, **kwargs)
    model.best = keras.runs[-1].best_weights
    return model


def falling():
    rate = keras.optimizers.schedules.ExponentialDecay(1.0, 3, 0.8)
    return {"optimizer": keras.optimizers.SGD(rate)}


WAYS = {
    "as usual": {},
    "in order": {"shuffle": False},
    "from a later epoch on": {"initial_epoch": 4},
    "in one batch": {"batch_size": ROWS},
    "a part of the steps": {"steps_per_epoch": 4},
    "weighted": {"sample_weight": np.linspace(0, 1, ROWS)},
    "at a rate that falls": {"compiled": falling},
    "with averaged weights": {
        "compiled": lambda: {"optimizer": keras.optimizers.SGD(0.5, use_ema=True)}
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_epochs_that_nobody_looks_at_end_as_those_that_somebody_does(way, chunks):
    how, looks = WAYS[way], Looks()
    together = trained(**how)
    # Those of four steps go on where the last one ended, and are not all alike.
    most = 9 if way == "in one batch" else 4 if "steps_per_epoch" in how else 20
    assert max(chunks) == most
    del chunks[:]
    assert_same(together, trained([looks], **how))
    assert max(chunks) == (1 if most == 9 else min(STEPS, most))
    best = together.best
    seen = looks.seen[best.epoch - how.get("initial_epoch", 0)]
    assert all(map(np.array_equal, best.arrays, seen))


def to(step, *what):
    """Pause at exactly this step, there do what is to be done, and go on."""
    return {
        0: lambda run: run.advance(step),
        step: lambda run: [f(run) for f in (*what, Run.resume)],
    }


STEERED = {
    "to a mark within an epoch": to(20, Run.mark) | {40: Run.roll_back},
    "to the last step of an epoch": to(18, Run.mark) | {40: Run.roll_back},
    "to a mark after the best": to(30, Run.mark) | {54: Run.roll_back},
    "twice": to(20, Run.mark) | {40: Run.roll_back, 41: Run.mark, 50: Run.roll_back},
    "by single steps": {n: lambda run: run.advance(1) for n in range(20)}
    | {20: Run.resume},
}


@pytest.mark.parametrize("way", STEERED)
def test_steering_between_such_epochs_is_exact(way, asked, chunks):
    asked.update(STEERED[way])
    steered = trained()
    assert not asked and max(chunks) > STEPS
    backs = [what for what in STEERED[way].values() if what is Run.roll_back]
    assert steered.run.generation == len(backs)
    assert_same(steered, trained())


def test_a_run_may_end_after_such_an_epoch(asked):
    asked.update(to(20, Run.stop_after_epoch))
    run = trained().run
    assert (run.status, run.epoch, run.step) == ("stopped", 4, 24)


def test_another_rate_counts_from_the_step_that_was_reached(asked):
    runs = []
    for callbacks in ([], [Looks()]):
        asked.update(to(20, lambda run: run.set_learning_rate(0.5)))
        runs.append(trained(callbacks))
    assert_same(*runs)
    assert runs[0].run.learning_rate == 0.5


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupt_leaves_a_run_that_knows_all_its_steps(
    monkeypatch, chunks, number
):
    read = loop.Chunks.read

    def interrupted(self, ring, count):
        if len(chunks) == number:
            signal.raise_signal(signal.SIGINT)
        return read(self, ring, count)

    monkeypatch.setattr(loop.Chunks, "read", interrupted)
    model = make()
    with pytest.raises(KeyboardInterrupt):
        fit(model)
    run, steps = model.run, sum(chunks)
    assert run.status == "interrupted" and steps == (20, 40, 54)[number - 1]
    assert int(model.optimizer.iterations) == run.step == steps
    assert (run.epoch * STEPS + run.step_in_epoch, len(run.steps["loss"])) == (
        steps,
        steps,
    )
    assert len(model.history.epoch) == run.epoch == len(run.epoch_index)


def test_a_chunk_is_one_moment_for_the_speed(chunks):
    run = trained().run
    assert len(run._recent) == len(chunks) == 3


def test_the_step_that_spoils_the_loss_is_named_as_ever(chunks):
    seen = []
    for callbacks in ([], [Looks()]):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e3), "mse")
        with pytest.warns(UserWarning, match="the loss became"):
            fit(model, callbacks)
        alarm = model.run.trouble.alarm
        seen.append((alarm.step, alarm.epoch, alarm.text))
        assert keras.runs[-1].best_weights.epoch == 0
    assert seen[0] == seen[1] and seen[0][1] > 0


class Own(keras.Model):
    """Logs whatever it is told to instead of its loss."""

    def __init__(self, logs):
        super().__init__()
        self.dense, self.logs = layers.Dense(1), logs

    def call(self, x):
        return self.dense(x)

    def train_step(self, state, data):
        logs, state = super().train_step(state, data)
        return self.logs(logs["loss"]), state


@pytest.mark.parametrize(
    "logs",
    [
        lambda loss: {"error": loss},
        lambda loss: {"loss": keras.ops.stack([loss, loss])},
        lambda loss: {"loss": -1 / (0 * loss)},
        lambda loss: {},
    ],
    ids=["no loss", "two", "infinite", "nothing"],
)
@pytest.mark.filterwarnings("ignore:fit. the loss became")
def test_epochs_without_a_loss_to_compare_keep_no_weights(logs, chunks):
    model = Own(logs)
    model.compile("sgd", "mse")
    fit(model)
    assert max(chunks) > STEPS and len(model.history.epoch) == 9
    assert keras.runs[-1].best_weights is None


def test_one_program_serves_epochs_together_and_one_by_one():
    model = make()
    for callbacks in ([], [Looks()]):
        fit(model, callbacks, validation_data=(X[:20], Y[:20]))
        fit(model, callbacks, epochs=1)
        fit(model, callbacks)
    known = [p for p in model._programs.values() if isinstance(p, loop.Program)]
    assert [program.compilations for program in known] == [1, 1]
