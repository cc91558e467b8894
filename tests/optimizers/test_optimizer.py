"""kerasnb.optimizers.optimizer: what all optimizers share."""

import copy
import pickle
import threading

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from kerasnb import optimizers
from kerasnb.core.state import functional, read
from kerasnb.core.variable import Variable

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def count_traces(optimizer):
    """How often the rule is traced from now on, as a list that grows."""
    seen, step = [], optimizer.update_step
    optimizer.update_step = lambda *args: (seen.append(1), step(*args))
    return seen


# --- The learning rate ----------------------------------------------------------------


def test_the_learning_rate_changes_without_a_new_trace():
    weight, optimizer = Variable([1.0]), optimizers.SGD(1.0)
    traces = count_traces(optimizer)
    optimizer.apply([[1.0]], [weight])
    optimizer.learning_rate = 10.0
    optimizer.apply([[1.0]], [weight])
    optimizer.learning_rate.assign(100.0)
    optimizer.apply([[1.0]], [weight])
    assert weight.value.tolist() == [1.0 - 111.0]
    assert len(traces) == 1


def test_a_changed_setting_is_not_ignored_by_the_compiled_step():
    weight, optimizer = Variable([1.0]), optimizers.SGD(1.0)
    optimizer.apply([[1.0]], [weight])
    optimizer.clipvalue = 0.5
    optimizer.apply([[1.0]], [weight])
    assert weight.value.tolist() == [1.0 - 1.5]


def test_the_learning_rate_is_a_float_for_another_thread():
    optimizer, seen = optimizers.Adam(0.25), []
    pure = functional(
        lambda: threading.Thread(
            target=lambda: seen.append(float(optimizer.learning_rate))
        ).run(),
        optimizer.variables,
    )
    thread = threading.Thread(
        target=lambda: seen.append(float(optimizer.learning_rate))
    )
    thread.start()
    thread.join()
    pure(read(optimizer.variables))
    assert seen == [0.25, 0.25]


def test_a_schedule_is_asked_at_the_step_inside_a_compiled_loop(pair):
    from kerasnb.optimizers import schedules

    settings = {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.5}
    ours = optimizers.SGD(schedules.ExponentialDecay(**settings), weight_decay=0.1)
    schedule = keras.optimizers.schedules.ExponentialDecay(**settings)
    theirs = keras.optimizers.SGD(schedule, weight_decay=0.1)
    for grads in pair.grads:
        ours.apply(grads, pair.ours)
        theirs.apply(grads, pair.theirs)
    pair.assert_equal(ours, theirs)
    assert [v.name for v in ours.variables] == ["iteration"]
    np.testing.assert_allclose(
        ours.learning_rate, np.asarray(theirs.learning_rate), rtol=1e-6
    )
    assert ours.get_config()["learning_rate"] == theirs.get_config()["learning_rate"]


def test_a_scheduled_rate_cannot_be_set_but_a_schedule_can():
    from kerasnb.optimizers import schedules

    optimizer = optimizers.SGD(schedules.CosineDecay(0.1, 10))
    with pytest.raises(TypeError, match="follows a learning rate schedule"):
        optimizer.learning_rate = 0.5
    plain = optimizers.SGD(0.1)
    plain.learning_rate = schedules.CosineDecay(0.5, 10)
    assert float(plain.learning_rate) == 0.5
    assert len(plain.variables) == 1


def test_a_function_gives_the_rate_at_every_single_call():
    rates = iter([1.0, 10.0])
    weight, optimizer = Variable([0.0]), optimizers.SGD(lambda: next(rates))
    optimizer.apply([[1.0]], [weight])
    optimizer.apply([[1.0]], [weight])
    assert weight.value.tolist() == [-11.0]


@pytest.mark.parametrize("rate", ["fast", True, [0.1], {}])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(TypeError, match="SGD: `learning_rate` must be a number"):
        optimizers.SGD(rate)


