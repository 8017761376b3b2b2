"""One model on every engine that runs it: photos per second, and Dice on test photos, in one run.

    FGBG_DATA=… python benchmarks/bm_engines.py RUN [PHOTOS]       # 200 test photos by default

RUN is a run folder with its model. Photos are decoded before the clock starts; each engine has all cores. torch: in
fp32, as in `fgbg predict RUN`; compiled (the first round, which compiles, does not count); in bf16 where the processor
has it. ONNX Runtime: what `fgbg export` writes, without and with `--weights int8`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import fgbg
from fgbg.data.masks import apply_border
from fgbg.data.samples import Sample
from fgbg.engine import Engine
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.judge.run_data import open_run_data
from fgbg.run import Run, open_run
from fgbg.ship.export import export_model
from fgbg.ship.load import Model, load, load_for_many
from fgbg.ship.photo import Photo, open_photo
from fgbg.ship.torch_model import TorchModel
from fgbg.words import Weights
from timing import describe_machine, images_per_second, ratio

ROUNDS, MOST = 5, 200
FIRST = "torch, fp32"
EXPORTS: dict[str, Weights] = {"ONNX Runtime, fp32": "half", "ONNX Runtime, int8": "int8"}


class InBf16(nn.Module):
    """A network whose weights and images are bf16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, in fp32 again."""
        return self.network(image.to(torch.bfloat16)).float()


def make_engines(run: Run, folder: Path, photo_count: int) -> dict[str, Model]:
    """The run's model on each engine, by name."""
    engines: dict[str, Model] = {FIRST: load(run.folder), "torch, compiled": change(run, torch.compile)}
    if Engine().precision == "bf16":
        engines["torch, bf16"] = change(run, InBf16)
    for name, weights in EXPORTS.items():
        try:
            exported = export_model(run.folder, folder / f"{weights}.onnx", weights=weights)
        except fgbg.UserError as error:  # int8 is refused where it loses too much
            print(f"{name}: {error}\n")
        else:
            engines[name] = load_for_many(str(exported.path), photo_count=photo_count)
    return engines


def change(run: Run, wrap: Callable[[nn.Module], nn.Module]) -> TorchModel:
    """The run's model with its network wrapped."""
    model = load(run.folder)
    assert isinstance(model, TorchModel)
    model.predictor.network = wrap(model.predictor.network)
    return model


def measure_dice(model: Model, photos: list[Photo], targets: list[NDArray[np.uint8]]) -> float:
    """Mean Dice over photos at their own size."""
    scores = []
    for (_, probability), target in zip(model.answer(iter(photos)), targets, strict=True):
        scores.append(float(dice_of(count_pixels(torch.tensor(probability > model.threshold), torch.tensor(target)))))
    return float(np.mean(scores))


def main(folder: Path, most: int) -> None:
    """Time all in turn, and print a table."""
    run = open_run(folder)
    samples = open_run_data(run, "", "test")[0]
    chosen: list[Sample] = list(samples.samples[:most])
    photos = [open_photo(sample.image) for sample in chosen]
    targets = [apply_border(samples.read_levels(index), run.config.border) for index in range(len(chosen))]
    with tempfile.TemporaryDirectory() as out:
        engines = make_engines(run, Path(out), len(photos))

        def work(model: Model) -> Callable[[], int]:
            return lambda: sum(1 for _ in model.answer(iter(photos)))

        rates = images_per_second({name: work(model) for name, model in engines.items()}, rounds=ROUNDS)
        print(f"{len(photos)} photos, {run.name}; {describe_machine()}\n")
        print("| engine | photos a second, median | ÷ torch, fp32 | Dice |\n| --- | --- | --- | --- |")
        for name, model in engines.items():
            share = "1" if name == FIRST else ratio(rates, name, FIRST)
            middle = sorted(rates[name])[ROUNDS // 2]
            print(f"| {name} | {middle:.1f} | {share} | {measure_dice(model, photos, targets):.4f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} RUN [PHOTOS]")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else MOST)
