"""Optimizer, learning rate, averaged weights, parts of a batch, growing size, patience: each against a judge or by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import fgbg
from discs import make_samples, small_config
from fgbg.data.augment import PairedAugmentation
from fgbg.data.mix import Mixture
from fgbg.engine import Engine
from fgbg.models import build_network
from fgbg.run import Run
from fgbg.training import loop
from fgbg.training.average import RunningAverage
from fgbg.training.build import build_learner, understand_data
from fgbg.training.optimizer import make_optimizer, set_learning_rate
from fgbg.training.own_parts import OwnParts
from fgbg.training.prepare import prepare_training
from fgbg.training.schedule import rate_at, size_in
from fgbg.training.train import run_epochs

pytestmark = pytest.mark.usefixtures("no_charts")

EVERYTHING = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "ema": 0.9,
    "accumulate": 2,
    "start_size": 16,
}


def trained(out: Path, **changes: object) -> Run:
    return fgbg.train(small_config(out, **changes), samples=make_samples())


# Learning rate


@pytest.mark.parametrize("steps", [4, 10, 97])
def test_one_cycle_is_torchs(steps: int) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight])
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        assert 2.0 * rate_at(step, steps, schedule="one_cycle") == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_cosine_is_torchs_after_its_warm_up() -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=16)
    assert [rate_at(step, 20, schedule="cosine", warmup_steps=4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    for step in range(16):
        assert rate_at(4 + step, 20, schedule="cosine", warmup_steps=4) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_run_of_one_step_has_a_rate() -> None:
    for schedule in ("constant", "cosine", "one_cycle"):
        assert 0 < rate_at(0, 1, schedule=schedule) <= 1


def test_the_record_holds_the_rate_of_each_epochs_last_step(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", schedule="cosine")  # 3 epochs of 3 steps
    expected = [3e-3 * (1 + math.cos(math.pi * step / 9)) / 2 for step in (2, 5, 8)]
    assert [record.learning_rate for record in run.epochs()] == pytest.approx(expected)


# Groups


def test_norms_and_biases_are_not_decayed_and_the_encoder_steps_up() -> None:
    network = build_network("resnet34_unet", width=8)
    optimizer = make_optimizer(
        network,
        network.network,
        name="adamw",
        learning_rate=1.0,
        weight_decay=0.1,
        encoder_rate=0.01,
        fused=False,
    )
    found = {id(p): (g["rate"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(found) == len(list(network.parameters()))
    named = {name: found[id(parameter)] for name, parameter in network.network.named_parameters()}
    convolutions = {
        f"{name}.{kind}"
        for name, part in network.network.named_modules()
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
        for kind, _ in part.named_parameters()
        if kind == "weight"
    }
    assert {name for name, (_, decay) in named.items() if decay == 0.1} == convolutions
    assert {decay for name, (_, decay) in named.items() if name not in convolutions} == {0}, "norms and biases"
    assert any(name.endswith("bias") for name in named)
    assert all(rate == 1 for name, (rate, _) in named.items() if not name.startswith("encoder."))
    # conv1, bn1, then 3 + 4 + 6 + 3 blocks: 18 in all
    assert named["encoder.conv1.weight"][0] == pytest.approx(0.01)
    assert named["encoder.layer1.0.conv1.weight"][0] == pytest.approx(0.01 ** (1 - 2 / 17))
    assert named["encoder.layer4.2.conv2.weight"][0] == pytest.approx(1.0)
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5 * group["rate"] for group in optimizer.param_groups}


def test_a_slower_encoder_needs_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(fgbg.UserError, match=r"--encoder-rate 0\.1: UNet has no part that is an encoder"):
        trained(tmp_path / "run", encoder_rate=0.1)


# Averaged weights


def test_the_average_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = RunningAverage(layer, decay=0.5)
    expected = 0.0
    for step, value in enumerate((8.0, 2.0, 4.0, 1.0)):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update_parameters(layer)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = value if step == 0 else kept * expected + (1 - kept) * value
        assert average.module.weight.item() == pytest.approx(expected)
    again = copy.deepcopy(average)
    again.update_parameters(layer)
    assert (int(again.n_averaged), int(average.n_averaged)) == (5, 4), "a copy counts by itself"


def test_batch_norms_statistics_are_averaged_like_weights() -> None:
    """Those of the last steps alone do not fit averaged weights."""
    layer = nn.BatchNorm1d(1, affine=False)
    average = RunningAverage(layer, decay=0.5)
    for mean, variance in ((8.0, 1.0), (2.0, 5.0)):
        layer.running_mean.fill_(mean)
        layer.running_var.fill_(variance)
        average.update_parameters(layer)
    kept = 2 / 11  # (1 + 1) / (10 + 1)
    assert average.module.running_mean.item() == pytest.approx(kept * 8 + (1 - kept) * 2)
    assert average.module.running_var.item() == pytest.approx(kept * 1 + (1 - kept) * 5)


def test_the_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", ema=0.9, epochs=2)
    best, last = load_file(run.best), torch.load(run.last, weights_only=True)
    kept = {name.removeprefix("module.network."): weight for name, weight in last["average"].items() if "network" in name}
    if run.epochs()[-1].best:
        for name, weight in best.items():
            assert torch.equal(weight, kept[name]), name
    assert any(not torch.equal(weight, last["network"][name]) for name, weight in best.items())
    plain = trained(tmp_path / "plain", epochs=2)
    for name, weight in torch.load(plain.last, weights_only=True)["network"].items():
        assert torch.equal(weight, last["network"][name]), "averaging changes nothing of what is trained"


# A batch in parts, gradients cut short


class WithoutNorm(nn.Module):
    """Its gradient for a batch is the mean of those for the parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def gradients(**changes: object) -> list[torch.Tensor]:
    config = small_config(Path("unused"), batch_size=8, **changes)
    learner = build_learner(
        config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1), OwnParts(model=WithoutNorm())
    )
    rows = np.arange(8)
    mixture = Mixture(*learner.augment(*learner.store.take(rows, 1), torch.tensor(rows), 1))
    loop.take_step(learner, loop.compute_gradients(learner, mixture), "here")
    return [parameter.grad for parameter in learner.predictor.parameters() if parameter.grad is not None]


