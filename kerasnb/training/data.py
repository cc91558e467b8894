"""What users pass as `x`, turned into batches.

Arrays become a `Table`: columns of equal length, kept whole so that the compiled loop
can gather its batches on the device. Everything else that yields batches becomes a
`Stream`.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import leaves, map_structure
from kerasnb.training.checks import class_weights
from kerasnb.training.columns import columns, comes_from, plain
from kerasnb.training.workers import numbered_batches

NAMES = ("x", "y", "sample_weight")
ENDLESS = 1 << 40  # a length like this stands for none: grain has `repeat()` so


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


class Stream:
    """Batches that come one after the other, from whatever yields them.

    Each is brought into the form `(x,)`, `(x, y)` or `(x, y, weight)` of arrays, and
    compared with the first. A dataset of numbered batches (`PyDataset`) is asked for
    them by number, in an order that is drawn for each pass.
    """

    def __init__(
        self,
        who: str,
        source: Any,
        class_weight: Mapping | None = None,
        prepare: Callable[[Any], Any] = lambda x: x,
    ) -> None:
        self.who, self.source = who, source
        self.numbered = _is_numbered(source)
        self.restarts = not isinstance(source, Iterator)
        self.length = _length(source)
        self._class_weight, self._prepare = class_weight, prepare
        self._first: tuple | None = None
        self._form: Any = None  # structure, shapes and dtypes of the first batch
        self._good: list | None = None  # dtypes and ranks of arrays taken as they are
        self._peeked: Iterator | None = None
        self._begun = False

    def peek(self) -> tuple:
        """The first batch, which stays the first."""
        if self._first is None:
            self.begin_epoch()
            self._begun = True
            if self.numbered:  # It can be asked for again, whatever the order.
                items = (self.source[i] for i in range(0 if self.length == 0 else 1))
            else:
                items = iter(self.source)
            batches = self._converted(items, 0)
            self._first = next(batches, None)
            if self._first is None:
                raise ValueError(
                    f"{self.who}: `x` is empty; there is nothing to compute on."
                )
            if not self.numbered:
                self._peeked = itertools.chain([self._first], batches)
        return self._first

    def batches(
        self, seed: int = 0, shuffle: bool = False, skip: int = 0, anew: bool = False
    ) -> Iterator[tuple]:
        """The batches of one pass, from number `skip` on.

        With `shuffle` numbered batches come in an order drawn from `seed`. `anew` gives
        up the batch that was looked at, where a pass can begin again.
        """
        if self.numbered:
            items = numbered_batches(self.source, self.length, seed, shuffle, skip)
            return self._converted(items, skip)
        peeked, self._peeked = self._peeked, None
        if peeked is None or (anew and self.restarts):
            peeked = self._converted(iter(self.source), 0)
        return itertools.islice(peeked, skip, None) if skip else peeked

    def begin_epoch(self) -> None:
        """Tell the dataset that an epoch begins, once."""
        if not self._begun:
            _tell(self.source, "on_epoch_begin")
        self._begun = False

    def end_epoch(self) -> None:
        """Tell the dataset that an epoch is over."""
        _tell(self.source, "on_epoch_end")

    def _converted(self, items: Iterator, first: int) -> Iterator[tuple]:
        for number in itertools.count(first):
            try:
                item = next(items)
            except StopIteration:
                return
            except Exception as error:
                error.add_note(
                    f"{self.who}: the data raised this at batch {number} (the first "
                    "is 0); what was learned before stays."
                )
                raise
            yield self._batch(item, number)

    def _batch(self, item: Any, number: int) -> tuple:
        """One batch as `(x,)`, `(x, y)` or `(x, y, weight)` of arrays."""
        who = f"{self.who}, batch {number}"
        item = tuple(item) if isinstance(item, list) else item
        item = item if isinstance(item, tuple) else (item,)
        if not 1 <= len(item) <= 3:
            raise ValueError(
                f"{who}: a batch must be x, (x, y) or (x, y, sample_weight), not "
                f"{len(item)} items."
            )
        raw = tuple(map(plain, itertools.repeat(who), NAMES, item))
        if self._good is not None and _kinds(raw) == self._good:
            return raw
        parts = (self._prepare(raw[0]), *raw[1:])
        data = tuple(map(columns, itertools.repeat(who), NAMES, parts))
        data = with_class_weights(who, data, self._class_weight)
        _count_rows(who, data)
        data = self._like_the_first(who, data)
        if len(data) == len(raw) and all(map(operator.is_, data, raw)):
            # All of this for nothing: the next ones need not be looked at so closely.
            self._good = _kinds(raw)
        return data

    def _like_the_first(self, who: str, data: tuple) -> tuple:
        """The batch in the dtypes of the first one, whose structure it must have."""
        arrays, structure = jax.tree.flatten(data)
        form = structure, [(a.ndim, a.dtype) for a in arrays]
        if self._form is None:
            self._form = form
        if form == self._form:
            return data
        if structure != self._form[0]:
            raise ValueError(
                f"{who}: it has the structure {_sketch(structure)}, and the first "
                f"batch had {_sketch(self._form[0])}; all batches must have the same."
            )
        for i, (rank, dtype) in enumerate(self._form[1]):
            array = arrays[i]
            if array.ndim != rank:
                raise ValueError(
                    f"{who}: an array has the shape {tuple(array.shape)}, and in the "
                    f"first batch it had {rank} axes; all batches must have as many."
                )
            if not _fits(array.dtype, dtype):
                raise ValueError(
                    f"{who}: an array has the dtype {array.dtype}, and in the first "
                    f"batch it had {dtype}; all batches must have the same."
                )
            arrays[i] = array.astype(dtype)
        return jax.tree.unflatten(structure, arrays)


def _kinds(item: Any) -> list | None:
    """Dtypes and ranks of a tuple of NumPy arrays of equal length, None for others."""
    if type(item) is not tuple or any(type(a) is not np.ndarray for a in item):
        return None
    rows = item[0].shape[:1] if item else (0,)
    if rows == (0,) or any(a.shape[:1] != rows for a in item):
        return None
    return [(a.dtype, a.ndim) for a in item]


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
        if comes_from(x, "torch") and not hasattr(x, "__iter__"):
            raise ValueError(
                f"{who}: `x` is a {type(x).__name__} of single samples; pass batches "
                "of it, torch.utils.data.DataLoader(x, batch_size=32)."
            )
        return Stream(who, x, class_weight, prepare)
    x = columns(who, "x", prepare(plain(who, "x", x)))
    y = columns(who, "y", plain(who, "y", y))
    sample_weight = plain(who, "sample_weight", sample_weight)
    sample_weight = columns(who, "sample_weight", sample_weight)
    data: tuple = (x,) if y is None else (x, y)
    if sample_weight is not None:
        data = (x, y, sample_weight)
    data = with_class_weights(who, data, class_weight)
    return Table(data, _count_rows(who, data))


def is_stream(x: Any) -> bool:
    """Whether `x` yields batches, rather than holding arrays."""
    if isinstance(x, list | tuple | Mapping | str) or hasattr(x, "shape"):
        return False
    if hasattr(x, "to_numpy") or hasattr(x, "__array__") or hasattr(x, "collect"):
        return False
    return isinstance(x, Iterable) or hasattr(x, "__getitem__")


def _count_rows(who: str, data: tuple) -> int:
    counts: dict[str, set[int]] = {}
    for name, column in zip(NAMES, data, strict=False):
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


def with_class_weights(who: str, data: tuple, class_weight: Mapping | None) -> tuple:
    """Data with a weight for each sample by its class: an index or a one-hot row."""
    if class_weight is None:
        return data
    if len(data) != 2 or not hasattr(data[1], "shape"):
        raise ValueError(
            f"{who}: `class_weight` needs one array of classes `y`, and no "
            "`sample_weight` beside it."
        )
    labels = np.asarray(data[1])
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(-1)
    labels = labels.reshape(len(labels), -1)[:, 0].round().astype(int)
    weights = class_weights(who, class_weight)
    classes, where = np.unique(labels, return_inverse=True)
    table = np.array([weights.get(int(c), 1.0) for c in classes], "float32")
    return (*data, table[where])


# --- Sources of batches ---------------------------------------------------------------


def _is_numbered(source: Any) -> bool:
    """Whether batches are asked for by number, as those of a PyDataset are."""
    by_index = hasattr(source, "__getitem__")
    return by_index and (
        hasattr(source, "on_epoch_end") or not hasattr(source, "__iter__")
    )


def _length(source: Any) -> int | None:
    """How many batches a pass has; None without an end, or when nobody knows."""
    for name in ("num_batches", "__len__"):
        try:
            value = getattr(source, name, None)
            value = value() if callable(value) else value
        except (TypeError, NotImplementedError):
            continue
        if value is not None:
            return int(value) if value < ENDLESS else None
    return None


def _tell(source: Any, hook: str) -> None:
    call = getattr(source, hook, None)
    if call is not None:
        call()


def _sketch(structure: Any) -> str:
    text = str(structure).removeprefix("PyTreeDef(").removesuffix(")")
    return text.replace("*", "array")


def _fits(found: np.dtype, wanted: np.dtype) -> bool:
    """Whether numbers of one format can be given in the other."""
    if dtypes.is_float(wanted):
        return found.kind != "c"
    return bool(np.can_cast(found, wanted))


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
    for name, column in zip(NAMES, data, strict=False):
        for leaf in leaves(column):
            if leaf is None or not dtypes.is_float(leaf.dtype):
                continue
            if isinstance(leaf, jax.Array):  # It stays on its devices.
                if bool(jnp.isfinite(leaf).all()):
                    continue
                rows = ~np.asarray(jnp.isfinite(leaf.reshape(len(leaf), -1)).all(-1))
            else:
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
