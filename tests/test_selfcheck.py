"""The self-check: it changes nothing, raises no false alarm, and says what it sees. The silent errors are in mutations/."""

from __future__ import annotations

import math
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import fgbg
from discs import make_samples, small_config, write_discs
from fgbg import cli
from fgbg.config_file import read_preset
from fgbg.data.augment_ranges import NO_CHANGE
from fgbg.engine import Engine
from fgbg.loss_names import LOSSES
from fgbg.run import Run
from fgbg.training.build import build_learner, understand_data
from fgbg.training.checks.augmentation import check_targets
from fgbg.training.checks.data import check_splits
from fgbg.training.checks.draws import (
    choose_epochs,
    copy_learner,
    draw_first_batch,
    draw_images,
    draw_pattern,
    draw_unjudged,
)
from fgbg.training.checks.finding import Finding
from fgbg.training.checks.folder import check_run
from fgbg.training.checks.loss import (
    check_direction,
    check_gradient,
    check_logits_taken,
    check_start,
    check_unjudged,
    expect_start,
    make_known_target,
)
from fgbg.training.checks.metric import check_metric
from fgbg.training.losses import bce, dice_loss, make_loss
from fgbg.training.own_parts import OwnParts
from fgbg.training.selfcheck import check_learner
from trivial import unchecked

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("no_charts")


def check(config: fgbg.TrainConfig, samples: list[fgbg.Sample] | None = None, **parts: Any) -> list[Finding]:
    """The self-check alone, of a training on discs."""
    sample_set = understand_data(config, make_samples() if samples is None else samples)
    learner = build_learner(config, sample_set, Engine("cpu", "fp32", 1), OwnParts(**parts))
    known = None if "loss" in parts else config
    findings = check_learner(learner, epochs=config.epochs, config=known)
    return [check_splits(sample_set), *findings]


def alarms(findings: list[Finding]) -> list[str]:
    return [finding.sentence for finding in findings if not finding.passed]


# It changes nothing.


