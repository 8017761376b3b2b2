"""What a model's probabilities say about its own answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expect_dice(probability: NDArray[np.float32], prediction: NDArray[np.bool_]) -> float:
    """The Dice that a model expects of its own prediction, if its probabilities are true: 2 Σ_pred p / (Σ_pred 1 + Σ p).

    If nothing is predicted, the score depends on whether there is an object at all: 1 minus the highest probability.

    Args:
        probability: (height, width).
        prediction: bool (height, width).
    """
    if not prediction.any():
        return 1 - float(probability.max())
    said = probability.sum(dtype=np.float64)
    return float(2 * probability[prediction].sum(dtype=np.float64) / (prediction.sum() + said))
