"""COCO and LabelMe annotations as shapes per photo; nothing is drawn here.

A folder is in COCO's format if a JSON file has `images` and `annotations`, and in LabelMe's if each photo has a JSON file
with its `shapes` beside it. `fgbg.data.coco` and `fgbg.data.labelme` read them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fgbg.data.folders import SPLIT_NAMES, compose
from fgbg.data.images import list_images
from fgbg.errors import UserError


@dataclass(frozen=True)
class Shape:
    """One outlined object.

    `outline` is what COCO calls a segmentation: polygons [x1, y1, x2, y2, …], or run lengths {"counts": …, "size": [h, w]}.
    It is not validated here; drawing refuses anything else that a broken file may hold.
    """

    category: str
    outline: Any
    is_crowd: bool = False  # many objects in one rough region


@dataclass
class Outlined:
    """A photo and everything outlined in it; the size is the one that the annotation tool recorded."""

    photo: Path
    id: str
    height: int
    width: int
    split: str = ""
    shapes: list[Shape] = field(default_factory=list)


class Annotations(NamedTuple):
    """Which files hold a folder's outlines."""

    kind: str  # COCO or LabelMe
    photos: Mapping[Path, Path | None]  # by JSON file: the photo beside a LabelMe file; None for a COCO file


def find_annotations(folder: Path) -> Annotations | None:
    """The JSON files with the outlines of a folder; None if it has none.

    COCO files are searched for in the folder, in annotations/, and in the folders of `SPLIT_NAMES`; LabelMe files
    beside the photos, in the folder or in images/.
    """
    places = (folder, folder / "annotations", *(folder / part for part in SPLIT_NAMES))
    coco = [path for place in places for path in _list_coco(place)]
    if coco:
        return Annotations("COCO", dict.fromkeys(coco))
    for place in (folder / "images", folder):
        if beside := _pair_json(place):
            return Annotations("LabelMe", beside)
    return None


def _list_coco(folder: Path) -> list[Path]:
    """COCO files directly in a folder; only instances_*.json if there are any (the rest are captions and keypoints)."""
    beside = _pair_json(folder)
    files = [path for path in _list_json(folder) if path not in beside and _is_coco(path)]
    instances = [path for path in files if path.name.startswith("instances_")]
    return instances or files


def _pair_json(folder: Path) -> dict[Path, Path]:
    """The JSON files of a folder that have a photo of the same name beside them, however either spells accents."""
    files = _list_json(folder)
    photos = {compose(photo.stem): photo for photo in list_images(folder)} if files else {}
    return {path: photos[compose(path.stem)] for path in files if compose(path.stem) in photos}


def _list_json(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))


def _is_coco(path: Path) -> bool:
    content = path.read_bytes()
    return b'"images"' in content and b'"annotations"' in content


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: It is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON file: {error}; export it again") from None


def list_categories(photos: Sequence[Outlined]) -> dict[str, int]:
    """Number of shapes per category, most common first."""
    counts = Counter(shape.category for photo in photos for shape in photo.shapes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
