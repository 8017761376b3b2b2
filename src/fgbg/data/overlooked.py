"""What reading would pass over without a word: images in sub-folders, pages behind the first, and unused bits of 16."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fgbg.data.images import DECODING_ERRORS, IMAGE_SUFFIXES, open_image
from fgbg.errors import UserError

DEPTHS = (8, 10, 12, 14)  # bits: what cameras and scanners deliver in files of 16 bits
FEWEST_GREY = 32  # levels that a 16-bit photo should keep of those that it has
LOST = 4  # levels in the file for each that is kept, from which on a photo has lost what it had
OUTLYING = 0.001  # of the pixels at each end: hot and dead ones, a burnt-in bar
MOST_LOOKED_AT = 16  # photos that training decodes only to remark on their grey
_PNG, _PNG_DEPTH = b"\x89PNG", 24  # how a PNG begins, and the byte that holds its bits a channel
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how a TIFF or a BigTIFF begins


def list_image_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold images, at any depth, by name; hidden ones and a NAS's `@eaDir` are skipped."""
    with os.scandir(folder) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "@")))
    return [folder / name for name in folders if _holds_images(folder / name)]


def _holds_images(folder: Path) -> bool:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "@"))]
        if any(Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".") for name in files):
            return True
    return False


def count_pages(path: Path) -> int:
    """Number of a TIFF's pages that are as large as its first; 1 for any other file. Reads headers alone.

    Raises:
        UserError: The file cannot be read as an image.
    """
    if _read_beginning(path)[:4] not in _TIFFS:
        return 1
    with open_image(path) as image:
        first, count = image.size, 1
        try:
            for page in range(1, getattr(image, "n_frames", 1)):
                image.seek(page)
                count += image.size == first  # smaller ones are previews
        except DECODING_ERRORS:  # a broken page behind the first is not one to choose
            pass
    return count


def refuse_pages(path: Path) -> None:
    """Refuse a file of several pages: nothing tells which of them counts.

    Raises:
        UserError: It has several.
    """
    count = count_pages(path)
    if count > 1:
        raise UserError(f"{path} has {say_pages(count)}")


def say_pages(count: int) -> str:
    """What is wrong with a file of so many pages, and the cure."""
    return f"{count} pages, of which only the first would be read: save the one that counts as a file of its own"


def list_16_bit(paths: Iterable[Path]) -> list[Path]:
    """The photos with 16 bits a channel, by their headers; none that cannot be read, which is named where it is."""
    return [path for path in paths if _has_16_bits(path)]


def find_depth(paths: Iterable[Path]) -> int:
    """Bits that suffice for the values of all these 16-bit photos together, of `DEPTHS`; 16 if none of them does.

    Photos are decoded up to the first that needs 16 bits, which is the first of all in a set as it should be. Those that
    cannot be read do not count.
    """
    peak = 0
    for path in paths:
        with suppress(UserError), open_image(path) as image:
            peak = max(peak, _measure_peak(image))
        if _count_bits(peak) == 16:
            return 16
    return _count_bits(peak) if peak else 16  # black is black, whatever the depth


def refuse_few_bits(paths: Iterable[Path]) -> None:
    """Refuse photos of 16 bits that use only the lower ones: of each value, the upper 8 bits are read.

    The photos of a set are judged together, since a dark one among others is as it should be.

    Raises:
        UserError: All 16-bit photos together use 14 bits or fewer.
    """
    deep = list_16_bit(paths)
    depth = find_depth(deep)
    if depth < 16:
        raise UserError(say_depth(deep, depth))


def refuse_few_bits_of(image: Image.Image, name: str) -> None:
    """As `refuse_few_bits`, of an image that somebody else has opened.

    Raises:
        UserError: Its pixels have 16 bits and use 14 or fewer.
    """
    peak = _measure_peak(image) if _is_deep(image) else 0
    if peak and _count_bits(peak) < 16:
        raise UserError(say_depth([name], _count_bits(peak)))


