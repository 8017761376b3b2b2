"""Outlines that annotation tools write, COCO's and LabelMe's, as shapes by photo; nothing is drawn here.

A folder is COCO's where a JSON file names `images` and `annotations`, and LabelMe's where such a file lies beside each photo
and holds its `shapes`.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgbg.data.images import IMAGE_SUFFIXES
from fgbg.data.rle import encode_runs
from fgbg.errors import UserError

SPLIT_WORDS = {"train": "train", "valid": "validation", "val": "validation", "test": "test"}  # as names of files begin
CIRCLE_CORNERS = 64  # of the polygon that stands for LabelMe's circle: its area is 0.2 % short


@dataclass(frozen=True)
class Shape:
    """One object as it was outlined.

    `outline` is what COCO calls a segmentation: polygons [x1, y1, x2, y2, …], or run lengths {"counts": …, "size": [h, w]}.
    """

    category: str
    outline: list[list[float]] | dict[str, Any]
    is_crowd: bool = False  # many objects in one rough region


@dataclass
class Outlined:
    """A photo and everything that was outlined in it; the size is what the tool took it for."""

    photo: Path
    id: str
    height: int
    width: int
    split: str = ""
    shapes: list[Shape] = field(default_factory=list)


def find_annotations(folder: Path) -> tuple[str, list[Path]]:
    """`COCO` or `LabelMe` and the JSON files that hold the outlines; an empty name where a folder has none.

    COCO's are looked for in the folder, in annotations/, and in train/, val/, valid/ and test/; LabelMe's beside the photos,
    in the folder or in images/.
    """
    places = (folder, folder / "annotations", *(folder / part for part in SPLIT_WORDS))
    coco = [path for place in places for path in _list_json(place) if not _find_photo_beside(path) and _is_coco(path)]
    if coco:
        return "COCO", coco
    for place in (folder / "images", folder):
        beside = [path for path in _list_json(place) if _find_photo_beside(path)]
        if beside:
            return "LabelMe", beside
    return "", []


def _list_json(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))


def _is_coco(path: Path) -> bool:
    content = path.read_bytes()
    return b'"images"' in content and b'"annotations"' in content


def _find_photo_beside(path: Path) -> Path | None:
    """The photo of the same name beside a JSON file."""
    for suffix in IMAGE_SUFFIXES:
        for name in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
            if name.is_file():
                return name
    return None


def read_coco(path: Path, folder: Path) -> list[Outlined]:
    """The photos of one COCO file, in its order.

    Args:
        path: The JSON file. Where its name or folder begins with train, val, valid or test, that is the photos' split.
        folder: Of the data set.

    Raises:
        UserError: It is no COCO file.
    """
    content = _read_json(path)
    try:
        categories = {item["id"]: str(item["name"]) for item in content["categories"]}
        split = _tell_split(path)
        photos = {
            item["id"]: Outlined(
                _find_photo(str(item["file_name"]), path, folder),
                str(Path(item["file_name"]).with_suffix("")).replace("/", "_"),
                int(item["height"]),
                int(item["width"]),
                split,
            )
            for item in content["images"]
        }
        for item in content["annotations"]:
            if item.get("segmentation"):  # without one it is a box, which outlines nothing
                shape = Shape(categories[item["category_id"]], item["segmentation"], bool(item.get("iscrowd", 0)))
                photos[item["image_id"]].shapes.append(shape)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is no COCO file of outlines: {type(error).__name__} {error}; export it again") from None
    return list(photos.values())


def _tell_split(path: Path) -> str:
    """From names such as train/_annotations.coco.json and annotations/instances_val2017.json; empty where they tell none."""
    words = [path.parent.name, *path.stem.replace("-", "_").split("_")]
    return next((split for word in words for start, split in SPLIT_WORDS.items() if word.startswith(start)), "")


def _find_photo(name: str, path: Path, folder: Path) -> Path:
    """Where the photo lies that a COCO file names; the likeliest place if it lies nowhere."""
    part = path.stem.removeprefix("instances_")
    places = [path.parent, folder / "images", folder / "images" / part, folder / part, folder]
    return next((place / name for place in places if (place / name).is_file()), folder / "images" / name)


def read_labelme(path: Path) -> Outlined:
    """The photo of one LabelMe file.

    Raises:
        UserError: It is no LabelMe file, or holds a shape without an area.
    """
    content = _read_json(path)
    photo = _find_photo_beside(path)
    assert photo is not None  # so it was found
    try:
        height, width = content["imageHeight"], content["imageWidth"]
        shapes = [_read_shape(shape, height, width, path) for shape in content["shapes"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} is no LabelMe file: {type(error).__name__} {error}; save it again in LabelMe") from None
    return Outlined(photo, photo.stem, height, width, shapes=shapes)


def _read_shape(shape: dict[str, Any], height: int, width: int, path: Path) -> Shape:
    label, kind = str(shape["label"]), shape.get("shape_type", "polygon")
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "polygon":
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


def _walk_circle(centre: tuple[float, float], radius: float) -> Iterator[tuple[float, float]]:
    for corner in range(CIRCLE_CORNERS):
        angle = 2 * math.pi * corner / CIRCLE_CORNERS
        yield centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)


def _place_mask(encoded: str, corner: tuple[float, float], height: int, width: int) -> dict[str, Any]:
    """LabelMe's mask, a picture of the object's box in base64, as run lengths over the photo."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        box = np.asarray(picture.convert("L")) > 0
    left, top = (round(value) for value in corner)
    whole = np.zeros((height, width), np.bool_)
    whole[top : top + box.shape[0], left : left + box.shape[1]] = box[: height - top, : width - left]
    return {"size": [height, width], "counts": encode_runs(whole)}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON file: {error}") from None


def list_categories(photos: Sequence[Outlined]) -> dict[str, int]:
    """How many shapes each category has, the commonest first."""
    counts: dict[str, int] = {}
    for photo in photos:
        for shape in photo.shapes:
            counts[shape.category] = counts.get(shape.category, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
