"""README's table of results, from the run folders in experiments/results/.

python experiments/table.py
"""

from __future__ import annotations

import json
from pathlib import Path

from fgbg.run import Run, open_run

RESULTS = Path(__file__).parent / "results"
HEADER = ("run", "network", "training", "test Dice, mean over photos [95 %]", "pooled", "at training size", "img/s")


def describe(run: Run) -> tuple[str, ...]:
    """One row of the table."""
    config, told, records = run.config, run.statement("test"), run.epochs()
    environment = json.loads((run.folder / "environment.json").read_text())
    speed = sorted(record.images_per_second for record in records)[len(records) // 2]
    minutes = sum(record.seconds for record in records) / 60
    where = f"{environment['threads']} threads, {environment['device']}"
    return (
        f"`{run.name}`",
        f"{config.model}, width {config.width}",
        f"{config.size} px, {len(records)} epochs, {minutes:.0f} min on {where}",
        f"**{told['mean_dice']:.4f}** [{told['mean_dice_low']:.4f}, {told['mean_dice_high']:.4f}]",
        f"{told['pooled_dice']:.4f}",
        f"{told['dice_at_size']:.4f}",
        f"{speed:.0f}",
    )


def main() -> None:
    """Print the table as Markdown."""
    runs = [open_run(path) for path in sorted(RESULTS.iterdir()) if (path / "config.toml").exists()]
    for row in (HEADER, ("---",) * len(HEADER), *(describe(run) for run in runs)):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
