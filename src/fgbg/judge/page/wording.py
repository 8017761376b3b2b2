"""How the page words numbers and rules: plain words, and a dash for unknown values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fgbg.judge.names import (
    UNKNOWN_MAKER,
    name_copies,
    name_data,
    name_epochs,
    name_exchange,
    name_given_masks,
    name_known_groups,
)
from fgbg.judge.objects import has_several_objects
from fgbg.rows import ScoreRow
from fgbg.words import plural

DASH = "–"

BORDERS = {
    "foreground": "where a mask has a band of doubt along the outline, it counts as object",
    "background": "where a mask has a band of doubt along the outline, it counts as background",
    "ignore": "where a mask has a band of doubt along the outline, it is not judged",
}
FITS = {
    "squash": "the network sees each photo stretched to a square",
    "pad": "the network sees each photo in its own shape, with black margins",
    "crop": "the network sees each photo at its own scale, in overlapping tiles",
}
VIEWS = {"flip": "each photo and its mirror image are averaged", "scale": "three sizes of each photo are averaged"}


class Fact(NamedTuple):
    """A number or a rule with its name and what it means."""

    name: str
    value: str
    meaning: str = ""
    link: str = ""  # to its photos


def word(value: float | None, digits: int = 4, unit: str = "") -> str:
    """A number with fixed digits, or a dash where there is none.

    >>> word(0.81234), word(2.5, 1, " px"), word(None), word(math.nan)
    ('0.8123', '2.5 px', '–', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}{unit}".replace("-", "−")


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.123), percent(None)
    ('12 %', '–')
    """
    return DASH if share is None or not math.isfinite(share) else f"{share:.{digits}%}".replace("%", " %")


def brief(value: float) -> str:
    """A number of any magnitude in about three digits, for the ranges of traits.

    >>> brief(0.01234), brief(1234.5), brief(0.0)
    ('0.0123', '1,234', '0.00')
    """
    if not math.isfinite(value):
        return DASH
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def known_scores(rows: Sequence[ScoreRow]) -> list[float]:
    """The Dice of each photo that has one, ascending."""
    return sorted(row.dice for row in rows if not math.isnan(row.dice))


def describe_meaning(statement: dict[str, Any], rows: Sequence[ScoreRow]) -> str:
    """The headline in one or two plain sentences."""
    scores = known_scores(rows)
    pairs, mean, low, high = (statement.get(key) for key in ("pairs", "mean_dice", "mean_dice_low", "mean_dice_high"))
    whose = "given" if statement.get("masks") else "model’s"
    sentence = (
        f"In {plural(int(pairs or 0), 'photo')} the {whose} object and the true one overlap to {word(mean, 2)} on average, "
        f"where 1 is perfect and 0 is no overlap at all"
    )
    if low is None or high is None:
        sentence += "; what the mean would be with other photos of the same kind cannot be told from so few."
    else:
        sentence += (
            f"; with other photos of the same kind the mean would likely lie between {word(low, 2)} and {word(high, 2)}."
        )
    if len(scores) >= 10:
        worst, half = np.quantile(scores, [0.1, 0.5])
        reached = math.floor(round(half * 100, 6)) / 100  # rounded so that what is said of it holds
        missed = math.ceil(round(worst * 100, 6)) / 100
        sentence += (
            f" At least half of the photos score {reached:.2f} or more, and at least one in ten {missed:.2f} or less."
        )
    return sentence


def list_measures(statement: dict[str, Any], rows: Sequence[ScoreRow]) -> list[Fact]:
    """The other scores, each with what it adds to the headline."""

    def fact(name: str, key: str, meaning: str, digits: int = 4, unit: str = "") -> Fact:
        low, high = statement.get("intervals", {}).get(key, (None, None))
        if low is None or high is None:
            return Fact(name, word(statement.get(key), digits, unit), meaning)
        return Fact(name, f"{word(statement.get(key), digits)} [{word(low, digits)}, {word(high, digits)}]{unit}", meaning)

    size = statement.get("size", DASH)
    at_size = fact(f"Dice at {size} px", "dice_at_size", "prediction and truth both at the training size, as the lab has it")
    within = "; of 95 % of photos {:.2f} to {:.2f}".format(*most) if (most := statement.get("area_ratio_range")) else ""
    area = fact("Predicted area over true", "area_ratio", f"geometric mean over photos that have both{within}")
    with_object = fact("Dice of photos with an object", "dice_with_object", "without those that show none")
    return [
        fact("Pooled Dice", "pooled_dice", "all pixels of all photos in one count: large objects weigh more"),
        # For patches and for masks made elsewhere, that is the photo's own size.
        *([] if statement.get("fit") == "crop" or statement.get("masks") else [at_size]),
        fact("IoU", "mean_iou", "shared area over joint area; stricter than Dice, in the same order"),
        fact("Boundary IoU", "mean_boundary_iou", f"the same, but only along the outlines{_say_covered(rows)}"),
        fact(
            "Surface distance",
            "mean_surface_distance",
            "how far the two outlines are apart on average, on photos that have both",
            2,
            " px",
        ),
        fact("HD95", "mean_hausdorff95", "95 % of the outlines’ points lie nearer than this (Hausdorff)", 2, " px"),
        fact("Precision", "mean_precision", "of what the model calls object, the share that is"),
        fact("Recall", "mean_recall", "of the object, the share that the model finds"),
        fact("Specificity", "mean_specificity", "of the background, the share that the model leaves alone"),
        *([area] if statement.get("area_ratio") else []),
        *([with_object] if statement.get("empty_truth_count") else []),
        *(_list_object_measures(statement, fact) if has_several_objects(statement) else ()),
    ]


def _say_covered(rows: Sequence[ScoreRow]) -> str:
    """On how many photos the boundary IoU is no score of outlines; empty if those are a third or fewer."""
    shown = [row for row in rows if row.TP + row.FN]
    covered = sum(row.boundary_iou == row.iou and 0 < row.iou < 1 for row in shown)  # at 0 and 1 they agree without it
    if 3 * covered <= len(shown):
        return ""
    return f"; on {covered:,} of {plural(len(shown), 'photo')} the band covers the whole object: there it is the IoU"


def _list_object_measures(statement: dict[str, Any], fact: Callable[[str, str, str], Fact]) -> list[Fact]:
    """How many objects were found, where photos show several."""
    true, predicted = (plural(statement[name], "part") for name in ("object_count", "predicted_count"))
    return [
        fact(
            "Objects found", "object_recall", f"of {true} of the truth, the share that a predicted one fits (IoU over 0.5)"
        ),
        fact("Objects that are true", "object_precision", f"of {predicted} predicted, the share that fits a true one"),
        fact("F1 of objects", "object_f1", "both in one; objects that touch count as one part"),
    ]


def list_spread(rows: Sequence[ScoreRow], linked: bool = True) -> list[Fact]:
    """What the histogram shows, as numbers; if `linked`, each count links to its photos in the gallery."""
    scores = np.round(known_scores(rows), 5)  # as in the gallery, since the counts link to its filters
    if not len(scores):
        return []
    low, half, high = np.quantile(scores, [0.25, 0.5, 0.75])

    def count(name: str, chosen: int, start: float, end: float, meaning: str) -> Fact:
        share = f"{chosen:,} ({percent(chosen / len(scores), 1)})"
        return Fact(name, share, meaning, f"#gallery&dice={start:.2f}-{end:.2f}" if chosen and linked else "")

    return [
        Fact("Median", word(half), "at least half of the photos score this or more, and at least half this or less"),
        Fact(
            "Middle half",
            f"{word(low, 3)} to {word(high, 3)}",
            "at least a quarter of the photos score the first or less, and at least a quarter the second or more",
        ),
        count("0.95 and more", int((scores >= 0.95).sum()), 0.95, 1, "photos whose outline leaves little to fix"),
        count("Below 0.5", int((scores < 0.5).sum()), 0, 0.5, "photos on which the model is more wrong than right"),
    ]


def list_rules(statement: dict[str, Any], stale: str = "") -> list[Fact]:
    """What the numbers rest on: change any of these and the numbers change. `stale`: see `Run.find_stale`."""
    get = statement.get
    groups, empty = get("groups") or 0, str(get("empty", "1"))
    over = f"{plural(groups, 'group')} of photos" if groups else "photos"
    rules = [
        Fact(
            "Photos",
            f"{get('pairs', 0):,} {name_data(statement)}",
            f"hash {get('fingerprint', DASH)}",
        ),
        Fact(
            "Scored", "each photo at its own size", f"then the mean; interval by 10,000 resamples of the {over} (bootstrap)"
        ),
        Fact("Border", str(get("border", DASH)), BORDERS.get(str(get("border")), "")),
        Fact("Empty photos", f"{get('both_empty_count', 0):,}", _describe_empties(statement, empty)),
        *_list_origin(statement),
    ]
    if get("overlap"):
        rules.insert(1, Fact("Not a clean test", str(get("overlap")), "allowed by --allow-overlap: the score is too good"))
    if copies := name_copies(statement):
        rules.insert(1, Fact("Not quite a clean test", copies, "a copy that was resized, mirrored or saved again"))
    if known := name_known_groups(statement):
        rules.insert(1, Fact("Not surely a clean test", known))
    if exchanged := name_exchange(statement):
        rules.insert(1, Fact("Perhaps inverted", exchanged))
    if stale:
        rules.insert(1, Fact("Not the model as it is now", stale))
    if get("tta", "none") != "none":
        rules.append(Fact("Views", str(get("tta")), VIEWS.get(str(get("tta")), "several views of each photo are averaged")))
    if get("folds"):
        means = ", ".join(f"fold {fold['fold']}: {word(fold['mean_dice'])}" for fold in get("folds", []))
        meaning = f"each photo is scored by the one model that did not see it; mean Dice of {means}"
        rules.append(Fact("Folds", f"{len(get('folds', []))} models", meaning))
    if get("members"):
        rules.append(Fact("Members", f"{len(get('members', []))} models", "averaged: " + ", ".join(get("members", []))))
    return rules


def _list_origin(statement: dict[str, Any]) -> list[Fact]:
    """What answered, and how its answers became masks."""
    get = statement.get
    if masks := get("masks"):
        return [Fact("Masks", str(masks["folder"]), f"{name_given_masks(statement)}; {UNKNOWN_MAKER}")]
    threshold = "of each fold" if get("folds") else f"{get('threshold', math.nan):g}"
    epochs = "one model for each fold" if get("folds") else f"weights of {name_epochs(statement) or DASH}"
    return [
        Fact("Threshold", threshold, str(get("threshold_reason") or "")),
        Fact("Fit", str(get("fit", DASH)), FITS.get(str(get("fit")), "")),
        Fact("Model", f"{get('network', DASH)}, width {get('width', DASH)}", f"{get('size', DASH)} px, {epochs}"),
    ]


def _describe_empties(statement: dict[str, Any], empty: str) -> str:
    """How photos without an object were scored."""
    counts = "are left out of the means" if empty == "nan" else f"count as {empty}"
    sentence = f"photos with no object, true or predicted; they {counts}"
    truths, rate = statement.get("empty_truth_count") or 0, statement.get("false_alarm_rate")
    if truths and rate is not None:
        sentence += f". Of {plural(truths, 'photo')} without an object, {percent(rate)} have a false alarm"
    return sentence


def describe_doubt(correlation: float | None) -> str:
    """Whether the model knows where it fails."""
    if correlation is None:
        return "Whether the model’s own doubt says where it fails is not known: it needs several photos of differing score."
    start = f"The model’s own doubt and its Dice correlate by {word(correlation, 2)} (Spearman): "
    if correlation <= -0.5:
        return start + "photos that it doubts are worth looking at first."
    if correlation <= -0.2:
        return start + "its doubt is a weak hint of where it fails."
    return start + "its doubt does not say where it fails."
