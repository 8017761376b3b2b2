"""Freed memory: return it to the system, or keep it for the next training step."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3

_KEPT = 1 << 30  # bytes: a larger tensor is still returned when freed
_NEVER = -1
_GLIBC_MOST = 32 << 20  # upper limit of glibc's own dynamic threshold on 64 bits


def give_back_memory() -> None:
    """Make glibc return freed memory to the system, from the arenas of all threads; no effect on other C libraries.

    Each thread has its own arena, which keeps what its largest photo took. Takes some milliseconds.
    """
    libc = _open_glibc()
    if libc:
        libc.malloc_trim(0)


@contextlib.contextmanager
def keeping_memory() -> Iterator[None]:
    """Context in which freed memory stays with the process; it is returned at the end. No effect on other C libraries.

    Each training step on a CPU frees tensors that the next one allocates again. glibc returns those above 32 MB to the
    system at once, which then hands out the same pages again, at the cost of a page fault and a clearing each.
    """
    libc = _open_glibc()
    if not libc:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _KEPT)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)  # a step's tensors together take far more than any one
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _GLIBC_MOST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _GLIBC_MOST)
        libc.malloc_trim(0)


def _open_glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):  # Windows has no such library
        return None
