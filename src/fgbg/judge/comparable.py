"""Scores of several runs that can be compared: of the same photos and masks, by the same rules."""

from __future__ import annotations

from collections.abc import Sequence

from fgbg.data.samples import SPLITS
from fgbg.errors import UserError
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import name_some

_MUST_AGREE = ("split", "border", "empty", "score_space", "object_values")

Scores = dict[Run, dict[str, ScoreRow]]
"""Run -> photo id -> row, sorted by id."""


def read_comparable(runs: Sequence[Run], split: str) -> Scores:
    """Read every run's scores.

    Raises:
        UserError: Fewer than two runs, one of them twice, or scores of other photos, masks or rules.
    """
    if len(runs) < 2:
        raise UserError("compare takes two runs or more: name another run folder")
    folders = [run.folder.resolve() for run in runs]
    twice = [run.folder for run, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]
    if twice:
        raise UserError(f"{twice[0]} is named twice: compare it with another run")
    # One order, whatever order they were scored in.
    scored = {run: dict(sorted((row.id, row) for row in run.scores(split))) for run in runs}
    for run in runs[1:]:
        _require_comparable(runs[0], run, split, scored)
    return scored


def _require_comparable(first: Run, other: Run, split: str, scored: Scores) -> None:
    """Refuse scores that were not measured on the same photos and masks by the same rules."""
    mine, theirs = scored[first], scored[other]
    if mine.keys() != theirs.keys():
        splits = [run.config.split for run in (first, other)]
        cure = "evaluate both on the same data"
        if splits[0] != splits[1] and split in SPLITS:
            cure = f"they were trained with --split {splits[0]} and --split {splits[1]}: train both with one of them"
        alone, alone_there = sorted(mine.keys() - theirs.keys()), sorted(theirs.keys() - mine.keys())
        raise UserError(
            f"{first.folder} and {other.folder} were scored on different photos ({len(alone)} only in the first, "
            f"{len(alone_there)} only in the second: {name_some(alone or alone_there, 3)}): {cure}"
        )
    told, theirs_told = first.statement(split), other.statement(split)
    if told["fingerprint"] != theirs_told["fingerprint"]:
        raise UserError(
            f"{first.folder} and {other.folder} were scored on photos or masks of the same names but other content "
            f"(hash {told['fingerprint']} and {theirs_told['fingerprint']}): evaluate both on the same data"
        )
    moved = [key for key, row in mine.items() if row.group != theirs[key].group]
    if moved:
        raise UserError(
            f"{first.folder} and {other.folder} were scored with other groups in groups.csv ({name_some(moved, 3)}): "
            "evaluate both again"
        )
    for rule in _MUST_AGREE:
        ours, others = (statement.get(rule) or "as they are" for statement in (told, theirs_told))  # older ones lack some
        if ours != others:
            raise UserError(
                f"{first.folder} was scored with {rule} = {ours}, {other.folder} with {others}: evaluate both by one rule"
            )
