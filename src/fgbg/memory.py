"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes


def give_back_memory() -> None:
    """Have glibc give back what it keeps of freed memory, in the stores of all threads; another C library is left alone.

    Each thread has a store of its own there, which keeps what its largest photo took. Costs some milliseconds.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc; Windows has no library of that kind
        return
    trim(0)
