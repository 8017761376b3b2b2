"""Draw outlines as a mask with COCO's own library, after validating each of them.

The library trusts its input: run lengths that cover too few pixels make it draw uninitialised memory, and a corner that is
NaN makes it allocate all memory. So every outline is validated here first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fgbg.data.annotations import Outlined, Shape
from fgbg.data.images import EXIF_ORIENTATION, open_image, read_orientation, read_photo_size
from fgbg.data.rle import unpack_runs
from fgbg.errors import UserError
from fgbg.words import OBJECT

CROWD = 2  # as stored, beside ground and object
_FARTHEST = 10  # photo widths or heights to the farthest corner: memory and time of drawing grow with it


class Pose(NamedTuple):
    """The size of the upright photo, and its EXIF orientation."""

    height: int
    width: int
    orientation: int


def read_pose(photo: Path) -> Pose:
    """Read a photo's pose from its header alone.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(photo) as image:
        orientation = read_orientation(image, photo)
    return Pose(*read_photo_size(photo), orientation)


def draw_mask(photo: Outlined, shapes: Iterable[Shape]) -> NDArray[np.uint8]:
    """Levels (height, width), oriented as in the tool: 1 inside an outline, 2 inside nothing but a crowd, 0 elsewhere.

    Raises:
        UserError: An outline is malformed, or lies outside the photo.
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
                f"{photo.photo.name} has an outline of {shape.category} that cannot be drawn ({error}): fix it in the tool "
                "that made it, and export again"
            ) from None
        levels[coco.decode(runs).astype(np.bool_)] = CROWD if shape.is_crowd else OBJECT
    return levels


def _require_polygons(polygons: list[Any], height: int, width: int) -> None:
    """Refuse malformed polygons, and those centred outside the photo: they belong to another photo or another size.

    Polygons that reach a little over the edge are clipped there: hands slip.

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
    """A polygon's corners, (corners, 2): x and y."""
    numbers = np.asarray(polygon, np.float64)
    if numbers.ndim != 1 or numbers.size % 2 or numbers.size < 6:
        raise ValueError("a polygon is a list x1, y1, x2, y2, … of at least three corners")
    return numbers.reshape(-1, 2)


def _require_runs(outline: Any, height: int, width: int) -> list[int]:
    """The outline's run lengths, unpacked if they are text, which must cover the photo exactly.

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
    """Refuse annotations whose size is not the photo's, upright or as stored. Call it before drawing: sizes may be absurd.

    Raises:
        UserError: The sizes differ.
    """
    told, upright = (photo.height, photo.width), (pose.height, pose.width)
    if told == upright or (told == upright[::-1] and pose.orientation != 1):
        return
    raise UserError(
        f"{photo.photo} is {pose.width}×{pose.height} pixels, its annotations are of {photo.width}×{photo.height}: "
        "they must be of this very photo"
    )


def turn_upright(levels: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """The mask of the upright photo. Most tools annotate photos upright, some as stored, before EXIF orientation.

    The size tells which, except for a photo that is square or upside down: there upright, the usual case, is assumed.
    """
    if levels.shape == (pose.height, pose.width):
        return levels
    picture = Image.fromarray(levels)
    picture.getexif()[EXIF_ORIENTATION] = pose.orientation
    return np.asarray(ImageOps.exif_transpose(picture))
