"""kerasnb.training.alarms, watch: runs that ring, and runs that must be silent"""

import re

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers, optimizers
from kerasnb.core import settings
from kerasnb.training import alarms, health, loop, watch
from kerasnb.training.alarms import Alarm, Known, Numbers, Sample, look

SPARSE = "sparse_categorical_crossentropy"


@pytest.fixture(autouse=True)
def looks_at_everything(monkeypatch):
    """No price is too high and no run too short: what could ring, does."""
    for room in (health, watch):
        monkeypatch.setattr(room, "BETWEEN", 0)
    monkeypatch.setattr(health, "SHARE", 10.0)
    monkeypatch.setattr(loop, "TICK", 0)
    ready = health.Probe.ready
    monkeypatch.setattr(
        health.Probe, "ready", lambda self, wait=False: ready(self, True)
    )
    monkeypatch.setitem(settings._settings, "alarms", settings.ALARMS)


def digits(rows=1024, scale=255.0):
    (x, y), _ = keras.datasets.digits28.load_data()
    return x[:rows].astype("float32") / scale, y[:rows].astype("int32")


def points(rows=512, columns=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)).astype("float32")
    y = x[:, :1] - x[:, 1:2] ** 2 + 0.1 * rng.normal(size=(rows, 1))
    return x, y.astype("float32")


def words(rows=256):
    x = np.random.default_rng(0).integers(1, 50, (rows, 12)).astype("int32")
    return x, (x[:, 0] > x[:, 1]).astype("int32")


def stack(shape, *parts, dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def mlp(*hidden, first=(), units=10, activation="relu", shape=(28, 28)):
    middle = [layers.Dense(n, activation) for n in hidden or (32,)]
    end = layers.Dense(units, "softmax" if units > 1 else None)
    return stack(shape, *first, layers.Flatten(), *middle, end)


def cnn():
    return stack(
        (28, 28),
        layers.Reshape((28, 28, 1)),
        layers.Conv2D(8, 3, strides=2),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(10, "softmax"),
    )


def transformer():
    x = given = keras.Input((12,), dtype="int32")
    x = layers.Embedding(50, 16)(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    inner = layers.Dense(16)(layers.Dense(32, "relu")(x))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + inner))
    return keras.Model(given, layers.Dense(2, "softmax")(x))


class Own(keras.Model):
    """Scales its input in a line of its own."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = layers.Dense(16, "relu"), layers.Dense(10, "softmax")

    def call(self, x):
        return self.outer(self.inner(keras.ops.reshape(x / 255, (-1, 784))))


class Batches(keras.utils.PyDataset):
    """A stream whose labels are out of range from the third batch on."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        x, y = digits(32)
        return x, y % 9 + (i > 1)


def train(model, data, loss=SPARSE, optimizer="adam", epochs=3, **how):
    model.compile(optimizer, loss)
    model.fit(*data, epochs=epochs, **{"verbose": 0, **how})
    return model.run


