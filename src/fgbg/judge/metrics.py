"""Counts and scores of one image. No score is defined anywhere else.

Every function takes NumPy arrays or tensors, one image (height, width) or a batch of them (…, height, width).
"""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fgbg.words import NOT_JUDGED, OBJECT

Array = TypeVar("Array", bound=Any)  # np.ndarray or torch.Tensor: both support &, ~, == and sum over axes
_IMAGE_AXES = (-2, -1)
AND_DIAGONALS = np.ones((3, 3))  # neighbours of a pixel, for SciPy's labels: those at a corner are of one part with it


class Counts(NamedTuple):
    """Judged pixels of an image (or of each image of a batch) by what was predicted and what is true."""

    TP: Any
    FP: Any
    FN: Any
    TN: Any


def count_pixels(prediction: Array, target: Array) -> Counts:
    """Count true and false positives and negatives over the judged pixels.

    Args:
        prediction: bool (…, height, width), true where object is predicted.
        target: uint8 of the same shape: 0 ground, 1 object, 255 not judged.

    Returns:
        Four integers, or four integer arrays of shape (…).

    Raises:
        TypeError: The prediction is not bool: a probability or a 0/255 mask would silently be miscounted.
        ValueError: The shapes differ.

    >>> count_pixels(np.array([[True, True, False, True]]), np.array([[1, 0, 1, 255]], np.uint8))
    Counts(TP=1, FP=1, FN=1, TN=0)
    """
    check_pair(prediction, target)
    truth, judged = target == OBJECT, target != NOT_JUDGED  # for a bool target: object, and every pixel
    # Sums over pixels are what this costs: FP, FN and TN follow from the four below.
    hit = (prediction & truth).sum(_IMAGE_AXES)
    claimed = (prediction & judged).sum(_IMAGE_AXES)
    real = truth.sum(_IMAGE_AXES)
    total = judged.sum(_IMAGE_AXES)
    counts = (hit, claimed - hit, real - hit, total - claimed - real + hit)
    if prediction.ndim == 2:
        return Counts(*(int(count) for count in counts))
    return Counts(*counts)


def dice_of(counts: Counts, *, empty: float = 1.0) -> Any:
    """Dice = 2TP / (2TP + FP + FN), 0 to 1; `empty` where truth and prediction are both empty.

    Source: Dice 1945; the same number as the F1 score of the pixels.

    >>> dice_of(Counts(TP=3, FP=1, FN=1, TN=5))
    0.75
    """
    return _ratio(2 * counts.TP, 2 * counts.TP + counts.FP + counts.FN, empty)


def iou_of(counts: Counts, *, empty: float = 1.0) -> Any:
    """Intersection over union = TP / (TP + FP + FN), 0 to 1; `empty` where truth and prediction are both empty.

    Source: Jaccard 1912. For one image, Dice = 2 IoU / (1 + IoU).

    >>> iou_of(Counts(TP=3, FP=1, FN=1, TN=5))
    0.6
    """
    return _ratio(counts.TP, counts.TP + counts.FP + counts.FN, empty)


def precision_of(counts: Counts, *, empty: float = 1.0) -> Any:
    """Precision = TP / (TP + FP), 0 to 1: the share of the predicted object that is object.

    `empty` where truth and prediction are both empty. If nothing is predicted although there is an object: 0, as for Dice
    and IoU (scikit-learn asks the caller; MONAI leaves the image out, which would favour a model that finds nothing).

    >>> precision_of(Counts(TP=3, FP=1, FN=2, TN=5))
    0.75
    """
    return _replace(_ratio(counts.TP, counts.TP + counts.FP, 0.0), _both_empty(counts), empty)


def recall_of(counts: Counts, *, empty: float = 1.0) -> Any:
    """Recall (sensitivity) = TP / (TP + FN), 0 to 1: the share of the object that is predicted.

    `empty` where truth and prediction are both empty. If something is predicted although there is no object: NaN, since
    there was nothing to find; leave such images out of a mean, as MONAI does. Precision and Dice are 0 there.

    >>> recall_of(Counts(TP=3, FP=1, FN=2, TN=5))
    0.6
    """
    return _replace(_ratio(counts.TP, counts.TP + counts.FN, math.nan), _both_empty(counts), empty)


