"""One look at each file: a mask's values first, then photo and mask together, once the encoding is known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.duplicates import take_fingerprint
from fgbg.data.images import open_image, read_photo, read_photo_size
from fgbg.data.mask_files import UnknownStorageError, read_mask
from fgbg.data.masks import MaskEncoding, count_values
from fgbg.data.overlooked import Grey, measure_grey
from fgbg.data.samples import Sample, hash_pixels
from fgbg.doctor.alignment import Alignment, measure_alignment
from fgbg.doctor.encodings import Stored
from fgbg.doctor.geometry import Geometry, measure_geometry
from fgbg.doctor.results import Results
from fgbg.errors import UserError
from fgbg.judge.traits import measure_traits
from fgbg.storage import hash_file
from fgbg.words import BAND, NOT_JUDGED

FORMAT = 5  # part of every key: increment it when the measures change, so that old results are not found
TRAIT_EDGE = 256  # pixels: longest edge at which tone contrast and irregularity are measured here


@dataclass(frozen=True)
class MaskLook:
    """A mask's hash and values; for an unreadable one only hash and error."""

    hash: str
    height: int = 0
    width: int = 0
    stored: Stored | None = None
    error: str = ""
    is_damaged: bool = True  # where there is an error; else only its way of storing a mask is not known


@dataclass(frozen=True)
class PhotoLook:
    """A photo's hash, size and format; for an unreadable one only hash and error."""

    hash: str
    height: int = 0
    width: int = 0
    pixel_hash: str = ""
    format: str = ""  # of the content, whatever the name says: "JPEG"
    grey: Grey | None = None
    error: str = ""


@dataclass(frozen=True)
class PairLook:
    """What was measured on photo and mask together. Measures are None if the two do not fit each other."""

    photo: PhotoLook
    fingerprint: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    tone_contrast: float | None = None
    irregularity: float | None = None
    geometry: Geometry | None = None
    alignment: Alignment | None = None


def look_at_mask(path: Path, results: Results) -> MaskLook:
    """Hash the file and count its values, or recall them."""
    content_hash = hash_file(path)
    key = f"mask {FORMAT} {content_hash}"
    kept = results.recall(key)
    if kept is None:
        try:
            stored = read_mask(path)
        except UserError as error:
            is_damaged = not isinstance(error, UnknownStorageError)
            return MaskLook(content_hash, error=_shorten(str(error), path), is_damaged=is_damaged)
        counts, place, grey = count_values(stored)
        height, width = stored.values.shape
        told = {str(value): int(counts[value]) for value in np.flatnonzero(counts)}
        kept = {"height": height, "width": width, "place": place, "counts": told, "even_grey": grey}, b""
        results.keep(key, *kept)
    look, _ = kept
    histogram = np.zeros(256, np.int64)
    histogram[[int(value) for value in look["counts"]]] = list(look["counts"].values())
    return MaskLook(content_hash, look["height"], look["width"], Stored(histogram, look["place"], look["even_grey"]))


def look_at_pair(sample: Sample, mask: MaskLook, encoding: MaskEncoding | None, results: Results) -> PairLook:
    """Decode the photo once and measure everything, or recall it. Without an encoding only the photo is looked at."""
    assert isinstance(sample.image, Path)
    content_hash = hash_file(sample.image)
    levels_are = (encoding.object_values, encoding.ground_values, encoding.band_values) if encoding else ()
    key = f"pair {FORMAT} {content_hash} {mask.hash} {hashlib.sha256(repr(levels_are).encode()).hexdigest()}"
    kept = results.recall(key)
    if kept is None:
        try:
            kept = _measure_pair(sample, mask, encoding)
        except UserError as error:
            return PairLook(PhotoLook(content_hash, error=_shorten(str(error), sample.image)))
        results.keep(key, *kept)
    told, fingerprint = kept
    grey = Grey(*told["grey"]) if told["grey"] else None
    return PairLook(
        photo=PhotoLook(content_hash, **told["photo"], grey=grey),
        fingerprint=np.frombuffer(fingerprint, np.uint8),
        tone_contrast=told["tone_contrast"],
        irregularity=told["irregularity"],
        geometry=Geometry(**told["geometry"]) if told["geometry"] else None,
        alignment=Alignment(**told["alignment"]) if told["alignment"] else None,
    )


def _measure_pair(sample: Sample, mask: MaskLook, encoding: MaskEncoding | None) -> tuple[dict[str, Any], bytes]:
    """Everything that is stored for a pair, as JSON and the fingerprint's bytes."""
    assert isinstance(sample.image, Path)
    height, width = read_photo_size(sample.image)
    with open_image(sample.image) as image:
        name = image.format or ""
    pixels = read_photo(sample.image)
    told: dict[str, Any] = {
        "photo": {"height": height, "width": width, "pixel_hash": hash_pixels(pixels), "format": name},
        "grey": measure_grey(sample.image),
        **dict.fromkeys(("tone_contrast", "irregularity", "geometry", "alignment")),
    }
    if encoding and (mask.height, mask.width) == (height, width):
        told |= _measure_mask(pixels, encoding.read_levels(sample.read_mask()))
    return told, take_fingerprint(pixels).tobytes()


def _measure_mask(pixels: NDArray[np.uint8], levels: NDArray[np.uint8]) -> dict[str, Any]:
    geometry = measure_geometry(levels)
    if not geometry.has_outline:
        return {"geometry": geometry._asdict()}
    small = reduce_pair(pixels, levels)
    traits = measure_traits(small[0], np.where(small[1] == BAND, NOT_JUDGED, small[1]).astype(np.uint8))
    alignment = measure_alignment(*small)
    return {
        "geometry": geometry._asdict(),
        "alignment": alignment._asdict() if alignment else None,
        "tone_contrast": _or_none(traits.tone_contrast),
        "irregularity": _or_none(traits.irregularity),
    }


def reduce_pair(pixels: NDArray[np.uint8], levels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photo and mask at one size, with edges of at most TRAIT_EDGE."""
    scale = min(1.0, TRAIT_EDGE / max(levels.shape))
    size = max(1, round(levels.shape[1] * scale)), max(1, round(levels.shape[0] * scale))
    photo = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    return np.asarray(photo), np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.NEAREST))


def _shorten(sentence: str, path: Path) -> str:
    """An error message without the path at its start: a problem already names its file."""
    return sentence.removeprefix("mask ").removeprefix(f"{path} ")


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
