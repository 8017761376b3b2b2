"""Register small grey pictures: find scale and shift along each axis, and measure how well the details agree.

Pictures are compared by their *details*: the difference from a blurred copy, divided by the local contrast. A strong edge
then counts no more than fur does, and flat or smoothly shaded ground does not count: pictures agree where they show the
same things in the same places.

A *pose* holds (scale, shift) down and (scale, shift) across. In coordinates of -1..1 from edge to edge, the point `u` of
the second picture is at `(1 + scale) * u + shift` in the first. With zeros the two coincide.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

BLUR_CELLS = 2.0  # standard deviation of the Gaussian that separates details from shading
NOISE_GREY = 4.0  # grey levels: weaker details are taken for noise or JPEG artefacts
LARGEST_MOVE = 0.3  # for scale and shift: pictures farther apart have too little in common to be called copies
DAMPING = 1e-3  # keeps a picture without details where it is


def take_details(grey: Float[np.ndarray, "pictures height width"]) -> Float[np.ndarray, "pictures height width"]:
    """Details of grey pictures (0..255): about -2..2, and 0 where a picture is flat."""
    fine = grey - _blur(grey)
    fine = fine - _blur(fine)  # again: the first pass leaves the shading of a vignette or of a blurred ground
    return fine / np.sqrt(_blur(fine * fine) + NOISE_GREY**2)


def _blur(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    return ndimage.gaussian_filter(pictures, (0, BLUR_CELLS, BLUR_CELLS), mode="nearest")


def align_details(
    first: Float[np.ndarray, "pairs size size"],
    second: Float[np.ndarray, "pairs size size"],
    pose: Float[np.ndarray, "pairs 2 2"],
    *,
    steps: int,
) -> Float[np.ndarray, "pairs 2 2"]:
    """A better pose for each pair: `steps` of Gauss-Newton on the squared difference (Lucas and Kanade 1981).

    It converges from a pose that is off by less than the size of a detail, which is a few cells.
    """
    size = first.shape[1]
    place = _places(size)
    for _ in range(steps):
        moved, inside = move_pictures(first, pose)
        down, across = np.gradient(moved, 2 / size, axis=(1, 2))
        slopes = np.stack([down * place[:, None], down, across * place, across], axis=1) * inside[:, None]
        slopes = slopes.reshape(len(pose), 4, size * size)
        difference = ((second - moved) * inside).reshape(len(pose), size * size, 1)
        normal = slopes @ slopes.transpose(0, 2, 1)
        damping = DAMPING * (1 + np.trace(normal, axis1=1, axis2=2))
        step = np.linalg.solve(normal + damping[:, None, None] * np.eye(4, dtype=np.float32), slopes @ difference)
        pose = np.clip(pose + step.reshape(-1, 2, 2), -LARGEST_MOVE, LARGEST_MOVE)
    return pose


def correlate_details(
    first: Float[np.ndarray, "pairs size size"],
    second: Float[np.ndarray, "pairs size size"],
    pose: Float[np.ndarray, "pairs 2 2"],
) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """How well the details of each pair agree where the pictures overlap, and how much detail there is.

    Returns:
        The correlation, -1..1, where 1 means the same details; and the share of a picture that details fill, 0..1, in the
        picture of the pair with fewer details.
    """
    moved, inside = move_pictures(first, pose)
    kept = second * inside
    energies = (moved * moved).sum((1, 2)), (kept * kept).sum((1, 2))
    correlation = (moved * kept).sum((1, 2)) / np.sqrt(energies[0] * energies[1] + 1e-6)
    return correlation, np.minimum(*energies) / first.shape[1] ** 2


def move_pictures(
    pictures: Float[np.ndarray, "pairs size size"], pose: Float[np.ndarray, "pairs 2 2"]
) -> tuple[Float[np.ndarray, "pairs size size"], Float[np.ndarray, "pairs size size"]]:
    """The pictures resampled according to their poses, and 1 inside the original picture, 0 outside."""
    size = pictures.shape[1]
    at = ((1 + pose[:, :, :1]) * _places(size) + pose[:, :, 1:] + 1) * (size / 2) - 0.5  # pairs, 2 axes, size: in cells
    inside = ((at >= -0.5) & (at <= size - 0.5)).astype(np.float32)
    distance = np.abs(at.clip(0, size - 1)[..., None] - np.arange(size, dtype=np.float32))
    weights = np.maximum(0, 1 - distance) * inside[..., None]  # linear interpolation is one matrix per axis
    moved = weights[:, 0] @ pictures @ weights[:, 1].transpose(0, 2, 1)
    return moved, inside[:, 0, :, None] * inside[:, 1, None, :]


def _places(size: int) -> NDArray[np.float32]:
    """Centres of the cells along an axis, -1..1."""
    return ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
