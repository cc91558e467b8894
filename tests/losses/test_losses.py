"""kerasnb.losses beside keras.losses."""

import functools
import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import losses
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.masks import set_mask

RNG = np.random.default_rng(0)
P = np.float32(RNG.dirichlet(np.ones(4), 6))
Q = np.float32(RNG.dirichlet(np.ones(4), 6))
CODES = np.float32(np.eye(4)[RNG.integers(0, 4, 6)])
LABELS = np.argmax(CODES, -1).astype("int32")
Z = np.float32(RNG.normal(size=(6, 4)))
YES = np.float32(RNG.integers(0, 2, (6, 4)))
POINTS = np.float32(RNG.normal(size=(6, 4)))
UNIT = Z / np.linalg.norm(Z, axis=-1, keepdims=True)
WORDS = np.int32([[1, 2, 2, 3], [3, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
SOUNDS = np.float32(RNG.normal(size=(4, 7, 5)))

CASES = [
    # class, function, arguments, targets, predictions
    ("MeanSquaredError", "mean_squared_error", {}, POINTS, Z),
    ("MeanAbsoluteError", "mean_absolute_error", {}, POINTS, Z),
    ("MeanAbsolutePercentageError", "mean_absolute_percentage_error", {}, POINTS, Z),
    ("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error", {}, P, Q),
    ("Huber", "huber", {}, POINTS, Z),
    ("Huber", "huber", {"delta": 0.3}, POINTS, Z),
    ("LogCosh", "log_cosh", {}, POINTS, 30 * Z),
    ("CosineSimilarity", "cosine_similarity", {}, POINTS, Z),
    ("CosineSimilarity", "cosine_similarity", {"axis": 0}, POINTS, Z),
    ("Poisson", "poisson", {}, P, Q),
    ("KLDivergence", "kl_divergence", {}, P, Q),
    ("Hinge", "hinge", {}, YES, Z),
    ("Hinge", "hinge", {}, 2 * YES - 1, Z),
    ("SquaredHinge", "squared_hinge", {}, YES, Z),
    ("CategoricalHinge", "categorical_hinge", {}, CODES, Z),
    ("BinaryCrossentropy", "binary_crossentropy", {}, YES, P),
    ("BinaryCrossentropy", "binary_crossentropy", {"from_logits": True}, YES, 9 * Z),
    ("BinaryCrossentropy", "binary_crossentropy", {"label_smoothing": 0.2}, YES, P),
    ("BinaryFocalCrossentropy", "binary_focal_crossentropy", {}, YES, P),
    (
        "BinaryFocalCrossentropy",
        "binary_focal_crossentropy",
        {
            "apply_class_balancing": True,
            "alpha": 0.3,
            "gamma": 1.5,
            "from_logits": True,
        },
        YES,
        Z,
    ),
    ("CategoricalCrossentropy", "categorical_crossentropy", {}, CODES, P),
    (
        "CategoricalCrossentropy",
        "categorical_crossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        CODES,
        9 * Z,
    ),
    ("CategoricalCrossentropy", "categorical_crossentropy", {"axis": 0}, Q, P),
    ("CategoricalFocalCrossentropy", "categorical_focal_crossentropy", {}, CODES, P),
    (
        "CategoricalFocalCrossentropy",
        "categorical_focal_crossentropy",
        {"from_logits": True, "gamma": 1.5, "label_smoothing": 0.1},
        CODES,
        Z,
    ),
    ("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", {}, LABELS, P),
    (
        "SparseCategoricalCrossentropy",
        "sparse_categorical_crossentropy",
        {"from_logits": True},
        LABELS[:, None],
        9 * Z,
    ),
    (
        "SparseCategoricalCrossentropy",
        "sparse_categorical_crossentropy",
        {"ignore_class": 1},
        LABELS,
        P,
    ),
    (
        "CategoricalGeneralizedCrossEntropy",
        "categorical_generalized_cross_entropy",
        {"q": 0.3},
        LABELS,
        P,
    ),
    ("Dice", "dice", {}, YES, P),
    ("Dice", "dice", {"axis": (1,)}, YES, P),
    ("Tversky", "tversky", {"alpha": 0.3, "beta": 0.7}, YES, P),
    ("CTC", "ctc", {}, WORDS, SOUNDS),
    ("Circle", "circle", {"gamma": 8.0, "margin": 0.3}, LABELS, UNIT),
]


def label(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[2].items())])


@pytest.mark.parametrize("case", CASES, ids=label)
def test_values_gradients_and_configs_agree_with_keras(case):
    title, name, options, y, p = case
    ours = getattr(losses, title)(**options)
    theirs = getattr(keras.losses, title)(**options)
    functions = [
        functools.partial(getattr(losses, name), **options),
        functools.partial(getattr(keras.losses, name), **options),
        ours,
        theirs,
    ]

    @jax.jit
    def run(p):
        sums = [lambda p, f=f: jnp.sum(f(y, p) * 1.5) for f in functions]
        return [jax.value_and_grad(f)(p) for f in sums]

    answers = run(p)
    for pair in (answers[:2], answers[2:]):
        for a, b in zip(*pair, strict=True):
            np.testing.assert_allclose(a, b, 2e-5, 2e-6)
    mine, wanted = ours.get_config(), theirs.get_config()
    # Keras forgets some arguments that change the value; it reads them when they come.
    assert mine == wanted | {k: options.get(k, mine[k]) for k in mine.keys() - wanted}
    assert deserialize(serialize(ours)).get_config() == mine
    there = keras.saving.deserialize_keras_object(serialize(ours))
    np.testing.assert_allclose(there(y, p), ours(y, p), 1e-5, 1e-6)
    back = losses.deserialize(keras.losses.serialize(theirs))
    assert type(back) is type(ours)


def test_signatures_equal_those_of_keras():
    for name in dir(keras.losses):
        theirs = getattr(keras.losses, name)
        if name.startswith("_") or not callable(theirs):
            continue
        assert _parameters(getattr(losses, name)) == _parameters(theirs), name


def _parameters(fn):
    return [(p.name, p.default) for p in inspect.signature(fn).parameters.values()]


WEIGHTS = [
    None,
    np.float32([1, 2, 0, 3, 0.5, 1]),
    np.float32([[1], [2], [0], [3], [0.5], [1]]),
    2.0,
]


@pytest.mark.parametrize("reduction", losses.loss.REDUCTIONS)
def test_reductions_weights_and_masks_agree_with_keras(reduction):
    ours = losses.MeanSquaredError(reduction=reduction)
    theirs = keras.losses.MeanSquaredError(reduction=reduction)
    for weight in WEIGHTS:
        for mask in (None, np.array([1, 0, 1, 1, 0, 1], bool), np.zeros(6, bool)):
            p, q = jnp.array(Z), jnp.array(Z)
            set_mask(p, mask)
            if mask is not None:
                keras.src.backend.set_keras_mask(q, jnp.asarray(mask))
            a, b = ours(POINTS, p, weight), theirs(POINTS, q, weight)
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, 1e-6)


