"""Every image decoded once: memory-mapped uint8 on disk, keyed by the content of the files and the settings.

Two stores. Training reads *squares*, a little larger than the training size so that a crop loses nothing. Validation reads
*photos* at their own size, since that is where a score is measured, and it does so after every epoch; so does training that
cuts patches out of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fgbg.data.parallel import Progress, map_in_order
from fgbg.data.samples import SampleSet
from fgbg.fit import fit_pixels, fit_target, resize_target
from fgbg.storage import cache_folder
from fgbg.words import Fit

FORMAT = 2  # part of every key: a change of what is stored makes old entries unreachable, not wrong
SQUARE_MARGIN = 1.25  # stored edge over training edge


@dataclass(frozen=True)
class Squares:
    """Photos as squares. Both arrays are memory-mapped and read-only."""

    pixels: NDArray[np.uint8]  # images 3 stored stored
    levels: NDArray[np.uint8]  # images stored stored: 0, 1, 2, and 255 where no photo is
    aspects: NDArray[np.float64]  # images: width over height as a crop's ratio sees it


@dataclass(frozen=True)
class Photos:
    """Photos and their levels at their own sizes, end to end in two memory-mapped arrays."""

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


def cache_squares(samples: SampleSet, *, size: int, fit: Fit, progress: Progress | None = None) -> Squares:
    """The samples as squares of edge `size`, decoded now or at an earlier time."""

    def build(folder: Path) -> None:
        count = len(samples.samples)
        pixels = open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(count, 3, size, size))
        levels = open_memmap(folder / "levels.npy", mode="w+", dtype=np.uint8, shape=(count, size, size))

        def store(index: int) -> None:
            photo = torch.tensor(samples.samples[index].read_pixels())
            pixels[index] = (fit_pixels(photo, size, fit) * 255).round().to(torch.uint8).numpy()
            levels[index] = fit_target(torch.tensor(samples.read_levels(index)), size, fit).numpy()

        for _ in map_in_order(store, range(count), progress, "decoding training photos"):
            pass
        pixels.flush()
        levels.flush()

    folder = _find_or_build(_key(samples, "squares", size, fit), build)
    looks = samples.inspections
    aspects = np.array([look.width / look.height if fit == "squash" else 1.0 for look in looks], np.float64)
    return Squares(_open_array(folder / "pixels.npy"), _open_array(folder / "levels.npy"), aspects)


def cache_photos(samples: SampleSet, *, pixel_for_pixel: bool = False, progress: Progress | None = None) -> Photos:
    """The samples at their own sizes, decoded now or at an earlier time.

    Args:
        samples: What to decode.
        pixel_for_pixel: Where a photo is reduced on decode, reduce its levels too.
        progress: Shows how far it is.
    """

    def build(folder: Path) -> None:
        def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            pixels, levels = samples.samples[index].read_pixels(), samples.read_levels(index)
            if pixel_for_pixel and levels.shape != pixels.shape[:2]:
                levels = resize_target(torch.tensor(levels), *pixels.shape[:2]).numpy()
            return pixels, levels

        shapes = []
        with (folder / "pixels.raw").open("wb") as pixel_file, (folder / "levels.raw").open("wb") as level_file:
            indices = range(len(samples.samples))
            for pixels, levels in map_in_order(read, indices, progress, "decoding photos"):
                pixel_file.write(pixels.tobytes())
                level_file.write(levels.tobytes())
                shapes.append((*pixels.shape[:2], *levels.shape))
        np.save(folder / "shapes.npy", np.array(shapes, np.int64).reshape(-1, 4))

    folder = _find_or_build(_key(samples, "pairs" if pixel_for_pixel else "photos"), build)
    shapes = np.load(folder / "shapes.npy")
    return Photos(_open_flat(folder / "pixels.raw"), _open_flat(folder / "levels.raw"), shapes)


def _key(samples: SampleSet, *settings: object) -> str:
    """Differs where anything stored would: content and order of the samples, encoding, settings, format."""
    encoding = samples.encoding
    looks = [(look.image_hash, look.mask_hash) for look in samples.inspections]
    values = (encoding.object_values, encoding.ground_values, encoding.band_values)
    return hashlib.sha256(json.dumps([FORMAT, settings, values, looks]).encode()).hexdigest()[:24]


def _find_or_build(key: str, build: Callable[[Path], None]) -> Path:
    """The entry's folder. It is built aside and renamed when whole, so that one cut short is never taken for one."""
    folder = cache_folder() / "decoded" / key
    if folder.exists():
        return folder
    aside = folder.with_name(f"{key}.partial-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        build(aside)
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster, and its entry is the same
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _open_flat(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r")


def _open_array(path: Path) -> NDArray[np.uint8]:
    return np.load(path, mmap_mode="r")
