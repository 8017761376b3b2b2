"""The whole training loop (data, augmentation, step, metrics) against the bare step on ready-made tensors.

    python benchmarks/bm_training.py

Prints images per second of both, run in turn, and their ratio: 1 would mean that data and records cost nothing. On a CUDA
GPU the loop replays its steps from a CUDA graph, which the bare step does not, so that it may be faster; there it is also
compared with the loop that launches them.
Target on a processor: at least 0.97 for ResNet34_UNet at 128 px and 0.85 for UNet of width 8 at 64 px.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fgbg.config import TrainConfig
from fgbg.data.figures import draw_figures
from fgbg.engine import Engine
from fgbg.memory import keeping_memory
from fgbg.training.build import build_learner, understand_data
from fgbg.training.loop import Learner, make_batch, train_epoch
from timing import describe_machine, images_per_second, ratio

ROUNDS = 5
CASES = [
    {"model": "resnet34_unet", "width": 64, "size": 128, "batch_size": 16},
    {"model": "unet", "width": 8, "size": 64, "batch_size": 16},
]
ON_GPU = [
    {"model": "resnet34_unet", "width": 64, "size": 256, "batch_size": 32},
    {"model": "unet", "width": 64, "size": 256, "batch_size": 32},
]
FIGURES = 400


def run_bare_steps(learner: Learner, image: torch.Tensor, target: torch.Tensor, steps: int) -> int:
    learner.predictor.train()
    for _ in range(steps):
        loss = learner.loss(learner.module(image), target)
        learner.optimizer.zero_grad(set_to_none=True)
        learner.engine.backward(loss)
        learner.optimizer.step()
    if learner.engine.device.type == "cuda":
        torch.cuda.synchronize()
    return steps * len(image)


def measure(case: dict[str, object], figures: Path) -> None:
    config = TrainConfig(data=str(figures), **case)  # type: ignore[arg-type]
    engine = Engine(config.device, config.precision, config.threads)
    learner = build_learner(config, understand_data(config, None), engine)
    steps = len(learner.store) // config.batch_size
    mixture = make_batch(learner, np.arange(config.batch_size), 1, 1)
    epochs = iter(range(1, 1000))

    def run_loop(learner: Learner) -> int:
        train_epoch(learner, next(epochs), "loop")
        return steps * config.batch_size

    ways = {
        "loop": lambda: run_loop(learner),
        "bare step": lambda: run_bare_steps(learner, mixture.image, mixture.target, steps),
    }
    if learner.recorder:
        ways["loop without CUDA graphs"] = lambda: run_loop(replace(learner, recorder=None))
    with keeping_memory():  # as in every training; the bare step has it, too
        rates = images_per_second(ways, rounds=ROUNDS)
    loop, *others = ways
    words = [f"{loop} {median(rates[loop]):.1f} img/s"]
    words += [f"{other} {median(rates[other]):.1f} img/s, ratio {ratio(rates, loop, other)}" for other in others]
    print(
        f"{config.model} width {config.width}, {config.size} px, batch {config.batch_size}, {engine.describe()}: "
        f"{'; '.join(words)}",
        flush=True,
    )


def main() -> None:
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures"
        draw_figures(figures, count=FIGURES, size=160)
        for case in CASES + (ON_GPU if torch.cuda.is_available() else []):
            measure(case, figures)


if __name__ == "__main__":
    main()
