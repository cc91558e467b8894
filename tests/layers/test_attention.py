"""Attention: masks of every kind, the two paths, and heads in groups."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import config, layers, ops
from kerasnb.core.masks import get_mask, set_mask
from kerasnb.core.state import functional
from tests.helpers import both, case, check_layer, close

QUERY, VALUE, KEY = (2, 5, 6), (2, 4, 3), (2, 4, 6)

TABLE = [
    case("Attention", QUERY, KEY, _unknown=(0, 1)),
    case("Attention", QUERY, VALUE, KEY, use_scale=True, score_mode="concat"),
    case("Attention", QUERY, KEY, use_scale=True),
    case("Attention", QUERY, KEY, dropout=0.4, seed=3, _training=True),
    case("AdditiveAttention", QUERY, VALUE, KEY, _unknown=(0, 1)),
    case("AdditiveAttention", QUERY, KEY, use_scale=False, dropout=0.2),
    case(
        "MultiHeadAttention",
        QUERY,
        VALUE,
        KEY,
        num_heads=2,
        key_dim=3,
        value_dim=5,
        output_shape=7,
        dropout=0.1,  # else Keras on JAX takes no other size of values than of keys
        use_gate=True,
        activity_regularizer="l2",
        _spread=True,
        _unknown=(0, 1),
    ),
    case(
        "MultiHeadAttention",
        QUERY,
        KEY,
        num_heads=2,
        key_dim=4,
        dropout=0.3,
        use_bias=False,
        sliding_window=2,
        kernel_initializer="he_normal",
        seed=2,
        _spread=True,
        _training=True,
    ),
    case(
        "MultiHeadAttention",
        (2, 3, 2, 4),
        (2, 3, 5, 4),
        num_heads=2,
        key_dim=3,
        output_shape=[2, 3],
        attention_axes=-2,
        _spread=True,
    ),
    case(
        "GroupQueryAttention",
        QUERY,
        KEY,
        head_dim=3,
        num_query_heads=4,
        num_key_value_heads=2,
        use_gate=True,
        _spread=True,
        _unknown=(0, 1),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


RNG = np.random.default_rng(0)
Q, V, K = (RNG.normal(size=s).astype("float32") for s in (QUERY, KEY, KEY))
HEADS = {"MultiHeadAttention": (2, 3), "GroupQueryAttention": (3, 4, 2)}
MASKS = {
    "none": {},
    "causal": {"use_causal_mask": True},
    "key": {"key_mask": np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)},
    "value": {"value_mask": np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)},
    "matrix": {"attention_mask": np.tri(5, 4, 1)},
    "of_each": {"attention_mask": RNG.random((2, 5, 4)) < 0.7, "use_causal_mask": True},
    "by_head": {"attention_mask": RNG.random((2, 1, 5, 4)) < 0.7},
}


def pair(name, **options):
    """Our layer and Keras' with the same weights."""
    arguments = HEADS[name]
    random_state = {"name": "it"} | options
    ours = getattr(layers, name)(*arguments, **random_state)
    theirs = getattr(keras.layers, name)(*arguments, **random_state)
    ours.build(QUERY, KEY)
    theirs.build(QUERY, KEY)
    rng = np.random.default_rng(1)
    values = [rng.normal(size=v.shape).astype("float32") for v in ours.weights]
    ours.set_weights(values)
    theirs.set_weights(values)
    return ours, theirs


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scores", [False, True])
def test_heads_look_where_the_masks_allow_as_in_keras(name, mask, scores):
    ours, theirs = pair(name)
    options = MASKS[mask] | {"return_attention_scores": scores}
    close(ours(Q, V, K, **options), theirs(Q, V, K, **options), mask, 2e-5, 2e-5)


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
def test_single_attention_takes_masks_as_in_keras(name, causal):
    ours, theirs = both(name, dtype="float32")
    mask = [RNG.random((2, 5)) < 0.7, np.array([[1, 1, 0, 1], [1, 0, 1, 1]], bool)]
    options = {"return_attention_scores": True, "use_causal_mask": causal}
    for layer in (ours, theirs):
        layer.build([QUERY, KEY, KEY])
        layer.set_weights([np.full(v.shape, 0.7, "float32") for v in layer.weights])
    mine = ours([Q, V, K], mask=mask, **options)
    close(mine, theirs([Q, V, K], mask=mask, **options), name)
    assert np.all(np.asarray(mine[0])[~mask[0]] == 0)
    assert ours.compute_mask([Q, V], mask) is mask[0]
    assert ours.compute_mask([Q, V], None) is None


