"""The record as an Excel file: the lab's columns for any number of runs, native charts, settings and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgbg.judge.book import Book, write_cell
from fgbg.judge.charts import CHARTS, PALETTE, SERIES, TABLE_HEADER, summarise_series
from fgbg.judge.results import Results
from fgbg.judge.workbook_scores import write_comparisons, write_failures, write_scores, write_slices
from fgbg.run import Run
from fgbg.storage import replace_when_whole

PHOTO_SERIES = {"Val Dice (photo size)": "val_dice_photo"}


def write_workbook(results: Results, path: Path) -> None:
    """Write the workbook; `path` is replaced only when the new file is whole. Its folder must exist.

    Sheets: Record, Charts, Summary, Settings, Scores, one "Scores RUN SPLIT" for each split scored in each run, Slices,
    Failures and, for several runs, Comparison.

    Args:
        results: Of one run or more.
        path: The file.

    Raises:
        UserError: Scores were changed since they were read.
    """
    named = results.runs
    with replace_when_whole(path) as aside:
        book = Book(aside)
        _write_record(book, named)
        _write_charts(book, named)
        _write_summary(book, named)
        _write_settings(book, named)
        write_scores(book, results.scored)
        write_slices(book, results.scored)
        write_failures(book, results.scored)
        write_comparisons(book, results)
        book.file.close()


def _list_columns(named: Mapping[str, Run]) -> list[tuple[str, Run, str]]:
    """Title, run and field of each column of the record: the lab's in its order, then those at the photos' own size."""
    return [
        (f"{label} {series}", run, field)
        for group in (SERIES, PHOTO_SERIES)
        for label, run in named.items()
        for series, field in group.items()
    ]


def _list_epochs(named: Mapping[str, Run]) -> list[int]:
    return sorted({record.epoch for run in named.values() for record in run.epochs()})


def _write_record(book: Book, named: Mapping[str, Run]) -> None:
    """One row per epoch; cells stay empty where a run is shorter than another."""
    columns = _list_columns(named)
    sheet = book.add_sheet("Record", ["Epoch", *(title for title, _, _ in columns)], first_width=8)
    rows = {epoch: row for row, epoch in enumerate(_list_epochs(named), start=1)}
    for epoch, row in rows.items():
        sheet.write_number(row, 0, epoch)
    for column, (_, run, field) in enumerate(columns, start=1):
        for record in run.epochs():
            write_cell(sheet, rows[record.epoch], column, getattr(record, field), book.score)


def _write_charts(book: Book, named: Mapping[str, Run]) -> None:
    """Native charts that refer to the cells of the record, so that they can be restyled and follow changes."""
    sheet = book.add_sheet("Charts")
    titles = [title for title, _, _ in _list_columns(named)]
    last = len(_list_epochs(named))
    for place, (_, title, quantity, shown) in enumerate(CHARTS if last else ()):
        chart = book.file.add_chart({"type": "line"})
        for number, label in enumerate(named):
            for series in shown:
                column = 1 + titles.index(f"{label} {series}")
                look = {"color": PALETTE[number % len(PALETTE)], "width": 1.75}
                chart.add_series(
                    {
                        "name": ["Record", 0, column],
                        "categories": ["Record", 1, 0, last, 0],
                        "values": ["Record", 1, column, last, column],
                        "line": look | {"dash_type": "dash" if series.startswith("Val") else "solid"},
                        "marker": {"type": "circle" if last == 1 else "none"},  # one point makes no line
                    }
                )
        grid = {"visible": True, "line": {"color": "#D8DEE4", "width": 0.75}}
        chart.set_title({"name": title, "name_font": {"size": 14}})
        chart.set_x_axis({"name": "Epochs", "interval_unit": max(1, math.ceil(last / 20)), "label_position": "low"})
        chart.set_y_axis({"name": quantity, "major_gridlines": grid, "num_format": "General"})
        chart.set_legend({"position": "bottom"})
        chart.show_blanks_as("gap")
        chart.set_size({"width": 960, "height": 480})
        sheet.insert_chart(1 + place * 26, 1, chart)


def _write_summary(book: Book, named: Mapping[str, Run]) -> None:
    """The tables under the lab's charts; change is a number, shown as a percentage."""
    sheet = book.add_sheet("Summary", TABLE_HEADER)
    for row, (title, run, field) in enumerate(_list_columns(named), start=1):
        sheet.write_string(row, 0, title)
        values = [getattr(record, field) for record in run.epochs()]
        if values:
            summary = summarise_series(values)
            for column, value in enumerate(summary[:4], start=1):
                write_cell(sheet, row, column, value, book.score)
            rising_is_better = "loss" not in field
            write_cell(
                sheet, row, 5, summary.change, book.better if (summary.change > 0) == rising_is_better else book.worse
            )


def _write_settings(book: Book, named: Mapping[str, Run]) -> None:
    """One row per setting, one column per run; settings that differ between runs are bold."""
    sheet = book.add_sheet("Settings", ["Setting", *named])
    sheet.set_column(1, max(1, len(named)), 24)
    settings = [run.settings() for run in named.values()]
    for row, name in enumerate(dict.fromkeys(name for each in settings for name in each), start=1):
        values = [each.get(name, "") for each in settings]
        style = book.bold if any(value != values[0] for value in values) else None
        sheet.write_string(row, 0, name, style)
        for column, value in enumerate(values, start=1):
            write_cell(sheet, row, column, _word(value), style)


def _word(value: Any) -> Any:
    """A setting as a reader expects it: yes or no, and items with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
