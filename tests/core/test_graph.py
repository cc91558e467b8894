"""kerasnb.core.graph"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import Function, KerasTensor, Operation, op, output_spec
from kerasnb.layers import Input


@pytest.mark.parametrize(
    ("shape", "fn", "expected"),
    [
        ((None, 12), lambda x: jnp.reshape(x, (-1, 4, 3)), (None, 4, 3)),
        ((None, 12), lambda x: jnp.concatenate([x, x], 0), (None, 12)),
        ((None, 12), lambda x: jnp.concatenate([x, x], 1), (None, 24)),
        ((None, None, 3), lambda x: jnp.sum(x, 1), (None, 3)),
        ((None, 4), lambda x: x @ jnp.ones((4, 7)), (None, 7)),
        ((5, 4), lambda x: x.T, (4, 5)),
        ((None, None), lambda x: x[:, ::2], (None, None)),
        ((2, None), lambda x: jax.lax.slice(x, (0, 5000), (2, x.shape[1])), (2, None)),
    ],
)
def test_shapes_come_from_tracing(shape, fn, expected):
    assert output_spec(fn, KerasTensor(shape)).shape == expected


def test_dtypes_come_from_tracing():
    x = KerasTensor((None,), "int32")
    assert output_spec(lambda x: x > 1, x).dtype == "bool"
    assert output_spec(lambda x: x * 1.5, x).dtype == "float32"


def test_a_recorded_call_replays_on_arrays():
    a, b = Input((3,)), Input((3,))
    y = ops.sum((a - 2 * b) ** 2, axis=-1)
    x, z = np.ones((2, 3), "float32"), np.full((2, 3), 2, "float32")
    np.testing.assert_allclose(Function([a, b], y)([x, z]), [27.0, 27.0])


def test_python_operators_and_indexing_are_recorded():
    x = Input((4,))
    y = (1 - x[:, 1:3]) / 2 + abs(-x[:, :2])
    value = np.arange(8, dtype="float32").reshape(2, 4)
    expected = (1 - value[:, 1:3]) / 2 + abs(value[:, :2])
    np.testing.assert_allclose(Function(x, y)(value), expected)


def test_outputs_may_be_nested():
    x = Input((2,))
    out = Function(x, {"twice": x * 2, "parts": [x + 1, x]})(np.ones((1, 2)))
    assert out["twice"].tolist() == [[2.0, 2.0]]
    assert out["parts"][0].tolist() == [[2.0, 2.0]]


def test_an_output_that_needs_another_input_says_which():
    a, b = Input((2,), name="a"), Input((2,), name="b")
    with pytest.raises(ValueError, match="input `b`, which is not among the `inputs`"):
        Function(a, a + b)


def test_long_chains_do_not_exhaust_the_stack():
    x = y = Input((1,))
    for _ in range(3000):
        y = _add_one(y)
    assert Function(x, y)._nodes[-1].operation is y._keras_history[0]


@op
def _add_one(x):
    return x + 1


def test_a_placeholder_explains_itself_to_numpy():
    with pytest.raises(ValueError, match="has no values yet"):
        np.asarray(KerasTensor((2,)))
    with pytest.raises(TypeError, match="values are not known"):
        bool(KerasTensor((2,)) > 1)


def test_an_operation_has_input_and_output_after_a_symbolic_call():
    class Double(Operation):
        def call(self, x):
            return x * 2

    double = Double()
    with pytest.raises(AttributeError, match="never called"):
        double.output  # noqa: B018
    x = Input((3,))
    y = double(x)
    assert double.input is x and double.output is y
    assert double(np.ones(2)).tolist() == [2.0, 2.0]
