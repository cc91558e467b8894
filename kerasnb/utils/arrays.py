"""Arrays made ready for a model: one-hot rows, unit lengths, equal sequences."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kerasnb import ops
from kerasnb.core.errors import check, show


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class numbers as one-hot rows; without `num_classes` the largest number decides.

    NumPy in, NumPy out (float64); JAX in, JAX out, which needs `num_classes`.

    Shapes: `s -> s + (num_classes,)`; a last axis of length 1 is dropped first.

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if isinstance(x, jax.Array):
        if num_classes is None:
            raise ValueError(
                "to_categorical: `num_classes` must be given for JAX arrays, whose "
                "numbers are not looked at."
            )
        return ops.one_hot(x[..., 0] if _is_column(x) else x, num_classes)
    labels = np.asarray(x, "int64")
    labels = labels[..., 0] if _is_column(labels) else labels
    count = num_classes or (int(labels.max()) + 1 if labels.size else 0)
    if labels.size and not (-count <= labels.min() and labels.max() < count):
        wrong = int(labels.max() if labels.max() >= count else labels.min())
        raise ValueError(
            f"to_categorical: `x` holds the class {wrong}, but num_classes={count} "
            f"allows only 0 to {count - 1}."
        )
    return np.eye(count)[labels]


def _is_column(x: Any) -> bool:
    return x.ndim > 1 and x.shape[-1] == 1


def normalize(x: Any, axis: int = -1, order: int = 2) -> Any:
    """`x / norm(x, order)` along `axis`; vectors of length zero stay zero.

    Shapes: `s -> s`.

    >>> normalize(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    if not isinstance(x, np.ndarray):
        return ops.normalize(x, axis=axis, order=order)
    length = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(length == 0, 1, length)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of many lengths as one array, filled up with `value` or cut off.

    `padding` and `truncating` say at which end: `"pre"` or `"post"`. Without `maxlen`
    the longest sequence decides.

    Shapes: a list of `n` sequences `-> (n, maxlen, ...)`.

    >>> pad_sequences([[1], [2, 3, 4]], maxlen=2).tolist()
    [[0, 1], [3, 4]]
    """
    who, ends = "pad_sequences", ("pre", "post")
    check(padding in ends, who, "padding", padding, '"pre" or "post"')
    check(truncating in ends, who, "truncating", truncating, '"pre" or "post"')
    check(hasattr(sequences, "__len__"), who, "sequences", sequences, "a list of lists")
    for i, sequence in enumerate(sequences):
        check(
            hasattr(sequence, "__len__"), who, f"sequences[{i}]", sequence, "a sequence"
        )
    text = isinstance(value, str)
    holds_text = dtype is object or np.dtype(dtype).kind in "OUS"
    check(
        not text or holds_text, who, "dtype", dtype, f"object for value={show(value)}"
    )
    if maxlen is None:
        maxlen = max((len(sequence) for sequence in sequences), default=0)
    shape = next((np.shape(s)[1:] for s in sequences if len(s)), ())
    padded = np.full((len(sequences), maxlen, *shape), value, dtype=dtype)
    for i, sequence in enumerate(sequences):
        if len(sequence) == 0 or maxlen == 0:
            continue
        kept = sequence[-maxlen:] if truncating == "pre" else sequence[:maxlen]
        kept = np.asarray(kept, dtype=dtype)
        if kept.shape[1:] != shape:
            raise ValueError(
                f"{who}: the steps of sequences[{i}] have the shape {kept.shape[1:]} "
                f"and those before it {shape}; all must agree."
            )
        if padding == "pre":
            padded[i, -len(kept) :] = kept
        else:
            padded[i, : len(kept)] = kept
    return padded