class Noisy(nn.Module):
    """Depends on every random state there is, and on its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(0.5), nn.Conv2d(8, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


def shake(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    """Brightness from torch's and NumPy's own random numbers."""
    gain = torch.rand(1) * 0.5 + np.random.random() * 0.5
    return pixels[..., 4:36, 4:36].float() / 255 * gain, target[..., 4:36, 4:36]


def seed_everything() -> None:
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)


@pytest.mark.long
@pytest.mark.parametrize("own", [False, True])
def test_the_training_that_follows_is_the_same_to_the_bit(tmp_path: Path, own: bool) -> None:
    states = []
    for selfcheck in (False, True):
        seed_everything()
        parts: dict[str, Any] = {"model": Noisy(), "augment": shake} if own else {}
        config = small_config(tmp_path / str(selfcheck), epochs=2, selfcheck=selfcheck)
        run = fgbg.train(config, samples=make_samples(), **parts)
        states.append((torch.load(run.last, weights_only=True), [record.train_loss for record in run.epochs()]))
    (before, losses), (after, same_losses) = states
    for state in (before, after):
        del state["settings"], state["own_parts"]  # the folder and the self-check itself; words, which it cannot compare
    assert losses == same_losses
    torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_weights_gradients_modes_and_random_states_stay(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    learner = build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))
    learner.predictor.eval()
    parameter = next(learner.predictor.parameters())
    parameter.grad = torch.ones_like(parameter)
    weights = {name: tensor.clone() for name, tensor in learner.predictor.state_dict().items()}
    seed_everything()
    with unchecked():  # the type checker draws from Python's random numbers
        check_learner(learner)
    told = torch.rand(1).item(), np.random.random(), random.random()
    seed_everything()
    assert told == (torch.rand(1).item(), np.random.random(), random.random())
    assert not any(module.training for module in learner.predictor.modules())
    assert parameter.grad is not None
    assert parameter.grad.eq(1).all()
    torch.testing.assert_close(weights, dict(learner.predictor.state_dict()), rtol=0, atol=0)


def test_an_augmentation_that_keeps_its_pictures_is_told_and_keeps_the_true_ones(tmp_path: Path) -> None:
    kept: dict[int, Tensor] = {}

    def keep(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        images = [kept.setdefault(int(row), one[:, :32, :32].float() / 255) for row, one in zip(rows, pixels, strict=True)]
        return torch.stack(images), target[:, :32, :32]

    config = small_config(tmp_path, epochs=8)
    samples = make_samples()
    assert "frozen" in " ".join(alarms(check(config, samples, augment=keep)))
    learner = build_learner(config, understand_data(config, samples), Engine("cpu", "fp32", 1))
    for row, image in kept.items():
        pixels, _ = learner.store.take(np.array([row]), 1)
        assert torch.equal(image, pixels[0, :, :32, :32].float() / 255)


# No false alarm.

DISABLED = replace(NO_CHANGE, enabled=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "resnet34_unet", "size": 64, "width": 8},
        {"loss": "bce_tversky", "false_positive_weight": 0.3, "false_negative_weight": 0.7},
        *[{"loss": name} for name in ("focal_lovasz", "boundary_log_cosh", "bce_focal_tversky", "bce_lovasz")],
        {"loss": "focal_dice", "dice_reduction": "batch"},
        {"bce_weight": 0.0},
        {"overlap_weight": 0.0},
        {"dice_reduction": "batch"},
        {"augment": DISABLED},
        {"augment": replace(NO_CHANGE, enabled=True)},
        {"augment": replace(NO_CHANGE, enabled=True, flip=0.5)},
        {"augment": replace(NO_CHANGE, enabled=True, brightness=0.05)},
        {"augment": fgbg.AugmentRanges(shift=0.99, scale=0.99, brightness=0.99, contrast=0.99, saturation=0.99, hue=0.5)},
        {"augment": fgbg.AugmentRanges(rotation_degrees=180, padding="background")},
        {"augment": fgbg.AugmentRanges(cutmix=1.0)},
        {"augment": fgbg.AugmentRanges(mixup=1.0)},
        {"augment": replace(NO_CHANGE, enabled=True, cutmix=1.0)},
        {"batch_size": 1},
        {"batch_size": 12, "epochs": 1},
        {"size": 16, "fit": "pad"},
        {"size": 50},
    ],
    ids=str,
)
def test_a_clean_training_raises_no_alarm(tmp_path: Path, changes: dict[str, Any]) -> None:
    findings = check(small_config(tmp_path, **({"epochs": 20} | changes)))
    assert alarms(findings) == []
    assert len(findings) == 19


def test_the_labs_recipe_raises_no_alarm(tmp_path: Path) -> None:
    lab = replace(read_preset("lab"), split="official")  # its cut is of the pets' own lists
    config = replace(lab, out=str(tmp_path), width=4, size=32, batch_size=4, device="cpu")
    assert alarms(check(config)) == []


@pytest.mark.parametrize("border", ["foreground", "background", "ignore"])
def test_trimaps_raise_no_alarm(tmp_path: Path, border: str) -> None:
    def to_trimap(sample: fgbg.Sample) -> fgbg.Sample:
        mask = np.where(sample.mask == 1, 1, 2).astype(np.uint8)
        mask[(mask == 1) & (np.roll(mask, 2, 0) == 2)] = 3
        return replace(sample, mask=mask)

    samples = [to_trimap(sample) for sample in make_samples()]
    assert alarms(check(small_config(tmp_path, border=border), samples)) == []


@pytest.mark.parametrize("overlap_only", [False, True])
def test_training_photos_without_an_object_raise_no_alarm(tmp_path: Path, overlap_only: bool) -> None:
    """All but one, which may not be among those that are looked at."""
    samples = make_samples()
    last = max(index for index, sample in enumerate(samples) if sample.split == "train")
    samples = [
        replace(sample, mask=sample.mask * (sample.split != "train" or index == last))
        for index, sample in enumerate(samples)
    ]
    assert alarms(check(small_config(tmp_path, bce_weight=0.0 if overlap_only else 1.0), samples)) == []


def make_specks(count: int = 8, size: int = 128) -> list[fgbg.Sample]:
    """Photos in which 9 pixels are object."""
    rng, samples = np.random.default_rng(0), []
    for index in range(count):
        y, x = rng.integers(0, size - 3, 2)
        mask = np.zeros((size, size), np.uint8)
        mask[y : y + 3, x : x + 3] = 1
        pixels = np.where(mask[:, :, None] == 1, 220, rng.integers(60, 90, (size, size, 3))).astype(np.uint8)
        split = "validation" if index % 8 == 0 else "train"
        samples.append(fgbg.Sample(f"speck_{index:02}", pixels, mask, split=split))
    return samples


def test_patches_that_miss_small_objects_do_not_stop(tmp_path: Path) -> None:
    config = small_config(tmp_path, size=32, fit="crop", batch_size=8, seed=6)
    learner = build_learner(config, understand_data(config, make_specks()), Engine("cpu", "fp32", 1))
    rows = draw_first_batch(learner)[0]
    drawn = draw_images(learner, rows, [1])
    assert any((draw.stored_target == 1).any() for draw in drawn)
    assert all((draw.target == 255).any() and not (draw.target == 1).any() for draw in drawn), "as if object were 255"
    assert check_targets(drawn, draw_unjudged(learner, rows, 1)).passed


def read_as_ignore(corner: int) -> fgbg.Augment:
    """Shows the upper left corner and, in the target, 255 in place of object."""

    def augment(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        image = F.interpolate(pixels[..., :corner, :corner].float() / 255, pixels.shape[-2:])
        seen = F.interpolate(target[:, None, :corner, :corner], target.shape[-2:])[:, 0]
        return image, torch.where(seen == 1, 255, seen)

    return augment


def keep_the_first(augment: fgbg.Augment) -> fgbg.Augment:
    kept: dict[int, tuple[Tensor, Tensor]] = {}

    def frozen(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        pairs = zip(rows.tolist(), zip(*augment(pixels, target, rows, epoch), strict=True), strict=True)
        images, targets = zip(*(kept.setdefault(row, pair) for row, pair in pairs), strict=True)
        return torch.stack(images), torch.stack(targets)

    return frozen


@pytest.mark.parametrize("frozen", [False, True])
def test_objects_read_as_ignore_stop_also_where_the_pictures_are_kept(tmp_path: Path, frozen: bool) -> None:
    augment = read_as_ignore(24)
    findings = check(small_config(tmp_path), augment=keep_the_first(augment) if frozen else augment)
    stopping = [finding.sentence for finding in findings if finding.stops]
    assert any("a 0/255 mask was probably taken for a target" in sentence for sentence in stopping)


def test_the_copy_waits_for_no_other_process(tmp_path: Path) -> None:
    """Only the main process checks: a norm that asks the others for their images would wait for ever."""
    config = small_config(tmp_path)
    learner = build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))
    nn.SyncBatchNorm.convert_sync_batchnorm(learner.predictor)
    trial = copy_learner(learner)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in learner.predictor.modules())
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in trial.predictor.modules())
    image = torch.rand(2, 3, 32, 32)
    for training in (True, False):
        ours, theirs = (one.predictor.train(training).logits(image) for one in (trial, learner))
        assert torch.equal(ours, theirs)
    copied = trial.predictor.state_dict()
    assert all(torch.equal(tensor, copied[name]) for name, tensor in learner.predictor.state_dict().items())
    assert len(copied) == len(learner.predictor.state_dict())


def test_black_photos_and_a_single_training_photo_raise_no_alarm(tmp_path: Path) -> None:
    black = [replace(sample, image=np.full_like(sample.image, index)) for index, sample in enumerate(make_samples())]
    assert alarms(check(small_config(tmp_path, epochs=8), black)) == []
    assert alarms(check(small_config(tmp_path, epochs=8, batch_size=1), make_samples(2))) == []


class FrozenStatistics(Noisy):
    """Its batch norm never trains, which is meant."""

    def train(self, mode: bool = True) -> FrozenStatistics:
        super().train(mode)
        self.layers[1].eval()
        return self


class ZeroHead(Noisy):
    """Starts from probability 1/2 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.layers[3].weight)
        nn.init.zeros_(self.layers[3].bias)


