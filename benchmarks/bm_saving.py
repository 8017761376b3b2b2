"""Epochs whose record, state and model are written while the next one is trained (which fgbg does on GPUs), against epochs
that wait for the disk (which it does on processors).

    python benchmarks/bm_saving.py [--figures 64] [--size 64] [--epochs 6] [--rounds 3]

Trains ResNet34_UNet of full width, whose state takes 350 MB, on few photos, where saving counts most. Both ways in turn,
in new run folders; the time is that of all epochs with validation and the last write. 1 would mean that nothing is gained.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import tyro

from fgbg.config import TrainConfig
from fgbg.data.figures import draw_figures
from fgbg.training.own_parts import OwnParts
from fgbg.training.prepare import prepare_training
from fgbg.training.train import run_epochs
from fgbg.training.writer import EpochWriter
from timing import describe_machine


@dataclass(frozen=True)
class Case:
    """What is trained."""

    figures: int = 64
    size: int = 64
    epochs: int = 6
    rounds: int = 3
    batch_size: int = 16


def time_epochs(config: TrainConfig, *, waits: bool) -> float:
    """Seconds an epoch."""
    with (
        tempfile.TemporaryDirectory() as folder,
        prepare_training(replace(config, out=f"{folder}/run"), OwnParts()) as training,
        patch("fgbg.training.train.EpochWriter", lambda run, header, beside: EpochWriter(run, header, beside=not waits)),
    ):
        start = time.perf_counter()
        with closing(run_epochs(training)) as records:
            for _ in records:
                pass
        return (time.perf_counter() - start) / config.epochs


def main(case: Case) -> None:
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures"
        draw_figures(figures, count=case.figures, size=2 * case.size)
        config = TrainConfig(
            data=str(figures), model="resnet34_unet", size=case.size, epochs=case.epochs, batch_size=case.batch_size
        )
        time_epochs(config, waits=False)  # warm-up
        seconds = [(time_epochs(config, waits=True), time_epochs(config, waits=False)) for _ in range(case.rounds)]
    waiting, beside = (statistics.median(times) for times in zip(*seconds, strict=True))
    gains = [first / second for first, second in seconds]
    print(
        f"\nan epoch of {case.figures} figures, {case.size} px: waiting {waiting:.2f} s, beside {beside:.2f} s, "
        f"ratio {statistics.median(gains):.2f} (rounds: {min(gains):.2f} to {max(gains):.2f})"
    )


if __name__ == "__main__":
    main(tyro.cli(Case))
