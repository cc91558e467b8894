"""kerasnb.layers.embedding, beside Keras' layers."""

import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.masks import get_mask
from tests.helpers import both, case, check_layer, same_config

SIZES = {"input_dim": 9, "output_dim": 4}
TABLE = [
    case("ReversibleEmbedding", (2, 5), **SIZES, _below=9, _unknown=(0, 1)),
    case(
        "ReversibleEmbedding",
        (2, 3, 4),
        **SIZES,
        tie_weights=False,
        logit_soft_cap=2.0,
        _call={"reverse": True},
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


@pytest.mark.parametrize("reverse_dtype", [None, "float32"])
def test_the_way_back_has_a_dtype_of_its_own(reverse_dtype, rng):
    options = SIZES | {"dtype": "mixed_float16", "reverse_dtype": reverse_dtype}
    ours, theirs = both("ReversibleEmbedding", **options)
    ours.build(), theirs.build()
    theirs.set_weights(ours.get_weights())
    x = rng.normal(size=(2, 3, 4)).astype("float16")
    mine, wanted = ours(x, reverse=True), theirs(x, reverse=True)
    assert mine.dtype == wanted.dtype == (reverse_dtype or "float16")
    np.testing.assert_allclose(mine, wanted, rtol=1e-2, atol=1e-3)
    same_config(ours.get_config(), theirs.get_config())


def test_only_the_way_there_makes_a_mask():
    layer = layers.ReversibleEmbedding(**SIZES, mask_zero=True)
    vectors = layer(np.array([[0, 3]]))
    assert get_mask(vectors).tolist() == [[False, True]]
    assert get_mask(layer(np.asarray(vectors), reverse=True)) is None


def test_shapes_are_known_both_ways():
    layer = layers.ReversibleEmbedding(**SIZES)
    assert layer.compute_output_shape((None, 5)) == (None, 5, 4)
    assert layer.compute_output_shape((None, 5, 4), reverse=True) == (None, 5, 9)


def test_tied_weights_are_one_variable():
    tied, untied = (layers.ReversibleEmbedding(**SIZES, tie_weights=t) for t in (1, 0))
    tied.build(), untied.build()
    assert [v.name for v in tied.weights] == ["embeddings"]
    assert [v.name for v in untied.weights] == ["embeddings", "reverse_embeddings"]


def test_given_vectors_are_taken(rng):
    table = rng.normal(size=(9, 4)).astype("float32")
    for given in (table, [table]):
        layer = layers.Embedding(9, 4, weights=given)
        np.testing.assert_array_equal(layer.embeddings.value, table)


def test_the_table_is_there_after_build():
    with pytest.raises(AttributeError, match="no `embeddings` before it is built"):
        layers.Embedding(9, 4).embeddings  # noqa: B018
