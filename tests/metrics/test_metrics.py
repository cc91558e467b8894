"""kerasnb.metrics beside keras.metrics."""

import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import metrics
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.masks import set_mask

RNG = np.random.default_rng(0)
N = 12
SCORES = np.float32(RNG.uniform(size=(N, 1)))
YES = np.int32(RNG.integers(0, 2, (N, 1)))
P = np.float32(RNG.dirichlet(np.ones(4), N))
LABELS = np.int32(RNG.integers(0, 4, N))
CODES = np.float32(np.eye(4)[LABELS])
MANY = np.int32(RNG.integers(0, 2, (N, 4)))
POINTS, GUESSES = np.float32(RNG.normal(size=(2, N, 3)))
PICTURES = np.int32(RNG.integers(0, 3, (2, N, 5)))

CASES = [
    # class, arguments, targets, predictions
    ("Accuracy", {}, LABELS, RNG.integers(0, 4, N).astype("int32")),
    ("BinaryAccuracy", {"threshold": 0.3}, YES, SCORES),
    ("CategoricalAccuracy", {}, CODES, P),
    ("SparseCategoricalAccuracy", {}, LABELS, P),
    ("SparseCategoricalAccuracy", {}, LABELS[:, None], P),
    ("TopKCategoricalAccuracy", {"k": 2}, CODES, P),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS, P),
    (
        "SparseTopKCategoricalAccuracy",
        {"k": 2, "from_sorted_ids": True},
        LABELS,
        np.argsort(-P).astype("float32"),
    ),
    ("MeanSquaredError", {}, POINTS, GUESSES),
    ("MeanAbsoluteError", {}, POINTS, GUESSES),
    ("MeanAbsolutePercentageError", {}, POINTS, GUESSES),
    ("MeanSquaredLogarithmicError", {}, P, P[::-1]),
    ("RootMeanSquaredError", {}, POINTS, GUESSES),
    ("LogCoshError", {}, POINTS, GUESSES),
    ("CosineSimilarity", {}, POINTS, GUESSES),
    ("CosineSimilarity", {"axis": 1}, POINTS, GUESSES),
    ("PearsonCorrelation", {}, POINTS, GUESSES),
    ("ConcordanceCorrelation", {}, POINTS, GUESSES),
    ("R2Score", {}, POINTS, POINTS + 0.3 * GUESSES),
    ("R2Score", {"class_aggregation": None}, POINTS, POINTS + 0.3 * GUESSES),
    (
        "R2Score",
        {"class_aggregation": "variance_weighted_average", "num_regressors": 2},
        POINTS,
        POINTS + 0.3 * GUESSES,
    ),
    ("Hinge", {}, MANY, POINTS.repeat(4, 0)[:N, :1] + P),
    ("SquaredHinge", {}, MANY, P),
    ("CategoricalHinge", {}, CODES, P),
    ("KLDivergence", {}, P[::-1], P),
    ("Poisson", {}, P[::-1], P),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, YES, SCORES),
    ("CategoricalCrossentropy", {"from_logits": True}, CODES, P),
    ("SparseCategoricalCrossentropy", {}, LABELS, P),
    ("TruePositives", {}, YES, SCORES),
    ("FalsePositives", {"thresholds": [0.7, 0.2]}, YES, SCORES),
    ("TrueNegatives", {"thresholds": 0.3}, MANY, P),
    ("FalseNegatives", {}, YES[:, 0], SCORES[:, 0]),
    ("Precision", {}, YES, SCORES),
    ("Precision", {"thresholds": [0.1, 0.6]}, MANY, P),
    ("Precision", {"top_k": 2}, MANY, P),
    ("Precision", {"top_k": 2, "class_id": 1}, MANY, P),
    ("Precision", {"thresholds": [0.0, 0.5, 1.0]}, YES, SCORES.round(1)),
    ("Recall", {}, YES, SCORES),
    ("Recall", {"class_id": 2, "thresholds": 0.3}, MANY, P),
    ("SensitivityAtSpecificity", {"specificity": 0.5}, YES, SCORES),
    ("SpecificityAtSensitivity", {"sensitivity": 0.5}, YES, SCORES),
    ("PrecisionAtRecall", {"recall": 0.4, "num_thresholds": 30}, YES, SCORES),
    ("RecallAtPrecision", {"precision": 0.4, "num_thresholds": 1}, YES, SCORES),
    ("RecallAtPrecision", {"precision": 0.4, "class_id": 0}, MANY, P),
    ("AUC", {}, YES, SCORES),
    ("AUC", {"num_thresholds": 10}, MANY, P),
    ("AUC", {"curve": "PR"}, YES, SCORES),
    ("AUC", {"curve": "PR", "summation_method": "minoring"}, YES, SCORES),
    ("AUC", {"summation_method": "majoring", "from_logits": True}, MANY, P),
    ("AUC", {"curve": "PRGAIN"}, YES, SCORES),
    ("AUC", {"thresholds": [0.2, 0.3, 0.9]}, YES, SCORES),
    ("AUC", {"multi_label": True}, MANY, P),
    ("AUC", {"multi_label": True, "num_labels": 4, "curve": "PR"}, MANY, P),
    ("AUC", {"label_weights": [1.0, 2.0, 0.5, 1.0]}, MANY, P),
    (
        "AUC",
        {"multi_label": True, "label_weights": [1.0, 2.0, 0.5, 1.0]},
        MANY,
        P,
    ),
    ("FBetaScore", {"beta": 2.0}, CODES, P),
    ("FBetaScore", {"average": "weighted", "threshold": 0.3}, MANY, P),
    ("F1Score", {"average": "micro"}, CODES, P),
    ("F1Score", {"average": "macro"}, CODES, P),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, *PICTURES),
    (
        "IoU",
        {"num_classes": 3, "target_class_ids": [1], "ignore_class": 2},
        *PICTURES,
    ),
    ("MeanIoU", {"num_classes": 3}, *PICTURES),
    ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False}, LABELS, P),
    ("BinaryIoU", {"threshold": 0.4}, YES, SCORES),
    ("BinaryIoU", {"target_class_ids": [1]}, YES, SCORES),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1, 3]}, CODES, P),
    ("OneHotMeanIoU", {"num_classes": 4}, CODES, P),
]
# Keras' IoU turns weights into integers, so those must be whole.
WHOLE = ("IoU", "MeanIoU", "BinaryIoU", "OneHotIoU", "OneHotMeanIoU")


