"""Every optimizer with every option beside Keras' own, over twenty compiled steps.

Weights are compared after each step, slots at the end, to 1e-5: of one, or of the value
where that is larger.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import optimizers
from kerasnb.core.naming import name_scope
from kerasnb.core.variable import Variable
from tests.helpers import QUICK

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

STEPS = 20
SHAPES = {
    "kernel": (4, 3),
    "bias": (3,),
    "embeddings": (6, 2),  # most of its rows have no gradient
    "cube": (2, 3, 2),
    "scale": (),
    "idle": (2,),  # its gradient is always zero
}

# Each optimizer, at a rate at which twenty steps matter.
RULES = {
    "SGD": {"learning_rate": 0.05, "momentum": 0.9},
    "Adam": {"learning_rate": 0.01},
    "AdamW": {"learning_rate": 0.01},
    "Adamax": {"learning_rate": 0.01},
    "Nadam": {"learning_rate": 0.01},
    "Lamb": {"learning_rate": 0.01},
    "ScheduleFreeAdamW": {"learning_rate": 0.01},
    "RMSprop": {"learning_rate": 0.01},
    "Adagrad": {"learning_rate": 0.1},
    "Adadelta": {"learning_rate": 1.0},
    "Adafactor": {"learning_rate": 0.1},
    "Ftrl": {"learning_rate": 0.1},
    "Lion": {"learning_rate": 0.01},
    "Muon": {"learning_rate": 0.01},
}

# Whose slots Keras names after the weights alone, or not at all.
NAMELESS = ("Adafactor", "Nadam")


def rate(kind, *arguments):
    """A schedule in whichever library."""
    return lambda k: getattr(k.optimizers.schedules, kind)(*arguments)


OPTIONS = [
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "exclude": ["bias", "scale"]},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_overwrite_frequency": 3, "clipvalue": 0.5},
    {"loss_scale_factor": 64.0, "clipnorm": 1.0},
    {"gradient_accumulation_steps": 3},
    {
        "gradient_accumulation_steps": 2,
        "weight_decay": 0.1,
        "global_clipnorm": 1.0,
        "use_ema": True,
        "ema_momentum": 0.9,
        "ema_overwrite_frequency": 2,
        "loss_scale_factor": 8.0,
    },
    {"learning_rate": rate("ExponentialDecay", 0.1, 5, 0.5), "weight_decay": 0.1},
    {
        "learning_rate": rate("CosineDecay", 0.01, 12, 0.1, "cosine", 0.1, 4),
        "gradient_accumulation_steps": 2,
    },
]
OWN = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"momentum": 0.7, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"amsgrad": True, "beta_1": 0.5, "beta_2": 0.9}),
    ("Adam", {"epsilon": 0.1}),
    ("AdamW", {"weight_decay": 0.0, "amsgrad": True}),
    ("Adamax", {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.01}),
    ("Nadam", {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.01}),
    ("Lamb", {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.01}),
    ("ScheduleFreeAdamW", {"warmup_steps": 7, "beta_1": 0.7}),
    ("RMSprop", {"rho": 0.5, "momentum": 0.9, "epsilon": 0.01}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {"initial_accumulator_value": 0.7, "epsilon": 0.01}),
    ("Adadelta", {"rho": 0.5, "epsilon": 0.01}),
    ("Adafactor", {"beta_2_decay": -0.5, "epsilon_2": 0.1, "clip_threshold": 0.5}),
    ("Adafactor", {"relative_step": False, "epsilon_1": 1e-3}),
    ("Ftrl", {"l1_regularization_strength": 0.3, "beta": 0.1}),
    ("Ftrl", {"l2_regularization_strength": 0.3, "learning_rate_power": -0.7}),
    (
        "Ftrl",
        {
            "l2_shrinkage_regularization_strength": 0.2,
            "initial_accumulator_value": 0.5,
        },
    ),
    ("Lion", {"beta_1": 0.5, "beta_2": 0.7, "weight_decay": 0.1}),
    ("Muon", {"nesterov": False, "ns_steps": 3, "momentum": 0.5}),
    ("Muon", {"rms_rate": None, "adam_lr_ratio": 0.1, "adam_weight_decay": None}),
    ("Muon", {"exclude_layers": ["kernel"], "exclude_embeddings": False}),
    ("Muon", {"muon_a": 2.0, "muon_b": -1.5, "muon_c": 0.5, "adam_beta_1": 0.5}),
]


def label(value):
    if isinstance(value, str):
        return value
    return ",".join(
        f"{k}=schedule" if callable(v) else f"{k}={v}" for k, v in value.items()
    )


def both(name, options):
    """The optimizer of each library, and whom its weight decay spares."""
    given = {**RULES[name], **options}
    spared = given.pop("exclude", None)
    made = []
    for k in (OURS, keras):
        settings = {n: v(k) if callable(v) else v for n, v in given.items()}
        made.append(getattr(k.optimizers, name)(name="opt", **settings))
        if spared:
            made[-1].exclude_from_weight_decay(var_names=spared)
    return made


class OURS:
    """What the tests use of kerasnb, under the names that Keras has for it."""

    optimizers = optimizers


def weights_and_gradients():
    """Weights that start equal in both libraries, and gradients of every step."""
    rng = np.random.default_rng(7)
    values = [rng.normal(size=s).astype("float32") for s in SHAPES.values()]
    pairs = list(zip(SHAPES, values, strict=True))
    with name_scope("dense"):
        ours = [Variable(value, name=name) for name, value in pairs]
    with keras.name_scope("dense"):
        theirs = [keras.Variable(value, name=name) for name, value in pairs]
    grads = []
    for name, shape in SHAPES.items():
        grad = rng.normal(size=(STEPS, *shape)).astype("float32")
        if name == "embeddings":
            grad *= rng.uniform(size=(STEPS, 6, 1)) < 0.3
        grads.append(grad * (name != "idle"))
    return ours, theirs, grads


def assert_agree(ours, theirs, grads=None):
    """Both optimizers take twenty steps in one compiled loop, and stay together."""
    our_weights, their_weights, found = weights_and_gradients()
    ours.build(our_weights)
    theirs.build(their_weights)
    if type(ours).__name__ not in NAMELESS:
        assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    kinds = [[(tuple(v.shape), v.dtype) for v in o.variables] for o in (ours, theirs)]
    assert kinds[0] == kinds[1]

    def both_step(states, grads):
        new = [
            optimizer.stateless_apply(slots, grads, weights)
            for optimizer, (weights, slots) in zip((ours, theirs), states, strict=True)
        ]
        # A loop wants every dtype to stay as it was.
        return jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), states, new), new

    states = [
        ([jnp.array(v.value) for v in w], [jnp.array(v.value) for v in o.variables])
        for w, o in ((our_weights, ours), (their_weights, theirs))
    ]
    loop = jax.jit(lambda states, grads: jax.lax.scan(both_step, states, grads))
    states = [tuple(state) for state in states]
    grads = grads or found
    _, found = loop.lower(states, grads).compile(compiler_options=QUICK)(states, grads)
    (weights, slots), (wanted, wanted_slots) = found
    paths = [v.path for v in (*our_weights, *ours.variables)]
    for path, a, b in zip(paths, weights + slots, wanted + wanted_slots, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=path)
    # Not because nothing happened.
    assert any(np.ptp(w, axis=0).max() > 1e-4 for w in weights)


@pytest.mark.parity
@pytest.mark.parametrize("options", OPTIONS, ids=label)
@pytest.mark.parametrize("name", RULES)
def test_every_option_agrees_with_keras_for_twenty_steps(name, options):
    assert_agree(*both(name, options))


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in RULES), *OWN], ids=label
)
def test_every_rule_agrees_with_keras_for_twenty_steps(name, options):
    assert_agree(*both(name, options))


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(set(RULES) - set(NAMELESS)))
def test_scaled_losses_overflow_and_grow_as_in_keras(name):
    _, _, grads = weights_and_gradients()
    grads[0][4, 0, 0], grads[1][11], grads[2][12] = np.inf, np.nan, -np.inf
    ours, theirs = both(name, {"clipnorm": 1.0, "use_ema": True, "ema_momentum": 0.5})
    assert_agree(
        optimizers.LossScaleOptimizer(ours, 16.0, 3, name="scale"),
        keras.optimizers.LossScaleOptimizer(theirs, 16.0, 3, name="scale"),
        grads,
    )


# --- Several optimizers for one model -------------------------------------------------


def mixed(k, **options):
    """The same map of optimizers in either library."""
    o = k.optimizers
    rules = o.OptimizerMap(o.SGD(0.05, momentum=0.9, clipnorm=0.5, name="sgd"))
    rules["dense/(bias|scale)"] = o.Adam(0.01, weight_decay=0.1, name="adam")
    rules["dense/kernel"] = o.Lion(0.01, use_ema=True, name="lion")
    return o.MultiOptimizer(rules, name="opt", **options)


@pytest.mark.parametrize("options", [{}, {"loss_scale_factor": 8.0}], ids=label)
def test_a_map_of_optimizers_agrees_with_keras(options):
    assert_agree(mixed(OURS, **options), mixed(keras, **options))


def test_a_function_may_choose_the_optimizer_of_each_weight():
    def chooser(k):
        small, large = k.optimizers.SGD(0.1, name="s"), k.optimizers.Adam(name="a")
        return lambda variable: small if len(variable.shape) < 2 else large

    ours, theirs = (
        k.optimizers.MultiOptimizer(chooser(k), name="opt") for k in (OURS, keras)
    )
    assert ours.optimizers == []
    assert_agree(ours, theirs)
    assert [part.name for part in ours.optimizers] == ["a", "s"]


def test_a_map_of_optimizers_travels_as_in_keras():
    ours, theirs = (
        mixed(OURS, loss_scale_factor=2.0),
        mixed(keras, loss_scale_factor=2.0),
    )
    assert ours.get_config() == theirs.get_config()
    assert [o.loss_scale_factor for o in ours.optimizers] == [2.0] * 3
    data = keras.optimizers.serialize(theirs)
    again = optimizers.deserialize(data)
    assert again.get_config() == ours.get_config()
    assert list(again.optimizer_map) == ["dense/(bias|scale)", "dense/kernel"]
    weights, _, grads = weights_and_gradients()
    ours.apply([g[0] for g in grads], weights)
    again.build(weights)
    store = {}
    ours.save_own_variables(store)
    again.load_own_variables(store)
    for a, b in zip(ours.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    before = weights[0].numpy()
    ours.finalize_variable_values(weights)  # the mean of one step is that step
    np.testing.assert_array_equal(weights[0].numpy(), before)


def test_mistakes_in_a_map_are_answered_with_one_sentence():
    sgd, adam = optimizers.SGD(), optimizers.Adam()
    rules = optimizers.OptimizerMap(sgd, {"a/.*": adam, ".*/b": sgd})
    assert rules["a/c"] is adam
    assert rules["other"] is sgd
    with pytest.raises(ValueError, match="several keys match the weight `a/b`"):
        rules["a/b"]
    with pytest.raises(ValueError, match="has the key 'a/.*' already"):
        rules["a/.*"] = sgd
    with pytest.raises(ValueError, match="`optimizer` must be an optimizer of single"):
        rules["c"] = optimizers.LossScaleOptimizer(sgd)
    with pytest.raises(ValueError, match="`default_optimizer` must be an optimizer"):
        optimizers.OptimizerMap("sgd")
    with pytest.raises(ValueError, match="`optimizer_map` must be an OptimizerMap, or"):
        optimizers.MultiOptimizer({"a": sgd})
    chosen = optimizers.MultiOptimizer(lambda variable: "adam")
    with pytest.raises(ValueError, match="`optimizer_map` must be an optimizer of"):
        chosen.build([Variable([1.0])])
    with pytest.raises(AttributeError, match="has no learning rate of its own"):
        chosen.learning_rate = 0.1
    del rules["a/.*"]
    assert rules["a/c"] is sgd


def test_the_optimizers_of_keras_2_say_where_to_go():
    for name in ("Adagrad", "Adam", "Ftrl", "Optimizer", "RMSprop", "SGD"):
        with pytest.raises(ImportError, match="gone since Keras 3"):
            getattr(optimizers.legacy, name)(0.1)
