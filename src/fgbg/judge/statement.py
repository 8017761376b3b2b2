"""The statement of a scored set: its numbers, and every rule that is needed to interpret them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbg.data.samples import SampleSet
from fgbg.errors import UserError
from fgbg.judge.bootstrap import (
    MEAN_DICE,
    Estimate,
    estimate_mean,
    estimate_means,
    estimate_ratio,
    find_groups,
    read_mean_dice,
)
from fgbg.judge.metrics import Counts, dice_of, precision_of, recall_of, specificity_of
from fgbg.judge.names import UNKNOWN_MAKER, name_data, name_doubts, name_epochs, name_given_masks
from fgbg.judge.objects import OBJECT_SCORES, ObjectCounts, has_several_objects
from fgbg.judge.score import Scorer
from fgbg.model_file import ModelHeader
from fgbg.rows import ScoreRow
from fgbg.words import Border, plural

MOST, FEWEST_FOR_MOST = (0.025, 0.975), 40  # the range of 95 % of photos, from as many on as have one beyond each end
MANY_EMPTY = 0.1  # share of photos without an object from which on they may make up much of the headline


def tell_model(predictor: Scorer, header: ModelHeader) -> dict[str, Any]:
    """The entries of a statement that say which model answered."""
    return {
        "threshold": predictor.threshold,
        "threshold_reason": header.threshold_reason,
        "size": predictor.size,
        "fit": predictor.fit,
        "network": header.network,
        "width": header.width,
        "epoch": header.epoch,
    }


def make_statement(rows: list[ScoreRow], samples: SampleSet, *, split: str, border: Border, empty: float) -> dict[str, Any]:
    """The numbers, and everything that is needed to interpret them, but for what answered."""
    return {
        "data": samples.name,
        "fingerprint": samples.fingerprint,
        "object_values": list(samples.encoding.told_values),
        "split": split,
        "split_rule": "",
        "has_band": samples.encoding.has_band,
        "border": border,
        "score_space": "photo",
        "tta": "none",
        "members": [],
        **summarise(rows, empty),
    }


def summarise(rows: list[ScoreRow], empty: float) -> dict[str, Any]:
    """The entries of a statement that follow from its rows alone.

    Raises:
        UserError: No photo has a score.
    """
    pairs, rows = len(rows), [row for row in rows if row.is_judged]
    both_empty = sum(row.TP + row.FP + row.FN == 0 for row in rows)
    scored = [row for row in rows if not math.isnan(row.dice)]
    if not rows:
        raise UserError("no pixel of any photo is judged: all of their masks is band; choose another --border")
    if not scored:
        raise UserError("every truth and every prediction is empty: with --empty nan there is nothing to average")
    groups = find_groups(scored)
    estimate = estimate_mean(np.array([row.dice for row in scored]), groups=groups)
    # Without one of the outlines there is no distance: what stands in for it in a row would swamp the mean.
    outlined = [row for row in rows if row.TP + row.FN and row.TP + row.FP]
    area_ratios = np.log([(row.TP + row.FP) / (row.TP + row.FN) for row in outlined])  # twice and half average to equal
    counts = Counts(*(np.array([getattr(row, name) for row in rows]) for name in Counts._fields))
    pooled = Counts(*(int(values.sum()) for values in counts))
    without_object = counts.TP + counts.FN == 0
    with_object = [row for row in rows if row.TP + row.FN]
    measures = {
        "dice_with_object": (with_object, [row.dice for row in with_object]),
        "dice_at_size": (rows, [row.dice_at_size for row in rows]),
        "mean_iou": (rows, [row.iou for row in rows]),
        "mean_precision": (rows, precision_of(counts, empty=empty)),
        "mean_recall": (rows, recall_of(counts, empty=empty)),
        "mean_specificity": (rows, specificity_of(counts)),
        "mean_boundary_iou": (rows, [row.boundary_iou for row in rows]),
        "mean_surface_distance": (outlined, [row.surface_distance for row in outlined]),
        "mean_hausdorff95": (outlined, [row.hausdorff95 for row in outlined]),
        "area_ratio": (outlined, area_ratios),
    }
    estimates = _estimate({name: (of, np.asarray(values, np.float64)) for name, (of, values) in measures.items()})
    if area := estimates.get("area_ratio"):
        estimates["area_ratio"] = Estimate(*(math.exp(end) if math.isfinite(end) else end for end in area))
    objects, object_estimates = _count_all_objects(rows)
    estimates |= object_estimates
    return {
        "pairs": pairs,
        "unjudged_count": pairs - len(rows),
        "groups": len(set(groups)) if groups else 0,
        "empty": f"{empty:g}",
        "both_empty_count": both_empty,
        "one_empty_count": int((without_object != (counts.TP + counts.FP == 0)).sum()),
        "empty_truth_count": int(without_object.sum()),
        "false_alarm_rate": float((counts.FP > 0)[without_object].mean()) if without_object.any() else None,
        **dict(zip(MEAN_DICE, estimate.to_json().values(), strict=True)),
        "pooled_dice": dice_of(pooled, empty=empty),
        "pooled_dice_exchanged": dice_of(Counts(pooled.FN, pooled.TN, pooled.TP, pooled.FP), empty=empty),
        **{name: estimates[name].mean if name in estimates else None for name in (*measures, *OBJECT_SCORES)},
        **objects,
        "intervals": {name: [*each.to_json().values()][1:] for name, each in estimates.items()},
        "outlines_count": len(outlined),
        "area_ratio_range": np.exp(np.quantile(area_ratios, MOST)).tolist() if len(outlined) >= FEWEST_FOR_MOST else None,
        "uncertainty_correlation": _correlate([(row.uncertainty, row.dice) for row in scored]),
    }


def _estimate(measures: Mapping[str, tuple[Sequence[ScoreRow], NDArray[np.float64]]]) -> dict[str, Estimate]:
    """The mean over rows of each measure's scores that are not NaN, with its interval; a measure without any is left out."""
    known = {name: np.flatnonzero(~np.isnan(scores)).tolist() for name, (_, scores) in measures.items()}
    scores = {name: measures[name][1][places] for name, places in known.items() if places}
    groups = {name: find_groups(measures[name][0][place] for place in known[name]) for name in scores}
    alone = [name for name in scores if groups[name] is None]
    together = dict(zip(alone, estimate_means([scores[name] for name in alone]), strict=True))  # which is faster
    return {name: together.get(name) or estimate_mean(scores[name], groups=groups[name]) for name in scores}


