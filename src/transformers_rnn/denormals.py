"""Denormal numbers: on most CPUs 10 to 60 times slower than others, and what vanishing gradients turn into.

A gradient from the last output fades on its way back through the steps until it is denormal (below 1.2e-38), where it
costs most and says nothing. So while a model trains on a CPU, every thread treats such numbers as zero. torch's own
`set_flush_denormal` reaches the calling thread only: the workers of a running thread pool keep their old setting.
Here the OpenMP runtime that torch runs on is asked to call C's `fesetenv` on each of them.
"""

import ctypes
import platform
import threading
from pathlib import Path

import torch
from transformers.utils import logging

logger = logging.get_logger(__name__)

_FLUSH = 0x8040  # MXCSR: flush-to-zero, denormals-are-zero
_MXCSR = slice(28, 32)  # where the x86-64 C library keeps it in a floating-point environment
_ENVIRONMENT = ctypes.c_ubyte * 64

_thread = threading.local()  # .before: the environment to go back to, while denormals are flushed


def flush_denormals() -> None:
    """Treat denormal numbers as zero on the calling thread and on its OpenMP workers, until `restore_denormals`.

    Does nothing where it is in force already. Where the workers cannot be reached it sets the calling thread, and
    warns once if that is not enough, with the remedy.
    """
    if torch.compiler.is_compiling() or getattr(_thread, "before", None) is not None:
        return
    runtime = _openmp_runtime()
    if runtime is None:
        torch.set_flush_denormal(True)
        _thread.before = False
    else:
        _thread.before = _current_environment()
        _set_everywhere(runtime, _flushing(_thread.before))
    if not denormals_are_flushed():
        logger.warning_once(
            "Training on this CPU may be up to 10 times slower than need be: vanishing gradients become denormal "
            "numbers, and the worker threads of torch cannot be told to treat them as zero. Remedy: call "
            "torch.set_flush_denormal(True) before anything else that uses torch in this process."
        )


def restore_denormals() -> None:
    """Undo `flush_denormals`: every thread gets back the setting that the calling thread had before."""
    before = getattr(_thread, "before", None)
    if before is None:
        return
    _thread.before = None
    runtime = _openmp_runtime()
    if before is False or runtime is None:
        torch.set_flush_denormal(False)
    else:
        _set_everywhere(runtime, before)


def denormals_are_flushed() -> bool:
    """Whether all threads of torch treat denormal numbers as zero, found out by making some on each."""
    tiny = torch.full((torch.get_num_threads() * 65_536,), 1e-30)
    return not bool((tiny * 1e-10).any())


def _openmp_runtime() -> ctypes.CDLL | None:
    """The OpenMP runtime that torch has loaded, if it is one that can be asked (GNU's, or LLVM's in its place)."""
    if not hasattr(_openmp_runtime, "found"):
        _openmp_runtime.found = _find_runtime()  # type: ignore[attr-defined]
    return _openmp_runtime.found  # type: ignore[attr-defined, no-any-return]


def _find_runtime() -> ctypes.CDLL | None:
    maps = Path("/proc/self/maps")
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc" or not maps.exists():
        return None
    loaded = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines() if "omp" in line}
    # Other libraries bring OpenMP runtimes of their own: torch's lies below torch.
    home = str(Path(torch.__file__).parent.parent)
    ours = sorted(path for path in loaded if path.startswith(f"{home}/torch") and Path(path).name.startswith("lib"))
    for path in ours:
        library = ctypes.CDLL(path)
        if hasattr(library, "GOMP_parallel"):
            return library
    return None


def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("libm.so.6")


def _current_environment() -> "ctypes.Array[ctypes.c_ubyte]":
    environment = _ENVIRONMENT()
    _c_library().fegetenv(environment)
    return environment


def _flushing(environment: "ctypes.Array[ctypes.c_ubyte]") -> "ctypes.Array[ctypes.c_ubyte]":
    flushing = _ENVIRONMENT.from_buffer_copy(environment)
    control = int.from_bytes(bytes(flushing[_MXCSR]), "little") | _FLUSH
    flushing[_MXCSR] = list(control.to_bytes(4, "little"))
    return flushing


def _set_everywhere(runtime: ctypes.CDLL, environment: "ctypes.Array[ctypes.c_ubyte]") -> None:
    """Run fesetenv(environment) once on every thread of a parallel region; the caller is one of them."""
    function = ctypes.cast(_c_library().fesetenv, ctypes.c_void_p)
    runtime.GOMP_parallel(function, environment, torch.get_num_threads(), 0)
