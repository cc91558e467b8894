"""Files that are never left half written, and never trusted when they are read.

Writing goes to new files beside the final ones, which take their places when all is on
disk. Whatever happens before, the old file stays as it was. A process that is killed
leaves its new file behind; the next one to write in that folder removes it. How it
knows: whoever writes holds a lock on the file, which dies with the process.
"""

import contextlib
import errno
import io
import json
import math
import os
import secrets
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from kerasnb.core.errors import readable_size, show
from kerasnb.core.registry import code_is_allowed

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that is open
    fcntl = None  # type: ignore[assignment]


class MissingFileError(FileNotFoundError, ValueError):
    """There is no such file; a ValueError as well, which Keras raises here."""


class DamagedFileError(OSError, ValueError):
    """The file cannot be what its name says: cut off, altered, or something else."""


# --- Writing --------------------------------------------------------------------------


class Replacing:
    """Files written together: all of them take their places at the end, or none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Replacing("notes") as files:
    ...     path = Path(folder, "a.txt")
    ...     with files.open(path) as file:
    ...         _ = file.write(b"hello")
    ...     path.exists()
    False
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self._waiting: list[tuple[Path, Path]] = []
        self._locks: list[int] = []

    def open(self, path: str | Path) -> BinaryIO:
        """A new file, to be written and closed, that will take the place of `path`."""
        return os.fdopen(self._create(path), "w+b")

    def draft(self, path: str | Path) -> Path:
        """The path of a new empty file, as `open` makes it, for code that wants one."""
        os.close(self._create(path))
        return self._waiting[-1][0]

    def _create(self, path: str | Path) -> int:
        target = Path(os.path.realpath(path))  # through a link, to what it points at
        with explaining(self.who, target):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if not target.parent.is_dir():
                raise FileNotFoundError(
                    errno.ENOENT, f"there is no folder {target.parent}"
                )
            if target.exists() and not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, "the file is write-protected")
            sweep(target.parent)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o666
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
            while True:
                # The ending says what is in it, so it stays.
                name = f"{_DRAFT}{secrets.token_hex(4)}-{target.name}"
                temporary = target.with_name(name)
                handle = os.open(temporary, flags, mode)
                lock = _lock(handle)
                if lock is None or os.fstat(handle).st_nlink:
                    break
                os.close(lock)  # Somebody swept it away before it was locked.
                os.close(handle)
            self._waiting.append((temporary, target))
            if lock is not None:
                self._locks.append(lock)
            return handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                for temporary, target in self._waiting:
                    with explaining(self.who, target):
                        _sync(temporary)
                for temporary, target in self._waiting:
                    with explaining(self.who, target):
                        temporary.replace(target)
                        _sync(target.parent)
            elif isinstance(error, OSError) and self._waiting:
                with explaining(self.who, self._waiting[-1][1]):
                    raise error
        finally:
            for temporary, _ in self._waiting:
                temporary.unlink(missing_ok=True)
            while self._locks:
                os.close(self._locks.pop())


@contextmanager
def explaining(who: str, target: Path) -> Iterator[None]:
    """Raise an operating system's error as a sentence about `target`."""
    try:
        yield
    except OSError as error:
        if getattr(error, "explained", False):
            raise
        reason = error.strerror or str(error)
        kept = "; the file that was there is unchanged" if target.is_file() else ""
        hint = _HINTS.get(error.errno or 0, "")
        explained = type(error)(
            f"{who}: cannot write {target}: {_lower(reason)}{kept}.{hint}"
        )
        explained.errno = error.errno
        explained.explained = True  # type: ignore[attr-defined]
        raise explained from error


def make_folder(who: str, folder: Path) -> None:
    """Make a folder, and those it is in, unless it is there."""
    with explaining(who, folder):
        folder.mkdir(parents=True, exist_ok=True)


_DRAFT = ".kerasnb-"


def _lock(handle: int) -> int | None:
    """Lock an open file until what is returned is closed; None where that cannot be."""
    if fcntl is None:
        return None
    with contextlib.suppress(OSError):  # some network folders know no locks
        fcntl.flock(handle, fcntl.LOCK_EX)  # waits while somebody sweeps
        return os.dup(handle)
    return None


