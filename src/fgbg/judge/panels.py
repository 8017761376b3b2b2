"""The best, the median and the worst photos of an evaluation, with prediction and truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgbg.data.samples import Sample, SampleSet
from fgbg.judge.evaluate import Evaluation
from fgbg.judge.pictures import Panel, draw_panels
from fgbg.judge.ranking import pick_extremes
from fgbg.judge.score import Scorer
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import Border

PANELS = 3  # photos of each kind

Predict = Callable[[Sample, ScoreRow], NDArray[np.bool_]]
"""The prediction (height, width) that a row's photo was scored with."""


def panels_path(run: Run, label: str) -> Path:
    """Path of the picture of a scored set's best, median and worst photos (`test`, …)."""
    return run.charts / f"panels_{label}.png"


def predict_with(scorer: Scorer, sample: Sample, row: ScoreRow) -> NDArray[np.bool_]:
    """What a model predicts of a row's photo, at its own size."""
    return np.asarray(scorer.probability(sample.read_pixels(), row.height, row.width) > scorer.threshold)


def draw_best_and_worst(run: Run, label: str, predict: Predict, samples: SampleSet, evaluation: Evaluation) -> None:
    """Draw these photos as `panels_LABEL.png` among the run's charts; they are predicted again, at their own size."""
    rule: Border = evaluation.statement["border"]
    draw_panels(_make_panels(predict, samples, evaluation.rows, rule), panels_path(run, label))


def _make_panels(predict: Predict, samples: SampleSet, rows: list[ScoreRow], border: Border) -> Iterator[Panel]:
    """The worst, the median and the best photos with prediction and truth, one at a time since they may be large."""
    kinds: dict[str, tuple[str, ScoreRow]] = {}
    for kind, picked in pick_extremes(rows, PANELS).items():
        for row in picked:
            kinds.setdefault(row.id, (kind, row))  # in a tiny set one photo may be both worst and best
    places = {sample.id: index for index, sample in enumerate(samples.samples)}
    for sample_id, (kind, row) in kinds.items():
        index = places[sample_id]
        sample = samples.samples[index]
        target = samples.read_target(index, border)
        title = f"{kind} · {sample_id} · Dice {row.dice:.4f}"
        yield Panel(title, sample.read_full_pixels(), predict(sample, row), target)
