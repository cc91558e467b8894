"""kerasnb.training.nonfinite: the layer that made the loss NaN, the weights before"""

import re

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import callbacks, layers, optimizers
from kerasnb.training import nonfinite

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 4)).astype("float32")
Y = X[:, :1]


def stack(*parts, rate=0.01):
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile(optimizers.SGD(rate), "mse")
    return model


def logs(x):
    return keras.ops.log(x)


def length(x):
    return keras.ops.sqrt(keras.ops.sum(x * x, -1, keepdims=True))


class Spoiled(keras.utils.PyDataset):
    """One target of the third batch is missing."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        y = Y[i * 16 : i * 16 + 16].copy()
        y[0] = np.nan if i == 2 else y[0]
        return X[i * 16 : i * 16 + 16], y


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(2, name="inner")

    def call(self, x):
        return 1 / (self.inner(x) * 0)


def own_model():
    model = Own()
    model.compile("sgd", "mse")
    return model


ARRAYS = {"x": X, "y": Y, "batch_size": 16}
CASES = {
    "a layer outside of its domain": (
        lambda: stack(layers.Dense(4), layers.Lambda(logs, name="logs")),
        ARRAYS,
        (
            "loss became NaN in epoch 1, step 1: Lambda `logs` is the first layer with "
            r"an output that is not finite for finite input \(up to [0-9.]+\); try to "
            r"keep exponents small .* smaller learning rate \(now 0.01\)"
        ),
        0,
    ),
    "an activation that overflows": (
        lambda: stack(
            layers.Dense(8, "exponential"),
            layers.Dense(8, "exponential", name="boom"),
            layers.Dense(1),
            rate=3.0,
        ),
        ARRAYS,
        r"step \d+: Dense `\w+` \(activation exponential\) is the first layer",
        None,
    ),
    "weights that ran away": (
        lambda: stack(layers.Dense(8), layers.Dense(1), rate=1e6),
        ARRAYS,
        r"loss became \w+ in epoch 1, step \d: .*clipnorm=1.0 in the optimizer",
        None,
    ),
    "an infinite slope": (
        lambda: stack(
            layers.Dense(4, kernel_initializer="zeros", name="start"),
            layers.Lambda(length, name="length"),
        ),
        ARRAYS,
        (
            r"in epoch 1, step 2: the gradient of Dense `start` is the first that is "
            "not finite, while its output and the loss still are"
        ),
        0,
    ),
    "a missing target in a dataset": (
        lambda: stack(layers.Dense(1)),
        {"x": Spoiled(), "shuffle": False},
        "step 3: `y` of that batch holds NaN or infinity; try to replace",
        2,
    ),
    "a model of the user's own": (
        own_model,
        ARRAYS,
        "step 1: Own `own` is the first layer with an output that is not finite",
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layer_is_named_and_the_weights_of_before_come_back(name, capsys):
    make, data, sentence, steps = CASES[name]
    model = make()
    run = model.fit(**data, epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 1
    assert said.startswith("TerminateOnNaN: the loss became ")
    assert said.endswith("training stops with the weights of the last good step.\n")
    assert len(run.epoch) == 1
    variables = [*model.variables, *model.optimizer.variables]
    assert all(np.isfinite(np.asarray(v.value)).all() for v in variables)
    if steps is not None:
        assert int(model.optimizer.iterations.value) == steps
    assert re.search(sentence, said), said


def test_a_plain_fit_warns_once_and_goes_on():
    make, data, *_ = CASES["a layer outside of its domain"]
    model = make()
    with pytest.warns(UserWarning, match="fit: the loss became NaN .* `logs`") as found:
        run = model.fit(**data, epochs=3, verbose=0)
    assert len(found) == 1
    assert len(run.epoch) == 3
    assert model.run.trouble.sentence in str(found[0].message)


def test_the_error_of_a_strict_one_names_the_layer_too():
    make, data, *_ = CASES["a missing target in a dataset"]
    model = make()
    strict = callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(RuntimeError, match="`y` of that batch"):
        model.fit(**data, verbose=0, callbacks=[strict])
    assert np.isfinite(model.get_weights()[0]).all()


def test_weights_that_are_too_large_to_copy_are_looked_at_as_they_are(monkeypatch):
    monkeypatch.setattr(nonfinite, "SMALL", 10)
    make, data, *_ = CASES["weights that ran away"]
    model = make()
    with pytest.warns(
        UserWarning, match=r"weights of Dense `dense` and 1 more layers are not finite"
    ) as found:
        model.fit(**data, epochs=2, verbose=0)
    assert "TerminateOnNaN()] finds the layer" in str(found[0].message)


def test_the_weights_are_those_of_a_run_that_was_stopped_before(capsys):
    """Going back repeats the steps since the last copy, bit for bit."""

    def train(data, **how):
        keras.utils.set_random_seed(3)
        model = stack(layers.Dense(4), layers.Dropout(0.5), layers.BatchNormalization())
        model.fit(data, shuffle=False, verbose=0, **how)
        return [np.asarray(v.value) for v in [*model.variables]]

    short = Spoiled()
    short.__class__ = type("Short", (Spoiled,), {"__len__": lambda self: 2})
    wanted = train(short)
    found = train(Spoiled(), callbacks=[callbacks.TerminateOnNaN()])
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
