"""kerasnb.quantizers, beside Keras'."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import quantizers

theirs = keras.quantizers


def same(mine, wanted):
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.fixture
def x(rng):
    return rng.normal(size=(10, 6)).astype("float32")


@pytest.mark.parametrize("to_numpy", [False, True])
@pytest.mark.parametrize("axis", [0, -1, (0, 1)])
def test_the_largest_number_fills_the_range(x, axis, to_numpy):
    for value_range in ((-127, 127), (-8, 7)):
        arguments = (x, axis, value_range)
        same(
            quantizers.abs_max_quantize(*arguments, to_numpy=to_numpy),
            theirs.abs_max_quantize(*arguments, to_numpy=to_numpy),
        )


@pytest.mark.parametrize("to_numpy", [False, True])
@pytest.mark.parametrize("block", [3, 10, 128])
def test_blocks_have_scales_and_zero_points(x, block, to_numpy):
    for array in (x, np.zeros_like(x), np.abs(x) + 3):
        same(
            quantizers.abs_max_quantize_grouped_with_zero_point(
                array, block, to_numpy=to_numpy
            ),
            theirs.abs_max_quantize_grouped_with_zero_point(
                array, block, to_numpy=to_numpy
            ),
        )


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize(("dtype", "low"), [("int8", -8), ("uint8", 0)])
def test_packing_two_numbers_in_a_byte(rng, axis, dtype, low):
    numbers = rng.integers(low, low + 16, (5, 3, 4)).astype(dtype)
    packed = quantizers.pack_int4(numbers, axis, dtype)
    wanted = theirs.pack_int4(numbers, axis, dtype)
    same(packed[0], wanted[0])
    assert packed[1:] == wanted[1:]
    same(quantizers.unpack_int4(packed[0], numbers.shape[axis], axis, dtype), numbers)


RANGES = [
    (-1.0, 2.0, None),
    (0.5, 2.0, None),
    ([-1, -0.5, -2, -0.1, -0.3, -1], [1, 2, 0.5, 0.3, 0.2, 0.1], 1),
]


@pytest.mark.parametrize(("bits", "narrow"), [(2, True), (8, False)])
@pytest.mark.parametrize(("low", "high", "axis"), RANGES)
def test_fake_quantisation_and_its_gradients(x, low, high, axis, bits, narrow):
    weights = np.arange(60.0, dtype="float32").reshape(10, 6)

    def outcome(library):
        def total(*arguments):
            y = library.fake_quant_with_min_max_vars(
                *arguments, num_bits=bits, narrow_range=narrow, axis=axis
            )
            return jnp.sum(y * weights), y

        ends = (jnp.asarray(end, "float32") for end in (low, high))
        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(x, *ends)

    same(outcome(quantizers), outcome(theirs))


def test_fake_quantisation_of_a_placeholder():
    y = quantizers.fake_quant_with_min_max_vars(kerasnb.Input((3,)), -1.0, 1.0)
    assert y.shape == (None, 3) and y.dtype == "float32"


def test_the_parts_of_float8_training(x):
    for most in (0.0, 5.0, np.inf, np.nan):
        arguments = [jnp.float32(v) for v in (most, 2.0, 448.0)]
        same(
            quantizers.compute_float8_scale(*arguments),
            theirs.compute_float8_scale(*arguments),
        )
    history = jnp.arange(4.0)
    same(
        quantizers.compute_float8_amax_history(x, history),
        theirs.compute_float8_amax_history(x, history),
    )
    for dtype in ("float8_e4m3fn", "float8_e5m2"):
        arguments = (jnp.asarray(x), jnp.float32(0.01), dtype, "bfloat16")
        same(
            quantizers.quantize_and_dequantize(*arguments),
            theirs.quantize_and_dequantize(*arguments),
        )


MADE = [
    lambda q: q.AbsMaxQuantizer(),
    lambda q: q.AbsMaxQuantizer(axis=0, value_range=(-8, 7), epsilon=1e-3),
    lambda q: q.Int8QuantizationConfig(),
    lambda q: q.Int8QuantizationConfig(q.AbsMaxQuantizer(axis=0), None),
    lambda q: q.Int4QuantizationConfig(),
    lambda q: q.Int4QuantizationConfig(q.AbsMaxQuantizer(0, (-8, 7)), block_size=None),
    lambda q: q.Float8QuantizationConfig(),
    lambda q: q.GPTQConfig(object(), object(), symmetric=True, weight_bits=2),
    lambda q: q.AWQConfig(object(), object(), group_size=-1),
]


@pytest.mark.parametrize("make", MADE)
def test_configurations_go_both_ways(make):
    ours, wanted = make(quantizers), theirs.serialize(make(theirs))
    assert quantizers.serialize(ours) == wanted
    again = quantizers.deserialize(wanted) if callable(ours) else None
    again = again or type(ours).from_config(wanted["config"])
    assert quantizers.serialize(again) == wanted
    if hasattr(ours, "mode"):
        assert ours.mode == make(theirs).mode
    if hasattr(ours, "dtype_policy_string"):
        assert ours.dtype_policy_string() == make(theirs).dtype_policy_string()


def test_older_files_know_no_blocks():
    assert quantizers.Int4QuantizationConfig.from_config({}).block_size is None


def test_quantizers_are_found_by_name(x):
    found = quantizers.get("abs_max_quantizer", axis=0)
    same(found(x), theirs.AbsMaxQuantizer(axis=0)(x))
    assert quantizers.get(found) is found and quantizers.get(None) is None
    assert isinstance(quantizers.get("Quantizer"), kerasnb.Quantizer)
    assert kerasnb.Quantizer()(x) is x
    with pytest.raises(ValueError, match='Did you mean "abs_max_quantizer"'):
        quantizers.get("abs_max_quantiser")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: q.AbsMaxQuantizer(value_range=(-200, 127)), "`value_range` must be"),
        (lambda q: q.Int4QuantizationConfig(block_size=0), "`block_size` must be None"),
        (
            lambda q: q.Int4QuantizationConfig(q.AbsMaxQuantizer()),
            "a quantizer of their",
        ),
        (
            lambda q: q.Int4QuantizationConfig(q.AbsMaxQuantizer(), block_size=-1),
            "range",
        ),
        (lambda q: q.Int8QuantizationConfig(q.Quantizer("int4")), "output_dtype"),
        (lambda q: q.GPTQConfig(1, 1, weight_bits=5), "`weight_bits` must be one of"),
        (lambda q: q.GPTQConfig(1, 1, hessian_damping=2), "`hessian_damping` must be"),
        (lambda q: q.AWQConfig(1, 1, weight_bits=8), "`weight_bits` must be 4, not 8"),
        (
            lambda q: q.AWQConfig(1, 1, num_samples=0),
            "`num_samples` must be a positive",
        ),
        (lambda q: q.AWQConfig(1, 1, group_size=0), "`group_size` must be -1"),
        (lambda q: q.pack_int4(jnp.ones(3)), "an int8 array"),
        (lambda q: q.pack_int4(jnp.ones(3), dtype="int4"), '"int8" or "uint8"'),
        (lambda q: q.unpack_int4(jnp.ones(3), 3), "an array of bytes"),
    ],
)
def test_mistakes_are_told(make, message):
    with pytest.raises((ValueError, TypeError)):
        make(theirs)
    with pytest.raises((ValueError, TypeError), match=message):
        make(quantizers)
