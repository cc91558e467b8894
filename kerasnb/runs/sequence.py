"""`Runs`: the records of a session, or of a folder, as a short sequence."""

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kerasnb.core.errors import show, suggest
from kerasnb.core.frontend import Displayable
from kerasnb.runs import folder, recorder
from kerasnb.runs.compare import Comparison
from kerasnb.runs.record import Record
from kerasnb.saving.files import DamagedFileError


class Runs(Displayable):
    """Records of runs, oldest first: `runs[-1]`, `runs["name"]`, `len(runs)`.

    `kerasnb.runs` holds the last hundred of this session. Every `fit` adds one.

    >>> import kerasnb as keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="net")
    >>> model.compile("sgd", "mse")
    >>> with keras.runs.named("first") as made:
    ...     _ = model.fit(np.ones((8, 2)), np.ones(8), epochs=2, verbose=0)
    >>> made[-1].name, made[-1].status, made[-1].settings["batch_size"]
    ('first', 'finished', 8)
    """

    def __init__(self, records: Iterable[Record] = (), kept: int | None = None) -> None:
        self._records: deque[Record] = deque(records, kept)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._records))

    def __contains__(self, which: object) -> bool:
        return any(which in (r, r.name, r.id) for r in self)

    def __getitem__(self, which: Any) -> Any:
        records = list(self)
        if isinstance(which, slice):
            return Runs(records[which])
        if isinstance(which, str):
            for record in reversed(records):
                if which in (record.name, record.id):
                    return record
            known = [record.name for record in records]
            raise LookupError(f"There is no run {show(which)}.{suggest(which, known)}")
        try:
            return records[which]
        except IndexError:
            raise IndexError(
                f"There are {len(records)} runs, and none at {which}."
            ) from None

    def __repr__(self) -> str:
        return f"<Runs: {', '.join(r.name for r in self) or 'none yet'}>"

    def clear(self) -> None:
        """Forget all records; what is on disk stays there."""
        self._records.clear()

    def compare(self, *which: Any) -> Comparison:
        """Runs beside one another: the settings that differ, results, curves.

        Each is a record, a name, an id or a place in the sequence; by default all.
        """
        chosen = [r if isinstance(r, Record) else self[r] for r in which or self]
        return Comparison(chosen)

    def load(self, path: str | Path | None = None) -> Any:
        """The record in a run's folder, or all those in a folder of runs.

        By default the folder is `kerasnb.config.runs_dir()`. A run whose process ended
        without a word has the status `"killed"`. Nothing is added to this sequence, and
        nothing in the files is executed.
        """
        given = path if path is not None else recorder.settings.runs_dir()
        if given is None:
            raise ValueError(
                "runs.load: name a folder, or set one with kerasnb.config.runs_dir()."
            )
        path = Path(given)
        if path.name == folder.RUN:
            path = path.parent
        inner = sorted(path.glob(f"*/{folder.RUN}"))
        if (path / folder.RUN).exists() or not inner:
            return Record.read(path)
        found = []
        for file in inner:
            try:
                found.append(Record.read(file.parent))
            except DamagedFileError as error:
                warnings.warn(str(error), stacklevel=2)
        return Runs(sorted(found, key=lambda record: (record.began, record.id)))

    def named(self, name: str) -> AbstractContextManager[list[Record]]:
        """Name the runs of each `fit` inside: `with runs.named("wide"): ...`."""
        return recorder.named(name)

    def begin(self, *facts: Any) -> None:
        """Add the record of a `fit` that begins now; for `fit` itself."""
        self._records.append(recorder.open_record(self, *facts))
