"""Folders of photos with COCO annotations, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]  # x from 1 to 4, y from 1 to 3: six pixels


def write_photo(path: Path, pixels: NDArray[np.uint8] | None = None, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.zeros((5, 6, 3), np.uint8) if pixels is None else pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


def write_coco(
    path: Path,
    photos: dict[str, Sequence[tuple[str, Any]]],
    size: tuple[int, int] = (5, 6),
    *,
    crowds: Sequence[str] = (),
) -> None:
    """Photos by file name, each with its categories and segmentations; in those of `crowds` each is a crowd."""
    names = sorted({name for shapes in photos.values() for name, _ in shapes} | {"unused"})
    content: dict[str, Any] = {
        "images": [
            {"id": 10 + index, "file_name": name, "height": size[0], "width": size[1]} for index, name in enumerate(photos)
        ],
        "categories": [{"id": 100 + index, "name": name} for index, name in enumerate(names)],
        "annotations": [
            {
                "id": 0,
                "image_id": 10 + index,
                "category_id": 100 + names.index(name),
                "segmentation": outline,
                "iscrowd": int(photo in crowds),
            }
            for index, (photo, shapes) in enumerate(photos.items())
            for name, outline in shapes
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def many(tmp_path: Path, shapes: Sequence[tuple[str, Any]], count: int = 12, *, crowds: Sequence[str] = ()) -> Path:
    """A COCO folder of so many photos, each with these shapes but the last, which has none."""
    folder = tmp_path / "data"
    names = [f"{index:02}.png" for index in range(count)]
    for index, name in enumerate(names):
        write_photo(folder / "images" / name, np.full((5, 6, 3), index, np.uint8))
    write_coco(folder / "annotations.json", {name: shapes if name != names[-1] else [] for name in names}, crowds=crowds)
    return folder
