"""Train and score the runs of an experiment, one after the other, and keep their light part.

    FGBG_DATA=… python experiments/run.py scratch          # every run that is missing
    FGBG_DATA=… python experiments/run.py scratch 4        # at most four of them

What is finished is skipped, what was interrupted goes on: stop it and start it again at will. Runs lie in
runs/EXPERIMENT/, what is kept of them in experiments/results/EXPERIMENT/.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from keep import keep
from plan import RESULTS, Plan, read_plan

from fgbg.config import TrainConfig
from fgbg.judge.runs import evaluate_run
from fgbg.run import Run
from fgbg.training.train import train

RUNS = Path("runs")


def finish(plan: Plan, config: TrainConfig) -> None:
    """Train the run, or go on with it, score it on test photos, keep it."""
    run = Run(RUNS / plan.name / config.out)
    config = dataclasses.replace(config, out=str(run.folder))
    if not run.calibration():  # what a finished training writes last
        train(config, resume=run.last.exists())
    if not run.scores_path("test").exists():
        print(evaluate_run(run.folder, threads=config.threads).describe())
    keep(run.folder, RESULTS / plan.name)


def main(name: str, most: int) -> None:
    """At most so many of the experiment's missing runs."""
    plan = read_plan(name)
    missing = [config for config in plan.in_order() if not (RESULTS / name / config.out / "scores_test.json").exists()]
    print(f"{name}: {len(missing)} of {len(plan.in_order())} runs to go")
    for config in missing[:most]:
        print(f"\n{config.out}")
        finish(plan, config)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} EXPERIMENT [MOST]")
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else sys.maxsize)
