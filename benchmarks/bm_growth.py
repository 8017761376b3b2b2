"""How a training's speed and memory scale with image size and processes, and what share of the machine it uses.

    python benchmarks/bm_growth.py [--model resnet34_unet] [--width 64] [--sizes 64 128 256] [--processes 1 2]

The machine's peak is a large matrix product in the precision that training uses here. A training image costs three times
the forward pass, counted by torch on a network without weights. Every size, and every number of processes, is a run of
`fgbg.train` on drawn animals in processes of its own; its speed is the median of all epochs but the first. Memory is the
peak of one process: on a GPU its GPU memory, otherwise its resident memory. All processes of a run share one batch, and on
a CPU the cores.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from fgbg.data.figures import draw_figures
from fgbg.engine import Engine
from fgbg.models import build_network
from fgbg.models.operations import count_forward
from timing import describe_machine

TRAIN = """
import resource, sys, torch, fgbg
from fgbg.engine import leave_processes
data, out, model, width, size, batch, epochs = sys.argv[1:]
numbers = {"width": int(width), "size": int(size), "batch_size": int(batch), "epochs": int(epochs)}
fgbg.train(fgbg.TrainConfig(data=data, out=out, model=model, selfcheck=False, **numbers))
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if torch.cuda.is_available():
    held = torch.cuda.max_memory_allocated()
print("held", held, flush=True)
leave_processes(0)
"""


@dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str = "resnet34_unet"
    width: int = 64
    sizes: tuple[int, ...] = (64, 128, 256)
    processes: tuple[int, ...] = (1, 2)
    batch_size: int = 16
    photos: int = 200
    epochs: int = 4


@dataclass(frozen=True)
class Measured:
    """Results of one training."""

    images_per_second: float
    gigabytes: float  # the highest peak of its processes


def measure_peak(engine: Engine) -> float:
    """Operations per second of a large matrix product, the fastest of ten."""
    on_gpu = engine.device.type == "cuda"
    edge = 8192 if on_gpu else 2048
    kind = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    left, right = (torch.randn(edge, edge, device=engine.device).to(kind) for _ in range(2))
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        left @ right
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * edge**3 / min(seconds[2:])


def count_training(case: Case, size: int) -> int:
    """Operations of one training image: three times the forward pass."""
    return 3 * count_forward(build_network(case.model, width=case.width), size)


def train(case: Case, folder: Path, *, size: int, processes: int) -> Measured:
    """One training by `processes` processes."""
    script, out = folder / "train.py", Path(tempfile.mkdtemp(dir=folder))
    script.write_text(TRAIN, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    words = (folder / "figures", out, case.model, case.width, size, case.batch_size, case.epochs)
    command = [sys.executable, *launch, str(script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    held = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("held")]
    records = [json.loads(line) for line in (out / "epochs.jsonl").read_text(encoding="utf-8").splitlines()]
    speed = statistics.median(record["images_per_second"] for record in records[1:])
    return Measured(speed, max(held) / 1e9)


def tell_sizes(case: Case, folder: Path, peak: float) -> None:
    """A row for each image size."""
    print("| image size | img/s | GFLOP an image | TFLOP/s | share of the peak | GB |\n|---|---|---|---|---|---|")
    for size in case.sizes:
        measured, work = train(case, folder, size=size, processes=1), count_training(case, size)
        rate = measured.images_per_second * work
        cells = f"{measured.images_per_second:.1f} | {work / 1e9:.2f} | {rate / 1e12:.3f} | {rate / peak:.2f}"
        print(f"| {size} | {cells} | {measured.gigabytes:.2f} |", flush=True)


def tell_processes(case: Case, folder: Path) -> None:
    """A row for each number of processes, at the second smallest image size."""
    size = sorted(case.sizes)[min(1, len(case.sizes) - 1)]
    print(f"\n| processes, at {size} px | img/s | ÷ first | GB each |\n|---|---|---|---|")
    first = 0.0
    for processes in case.processes:
        measured = train(case, folder, size=size, processes=processes)
        first = first or measured.images_per_second
        share = measured.images_per_second / first
        print(f"| {processes} | {measured.images_per_second:.1f} | {share:.2f} | {measured.gigabytes:.2f} |", flush=True)


def main(case: Case) -> None:
    """Print all tables."""
    engine = Engine()
    peak = measure_peak(engine)
    print(f"{describe_machine()}; {case.model}, width {case.width}, batch {case.batch_size}, {engine.describe()}")
    print(f"matrix product: {peak / 1e12:.2f} TFLOP/s in {engine.precision}\n", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["FGBG_CACHE"] = str(folder / "cache")
        draw_figures(folder / "figures", count=case.photos, size=max(case.sizes))
        tell_sizes(case, folder, peak)
        if len(case.processes) > 1:
            tell_processes(case, folder)


if __name__ == "__main__":
    main(tyro.cli(Case, description=__doc__))
