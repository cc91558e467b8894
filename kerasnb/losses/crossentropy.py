"""Losses of probabilities."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.core import dtypes, settings
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.core.masks import set_mask
from kerasnb.losses.loss import as_class
from kerasnb.losses.targets import classes, distributions, fractions, wants

Array = jax.Array


def _pair(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = dtypes.as_array(y_pred)
    return dtypes.as_array(y_true).astype(y_pred.dtype), y_pred


def _smooth(y_true: Array, label_smoothing: float, classes: int) -> Array:
    """Targets moved a little towards "all classes are equally likely"."""
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes


@wants(fractions)
@op
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """`mean(-t · log(p) - (1 - t) · log(1 - p))` for yes-or-no questions.

    With `from_logits` the predictions are what a sigmoid would make `p` from.

    Shapes: `(..., d), (..., d) -> (...)`, averaged over `axis`.

    >>> binary_crossentropy([[1.0]], [[0.5]]).tolist()
    [0.6931471824645996]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


BinaryCrossentropy = as_class("BinaryCrossentropy", binary_crossentropy)


@wants(fractions)
@op
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """Binary crossentropy times `(1 - pₜ)^gamma`, so that easy samples count little.

    `pₜ` is the probability given to the right answer. With `apply_class_balancing`,
    "yes" weighs `alpha` and "no" `1 - alpha` (Lin et al., 2017).

    Shapes: `(..., d), (..., d) -> (...)`, averaged over `axis`.

    >>> binary_focal_crossentropy([[1.0]], [[0.5]]).tolist()
    [0.1732867956161499]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    y_pred = jax.nn.sigmoid(y_pred) if from_logits else y_pred
    right = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    losses = jnp.power(1.0 - right, gamma) * ops.binary_crossentropy(y_true, y_pred)
    if apply_class_balancing:
        losses = (y_true * alpha + (1 - y_true) * (1 - alpha)) * losses
    return ops.mean(losses, axis=axis)


BinaryFocalCrossentropy = as_class("BinaryFocalCrossentropy", binary_focal_crossentropy)


@wants(distributions)
@op
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """`-Σ t · log(p)` for one class out of many, the targets being one-hot codes.

    With `from_logits` the predictions are what a softmax would make `p` from.

    Shapes: `(..., n), (..., n) -> (...)`.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).tolist()
    [0.6931471824645996]
    """
    y_true, y_pred = _pair(y_true, y_pred)
    check(
        isinstance(axis, int) and not isinstance(axis, bool),
        "categorical_crossentropy",
        "axis",
        axis,
        "an integer",
    )
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits, axis)


CategoricalCrossentropy = as_class("CategoricalCrossentropy", categorical_crossentropy)


@wants(distributions)
@op
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """`-alpha · Σ t · (1 - p)^gamma · log(p)`: easy samples count little.

    Shapes: `(..., n), (..., n) -> (...)`, the targets being one-hot codes.

    >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.0, 1.0]]).tolist()[0] < 1e-9
    True
    """
    y_true, y_pred = _pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    if from_logits:
        y_pred = jax.nn.softmax(y_pred, axis)
    tiny = settings.epsilon()
    p = jnp.clip(y_pred / jnp.sum(y_pred, axis, keepdims=True), tiny, 1.0 - tiny)
    return jnp.sum(alpha * jnp.power(1.0 - p, gamma) * -y_true * jnp.log(p), axis)


CategoricalFocalCrossentropy = as_class(
    "CategoricalFocalCrossentropy", categorical_focal_crossentropy
)


@wants(classes)
@op
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Array:
    """`-log(p[t])` for one class out of many, the targets being class numbers.

    With `from_logits` the predictions are what a softmax would make `p` from. Samples
    of `ignore_class` do not count.

    Shapes: `(...) or (..., 1), (..., n) -> (...)`.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).tolist()
    [0.6931471824645996]
    """
    y_true, y_pred = dtypes.as_array(y_true), dtypes.as_array(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[axis] == 1:
        y_true = jnp.squeeze(y_true, axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis)
    counts = y_true != jnp.asarray(ignore_class, y_true.dtype)
    y_true = jnp.where(counts, y_true, 0)
    # Whatever was predicted there must not reach the gradient, infinities included.
    y_pred = jnp.where(jnp.expand_dims(counts, axis), y_pred, 0)
    losses = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis)
    losses = jnp.where(counts, losses, 0.0)
    set_mask(losses, counts)
    return losses


SparseCategoricalCrossentropy = as_class(
    "SparseCategoricalCrossentropy",
    sparse_categorical_crossentropy,
    order="from_logits ignore_class reduction axis name dtype",
)


@wants(classes)
@op
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Array:
    """`(1 - p[t]^q) / q`, which forgives wrong labels (Zhang & Sabuncu, 2018).

    `q` near 0 is the crossentropy, near 1 the absolute error.

    Shapes: `(...), (..., n) -> (...)`, the targets being class numbers.

    >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5).tolist()
    [1.0]
    """
    who = "categorical_generalized_cross_entropy"
    check(0 < q < 1, who, "q", q, "a number between 0 and 1")
    y_pred = dtypes.as_array(y_pred)
    labels = dtypes.as_array(y_true).astype("int32")
    code = jax.nn.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
    return (1 - jnp.power(jnp.sum(y_pred * code, -1), q)) / q


CategoricalGeneralizedCrossEntropy = as_class(
    "CategoricalGeneralizedCrossEntropy", categorical_generalized_cross_entropy, q=0.5
)
