"""What other libraries would report for the same predictions, reproduced from the rows of a scored split.

A name is `library.function(arguments)`. Each value is checked against a call of that function
(segmentation_models_pytorch 0.6, torchmetrics 1.9, MONAI 1.6, scikit-learn 1.9, surface_distance 0.1); nnU-Net's, against a
transcription of its rule. Rows hold counts of judged pixels only, so every convention here is over those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgbg.errors import UserError
from fgbg.judge.metrics import Counts, dice_of, iou_of
from fgbg.rows import ScoreRow

Rows = Sequence[ScoreRow]
LAB_EPSILON = 1e-6


class Rule(NamedTuple):
    """How a library reduces all photos to one number."""

    measure: Callable[[Rows], float]
    remark: str
    unit: str = ""


class Convention(NamedTuple):
    """What a library would report; NaN where it would have no number."""

    name: str  # library.function(arguments)
    value: float
    unit: str
    remark: str


def reproduce_conventions(rows: Rows) -> list[Convention]:
    """The value of every convention, in the order of CONVENTIONS.

    Raises:
        UserError: There are no rows.
    """
    if not rows:
        raise UserError("0 photos were scored: the conventions of other libraries need at least one")
    return [Convention(name, rule.measure(rows), rule.unit, rule.remark) for name, rule in CONVENTIONS.items()]


def describe_conventions(rows: Rows) -> str:
    """The numbers as lines to print, each with its rule below.

    Raises:
        UserError: There are no rows.
    """
    conventions = reproduce_conventions(rows)
    counts = _count(rows)
    true, predicted = counts.TP + counts.FN > 0, counts.TP + counts.FP > 0
    both_empty, one_empty = int((~true & ~predicted).sum()), int((true != predicted).sum())
    lines = [
        f"the same predictions, as each library would report them ({len(rows):,} photos; truth and prediction are both "
        f"empty in {both_empty:,}, one of them in {one_empty:,})"
    ]
    for name, value, unit, remark in conventions:
        number = "none" if math.isnan(value) else f"{value:.4f}"
        lines += [f"  {f'{number} {unit}':10s}  {name}", f"{'':14s}{remark}"]
    return "\n".join(lines)


def _count(rows: Rows) -> Counts:
    return Counts(*(np.array([getattr(row, name) for row in rows], np.int64) for name in Counts._fields))


def _average(score_of: Callable[..., Any], empty: float, rows: Rows) -> float:
    """Mean over photos; `empty` where truth and prediction are both empty, NaN to leave such photos out."""
    return float(_mean_known(score_of(_count(rows), empty=empty)))


def _pool(score_of: Callable[..., Any], empty: float, rows: Rows) -> float:
    """One score of all pixels together."""
    return float(score_of(Counts(*(int(values.sum()) for values in _count(rows))), empty=empty))


def _average_with_ground(rows: Rows) -> float:
    """Mean over photos of the mean of the object's Dice and the ground's; what both masks lack is left out."""
    counts = _count(rows)
    scores = np.stack([dice_of(part, empty=math.nan) for part in (counts, _swap(counts))])
    return float(_mean_known(_mean_known(scores)))


def _average_where_true(parts: Callable[[Counts], Sequence[Counts]], rows: Rows) -> float:
    """Mean over photos of the mean over `parts`; a part that the truth lacks is left out. 0 if nothing is left."""
    scores = [np.where(part.TP + part.FN == 0, math.nan, dice_of(part)) for part in parts(_count(rows))]
    mean = float(_mean_known(_mean_known(np.stack(scores))))
    return 0.0 if math.isnan(mean) else mean


def _average_lab(rows: Rows) -> float:
    counts = _count(rows)
    return float(np.mean(2 * counts.TP / (2 * counts.TP + counts.FP + counts.FN + LAB_EPSILON)))


def _average_contours(rows: Rows) -> float:
    """Mean over photos of the mean of both directions, where both are finite."""
    both = np.array([(row.contour_distance_from_truth, row.contour_distance_from_prediction) for row in rows]).mean(1)
    return float(_mean_known(np.where(np.isfinite(both), both, math.nan)))


def _swap(counts: Counts) -> Counts:
    """The counts with ground as the object."""
    return Counts(TP=counts.TN, FP=counts.FN, FN=counts.FP, TN=counts.TP)


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the first axis of what is not NaN; NaN where nothing is left. (NumPy's would warn.)"""
    known = (~np.isnan(values)).sum(0)
    return np.where(known, np.nansum(values, 0) / np.maximum(known, 1), math.nan)