def sweep(folder: Path) -> None:
    """Remove the new files that killed processes left behind in a folder.

    Those of processes that live, here or on another machine, stay.
    """
    for path in folder.glob(f"{_DRAFT}????????-*"):
        with contextlib.suppress(OSError):
            if fcntl is None:
                path.unlink()
                continue
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


_HINTS = {
    errno.ENOSPC: " Make room on the disk or save to another one.",
    errno.EDQUOT: " Make room on the disk or save to another one.",
    errno.EACCES: " Save to a folder that you may write to.",
    errno.EROFS: " Save to a folder that you may write to.",
    errno.ENOENT: " Create the folder first, with pathlib.Path(...).mkdir().",
}


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle for a folder.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network folders cannot do this; the data is as safe as they make it.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def may_write(who: str, path: str | Path, overwrite: bool) -> bool:
    """Whether to go on when `path` may exist and `overwrite` is False.

    At a terminal the user is asked; elsewhere an existing file is an error.
    """
    if overwrite or not Path(path).exists():
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise FileExistsError(
            f"{who}: {path} exists already; choose another name or pass overwrite=True."
        )
    while (answer := input(f"{path} exists already. Overwrite it? [y/n] ")) not in _YES:
        if answer.strip().lower() in ("n", "no"):
            return False
    return True


_YES = ("y", "Y", "yes", "Yes")


def _lower(sentence: str) -> str:
    sentence = sentence.rstrip(".")
    return sentence[:1].lower() + sentence[1:]


# --- Reading --------------------------------------------------------------------------

# What reading a file may unfold to: Keras writes its members uncompressed.
FLOOR = 48 << 20
EXPANSION = 4
_MEMBERS = 10_000
_ITEMS = 1_000_000


def may_unfold_to(held: int) -> float:
    """How many bytes a file that holds `held` bytes may claim to be."""
    return math.inf if code_is_allowed() else FLOOR + EXPANSION * held