def test_parts_of_a_batch_have_its_gradient() -> None:
    for whole, parts in zip(gradients(), gradients(accumulate=4), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-7)


def test_gradients_are_cut_to_their_norm() -> None:
    free = torch.cat([gradient.flatten() for gradient in gradients()])
    norm = free.norm().item()
    cut = torch.cat([gradient.flatten() for gradient in gradients(clip_norm=norm / 4)])
    torch.testing.assert_close(cut, free / 4, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(torch.cat([gradient.flatten() for gradient in gradients(clip_norm=norm * 4)]), free)


def test_parts_must_come_out_even(tmp_path: Path) -> None:
    with pytest.raises(fgbg.UserError, match=r"--accumulate 3 does not divide the 4 images"):
        trained(tmp_path / "run", accumulate=3)


# Growing size


def test_the_size_grows_over_the_first_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(tmp_path / "run", size=96, start_size=32, epochs=8, width=2)
    assert [size_in(epoch, config) for epoch in range(1, 9)] == [32, 32, 64, 64, 96, 96, 96, 96]
    assert size_in(1, replace(config, epochs=1)) == 96, "no time to grow"
    assert [size_in(epoch, replace(config, epochs=2)) for epoch in (1, 2)] == [32, 96]
    seen: list[int] = []
    call = PairedAugmentation.__call__

    def watch(self: PairedAugmentation, *batch: object) -> tuple[torch.Tensor, torch.Tensor]:
        image, target = call(self, *batch)  # type: ignore[arg-type]
        assert image.shape[-1] == target.shape[-1]
        seen.append(image.shape[-1])
        return image, target

    monkeypatch.setattr(PairedAugmentation, "__call__", watch)
    fgbg.train(replace(config, epochs=4), samples=make_samples(size=96))
    assert seen == [32] * 3 + [64] * 3 + [96] * 6


def test_only_our_own_augmentation_grows(tmp_path: Path) -> None:
    def augment(pixels: torch.Tensor, target: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        return pixels / 255, target

    with pytest.raises(fgbg.UserError, match="--start-size grows what fgbg's own augmentation makes"):
        fgbg.train(small_config(tmp_path / "run", size=64, start_size=32), samples=make_samples(), augment=augment)


def test_a_coarser_view_shows_the_same_scene() -> None:
    config = small_config(Path("unused"), size=32)
    learner = build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))
    rows = np.arange(4)
    batch = (*learner.store.take(rows, 1), torch.tensor(rows), 1)
    fine, _ = learner.augment(*batch)
    assert isinstance(learner.augment, PairedAugmentation)
    learner.augment.set_size(16)
    coarse, _ = learner.augment(*batch)
    assert coarse.shape[-1] == 16
    assert (nn.functional.avg_pool2d(fine, 2) - coarse).abs().mean() < 0.1
    noise = (fine - fine.flip(0)).abs().mean()
    assert (nn.functional.avg_pool2d(fine, 2) - coarse).abs().mean() < noise / 2


