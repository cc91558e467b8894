"""How much memory is free where new arrays go, asked before something large is made.

XLA does not raise when the machine has no room for an array on the CPU: it ends the
process, and with it a notebook's kernel.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from kerasnb.core.errors import readable_size

# Anything smaller is made without asking.
_LARGE = 1 << 28


def check_fits(what: str, shape: Sequence[int], itemsize: int) -> None:
    """Raise a ValueError when an array cannot fit into the memory that is free.

    >>> check_fits("the kernel", (10**8, 10**8), itemsize=4)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the kernel would take 35.53 PB, and ... free. Make the layer, or ...
    """
    size = itemsize * math.prod(map(int, shape))
    if size < _LARGE:
        return
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    named = default is None or isinstance(default, str)
    device = jax.local_devices(backend=default)[0] if named else default
    free = free_memory(device)
    if free is not None and size > free:
        where = "this machine" if device.platform == "cpu" else f"the {device}"
        raise ValueError(
            f"{what} would take {readable_size(size)}, and {where} has "
            f"{readable_size(free)} free. Make the layer, or what it gets, smaller."
        )


def free_memory(device: Any) -> int | None:
    """The bytes that are free on a device; None where nobody can say.

    Of the CPU they are what the system can give, and what the control group of the
    process (a container's limit) leaves of that.
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
    return max(min([*free, *_left_to_groups()]), 0)


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