def label(case):
    return "-".join(
        [case[0], *(f"{k}={v}".replace(" ", "") for k, v in case[1].items())]
    )


def shown(metric, *batches):
    """The result after some batches, all of it in one compiled program."""
    if isinstance(metric, metrics.Metric):
        metric.build(*(jnp.shape(a) for a in batches[0][:2]))
    elif not getattr(metric, "_built", True):
        for batch in batches:
            metric.update_state(*batch)
        return metric.result()

    @jax.jit
    def run(values, batches):
        for batch in batches:
            values = metric.stateless_update_state(values, *batch)
        return metric.stateless_result(values)

    return run([v.value for v in metric.variables], batches)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # Keras' IoU
@pytest.mark.parametrize("case", CASES, ids=label)
def test_results_and_configs_agree_with_keras(case):
    name, options, y, p = case
    options = {"name": "it", **options}
    ours = getattr(metrics, name)(**options)
    theirs = getattr(keras.metrics, name)(**options)
    half = N // 2
    whole = np.float32(RNG.integers(1, 4, half))
    weight = whole.astype("int32") if name in WHOLE else whole * 0.7
    if name in WHOLE and y.ndim > 1 and name in ("IoU", "MeanIoU"):
        weight = np.broadcast_to(weight[:, None], y[:half].shape)  # one for each pixel
    batches = [(y[:half], p[:half]), (y[half:], p[half:], weight)]
    np.testing.assert_allclose(
        shown(ours, *batches), shown(theirs, *batches), 1e-5, 1e-6
    )
    mine, wanted = ours.get_config(), theirs.get_config()
    if "label_weights" in options:  # Keras has an array there
        wanted["label_weights"] = options["label_weights"]
    if options.get("thresholds") and name == "AUC":
        assert wanted["thresholds"] == mine["thresholds"]
    if name == "AUC":
        wanted["num_thresholds"] = mine["num_thresholds"]
    # Keras forgets some arguments that change the value; it reads them when they come.
    assert mine == wanted | {k: options.get(k, mine[k]) for k in mine.keys() - wanted}
    again = deserialize(serialize(ours))
    assert again.get_config() == mine
    there = keras.metrics.deserialize(serialize(ours))
    np.testing.assert_allclose(
        shown(there, *batches[:1]), shown(again, *batches[:1]), 1e-5, 1e-6
    )
    assert ours._direction == getattr(theirs, "_direction", None)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_sample_of_weight_zero_is_as_good_as_absent(case):
    name, options, y, p = case
    if "num_regressors" in options:
        return  # the adjustment counts all samples
    if name in ("Hinge", "SquaredHinge"):
        y = np.where(np.arange(N)[:, None] < 2, [0, 1, 0, 1], y)  # both in each part
    kept = 7
    weight = np.float32(np.arange(N) < kept)
    if name in WHOLE and y.ndim > 1 and name in ("IoU", "MeanIoU"):
        weight = np.broadcast_to(weight[:, None], y.shape)
    make = getattr(metrics, name)
    padded = shown(make(**options), (y, p, weight))
    alone = shown(make(**options), (y[:kept], p[:kept]))
    np.testing.assert_allclose(padded, alone, 1e-5, 1e-6)


