"""Resize a photo to the square that a network sees, and the network's answer back to the photo's size.

This is the only resize between a decoded photo and the network, and back: the cache, training targets and every prediction
use it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from fgbg.words import NOT_JUDGED, Fit


@dataclass(frozen=True)
class Placement:
    """Where the photo lies in the square: `height` x `width` pixels from (`top`, `left`)."""

    top: int
    left: int
    height: int
    width: int


def place_photo(height: int, width: int, size: int, fit: Fit) -> Placement:
    """Where a photo of `height` x `width` pixels lies in a square of edge `size`; for `crop`, where a tile of it does.

    >>> place_photo(100, 200, 64, "pad")
    Placement(top=16, left=0, height=32, width=64)

    Raises:
        ValueError: With `crop`, which does not resize, the tile is larger than the square.
    """
    if fit == "squash":
        return Placement(0, 0, size, size)
    if fit == "crop":
        if max(height, width) > size:
            raise ValueError(f"{width}×{height} pixels do not lie in a square of {size}: cut tiles out of them")
        return Placement(0, 0, height, width)
    longer = max(height, width)
    inner_height = max(1, round(height * size / longer))
    inner_width = max(1, round(width * size / longer))
    return Placement((size - inner_height) // 2, (size - inner_width) // 2, inner_height, inner_width)


def fit_pixels(pixels: UInt8[Tensor, "height width 3"], size: int, fit: Fit) -> Float[Tensor, "3 size size"]:
    """The photo as the square a network sees, 0..1: antialiased bilinear, black outside the photo."""
    return put_into_square(pixels, place_photo(pixels.shape[0], pixels.shape[1], size, fit), size)


def put_into_square(pixels: UInt8[Tensor, "height width 3"], place: Placement, size: int) -> Float[Tensor, "3 size size"]:
    """The photo at its place in the square."""
    image = resize(pixels.permute(2, 0, 1).float(), place.height, place.width) / 255
    return _surround(image, place, size, 0.0)


def fit_target(target: UInt8[Tensor, "height width"], size: int, fit: Fit) -> UInt8[Tensor, "size size"]:
    """Levels or a target as the same square: nearest neighbour, 255 (not judged) outside the photo."""
    place = place_photo(target.shape[0], target.shape[1], size, fit)
    return _surround(resize_target(target, place.height, place.width), place, size, NOT_JUDGED)


def unfit_probability(probability: Float[Tensor, "_ _"], height: int, width: int, fit: Fit) -> Float[Tensor, "height width"]:
    """The square's answer at the photo's own size: the part that the photo covers, enlarged.

    For `crop` the answer covers the whole decoded photo, and is enlarged only if the photo was reduced on decode.
    """
    if fit == "crop":
        return resize(probability[None], height, width)[0]
    return take_out_of_square(probability, place_photo(height, width, probability.shape[-1], fit), height, width)


def take_out_of_square(
    probability: Float[Tensor, "size size"], place: Placement, height: int, width: int
) -> Float[Tensor, "height width"]:
    """The part of the square at `place`, resized to `height` x `width`."""
    # `narrow`, not a slice: in an exported graph the place is known only at run time.
    inner = probability.narrow(0, place.top, place.height).narrow(1, place.left, place.width)
    return resize(inner[None], height, width)[0]


def resize(image: Float[Tensor, "channels _ _"], height: int, width: int) -> Float[Tensor, "channels height width"]:
    """Antialiased bilinear resize, linear in the values."""
    # torch repeats the first row where the width is 1. In an exported graph, which is right, the width is not known yet.
    if isinstance(width, int) and width == 1 < height:
        return resize(image.transpose(1, 2), width, height).transpose(1, 2)
    return F.interpolate(image[None], (height, width), mode="bilinear", antialias=True, align_corners=False)[0]


def resize_target(target: UInt8[Tensor, "_ _"], height: int, width: int) -> UInt8[Tensor, "height width"]:
    """Nearest-neighbour resize of levels or a target, by pixel centres; it invents no values."""
    return F.interpolate(target[None, None], (height, width), mode="nearest-exact")[0, 0]


def _surround(image: Tensor, place: Placement, size: int, value: float) -> Tensor:
    """Pad to the square with `value`."""
    right, bottom = size - place.left - place.width, size - place.top - place.height
    return F.pad(image, (place.left, right, place.top, bottom), value=value)