def test_the_learning_rate_is_not_among_what_a_step_assigns():
    optimizer = optimizers.Adam()
    optimizer.build([Variable([1.0])])
    assert [v.name for v in optimizer.mutable_variables] == [
        "iteration",
        "variable_momentum",
        "variable_velocity",
    ]


# --- Arguments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"lr": 0.1}, 'Adam has no argument `lr`. Did you mean "learning_rate"?'),
        ({"beta1": 0.1}, 'Adam has no argument `beta1`. Did you mean "beta_1"?'),
        (
            {"clip_norm": 1},
            'Adam has no argument `clip_norm`. Did you mean "clipnorm"?',
        ),
    ],
)
def test_an_unknown_argument_names_the_nearest_one(arguments, sentence):
    with pytest.raises(TypeError) as error:
        optimizers.Adam(**arguments)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "only one of `clipnorm`, `clipvalue`"),
        ({"gradient_accumulation_steps": 1}, "must be an integer of at least 2"),
        ({"use_ema": True, "ema_momentum": 2}, "must be a number from 0 to 1, not 2"),
        (
            {"use_ema": True, "ema_overwrite_frequency": 0.5},
            "must be an integer of at least 1, or None, not 0.5",
        ),
    ],
)
def test_impossible_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizers.Adam(**arguments)


def test_the_old_decay_argument_is_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="`decay` is no longer supported"):
        optimizer = optimizers.SGD(decay=0.1)
    assert "decay" not in optimizer.get_config()


def test_the_options_may_be_given_by_position():
    assert optimizers.Adam(0.1, 0.5, 0.6, 1e-3, True, 0.25).weight_decay == 0.25


# --- Names ----------------------------------------------------------------------------