def test_signatures_equal_those_of_keras():
    for name in dir(keras.metrics):
        theirs = getattr(keras.metrics, name)
        if name.startswith("_") or not callable(theirs):
            continue
        ours, theirs = (
            [(p.name, p.default) for p in inspect.signature(fn).parameters.values()]
            for fn in (getattr(metrics, name), theirs)
        )
        assert ours == theirs, name


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_means_and_sums_weigh_as_in_keras(name):
    values = np.float32(RNG.normal(size=(4, 3, 2)))
    batches = [
        (values,),
        (values, np.float32([1, 2, 0, 3])),
        (values, np.float32(RNG.uniform(size=(4, 3)))),
        (values, np.float32(RNG.uniform(size=(4, 3, 2)))),
        (values[:, 0, 0], 2.0),
        (3.0,),
        (3.0, 4.0),
        (values[:, 0], np.float32(RNG.uniform(size=(4, 1)))),
    ]
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for batch in batches:
        ours.update_state(*batch)
        theirs.update_state(*batch)
        np.testing.assert_allclose(ours.result(), theirs.result(), 1e-5)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]


def test_masks_of_predictions_count():
    mask = np.array([True, False, True])
    y, p = np.float32([[1], [2], [3]]), jnp.array([[1.0], [5.0], [5.0]])
    metric = metrics.MeanAbsoluteError()
    set_mask(p, mask)
    assert float(metric(y, p)) == 1.0
    assert float(metrics.MeanAbsoluteError()(y, p, np.float32([1, 1, 3]))) == 1.5


def test_a_metric_starts_again_after_a_reset():
    metric = metrics.Precision(thresholds=[0.2, 0.8])
    metric.update_state(YES, SCORES)
    metric.reset_state()
    assert metric.result().tolist() == [0, 0]
    before = [v.value for v in metric.variables]
    metric.update_state(YES, SCORES)
    after = metric.stateless_update_state(before, YES, SCORES)
    for a, v in zip(after, metric.variables, strict=True):
        np.testing.assert_array_equal(a, v.value)
    np.testing.assert_array_equal(metric.stateless_result(after), metric.result())
    assert all((np.asarray(v) == 0).all() for v in metric.stateless_reset_state())
    with pytest.raises(ValueError, match="must hold 2 values"):
        metric.stateless_result([])


def test_a_metric_may_be_made_of_metrics():
    class Both(metrics.Metric):
        def __init__(self, name="both"):
            super().__init__(name=name)
            self.parts = [metrics.Mean(name="a"), metrics.Sum(name="b")]
            self.extra = self.add_weight(name="extra")

        def update_state(self, y_true, y_pred, sample_weight=None):
            for part in self.parts:
                part.update_state(y_pred, sample_weight)

        def result(self):
            return {part.name: part.result() for part in self.parts}

    both = Both()
    assert [v.path for v in both.variables] == [
        "both/extra",
        "a/total",
        "a/count",
        "b/total",
    ]
    result = both(None, np.float32([1, 2]))
    assert (float(result["a"]), float(result["b"])) == (1.5, 3)
    both.reset_state()
    assert float(both.parts[0].result()) == 0


