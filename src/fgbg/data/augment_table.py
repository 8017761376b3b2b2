"""The augmentation of every image in one epoch, drawn at once, in NumPy.

The steps and the ranges are the lab report's: horizontal flip, random resized crop, then rotation, shift and scale about
the centre, then brightness, contrast, saturation and hue. Row i of a table belongs to image i of the training set, so an
image's augmentation depends only on seed, epoch, i and the number of images: not on batches, processes, or whether the run
was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgbg.data.augment_ranges import AugmentRanges
from fgbg.data.streams import Purpose, open_stream

CROP_ATTEMPTS = 10  # as in torchvision's RandomResizedCrop: the first crop that fits wins
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's and torchvision's greyscale


@dataclass(frozen=True)
class AugmentTable:
    """One epoch's draw for `images` images; every array's first axis is the image.

    Coordinates run from -1 to 1 over the stored square (as in `torch.nn.functional.grid_sample`, corners not aligned). The
    point `o` of the augmented image shows the point `crop_centre + crop_half * (rotation @ o + shift)` of the stored one.
    """

    rotation: NDArray[np.float32]  # images 2 2: output to crop: inverse of rotation and scale
    shift: NDArray[np.float32]  # images 2: output to crop: inverse of the shift
    crop_half: NDArray[np.float32]  # images 2: half the crop's extent (x, y); x is negative for a flipped image
    crop_centre: NDArray[np.float32]  # images 2
    colour: NDArray[np.float32]  # images 3 3: matrix on RGB
    contrast_offset: NDArray[np.float32]  # images: multiplied by the image's mean luma, it is added to every channel


def draw_table(ranges: AugmentRanges, aspects: NDArray[np.float64], *, seed: int, epoch: int) -> AugmentTable:
    """Draw one epoch's augmentation.

    Args:
        ranges: How strong each augmentation is.
        aspects: (images,) width over height by which the crop's ratio is corrected: the photo's own if the stored square is
            a squashed photo, else 1.
        seed: The run's seed.
        epoch: Which epoch, from 1.
    """
    images = len(aspects)
    stream = open_stream(seed, epoch, Purpose.AUGMENT)

    def uniform(low: float, high: float, *shape: int) -> NDArray[np.float64]:
        # Drawn even where the range is empty, so that switching one augmentation off leaves the others as they were.
        return low + (high - low) * stream.random((images, *shape))

    flip_sign = np.where(uniform(0, 1) < ranges.flip, -1.0, 1.0)
    areas = uniform(ranges.crop_area, 1.0, CROP_ATTEMPTS)
    ratios = np.exp(uniform(-np.log(ranges.crop_ratio), np.log(ranges.crop_ratio), CROP_ATTEMPTS))
    size = _choose_crops(areas, ratios, aspects, ranges)
    centre = (1 - size) * uniform(-1, 1, 2)
    angle = np.deg2rad(uniform(-ranges.rotation_degrees, ranges.rotation_degrees))
    shift = 2 * uniform(-ranges.shift, ranges.shift, 2)  # shares of an axis of length 2
    scale = uniform(1 - ranges.scale, 1 + ranges.scale)

    # Forward: moved = scale * R @ place + shift. Sampling needs the inverse.
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    rotation = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    half = size.copy()
    half[:, 0] *= flip_sign
    centre[:, 0] *= flip_sign  # the photo is flipped before it is cropped
    brightness = uniform(1 - ranges.brightness, 1 + ranges.brightness)
    contrast = uniform(1 - ranges.contrast, 1 + ranges.contrast)
    saturation = uniform(1 - ranges.saturation, 1 + ranges.saturation)
    turn = 2 * np.pi * uniform(-ranges.hue, ranges.hue)
    colour = _turn_hue(turn) @ _scale_saturation(saturation) * (contrast * brightness)[:, None, None]
    return AugmentTable(
        rotation=rotation.astype(np.float32),
        shift=-np.einsum("nij,nj->ni", rotation, shift).astype(np.float32),
        crop_half=half.astype(np.float32),
        crop_centre=centre.astype(np.float32),
        colour=colour.astype(np.float32),
        contrast_offset=((1 - contrast) * brightness).astype(np.float32),
    )


def _choose_crops(
    areas: NDArray[np.float64], ratios: NDArray[np.float64], aspects: NDArray[np.float64], ranges: AugmentRanges
) -> NDArray[np.float64]:
    """The first of each image's (images, attempts) crops that fits into the photo, or one of the photo's own shape.

    torchvision would take the largest central one of an allowed ratio: the ends of a long photo would never be seen, and
    nothing in the shape to which scoring squashes it whole.

    Returns:
        (images, 2) width and height as shares of the photo.
    """
    if ranges.crop_area == 1:  # switched off
        return np.ones((len(aspects), 2))
    # A crop of pixel ratio r on a photo of pixel ratio a covers sqrt(area * r / a) of its width.
    width = np.sqrt(areas * ratios / aspects[:, None])
    height = np.sqrt(areas / ratios * aspects[:, None])
    fits = np.maximum(width, height) <= 1
    rows, first = np.arange(len(areas)), fits.argmax(1)
    drawn = np.stack([width[rows, first], height[rows, first]], -1)
    return np.where(fits.max(axis=1)[:, None], drawn, np.sqrt(areas[:, :1]))


def _scale_saturation(factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """(images, 3, 3) matrices that blend each colour with its own grey."""
    grey = np.broadcast_to(LUMA.astype(np.float64), (3, 3))
    return factor[:, None, None] * np.eye(3) + (1 - factor)[:, None, None] * grey


def _turn_hue(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(images, 3, 3) rotations about the grey axis (Rodrigues), `angle` in radians."""
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return cos * np.eye(3) + (1 - cos) / 3 + sin * cross