class OneSize(Noisy):
    """Takes 48 pixels and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 3, 48, 48))

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image + self.place)


class PositiveBias(Noisy):
    """All its logits begin between 0 and 1, and are logits all the same."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.normal_(self.layers[3].weight, std=0.01)
        nn.init.constant_(self.layers[3].bias, 0.5)


@pytest.mark.parametrize("network", [Noisy, FrozenStatistics, ZeroHead, OneSize, PositiveBias])
def test_own_networks_raise_no_alarm(tmp_path: Path, network: type[nn.Module]) -> None:
    assert alarms(check(small_config(tmp_path, size=48), model=network())) == []


def smoothed(logits: Tensor, target: Tensor) -> Tensor:
    """Labels 0.1 and 0.9."""
    judged, truth = (target != 255).float(), 0.1 + 0.8 * (target == 1)
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], truth, weight=judged)


@pytest.mark.parametrize("loss", [bce, dice_loss, smoothed, lambda logits, target: -1 - bce(-logits, target) * -1])
def test_other_losses_raise_no_alarm(loss: fgbg.Loss) -> None:
    target = make_known_target(32, CPU)
    good = [check_gradient(loss, target), check_logits_taken(loss, target)]
    if loss in (bce, dice_loss, smoothed):
        good += [check_direction(loss, target), check_unjudged(loss, target, occurs=True)]
    assert alarms(good) == []


