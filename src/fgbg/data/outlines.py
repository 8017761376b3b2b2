"""Outlines as masks: drawn once, and cached as PNG files that everything else reads."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fgbg.data.annotations import Annotations, Outlined, list_categories
from fgbg.data.coco import read_coco
from fgbg.data.draw_outlines import CROWD, Pose, draw_mask, read_pose, require_size, turn_upright
from fgbg.data.folders import compose
from fgbg.data.ids import refuse_long_ids
from fgbg.data.images import list_images
from fgbg.data.labelme import read_labelme
from fgbg.data.masks import MaskEncoding
from fgbg.data.parallel import map_in_order
from fgbg.data.samples import Sample
from fgbg.errors import UserError, unknown_name
from fgbg.storage import hash_file
from fgbg.user_cache import cache_folder, make_once
from fgbg.words import GROUND, OBJECT, name_some, plural

FORMAT = 2  # part of every key: increment it when the drawing changes, so that old masks are not found
ALL = "all"


class OutlinedSet(NamedTuple):
    """What a folder of photos and outlines holds."""

    samples: list[Sample]
    encoding: MaskEncoding  # what the drawn masks' values mean
    missing: list[Path]  # photos that are named but do not exist
    bare: frozenset[str]  # ids of photos in which no single object is outlined, which means that they show none, or a crowd
    remark: str  # about the set, for the user


def open_outlined(folder: Path, found: Annotations, categories: Sequence[str]) -> OutlinedSet:
    """The photos of a folder with COCO or LabelMe annotations, with masks drawn now or read from the cache.

    Args:
        folder: The folder of the data set.
        found: Its annotations.
        categories: Categories whose outlines are object; `all` for every one. Needed if there are several.

    Raises:
        UserError: Annotations that cannot be read, or do not fit their photos; several categories and no choice among them.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError(f"the annotations in {folder} need pycocotools: pip install 'fgbg[annotations]'")
    kind, files = found.kind, list(found.photos)
    photos = _read_all(found, folder)
    chosen = choose_categories(photos, categories, folder)
    kept = [replace(photo, shapes=[shape for shape in photo.shapes if shape.category in chosen]) for photo in photos]
    missing = [photo.photo for photo in kept if not photo.photo.is_file()]
    there = [photo for photo in kept if photo.photo.is_file()]
    masks = _find_or_draw(there, files, chosen)
    samples = [Sample(photo.id, photo.photo, masks / f"{photo.id}.png", split=photo.split) for photo in there]
    crowds = sum(shape.is_crowd for photo in there for shape in photo.shapes)
    encoding = MaskEncoding(f"{kind} outlines of {', '.join(chosen)}", (OBJECT,), (GROUND,), (CROWD,) if crowds else ())
    bare = frozenset(photo.id for photo in there if all(shape.is_crowd for shape in photo.shapes))
    return OutlinedSet(samples, encoding, missing, bare, "; ".join(_remark(kind, there, crowds)))


def _remark(kind: str, photos: Sequence[Outlined], crowds: int) -> list[str]:
    """Remarks on what a user may not expect of these photos."""
    said = []
    empty = sum(not photo.shapes for photo in photos)
    if empty:
        said.append(
            "1 photo without an outline is all ground" if empty == 1 else f"{empty} photos without an outline are all ground"
        )
    known = {photo.photo for photo in photos}
    places = sorted({photo.photo.parent for photo in photos})
    strange = [path.name for place in places for path in list_images(place) if path not in known]
    if strange:
        why = (
            "without a .json left out, which LabelMe writes once a photo is saved"
            if kind == "LabelMe"
            else "not in the annotations left out"
        )
        said.append(f"{plural(len(strange), 'photo')} {why} ({name_some(strange)})")
    if crowds:
        said.append(f"{plural(crowds, 'crowd region')} drawn as the band, see --border")
    return said


def choose_categories(photos: Sequence[Outlined], wanted: Sequence[str], folder: Path) -> list[str]:
    """The categories that are object.

    Raises:
        UserError: There are several and none was chosen, or a chosen one does not exist.
    """
    counts = list_categories(photos)
    if not counts:
        raise UserError(f"the annotations in {folder} hold no outlines, only boxes or nothing: fgbg learns from outlines")
    if list(wanted) == [ALL] or (not wanted and len(counts) == 1):
        return sorted(counts)
    if not wanted:
        told = name_some([f"{name} ({count:,})" for name, count in counts.items()], 8)
        raise UserError(
            f"{folder} has outlines of {told}: say which are object with --categories NAME …, or --categories all"
        )
    for name in wanted:
        if name not in counts:
            raise unknown_name("category", name, list(counts))
    return sorted(set(wanted))


def _read_all(found: Annotations, folder: Path) -> list[Outlined]:
    """The photos of all files.

    Raises:
        UserError: Two photos have the same name or one is too long, or only some of the files say which split they are.
    """
    files = list(found.photos)
    beside = [(path, photo) for path, photo in found.photos.items() if photo]
    if beside:
        photos = list(map_in_order(lambda pair: read_labelme(*pair), beside))
    else:
        photos = [photo for path in files for photo in read_coco(path, folder)]
    names = ", ".join(path.name for path in files[:3])
    if len({bool(photo.split) for photo in photos}) > 1:
        raise UserError(f"{folder}: some of {names} are of a split by their names and some are not: keep one kind of them")
    if len(files) > 1:  # train/1.jpg and test/1.jpg are two photos
        photos = [replace(photo, id=f"{photo.split}_{photo.id}" if photo.split else photo.id) for photo in photos]
    twice = [name for name, count in Counter(compose(photo.id) for photo in photos).items() if count > 1]
    if twice:
        raise UserError(
            f"{folder}: {name_some(twice)} stand for more than one photo in {names}: keep one file of annotations, "
            "and names that differ before the ending"
        )
    refuse_long_ids([photo.id for photo in photos])
    return photos


def _find_or_draw(photos: Sequence[Outlined], files: Sequence[Path], chosen: Sequence[str]) -> Path:
    """The folder of masks, drawn now or earlier."""
    poses = list(map_in_order(_try_pose, photos))
    folder = cache_folder() / "masks" / _key(photos, poses, files, chosen)
    return make_once(folder, lambda aside: _draw_all(photos, poses, aside))


def _draw_all(photos: Sequence[Outlined], poses: Sequence[Pose | None], folder: Path) -> None:
    def draw(item: tuple[Outlined, Pose | None]) -> None:
        photo, pose = item
        if pose:
            require_size(photo, pose)
        levels = draw_mask(photo, photo.shapes)
        Image.fromarray(turn_upright(levels, pose) if pose else levels).save(folder / f"{photo.id}.png")

    for _ in map_in_order(draw, list(zip(photos, poses, strict=True))):
        pass


def _try_pose(photo: Outlined) -> Pose | None:
    """None for a photo that cannot be read: the next reader reports it, and `fgbg check` reports all of them at once."""
    try:
        return read_pose(photo.photo)
    except UserError:
        return None


def _key(photos: Sequence[Outlined], poses: Sequence[Pose | None], files: Sequence[Path], chosen: Sequence[str]) -> str:
    """A hash of all that determines the masks: annotations, chosen categories, existing photos and their poses."""
    hashes = [hash_file(path) for path in files]
    names = [photo.id for photo in photos]
    return hashlib.sha256(json.dumps([FORMAT, chosen, hashes, names, poses]).encode()).hexdigest()[:24]
