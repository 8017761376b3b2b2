"""docs/results.md, from the run folders that experiments keep: one table an experiment, over its seeds.

python experiments/results.py             # writes it
python experiments/results.py --check     # says whether it is up to date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from flops import count_forward
from plan import HERE, RESULTS, read_plan

from fgbg.models import build_network
from fgbg.run import Run, open_run
from fgbg.training.train import size_in

PAGE = HERE.parent / "docs" / "results.md"
EXPERIMENTS = ("pets", "fast", "scratch", "zoo", "ingredients")
HEADER = ("recipe", "seeds", "test Dice, mean ± sd over seeds", "best validation Dice", "training", "TFLOP", "on")


INTRODUCTION = """# Results

Written by `python experiments/results.py` from the run folders in `experiments/results/`; those that are missing are made by
`python experiments/run.py NAME`. Test Dice is the mean over the 611 test photos at their own size, border = foreground. A
training's floating point operations are three times the forward pass of every image, whatever the processor does. Times are
of the machine at hand and whatever else ran on it."""


def find_runs(experiment: str, recipe: str) -> list[Run]:
    """A recipe's kept runs, by seed."""
    folders = (RESULTS / experiment).glob(f"{recipe}-[0-9]*")
    return [open_run(folder) for folder in sorted(folders) if folder.name.rpartition("-")[0] == recipe]


def describe_recipe(name: str, runs: list[Run]) -> tuple[str, ...]:
    """One row of an experiment's table."""
    scores = [run.statement("test")["mean_dice"] for run in runs]
    spread = f" ± {np.std(scores, ddof=1):.4f}" if len(scores) > 1 else ""
    best = [max(record.val_dice_photo for record in run.epochs()) for run in runs]
    seconds = [sum(record.seconds for record in run.epochs()) for run in runs]
    return (
        name,
        str(len(runs)),
        f"**{np.mean(scores):.4f}**{spread}",
        f"{np.mean(best):.4f}",
        f"{len(runs[0].epochs())} epochs, {np.mean(seconds) / 60:.1f} min",
        f"{count_training(runs[0]) / 1e12:,.0f}",
        describe_machine(runs[0].environment()),
    )


def count_training(run: Run) -> float:
    """Floating point operations of a whole training: three times the forward pass of every image it saw."""
    config = run.config
    images = sum(locked.split == "train" for locked in run.locked_splits().values())
    per_epoch = images // config.batch_size * config.batch_size
    network = build_network(config.model, width=config.width, encoder=config.encoder)
    sizes = [size_in(record.epoch, config) for record in run.epochs()]
    return float(sum(3 * count_forward(network, size) * per_epoch for size in sizes))


def describe_machine(environment: dict[str, Any]) -> str:
    """Device and threads."""
    return f"{environment['device']}, {environment['threads']} threads"


def write_page() -> str:
    """The page as Markdown; experiments without a kept run are named as such."""
    lines = [INTRODUCTION]
    for experiment in EXPERIMENTS:
        plan = read_plan(experiment)
        rows = [(name, find_runs(experiment, name)) for name in plan.recipes]
        lines += ["", f"## {experiment}", "", *plan.about.splitlines()]
        if any(runs for _, runs in rows):
            lines += ["", row(HEADER), row(("---",) * len(HEADER))]
            lines += [row(describe_recipe(name, runs)) for name, runs in rows if runs]
        missing = sum(len(configs) for configs in plan.recipes.values()) - sum(len(runs) for _, runs in rows)
        if missing:
            lines += ["", f"{missing} runs of this experiment are still to be made."]
    return "\n".join([*lines, ""])


def row(cells: tuple[str, ...]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the page, or check it."""
    page = write_page()
    if "--check" in sys.argv:
        is_current = PAGE.read_text(encoding="utf-8") == page
        print(json.dumps({"page": str(PAGE.relative_to(Path.cwd())), "current": is_current}))
        return 0 if is_current else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