@pytest.mark.parametrize("metric", [fgbg.dice, fgbg.iou, lambda p, t: fgbg.boundary_iou(p.numpy(), t.numpy())])
def test_metrics_raise_no_alarm(metric: Any) -> None:
    assert alarms([check_metric(lambda prediction, target: float(metric(prediction, target)), CPU, unjudged=False)]) == []


# What it sees beside the silent errors of mutations/.


def test_the_loss_of_knowing_nothing_by_hand() -> None:
    """4 pixels, 1 object: BCE ln 2; TP 0.5, FP 1.5, FN 0.5, half a pixel to smooth: Dice 1 / (0.5 + 0.75 + 0.25 + 0.5)."""
    target = torch.tensor([[[1, 0], [0, 0]]], dtype=torch.uint8)
    config = fgbg.TrainConfig()
    assert expect_start(config, target) == pytest.approx(math.log(2) + 1 - (0.5 + 0.5) / (0.5 + 0.75 + 0.25 + 0.5))
    logits = torch.zeros(1, 1, 2, 2)
    wrong = check_start(lambda logits, target: 2 * bce(logits, target), config, logits, target)
    assert wrong.stops
    assert "should be 1.193 by theory" in wrong.sentence


@pytest.mark.parametrize("reduction", ["image", "batch"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_theory_is_what_the_losses_compute(name: str, reduction: Literal["image", "batch"]) -> None:
    loss, config = make_configured(name, reduction)
    target = torch.tensor(np.random.default_rng(0).choice([0, 0, 1, 255], (3, 8, 8)), dtype=torch.uint8)
    target[1] = 255
    assert loss(torch.zeros(3, 1, 8, 8), target).item() == pytest.approx(expect_start(config, target), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_no_configured_loss_raises_an_alarm(name: str) -> None:
    loss, _ = make_configured(name, "image")
    target = make_known_target(32, CPU)
    checks = [check_direction(loss, target), check_gradient(loss, target), check_logits_taken(loss, target)]
    assert alarms([*checks, check_unjudged(loss, target, occurs=True)]) == []


def make_configured(name: str, reduction: Literal["image", "batch"]) -> tuple[fgbg.Loss, fgbg.TrainConfig]:
    """The loss of that name with none of its settings at the default, and the configuration that says so."""
    settings: dict[str, Any] = {
        "bce_weight": 0.7,
        "overlap_weight": 1.3,
        "false_positive_weight": 0.2,
        "false_negative_weight": 0.9,
        "dice_reduction": reduction,
        "focal_gamma": 1.5,
        "focal_tversky_gamma": 2.0,
        "boundary_weight": 7.0,
    }
    return make_loss(name, **settings), fgbg.TrainConfig(loss=name, **settings)


def test_the_pattern_is_unlike_itself_moved() -> None:
    pattern = draw_pattern(70).float()
    for moved in (pattern.flip(0), pattern.flip(1), pattern.T, pattern.rot90(), pattern.roll(10, 0), pattern.roll(10, 1)):
        assert abs(np.corrcoef(pattern.flatten(), moved.flatten())[0, 1]) < 0.15


def test_no_epoch_is_asked_for_that_will_not_come() -> None:
    assert choose_epochs(4, 1) == [1]
    assert choose_epochs(4, 2) == [1, 2]
    assert choose_epochs(1, 200)[:2] == [1, 2]
    assert choose_epochs(1, 200)[-1] == 200


def test_shared_photos_are_told(tmp_path: Path) -> None:
    samples = make_samples()
    samples[0] = replace(samples[0], image=samples[1].image)
    (sentence,) = alarms(check(small_config(tmp_path, allow_overlap=True), samples))
    assert "disc_00 (validation) and disc_01 (train) are the same photo, byte for byte, or of one group" in sentence


class Unused(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(3, 3, 1)


class DropsOutAlways(Noisy):
    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(image), 0.5, training=True)


class BatchStatistics(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.layers[1] = nn.BatchNorm2d(8, track_running_stats=False)


class TwoChannels(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.layers[3] = nn.Conv2d(8, 2, 1)


class Uncopied(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.generator = iter([1])
        self.kept = (one for one in [1])


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Unused, "no gradient reaches 2 of the network's 8 parameters (network.aside.weight, network.aside.bias)"),
        (DropsOutAlways, "in evaluation mode a photo's logits change"),
        (BatchStatistics, "in evaluation mode a photo's logits change"),
        (Uncopied, "the network cannot be copied"),
    ],
)
def test_networks_that_cannot_be_trusted_are_told(tmp_path: Path, network: type[nn.Module], words: str) -> None:
    assert words in " ".join(alarms(check(small_config(tmp_path), model=network())))


def test_a_network_of_two_channels_is_told(tmp_path: Path) -> None:
    with unchecked():
        assert "should be (4, 1, 32, 32)" in " ".join(alarms(check(small_config(tmp_path), model=TwoChannels())))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda logits, target: -bce(logits, target), "wrong sign"),
        (lambda logits, target: bce(logits, target) / 0, "should be finite"),
        (lambda logits, target: bce(logits, target)[None].expand(3), "should return one number"),
    ],
)
def test_losses_that_cannot_be_learnt_from_stop(tmp_path: Path, loss: Any, words: str) -> None:
    findings = check(small_config(tmp_path), loss=loss)
    assert words in " ".join(finding.sentence for finding in findings if finding.stops)


