"""Losses on logits: a mean or ratio over each image's judged pixels, averaged over images; 255 in the target is skipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from fgbg.loss_names import split_loss
from fgbg.words import NOT_JUDGED, OBJECT, Reduction

Loss = Callable[[Float[Tensor, "batch 1 height width"], UInt8[Tensor, "batch height width"]], Float[Tensor, ""]]
"""What training minimises: `(logits, target) -> scalar`.

The network's output is logits, not probabilities; in the target 0 is ground, 1 object, 255 not judged.
"""

NEAR_SHARE = 0.02  # distance from an outline that counts as near, as a share of the image's shorter edge
SMOOTH = 1.0  # pixels; keeps the ratio and its gradient finite on empty masks


def bce(logits: Float[Tensor, "batch 1 height width"], target: UInt8[Tensor, "batch height width"]) -> Float[Tensor, ""]:
    """Binary cross-entropy: mean over each image's judged pixels, then over images.

    An image without judged pixels counts as 0.

    >>> bce(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 255]]], dtype=torch.uint8)).item()  # ln 2
    0.6931...
    """
    truth, judged = _split_target(target)
    pixelwise = F.binary_cross_entropy_with_logits(logits.squeeze(1).float(), truth, weight=judged, reduction="none")
    return _mean_over_images(pixelwise, judged)


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
    return _tversky_distance(logits, target, false_positive_weight, false_negative_weight, reduction).mean()


def dice_loss(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """1 - Dice = 1 - 2TP / (2TP + FP + FN), over probabilities."""
    return tversky_loss(logits, target, reduction=reduction)


def focal(
    logits: Float[Tensor, "batch 1 height width"], target: UInt8[Tensor, "batch height width"], *, gamma: float = 2.0
) -> Float[Tensor, ""]:
    """BCE weighted by (1 - p)^gamma, `p` the probability of the true class: easy pixels hardly count (Lin et al. 2017).

    >>> even = torch.zeros(1, 1, 1, 1)  # a quarter of ln 2
    >>> focal(even, torch.ones(1, 1, 1, dtype=torch.uint8)).item()
    0.1732...
    """
    truth, judged = _split_target(target)
    margin = logits.squeeze(1).float() * (2 * truth - 1)  # logit of the true class
    # (1 - p)^gamma by its logarithm: a power below 1 has no finite gradient where 1 - p underflows to 0.
    pixelwise = (-gamma * F.softplus(margin)).exp() * F.softplus(-margin) * judged
    return _mean_over_images(pixelwise, judged)


def boundary_bce(
    logits: Float[Tensor, "batch 1 height width"], target: UInt8[Tensor, "batch height width"], *, weight: float = 4.0
) -> Float[Tensor, ""]:
    """BCE as a weighted mean, in which pixels near the object's outline weigh 1 + `weight`, others 1.

    Near means within 2 % of the image's shorter edge, at least one pixel, in the maximum norm. The idea is Ronneberger's
    (2015), whose weights fall off smoothly; a band needs no distance transform and stays on the device.

    Where a training on patches validates on whole photos, the band there is 2 % of the photo, not of a patch.
    """
    truth, judged = _split_target(target)
    near = _find_band(truth, judged, max(1, round(NEAR_SHARE * min(target.shape[-2:]))))
    weights = judged * (1 + weight * near)
    pixelwise = F.binary_cross_entropy_with_logits(logits.squeeze(1).float(), truth, weight=weights, reduction="none")
    return _mean_over_images(pixelwise, weights)


def focal_tversky_loss(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    gamma: float = 4 / 3,
    false_positive_weight: float = 0.5,
    false_negative_weight: float = 0.5,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """(1 - Tversky index)^(1 / gamma): with gamma > 1, nearly correct images keep a gradient (Abraham and Khan 2019)."""
    missed = _tversky_distance(logits, target, false_positive_weight, false_negative_weight, reduction)
    # At 0 the root has no finite gradient: values this near count as 0.
    return (missed.clamp(min=1e-6) ** (1 / gamma) * (missed > 1e-6)).mean()


def log_cosh_dice_loss(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """log cosh (1 - Dice): quadratic near 0, so that nearly correct images have less gradient (Jadon 2020)."""
    return _tversky_distance(logits, target, 0.5, 0.5, reduction).cosh().log().mean()


def lovasz_hinge(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    *,
    reduction: Reduction = "image",
) -> Float[Tensor, ""]:
    """The convex surrogate of 1 - IoU on margins of logits (Berman, Triki, Blaschko 2018, algorithm 1).

    An image without judged pixels counts as 0.
    """
    truth, judged = (part.flatten(1) if reduction == "image" else part.flatten()[None] for part in _split_target(target))
    margin = logits.float().reshape(truth.shape) * (2 * truth - 1)
    # Unjudged pixels get an error below 0 and are no object: they are sorted behind all that count.
    errors, order = torch.where(judged > 0, 1 - margin, -1.0).sort(dim=1, descending=True)
    objects = (truth * judged).gather(1, order)
    total = objects.sum(1, keepdim=True)
    jaccard = 1 - (total - objects.cumsum(1)) / (total + (1 - objects).cumsum(1))
    steps = torch.cat((jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]), dim=1)
    return (errors.relu() * steps).sum(1).mean()


def make_loss(
    name: str,
    *,
    bce_weight: float,
    overlap_weight: float,
    false_positive_weight: float,
    false_negative_weight: float,
    dice_reduction: Reduction,
    focal_gamma: float,
    focal_tversky_gamma: float,
    boundary_weight: float,
) -> Loss:
    """The configured loss: a weighted sum of a pixel part and an overlap part.

    Args:
        name: Both parts, as `bce_dice` or `focal_lovasz`; see `fgbg.loss_names.LOSSES`.
        bce_weight: Weight of the pixel part.
        overlap_weight: Weight of the overlap part.
        false_positive_weight: For `tversky` and `focal_tversky` only.
        false_negative_weight: For the same two.
        dice_reduction: Reduction of the overlap part.
        focal_gamma: Gamma of `focal`.
        focal_tversky_gamma: Gamma of `focal_tversky`.
        boundary_weight: Weight of the outline in `boundary`.
    """
    pixel, overlap = split_loss(name)
    tversky: dict[str, Any] = {
        "false_positive_weight": false_positive_weight,
        "false_negative_weight": false_negative_weight,
    }
    pixel_losses: dict[str, Loss] = {
        "bce": bce,
        "focal": partial(focal, gamma=focal_gamma),
        "boundary": partial(boundary_bce, weight=boundary_weight),
    }
    overlap_losses: dict[str, Loss] = {
        "dice": partial(dice_loss, reduction=dice_reduction),
        "tversky": partial(tversky_loss, reduction=dice_reduction, **tversky),
        "focal_tversky": partial(focal_tversky_loss, gamma=focal_tversky_gamma, reduction=dice_reduction, **tversky),
        "log_cosh": partial(log_cosh_dice_loss, reduction=dice_reduction),
        "lovasz": partial(lovasz_hinge, reduction=dice_reduction),
    }
    over_pixels, over_overlap = pixel_losses[pixel], overlap_losses[overlap]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return bce_weight * over_pixels(logits, target) + overlap_weight * over_overlap(logits, target)

    return loss


def _mean_over_images(
    pixelwise: Float[Tensor, "batch height width"], weights: Float[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """Each image's weighted mean (`pixelwise` is weighted already; 0 if all weights are 0), then the mean over images."""
    return (pixelwise.sum((1, 2)) / weights.sum((1, 2)).clamp(min=1)).mean()


