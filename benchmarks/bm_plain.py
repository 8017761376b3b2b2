"""A whole training with fgbg against the loop that one would otherwise write: a Dataset and a DataLoader that decode every
photo every epoch, torchvision's v2 transforms photo by photo, segmentation_models_pytorch's Dice loss beside torch's BCE.

    FGBG_DATA=… python benchmarks/bm_plain.py [--epochs 3] [--width 64] [--threads 0] [--seeds 3] [--data oxford-pet]

The same network, photos, augmentations and ranges, epochs, batch, optimizer and rate; both validate after each epoch and
keep the best weights, which are then scored alike. fgbg's time is that of the whole `fgbg.train` with an empty cache:
decoding, self-check, epochs, record, charts and threshold. It trains twice: at the same image size as the plain loop, and
on images that grow to it over the first half of the epochs (`--start-size`). The plain loop runs in fp32 with torch's
default layout, and in its strongest form: channels last, in bf16 where the processor has it. Target: 1.5 × the first,
1.15 × the second, with no measurable difference in Dice.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import segmentation_models_pytorch as smp
import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import fgbg
from fgbg.cores import count_cores
from fgbg.data.masks import apply_border
from fgbg.data.samples import SampleSet
from fgbg.engine import Engine
from fgbg.judge.metrics import dice_of
from fgbg.judge.score import score_photos
from fgbg.judge.trainings import compare_seeds
from fgbg.models import build_network
from fgbg.models.checkpoint import load_model
from fgbg.models.predictor import Predictor
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN
from timing import describe_machine

MOST_WORKERS = 8


@dataclass(frozen=True)
class Case:
    """What is trained, by both."""

    data: str = "oxford-pet"
    epochs: int = 3
    width: int = 64
    size: int = 128
    start_size: int = 64
    batch_size: int = 16
    learning_rate: float = 1e-3
    threads: int = 0
    seeds: int = 3


class Form(NamedTuple):
    """How the plain loop computes."""

    in_bf16: bool = False
    layout: torch.memory_format = torch.contiguous_format

    @property
    def name(self) -> str:
        """Its name in the table."""
        layout = ", channels last" if self.layout == torch.channels_last else ""
        return f"plain loop, {'bf16' if self.in_bf16 else 'fp32'}{layout}"


class PlainDataset(Dataset[tuple[Tensor, Tensor]]):
    """Photos and masks as in most projects: opened, resized and augmented one at a time."""

    def __init__(self, samples: SampleSet, size: int, *, augments: bool) -> None:
        self.samples = samples
        changes: list[nn.Module] = [v2.Resize((size, size), antialias=True)]
        if augments:
            changes = [
                v2.RandomHorizontalFlip(),
                v2.RandomResizedCrop(size, scale=(0.8, 1.0), ratio=(3 / 4, 4 / 3), antialias=True),
                v2.RandomAffine(30, translate=(0.2, 0.2), scale=(0.8, 1.2), interpolation=v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(0.2, 0.2, 0.2, 0.2),
            ]
        finish = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_DEVIATION)]
        self.change = v2.Compose([*changes, *finish])

    def __len__(self) -> int:
        return len(self.samples.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(self.samples.samples[index].read_pixels().copy()).permute(2, 0, 1)
        target = torch.from_numpy(apply_border(self.samples.read_levels(index), "foreground"))
        image, mask = self.change(tv_tensors.Image(pixels), tv_tensors.Mask(target[None]))
        return image, mask.float()


def train_plain(case: Case, samples: SampleSet, seed: int, engine: Engine, form: Form) -> Predictor:
    """The plain loop, and its best model."""
    torch.manual_seed(seed)
    workers = min(count_cores(), MOST_WORKERS)
    load = {"batch_size": case.batch_size, "num_workers": workers, "persistent_workers": True}
    training = DataLoader(PlainDataset(samples.of("train"), case.size, augments=True), shuffle=True, drop_last=True, **load)
    validation = DataLoader(PlainDataset(samples.of("validation"), case.size, augments=False), **load)
    network = build_network("resnet34_unet", width=case.width).to(engine.device, memory_format=form.layout)
    optimizer = torch.optim.Adam(network.parameters(), case.learning_rate)
    bce, overlap = nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("binary")
    best, best_dice = network.state_dict(), -1.0
    for _ in range(case.epochs):
        network.train()
        for image, mask in training:
            target = mask.to(engine.device)
            with torch.autocast(engine.device.type, torch.bfloat16, enabled=form.in_bf16):
                logits = network(image.to(engine.device, memory_format=form.layout))
            loss = bce(logits.float(), target) + overlap(logits.float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        dice = validate_plain(network, validation, engine.device)
        if dice > best_dice:
            best, best_dice = copy.deepcopy(network.state_dict()), dice
    network.load_state_dict(best)
    return Predictor(network, size=case.size)


@torch.inference_mode()
def validate_plain(network: nn.Module, validation: DataLoader[tuple[Tensor, Tensor]], device: torch.device) -> float:
    """Mean Dice at the training size."""
    network.eval()
    scores = []
    for image, mask in validation:
        predicted, truth = network(image.to(device)) > 0, mask.to(device) > 0
        both = (predicted & truth).sum((1, 2, 3))
        scores.append(2 * both / (predicted.sum((1, 2, 3)) + truth.sum((1, 2, 3))).clamp(min=1))
    return float(torch.cat(scores).mean())


def train_here(case: Case, seed: int, folder: Path, start_size: int) -> Predictor:
    """fgbg's own training, from an empty cache to the end of the run, and its best model."""
    shared = {
        name: getattr(case, name) for name in ("data", "epochs", "width", "size", "batch_size", "learning_rate", "threads")
    }
    config = fgbg.TrainConfig(
        out=str(folder / "run"), model="resnet34_unet", dice_reduction="batch", seed=seed, start_size=start_size, **shared
    )
    with empty_cache(folder / "cache"), contextlib.redirect_stdout(None):
        run = fgbg.train(config)
    return load_model(run.best)[0]


