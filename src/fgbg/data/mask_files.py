"""Read masks from disk as they are stored: grey values, palettes, alpha channels, a colour on black. Not yet interpreted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fgbg.data.images import open_image
from fgbg.errors import UserError

_CURE = "save it as 8-bit grey with two values, such as 0 and 255"

GREY, INDEX, ALPHA = "grey values", "palette indices", "an alpha channel"
BLACK_AND_WHITE = "black and white of a palette"
"""How a file stores a mask's values; a fifth way is a colour on black, such as "RGB (200, 0, 0)"."""
EMPTY = "0 everywhere"
"""Grey values of a mask without an object: they do not tell how the set is stored."""
LARGE = "values over 255"
"""Grey values of which some are larger than 8 bits hold, as where objects are numbered; those are kept as 255."""


class UnknownStorageError(UserError):
    """The file is whole, but stores its mask in a way that is not read."""


@dataclass(frozen=True)
class StoredMask:
    """A mask as its file stores it: uint8 values (height, width), upright but not interpreted, and their kind (above)."""

    values: NDArray[np.uint8]
    place: str


def read_mask(path: Path) -> StoredMask:
    """The mask as stored: grey values (white is 255 in a 1-bit picture), palette indices, an alpha channel, or 255
    where a picture in black and one colour shows the colour.

    Raises:
        UserError: The file cannot be read; `UnknownStorageError` if it stores its mask in an unknown way.
    """
    with open_image(path) as image:
        if any(";16" in str(tile[3]) for tile in image.tile) and not image.mode.startswith("I"):
            # Pillow keeps only the upper 8 bits, which turns 1 into 0.
            raise UnknownStorageError(f"mask {path} has several channels of 16 bits: {_CURE}")
        mask = ImageOps.exif_transpose(image)
        if mask.mode in ("P", "PA"):
            return _read_palette_mask(mask, path, indexed=image.format != "GIF")
        if mask.mode in ("RGBA", "LA"):
            alpha = np.asarray(mask.getchannel("A"))
            if (alpha < 255).any():  # a cut-out: the opaque part is the object
                return StoredMask(alpha, ALPHA)
            mask = mask.convert(mask.mode[:-1])
        if mask.mode in ("I", "F") or mask.mode.startswith("I;16"):
            return narrow_mask(np.asarray(mask), str(path))
        if mask.mode in ("1", "L"):
            return StoredMask(np.asarray(mask.convert("L")), GREY)
        if mask.mode == "RGB":
            return _read_colour_mask(np.asarray(mask), path)
    raise UnknownStorageError(f"mask {path} has pixel mode {mask.mode}: {_CURE}")


def _read_palette_mask(mask: Image.Image, path: Path, *, indexed: bool) -> StoredMask:
    """A palette either numbers classes or merely saves space; in a GIF (not `indexed`) it always does the latter."""
    indices = np.asarray(mask.getchannel(0))
    palette = np.array(mask.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if mask.has_transparency_data:
        alpha = np.asarray(mask.convert("RGBA").getchannel("A"))
        if (alpha < 255).any():
            if indexed and len(np.unique(indices[alpha > 0])) > 1:
                raise UnknownStorageError(f"mask {path} has both a palette of classes and transparent parts: {_CURE}")
            return StoredMask(alpha, ALPHA)
    used = np.unique(indices)
    if used.max(initial=0) >= len(palette) or len(np.unique(palette[used], axis=0)) < len(used):
        return StoredMask(indices, INDEX)  # the palette shows several values alike, so its colours mean nothing
    shown = palette[indices]
    if (palette == palette[:, :1]).all():
        return StoredMask(np.ascontiguousarray(shown[:, :, 0]), GREY)
    if not indexed or len(np.unique(palette, axis=0)) <= 2:
        return _read_colour_mask(shown, path)
    if (shown == shown[:, :, :1]).all() and np.isin(shown, (0, 255)).all():
        place = GREY if (shown[:, :, 0] == indices).all() else BLACK_AND_WHITE
        return StoredMask(np.ascontiguousarray(shown[:, :, 0]), place)
    return StoredMask(indices, INDEX)


def _read_colour_mask(shown: NDArray[np.uint8], path: Path) -> StoredMask:
    """A mask stored as RGB (height, width, 3): grey in all three channels, or black and one colour."""
    spread = shown.max(axis=2) - shown.min(axis=2)
    if not spread.any() or (spread.max() <= 2 and shown.max() > 127):  # lossy WebP tints black and white a little
        return StoredMask(shown.max(axis=2), GREY)
    painted = shown.any(axis=2)
    colours = shown[painted]
    if (colours != colours[0]).any():
        raise UnknownStorageError(f"mask {path} holds colours that are more than black and one other: {_CURE}")
    return StoredMask(np.where(painted, 255, 0).astype(np.uint8), "RGB ({}, {}, {})".format(*colours[0]))


def narrow_mask(values: NDArray[np.number[Any]] | NDArray[np.bool_], name: str) -> StoredMask:
    """A mask of grey values of any type as uint8: 0 and 65535 as 0 and 255, whole numbers up to 255 unchanged.

    Larger ones become 255, and the mask `LARGE`.

    Raises:
        UnknownStorageError: It holds negative numbers, fractions or NaN.
    """
    if np.isin(values, (0, 65535)).all():
        return StoredMask(np.where(values != 0, 255, 0).astype(np.uint8), GREY)
    odd = values[~(np.isfinite(values) & (values >= 0) & (values == np.floor(values)))]
    if odd.size:
        raise UnknownStorageError(f"mask {name} holds {odd[0]}, which is no whole number from 0 on: {_CURE}")
    return StoredMask(np.minimum(values, 255).astype(np.uint8), LARGE if values.max(initial=0) > 255 else GREY)
