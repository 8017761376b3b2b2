"""Losses against hand-computed numbers, scikit-learn and torch, and what they promise of 255, images and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn import functional as F

import fgbg.loss_names
from fgbg.training.losses import (
    Loss,
    Reduction,
    bce,
    boundary_bce,
    dice_loss,
    focal,
    focal_tversky_loss,
    log_cosh_dice_loss,
    lovasz_hinge,
    make_loss,
    tversky_loss,
)

BOTH: tuple[Reduction, ...] = ("image", "batch")
both_reductions = pytest.mark.parametrize("reduction", BOTH)


def tell(*probabilities: float) -> Tensor:
    """One image of one row, as the logits that mean these probabilities."""
    return torch.tensor(probabilities, dtype=torch.float64).logit().float().reshape(1, 1, 1, -1)


def truth(*values: int) -> Tensor:
    """One image of one row."""
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, -1)


def make(name: Any = "bce_dice", **changes: Any) -> Loss:
    settings_: dict[str, Any] = {
        "bce_weight": 1.0,
        "overlap_weight": 1.0,
        "false_positive_weight": 0.5,
        "false_negative_weight": 0.5,
        "dice_reduction": "image",
        "focal_gamma": 2.0,
        "focal_tversky_gamma": 4 / 3,
        "boundary_weight": 4.0,
        **changes,
    }
    return make_loss(name, **settings_)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce,
    "dice": dice_loss,
    "dice over the batch": lambda logits, target: dice_loss(logits, target, reduction="batch"),
    "tversky": lambda logits, target: tversky_loss(logits, target, false_positive_weight=0.3, false_negative_weight=0.7),
    "tversky over the batch": lambda logits, target: tversky_loss(
        logits, target, false_positive_weight=0.3, false_negative_weight=0.7, reduction="batch"
    ),
    "focal": focal,
    "boundary": boundary_bce,
    "focal_tversky": focal_tversky_loss,
    "log_cosh": log_cosh_dice_loss,
    "log_cosh over the batch": lambda logits, target: log_cosh_dice_loss(logits, target, reduction="batch"),
    "lovasz": lovasz_hinge,
    "lovasz over the batch": lambda logits, target: lovasz_hinge(logits, target, reduction="batch"),
    "focal_lovasz": make("focal_lovasz"),
    "bce_dice": make(),
    "bce_tversky": make("bce_tversky", false_positive_weight=0.2, false_negative_weight=0.9, dice_reduction="batch"),
}
HINGES = (LOSSES["lovasz"], LOSSES["lovasz over the batch"])
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def draw_batch(seed: int, images: int = 3, edge: int = 6, values: tuple[int, ...] = (0, 1, 255)) -> tuple[Tensor, Tensor]:
    """Random logits and a random target."""
    stream = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(images, 1, edge, edge, generator=stream)
    picked = torch.randint(len(values), (images, edge, edge), generator=stream)
    return logits, torch.tensor(values, dtype=torch.uint8)[picked]


# Golden numbers


def test_bce_by_hand() -> None:
    # -ln 0.75 and -ln 0.25, halved: (0.28768 + 1.38629) / 2
    assert bce(tell(0.75, 0.25), truth(1, 1)).item() == pytest.approx(0.8369882, abs=1e-6)
    assert bce(tell(0.75, 0.25), truth(1, 0)).item() == pytest.approx(0.2876821, abs=1e-6)
    assert bce(tell(0.75, 0.25), truth(1, 255)).item() == pytest.approx(0.2876821, abs=1e-6), "one judged pixel"


def test_dice_loss_by_hand() -> None:
    # TP 0.75, FP 0.25, FN 0.25; half a pixel of smoothing above and below: 1 - (0.75 + 0.5) / (0.75 + 0.25 + 0.5)
    assert dice_loss(tell(0.75, 0.25), truth(1, 0)).item() == pytest.approx(1 / 6, abs=1e-6)
    assert dice_loss(tell(0.75, 0.25, 0.5), truth(1, 0, 255)).item() == pytest.approx(1 / 6, abs=1e-6)


def test_tversky_loss_by_hand() -> None:
    # TP 0.75, FP 0.5, FN 0.25: 1 - 1.25 / (0.75 + 0.2 * 0.5 + 0.8 * 0.25 + 0.5) = 1 - 1.25 / 1.55
    found = tversky_loss(tell(0.75, 0.5), truth(1, 0), false_positive_weight=0.2, false_negative_weight=0.8)
    assert found.item() == pytest.approx(1 - 1.25 / 1.55, abs=1e-6)


def test_dice_over_the_batch_is_one_ratio_by_hand() -> None:
    logits = torch.cat([tell(0.75, 0.25), tell(0.5, 0.5)])
    target = torch.cat([truth(1, 0), truth(0, 0)])
    # pooled: TP 0.75, FP 1.25, FN 0.25 -> 1 - 1.25 / 2; an image: 1/6, and TP 0, FP 1 -> 1 - 0.5 / 1
    assert dice_loss(logits, target, reduction="batch").item() == pytest.approx(0.375, abs=1e-6)
    assert dice_loss(logits, target, reduction="image").item() == pytest.approx((1 / 6 + 0.5) / 2, abs=1e-6)


def test_focal_by_hand() -> None:
    # 0.25² (-ln 0.75) and 0.75² (-ln 0.25), halved
    expected = (0.0625 * 0.2876821 + 0.5625 * 1.3862944) / 2
    assert focal(tell(0.75, 0.25), truth(1, 1)).item() == pytest.approx(expected, abs=1e-6)


def test_focal_tversky_and_log_cosh_by_hand() -> None:
    # Dice 5/6, as above: (1/6)^(3/4), and ln cosh 1/6
    assert focal_tversky_loss(tell(0.75, 0.25), truth(1, 0)).item() == pytest.approx((1 / 6) ** 0.75, abs=1e-6)
    assert log_cosh_dice_loss(tell(0.75, 0.25), truth(1, 0)).item() == pytest.approx(np.log(np.cosh(1 / 6)), abs=1e-6)


def test_boundary_by_hand() -> None:
    # 2 % of 6 pixels is less than one: the band is the pixel on each side of the outline. Weights 1 1 5 5 1 -
    logits, target = tell(0.9, 0.9, 0.9, 0.2, 0.2, 0.5), truth(1, 1, 1, 0, 0, 255)
    sure, unsure = -np.log(0.9), -np.log(0.8)
    expected = (sure * (1 + 1 + 5) + unsure * (5 + 1)) / 13
    assert boundary_bce(logits, target).item() == pytest.approx(expected, abs=1e-6)
    assert boundary_bce(logits, target, weight=0).item() == pytest.approx(bce(logits, target).item(), abs=1e-6)
    uniform = truth(1, 1, 1, 1, 1, 1)
    assert boundary_bce(logits, uniform).item() == pytest.approx(bce(logits, uniform).item(), abs=1e-6), "no outline"


def test_boundary_takes_a_turned_picture_for_the_same() -> None:
    logits, target = draw_batch(seed=0, images=2, edge=10)
    logits, target = (picture.repeat_interleave(20, -1).repeat_interleave(10, -2) for picture in (logits, target))
    turned = boundary_bce(logits.transpose(2, 3), target.transpose(1, 2))
    assert boundary_bce(logits, target).item() == pytest.approx(turned.item(), rel=1e-6)


def test_lovasz_by_hand() -> None:
    # Margins: object at logit 0.5 (error 0.5), ground at logit 1 (error 2). Sorted: ground first.
    # IoU loss after one error 1/2, after both 1: 2 * 1/2 + 0.5 * 1/2
    logits = torch.tensor([0.5, 1.0]).reshape(1, 1, 1, 2)
    assert lovasz_hinge(logits, truth(1, 0)).item() == pytest.approx(1.25, abs=1e-6)


def test_prediction_outside_the_object_counts() -> None:
    inside, outside = dice_loss(tell(0.9, 0.1), truth(1, 0)), dice_loss(tell(0.9, 0.9), truth(1, 0))
    assert outside.item() > inside.item() + 0.1


# Independent judges


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_bce_is_torchs_where_all_is_judged(seed: int) -> None:
    logits, target = draw_batch(seed, values=(0, 1))
    theirs = F.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    assert bce(logits, target).item() == pytest.approx(theirs.item(), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_bce_is_scikit_learns_log_loss_of_the_judged_pixels_averaged_over_images(seed: int) -> None:
    logits, target = draw_batch(seed)
    target[:, 0, :2] = torch.tensor([0, 1], dtype=torch.uint8)  # something to judge in every image
    losses = []
    for image, mask in zip(logits[:, 0], target, strict=True):
        judged = mask != 255
        losses.append(log_loss(mask[judged].numpy(), image[judged].double().sigmoid().numpy(), labels=[0, 1]))
    assert bce(logits, target).item() == pytest.approx(np.mean(losses), rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), gamma=st.sampled_from([0.0, 0.5, 2.0, 5.0]))
def test_focal_is_torchvisions_where_all_is_judged(seed: int, gamma: float) -> None:
    logits, target = draw_batch(seed, values=(0, 1))
    theirs = torchvision.ops.sigmoid_focal_loss(logits[:, 0], target.float(), alpha=-1, gamma=gamma, reduction="mean")
    assert focal(logits, target, gamma=gamma).item() == pytest.approx(theirs.item(), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(6, 6), (40, 40), (200, 200), (200, 60), (60, 200)]),
    weight=st.sampled_from([0.0, 4.0]),
)
def test_boundary_is_bce_weighed_by_scipys_neighbourhoods(seed: int, shape: tuple[int, int], weight: float) -> None:
    height, width = shape
    logits, target = (drawn[..., :height, :width] for drawn in draw_batch(seed, images=1, edge=max(shape)))
    if shape != (6, 6):  # blobs, so that some pixels are far from every outline
        target = target[:, : height // 20, : width // 20].repeat_interleave(20, 1).repeat_interleave(20, 2)
    reach = 2 * max(1, round(0.02 * min(shape))) + 1
    near = np.logical_and(*(maximum_filter((target[0] == value).numpy(), reach, mode="constant") for value in (0, 1)))
    weights = (1 + weight * torch.tensor(near)) * (target[0] != 255)
    pixelwise = F.binary_cross_entropy_with_logits(logits[0, 0], (target[0] == 1).float(), reduction="none")
    expected = (pixelwise * weights).sum() / weights.sum().clamp(min=1)
    assert boundary_bce(logits, target, weight=weight).item() == pytest.approx(expected.item(), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_lovasz_is_segmentation_models_pytorchs_with_and_without_255(seed: int) -> None:
    logits, target = draw_batch(seed)
    theirs = smp.losses.LovaszLoss("binary", per_image=True, ignore_index=255)(logits, target)
    assert lovasz_hinge(logits, target).item() == pytest.approx(theirs.item(), rel=1e-4)
    pooled = smp.losses.LovaszLoss("binary", per_image=False, ignore_index=255)(logits, target)
    assert lovasz_hinge(logits, target, reduction="batch").item() == pytest.approx(pooled.item(), rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_focal_tversky_is_segmentation_models_pytorchs_up_to_smoothing(seed: int) -> None:
    logits, target = draw_batch(seed, edge=40, values=(0, 1))
    judge = smp.losses.TverskyLoss("binary", from_logits=True, alpha=0.3, beta=0.7, gamma=0.75)
    ours = focal_tversky_loss(logits, target, false_positive_weight=0.3, false_negative_weight=0.7, reduction="batch")
    assert ours.item() == pytest.approx(judge(logits, target).item(), abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), reduction=st.sampled_from(BOTH))
def test_tversky_with_both_weights_one_half_is_dice(seed: int, reduction: Reduction) -> None:
    logits, target = draw_batch(seed)
    halves = tversky_loss(logits, target, false_positive_weight=0.5, false_negative_weight=0.5, reduction=reduction)
    assert halves.item() == dice_loss(logits, target, reduction=reduction).item()
    # and Dice is Dice: 2 TP / (P + G), one pixel of smoothing
    judged = (target != 255).double()
    probability, object_ = logits[:, 0].double().sigmoid() * judged, (target == 1).double()
    axes = (1, 2) if reduction == "image" else (0, 1, 2)
    ratio = (2 * (probability * object_).sum(axes) + 1) / (probability.sum(axes) + object_.sum(axes) + 1)
    assert halves.item() == pytest.approx((1 - ratio).mean().item(), rel=1e-5)


def test_a_hard_prediction_has_the_scores_dice_up_to_smoothing() -> None:
    rng = np.random.default_rng(0)
    inside, predicted = rng.random((64, 64)) < 0.4, rng.random((64, 64)) < 0.5
    logits = torch.tensor(np.where(predicted, 40.0, -40.0), dtype=torch.float32)[None, None]
    score = 2 * (inside & predicted).sum() / (inside.sum() + predicted.sum())
    assert 1 - dice_loss(logits, torch.tensor(inside.astype(np.uint8))[None]).item() == pytest.approx(score, abs=2e-4)


# What is not judged


@every_loss
@pytest.mark.parametrize("elsewhere", [-1e4, -3.0, 0.0, 7.0, 1e4])
def test_255_is_skipped_in_value_and_gradient(loss: Callable[[Tensor, Tensor], Tensor], elsewhere: float) -> None:
    logits, target = draw_batch(seed=1)
    unjudged = target[:, None] == 255
    assert unjudged.any()
    changed = logits.masked_fill(unjudged, elsewhere).requires_grad_()
    value = loss(changed, target)
    assert value.item() == loss(logits, target).item()
    value.backward()
    assert changed.grad is not None
    assert (changed.grad[unjudged] == 0).all()
    if loss not in HINGES:  # which have nothing more to say to a pixel that is right by a margin
        assert (changed.grad[~unjudged] != 0).all(), "every judged pixel teaches"


@every_loss
def test_255_counts_neither_as_object_nor_as_ground(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, target = tell(0.9, 0.2, 0.6), truth(1, 0, 255)
    found = loss(logits, target).item()
    assert found == pytest.approx(loss(logits[..., :2], target[..., :2]).item(), rel=1e-6)
    assert found != pytest.approx(loss(logits, truth(1, 0, 0)).item(), rel=1e-3)
    assert found != pytest.approx(loss(logits, truth(1, 0, 1)).item(), rel=1e-3)


@every_loss
def test_an_image_with_nothing_to_judge_is_zero_and_teaches_nothing(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


# Means over images


@pytest.mark.parametrize("name", fgbg.loss_names.LOSSES)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31))
def test_a_batchs_loss_is_the_mean_of_its_images(name: str, seed: int) -> None:
    logits, target = draw_batch(seed)
    loss = make(name, false_positive_weight=0.3, false_negative_weight=0.7)
    alone = [loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(len(logits))]
    assert loss(logits, target).item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_an_image_weighs_the_same_however_little_of_it_is_judged() -> None:
    logits = torch.cat([tell(0.9, 0.9, 0.9, 0.9), tell(0.5, 0.1, 0.1, 0.1)])
    target = torch.cat([truth(1, 1, 1, 1), truth(1, 255, 255, 255)])
    assert bce(logits, target).item() == pytest.approx((-np.log(0.9) - np.log(0.5)) / 2, rel=1e-5)


def test_over_the_batch_dice_is_not_the_mean_of_its_images() -> None:
    logits, target = draw_batch(seed=3)
    target[0] = 0
    alone = [dice_loss(logits[i : i + 1], target[i : i + 1], reduction="batch").item() for i in range(len(logits))]
    assert abs(dice_loss(logits, target, reduction="batch").item() - np.mean(alone)) > 0.01


@both_reductions
def test_of_one_image_both_reductions_are_one(reduction: Reduction) -> None:
    logits, target = draw_batch(seed=4, images=1)
    assert dice_loss(logits, target, reduction=reduction).item() == pytest.approx(dice_loss(logits, target).item(), rel=1e-6)


# Extremes


@every_loss
@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("logit", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_uniform_masks_and_sure_predictions_stay_finite(
    loss: Callable[[Tensor, Tensor], Tensor], value: int, logit: float
) -> None:
    logits = torch.full((2, 1, 5, 7), logit, requires_grad=True)
    found = loss(logits, torch.full((2, 5, 7), value, dtype=torch.uint8))
    found.backward()
    assert found.isfinite()
    assert found.item() >= 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 50.0])
@pytest.mark.parametrize("logit", [-1e4, -200.0, 0.0, 200.0, 1e4])
def test_focal_stays_finite_with_any_gamma(gamma: float, logit: float) -> None:
    logits = torch.full((1, 1, 2, 2), logit, requires_grad=True)
    found = focal(logits, torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8), gamma=gamma)
    found.backward()
    assert found.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4 / 3, 10.0])
def test_focal_tversky_stays_finite_where_its_root_is_steepest(gamma: float) -> None:
    logits = torch.tensor([40.0, 14.0, -14.0, -40.0], requires_grad=True)
    found = focal_tversky_loss(logits.reshape(1, 1, 1, 4), truth(1, 1, 0, 0), gamma=gamma)
    found.backward()
    assert found.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@every_loss
def test_a_perfect_prediction_costs_next_to_nothing_and_its_opposite_a_lot(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    _, target = draw_batch(seed=5, edge=16)
    sure = torch.where(target[:, None] == 1, 20.0, -20.0)
    assert loss(sure, target).item() < 1e-3
    assert loss(-sure, target).item() > 0.42, "log cosh 1 is 0.434; the others are higher"


@every_loss
def test_a_step_against_the_gradient_lowers_the_loss(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, target = draw_batch(seed=6)
    logits.requires_grad_()
    before = loss(logits, target)
    (gradient,) = torch.autograd.grad(before, logits)
    after = loss(logits - 0.1 * gradient / gradient.norm(), target)
    assert after.item() < before.item()


# Weights


@both_reductions
def test_false_negative_weight_raises_the_loss_of_missing_object_only(reduction: Reduction) -> None:
    missing, inventing = tell(1e-6, 1e-6, 1e-6), tell(1 - 1e-6, 1 - 1e-6, 1 - 1e-6)

    def cost(logits: Tensor, target: Tensor, weight: float) -> float:
        return tversky_loss(logits, target, false_negative_weight=weight, reduction=reduction).item()

    for light, heavy in ((0.1, 0.5), (0.5, 0.9), (0.9, 3.0)):
        assert cost(missing, truth(1, 1, 0), heavy) > cost(missing, truth(1, 1, 0), light) + 0.01
        assert cost(inventing, truth(0, 0, 1), heavy) == pytest.approx(cost(inventing, truth(0, 0, 1), light), abs=1e-5)


@both_reductions
def test_false_positive_weight_raises_the_loss_of_invented_object_only(reduction: Reduction) -> None:
    missing, inventing = tell(1e-6, 1e-6, 1e-6), tell(1 - 1e-6, 1 - 1e-6, 1 - 1e-6)

    def cost(logits: Tensor, target: Tensor, weight: float) -> float:
        return tversky_loss(logits, target, false_positive_weight=weight, reduction=reduction).item()

    for light, heavy in ((0.1, 0.5), (0.5, 0.9), (0.9, 3.0)):
        assert cost(inventing, truth(0, 0, 1), heavy) > cost(inventing, truth(0, 0, 1), light) + 0.01
        assert cost(missing, truth(1, 1, 0), heavy) == pytest.approx(cost(missing, truth(1, 1, 0), light), abs=1e-5)


def test_the_sum_is_weighed_as_told() -> None:
    logits, target = draw_batch(seed=7)
    parts = bce(logits, target).item(), dice_loss(logits, target).item()
    found = make(bce_weight=0.25, overlap_weight=3.0)(logits, target).item()
    assert found == pytest.approx(0.25 * parts[0] + 3 * parts[1], rel=1e-6)


def test_bce_dice_ignores_tverskys_weights_and_bce_tversky_obeys_them() -> None:
    logits, target = draw_batch(seed=8)
    odd = {"false_positive_weight": 0.1, "false_negative_weight": 0.9}
    assert make("bce_dice", **odd)(logits, target).item() == make("bce_dice")(logits, target).item()
    expected = bce(logits, target) + tversky_loss(logits, target, **odd)
    assert make("bce_tversky", **odd)(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)
    assert make("bce_tversky")(logits, target).item() == make("bce_dice")(logits, target).item()


def test_the_reduction_reaches_the_overlap_part() -> None:
    logits, target = draw_batch(seed=9)
    for reduction in BOTH:
        expected = bce(logits, target) + dice_loss(logits, target, reduction=reduction)
        assert make(dice_reduction=reduction)(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)


# Precision


@every_loss
def test_bf16_logits_are_summed_in_fp32(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, target = draw_batch(seed=10, edge=64)
    half = logits.bfloat16().requires_grad_()
    value = loss(half, target)
    assert value.dtype == torch.float32
    assert value.item() == loss(half.detach().float(), target).item()
    value.backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()
