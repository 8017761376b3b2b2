"""Run folders as a training and an evaluation would have left them, without either: drawn figures, masks gone wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.special import expit
from scipy.stats import spearmanr

from fgbg.config import TrainConfig
from fgbg.data.figures import Figure, draw_figure
from fgbg.judge.bootstrap import MEAN_DICE, estimate_mean
from fgbg.judge.calibration import Histograms, count_probabilities, describe_calibration
from fgbg.judge.distances import measure_outlines
from fgbg.judge.doubt import expect_dice
from fgbg.judge.failures import name_failure
from fgbg.judge.metrics import Counts, count_pixels, dice_of, iou_of, precision_of, recall_of, specificity_of
from fgbg.judge.objects import count_parts
from fgbg.judge.outcomes import make_outcome, save_outcome
from fgbg.judge.suspicion import SUSPICION_CUTOFF, suspect_label
from fgbg.judge.traits import measure_traits
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.run import Run, create_run

THRESHOLD = 0.5


def write_fake_run(
    folder: Path,
    *,
    count: int = 12,
    size: int = 48,
    seed: int = 0,
    blunder: float = 1.0,
    epochs: int = 8,
    split: str = "test",
    calibrated: bool = True,
    names: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """A run that scored `count` drawn figures; equal counts and sizes are equal photos, whatever the seed.

    Args:
        folder: The run; must be new or empty.
        count: Photos; 0 leaves the run unscored.
        size: Their edge in pixels.
        seed: Other seeds, other mistakes.
        blunder: How grave the mistakes are.
        epochs: In the record.
        split: What was scored.
        calibrated: Whether probabilities were measured too.
        names: Ids of the first photos, in place of figure_00000, ….
        settings: Of the configuration.
    """
    run = create_run(folder)
    run.write_config(TrainConfig(data="figures", out=str(folder), **settings))
    run.write_environment({"seed": seed, "device": "cpu", "processor": "a CPU", "threads": 1, "processes": 1})
    for epoch in range(1, epochs + 1):
        run.append_epoch(_imagine_epoch(epoch, epochs, seed, blunder))
    if not count:
        return run
    for path in (run.thumbnails(split), run.outcomes(split)):
        path.mkdir()
    rows, histograms = [], []
    for index in range(count):
        sample_id = names[index] if index < len(names) else f"figure_{index:05}"
        figure = draw_figure(index, size=size)
        probability = _imagine_probability(figure, np.random.default_rng([seed, index]), blunder)
        rows.append(_score(sample_id, figure, probability))
        _keep_pictures(run, split, sample_id, figure, probability)
        target = torch.tensor(figure.mask.astype(np.uint8))
        histograms.append(count_probabilities(torch.tensor(probability), target))
    run.write_scores(split, rows, make_fake_statement(rows, split, size))
    if calibrated:
        together = Histograms(
            np.stack([by_threshold.numpy() for by_threshold, _ in histograms]),
            np.sum([by_logit.numpy() for _, by_logit in histograms], axis=0),
        )
        run.write_calibration(describe_calibration(together, "dice", count, "validation"))
    return run


def _imagine_epoch(epoch: int, epochs: int, seed: int, blunder: float) -> EpochRecord:
    random = np.random.default_rng([seed, epoch])
    learnt = 1 - math.exp(-4 * epoch / epochs)
    wobble = random.normal(0, 0.015, 4)
    dice = 0.5 + (0.42 - 0.06 * blunder) * learnt
    return EpochRecord(
        epoch=epoch,
        train_loss=float(1.3 - 1.1 * learnt + wobble[0]),
        train_dice=float(dice - 0.02 + wobble[1]),
        val_loss=float(1.3 - 0.9 * learnt + 0.15 * (epoch / epochs) ** 3 + 2 * wobble[2]),
        val_dice=float(dice + wobble[3]),
        val_dice_photo=float(dice + wobble[3]),
        learning_rate=1e-3,
        images_per_second=150.0,
        seconds=4.0,
        best=epoch == max(1, round(0.8 * epochs)),
    )


def _imagine_probability(figure: Figure, random: np.random.Generator, blunder: float) -> NDArray[np.float32]:
    """A smooth probability whose outline wavers, more so where tones are alike, at times with a hole or a stray piece."""
    size = len(figure.mask)
    inside = distance_transform_edt(figure.mask) - distance_transform_edt(~figure.mask)
    noise = gaussian_filter(random.normal(size=(size, size)), size / 14)
    difficulty = blunder * (0.35 + 1.1 * (1 - figure.tone_gap) ** 2 + 0.5 * figure.irregularity)
    distance = inside + difficulty * size / 14 * noise / noise.std() * random.gamma(2, 0.5)
    rows, columns = np.mgrid[:size, :size]
    for sign, rate in ((-1, 0.16), (1, 0.12)):  # a hole, a stray piece
        if random.random() < rate * blunder:
            row, column = random.uniform(0.2, 0.8, 2) * size
            lump = random.uniform(0.08, 0.24) * size - np.hypot(rows - row, columns - column)
            distance = np.maximum(distance, lump) if sign > 0 else np.minimum(distance, -lump)
    return expit(distance / (0.03 * size * (0.6 + difficulty))).astype(np.float32)


def _score(sample_id: str, figure: Figure, probability: NDArray[np.float32]) -> ScoreRow:
    prediction, target = probability > THRESHOLD, figure.mask.astype(np.uint8)
    counts = count_pixels(prediction, target)
    dice = dice_of(counts)
    suspicion = suspect_label(probability, prediction, target)
    objects = count_parts(prediction, target)
    return ScoreRow(
        id=sample_id,
        height=len(target),
        width=len(target),
        **counts._asdict(),
        dice=dice,
        iou=iou_of(counts),
        dice_at_size=dice,
        **measure_outlines(prediction, target)._asdict(),
        uncertainty=1 - expect_dice(probability, prediction),
        label_suspicion=suspicion,
        failure="label suspected" if suspicion >= SUSPICION_CUTOFF else name_failure(prediction, target, dice),
        **measure_traits(figure.pixels, target)._asdict(),
        object_count=float(objects.object_count),
        found_count=float(objects.found_count),
        predicted_count=float(objects.predicted_count),
        metadata={"tone_gap": f"{figure.tone_gap:.4f}", "irregularity": f"{figure.irregularity:.4f}"},
    )


def _keep_pictures(run: Run, split: str, sample_id: str, figure: Figure, probability: NDArray[np.float32]) -> None:
    picture = Image.fromarray(figure.pixels)
    picture.save(run.thumbnails(split) / f"{sample_id}.webp", quality=80)
    outcome = make_outcome(probability > THRESHOLD, figure.mask.astype(np.uint8), picture.size)
    save_outcome(outcome, run.outcomes(split) / f"{sample_id}.png")


def make_fake_statement(rows: Sequence[ScoreRow], split: str, size: int) -> dict[str, Any]:
    """What `judge.statement` would say of the rows."""
    counts = Counts(*(np.array([getattr(row, name) for row in rows]) for name in Counts._fields))
    pooled = Counts(*(int(values.sum()) for values in counts))
    estimate = estimate_mean(np.array([row.dice for row in rows]))
    correlation = (
        spearmanr([row.uncertainty for row in rows], [row.dice for row in rows]).statistic if len(rows) > 2 else None
    )
    means = {
        name: float(np.nanmean([getattr(row, name) for row in rows]))
        for name in ("iou", "boundary_iou", "surface_distance", "hausdorff95")
    }
    return {
        "data": "figures",
        "fingerprint": "0123456789abcdef",
        "split": split,
        "pairs": len(rows),
        "groups": 0,
        "border": "foreground",
        "threshold": THRESHOLD,
        "threshold_reason": "0.5 by default",
        "empty": "1",
        "both_empty_count": 0,
        "one_empty_count": 0,
        "empty_truth_count": 0,
        "false_alarm_rate": None,
        "size": size,
        "fit": "squash",
        "network": "unet",
        "width": 64,
        "epoch": 6,
        "score_space": "photo",
        "tta": "none",
        "members": [],
        **dict(zip(MEAN_DICE, estimate.to_json().values(), strict=True)),
        "pooled_dice": dice_of(pooled),
        "dice_at_size": float(np.mean([row.dice_at_size for row in rows])),
        "mean_precision": float(np.nanmean(precision_of(counts))),
        "mean_recall": float(np.nanmean(recall_of(counts))),
        "mean_specificity": float(np.nanmean(specificity_of(counts))),
        "uncertainty_correlation": None if correlation is None else float(correlation),
        **{f"mean_{name}": value for name, value in means.items()},
    }


def rescore(run: Run, change: dict[str, Any], split: str = "test") -> None:
    """Change fields of every row and keep the statement."""
    run.write_scores(split, [replace(row, **change) for row in run.scores(split)], run.statement(split))
