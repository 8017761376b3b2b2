"""Scores of several runs that can be compared: of the same photos and masks, by the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fgbg.data.samples import SPLITS
from fgbg.errors import UserError
from fgbg.rows import ScoreRow, read_rows
from fgbg.run import Run
from fgbg.words import name_some

_MUST_AGREE = ("split", "border", "empty", "score_space", "object_values")


class ScoredRun(NamedTuple):
    """A run's scores of one set of photos."""

    run: Run
    statement: dict[str, Any]
    rows: dict[str, ScoreRow]  # by photo, sorted by id


def read_comparable(runs: Sequence[Run], split: str) -> list[ScoredRun]:
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
    scored = [_read(run, split) for run in runs]
    for other in scored[1:]:
        _require_comparable(scored[0], other, split)
    return scored


def _read(run: Run, split: str) -> ScoredRun:
    statement = run.statement(split)  # raises unless the rows are intact
    rows = read_rows(run.scores_path(split))
    return ScoredRun(run, statement, dict(sorted((row.id, row) for row in rows)))  # whatever order they were scored in


def _require_comparable(one: ScoredRun, another: ScoredRun, split: str) -> None:
    """Refuse scores that were not measured on the same photos and masks by the same rules."""
    (first, told, mine), (other, theirs_told, theirs) = one, another
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
