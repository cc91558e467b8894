"""kerasnb.optimizers.wrap: dynamic loss scaling, and optax optimizers."""

import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from kerasnb import optimizers
from kerasnb.core.state import functional, read
from kerasnb.core.variable import Variable

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


# --- LossScaleOptimizer ---------------------------------------------------------------


def test_loss_scaling_skips_grows_and_shrinks_as_keras_does(pair):
    settings = {"initial_scale": 8.0, "dynamic_growth_steps": 2}
    ours = optimizers.LossScaleOptimizer(optimizers.Adam(), **settings)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), **settings)
    ours.build(pair.ours)
    theirs.build(pair.theirs)
    scales = []
    for i, grads in enumerate(pair.grads):
        if i == 3:
            grads[1][0] = np.inf
        ours.apply(grads)
        values = theirs.stateless_apply(
            [v.value for v in theirs.variables], grads, [v.value for v in pair.theirs]
        )
        for variable, value in zip(
            pair.theirs + theirs.variables, values[0] + values[1], strict=True
        ):
            variable.assign(value)
        pair.assert_equal(ours, theirs, f"step {i}:")
        scales.append(float(ours.scale_loss(1.0)))
    assert scales == [8.0, 16.0, 16.0, 8.0, 8.0, 16.0]
    assert int(ours.iterations) == 5


def test_a_loss_scale_optimizer_hands_on_the_learning_rate_and_its_config():
    ours = optimizers.LossScaleOptimizer(optimizers.SGD(0.5, name="a"), name="b")
    theirs = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.5, name="a"), name="b"
    )
    assert ours.get_config() == theirs.get_config()
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert again.get_config() == ours.get_config()
    ours.learning_rate = 0.25
    assert float(ours.inner_optimizer.learning_rate) == 0.25
    with pytest.raises(ValueError, match=r"give clipnorm=1.0 to the inner optimizer"):
        optimizers.LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0)
    with pytest.raises(ValueError, match="`inner_optimizer` must be an optimizer"):
        optimizers.LossScaleOptimizer("sgd")


# --- optax ----------------------------------------------------------------------------


def optax_steps(transformation, pair, steps=6):
    """What a plain optax loop makes of the weights."""
    weights = {v.path: v.value for v in pair.ours}
    state = transformation.init(weights)
    for grads in pair.grads[:steps]:
        tree = {v.path: jnp.asarray(g) for v, g in zip(pair.ours, grads, strict=True)}
        deltas, state = transformation.update(tree, state, weights)
        weights = optax.apply_updates(weights, deltas)
    return weights


@pytest.mark.parametrize(
    "transformation",
    [
        optax.adamw(1e-2),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9)),
        optax.adam(optax.cosine_decay_schedule(0.1, 10)),
        optax.multi_transform(
            {"matrix": optax.adam(0.1), "rest": optax.sgd(0.1)},
            lambda weights: {
                path: "matrix" if path.endswith("kernel") else "rest"
                for path in weights
            },
        ),
    ],
    ids=["adamw", "chain", "schedule", "labels"],
)
def test_any_optax_transformation_is_an_optimizer(transformation, pair):
    expected = optax_steps(transformation, pair)
    optimizer = optimizers.get(transformation)
    optimizer.build(pair.ours)
    for grads in pair.grads[:3]:
        optimizer.apply(grads)
    # The second half as a pure function, as a training step runs it.
    state = [*pair.ours, *optimizer.variables]
    pure, values = functional(optimizer.apply, state), read(state)
    for grads in pair.grads[3:]:
        _, values = pure(values, grads)
    for variable, value in zip(pair.ours, values, strict=False):
        np.testing.assert_allclose(value, expected[variable.path], rtol=1e-5, atol=1e-6)


def test_the_state_of_optax_is_saved_counters_included(pair):
    optimizer = optimizers.OptaxOptimizer(optax.adam(1e-2))
    optimizer.apply(pair.grads[0], pair.ours)
    assert [(v.name, v.dtype) for v in optimizer.variables][:3] == [
        ("iteration", "int32"),
        ("0_count", "int32"),
        ("0_mu_dense_bias", "float32"),
    ]
    store = {}
    optimizer.save_own_variables(store)
    fresh = optimizers.OptaxOptimizer(optax.adam(1e-2))
    fresh.build(pair.ours)
    fresh.load_own_variables(store)
    assert [v.numpy().tolist() for v in fresh.variables] == [
        v.numpy().tolist() for v in optimizer.variables
    ]


def test_an_injected_learning_rate_can_be_seen_and_changed():
    weight = Variable([0.0])
    optimizer = optimizers.get(optax.inject_hyperparams(optax.sgd)(learning_rate=1.0))
    optimizer.apply([[1.0]], [weight])
    assert float(optimizer.learning_rate) == 1.0
    optimizer.learning_rate = 10.0
    optimizer.apply([[1.0]])
    assert weight.value.tolist() == [-11.0]


def test_a_hidden_learning_rate_says_how_to_show_it():
    optimizer = optimizers.get(optax.sgd(1.0))
    assert not hasattr(optimizer, "learning_rate")
    with pytest.raises(AttributeError, match=r"optax.inject_hyperparams"):
        optimizer.learning_rate = 0.1


def test_optax_goes_with_clipping_accumulation_and_missing_gradients(pair):
    ours = optimizers.OptaxOptimizer(
        optax.sgd(0.1), clipnorm=1.0, gradient_accumulation_steps=2
    )
    theirs = keras.optimizers.SGD(0.1, clipnorm=1.0, gradient_accumulation_steps=2)
    ours.build(pair.ours)
    theirs.build(pair.theirs)
    for grads in pair.grads[:4]:
        with pytest.warns(UserWarning, match="no gradient"):
            ours.apply([grads[0], None, grads[2]])
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            theirs.apply([grads[0], None, grads[2]])
    for a, b in zip(pair.ours, pair.theirs, strict=True):
        np.testing.assert_allclose(a.value, np.asarray(b.value), rtol=1e-5, atol=1e-6)


def test_what_optax_cannot_do_is_said():
    with pytest.raises(ValueError, match="add_decayed_weights"):
        optimizers.OptaxOptimizer(optax.sgd(0.1), weight_decay=0.1)
    with pytest.raises(ValueError, match="`transformation` must be an optax"):
        optimizers.OptaxOptimizer(optax.sgd)
    with pytest.raises(TypeError, match="made of functions and cannot be written"):
        optimizers.serialize(optimizers.get(optax.sgd(0.1)))


def test_optax_is_not_imported_with_the_package():
    import subprocess
    import sys

    code = "import sys, kerasnb.optimizers; print('optax' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"