def _count_all_objects(rows: Sequence[ScoreRow]) -> tuple[dict[str, int], dict[str, Estimate]]:
    """The objects of all photos together, and their scores: small photos and large ones count by their objects.

    Nothing where rows of an earlier version do not tell of objects; a score that would divide by 0 is left out.
    """
    counts = np.array([[getattr(row, name) for name in ObjectCounts._fields] for row in rows])
    if np.isnan(counts).any():
        return {}, {}
    true, found, predicted = counts.T
    ratios = zip(OBJECT_SCORES, ((found, true), (found, predicted), (2 * found, true + predicted)), strict=True)
    groups = find_groups(rows)
    estimates = {name: estimate_ratio(*ratio, groups=groups) for name, ratio in ratios if ratio[1].any()}
    return dict(zip(ObjectCounts._fields, map(int, counts.sum(0)), strict=True)), estimates


def _correlate(pairs: list[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation of those that are known; None if either of the two is constant."""
    pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
    if len({first for first, _ in pairs}) < 2 or len({second for _, second in pairs}) < 2:
        return None
    from scipy.stats import spearmanr  # takes a second to import; reading scores does not need it

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _word(told: Mapping[str, Any], name: str, digits: int = 4) -> str:
    """A mean and its interval; older statements have none."""
    low, high = told.get("intervals", {}).get(name, (None, None))
    mean = "–" if told[name] is None else f"{told[name]:.{digits}f}"
    return mean if low is None or high is None else f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"


def _describe_size(told: dict[str, Any]) -> list[str]:
    """The mean at the training size; nothing for a model of patches or given masks, which have only the photos' own size."""
    if told["fit"] == "crop" or told.get("masks"):
        return []
    mean = f"        mean @{told['size']}px".ljust(27) + _word(told, "dice_at_size")
    return [f"{mean}  both at the training size, as the lab has it"]


def _describe_folds(folds: list[dict[str, Any]]) -> list[str]:
    """The mean of each fold, and how far they lie apart; nothing where it is no cross-validation."""
    if not folds:
        return []
    means = [fold["mean_dice"] for fold in folds]
    line = "        fold by fold       " + ", ".join(f"{mean:.4f}" for mean in means)
    return [f"{line}  standard deviation {np.std(means, ddof=1):.4f}"]


def _describe_mean(told: dict[str, Any]) -> str:
    """Mean Dice and its interval, or why there is none."""
    photos = told["pairs"] - told.get("unjudged_count", 0)
    over, units = ("groups of photos", told["groups"]) if told["groups"] else ("photos", photos)
    if told["mean_dice_low"] is None:
        cure = "" if told.get("folds") else " (fgbg train --folds 5 tests every photo)"
        return f"{told['mean_dice']:.4f}, without an interval: {units} {over} are too few{cure}"
    return f"{read_mean_dice(told)}  95 % bootstrap over {f'{units} {over}' if told['groups'] else over}"


def _describe_empty_photos(told: dict[str, Any]) -> list[str]:
    """Where many photos show no object: the mean over the others, and what finding nothing at all would score."""
    share = told["empty_truth_count"] / (told["pairs"] - told.get("unjudged_count", 0))
    if share < MANY_EMPTY or told.get("dice_with_object") is None:
        return []
    nothing = f"; finding nothing anywhere would score {share:.4f} above" if told["empty"] == "1" else ""
    return [f"        photos with object {_word(told, 'dice_with_object')}  the other {share:.0%} show none{nothing}"]


def _describe_area(told: dict[str, Any]) -> list[str]:
    """Whether what is found is too large or too small; older statements do not tell."""
    if told.get("area_ratio") is None:
        return []
    most = told["area_ratio_range"]
    within = f"; {most[0]:.2f} to {most[1]:.2f} for 95 % of photos" if most else ""
    return [f"  area, predicted over true {_word(told, 'area_ratio')} (geometric mean){within}"]


def _describe_objects(told: dict[str, Any]) -> list[str]:
    """How many objects were found; nothing where photos show one object each."""
    if not has_several_objects(told):
        return []
    recall, precision, f1 = (_word(told, name) for name in OBJECT_SCORES)
    true, predicted = (f"{told[name]:,}" for name in ("object_count", "predicted_count"))
    return [
        f"  objects {recall} of {true} found · {precision} of {predicted} predicted are true",
        f"        F1 {f1}; an object is a part that touches no other, found by one with an IoU over 0.5",
    ]


def _describe_model(told: dict[str, Any]) -> str:
    """What answered, and how its answers became masks."""
    threshold = "of each fold" if told.get("folds") else f"{told['threshold']:g}"
    views = "" if told["tta"] == "none" else f" · test-time augmentation: {told['tta']}"
    model = f"{told['network']} (width {told['width']}, {name_epochs(told)})"
    return f"threshold {threshold} · fit {told['fit']} · {model}{views}"


def describe_statement(told: dict[str, Any]) -> str:
    """The scores and every rule behind them, as lines to print."""
    folds = told.get("folds", [])
    tested = f", each in one of {len(folds)} folds" if folds else ""
    unjudged = told.get("unjudged_count")
    precision, recall, specificity = (_word(told, f"mean_{name}") for name in ("precision", "recall", "specificity"))
    apart, within = (_word(told, f"mean_{name}", 2) for name in ("surface_distance", "hausdorff95"))
    both = told.get("outlines_count", told["pairs"])
    of_how_many = "" if both == told["pairs"] else f"; mean over the {both:,} photos with both outlines"
    lines = [
        f"{name_data(told)}: {told['pairs']:,} pairs{tested} · hash {told['fingerprint']}",
        f"border = {told['border']} · {name_given_masks(told) or _describe_model(told)}",
        *([f"  {plural(unjudged, 'photo')} left out: no pixel is judged"] if unjudged else []),
        *([f"  NOT A CLEAN TEST: {told['overlap']}"] if told.get("overlap") else []),
        *(f"  note: {doubt}" for doubt in name_doubts(told)),
        f"  Dice  mean over photos   {_describe_mean(told)}, at their own size",
        *_describe_empty_photos(told),
        f"        all pixels pooled  {told['pooled_dice']:.4f}",
        *_describe_size(told),
        *_describe_folds(folds),
        f"  IoU   mean over photos   {_word(told, 'mean_iou')}",
        f"        boundary IoU       {_word(told, 'mean_boundary_iou')}",
        f"  precision {precision} · recall {recall} · specificity {specificity}",
        f"  outlines {apart} px apart, HD95 {within} px{of_how_many}",
        *_describe_area(told),
        *_describe_objects(told),
        f"  {told['both_empty_count']} photos without object and prediction count as {told['empty']}",
    ]
    judged = "judged " if told["border"] == "ignore" else ""  # the object of a photo may be all band
    if told["false_alarm_rate"] is not None:
        lines.append(
            f"  false alarms on {told['false_alarm_rate']:.1%} of {told['empty_truth_count']} photos without {judged}object"
        )
    lines.append(f"  {UNKNOWN_MAKER}" if told.get("masks") else f"  threshold: {told['threshold_reason']}")
    if told["uncertainty_correlation"] is not None:
        correlation = f"{told['uncertainty_correlation']:+.2f}"
        lines.append(
            f"  its own doubt and its Dice correlate by {correlation} (Spearman; at -1 doubt ranks failures perfectly)"
        )
    return "\n".join(lines)
