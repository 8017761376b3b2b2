"""Keep the light part of finished runs under experiments/results/: what the tables are built from.

python experiments/keep.py runs/NAME ...
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
LIGHT = ("config.toml", "environment.json", "split.json", "epochs.jsonl", "scores_test.csv", "scores_test.json")


def keep(run: Path) -> None:
    """Copy one run's light files."""
    folder = RESULTS / run.resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    for name in LIGHT:
        shutil.copy(run / name, folder / name)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        keep(Path(argument))
