"""What run folders hold, read once for all that is made of it: the page, the workbook and the comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fgbg.errors import UserError
from fgbg.judge.compare import compare_runs
from fgbg.judge.comparison import Comparison
from fgbg.judge.names import name_runs
from fgbg.judge.slices import Slice, slice_rows
from fgbg.rows import ScoreRow
from fgbg.run import Run


@dataclass(frozen=True)
class Scored:
    """A run and one of the sets of photos that it was scored on."""

    label: str
    run: Run
    split: str
    statement: dict[str, Any]

    @cached_property
    def rows(self) -> list[ScoreRow]:
        """One row per photo.

        Raises:
            UserError: They were changed since the statement was read.
        """
        return self.run.scores(self.split)

    @cached_property
    def slices(self) -> list[Slice]:
        """Mean Dice of photos that are alike."""
        return slice_rows(self.rows)


@dataclass(frozen=True)
class Results:
    """Runs by label, and every set that each was scored on."""

    runs: dict[str, Run]
    scored: list[Scored]
    allow_overlap: bool
    _compared: dict[str, tuple[list[Comparison], str]] = field(default_factory=dict)

    def find(self, label: str, split: str) -> Scored | None:
        """A run's scores on a set; None if it was not scored on it."""
        return next((each for each in self.scored if (each.label, each.split) == (label, split)), None)

    def compare(self, split: str) -> tuple[list[Comparison], str]:
        """The comparisons of all runs on a set; or none, and a sentence that says why they cannot be compared."""
        if split not in self._compared:
            try:
                found = compare_runs(list(self.runs.values()), split=split, allow_overlap=self.allow_overlap)
                self._compared[split] = found, ""
            except UserError as error:
                self._compared[split] = [], str(error)
        return self._compared[split]


def read_results(runs: Sequence[Run], *, all_scores: bool = True, allow_overlap: bool = False) -> Results:
    """Read runs' scores.

    Args:
        runs: The runs.
        all_scores: Whether scores that cannot be read are an error; otherwise they are left out.
        allow_overlap: Compare even scores of photos that a model has seen.

    Raises:
        UserError: Scores were changed, or were written by another version.
    """
    named, scored = name_runs(runs), []
    for label, run in named.items():
        for split in run.scored():
            try:
                statement = run.statement(split)
            except UserError:
                if all_scores:
                    raise
            else:
                scored.append(Scored(label, run, split, statement))
    return Results(named, scored, allow_overlap)
