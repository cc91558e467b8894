"""kerasnb.callbacks.monitor: the same decisions as the released Keras."""

import itertools
import warnings

import keras
import numpy as np
import pytest

from kerasnb import callbacks


def sequences(count=30, length=12):
    """Random walks and plateaus, as losses go."""
    rng = np.random.default_rng(7)
    for _ in range(count):
        steps = rng.choice([-0.2, -0.05, -1e-5, 0.0, 0.03, 0.2], size=length)
        yield [float(v) for v in np.round(1 + np.cumsum(steps), 6)]


EARLY = [
    {},
    {"patience": 2},
    {"patience": 2, "min_delta": 0.06},
    {"patience": 2, "min_delta": -0.06, "restore_best_weights": True},
    {"patience": 3, "mode": "max", "restore_best_weights": True},
    {"patience": 1, "baseline": 0.9, "restore_best_weights": True},
    {"patience": 2, "start_from_epoch": 4, "restore_best_weights": True},
    {"patience": 2, "mode": "min", "monitor": "val_error"},
]


@pytest.mark.parametrize("settings", EARLY)
def test_early_stopping_decides_as_keras_does(settings, make_model, lead):
    name = settings.get("monitor", "val_loss")
    stops = set()
    for values in sequences():
        found = []
        for library in (callbacks, keras.callbacks):
            model, callback = make_model(), library.EarlyStopping(**settings)
            seen = lead([callback], [{name: v} for v in values], model)
            state = (callback.stopped_epoch, callback.wait, callback.best)
            found.append((len(seen), model.stop_training, model.weights, state))
        assert found[0] == found[1], values
        stops.add(found[0][0])
    assert len(stops) > 1


REDUCE = [
    {"patience": 2},
    {"patience": 0, "cooldown": 1},
    {"patience": 1, "factor": 0.5, "cooldown": 2},
    {"patience": 1, "factor": 0.1, "min_lr": 0.05},
    {"patience": 2, "mode": "max", "min_delta": 0.06},
    {"patience": 1, "factor": 0.9, "cooldown": 3, "min_lr": 0.5, "min_delta": 0},
    {"patience": 1, "monitor": "learning_rate", "mode": "min"},
]


GRID = {
    "mode": ("min", "max"),
    "min_delta": (0, 0.04),
    "patience": (0, 1, 3),
    "baseline": (None, 0.9),
    "restore_best_weights": (False, True),
    "start_from_epoch": (0, 3),
}


def odd(values):
    """The same numbers, now and then one that is none."""
    rng = np.random.default_rng(len(values))
    strange = rng.choice([np.nan, np.inf, -np.inf], len(values))
    return list(np.where(rng.random(len(values)) < 0.2, strange, values))


def test_early_stopping_decides_as_keras_does_for_all_settings_together(
    make_model, lead
):
    ends = set()
    for choice in itertools.product(*GRID.values()):
        settings = dict(zip(GRID, choice, strict=True))
        for values in sequences(2, 9):
            for rows in (values, odd(values)):
                found = []
                for library in (callbacks, keras.callbacks):
                    model = make_model()
                    callback = library.EarlyStopping("loss", **settings)
                    seen = lead([callback], [{"loss": v} for v in rows], model)
                    kept = (callback.wait, callback.stopped_epoch, callback.best)
                    kept += (callback.best_epoch, model.weights, model.stop_training)
                    found.append([len(seen), *map(str, kept)])
                assert found[0] == found[1], (settings, rows)
                ends.add(found[0][0])
    assert len(ends) > 5


@pytest.mark.parametrize("settings", REDUCE)
def test_reduce_lr_on_plateau_decides_as_keras_does(settings, make_model, lead):
    reduced = 0
    for values in sequences():
        found = []
        for library in (callbacks, keras.callbacks):
            model, callback = make_model(), library.ReduceLROnPlateau(**settings)
            rows = lead([callback], [{"val_loss": v} for v in values], model)
            found.append((model.optimizer.learning_rate, rows))
        assert found[0] == found[1], values
        reduced += found[0][0] < 1
    assert reduced > 5


