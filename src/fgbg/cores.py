"""How many cores there are to work with."""

from __future__ import annotations

import os

CORES_VARIABLE = "FGBG_CORES"
"""The environment may leave this process fewer cores than the machine has, where others work beside it."""


def count_cores() -> int:
    """How many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left = os.environ.get(CORES_VARIABLE, "")
    return max(1, min(cores, int(left))) if left.isdecimal() else cores
