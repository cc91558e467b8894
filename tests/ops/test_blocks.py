"""kerasnb.ops.blocks; the table of test_against_keras has most values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_depth_and_space_are_inverses(layout, rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 6, 8)), "float32")
    there = ops.space_to_depth(x, 2, layout)
    np.testing.assert_array_equal(ops.depth_to_space(there, 2, layout), x)


SLIDING = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": 2, "padding": 1},
    {"kernel_size": 2, "dilation": (2, 1), "padding": (1, 0)},
    {"kernel_size": 2, "stride": 4},  # the last row and column are in no block
]


@pytest.mark.parametrize("options", SLIDING, ids=str)
def test_blocks_are_the_slices_under_the_window_and_add_up_again(options, rng):
    x = jnp.asarray(rng.normal(size=(2, 3, 7, 6)), "float32")
    blocks = ops.unfold(x, **options)
    counts = ops.unfold(jnp.ones_like(x), **options)
    again = ops.fold(blocks, (7, 6), **options)
    np.testing.assert_allclose(
        again, x * ops.fold(counts, (7, 6), **options), 1e-5, 1e-6
    )
    # Folding is the transpose of unfolding.
    weights = jnp.cos(jnp.arange(blocks.size)).reshape(blocks.shape)
    slopes = jax.grad(lambda x: jnp.sum(ops.unfold(x, **options) * weights))(x)
    np.testing.assert_allclose(ops.fold(weights, (7, 6), **options), slopes, 1e-5, 1e-6)


def test_integers_fold_to_integers():
    blocks = ops.unfold(jnp.arange(9).reshape(1, 1, 3, 3), 2)
    assert ops.fold(blocks, 3, 2)[0, 0].tolist() == [[0, 2, 2], [6, 16, 10], [6, 14, 8]]


def test_axes_are_moved_joined_and_split_by_name():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    grid = ops.rearrange(x, "b (h k) (w m) c -> (b h w) k m c", k=2, m=3)
    wanted = x.reshape(2, 2, 2, 2, 3, 3).transpose(0, 1, 3, 2, 4, 5).reshape(8, 2, 3, 3)
    np.testing.assert_array_equal(grid, wanted)
    assert ops.rearrange(x, "a b c d->d (a b c)").shape == (3, 48)
    assert ops.rearrange(x[:1], "() b c d -> b c d").shape == (4, 6, 3)
    images = KerasTensor((None, 8, 8, 3))
    patches = ops.rearrange(images, "b (h k) (w m) c -> b (h w) (k m c)", k=4, m=4)
    assert patches.shape == (None, 4, 48)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("b h w", "is no pattern like"),
        ("b h, w -> b h w", "is no pattern like"),
        ("b (h w -> b h w", "is no pattern like"),
        ("b h w -> b h", "must name the same axes, each once"),
        ("b b w -> b b w", "must name the same axes, each once"),
        ("b h -> h b", "is for 2 axes, the array has shape \\(2, 6, 5\\)"),
        ("b (h k) w -> b h k w", "length 6 cannot be split .* no lengths given"),
    ],
)
def test_a_wrong_pattern_is_answered_with_one_sentence(pattern, sentence):
    with pytest.raises(ValueError, match=sentence):
        ops.rearrange(jnp.ones((2, 6, 5)), pattern)


def test_other_mistakes_are_answered_with_one_sentence():
    x = jnp.ones((1, 4, 6, 3))
    with pytest.raises(
        ValueError, match="cannot be split into \\(h k\\) with {'k': 5}"
    ):
        ops.rearrange(x, "b a (h k) c -> b a h k c", k=5)
    with pytest.raises(ValueError, match='`m` must be in "a b c d -> d c b a", not 2'):
        ops.rearrange(x, "a b c d -> d c b a", m=2)
    with pytest.raises(ValueError, match="a multiple of 2² = 4 channels"):
        ops.depth_to_space(x, 2)
    with pytest.raises(ValueError, match="as high and as wide as a multiple of 4"):
        ops.space_to_depth(x, 4)
    with pytest.raises(
        ValueError, match="`block_size` must be an integer of 2 or more"
    ):
        ops.space_to_depth(x, 1)
    with pytest.raises(ValueError, match="fold: `x` must be of shape .* 4, 4\\)"):
        ops.fold(jnp.ones((1, 4, 5)), 3, 2)
    with pytest.raises(ValueError, match="unfold: `x` must be of four axes"):
        ops.unfold(x[0], 2)
