"""Train and score the runs of an experiment, one after the other, and keep their light part.

    FGBG_DATA=… python experiments/run.py scratch          # every run that is missing
    FGBG_DATA=… python experiments/run.py scratch 1/2      # the first half of them; 2/2 elsewhere at the same time

What is finished is skipped, what was interrupted goes on: stop it and start it again at will. Runs lie in
runs/EXPERIMENT/, what is kept of them in experiments/results/EXPERIMENT/.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from fgbg.config import TrainConfig
from fgbg.judge.runs import evaluate_run
from fgbg.run import Run
from fgbg.training.train import train
from keep import keep
from plan import RESULTS, Plan, read_plan

RUNS = Path("runs")


def finish(plan: Plan, config: TrainConfig) -> None:
    """Train the run, or go on with it, score it on test photos, keep it."""
    run = Run(RUNS / plan.name / config.out)
    config = dataclasses.replace(config, out=str(run.folder))
    if not run.calibration():  # what a finished training writes last
        train(config, resume=(run.folder / "config.toml").exists())
    if not run.scores_path("test").exists():
        print(evaluate_run(run.folder, threads=config.threads).describe())
    keep(run.folder, RESULTS / plan.name)


def main(name: str, part: int, parts: int) -> None:
    """Every `parts`-th run of the experiment, from the `part`-th on, where it is missing."""
    plan = read_plan(name)
    share = plan.in_order()[part - 1 :: parts]
    missing = [config for config in share if not (RESULTS / name / config.out / "scores_test.json").exists()]
    print(f"{name}: {len(missing)} of {len(share)} runs to go")
    for config in missing:
        print(f"\n{config.out}", flush=True)
        finish(plan, config)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} EXPERIMENT [PART/PARTS]")
    chosen, of = (sys.argv[2] if len(sys.argv) == 3 else "1/1").split("/")
    main(sys.argv[1], int(chosen), int(of))
