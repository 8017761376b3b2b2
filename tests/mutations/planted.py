"""The silent errors seen in published implementations, each planted through one of fgbg's public seams.

`make_parts` is a lawful pipeline of a user's own parts; a mutation replaces one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fgbg
from discs import make_samples

SIZE = 32


def make_parts() -> dict[str, Any]:
    """Everything that `fgbg.train` takes, in order."""
    torch.manual_seed(0)
    return {"samples": make_samples(), "model": Network(), "loss": loss, "augment": augment, "metric": metric}


class Network(nn.Module):
    """Small, with batch norm and dropout."""

    stride = 2

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.1))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.down(image)))


def loss(logits: Tensor, target: Tensor) -> Tensor:
    judged = (target != 255).float()
    cost = F.binary_cross_entropy_with_logits(logits.squeeze(1), (target == 1).float(), reduction="none")
    return ((cost * judged).sum((1, 2)) / judged.sum((1, 2)).clamp(min=1)).mean()


def metric(prediction: Tensor, target: Tensor) -> float:
    truth = target == 1
    hit, size = (prediction & truth).sum(), ((prediction | truth) & (target != 255)).sum()
    return float(hit / size) if size else 1.0


def augment(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    flips = draw_flips(rows, epoch)
    seen = shrink_target(flip(target, flips))
    seen[:, :2] = 255  # as if the camera's upper edge were never to be trusted
    return shrink_image(flip(pixels, flips)), seen


def draw_flips(rows: Tensor, epoch: int) -> list[bool]:
    coins = [torch.rand(1, generator=torch.Generator().manual_seed(1000 * epoch + int(row))) for row in rows]
    return [bool(coin < 0.5) for coin in coins]


def flip(batch: Tensor, flips: list[bool]) -> Tensor:
    return torch.stack([one.flip(-1) if flipped else one for one, flipped in zip(batch, flips, strict=True)])


def shrink_image(pixels: Tensor) -> Tensor:
    return F.interpolate(pixels.float() / 255, (SIZE, SIZE), mode="bilinear")


def shrink_target(target: Tensor) -> Tensor:
    return F.interpolate(target[:, None], (SIZE, SIZE), mode="nearest-exact")[:, 0]


# The mutations.


def accuracy(prediction: Tensor, target: Tensor) -> float:
    return float((prediction == (target == 1)).float().mean())


def dice_inside_the_true_mask(prediction: Tensor, target: Tensor) -> float:
    inside = target == 1
    return float(fgbg.dice(prediction & inside, inside))


def flip_separately(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    flipped = flip(pixels, draw_flips(rows, epoch)), flip(target, draw_flips(rows + 500, epoch))
    return shrink_image(flipped[0]), shrink_target(flipped[1])


def throw_away(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    augment(pixels, target, rows, epoch)
    return shrink_image(pixels), shrink_target(target)


def augment_the_mask_alone(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    _, flipped = augment(pixels, target, rows, epoch)
    return shrink_image(pixels), flipped


def make_frozen() -> fgbg.Augment:
    kept: dict[int, tuple[Tensor, Tensor]] = {}

    def frozen(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        images, targets = augment(pixels, target, rows, epoch)
        pairs = [kept.setdefault(int(row), pair) for row, pair in zip(rows, zip(images, targets, strict=True), strict=True)]
        return torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])

    return frozen


def thresholded_dice(logits: Tensor, target: Tensor) -> Tensor:
    prediction, truth = logits.squeeze(1).sigmoid().round() * (target != 255), (target == 1).float()
    return 1 - 2 * (prediction * truth).sum() / (prediction.sum() + truth.sum() + 1e-6)


def resize_the_mask_bilinearly(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, _ = augment(pixels, target, rows, epoch)
    flipped = flip(target, draw_flips(rows, epoch)).float()
    return image, F.interpolate(flipped[:, None], (SIZE, SIZE), mode="bilinear")[:, 0].round().to(torch.uint8)


def keep_fractions(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, _ = augment(pixels, target, rows, epoch)
    flipped = flip(target, draw_flips(rows, epoch)).float()
    return image, F.interpolate(flipped[:, None], (SIZE, SIZE), mode="bilinear")[:, 0]


def invert_labels(samples: list[fgbg.Sample]) -> list[fgbg.Sample]:
    return [replace(sample, mask=1 - sample.mask) for sample in samples]


def invert_in_augmentation(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, target = augment(pixels, target, rows, epoch)
    return image, torch.where(target == 255, target, 1 - target)


def use_255_for_object(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, target = augment(pixels, target, rows, epoch)
    return image, (target > 0).to(torch.uint8) * 255


def read_255_as_a_number(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), target.float())


def divide_twice(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, target = augment(pixels, target, rows, epoch)
    return image / 255, target


def divide_not_at_all(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    image, target = augment(pixels, target, rows, epoch)
    return image * 255, target


class WithSigmoid(Network):
    """Returns probabilities."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).sigmoid()


