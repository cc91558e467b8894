"""Datasets in Python: batches by number, and windows of a time series."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kerasnb.core.errors import check


class PyDataset:
    """Batches by number: write `__getitem__(index)` and `__len__` (or `num_batches`).

    An item is a whole batch, `x` or `(x, y)` or `(x, y, sample_weight)`. `fit` asks for
    each once per epoch, in an order that is drawn anew each time unless `shuffle=False`
    (and once more for the first, to see what it looks like), and calls
    `on_epoch_begin` and `on_epoch_end`.

    With several `workers` up to `max_queue_size` batches are in the making at a time:
    in threads, or with `use_multiprocessing` in processes, which begin each epoch with
    a copy of the dataset as it is then, draw the same random numbers for the same
    batch whoever makes it, and must leave JAX alone.

    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         return np.arange(3.0) * index, np.arange(3.0) ** 2 * index
    >>> [x.tolist() for x, y in Squares()]
    [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]
    """

    # Also those of a subclass that does not call this constructor.
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(
        self,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch of that number."""
        raise NotImplementedError(
            f"{type(self).__name__} must have a method __getitem__(self, index) that "
            "returns a batch."
        )

    @property
    def num_batches(self) -> int | None:
        """How many batches an epoch has, None for no end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            f"{type(self).__name__} must have a method __len__ or a property "
            "num_batches that says how many batches there are."
        )

    def __iter__(self) -> Iterator[Any]:
        try:
            count = self.num_batches
        except NotImplementedError:
            count = None
        for index in itertools.count() if count is None else range(count):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class _Windows(PyDataset):
    """Windows of a time series, by the positions at which they start."""

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray | None,
        starts: np.ndarray,
        steps: np.ndarray,
        batch_size: int | None,
    ) -> None:
        super().__init__()
        self.data, self.targets = data, targets
        self.starts, self.steps, self.batch_size = starts, steps, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} batches and none at {index}.")
        index %= len(self)
        if self.batch_size is None:
            where: Any = self.starts[index]
            x = self.data[where + self.steps]
        else:
            where = self.starts[index * self.batch_size :][: self.batch_size]
            x = self.data[where[:, None] + self.steps]
        return x if self.targets is None else (x, self.targets[where])


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> PyDataset:
    """Batches of sliding windows over a time series, for `fit`.

    A window that starts at step `i` holds the steps `i, i + sampling_rate, ...`, in all
    `sequence_length` of them, and goes with `targets[i]`; the next one starts
    `sequence_stride` later. Only the steps from `start_index` up to, but without,
    `end_index` are used. The result is a `PyDataset` whatever `format` says.

    >>> windows = timeseries_dataset_from_array(np.arange(6), None, sequence_length=3)
    >>> windows[0].tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    """
    who, data = "timeseries_dataset_from_array", np.asarray(data)
    check(format in ("tf", "grain"), who, "format", format, '"tf" or "grain"')
    last = len(data) - 1
    for name, value in (
        ("sequence_length", sequence_length),
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
        ("batch_size", 1 if batch_size is None else batch_size),
    ):
        check(value > 0, who, name, value, "a positive number")
    for name, value in (
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
        ("start_index", start_index or 0),
        ("end_index", end_index or 0),
    ):
        expected = f"less than the {len(data)} steps of the data"
        check(0 <= value <= last, who, name, value, expected)
    start, end = start_index or 0, end_index or len(data)
    check(start < end, who, "end_index", end, f"more than start_index={start}")
    count = end - start - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)[start:end]
        count = min(count, len(targets))
    starts = np.arange(0, max(count, 0), sequence_stride)
    if shuffle:
        np.random.default_rng(seed).shuffle(starts)
    steps = np.arange(sequence_length) * sampling_rate
    return _Windows(data[start:end], targets, starts, steps, batch_size)
