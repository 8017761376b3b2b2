"""By which rules photos are scored, and what computes it: what every way of scoring runs has in common."""

from __future__ import annotations

from dataclasses import dataclass

from fgbg.words import Border


@dataclass(frozen=True)
class Scoring:
    """Rules and means of an evaluation.

    Attributes:
        split: Which photos: `test` or `validation`.
        border: What the masks' band counts as; the model's own rule by default.
        empty: The score where truth and prediction are both empty; NaN leaves such photos out of the means.
        allow_overlap: Score even photos that the model has seen; the statement says how many.
        device: Where to compute.
        threads: CPU threads; 0 shares the cores.
    """

    split: str = "test"
    border: Border | None = None
    empty: float = 1.0
    allow_overlap: bool = False
    device: str = "auto"
    threads: int = 0


DEFAULT = Scoring()
