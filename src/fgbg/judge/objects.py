"""Objects instead of pixels: how many of them were found, where photos show several (cells, lesions, animals)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array

from fgbg.judge.metrics import AND_DIAGONALS, Array, check_arrays
from fgbg.words import NOT_JUDGED, OBJECT

OBJECT_SCORES = ("object_recall", "object_precision", "object_f1")
"""A statement's entries, each with an interval: shares of the true objects and of the predicted ones, and both as one."""
SEVERAL = 2.0  # objects in a photo that has any, on average, from which on a score of objects is told


class ObjectCounts(NamedTuple):
    """Objects of one photo: parts that do not touch, not even at a corner."""

    object_count: int  # of the truth
    found_count: int  # those that one part of the prediction agrees with
    predicted_count: int  # parts of the prediction


def count_objects(prediction: Array, target: Array) -> ObjectCounts:
    """Count true, found and predicted objects of one photo.

    An object is found by a part of the prediction whose IoU with it is over 0.5, so that no two parts find one object, and
    no part finds two (Kirillov et al. 2019). Both masks are cut into parts by themselves: objects that touch are one.

    Args:
        prediction: bool (height, width), array or tensor.
        target: bool, or uint8 0 ground, 1 object, 255 not judged; of the same shape. Pixels that are not judged count in no
            IoU, and a part of the prediction that has no others is left out.

    Raises:
        TypeError: The prediction is not bool.
        ValueError: The shapes differ or are of several photos, or the target looks like a mask in another encoding.

    >>> count_objects(np.array([[True, False, True]]), np.array([[1, 0, 0]], np.uint8))
    ObjectCounts(object_count=1, found_count=1, predicted_count=2)
    """
    found, true = check_arrays(prediction, target)
    if found.ndim != 2:
        raise ValueError(f"prediction has the shape {found.shape}, not (height, width): count photo by photo")
    return count_parts(found, true)


def count_parts(prediction: NDArray[np.bool_], target: NDArray[Any]) -> ObjectCounts:
    """`count_objects` without its checks."""
    truth, judged = target == OBJECT, target != NOT_JUDGED  # for a bool target: object, and every pixel
    objects, object_count = ndimage.label(truth, AND_DIAGONALS)
    parts, part_count = ndimage.label(prediction, AND_DIAGONALS)
    object_areas = np.bincount(objects[truth], minlength=object_count + 1)
    part_areas = np.bincount(parts[prediction & judged], minlength=part_count + 1)
    objects, parts = (labels[truth & prediction] for labels in (objects, parts))
    # Neighbours are mostly of the same two parts: such runs are counted at once, which takes a fraction of the memory.
    starts = np.flatnonzero((np.diff(objects, prepend=0) != 0) | (np.diff(parts, prepend=0) != 0))
    lengths = np.diff(starts, append=len(objects))
    shape = (object_count + 1, part_count + 1)
    pairs = coo_array((lengths, (objects[starts], parts[starts])), shape=shape).tocsr().tocoo()
    shared, union = pairs.data, object_areas[pairs.row] + part_areas[pairs.col] - pairs.data
    return ObjectCounts(object_count, int((2 * shared > union).sum()), int((part_areas > 0).sum()))


def has_several_objects(statement: Mapping[str, Any]) -> bool:
    """Whether the photos of a statement mostly show several objects, so that it matters how many were found."""
    count = statement.get("object_count")
    if not count:
        return False
    shown = statement["pairs"] - statement.get("unjudged_count", 0) - statement["empty_truth_count"]
    return bool(count >= SEVERAL * shown)
