"""Every metric beside Keras' own over shapes, masks, weights and several batches.

After each batch the result and all variables agree as closely as losses do (see
`tests/losses/samples.py`), and have Keras' names and shapes.
"""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import metrics
from kerasnb.core.configurable import deserialize, serialize
from tests.losses.samples import (
    CODES,
    LABELS,
    NUMBERS,
    SHARES,
    SIGNS,
    assert_same,
    data,
    masked,
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64"),  # Keras' IoU
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:More independent predictors"),  # at no samples
]

YES, MANY, CLASSES = "yes or no", "several of them", "a class number for each"
MATRIX = [(6, 4)]
ANY = [(6,), (6, 1), (6, 4), (3, 5, 4), (2, 3, 2, 4)]
# Keras' counts give the weights of samples to another axis when there are four.
COUNTED = ANY[:-1]
CODED = [(6, 4), (3, 5, 4)]
COLUMN = [(6,), (6, 1)]
DIM = {"num_classes": 4}
TABLE = {
    # name: (kind of data, shapes of predictions, options, ...)
    "Accuracy": (CLASSES, ANY, {}),
    "BinaryAccuracy": (YES, ANY, {}, {"threshold": 0.3}),
    "CategoricalAccuracy": (CODES, CODED, {}),
    "SparseCategoricalAccuracy": (LABELS, CODED, {}),
    "TopKCategoricalAccuracy": (CODES, CODED, {"k": 1}, {"k": 2}),
    "SparseTopKCategoricalAccuracy": (LABELS, CODED, {"k": 1}, {"k": 3}),
    "MeanSquaredError": (NUMBERS, ANY, {}),
    "MeanAbsoluteError": (NUMBERS, ANY, {}),
    "MeanAbsolutePercentageError": (NUMBERS, ANY, {}),
    "MeanSquaredLogarithmicError": (SHARES, ANY, {}),
    "RootMeanSquaredError": (NUMBERS, ANY, {}),
    "LogCoshError": (NUMBERS, ANY, {}),
    "CosineSimilarity": (NUMBERS, ANY[2:], {}, {"axis": 1}),
    "PearsonCorrelation": (NUMBERS, ANY[2:], {}, {"axis": 1}),
    "ConcordanceCorrelation": (NUMBERS, ANY[2:], {}, {"axis": 1}),
    "R2Score": (
        NUMBERS,
        MATRIX,
        {},
        {"class_aggregation": None},
        {"class_aggregation": "variance_weighted_average"},
        {"num_regressors": 2},
    ),
    "Hinge": (SIGNS, ANY, {}),
    "SquaredHinge": (SIGNS, ANY, {}),
    "CategoricalHinge": (CODES, CODED, {}),
    "KLDivergence": (SHARES, ANY, {}),
    "Poisson": (SHARES, ANY, {}),
    "BinaryCrossentropy": (
        YES,
        ANY,
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
    ),
    "CategoricalCrossentropy": (
        CODES,
        CODED,
        {},
        {"from_logits": True, "label_smoothing": 0.1},
        {"axis": -1},
    ),
    "SparseCategoricalCrossentropy": (
        LABELS,
        CODED,
        {},
        {"from_logits": True},
        {"ignore_class": 1},
    ),
    "TruePositives": (YES, COUNTED, {}, {"thresholds": [0.2, 0.7]}),
    "FalsePositives": (YES, COUNTED, {}, {"thresholds": 0.2}),
    "TrueNegatives": (YES, COUNTED, {}, {"thresholds": [0.2, 0.7]}),
    "FalseNegatives": (YES, COUNTED, {}, {"thresholds": 0.2}),
    "Precision": (
        YES,
        COUNTED[2:],
        {},
        {"thresholds": [0.2, 0.5, 0.7]},
        {"top_k": 2},
        {"top_k": 1, "class_id": 3},
        {"class_id": 0, "thresholds": 0.2},
    ),
    "Recall": (
        YES,
        COUNTED[2:],
        {},
        {"thresholds": [0.0, 0.5, 1.0]},
        {"top_k": 2},
        {"class_id": 2, "thresholds": [0.2, 0.4]},
    ),
    "SensitivityAtSpecificity": (YES, COLUMN, {"specificity": 0.4}),
    "SpecificityAtSensitivity": (
        YES,
        COLUMN,
        {"sensitivity": 0.4},
        {"sensitivity": 0.7, "num_thresholds": 5},
    ),
    "PrecisionAtRecall": (YES, COLUMN, {"recall": 0.4}),
    "RecallAtPrecision": (
        YES,
        MATRIX,
        {"precision": 0.4},
        {"precision": 0.3, "class_id": 1},
    ),
    "AUC": (
        YES,
        [(6,), (6, 4)],
        {},
        {"curve": "PR", "num_thresholds": 7},
        {"curve": "PRGAIN"},
        {"summation_method": "majoring"},
        {"summation_method": "minoring", "curve": "PR"},
        {"thresholds": [0.1, 0.4, 0.8]},
        {"from_logits": True},
    ),
    "AUC of labels": (
        YES,
        MATRIX,
        {"multi_label": True},
        {"multi_label": True, "num_labels": 4, "curve": "PR"},
        {"multi_label": True, "label_weights": [0.1, 0.4, 0.2, 0.3]},
        {"label_weights": [0.1, 0.4, 0.2, 0.3]},
    ),
    "FBetaScore": (
        CODES,
        MATRIX,
        {},
        {"average": "micro", "beta": 0.5},
        {"average": "weighted", "threshold": 0.3},
    ),
    "F1Score": (CODES, MATRIX, {"average": "macro"}, {"threshold": 0.4}),
    "IoU": (
        CLASSES,
        [(6,), (6, 3)],
        DIM | {"target_class_ids": [0, 2]},
        DIM | {"target_class_ids": (1,), "ignore_class": 2},
    ),
    "MeanIoU": (CLASSES, [(6,), (6, 3)], DIM, DIM | {"ignore_class": 0}),
    "BinaryIoU": (YES, COLUMN, {}, {"target_class_ids": [1], "threshold": 0.3}),
    "OneHotIoU": (
        CODES,
        [(6, 4), (3, 5, 4)],
        DIM | {"target_class_ids": [0, 3]},
        DIM | {"target_class_ids": [1], "ignore_class": 3},
    ),
    "OneHotMeanIoU": (CODES, CODED, DIM),
}
ROWS = [
    (name.partition(" ")[0], kind, shapes, options)
    for name, (kind, shapes, *rows) in TABLE.items()
    for options in rows
]
COUNTERS = ("IoU", "MeanIoU", "BinaryIoU", "OneHotIoU", "OneHotMeanIoU")


