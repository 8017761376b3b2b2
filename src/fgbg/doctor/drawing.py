"""Small pictures for the page: a photo with its mask's outline, a photo, a mask. Unreadable files give none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from fgbg.data.images import read_photo
from fgbg.data.mask_files import read_mask
from fgbg.data.masks import MaskEncoding
from fgbg.data.samples import Sample
from fgbg.doctor.alignment import move_mask
from fgbg.errors import UserError
from fgbg.judge.page.svg import embed
from fgbg.words import GROUND

EDGE = 320  # pixels: twice the width of a card, for high-density screens
OUTLINE = (230, 0, 92)
DIMMED = 0.55  # brightness of the ground, so that an inverted mask shows
HALO = (255, 255, 255)  # beside the outline, so that it shows on any photo


def draw_pair(sample: Sample, encoding: MaskEncoding | None, fit: tuple[str, float, float] | None = None) -> str:
    """A photo with its mask's outline as a data: URL; the outline is moved as `fit` says.

    The photo alone if there is no encoding or the mask cannot be read; "" if the photo cannot be read.
    """
    try:
        pixels = sample.read_pixels()
    except UserError:
        return ""
    try:
        levels = encoding.read_levels(sample.read_mask()) if encoding else None
    except UserError:
        levels = None
    photo = _shrink(Image.fromarray(pixels))
    if levels is None:
        return _encode(photo)
    body = (levels if fit is None else move_mask(levels, *fit)) != GROUND
    mask = np.asarray(Image.fromarray(body).resize(photo.size, Image.Resampling.NEAREST))
    return _encode(Image.fromarray(_outline(np.asarray(photo), mask)))


def draw_photo(path: Path) -> str:
    """A photo as a data: URL, or "" if it cannot be read."""
    try:
        return _encode(_shrink(Image.fromarray(read_photo(path))))
    except UserError:
        return ""


def draw_mask(path: Path) -> str:
    """A mask's stored values, stretched from black to white, as a data: URL; "" if it cannot be read."""
    try:
        values = read_mask(path).values.astype(np.float32)
    except UserError:
        return ""
    stretched = 255 * (values - values.min()) / max(1.0, float(np.ptp(values)))
    return _encode(_shrink(Image.fromarray(stretched.astype(np.uint8))))


def _shrink(image: Image.Image) -> Image.Image:
    """The image with its longer edge at EDGE pixels; a small one is enlarged with its pixels visible."""
    scale = EDGE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)


def _outline(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The photo with its ground dimmed, a line on the mask's edge and a light halo outside it."""
    drawn = np.where(mask[:, :, None], pixels, (DIMMED * pixels).astype(np.uint8))
    wide = ndimage.binary_dilation(mask, iterations=2)
    drawn[wide & ~ndimage.binary_dilation(mask)] = HALO
    drawn[ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask, border_value=1)] = OUTLINE
    return drawn


def _encode(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "WEBP", quality=80)
    return embed(stream.getvalue(), "webp")
