"""Read a COCO file as outlined photos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgbg.data.annotations import Outlined, Shape, read_json
from fgbg.data.folders import SPLIT_NAMES, list_spellings
from fgbg.errors import UserError

_SPLIT_WORD = re.compile(
    r"(train|val|test)(id|idation|ing)?\d*", re.IGNORECASE
)  # train, val2017, valid, Validation; not valley
_SHORTEST_POLYGON = 6  # numbers: three corners


def read_coco(path: Path, folder: Path) -> list[Outlined]:
    """The photos of one COCO file, in its order.

    Args:
        path: The JSON file. If its name or folder says train, val, valid or test, that is the photos' split.
        folder: The folder of the data set.

    Raises:
        UserError: It is not a COCO file, or contradicts itself.
    """
    content = read_json(path)
    try:
        categories = {key: str(item["name"]) for key, item in _key_by_id(content, "categories", path).items()}
        split = _tell_split(path, folder)
        images = _key_by_id(content, "images", path)
        photos = {key: _read_image(item, path, folder, split) for key, item in images.items()}
        for item in content["annotations"]:
            outline = _drop_areas_of_none(item.get("segmentation"))
            if not outline:  # only a box, no outline
                continue
            if item["image_id"] not in photos:
                raise UserError(
                    f"{path} outlines something in image {item['image_id']}, which it does not list: export it again"
                )
            if item["category_id"] not in categories:
                raise UserError(
                    f"{path} has outlines of category {item['category_id']}, which it does not name: export it again"
                )
            shape = Shape(categories[item["category_id"]], outline, bool(item.get("iscrowd", 0)))
            photos[item["image_id"]].shapes.append(shape)
    except KeyError as error:
        raise UserError(f"{path} is no COCO file of outlines, it lacks {error}: export it again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is no COCO file of outlines ({error}): export it again") from None
    return list(photos.values())


def _key_by_id(content: Mapping[str, Sequence[dict[str, Any]]], part: str, path: Path) -> dict[Any, dict[str, Any]]:
    """The file's images or categories by id; an entry may be there twice if both say the same.

    Raises:
        UserError: Different entries share an id, so that nothing tells which of them an outline belongs to.
    """
    found: dict[Any, dict[str, Any]] = {}
    for item in content[part]:
        if found.setdefault(item["id"], item) != item:
            raise UserError(
                f"{path} lists several {part} with the id {item['id']}: give each an id of its own, also where outlines "
                "refer to it (to merge files, add an offset to the ids of one)"
            )
    return found


def _read_image(item: dict[str, Any], path: Path, folder: Path, split: str) -> Outlined:
    name = str(item["file_name"])
    sample_id = str(Path(name).with_suffix("")).replace("/", "_")
    return Outlined(_find_photo(name, path, folder), sample_id, int(item["height"]), int(item["width"]), split)


def _drop_areas_of_none(outline: Any) -> Any:
    """Drop polygons of one or two corners from a segmentation: some exporters write them for a click."""
    if not isinstance(outline, list):
        return outline
    return [part for part in outline if not isinstance(part, list) or len(part) >= _SHORTEST_POLYGON]


def _tell_split(path: Path, folder: Path) -> str:
    """The split named by, say, train/_annotations.coco.json or annotations/instances_val2017.json; empty if none is.

    The data folder's own name does not count: my-pets/train/ may be the whole data set.
    """
    words = [] if path.parent == folder else [path.parent.name]
    words += re.split(r"[-_.]", path.stem)
    return next((SPLIT_NAMES[found[1].lower()] for word in words if (found := _SPLIT_WORD.fullmatch(word))), "")


def _find_photo(name: str, path: Path, folder: Path) -> Path:
    """Path of the photo that a COCO file names, however either spells accents; its likeliest path if there is none."""
    part = path.stem.removeprefix("instances_")
    places = [path.parent, folder / "images", folder / "images" / part, folder / part, folder]
    paths = [place / spelling for place in places for spelling in list_spellings(name)]
    return next(filter(Path.is_file, paths), folder / "images" / name)