def test_a_loss_that_switches_the_network_to_evaluation_stops(tmp_path: Path) -> None:
    network = Noisy()

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        network.eval()
        return bce(logits, target)

    findings = check(small_config(tmp_path), model=network, loss=loss)
    assert "switched the network to evaluation mode" in " ".join(alarms(findings))


def test_a_metric_to_be_lowered_stops() -> None:
    finding = check_metric(lambda prediction, target: float((prediction != (target == 1)).sum()), CPU, unjudged=False)
    assert finding.stops
    assert "higher must be better" in finding.sentence


def test_a_metric_that_is_not_defined_where_nothing_is_found_stops() -> None:
    def distance(prediction: Tensor, target: Tensor) -> float:
        return 1.0 - float((prediction != (target == 1)).float().mean()) if prediction.any() else float("nan")

    finding = check_metric(distance, CPU, unjudged=False)
    assert finding.stops
    assert "gives nan where nothing of an object is found" in finding.sentence


def test_images_normalised_twice_stop(tmp_path: Path) -> None:
    def normalise(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        return (pixels[..., :32, :32].float() / 255 - 0.45) / 0.225, target[..., :32, :32]

    findings = check(small_config(tmp_path), augment=normalise)
    assert "normalised already" in " ".join(finding.sentence for finding in findings if finding.stops)


def test_one_draw_for_a_whole_batch_is_told(tmp_path: Path) -> None:
    def flip_all(pixels: Tensor, target: Tensor, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        images, seen = pixels[..., :32, :32].float() / 255, target[..., :32, :32]
        return (images.flip(-1), seen.flip(-1)) if epoch % 2 else (images, seen)

    (sentence,) = alarms(check(small_config(tmp_path, epochs=20), augment=flip_all))
    assert "all images of a batch are augmented in the same way" in sentence


# The run.


def test_a_training_says_that_all_is_well_and_draws_its_first_batch(tmp_path: Path, capsys: Any) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1, selfcheck=True), samples=make_samples())
    assert "self-check: 20 of 20 passed" in capsys.readouterr().out
    with Image.open(run.charts / "first_batch.png") as picture:
        colours = np.unique(np.asarray(picture).reshape(-1, 3), axis=0)
    assert [128, 128, 128] in colours.tolist(), "what is not judged"
    assert len(run.selfcheck() or []) == 20
    assert alarms(check_run(run.folder)) == []


