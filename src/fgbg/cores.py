"""Number of cores available to this process."""

from __future__ import annotations

import os
import sys

CORES_VARIABLE = "FGBG_CORES"
"""Environment variable that caps the cores this process uses, for when other work shares the machine."""


def count_cores() -> int:
    """How many cores this process may use.

    Raises:
        SystemExit: With status 2, like an invalid flag: the environment does not say how many in a whole number.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left = os.environ.get(CORES_VARIABLE, "").strip()
    if not left:
        return cores
    if not left.isdecimal() or int(left) == 0:
        print(f"fgbg: {CORES_VARIABLE}={left} is not a number of cores: set it to 1 or more, or unset it", file=sys.stderr)
        raise SystemExit(2)
    return min(cores, int(left))
