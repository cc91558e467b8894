"""Files in folders as batches: what the image, text and audio datasets share."""

import math
import os
import random
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb.core.errors import check, optional
from kerasnb.core.graph import leaves, map_structure
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
    gives the labels itself, in the sorted order of the paths; None gives none. Files
    and labels are shuffled together by `seed`, in the order Keras shuffles them.

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
        seed = np.random.randint(1_000_000) if seed is None else seed
        order = np.random.RandomState(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        if labels is not None:
            labels = [labels[i] for i in order]
    return paths, None if labels is None else np.asarray(labels), names


def _files(folder: Path, formats: tuple[str, ...], follow_links: bool) -> Iterator[str]:
    for root, _, files in sorted(os.walk(folder, followlinks=follow_links)):
        for name in sorted(files):
            if name.lower().endswith(formats):
                yield str(Path(root) / name)


class Batches(PyDataset):
    """Batches of samples that `_read` gets by their numbers.

    With `batch_size=None` every item is one sample.
    """

    def __init__(self, count: int, batch_size: int | None) -> None:
        super().__init__()
        self.batch_size = batch_size
        self._order = np.arange(count)
        self._functions: tuple[Callable, ...] = ()
        self._most: int | None = None

    def _read(self, chosen: Any) -> Any:
        """The samples of these numbers as a batch, or the one of this number."""
        raise NotImplementedError

    def __len__(self) -> int:
        count = math.ceil(len(self._order) / (self.batch_size or 1))
        return count if self._most is None else min(count, self._most)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} batches and none at {index}.")
        index, size = index % len(self), self.batch_size
        chosen = self._order[index] if size is None else self._order[index * size :]
        item = self._read(chosen if size is None else chosen[:size])
        for fn in self._functions:
            item = fn(*item) if isinstance(item, tuple) else fn(item)
        return item

    def map(self, fn: Callable[..., Any], num_parallel_calls: Any = None) -> PyDataset:
        """The same batches after `fn(x, y)`, or `fn(x)` without labels."""
        return self._like(_functions=(*self._functions, fn))

    def take(self, count: int) -> PyDataset:
        """The first `count` batches."""
        return self._like(_most=len(self) if count < 0 else count)

    def batch(self, batch_size: int) -> PyDataset:
        """The same samples, so many in a batch."""
        return self._like(batch_size=batch_size)

    def prefetch(self, buffer_size: Any = None) -> PyDataset:
        """The same batches; they are read ahead where there is something to gain."""
        return self

    def _like(self, **changes: Any) -> Any:
        other = object.__new__(type(self))
        other.__dict__ |= {**self.__dict__, **changes}
        return other


