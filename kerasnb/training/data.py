"""What users pass as `x`, turned into batches.

Arrays become a `Table`: columns of equal length, kept whole so that the compiled loop
can gather its batches on the device. Everything else that yields batches becomes a
`Stream`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import check, show
from kerasnb.core.graph import leaves, map_structure


@dataclass
class Table:
    """Columns of `n` rows: `data` is a tuple `(x,)`, `(x, y)` or `(x, y, weight)`."""

    data: tuple
    rows: int

    def batch_count(self, batch_size: int) -> int:
        """How many batches the rows make, the last one perhaps partial."""
        return -(-self.rows // batch_size)

    def take(self, rows: Any) -> tuple:
        """The given rows of every column."""
        return map_structure(lambda a: None if a is None else a[rows], self.data)


@dataclass
class Stream:
    """Batches that come one after the other; `batches()` starts from the beginning."""

    batches: Callable[[], Iterator[tuple]]
    length: int | None
    restarts: bool
    on_epoch_end: Callable[[], None] | None = None


def make_source(
    who: str,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping | None = None,
    *,
    prepare: Callable[[Any], Any] = lambda x: x,
) -> Table | Stream:
    """The batches that the arguments of `fit`, `evaluate` or `predict` stand for.

    `prepare` does what a model does with `x` before its compiled step.
    """
    if x is None:
        raise ValueError(
            f"{who}: `x` is missing; pass arrays or an iterable of batches."
        )
    if is_stream(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            check(
                value is None,
                who,
                name,
                value,
                "left out when `x` yields whole batches (x, y, sample_weight)",
            )
        return _stream(who, x, class_weight, prepare)
    x, y = _columns(who, "x", prepare(x)), _columns(who, "y", y)
    sample_weight = _columns(who, "sample_weight", sample_weight)
    if class_weight is not None:
        check(
            sample_weight is None,
            who,
            "class_weight",
            class_weight,
            "left out when `sample_weight` is given",
        )
        sample_weight = class_weights_of(who, y, class_weight)
    data: tuple = (x,) if y is None else (x, y)
    if sample_weight is not None:
        data = (x, y, sample_weight)
    return Table(data, _count_rows(who, data))


def is_stream(x: Any) -> bool:
    """Whether `x` yields batches, rather than holding arrays."""
    if isinstance(x, list | tuple | Mapping | str) or hasattr(x, "shape"):
        return False
    if hasattr(x, "to_numpy") or hasattr(x, "__array__"):
        return False
    return isinstance(x, Iterable) or hasattr(x, "__getitem__")


def _columns(who: str, name: str, value: Any) -> Any:
    """`value` with every leaf an array of numbers; lists of numbers become one."""
    if value is None:
        return None
    if isinstance(value, list | tuple) and _holds_numbers(value):
        value = np.asarray(value)

    def column(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, jax.Array):
            return leaf
        array = leaf.to_numpy() if hasattr(leaf, "to_numpy") else np.asarray(leaf)
        if array.dtype.kind == "O" and (numbers := _to_numbers(array)) is not None:
            array = numbers
        if array.dtype.kind not in "biufV":
            mend = "Turn text labels into numbers with np.unique(labels, "
            mend += "return_inverse=True)[1]."
            if name == "x":
                mend = "Call TextVectorization or StringLookup on it first, or begin "
                mend += "a Sequential or functional model with them."
            raise ValueError(
                f"{who}: `{name}` holds {array.dtype} data and models compute with "
                f"numbers. {mend}"
            )
        if array.ndim == 0:
            raise ValueError(
                f"{who}: `{name}` must be an array with one row for each sample, not "
                f"{show(leaf)}."
            )
        return array.astype(dtypes.canonical(array.dtype), copy=False)

    return map_structure(column, value)


def _to_numbers(array: np.ndarray) -> np.ndarray | None:
    try:
        return array.astype("float32")
    except (TypeError, ValueError):
        return None


def _holds_numbers(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float | bool | np.generic)


def _count_rows(who: str, data: tuple) -> int:
    counts: dict[str, set[int]] = {}
    for name, column in zip(("x", "y", "sample_weight"), data, strict=False):
        found = {len(leaf) for leaf in leaves(column) if leaf is not None}
        if found:
            counts[name] = found
    rows = set().union(*counts.values())
    if len(rows) > 1:
        listed = ", ".join(
            f"{name} has {' and '.join(str(c) for c in sorted(found))}"
            for name, found in counts.items()
        )
        raise ValueError(
            f"{who}: all arrays must have the same number of rows, but {listed}."
        )
    if not rows or not (count := rows.pop()):
        raise ValueError(f"{who}: `x` is empty; there is nothing to compute on.")
    return count


def class_weights_of(who: str, y: Any, class_weight: Mapping) -> np.ndarray:
    """A weight for each sample, looked up by its class (an index or a one-hot row)."""
    check(
        hasattr(y, "shape"),
        who,
        "class_weight",
        class_weight,
        "left out for models with several targets",
    )
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(-1)
    labels = labels.reshape(len(labels), -1)[:, 0].astype(int)
    table = {int(k): float(v) for k, v in class_weight.items()}
    return np.array([table.get(int(c), 1.0) for c in labels], "float32")


def _stream(
    who: str, source: Any, class_weight: Mapping | None, prepare: Callable[[Any], Any]
) -> Stream:
    length = _length(source)

    def batches() -> Iterator[tuple]:
        items = source
        if not hasattr(source, "__iter__"):  # PyDataset: batches by index
            items = (source[i] for i in range(length or 0))
        for item in items:
            yield _batch(who, item, class_weight, prepare)

    restarts = not isinstance(source, Iterator)
    return Stream(batches, length, restarts, getattr(source, "on_epoch_end", None))


def _length(source: Any) -> int | None:
    for name in ("num_batches", "__len__"):
        value = getattr(source, name, None)
        try:
            value = value() if callable(value) else value
        except (TypeError, NotImplementedError):
            continue
        if value is not None:
            return int(value)
    return None


def _batch(
    who: str, item: Any, class_weight: Mapping | None, prepare: Callable[[Any], Any]
) -> tuple:
    """One batch as `(x,)`, `(x, y)` or `(x, y, weight)` of arrays."""
    item = item if isinstance(item, tuple) else (item,)
    if not 1 <= len(item) <= 3:
        raise ValueError(
            f"{who}: a batch must be x, (x, y) or (x, y, sample_weight), not "
            f"{len(item)} items."
        )
    names = ("x", "y", "sample_weight")
    item = _numpy(item)
    item = (prepare(item[0]), *item[1:])
    data = [_columns(who, n, v) for n, v in zip(names, item, strict=False)]
    if class_weight is not None and len(data) == 2:
        data.append(class_weights_of(who, data[1], class_weight))
    _count_rows(who, tuple(data))
    return tuple(data)


def _numpy(value: Any) -> Any:
    """Tensors of other frameworks (a torch or tf batch) as NumPy arrays."""
    return map_structure(
        lambda x: x.numpy() if hasattr(x, "numpy") and not _is_array(x) else x, value
    )


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array)


def split(who: str, table: Table, fraction: float) -> tuple[Table, Table]:
    """All but the last `fraction` of the rows, and these."""
    check(0 < fraction < 1, who, "validation_split", fraction, "between 0 and 1")
    at = int(table.rows * (1 - fraction))
    if at == 0 or at == table.rows:
        raise ValueError(
            f"{who}: `validation_split={fraction}` of {table.rows} rows leaves nothing "
            "to train or to validate on."
        )
    return (
        Table(table.take(slice(0, at)), at),
        Table(table.take(slice(at, None)), table.rows - at),
    )


def find_nan(data: tuple) -> tuple[str, int] | None:
    """NaN or infinity in a table, in words, and the first row; None without any."""
    for name, column in zip(("x", "y", "sample_weight"), data, strict=False):
        for leaf in leaves(column):
            if leaf is None or np.asarray(leaf).dtype.kind not in "fV":
                continue
            array = np.asarray(leaf, "float32")
            if np.isfinite(array.sum(dtype="float64")):
                continue
            rows = ~np.isfinite(array.reshape(len(array), -1)).all(-1)
            if rows.any():
                row = int(rows.argmax())
                return (
                    f"`{name}` holds NaN or infinity in {int(rows.sum())} of "
                    f"{len(rows)} rows, the first is row {row}"
                ), row
    return None


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """A batch as the three things `train_step` works with, None for what is absent."""
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "A batch must be x, (x, y) or (x, y, sample_weight), not "
            f"{len(data)} items."
        )
    return (*data, None, None)[:3]


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The three parts of a batch as the tuple that datasets yield."""
    if y is None:
        return x if not isinstance(x, list | tuple) else (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)
