"""docs/results.md, from the run folders that experiments keep: one table an experiment, over its seeds.

python experiments/results.py             # writes it
python experiments/results.py --check     # says whether it is up to date
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbg.judge.bootstrap import adjust_holm
from fgbg.judge.compare import SIGNIFICANT
from fgbg.judge.comparison import format_p
from fgbg.judge.trainings import FEWEST_SEEDS, compare_recipes
from fgbg.models import build_network
from fgbg.models.operations import count_forward
from fgbg.run import Run, open_run
from fgbg.training.schedule import size_in
from plan import HERE, RESULTS, read_plan

PAGE = HERE.parent / "docs" / "results.md"
COUNTS = RESULTS / "operations.json"
EXPERIMENTS = ("pets", "fast", "lab", "scratch", "few", "zoo", "ingredients")
HEADER = ("recipe", "seeds", "test Dice, mean ± sd over seeds", "best validation Dice", "training", "TFLOP", "on")
LAST = 5  # epochs whose mean is a recipe's final validation Dice

INTRODUCTION = """# Results

Written by `python experiments/results.py` from the run folders in `experiments/results/`; those that are missing are made by
`python experiments/run.py NAME`. Test Dice is the mean over the test photos at their own size: 611 pets, border = foreground
(but of `pets`, where it is ignore), and in `few` 624 nuclei. A training's floating point operations are three times the
forward pass of every image, whatever the processor does. Times are of the machine at hand and whatever else ran on
it."""


def find_runs(experiment: str, recipe: str) -> list[Run]:
    """A recipe's kept runs, by seed."""
    folders = (RESULTS / experiment).glob(f"{recipe}-[0-9]*")
    return [open_run(folder) for folder in sorted(folders) if folder.name.rpartition("-")[0] == recipe]


def describe_recipe(name: str, runs: list[Run]) -> tuple[str, ...]:
    """One row of an experiment's table."""
    scores = read_scores(runs)
    spread = f" ± {np.std(scores, ddof=1):.4f}" if len(scores) > 1 else ""
    best = [max(record.val_dice_photo for record in run.epochs()) for run in runs]
    seconds = [count_seconds(run) for run in runs]
    return (
        name,
        str(len(runs)),
        f"**{np.mean(scores):.4f}**{spread}",
        f"{np.mean(best):.4f}",
        f"{len(runs[0].epochs())} epochs, {np.mean(seconds) / 60:.1f} min",
        f"{count_training(runs[0]) / 1e12:,.0f}",
        describe_machine(runs[0].environment()),
    )


def read_scores(runs: list[Run]) -> list[float]:
    """Each run's mean test Dice."""
    return [run.statement("test")["mean_dice"] for run in runs]


def read_photos(runs: list[Run]) -> NDArray[np.float64]:
    """(seeds, photos) test Dice."""
    scored = [{row.id: row.dice for row in run.scores("test")} for run in runs]
    return np.array([[scores[name] for name in sorted(scored[0])] for scores in scored])


def tell_differences(against: str, runs: dict[str, list[Run]]) -> list[str]:
    """Lines on how the recipes that have enough seeds differ from `against`, whatever the seeds and the photos."""
    scores = {name: read_photos(seeds) for name, seeds in runs.items() if len(seeds) >= FEWEST_SEEDS}
    base = scores.pop(against, None)
    if base is None or not scores:
        return []
    tests = {name: compare_recipes(base, other) for name, other in scores.items()}
    adjusted = adjust_holm([test.p for test in tests.values()])
    lines = [
        "",
        f"Test Dice less that of `{against}`, with a 95 % interval over seeds and photos, and p among all rows (Holm):",
        "",
        row(("recipe", "difference", "p", "verdict")),
        row(("---",) * 4),
    ]
    for (name, test), p in zip(tests.items(), adjusted, strict=True):
        difference = test.difference
        verdict = "cannot tell" if p >= SIGNIFICANT else "better" if difference.mean > 0 else "worse"
        told = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        lines.append(row((name, told, format_p(p), verdict)))
    return lines


