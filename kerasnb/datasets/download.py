"""Fetch a file once, check it, and keep it where Keras keeps it.

A file is written beside its final place under another name, checked, and renamed: what
is in the cache is whole, or what was there before. Archives are unpacked the same way.
"""

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import time
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path, PureWindowsPath
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from kerasnb.core.errors import check, message, readable_size
from kerasnb.core.settings import is_interactive_logging_enabled

_SILENCE = 30.0  # seconds without a byte before a download is given up
_CHUNK = 1 << 16
# Text packs to a hundredth at times; what packs better is a bomb.
_MAX_EXPANSION = 200
_BOMB_FLOOR = 1 << 28
_BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # zipfile's word for an encrypted member
)


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | list[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Return the path of a local copy of `origin`, downloading it when there is none.

    The copy is `<cache_dir>/<cache_subdir>/<fname>`; `cache_dir` is `$KERAS_HOME` or
    `~/.keras` unless given, so files that Keras downloaded are found. With `file_hash`
    (SHA-256, or MD5) the file is checked before it takes its place: a broken download
    never replaces a good file. With `extract` a tar or zip archive is unpacked and the
    path of the folder is returned; an archive with a member outside that folder is
    refused whole. `untar` and `md5_hash` are older names for `extract` and `file_hash`.

    Raises OSError when the file cannot be had, ValueError when its hash is wrong or the
    archive is broken.
    """
    if not origin:
        raise ValueError(message("get_file", "origin", origin, "the URL of a file"))
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    name = os.fspath(fname) if fname else unquote(Path(urlsplit(origin).path).name)
    archive, folder = name, None
    if extract or untar:
        archive, folder = _archive_names(name, given=bool(fname))
    path = cache_path(archive, cache_subdir, cache_dir)
    fresh = fetch(path, origin, file_hash, hash_algorithm, force_download)
    if folder is None:
        return str(path)
    target = path.with_name(folder)
    if (fresh or not target.exists()) and not unpack(
        path, target, "tar" if untar else archive_format
    ):
        warnings.warn(
            f"get_file: nothing was extracted, {path} is not an archive of the kind "
            f"{archive_format!r}.",
            stacklevel=2,
        )
    return str(target)


def cache_path(
    name: str,
    cache_subdir: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Where the cache keeps the file `name`, or will.

    A cache that can only be read is used for what it holds; anything else then goes to
    the system's folder for temporary files.
    """
    check(
        name not in ("", ".", "..") and not {"/", os.sep} & set(name),
        "get_file",
        "fname",
        name,
        "a file name; `cache_dir` and `cache_subdir` choose the folder",
    )
    home = Path(cache_dir or os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    folder = home / cache_subdir
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not (folder / name).exists() and not os.access(existing, os.W_OK):
        folder = Path(tempfile.gettempdir()) / ".keras" / cache_subdir
    return folder / name


def fetch(
    path: Path,
    origin: str,
    file_hash: str | None = None,
    algorithm: str = "auto",
    force: bool = False,
    instead: str = "",
) -> bool:
    """Make `path` a checked copy of `origin` and tell whether it was downloaded now.

    `instead` ends the error of a failed download: what can be used without a network.
    """
    if path.exists() and not force:
        if (
            file_hash is None
            or _hash_of(path, file_hash, algorithm) == file_hash.lower()
        ):
            return False
        _say(f"{path} does not have the expected hash; downloading it again.\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as part:
        try:
            with urlopen(origin, timeout=_SILENCE) as response, part.open("xb") as file:
                _copy(response, file, path.name)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OSError(
                f"Could not download {origin} ({_reason(error)}); try again with a "
                f"network, or put the file at {path} by hand{instead}."
            ) from error
        if file_hash is not None:
            found = _hash_of(part, file_hash, algorithm)
            if found != file_hash.lower():
                raise ValueError(
                    f"The download of {origin} has the hash {found} where {file_hash} "
                    "was expected, so it was thrown away; try again, and if it stays "
                    "so, the file has changed at its source: find the right one and "
                    f"put it at {path} by hand."
                )
        part.replace(path)
    return True


def unpack(
    path: Path, target: Path, archive_format: str | list[str] | None = "auto"
) -> bool:
    """Extract the archive `path` into the folder `target`, all of it or nothing.

    `archive_format` is `"tar"` (compressed or not), `"zip"`, a list of these, `"auto"`
    for both. Returns False when the file is none of them.
    """
    if archive_format == "auto":
        archive_format = ["tar", "zip"]
    formats = [archive_format] if isinstance(archive_format, str) else archive_format
    for kind in formats or ():
        check(
            kind in ("tar", "zip"),
            "get_file",
            "archive_format",
            kind,
            '"auto", "tar" or "zip"',
        )
        is_one = tarfile.is_tarfile if kind == "tar" else zipfile.is_zipfile
        if is_one(path):
            break
    else:
        return False
    with _beside(target) as part:
        try:
            _extract_tar(path, part) if kind == "tar" else _extract_zip(path, part)
        except _BROKEN_ARCHIVE as error:
            raise ValueError(
                f"{path} could not be extracted ({error}), so nothing of it was kept; "
                "delete the file to download it again."
            ) from error
        if target.exists():
            shutil.copytree(part, target, dirs_exist_ok=True)
        else:
            part.replace(target)
    return True


# --- Archives -------------------------------------------------------------------------


def _archive_names(name: str, given: bool) -> tuple[str, str]:
    """The names of the archive and of its folder, by Keras' rules."""
    if given and "." in name:
        return name, f"{name[: name.find('.')]}_extracted"
    return f"{name}_archive", name


def _extract_tar(path: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise tarfile.TarError("safe extraction needs Python 3.11.4 or newer")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        _refuse_outsiders([member.name for member in members])
        _refuse_bombs(path, [member.size for member in members])
        archive.extractall(folder, filter="data")  # also refuses links that lead out


def _extract_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        _refuse_outsiders(archive.namelist())
        _refuse_bombs(path, [info.file_size for info in archive.infolist()])
        archive.extractall(folder)


def _refuse_outsiders(names: list[str]) -> None:
    for name in names:
        inside = PureWindowsPath(name)  # knows both kinds of slash, and drives
        if inside.anchor or ".." in inside.parts:
            raise tarfile.TarError(f"its member {name!r} would be written outside")


def _refuse_bombs(path: Path, sizes: list[int]) -> None:
    held, claimed = path.stat().st_size, sum(sizes)
    if claimed > max(_BOMB_FLOOR, _MAX_EXPANSION * held):
        raise tarfile.TarError(
            f"it holds {readable_size(held)} and would take {readable_size(claimed)}"
        )


# --- Files ----------------------------------------------------------------------------


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An unused name in the folder of `path`; what is left under it is removed."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _hash_of(path: Path, file_hash: str, algorithm: str) -> str:
    check(
        algorithm in ("auto", "sha256", "md5"),
        "get_file",
        "hash_algorithm",
        algorithm,
        '"auto", "sha256" or "md5"',
    )
    if algorithm == "auto":
        algorithm = "sha256" if len(file_hash) == 64 else "md5"
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _copy(response: HTTPResponse, file: BinaryIO, name: str) -> None:
    total = int(response.headers.get("Content-Length") or 0)
    done, shown = 0, _Progress(name, total)
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        shown.update(done)
    if done < total:  # http.client lets a dropped connection look like the end
        raise OSError(f"the connection ended after {done} of {total} bytes")
    shown.end(done)


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        error.close()  # it is the open response as well
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    return (
        getattr(error, "strerror", None) or str(error) or type(error).__name__
    ).strip()


# --- Progress -------------------------------------------------------------------------


class _Progress:
    """How far a download is: one line that changes, or a line each quarter."""

    def __init__(self, name: str, total: int):
        self.name, self.total = name, total
        self.in_place = is_interactive_logging_enabled() and _rewrites_lines(sys.stderr)
        self.next_time, self.next_share = 0.0, 0.25

    def update(self, done: int) -> None:
        if self.in_place and time.monotonic() >= self.next_time:
            self.next_time = time.monotonic() + 0.1
            _say(f"\r{self._line(done)}")
        elif not self.in_place and self.next_share * self.total <= done < self.total:
            self.next_share = done / self.total + 0.25
            _say(f"{self._line(done)}\n")

    def end(self, done: int) -> None:
        _say(("\r" if self.in_place else "") + f"{self._line(done)}\n")

    def _line(self, done: int) -> str:
        of = f" of {self.total / 1e6:.1f}" if self.total else ""
        return f"{self.name}: {done / 1e6:.1f}{of} MB"


def _rewrites_lines(stream: object) -> bool:
    # A notebook's stream honours a carriage return but does not call itself a terminal.
    in_notebook = type(stream).__module__.startswith("ipykernel")
    return in_notebook or bool(getattr(stream, "isatty", lambda: False)())


def _say(text: str) -> None:
    if sys.stderr is not None:  # None where a program has no console
        sys.stderr.write(text)
        sys.stderr.flush()
