"""The folder of a run on disk: JSON and tables, each file in place when it is whole.

    run.json     settings, status, results
    history.csv  one row an epoch
    steps.csv    the curves of the steps, thinned
    model.json   the model's configuration;  model.py  the same as a script
    start.npz    weights, optimizer and random generators at the beginning
    best.npz     weights of the best epoch so far

While a run is going on its process holds a lock on `run.lock`. The system lets go of it
when the process ends, however it ends: that tells a killed run from a living one.
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kerasnb.saving.files import DamagedFileError, MissingFileError, Replacing

try:
    import fcntl
except ImportError:  # Windows, which refuses to delete a file that is open
    fcntl = None  # type: ignore[assignment]

RUN, HISTORY, STEPS = "run.json", "history.csv", "steps.csv"
CONFIG, CODE, LOCK = "model.json", "model.py", "run.lock"
FORMAT = "kerasnb run 1"


def make(parent: Path, name: str) -> Path:
    """A new folder of that name, or of one like it when another process was faster."""
    for number in range(1, 1000):
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise type(error)(
                f"runs_dir: cannot make a folder in {parent}: {reason}. Choose another "
                "with kerasnb.config.runs_dir(...), or None to keep no records on disk."
            ) from None
        return path
    raise FileExistsError(f"runs_dir: {parent} has a thousand runs named {name}.")


# --- Alive or not ---------------------------------------------------------------------


def hold(folder: Path) -> BinaryIO:
    """Mark a run as going on, until the result is closed or the process ends."""
    file = (folder / LOCK).open("wb")
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def release(folder: Path, held: BinaryIO | None) -> None:
    """The run is over."""
    if held is not None:
        held.close()
    (folder / LOCK).unlink(missing_ok=True)


def is_alive(folder: Path) -> bool:
    """Whether the process that writes to this folder is still there."""
    path = folder / LOCK
    if not path.exists():
        return False
    if fcntl is None:
        try:
            path.unlink()
        except PermissionError:
            return True
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    return True


# --- Writing --------------------------------------------------------------------------


def write(files: Replacing, path: Path, text: str) -> None:
    """Write a text file, which takes its place with the others of `files`."""
    with files.open(path) as file:
        file.write(text.encode())


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""A table as CSV; numbers with all their digits.

    >>> table(["epoch", "loss"], [[1, 0.5], [2, None]])
    'epoch,loss\n1,0.5\n2,\n'
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


# --- Reading --------------------------------------------------------------------------


def read(folder: Path) -> dict[str, Any]:
    """What `run.json` holds."""
    path = folder / RUN
    if not path.exists():
        what = "is empty" if folder.is_dir() else "does not exist"
        if folder.is_dir() and any(folder.iterdir()):
            what = f"has no {RUN}"
        raise MissingFileError(f"runs.load: {folder} is not a run: it {what}.")
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise DamagedFileError(
            f"runs.load: {path} cannot be read ({type(error).__name__}); it was cut "
            "off or altered."
        ) from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DamagedFileError(
            f'runs.load: {path} is not a record of this version ("{FORMAT}").'
        )
    return facts


def read_table(path: Path) -> dict[str, list[float | None]]:
    """The columns of a table by name; nothing where there is no such file."""
    if not path.exists():
        return {}
    try:
        head, *rows = csv.reader(io.StringIO(path.read_text("utf-8")))
        columns = zip(*rows, strict=True) if rows else [()] * len(head)
        return {
            name: [float(cell) if cell else None for cell in column]
            for name, column in zip(head, columns, strict=True)
        }
    except (ValueError, OSError) as error:
        raise DamagedFileError(
            f"runs.load: {path} is not a table of numbers ({error})."
        ) from None


def read_text(path: Path) -> str | None:
    """A text file, None where there is none."""
    return path.read_text("utf-8") if path.exists() else None


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: what is not data becomes its name or its text.

    >>> plain({"loss": np.float32(0.5), "shape": (2, None)})
    {'loss': 0.5, 'shape': [2, None]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array {tuple(value.shape)} {value.dtype}"
    return getattr(value, "__name__", type(value).__name__)
