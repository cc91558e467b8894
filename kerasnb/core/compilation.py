"""Compiled programs kept on disk, so that a restarted notebook compiles nothing.

The cache is JAX's own, switched on when the first layer is made, in a folder of the
user. Who told JAX about a cache, in Python or by the environment, keeps that one. Files
are written whole or not at all, and the ones not used for longest go when all of them
take more than `max_size`. Programs of other processors and of other versions of JAX lie
in folders of their own: XLA would load them and fail.
"""

import contextlib
import hashlib
import importlib
import os
import platform
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from kerasnb.core.errors import check

VARIABLE = "KERASNB_COMPILATION_CACHE"
OFF = ("", "0", "off", "false", "none")
_LEFT = 0.8  # the part of the limit that is left when files go

_JAX: Any = jax.config
_lock = threading.Lock()
_begun = False
_wanted: Any = None  # True, False or a path, once somebody said so
_max_size = 1 << 30
_ours: Path | None = None  # the folder that JAX was told of by this file


def compilation_cache(
    path: str | os.PathLike[str] | bool | None = None, max_size: int | None = None
) -> Path | None:
    """Where compiled programs are kept for the next process; given a path, sets it.

    True stands for the folder of the user, where they are kept unless told otherwise,
    and False for nowhere. `max_size` is in bytes, 1 GiB at first. Returns the folder,
    None for none. The environment variable `KERASNB_COMPILATION_CACHE` holds a path or
    `off` until this is called; a cache that JAX was told of is left alone until then.

    >>> from kerasnb import config
    >>> folder = config.compilation_cache()
    """
    global _wanted, _max_size
    if max_size is not None:
        good = isinstance(max_size, int) and max_size > 0
        check(good, "compilation_cache", "max_size", max_size, "a number of bytes")
        _max_size = max_size
    if path is not None:
        good = isinstance(path, bool) or (
            isinstance(path, str | os.PathLike) and bool(os.fspath(path))
        )
        check(good, "compilation_cache", "path", path, "a folder, True or False")
        _wanted = path if isinstance(path, bool) else Path(path).absolute()
        _switch()
    elif not _begun and _told_to_jax() is None:
        return _folder()
    return _told_to_jax()


def compilation_cache_size() -> int:
    """How many bytes the kept programs take."""
    folder = compilation_cache()
    return sum(size for _, size, _ in _files(folder)) if folder else 0


def begin() -> None:
    """Switch the cache on, once, before anything is compiled."""
    if not _begun:
        with _lock:
            if not _begun and _told_to_jax() is None:
                _switch()
            _done()


def _done() -> None:
    global _begun
    _begun = True


def _told_to_jax() -> Path | None:
    told = _JAX.jax_compilation_cache_dir
    return Path(told) if told and _JAX.jax_enable_compilation_cache else None


def _switch() -> None:
    """Tell JAX."""
    global _ours
    folder = _folder()
    if folder is not None and not _is_good(folder):
        folder = None
    _done()
    if folder is None and _ours is None and _wanted is None:
        return
    _ours = folder
    jax.config.update("jax_compilation_cache_dir", folder and str(folder))
    # What was compiled before has settled for JAX that there is no cache.
    reset_cache()
    if folder is None:
        return
    # Small programs too: a notebook has dozens, each a hundredth of a second or more.
    if _JAX.jax_persistent_cache_min_compile_time_secs == 1.0:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    write_whole_files(folder)


def write_whole_files(folder: Path) -> None:
    """Let JAX keep programs in its folder as `Files` do, until it is told of another.

    It would write in place, and limit sizes only with a package that may be missing.
    """
    with contextlib.suppress(ImportError, AttributeError):
        cache: Any = importlib.import_module("jax._src.compilation_cache")
        with cache._cache_initialized_mutex:
            if cache._cache is None and not cache._cache_initialized:
                cache._cache, cache._cache_initialized = Files(folder), True


def _folder() -> Path | None:
    """The folder of this processor and version of JAX, None if nothing is kept."""
    wanted = _wanted
    if wanted is None:
        told = os.environ.get(VARIABLE)
        wanted = True if told is None else told.lower() not in OFF and Path(told)
    if wanted is False:
        return None
    base = _of_the_user() if wanted is True else wanted.absolute()
    return base and base / f"jaxlib-{jaxlib.__version__}-{_processor()}"


def _of_the_user() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        told = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = told if told.is_absolute() else home / ".cache"
    return base / "kerasnb" / "compiled"


def _processor() -> str:
    """A name for what the processor can do."""
    words = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kinds = ("flags", "Features", "model name")
        words += sorted({line for line in lines if line.startswith(kinds)})
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _is_good(folder: Path) -> bool:
    """Make the folder; whether it can be written to, and by nobody else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who writes there runs code here.
        mine = sys.platform == "win32" or folder.stat().st_uid == os.getuid()
        return mine and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        return False


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """When each file was used last, its size and its path."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith("-cache"):
                    facts = entry.stat()
                    found.append((facts.st_mtime, facts.st_size, Path(entry.path)))
    return found


class Files:
    """Programs as files in a folder, as JAX wants to get and put them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self._size: int | None = None
        self._full = False

    def get(self, key: str) -> bytes | None:
        """The program that was put under this key."""
        path = self._path / f"{key}-cache"
        try:
            data = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # It was used: others go first.
        return data

    def put(self, key: str, value: bytes) -> None:
        """Keep a program; a disk that takes no more is nobody's trouble."""
        if self._full:
            return
        path = self._path / f"{key}-cache"
        new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            new.write_bytes(value)
            new.replace(path)
        except OSError:
            self._full = True
            with contextlib.suppress(OSError):
                new.unlink()
            return
        if self._size is None:
            self._size = sum(size for _, size, _ in _files(self._path))
        else:
            self._size += len(value)
        if self._size > _max_size:
            self._size = self._forget()

    def _forget(self) -> int:
        """Delete what was not used for longest; the bytes that are left."""
        files = sorted(_files(self._path))
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= _LEFT * _max_size:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            left -= size
        return left
