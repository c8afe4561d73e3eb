"""Freed memory: kept for the next batch while a model trains on a CPU, where the C library can be told to.

The GNU C library maps every block above 32 MB anew and hands it back when it is freed, so that the system has to zero
each of its pages at each batch. A batch of long sequences has a dozen of such blocks, and up to half of its time goes
there.
"""

import ctypes
import platform
from functools import cache

import torch

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_LARGEST = 32 << 20  # what the library's own rule ends at, as soon as a block of this size has been freed

_state = {"kept": False}


def keep_freed_memory() -> None:
    """Keep freed memory in the process until `return_freed_memory`; does nothing with other C libraries."""
    if torch.compiler.is_compiling() or _state["kept"]:
        return
    library = _gnu_library()
    if library is None:
        return
    _state["kept"] = True
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)


def return_freed_memory() -> None:
    """Hand free memory back to the system, as the library does by itself from now on."""
    library = _gnu_library() if _state["kept"] else None
    if library is None:
        return
    _state["kept"] = False
    library.mallopt(_MMAP_MAX, 65_536)
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
    library.malloc_trim(0)


@cache  # without it, every step on another system would read the whole interpreter to find out
def _gnu_library() -> ctypes.CDLL | None:
    """The GNU C library, if this process runs on it."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
