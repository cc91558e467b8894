"""Those of kerasnb.ops that a table of calls does not reach."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor
from kerasnb.core.variable import Variable


def test_lists_numpy_arrays_and_variables_are_arrays_too():
    v = Variable([1.0, 2.0])
    for x in ([1.0, 2.0], np.array([1.0, 2.0]), v, jnp.array([1.0, 2.0])):
        assert ops.add(x, 1.0).tolist() == [2, 3]
        assert ops.sum(x=x) == 3
        assert ops.concatenate([x, x]).tolist() == [1, 2, 1, 2]
        assert ops.add(x, 1.0).dtype == "float32"
    assert ops.matmul([[1, 2]], [[3], [4]]).tolist() == [[11]]


def test_numbers_do_not_widen_arrays():
    x = jnp.ones(2, "bfloat16")
    assert ops.add(x, 2.0).dtype == "bfloat16"
    assert ops.multiply(2, x).dtype == "bfloat16"
    assert ops.maximum(x, 0.5).dtype == "bfloat16"
    assert ops.add(jnp.ones(2, "int8"), 1).dtype == "int8"


def test_text_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="Cannot compute with data of dtype"):
        ops.add(np.array(["a"]), 1)


def test_arrays_go_in_and_out():
    assert ops.convert_to_tensor([1, 2]).dtype == "int32"
    assert ops.convert_to_tensor(1.5, "bfloat16").dtype == "bfloat16"
    assert ops.convert_to_tensor(np.float64([1.5])).dtype == "float32"
    x = jnp.ones(2)
    copied = ops.convert_to_numpy(x)
    copied[0] = 7
    assert x.tolist() == [1, 1]
    assert ops.is_tensor(x) and ops.is_tensor(KerasTensor((2,)))
    assert not ops.is_tensor([1]) and not ops.is_tensor(np.ones(1))
    assert ops.dtype(2) == "int32" and ops.dtype(x) == "float32"
    assert ops.shape(KerasTensor((None, 3))) == (None, 3)


def test_saturate_cast_keeps_numbers_in_range():
    for source, target, values in [
        ("float32", "uint8", [-5.0, 300.0, 7.0]),
        ("int32", "int8", [-500, 500, 7]),
        ("float32", "int32", [-1e20, 1e20, 7.0]),
        ("uint8", "int8", [0, 255, 7]),
        ("bool", "float32", [True, False, True]),
    ]:
        x = jnp.asarray(values, source)
        ours = ops.saturate_cast(x, target)
        theirs = keras.ops.saturate_cast(x, target)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_custom_gradients_are_used():
    @ops.custom_gradient
    def clipped(x):
        return ops.sum(x), lambda upstream: jnp.clip(upstream * x, -1, 1)

    assert jax.grad(clipped)(jnp.array([0.5, 4.0])).tolist() == [0.5, 1]


def test_counting_ops_agree_with_keras():
    x = np.array([[0, 2, 2], [1, 0, 3]], "int32")
    np.testing.assert_array_equal(ops.bincount(x[0]), keras.ops.bincount(x[0]))
    np.testing.assert_array_equal(
        ops.bincount(x, minlength=5), keras.ops.bincount(jnp.asarray(x), minlength=5)
    )
    weights = np.float32([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(ops.bincount(x, weights).tolist()[0], [1, 0, 5, 0])
    for a, b in zip(
        ops.histogram(weights[0], 4), keras.ops.histogram(jnp.asarray(weights[0]), 4),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b)
    np.testing.assert_array_equal(ops.nonzero(x)[1], np.nonzero(x)[1])
    np.testing.assert_allclose(ops.ldexp([1.5], [3]), keras.ops.ldexp([1.5], [3]))


ATTENTION = [
    {},
    {"is_causal": True},
    {"scale": 0.3},
    {"mask": True},
    {"bias": True},
    {"mask": True, "is_causal": True, "bias": True},
]


@pytest.mark.parametrize("options", ATTENTION, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_agrees_with_keras(options, dtype, rng):
    q, k, v = (jnp.asarray(rng.normal(size=(2, 5, 3, 4)), dtype) for _ in range(3))
    options = dict(options)
    if "mask" in options:
        options["mask"] = jnp.asarray(rng.integers(0, 2, (2, 1, 5, 5)), bool)
    if "bias" in options:
        options["bias"] = jnp.asarray(rng.normal(size=(2, 3, 5, 5)), dtype)
    ours = ops.dot_product_attention(q, k, v, **options)
    theirs = keras.ops.dot_product_attention(q, k, v, flash_attention=False, **options)
    assert ours.dtype == theirs.dtype
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(
        np.asarray(ours, "float32"), np.asarray(theirs, "float32"), tolerance, tolerance
    )


def test_queries_may_share_heads_of_keys(rng):
    q = jnp.asarray(rng.normal(size=(1, 3, 4, 2)), "float32")
    k = jnp.asarray(rng.normal(size=(1, 3, 2, 2)), "float32")
    shared = ops.dot_product_attention(q, k, k)
    repeated = jnp.repeat(k, 2, axis=2)
    np.testing.assert_allclose(
        shared, ops.dot_product_attention(q, repeated, repeated), 1e-6
    )
    with pytest.raises(ValueError, match=r"the 3 heads of `query` cannot share the 2"):
        ops.dot_product_attention(jnp.ones((1, 2, 3, 4)), *[jnp.ones((1, 2, 2, 4))] * 2)


def test_crossentropy_gradients_agree_with_keras_at_the_edges():
    # Where clipping starts, the gradient stops; infinities never come out.
    p = jnp.float32([[0.0, 1.0, 0.0], [1e-9, 0.5, 0.5], [0.2, 0.3, 0.5]])
    target = jnp.float32([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    for name, t in (
        ("categorical_crossentropy", target),
        ("sparse_categorical_crossentropy", jnp.argmax(target, -1)),
        ("binary_crossentropy", target),
    ):
        for logits in (False, True):
            slopes = []
            for library in (ops, keras.ops):
                loss = functools.partial(getattr(library, name), t, from_logits=logits)
                slopes.append(jax.grad(lambda p, f=loss: jnp.sum(f(p)))(p))
            assert np.isfinite(slopes[0]).all()
            np.testing.assert_allclose(*slopes, 1e-5, 1e-6, err_msg=name)


def test_wrong_shapes_are_answered_with_one_sentence():
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match="must have the same shape, not \\(3,\\)"):
        ops.categorical_crossentropy(jnp.ones(3), x)
    with pytest.raises(ValueError, match="without the classes, \\(2,\\), not \\(3,\\)"):
        ops.sparse_categorical_crossentropy(jnp.ones(3), x)
    with pytest.raises(ValueError, match="`num_segments` must be the number"):
        ops.segment_sum(x, [0, 1])
    with pytest.raises(ValueError, match="`query` must be of rank 4"):
        ops.dot_product_attention(x, x, x)
    with pytest.raises(ValueError, match="`order` must be a positive integer"):
        ops.normalize(x, order=0)
    with pytest.raises(ValueError, match="`x2` must be an array of integers"):
        ops.ldexp(x, x)
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        ops.scatter_update(x, [[0, 0]], [1.0], reduction="mean")


def test_ctc_loss_agrees_with_keras_for_all_lengths(rng):
    target = np.int32(rng.integers(1, 5, (6, 4)))
    output = jnp.asarray(rng.normal(size=(6, 9, 5)), "float32")
    labels, times = np.int32([4, 3, 2, 1, 0, 4]), np.int32([9, 9, 7, 1, 5, 8])

    @jax.jit
    def run(output):
        losses = [
            lambda p, lib=lib: jnp.sum(lib.ctc_loss(target, p, labels, times))
            for lib in (ops, keras.ops)
        ]
        return [jax.value_and_grad(loss)(output) for loss in losses]

    ours, theirs = run(output)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


DECODING = [
    {},
    {"merge_repeated": False},
    {"mask_index": None},
    {"strategy": "beam_search", "beam_width": 7, "top_paths": 3},
    {"strategy": "beam_search", "beam_width": 40, "top_paths": 2, "mask_index": 4},
]


@pytest.mark.parametrize("options", DECODING, ids=str)
def test_decoded_sequences_agree_with_keras_for_all_lengths(options, rng):
    scores = jnp.asarray(3 * rng.normal(size=(4, 9, 5)), "float32")
    lengths = np.int32([9, 5, 1, 0])
    ours, theirs = (
        jax.jit(functools.partial(library.ctc_decode, **options))(scores, lengths)
        for library in (ops, keras.ops)
    )
    assert ours[0].dtype == theirs[0].dtype
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], 1e-5, 1e-5)


def test_all_alignments_of_a_short_sequence_add_up(rng):
    # With every path kept, the scores are those of the loss.
    scores = jnp.asarray(rng.normal(size=(1, 3, 3)), "float32")
    paths, found = ops.ctc_decode(scores, [3], "beam_search", 50, 15)
    for path, score in zip(paths[:, 0], found[0], strict=True):
        labels = [int(label) for label in path if label >= 0]
        if labels:
            loss = ops.ctc_loss([labels], scores, [len(labels)], [3])
            np.testing.assert_allclose(-loss[0], score, 1e-4, 1e-5)


def test_wrong_decoding_is_answered_with_one_sentence():
    scores = jnp.ones((1, 3, 4))
    with pytest.raises(ValueError, match="`strategy` must be one of"):
        ops.ctc_decode(scores, [3], "best")
    with pytest.raises(
        ValueError, match="`top_paths` must be from 1 to the beam width"
    ):
        ops.ctc_decode(scores, [3], "beam_search", 2, 3)
    with pytest.raises(ValueError, match="of shape \\(batch, time, classes\\)"):
        ops.ctc_decode(scores[0], [3])


def test_an_unknown_axis_may_have_to_be_as_long_as_a_known_one():
    x = KerasTensor((None, None))
    assert ops.matmul(x, jnp.ones((5, 2))).shape == (None, 2)
    assert ops.add(KerasTensor((None, 3)), jnp.ones((2, 3))).shape == (2, 3)
    assert ops.broadcast_to(KerasTensor((None, 3)), (4, 2, 3)).shape == (4, 2, 3)
    assert len(ops.unstack(x, num=3, axis=1)) == 3
    with pytest.raises(ValueError, match="how many results there are depends on"):
        ops.unstack(x, axis=1)
    with pytest.raises(TypeError, match="contracting dimension"):
        ops.matmul(KerasTensor((None, 4)), jnp.ones((5, 2)))