def write_bad_discs(tmp_path: Path) -> Path:
    """A set whose masks mark the ground."""
    folder = write_discs(tmp_path)
    for path in (folder / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return folder


FLAGS = "--width 4 --size 32 --batch-size 4 --epochs 1 --device cpu --threads 1 --precision fp32".split()


def test_the_command_line_notes_and_goes_on(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    assert cli.main(["train", str(write_bad_discs(tmp_path)), *FLAGS, "--out", str(out)]) == 0
    assert "note: object covers 100% of the photos' frame" in capsys.readouterr().out
    assert any("labels are probably inverted" in sentence for sentence in alarms(check_run(out)))
    shutil.rmtree(out)
    assert cli.main(["train", str(tmp_path / "discs"), *FLAGS, "--out", str(out), "--no-selfcheck"]) == 0
    assert "self-check" not in capsys.readouterr().out
    assert "selfcheck = false" in (out / "config.toml").read_text()
    assert alarms(check_run(out)) == ["the training was begun with --no-selfcheck: nobody looked for silent errors"]


def test_a_stopped_training_can_go_on_when_told_so(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1, selfcheck=True)
    bad: dict[str, Any] = {"samples": make_samples(), "loss": lambda logits, target: -bce(logits, target)}
    for resume in (False, True):
        with pytest.raises(fgbg.UserError, match=r"wrong sign.*train anyway with --no-selfcheck"):
            fgbg.train(config, resume=resume, **bad)
    run = fgbg.train(replace(config, selfcheck=False), resume=True, **bad)
    assert len(run.epochs()) == 1


KEPT = sorted((Path(__file__).parent.parent / "experiments" / "results" / "claims").iterdir())


@pytest.mark.long
@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_kept_runs_raise_no_alarm(folder: Path) -> None:
    assert alarms(check_run(folder)) == []


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with test scores, by the command line."""
    tmp = tmp_path_factory.mktemp("scored")
    out = str(tmp / "run")
    assert cli.main(["train", str(write_discs(tmp)), *FLAGS, "--out", out]) == 0
    assert cli.main(["evaluate", out, "--device", "cpu"]) == 0
    assert alarms(check_run(Path(out))) == []
    return Run(Path(out))


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "split.json",
            '"test": [\n  {\n   "id": "',
            '"test": [\n  {\n   "id": "disc_00", "old": "',
            "are also train photos",
        ),
        ("scores_test.csv", "disc_01", "disc_99", "are of photos that are not in that split"),
        ("scores_test.json", '"mean_dice":', '"mean_dice": 0.9, "before":', "the mean Dice is said to be 0.9"),
        ("epochs.jsonl", '"best": true', '"best": false', "validation chose none"),
        ("scores_test.json", '"threshold": 0.5', '"threshold": 0.4', "the test scores are of threshold 0.4"),
    ],
)
def test_what_was_changed_in_a_run_is_reported(
    scored: Run, tmp_path: Path, name: str, old: str, new: str, words: str
) -> None:
    """In one of an earlier version, without seals: a seal that does not fit stops at once (tests/faults)."""
    copied = shutil.copytree(scored.folder, tmp_path / "run")
    for sealed in ("epochs.jsonl", "split.json", "scores_test.json", "scores_validation.json", "calibration.json"):
        text = (copied / sealed).read_text()
        (copied / sealed).write_text(re.sub(r',\s*"(sha256|crc32)": "[0-9a-f]+"', "", text))
    text = (copied / name).read_text()
    assert old in text
    (copied / name).write_text(text.replace(old, new, 1))
    assert words in " ".join(alarms(check_run(copied)))


def test_a_group_in_two_splits_is_reported(tmp_path: Path) -> None:
    samples = [replace(sample, group="one") if place in (0, 1) else sample for place, sample in enumerate(make_samples())]
    config = small_config(tmp_path / "run", epochs=1, allow_overlap=True)
    (sentence,) = alarms(check(config, samples))
    assert "disc_00 (validation) and disc_01 (train) are the same photo, byte for byte, or of one group" in sentence
    (told, *_) = alarms(check_run(fgbg.train(replace(config, selfcheck=False), samples=samples).folder))[1:]
    assert "1 validation photos are also train photos, or of one group (disc_00)" in told


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(fgbg.UserError, match="is no run"):
        check_run(tmp_path)


# What a user's parts return


class Answering(nn.Module):
    """Logits in a wrapping of their own."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Conv2d(3, 1, 1), wrap

    def forward(self, image: Tensor) -> Any:
        return self.wrap(self.layer(image))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"model": Answering(lambda logits: {"out": logits})}, "the network returns a dict: it should return logits"),
        ({"model": Answering(lambda logits: (logits, logits))}, "the network returns a tuple: it should return logits"),
        ({"loss": lambda logits, target: None}, "the loss returns None: it should return one number, as a tensor"),
        ({"loss": lambda logits, target: 0.5}, "the loss returns a float: it should return one number, as a tensor"),
        ({"loss": lambda logits, target: logits.mean((1, 2, 3))}, r"the loss returns a float32 tensor of the shape \(4,\)"),
        ({"augment": lambda pixels, target, rows, epoch: None}, r"the augmentation returns None: it should return \(image"),
        (
            {"augment": lambda pixels, target, rows, epoch: (pixels, target)},
            r"of 4 photos the augmentation makes a uint8 tensor of the shape \(4, 3, 40, 40\) and a uint8 tensor",
        ),
        ({"metric": lambda prediction, target: "0.5"}, "the metric returns a str: it should return one number"),
    ],
)
def test_a_part_that_returns_another_kind_of_thing_is_named(tmp_path: Path, parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(fgbg.UserError, match=sentence), unchecked():
        fgbg.train(small_config(tmp_path / "run", selfcheck=True), samples=make_samples(), **parts)
