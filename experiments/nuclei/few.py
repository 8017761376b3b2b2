"""Lay out the data of experiments/few.toml: links to the photos, and lists that let 32 train, 8 choose and the rest judge.

    NUCLEI=FOLDER python experiments/nuclei/few.py
    python experiments/run.py few

FOLDER holds images/ and masks/ of the 2018 Data Science Bowl (stage 1, CC0).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

OUT = Path("runs/few/data/nuclei-40")
TRAIN, VALIDATION = 32, 8


def main(folder: Path) -> None:
    """Draw once for all seeds: which photos are labelled is no part of what is compared."""
    ids = np.random.default_rng(0).permutation(sorted(path.stem for path in (folder / "images").iterdir())).tolist()
    OUT.mkdir(parents=True, exist_ok=True)
    for kind in ("images", "masks"):
        if not (OUT / kind).is_symlink():
            (OUT / kind).symlink_to((folder / kind).resolve())
    cuts = {"train": ids[:TRAIN], "val": ids[TRAIN : TRAIN + VALIDATION], "test": ids[TRAIN + VALIDATION :]}
    for name, part in cuts.items():
        (OUT / f"{name}.txt").write_text("\n".join(sorted(part)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if "NUCLEI" not in os.environ:
        sys.exit(f"usage: NUCLEI=FOLDER python {sys.argv[0]}")
    main(Path(os.environ["NUCLEI"]))
