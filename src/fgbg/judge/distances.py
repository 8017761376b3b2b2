"""Scores of the outline: how far the predicted one is from the true one. They are defined nowhere else.

Three conventions, one photo at a time, in pixels of that photo. A pixel that is not judged (255) counts as ground in truth
and prediction alike, so that no score depends on what was predicted there. What lies beyond the frame is ground as well: an
object that is cut off by the frame has an outline there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgbg.judge.metrics import Array, check_arrays, check_pair
from fgbg.words import NOT_JUDGED, OBJECT

BAND_SHARE = 0.02  # of the photo's diagonal: width of boundary IoU's bands, as in its paper for photos of ordinary size
_CUT = math.sqrt(0.5)
_CONTOUR_LENGTHS = np.array([0, _CUT, _CUT, 1, _CUT, 1, 2 * _CUT, _CUT, _CUT, 2 * _CUT, 1, _CUT, 1, _CUT, _CUT, 0])
"""Length of the contour through four pixels, by the code 8·upper left + 4·upper right + 2·lower left + 1·lower right.

A lone pixel has its corner cut off, two neighbours share a side with the other two, diagonal ones are cut off twice.
"""

Mask = NDArray[np.bool_]


class SurfaceDistances(NamedTuple):
    """Distances between two outlines, in pixels: the average over both, and the larger of the two 95th percentiles."""

    average: Any
    hausdorff95: Any


class Outlines(NamedTuple):
    """Everything about one photo's outlines, under the names of `ScoreRow`'s columns."""

    boundary_iou: float
    surface_distance: float
    hausdorff95: float
    contour_distance_from_truth: float
    contour_distance_from_prediction: float


class _Pair(NamedTuple):
    """Two masks cropped to their common bounding box, with a rim of one ground pixel."""

    prediction: Mask
    truth: Mask
    diagonal: float  # of the whole photo


def boundary_iou(prediction: Array, target: Array, *, share: float = BAND_SHARE, empty: float = 1.0) -> Any:
    """IoU of the bands inside the two outlines, so that large objects do not hide a coarse outline.

    A band holds the object's pixels that are at most d steps (diagonals included) from ground or from beyond the frame; d is
    `share` of the photo's diagonal, rounded, at least 1. Source: Cheng et al. 2021, "Boundary IoU", and its reference code.

    Args:
        prediction: bool (…, height, width), array or tensor.
        target: bool, or uint8 0 ground, 1 object, 255 not judged; of the same shape.
        share: Width of the bands as a share of the photo's diagonal.
        empty: The score where truth and prediction are both empty.

    Returns:
        A float, 0 to 1, or an array (…).

    Raises:
        TypeError: The prediction is not bool.
        ValueError: The shapes differ, the target looks like a mask in another encoding, or the share is not in 0 to 1.

    >>> square = np.pad(np.ones((5, 5), bool), 2)
    >>> hole = square.copy()
    >>> hole[4, 4] = False  # d is 1: of 25 and 24 pixels, the bands hold 16 and, with those around the hole, 24
    >>> boundary_iou(hole, square) == 16 / 24
    True
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}: choose a part of the photo's diagonal, 0 to 1")
    return _over_images(lambda pair: _boundary_iou(pair, share, empty), prediction, target)


def surface_distances(prediction: Array, target: Array) -> SurfaceDistances:
    """Average symmetric surface distance and 95 % Hausdorff distance, in pixels, as MONAI 1.6 defines them.

    The surface is the object's pixels with ground (or the frame) above, below, left or right. Average: over every surface
    pixel's distance to the other surface, both ways pooled. Hausdorff: the larger of the two ways' 95th percentiles.
    Truth and prediction both empty: 0. One of them empty: the photo's diagonal (MONAI returns NaN and infinity).

    Args:
        prediction: bool (…, height, width), array or tensor.
        target: bool, or uint8 0 ground, 1 object, 255 not judged; of the same shape.

    Returns:
        Two floats, or two arrays (…).

    Raises:
        TypeError: The prediction is not bool.
        ValueError: The shapes differ, or the target looks like a mask in another encoding.

    >>> surface_distances(np.array([[False, True, True]]), np.array([[1, 1, 0]], np.uint8))
    SurfaceDistances(average=0.5, hausdorff95=0.95)
    """
    return SurfaceDistances(*_over_images(_surface_distances, prediction, target, 2))


def contour_distances(prediction: Array, target: Array) -> tuple[Any, Any]:
    """Average distance in pixels from the true contour to the predicted one, and the other way.

    The contour runs between pixels; its pieces, one per square of four pixels, are weighted by their length. The numbers
    are those of surface_distance 0.1:
    `compute_average_surface_distance(compute_surface_distances(truth, prediction, (1, 1)))`.
    From an empty contour: NaN. To an empty contour: infinity.

    Returns:
        From truth and from prediction: two floats, or two arrays (…). Arguments and errors as for `surface_distances`.

    >>> contour_distances(np.array([[True, True]]), np.array([[1, 1]], np.uint8))
    (0.0, 0.0)
    """
    return _over_images(_contour_distances, prediction, target, 2)


