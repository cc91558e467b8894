"""Losses of regions, of similarities and of sequences."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, settings
from kerasnb.core.graph import op
from kerasnb.core.masks import set_mask
from kerasnb.losses.loss import as_class
from kerasnb.losses.targets import anything, wants
from kerasnb.ops import ctc_loss
from kerasnb.ops._family import Axis, axes

Array = jax.Array


@op
def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Array:
    """`1 - 2 · Σ t·p / (Σ t + Σ p)`: how little two regions overlap.

    Shapes: `s, s -> ()`, or what remains without `axis`.

    >>> round(float(dice([[1.0, 0.0]], [[1.0, 0.0]])), 4)
    0.0
    """
    y_pred = dtypes.as_array(y_pred)
    y_true, axis = dtypes.as_array(y_true).astype(y_pred.dtype), axes(axis)
    both = jnp.sum(y_true * y_pred, axis)
    total = jnp.sum(y_true, axis) + jnp.sum(y_pred, axis)
    return 1 - 2.0 * both / (total + settings.epsilon())


Dice = as_class("Dice", dice, order="reduction name axis dtype")


@op
def tversky(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axis = None,
) -> Array:
    """`1 - Σ t·p / (Σ t·p + alpha · Σ t·(1-p) + beta · Σ (1-t)·p)`.

    `alpha` is the price of what was missed, `beta` of what was marked wrongly (Salehi
    et al., 2017).

    Shapes: `s, s -> ()`, or what remains without `axis`.

    >>> round(float(tversky([[1.0, 0.0]], [[1.0, 0.0]])), 4)
    0.0
    """
    y_pred = dtypes.as_array(y_pred)
    y_true, axis = dtypes.as_array(y_true).astype(y_pred.dtype), axes(axis)
    both = jnp.sum(y_true * y_pred, axis)
    missed = jnp.sum((1 - y_pred) * y_true, axis)
    wrong = jnp.sum(y_pred * (1 - y_true), axis)
    return 1 - both / (both + missed * alpha + wrong * beta + settings.epsilon())


Tversky = as_class("Tversky", tversky, order="alpha beta reduction name axis dtype")


@wants(anything)
@op
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Array:
    """Pull embeddings of one class together, push others apart (Sun et al., 2020).

    The embeddings must have length one. Pairs are weighted by how far they are from
    where they should be; those without a partner do not count.

    Shapes: `(b,), (b, d) -> (b,)`.

    >>> circle([0, 0], [[1.0, 0.0], [1.0, 0.0]]).shape
    (2,)
    """
    y_pred = dtypes.as_array(y_pred)
    labels = dtypes.as_array(y_true).astype("int32")
    others = y_pred if ref_embeddings is None else dtypes.as_array(ref_embeddings)
    other_labels = labels
    if ref_labels is not None:
        other_labels = dtypes.as_array(ref_labels).astype("int32")
    distance = jnp.maximum(1 - y_pred @ others.T, 0.0)
    same = labels.reshape(-1, 1) == other_labels.reshape(1, -1)
    different = ~same
    if remove_diagonal:
        same = same & ~jnp.eye(same.shape[0], same.shape[1], dtype=bool)
    pull = jnp.maximum((margin + distance) * same, 0.0)
    push = jnp.maximum((1 + margin - distance) * different, 0.0)
    near = -gamma * pull * (margin - distance)
    far = gamma * push * (1 - margin - distance)
    losses = jax.nn.softplus(
        jax.nn.logsumexp(jnp.where(same, near, -jnp.inf), axis=1)
        + jax.nn.logsumexp(jnp.where(different, far, -jnp.inf), axis=1)
    )
    set_mask(losses, losses > 0)
    return losses


Circle = as_class(
    "Circle",
    circle,
    order="gamma margin remove_diagonal reduction name dtype",
    without=("ref_labels", "ref_embeddings"),
    gamma=80.0,
)


@wants(anything)
@op
def ctc(y_true: Any, y_pred: Any) -> Array:
    """`-log` of the probability of a sequence of labels, over all its alignments.

    Label 0 is the blank and fills shorter sequences up (Graves et al., 2006). The
    predictions are logits.

    Shapes: `(b, labels), (b, time, classes) -> (b,)`.

    >>> round(float(ctc([[1]], [[[0.0, 0.0]]])[0]), 4)
    0.6931
    """
    y_true, y_pred = dtypes.as_array(y_true), dtypes.as_array(y_pred)
    lengths = jnp.sum(y_true != 0, axis=-1)
    times = jnp.full(y_pred.shape[:1], y_pred.shape[1] if y_pred.ndim > 1 else 0)
    return ctc_loss(y_true, y_pred, lengths, times, mask_index=0)


CTC = as_class("CTC", ctc)
