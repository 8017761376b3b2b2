"""What a comparison of two models or two recipes says: a verdict, and every number behind it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fgbg.judge.bootstrap import POWER, Estimate
from fgbg.words import plural

QUESTIONS = {
    "model": "this model or that model, on photos like these",
    "recipe": "this recipe or that recipe, whatever the seed, on photos like these",
    "folds": "this recipe or that recipe, trained on most of these photos",
}
METHODS = {  # how the interval is found, for each question
    "model": "paired bootstrap over",
    "recipe": "crossed random effects of",
    "folds": "corrected t-test over",
}
TIE = 0.001  # Dice: photos that differ by less count as equal
MOST_CHANGED = 10


class Pair(NamedTuple):
    """The Dice of one photo; for the recipe question, the mean over seeds."""

    id: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """A verdict, its question, and every number behind it. Differences are B minus A."""

    question: str  # a key of QUESTIONS
    a: str
    b: str
    verdict: str  # "A is better", "B is better" or "cannot tell"
    difference: Estimate
    p: float
    p_holm: float  # adjusted for all comparisons made at once; p for a single one
    pairs: tuple[Pair, ...]
    runs_a: tuple[str, ...]
    runs_b: tuple[str, ...]
    sample: str  # what the interval is over: "611 photos", "40 groups of photos", "3 and 3 seeds on 611 photos", "5 folds"
    freedom: float  # degrees of freedom of the interval; infinite where nothing varies
    notes: tuple[str, ...]
    more: str = "photos"  # what would make the interval shorter: "photos" or "seeds"
    detectable: float = math.inf  # as `find_detectable` tells it, among all comparisons made at once

    @property
    def question_in_words(self) -> str:
        """What was asked, without a question mark."""
        return QUESTIONS[self.question]

    @property
    def mean_a(self) -> float:
        """Mean Dice of A over the photos."""
        return float(np.mean([pair.a for pair in self.pairs]))

    @property
    def mean_b(self) -> float:
        """Mean Dice of B over the photos."""
        return float(np.mean([pair.b for pair in self.pairs]))

    @property
    def wins(self) -> int:
        """Photos on which B is better."""
        return sum(pair.b - pair.a > TIE for pair in self.pairs)

    @property
    def losses(self) -> int:
        """Photos on which A is better."""
        return sum(pair.a - pair.b > TIE for pair in self.pairs)

    @property
    def ties(self) -> int:
        """Photos on which they are equal, within TIE."""
        return len(self.pairs) - self.wins - self.losses

    @property
    def detectable_in_words(self) -> str:
        """What "cannot tell" leaves open, in words: the difference that would have been found; empty for another verdict."""
        if self.verdict != "cannot tell" or not 0 < self.detectable < math.inf:
            return ""
        found = f"a true difference of about {self.detectable:.4f} would be found in {100 * POWER:.0f} % of such comparisons"
        return f"{found}, a smaller one with more {self.more}"

    def most_changed(self, count: int = MOST_CHANGED) -> list[Pair]:
        """The photos whose Dice differs most, the largest change first; none on which it is equal."""
        changed = [pair for pair in self.pairs if pair.a != pair.b]
        return sorted(changed, key=lambda pair: (-abs(pair.b - pair.a), pair.id))[:count]

    @property
    def winner(self) -> str:
        """The verdict with a name: "A is better: unet"."""
        names = {"A is better": f"A is better: {self.a}", "B is better": f"B is better: {self.b}"}
        return names.get(self.verdict, "cannot tell which is better")

    def describe(self) -> str:
        """As lines to print."""
        width = max(len(self.a), len(self.b))
        method = f"{METHODS[self.question]} {self.sample}"
        wins = plural(self.wins, "photo")
        adjusted = "" if self.p_holm == self.p else f", p {word_p(self.p_holm)} among all (Holm)"
        changed = [
            f"    {pair.id:{max(len(pair.id) for pair in self.pairs)}}  {pair.a:.3f} → {pair.b:.3f}  {pair.b - pair.a:+.3f}"
            for pair in self.most_changed()
        ]
        return "\n".join(
            [
                f"{self.question_in_words}?",
                f"  A  {self.a:{width}}  {self.mean_a:.4f}",
                f"  B  {self.b:{width}}  {self.mean_b:.4f}",
                f"  B - A {self.difference.signed()}  95 % interval, {method}; p {word_p(self.p)}{adjusted}",
                f"  B is better on {wins}, equal on {self.ties} (within {TIE}), worse on {self.losses}",
                f"{self.winner}",
                *([f"  {self.detectable_in_words}"] if self.detectable_in_words else []),
                *(f"  note: {note}" for note in self.notes),
                *(["  photos that changed most, Dice of A → B:"] if changed else []),
                *changed,
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON: numbers unrounded, `interval` beside `difference`."""
        told = dataclasses.asdict(self)
        told |= {name: getattr(self, name) for name in ("mean_a", "mean_b", "wins", "ties", "losses")}
        difference = self.difference.to_json()
        told |= {"difference": difference["mean"], "interval": [difference["low"], difference["high"]]}
        told |= {name: None for name in ("freedom", "detectable") if math.isinf(told[name])}  # JSON knows no infinity
        told["pairs"] = [pair._asdict() for pair in self.pairs]
        told["question_in_words"] = self.question_in_words
        told["most_changed"] = [pair.id for pair in self.most_changed()]
        return told


def format_p(p: float) -> str:
    """A p-value with three digits.

    >>> format_p(0.0004), format_p(0.0312)
    ('< 0.001', '0.031')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def word_p(p: float) -> str:
    """A p-value with `=` or `<`, to go after "p".

    >>> word_p(0.0004), word_p(0.0312)
    ('< 0.001', '= 0.031')
    """
    return format_p(p) if p < 0.001 else f"= {format_p(p)}"