def measure_outlines(prediction: Mask, target: NDArray[np.uint8], *, empty: float = 1.0) -> Outlines:
    """All of the above for one photo, cropped only once.

    Args:
        prediction: bool (height, width).
        target: (height, width): 0 ground, 1 object, 255 not judged. It may have no object.
        empty: Boundary IoU where truth and prediction are both empty; the distances are 0 there.
    """
    check_pair(prediction, target)
    pair = _make_pair(prediction, target)
    return Outlines(_boundary_iou(pair, BAND_SHARE, empty), *_surface_distances(pair), *_contour_distances(pair))


def boundary_iou_of(prediction: Mask, target: NDArray[np.uint8], *, empty: float = 1.0) -> float:
    """`boundary_iou` of one photo; arguments as for `measure_outlines`, so that the target may have no object."""
    check_pair(prediction, target)
    return _boundary_iou(_make_pair(prediction, target), BAND_SHARE, empty)


def _over_images(measure: Callable[[_Pair], Any], prediction: Any, target: Any, count: int = 1) -> Any:
    """Apply `measure`: `count` numbers for one photo, or as many arrays for a batch of photos."""
    predictions, targets = check_arrays(prediction, target)
    if predictions.ndim == 2:
        return measure(_make_pair(predictions, targets))
    before, size = predictions.shape[:-2], predictions.shape[-2:]
    pairs = map(_make_pair, predictions.reshape(-1, *size), targets.reshape(-1, *size))
    measured = np.array([measure(pair) for pair in pairs], float).reshape(*before, count)
    return tuple(np.moveaxis(measured, -1, 0)) if count > 1 else measured[..., 0]


def _make_pair(prediction: Mask, target: NDArray[Any]) -> _Pair:
    truth = target == OBJECT
    prediction = prediction & (target != NOT_JUDGED) if target.dtype != bool else prediction
    either = prediction | truth
    window = tuple(_span(either.any(axis)) for axis in (1, 0))
    return _Pair(np.pad(prediction[window], 1), np.pad(truth[window], 1), math.hypot(*target.shape))


def _span(occupied: Mask) -> slice:
    """The slice from the first to the last occupied line."""
    places = np.flatnonzero(occupied)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)


def _boundary_iou(pair: _Pair, share: float, empty: float) -> float:
    width = max(1, round(share * pair.diagonal))
    prediction, truth = (mask & ~_erode(mask, width) for mask in (pair.prediction, pair.truth))
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else empty


def _erode(mask: Mask, steps: int) -> Mask:
    """What is left after `steps` erosions by a 3x3 square; beyond the array is ground.

    Along each axis a pixel stays where a window of 2·steps + 1 is full; the windows grow by doubling, not by single steps.
    """
    length = 2 * steps + 1
    for _ in range(2):  # rows, then columns, by transposing twice
        full = np.pad(mask, ((steps, steps), (0, 0)))
        covered = 1
        while covered < length:
            shift = min(covered, length - covered)
            full = full[:-shift] & full[shift:]
            covered += shift
        mask = full.T
    return mask


def _surface_distances(pair: _Pair) -> SurfaceDistances:
    prediction, truth = (_find_edge(mask) for mask in (pair.prediction, pair.truth))
    if not (prediction.any() and truth.any()):
        apart = pair.diagonal if prediction.any() or truth.any() else 0.0
        return SurfaceDistances(apart, apart)
    ways = list(_measure_both_ways(prediction, truth))
    return SurfaceDistances(
        float(np.concatenate(ways).mean()), max(float(np.quantile(distances, 0.95)) for distances in ways)
    )


def _find_edge(mask: Mask) -> Mask:
    """Pixels of the mask with a neighbour above, below, left or right that is ground; without the rim."""
    inner = mask[1:-1, 1:-1]
    return inner & ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])


def _contour_distances(pair: _Pair) -> tuple[float, float]:
    prediction, truth = (measure_contour(mask) for mask in (pair.prediction, pair.truth))
    there, here = truth > 0, prediction > 0
    if not (here.any() and there.any()):
        return (math.inf if there.any() else math.nan, math.inf if here.any() else math.nan)
    from_truth, from_prediction = _measure_both_ways(there, here)
    return (
        float(np.average(from_truth, weights=truth[there])),
        float(np.average(from_prediction, weights=prediction[here])),
    )


def measure_contour(mask: Mask) -> NDArray[np.float64]:
    """Length of the contour in every square of four pixels, (height - 1, width - 1); pad the mask if it has no rim."""
    corners = mask.view(np.uint8)
    rows = 2 * corners[:, :-1] + corners[:, 1:]
    return _CONTOUR_LENGTHS[4 * rows[:-1] + rows[1:]]


def _measure_both_ways(first: Mask, second: Mask) -> Iterator[NDArray[np.float64]]:
    """Distance of each point of `first` to the nearest of `second`, then the other way; exact.

    Points in both are at distance 0 and need no search: most points of a good prediction.
    """
    masks, places = (first, second), (np.argwhere(first), np.argwhere(second))
    for here, there in ((0, 1), (1, 0)):
        distances = np.zeros(len(places[here]))
        alone = ~masks[there][masks[here]]
        if alone.any():
            tree = cKDTree(places[there], balanced_tree=False, compact_nodes=False)
            distances[alone] = tree.query(places[here][alone])[0]
        yield distances
