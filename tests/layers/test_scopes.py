"""Scopes around calls: values in place of variables, and memory given back."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.core.state import functional


def parts_computed_again(fn, *args) -> int:
    """How many checkpoints a function has, those inside others not counted."""
    equations = jax.make_jaxpr(fn)(*args).jaxpr.eqns
    return sum(e.primitive.name.startswith("remat") for e in equations)


def test_a_stateless_scope_keeps_changes_inside_as_keras_does():
    found = []
    for library in (kerasnb, keras):
        layer = library.layers.BatchNormalization(name="norm")
        layer.build((None, 3))
        moving = layer.moving_mean
        with library.StatelessScope([(moving, np.full(3, 2.0))]) as scope:
            layer(np.ones((4, 3), "float32"), training=True)
            inside = scope.get_current_value(moving)
        absent = scope.get_current_value(layer.gamma)
        found.append((inside, np.asarray(moving.value), absent))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][2] is found[1][2] is None


def test_a_stateless_scope_collects_losses_when_asked():
    layer = layers.Identity(activity_regularizer=kerasnb.regularizers.L2(0.5))
    with kerasnb.StatelessScope(collect_losses=True) as scope:
        layer(np.ones((1, 2), "float32"))
    assert [float(loss) for loss in scope.losses] == [1.0]
    assert layer.losses == []


def test_a_stateless_scope_refuses_a_value_of_another_shape():
    with pytest.raises(ValueError, match=r"has shape \(2,\) and got a value of shape"):
        kerasnb.StatelessScope([(kerasnb.Variable(np.zeros(2)), np.zeros(3))])


def test_a_symbolic_scope_changes_no_variable():
    counter = kerasnb.Variable(1.0)
    with kerasnb.SymbolicScope():
        counter.assign(2.0)
    assert float(counter) == 1.0


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 2),
        ({"mode": "activations"}, 2),
        ({"mode": "larger_than", "output_size_threshold": 4}, 1),
        ({"mode": "list_of_layers", "layer_names": ["second"]}, 1),
        ({"mode": None}, 0),
    ],
)
def test_a_remat_scope_computes_again_and_changes_no_result(options, times):
    def make():
        kerasnb.utils.set_random_seed(3)
        return [
            layers.Dense(8, activation="tanh", name="first"),
            layers.Dense(2, activation="tanh", name="second"),
        ]

    x = jnp.linspace(-1, 1, 12).reshape(4, 3)
    results, counts = [], []
    plain = make()
    with kerasnb.RematScope(**options):
        scoped = make()
    for first, second in (plain, scoped):
        second(first(x))
        variables = first.trainable_variables + second.trainable_variables
        pure = functional(lambda x, a=first, b=second: b(a(x)).sum(), variables)
        values = [v.value for v in variables]
        gradient = jax.grad(lambda values, pure=pure: pure(values, x)[0])
        counts.append(parts_computed_again(lambda v, pure=pure: pure(v, x)[0], values))
        results.append(jax.jit(gradient)(values))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *results)
    assert counts[0] == 0
    assert counts[1] == times


def test_rematerialised_layers_keep_their_state_losses_and_masks():
    def make():
        return kerasnb.Sequential(
            [
                layers.Input((5,), dtype="int32"),
                layers.Embedding(7, 4, mask_zero=True),
                layers.BatchNormalization(),
                layers.Dense(3, activity_regularizer="l2"),
                layers.Dropout(0.5, seed=1),
                layers.LSTM(2),
            ]
        )

    kerasnb.utils.set_random_seed(1)
    plain = make()
    kerasnb.utils.set_random_seed(1)
    with kerasnb.RematScope():
        again = make()
    x = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    logs = []
    for model in (plain, again):
        model.compile("sgd", "mse")
        run = model.fit(x, np.ones((2, 2)), epochs=3, shuffle=False, verbose=0)
        logs.append(run.history)
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-5)
    for one, other in zip(plain.weights, again.weights, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-5, atol=1e-6)


def test_remat_takes_functions_and_layers():
    layer = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    x = jnp.ones((1, 3))
    layer(x)
    np.testing.assert_allclose(kerasnb.remat(layer)(x), [[3.0]])
    assert float(jax.grad(kerasnb.remat(jnp.sin))(0.0)) == 1.0


def test_an_unknown_mode_and_device_are_refused():
    with pytest.raises(ValueError, match="RematScope: `mode` must be"):
        kerasnb.RematScope("everything")
    with pytest.raises(ValueError, match='there is no "tpu:3" here'):
        kerasnb.device("tpu:3")
