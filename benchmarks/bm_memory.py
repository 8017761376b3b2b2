"""Memory of a training against the number of its photos: 1,000 files, and 100,000 names (hard links) of the same files.

    python benchmarks/bm_memory.py [NAMES ...]       # 1000 and 100000 by default

Each number runs in a process of its own, watched from outside. Measured is anonymous memory, which the system cannot
reclaim, unlike mapped files: once within the first epoch, and its peak until then. UNet of width 32 at 64 px, batch 32.
Target: at 100,000 within 10 % of 1,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FILES, EDGE = 1_000, 48
PERIOD = 0.1  # seconds between two readings

TRAIN = """
import sys, time
import torch
import fgbg

STEPS = 5  # of the first epoch before memory is read
steps = iter(range(1, 1_000_000))

def loss(logits, target):
    if next(steps) == STEPS:
        print("in the epoch", flush=True)
        time.sleep(600)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), target.float())

data, out = sys.argv[1:]
config = fgbg.TrainConfig(data=data, out=out, size=64, width=32, batch_size=32, epochs=1, selfcheck=False)
fgbg.train(config, loss=loss)
"""


def draw_files(folder: Path, names: int) -> None:
    """Discs on noise: `FILES` for training under `names` names, ten for validation, ten for test."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:EDGE, :EDGE]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(FILES + 20):
        disc = np.hypot(*(axis - rng.uniform(15, 33) for axis in (x, y))) < rng.uniform(6, 14)
        pixels = rng.integers(0, 90, (EDGE, EDGE, 3)) + disc[:, :, None] * 120
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{index}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / "masks" / f"{index}.png")
    training = [str(index) for index in range(FILES)]
    for number in range(FILES, names):
        name = f"{number % FILES}_{number // FILES}"
        for kind in ("images", "masks"):
            (folder / kind / f"{name}.png").hardlink_to(folder / kind / f"{number % FILES}.png")
        training.append(name)
    for name, ids in (("train", training), ("val", range(FILES, FILES + 10)), ("test", range(FILES + 10, FILES + 20))):
        (folder / f"{name}.txt").write_text("\n".join(map(str, ids)) + "\n", encoding="utf-8")


def anonymous_megabytes(process: int) -> float:
    """Anonymous memory of a process, as Linux counts it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def measure(names: int, folder: Path) -> tuple[float, float, float]:
    """Anonymous megabytes of a training within its first epoch, their peak before, and the seconds until then."""
    draw_files(folder / "data", names)
    environment = {**os.environ, "FGBG_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", TRAIN, str(folder / "data"), str(folder / "run")]
    start, peak = time.perf_counter(), 0.0
    with (folder / "said").open("w") as said, subprocess.Popen(command, stdout=said, env=environment) as training:
        try:
            while "in the epoch" not in (folder / "said").read_text():
                if training.poll() is not None:
                    sys.exit("the training ended before its epoch")
                peak = max(peak, anonymous_megabytes(training.pid))
                time.sleep(PERIOD)
            return anonymous_megabytes(training.pid), peak, time.perf_counter() - start
        finally:
            training.kill()


def main(sizes: list[int]) -> None:
    """Print a row for each number; the others are compared with the first."""
    print("| names of photos | anonymous MB in the epoch | ÷ first | peak before | ÷ first | seconds until then |")
    print("|---|---|---|---|---|---|")
    first: tuple[float, float] | None = None
    for names in sizes:
        with tempfile.TemporaryDirectory() as folder:
            inside, peak, seconds = measure(names, Path(folder))
        first = first or (inside, peak)
        shares = inside / first[0], peak / first[1]
        print(f"| {names:,} | {inside:.0f} | {shares[0]:.3f} | {peak:.0f} | {shares[1]:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 100_000])
