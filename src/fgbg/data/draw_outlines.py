"""Outlines drawn as a mask by COCO's own library, each of them looked at before.

The library trusts what it is given: where run lengths cover too few pixels it draws what lay in the memory, and for a
corner that is no number it takes all of the memory. So nothing reaches it that was not measured here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fgbg.data.annotations import Outlined, Shape
from fgbg.data.images import EXIF_ORIENTATION, open_image, read_photo_size
from fgbg.data.rle import unpack_runs
from fgbg.errors import UserError

GROUND, OBJECT, CROWD = 0, 1, 2  # as they are stored
_FARTHEST = 10  # photos away a corner may lie: memory and time of drawing grow with the way to it


class Pose(NamedTuple):
    """The size of a photo as it is shown, and how its camera was held."""

    height: int
    width: int
    orientation: int


def read_pose(photo: Path) -> Pose:
    """From the photo's header alone.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(photo) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    return Pose(*read_photo_size(photo), orientation)


def draw_mask(photo: Outlined, shapes: Iterable[Shape]) -> NDArray[np.uint8]:
    """Levels (height, width) as the tool saw the photo: 1 within an outline, 2 in a crowd and no outline, 0 elsewhere.

    Raises:
        UserError: An outline that is none, or lies outside the photo.
    """
    from pycocotools import mask as coco

    levels = np.zeros((photo.height, photo.width), np.uint8)
    for shape in sorted(shapes, key=lambda shape: not shape.is_crowd):
        try:
            if isinstance(shape.outline, list):
                _require_polygons(shape.outline, *levels.shape)
                runs = coco.merge(coco.frPyObjects(shape.outline, *levels.shape))
            else:
                counts = _require_runs(shape.outline, *levels.shape)
                runs = coco.frPyObjects({"size": list(levels.shape), "counts": counts}, *levels.shape)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise UserError(
                f"{photo.photo.name} has an outline of {shape.category} that cannot be drawn ({error}): mend it in the tool "
                "that made it, and export again"
            ) from None
        levels[coco.decode(runs).astype(np.bool_)] = CROWD if shape.is_crowd else OBJECT
    return levels


def _require_polygons(polygons: list[Any], height: int, width: int) -> None:
    """Refuse polygons that are none, and such as have their middle outside: those are of another photo or another size.

    What reaches a little over the edge is cut there: tools let a hand slip.

    Raises:
        TypeError, ValueError: They are refused.
    """
    corners = np.concatenate([_to_corners(polygon) for polygon in polygons])
    first, last = corners.min(axis=0), corners.max(axis=0)
    size = np.array([width, height])
    middle = (first + last) / 2
    if not ((middle >= 0) & (middle <= size) & (first >= -_FARTHEST * size) & (last <= _FARTHEST * size)).all():
        spans = " and ".join(f"{axis} {low:g} to {high:g}" for axis, low, high in zip("xy", first, last, strict=True))
        raise ValueError(f"it spans {spans}, outside a photo of {width}×{height}")


def _to_corners(polygon: Any) -> NDArray[np.float64]:
    """(corners, 2): x and y."""
    numbers = np.asarray(polygon, np.float64)
    if numbers.ndim != 1 or numbers.size % 2 or numbers.size < 6:
        raise ValueError("a polygon is a list x1, y1, x2, y2, … of at least three corners")
    return numbers.reshape(-1, 2)


def _require_runs(outline: Any, height: int, width: int) -> list[int]:
    """Run lengths, unpacked where they are text, that cover the photo to the pixel.

    Raises:
        KeyError, TypeError, ValueError: They do not.
    """
    counts = outline["counts"]
    lengths = list(counts) if isinstance(counts, list) else unpack_runs(counts)
    told_height, told_width = outline.get("size", (height, width))
    if (told_height, told_width) != (height, width):
        raise ValueError(f"its run lengths are of {told_width}×{told_height} pixels, the photo of {width}×{height}")
    if any(type(length) is not int or length < 0 for length in lengths):
        raise ValueError("its run lengths are not all whole numbers from 0 on")
    if sum(lengths) != height * width:
        raise ValueError(f"its run lengths cover {sum(lengths)} of {height * width} pixels")
    return lengths


def require_size(photo: Outlined, pose: Pose) -> None:
    """Refuse annotations that are not of their photo, upright or as it is stored. Before drawing: the size may be anything.

    Raises:
        UserError: They are of another size.
    """
    told, upright = (photo.height, photo.width), (pose.height, pose.width)
    if told == upright or (told == upright[::-1] and pose.orientation != 1):
        return
    raise UserError(
        f"{photo.photo} is {pose.width}×{pose.height} pixels, its annotations are of {photo.width}×{photo.height}: "
        "they must be of this very photo"
    )


def turn_upright(levels: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """A mask as its photo is shown. Most tools outline photos upright, some as they are stored, before the camera's turn.

    The size tells which. It does not for a photo that is square or upside down: there upright, the usual, is taken.
    """
    if levels.shape == (pose.height, pose.width):
        return levels
    picture = Image.fromarray(levels)
    picture.getexif()[EXIF_ORIENTATION] = pose.orientation
    return np.asarray(ImageOps.exif_transpose(picture))
