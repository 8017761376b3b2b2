"""Intervals of slices of one size, drawn together, against the same intervals one by one.

    python benchmarks/bm_slices.py [--photos 7390] [--slices 24] [--rounds 3]

A report cuts a set into thirds by eight traits: 24 slices, each with a bootstrap of 10,000 resamples. SciPy's own bootstrap
of a single one stands beside. Prints seconds and ratios, and the largest difference between the two ways' intervals.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from scipy import stats

from fgbg.judge.bootstrap import RESAMPLES, estimate_mean, estimate_means
from timing import describe_machine


@dataclass(frozen=True)
class Case:
    """A set of photos, and how it is cut."""

    photos: int = 7390
    slices: int = 24
    rounds: int = 3


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main(case: Case) -> None:
    stream = np.random.default_rng(0)
    scores = [stream.beta(9, 1, case.photos // 3) for _ in range(case.slices)]
    together, alone, ratios = [], [], []
    for _ in range(case.rounds):
        fast, found = clock(lambda: estimate_means(scores))
        slow, one_by_one = clock(lambda: [estimate_mean(each) for each in scores])
        together.append(fast)
        alone.append(slow)
        ratios.append(slow / fast)
    theirs, _ = clock(lambda: stats.bootstrap((scores[0],), np.mean, n_resamples=RESAMPLES, method="percentile", batch=500))
    apart = float(np.max(np.abs(np.subtract(found, one_by_one))))
    print(describe_machine())
    print(
        f"{case.slices} slices of {case.photos // 3} photos: together {statistics.median(together):.2f} s, one by one "
        f"{statistics.median(alone):.2f} s, ratio {statistics.median(ratios):.1f} (rounds: {min(ratios):.1f} to "
        f"{max(ratios):.1f}); SciPy's bootstrap of one of them: {theirs:.2f} s; intervals differ by up to {apart:.1g}"
    )


if __name__ == "__main__":
    main(tyro.cli(Case))
