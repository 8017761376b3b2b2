"""Training photos for the network's device: all copied to a GPU if they fit, else memory-mapped and read per batch."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from fgbg.data.cache import Squares
from fgbg.data.masks import apply_border, border_lookup
from fgbg.words import Border

RESIDENT_SHARE = 0.4  # of the device's free memory that photos may take; the rest is for the network


class TrainingStore:
    """Photos and targets by row.

    Args:
        squares: The cached photos.
        border: What the band counts as.
        device: Device of the batches.
        free_bytes: Free memory of that device; 0 if copying photos there in advance gains nothing.

    Attributes:
        photo_of_row: (rows,) index of each row's photo: the row itself.
        aspects: (rows,) width over height of the photos by which a crop's ratio is corrected.
        reach: Share of the stored square's edge that an unaugmented image shows: 1, all of it.
    """

    reach = 1.0

    def __init__(self, squares: Squares, border: Border, device: torch.device, free_bytes: int) -> None:
        self.squares, self.border, self.device = squares, border, device
        self.photo_of_row, self.aspects = np.arange(len(squares.pixels)), squares.aspects
        self.is_resident = squares.pixels.nbytes + squares.levels.nbytes < RESIDENT_SHARE * free_bytes
        if self.is_resident:
            self._pixels = torch.tensor(squares.pixels, device=device)
            self._target = torch.tensor(apply_border(squares.levels, border), device=device)
        else:
            self._lookup = border_lookup(border)

    def __len__(self) -> int:
        return len(self.squares.pixels)

    def take(
        self, rows: NDArray[np.int64], epoch: int
    ) -> tuple[UInt8[Tensor, "batch 3 stored stored"], UInt8[Tensor, "batch stored stored"]]:
        """Pixels and target of those rows, on the device; the same in every epoch."""
        if self.is_resident:
            on_device = upload(torch.tensor(rows), self.device)
            return self._pixels[on_device], self._target[on_device]
        pixels = torch.from_numpy(np.ascontiguousarray(self.squares.pixels[rows]))
        target = torch.from_numpy(self._lookup[self.squares.levels[rows]])
        return upload(pixels, self.device), upload(target, self.device)


def upload(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of this process's memory on the device, without waiting for what a GPU still computes."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
