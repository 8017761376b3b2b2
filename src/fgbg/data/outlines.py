"""Outlines as masks: drawn once, by COCO's own library, and kept in the cache as PNG files that everything else reads."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fgbg.data.annotations import Outlined, Shape, find_annotations, list_categories, read_coco, read_labelme
from fgbg.data.images import EXIF_ORIENTATION, open_image, read_photo_size
from fgbg.data.masks import MaskEncoding
from fgbg.data.parallel import map_in_order
from fgbg.data.samples import Sample, name_some
from fgbg.errors import UserError, unknown_name
from fgbg.storage import cache_folder

FORMAT = 1  # part of every key: a change of what is drawn makes old masks unreachable, not wrong
GROUND, OBJECT, CROWD = 0, 1, 2  # as they are stored
ALL = "all"


def open_outlined(folder: Path, categories: Sequence[str]) -> tuple[list[Sample], MaskEncoding, list[Path], str]:
    """The photos of a folder with COCO or LabelMe annotations, and masks of them that are drawn now or were before.

    Args:
        folder: Of the data set.
        categories: Whose outlines are object; `all` for every one. Needed where there are several.

    Returns:
        Samples; what the masks' values mean; photos that are named and not there; what is to be said of it all.

    Raises:
        UserError: Annotations that cannot be read, or do not fit their photos; several categories and no choice among them.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError(f"the annotations in {folder} need pycocotools: pip install 'fgbg[annotations]'")
    kind, files = find_annotations(folder)
    photos = _read_all(kind, files, folder)
    chosen = choose_categories(photos, categories, folder)
    missing = [photo.photo for photo in photos if not photo.photo.is_file()]
    there = [photo for photo in photos if photo.photo.is_file()]
    masks = _find_or_draw(there, chosen, _key(files, chosen))
    samples = [Sample(photo.id, photo.photo, masks / f"{photo.id}.png", split=photo.split) for photo in there]
    kept = [[shape for shape in photo.shapes if shape.category in chosen] for photo in there]
    crowds = sum(shape.is_crowd for shapes in kept for shape in shapes)
    encoding = MaskEncoding(f"{kind} outlines of {', '.join(chosen)}", (OBJECT,), (GROUND,), (CROWD,) if crowds else ())
    said = [f"{kept.count([])} photos without an outline are all ground"] if [] in kept else []
    said += [f"{crowds} crowd regions are the band, see --border"] if crowds else []
    return samples, encoding, missing, "; ".join(said)


def choose_categories(photos: Sequence[Outlined], wanted: Sequence[str], folder: Path) -> list[str]:
    """The categories that are object.

    Raises:
        UserError: There are several and none was chosen, or one that was is not there.
    """
    counts = list_categories(photos)
    if not counts:
        raise UserError(f"the annotations in {folder} hold no outlines, only boxes or nothing: fgbg learns from outlines")
    if list(wanted) == [ALL] or (not wanted and len(counts) == 1):
        return list(counts)
    if not wanted:
        told = name_some([f"{name} ({count:,})" for name, count in counts.items()], 8)
        raise UserError(
            f"{folder} has outlines of {told}: say which are object with --categories NAME …, or --categories all"
        )
    for name in wanted:
        if name not in counts:
            raise unknown_name("category", name, list(counts))
    return sorted(set(wanted))


def draw_mask(photo: Outlined, shapes: Iterable[Shape]) -> NDArray[np.uint8]:
    """Levels (height, width) as the tool saw the photo: 1 within an outline, 2 in a crowd and no outline, 0 elsewhere.

    Raises:
        UserError: An outline that is none.
    """
    from pycocotools import mask as coco

    levels = np.zeros((photo.height, photo.width), np.uint8)
    for shape in sorted(shapes, key=lambda shape: not shape.is_crowd):
        try:
            runs = shape.outline
            if isinstance(runs, list):
                runs = coco.merge(coco.frPyObjects([corners for corners in runs if len(corners) >= 6], *levels.shape))
            elif isinstance(runs["counts"], list):
                runs = coco.frPyObjects(runs, *levels.shape)
            inside = coco.decode(runs).astype(np.bool_)
            levels[inside] = CROWD if shape.is_crowd else OBJECT
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise UserError(f"{photo.photo.name} has an outline of {shape.category} that is none: {error}") from None
    return levels


def turn_upright(levels: NDArray[np.uint8], photo: Path) -> NDArray[np.uint8]:
    """A mask as its photo is shown. Most tools outline photos upright, some as they are stored, before the camera's turn.

    Raises:
        UserError: It is of neither size.
    """
    upright = read_photo_size(photo)
    if levels.shape == upright:  # also a photo that is turned upside down: its size does not tell, and upright is usual
        return levels
    with open_image(photo) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if levels.shape == upright[::-1] and orientation != 1:
        picture = Image.fromarray(levels)
        picture.getexif()[EXIF_ORIENTATION] = orientation
        return np.asarray(ImageOps.exif_transpose(picture))
    height, width = levels.shape
    raise UserError(
        f"{photo} is {upright[1]}×{upright[0]} pixels, its annotations are of {width}×{height}: "
        "they must be of this very photo"
    )


def _read_all(kind: str, files: Sequence[Path], folder: Path) -> list[Outlined]:
    if kind == "LabelMe":
        return list(map_in_order(read_labelme, files))
    photos = [photo for path in files for photo in read_coco(path, folder)]
    if len(files) == 1:
        return photos
    return [replace(photo, id=f"{photo.split}_{photo.id}") for photo in photos]  # one name may stand for two photos


def _key(files: Sequence[Path], chosen: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, *chosen]).encode())
    for path in files:
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:24]


def _find_or_draw(photos: Sequence[Outlined], chosen: Sequence[str], key: str) -> Path:
    """The folder of masks. It is drawn aside and renamed when whole, so that one cut short is never taken for one."""
    folder = cache_folder() / "masks" / key
    if folder.exists():
        return folder
    aside = folder.with_name(f"{key}.partial-{os.getpid()}")
    aside.mkdir(parents=True)

    def draw(photo: Outlined) -> None:
        shapes = [shape for shape in photo.shapes if shape.category in chosen]
        levels = turn_upright(draw_mask(photo, shapes), photo.photo)
        Image.fromarray(levels).save(aside / f"{photo.id}.png")

    try:
        for _ in map_in_order(draw, photos):
            pass
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster, and its masks are the same
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
