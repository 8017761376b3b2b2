"""Validation photos for the network's device: all copied to a GPU if they fit, else memory-mapped and read one by one."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from fgbg.data.cache import Photos
from fgbg.data.masks import apply_border
from fgbg.words import Border

RESIDENT_SHARE = 0.1  # of the device's free memory that photos may take, as the training photos are there already


class ValidationStore:
    """Photos and targets by index, at their own sizes.

    Args:
        photos: The cached photos.
        border: What the band counts as.
        device: Where they are scored.
        free_bytes: Free memory of that device; 0 if copying photos there in advance gains nothing.
    """

    def __init__(self, photos: Photos, border: Border, device: torch.device, free_bytes: int) -> None:
        self.photos, self.border = photos, border
        self.is_resident = photos.flat_pixels.nbytes + photos.flat_levels.nbytes < RESIDENT_SHARE * free_bytes
        self._resident = [self._read(index, device) for index in range(len(photos))] if self.is_resident else []

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "height width 3"], UInt8[Tensor, "_ _"]]:
        """Pixels and target, on the device if all are there. Photos over 24 MP have fewer pixels than their target."""
        return self._resident[index] if self.is_resident else self._read(index, torch.device("cpu"))

    def _read(self, index: int, device: torch.device) -> tuple[Tensor, Tensor]:
        pixels, levels = self.photos[index]
        return torch.tensor(pixels, device=device), torch.tensor(apply_border(levels, self.border), device=device)