def loss_with_a_sigmoid_too_many(logits: Tensor, target: Tensor) -> Tensor:
    return loss(logits.sigmoid(), target)


class StaysInEvaluation(Network):
    """Once evaluated, it never trains its batch norm and dropout again."""

    evaluated = False

    def train(self, mode: bool = True) -> StaysInEvaluation:
        self.evaluated = self.evaluated or not mode
        super().train(mode and not self.evaluated)
        return self


@dataclass(frozen=True)
class Mutation:
    """One silent error. `plant` makes the parts of a training that take the lawful ones' place."""

    number: int  # in the list of silent errors
    error: str
    seam: str
    plant: Callable[[], Any]
    words: str  # that must be in the sentence
    stops: bool  # or training goes on with a note


MUTATIONS = [
    Mutation(1, "accuracy reported as Dice", "metric", lambda: accuracy, "pixel accuracy", False),
    Mutation(
        2,
        "Dice counted only inside the true mask",
        "metric",
        lambda: dice_inside_the_true_mask,
        "counts only inside the true mask",
        False,
    ),
    Mutation(
        3,
        "flips drawn separately for image and mask",
        "augment",
        lambda: flip_separately,
        "flips are drawn separately for image and mask",
        True,
    ),
    Mutation(4, "augmented image computed and thrown away", "augment", lambda: throw_away, "thrown away", False),
    Mutation(4, "… and the augmented mask kept", "augment", lambda: augment_the_mask_alone, "image thrown away", True),
    Mutation(5, "augmentation applied once at loading and frozen", "augment", make_frozen, "frozen", False),
    Mutation(6, "thresholded (gradient-free) Dice as a loss", "loss", lambda: thresholded_dice, "no gradient", True),
    Mutation(7, "mask resized bilinearly", "augment", lambda: keep_fractions, "resized bilinearly", True),
    Mutation(7, "… and rounded", "augment", lambda: resize_the_mask_bilinearly, "resized bilinearly", False),
    Mutation(8, "labels inverted", "samples", lambda: invert_labels(make_samples()), "labels are probably inverted", False),
    Mutation(8, "… on the way", "augment", lambda: invert_in_augmentation, "target is inverted", True),
    Mutation(9, '0/255 mask read as "ignore"', "augment", lambda: use_255_for_object, "0/255 mask", True),
    Mutation(9, "… or as the number 255", "loss", lambda: read_255_as_a_number, "reads 255 as a label", True),
    Mutation(10, "image divided by 255 twice", "augment", lambda: divide_twice, "divided by 255 twice", True),
    Mutation(10, "… or not at all", "augment", lambda: divide_not_at_all, "not divided by 255 at all", True),
    Mutation(
        11, "sigmoid applied twice: in network and loss", "model", WithSigmoid, "sigmoid in it would be applied twice", True
    ),
    Mutation(
        11, "… twice in the loss", "loss", lambda: loss_with_a_sigmoid_too_many, "sigmoid is probably applied twice", True
    ),
    Mutation(
        12, "evaluation mode left on after the first epoch", "model", StaysInEvaluation, "stay in evaluation mode", True
    ),
]
"""Number 13, the threshold searched on the test set, is planted in a run folder: see test_mutations.py."""