def test_forgetting_the_constructor_is_answered_with_one_sentence():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = self.add_variable((), "zeros")

    with pytest.raises(RuntimeError, match=r"call super\(\).__init__\(\) before"):
        Forgetful()


def test_names_stand_for_metrics():
    for name in keras.src.metrics.ALL_OBJECTS_DICT:
        metrics.check_name(name)
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert isinstance(metrics.get("AUC"), metrics.AUC)
    assert metrics.get(np.mean) is np.mean
    with pytest.raises(
        ValueError, match='Unknown metric "acuracy".*mean "[aA]ccuracy"'
    ):
        metrics.check_name("acuracy")


SHAPES = [
    ((8, 1), (8, 1)),
    ((8,), (8, 1)),
    ((8,), (8, 10)),
    ((8, 1), (8, 10)),
    ((8, 10), (8, 10)),
    ((8, 5), (8, 5, 10)),
    ((8, 5, 1), (8, 5, 10)),
    ((8, 5, 10), (8, 5, 10)),
]


@pytest.mark.parametrize(("target", "output"), SHAPES, ids=str)
def test_accuracy_and_crossentropy_mean_what_they_mean_in_keras(target, output):
    from keras.src.trainers.compile_utils import get_loss, get_metric

    y, p = np.zeros(target, "float32"), np.zeros(output, "float32")
    for name in ("accuracy", "acc", "Accuracy"):
        wanted = get_metric(name, y, p)
        ours = metrics.get(metrics.resolve(name, y.shape, p.shape))
        assert type(ours).__name__ == type(wanted).__name__
    kind = metrics.crossentropy_kind(y, p)
    assert get_loss("crossentropy", y, p).fn.__name__ == f"{kind}_crossentropy"
    assert metrics.resolve("ce", y.shape, p.shape) == f"{kind}_crossentropy"
    assert metrics.resolve("mse", y.shape, p.shape) == "mse"


def test_a_function_becomes_a_mean_and_goes_to_its_config_and_back():
    for fn in (metrics.binary_accuracy, metrics.huber):
        metric = metrics.MeanMetricWrapper(fn, name="it")
        again = metrics.deserialize(metrics.serialize(metric))
        assert again.fn is fn
        there = keras.metrics.deserialize(metrics.serialize(metric))
        assert there._fn.__name__ == fn.__name__
    assert metrics.MeanMetricWrapper(metrics.huber)._direction == "down"


MISTAKES = [
    (
        lambda: metrics.Precision(thresholds=2),
        "Precision: `thresholds` must be a number",
    ),
    (lambda: metrics.AUC(curve="ROCK"), "AUC: `curve` must be one of"),
    (lambda: metrics.AUC(summation_method="mean"), "`summation_method` must be one of"),
    (
        lambda: metrics.AUC(num_thresholds=1),
        "`num_thresholds` must be an integer above 1",
    ),
    (lambda: metrics.AUC(num_labels=2), "`num_labels` must be None unless"),
    (lambda: metrics.PrecisionAtRecall(3), "`recall` must be a number from 0 to 1"),
    (lambda: metrics.F1Score(average="mean"), "F1Score: `average` must be one of"),
    (lambda: metrics.FBetaScore(beta=-1.0), "`beta` must be a positive float"),
    (lambda: metrics.F1Score(threshold=2.0), "`threshold` must be None or a float"),
    (lambda: metrics.F1Score()(LABELS, P), "`y_pred` must be of shape"),
    (lambda: metrics.R2Score()(P[0], P[0]), "`y_pred` must be of shape"),
    (lambda: metrics.R2Score(num_regressors=-1), "`num_regressors` must be an integer"),
    (lambda: metrics.IoU(2, [2]), "must be class numbers below 2"),
    (lambda: metrics.Precision(class_id=0)(YES[:, 0], SCORES[:, 0]), "when `class_id`"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_mistakes_are_answered_with_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