def _tversky_distance(
    logits: Float[Tensor, "batch 1 height width"],
    target: UInt8[Tensor, "batch height width"],
    false_positive_weight: float,
    false_negative_weight: float,
    reduction: Reduction,
) -> Float[Tensor, "*images"]:
    """1 - Tversky index: (batch,), or a scalar over the whole batch."""
    truth, judged = _split_target(target)
    probability = logits.squeeze(1).float().sigmoid() * judged
    axes = (1, 2) if reduction == "image" else (0, 1, 2)
    hit = (probability * truth).sum(axes)
    false_positive = probability.sum(axes) - hit
    false_negative = truth.sum(axes) - hit
    missed = false_positive_weight * false_positive + false_negative_weight * false_negative
    # Halved, so that with both weights at 0.5 it is the usual (2 hit + SMOOTH) / (2 hit + FP + FN + SMOOTH).
    return 1 - (hit + SMOOTH / 2) / (hit + missed + SMOOTH / 2)


def _find_band(truth: Tensor, judged: Tensor, radius: int) -> Tensor:
    """1 where both object and ground lie within `radius` pixels, else 0; of the target's shape."""
    is_object, is_judged = truth > 0, judged > 0
    return (_spread(is_object & is_judged, radius) & _spread(~is_object & is_judged, radius)).float()


def _spread(mask: Bool[Tensor, "batch height width"], radius: int) -> Bool[Tensor, "batch height width"]:
    """Dilate the mask by a square of 2 `radius` + 1 pixels.

    Windows double in length, along one axis and then the other: at 256 px some 10 times as fast as a separable max-pool.
    """
    edge = 2 * radius + 1
    for _ in range(2):
        mask = F.pad(mask.transpose(1, 2), (radius, radius))
        reach = 1
        while reach < edge:
            step = min(reach, edge - reach)
            mask = mask[..., step:] | mask[..., :-step]
            reach += step
    return mask


def _split_target(target: UInt8[Tensor, "batch height width"]) -> tuple[Tensor, Tensor]:
    """(truth, judged), both float 0/1 of the target's shape."""
    return (target == OBJECT).float(), (target != NOT_JUDGED).float()
