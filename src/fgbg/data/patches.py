"""Training at the photos' own scale: patches of photos of any size, cut afresh each epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from fgbg.data.cache import Photos
from fgbg.data.images import LARGEST_PHOTO_PIXELS, reduction_factor
from fgbg.data.masks import border_lookup
from fgbg.data.samples import SampleSet
from fgbg.data.streams import Purpose, open_stream
from fgbg.data.training_store import upload
from fgbg.words import BAND, NOT_JUDGED, Border

PATCH_MARGIN = 0.25
"""Width of the margin around a patch, as a share of its edge, that rotation, shift and scale take pixels from. With the
default ranges 0.6 % of an augmented patch lies beyond it; with half the margin, 4 %."""


class PatchStore:
    """Patches and their targets by row, as `TrainingStore` has whole photos.

    A photo has one row per `size`² of its pixels, rounded up, so that an epoch sees about as many pixels as there are. The
    position of a row's patch in its photo depends on seed, epoch and row alone. Parts beyond the photo are black and not
    judged.

    Args:
        photos: The cached photos, with levels of the pixels' size.
        border: What the band counts as.
        device: Device of the batches.
        size: Edge of a patch in pixels of the photo.
        seed: The run's seed.
        has_margin: Also cut a margin around the patch, for augmentation to draw on.

    Attributes:
        photo_of_row: (rows,) index of the photo that a row is cut from.
        aspects: (rows,) width over height of what is cut: 1.
        reach: Share of the cut square's edge that the patch itself takes up.
    """

    def __init__(
        self, photos: Photos, border: Border, device: torch.device, *, size: int, seed: int, has_margin: bool
    ) -> None:
        self.photos, self.device, self.size, self.seed = photos, device, size, seed
        self.photo_of_row = np.repeat(np.arange(len(photos)), count_patches(photos.shapes[:, :2], size))
        self.aspects = np.ones(len(self.photo_of_row))
        self.margin = round(PATCH_MARGIN * size) if has_margin else 0
        self.reach = size / (size + 2 * self.margin)
        self._band = border_lookup(border)[BAND]
        self._epoch = 0
        self._corners = np.empty((0, 2), np.int64)

    def __len__(self) -> int:
        return len(self.photo_of_row)

    def take(
        self, rows: NDArray[np.int64], epoch: int
    ) -> tuple[UInt8[Tensor, "batch 3 stored stored"], UInt8[Tensor, "batch stored stored"]]:
        """Pixels and target of those rows in that epoch, on the device, of edge `size` plus twice the margin."""
        if epoch != self._epoch:
            self._corners = place_patches(self.photos.shapes[self.photo_of_row, :2], self.size, seed=self.seed, epoch=epoch)
            self._epoch = epoch
        edge = self.size + 2 * self.margin
        pixels = np.zeros((len(rows), edge, edge, 3), np.uint8)
        levels = np.full((len(rows), edge, edge), NOT_JUDGED, np.uint8)
        for index, row in enumerate(rows):
            photo_pixels, photo_levels = self.photos[int(self.photo_of_row[row])]
            top, left = (self._corners[row] - self.margin).tolist()
            _cut(photo_pixels, top, left, pixels[index])
            _cut(photo_levels, top, left, levels[index])
        levels[levels == BAND] = self._band  # a look-up of every pixel would take longer than all the cutting
        # Channels stay last in memory, for the same reason.
        on_device = upload(torch.from_numpy(pixels), self.device), upload(torch.from_numpy(levels), self.device)
        return on_device[0].permute(0, 3, 1, 2), on_device[1]


def count_patches(shapes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Number of rows for each photo, from (photos, 2) heights and widths.

    >>> count_patches(np.array([[256, 256], [520, 696], [40, 40]]), 256).tolist()
    [1, 6, 1]
    """
    return -(-shapes[:, 0] * shapes[:, 1] // size**2)


def place_patches(shapes: NDArray[np.int64], size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """(rows, 2) top and left of each row's patch in its photo of (rows, 2) height and width.

    The patch's centre is drawn anywhere in the photo, and the patch is then moved inside. So more patches lie against the
    photo's edges, whose pixels few patches can hold. A photo smaller than the patch lies anywhere in it (top or left is
    negative).
    """
    draw, room = open_stream(seed, epoch, Purpose.PATCH).random(shapes.shape), shapes - size
    inside = np.floor(draw * shapes - size / 2).clip(0, np.maximum(room, 0))
    around = -np.floor(draw * (1 - room))
    return np.where(room < 0, around, inside).astype(np.int64)


def describe_patches(samples: SampleSet, size: int) -> str:
    """What `--fit crop` does with the training photos, as lines to print."""
    shapes = np.array([[look.height, look.width] for look in samples.inspections])
    factors = np.array(
        [
            reduction_factor(look.height * look.width) if isinstance(sample.image, Path) else 1
            for sample, look in zip(samples.samples, samples.inspections, strict=True)
        ]
    )
    shapes = -(-shapes // factors[:, None])  # as they are cut
    count = int(count_patches(shapes, size).sum())
    lines = [f"patches of {size} px at the photos' own scale: {count:,} an epoch from {len(shapes):,} photos"]
    if (shapes <= size).all() and (shapes < size).any():
        lines.append(
            f"note: no photo is larger than a patch of --size {size}: each is seen whole, the smaller ones in black; "
            "choose a smaller --size, or --fit pad to enlarge them"
        )
    reduced = int((factors > 1).sum())
    if reduced:
        lines.append(
            f"note: photos of more than {LARGEST_PHOTO_PIXELS // 10**6} megapixels ({reduced} here) are reduced before "
            "patches are cut, here and in prediction: cut them up first to keep their scale"
        )
    return "\n".join(lines)


def _cut(photo: NDArray[np.uint8], top: int, left: int, window: NDArray[np.uint8]) -> None:
    """Copy the photo into `window`, which lies at (`top`, `left`) of it; what is beyond the photo stays unchanged."""
    height, width = window.shape[:2]
    rows, columns = slice(max(0, -top), photo.shape[0] - top), slice(max(0, -left), photo.shape[1] - left)
    window[rows, columns] = photo[max(0, top) : top + height, max(0, left) : left + width]
