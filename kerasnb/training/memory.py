"""Keep large buffers in the process between two calls of a compiled program.

On Linux, glibc hands every large buffer back to the kernel when it is freed. A training
step on the CPU frees its temporary arrays at its end and asks for the same ones at the
next, and the page faults in between can cost a quarter of the time (measured on a small
convolutional network). Told to keep them, the process is faster and 20 to 30% larger.
"""

import ctypes
import functools
import os
import platform

import jax

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


@functools.cache
def keep_buffers() -> bool:
    """Tell glibc to keep freed memory; only where it helps, and only once.

    `KERASNB_KEEP_MEMORY=0` in the environment switches this off. Returns whether the
    setting was made.
    """
    if os.environ.get("KERASNB_KEEP_MEMORY", "1") == "0":
        return False
    if platform.libc_ver()[0] != "glibc" or jax.default_backend() != "cpu":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: a buffer freed by one thread is then of use to the others.
    settings = {
        _M_MMAP_THRESHOLD: 1 << 30,
        _M_TRIM_THRESHOLD: 2**31 - 1,
        _M_ARENA_MAX: 1,
    }
    return all(mallopt(name, value) for name, value in settings.items())
