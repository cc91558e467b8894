"""Keep large buffers in the process between two calls of a compiled program.

On Linux, glibc hands every large buffer back to the kernel when it is freed. A training
step on the CPU frees its temporary arrays at its end and asks for the same ones at the
next, and the page faults in between can cost a quarter of the time (measured on a small
convolutional network). Told to keep them, the process is faster and 20 to 30% larger.

It would grow on, though: where the data of a fit has been, something small comes to
lie that stays, and the data of the next fit finds no room there. What lies idle is
therefore handed back between two fits, when it has become more.
"""

import ctypes
import functools
import os
import platform

import jax

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MORE = 32 * 2**20  # bytes; less is left to the next fit
_idle = 0  # bytes that were found idle, and left or handed back


class _Heap(ctypes.Structure):
    """What glibc's `mallinfo2` tells: `uordblks` bytes are used, `fordblks` idle."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks"),
            *("fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


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


def give_back() -> bool:
    """Hand idle memory back if it has grown by a quarter of what is in use, and 32 MB.

    What was handed back counts as idle on: where as much lies idle as before, nothing
    is done, for it is what each fit needs anew. Returns whether there was more.
    """
    global _idle
    if not keep_buffers():
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # before glibc 2.33
        return False
    libc.mallinfo2.restype = _Heap
    heap = libc.mallinfo2()
    before, _idle = _idle, heap.fordblks
    if _idle - before < max(_MORE, heap.uordblks // 4):
        _idle = min(before, _idle)
        return False
    libc.malloc_trim(0)
    return True
