"""What a model's probabilities say about a label that they contradict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from fgbg.words import NOT_JUDGED, OBJECT

SUSPICION_CUTOFF, SUREST_UNCERTAINTY = 0.4, 0.15
"""When a label is called suspected: on pets, 2 % of the original labels and about half of the planted errors are."""

OFFSET_WEIGHT = 0.5  # a shifted outline alone never gives a higher suspicion
OFFSET_SHARE = 0.01  # of the photo's diagonal: an offset that is normal for any model


def suspect_label(probability: NDArray[np.float32], prediction: NDArray[np.bool_], target: NDArray[np.uint8]) -> float:
    """How strongly a model contradicts a label, 0 to 1: look at the highest ones first.

    Combines two signs, each enough by itself. *Confident contradiction*: the pixels where prediction and truth differ,
    weighted by |2p - 1|, as a share of the pixels that either calls object. *A shifted outline*: the true outline is offset
    from the predicted one by nearly the same distance all around, as in a mask drawn too wide; a model's own errors scatter.
    What is not judged counts as ground in both, so that it plays no part.

    Args:
        probability: (height, width).
        prediction: bool (height, width).
        target: uint8 (height, width): 0 ground, 1 object, 255 not judged.
    """
    truth, judged = target == OBJECT, target != NOT_JUDGED
    wrong = (prediction != truth) & judged
    weight = np.abs(2 * probability[wrong] - 1).sum(dtype=np.float64)
    contradiction = weight / max(1, ((prediction | truth) & judged).sum())
    ratio = _measure_offset(prediction & judged, truth)
    return float(1 - (1 - contradiction) * (1 - OFFSET_WEIGHT * ratio / (1 + ratio)))


def is_label_suspected(suspicion: float, uncertainty: float) -> bool:
    """Whether the label should be looked at first: it is contradicted by a model that expects to be right."""
    return suspicion >= SUSPICION_CUTOFF and uncertainty <= SUREST_UNCERTAINTY


def _measure_offset(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Median distance of the true outline from the predicted one, over its scatter along the outline; 0 without either."""
    predicted_edge, true_edge = _find_edge(prediction), _find_edge(truth)
    if len(predicted_edge) == 0 or len(true_edge) == 0:
        return 0.0
    distances, _ = cKDTree(predicted_edge).query(true_edge)
    signed = np.where(prediction[tuple(true_edge.T)], -distances, distances)
    low, median, high = np.percentile(signed, [25, 50, 75])
    return float(abs(median) / (high - low + OFFSET_SHARE * np.hypot(*truth.shape)))


def _find_edge(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(pixels, 2) row and column of the mask's pixels that touch its outside; the photo's frame does not count."""
    return np.argwhere(mask & ~binary_erosion(mask, border_value=1))
