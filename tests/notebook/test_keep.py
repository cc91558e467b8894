"""kerasnb.notebook.keep"""

import time

import numpy as np
import optax
import pytest

import kerasnb as keras
from kerasnb.notebook import build_model
from kerasnb.notebook.errors import KModelError
from kerasnb.optimizers import SGD, Adam, LossScaleOptimizer, MultiOptimizer
from kerasnb.optimizers import OptimizerMap as Map
from kerasnb.optimizers.schedules import CosineDecay, ExponentialDecay

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.arange(24) % 2


def build(source, keep=None, optimizer=None, **options):
    """A model of four numbers, for `fit` when it has an optimizer."""
    loss = "sparse_categorical_crossentropy" if optimizer is not None else None
    given = {"input": (4,), "loss": loss, **options}
    return build_model(source, optimizer=optimizer, keep=keep, **given)


def weights_equal(a, b):
    return [np.array_equal(*pair) for pair in zip(a, b, strict=True)]


def state(model):
    """All that training changes."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.asarray(variable.value) for variable in variables]


# --- Layers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "kept", "new", "dropped"),
    [
        ("Dense(3); Dense(2)", "Dense(3); Dense(2)", "dense dense_1", "", ""),
        # Put in between, taken out, at the end: numbers in names move on.
        (
            "Dense(4); Dense(4); Dense(2)",
            "Dense(4); Dense(4); Dropout(0.5); Dense(4, activation='relu'); Dense(2)",
            "dense dense_1 dense_3",
            "dense_2",
            "",
        ),
        ("Dense(4); Dense(3); Dense(2)", "Dense(4)", "dense", "", "dense_1 dense_2"),
        # Other arguments, other shapes, another class, another name.
        ("Dense(4)", "Dense(5)", "", "dense", "dense"),
        ("Dense(4)", "Dense(4, activation='relu')", "", "dense", "dense"),
        (
            "Dense(4); Dense(2)",
            "Dense(3); Dense(2)",
            "",
            "dense dense_1",
            "dense dense_1",
        ),
        ("Dense(4)", "EinsumDense('ab,bc->ac', 4)", "", "einsum_dense", "dense"),
        ("Dense(4, name='a')", "Dense(4, name='b')", "", "b", "a"),
        ("Dense(4)", "Dense(4, name='b')", "", "b", "dense"),
        ("Dense(4, activation=lambda z: 2 * z)",) * 2 + ("dense", "", ""),
        (
            "Dense(4, activation=lambda z: 2 * z)",
            "Dense(4, activation=lambda z: 3 * z)",
            *("", "dense", "dense"),
        ),
        # Frozen or not, it is the same layer.
        ("Dense(4, trainable=False)", "Dense(4)", "dense", "", ""),
        # Moved: what has the same name, or the same arguments.
        (
            "Dense(4, name='a'); Dense(4, name='b'); Dense(4, name='c')",
            "Dense(4, name='c'); Dense(4, name='a'); Dense(4, name='b')",
            *("c a b", "", ""),
        ),
        (
            "Dense(4, activation='tanh'); Dense(4, activation='relu')",
            "Dense(4, activation='relu'); Dense(4, activation='tanh')",
            *("dense dense_1", "", ""),
        ),
        # A layer that is called twice is one layer.
        (
            "a = Dense(4); a; a; Dense(2)",
            "a = Dense(4); a; Dense(2)",
            *("dense dense_1", "", ""),
        ),
        # A nested model may change inside; what fared alike is one name.
        (
            "Sequential([Dense(4), Dense(3)], name='in'); Dense(2)",
            "Sequential([Dense(4), Dense(3)], name='in'); Dense(5)",
            *("in", "dense_2", "dense_2"),
        ),
        (
            "Sequential([Dense(4, name='a'), Dense(3, name='b')], name='in'); Dense(2)",
            "Sequential([Dense(4, name='a'), Dense(5, name='b')], name='in'); Dense(2)",
            *("in/a", "in/b dense", "in/b dense"),
        ),
        (
            "Dense(4, name='a'); Dense(3, name='b')",
            "Sequential([Dense(4, name='a'), Dense(3, name='b')], name='in')",
            *("in", "", ""),
        ),
        # Without weights there is nothing to tell.
        ("Dense(4); Dropout(0.5)", "Dense(4); Dropout(0.1)", "dense", "", ""),
    ],
)
def test_layers_that_are_as_they_were_keep_their_weights(
    before, after, kept, new, dropped
):
    names = {"Sequential": keras.Sequential}
    old = build_model(before, names, input=(4,), seed=1)
    untouched = old.get_weights()
    made = build_model(after, names, input=(4,), seed=2, keep=old)
    result = made._kept
    assert (result.kept, result.new) == (kept.split(), new.split())
    assert result.dropped == dropped.split()
    assert all(weights_equal(untouched, old.get_weights()))
    if not new and not dropped and before == after:
        assert all(weights_equal(made.get_weights(), untouched))


def test_a_moved_layer_takes_its_values_along():
    old = build("Dense(4, activation='tanh'); Dense(4, activation='relu')", seed=1)
    new = build("Dense(4, activation='relu'); Dense(4, activation='tanh')", old, seed=2)
    assert all(
        weights_equal(
            new.get_weights(), [*old.get_weights()[2:], *old.get_weights()[:2]]
        )
    )


def test_a_layer_put_in_between_leaves_the_values_around_it():
    old = build("Dense(4); Dense(4); Dense(2)", seed=1)
    new = build(
        "Dense(4); Dense(4); Dense(4, activation='relu'); Dense(2)", old, seed=2
    )
    before, after = old.get_weights(), new.get_weights()
    assert all(weights_equal(after[:4] + after[6:], before))
    assert not np.array_equal(after[4], before[2])


def test_a_model_from_outside_keeps_its_weights_by_itself():
    base = build("Dense(3)", name="base")
    before = base.get_weights()[0]
    names = {"base": base}
    old = build_model("base\nDense(1)", names, input=(4,))
    new = build_model("base\nDense(2)", names, input=(4,), keep=old)
    np.testing.assert_array_equal(base.get_weights()[0], before)
    assert new._kept.kept == ["base"] and new._kept.new == ["dense"]


def test_what_a_cell_learns_from_data_is_not_replaced():
    cell = "n = Normalization()\nn.adapt(data)\nn\nDense(2)"
    old = build_model(cell, {"data": X}, input=(4,))
    new = build_model(cell, {"data": X + 5}, input=(4,), keep=old)
    np.testing.assert_allclose(new.layers[1].mean[0], X.mean(0) + 5, rtol=1e-5)
    assert new._kept.kept == ["dense"] and not new._kept.new + new._kept.dropped


def test_an_argument_that_no_file_can_hold_is_compared_as_it_is():
    class Scaled(keras.layers.Layer):
        def __init__(self, by, **options):
            super().__init__(**options)
            self.by = by

        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1],))

        def call(self, x):
            return x * self.w * self.by[0]

    by = type("By", (list,), {"__hash__": None, "get_config": None})([2.0])
    names = {"Scaled": Scaled, "by": by}
    old = build_model("Scaled(by)", names, input=(4,))
    assert build_model("Scaled(by)", names, input=(4,), keep=old)._kept.kept == [
        "scaled"
    ]


def test_a_model_that_trains_in_the_background_gives_the_weights_of_one_step():
    cell = "x = Add()([Dense(1, use_bias=False)(x) for _ in range(16)])"
    loss = {"loss": lambda y_true, y_pred: -y_pred, "input": (1,)}
    old = build(cell, optimizer=SGD(1.0), **loss)
    old.set_weights([np.zeros_like(w) for w in old.get_weights()])
    ones = np.ones((64, 1))  # All weights count the steps.
    run = old.fit(ones, ones, 1, epochs=10**6, verbose=0, background=True)
    try:
        for _ in range(6):
            before = run.step
            new = build(cell, old, optimizer=SGD(1.0), **loss)
            steps = {weight.item() for weight in new.get_weights()}
            assert steps == {int(new.optimizer.iterations)}
            assert f"after {int(new.optimizer.iterations)} step" in str(new._kept)
            while run.step == before:
                time.sleep(0.001)
        assert run.status == "running"
    finally:
        run.stop()
        run.wait()


# --- The optimizer ------------------------------------------------------------------

OWN = """
class Mine(keras.optimizers.Optimizer):
    def build(self, variables):
        super().build(variables)
        self.m = self.add_optimizer_variables(variables, "m")

    def update_step(self, gradient, variable, learning_rate):
        m = self.m[self._get_variable_index(variable)]
        m.assign(0.9 * m + gradient)
        variable.assign(variable - learning_rate * m)
