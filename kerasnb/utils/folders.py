"""Files in folders as batches: what the image, text and audio datasets share."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb.core.errors import check
from kerasnb.utils.batches import PyDataset


def index_directory(
    directory: Any,
    labels: Any = "inferred",
    formats: tuple[str, ...] = (),
    class_names: Sequence[str] | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> tuple[list[str], Any, list[str] | None]:
    """The files below `directory` that end in one of `formats`, labels, class names.

    With `labels="inferred"` each folder in `directory` is a class, and the label of a
    file the position of its folder among the sorted names (or in `class_names`). A list
    gives the labels itself, in the sorted order of the paths; None gives none. Files and
    labels are shuffled together by `seed`, in the order Keras shuffles them.

    Returns `(paths, labels, class_names)`.
    """
    who, root = "index_directory", Path(directory)
    check(root.is_dir(), who, "directory", str(directory), "a folder that exists")
    inferred = isinstance(labels, str) and labels == "inferred"
    if inferred:
        entries = (entry for entry in root.iterdir() if entry.is_dir())
        found = sorted(e.name for e in entries if not e.name.startswith("."))
        check(
            set(class_names or ()) <= set(found),
            who,
            "class_names",
            class_names,
            f"names of folders in the directory, which has {found}",
        )
        names = list(class_names or found)
        listed = [list(_files(root / name, formats, follow_links)) for name in names]
        paths = [path for group in listed for path in group]
        counts = [len(group) for group in listed]
        labels = np.repeat(np.arange(len(names), dtype="int32"), counts)
    else:
        check(
            not class_names,
            who,
            "class_names",
            class_names,
            'left out unless `labels="inferred"`',
        )
        paths, names = list(_files(root, formats, follow_links)), None
        if labels is not None:
            if len(labels) != len(paths):
                raise ValueError(
                    f"{who}: `labels` holds {len(labels)} labels and {root} has "
                    f"{len(paths)} files that end in {' '.join(formats)}; they must "
                    "agree."
                )
            names = [str(label) for label in sorted(set(labels))]
    if verbose:
        classes = "" if labels is None else f" belonging to {len(names or ())} classes"
        print(f"Found {len(paths)} files{classes}.")
    if shuffle:
        seed = np.random.randint(1e6) if seed is None else seed
        order = np.random.RandomState(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        if labels is not None:
            labels = [labels[i] for i in order]
    return paths, None if labels is None else np.asarray(labels), names


def _files(
    folder: Path, formats: tuple[str, ...], follow_links: bool
) -> Iterator[str]:
    for root, _, files in sorted(os.walk(folder, followlinks=follow_links)):
        for name in sorted(files):
            if name.lower().endswith(formats):
                yield str(Path(root) / name)


class FileBatches(PyDataset):
    """Batches of what `read` makes of each file, joined by `join`, and their labels.

    Labels are `(n,)` whole numbers for `label_mode="int"`, `(n, 1)` floats for
    `"binary"`, `(n, classes)` floats for `"categorical"`; without labels a batch is only
    `x`. With `batch_size=None` every item is one file. With `shuffle` each epoch of
    `fit` after the first has a new order.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Any,
        read: Callable[[str], Any],
        label_mode: str | None = "int",
        class_names: list[str] | None = None,
        batch_size: int | None = 32,
        shuffle: bool = False,
        seed: int | None = None,
        join: Callable[[list], Any] = np.stack,
    ) -> None:
        super().__init__()
        self.file_paths, self.class_names = list(paths), class_names
        self.batch_size, self._read, self._join = batch_size, read, join
        self._labels = _encode(labels, label_mode, len(class_names or ()))
        self._order = np.arange(len(self.file_paths))
        self._random = np.random.default_rng(seed) if shuffle else None
        self._functions: tuple[Callable, ...] = ()
        self._most: int | None = None

    def __len__(self) -> int:
        count = math.ceil(len(self._order) / (self.batch_size or 1))
        return count if self._most is None else min(count, self._most)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} batches and none at {index}.")
        index %= len(self)
        size = self.batch_size or 1
        chosen = self._order[index * size : (index + 1) * size]
        read = [self._read(self.file_paths[i]) for i in chosen]
        x = read[0] if self.batch_size is None else self._join(read)
        item = x
        if self._labels is not None:
            y = self._labels[chosen]
            item = (x, y[0] if self.batch_size is None else y)
        for fn in self._functions:
            item = fn(*item) if isinstance(item, tuple) else fn(item)
        return item

    def on_epoch_end(self) -> None:
        """A new order for the next epoch, with `shuffle`."""
        if self._random is not None:
            self._random.shuffle(self._order)

    def map(self, fn: Callable[..., Any], num_parallel_calls: Any = None) -> PyDataset:
        """The same batches after `fn(x, y)`, or `fn(x)` without labels."""
        return self._like(_functions=(*self._functions, fn))

    def take(self, count: int) -> PyDataset:
        """The first `count` batches."""
        return self._like(_most=len(self) if count < 0 else count)

    def prefetch(self, buffer_size: Any = None) -> PyDataset:
        """The same batches; they are read ahead where there is something to gain."""
        return self

    def _like(self, **changes: Any) -> "FileBatches":
        other = object.__new__(FileBatches)
        other.__dict__ |= {**self.__dict__, **changes}
        return other