@contextlib.contextmanager
def empty_cache(folder: Path) -> Iterator[None]:
    """fgbg with a cache of its own."""
    before = os.environ.get("FGBG_CACHE")
    os.environ["FGBG_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FGBG_CACHE"]
        else:
            os.environ["FGBG_CACHE"] = before


def score(predictor: Predictor, test: SampleSet, device: torch.device) -> float:
    """Mean Dice over the test photos, at their own size."""
    predictor.eval().to(device)
    pairs = (
        (torch.tensor(sample.read_pixels()), torch.tensor(apply_border(test.read_levels(index), "foreground")))
        for index, sample in enumerate(test.samples)
    )
    return float(np.mean([dice_of(scored.counts) for scored in score_photos(predictor, pairs)]))


def warm_up(device: torch.device) -> None:
    """Take a first training step, so that torch's lazy imports and a GPU's libraries are charged to neither side."""
    layer = nn.Conv2d(3, 1, 3).to(device)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.zeros(1, 3, 8, 8, device=device)).sum().backward()
    optimizer.step()


def main(case: Case) -> None:
    """Train all in turn, seed by seed, and print a table."""
    engine = Engine(threads=case.threads)
    warm_up(engine.device)
    samples = fgbg.open_samples(case.data)
    images = case.epochs * (len(samples.of("train").samples) // case.batch_size) * case.batch_size
    forms = (Form(), Form(in_bf16=engine.precision == "bf16", layout=torch.channels_last))
    plain = {form.name: form for form in forms}
    ours = {"fgbg": 0, f"fgbg, growing from {case.start_size} px": case.start_size}
    rates: dict[str, list[float]] = {name: [] for name in (*ours, *plain)}
    dices: dict[str, list[float]] = {name: [] for name in rates}
    for seed in range(case.seeds):
        for name, measured in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                if name in ours:
                    predictor = train_here(case, seed, Path(folder), ours[name])
                else:
                    with torch.backends.cudnn.flags(enabled=True):  # torch's own choices, not those of fgbg's engine
                        predictor = train_plain(case, samples, seed, engine, plain[name])
                measured.append(images / (time.perf_counter() - start))
            dices[name].append(score(predictor, samples.of("test"), engine.device))
            print(f"seed {seed}, {name}: {measured[-1]:.1f} img/s, test Dice {dices[name][-1]:.4f}", flush=True)
    tell(case, engine, rates, dices)
    for own, other in itertools.product(ours, plain):
        compare(own, other, rates, dices)


def tell(case: Case, engine: Engine, rates: dict[str, list[float]], dices: dict[str, list[float]]) -> None:
    """Print the table."""
    print(f"\n{describe_machine()}; fgbg: {engine.describe()}; resnet34_unet, width {case.width}, {case.size} px, ", end="")
    print(f"{case.epochs} epochs, {case.seeds} seeds\n\n| loop | img/s, mean | test Dice, mean ± sd |\n| --- | --- | --- |")
    for name, values in dices.items():
        print(f"| {name} | {np.mean(rates[name]):.1f} | {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} |")


def compare(own: str, other: str, rates: dict[str, list[float]], dices: dict[str, list[float]]) -> None:
    """Compare one of ours with a plain loop."""
    speeds = np.array(rates[own]) / np.array(rates[other])
    difference = compare_seeds(np.array(dices[other]), np.array(dices[own])).difference
    print(f"\n{own} ÷ {other}: {speeds.mean():.2f} (seeds: {speeds.min():.2f} to {speeds.max():.2f}); ", end="")
    print(f"test Dice {difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Case, description=__doc__))
