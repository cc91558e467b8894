"""kerasnb.training.fitting: pauses, marks and ways back are exact to the last bit"""

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training.run import MARKS, Mark, Run

ROWS = 103
X = np.random.default_rng(0).normal(size=(ROWS, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
BATCHES = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 100, 10)]


class Numbered(keras.utils.PyDataset):
    """The same batches by number, which `fit` shuffles."""

    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        return BATCHES[index]


class Again:
    """The same batches from the beginning, as often as one likes."""

    def __iter__(self):
        return iter(BATCHES)


class At(keras.callbacks.Callback):
    """Asks something of the run after some numbers of steps, once each."""

    def __init__(self, asked):
        super().__init__()
        # A function's own, not this callback's: a way back must not ask again.
        self.ask = iter_once(dict(asked))

    def on_train_batch_end(self, batch, logs=None):
        self.ask(self.model.run)


def iter_once(asked):
    def ask(run):
        asked.pop(run.step, lambda run: None)(run)

    return ask


def trained(asked=(), data=(X, Y), more=(), run_eagerly=False, **kwargs):
    """A model with all kinds of state, trained for three epochs; model and history."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        "adam",
        "binary_crossentropy",
        metrics=["accuracy", "auc"],
        run_eagerly=run_eagerly,
    )
    reduce = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=1)
    early = keras.callbacks.EarlyStopping(
        monitor="loss", patience=9, restore_best_weights=True
    )
    x, y = data if isinstance(data, tuple) else (data, None)
    batches = {"batch_size": 10} if y is not None else {}
    given = {"epochs": 3, "verbose": 0, "validation_data": (X[:20], Y[:20])}
    callbacks = [reduce, early, *more, At(asked)]
    history = model.fit(x, y, callbacks=callbacks, **(given | batches | kwargs))
    return model, history, (reduce, early)


def assert_same(one, other):
    (model, history, known), (model2, history2, known2) = one, other
    for group, group2 in zip(model._groups(True), model2._groups(True), strict=True):
        for v, v2 in zip(group, group2, strict=True):
            np.testing.assert_array_equal(np.asarray(v), np.asarray(v2), v.path)
    assert history.history == history2.history and history.epoch == history2.epoch
    for curve, values in model.run.steps.items():
        np.testing.assert_array_equal(values, model2.run.steps[curve])
    assert model.run.epoch_index == model2.run.epoch_index
    for callback, callback2 in zip(known, known2, strict=True):
        for name in ("wait", "best", "cooldown_counter", "best_epoch"):
            assert getattr(callback, name, 0) == getattr(callback2, name, 0)


def disturbed(run):
    """Another rate, which a way back must undo."""
    run.set_learning_rate(0.5)


FAR = {4: Run.mark, 6: disturbed, 17: Run.roll_back}
WAYS = {
    "within an epoch": {4: Run.mark, 5: disturbed, 8: Run.roll_back},
    "over an epoch": FAR,
    "from the end of an epoch": {11: Run.mark, 12: disturbed, 30: Run.roll_back},
    "twice": FAR | {19: Run.mark, 20: disturbed, 24: Run.roll_back},
    "by name": {
        2: lambda run: run.mark("here"),
        13: Run.mark,
        14: disturbed,
        16: lambda run: run.roll_back("here"),
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_after_a_way_back_training_is_that_of_an_uninterrupted_run(way):
    steered = trained(WAYS[way])
    assert steered[0].run.generation == 1 + (way == "twice")
    assert_same(trained(), steered)


@pytest.mark.parametrize(
    ("data", "kwargs"),
    [
        (Numbered(), {}),
        (Numbered(), {"steps_per_epoch": 5, "epochs": 5}),
        (Again(), {}),
        (Again(), {"steps_per_epoch": 5, "epochs": 5}),
        ((X, Y), {"steps_per_epoch": 4, "epochs": 6}),
        ((X, Y), {"validation_freq": 2, "shuffle": False}),
        ((X[:53], Y[:53]), {"run_eagerly": True, "epochs": 3}),
    ],
    ids=lambda given: type(given).__name__ if not isinstance(given, dict) else None,
)
def test_every_kind_of_data_that_can_be_had_again_goes_back(data, kwargs):
    assert_same(trained((), data, **kwargs), trained(FAR, data, **kwargs))


def test_a_way_back_from_the_validation_begins_it_anew():
    class InTest(keras.callbacks.Callback):
        asked = False

        def on_test_batch_end(self, batch, logs=None):
            if self.model.run.epoch == 1 and not InTest.asked:
                InTest.asked = True
                self.model.run.roll_back()

    asked = {5: Run.mark}
    back = trained(asked, more=[InTest()])
    assert InTest.asked and back[0].run.generation == 1
    assert_same(trained(more=[InTest()]), back)


def test_what_a_run_tells_is_cut_back_to_the_mark():
    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            run = self.model.run
            seen.append((run.step, len(run.step_points()[0]), len(run.epoch_index)))

    seen = []
    model, _, _ = trained({3: Run.mark, 25: Run.roll_back}, more=[Look()])
    run = model.run
    assert seen[24:26] == [(25, 25, 2), (4, 4, 0)] and len(seen) == 25 + 30
    assert run.step == 33 and run.step_points()[0].tolist() == list(range(33))
    assert [mark.step for mark in run.marks] == [3]
    record = keras.runs[-1]
    assert record.history == run.history and record.epochs == [0, 1, 2]


def test_steps_while_paused_are_counted_exactly():
    reached = []

    def advance(run, final=False):
        if run.status == "paused" and (not reached or reached[-1] != run.step):
            reached.append(run.step)
            (run.advance if len(reached) < 4 else lambda n: run.resume())(5)

    def pause(run):
        run.pause()
        run.listeners.append(advance)

    steered = trained({9: pause})
    assert reached == [9, 14, 19, 24]
    assert_same(trained(), steered)


def test_another_rate_counts_from_the_very_step():
    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    rates = []
    trained({7: lambda run: run.set_learning_rate(0.25)}, epochs=1, more=[Rates()])
    assert rates == [pytest.approx(0.001)] * 7 + [0.25] * 4


def test_a_rate_that_follows_a_schedule_stays_and_the_training_goes_on():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    model.compile(keras.optimizers.SGD(rate), "mse")
    ask = At({2: lambda run: run.set_learning_rate(0.5)})
    with pytest.warns(UserWarning, match="follows a learning rate schedule"):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[ask])
    assert model.run.status == "finished"


REFUSED = {
    "no mark": (lambda run: run.roll_back(), ValueError, "has no mark to go back to"),
    "another name": (
        lambda run: (run.mark("here"), run.roll_back("there")),
        ValueError,
        "no mark `there` to go back to; its marks are",
    ),
    "rate": (lambda run: run.set_learning_rate(-1), ValueError, "from 0 on, not -1"),
    "nan": (lambda run: run.set_learning_rate(float("nan")), ValueError, "not nan"),
    "steps": (lambda run: run.advance(0), ValueError, "must be 1 or more, not 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_refused_in_a_sentence(case):
    ask, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        ask(Run("m", 1, 0, 1, 100))


def test_a_run_over_an_iterator_says_that_it_cannot_go_back():
    def roll_back(run):
        with pytest.raises(ValueError, match="come from an iterator.*PyDataset"):
            run.roll_back()
        refused.append(run.step)

    refused = []
    asked = {2: Run.mark, 4: roll_back}
    trained(asked, (b for b in BATCHES * 3), steps_per_epoch=10)
    assert refused == [4]


def test_a_run_that_is_over_cannot_go_back():
    model, _, _ = trained(epochs=1)
    with pytest.raises(RuntimeError, match="is finished, and its weights stay"):
        model.run.roll_back()


class Alarm:
    def __init__(self, kind, step=1, layer=""):
        self.kind, self.step, self.layer = kind, step, layer


def test_alarms_ring_once_and_not_when_silenced():
    run = Run("m", 1, 0, 1, 100)
    rang = [run.note_alarm(Alarm(kind)) for kind in ("nan", "nan", "plateau")]
    assert rang == [True, False, True]
    run.silence("nan")
    assert [alarm.kind for alarm in run.alarms] == ["plateau"]
    assert not run.note_alarm(Alarm("nan"))


def test_what_is_measured_at_some_steps_is_kept_apart():
    run = Run("m", 1, 0, 1, 100)
    run.note_health(3, {"gradient_norm": 2.0})
    run.note_health(9, {"gradient_norm": 1.0, "dead": 0.5})
    steps, values = run.health_points()
    assert steps.tolist() == [3, 9] and run.gradient_norm == 1.0
    assert values["gradient_norm"].tolist() == [2.0, 1.0]
    assert np.isnan(values["dead"][0])


def test_a_list_of_marks_keeps_the_last_ones_and_those_with_names():
    run = Run("m", 1, 0, 1, 100)
    for i in range(MARKS + 3):
        run.note_steps(1, 1, {"loss": np.array([1.0])})
        run.note_mark(run.mark("mine" if i == 2 else None))
    names = [mark.name for mark in run.marks]
    assert len(names) == MARKS and names[0] == "mine" and names[1] == "mark 4"
    assert run.marks[0] == Mark("mine", 3, 0)
