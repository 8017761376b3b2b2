"""How far a mean over images would move with other images of the same kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgbg.data.streams import Purpose, open_stream

RESAMPLES = 10_000
_BLOCK = 4_000_000  # picks drawn at a time, to bound memory


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def estimate_mean(scores: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """The mean of (images,) scores with a percentile bootstrap 95 % interval over images (Efron 1979).

    The same scores in the same order give the same interval.

    Raises:
        ValueError: There are no scores.
    """
    if len(scores) == 0:
        raise ValueError("no scores to average")
    stream = open_stream(seed, 0, Purpose.BOOTSTRAP)
    block = max(1, _BLOCK // len(scores))
    means = [
        scores[stream.integers(len(scores), size=(min(block, RESAMPLES - start), len(scores)))].mean(1)
        for start in range(0, RESAMPLES, block)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Estimate(float(scores.mean()), float(low), float(high))
