"""Sequences whose alignment is not known: connectionist temporal classification."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array

# The logarithm of "impossible": its gradients stay finite, unlike those of -inf.
_NEVER = -1e5


@op
def ctc_loss(
    target: Any,
    output: Any,
    target_length: Any,
    output_length: Any,
    mask_index: int = 0,
) -> Array:
    """`-log` of the probability of a label sequence, over all its alignments.

    An alignment names a class for every time step; it reads as the sequence when
    repetitions are joined and blanks (`mask_index`) dropped (Graves et al., 2006).
    `output` holds logits.

    Shapes: `(b, labels), (b, time, classes), (b,), (b,) -> (b,)`.

    >>> loss = ctc_loss([[1]], [[[0.0, 0.0]]], [1], [1])
    >>> round(float(loss[0]), 4)
    0.6931
    """
    target = dtypes.as_array(target, "int32")
    output = dtypes.as_array(output)
    check(target.ndim == 2, "ctc_loss", "target", target, "of shape (batch, labels)")
    check(
        output.ndim == 3,
        "ctc_loss",
        "output",
        output,
        "of shape (batch, time, classes)",
    )
    target_length = dtypes.as_array(target_length, "int32")
    output_length = dtypes.as_array(output_length, "int32")
    output = output.astype(dtypes.result_type(output.dtype.name, "float32"))
    batch, labels = target.shape

    # The labels with a blank before, between and after them: (b, 2 * labels + 1).
    states = jnp.full((batch, 2 * labels + 1), mask_index, "int32")
    states = states.at[:, 1::2].set(target)
    logits = jax.nn.log_softmax(output)
    scores = jnp.take_along_axis(
        logits, states[:, None, :], axis=2
    )  # (b, time, states)
    # A blank may be left out between two different labels.
    before = jnp.pad(states, ((0, 0), (2, 0)), constant_values=mask_index)[:, :-2]
    may_skip = (states != mask_index) & (states != before)

    def behind(alpha: Array, steps: int) -> Array:
        shifted = jnp.pad(alpha, ((0, 0), (steps, 0)), constant_values=_NEVER)
        return shifted[:, : alpha.shape[1]]

    def step(alpha: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        score, time = now
        stay_or_move = jnp.logaddexp(alpha, behind(alpha, 1))
        skip = jnp.where(may_skip, behind(alpha, 2), _NEVER)
        new = jnp.logaddexp(stay_or_move, skip) + score
        return jnp.where((time < output_length)[:, None], new, alpha), None

    start = jnp.where(jnp.arange(states.shape[1]) < 2, scores[:, 0], _NEVER)
    times = jnp.arange(1, output.shape[1])
    alpha, _ = jax.lax.scan(step, start, (jnp.moveaxis(scores, 1, 0)[1:], times))
    # An alignment ends on the last label or on the blank after it.
    last = 2 * target_length[:, None]
    ends = jnp.take_along_axis(alpha, jnp.maximum(last + jnp.array([-1, 0]), 0), axis=1)
    ends = jnp.where((last == 0) & (jnp.arange(2) == 0), _NEVER, ends)
    return -jnp.logaddexp(ends[:, 0], ends[:, 1])
