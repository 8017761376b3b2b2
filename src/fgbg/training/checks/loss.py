"""Does the loss reward what it should? Tried on a known target, with the logits of good and bad predictions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fgbg.config import TrainConfig
from fgbg.loss_names import split_loss
from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.training.losses import SMOOTH, Loss
from fgbg.words import NOT_JUDGED, OBJECT

SURE = 8.0  # a logit: probability 0.9997
CERTAIN = 16.0
OBJECT_SHARE = 8  # an eighth of the known target is object
SATURATED = 0.4  # most that a perfect prediction may cost, as a share of the loss of knowing nothing
UNSURE = 3.0  # times the loss of knowing nothing that a fresh network may start at


def check_direction(loss: Loss, target: UInt8[Tensor, "1 size size"]) -> Finding:
    """A right answer costs less than a wrong one."""
    name, right = "loss falls", _answer(target)
    costs = [loss(SURE * right, target), loss(torch.zeros_like(right), target), loss(-SURE * right, target)]
    if any(cost.numel() != 1 for cost in costs):
        return failed(
            name, f"the loss returns {tuple(costs[0].shape)} values: it should return one number, the mean over images"
        )
    perfect, unknown, contrary = (cost.item() for cost in costs)
    told = f"{perfect:.3g} for a perfect prediction, {unknown:.3g} for none and {contrary:.3g} for its contrary"
    if not all(map(math.isfinite, (perfect, unknown, contrary))):
        return failed(name, f"the loss is {told}: it should be finite")
    if perfect >= contrary:
        return failed(
            name,
            f"the loss is {told}: it should be lowest for the perfect one, so it has a wrong sign "
            "or reads the target wrongly",
        )
    return passed(name, told)


def check_gradient(loss: Loss, target: UInt8[Tensor, "1 size size"]) -> Finding:
    """The loss has a gradient, and it is finite."""
    name = "loss has a gradient"
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(_answer(target).shape, generator=generator).to(target.device).requires_grad_()
    value = loss(logits, target)
    gradient = torch.autograd.grad(value, logits, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None or not gradient.any():
        return failed(
            name,
            "the loss has no gradient for the logits: it should change smoothly with them, but is probably computed from a "
            "thresholded prediction (a Dice of 0s and 1s, round, argmax or detach), so that nothing would be learnt",
        )
    if not gradient.isfinite().all():
        return failed(name, "the loss has a gradient that is not finite, so that the first step would destroy the weights")
    return passed(name, f"of size {gradient.norm():.2g}")


def check_logits_taken(loss: Loss, target: UInt8[Tensor, "1 size size"]) -> Finding:
    """The loss applies the sigmoid once: a confident, correct answer costs next to nothing."""
    name, right = "loss takes logits", _answer(target)
    perfect, certain, unknown = (loss(scale * right, target).item() for scale in (SURE, CERTAIN, 0.0))
    # A loss with smoothed labels also has a floor, but there more confidence than the labels' costs more.
    if certain > SATURATED * unknown > 0 and certain <= perfect * (1 + 1e-4):
        return failed(
            name,
            f"a perfect prediction still costs {certain:.3g}, where knowing nothing costs {unknown:.3g}: it should cost "
            "next to nothing, so the sigmoid is probably applied twice (the network returns logits; take the sigmoid once, "
            "in the loss)",
        )
    return passed(name, f"a perfect prediction costs {certain:.3g}")


def check_unjudged(loss: Loss, target: UInt8[Tensor, "1 size size"], *, occurs: bool) -> Finding:
    """Pixels that are not judged (255) do not count."""
    name = "loss skips 255"
    if not occurs:
        return passed(name, "not probed: every pixel of these targets is judged")
    right = _answer(target)
    partly = target.clone()
    partly[:, :, ::4] = NOT_JUDGED
    free = (partly == NOT_JUDGED)[:, None]
    low, high = (loss(torch.where(free, value, SURE * right), partly).item() for value in (-SURE, SURE))
    span = abs(loss(-SURE * right, target).item() - loss(SURE * right, target).item())
    moved = abs(high - low)
    if moved <= 1e-3 * span:
        return passed(name, "pixels that are not judged do not change it")
    told = f"pixels that are not judged (255 in the target) change the loss by {moved:.3g}: the loss should skip them"
    if moved > span:
        return failed(
            name, f"{told}, but probably reads 255 as a label (was the target divided by 255, or used as a number?)"
        )
    return doubted(name, f"{told}, but counts them as ground or object")


def check_start(
    loss: Loss, config: TrainConfig | None, logits: Float[Tensor, "batch 1 _ _"], target: UInt8[Tensor, "batch _ _"]
) -> Finding:
    """A fresh network's loss is near that of knowing nothing (probability 1/2).

    Args:
        loss: The training's.
        config: The settings, if the loss is the configured one.
        logits: Of the fresh network.
        target: Of those images.
    """
    name = "loss at step 0"
    start, unknown = loss(logits, target).item(), loss(torch.zeros_like(logits), target).item()
    theory = expect_start(config, target) if config else unknown
    if abs(unknown - theory) > 1e-3 * max(1.0, theory):
        return failed(
            name, f"the loss of knowing nothing is {unknown:.4g} on the first images, and should be {theory:.4g} by theory"
        )
    told = f"the fresh network's loss is {start:.3g}; that of knowing nothing is {theory:.3g}"
    if not math.isfinite(start):
        return failed(name, f"{told}: it should be finite, so the images or the initial weights are probably out of range")
    if unknown > 0 and start > UNSURE * unknown:
        return doubted(name, f"{told}: it should be near, so the images or the initial weights are probably out of range")
    return passed(name, told)


def expect_start(config: TrainConfig, target: UInt8[Tensor, "batch _ _"]) -> float:
    """The configured loss of probability 1/2 everywhere, computed from pixel counts.

    BCE is ln 2. Of `objects` pixels half are TP and half FN; of the ground half is FP. Every margin is 0, so that the hinge
    is 1.
    """
    pixel, overlap = split_loss(config.loss)
    judged, objects = (mask.sum((1, 2)).cpu().double() for mask in (target != NOT_JUDGED, target == OBJECT))
    surprise = math.log(2) * (0.5**config.focal_gamma if pixel == "focal" else 1.0)
    over_pixels = surprise * (judged > 0).double().mean()
    if config.dice_reduction == "batch":
        judged, objects = judged.sum(), objects.sum()
    weighs = overlap in ("tversky", "focal_tversky")
    weights = (config.false_positive_weight, config.false_negative_weight) if weighs else (0.5, 0.5)
    missed = weights[0] * (judged - objects) / 2 + weights[1] * objects / 2
    index = 1 - (objects + SMOOTH) / (objects + 2 * missed + SMOOTH)
    over_overlap = {
        "focal_tversky": index ** (1 / config.focal_tversky_gamma),
        "log_cosh": index.cosh().log(),
        "lovasz": (judged > 0).double(),
    }.get(overlap, index)
    return float(config.bce_weight * over_pixels + config.overlap_weight * over_overlap.mean())


def make_known_target(size: int, device: torch.device) -> UInt8[Tensor, "1 size size"]:
    """Ground, with object in an eighth of it."""
    target = torch.zeros(1, size, size, dtype=torch.uint8, device=device)
    target[:, : size // 2, : size * 2 // OBJECT_SHARE] = OBJECT
    return target


def _answer(target: UInt8[Tensor, "1 size size"]) -> Float[Tensor, "1 1 size size"]:
    """+1 on object, -1 on ground: scaled by a number, the logits of a perfect prediction."""
    return 2 * (target == OBJECT).float()[:, None] - 1