class Metric:
    def __init__(self, name, direction):
        self.name, self._direction = name, direction


@pytest.mark.parametrize(
    ("monitor", "improves"),
    [
        ("loss", -1),
        ("val_loss", -1),
        ("val_out_loss", -1),
        ("accuracy", 1),
        ("val_accuracy", 1),
        ("val_out_accuracy", 1),
        ("val_error", -1),
    ],
)
def test_auto_asks_the_metrics_which_way_is_better(monitor, improves, make_model, lead):
    model = make_model()
    model.metrics = [Metric("accuracy", "up"), Metric("error", "down")]
    callback = callbacks.EarlyStopping(monitor, patience=1)
    rows = [{monitor: 0.5 + 0.1 * improves * i} for i in range(4)]
    assert len(lead([callback], rows, model)) == 4
    assert len(lead([callback], rows[::-1], model)) == 2


def test_an_unknown_direction_is_asked_for(make_model, lead):
    callback = callbacks.EarlyStopping("speed")
    with pytest.raises(ValueError, match='`speed` .* say mode="max" or mode="min"'):
        lead([callback], [{"speed": 1.0}], make_model())


@pytest.mark.parametrize(
    ("monitor", "logs", "sentence"),
    [
        (
            "val_acc",
            {"accuracy": 1.0, "val_accuracy": 1.0},
            (
                "EarlyStopping watches `val_acc`, which is not there. There are: "
                'accuracy, val_accuracy. Did you mean "val_accuracy"?'
            ),
        ),
        (
            "val_loss",
            {"loss": 1.0},
            (
                "EarlyStopping watches `val_loss`, which is not there. There are: "
                'loss. Did you mean "loss"? Names with val_ need validation data: '
                "fit(..., validation_split=0.2)."
            ),
        ),
    ],
)
def test_a_missing_number_is_named_with_its_neighbours(
    monitor, logs, sentence, make_model, lead
):
    model = make_model()
    with pytest.warns(UserWarning, match="EarlyStopping watches") as caught:
        lead([callbacks.EarlyStopping(monitor)], [logs], model)
    assert str(caught[0].message) == sentence
    assert not model.stop_training


def test_the_rate_is_watched_over_all_optimizers_of_a_model(make_model, lead):
    class Several:
        def __init__(self, *optimizers):
            self.optimizers = optimizers

    found = []
    for library in (callbacks, keras.callbacks):
        model = make_model()
        a, b = model.optimizer, make_model().optimizer
        a.name, b.name, b.learning_rate = "a", "b", 0.5
        model.optimizer = Several(a, b)
        callback = library.ReduceLROnPlateau("loss", patience=1, factor=0.5)
        found.append((lead([callback], [{"loss": 1.0}] * 3, model), a.learning_rate))
    assert found[0] == found[1]
    assert found[0][1] == 0.25


def test_verbose_callbacks_say_what_they_do(make_model, lead, capsys):
    model = make_model()
    stopping = callbacks.EarlyStopping(
        "loss", patience=2, verbose=1, restore_best_weights=True
    )
    reducing = callbacks.ReduceLROnPlateau("loss", patience=1, verbose=1)
    lead([reducing, stopping], [{"loss": v} for v in (2.0, 1.0, 3.0, 3.0)], model)
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3: learning_rate is reduced to 0.1.",
        "Epoch 4: learning_rate is reduced to 0.01.",
        "Epoch 4: stopped early, loss has not improved for 2 epochs.",
        "The weights of epoch 2 are restored.",
    ]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="`factor` must be less than 1, not 1.5"):
        callbacks.ReduceLROnPlateau(factor=1.5)
    with pytest.raises(TypeError, match='no argument `minlr`. Did you mean "min_lr"'):
        callbacks.ReduceLROnPlateau(minlr=0.1)
    with pytest.warns(UserWarning, match='"mx" is unknown, "auto" is used'):
        assert callbacks.EarlyStopping(mode="mx").mode == "auto"


def test_nothing_is_said_when_all_is_well(make_model, lead, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lead([callbacks.EarlyStopping("loss")], [{"loss": 1.0}] * 3, make_model())
    assert capsys.readouterr().out == ""