def _encode(labels: Any, label_mode: str | None, classes: int) -> np.ndarray | None:
    if labels is None or label_mode is None:
        return None
    labels = np.asarray(labels)
    if label_mode == "binary":
        return labels.astype("float32")[:, None]
    if label_mode == "categorical":
        return np.eye(classes, dtype="float32")[labels.astype(int)]
    return labels.astype("int32")


def batches_of_files(
    who: str,
    directory: Any,
    read: Callable[[str], Any],
    formats: tuple[str, ...],
    *,
    labels: Any,
    label_mode: str | None,
    class_names: Sequence[str] | None,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
    validation_split: float | None,
    subset: str | None,
    follow_links: bool,
    verbose: bool,
    join: Callable[[list], Any] = np.stack,
) -> Any:
    """`FileBatches` for the arguments that Keras' `*_dataset_from_directory` share.

    Two of them, training and validation, for `subset="both"`.
    """
    modes = ("int", "categorical", "binary", None)
    check(label_mode in modes, who, "label_mode", label_mode, f"one of {modes}")
    given = isinstance(labels, list | tuple | np.ndarray)
    check(
        given or labels is None or labels == "inferred",
        who,
        "labels",
        labels,
        '"inferred", None or a list of whole numbers, one for each file',
    )
    if labels is None or label_mode is None:
        labels = label_mode = None
    subsets = ("training", "validation", "both", None)
    check(subset in subsets, who, "subset", subset, f"one of {subsets}")
    check(
        not validation_split or 0 < validation_split < 1,
        who,
        "validation_split",
        validation_split,
        "between 0 and 1",
    )
    check(
        bool(validation_split) == bool(subset),
        who,
        "subset",
        subset,
        f"given exactly when `validation_split` is (it is {validation_split})",
    )
    check(
        not (validation_split and shuffle and seed is None),
        who,
        "seed",
        seed,
        "given, or shuffle=False, with `validation_split`, so that the two parts do "
        "not overlap",
    )
    paths, labels, names = index_directory(
        directory, labels, formats, class_names, shuffle, seed, follow_links, verbose
    )
    check(
        label_mode != "binary" or len(names or ()) == 2,
        who,
        "label_mode",
        label_mode,
        f'"int" or "categorical" unless there are two classes; there are {names}',
    )

    def part(kind: str | None) -> FileBatches:
        rows, reshuffled = slice(None), shuffle
        if kind is not None:
            held = int((validation_split or 0) * len(paths))
            at = len(paths) - held
            validates = kind == "validation"
            rows = slice(at, None) if validates else slice(0, at)
            reshuffled = shuffle and not (validates and subset == "both")
            if verbose:
                print(f"Using {held if validates else at} files for {kind}.")
        if not paths[rows]:
            raise ValueError(
                f"{who}: {directory} has no {f'{kind} ' if kind else ''}files that end "
                f"in {' '.join(formats)}."
            )
        return FileBatches(
            paths[rows],
            None if labels is None else labels[rows],
            read,
            label_mode,
            names,
            batch_size,
            reshuffled,
            seed,
            join,
        )

    if subset == "both":
        return [part("training"), part("validation")]
    return part(subset)
