"""Memory that was freed: given back to the system, or kept for the next step of a training."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

# Of glibc's mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3

_KEPT = 1 << 30  # bytes: a tensor beyond that is given back as ever
_NEVER = -1
_GLIBC_MOST = 32 << 20  # where glibc's own rule, which follows what a program frees, ends on 64 bits


def give_back_memory() -> None:
    """Have glibc give back what it keeps of freed memory, in the stores of all threads; another C library is left alone.

    Each thread has a store of its own there, which keeps what its largest photo took. Costs some milliseconds.
    """
    libc = _open_glibc()
    if libc:
        libc.malloc_trim(0)


@contextlib.contextmanager
def keeping_memory() -> Iterator[None]:
    """Within it, freed memory stays with the process; at the end it goes back. Another C library than glibc is left alone.

    Each step of a training on a processor frees the tensors that the next one asks for again. glibc gives those above 32 MB
    back at once, and the system then hands out the same pages again, one fault and one clearing each.
    """
    libc = _open_glibc()
    if not libc:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _KEPT)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)  # a step's tensors together are far more than any of them
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
    except (OSError, TypeError):  # Windows has no library of that kind
        return None
