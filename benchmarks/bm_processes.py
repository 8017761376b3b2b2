"""One process against several on the same photos: same gradient, same rows, and curves as close as between seeds.

    FGBG_DATA=… python benchmarks/bm_processes.py [--processes 2] [--epochs 2] [--seeds 0 1 2]

Three things are compared. The gradient of one batch of photos, batch norm in evaluation mode: how far the averaged one of
several processes is from that of one. The rows that `fgbg evaluate` writes for the same model: byte for byte, with equally
many threads per process, and what another number of threads changes in them. And trainings by `fgbg train`, each in one
process and in several: batch norm sees only a process's own images there, so that the weights differ as between seeds, and
test Dice is compared over seeds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from fgbg.cores import count_cores
from fgbg.judge.trainings import compare_seeds
from fgbg.run import Run, open_run
from fgbg.storage import hash_file
from timing import describe_machine

GRADIENT = """
import sys, torch
from fgbg.config import TrainConfig
from fgbg.engine import Engine, leave_processes
from fgbg.training.loop import deal_batches, make_batch
from fgbg.training.build import build_learner, understand_data
from fgbg.training.own_parts import OwnParts
data, model, width, size, batch, out = sys.argv[1:]
config = TrainConfig(data=data, model=model, width=int(width), size=int(size), batch_size=int(batch), precision="fp32")
engine = Engine(config.device, config.precision, config.threads)
learner = build_learner(config, understand_data(config, None), engine, OwnParts())
learner.predictor.eval()
rows = next(iter(deal_batches(len(learner.store), config.batch_size, seed=0, epoch=1)))
mixture = make_batch(learner, engine.share(rows), epoch=1, step=1)
engine.backward(learner.loss(learner.module(mixture.image), mixture.target))
if engine.is_main:
    torch.save([weight.grad for weight in learner.predictor.parameters()], out)
leave_processes(0)
"""


@dataclass(frozen=True)
class Case:
    """What is trained, and by how many processes."""

    data: str = "oxford-pet"
    model: str = "resnet34_unet"
    width: int = 16
    size: int = 64
    batch_size: int = 16
    epochs: int = 2
    processes: int = 2
    seeds: tuple[int, ...] = (0, 1, 2)


def start(processes: int, *command: str) -> None:
    """Run Python with that command, in `processes` processes.

    Raises:
        SystemExit: It failed; its output is printed.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    ended = subprocess.run([sys.executable, *launcher, *command], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command[:4])} in {processes} processes failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")


def measure_gradients(case: Case, folder: Path) -> float:
    """The distance between the gradient of one process and the averaged one of several, relative to the first's norm."""
    script = folder / "gradient.py"
    script.write_text(GRADIENT, encoding="utf-8")
    gradients = []
    for processes in (1, case.processes):
        out = folder / f"gradient_{processes}.pt"
        about = (case.data, case.model, case.width, case.size, case.batch_size, out)
        start(processes, str(script), *map(str, about))
        gradients.append(torch.cat([part.flatten() for part in torch.load(out, weights_only=True)]))
    return float((gradients[1] - gradients[0]).norm() / gradients[0].norm())


def train(case: Case, processes: int, seed: int, folder: Path) -> Run:
    """A run by `processes` processes; its test photos are scored by one."""
    out = folder / f"{processes}-{seed}"
    numbers = {"width": case.width, "size": case.size, "batch-size": case.batch_size, "epochs": case.epochs, "seed": seed}
    flags = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    start(processes, "-m", "fgbg", "train", case.data, "--model", case.model, "--out", str(out), *flags)
    start(1, "-m", "fgbg", "evaluate", str(out))
    return open_run(out)


def score(run: Run, processes: int, threads: int) -> Run:
    """A copy of the run, with test rows written by `processes` processes of `threads` threads each."""
    copy = run.folder.with_name(f"{run.name}-by-{processes}-{threads}")
    shutil.copytree(run.folder, copy)
    start(processes, "-m", "fgbg", "evaluate", str(copy), "--threads", str(threads))
    return open_run(copy)


def hash_rows(run: Run) -> str:
    """The hash of a run's test rows."""
    return hash_file(run.scores_path("test"))[:12]


def tell_difference(first: Run, second: Run) -> str:
    """In how many rows, by how many pixels and how much Dice two tables of the same photos differ."""
    pairs = list(zip(first.scores("test"), second.scores("test"), strict=True))
    different = sum(a != b for a, b in pairs)
    pixels = sum(abs(a.TP - b.TP) + abs(a.FP - b.FP) for a, b in pairs)
    dice = max(abs(a.dice - b.dice) for a, b in pairs)
    return f"{different} of {len(pairs)} rows differ, by {pixels} pixels in all, Dice of a photo by at most {dice:.1e}"


def main(case: Case) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        distance = measure_gradients(case, folder)
        runs = {count: [train(case, count, seed, folder) for seed in case.seeds] for count in (1, case.processes)}
        share = max(1, count_cores() // case.processes)  # threads that each of several processes has
        scored = {count: score(runs[1][0], count, share) for count in (1, case.processes)}
        rows = {count: hash_rows(run) for count, run in scored.items()}
        told = {count: [run.statement("test")["mean_dice"] for run in of_count] for count, of_count in runs.items()}
        first = runs[1][0].statement("test")
        print(f"{first['data']}: {first['pairs']:,} test photos · hash {first['fingerprint']} · {describe_machine()}")
        print(f"{case.model} (width {case.width}), {case.size} px, batch {case.batch_size}, {case.epochs} epochs\n")
        print(f"| | 1 process | {case.processes} processes | |\n|---|---|---|---|")
        print(f"| gradient of one batch | | | differs by {distance:.1e} of its length |")
        same = "the same bytes" if len(set(rows.values())) == 1 else "DIFFERENT"
        print(f"| rows of one model, {share} threads a process | {' | '.join(rows.values())} | {same} |")
        if share != count_cores():
            threads = tell_difference(score(runs[1][0], 1, count_cores()), scored[1])
            print(f"| the same in one process, {count_cores()} threads against {share} | | | {threads} |")
        for place, seed in enumerate(case.seeds):
            pair = [runs[count][place].epochs()[-1] for count in (1, case.processes)]
            losses = " | ".join(f"loss {each.train_loss:.4f}, Dice {each.train_dice:.4f}" for each in pair)
            print(f"| last epoch of seed {seed}, training | {losses} | |")
        for place, seed in enumerate(case.seeds):
            print(f"| test Dice of seed {seed} | {' | '.join(f'{scores[place]:.4f}' for scores in told.values())} | |")
        if len(case.seeds) > 1:
            spread = " | ".join(f"{np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f}" for scores in told.values())
            gap, p, *_ = compare_seeds(*(np.array(scores) for scores in told.values()))
            verdict = f"differ by {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}], p = {p:.2f} (Welch)"
            print(f"| test Dice, mean ± sd over seeds | {spread} | {verdict} |")
        speeds = {count: max(run.epochs()[-1].images_per_second for run in of_count) for count, of_count in runs.items()}
        print(f"| images a second in training | {' | '.join(f'{speed:.0f}' for speed in speeds.values())} | |")


if __name__ == "__main__":
    main(tyro.cli(Case, description=__doc__))
