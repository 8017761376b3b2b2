"""A photo of any size through a network that was trained on patches: overlapping tiles, blended smoothly."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

OVERLAP = 0.5
"""Share of a tile's edge that its neighbour covers too."""


def place_tiles(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Top and left of the tiles of edge `size` that cover a photo, row by row.

    They begin and end flush with the photo and are spread evenly, a little closer than `OVERLAP` asks for where it does
    not come out even. Along an edge shorter than a tile there is one.

    >>> place_tiles(10, 25, 10)
    [(0, 0), (0, 5), (0, 10), (0, 15)]
    """
    return [(top, left) for top in _spread(height, size) for left in _spread(width, size)]


def make_window(size: int) -> Float[Tensor, "size size"]:
    """A tile's say in each of its pixels (Hann): 1 in the middle, little at the edges, where the network saw half of the
    surroundings, and nowhere nothing: at the photo's own edge that tile is the only one."""
    hann = make_hann(size)
    return hann[:, None] * hann[None]


def make_hann(size: int) -> Float[Tensor, "size"]:
    """A tile's say along one axis: the window is that of its rows times that of its columns."""
    ticks = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    return torch.sin(math.pi * ticks) ** 2


class Canvas:
    """The weighted mean of tiles, at the photo's size. It is built tile by tile: where tiles agree, it is what they agree
    on, to the last bit.

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
        """Blend a tile in. What of it lies beyond the photo is left out."""
        size = len(tile)
        here = slice(top, top + size), slice(left, left + size)
        mean, weight = self.mean[here], self._weight[here]
        height, width = mean.shape
        window = self.window[:height, :width]
        weight += window
        mean += (tile[:height, :width] - mean) * (window / weight)


def _spread(length: int, size: int) -> list[int]:
    """Where tiles begin along an edge."""
    room = max(0, length - size)
    steps = math.ceil(room / ((1 - OVERLAP) * size))
    return [round(index * room / max(1, steps)) for index in range(steps + 1)]
