"""Train and score every run behind docs/crop.md. What is finished is skipped: stop it and start it again at will.

    NUCLEI=FOLDER python experiments/nuclei/run.py [SEEDS]      # 2 recipes x SEEDS seeds (1 by default)

FOLDER holds images/ and masks/ of the 2018 Data Science Bowl (stage 1, CC0): microscopy of nuclei, 256 to 1,388 pixels wide.
Both recipes train the same network for about the same number of steps on squares of the same size: `squash.toml` on whole
photos stretched to it, `crop.toml` on patches cut out at the photos' own scale.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from fgbg.config import TrainConfig
from fgbg.config_file import read_config
from fgbg.judge.runs import evaluate_run
from fgbg.training.train import train

HERE = Path(__file__).parent
RUNS = Path("runs/nuclei")
RECIPES = ("squash", "crop")


def link_data(folder: Path) -> str:
    """A path to the photos below `runs/`, so that no run records where a machine keeps them."""
    link = RUNS / "data" / "nuclei"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(folder.resolve())
    return str(link)


def finish_training(config: TrainConfig) -> None:
    """Train the run, or go on with it, unless it is finished."""
    folder = Path(config.out)
    epochs = (folder / "epochs.jsonl").read_text().count("\n") if (folder / "epochs.jsonl").exists() else 0
    if epochs < config.epochs:
        train(config, resume=(folder / "config.toml").exists())


def main(folder: Path, seeds: int) -> None:
    """All runs, seed by seed, so that an early stop leaves pairs."""
    data = link_data(folder)
    for seed in range(seeds):
        for recipe in RECIPES:
            out = RUNS / f"nuclei-{recipe}-{seed}"
            config = dataclasses.replace(read_config(HERE / f"{recipe}.toml"), data=data, seed=seed, out=str(out))
            finish_training(config)
            if not (out / "calibration.json").exists():  # stopped between the last epoch and this
                evaluate_run(out, split="validation", threads=config.threads)
            print(evaluate_run(out, threads=config.threads).describe(), flush=True)


if __name__ == "__main__":
    if "NUCLEI" not in os.environ:
        sys.exit(f"usage: NUCLEI=FOLDER python {sys.argv[0]} [SEEDS]")
    main(Path(os.environ["NUCLEI"]), int(sys.argv[1]) if len(sys.argv) > 1 else 1)
