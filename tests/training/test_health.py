"""kerasnb.training.health: samples of the gradient that leave the training alone"""

import jax
import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers, optimizers
from kerasnb.core import settings
from kerasnb.training import health, loop, watch


@pytest.fixture(autouse=True)
def looks_at_every_chunk(monkeypatch):
    for room in (health, watch):
        monkeypatch.setattr(room, "BETWEEN", 0)
    monkeypatch.setattr(health, "SHARE", 1e6)
    monkeypatch.setattr(loop, "TICK", 0)  # chunks of few steps, however fast they are
    ready = health.Probe.ready
    monkeypatch.setattr(
        health.Probe, "ready", lambda self, wait=False: ready(self, True)
    )
    monkeypatch.setitem(settings._settings, "alarms", settings.ALARMS)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 6)).astype("float32")
Y = X[:, :1] ** 2


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(8, "relu", name="inner")
        self.outer = layers.Dense(1, name="outer")

    def call(self, x):
        # A number of chance that is drawn while the step is traced.
        return self.outer(self.inner(x)) + 0.01 * np.random.normal()


class OwnLoss(Own):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **how):
        return keras.ops.mean(abs(y - y_pred))


class OwnStep(Own):
    def train_step(self, state, data):
        return super().train_step(state, data)


def functional():
    given = keras.Input((6,))
    x = layers.Dropout(0.2)(layers.Dense(8, "relu", name="inner")(given))
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(given, layers.Dense(1, name="outer")(x))


def sequential():
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "relu", name="inner"), layers.Dense(1)]
    )


MODELS = {
    "sequential": sequential,
    "functional": functional,
    "subclassed": Own,
    "own loss": OwnLoss,
}


def train(make, optimizer="adam", **how):
    keras.utils.set_random_seed(7)
    model = make()
    model.compile(optimizer, "mse")
    model.fit(X, Y, epochs=3, verbose=0, **how)
    return model


@pytest.mark.parametrize("name", [*MODELS, "own step"])
def test_the_training_is_the_same_to_the_bit_with_and_without(name):
    make = {**MODELS, "own step": OwnStep}[name]
    watched = train(make)
    assert bool(len(watched.run.health_points()[0])) == (name != "own step")
    settings.alarms("off")
    alone = train(make)
    assert not len(alone.run.health_points()[0])
    for a, b in zip(
        [*watched.variables, *watched.optimizer.variables],
        [*alone.variables, *alone.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
    assert watched.history.history == alone.history.history


def test_a_sample_holds_the_norms_of_the_gradient_that_jax_finds():
    model = train(sequential, "sgd")
    probe = health.Probe(model)
    state = tuple([v.box for v in group] for group in model._groups(training=True))
    chunk = ((X, Y), np.arange(32)[None], np.int32(0))
    probe.lower(state, chunk)
    assert probe.ready(wait=True)
    sample = probe.sample(state, chunk, 5)

    def loss(kernel, bias, kernel2, bias2):
        hidden = jax.nn.relu(X[:32] @ kernel + bias)
        return ((hidden @ kernel2 + bias2 - Y[:32]) ** 2).mean()

    value, grads = jax.value_and_grad(loss, (0, 1, 2, 3))(*state[0])
    inner, outer = (
        float(np.sqrt(sum((g**2).sum() for g in part)))
        for part in (grads[:2], grads[2:])
    )
    np.testing.assert_allclose(list(sample.gradients.values()), [inner, outer], 1e-4)
    np.testing.assert_allclose(sample.norm, np.hypot(inner, outer), 1e-4)
    np.testing.assert_allclose(sample.loss, value, 1e-5)
    rate = float(model.optimizer.learning_rate)
    weights = np.sqrt(sum(float((w**2).sum()) for w in state[0]))
    np.testing.assert_allclose(sample.update_ratio, rate * sample.norm / weights, 1e-3)
    units = jax.nn.relu(X[:32] @ state[0][0] + state[0][1])
    assert sample.alive["Dense `inner` (activation relu)"].tolist() == (
        (np.asarray(units) != 0).any(0).tolist()
    )


def test_the_norm_of_a_scaled_loss_is_that_of_the_loss():
    scaled = optimizers.LossScaleOptimizer(optimizers.SGD(0.0), initial_scale=1024.0)
    plain = train(sequential, optimizers.SGD(0.0), shuffle=False)
    other = train(sequential, scaled, shuffle=False)
    np.testing.assert_allclose(
        other.run.gradient_norm, plain.run.gradient_norm, rtol=1e-3
    )


@pytest.mark.parametrize(
    "how", [{"epochs": 1}, {"epochs": 1, "initial_epoch": 0, "batch_size": 50}]
)
def test_the_norms_are_points_of_the_run(how):
    model = sequential()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0, **how)
    steps, values = model.run.health_points()
    assert set(values) == {"gradient_norm", "update_ratio"}
    assert len(steps) and steps[-1] <= model.run.step
    assert model.run.gradient_norm == values["gradient_norm"][-1] > 0


def test_a_layer_inside_of_a_loop_is_left_out():
    model = keras.Sequential(
        [
            keras.Input((3, 6)),
            layers.TimeDistributed(layers.Dense(4, "relu")),
            layers.SimpleRNN(4, "relu"),
            layers.Dense(1, "relu", name="outer"),
        ]
    )
    model.compile("adam", "mse")
    model.fit(np.repeat(X[:, None], 3, 1), Y, epochs=2, verbose=0)
    assert len(model.run.health_points()[0])
    found = list(model.run.health_points()[1])
    assert found == ["gradient_norm", "update_ratio"]


def test_a_short_run_that_goes_well_pays_nothing(monkeypatch):
    monkeypatch.setattr(health, "SHARE", 0.005)
    made = []
    monkeypatch.setattr(health.Probe, "lower", lambda *args: made.append(args))
    train(sequential)
    assert not made
