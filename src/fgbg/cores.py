"""Number of cores available to this process."""

from __future__ import annotations

import os

from fgbg.errors import UserError

CORES_VARIABLE = "FGBG_CORES"
"""Environment variable that caps the cores this process uses, for when other work shares the machine."""


def count_cores() -> int:
    """How many cores this process may use.

    Raises:
        UserError: FGBG_CORES is not a whole number of 1 or more.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left = os.environ.get(CORES_VARIABLE, "").strip()
    if not left:
        return cores
    if not left.isdecimal() or int(left) == 0:
        raise UserError(f"{CORES_VARIABLE}={left} is not a number of cores: set it to 1 or more, or unset it")
    return min(cores, int(left))
