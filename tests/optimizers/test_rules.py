"""kerasnb.optimizers: every rule, step by step, against the released Keras."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import optimizers
from kerasnb.core.state import functional, read

# Keras reads its own variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "epsilon": 1e-2, "beta_1": 0.5}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2}),
    ("Adam", {"gradient_accumulation_steps": 2, "clipnorm": 1.0, "use_ema": True}),
    ("Adam", {"loss_scale_factor": 16.0, "clipvalue": 0.5}),
    ("AdamW", {"global_clipnorm": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "clipvalue": 0.3}),
    ("RMSprop", {"momentum": 0.9, "gradient_accumulation_steps": 3}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adamax", {"epsilon": 1e-2}),
    ("Nadam", {}),
    ("Nadam", {"gradient_accumulation_steps": 2}),
    ("Lion", {"weight_decay": 0.01}),
    ("Ftrl", {"l1_regularization_strength": 0.1, "beta": 0.1}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": 0.1, "learning_rate": 0.1}),
    ("Adafactor", {"learning_rate": 0.1}),
    ("Lamb", {"epsilon": 1e-2}),
    ("ScheduleFreeAdamW", {"warmup_steps": 3}),
    ("Muon", {}),
    ("Muon", {"nesterov": False, "rms_rate": None, "adam_lr_ratio": 0.1}),
]
NAMES = sorted({name for name, _ in CASES})
# One case of each rule, and those that decide something on the device.
LOOPED = [*dict(CASES).items(), *(c for c in CASES if "use_ema" in c[1])]


def both(name, settings):
    """The optimizer of each library."""
    ours = getattr(optimizers, name)(name="opt", **settings)
    return ours, getattr(keras.optimizers, name)(name="opt", **settings)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_six_steps_with_a_change_of_rate_agree_with_keras(name, settings, pair):
    ours, theirs = both(name, settings)
    for i, grads in enumerate(pair.grads):
        if i == 3:
            ours.learning_rate = theirs.learning_rate = 0.05
        ours.apply(grads, pair.ours)
        theirs.apply(grads, pair.theirs)
        pair.assert_equal(ours, theirs, f"step {i}:")
    ours.finalize_variable_values(pair.ours)
    theirs.finalize_variable_values(pair.theirs)
    pair.assert_equal(ours, theirs, "finally:")


@pytest.mark.parametrize(("name", "settings"), LOOPED)
def test_compiled_in_a_loop_gives_what_single_calls_give(name, settings, pair):
    ours, _ = both(name, settings)
    weights, grads = pair.ours[:2], [g[:2] for g in pair.grads]
    ours.build(weights)
    state = [*weights, *ours.variables]
    pure = functional(lambda grads: ours.apply(grads), state)
    stacked = [jnp.stack(g) for g in zip(*grads, strict=True)]

    @jax.jit
    def loop(values, hi):
        return jax.lax.fori_loop(
            0, hi, lambda i, values: pure(values, [g[i] for g in stacked])[1], values
        )

    looped = loop(read(state), len(grads))
    for each in grads:
        ours.apply(each)
    for variable, value in zip(state, looped, strict=True):
        assert value.dtype == variable.dtype
        np.testing.assert_allclose(
            value, variable.numpy(), rtol=2e-5, atol=2e-6, err_msg=variable.path
        )


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_slots_start_as_the_rule_says(name, settings, pair):
    ours, _ = both(name, settings)
    ours.build(pair.ours)
    for i, variable in enumerate(pair.ours):
        rule, fields, _ = ours._rules()[variable]
        started = jax.tree.leaves(rule.init(variable.value))
        for (slot, _), value in zip(fields, started, strict=True):
            if slot:
                np.testing.assert_array_equal(ours._slots[slot][i].numpy(), value)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Adafactor", "Nadam")])
def test_variables_are_named_as_in_keras(name, pair):
    ours, theirs = both(name, {})
    ours.build(pair.ours)
    theirs.build(pair.theirs)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_config_travels_both_ways(name, settings):
    ours, theirs = both(name, settings)
    assert ours.get_config() == theirs.get_config()
    data = optimizers.serialize(ours)
    assert data == keras.optimizers.serialize(theirs)
    if name != "Lamb":  # which Keras' own deserialize does not know
        assert keras.optimizers.deserialize(data).get_config() == data["config"]
    again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert type(again) is type(ours)
    assert again.get_config() == data["config"]


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_keras(name):
    import inspect

    ours = inspect.signature(getattr(optimizers, name)).parameters
    theirs = inspect.signature(getattr(keras.optimizers, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_default_name_is_keras(name):
    keras.backend.clear_session()
    assert getattr(optimizers, name)().name == getattr(keras.optimizers, name)().name


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SGD", {"momentum": 2.0}, "SGD: `momentum` must be a number from 0 to 1"),
        ("Lion", {"beta_1": 0.0}, "Lion: `beta_1` must be above 0"),
        ("AdamW", {"weight_decay": None}, "AdamW: `weight_decay` must be a number"),
        ("Ftrl", {"learning_rate_power": 1.0}, "Ftrl: `learning_rate_power` must be"),
        (
            "Ftrl",
            {"l1_regularization_strength": -1.0},
            "Ftrl: `l1_regularization_strength` must be zero or positive, not -1.0.",
        ),
    ],
)
def test_impossible_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        getattr(optimizers, name)(**settings)
