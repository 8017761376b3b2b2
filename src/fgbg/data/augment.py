"""Paired augmentation: all steps composed into one resampling and one colour matrix, batched, on the device.

The image (bilinear) and its target (nearest) are sampled through the same grid, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fgbg.data.augment_ranges import AugmentRanges
from fgbg.data.augment_table import LUMA, AugmentTable, draw_table

Augment = Callable[
    [UInt8[Tensor, "batch 3 stored stored"], UInt8[Tensor, "batch stored stored"], Int64[Tensor, " batch"], int],
    tuple[Float[Tensor, "batch 3 size size"], UInt8[Tensor, "batch size size"]],
]
"""What training calls for each batch: `(pixels, target, rows, epoch) -> (image, target)`.

`pixels` are stored photos (0..255) and `target` their targets (0 ground, 1 object, 255 not judged), at the stored size;
`rows` are their indices in the training set, `epoch` counts from 1. With `--fit crop` both are patches with a margin, and
`rows` are patch indices. The result has the training size; `image` is in 0..1 and not yet normalised. It must depend on its
arguments alone, otherwise resuming changes the weights.
"""

# At a time for each thread of a CPU: intermediate results then stay in its cache. Like every sum on a CPU, the last digits
# depend on the number of threads.
CPU_PIECE_PIXELS = 2**15


class _Views(NamedTuple):
    """How each of some rows is seen: the affine maps from output coordinates, and the colours."""

    to_crop: Float[Tensor, "rows 2 3"]
    to_photo: Float[Tensor, "rows 2 3"]  # to the stored square
    colour: Float[Tensor, "rows 3 3"]
    offset: Float[Tensor, "rows 3"]  # weights of the image's mean colour, whose sum is added to every channel

    def of(self, rows: Int64[Tensor, " some"]) -> _Views:
        """Those of these rows."""
        return _Views(*(values[rows] for values in self))


class PairedAugmentation:
    """The lab report's augmentation, as an `Augment`.

    Args:
        ranges: How strong each augmentation is.
        aspects: (images,) width over height of every training photo, in row order.
        size: Edge of the training image, in pixels.
        seed: The run's seed.
        device: Where the batches are.
        reach: Share of the stored square's edge that an unaugmented image shows: 1 for whole photos, less for patches,
            which are stored with a margin.
    """

    def __init__(
        self,
        ranges: AugmentRanges,
        aspects: NDArray[np.float64],
        *,
        size: int,
        seed: int,
        device: torch.device,
        reach: float = 1.0,
    ) -> None:
        self.ranges, self.aspects, self.seed, self.device = ranges.in_force(), aspects, seed, device
        self.reach = reach
        self.set_size(size)
        self._drawn: tuple[int, _Views] | None = None  # the epoch, and its views of all rows

    def set_size(self, size: int) -> None:
        """Produce images of this edge (pixels) from now on: the same views at another resolution."""
        ticks = (torch.arange(size, device=self.device, dtype=torch.float32) * 2 + 1) / size - 1
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        # Homogeneous coordinates of the output pixels: one small matrix product gives the grid of a whole batch.
        self.places: Float[Tensor, "3 pixels"] = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x.flatten())])
        self.size = size

    def __call__(
        self,
        pixels: UInt8[Tensor, "batch 3 stored stored"],
        target: UInt8[Tensor, "batch stored stored"],
        rows: Int64[Tensor, " batch"],
        epoch: int,
    ) -> tuple[Float[Tensor, "batch 3 size size"], UInt8[Tensor, "batch size size"]]:
        """See `Augment`."""
        if self._drawn is None or self._drawn[0] != epoch:
            table = draw_table(self.ranges, self.aspects, seed=self.seed, epoch=epoch)
            self._drawn = epoch, _to_views(table, self.reach, self.device)
        views = self._drawn[1]
        sample = _sample_unjudged_outside if self.ranges.padding == "ignore" else _sample_black_outside
        piece = len(rows)
        if self.device.type == "cpu":
            piece = torch.get_num_threads() * max(1, CPU_PIECE_PIXELS // self.size**2)  # a thread samples whole images
        parts = [
            sample(
                pixels[start : start + piece],
                target[start : start + piece],
                views.of(rows[start : start + piece]),
                self.places,
                self.size,
            )
            for start in range(0, len(rows), piece)
        ]
        images, targets = zip(*parts, strict=True)
        return torch.cat(images), torch.cat(targets)


def _to_views(table: AugmentTable, reach: float, device: torch.device) -> _Views:
    """The table's draws, on the device."""
    to_crop = np.concatenate([table.rotation, table.shift[:, :, None]], -1)
    to_photo = to_crop * table.crop_half[:, :, None]
    to_photo[:, :, 2] += table.crop_centre
    to_photo *= reach
    arrays = to_crop, to_photo, table.colour / 255.0, (table.contrast_offset / 255.0)[:, None] * LUMA
    return _Views(*(torch.from_numpy(array.astype(np.float32)).to(device) for array in arrays))


def _sample_unjudged_outside(
    pixels: UInt8[Tensor, "batch 3 stored stored"],
    target: UInt8[Tensor, "batch stored stored"],
    views: _Views,
    places: Float[Tensor, "3 pixels"],
    size: int,
) -> tuple[Float[Tensor, "batch 3 size size"], UInt8[Tensor, "batch size size"]]:
    """With padding "ignore": show and judge all of the photo that is in the frame, and nothing outside the photo."""
    grid = (views.to_photo @ places).transpose(1, 2).unflatten(1, (size, size))
    image = F.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # Sampling pads with 0, so the complement of the target is sampled: outside the photo 255 - 0 is "not judged".
    rest = (255 - target).float().unsqueeze(1)
    rest = F.grid_sample(rest, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return _change_colours(image, views), 255 - rest.squeeze(1).to(torch.uint8)


def _sample_black_outside(
    pixels: UInt8[Tensor, "batch 3 stored stored"],
    target: UInt8[Tensor, "batch stored stored"],
    views: _Views,
    places: Float[Tensor, "3 pixels"],
    size: int,
) -> tuple[Float[Tensor, "batch 3 size size"], UInt8[Tensor, "batch size size"]]:
    """With padding "background", as in the lab report: outside the crop all is black ground, even within the photo."""
    inside = ((views.to_crop @ places).abs() <= 1).all(1).unflatten(1, (size, size)).unsqueeze(1)
    grid = (views.to_photo @ places).transpose(1, 2).unflatten(1, (size, size))
    image = F.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    sampled = F.grid_sample(target.float().unsqueeze(1), grid, mode="nearest", align_corners=False)
    return _change_colours(image * inside, views), (sampled * inside).squeeze(1).to(torch.uint8)


def _change_colours(image: Float[Tensor, "batch 3 size size"], views: _Views) -> Tensor:
    """Brightness, contrast, saturation and hue as one matrix and one offset per image: 0..255 in, 0..1 out."""
    flat = image.flatten(2)
    # Contrast blends with the image's mean grey, which is known only after sampling.
    offset = (flat.mean(2) * views.offset).sum(1)[:, None, None]
    return torch.baddbmm(offset, views.colour, flat).clamp_(0, 1).view_as(image)
