"""Losses on logits: means over images of a mean or a ratio over judged pixels; 255 in the target is skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from fgbg.words import NOT_JUDGED, OBJECT

Loss = Callable[[Float[Tensor, "batch 1 height width"], UInt8[Tensor, "batch height width"]], Float[Tensor, ""]]
"""What training minimises: `(logits, target) -> scalar`.

The network's output is logits, not probabilities; in the target 0 is ground, 1 object, 255 not judged.
"""

Reduction = Literal["image", "batch"]
"""`image`: one ratio an image, then their mean. `batch`: one ratio over all pixels of the batch, as the lab has it."""

SMOOTH = 1.0  # pixels; keeps the ratio and its gradient finite on empty masks


def bce(logits: Float[Tensor, "batch 1 height width"], target: UInt8[Tensor, "batch height width"]) -> Float[Tensor, ""]:
    """Binary cross-entropy: mean over each image's judged pixels, then over images.

    An image with nothing to judge counts as 0.

    >>> bce(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 255]]], dtype=torch.uint8)).item()  # ln 2
    0.6931...
    """
    truth, judged = _split_target(target)
    pixelwise = F.binary_cross_entropy_with_logits(logits.squeeze(1).float(), truth, weight=judged, reduction="none")
    return (pixelwise.sum((1, 2)) / judged.sum((1, 2)).clamp(min=1)).mean()


def tversky_loss(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    false_positive_weight: float = 0.5,
    false_negative_weight: float = 0.5,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """1 - Tversky index = 1 - TP / (TP + w₁ FP + w₂ FN), over probabilities. With both weights 0.5 it is 1 - Dice.

    Source: Salehi, Erdogmus, Gholipour 2017, whose alpha weighs false positives and beta false negatives.
    """
    truth, judged = _split_target(target)
    probability = logits.squeeze(1).float().sigmoid() * judged
    axes = (1, 2) if reduction == "image" else (0, 1, 2)
    hit = (probability * truth).sum(axes)
    false_positive = probability.sum(axes) - hit
    false_negative = truth.sum(axes) - hit
    missed = false_positive_weight * false_positive + false_negative_weight * false_negative
    return (1 - (hit + SMOOTH / 2) / (hit + missed + SMOOTH / 2)).mean()


def dice_loss(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """1 - Dice = 1 - 2TP / (2TP + FP + FN), over probabilities."""
    return tversky_loss(logits, target, reduction=reduction)


LossName = Literal["bce_dice", "bce_tversky"]


def make_loss(
    name: LossName,
    *,
    bce_weight: float,
    overlap_weight: float,
    false_positive_weight: float,
    false_negative_weight: float,
    dice_reduction: Reduction,
) -> Loss:
    """The loss that a configuration names: a weighted sum of BCE and an overlap loss.

    `bce_dice` ignores the two Tversky weights, since Dice is Tversky with both at 0.5.
    """
    if name == "bce_dice":
        false_positive_weight = false_negative_weight = 0.5

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        overlap = tversky_loss(
            logits,
            target,
            false_positive_weight=false_positive_weight,
            false_negative_weight=false_negative_weight,
            reduction=dice_reduction,
        )
        return bce_weight * bce(logits, target) + overlap_weight * overlap

    return loss


def _split_target(target: UInt8[Tensor, "batch height width"]) -> tuple[Tensor, Tensor]:
    """(truth, judged), both float 0/1 of the target's shape."""
    return (target == OBJECT).float(), (target != NOT_JUDGED).float()
