"""Naming what went wrong on a photo, by where the wrong pixels lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.judge.metrics import AND_DIAGONALS
from fgbg.words import NOT_JUDGED, OBJECT

FAILURES = {
    "good": "Prediction and truth agree but for a few pixels.",
    "border only": "The object is found; what is wrong lies within a narrow band along the true outline.",
    "missed": "Object that was taken for background, at its outside or all of it.",
    "hole": "Object that was taken for background, inside what was found.",
    "extra blob": "Background that was taken for an object, apart from the true one.",
    "spilled over": "Background that was taken for a part of the object, grown onto it.",
    "merged with neighbour": "Background that joins the object to another true one.",
    "label suspected": "The model is confident and contradicts the truth: look at the truth first.",
}
"""Kind -> what it means, from harmless to severe."""

GOOD_DICE = 0.95
BORDER_SHARE = 0.02  # of the photo's diagonal: errors within this distance of the true outline are border errors
LONGEST_EDGE = 512  # pixels: larger objects are subsampled, which is enough to name a failure


def name_failure(prediction: NDArray[np.bool_], target: NDArray[np.uint8], dice: float) -> str:
    """The kind of failure that most wrong pixels of a photo belong to ("label suspected" is decided elsewhere).

    Args:
        prediction: bool (height, width).
        target: uint8 (height, width): 0 ground, 1 object, 255 not judged.
        dice: The photo's score; NaN counts as good, since nothing is wrong where both are empty.
    """
    truth, judged = target == OBJECT, target != NOT_JUDGED
    wrong = (prediction != truth) & judged
    if not (dice < GOOD_DICE and wrong.any()):
        return "good"
    window, step = _find_window(prediction | truth)
    prediction, truth, wrong = prediction[window], truth[window], wrong[window]
    deep = wrong & ~_near_outline(truth, prediction, BORDER_SHARE * float(np.hypot(*target.shape)) / step)
    areas = {"border only": int(wrong.sum() - deep.sum())}
    lost, claimed = deep & truth, deep & ~truth
    inside = ndimage.binary_fill_holes(prediction) & ~prediction
    areas["hole"] = int((lost & inside).sum())
    areas["missed"] = int(lost.sum()) - areas["hole"]
    pieces, count = ndimage.label(prediction, AND_DIAGONALS)
    parts, _ = ndimage.label(truth, AND_DIAGONALS)
    objects_of = _count_partners(pieces[truth & prediction], parts[truth & prediction], count)
    areas["spilled over"] = int((claimed & (objects_of == 1)[pieces]).sum())
    areas["merged with neighbour"] = int((claimed & (objects_of > 1)[pieces]).sum())
    areas["extra blob"] = int((claimed & (objects_of == 0)[pieces]).sum())
    return max(areas, key=lambda kind: areas[kind])


def _count_partners(pieces: NDArray[np.int32], parts: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count + 1,) how many parts each of the pieces 1..count overlaps; the two arrays name both for each shared pixel."""
    changes = np.flatnonzero((np.diff(pieces, prepend=0) != 0) | (np.diff(parts, prepend=0) != 0))  # runs of equal pairs
    pairs = np.unique(np.stack([pieces[changes], parts[changes]]), axis=1)
    return np.bincount(pairs[0], minlength=count + 1)


def _find_window(marked: NDArray[np.bool_]) -> tuple[tuple[slice, slice], int]:
    """The window around everything that is marked, with a rim, and the step at which it has at most LONGEST_EDGE pixels."""
    rows, columns = (np.flatnonzero(marked.any(axis)) for axis in (1, 0))
    step = -(-max(np.ptp(rows) + 1, np.ptp(columns) + 1) // LONGEST_EDGE)
    top, left = (max(0, places[0] - step) for places in (rows, columns))
    return (slice(top, rows[-1] + step + 1, step), slice(left, columns[-1] + step + 1, step)), int(step)


def _near_outline(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """Pixels within a band along the outline of the true objects that were found; the photo's frame is no outline."""
    parts, count = ndimage.label(truth, AND_DIAGONALS)
    is_found = np.zeros(count + 1, bool)
    is_found[parts[truth & prediction]] = True
    found = is_found[parts]
    if not found.any() or found.all():
        return np.zeros_like(truth)
    inwards, outwards = ndimage.distance_transform_edt(found), ndimage.distance_transform_edt(~found)
    return np.asarray(inwards + outwards <= max(1.0, width))