def specificity_of(counts: Counts) -> Any:
    """Specificity = TN / (TN + FP), 0 to 1: the share of the ground that is predicted as ground; NaN where there is none.

    It grows with the photo's size: ground far from the object is easy. Without an object: 1 - the share of false alarms.

    >>> specificity_of(Counts(TP=3, FP=1, FN=2, TN=4))
    0.8
    """
    return _ratio(counts.TN, counts.TN + counts.FP, math.nan)


def dice(prediction: Array, target: Array, *, empty: float = 1.0) -> Any:
    """Dice of one image (a float) or of each image of a batch.

    Args:
        prediction: bool (…, height, width).
        target: bool, or uint8 0 ground, 1 object, 255 not judged; of the same shape.
        empty: The score where truth and prediction are both empty.

    Raises:
        TypeError: The prediction is not bool.
        ValueError: The shapes differ, or the target looks like a mask in another encoding.

    >>> dice(np.array([[True, False]]), np.array([[1, 1]], np.uint8)) == 2 / 3
    True
    """
    return dice_of(count_pixels(prediction, check_target(target)), empty=empty)


def iou(prediction: Array, target: Array, *, empty: float = 1.0) -> Any:
    """IoU of one image (a float) or of each image of a batch; arguments and errors as for `dice`.

    >>> iou(np.array([[True, False]]), np.array([[1, 1]], np.uint8))
    0.5
    """
    return iou_of(count_pixels(prediction, check_target(target)), empty=empty)


def precision(prediction: Array, target: Array, *, empty: float = 1.0) -> Any:
    """Precision of one image (a float) or of each of a batch: see `precision_of`; arguments and errors as for `dice`.

    >>> precision(np.array([[True, False]]), np.array([[1, 1]], np.uint8))
    1.0
    """
    return precision_of(count_pixels(prediction, check_target(target)), empty=empty)


def recall(prediction: Array, target: Array, *, empty: float = 1.0) -> Any:
    """Recall of one image (a float) or of each of a batch: see `recall_of`; arguments and errors as for `dice`.

    >>> recall(np.array([[True, False]]), np.array([[1, 1]], np.uint8))
    0.5
    """
    return recall_of(count_pixels(prediction, check_target(target)), empty=empty)


def specificity(prediction: Array, target: Array) -> Any:
    """Specificity of one image (a float) or of each of a batch: see `specificity_of`; arguments and errors as for `dice`.

    >>> specificity(np.array([[True, False]]), np.array([[0, 0]], np.uint8))
    0.5
    """
    return specificity_of(count_pixels(prediction, check_target(target)))


def check_arrays(prediction: Array, target: Array) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """`check_pair` and `check_target`, and both as NumPy arrays."""
    check_pair(prediction, target)
    pair = prediction, check_target(target)
    first, second = (np.asarray(each.cpu() if hasattr(each, "cpu") else each) for each in pair)
    return first, second


def check_pair(prediction: Array, target: Array) -> None:
    """Refuse what would silently be miscounted.

    Raises:
        TypeError: The prediction is not bool.
        ValueError: The shapes differ.
    """
    if not str(prediction.dtype).endswith("bool"):
        raise TypeError(f"prediction is {prediction.dtype}, not bool: threshold it first")
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")


def check_target(target: Array) -> Array:
    """Refuse what is probably a 0/255 mask or a trimap: here 255 means "not judged", and its object would not count."""
    if str(target.dtype).endswith("bool"):
        return target
    if ((target != 0) & (target != OBJECT) & (target != NOT_JUDGED)).any():
        raise ValueError("target holds other values than 0 ground, 1 object, 255 not judged: pass a bool mask of the object")
    if (target == NOT_JUDGED).any() and not (target == OBJECT).any():
        raise ValueError(
            "target holds 255 but no 1. For a 0/255 mask pass mask > 127; if 255 does mean 'not judged' "
            "and there is no object, use dice_of(count_pixels(prediction, target))"
        )
    return target


def _both_empty(counts: Counts) -> Any:
    return counts.TP + counts.FP + counts.FN == 0


def _ratio(part: Any, whole: Any, undefined: float) -> Any:
    if isinstance(whole, numbers.Real):  # Python's or NumPy's
        return part / whole if whole else undefined
    if isinstance(whole, np.ndarray):
        return np.where(whole == 0, undefined, part / np.maximum(whole, 1))
    return (part / whole.clamp(min=1)).masked_fill(whole == 0, undefined)


def _replace(score: Any, where: Any, value: float) -> Any:
    if isinstance(where, bool | np.bool_):
        return value if where else score
    if isinstance(where, np.ndarray):
        return np.where(where, value, score)
    return score.masked_fill(where, value)
