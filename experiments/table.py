"""README's table of results, from the run folders in experiments/results/claims/: one row a recipe, over its seeds.

python experiments/table.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fgbg.run import Run, open_run

RESULTS = Path(__file__).parent / "results" / "claims"
RECIPES = ("pets-unet", "pets-resnet34_unet", "figures-unet", "figures-resnet34_unet")
HEADER = (
    "data",
    "network",
    "training",
    "seeds",
    "test Dice, mean ± sd over seeds",
    "one seed's interval over photos",
)


def read_runs(recipe: str) -> list[Run]:
    """A recipe's kept runs, by seed."""
    return [open_run(path) for path in sorted(RESULTS.glob(f"{recipe}-[0-9]*"))]


def describe(recipe: str) -> tuple[str, ...]:
    """One row of the table."""
    runs = read_runs(recipe)
    config, told = runs[0].config, runs[0].statement("test")
    environment = json.loads((runs[0].folder / "environment.json").read_text())
    means = [run.statement("test")["mean_dice"] for run in runs]
    return (
        f"{told['pairs']} {recipe.partition('-')[0]}",
        f"{config.model}, width {config.width}",
        f"{config.size} px, {config.epochs} epochs, {environment['threads']} thread, {environment['device']}",
        str(len(runs)),
        f"**{np.mean(means):.4f}** ± {np.std(means, ddof=1):.4f}",
        f"{told['mean_dice']:.4f} [{told['mean_dice_low']:.4f}, {told['mean_dice_high']:.4f}]",
    )


def main() -> None:
    """Print the table as Markdown."""
    for row in (HEADER, ("---",) * len(HEADER), *map(describe, RECIPES)):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
