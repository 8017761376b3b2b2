"""A sample is a photo with its mask; a sample set is all of them, understood: sizes, mask encoding, splits, hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbg.data.ids import require_usable_ids
from fgbg.data.images import read_photo, read_photo_size, require_whole_photo
from fgbg.data.mask_files import EMPTY, GREY, LARGE, StoredMask, narrow_mask, read_mask
from fgbg.data.masks import MaskEncoding, apply_border, check_places, count_values, understand_masks
from fgbg.data.overlooked import list_16_bit, refuse_few_bits, refuse_pages, remark_on_grey
from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.errors import UserError
from fgbg.storage import hash_file
from fgbg.words import HASH_DIGITS, Border, ObjectValue, name_some, plural

MASK_TYPES = ("uint8", "bool", "uint16", "uint32", "int32", "int64")
SPLITS = ("train", "validation", "test")
PIXELS_PER_PLACE = 3_000_000  # of a photo, for each place it takes in the read-ahead queue; 100 megapixels fill it


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo and its mask, on disk or in memory.

    `image` is a file (its path, also as a string) or uint8 RGB (height, width, 3); `mask` a file or stored values, whole
    numbers or bool (height, width), in any encoding that `fgbg` reads. `split` is train, validation, test, or empty to let
    the split rule decide; samples that share a non-empty `group` stay together.
    """

    id: str
    image: Path | NDArray[np.uint8]
    mask: Path | NDArray[np.integer[Any]] | NDArray[np.bool_]
    split: str = ""
    group: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("image", "mask"):
            if isinstance(getattr(self, name), str):  # as paths are often written
                object.__setattr__(self, name, Path(getattr(self, name)))

    def read_pixels(self) -> NDArray[np.uint8]:
        """The photo as the network sees it: uint8 RGB (height, width, 3), upright; a file over 24 MP is reduced."""
        return read_photo(self.image) if isinstance(self.image, Path) else np.ascontiguousarray(self.image)

    def read_full_pixels(self) -> NDArray[np.uint8]:
        """The photo at its own size, however large: uint8 RGB (height, width, 3), upright."""
        if isinstance(self.image, Path):
            return read_photo(self.image, largest_pixels=None)
        return np.ascontiguousarray(self.image)  # torch takes no mirrored views

    def read_mask(self) -> NDArray[np.uint8]:
        """The mask's stored values (height, width), upright, not interpreted."""
        return self.read_stored_mask().values

    def read_stored_mask(self) -> StoredMask:
        """The mask's stored values, and how its file stores them."""
        if isinstance(self.mask, Path):
            return read_mask(self.mask)
        if self.mask.dtype in (np.uint8, np.bool_):
            return StoredMask(np.ascontiguousarray(self.mask, np.uint8), GREY)
        return narrow_mask(self.mask, f"of {self.id}")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one look at a sample's files showed. Kept small, since there may be millions of samples."""

    image_hash: str
    mask_hash: str
    height: int
    width: int
    values: bytes  # the values that occur in the mask, one byte each
    counts: tuple[int, ...]  # how many pixels hold each of them
    place: str = GREY  # how the mask's file stores these values, or EMPTY
    even_grey: int = 0  # as `find_even_grey` tells it

    @property
    def histogram(self) -> NDArray[np.int64]:
        """(256,) number of the mask's pixels with each value."""
        return sum_histograms([self])

    def count(self, values: Collection[int]) -> int:
        """Number of the mask's pixels with one of these values."""
        return sum(count for value, count in zip(self.values, self.counts, strict=True) if value in values)


def sum_histograms(looks: Iterable[Inspection]) -> NDArray[np.int64]:
    """(256,) number of pixels with each value, over all masks."""
    total = np.zeros(256, np.int64)
    for look in looks:
        total[list(look.values)] += look.counts
    return total


def thin_histogram(histogram: NDArray[np.int64]) -> tuple[bytes, tuple[int, ...]]:
    """The values that occur, and how often each does.

    >>> thin_histogram(np.bincount([255, 0, 0], minlength=256))
    (b'\\x00\\xff', (2, 1))
    """
    values = np.flatnonzero(histogram)
    return bytes(values.tolist()), tuple(histogram[values].tolist())


