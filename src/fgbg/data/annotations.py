"""COCO and LabelMe annotations as shapes per photo; nothing is drawn here.

A folder is in COCO's format if a JSON file has `images` and `annotations`, and in LabelMe's if each photo has a JSON file
with its `shapes` beside it. `fgbg.data.coco` and `fgbg.data.labelme` read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbg.data.folders import FOLDER_SPLITS, list_spellings
from fgbg.data.images import IMAGE_SUFFIXES
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


def find_annotations(folder: Path) -> tuple[str, list[Path]]:
    """`COCO` or `LabelMe`, and the JSON files with the outlines; an empty name if the folder has none.

    COCO files are searched for in the folder, in annotations/, and in the folders of `FOLDER_SPLITS`; LabelMe files
    beside the photos, in the folder or in images/.
    """
    places = (folder, folder / "annotations", *(folder / part for part in FOLDER_SPLITS))
    coco = [path for place in places for path in _list_coco(place)]
    if coco:
        return "COCO", coco
    for place in (folder / "images", folder):
        beside = [path for path in _list_json(place) if find_photo_beside(path)]
        if beside:
            return "LabelMe", beside
    return "", []


def _list_coco(folder: Path) -> list[Path]:
    """COCO files directly in a folder; only instances_*.json if there are any (the rest are captions and keypoints)."""
    files = [path for path in _list_json(folder) if not find_photo_beside(path) and _is_coco(path)]
    instances = [path for path in files if path.name.startswith("instances_")]
    return instances or files


def _list_json(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))


def _is_coco(path: Path) -> bool:
    content = path.read_bytes()
    return b'"images"' in content and b'"annotations"' in content


def find_photo_beside(path: Path) -> Path | None:
    """The photo of the same name beside a JSON file, however either spells accents."""
    for stem in list_spellings(path.stem):
        for suffix in sorted(IMAGE_SUFFIXES):
            for name in (path.with_name(stem + suffix), path.with_name(stem + suffix.upper())):
                if name.is_file():
                    return name
    return None


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
    counts: dict[str, int] = {}
    for photo in photos:
        for shape in photo.shapes:
            counts[shape.category] = counts.get(shape.category, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
