"""Which steps after the network help? Each is tried on photos with known truth, and recommended only if it provably does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.parallel import ShowProgress
from fgbg.errors import UserError
from fgbg.judge.bootstrap import (
    FEWEST_UNITS,
    Estimate,
    PairedTest,
    adjust_holm,
    check_difference,
    estimate_mean,
    find_groups,
)
from fgbg.judge.distances import boundary_iou_of
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.judge.run_data import open_run_data
from fgbg.run import Run
from fgbg.ship.load import Model, load
from fgbg.ship.matte import matte
from fgbg.ship.parity import JudgedPhoto, read_judged
from fgbg.ship.refine import STEPS, Refined
from fgbg.words import plural

MATTE = "matte"  # not a step, since it gives an opacity: tried as the mask of opacity above one half
RISK = 0.05


@dataclass(frozen=True)
class Effect:
    """What one step, or several in order, change."""

    steps: tuple[str, ...]
    dice: PairedTest  # over photos
    p_holm: float  # of the Dice, adjusted for all that were tried at once
    boundary_iou: Estimate  # the difference, paired over photos
    better: int  # photos
    worse: int

    @property
    def verdict(self) -> str:
        """Whether it helps, in a word or two."""
        if self.p_holm >= RISK or self.dice.units < FEWEST_UNITS:
            return "cannot be told"
        return "helps" if self.dice.difference.mean > 0 else "hurts"


@dataclass(frozen=True)
class Trial:
    """Steps tried on the photos of a split.

    Attributes:
        split: validation, which may choose steps, or test, which tells what chosen ones are worth.
    """

    run: str
    split: str
    photos: str  # which ones, in words
    photo_count: int
    threshold: float
    dice: Estimate  # without any step
    boundary_iou: Estimate
    effects: list[Effect]

    @property
    def recommended(self) -> tuple[str, ...]:
        """Of what helps, the step, or the steps together, that raise the mean Dice most; none if nothing helps."""
        helping = [each for each in self.effects if each.verdict == "helps" and each.steps != (MATTE,)]
        return max(helping, key=lambda each: each.dice.difference.mean).steps if helping else ()

    @property
    def units(self) -> int:
        """Photos, or the groups they are in: how many independent cases the verdicts rest on."""
        return self.effects[0].dice.units

    def describe(self) -> str:
        """A table, and what follows from it, as lines to print."""
        in_groups = f" in {plural(self.units, 'group')}" if self.units < self.photo_count else ""
        lines = [
            f"{self.photo_count} {self.photos}{in_groups}, each at its own size; a pixel is object above {self.threshold:g}",
            f"{'':<24}{'Dice':<34}{'boundary IoU':<34}better, worse",
            f"{'as it is':<24}{self.dice!s:<34}{self.boundary_iou!s:<34}",
        ]
        for each in self.effects:
            told = f"{each.dice.difference.signed():<34}{each.boundary_iou.signed():<34}{each.better}, {each.worse}"
            lines.append(f"{','.join(each.steps):<24}{told:<84} {each.verdict}")
        if self.units < FEWEST_UNITS:
            kind = "groups" if in_groups else "photos"
            lines.append(f"fewer than {FEWEST_UNITS} {kind} are too few for a verdict")
        return "\n".join([*lines, *self._conclude()])

    def _conclude(self) -> list[str]:
        if self.split != "validation":
            return []
        if not self.recommended:
            return ["recommended: nothing. What cannot be told apart from no change is left out"]
        steps = ",".join(self.recommended)
        return [
            f"recommended: --refine {steps}    (fgbg predict {self.run} PHOTOS --refine {steps})",
            f"what that is worth on photos that did not choose it: fgbg refine {self.run} --split test --steps {steps}",
        ]

    def to_json(self) -> dict[str, Any]:
        """For a program that reads the result."""
        effects = [
            {
                "steps": each.steps,
                "dice": each.dice.difference.to_json(),
                "p": each.dice.p,
                "p_holm": each.p_holm,
                "boundary_iou": each.boundary_iou.to_json(),
                "better": each.better,
                "worse": each.worse,
                "verdict": each.verdict,
            }
            for each in self.effects
        ]
        plain = {"dice": self.dice.to_json(), "boundary_iou": self.boundary_iou.to_json()}
        return {**vars(self), **plain, "units": self.units, "effects": effects, "recommended": self.recommended}


def try_steps(
    run: Run,
    *,
    split: str = "validation",
    steps: Sequence[str] = (),
    soft: bool = False,
    progress: ShowProgress | None = None,
) -> Trial:
    """Try steps on a split of the run's photos: each by itself, and those that help together.

    Args:
        run: A finished one whose data are available.
        split: validation, or test for named steps: photos that chose a step cannot tell what it is worth.
        steps: To be tried together; by default every step by itself.
        soft: Try soft edges too, which takes about a second per photo.
        progress: Shows progress.

    Raises:
        UserError: The run has no model, its data are not available, or steps were to be chosen on test photos.
    """
    if split == "test" and not steps:
        raise UserError("--split test tells what chosen steps are worth: name them (--steps), or choose them on validation")
    model = load(run.folder)
    samples, _ = open_run_data(run, "", split)
    ways: list[tuple[str, ...]] = [tuple(steps)] if steps else [(step,) for step in STEPS]
    if soft:
        ways.append((MATTE,))

    def measure(ways: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        photos = read_judged(samples, model.header.border, progress, most=None)
        return np.array([_score(model, photo, probability, ways) for photo, probability in model.answer(photos)])

    scores = measure(ways)
    plain, tried = scores[:, 0], scores[:, 1:]
    groups = find_groups(samples.samples)
    differences = tried - plain[:, None]
    effects = _judge(ways, differences, groups)
    helping = tuple(each.steps[0] for each in effects if each.steps != (MATTE,) and each.verdict == "helps")
    if len(helping) > 1 and not steps:
        together = measure([helping])
        ways.append(helping)
        effects = _judge(ways, np.concatenate([differences, together[:, 1:] - together[:, :1]], axis=1), groups)
    name = f"{split} photos of {samples.name}"
    dice, outline = (estimate_mean(plain[:, column], groups=groups) for column in (0, 1))
    return Trial(str(run.folder), split, name, len(scores), model.threshold, dice, outline, effects)


def _score(
    model: Model, photo: JudgedPhoto, probability: NDArray[np.float32], ways: Sequence[tuple[str, ...]]
) -> list[tuple[float, float]]:
    """Dice and boundary IoU of the answer as it is, and refined in each way."""
    plain = probability > model.threshold
    masks = [plain]
    for way in ways:
        if way == (MATTE,):
            pixels = Image.fromarray(photo.pixels).resize(plain.shape[::-1])  # which may have been reduced on decode
            opacity = matte(pixels, plain.astype(np.uint8) * np.uint8(255)).getchannel("A")
            masks.append(np.asarray(opacity) > 127)
        else:
            refined = Refined(model, way).refine(photo.pixels, probability)
            masks.append(refined > model.threshold)
    return [(dice_of(count_pixels(mask, photo.target)), boundary_iou_of(mask, photo.target)) for mask in masks]


def _judge(ways: Sequence[tuple[str, ...]], differences: NDArray[np.float64], groups: Sequence[str] | None) -> list[Effect]:
    """Effects of (photos, ways, 2) differences of Dice and boundary IoU."""
    tests = [check_difference(differences[:, index, 0], groups=groups) for index in range(len(ways))]
    outlines = [check_difference(differences[:, index, 1], groups=groups).difference for index in range(len(ways))]
    signs = np.sign(differences[:, :, 0])
    adjusted = adjust_holm([test.p for test in tests])
    return [
        Effect(way, test, p, outline, int((sign > 0).sum()), int((sign < 0).sum()))
        for way, test, p, outline, sign in zip(ways, tests, adjusted, outlines, signs.T, strict=True)
    ]
