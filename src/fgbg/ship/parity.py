"""Whether an exported model answers like the one that was scored, on the user's own photos; if not, no file is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbg.data.figures import draw_figure
from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.data.samples import SampleSet
from fgbg.errors import UserError
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.judge.run_data import open_run_data
from fgbg.run import Run
from fgbg.ship.load import Model
from fgbg.ship.photo import Photo
from fgbg.words import Border

MOST_DISAGREEING = 0.001  # share of the pixels that may lie on the other side of the threshold
MOST_DICE = 0.001  # by how much the mean Dice may differ
MOST_DICE_LOST = 0.005  # by int8: about what another draw of 600 test photos changes (half of pets' 95 % interval is 0.004)
MOST_PHOTOS = 200  # enough of a large validation set, evenly spread
FIGURE_EDGES = ((160, 240), (240, 160), (96, 96), (320, 256), (256, 331), (61, 47))  # height and width, in pixels
AT_A_TIME = 8


@dataclass(frozen=True)
class JudgedPhoto(Photo):
    """A photo with its truth: uint8 (height, width), 0 ground, 1 object, 255 not judged."""

    target: NDArray[np.uint8]


@dataclass(frozen=True)
class Limits:
    """What an exported model has to stay below; None for no limit."""

    disagreeing_share: float | None
    dice_lost: float
    dice_gained: float | None


SAME = Limits(MOST_DISAGREEING, MOST_DICE, MOST_DICE)
"""The same model for all practical purposes."""
INT8 = Limits(None, MOST_DICE_LOST, None)
"""Rounded in every layer, so that pixels differ along each outline; only lost Dice counts."""


@dataclass(frozen=True)
class Parity:
    """How far apart two models' answers are."""

    photos: str  # which ones, in words
    photo_count: int
    pixel_count: int
    disagreeing_count: int  # pixels that only one of the two calls object
    largest_difference: float  # between two probabilities of a pixel
    dice: float  # mean over the photos, of the model that was scored
    dice_exported: float  # the same, of the exported one
    limits: Limits
    most_lost: float  # Dice, by the one photo that loses most: a mean would hide it
    object_count: int  # pixels that the model that was scored calls object

    @property
    def disagreeing_share(self) -> float:
        """Share of all pixels."""
        return self.disagreeing_count / self.pixel_count

    @property
    def dice_difference(self) -> float:
        """Exported minus scored."""
        return self.dice_exported - self.dice

    @property
    def holds(self) -> bool:
        """Whether it stays below its limits."""
        limits = self.limits
        return (
            (limits.disagreeing_share is None or self.disagreeing_share < limits.disagreeing_share)
            and -self.dice_difference < limits.dice_lost
            and (limits.dice_gained is None or self.dice_difference < limits.dice_gained)
        )

    def describe_limits(self) -> tuple[str, str]:
        """What was allowed for pixels, and for mean Dice."""
        share, gained = self.limits.disagreeing_share, self.limits.dice_gained
        return (
            "no limit in int8" if share is None else f"must be < {share:.1%}",
            f"must {'lose' if gained is None else 'differ by'} < {self.limits.dice_lost:g}",
        )

    def describe(self) -> str:
        """The comparison as lines to print."""
        for_pixels, for_dice = self.describe_limits()
        told = {
            "pixels on the other side of the threshold": f"{self.disagreeing_share:.5%} ({for_pixels})",
            "mean Dice of the model that was scored": f"{self.dice:.5f}",
            "mean Dice of the exported one": f"{self.dice_exported:.5f} ({self.dice_difference:+.5f}, {for_dice})",
            "Dice lost by the photo that loses most": f"{self.most_lost:.5f}",
            "largest difference between probabilities": f"{self.largest_difference:.2g}",
        }
        lines = [f"  {name:<43}{value}" for name, value in told.items()]
        if not self.object_count:
            lines.append("  the model calls nothing object on them: that the other one agrees proves little")
        return "\n".join([f"parity on {self.photo_count} {self.photos}", *lines])

    def to_json(self) -> dict[str, Any]:
        """For a program that reads the result."""
        derived = {"disagreeing_share": self.disagreeing_share, "dice_difference": self.dice_difference}
        return {**dataclasses.asdict(self), **derived}


