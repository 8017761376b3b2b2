"""The exported form of a predictor of tiles (`--fit crop`): two loops in the graph, so that it takes photos of any size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from fgbg.fit import resize
from fgbg.models.predictor import Predictor
from fgbg.models.tiles import OVERLAP, make_hann


class Axis(NamedTuple):
    """How tiles lie along an edge of the photo."""

    length: int  # of the edge, in pixels
    last: Tensor  # index of the last tile
    room: Tensor  # by how much the edge is longer than a tile
    steps: Tensor  # into which the room is divided: `last`, but at least 1


class TiledPhoto(nn.Module):
    """`Predictor.forward` of a predictor of tiles, in operations that a graph can hold.

    Tiles have the places of `fgbg.models.tiles.place_tiles` and the same weights: one for a pixel's row times one for its
    column. So the tiles of a row can be blended into a band as high as a tile, and the bands into the answer: the same
    weighted mean, with memory that grows with the answer alone.
    """

    hann: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor
        self.size = predictor.size
        self.register_buffer("hann", make_hann(predictor.size), persistent=False)

    def forward(self, pixels: UInt8[Tensor, "height width 3"], answer_size: Int64[Tensor, "2"]) -> Float[Tensor, "_ _"]:
        """Probability of object.

        Args:
            pixels: The photo.
            answer_size: Height and width of the answer, where the photo was reduced on decode; zeros for the photo's own.
        """
        down, across = map(self._spread, pixels.shape[:2])
        # Lambdas, since functions defined for a loop would be type-checked while they are traced.
        _, logits, _ = while_loop(
            lambda row, *_: row <= down.last,
            lambda row, mean, weight: (row + 1, *self._blend_band(pixels, row, down, across, mean, weight)),
            _start(down.length + self.size, across.length + self.size),
        )
        probability = logits[: down.length, : across.length].sigmoid()
        own = torch.stack([torch.scalar_tensor(length, dtype=torch.int64) for length in pixels.shape[:2]])
        height, width = torch.where(answer_size > 0, answer_size, own).tolist()
        for length in (height, width):
            torch._check(length >= 2)  # needed by the exporter; the graph also answers for one pixel
        return resize(probability[None], height, width)[0].clamp(0, 1)

    def _blend_band(
        self, pixels: Tensor, row: Tensor, down: Axis, across: Axis, mean: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Blend a row of tiles into the answer."""
        rows = self._place(row, down)
        band = pixels.index_select(0, rows.clamp(max=down.length - 1))
        is_photo = rows < down.length
        _, columns_first, _ = while_loop(
            lambda column, *_: column <= across.last,
            lambda column, mean, weight: (column + 1, *self._blend_tile(band, is_photo, column, across, mean, weight)),
            _start(across.length + self.size, self.size),
        )
        return self._blend(mean, weight, columns_first.T, rows)

    def _blend_tile(
        self, band: Tensor, is_photo: Tensor, column: Tensor, across: Axis, mean: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Blend a tile into its band, which is stored columns first. Its part beyond the photo is black."""
        columns = self._place(column, across)
        tile = band.index_select(1, columns.clamp(max=across.length - 1)).permute(2, 0, 1).float() / 255
        image = tile * (is_photo[:, None] & (columns < across.length)[None])
        return self._blend(mean, weight, self.predictor.logits(image[None])[0, 0].T, columns)

    def _spread(self, length: int) -> Axis:
        room = (torch.scalar_tensor(length, dtype=torch.int64) - self.size).clamp(min=0).double()
        last = (room / ((1 - OVERLAP) * self.size)).ceil()
        return Axis(length, last, room, last.clamp(min=1))

    def _place(self, index: Tensor, axis: Axis) -> Int64[Tensor, " size"]:
        """The rows or columns that the tile of that index covers; they go beyond a photo smaller than a tile."""
        first = (index.double() * axis.room / axis.steps).round().long()
        return first + torch.arange(self.size, device=index.device)

    def _blend(self, mean: Tensor, weight: Tensor, lines: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """The mean (length, _) with `lines` (size, _) blended in at `places` (size,), and its weights (length,)."""
        new_weight = weight.index_select(0, places) + self.hann
        here = mean.index_select(0, places)
        here = here + (lines - here) * (self.hann / new_weight)[:, None]
        return mean.index_copy(0, places, here), weight.index_copy(0, places, new_weight)


def _start(length: int, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first index, and an empty mean (length, across) with its weights (length,)."""
    return torch.zeros((), dtype=torch.int64), torch.zeros(length, across), torch.zeros(length)