def say_depth(photos: Sequence[object], depth: int) -> str:
    """What is wrong with 16-bit photos that use so few bits, and the cure.

    >>> say_depth(["a.png", "b.png"], 12)
    'the 16-bit photos (a.png and 1 more) use 12 of their bits, no value above 4,095, and would be read nearly black: \
multiply their values by 16, or save them with 8 bits if they are that dark'
    """
    shown = "black" if depth <= 8 else "nearly black" if depth <= 12 else "too dark"
    fault, times = f"no value above {2**depth - 1:,}, and would be read {shown}", 2 ** (16 - depth)
    if len(photos) == 1:
        cure = f"multiply its values by {times}, or save it with 8 bits if it is that dark"
        return f"{photos[0]} uses {depth} of its 16 bits, {fault}: {cure}"
    cure = f"multiply their values by {times}, or save them with 8 bits if they are that dark"
    return f"the 16-bit photos ({photos[0]} and {len(photos) - 1:,} more) use {depth} of their bits, {fault}: {cure}"


class Grey(NamedTuple):
    """The values of a 16-bit grey photo without outlying pixels: both ends, how many, and how many of their upper 8 bits."""

    lowest: int
    highest: int
    stored_count: int
    kept_count: int

    @property
    def is_lost(self) -> bool:
        """Whether reading the upper 8 bits leaves few grey levels of many."""
        return self.kept_count < FEWEST_GREY and self.stored_count >= LOST * self.kept_count


def measure_grey(path: Path) -> Grey | None:
    """The grey levels of a photo with one channel of 16 bits; None for any other.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(path) as image:
        values = np.asarray(image) if image.mode.startswith("I;16") else None
    if values is None:
        return None
    counts = np.bincount(values.ravel())
    below = counts.cumsum() / values.size
    lowest, highest = (int(np.searchsorted(below, share)) for share in (OUTLYING, 1 - OUTLYING))
    used = lowest + np.flatnonzero(counts[lowest : highest + 1])
    return Grey(lowest, highest, len(used), len(np.unique(used >> 8)))


def say_lost_grey(greys: Sequence[Grey]) -> str:
    """What is lost of photos that keep few grey levels, and the cure.

    >>> say_lost_grey([Grey(16, 1520, 90, 6), Grey(32, 1280, 70, 5)])
    'nearly all values of a photo lie between 24 and 1,400 (medians): of 70 to 90 grey levels 5 to 6 are left, since of 16 \
bits the upper 8 are read; rescale the whole set once to the range that is used, clip what lies beyond, and save it again'
    """
    lowest, highest, _, _ = np.median(np.array(greys), axis=0).astype(int).tolist()
    stored, kept = (_say_range([grey[place] for grey in greys]) for place in (2, 3))
    return (
        f"nearly all values of a photo lie between {lowest:,} and {highest:,} (medians): of {stored} grey levels {kept} are "
        "left, since of 16 bits the upper 8 are read; rescale the whole set once to the range that is used, clip what lies "
        "beyond, and save it again"
    )


def _say_range(counts: Sequence[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"


def remark_on_grey(deep: Sequence[Path]) -> str:
    """A remark about 16-bit photos that keep few grey levels, by some of them; empty if none of these does."""
    looked_at = deep[:: -(-len(deep) // MOST_LOOKED_AT)] if deep else []
    lost = sum(grey.is_lost for path in looked_at if (grey := measure_grey(path)))
    said = f"16-bit photos keep few grey levels ({lost} of the {len(looked_at)} looked at): fgbg check says what to do"
    return said if lost else ""


def _has_16_bits(path: Path) -> bool:
    with suppress(OSError, UserError):
        beginning = _read_beginning(path)
        if beginning.startswith(_PNG):
            return beginning[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10"
        if beginning[:4] in _TIFFS:
            with open_image(path) as image:
                return _is_deep(image)
    return False


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has 16 bits a channel; of several channels only its file tells, as long as it is not decoded."""
    return image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _measure_peak(image: Image.Image) -> int:
    """The largest value of a 16-bit image; of several channels Pillow keeps the upper 8 bits, and the lower count as 255."""
    if image.mode.startswith("I;16"):
        return int(np.asarray(image).max())
    return int(np.asarray(image.convert("RGB")).max()) * 256 + 255


def _count_bits(peak: int) -> int:
    return next((bits for bits in DEPTHS if peak < 2**bits), 16)


def _read_beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)