def compare_answers(
    scored: Model, exported: Model, photos: Iterable[JudgedPhoto], name: str, limits: Limits = SAME
) -> Parity:
    """Both models' answers to the same photos, at the scored one's threshold.

    Args:
        scored: The model whose scores are known.
        exported: The model that is to replace it.
        photos: At least one.
        name: What to call the photos.
        limits: What the exported one has to stay below.
    """
    pixel_count, object_count, disagreeing_count, largest, scores = 0, 0, 0, 0.0, []
    photos = iter(photos)
    while chunk := list(islice(photos, AT_A_TIME)):
        for (photo, first), (_, second) in zip(scored.answer(chunk), exported.answer(chunk), strict=True):
            masks = [answer > scored.threshold for answer in (first, second)]
            pixel_count += first.size
            object_count += int(masks[0].sum())
            disagreeing_count += int((masks[0] != masks[1]).sum())
            largest = max(largest, float(np.abs(first - second).max()))
            scores.append([dice_of(count_pixels(mask, photo.target)) for mask in masks])
    dice, dice_exported = np.mean(scores, axis=0).tolist()
    most_lost = max(0.0, -float(np.diff(scores).min()))
    return Parity(
        name, len(scores), pixel_count, disagreeing_count, largest, dice, dice_exported, limits, most_lost, object_count
    )


def require_parity(parity: Parity) -> None:
    """Refuse an export whose answers differ.

    Raises:
        UserError: They differ by more than its limits.
    """
    if not parity.holds:
        for_pixels, for_dice = parity.describe_limits()
        cure = "single" if parity.limits == SAME else "half"
        raise UserError(
            f"the exported model is not the one that was scored: on {parity.photo_count} {parity.photos} "
            f"{parity.disagreeing_share:.3%} of the pixels differ ({for_pixels}) and mean Dice by "
            f"{parity.dice_difference:+.5f} ({for_dice}); nothing was written, try --weights {cure}"
        )


def find_photos(run: Run | None, border: Border, progress: ShowProgress | None = None) -> tuple[Iterator[JudgedPhoto], str]:
    """The run's validation photos, or drawn figures if its data are not available; and what to call them.

    Args:
        run: The model's run; None if there is only its file.
        border: What the band of its masks counts as.
        progress: Shows progress.
    """
    reason = "the model is a file without its run"
    if run is not None:
        try:
            samples, _ = open_run_data(run, "", "validation")
            return read_judged(samples, border, progress), f"validation photos of {samples.name}"
        except UserError as error:
            reason = str(error)
    return _draw_photos(), f"drawn figures only, since {reason}"


def read_judged(
    samples: SampleSet, border: Border, progress: ShowProgress | None = None, *, most: int | None = MOST_PHOTOS
) -> Iterator[JudgedPhoto]:
    """Photos with their truth, read ahead.

    Args:
        samples: Which photos.
        border: What the band of their masks counts as.
        progress: Shows progress.
        most: Read at most this many, evenly spread; None reads all.
    """
    count = len(samples.samples)
    chosen = np.linspace(0, count - 1, min(count, most or count)).round().astype(int).tolist()

    def read(index: int) -> JudgedPhoto:
        target = samples.read_target(index, border)
        return JudgedPhoto(samples.samples[index].read_pixels(), target.shape[0], target.shape[1], target)

    return map_in_order(read, chosen, progress, "photos", in_flight=AT_A_TIME, weigh=samples.weigh)


def _draw_photos() -> Iterator[JudgedPhoto]:
    for index, (height, width) in enumerate(FIGURE_EDGES * 2):
        figure = draw_figure(index, size=max(height, width))
        target = figure.mask[:height, :width].astype(np.uint8)
        yield JudgedPhoto(np.ascontiguousarray(figure.pixels[:height, :width]), height, width, target)
