"""How much memory is free where new arrays go, asked before something large is made.

XLA does not raise when the machine has no room for an array on the CPU: it ends the
process, and with it a notebook's kernel.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from kerasnb.core.errors import readable_size

# How much may be made between two looks, and stays free for everything else.
_SPARE = 1 << 28
# A device is waited for before something else is made beside an array of this size:
# what it has yet to compute is not counted as used.
AWAITED = 1 << 24
_SMALLER = "Make the layer, or what it gets, smaller, or delete models you do not need."

_unseen = 0  # bytes made since the last look


def check_fits(what: str, size: int, scratch: int = 0, remedy: str = _SMALLER) -> None:
    """Raise a ValueError when so many bytes cannot fit into the memory that is free.

    `scratch` are the bytes that are needed beside them while they are made. What is
    small is added up, and looked at now and then.

    >>> check_fits("the kernel", 4 * 10**16)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the kernel would take 35.53 PB, and ... free. Make the layer, or ...
    """
    global _unseen
    most = size + scratch
    _unseen += most
    if _unseen < _SPARE:
        return
    _unseen = 0
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    named = default is None or isinstance(default, str)
    device = jax.local_devices(backend=default)[0] if named else default
    free = free_memory(device)
    if free is None or most + _SPARE <= free:
        return
    takes = readable_size(size)
    if size <= free:
        takes += f" and, while it is made, {readable_size(most + _SPARE)}"
    where = "this machine" if device.platform == "cpu" else f"the {device}"
    raise ValueError(
        f"{what} would take {takes}, and {where} has {readable_size(free)} free. "
        f"{remedy}"
    )


def free_memory(device: Any) -> int | None:
    """The bytes that are free on a device; None where nobody can say.

    Of the CPU they are what the system can give, and what the control group of the
    process (a container's limit) and its own limit (`ulimit -v`) leave of that.
    """
    if stats := device.memory_stats():
        limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use", 0)
        return None if limit is None else max(limit - used, 0)
    if device.platform != "cpu":
        return None
    found = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" in found:
        free = [1024 * (found["MemAvailable"] + found.get("SwapFree", 0))]
    elif {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= getattr(os, "sysconf_names", {}).keys():
        free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    else:
        return None
    return max(min([*free, *_left_to_groups(), *_left_to_process()]), 0)


def _left_to_process() -> Iterator[int]:
    """What the limit of its addresses leaves to the process."""
    for line in _text(Path("/proc/self/limits")).splitlines():
        if line.startswith("Max address space") and (most := line.split()[3]).isdigit():
            used = _numbers(Path("/proc/self/status")).get("VmSize", 0)
            yield int(most) - 1024 * used


def _left_to_groups(root: Path = Path("/")) -> Iterator[int]:
    """What each control group around the process leaves to it."""
    groups = _text(root / "proc/self/cgroup").splitlines()
    for kinds, path in (line.split(":", 2)[1:] for line in groups):
        if kinds not in ("", "memory"):
            continue
        limit, used = _LIMITS[kinds]
        top = root / "sys/fs/cgroup" / kinds
        inner = top / path.strip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(top):
                break
            most, now = _text(folder / limit), _text(folder / used)
            if most.isdigit() and now.isdigit():
                cached = _numbers(folder / "memory.stat").get("inactive_file", 0)
                yield int(most) - int(now) + cached


_LIMITS = {
    "": ("memory.max", "memory.current"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _numbers(path: Path) -> dict[str, int]:
    """The lines `name: 12 kB` of a file of the system."""
    words = (line.replace(":", "").split() for line in _text(path).splitlines())
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
