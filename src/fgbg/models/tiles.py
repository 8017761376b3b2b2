"""Run a network that was trained on patches on a photo of any size: overlapping tiles, blended smoothly."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

OVERLAP = 0.5
"""Share of a tile's edge that its neighbour covers too."""


def place_tiles(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Top and left of the tiles of edge `size` that cover a photo, row by row.

    The first and last are flush with the photo's borders, the others evenly spaced, a little closer than `OVERLAP` asks for
    where that does not divide evenly. An edge shorter than a tile gets one.

    >>> place_tiles(10, 25, 10)
    [(0, 0), (0, 5), (0, 10), (0, 15)]
    """
    return [(top, left) for top in _spread(height, size) for left in _spread(width, size)]


def make_window(size: int) -> Float[Tensor, "size size"]:
    """Blending weight per pixel (Hann): 1 at the centre, small at the edges where the network saw half the context, never 0,
    because at the photo's border one tile may be the only one."""
    hann = make_hann(size)
    return hann[:, None] * hann[None]


def make_hann(size: int) -> Float[Tensor, " size"]:
    """Blending weights along one axis; the window is their outer product with themselves."""
    ticks = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    return torch.sin(math.pi * ticks) ** 2


class Canvas:
    """The weighted mean of tiles, at the photo's size, updated tile by tile: where tiles agree, it equals their value to the
    last bit.

    Args:
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.
        window: A tile's weights.
    """

    def __init__(self, height: int, width: int, window: Float[Tensor, "size size"]) -> None:
        self.window = window
        self.mean: Float[Tensor, "height width"] = torch.zeros(height, width, device=window.device)
        self._weight = torch.zeros_like(self.mean)

    def add(self, tile: Float[Tensor, "size size"], top: int, left: int) -> None:
        """Blend a tile in. Its part beyond the photo is left out."""
        size = len(tile)
        here = slice(top, top + size), slice(left, left + size)
        mean, weight = self.mean[here], self._weight[here]
        height, width = mean.shape
        window = self.window[:height, :width]
        weight += window
        mean += (tile[:height, :width] - mean) * (window / weight)


def _spread(length: int, size: int) -> list[int]:
    """Start of each tile along an edge."""
    room = max(0, length - size)
    steps = math.ceil(room / ((1 - OVERLAP) * size))
    return [round(index * room / max(1, steps)) for index in range(steps + 1)]
