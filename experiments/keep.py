"""Keep the light part of finished runs under experiments/results/: what the tables are built from.

python experiments/keep.py results/claims runs/claims/pets-unet-0 ...
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
LIGHT = (
    "config.toml",
    "environment.json",
    "split.json",
    "epochs.jsonl",
    "calibration.json",
    "scores_test.csv",
    "scores_test.json",
)


def keep(run: Path, results: Path) -> None:
    """Copy one run's light files."""
    folder = results / run.resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    for name in LIGHT:
        shutil.copy(run / name, folder / name)


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        keep(Path(argument), HERE / sys.argv[1])