def test_sequences_of_losses_are_weighted_by_sample_or_by_step():
    y, p = RNG.normal(size=(2, 5, 3, 2)).astype("float32")
    for weight in (np.ones(5, "float32"), np.float32(RNG.uniform(size=(5, 3)))):
        if weight.ndim == 1:
            continue
        np.testing.assert_allclose(
            losses.MeanAbsoluteError()(y, p, weight),
            keras.losses.MeanAbsoluteError()(y, p, weight),
            1e-6,
        )


def test_a_sample_of_weight_zero_is_as_good_as_absent():
    weight = np.float32([1, 1, 1, 1, 0, 0])
    for title, _, options, y, p in CASES:
        if title in ("Dice", "Tversky", "Circle", "CTC", "Hinge", "SquaredHinge"):
            continue  # these look at the whole batch
        if options.get("axis") == 0:
            continue
        loss = getattr(losses, title)(**options, reduction="mean_with_sample_weight")
        np.testing.assert_allclose(
            loss(y, p, weight), loss(y[:4], p[:4]), 1e-5, err_msg=title
        )


def test_targets_and_predictions_may_differ_by_a_last_axis_of_one():
    y, p = np.float32([1, 2, 3]), np.float32([[1.5], [2], [4]])
    for title in ("MeanSquaredError", "Huber", "BinaryCrossentropy"):
        ours, theirs = getattr(losses, title)(), getattr(keras.losses, title)()
        np.testing.assert_allclose(ours(y / 4, p / 5), theirs(y / 4, p / 5), 1e-6)
        np.testing.assert_allclose(ours(p / 5, y / 4), theirs(p / 5, y / 4), 1e-6)


def test_a_loss_is_computed_in_its_own_dtype():
    p = jnp.asarray(Z, "bfloat16")
    assert losses.MeanSquaredError()(POINTS, p).dtype == "float32"
    assert losses.MeanSquaredError(dtype="bfloat16")(POINTS, p).dtype == "bfloat16"
    config = losses.MeanSquaredError(dtype="bfloat16").get_config()
    assert losses.MeanSquaredError.from_config(config).dtype == "bfloat16"


def test_names_stand_for_functions_and_classes():
    for name, theirs in keras.src.losses.ALL_OBJECTS_DICT.items():
        if name in ("Loss", "LossFunctionWrapper"):
            continue
        ours = losses.get(name)
        assert inspect.isfunction(ours) == inspect.isfunction(theirs), name
        if inspect.isfunction(ours):
            assert losses.serialize(ours) == keras.losses.serialize(theirs)
            assert losses.deserialize(losses.serialize(ours)) is ours
    assert losses.get(None) is None
    assert losses.as_loss("mse").name == "mse"
    assert losses.as_loss(losses.huber).name == "huber"
    assert losses.as_loss("Huber").name == "huber_loss"
    with pytest.raises(ValueError, match='Unknown loss.*mean "mean_squared_error"'):
        losses.get("mean_sqared_error")


def test_a_wrapped_function_goes_to_its_config_and_back():
    wrapped = losses.as_loss("mse")
    again = losses.deserialize(losses.serialize(wrapped))
    assert again.fn is losses.mean_squared_error
    assert again.get_config() == wrapped.get_config()


def test_a_loss_of_ones_own_may_take_and_give_anything():
    class Distance(losses.Loss):
        def call(self, y_true, y_pred):
            return jnp.abs(y_true["a"] - y_pred["a"]) + y_true["b"]

    y = {"a": np.float32([1, 2]), "b": np.float32([0, 1])}
    assert float(Distance()(y, {"a": np.float32([1, 4])})) == 1.5
    assert Distance(name="d").get_config() == {
        "name": "d",
        "reduction": "sum_over_batch_size",
    }


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="Huber: `reduction` must be one of"):
        losses.Huber(reduction="average")
    with pytest.raises(ValueError, match="`q` must be a number between 0 and 1"):
        losses.CategoricalGeneralizedCrossEntropy(q=2)(LABELS, P)
