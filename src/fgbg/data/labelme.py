"""Read a LabelMe file as an outlined photo."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgbg.data.annotations import Outlined, Shape, read_json
from fgbg.data.images import FORMATS
from fgbg.data.rle import encode_runs
from fgbg.errors import UserError

CIRCLE_CORNERS = 64  # of the polygon that replaces a LabelMe circle: its area is 0.2 % too small
Point = tuple[float, float]


def read_labelme(path: Path, photo: Path) -> Outlined:
    """A photo, and what the LabelMe file beside it outlines.

    Raises:
        UserError: It is not a LabelMe file, or holds a shape without an area.
    """
    content = read_json(path)
    try:
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        shapes = [_read_shape(shape, height, width, path) for shape in content["shapes"]]
    except KeyError as error:
        raise UserError(f"{path} is no LabelMe file, it lacks {error}: save it again in LabelMe") from None
    except (TypeError, ValueError, IndexError, OSError) as error:  # OSError: a mask that is not a picture
        raise UserError(f"{path} is no LabelMe file ({error}): save it again in LabelMe") from None
    return Outlined(photo, photo.stem, height, width, shapes=shapes)


def _read_shape(shape: dict[str, Any], height: int, width: int, path: Path) -> Shape:
    label, kind = str(shape["label"]), shape.get("shape_type", "polygon")
    points: list[Point] = [(float(x), float(y)) for x, y in shape["points"]]
    if kind in ("polygon", "oriented_rectangle"):
        corners = points
    elif kind == "rectangle":
        (left, top), (right, bottom) = points
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif kind == "circle":
        centre, edge = points
        corners = list(_walk_circle(centre, math.dist(centre, edge)))
    elif kind == "mask":
        return Shape(label, _place_mask(shape["mask"], points[0], height, width))
    else:
        raise UserError(
            f"{path} has a {kind} called {label}, which has no area: outline it as polygon, rectangle, circle or mask"
        )
    return Shape(label, [[value for corner in corners for value in corner]])


def _walk_circle(centre: Point, radius: float) -> Iterator[Point]:
    for corner in range(CIRCLE_CORNERS):
        angle = 2 * math.pi * corner / CIRCLE_CORNERS
        yield centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)


def _place_mask(encoded: str, corner: Point, height: int, width: int) -> dict[str, Any]:
    """A LabelMe mask, a base64 picture of the object's bounding box, as run lengths over the photo.

    Raises:
        ValueError: The box does not lie within the photo.
    """
    with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=FORMATS) as picture:
        box = np.asarray(picture.convert("L")) > 0
    left, top = (round(value) for value in corner)
    bottom, right = top + box.shape[0], left + box.shape[1]
    if left < 0 or top < 0 or bottom > height or right > width:
        raise ValueError(f"a mask from ({left}, {top}) to ({right}, {bottom}) reaches out of {width}×{height} pixels")
    whole = np.zeros((height, width), np.bool_)
    whole[top:bottom, left:right] = box
    return {"size": [height, width], "counts": encode_runs(whole)}
