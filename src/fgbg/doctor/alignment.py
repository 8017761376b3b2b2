"""Does a mask lie where the photo's edges are, or would it fit better mirrored or shifted?

Photo and mask become fields of edge directions (squared gradients, so that light on dark equals dark on light). Their
correlation over all shifts tells how well the outline agrees with the photo's edges at each position. The spread of these
values is what this photo and this outline reach by chance; the test is by how many of its standard deviations another
position is better than the mask's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from fgbg.words import BAND

EDGE = 128  # pixels: longest edge of what is compared
BLUR = 1.0  # pixels, before gradients are taken
SURROUNDINGS = 17  # pixels: window from which an edge must stand out to count
FAINTEST = 0.02  # gradient of the noise on flat ground, which should not count as an edge
REACH = 0.3  # largest shift, as a share of each edge
SLACK = 2  # pixels: an outline that is off by this much counts as in place
APART = 4  # pixels: only larger offsets count as a shift
SMALLEST_OVERLAP = 0.6  # share of the outline that must lie on the photo

Field = NDArray[np.complexfloating]

MIRRORS: dict[str, Callable[[Field], Field]] = {
    "left-right": lambda field: np.conj(field[:, ::-1]),
    "top-bottom": lambda field: np.conj(field[::-1]),
    "both": lambda field: field[::-1, ::-1],
}


class Alignment(NamedTuple):
    """How well a mask agrees with its photo's edges, in standard deviations above chance, and where it agrees best."""

    own: float
    best: float
    mirror: str  # key of MIRRORS; empty for a shift
    down: float  # shift in photo heights; 0 for a mirror
    across: float  # shift in photo widths


def measure_alignment(pixels: NDArray[np.uint8], levels: NDArray[np.uint8]) -> Alignment | None:
    """Compare a mask's own position with its mirror images and with shifts of up to 30 % of each edge.

    Args:
        pixels: RGB (height, width, 3).
        levels: (height, width) of the same photo.

    Returns:
        None if the mask has no outline, or the photo is too small.
    """
    photo, mask = _reduce(pixels, levels)
    height, width = mask.shape
    if min(height, width) <= 4 * APART:
        return None
    edges, outline = _find_edges(photo), _find_outline(mask)
    if not np.abs(outline).sum() > 0:
        return None
    down, across = (_list_shifts(edge) for edge in (height, width))
    place = np.ix_(down, across)
    agreement = {name: each[place] for name, each in _correlate(edges, outline).items()}
    values = np.concatenate([each.ravel() for each in agreement.values()])
    scale = {name: (each - values.mean()) / (values.std() + 1e-6) for name, each in agreement.items()}
    steps = np.maximum(np.abs(down)[:, None], np.abs(across)[None])
    own = scale[""]
    shifted = np.where(steps > APART, own, -np.inf)
    row, column = np.unravel_index(shifted.argmax(), shifted.shape)
    mirror, mirrored = max(((name, scale[name][steps <= SLACK].max()) for name in MIRRORS), key=lambda pair: pair[1])
    own_score = float(own[steps <= SLACK].max())
    if mirrored >= shifted.max():
        return Alignment(own_score, float(mirrored), mirror, 0.0, 0.0)
    return Alignment(own_score, float(shifted.max()), "", float(down[row] / height), float(across[column] / width))


def move_mask(levels: NDArray[np.uint8], mirror: str, down: float, across: float) -> NDArray[np.uint8]:
    """The levels mirrored or shifted to where they fit better; pixels left uncovered become ground.

    >>> move_mask(np.array([[1, 0, 0]], np.uint8), "", 0.0, 1 / 3)
    array([[0, 1, 0]], dtype=uint8)
    """
    turned = {"left-right": levels[:, ::-1], "top-bottom": levels[::-1], "both": levels[::-1, ::-1]}.get(mirror, levels)
    height, width = levels.shape
    rows, columns = round(down * height), round(across * width)
    moved = np.zeros_like(levels)
    moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = turned[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    return moved


def _reduce(pixels: NDArray[np.uint8], levels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Photo and share of object at one small size, both in 0..1; a band is half object."""
    scale = min(1.0, EDGE / max(levels.shape))
    size = tuple(max(1, round(edge * scale)) for edge in levels.shape[::-1])
    share = np.array([0, 255, 128], np.uint8)[np.minimum(levels, BAND)]
    photo, mask = (Image.fromarray(each).resize(size, Image.Resampling.BOX) for each in (pixels, share))
    white = np.float32(255)
    return np.asarray(photo, np.float32) / white, np.asarray(mask, np.float32) / white


def _square_gradient(channel: NDArray[np.float32]) -> Field:
    """Gradients as complex numbers, squared: this doubles the angle, so that opposite directions are equal."""
    smooth = ndimage.gaussian_filter(channel, BLUR, mode="nearest")
    gradient = ndimage.sobel(smooth, 1, mode="nearest") + 1j * ndimage.sobel(smooth, 0, mode="nearest")
    return gradient * gradient


def _find_edges(photo: NDArray[np.float32]) -> Field:
    """Directions of the photo's edges, weighted by how far each stands out from its surroundings."""
    squared = sum(_square_gradient(photo[:, :, channel]) for channel in range(3))
    strength = np.abs(squared)
    around = np.sqrt(np.maximum(0, ndimage.uniform_filter(strength, SURROUNDINGS, mode="nearest")))
    weight = np.minimum(np.sqrt(strength) / (around + FAINTEST), 2)
    return squared / np.maximum(strength, 1e-9) * weight


def _find_outline(mask: NDArray[np.float32]) -> Field:
    """Directions of the mask's outline."""
    squared = _square_gradient(mask)
    strength = np.abs(squared)
    return squared / np.maximum(strength, 1e-9) * np.minimum(np.sqrt(strength), 1)


def _list_shifts(edge: int) -> NDArray[np.int64]:
    reach = int(REACH * edge)
    return np.r_[0 : reach + 1, -reach:0]


def _correlate(edges: Field, outline: Field) -> dict[str, NDArray[np.floating]]:
    """Mean agreement along the part of the outline on the photo, for all shifts, unmirrored ("") and mirrored."""
    shape = [fft.next_fast_len(2 * edge) for edge in edges.shape]
    photo = fft.fft2(edges.astype(np.complex64), shape)
    frame = fft.rfft2(np.ones(edges.shape, np.float32), shape)
    smallest = SMALLEST_OVERLAP * np.abs(outline).sum()
    found = {}
    for name, turn in {"": lambda field: field, **MIRRORS}.items():
        turned = turn(outline).astype(np.complex64)
        agreement = fft.ifft2(photo * np.conj(fft.fft2(turned, shape))).real
        overlap = fft.irfft2(frame * np.conj(fft.rfft2(np.abs(turned), shape)), shape)
        found[name] = agreement / np.maximum(overlap, smallest)
    return found
