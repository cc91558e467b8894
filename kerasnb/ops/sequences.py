"""Sequences whose alignment is not known: connectionist temporal classification."""

import functools
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


@op
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[Array, Array]:
    """The most probable label sequences for the scores of each time step.

    `"greedy"` takes the best class of every step and returns, as the score, minus the
    sum of what it took. `"beam_search"` keeps the `beam_width` best beginnings, adding
    up all alignments of each, and returns the `top_paths` best with the logarithms of
    their probabilities (Graves & Jaitly, 2014). `mask_index` is the blank, the last
    class when None; sequences are filled up with -1.

    Shapes: `(b, time, classes), (b,) -> (paths, b, time), (b, paths)`.

    >>> scores = jnp.eye(3)[jnp.array([[1, 1, 0, 2]])]
    >>> ctc_decode(scores, [4])[0].tolist()
    [[[1, 2, -1, -1]]]
    """
    who = "ctc_decode"
    inputs = dtypes.as_array(inputs)
    check(inputs.ndim == 3, who, "inputs", inputs, "of shape (batch, time, classes)")
    strategies = ("greedy", "beam_search")
    check(strategy in strategies, who, "strategy", strategy, f"one of {strategies}")
    inputs = inputs.astype(dtypes.result_type(inputs.dtype.name, "float32"))
    lengths = dtypes.as_array(sequence_lengths, "int32")
    blank = inputs.shape[2] - 1 if mask_index is None else mask_index
    running = jnp.arange(inputs.shape[1]) < lengths[:, None]  # (b, time)
    if strategy == "greedy":
        return _best_classes(inputs, running, merge_repeated, blank)
    right = 0 < top_paths <= beam_width
    check(right, who, "top_paths", top_paths, f"from 1 to the beam width, {beam_width}")
    search = functools.partial(_beam_search, width=beam_width, blank=blank)
    paths, scores = jax.vmap(search)(jax.nn.log_softmax(inputs), running)
    return jnp.moveaxis(paths[:, :top_paths], 1, 0), scores[:, :top_paths]


def _best_classes(
    inputs: Array, running: Array, merge_repeated: bool, blank: int
) -> tuple[Array, Array]:
    labels = jnp.where(running, jnp.argmax(inputs, -1), blank)
    scores = -jnp.sum(jnp.where(running, jnp.max(inputs, -1), 0), 1, keepdims=True)
    dropped = labels == blank
    if merge_repeated:
        repeated = labels[:, 1:] == labels[:, :-1]
        dropped = dropped | jnp.pad(repeated, ((0, 0), (1, 0)))
    order = jnp.argsort(dropped, axis=1)  # stable: what is kept comes first, in order
    labels = jnp.take_along_axis(jnp.where(dropped, -1, labels), order, axis=1)
    return labels[None], scores


def _beam_search(
    logits: Array, running: Array, width: int, blank: int
) -> tuple[Array, Array]:
    """The `width` best paths of one sequence and their scores, the best one first.

    Each path has two scores, of its alignments that end in a blank and of those that
    end in its last label: after a blank the same label may follow again.
    """
    time, classes = logits.shape

    def step(state: tuple, now: tuple) -> tuple[tuple, None]:
        (paths, length, blanks, ends), (score, go_on) = state, now
        rows = jnp.arange(width)
        last = jnp.where(length > 0, paths[rows, length - 1], blank)
        total = jnp.logaddexp(blanks, ends)
        new_blanks = total + score[blank]
        new_ends = jnp.where(length > 0, ends + score[last], -jnp.inf)
        # Each path with each class behind it: (width, classes).
        longer = jnp.tile(total[:, None], classes).at[rows, last].set(blanks) + score
        longer = longer.at[:, blank].set(-jnp.inf)
        # A longer path that is there already adds to that one.
        shorter = jnp.where(jnp.arange(time) == length[:, None] - 1, -1, paths)
        same = (shorter[None] == paths[:, None]).all(-1) & (total > -jnp.inf)[:, None]
        same &= length > length[:, None]
        origin = jnp.argmax(same, axis=0)
        known = same.any(0)
        gain = jnp.where(known, longer[origin, last], -jnp.inf)
        new_ends = jnp.logaddexp(new_ends, gain)
        longer = longer.at[jnp.where(known, origin, width), last].set(-jnp.inf)

        scores = jnp.concatenate([jnp.logaddexp(new_blanks, new_ends), longer.ravel()])
        _, chosen = jax.lax.top_k(scores, width)
        grown = chosen >= width
        row = jnp.where(grown, (chosen - width) // classes, chosen)
        label = (chosen - width) % classes
        place = jnp.where(grown, length[row], time)  # out of range: nothing is written
        new = (
            paths[row].at[rows, place].set(label),
            length[row] + grown,
            jnp.where(grown, -jnp.inf, new_blanks[row]),
            jnp.where(grown, scores[chosen], new_ends[row]),
        )
        return jax.tree.map(lambda a, b: jnp.where(go_on, a, b), new, state), None

    nothing = jnp.full(width, -jnp.inf, logits.dtype)
    start = (
        jnp.full((width, time), -1, "int32"),
        jnp.zeros(width, "int32"),
        nothing.at[0].set(0),
        nothing,
    )
    # The first step is always taken, as in Keras.
    steps = (logits, running.at[0].set(True))
    (paths, _, blanks, ends), _ = jax.lax.scan(step, start, steps)
    return paths, jnp.logaddexp(blanks, ends)
