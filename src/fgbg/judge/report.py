"""Write the page, the workbook and the charts from what run folders hold. Loads no model and never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgbg.data.samples import SPLITS
from fgbg.errors import UserError
from fgbg.judge.charts import draw_charts
from fgbg.judge.methods.describe import describe_methods
from fgbg.judge.results import Results, read_results
from fgbg.judge.workbook import write_workbook
from fgbg.run import Run
from fgbg.seal import is_markdown_as_written, seal_markdown
from fgbg.storage import make_folder, write_whole

METHODS = "methods.md"


@dataclass(frozen=True)
class Report:
    """What was written: the page, and workbook, charts and methods section beside it."""

    page: Path
    methods: Path
    workbook: Path
    charts: list[Path]

    def describe(self) -> str:
        """The files, as lines to print; and which one was left as a user had it."""
        lines = [str(path) for path in (self.page, self.methods, self.workbook, *self.charts)]
        if self.methods.name != METHODS:
            kept = self.methods.with_name(METHODS)
            lines.append(f"{kept} is not as fgbg wrote it, and stays: this report's is {self.methods.name}")
        return "\n".join(lines)


def write_record(runs: Sequence[Run], folder: Path) -> None:
    """Write the runs' workbook and charts into `folder`, which is created if missing.

    Raises:
        UserError: No run, or one without a finished epoch.
    """
    _require_runs(runs)
    for run in runs:
        if not run.epochs():
            raise UserError(f"{run.folder} has no finished epoch yet: nothing to report")
    # The epochs must not be lost over scores of an earlier time.
    _write_files(read_results(runs, all_scores=False), folder)


def write_report(runs: Sequence[Run], folder: Path, split: str = "test", *, allow_overlap: bool = False) -> Report:
    """Write a page that shows how good runs are and where they fail; beside it workbook, charts, and a methods section.

    Several runs are compared. A run that averages others has scores but no epochs; one that has not been scored has only
    epochs, and the page says how to score it. A methods section that was edited stays; the new one lies beside it.

    Args:
        runs: One or more, each of them once.
        folder: Created if missing.
        split: Which scores: `test`, `validation`, or the name of other data that was scored.
        allow_overlap: Compare even scores of photos that a model has seen; the verdict says so.

    Raises:
        UserError: No run, one of them twice, one with neither an epoch nor scores, or scores that cannot be read.
    """
    from fgbg.judge.page.render import render_page

    _require_runs(runs)
    folders = [run.folder.resolve() for run in runs]
    for run, resolved in zip(runs, folders, strict=True):
        if folders.count(resolved) > 1:
            raise UserError(f"{run.folder} is named twice: name each run once")
        if not run.epochs() and not run.scores_path(split).exists():
            raise UserError(
                f"{run.folder} has neither a finished epoch nor {split} scores: let fgbg train finish an epoch, or run "
                f"{run.evaluation_command(split)}"
            )
    if split not in SPLITS and not any(run.scores_path(split).exists() for run in runs):
        runs[0].statement(split)  # says that there are no such scores, and which name is near
    results = read_results(runs, allow_overlap=allow_overlap)
    page, methods = folder / "report.html", _find_replaceable(folder / METHODS)
    texts = {
        page: render_page(results, split, methods.name),
        methods: seal_markdown(describe_methods(results, split).to_markdown()),
    }
    workbook, charts = _write_files(results, folder)
    for path, text in texts.items():
        write_whole(path, text)
    return Report(page, methods, workbook, charts)


def _find_replaceable(path: Path) -> Path:
    """`path`, or the first of NAME-2, NAME-3, … that is missing, or as fgbg wrote it."""
    found, number = path, 1
    while found.exists() and not is_markdown_as_written(found):
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found


def _require_runs(runs: Sequence[Run]) -> None:
    if not runs:
        raise UserError("which runs? Name one run folder or more")


def _write_files(results: Results, folder: Path) -> tuple[Path, list[Path]]:
    """Write the workbook and the charts, and return where they are."""
    make_folder(folder)
    workbook = folder / "performance.xlsx"
    write_workbook(results, workbook)
    return workbook, draw_charts(list(results.runs.values()), folder / "charts")