def tell_compute(until: str, runs: dict[str, list[Run]]) -> list[str]:
    """Lines on how much each recipe computes until its validation Dice is the final one of `until`, once that has runs."""
    if not runs[until]:
        return []
    target = float(np.mean([[record.val_dice_photo for record in run.epochs()][-LAST:] for run in runs[until]]))
    reached = {name: [find_epoch(run, target) for run in seeds] for name, seeds in runs.items() if seeds}
    compute = {
        name: float(np.mean([count_training(run, epoch) for run, epoch in zip(runs[name], epochs, strict=True)]))
        for name, epochs in reached.items()
    }
    lines = [
        "",
        f"Compute until validation Dice is {target:.4f}, where `{until}` ends (its last {LAST} epochs, mean over seeds):",
        "",
        row(("recipe", "epochs, by seed", "minutes, mean", "TFLOP, mean", *(f"of `{name}`" for name in compute))),
        row(("---",) * (4 + len(compute))),
    ]
    for name, epochs in reached.items():
        told = [
            str(epoch) if epoch else f"not in {len(run.epochs())}" for epoch, run in zip(epochs, runs[name], strict=True)
        ]
        minutes = np.mean([count_seconds(run, epoch) for run, epoch in zip(runs[name], epochs, strict=True)]) / 60
        shares = [tell_share(compute[name] / other) for other in compute.values()]
        lines.append(row((name, ", ".join(told), f"{minutes:.1f}", f"{compute[name] / 1e12:,.1f}", *shares)))
    return lines


def tell_share(share: float) -> str:
    """As a fraction where it is one: 1/2.5, or 3.0."""
    return f"1/{1 / share:.1f}" if share <= 1 else f"{share:.1f}"


def find_epoch(run: Run, target: float) -> int:
    """The first epoch whose validation Dice is at least `target`; 0 if there is none."""
    return next((record.epoch for record in run.epochs() if record.val_dice_photo >= target), 0)


def count_seconds(run: Run, epochs: int = 0) -> float:
    """What a training, or its first `epochs`, took, without what comes before the first and after the last."""
    return sum(record.seconds for record in run.epochs()[: epochs or None])


def count_training(run: Run, epochs: int = 0) -> float:
    """Floating point operations of a training, or of its first `epochs`: three times the forward pass of each image seen."""
    config = run.config
    images = sum(locked.split == "train" for locked in run.locked_splits().values())
    per_epoch = images // config.batch_size * config.batch_size
    sizes = [size_in(record.epoch, config) for record in run.epochs()][: epochs or None]
    return float(sum(3 * count_image(config.model, config.width, config.encoder, size) * per_epoch for size in sizes))


def count_image(model: str, width: int, encoder: str, size: int) -> int:
    """Operations of one image's forward pass: as was counted before, or counted now, which takes a second."""
    name = f"{model}, width {width}{f' on {encoder}' if encoder else ''}, {size} px"
    counts = known_counts()
    if name not in counts:
        counts[name] = count_forward(build_network(model, width=width, encoder=encoder), size)
    return counts[name]


@cache
def known_counts() -> dict[str, int]:
    """Operations by network and image size: those that `main` kept, and those counted since."""
    return json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}


def describe_machine(environment: dict[str, Any]) -> str:
    """Processor, where the run knows it, and threads."""
    return f"{environment.get('processor', environment['device'])}, {environment['threads']} threads"


def write_page() -> str:
    """The page as Markdown; experiments without a kept run are named as such."""
    lines = [INTRODUCTION]
    for experiment in EXPERIMENTS:
        plan = read_plan(experiment)
        rows = [(name, find_runs(experiment, name)) for name in plan.recipes]
        lines += ["", f"## {experiment}", "", *plan.about.splitlines()]
        if any(runs for _, runs in rows):
            lines += ["", row(HEADER), row(("---",) * len(HEADER))]
            lines += [row(describe_recipe(name, runs)) for name, runs in rows if runs]
        if plan.against:
            lines += tell_differences(plan.against, dict(rows))
        if plan.until:
            lines += tell_compute(plan.until, dict(rows))
        missing = sum(len(configs) for configs in plan.recipes.values()) - sum(len(runs) for _, runs in rows)
        if missing:
            lines += ["", f"{missing} runs of this experiment are still to be made."]
    return "\n".join([*lines, ""])


def row(cells: tuple[str, ...]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the page, or check it."""
    page = write_page()
    if "--check" in sys.argv:
        is_current = PAGE.read_text(encoding="utf-8") == page
        print(json.dumps({"page": str(PAGE.relative_to(Path.cwd())), "current": is_current}))
        return 0 if is_current else 1
    PAGE.write_text(page, encoding="utf-8")
    COUNTS.write_text(json.dumps(dict(sorted(known_counts().items())), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
