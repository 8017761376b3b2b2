"""Which photos are shown first: the worst, the median and the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fgbg.rows import ScoreRow


def rank_rows(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The photos that have a score, from the worst to the best."""
    return sorted((row for row in rows if not math.isnan(row.dice)), key=lambda row: (row.dice, row.id))


def pick_extremes(rows: Sequence[ScoreRow], count: int) -> dict[str, list[ScoreRow]]:
    """Up to `count` photos of each kind, the worst and the best first. Of few photos, one may be of several kinds."""
    ranked = rank_rows(rows)
    middle = max(0, len(ranked) // 2 - count // 2)
    return {"worst": ranked[:count], "median": ranked[middle : middle + count], "best": ranked[: -count - 1 : -1]}