@pytest.mark.parametrize("name", HEADS)
def test_the_mask_of_the_queries_goes_on_with_the_result(name):
    ours, _ = pair(name)
    x, mask = jnp.asarray(Q), jnp.asarray(RNG.random((2, 5)) < 0.7)
    set_mask(x, mask)
    assert get_mask(ours(x, jnp.asarray(V))) is mask
    assert ours.supports_masking


def test_masks_of_embeddings_equal_one_matrix():
    words = np.array([[1, 2, 3, 0, 0], [3, 3, 1, 1, 2]])
    embed = layers.Embedding(4, 6, mask_zero=True)
    x = embed(words)
    ours, _ = pair("MultiHeadAttention")
    known = words > 0
    matrix = known[:, :, None] & known[:, None, :] & np.tri(5, dtype=bool)
    plain = jnp.array(x)
    assert get_mask(plain) is None
    wanted = ours(plain, plain, attention_mask=matrix)
    close(ours(x, x, use_causal_mask=True), wanted, "masks")


@pytest.mark.parametrize("name", HEADS)
def test_scores_and_dropout_take_another_path_to_the_same_values(name):
    fused, _ = pair(name)
    plain, _ = pair(name, dropout=0.5)
    options = {"attention_mask": MASKS["matrix"]["attention_mask"]}
    wanted = fused(Q, V, K, **options)
    close(plain(Q, V, K, **options), wanted, "dropout", 2e-5, 2e-5)
    out, scores = fused(Q, V, K, return_attention_scores=True, **options)
    close(out, wanted, "scores", 2e-5, 2e-5)
    heads = HEADS[name][-2] if name == "GroupQueryAttention" else HEADS[name][0]
    assert scores.shape == (2, heads, 5, 4)
    close(scores.sum(-1), np.ones((2, heads, 5), "float32"), "shares of one")


def test_groups_of_one_head_are_multi_head_attention():
    multi = layers.MultiHeadAttention(2, 3)
    group = layers.GroupQueryAttention(3, 2, 2)
    multi.build(QUERY, KEY)
    group.build(QUERY, KEY)
    group.set_weights(multi.get_weights())
    close(group(Q, V, K), multi(Q, V, K), "groups")


def test_dropout_draws_anew_at_each_call_and_equally_for_a_seed():
    one, other = (layers.MultiHeadAttention(2, 3, dropout=0.5, seed=4) for _ in "ab")
    one.build(QUERY, KEY)
    other.build(QUERY, KEY)
    other.set_weights(one.get_weights())
    first = one(Q, V, training=True)
    close(other(Q, V, training=True), first, "the same seed")
    assert np.abs(np.asarray(one(Q, V, training=True) - first)).max() > 1e-3


def test_a_subclass_may_replace_the_attention_itself():
    class Last(layers.MultiHeadAttention):
        def _compute_attention(
            self, query, key, value, attention_mask=None, training=None, **kwargs
        ):
            self.seen = attention_mask
            return query, None

    layer = Last(2, 3)
    layer(Q, V, use_causal_mask=True)
    assert layer.seen.shape == (1, 5, 4)
    assert np.array_equal(layer.seen[0], np.tri(5, 4, dtype=bool))


def test_flash_attention_follows_the_setting_and_the_argument():
    assert config.is_flash_attention_enabled() is None
    config.disable_flash_attention()
    try:
        assert config.is_flash_attention_enabled() is False
        assert layers.MultiHeadAttention(2, 3)._flash_attention is False
        assert layers.MultiHeadAttention(2, 3, flash_attention=True)._flash_attention
    finally:
        config.enable_flash_attention()
    assert layers.GroupQueryAttention(3, 2, 1)._flash_attention is None
    layer = layers.MultiHeadAttention(2, 3, flash_attention=True)
    with pytest.raises(ValueError, match="cannot return attention scores with flash"):
        layer(Q, V, return_attention_scores=True)
    with pytest.raises(ValueError, match="`dropout` must be 0 with flash_attention"):
        layers.MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1)


