"""What kind of photo it is (object size, camouflage, irregularity, brightness, …), measured from photo and truth alone.

The lab report blames similar tones and irregular shapes for what its networks miss. These traits put numbers to its words,
so that the claim can be checked.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull

from fgbg.data.augment_table import LUMA
from fgbg.judge.distances import measure_contour
from fgbg.words import NOT_JUDGED, OBJECT

LONGEST_EDGE = 512  # pixels: traits of larger photos are measured on a reduced copy, so that size is not mistaken for detail
LUMA_THOUSANDTHS = np.rint(1000 * LUMA).astype(np.int64)
COLOUR_BINS = 8  # per channel
COLOUR_BLUR = 0.7  # bins: makes neighbouring colours count as alike even if a small object has few pixels
SURROUNDINGS_SHARE = 0.25  # of the object's equivalent diameter: how wide the band around it is
NARROWEST_BAND = 4.0  # pixels
MOST_PIECES = 100  # parts of an object: the largest ones are measured


class Traits(NamedTuple):
    """Columns of ScoreRow; NaN where there is no object."""

    object_share: float
    tone_contrast: float
    irregularity: float
    convexity: float
    roughness: float
    touches_frame: float
    brightness: float
    sharpness: float


def measure_traits(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> Traits:
    """The traits of one photo.

    Args:
        pixels: RGB (height, width, 3); may be a reduced photo.
        target: (height, width): 0 ground, 1 object, 255 not judged.
    """
    judged_count = int((target != NOT_JUDGED).sum())
    share = int((target == OBJECT).sum()) / judged_count if judged_count else math.nan
    small, target = _reduce(pixels, target)
    luma = small.astype(np.int64) @ LUMA_THOUSANDTHS / 1000  # sums of integers: the same to the last bit in any order
    brightness = float(luma.mean() / 255)
    sharpness = float(ndimage.laplace(luma).var())
    truth = target == OBJECT
    if not truth.any():
        return Traits(share, math.nan, math.nan, math.nan, math.nan, math.nan, brightness, sharpness)
    at_frame = bool(truth[0].any() or truth[-1].any() or truth[:, 0].any() or truth[:, -1].any())
    contrast = measure_tone_contrast(small, truth, judged=target != NOT_JUDGED)
    return Traits(share, contrast, *measure_outline(truth), float(at_frame), brightness, sharpness)


def measure_tone_contrast(pixels: NDArray[np.uint8], truth: NDArray[np.bool_], judged: NDArray[np.bool_]) -> float:
    """Hellinger distance between the colours of the object and of a band around it: 0 alike, 1 disjoint.

    NaN where the object leaves no band around it. Colours are counted in 8x8x8 bins of RGB, slightly blurred.
    """
    width = max(NARROWEST_BAND, SURROUNDINGS_SHARE * 2 * math.sqrt(truth.sum() / math.pi))
    band = ~truth & judged & (ndimage.distance_transform_edt(~truth) <= width)
    if not band.any():
        return math.nan
    inside, around = (_count_colours(pixels[where]) for where in (truth, band))
    overlap = float(np.sqrt(inside * around).sum())  # Bhattacharyya's coefficient
    return math.sqrt(max(0.0, 1 - overlap))


def measure_outline(truth: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Irregularity, convexity and roughness of an object, over all its parts if it has several.

    - irregularity: outline length squared over 4π area, the parts' mean weighted by area; a disc made of pixels has 1.1;
    - convexity: area over that of the parts' convex hulls;
    - roughness: 1 - length of the hulls' outlines over that of the object's, at least 0.

    The frame counts as an outline.
    """
    labels, _ = ndimage.label(truth, np.ones((3, 3)))
    parts = [labels[place] == number for number, place in enumerate(ndimage.find_objects(labels), start=1)]
    parts = sorted(parts, key=np.sum, reverse=True)[:MOST_PIECES]
    areas = np.array([part.sum() for part in parts], float)
    lengths = np.array([outline_length(part) for part in parts])
    hulls = [_convex_hull(part) for part in parts]
    hull_areas, hull_lengths = (sum(values) for values in zip(*hulls, strict=True))
    irregularity = float((lengths**2).sum() / (4 * math.pi * areas.sum()))  # of each part, weighted by its area
    # A hull's length is exact; an outline's follows sides and corners of pixels, which makes a disc's 5 % too long.
    return irregularity, float(areas.sum() / hull_areas), float(max(0.0, 1 - hull_lengths / lengths.sum()))


def outline_length(mask: NDArray[np.bool_]) -> float:
    """Length in pixels of the outline midway between pixels inside and outside; the frame counts as outside.

    >>> outline_length(np.ones((2, 3), bool))  # sides of 1, 2, 1 and 2, and four cut corners
    8.82842712474619
    """
    return float(measure_contour(np.pad(mask, 1)).sum())


def _convex_hull(part: NDArray[np.bool_]) -> tuple[float, float]:
    """Area and length of the convex hull of the pixels' squares."""
    rows = np.flatnonzero(part.any(1))
    first = part.argmax(1)[rows]
    last = part.shape[1] - part[:, ::-1].argmax(1)[rows]  # one past the last pixel
    ends = np.concatenate([np.stack([rows + down, column], 1) for down in (0, 1) for column in (first, last)])
    hull = ConvexHull(ends)
    return float(hull.volume), float(hull.area)  # scipy's names for any dimension: in two, area and length


def _count_colours(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 3) colours as a blurred histogram that sums to 1."""
    bins = (colours.astype(np.int64) * COLOUR_BINS) >> 8
    codes = (bins[:, 0] * COLOUR_BINS + bins[:, 1]) * COLOUR_BINS + bins[:, 2]
    counts = np.bincount(codes, minlength=COLOUR_BINS**3).astype(float).reshape([COLOUR_BINS] * 3)
    return ndimage.gaussian_filter(counts, COLOUR_BLUR, mode="reflect") / len(colours)  # no other mode keeps the sum


def _reduce(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both at the same size, at most LONGEST_EDGE."""
    scale = min(1.0, LONGEST_EDGE / max(target.shape))
    height, width = (max(1, round(edge * scale)) for edge in target.shape)
    if target.shape != (height, width):
        target = np.asarray(Image.fromarray(target).resize((width, height), Image.Resampling.NEAREST))
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    return pixels, target
