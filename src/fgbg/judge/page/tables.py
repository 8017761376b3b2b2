"""The page's tables as plain rows, for the model card and other documents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fgbg.judge.failures import FAILURES
from fgbg.judge.markdown import Cell, Table
from fgbg.judge.page.wording import known_scores
from fgbg.judge.slices import Slice
from fgbg.rows import ScoreRow


class FailureRow(NamedTuple):
    """How many photos went wrong in one way."""

    kind: str
    meaning: str
    photos: int
    share: float
    mean_dice: float | None


def count_failures(rows: Sequence[ScoreRow]) -> list[FailureRow]:
    """Photos by kind of failure, in the order of FAILURES; kinds without photos are kept, with 0.

    Kinds that this version does not know (from a run of another version) come last.
    """
    counts = Counter(row.failure for row in rows)
    counts.pop("", None)
    kinds = [*FAILURES, *sorted(set(counts) - set(FAILURES))]
    counted = []
    for kind in kinds if counts else ():
        scores = known_scores([row for row in rows if row.failure == kind])
        mean = float(np.mean(scores)) if scores else None
        counted.append(FailureRow(kind, FAILURES.get(kind, ""), counts[kind], counts[kind] / len(rows), mean))
    return counted


def tabulate_failures(rows: Sequence[ScoreRow]) -> Table:
    """Photos by kind of failure."""
    lines: list[tuple[Cell, ...]] = [
        (each.kind, each.photos, each.share, each.mean_dice, each.meaning) for each in count_failures(rows)
    ]
    return Table(("Kind", "Photos", "Share", "Mean Dice", "Meaning"), lines)


def tabulate_slices(slices: Sequence[Slice]) -> Table:
    """Mean Dice by kind of photo, with intervals; takes the result of `slice_rows`."""
    lines: list[tuple[Cell, ...]] = []
    for each in slices:
        ends = [None if np.isnan(end) else float(end) for end in (each.low, each.high)]
        lines.append((each.title, each.value, len(each.ids), *each.dice, *ends, each.meaning))
    columns = ("Trait", "Slice", "Photos", "Mean Dice", "95 % low", "95 % high", "From", "To", "Meaning")
    return Table(columns, lines)


def rank_by_spread(rows: Mapping[str, Sequence[ScoreRow]]) -> list[tuple[str, list[float], float]]:
    """Each photo that all runs scored, with its Dice by run and their spread (max - min); largest first."""
    scores = [{row.id: row.dice for row in of_run} for of_run in rows.values()]
    common = set.intersection(*(set(of_run) for of_run in scores)) if scores else set()
    values = {sample_id: [of_run[sample_id] for of_run in scores] for sample_id in common}
    spread = [(key, each, max(each) - min(each)) for key, each in values.items() if not any(map(math.isnan, each))]
    return sorted(spread, key=lambda line: (-line[2], line[0]))
