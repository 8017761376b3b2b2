"""The cache of decoded images: memory-mapped uint8 on disk, keyed by the content of the files and the settings.

There are two stores. Training reads *squares*, a little larger than the training size so that a crop loses no detail.
Validation, which runs after every epoch and measures scores at the photos' own size, reads *photos*; so does training on
patches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.data.samples import SampleSet
from fgbg.fit import fit_pixels, fit_target, resize_target
from fgbg.storage import hash_file
from fgbg.user_cache import cache_folder, make_once
from fgbg.words import Fit

FORMAT = 4  # part of every key: increment it when what is stored changes, so that old entries are not found
SQUARE_MARGIN = 1.25  # stored edge over training edge


@dataclass(frozen=True)
class Squares:
    """Photos as squares. Both arrays are memory-mapped and read-only."""

    pixels: NDArray[np.uint8]  # images 3 stored stored
    levels: NDArray[np.uint8]  # images stored stored: 0, 1, 2, and 255 outside the photo
    aspects: NDArray[np.float64]  # images: width over height by which a crop's ratio is corrected


@dataclass(frozen=True)
class Photos:
    """Photos and their levels at their own sizes, concatenated in two memory-mapped arrays."""

    flat_pixels: NDArray[np.uint8]
    flat_levels: NDArray[np.uint8]
    shapes: NDArray[np.int64]  # images 4: height, width of the pixels, height, width of the levels

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pixels (height, width, 3) and levels (height, width). Photos over 24 MP have fewer pixels than levels."""
        first, first_level = map(int, self._starts[index])
        height, width, level_height, level_width = map(int, self.shapes[index])
        pixels = self.flat_pixels[first : first + 3 * height * width].reshape(height, width, 3)
        levels = self.flat_levels[first_level : first_level + level_height * level_width]
        return pixels, levels.reshape(level_height, level_width)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """(images, 2): where each photo's pixels and levels begin."""
        heights, widths, level_heights, level_widths = self.shapes.T
        lengths = np.stack([3 * heights * widths, level_heights * level_widths], axis=1)
        return np.cumsum(lengths, axis=0) - lengths


Append = Callable[[str, NDArray[Any]], None]
"""`append(name, array)` adds an array to the end of the entry's file of that name."""


def cache_squares(
    samples: SampleSet, *, size: int, fit: Fit, verify: bool = True, progress: ShowProgress | None = None
) -> Squares:
    """The samples as squares of edge `size`, decoded now or read from the cache.

    Args:
        samples: What to decode.
        size: Edge of the squares.
        fit: How photos become squares.
        verify: Compare an entry with its checksums: once for several processes of one machine.
        progress: Shows how far decoding is.
    """
    count = len(samples.samples)

    def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo = torch.tensor(samples.samples[index].read_pixels())
        pixels = (fit_pixels(photo, size, fit) * 255).round().to(torch.uint8).numpy()
        return pixels, fit_target(torch.tensor(samples.read_levels(index)), size, fit).numpy()

    def build(append: Append) -> None:
        for pixels, levels in map_in_order(read, range(count), progress, "decoding training photos", weigh=samples.weigh):
            append("pixels", pixels)
            append("levels", levels)

    folder = _find_or_build(_key(samples, "squares", size, fit), build, verify=verify)
    looks = samples.inspections
    aspects = np.array([look.width / look.height if fit == "squash" else 1.0 for look in looks], np.float64)
    pixels, levels = _open(folder / "pixels"), _open(folder / "levels")
    return Squares(pixels.reshape(count, 3, size, size), levels.reshape(count, size, size), aspects)


def cache_photos(
    samples: SampleSet, *, pixel_for_pixel: bool = False, verify: bool = True, progress: ShowProgress | None = None
) -> Photos:
    """The samples at their own sizes, decoded now or read from the cache.

    Args:
        samples: What to decode.
        pixel_for_pixel: If a photo is reduced on decoding, reduce its levels too.
        verify: As for `cache_squares`.
        progress: Shows how far decoding is.
    """

    def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pixels, levels = samples.samples[index].read_pixels(), samples.read_levels(index)
        if pixel_for_pixel and levels.shape != pixels.shape[:2]:
            levels = resize_target(torch.tensor(levels), *pixels.shape[:2]).numpy()
        return pixels, levels

    def build(append: Append) -> None:
        indices = range(len(samples.samples))
        for pixels, levels in map_in_order(read, indices, progress, "decoding photos", weigh=samples.weigh):
            append("pixels", pixels)
            append("levels", levels)
            append("shapes", np.array([*pixels.shape[:2], *levels.shape], np.int64))

    folder = _find_or_build(_key(samples, "pairs" if pixel_for_pixel else "photos"), build, verify=verify)
    shapes = np.fromfile(folder / "shapes", np.int64).reshape(-1, 4)
    return Photos(_open(folder / "pixels"), _open(folder / "levels"), shapes)


def _key(samples: SampleSet, *settings: object) -> str:
    """A hash of all that determines the entry: content and order of the samples, encoding, settings, format."""
    encoding = samples.encoding
    looks = [(look.image_hash, look.mask_hash) for look in samples.inspections]
    values = (encoding.object_values, encoding.ground_values, encoding.band_values)
    return hashlib.sha256(json.dumps([FORMAT, settings, values, looks]).encode()).hexdigest()[:24]


def _find_or_build(key: str, build: Callable[[Append], None], *, verify: bool) -> Path:
    """The entry's folder, with its files verified against their checksums unless another process has just done so.

    An entry that has changed on disk since it was written is built again: corrupted pixels would train and score without
    any error.
    """

    def make(folder: Path) -> None:
        _write_entry(folder, build)

    return make_once(cache_folder() / "decoded" / key, make, find_damage if verify else lambda _: "")


CHECKSUMS = "checksums.json"


def _write_entry(folder: Path, build: Callable[[Append], None]) -> None:
    """Let `build` write the entry's files sequentially, and store their checksums.

    Through `write`, never through a memory map: on a full disk a map kills the process, whereas a write raises an error.
    """
    digests: dict[str, Any] = {}
    with ExitStack() as files:
        opened: dict[str, BinaryIO] = {}

        def append(name: str, array: NDArray[Any]) -> None:
            if name not in opened:
                opened[name] = files.enter_context((folder / name).open("wb"))
                digests[name] = hashlib.sha256()
            content = array.tobytes()
            opened[name].write(content)
            digests[name].update(content)

        build(append)
    checksums = {name: digest.hexdigest() for name, digest in digests.items()}
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")


def find_damage(folder: Path) -> str:
    """The first file of an entry that does not match its checksum; empty if all do."""
    try:
        checksums: dict[str, str] = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return next((name for name, digest in checksums.items() if hash_file(folder / name) != digest), "")
    except (FileNotFoundError, ValueError, AttributeError) as error:
        return f"{CHECKSUMS}: {error}"


def _open(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r")