# Patience, resuming


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = iter(range(0, -100, -1))
    values: list[float] = []

    def metric(_: torch.Tensor, __: torch.Tensor) -> float:
        values.append(next(worse) // 4)  # four validation photos: every epoch is worse than the one before
        return values[-1]

    config = small_config(tmp_path / "run", epochs=9, patience=2)
    run = fgbg.train(config, samples=make_samples(), metric=metric)
    assert [record.best for record in run.epochs()] == [True, False, False]
    assert "stopping: 2 epochs brought nothing better than epoch 1" in capsys.readouterr().out
    fgbg.train(replace(config, patience=3), samples=make_samples(), metric=metric, resume=True)
    assert len(run.epochs()) == 4, "more patience goes on"


@pytest.mark.long
def test_with_everything_on_an_interrupted_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = small_config(tmp_path / "cut", **EVERYTHING)
    with prepare_training(config, OwnParts(samples=make_samples())) as training:
        assert next(run_epochs(training)).epoch == 1  # and no more of it
    resumed = fgbg.train(config, samples=make_samples(), resume=True)
    whole = trained(tmp_path / "whole", **EVERYTHING)
    for name in ("network", "average"):
        ours, theirs = (torch.load(run.last, weights_only=True)[name] for run in (resumed, whole))
        for key, weight in theirs.items():
            assert torch.equal(weight, ours[key]), (name, key)
    assert [(r.train_loss, r.val_dice_photo, r.learning_rate) for r in whole.epochs()] == [
        (r.train_loss, r.val_dice_photo, r.learning_rate) for r in resumed.epochs()
    ]


def test_extending_a_run_says_what_the_learning_rate_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path / "run", epochs=2, schedule="cosine")
    fgbg.train(config, samples=make_samples())
    fgbg.train(replace(config, epochs=4), samples=make_samples(), resume=True)
    said = capsys.readouterr().out
    # 2 of 4 epochs: half of the peak of 3e-3; the last of 6 steps had (1 + cos(5π/6)) / 2 of it
    assert "cosine over all 4 epochs, 0.0015 in the next step (0.0002 in the last one, of a run of 2)" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"warmup_epochs": 4.0}, r"--warmup-epochs 4\.0: must be up to --epochs \(3\)"),
        ({"warmup_epochs": 1.0, "schedule": "one_cycle"}, r"0 with --schedule one_cycle"),
        ({"start_size": 16, "fit": "crop"}, r"--start-size 16: must be 0 with --fit crop"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(fgbg.UserError, match=sentence):
        small_config(Path("unused"), **changes)


@pytest.mark.long
def test_a_longer_run_says_that_images_are_small_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path / "run", epochs=2, size=64, start_size=32, width=2)
    fgbg.train(config, samples=make_samples(size=64))
    capsys.readouterr()
    fgbg.train(replace(config, epochs=4), samples=make_samples(size=64), resume=True)
    assert "the learning rate is constant; images" not in capsys.readouterr().out  # epoch 3 of 4 has them whole
    fgbg.train(replace(config, epochs=12), samples=make_samples(size=64), resume=True)
    assert "the learning rate is constant; images grow from 32 px to 64 px by epoch 7" in capsys.readouterr().out