def label(row):
    name, _, _, options = row
    words = [f"{k}={v}".replace(" ", "") for k, v in options.items()]
    return "-".join([name, *words])


def batch(row, shape, seed):
    """Targets and predictions for that metric."""
    _, kind, _, options = row
    if kind in (YES, CLASSES):
        rng = np.random.default_rng([seed, *shape])
        if kind == CLASSES:
            return tuple(rng.integers(0, 4, (2, *shape)).astype("int32"))
        y, p = rng.integers(0, 2, shape), np.float32(rng.uniform(size=shape))
        return np.float32(y), 4 * p - 2 if options.get("from_logits") else p
    return data(kind, shape, options.get("from_logits", False), seed)


def weights(name, y, p, seed):
    """One for each sample, the first one zero."""
    rng = np.random.default_rng(seed)
    # Keras' IoU turns weights into integers, so those must be whole, for each target.
    if name in COUNTERS:
        found = rng.integers(0, 3, p.shape[:-1] if "Hot" in name else y.shape)
        return found.astype("int32")
    found = np.float32(rng.uniform(size=p.shape[:1]))
    found[0] = 0
    return found


def pair(row, **more):
    name, _, _, options = row
    options = {"name": "it", **options, **more}
    return getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)


def agree(ours, theirs, where):
    """Results, and variables with their names."""
    assert_same(jnp.asarray(ours.result()), jnp.asarray(theirs.result()), where)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        # Keras counts its confusions of integers in what `int` stands for.
        b = jnp.asarray(b.value)
        assert_same(a.value, b.astype(a.dtype), (where, a.path))


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_metric_agrees_after_each_batch(row):
    name, _, shapes, _ = row
    for shape in shapes:
        ours, theirs = pair(row)
        for seed in range(3):
            y, p = batch(row, shape, seed)
            weight = weights(name, y, p, seed) if seed == 1 else None
            before = [v.value for v in ours.variables]
            try:
                theirs.update_state(y, p, weight)
            except (TypeError, ValueError):  # there are no weights for this shape
                weight = None
                theirs.update_state(y, p)
            ours.update_state(y, p, weight)
            agree(ours, theirs, (shape, seed))
            if len(before) == len(ours.variables):
                after = ours.stateless_update_state(before, y, p, weight)
                for value, variable in zip(after, ours.variables, strict=True):
                    np.testing.assert_array_equal(value, variable.value)
            if seed == 1:
                ours.reset_state()
                theirs.reset_state()
                agree(ours, theirs, (shape, "reset"))


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_metric_agrees_over_weights_and_masks(row):
    name, _, shapes, _ = row
    rng = np.random.default_rng(5)
    compared = 0
    for shape in shapes:
        y, p = batch(row, shape, 0)
        found = [None, 0.5] + [
            np.float32(rng.uniform(size=s))
            for s in (shape[:1], (*shape[:1], 1), shape[:-1], shape)
        ]
        if name in COUNTERS:
            found = [None, weights(name, y, p, 1)]
        for weight in found:
            for mask in (None, rng.uniform(size=shape[: max(1, len(shape) - 1)]) < 0.6):
                ours, theirs = pair(row)
                our_p, their_p = masked(p, mask)
                where = (shape, np.shape(weight), mask is not None)
                try:
                    theirs.update_state(y, their_p, weight)
                    theirs.result()
                except Exception:  # noqa: BLE001, S112 - whatever Keras cannot do
                    continue
                ours.update_state(y, our_p, weight)
                agree(ours, theirs, where)
                compared += 1
    assert compared > 1


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_metric_travels_as_data(row):
    ours, theirs = pair(row)
    options = row[3]
    again = deserialize(serialize(ours))
    assert again.get_config() == ours.get_config()
    there = keras.metrics.deserialize(serialize(ours))
    back = metrics.deserialize(keras.metrics.serialize(theirs))
    y, p = batch(row, row[2][-1], 0)
    wanted = ours(y, p)
    for other in (again, there, back):
        if other is back and not options.keys() <= theirs.get_config().keys():
            continue  # Keras forgets some arguments that change the value
        assert_same(jnp.asarray(other(y, p)), jnp.asarray(wanted))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("row", [r for r in ROWS if r[0] not in COUNTERS], ids=label)
def test_every_metric_agrees_in_16_bits(row, dtype):
    ours, theirs = pair(row, dtype=dtype)
    y, p = batch(row, row[2][-1], 0)
    ours.update_state(y, p)
    theirs.update_state(y, p)
    assert [v.dtype for v in ours.variables] == [v.dtype for v in theirs.variables]
    digits = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(
        np.float32(ours.result()), np.float32(theirs.result()), digits, digits
    )
