"""From run folders to workbook and charts. Reads what runs wrote; never a network, never torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgbg.errors import UserError
from fgbg.judge.charts import draw_charts
from fgbg.judge.workbook import write_workbook
from fgbg.run import Run


@dataclass(frozen=True)
class Record:
    """What was written."""

    workbook: Path
    charts: list[Path]


def write_record(runs: Sequence[Run], folder: Path) -> Record:
    """The runs' workbook and charts, side by side in `folder` (made if it is not there).

    Raises:
        UserError: No run, or one without a finished epoch.
    """
    if not runs:
        raise UserError("which runs? Name one run folder or more")
    for run in runs:
        if not run.epochs():
            raise UserError(f"{run.folder} has no finished epoch yet: nothing to report")
    folder.mkdir(parents=True, exist_ok=True)
    workbook = folder / "performance.xlsx"
    write_workbook(runs, workbook)
    return Record(workbook, draw_charts(runs, folder / "charts"))
