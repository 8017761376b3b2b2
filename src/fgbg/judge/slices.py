"""Mean Dice by kind of photo: small objects, camouflage, ragged outlines, dark photos, the user's own columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fgbg.judge.bootstrap import Estimate, estimate_mean, estimate_means, find_groups
from fgbg.rows import ScoreRow

THIRDS = ("low", "middle", "high")
MOST_VALUES = 12  # in a user's column: text with more values names single photos, unless they repeat (`_repeats`)
FEWEST_IMAGES = 5  # or groups of them: a mean over fewer says nothing


class Trait(NamedTuple):
    """What photos are told apart by."""

    key: str  # of a ScoreRow's columns, or a user's
    title: str
    meaning: str  # empty for a user's column


TRAITS = (
    Trait("object_share", "Object size", "share of the photo that is object"),
    Trait("tone_contrast", "Tone contrast", "distance between the object's colours and those around it; 0 is camouflage"),
    Trait("irregularity", "Irregularity", "outline length squared over area; a disc has 1.1"),
    Trait("convexity", "Convexity", "area over that of the convex hull"),
    Trait("roughness", "Roughness", "share of the outline by which it is longer than its hull's"),
    Trait("object_count", "Number of objects", "parts of the true object that do not touch"),
    Trait("touches_frame", "Touches the frame", "whether the object reaches the photo's edge"),
    Trait("brightness", "Brightness", "mean luma"),
    Trait("sharpness", "Sharpness", "variance of the Laplacian; low is blurred"),
)


class Slice(NamedTuple):
    """The images that are alike in one trait or column."""

    trait: str  # with title and meaning as in a `Trait`
    title: str
    meaning: str
    value: str  # "low", "yes", "Abyssinian", …
    low: float  # smallest and largest value in it; NaN if not numeric
    high: float
    ids: tuple[str, ...]
    dice: Estimate


def slice_rows(rows: Sequence[ScoreRow]) -> list[Slice]:
    """Mean Dice of the photos that are alike: by every trait, and by every column of the user's.

    Numbers are split into thirds of equal photo count (ties stay together), words are used as they are. Photos whose score
    or trait is NaN or empty are left out, and so are slices of fewer than FEWEST_IMAGES photos or
    groups of photos.
    """
    rows = [row for row in rows if not math.isnan(row.dice)]
    slices: list[_Part] = []
    for trait in TRAITS:
        values = {row.id: value for row in rows if not math.isnan(value := getattr(row, trait.key))}
        if trait.key == "touches_frame":
            slices += _slice_by_word(rows, trait, {key: "yes" if value else "no" for key, value in values.items()})
        else:
            slices += _slice_by_number(rows, trait, values)
    for column in dict.fromkeys(name for row in rows for name in row.metadata):
        told = {row.id: row.metadata.get(column, "").strip() for row in rows}
        words = {key: word for key, word in told.items() if word.lower().lstrip("+-") not in ("", "nan")}
        numbers = _read_numbers(words)
        if numbers and len(set(numbers.values())) > MOST_VALUES:
            slices += _slice_by_number(rows, Trait(column, column, ""), numbers)
        elif len(set(words.values())) <= MOST_VALUES or _repeats(words):
            slices += _slice_by_word(rows, Trait(column, column, ""), words)
    return _estimate_dice(slices)


class _Part(NamedTuple):
    """A slice without its score."""

    trait: Trait
    value: str
    low: float
    high: float
    members: list[ScoreRow]


def _estimate_dice(parts: Sequence[_Part]) -> list[Slice]:
    """The parts with their mean Dice; those without groups are estimated together, which is faster."""
    scores = [np.array([row.dice for row in part.members]) for part in parts]
    groups = [find_groups(part.members) for part in parts]
    alone = iter(estimate_means([each for each, group in zip(scores, groups, strict=True) if group is None]))
    dices = [estimate_mean(each, groups=group) if group else next(alone) for each, group in zip(scores, groups, strict=True)]
    return [
        Slice(*part.trait, part.value, part.low, part.high, tuple(row.id for row in part.members), dice)
        for part, dice in zip(parts, dices, strict=True)
    ]


def _slice_by_number(rows: Sequence[ScoreRow], trait: Trait, values: dict[str, float]) -> list[_Part]:
    """Thirds of equal photo count; a trait with fewer than three distinct values makes no slices."""
    if len(set(values.values())) < len(THIRDS):
        return []
    cuts = np.quantile(list(values.values()), [1 / 3, 2 / 3])
    words = {key: THIRDS[int(np.searchsorted(cuts, value))] for key, value in values.items()}
    slices = {each.value: each for each in _slice_by_word(rows, trait, words, values)}
    return [slices[third] for third in THIRDS if third in slices]


def _slice_by_word(
    rows: Sequence[ScoreRow], trait: Trait, words: dict[str, str], values: dict[str, float] | None = None
) -> list[_Part]:
    slices = []
    for word in sorted(set(words.values())):
        members = [row for row in rows if words.get(row.id) == word]
        groups = find_groups(members)
        if len(set(groups) if groups else members) < FEWEST_IMAGES:
            continue
        numbers = [values[row.id] for row in members] if values else [math.nan]
        slices.append(_Part(trait, word, min(numbers), max(numbers), members))
    return slices if len(slices) > 1 else []


def _read_numbers(words: dict[str, str]) -> dict[str, float]:
    """The column as numbers; empty if any of its values is not one."""
    try:
        return {key: float(word) for key, word in words.items()}
    except ValueError:
        return {}


def _repeats(words: dict[str, str]) -> bool:
    """Whether a column of many values still groups photos, as 37 breeds do and file names do not."""
    return len(words) >= 2 * FEWEST_IMAGES * len(set(words.values()))