"""


def own(**options):
    scope = {"keras": keras}
    exec(OWN, scope)
    return scope["Mine"](0.01, **options)


OPTIMIZERS = {
    "adam": lambda: "adam",
    "nadam": lambda: "nadam",
    "adafactor": lambda: "adafactor",
    "muon": lambda: "muon",
    "average": lambda: Adam(use_ema=True, ema_overwrite_frequency=5),
    "accumulate": lambda: SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "schedule": lambda: SGD(ExponentialDecay(0.1, 5, 0.5), momentum=0.9),
    "scaled": lambda: LossScaleOptimizer(Adam(), dynamic_growth_steps=4),
    "several": lambda: MultiOptimizer(Map(SGD(0.1, 0.9), {".*kernel": Adam()})),
    "optax": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
    "own": own,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_for_bit_when_the_cell_is_as_it_was(name):
    cell = "Dense(6, activation='relu'); BatchNormalization(); Dropout(0.3)\n"
    cell += "Dense(2, activation='softmax')"
    ends = []
    for keeps in (False, True):
        model = build(cell, optimizer=OPTIMIZERS[name](), seed=3)
        model.fit(X, Y, batch_size=8, verbose=0)
        if keeps:
            model = build(cell, model, OPTIMIZERS[name](), seed=3)
        model.fit(X, Y, batch_size=8, verbose=0)
        ends.append(state(model))
    assert all(weights_equal(*ends))
    assert "goes on after" in model._kept.optimizer


def test_the_slots_follow_their_layers_and_new_layers_begin_with_fresh_ones():
    old = build("Dense(4); Dense(2, activation='softmax')", None, "adam", seed=1)
    old.fit(X, Y, verbose=0, epochs=3)
    cell = "Dense(4); Dense(4, activation='relu'); Dense(2, activation='softmax')"
    new = build(cell, old, "adam", seed=1)

    def moments(model):
        slots = model.optimizer._slots["momentum"]
        return [np.asarray(slot.value) for slot in slots]

    before, after = moments(old), moments(new)
    assert all(weights_equal(after[:2] + after[4:], before)) and before[0].any()
    assert not after[2].any() and not after[3].any()
    assert int(new.optimizer.iterations) == 3
    assert str(new._kept) == (
        "Kept the weights of dense, dense_2. New: dense_1. Adam goes on after 3 steps."
    )
    new.fit(X, Y, verbose=0)
    assert int(new.optimizer.iterations) == 4 and int(old.optimizer.iterations) == 3


@pytest.mark.parametrize(
    ("first", "then", "count", "rate", "words"),
    [
        (Adam(0.01), Adam(0.01), 3, 0.002, "with the learning rate 0.002 that it came"),
        (Adam(0.01), Adam(0.05), 3, 0.05, "Adam goes on after 3 steps."),
        (
            Adam(CosineDecay(0.1, 9)),
            Adam(CosineDecay(0.1, 9)),
            3,
            None,
            "after 3 steps",
        ),
        (Adam(0.01), Adam(CosineDecay(0.1, 9)), 0, None, "schedule begins anew"),
        (Adam(CosineDecay(0.1, 9)), Adam(0.01), 3, 0.01, "after 3 steps"),
        (Adam(0.01), SGD(0.01), 0, 0.01, "SGD begins anew: the one before was Adam."),
        (Adam(), Adam(beta_1=0.5), 0, 0.001, "its settings are not those"),
        (optax.sgd(0.1), optax.sgd(0.2), 0, None, "--optimizer {name}"),
        (LossScaleOptimizer(Adam()), Adam(), 3, 0.001, "after 3 steps"),
    ],
)
def test_an_optimizer_goes_on_when_only_its_rate_is_another(
    first, then, count, rate, words
):
    cell = "Dense(2, activation='softmax')"
    old = build(cell, None, first)
    if rate == 0.002:
        old.optimizer.learning_rate = rate  # as a slider or a callback does
    old.fit(X, Y, verbose=0, epochs=3)
    new = build(cell, old, then)
    assert words in new._kept.optimizer
    assert int(new.optimizer.iterations) == count
    if rate is not None:
        assert float(new.optimizer.learning_rate) == pytest.approx(rate)
    new.fit(X, Y, verbose=0)


def test_an_optimizer_from_outside_belongs_to_one_model_at_a_time():
    mine = Adam(0.01)
    first = build("Dense(2, activation='softmax')", None, mine, seed=1)
    first.fit(X, Y, verbose=0)
    again = build("Dense(2, activation='softmax')", None, mine, seed=1)
    again.fit(X, Y, verbose=0)
    assert all(weights_equal(first.get_weights(), again.get_weights()))
    other = build("Dense(3); Dense(2, activation='softmax')", again, mine)
    other.fit(X, Y, verbose=0)
    assert [int(m.optimizer.iterations) for m in (first, again, other)] == [1, 1, 1]


def test_an_untrained_model_has_no_optimizer_to_go_on_with():
    old = build("Dense(2)", None, "adam")
    assert build("Dense(2)", old, "adam")._kept.optimizer == ""
    assert build("Dense(2)", old)._kept.optimizer == ""


# --- Seeds, failures, words ---------------------------------------------------------


def test_a_seed_is_that_of_what_is_new_when_something_is_kept():
    old = build("Dense(4); Dense(2)", seed=1)
    np.random.random(7)
    after = np.random.get_state()[2]
    new = build("Dense(4); Dense(3)", old, seed=1)
    assert np.random.get_state()[2] == after  # shuffling goes on
    again = build("Dense(4); Dense(3)", old, seed=1)
    assert all(weights_equal(new.get_weights(), again.get_weights()))
    build("Dense(5)", old, seed=1)  # nothing is kept: it all begins anew
    assert np.random.get_state()[2] != after


@pytest.mark.parametrize("wrong", ["Dense(-1)", "stop()", "Dense("])
def test_a_cell_that_fails_leaves_the_model_and_the_generators_as_they_are(wrong):
    def stop():
        raise KeyboardInterrupt

    old = build("Dense(4); Dense(2, activation='softmax')", None, "adam", seed=1)
    old.fit(X, Y, verbose=0)
    before, drawn = state(old), np.random.get_state()[2]
    with pytest.raises((KModelError, KeyboardInterrupt)):
        build_model(
            f"Dense(4)\n{wrong}",
            {"stop": stop},
            input=(4,),
            optimizer="adam",
            loss="mse",
            seed=5,
            keep=old,
        )
    assert all(weights_equal(before, state(old)))
    assert np.random.get_state()[2] == drawn
    old.fit(X, Y, verbose=0)


def test_the_words_name_what_was_kept_what_is_new_and_what_is_gone():
    old = build("Dense(4); Dense(3); Dense(2)")
    new = build("Dense(4); Dense(6, name='six'); Dense(2)", old)
    assert str(new._kept) == (
        "Kept the weights of dense. New: six, dense_1. "
        "Dropped: the earlier dense_1, dense_2."
    )
    assert str(build("Dense(9)", old)._kept) == (
        "No layer is as it was: all weights are new."
    )
    deep = build("for i in range(20): Dense(4)")
    words = str(build("for i in range(20): Dense(4)", deep)._kept)
    assert words.endswith("dense_9, dense_10 and 9 others.")