SILENT = {
    "an MLP": lambda: train(mlp(), digits()),
    "an MLP with a validation": lambda: train(
        mlp(), digits(), epochs=8, validation_split=0.2
    ),
    "momentum": lambda: train(
        mlp(), digits(), optimizer=optimizers.SGD(0.05, momentum=0.9)
    ),
    "a CNN": lambda: train(cnn(), digits(512)),
    "pixels that are scaled first": lambda: train(
        mlp(first=[layers.Rescaling(1 / 255)]), digits(scale=1)
    ),
    "pixels that are normalised first": lambda: train(
        mlp(first=[layers.BatchNormalization()]), digits(scale=1)
    ),
    "pixels that a line scales": lambda: train(Own(), digits(scale=1)),
    "a regression": lambda: train(
        mlp(16, units=1, shape=(8,)), points(), "mse", epochs=8
    ),
    "a regression row by row": lambda: train(
        mlp(16, units=1, shape=(8,)), points(256), "mse", batch_size=1
    ),
    "an RNN": lambda: train(
        stack(
            (12,), layers.Embedding(50, 8), layers.GRU(8), layers.Dense(2, "softmax")
        ),
        words(),
    ),
    "a transformer": lambda: train(transformer(), words()),
    "a generator": lambda: train(mlp(), [iter([digits(64)] * 40)], epochs=1),
    "few batches": lambda: train(mlp(), digits(32), epochs=2),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_run_that_goes_well_is_silent(name):
    keras.utils.set_random_seed(0)
    assert [alarm.text for alarm in SILENT[name]().alarms] == []


RINGING = {
    "raw pixels": (
        lambda: train(mlp(), digits(scale=1), epochs=1),
        "scale",
        (
            r"x goes from 0 to 255, and the first layer gets it unscaled; try "
            r"layers.Rescaling\(1 / 255\) as the first layer"
        ),
    ),
    "raw pixels in bytes": (
        lambda: train(cnn(), [digits(256, 1)[0].astype("uint8"), digits(256)[1]]),
        "scale",
        "x goes from 0 to 255",
    ),
    "pixels scaled twice": (
        lambda: train(mlp(), digits(scale=255**2), epochs=1),
        "scale",
        "goes from 0 to 0.0039.*next to nothing.*scaled twice",
    ),
    "columns of many sizes": (
        lambda: train(
            mlp(16, units=1, shape=(8,)),
            [points()[0] * 10.0 ** np.arange(8), points()[1]],
            "mse",
        ),
        "scale",
        r"x goes from .* its columns differ up to .* times in size.*Normalization\(\)",
    ),
    "large targets": (
        lambda: train(
            mlp(16, units=1, shape=(8,)), [points()[0], points()[1] * 1e4 + 2e5], "mse"
        ),
        "scale",
        "y goes from .* far from the outputs of a new model.*y.std",
    ),
    "labels that count from 1": (
        lambda: train(mlp(units=11), [digits()[0], digits()[1] + 1], epochs=1),
        "labels",
        r"no sample has the label 0: they are 1 to 10.*try y - 1 and .* of 10 units",
    ),
    "codes of such labels": (
        lambda: train(
            mlp(units=11),
            [digits()[0], keras.utils.to_categorical(digits()[1] + 1)],
            "categorical_crossentropy",
            epochs=1,
        ),
        "labels",
        "no sample has the label 0",
    ),
    "labels out of range in a stream": (
        lambda: train(mlp(units=9), [Batches(workers=1)], epochs=2, shuffle=False),
        "labels",
        "a batch holds the label 9, and the model has 9 outputs",
    ),
    "a rate of Adam's that is too high": (
        lambda: train(mlp(32, 32), digits(), optimizer=optimizers.Adam(1.0), epochs=4),
        "learning_rate",
        r"the loss .* a learning rate a tenth as high \(now 1\)",
    ),
    "a rate of SGD's that is too high": (
        lambda: train(mlp(32, 32), digits(), optimizer=optimizers.SGD(3.0), epochs=4),
        "learning_rate",
        r"the loss .* a learning rate a tenth as high \(now 3\)",
    ),
    "a deep net of sigmoids": (
        lambda: train(mlp(*[16] * 14, activation="sigmoid"), digits(), epochs=7),
        "vanishing",
        (
            r"the gradient fades: Dense `dense\w*` \(activation sigmoid\).* gets \S+ "
            "of .*BatchNormalization"
        ),
    ),
    "a layer cut off": (
        lambda: train(
            stack(
                (28, 28),
                layers.Flatten(),
                layers.Dense(16, name="cut"),
                layers.Lambda(lambda x: keras.ops.stop_gradient(x)),
                layers.Dense(10, "softmax"),
            ),
            digits(),
        ),
        "vanishing",
        "no gradient at all reaches Dense `cut`;",
    ),
    "dead units": (
        lambda: train(
            stack(
                (28, 28),
                layers.Flatten(),
                layers.Dense(
                    32,
                    "relu",
                    bias_initializer=keras.initializers.Constant(-20.0),
                    name="sad",
                ),
                layers.Dense(10, "softmax"),
            ),
            digits(),
            epochs=7,
        ),
        "dead",
        r"all units of Dense `sad` \(activation relu\) are 0 for every row",
    ),
    "random labels": (
        lambda: train(
            mlp(4, activation="tanh"),
            [digits()[0] * 0, np.random.default_rng(0).integers(0, 10, 1024)],
            epochs=12,
            optimizer=optimizers.SGD(1e-4),
        ),
        "plateau",
        "the loss has not moved since the start .* belong together row by row",
    ),
    "too few rows": (
        lambda: train(
            mlp(128),
            digits(64),
            epochs=60,
            validation_data=[digits()[0][64:264], np.roll(digits()[1], 1)[64:264]],
        ),
        "overfitting",
        r"overfitting since epoch \d+: there the validation loss was",
    ),
    "a loss that is not a number": (
        lambda: train(
            stack(
                (8,),
                layers.Dense(4),
                layers.Lambda(lambda x: keras.ops.log(x), name="logs"),
            ),
            [points()[0], points()[0][:, :4]],
            "mse",
            epochs=1,
        ),
        "nan",
        "the loss became NaN in epoch 1, step 1: Lambda `logs` is the first layer",
    ),
}


@pytest.mark.filterwarnings("ignore:fit. the loss became")
@pytest.mark.parametrize("name", RINGING)
def test_a_run_that_goes_wrong_rings_the_right_alarm(name):
    keras.utils.set_random_seed(0)
    make, kind, text = RINGING[name]
    rung = make().alarms
    assert kind in {alarm.kind for alarm in rung}, rung
    assert any(re.search(text, alarm.text) for alarm in rung), rung


# --- The rules, on facts that are made up ---------------------------------------------


def sample(step, gradients, loss=1.0, weights=1.0, updates=1e-3, **alive):
    names = [f"layer {i}" for i in range(len(gradients))]
    return Sample(
        step,
        loss,
        64,
        dict(zip(names, gradients, strict=True)),
        dict.fromkeys(names, weights),
        dict.fromkeys(names, updates),
        alive,
    )


def samples(*gradients, losses=(), **how):
    losses = losses or [1.0] * len(gradients)
    return [
        sample(20 + i, g, loss, **how)
        for i, (g, loss) in enumerate(zip(gradients, losses, strict=True))
    ]


def falling(count=40, to=0.1):
    return np.geomspace(1, to, count).tolist()


def noisy(values, seed=0, size=0.02):
    noise = np.random.default_rng(seed).normal(1, size, len(values))
    return (np.array(values) * noise).tolist()


GOOD, HALF = np.ones(16, bool), np.arange(16) % 2 == 0

SAID = {
    # name: (what is known, the alarm's kind and a part of it, or None)
    "growing": (
        Known(
            samples=samples(
                *[(1, 1)] * 5, (900, 2), (1e4, 2), losses=[1, 1, 1, 1, 1, 4, 9]
            )
        ),
        ("exploding", r"has grown from 1.4 to 9e\+02, most of all in layer 0"),
    ),
    "growing while the loss falls": (
        Known(
            samples=samples(
                *[(1, 1)] * 5, (900, 2), (1e4, 2), losses=[1, 1, 1, 1, 1, 0.4, 0.3]
            )
        ),
        None,
    ),
    "one large gradient": (
        Known(samples=samples(*[(1, 1)] * 6, (1e4, 1), losses=[1, 1, 1, 1, 1, 1, 9])),
        None,
    ),
    "steep": (
        Known(samples=samples(*[(1e6, 1, 1, 1)] * 3)),
        ("exploding", r"the gradient of layer 0 is 1e\+06, ten thousand times"),
    ),
    "steep, and it learns": (
        Known(samples=samples(*[(1e6, 1, 1, 1)] * 3, losses=[9, 5, 1])),
        None,
    ),
    "faded": (
        Known(samples=samples(*[(1e-9, 1e-3, 1)] * 3)),
        ("vanishing", "the gradient fades: layer 0 gets 1e-09"),
    ),
    "faded once": (Known(samples=samples((1, 1, 1), (1, 1, 1), (1e-9, 1, 1))), None),
    "small everywhere": (Known(samples=samples(*[(1e-9, 1e-9, 1e-9)] * 3)), None),
    "no gradient": (
        Known(samples=samples(*[(0, 0)] * 3)),
        ("vanishing", "the gradient of every layer is 0"),
    ),
    "nothing left to learn": (
        Known(samples=samples(*[(0, 0)] * 3, losses=[0, 0, 0])),
        None,
    ),
    "long steps": (
        Known(samples=samples(*[(1, 1)] * 3, updates=0.9), rate=0.5),
        ("learning_rate", r"moves the weights by 90%.*\(now 0.5\)"),
    ),
    "half of the units": (
        Known(samples=samples(*[(1, 1)] * 4, relu=HALF)),
        ("dead", "50% of the units of relu are 0"),
    ),
    "units that wake up": (
        Known(
            samples=[*samples(*[(1, 1)] * 3, relu=HALF), sample(9, (1, 1), relu=~HALF)]
        ),
        None,
    ),
    "too few rows to tell": (Known(samples=samples((1, 1), relu=~GOOD)), None),
    "a start that rises": (
        Known(losses=np.linspace(1, 9, 40).tolist(), rate=0.3),
        ("learning_rate", r"rose from 1 to .* in the first 40 steps"),
    ),
    "a start that jumps and falls": (Known(losses=[1, 9, 7, *falling()]), None),
    "a start of single rows": (
        Known(losses=[0.1, *noisy([1.0] * 60, size=0.5)], batch_size=1),
        None,
    ),
    "flat": (
        Known(step=4000, epoch=40, history={"loss": [*falling(15), *[0.1] * 25]}),
        ("plateau", "has not fallen since epoch 15"),
    ),
    "flat, and somebody cares": (
        Known(
            step=4000,
            epoch=40,
            history={"loss": [*falling(15), *[0.1] * 25]},
            callbacks=["ReduceLROnPlateau"],
        ),
        None,
    ),
    "flat at nothing": (
        Known(
            step=4000, epoch=40, history={"loss": [*falling(15, 1e-5), *[1e-5] * 25]}
        ),
        None,
    ),
    "slow": (
        Known(
            step=4000, epoch=40, history={"loss": noisy(falling(40, 0.5), size=0.01)}
        ),
        None,
    ),
    "overfitting": (
        Known(
            step=4000,
            epoch=20,
            history={
                "loss": falling(20),
                "val_loss": [*falling(8, 0.5), *np.linspace(0.52, 0.9, 12)],
            },
        ),
        ("overfitting", "since epoch 8: there the validation loss was 0.5 and now"),
    ),
    "overfitting, seen in every other epoch": (
        Known(
            step=4000,
            epoch=20,
            history={
                "loss": falling(20),
                "val_loss": [*falling(4, 0.5), *np.linspace(0.6, 0.9, 6)],
            },
            epochs_of={"loss": range(20), "val_loss": range(1, 20, 2)},
        ),
        ("overfitting", "since epoch 8:"),
    ),
    "a validation that is noisy": (
        Known(
            step=4000,
            epoch=20,
            history={
                "loss": falling(20),
                "val_loss": noisy([*falling(8, 0.5), *[0.5] * 12]),
            },
        ),
        None,
    ),
    "both rise": (
        Known(
            step=150,
            epoch=15,
            history={
                "loss": np.linspace(1, 2, 15),
                "val_loss": [*falling(4, 0.9), *np.linspace(1.2, 2, 11)],
            },
        ),
        ("plateau", "has not fallen since epoch 1 "),
    ),
    "temperatures": (Known(inputs=[Numbers("x", -20, 40, 15, raw=True)]), None),
    "pixels that are scaled": (Known(inputs=[Numbers("x", 0, 255, 80)]), None),
    "labels": (Known(labels=(0, 9, 10)), None),
    "a class that has no sample": (Known(labels=(1, 5, 10)), None),
}


@pytest.mark.parametrize("name", SAID)
def test_a_rule_says_what_the_facts_give_reason_for(name):
    known, wanted = SAID[name]
    found = look(known, settings.ALARMS)
    if wanted is None:
        assert found == []
    else:
        assert [alarm.kind for alarm in found] == [wanted[0]]
        assert re.search(wanted[1], found[0].text)


def test_every_kind_has_a_rule_and_a_test():
    assert set(settings.ALARMS) == {"nan", *alarms.RULES}
    tested = {kind for _, kind, _ in RINGING.values()}
    tested |= {wanted[0] for _, wanted in SAID.values() if wanted}
    assert tested == set(settings.ALARMS)


# --- What is said, and what is not ----------------------------------------------------


def raw(**how):
    return train(mlp(), digits(64, scale=1), epochs=2, **how)


def test_an_alarm_is_one_line_in_a_log_and_none_where_nothing_is_said(capsys):
    run = raw(verbose=2)
    lines = [x for x in capsys.readouterr().out.splitlines() if "Alarm" in x]
    assert lines == [
        f'{run.alarms[0].text} (Silence alarms with kerasnb.config.alarms("off").)'
    ]
    assert len(raw().alarms) == 1
    assert capsys.readouterr().out == ""


def test_alarms_can_be_silenced_in_the_process_and_in_a_run():
    keras.config.alarms("nan, overfitting")
    assert raw().alarms == []
    keras.config.alarms("off")
    assert raw().alarms == []
    keras.config.alarms(["scale"])
    run = raw()
    assert [alarm.kind for alarm in run.alarms] == ["scale"]
    run.silence("scale")
    assert run.alarms == []
    assert not run.note_alarm(Alarm("scale", "a", "b"))


def test_the_environment_and_wrong_names_of_alarms(monkeypatch):
    monkeypatch.setitem(settings._settings, "alarms", None)
    monkeypatch.setenv("KERASNB_ALARMS", "nan")
    assert keras.config.alarms() == ("nan",)
    with pytest.raises(ValueError, match="alarms: `mode` must be .*overfitting"):
        keras.config.alarms("overfiting")


def test_a_record_keeps_the_alarms_of_its_run(tmp_path):
    keras.config.runs_dir(tmp_path)
    try:
        run = raw()
        record = keras.runs[-1]
        (loaded,) = keras.runs.load(tmp_path)
    finally:
        keras.config.runs_dir(None)
    assert record.alarms == loaded.alarms == [run.alarms[0].plain()]
