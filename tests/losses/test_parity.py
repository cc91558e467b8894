"""Every loss beside Keras' own over shapes, masks, weights, reductions and dtypes.

`samples` says how closely values must agree.
"""

import functools
import itertools

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import losses
from tests.losses.samples import (
    CODES,
    LABELS,
    NUMBERS,
    SHARES,
    SIGNS,
    WORDS,
    assert_same,
    data,
    masked,
    masks,
    same_answer,
    weights,
)

pytestmark = pytest.mark.parity

# What its targets are about, and the options that are worth a row.
TABLE = {
    "MeanSquaredError": (NUMBERS, {}),
    "MeanAbsoluteError": (NUMBERS, {}),
    "MeanAbsolutePercentageError": (NUMBERS, {}),
    "MeanSquaredLogarithmicError": (SHARES, {}),
    "Huber": (NUMBERS, {}, {"delta": 0.4}),
    "LogCosh": (NUMBERS, {}),
    "CosineSimilarity": (NUMBERS, {}, {"axis": 0}),
    "Poisson": (SHARES, {}),
    "KLDivergence": (SHARES, {}),
    "Hinge": (SIGNS, {}),
    "SquaredHinge": (SIGNS, {}),
    "CategoricalHinge": (CODES, {}),
    "BinaryCrossentropy": (
        SHARES,
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"axis": 0},
    ),
    "BinaryFocalCrossentropy": (
        SHARES,
        {},
        {"from_logits": True, "apply_class_balancing": True, "alpha": 0.4},
        {"gamma": 1.0, "label_smoothing": 0.2},
    ),
    "CategoricalCrossentropy": (
        CODES,
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"axis": 0},
    ),
    "CategoricalFocalCrossentropy": (
        CODES,
        {},
        {"from_logits": True, "alpha": 0.4},
        {"gamma": 1.0, "label_smoothing": 0.2},
    ),
    "SparseCategoricalCrossentropy": (
        LABELS,
        {},
        {"from_logits": True},
        {"ignore_class": 1},
        {"ignore_class": -1, "from_logits": True},
    ),
    "CategoricalGeneralizedCrossEntropy": (LABELS, {}, {"q": 0.2}),
    "Dice": (SHARES, {}, {"axis": (0,)}),
    "Tversky": (SHARES, {}, {"alpha": 0.2, "beta": 0.9}, {"axis": (0,)}),
    "Circle": (LABELS, {}, {"gamma": 8.0, "remove_diagonal": False}),
    "CTC": (WORDS, {}),
}
ROWS = [
    (title, kind, options) for title, (kind, *rows) in TABLE.items() for options in rows
]
SHAPES = [(6,), (1, 1), (6, 4), (3, 5, 4), (2, 3, 2, 4), (0, 4)]
RANKS = {"Circle": [2], "CTC": [3]}  # others take any


def label(row):
    title, _, options = row
    return "-".join([title, *(f"{k}={v}" for k, v in options.items())])


def shapes_for(row):
    title, kind, options = row
    for shape in SHAPES:
        classes, rank = kind in (CODES, LABELS), len(shape)
        if rank not in RANKS.get(title, [1, 2, 3, 4]):
            continue
        if classes and (rank == 1 or shape[-1] == 1):
            continue
        if options.get("axis") == 0 and rank in ((1, 3, 4) if classes else (1,)):
            continue
        yield shape


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_loss_agrees_over_shapes(row):
    title, kind, options = row
    ours, theirs = (getattr(k, title)(**options) for k in (losses, keras.losses))
    each = getattr(losses, title)(**options, reduction="none")
    wanted = getattr(keras.losses, title)(**options, reduction="none")
    for shape in shapes_for(row):
        y, p = data(kind, shape, options.get("from_logits", False))
        assert_same(ours(y, p), theirs(y, p), shape)
        assert_same(each(y, p), wanted(y, p), shape)


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_loss_agrees_over_masks_weights_and_reductions(row):
    # Two losses, one with a mask of its own, see all combinations; with the others the
    # reductions take turns.
    every = losses.loss.REDUCTIONS
    turns = itertools.cycle([r] for r in every)
    full = row[0] == "MeanSquaredError" or "ignore_class" in row[2]
    title, kind, options = row
    compared = 0
    for shape in set(shapes_for(row)) & {(6,), (6, 4), (3, 5, 4), (0, 4)}:
        y, p = data(kind, shape, options.get("from_logits", False))
        for mask, weight in itertools.product(masks(shape), weights(shape)):
            ours_p, theirs_p = masked(p, mask)
            for reduction in every if full else next(turns):
                ours, theirs = (
                    getattr(k, title)(**options, reduction=reduction)
                    for k in (losses, keras.losses)
                )
                kinds = [None if x is None else np.shape(x) for x in (mask, weight)]
                compared += same_answer(
                    functools.partial(ours, y, ours_p, weight),
                    functools.partial(theirs, y, theirs_p, weight),
                    (shape, *kinds, reduction),
                )
    assert compared > 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_loss_agrees_in_16_bits(row, dtype):
    title, kind, options = row
    for shape in set(shapes_for(row)) & {(6, 4), (3, 5, 4)}:
        y, p = data(kind, shape, options.get("from_logits", False))
        for given in (dtype, None):
            ours, theirs = (
                getattr(k, title)(**options, dtype=given)
                for k in (losses, keras.losses)
            )
            half = jnp.asarray(p, dtype)
            assert_same(ours(y, half), theirs(y, half), (shape, given))


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_function_agrees_for_integers_and_lists(row):
    title, kind, options = row
    name = losses.get(title).fn.__name__
    ours, theirs = getattr(losses, name), getattr(keras.losses, name)
    for shape in shapes_for(row):
        if 0 in shape:
            continue
        y, p = data(kind, shape, options.get("from_logits", False))
        whole = np.rint(y).astype("int32")
        if title == "CategoricalGeneralizedCrossEntropy":
            options = {"q": 0.5} | options
        assert_same(ours(whole, p, **options), theirs(whole, p, **options), shape)
        if title not in ("CTC", "Circle"):
            given = y.tolist(), p.tolist()
            assert_same(ours(*given, **options), theirs(y, p, **options), shape)
