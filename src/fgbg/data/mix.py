"""CutMix (Yun et al. 2019) and MixUp (Zhang et al. 2018) for photos with masks.

Partners and mixing are drawn for all photos of an epoch at once, like the rest of the augmentation: row i of the draw is
photo i, whatever the batches and processes. A partner is mixed in with its own augmentation of that epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from fgbg.data.augment_ranges import AugmentRanges
from fgbg.data.streams import Purpose, open_stream

MIXUP_SHAPE = 0.4  # of the Beta distribution: most mixtures are nearly one photo


@dataclass(frozen=True)
class MixTable:
    """One epoch's draw for `images` images; the first axis of all but `share` is the image."""

    partner: NDArray[np.int64]  # images: row of the photo that is mixed in; its own row if none is
    box: NDArray[np.float64]  # images 4: top, left, bottom, right of what CutMix replaces, as shares of the edge
    blends: NDArray[np.bool_]  # images: MixUp, of the whole image
    share: NDArray[np.float64]  # images: weight that MixUp gives the photos of a step, 1/2 to 1; indexed by step, from 0


@dataclass(frozen=True)
class Mixture:
    """A batch after mixing. If it has a `second` target, its loss is the sum of the losses for both, weighted by `shares`.

    A target is 0, 1 or 255 and cannot be averaged, so MixUp keeps both masks. For photos that are not blended both are the
    same, and the sum is their ordinary loss.
    """

    image: Float[Tensor, "batch 3 size size"]
    target: Tensor  # batch size size; uint8, but what a user's augmentation returns may be of any type
    second: Tensor | None = None  # batch size size; same type
    shares: tuple[float | Tensor, float | Tensor] = (1.0, 0.0)  # of `target` and of `second`; their sum is 1

    def split(self, parts: int) -> list[Mixture]:
        """Split into `parts` mixtures of equally many images."""
        seconds = [None] * parts if self.second is None else self.second.chunk(parts)
        pieces = zip(self.image.chunk(parts), self.target.chunk(parts), seconds, strict=True)
        return [Mixture(image, target, second, self.shares) for image, target, second in pieces]


def draw_mixes(ranges: AugmentRanges, images: int, *, seed: int, epoch: int) -> MixTable:
    """Draw who is mixed with whom in one epoch.

    CutMix's box covers a share of the image that is uniform in 0..1, at a uniform position, clipped to the frame. An image
    goes through one of the two or neither.
    """
    stream = open_stream(seed, epoch, Purpose.MIX)
    chance, partner = stream.random(images), stream.permutation(images)
    half = np.sqrt(stream.random(images)) / 2
    centre = stream.random((images, 2))
    share = stream.beta(MIXUP_SHAPE, MIXUP_SHAPE, images)
    cuts = chance < ranges.cutmix
    blends = ~cuts & (chance < ranges.cutmix + ranges.mixup)
    box = np.concatenate([centre - half[:, None], centre + half[:, None]], 1).clip(0, 1) * cuts[:, None]
    return MixTable(np.where(cuts | blends, partner, np.arange(images)), box, blends, np.maximum(share, 1 - share))


def mix(
    image: Float[Tensor, "batch 3 size size"],
    target: Tensor,
    other_image: Float[Tensor, "mixed 3 size size"],
    other_target: Tensor,
    *,
    rows: NDArray[np.int64],
    table: MixTable,
    step: int,
) -> Mixture:
    """The batch with its partners mixed in.

    Args:
        image: The batch, augmented.
        target: (batch, size, size) its targets.
        other_image: The partners of those rows that have one, in the batch's order, augmented.
        other_target: (mixed, size, size) their targets.
        rows: (batch,) the images' indices in the training set.
        table: The epoch's draw.
        step: Index of the step in the epoch, from 0; all its photos have the same MixUp share, so that it can weight any
            loss that is a mean over images.
    """
    image, target, size = image.clone(), target.clone(), image.shape[-1]
    second, share = target.clone(), float(table.share[step])
    mixed = np.flatnonzero(table.partner[rows] != rows)
    for place, (index, row) in enumerate(zip(mixed, rows[mixed], strict=True)):
        if table.blends[row]:
            image[index] = share * image[index] + (1 - share) * other_image[place]
            second[index] = other_target[place]
        else:
            top, left, bottom, right = np.round(table.box[row] * size).astype(int)
            image[index, :, top:bottom, left:right] = other_image[place, :, top:bottom, left:right]
            target[index, top:bottom, left:right] = other_target[place, top:bottom, left:right]
            second[index] = target[index]
    blended = bool(table.blends[rows[mixed]].any())
    return Mixture(image, target, second, (share, 1 - share)) if blended else Mixture(image, target)


def find_partners(rows: NDArray[np.int64], table: MixTable) -> NDArray[np.int64]:
    """(mixed,) the partners of those rows that have one, in the batch's order."""
    partner = table.partner[rows]
    return partner[partner != rows]