def read_json(who: str, label: str, text: bytes | str) -> Any:
    """What a JSON text from anywhere says; a DamagedFileError names it by `label`.

    >>> read_json("load", "config.json", b'{"a": 1}')
    {'a': 1}
    """
    text = text.encode("utf-8", "replace") if isinstance(text, str) else text
    items = sum(text.count(mark) for mark in (b"[", b"{", b","))
    if items > _ITEMS + len(text) // 8 and not code_is_allowed():
        reason = f"it lists {items:,} items"  # each takes many times its own length
    else:
        try:
            return json.loads(text, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            reason = str(error).removesuffix(".")
    raise DamagedFileError(f"{who}: {label} is not JSON that can be read ({reason}).")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        name = next(k for k, n in Counter(k for k, _ in pairs).items() if n > 1)
        raise ValueError(f"it says {show(name)} twice in one place")
    return made


def require_file(who: str, path: str | Path) -> Path:
    """The path of a file that exists, or an error that says what there is instead."""
    path = Path(path)
    if not path.exists():
        near = (
            [p.name for p in path.parent.glob(f"*{path.suffix}")]
            if _named(path)
            else []
        )
        hint = f" The folder has {', '.join(sorted(near)[:5])}." if near else ""
        raise MissingFileError(f"{who}: there is no file {path}.{hint}")
    if path.is_dir():
        raise DamagedFileError(f"{who}: {path} is a folder, not a file.")
    return path


def _named(path: Path) -> bool:
    return path.parent.is_dir() and bool(path.suffix)


def is_file_name(name: Any) -> bool:
    """Whether something in a file is the name of a file in the same folder.

    >>> is_file_name("m_0.weights.h5"), is_file_name("../m_0.weights.h5")
    (True, False)
    """
    plain = isinstance(name, str) and Path(name).name == name
    return plain and name.isprintable() and len(name) < 256 and not set(name) & {*"\\:"}


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder and in those inside it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def require_beside(who: str, path: Path, main: Path) -> Path:
    """The path of a file that belongs to `main`, or an error when a link leads away.

    Where `main` is a link itself, as in caches of downloads, others may be as well.
    """
    path = require_file(who, path)
    if path.resolve().parent not in (main.parent.resolve(), main.resolve().parent):
        raise DamagedFileError(
            f"{who}: {path} is not opened: it is a link to a file in another folder."
        )
    return path


class Archive:
    """A zip file from anywhere: its members are checked before they are unpacked."""

    def __init__(self, who: str, file: str | Path | BinaryIO) -> None:
        self.who = who
        self.label = str(file) if isinstance(file, str | Path) else "the file"
        with self.explaining():
            self.zip = zipfile.ZipFile(file)
        try:
            self._check()
        except DamagedFileError:
            self.zip.close()
            raise

    def _check(self) -> None:
        members = self.zip.infolist()
        if len(members) > _MEMBERS:
            self.refuse(f"it lists {len(members):,} members")
        stream: Any = self.zip.fp
        self.held: int = stream.seek(0, io.SEEK_END)
        seen: set[str] = set()
        end, claimed = 0, 0
        for info in sorted(members, key=lambda info: info.header_offset):
            self._check_name(info, seen)
            if info.header_offset < end:
                self.refuse(f"its member {show(info.filename)} overlaps another one")
            end = info.header_offset + info.compress_size
            claimed += info.file_size
        if claimed > may_unfold_to(self.held):
            self.refuse(
                f"it claims {readable_size(claimed)} and holds "
                f"{readable_size(self.held)}, as a decompression bomb would"
            )

    def _check_name(self, info: zipfile.ZipInfo, seen: set[str]) -> None:
        name = info.filename
        path = PurePosixPath(name)
        strange = (
            path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
        )
        if strange or "\0" in name:
            self.refuse(f"its member {show(name)} points outside of it")
        if (info.external_attr >> 28) == 0xA:
            self.refuse(f"its member {show(name)} is a link")
        if name in seen:
            self.refuse(f"it holds {show(name)} twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self.refuse(f"its member {show(name)} is packed in an unusual way")
        seen.add(name)

    def refuse(self, reason: str) -> None:
        """Raise the error of a file that is not opened, for a reason."""
        raise DamagedFileError(f"{self.who}: {self.label} is not opened: {reason}.")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise what a broken zip file causes as one sentence."""
        try:
            yield
        except (DamagedFileError, FileNotFoundError, PermissionError):
            raise
        except _ZIP_ERRORS as error:
            raise DamagedFileError(
                f"{self.who}: {self.label} is not a whole `.keras` file "
                f"({_lower(str(error)) or type(error).__name__}); it was cut off or "
                "altered. Save it or copy it again."
            ) from error

    def names(self) -> list[str]:
        """The names of the members, folders left out."""
        return [name for name in self.zip.namelist() if not name.endswith("/")]

    def read(self, name: str) -> bytes:
        """The content of a member."""
        if name not in self.zip.namelist():
            self.refuse(
                f"it lacks {name}, which every `.keras` file has; it holds "
                f"{', '.join(map(show, self.names()[:6])) or 'nothing'}"
            )
        with self.explaining():
            return self.zip.read(name)

    def open(self, name: str) -> BinaryIO:
        """A member as a file that can be searched, in place where it is not packed."""
        if name not in self.zip.namelist() or self.zip.getinfo(name).compress_type:
            return io.BytesIO(self.read(name))
        with self.explaining(), self.zip.open(name) as member:
            while member.read(1 << 20):
                pass  # to the end, where its checksum is looked at
        info, stream = self.zip.getinfo(name), cast(BinaryIO, self.zip.fp)
        stream.seek(info.header_offset + _NAME_AT)
        lengths = stream.read(4)  # of the name and of extra facts, before the content
        skip = sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
        start = info.header_offset + _NAME_AT + len(lengths) + skip
        return cast(BinaryIO, _Part(stream, start, info.file_size))

    def close(self) -> None:
        """Close the file."""
        self.zip.close()


_NAME_AT = 26  # where the head of a member tells how long its name is


class _Part(io.RawIOBase):
    """Some bytes of an open file, as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.size, self.at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.at = max(base + offset, 0)
        return self.at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self.file.seek(self.start + self.at)
        count = self.file.readinto(view[: max(self.size - self.at, 0)])  # type: ignore[attr-defined]
        self.at += count
        return count


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member, an unknown way of compressing
    NotImplementedError,
    ValueError,
    OverflowError,
)
