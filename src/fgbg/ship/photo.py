"""Opening a photo, in whatever form a caller has it, for a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.images import LARGEST_PHOTO_PIXELS, decode_photo, reduce_large, to_upright_rgb
from fgbg.data.overlooked import refuse_few_bits, refuse_few_bits_of, refuse_pages
from fgbg.errors import UserError
from fgbg.memory import give_back_memory

LIGHT_PIXELS = 12_000_000  # up to this size a photo counts as one in a queue; one of 100 megapixels fills a queue of 8


@dataclass(frozen=True)
class Photo:
    """What a model is shown, and the size of its answer: larger than `pixels` if the photo was reduced on decode."""

    pixels: NDArray[np.uint8]  # RGB (height, width, 3), upright
    height: int
    width: int

    @property
    def weight(self) -> float:
        """How much of a queue of photos it takes up: 1, and more above `LIGHT_PIXELS`."""
        return weigh_pixels(self.height, self.width)


def weigh_pixels(height: int, width: int) -> float:
    """The weight of a photo of this size, see `Photo.weight`."""
    return max(1.0, height * width / LIGHT_PIXELS)


AnyPhoto = str | Path | Image.Image | NDArray[np.uint8] | Photo
"""A file, a Pillow image, uint8 RGB (height, width, 3), or an opened `Photo`."""


def open_photo(photo: AnyPhoto) -> Photo:
    """Decode a photo alone; a file of more than 24 MP is reduced.

    Raises:
        UserError: It cannot be read, is a file of several pages, has 16 bits and uses 14 or fewer, or is an array of another
            type or shape.
    """
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, str | Path):
        refuse_few_bits([Path(photo)])
        return open_file(Path(photo))
    if isinstance(photo, Image.Image):
        refuse_few_bits_of(photo, "the photo")
        photo = np.asarray(to_upright_rgb(photo))
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise UserError(f"a photo as an array is uint8 (height, width, 3), not {photo.dtype} {photo.shape}")
    return Photo(photo, photo.shape[0], photo.shape[1])


def open_file(path: Path) -> Photo:
    """As `open_photo`, for one of several photos, whose bits were judged together (`refuse_few_bits`).

    Raises:
        UserError: It cannot be read, or has several pages.
    """
    refuse_pages(path)
    whole = decode_photo(path)
    height, width = whole.height, whole.width
    pixels = np.asarray(reduce_large(whole, LARGEST_PHOTO_PIXELS))
    if pixels.shape[:2] != (height, width):
        del whole
        give_back_memory()  # otherwise the whole photo's memory is kept on top of the model's and the answer's
    return Photo(pixels, height, width)
