"""Cut-outs with soft edges: how much of a pixel at the outline is object, and which colour the object has there (hair, fur).

Closed-form matting (Levin et al. 2008) and multi-level foreground estimation (Germer et al. 2020), both from pymatting.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.errors import UserError
from fgbg.quiet import without_warnings

BAND = 0.02  # of the photo's longer edge: how far to both sides of the outline pixels may be partly object
STRIP = 1024  # rows that are recoloured at a time: bounds memory
# For pymatting's preconditioner: its defaults start at 0, where it prints that it fails wherever colours are flat.
SHIFTS = (1e-3, 1e-2, 0.1, 1.0, 10.0)
LARGEST_PIXELS = 1_000_000  # of the matted part around the object; larger ones are reduced, and their alpha enlarged


def list_absent() -> list[str]:
    """The libraries that are needed and not installed."""
    return [name for name in ("scipy", "pymatting") if importlib.util.find_spec(name) is None]


def require_matting() -> None:
    """Refuse if a library is missing.

    Raises:
        UserError: One is.
    """
    if absent := list_absent():
        raise UserError(f"soft edges need {' and '.join(absent)}: pip install 'fgbg[refine]'")


def prepare_matting() -> None:
    """Import pymatting ahead of the first photo: it compiles itself the first time on a machine."""
    with suppress(ImportError):  # without it, soft edges are not offered
        import pymatting  # noqa: F401


def matte(photo: Image.Image, mask: NDArray[np.uint8]) -> Image.Image:
    """The object with soft edges, as RGBA of the photo's size. Further than `BAND` from the outline the mask is kept.

    Args:
        photo: RGB.
        mask: (height, width), object 255 and ground 0.
    """
    stored = Image.fromarray(mask)
    if stored.getextrema() != (0, 255):  # all object, or all ground
        photo.putalpha(stored)
        return photo
    reach = max(2, round(BAND * max(mask.shape)))
    left, top, right, bottom = box = _surround(mask, 2 * reach)
    part_size = right - left, bottom - top
    scale = min(1.0, (LARGEST_PIXELS / (part_size[0] * part_size[1])) ** 0.5)
    size = max(1, round(part_size[0] * scale)), max(1, round(part_size[1] * scale))
    # No part of a large photo is copied: what is enlarged goes straight into it.
    small = photo.resize(size, Image.Resampling.BOX, box=box)
    small_mask = stored.resize(size, Image.Resampling.NEAREST, box=box)
    if small_mask.getextrema() != (0, 255):  # specks of one kind, which the reduced photo has lost: their edges stay hard
        photo.putalpha(stored)
        return photo
    alpha, colours = _estimate(np.asarray(small), np.asarray(small_mask) > 0, max(2, round(reach * scale)))
    soft = Image.fromarray(alpha).resize(part_size, Image.Resampling.BILINEAR)
    _recolour(photo, Image.fromarray(colours), soft, (left, top))
    stored.paste(0, (0, 0, *stored.size))
    stored.paste(soft, (left, top))
    photo.putalpha(stored)
    return photo


def _recolour(photo: Image.Image, colours: Image.Image, soft: Image.Image, place: tuple[int, int]) -> None:
    """Give pixels that are partly object the object's colours, enlarged to the size of `soft`; the others keep theirs."""
    width, height = soft.size
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        rows = (0, top * colours.height / height, colours.width, bottom * colours.height / height)
        strip = colours.resize((width, bottom - top), Image.Resampling.BILINEAR, box=rows)
        is_partial = soft.crop((0, top, width, bottom)).point(_IS_PARTIAL)
        photo.paste(strip, (place[0], place[1] + top), is_partial)


_IS_PARTIAL = [0, *[255] * 254, 0]  # for each alpha from 0 to 255


def _surround(mask: NDArray[np.uint8], margin: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the object with a margin, in pixels, around it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    height, width = mask.shape
    left, top = max(0, columns[0] - margin), max(0, rows[0] - margin)
    return int(left), int(top), int(min(width, columns[-1] + 1 + margin)), int(min(height, rows[-1] + 1 + margin))


def _estimate(
    pixels: NDArray[np.uint8], inside: NDArray[np.bool_], reach: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Alpha (height, width) and the object's colours (height, width, 3), both 0 to 255."""
    from pymatting import estimate_alpha_cf, estimate_foreground_ml, ichol
    from scipy import ndimage

    # It prints which shifts failed before the one that it took: nothing to act on, and stdout is the command's.
    ichol.__globals__["print"] = lambda *_: None
    is_object = ndimage.distance_transform_edt(inside) > reach
    is_ground = ndimage.distance_transform_edt(~inside) > reach
    if not is_object.any():  # a thin object: its middle is still known
        depth = ndimage.distance_transform_edt(inside)
        is_object = depth > 0.7 * depth.max()
    trimap = np.where(is_object, 1.0, np.where(is_ground, 0.0, 0.5))
    image = pixels / 255
    alpha = inside.astype(np.float64)
    if (trimap == 0.5).any() and is_ground.any():
        try:
            with without_warnings:  # of pymatting's internals
                alpha = estimate_alpha_cf(image, trimap, preconditioner=lambda matrix: ichol(matrix, shifts=SHIFTS))
        except ValueError:  # it found no solution: the edges stay hard
            pass
    colours = estimate_foreground_ml(image, alpha)
    return (alpha * 255).round().astype(np.uint8), (colours * 255).round().astype(np.uint8)