class FileBatches(Batches):
    """Batches of what `read` makes of each file, joined by `join`, and their labels.

    Labels are `(n,)` whole numbers for `label_mode="int"`, `(n, 1)` floats for
    `"binary"`, `(n, classes)` floats for `"categorical"`; without labels a batch is
    only `x`. With `shuffle` each epoch of `fit` after the first has a new order.
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
        super().__init__(len(paths), batch_size)
        self.file_paths, self.class_names = list(paths), class_names
        self._read_file, self._join = read, join
        self._labels = _encode(labels, label_mode, len(class_names or ()))
        self._random = np.random.default_rng(seed) if shuffle else None

    def _read(self, chosen: Any) -> Any:
        if np.ndim(chosen):
            x = self._join([self._read_file(self.file_paths[i]) for i in chosen])
        else:
            x = self._read_file(self.file_paths[chosen])
        return x if self._labels is None else (x, self._labels[chosen])

    def on_epoch_end(self) -> None:
        """A new order for the next epoch, with `shuffle`."""
        if self._random is not None:
            self._random.shuffle(self._order)


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


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """The `.txt` files below `directory`, each folder a class, as batches for `fit`.

    A batch is an array of strings, cut off after `max_length` characters, and the
    labels: see `FileBatches`. The result has `class_names`; it is a `PyDataset`
    whatever `format` says, and two of them for `subset="both"`.

    Shapes: `(batch,)` strings and `(batch,)` labels.
    """
    who = "text_dataset_from_directory"
    check(format in ("tf", "grain"), who, "format", format, '"tf" or "grain"')

    def read(path: str) -> str:
        return Path(path).read_bytes().decode("utf-8", "replace")[:max_length]

    return batches_of_files(
        who,
        directory,
        read,
        (".txt",),
        labels=labels,
        label_mode=label_mode,
        class_names=class_names,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        validation_split=validation_split,
        subset=subset,
        follow_links=follow_links,
        verbose=verbose,
        join=lambda texts: np.array(texts, dtype=object),
    )


def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """The 16-bit `.wav` files below `directory`, each folder a class, as batches.

    Sound is between -1 and 1, brought to `sampling_rate` if one is given, and cut off
    or filled up with silence to `output_sequence_length`, or to the longest sound of
    its batch. The result is a `PyDataset` with `class_names`, for `fit`; two of them
    for `subset="both"`.

    Shapes: `(batch, time, channels)` and `(batch,)` labels.
    """
    who = "audio_dataset_from_directory"
    check(not ragged, who, "ragged", ragged, "False on JAX; sounds are filled up")
    for name, value in (
        ("sampling_rate", sampling_rate),
        ("output_sequence_length", output_sequence_length),
    ):
        good = value is None or (isinstance(value, int) and value > 0)
        check(good, who, name, value, "a positive whole number")

    def fit_length(sound: np.ndarray, length: int | None) -> np.ndarray:
        sound = sound[:length]
        return np.pad(sound, ((0, (length or len(sound)) - len(sound)), (0, 0)))

    def read(path: str) -> np.ndarray:
        return fit_length(_read_wave(who, path, sampling_rate), output_sequence_length)

    found = batches_of_files(
        who,
        directory,
        read,
        (".wav",),
        labels=labels,
        label_mode=label_mode,
        class_names=class_names,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        validation_split=validation_split,
        subset=subset,
        follow_links=follow_links,
        verbose=verbose,
        join=lambda sounds: np.stack(
            [fit_length(sound, max(map(len, sounds))) for sound in sounds]
        ),
    )
    return tuple(found) if isinstance(found, list) else found


def _read_wave(who: str, path: str, sampling_rate: int | None) -> np.ndarray:
    with wave.open(path) as file:
        channels, width, rate = file.getparams()[:3]
        check(width == 2, who, path, f"{8 * width} bits a sample", "of 16 bits")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    sound = data.reshape(-1, channels).astype("float32") / 2**15
    if sampling_rate in (None, rate):
        return sound
    common = math.gcd(sampling_rate, rate)
    up, down = sampling_rate // common, rate // common
    signal = optional("scipy.signal", "for another sampling rate", "audio")
    return signal.resample_poly(sound, up, down).astype("float32")


class _Samples(Batches):
    """Samples in arrays of equal length."""

    def __init__(self, data: Any, rows: np.ndarray, batch_size: int | None) -> None:
        super().__init__(len(rows), batch_size)
        self.data, self._order = data, rows

    def _read(self, chosen: Any) -> Any:
        return map_structure(lambda array: array[chosen], self.data)


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[PyDataset, PyDataset]:
    """The first samples of a dataset, and the last, as two datasets.

    Sizes are whole numbers of samples, or shares of them; one of the two is enough.
    `dataset` is an array, a tuple of arrays, or something that yields batches (then
    the parts yield batches of that size) or single samples. The parts of arrays yield
    single samples: `.batch(32)` makes batches for `fit`.

    >>> left, right = split_dataset(np.arange(5), left_size=0.6)
    >>> [int(x) for x in left], right.batch(2)[0].tolist()
    ([0, 1, 2], [3, 4])
    """
    who, size = "split_dataset", None
    data: Any
    if hasattr(dataset, "shape"):
        data = np.asarray(dataset)
    elif isinstance(dataset, list | tuple | dict):
        data = map_structure(np.asarray, dataset)
        data = tuple(data) if isinstance(data, list) else data
    else:
        items = [map_structure(np.asarray, item) for item in dataset]
        check(items, who, "dataset", dataset, "not empty")
        size = getattr(dataset, "batch_size", None)
        batched = (
            isinstance(dataset, PyDataset) or size or hasattr(dataset, "_batch_size")
        )
        join: Any = np.concatenate if batched else np.stack
        data = map_structure(lambda *parts: join(parts), *items)
        size = len(leaves(items[0])[0]) if batched else None
    counts = {len(array) for array in leaves(data)}
    check(len(counts) == 1, who, "dataset", sorted(counts), "of arrays of one length")
    total = counts.pop()
    order = list(range(total))
    if shuffle:
        random.Random(seed).shuffle(order)
    left, right = _sizes(who, total, left_size, right_size)
    rows = np.array(order)
    return _Samples(data, rows[:left], size), _Samples(
        data, rows[total - right :], size
    )


def _sizes(who: str, total: int, left: Any, right: Any) -> tuple[int, int]:
    """How many samples go to each side."""
    sizes: dict[str, int | None] = {}
    for name, value in (("left_size", left), ("right_size", right)):
        expected = f"a share between 0 and 1, or a whole number below {total}"
        good = value is None or 0 < value < (1 if isinstance(value, float) else total)
        check(good, who, name, value, expected)
        sizes[name] = round(value * total) if isinstance(value, float) else value
    first, last = sizes.values()
    if first is None and last is None:
        raise ValueError(f"{who}: give `left_size` or `right_size`, or both.")
    first = total - last if first is None else first  # type: ignore[operator]
    last = total - first if last is None else last
    expected = f"such that neither part is empty, and both have at most {total} samples"
    check(first and last and first + last <= total, who, "left_size", left, expected)
    return first, last
