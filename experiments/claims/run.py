"""Train and score every run behind docs/claims.md. What is finished is skipped: stop it and start it again at will.

    python experiments/claims/run.py figures        # 2 networks x 5 seeds
    python experiments/claims/run.py pets           # 2 networks x 3 seeds; FGBG_DATA names the photos

Each network is trained once a seed on the whole range of both dials and scored on a grid: tone_gap x irregularity, the same
animals (pose, place, palette, clutter) in every cell, so that cells differ by the two dials alone.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fgbg.config import TrainConfig
from fgbg.config_file import read_config
from fgbg.data.figures import draw_figure, draw_figures
from fgbg.judge.runs import evaluate_run
from fgbg.training.train import train

HERE = Path(__file__).parent
RUNS = Path("runs/claims")
MODELS = ("unet", "resnet34_unet")
SEEDS = {"figures": 5, "pets": 3}

SIZE = 96  # pixels of a figure
TRAINING_FIGURES = 1000  # 600 train, 150 validate; the 250 of its own test list are not used
DIALS = (0.0, 0.33, 0.67, 1.0)
FIGURES_A_CELL = 40
TEST_SEED = 1  # no animal of the grid is one that trained


def draw_grid(folder: Path) -> Path:
    """Training figures over the whole range of both dials, and a grid of test figures; drawn once."""
    if (folder / "test.txt").exists() and "grid_" in (folder / "test.txt").read_text(encoding="utf-8"):  # written last
        return folder
    draw_figures(folder, count=TRAINING_FIGURES, size=SIZE)
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names = []
    for tone_gap in DIALS:
        for irregularity in DIALS:
            for index in range(FIGURES_A_CELL):
                figure = draw_figure(index, seed=TEST_SEED, size=SIZE, tone_gap=tone_gap, irregularity=irregularity)
                name = f"grid_t{tone_gap * 100:03.0f}_i{irregularity * 100:03.0f}_{index:02}"
                Image.fromarray(figure.pixels).save(folder / "images" / f"{name}.png")
                Image.fromarray(figure.mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
                rows.append([name, f"{tone_gap:.2f}", f"{irregularity:.2f}"])
                names.append(name)
    unused = (folder / "test.txt").read_text(encoding="utf-8").split()
    for name in unused:
        (folder / "images" / f"{name}.png").unlink()
        (folder / "masks" / f"{name}.png").unlink()
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(row for row in rows if row[0] not in unused)
    (folder / "test.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


def list_configs(data: str) -> list[TrainConfig]:
    """One configuration a network and seed, seed by seed, so that an early stop leaves pairs."""
    base = read_config(HERE / f"{data}.toml")
    if data == "figures":
        base = dataclasses.replace(base, data=str(draw_grid(RUNS / "data")))
    return [
        dataclasses.replace(base, model=model, seed=seed, out=str(RUNS / f"{data}-{model}-{seed}"))
        for seed in range(SEEDS[data])
        for model in MODELS
    ]


def finish_training(config: TrainConfig) -> None:
    """Train the run, or go on with it, unless it is finished."""
    folder = Path(config.out)
    epochs = (folder / "epochs.jsonl").read_text().count("\n") if (folder / "epochs.jsonl").exists() else 0
    if epochs < config.epochs:
        train(config, resume=(folder / "config.toml").exists())


def main(data: str) -> None:
    """All runs of one data set."""
    configs = list_configs(data)
    for config in configs:
        finish_training(config)
    for config in configs:
        if not (Path(config.out) / "calibration.json").exists():  # stopped between the last epoch and this
            evaluate_run(Path(config.out), split="validation", threads=config.threads)
        print(evaluate_run(Path(config.out), threads=config.threads).describe())


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SEEDS:
        sys.exit(f"usage: python {sys.argv[0]} figures|pets")
    main(sys.argv[1])
