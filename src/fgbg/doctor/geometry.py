"""What a mask's shape alone gives away: specks, rectangles, cut-offs, and how much of the frame it touches."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.words import BAND, GROUND, OBJECT

SPECK_PIXELS, SPECK_SHARE = 25, 3e-4  # largest speck: pixels, or share of the photo if that is more
SPECK_RATIO = 0.01  # largest speck relative to a typical part of the same mask
FAR = 0.03  # share of the diagonal: nearer specks are tips of hair and whiskers
BOX_SIDE = 8  # pixels: smallest side of a rectangle that counts
BOX_PART = 0.1  # of the largest part: smaller rectangles occur by chance
CUT_PIXELS, CUT_EDGE = 8, 0.045  # shortest cut-off: pixels, or share of the edge if that is more
APART_EDGE, APART = 128, 0.05  # pixels: edge at which a band is measured; share of the diagonal: farther is no band
AT_FRAME = 0.02  # share of an edge: an end this close to the frame is an end at the frame
_EIGHT = np.ones((3, 3))


class Geometry(NamedTuple):
    """Measures of one mask. Shares are in 0..1."""

    object_share: float  # of the photo, without the band
    frame_share: float  # of the frame's pixels that are object
    ground_frame_share: float
    ground_share: float
    speck_count: int
    box_fill: float  # share of its bounding box that the most rectangular part fills
    cut: float  # longest straight end of the object, relative to its largest width or height
    has_band: bool
    band_apart: float  # share of the band that is too far from object or ground to lie between the two; 0 without a band

    @property
    def has_outline(self) -> bool:
        """Whether there are both object and ground."""
        return self.object_share > 0 and self.ground_share > 0


def measure_geometry(levels: NDArray[np.uint8]) -> Geometry:
    """The measures of a mask, given as levels (height, width) at its own size."""
    truth, ground = levels == OBJECT, levels == GROUND
    body = _take_body(levels)
    labels, _ = ndimage.label(body, _EIGHT)
    areas = np.bincount(labels.ravel())[1:]
    return Geometry(
        object_share=float(truth.mean()),
        frame_share=float(_take_frame(truth).mean()),
        ground_frame_share=float(_take_frame(ground).mean()),
        ground_share=float(ground.mean()),
        speck_count=_count_specks(labels, areas) if len(areas) > 1 else 0,
        box_fill=_measure_box(labels, areas) if len(areas) else 0.0,
        cut=_measure_cut(levels, body),
        has_band=bool((levels == BAND).any()),
        band_apart=_measure_apart(levels),
    )


def _take_body(levels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Object and band together, without bands that surround no object."""
    body = (levels == OBJECT) | (levels == BAND)
    if not (levels == BAND).any():
        return body
    labels, count = ndimage.label(body, _EIGHT)
    holds_object = np.zeros(count + 1, bool)
    holds_object[labels[levels == OBJECT]] = True
    return holds_object[labels]


def _take_frame(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])


def _count_specks(labels: NDArray[np.integer], areas: NDArray[np.integer]) -> int:
    """Number of parts far from the rest and tiny beside a typical part (the one that a random object pixel lies in)."""
    ordered = np.sort(areas)
    typical = ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)]
    largest = min(max(SPECK_PIXELS, SPECK_SHARE * labels.size), SPECK_RATIO * typical)
    tiny = np.flatnonzero(areas <= largest) + 1
    if not len(tiny):
        return 0
    distance = ndimage.distance_transform_edt((labels == 0) | np.isin(labels, tiny))
    nearest = ndimage.minimum(distance, labels, tiny)
    return int((np.asarray(nearest) > FAR * math.hypot(*labels.shape)).sum())


def _measure_box(labels: NDArray[np.integer], areas: NDArray[np.integer]) -> float:
    """How much of its bounding box the most rectangular large part fills."""
    fills = [0.0]
    for area, (rows, columns) in zip(areas, ndimage.find_objects(labels), strict=True):
        sides = rows.stop - rows.start, columns.stop - columns.start
        if min(sides) >= BOX_SIDE and area >= BOX_PART * areas.max():
            fills.append(area / (sides[0] * sides[1]))
    return float(max(fills))


def _measure_cut(levels: NDArray[np.uint8], body: NDArray[np.bool_]) -> float:
    """The longest line inside the frame on which nearly all of the object ends at once, relative to its largest extent.

    At a cut-off the object is as wide on its last line as shortly before; a natural end tapers. If the mask has a band, an
    object that meets ground with no band between was cut.
    """
    truth, ground = levels == OBJECT, levels == GROUND
    has_band = bool((levels == BAND).any())
    longest = 0.0
    for part, inside, outside in (
        (body, truth, ground),
        (body[:, ::-1], truth[:, ::-1], ground[:, ::-1]),
        (body.T, truth.T, ground.T),
        (body[::-1].T, truth[::-1].T, ground[::-1].T),
    ):
        extent = part.sum(0)
        ends = (inside[:, :-1] & outside[:, 1:]).sum(0)
        margin, step = max(2, round(AT_FRAME * part.shape[1])), max(3, round(AT_FRAME * part.shape[1]))
        before = np.concatenate([np.zeros(step, extent.dtype), extent])[: len(extent) - 1]
        sudden = ends >= 0.3 * extent[:-1] if has_band else (ends >= 0.7 * extent[:-1]) & (extent[:-1] >= 0.75 * before)
        sudden &= ends >= max(CUT_PIXELS, CUT_EDGE * part.shape[0])
        ends = (ends * sudden)[margin:-margin]
        longest = max(longest, ends.max(initial=0) / max(1, extent.max()))
    return float(longest)


def _measure_apart(levels: NDArray[np.uint8]) -> float:
    """The share of the band farther than APART from object or from ground, on every `step`th pixel."""
    step = math.ceil(max(levels.shape) / APART_EDGE)
    small = levels[::step, ::step]
    band = small == BAND
    if not band.any():
        return 0.0
    near = APART * math.hypot(*small.shape)
    between = band.copy()
    for side in (OBJECT, GROUND):
        there = small == side
        between &= there.any() and ndimage.distance_transform_edt(~there) <= near
    return float(1 - between.sum() / band.sum())
