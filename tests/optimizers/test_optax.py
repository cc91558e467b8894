"""Any optax transformation as the optimizer of a model, in fit, files and callbacks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kerasnb as keras
from kerasnb import callbacks, layers, optimizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = RNG.normal(size=(24, 2)).astype("float32")
BATCH, EPOCHS = 6, 3


def linear(optimizer):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile(optimizer, "mse")
    return model


def by_hand(transformation, model):
    """The weights after the same epochs of a loop that knows nothing of Keras."""

    def loss(weights, x, y):
        return jnp.mean((x @ weights["kernel"] + weights["bias"] - y) ** 2)

    @jax.jit
    def step(weights, state, x, y):
        grads = jax.grad(loss)(weights, x, y)
        deltas, state = transformation.update(grads, state, weights)
        return optax.apply_updates(weights, deltas), state

    weights = {v.name: jnp.array(v.value) for v in model.trainable_variables}
    state = transformation.init(weights)
    for _ in range(EPOCHS):
        for at in range(0, len(X), BATCH):
            rows = slice(at, at + BATCH)
            weights, state = step(weights, state, X[rows], Y[rows])
    return weights


MAKERS = {
    "chain": lambda: optax.chain(optax.clip(0.1), optax.adamw(0.05)),
    "schedule": lambda: optax.sgd(optax.exponential_decay(0.1, 4, 0.5), momentum=0.9),
    "injected": lambda: optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.01),
    "adafactor": lambda: optax.adafactor(0.05, min_dim_size_to_factor=2),
    "steps": lambda: optax.MultiSteps(optax.adam(0.05), 3).gradient_transformation(),
    "schedule free": lambda: optax.contrib.schedule_free_adamw(0.05),
    "prodigy": lambda: optax.contrib.prodigy(1.0),
    "not finite": lambda: optax.apply_if_finite(optax.lion(0.01), 5),
    "noise": lambda: optax.noisy_sgd(0.05, key=3),
    "frozen bias": lambda: optax.multi_transform(
        {"train": optax.adam(0.05), "freeze": optax.set_to_zero()},
        lambda weights: {
            name: "freeze" if name.endswith("bias") else "train" for name in weights
        },
    ),
}
SLOW = [pytest.param(m, marks=pytest.mark.parity) for m in list(MAKERS.values())[2:]]


@pytest.mark.parametrize("make", [*list(MAKERS.values())[:2], *SLOW], ids=MAKERS)
def test_fit_moves_the_weights_as_a_loop_with_optax_does(make):
    model = linear(make())
    wanted = by_hand(make(), model)
    model.fit(X, Y, BATCH, EPOCHS, shuffle=False, verbose=0)
    for variable in model.trainable_variables:
        np.testing.assert_allclose(
            variable.value, wanted[variable.name], rtol=1e-5, atol=1e-6
        )


def test_weights_and_state_go_on_from_a_file(tmp_path):
    make = MAKERS["injected"]
    model, other = linear(make()), linear(make())
    model.fit(X, Y, BATCH, 1, shuffle=False, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "m.weights.h5")
    losses = [
        m.fit(X, Y, BATCH, 1, shuffle=False, verbose=0).history for m in (model, other)
    ]
    assert losses[0] == losses[1]
    assert [v.numpy().tolist() for v in model.optimizer.variables] == [
        v.numpy().tolist() for v in other.optimizer.variables
    ]


def test_a_model_says_that_its_optax_optimizer_cannot_be_written(tmp_path):
    model = linear(optax.adam(0.1))
    with pytest.raises(TypeError, match=r"Save the weights with model.save_weights"):
        model.save(tmp_path / "m.keras")
    assert not (tmp_path / "m.keras").exists()


def test_callbacks_change_a_rate_that_is_laid_open():
    model = linear(optax.inject_hyperparams(optax.sgd)(learning_rate=0.1))
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = model.fit(X, Y, BATCH, 2, 0, [schedule]).history
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.025])


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.LearningRateScheduler(lambda epoch: 0.1),
        callbacks.ReduceLROnPlateau(monitor="loss"),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_say_how_to_lay_a_rate_open(callback):
    with pytest.raises((AttributeError, ValueError), match="inject_hyperparams"):
        linear(optax.sgd(0.1)).fit(X, Y, BATCH, 1, 0, [callback])


def test_multi_steps_are_taken_as_they_are():
    optimizer = optimizers.get(optax.MultiSteps(optax.sgd(0.1), 2))
    assert isinstance(optimizer, optimizers.OptaxOptimizer)
    model = linear(optax.MultiSteps(optax.sgd(0.1), 2))
    before = model.get_weights()
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    model.train_on_batch(X, Y)
    assert np.abs(before[0] - model.get_weights()[0]).max() > 0