def test_flash_attention_that_is_insisted_on_and_not_there_is_an_error():
    odd = jnp.ones((1, 2, 1, 7))  # a size that no kernel takes
    with pytest.raises(ValueError, match="`flash_attention` must be None or False"):
        ops.dot_product_attention(odd, odd, odd, flash_attention=True)


def test_attention_computes_in_sixteen_bits_near_to_thirty_two():
    ours, _ = pair("MultiHeadAttention")
    half = layers.MultiHeadAttention(2, 3, dtype="mixed_bfloat16")
    half.build(QUERY, KEY)
    half.set_weights(ours.get_weights())
    out = half(Q, V, K, use_causal_mask=True)
    assert out.dtype == jnp.bfloat16
    wanted = np.asarray(ours(Q, V, K, use_causal_mask=True))
    near = np.abs(np.asarray(out, "float32") - wanted) / np.abs(wanted).max()
    assert near.max() < 0.05


def test_attention_works_compiled_on_an_empty_batch_and_on_single_steps():
    layer, _ = pair("GroupQueryAttention")
    run = functional(lambda x: layer(x, x, use_causal_mask=True), layer.variables)
    values = [v.value for v in layer.variables]
    for shape in ((0, 3, 6), (1, 1, 6)):
        out, _ = jax.jit(run)(values, jnp.ones(shape))
        assert out.shape == shape


MISTAKES = {
    "MultiHeadAttention: `num_heads` must be a positive integer, not 0.": (
        lambda k: k.MultiHeadAttention(0, 3)
    ),
    "MultiHeadAttention: `key_dim` must be a positive integer, not 2.5.": (
        lambda k: k.MultiHeadAttention(2, 2.5)
    ),
    "MultiHeadAttention: `value_dim` must be a positive integer, not -1.": (
        lambda k: k.MultiHeadAttention(2, 3, value_dim=-1)
    ),
    "MultiHeadAttention: `sliding_window` must be a positive integer, not 0.": (
        lambda k: k.MultiHeadAttention(2, 3, sliding_window=0)
    ),
    "MultiHeadAttention: `output_shape` must be an integer or a tuple of them, not "
    "8.0.": lambda k: k.MultiHeadAttention(2, 3, output_shape=8.0),
    "MultiHeadAttention: `dropout` must be a number from 0 to 1, not 1.5.": (
        lambda k: k.MultiHeadAttention(2, 3, dropout=1.5)
    ),
    "GroupQueryAttention: `num_query_heads` must be a multiple of "
    "num_key_value_heads=2, not 3.": lambda k: k.GroupQueryAttention(4, 3, 2),
    "MultiHeadAttention `it` needs a key for each value and got values of shape "
    "(2, 4, 6) and keys of shape (2, 5, 6).": (
        lambda k: k.MultiHeadAttention(2, 3, name="it")(Q, V, Q)
    ),
    'Attention: `score_mode` must be "dot" or "concat", not \'scaled\'.': (
        lambda k: k.Attention(score_mode="scaled")
    ),
    "Attention `it`: `inputs` must be a list [query, value] or [query, value, key].": (
        lambda k: k.Attention(name="it")(Q)
    ),
    "Attention `it`: `mask` must be a list [query, value] or [query, value, key], a "
    "mask or None for each.": (
        lambda k: k.Attention(name="it")([Q, V], mask=np.ones((2, 5), bool))
    ),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared in full
        MISTAKES[sentence](layers)
    assert str(caught.value) == sentence


def test_projections_can_be_adapted_and_quantised_in_their_places():
    layer, _ = pair("MultiHeadAttention")
    wanted = layer(Q, V, K)
    layer.query_dense.enable_lora(2)
    close(layer(Q, V, K), wanted, "an addition of zero")
    assert "it/query/lora_kernel_a" in [v.path for v in layer.weights]
    assert len(layer.trainable_weights) == 8 - 1 + 2
    small = layers.MultiHeadAttention(2, 3, dtype="int8_from_float32")
    assert small(Q, V).shape == QUERY
    assert small.value_dense.kernel.dtype == "int8"