def test_get_takes_names_in_any_case_configs_objects_classes_and_optax():
    adam = optimizers.Adam(0.5)
    assert type(optimizers.get("adam")) is optimizers.Adam
    assert type(optimizers.get("RMSprop")) is optimizers.RMSprop
    assert type(optimizers.get("ADAMW")) is optimizers.AdamW
    assert type(optimizers.get(optimizers.SGD)) is optimizers.SGD
    assert optimizers.get(adam) is adam
    assert optimizers.get(None) is None
    found = optimizers.get({"class_name": "adam", "config": {"learning_rate": 0.5}})
    assert float(found.learning_rate) == 0.5
    assert type(optimizers.get(optax.sgd(0.1))) is optimizers.OptaxOptimizer


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("adamm", 'Unknown optimizer "adamm". Did you mean "adam"?'),
        (3, '3 is not an optimizer: pass a name such as "adam"'),
        (len, "is not an optimizer"),
        (optax.adam, "optax.adam is a function that makes an optimizer: call it"),
    ],
)
def test_get_explains_what_is_no_optimizer(identifier, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        optimizers.get(identifier)


# --- Applying -------------------------------------------------------------------------


def test_a_missing_gradient_leaves_its_weight_and_slots_alone(pair):
    ours, theirs = optimizers.Adam(), keras.optimizers.Adam()
    ours.build(pair.ours)
    theirs.build(pair.theirs)
    for grads in pair.grads[:2]:
        grads = [grads[0], None, grads[2]]
        with pytest.warns(UserWarning, match="there is no gradient for dense/bias"):
            ours.apply(grads)
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            theirs.apply(grads)
    pair.assert_equal(ours, theirs)


@pytest.mark.parametrize("accumulation", [None, 2])
def test_a_variable_overwritten_with_its_gradient_has_no_slots(pair, accumulation):
    options = {"gradient_accumulation_steps": accumulation, "weight_decay": 0.1}
    ours, theirs = optimizers.Adam(**options), keras.optimizers.Adam(**options)
    pair.ours[1].overwrite_with_gradient = True
    pair.theirs[1].overwrite_with_gradient = True
    for grads in pair.grads:
        ours.apply(grads, pair.ours)
        theirs.apply(grads, pair.theirs)
        pair.assert_equal(ours, theirs)


def test_constraints_hold_after_the_step(pair):
    pair.ours[0].constraint = lambda w: jnp.maximum(w, 0)
    ours = optimizers.SGD(0.1)
    ours.apply(pair.grads[0], pair.ours)
    assert float(pair.ours[0].value.min()) == 0
    assert float(pair.ours[2].value.min()) < 0


def test_weights_are_spared_from_decay_by_name_or_object(pair):
    ours = optimizers.SGD(0.1, weight_decay=0.5)
    theirs = keras.optimizers.SGD(0.1, weight_decay=0.5)
    ours.exclude_from_weight_decay([pair.ours[0]], ["bias", "^nothing"])
    theirs.exclude_from_weight_decay([pair.theirs[0]], ["bias", "^nothing"])
    ours.apply(pair.grads[0], pair.ours)
    theirs.apply(pair.grads[0], pair.theirs)
    pair.assert_equal(ours, theirs)


def test_apply_gradients_takes_pairs_and_returns_the_counter():
    weight, optimizer = Variable([1.0]), optimizers.SGD(1.0)
    assert int(optimizer.apply_gradients([([1.0], weight)])) == 1
    assert weight.value.tolist() == [0.0]


def test_stateless_apply_agrees_with_keras_and_changes_nothing(pair):
    ours, theirs = optimizers.Adam(), keras.optimizers.Adam()
    ours.build(pair.ours)
    theirs.build(pair.theirs)
    arguments = read(ours.variables), pair.grads[0], read(pair.ours)
    weights, own = jax.jit(ours.stateless_apply)(*arguments)
    their_weights, their_own = theirs.stateless_apply(
        [v.value for v in theirs.variables],
        pair.grads[0],
        [v.value for v in pair.theirs],
    )
    for a, b in zip(weights + own, their_weights + their_own, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    pair.assert_equal(ours, theirs, "untouched:")


def test_apply_says_what_is_wrong_with_the_gradients():
    a, b, optimizer = (
        Variable([1.0]),
        Variable([2.0], name="b"),
        optimizers.SGD(name="s"),
    )
    with pytest.raises(ValueError, match="SGD does not know its weights yet"):
        optimizer.apply([[1.0]])
    with pytest.raises(ValueError, match=r"`stateless_apply`: call optimizer.build"):
        optimizer.stateless_apply([], [], [])
    optimizer.build([a])
    with pytest.raises(ValueError, match="SGD got 2 gradients for 1 weights"):
        optimizer.apply([[1.0], [1.0]])
    with pytest.raises(ValueError, match=r"`s` was built for other weights .* `b`"):
        optimizer.apply([[1.0]], [b])
    with pytest.raises(ValueError, match="no weight has a gradient"):
        optimizer.apply([None])
    with pytest.raises(ValueError, match="`optimizer_variables` must hold 2 values"):
        optimizer.stateless_apply([1], [[1.0]], [[1.0]])


def test_a_rule_is_needed():
    with pytest.raises(NotImplementedError, match="Optimizer has no rule"):
        optimizers.Optimizer(0.1).apply([[1.0]], [Variable([1.0])])


def test_bfloat16_weights_stay_bfloat16_and_move():
    # In Keras they do not move: there 1 - beta_2 is rounded to zero.
    for name in ("SGD", "Adam", "RMSprop", "Lamb", "Adafactor", "Nadam", "Lion"):
        weight = Variable([1.0, 2.0], dtype="bfloat16")
        optimizer = getattr(optimizers, name)(0.1)
        optimizer.apply([jnp.ones(2, "float32")], [weight])
        assert weight.dtype == "bfloat16"
        assert float(weight.value[0]) < 1, name


# --- Files ----------------------------------------------------------------------------


def test_the_state_goes_into_a_file_and_back_in_keras_order(pair):
    ours, theirs = optimizers.Adam(amsgrad=True), keras.optimizers.Adam(amsgrad=True)
    for grads in pair.grads[:3]:
        ours.apply(grads, pair.ours)
        theirs.apply(grads, pair.theirs)
    mine, yours = {}, {}
    ours.save_own_variables(mine)
    theirs.save_own_variables(yours)
    assert list(mine) == list(yours)
    fresh = optimizers.Adam(amsgrad=True)
    fresh.build(pair.ours)
    fresh.load_own_variables(yours)
    for grads in pair.grads[3:]:
        fresh.apply(grads)
        theirs.apply(grads)
    pair.assert_equal(fresh, theirs)


def test_a_state_of_another_size_is_skipped_with_a_warning():
    optimizer = optimizers.Adam(name="opt")
    with pytest.warns(UserWarning, match="`opt` is not loaded: the file has 1 var"):
        optimizer.load_own_variables({"0": np.int32(7)})
    assert int(optimizer.iterations) == 0


def test_copies_and_pickles_carry_the_state_on():
    weight, optimizer = Variable([1.0]), optimizers.Adam(0.1)
    optimizer.apply([[1.0]], [weight])
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        twin = other._trainable_variables[0]
        assert twin is not weight
        other.apply([[1.0]])
        assert int(other.iterations) == 2
        assert int(optimizer.iterations) == 1
        assert float(twin.value[0]) < float(weight.value[0])


def test_set_weights_follows_the_order_of_variables():
    optimizer = optimizers.SGD(momentum=0.5)
    with pytest.raises(ValueError, match="must be built before `set_weights`"):
        optimizer.set_weights([])
    optimizer.build([Variable([1.0])])
    optimizer.set_weights([3, 0.5, [7.0]])
    assert [v.numpy().tolist() for v in optimizer.variables] == [3, 0.5, [7.0]]


# --- Own optimizers -------------------------------------------------------------------


class Heavy(optimizers.Optimizer):
    """Written as Keras' guide has it: build, update_step, get_config."""

    def __init__(self, learning_rate=0.1, drag=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.drag = drag

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.speeds = self.add_optimizer_variables(variables, "speed")
        self.total = Variable(0.0, name="total", trainable=False)

    def update_step(self, gradient, variable, learning_rate):
        speed = self.speeds[self._get_variable_index(variable)]
        self.assign(speed, speed * self.drag + gradient)
        self.assign_add(self.total, jnp.sum(speed.value))
        self.assign_sub(variable, speed * learning_rate)

    def get_config(self):
        return {**super().get_config(), "drag": self.drag}


def test_an_optimizer_written_for_keras_works(pair):
    optimizer = Heavy(0.5, clipnorm=1e6, use_ema=True)
    rule = optimizers.SGD(0.5, momentum=0.9)
    start = read(pair.ours)
    for grads in pair.grads[:2]:
        optimizer.apply(grads, pair.ours)
    heavy = [v.numpy() for v in pair.ours]
    for variable, value in zip(pair.ours, start, strict=True):
        variable.assign(value)
    for grads in pair.grads[:2]:
        rule.apply(grads, pair.ours)
    for a, b in zip(heavy, pair.ours, strict=True):
        np.testing.assert_allclose(a, b.value, rtol=1e-4, atol=1e-5)
    names = [v.name for v in optimizer.variables]
    assert names[:2] == ["iteration", "learning_rate"]
    assert names[-2:] == ["dense_cube_speed", "total"]
    config = optimizer.get_config()
    assert (config["drag"], config["clipnorm"]) == (0.9, 1e6)
    assert Heavy.from_config(config).get_config() == config


def test_an_own_rule_is_an_optax_transformation():
    class Sign(optimizers.Optimizer):
        def transform(self, variable):
            return optax.chain(optax.scale_by_sign(), optax.scale(-1.0))

    weight = Variable([1.0, 2.0])
    Sign(0.1).apply([[3.0, -4.0]], [weight])
    assert weight.value.tolist() == [0.0, 3.0]
