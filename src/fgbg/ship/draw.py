"""Drawing the pictures of a prediction. Even of a photo of 100 megapixels, only one full copy is made."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.images import decode_photo, open_image
from fgbg.ship.mask_png import write_mask
from fgbg.ship.matte import matte
from fgbg.words import PNG_LEVEL, Kind

OUTLINE_COLOUR = (255, 64, 129)
DIMMED = 0.35  # brightness of the ground in an overlay
WHITE = np.uint8(255)
STRIP = 1024  # rows that are worked on at a time: bounds memory


def grade(kind: Kind, probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """All that the picture needs of the answer, in one byte per pixel: a quarter of the probability's memory.

    Args:
        kind: Kind of picture.
        probability: (height, width), 0 to 1.
        threshold: A pixel is object if its probability exceeds it.

    Returns:
        (height, width): object 255 and ground 0, or for the kind `probability` that times 255.
    """
    grades = np.empty(probability.shape, np.uint8)
    for top in range(0, len(grades), STRIP):
        strip = probability[top : top + STRIP]
        grades[top : top + STRIP] = (strip * 255).round() if kind == "probability" else (strip > threshold) * WHITE
    return grades


def write_picture(
    kind: Kind, source: Path, pixels: NDArray[np.uint8], grades: NDArray[np.uint8], file: BufferedIOBase
) -> None:
    """Draw as `draw` does, with the same arguments, and write as PNG. What shows the photo has its colour profile.

    Raises:
        OSError: The file cannot be written.
        UserError: The photo must be looked at again, and cannot be.
    """
    if kind == "mask":
        write_mask(grades, file)
    else:
        profile = None if kind == "probability" else _read_colour_profile(source)
        picture = draw(kind, source, pixels, grades)
        picture.save(cast("IO[bytes]", file), "PNG", compress_level=PNG_LEVEL, icc_profile=profile)


def _read_colour_profile(source: Path) -> bytes | None:
    """The photo's colour profile, if it is one of RGB: what another describes, such as CMYK, was converted on decoding."""
    with open_image(source) as photo:
        profile = photo.info.get("icc_profile")
    return profile if profile and profile[16:20] == b"RGB " else None


def draw(kind: Kind, source: Path, pixels: NDArray[np.uint8], grades: NDArray[np.uint8]) -> Image.Image:
    """The picture to write, at the photo's own size.

    Args:
        kind: Kind of picture.
        source: The photo's file; read again if its pixels are shown and were reduced.
        pixels: RGB (height, width, 3), as the model saw the photo.
        grades: What `grade` made of the answer, (height, width) at the photo's own size.
    """
    if kind in ("mask", "probability"):
        return Image.fromarray(grades)
    is_whole = pixels.shape[:2] == grades.shape
    return _PAINT[kind](Image.fromarray(pixels) if is_whole else decode_photo(source), grades)


def paint_cutout(photo: Image.Image, opacity: NDArray[np.uint8]) -> Image.Image:
    """RGBA: the object's pixels as they are, the ground transparent."""
    photo.putalpha(Image.fromarray(opacity))  # in place: Pillow uses four bytes per pixel for RGB, too
    return photo


def paint_overlay(photo: Image.Image, mask: NDArray[np.uint8]) -> Image.Image:
    """The photo with its ground dimmed and a line around the object."""
    for top in range(0, photo.height, STRIP):
        rows = slice(top, top + STRIP)
        strip = np.array(photo.crop((0, top, photo.width, min(top + STRIP, photo.height))))
        inside = mask[rows] > 0
        strip[~inside] = _DIMMED_VALUES[strip[~inside]]
        strip[inside & ~_surrounded(mask, rows)] = OUTLINE_COLOUR
        photo.paste(Image.fromarray(strip), (0, top))
    return photo


def _surrounded(mask: NDArray[np.uint8], rows: slice) -> NDArray[np.bool_]:
    """Which pixels of these rows have object, or the photo's edge, above, below, left and right of them."""
    height = len(mask)
    above, below = max(0, rows.start - 1), min(height, rows.stop + 1)
    padding = (int(rows.start == 0), int(rows.stop >= height))
    padded = np.pad(mask[above:below] > 0, (padding, (1, 1)), mode="edge")
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


_DIMMED_VALUES = (np.arange(256) * DIMMED).astype(np.uint8)

_PAINT: dict[Kind, Callable[[Image.Image, NDArray[np.uint8]], Image.Image]] = {
    "cutout": paint_cutout,
    "soft": matte,
    "overlay": paint_overlay,
}
