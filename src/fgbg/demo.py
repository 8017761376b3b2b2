"""A complete example in minutes: draw figures, train both networks of the lab, score, compare, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgbg.config import TrainConfig
from fgbg.data.augment_ranges import NO_CHANGE
from fgbg.data.figures import draw_figures
from fgbg.data.parallel import show_progress
from fgbg.data.sources import open_samples
from fgbg.judge.baselines import predict_foreground, predict_otsu
from fgbg.judge.bootstrap import estimate_mean
from fgbg.judge.compare import compare_runs, describe_comparisons
from fgbg.judge.metrics import dice
from fgbg.judge.panels import panels_path
from fgbg.judge.report import write_report
from fgbg.judge.runs import evaluate_run
from fgbg.run import Run
from fgbg.storage import make_empty_folder
from fgbg.training.train import train

FIGURES = 800
FIGURE_PIXELS = 96
EPOCHS = 36
MODELS = {"unet": 64, "resnet34_unet": 96}
"""Name -> training size. ResNet34_UNet halves its input before the first block, so it gets larger images."""
WIDTH = 16  # narrow, so that two cores train each network in a minute and a half
# Flips only: these epochs are too few for the lab's strong augmentation.
AUGMENT = replace(NO_CHANGE, enabled=True, flip=0.5)


def run_demo(out: Path, *, seed: int = 0) -> str:
    """Run the demo into `out`. Returns a table of both models and two baselines, and the result paths, as text.

    Raises:
        UserError: `out` is not empty or cannot be written.
    """
    figures = make_empty_folder(out) / "figures"
    print(f"drawing {FIGURES} figures into {figures}", flush=True)
    draw_figures(figures, count=FIGURES, size=FIGURE_PIXELS, progress=show_progress)
    runs = [_train_and_score(name, size, figures, out, seed) for name, size in MODELS.items()]
    report = write_report(runs, out / "report")
    lines = [
        f"\n{'':20}{'test Dice, mean and 95 % interval':36}{'tone_gap 0':>12}{'the rest':>12}",
        *(_describe_run(run) for run in runs),
        *_describe_baselines(figures),
        "",
        describe_comparisons(compare_runs(runs), runs, "test"),
        "",
        f"the page: {report.page}",
        *(f"{path}" for path in (report.workbook, *report.charts)),
        *(f"{panels_path(run, 'test')}" for run in runs),
    ]
    return "\n".join(lines)


def _train_and_score(name: str, size: int, figures: Path, out: Path, seed: int) -> Run:
    config = TrainConfig(
        data=str(figures),
        out=str(out / name),
        model=name,
        width=WIDTH,
        size=size,
        epochs=EPOCHS,
        batch_size=16,
        learning_rate=3e-3,
        augment=AUGMENT,
        seed=seed,
    )
    print(flush=True)
    run = train(config)
    print(evaluate_run(run.folder).describe(), flush=True)
    return run


def _describe_run(run: Run) -> str:
    rows = run.scores("test")
    camouflaged = np.array([float(row.metadata["tone_gap"]) == 0 for row in rows])
    return _describe(run.config.model, np.array([row.dice for row in rows]), camouflaged)


def _describe_baselines(figures: Path) -> list[str]:
    test = open_samples(figures).of("test")
    camouflaged = np.array([float(sample.metadata["tone_gap"]) == 0 for sample in test.samples])
    photos = [sample.read_pixels() for sample in test.samples]
    targets = [test.read_levels(index) for index in range(len(photos))]  # figures have no band: levels are targets
    lines = []
    for name, predict in (("Otsu's threshold", predict_otsu), ("all foreground", predict_foreground)):
        scores = [dice(predict(pixels), target) for pixels, target in zip(photos, targets, strict=True)]
        lines.append(_describe(name, np.array(scores), camouflaged))
    return lines


def _describe(name: str, scores: NDArray[np.float64], camouflaged: NDArray[np.bool_]) -> str:
    return f"{name:20}{estimate_mean(scores)!s:36}{scores[camouflaged].mean():12.4f}{scores[~camouflaged].mean():12.4f}"
