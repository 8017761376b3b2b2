"""Naming what went wrong on a photo, by where the wrong pixels lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.words import NOT_JUDGED, OBJECT

FAILURES = {
    "good": "Prediction and truth agree but for a few pixels.",
    "border only": "The object is found; what is wrong lies within a narrow band along the true outline.",
    "missed": "Object that was taken for background, at its outside or all of it.",
    "hole": "Object that was taken for background, inside what was found.",
    "extra blob": "Background that was taken for an object, apart from the true one.",
    "merged with neighbour": "Background that was taken for a part of the object, grown onto it.",
    "label suspected": "The model is confident and contradicts the truth: look at the truth first.",
}
"""Kind -> what it means, from harmless to severe."""

GOOD_DICE = 0.95
BAND_SHARE = 0.02  # of the photo's diagonal: errors within this distance of the true outline are border errors
LONGEST_EDGE = 512  # pixels: larger photos are subsampled, which is enough to name a failure


def name_failure(prediction: NDArray[np.bool_], target: NDArray[np.uint8], dice: float) -> str:
    """The kind of failure that most wrong pixels of a photo belong to ("label suspected" is decided elsewhere).

    Args:
        prediction: bool (height, width).
        target: uint8 (height, width): 0 ground, 1 object, 255 not judged.
        dice: The photo's score; NaN counts as good, since nothing is wrong where both are empty.
    """
    if not dice < GOOD_DICE:
        return "good"
    step = -(-max(target.shape) // LONGEST_EDGE)
    prediction, target = prediction[::step, ::step], target[::step, ::step]
    truth, judged = target == OBJECT, target != NOT_JUDGED
    wrong = (prediction != truth) & judged
    deep = wrong & ~_near_outline(truth)
    areas = {"border only": int(wrong.sum() - deep.sum())}
    lost, claimed = deep & truth, deep & ~truth
    inside = ndimage.binary_fill_holes(prediction) & ~prediction
    areas["hole"] = int((lost & inside).sum())
    areas["missed"] = int(lost.sum()) - areas["hole"]
    pieces, _ = ndimage.label(prediction)
    attached = np.isin(pieces, np.unique(pieces[truth & prediction]))
    areas["merged with neighbour"] = int((claimed & attached).sum())
    areas["extra blob"] = int(claimed.sum()) - areas["merged with neighbour"]
    return max(areas, key=lambda kind: areas[kind])


def _near_outline(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels within the band along the outline of the truth; the photo's frame does not count as outline."""
    if not truth.any() or truth.all():
        return np.zeros_like(truth)
    width = max(1.0, BAND_SHARE * float(np.hypot(*truth.shape)))
    inwards, outwards = ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(~truth)
    return np.asarray(inwards + outwards <= width)