@dataclass(frozen=True)
class SampleSet:
    """Samples whose masks are understood. `inspections` are in the order of `samples`."""

    name: str
    samples: tuple[Sample, ...]
    inspections: tuple[Inspection, ...]
    encoding: MaskEncoding
    remark: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits of a SHA-256 over every id and the bytes of every file: the same set, the same digits."""
        digest = hashlib.sha256()
        for sample, look in sorted(zip(self.samples, self.inspections, strict=True), key=lambda pair: pair[0].id):
            digest.update(f"{sample.id}\0{look.image_hash}\0{look.mask_hash}\n".encode())
        return digest.hexdigest()[:12]

    @property
    def image_keys(self) -> tuple[str, ...]:
        """The first digits of each photo's hash, by which runs and models recognise it."""
        return tuple(look.image_hash[:HASH_DIGITS] for look in self.inspections)

    def rearrange(self, samples: Iterable[Sample]) -> SampleSet:
        """The set with these of its samples, known by their ids, in this order; each keeps its inspection."""
        look_of = {sample.id: look for sample, look in zip(self.samples, self.inspections, strict=True)}
        samples = tuple(samples)
        return replace(self, samples=samples, inspections=tuple(look_of[sample.id] for sample in samples))

    def of(self, split: str) -> SampleSet:
        """The samples of one split, in order."""
        return self.rearrange(sample for sample in self.samples if sample.split == split)

    def weigh(self, index: int) -> float:
        """Number of places that a sample takes in the read-ahead queue: 1, and more from `PIXELS_PER_PLACE` on."""
        return max(1.0, self.inspections[index].height * self.inspections[index].width / PIXELS_PER_PLACE)

    def read_levels(self, index: int) -> NDArray[np.uint8]:
        """Levels (height, width) of one sample: 0 ground, 1 object, 2 band."""
        sample = self.samples[index]
        return self.encoding.read_levels(sample.read_mask(), name=f"mask of {sample.id}")

    def read_target(self, index: int, border: Border) -> NDArray[np.uint8]:
        """Target (height, width) of one sample: 0 ground, 1 object, 255 not judged."""
        return apply_border(self.read_levels(index), border)

    @property
    def object_shares(self) -> NDArray[np.float64]:
        """(samples,) the share of each mask's pixels that are object."""
        values = self.encoding.object_values
        return np.array([look.count(values) / max(1, sum(look.counts)) for look in self.inspections], np.float64)

    def describe(self) -> str:
        """What was understood, in one line."""
        counts = Counter(sample.split for sample in self.samples)
        parts = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
        words = [f"{self.name}: {len(self.samples):,} pairs ({parts})", f"hash {self.fingerprint}", self.describe_masks()]
        return " · ".join([*words, self.remark] if self.remark else words)

    def describe_masks(self) -> str:
        """How the masks were understood, how much of all pixels is object, and how many masks have no object."""
        objects = [look.count(self.encoding.object_values) for look in self.inspections]
        share = sum(objects) / max(1, sum(sum(look.counts) for look in self.inspections))
        empty = objects.count(0)
        special = sorted({look.place for look in self.inspections} - {GREY, EMPTY})
        words = [f"masks with {self.encoding.name}", *(f"stored as {place}" for place in special), f"{share:.0%} of pixels"]
        return ", ".join([*words, f"{plural(empty, 'mask')} empty"] if empty else words)


def understand_samples(
    name: str,
    samples: Sequence[Sample],
    *,
    encoding: MaskEncoding | None = None,
    object_values: Sequence[ObjectValue] = (),
    remark: str = "",
    progress: ShowProgress | None = None,
) -> SampleSet:
    """Look at every file once, check sizes, and decide how the masks are encoded (unless the layout determines it).

    Raises:
        UserError: No samples, a file that cannot be read or has several pages, a repeated or unusable id, a mask of another
            size than its photo, 16-bit photos that use few of their bits, or masks that could mean several things.
    """
    if not samples:
        raise UserError(f"{name} holds no pairs of a photo and a mask")
    require_usable_ids([sample.id for sample in samples], name)
    inspections = tuple(map_in_order(inspect_sample, samples, progress, "reading the set"))
    deep = list_16_bit(sample.image for sample in samples if isinstance(sample.image, Path))
    refuse_few_bits(deep)
    remark = "; ".join(filter(None, [remark, remark_on_grey(deep)]))
    check_places({look.place: f"mask of {sample.id}" for sample, look in zip(samples, inspections, strict=True)})
    if encoding is None or object_values:
        pairs = zip(samples, inspections, strict=True)
        large = next((f"mask of {sample.id}" for sample, look in pairs if look.place == LARGE), "")
        encoding = understand_masks(sum_histograms(inspections), object_values, large=large)
    for sample, look in zip(samples, inspections, strict=True):
        encoding.check_values(look.histogram, even_grey=look.even_grey, name=f"mask of {sample.id}")
    return SampleSet(name, tuple(samples), inspections, encoding, remark)


def inspect_sample(sample: Sample) -> Inspection:
    """Hash both files, read the photo's size and count the mask's values.

    Raises:
        UserError: A file cannot be read or has several pages, an array is of another type or shape, or mask and photo differ
            in size.
    """
    _check_array(f"image of {sample.id}", sample.image, ("uint8",), "height, width, 3")
    _check_array(f"mask of {sample.id}", sample.mask, MASK_TYPES, "height, width")
    stored = sample.read_stored_mask()
    rows, columns = stored.values.shape
    if isinstance(sample.image, Path):
        height, width = read_photo_size(sample.image)
        require_whole_photo(sample.image)
        refuse_pages(sample.image)
    else:
        height, width = sample.image.shape[:2]
    if isinstance(sample.mask, Path):
        refuse_pages(sample.mask)
    if (rows, columns) != (height, width):
        raise UserError(
            f"mask of {sample.id} is {columns}×{rows} pixels, its photo {width}×{height}: they must be the same size"
        )
    histogram, place, grey = count_values(stored)
    return Inspection(_hash(sample.image), _hash(sample.mask), height, width, *thin_histogram(histogram), place, grey)


def _check_array(name: str, array: Path | NDArray[np.generic], types: tuple[str, ...], shape: str) -> None:
    """Refuse a wrong type, a wrong shape or no pixels: a photo in 0..1 or with alpha would silently be misread."""
    if isinstance(array, Path):
        return
    fits = array.ndim == 3 and array.shape[2] == 3 if shape.endswith("3") else array.ndim == 2
    if str(array.dtype) not in types or not fits:
        raise UserError(f"{name} is {array.dtype} {array.shape}: must be {name_some(types)} ({shape})")
    if not array.size:
        raise UserError(f"{name} has no pixels {array.shape}: leave it out")


def _hash(source: Path | NDArray[np.generic]) -> str:
    return hash_file(source) if isinstance(source, Path) else hash_pixels(source)


def hash_pixels(pixels: NDArray[np.generic]) -> str:
    """SHA-256 of an array's shape and values, as hex digits."""
    return hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
