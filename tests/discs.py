"""A data set that a tiny network learns in seconds: bright discs on dark noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import fgbg


def make_samples(count: int = 16, size: int = 32) -> list[fgbg.Sample]:
    """Bright discs on dark noise; every fourth validates."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    samples = []
    for index in range(count):
        centre, radius = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.15, 0.3) * size
        disc = np.hypot(x - centre[0], y - centre[1]) < radius
        noise = rng.integers(0, 90, (size, size, 3))
        pixels = (noise + disc[:, :, None] * 120).astype(np.uint8)
        split = "validation" if index % 4 == 0 else "train"
        samples.append(fgbg.Sample(f"disc_{index:02}", pixels, disc.astype(np.uint8), split=split))
    return samples


def small_config(out: Path, **changes: object) -> fgbg.TrainConfig:
    config = fgbg.TrainConfig(
        out=str(out),
        width=4,
        size=32,
        epochs=3,
        batch_size=4,
        device="cpu",
        threads=1,
        precision="fp32",
        learning_rate=3e-3,
        selfcheck=False,  # it calls a test's own parts too; tests/test_selfcheck.py and the command line have it on
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def write_discs(tmp: Path, count: int = 20) -> Path:
    """A folder of discs with lists."""
    folder = tmp / "discs"
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index, sample in enumerate(make_samples(count)):
        Image.fromarray(sample.image).save(folder / "images" / f"{sample.id}.png")
        Image.fromarray(sample.mask * 255).save(folder / "masks" / f"{sample.id}.png")
        lists["test" if index % 5 == 1 else "val" if index % 5 == 2 else "train"].append(sample.id)
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(ids) + "\n")
    return folder
