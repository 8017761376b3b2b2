"""Cut-outs with soft edges: how much of a pixel at the outline is object, and which colour the object has there (hair, fur).

Closed-form matting (Levin et al. 2008) and multi-level foreground estimation (Germer et al. 2020), both of pymatting.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.errors import UserError

BAND = 0.02  # of the photo's longer edge: so far to both sides of the outline a pixel may be in part object
LARGEST_PIXELS = 1_000_000  # of what is matted, around the object; larger ones are reduced, their alpha enlarged


def require_matting() -> None:
    """Refuse where the library is not there.

    Raises:
        UserError: It is not.
    """
    absent = [name for name in ("scipy", "pymatting") if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"soft edges need {' and '.join(absent)}: pip install 'fgbg[refine]'")


def matte(photo: Image.Image, mask: NDArray[np.uint8]) -> Image.Image:
    """The object with soft edges, as RGBA of the photo's size. Further than `BAND` from the outline the mask stays.

    Args:
        photo: RGB.
        mask: (height, width), object 255 and ground 0.
    """
    inside = mask > 0
    if inside.all() or not inside.any():
        photo.putalpha(Image.fromarray(mask))
        return photo
    reach = max(2, round(BAND * max(mask.shape)))
    box = _surround(inside, 2 * reach)
    part = photo.crop(box)
    scale = min(1.0, (LARGEST_PIXELS / (part.width * part.height)) ** 0.5)
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    small = part.resize(size, Image.Resampling.BOX) if scale < 1 else part
    small_mask = Image.fromarray(mask).crop(box).resize(size, Image.Resampling.NEAREST)
    alpha, colours = _estimate(np.asarray(small), np.asarray(small_mask) > 0, max(2, round(reach * scale)))
    soft = Image.fromarray(alpha).resize(part.size, Image.Resampling.BILINEAR)
    # Where all of a pixel is object its colour is the photo's own, at its full size.
    part.paste(Image.fromarray(colours).resize(part.size, Image.Resampling.BILINEAR), mask=soft.point(_IS_PARTIAL))
    whole_alpha = Image.new("L", photo.size)
    whole_alpha.paste(soft, box[:2])
    photo.paste(part, box[:2])
    photo.putalpha(whole_alpha)
    return photo


_IS_PARTIAL = [0, *[255] * 254, 0]  # of alpha 0 to 255


def _surround(inside: NDArray[np.bool_], margin: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the object with that many pixels around it."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    height, width = inside.shape
    left, top = max(0, columns[0] - margin), max(0, rows[0] - margin)
    return int(left), int(top), int(min(width, columns[-1] + 1 + margin)), int(min(height, rows[-1] + 1 + margin))


def _estimate(
    pixels: NDArray[np.uint8], inside: NDArray[np.bool_], reach: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Alpha (height, width) and the object's colours (height, width, 3), both 0 to 255."""
    from pymatting import estimate_alpha_cf, estimate_foreground_ml
    from scipy import ndimage

    is_object = ndimage.distance_transform_edt(inside) > reach
    is_ground = ndimage.distance_transform_edt(~inside) > reach
    if not is_object.any():  # a thin thing: its middle is known all the same
        depth = ndimage.distance_transform_edt(inside)
        is_object = depth > 0.7 * depth.max()
    trimap = np.where(is_object, 1.0, np.where(is_ground, 0.0, 0.5))
    image = pixels / 255
    if (trimap == 0.5).any() and is_ground.any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it does inside
            alpha = estimate_alpha_cf(image, trimap)
    else:
        alpha = inside.astype(np.float64)
    colours = estimate_foreground_ml(image, alpha)
    return (alpha * 255).round().astype(np.uint8), (colours * 255).round().astype(np.uint8)
