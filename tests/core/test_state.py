"""kerasnb.core.state and kerasnb.core.variable"""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb.core.state import bind, functional, lift, outside, read, scan
from kerasnb.core.variable import Variable


@pytest.fixture
def counter():
    return Variable(0.0, trainable=False, name="counter")


def test_a_pure_function_returns_new_values_and_leaves_the_variable_alone(counter):
    pure = functional(lambda by: counter.assign_add(by), [counter])
    out, (new,) = jax.jit(pure)([2.0], 3.0)
    assert float(out) == float(new) == 5.0
    assert float(counter.value) == 0.0


def test_assigning_an_unlisted_variable_in_a_pure_function_names_it(counter):
    other = Variable(1.0, name="other")
    pure = functional(lambda: counter.assign(1.0), [other])
    with pytest.raises(RuntimeError, match="`counter` was assigned"):
        pure([0.0])


def test_frames_read_from_the_inside_out(counter):
    with bind([counter], [1.0]):
        assert counter.raw == 1.0
        with bind([counter], [2.0]):
            assert counter.raw == 2.0
        assert counter.raw == 1.0
        with outside():
            assert float(counter.raw) == 0.0
    assert float(counter.raw) == 0.0


def test_an_open_frame_drops_what_was_assigned(counter):
    with bind((), (), open=True):
        counter.assign(7.0)
        assert float(counter.value) == 7.0
    assert float(counter.value) == 0.0


def test_gradients_pass_through_variables():
    w = Variable([1.0, 2.0], name="w")
    pure = functional(lambda x: jnp.sum((w.value * x) ** 2), [w])
    grad = jax.grad(lambda values: pure(values, 3.0)[0])(read([w]))
    np.testing.assert_allclose(grad[0], [18.0, 36.0])


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint])
def test_lifted_transforms_bring_the_state_back(transform, counter):
    count = lift(transform, lambda x: x * counter.assign_add(1.0), [counter])
    assert float(count(2.0)) == 2.0
    assert float(count(2.0)) == 4.0
    assert float(counter.value) == 2.0


def test_scan_carries_the_state_through_its_turns(counter):
    def step(carry, x):
        return carry + counter.assign_add(1.0) * x, counter.value

    carry, seen = scan(step, [counter], 0.0, jnp.ones(3))
    assert float(carry) == 6.0
    assert seen.tolist() == [1.0, 2.0, 3.0]
    assert float(counter.value) == 3.0


def test_a_variable_made_while_tracing_holds_a_real_array():
    made = []

    def trace(x):
        made.append(Variable(lambda shape, dtype: jnp.ones(shape, dtype), shape=(2,)))
        return x * made[0].value

    assert jax.eval_shape(trace, jnp.ones(2)).shape == (2,)
    assert made[0].numpy().tolist() == [1.0, 1.0]


def test_a_variable_keeps_its_own_copy_of_the_initial_array():
    array = jnp.ones(3)
    v = Variable(array)
    jax.jit(lambda x: x + 1, donate_argnums=0)(v.box)
    assert array.tolist() == [1.0, 1.0, 1.0]


def test_a_variable_refuses_another_shape_and_keeps_its_dtype():
    v = Variable(np.ones((2, 3), "float32"), name="kernel")
    with pytest.raises(ValueError, match=r"`kernel` has shape \(2, 3\)"):
        v.assign(np.ones(3))
    v.assign(np.zeros((2, 3), "int32"))
    assert v.dtype == "float32" and v.value.dtype == jnp.float32


def test_a_function_initializer_needs_a_shape():
    with pytest.raises(ValueError, match="needs a `shape`"):
        Variable(lambda shape, dtype: jnp.zeros(shape, dtype))


def test_a_variable_acts_as_an_array():
    v = Variable([1.0, 2.0])
    assert (v + 1).tolist() == [2.0, 3.0]
    assert (1 - v).tolist() == [0.0, -1.0]
    assert (2**v).tolist() == [2.0, 4.0]
    assert (v > 1).tolist() == [False, True]
    assert jnp.sum(v) == 3.0 and np.sum(v) == 3.0
    assert float(v[1]) == 2.0
    assert {v: "found"}[v] == "found"


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_a_copied_variable_is_independent(duplicate):
    v = Variable([1.0], name="v")
    other = duplicate(v)
    other.assign([5.0])
    assert v.numpy().tolist() == [1.0] and other.path == "v"
