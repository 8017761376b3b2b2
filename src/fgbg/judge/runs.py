"""Evaluate a run folder: find its model and its data, score, and draw the best, the median and the worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgbg.data.masks import apply_border
from fgbg.data.parallel import show_progress
from fgbg.data.samples import SampleSet
from fgbg.data.sources import open_samples
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import Evaluation, evaluate
from fgbg.judge.pictures import Panel, draw_panels
from fgbg.models.checkpoint import load_model
from fgbg.models.predictor import Predictor
from fgbg.run import Run, ScoreRow, open_run
from fgbg.words import Border

PANELS = 3  # photos of each kind


def evaluate_run(
    folder: Path,
    data: str = "",
    *,
    split: str = "test",
    border: Border | None = None,
    empty: float = 1.0,
    device: str = "auto",
    threads: int = 0,
) -> Evaluation:
    """Score a run's best model; rows, predictions, thumbnails and panels are kept in the run folder.

    Args:
        folder: The run.
        data: Other data than the run's own.
        split: Which photos: `test` or `validation`.
        border: What the band counts as; the model's own rule by default.
        empty: The score where truth and prediction are both empty.
        device: Where to compute.
        threads: CPU threads; 0 shares the cores.

    Raises:
        UserError: The run, its model or the data cannot be used, or a photo trained the model.
    """
    run = open_run(folder)
    if not run.best.exists():
        raise UserError(f"{folder} has no best.safetensors yet: let fgbg train finish an epoch")
    engine = Engine(device, "fp32", threads)
    predictor, header = load_model(run.best)
    predictor.to(engine.device)
    config = run.config
    if not data and not config.data:
        raise UserError(
            f"{folder} was trained on samples given to the Python API: name the DATA to score, or call fgbg.evaluate"
        )
    sample_set = open_samples(
        data or config.data,
        split=config.split if not data else "official",
        split_seed=config.split_seed,
        object_values=config.object_values if not data else (),
        progress=show_progress,
    )
    samples = sample_set.of(split)
    # Scores on other data stand beside the run's own, never in their place.
    label = split if not data or sample_set.fingerprint == run.fingerprint else f"{sample_set.name}_{split}"
    evaluation = evaluate(
        predictor,
        header,
        samples,
        engine=engine,
        split=split,
        label=label,
        border=border,
        empty=empty,
        run=run,
        progress=show_progress,
    )
    if engine.is_main:
        rule: Border = evaluation.statement["border"]
        draw_panels(_make_panels(predictor, samples, evaluation.rows, rule), panels_path(run, label))
    return evaluation


def panels_path(run: Run, label: str) -> Path:
    """The picture of best, median and worst photos of a scored set (`test`, …)."""
    return run.charts / f"panels_{label}.png"


def _make_panels(predictor: Predictor, samples: SampleSet, rows: list[ScoreRow], border: Border) -> list[Panel]:
    """The worst, the median and the best photos with prediction and truth."""
    ranked = sorted((row for row in rows if not np.isnan(row.dice)), key=lambda row: (row.dice, row.id))
    kinds: dict[str, tuple[str, ScoreRow]] = {}
    middle = max(0, len(ranked) // 2 - PANELS // 2)
    for kind, picked in (
        ("worst", ranked[:PANELS]),
        ("median", ranked[middle : middle + PANELS]),
        ("best", ranked[: -PANELS - 1 : -1]),
    ):
        for row in picked:
            kinds.setdefault(row.id, (kind, row))  # a tiny set may have one photo as worst and best
    places = {sample.id: index for index, sample in enumerate(samples.samples)}
    panels = []
    for sample_id, (kind, row) in kinds.items():
        index = places[sample_id]
        sample = samples.samples[index]
        probability = predictor.probability(sample.read_pixels(), row.height, row.width)
        target = apply_border(samples.read_levels(index), border)
        title = f"{kind} · {sample_id} · Dice {row.dice:.4f}"
        panels.append(Panel(title, sample.read_full_pixels(), probability > predictor.threshold, target))
    return panels