_POOLED = "all pixels of all photos pooled, so that large objects weigh more"

CONVENTIONS: dict[str, Rule] = {
    "fgbg.dice": Rule(partial(_average, dice_of, 1.0), "mean over photos; both empty scores 1"),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise")': Rule(
        partial(_average, dice_of, 1.0), "mean over photos; both empty scores 1"
    ),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise", zero_division=0)': Rule(
        partial(_average, dice_of, 0.0), "mean over photos; both empty scores 0"
    ),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro")': Rule(partial(_pool, dice_of, math.nan), _POOLED),
    "monai.metrics.DiceMetric(include_background=False, ignore_empty=False)": Rule(
        partial(_average, dice_of, 1.0), "mean over photos; both empty scores 1"
    ),
    "monai.metrics.DiceMetric(include_background=False)": Rule(
        partial(_average_where_true, lambda counts: [counts]),
        "mean over photos with an object; photos without one are left out, also where something was predicted",
    ),
    "monai.metrics.DiceMetric()": Rule(
        partial(_average_where_true, lambda counts: [counts, _swap(counts)]),
        "on two channels: mean of object and ground, then over photos; what the truth lacks is left out",
    ),
    'torchmetrics.segmentation.DiceScore(num_classes=2, include_background=False, input_format="index")': Rule(
        partial(_average, dice_of, math.nan), "mean over photos; photos where both are empty are left out"
    ),
    'torchmetrics.segmentation.DiceScore(num_classes=2, input_format="index")': Rule(
        _average_with_ground, "mean of object and ground, then over photos; what truth and prediction both lack is left out"
    ),
    "torchmetrics.segmentation.DiceScore(num_classes=2, include_background=False, "
    'aggregation_level="global", input_format="index")': Rule(partial(_pool, dice_of, math.nan), _POOLED),
    "torchmetrics.classification.BinaryF1Score()": Rule(partial(_pool, dice_of, 0.0), _POOLED),
    "sklearn.metrics.f1_score(y_true, y_pred)": Rule(partial(_pool, dice_of, 0.0), _POOLED),
    "nnunetv2.evaluation.evaluate_predictions.compute_metrics_on_folder(…)": Rule(
        partial(_average, dice_of, math.nan), "mean over photos; photos where both are empty are left out"
    ),
    "lab: 2I/(P+G+1e-6)": Rule(
        _average_lab, "its formula, of photos at their own size: mean over photos; both empty scores 0"
    ),
    "fgbg.iou": Rule(partial(_average, iou_of, 1.0), "IoU, not Dice: mean over photos; both empty scores 1"),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro-imagewise")': Rule(
        partial(_average, iou_of, 1.0), "IoU: mean over photos; both empty scores 1"
    ),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro-imagewise", zero_division=0)': Rule(
        partial(_average, iou_of, 0.0), "IoU: mean over photos; both empty scores 0"
    ),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro")': Rule(
        partial(_pool, iou_of, math.nan), f"IoU: {_POOLED}"
    ),
    "surface_distance.compute_average_surface_distance(compute_surface_distances(truth, prediction, (1, 1)))": Rule(
        _average_contours,
        "mean of both directions, in the photo's pixels, then over photos; photos where either is empty are left out",
        "px",
    ),
}
"""Library and call -> how it reduces the rows to one number. "Empty" means without any object pixel."""
