"""CutMix and MixUp: photo and mask stay together, whoever shares a batch; off, nothing changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import fgbg
from discs import make_samples, small_config
from fgbg.data.augment_ranges import NO_CHANGE, AugmentRanges
from fgbg.data.mix import Mixture, draw_mixes, find_partners, mix
from fgbg.engine import Engine
from fgbg.training import loop
from fgbg.training.build import build_learner, understand_data
from fgbg.training.loop import Learner
from fgbg.training.losses import bce, dice_loss
from fgbg.training.own_parts import OwnParts
from fgbg.words import Fit

pytestmark = pytest.mark.usefixtures("no_charts")

CUT = replace(NO_CHANGE, enabled=True, cutmix=1.0)
BLEND = replace(NO_CHANGE, enabled=True, mixup=1.0)


def prepare(ranges: AugmentRanges, **changes: object) -> Learner:
    config = small_config(Path("unused"), augment=ranges, **changes)
    return build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))


def test_how_often_and_with_whom() -> None:
    table = draw_mixes(AugmentRanges(cutmix=0.3, mixup=0.2), 10_000, seed=0, epoch=1)
    cuts = (table.box[:, 2] > table.box[:, 0]) & (table.box[:, 3] > table.box[:, 1])
    assert cuts.mean() == pytest.approx(0.3, abs=0.02)
    assert table.blends.mean() == pytest.approx(0.2, abs=0.02)
    assert not (cuts & table.blends).any()
    assert (table.partner[~cuts & ~table.blends] == np.flatnonzero(~cuts & ~table.blends)).all()
    assert len(np.unique(table.partner[cuts])) == cuts.sum(), "nobody is asked twice"
    assert table.share.min() >= 0.5
    height, width = (table.box[:, 2] - table.box[:, 0])[cuts], (table.box[:, 3] - table.box[:, 1])[cuts]
    inside = (table.box[:, :2] > 0).all(1)[cuts] & (table.box[:, 2:] < 1).all(1)[cuts]
    np.testing.assert_allclose(height[inside], width[inside])
    assert 0 < (height * width).min() < 0.01
    again = draw_mixes(AugmentRanges(cutmix=0.3, mixup=0.2), 10_000, seed=0, epoch=1)
    assert np.array_equal(table.partner, again.partner)
    other = draw_mixes(AugmentRanges(cutmix=0.3, mixup=0.2), 10_000, seed=0, epoch=2)
    assert not np.array_equal(table.partner, other.partner)


def test_a_cut_is_the_partners_in_image_and_mask() -> None:
    """The target, given as the image too, stays the target."""
    table = draw_mixes(CUT, 8, seed=1, epoch=1)
    target = torch.arange(8, dtype=torch.uint8)[:, None, None].expand(8, 16, 16)  # every photo its own value
    image = target[:, None].float().expand(-1, 3, -1, -1)
    rows = np.array([3, 0, 5])
    partners = find_partners(rows, table)
    mixed = [row for row in rows if table.partner[row] != row]
    assert partners.tolist() == table.partner[mixed].tolist()
    mixture = mix(image[rows], target[rows], image[partners], target[partners], rows=rows, table=table, step=0)
    assert torch.equal(mixture.image[:, 0].to(torch.uint8), mixture.target)
    assert mixture.second is None
    for index, row in enumerate(rows):
        top, left, bottom, right = np.round(table.box[row] * 16).astype(int)
        expected = np.full((16, 16), row)
        expected[top:bottom, left:right] = table.partner[row]
        assert np.array_equal(mixture.target[index].numpy(), expected)
    assert torch.equal(target[3], torch.full((16, 16), 3, dtype=torch.uint8)), "what is stored stays"


def test_a_blend_by_hand() -> None:
    table = replace(draw_mixes(BLEND, 2, seed=0, epoch=1), partner=np.array([1, 0]), share=np.array([0.75]))
    image = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 4, 4)
    target = torch.tensor([0, 1], dtype=torch.uint8)[:, None, None].expand(2, 4, 4)
    rows = np.array([0, 1])
    mixture = mix(image, target, image.flip(0), target.flip(0), rows=rows, table=table, step=0)
    assert mixture.shares == (0.75, 0.25)
    assert mixture.image[:, 0, 0, 0].tolist() == [0.25, 0.75]
    assert torch.equal(mixture.target, target)
    assert mixture.second is not None
    assert torch.equal(mixture.second, target.flip(0))


@pytest.mark.parametrize("ranges", [CUT, BLEND, AugmentRanges(cutmix=0.5, mixup=0.5)])
def test_an_image_does_not_depend_on_who_shares_its_batch(ranges: AugmentRanges) -> None:
    learner = prepare(ranges)
    whole = loop.make_batch(learner, np.arange(12), 3, 2)
    for rows in (np.array([7]), np.array([2, 9, 4])):
        part = loop.make_batch(learner, rows, 3, 2)
        torch.testing.assert_close(part.image, whole.image[rows])
        assert torch.equal(part.target, whole.target[rows])
        if whole.second is not None:
            second = part.target if part.second is None else part.second
            assert torch.equal(second, whole.second[rows])


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_a_partner_comes_as_its_own_row_is_augmented(fit: Fit) -> None:
    """By an augmentation of one's own, too: this one paints each image and target with its row."""

    def paint(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        painted = rows.to(torch.uint8)[:, None, None].expand(-1, 32, 32).clone()
        painted[:, :4] = 255  # not judged
        return painted[:, None].expand(-1, 3, -1, -1) / 255, painted

    config = small_config(Path("unused"), augment=CUT, fit=fit)
    samples = understand_data(config, make_samples(size=48))
    learner = build_learner(config, samples, Engine("cpu", "fp32", 1), OwnParts(augment=paint))
    assert len(learner.store) > 12 or fit == "squash"
    rows = np.array([4, 0, 11, 7])
    mixture = loop.make_batch(learner, rows, 1, 1)
    table = draw_mixes(CUT, len(learner.store), seed=learner.seed, epoch=1)
    assert torch.equal((mixture.image[:, 0] * 255).round().to(torch.uint8), mixture.target), "255 is cut with the rest"
    assert (mixture.target[:, :4] == 255).all()
    met = [set(one.unique().tolist()) - {255, row} for one, row in zip(mixture.target, rows.tolist(), strict=True)]
    assert all(others <= {int(table.partner[row])} for others, row in zip(met, rows, strict=True))
    assert sum(map(len, met)) >= 3


def test_the_loss_of_a_blend_is_shared_between_both_masks() -> None:
    learner = prepare(BLEND)
    seen: list[torch.Tensor] = []
    learner.predictor.network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    mixture = loop.make_batch(learner, np.arange(4), 1, 1)
    assert mixture.second is not None
    value, mean_dice = loop.take_step(learner, loop.compute_gradients(learner, mixture), "here")
    (logits,) = seen

    def both(target: torch.Tensor) -> float:
        return (bce(logits, target) + dice_loss(logits, target)).item()

    expected = mixture.shares[0] * both(mixture.target) + mixture.shares[1] * both(mixture.second)
    assert value == pytest.approx(expected, rel=1e-5)
    assert 0 <= mean_dice <= 1


def test_parts_of_a_blended_batch_have_its_gradient() -> None:
    image, target = torch.rand(4, 3, 8, 8), torch.ones(4, 8, 8, dtype=torch.uint8)
    parts = Mixture(image, target, target * 0, (0.8, 0.2)).split(2)
    assert [len(part.image) for part in parts] == [2, 2]
    assert all(part.shares == (0.8, 0.2) and part.second is not None and not part.second.any() for part in parts)


def test_switched_off_it_costs_nothing_and_changes_nothing() -> None:
    learner = prepare(AugmentRanges())
    rows = np.arange(4)
    image, target = learner.augment(*learner.store.take(rows, 1), torch.tensor(rows), 1)
    mixture = loop.make_batch(learner, rows, 1, 1)
    assert torch.equal(mixture.image, image)
    assert torch.equal(mixture.target, target)
    assert mixture.second is None


@pytest.mark.long
def test_it_trains_and_resumes(tmp_path: Path) -> None:
    config = small_config(tmp_path / "cut", augment=AugmentRanges(cutmix=0.4, mixup=0.4), epochs=1, selfcheck=True)
    fgbg.train(config, samples=make_samples())
    resumed = fgbg.train(replace(config, epochs=2), samples=make_samples(), resume=True)
    whole = fgbg.train(replace(config, out=str(tmp_path / "whole"), epochs=2), samples=make_samples())
    assert [record.train_loss for record in resumed.epochs()] == [record.train_loss for record in whole.epochs()]
    findings = whole.selfcheck()
    assert findings
    assert all(finding["passed"] for finding in findings)


def test_a_faulty_augmentation_of_ones_own_is_named_with_mixing_too(tmp_path: Path) -> None:
    def interpolate(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        shift = epoch % 3
        return pixels.roll(shift, -1).float() / 255, (target.float() + target.roll(1, -1).float()).roll(shift, -1) / 2

    ranges = AugmentRanges(cutmix=0.5, mixup=0.5)
    config = small_config(tmp_path / "run", augment=ranges, selfcheck=True)
    with pytest.raises(fgbg.UserError, match="the mask was probably resized bilinearly"):
        fgbg.train(config, samples=make_samples(), augment=interpolate)


def test_more_than_every_photo_cannot_be_mixed() -> None:
    with pytest.raises(fgbg.UserError, match=r"--augment\.mixup 0\.6: must be up to 1 - augment\.cutmix \(0\.5\)"):
        fgbg.TrainConfig(augment=AugmentRanges(cutmix=0.5, mixup=0.6))
