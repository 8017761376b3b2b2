"""Number of cores available to this process."""

from __future__ import annotations

import os

CORES_VARIABLE = "FGBG_CORES"
"""Environment variable that caps the cores this process uses, for when other work shares the machine."""


def count_cores() -> int:
    """How many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left = os.environ.get(CORES_VARIABLE, "")
    return max(1, min(cores, int(left))) if left.isdecimal() else cores
