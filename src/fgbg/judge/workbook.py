"""The record as an Excel file: the lab's columns over any number of runs, native charts, settings and scores."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from fgbg.config import flatten
from fgbg.data.samples import SPLITS
from fgbg.judge.charts import BAD, CHARTS, GOOD, PALETTE, SERIES, TABLE_HEADER, shorten, summarise_series
from fgbg.judge.failures import FAILURES
from fgbg.judge.slices import slice_rows
from fgbg.run import Run, ScoreRow, name_runs
from fgbg.storage import replace_when_whole

PHOTO_SERIES = {"Val Dice (photo size)": "val_dice_photo"}
STATEMENT = {  # column of the sheet Scores -> key of a run's statement
    "Mean Dice": "mean_dice",
    "95 % low": "mean_dice_low",
    "95 % high": "mean_dice_high",
    "Pooled Dice": "pooled_dice",
    "Mean IoU": "mean_iou",
    "Mean boundary IoU": "mean_boundary_iou",
    "Mean precision": "mean_precision",
    "Mean recall": "mean_recall",
    "Mean specificity": "mean_specificity",
    "Mean surface distance (px)": "mean_surface_distance",
    "Mean Hausdorff 95 % (px)": "mean_hausdorff95",
    "Dice at training size": "dice_at_size",
    "Pairs": "pairs",
    "Border": "border",
    "Threshold": "threshold",
    "Threshold because": "threshold_reason",
    "Both empty": "both_empty_count",
    "Both empty counts as": "empty",
    "One empty": "one_empty_count",
    "Photos without object": "empty_truth_count",
    "False alarm rate": "false_alarm_rate",
    "Doubt against Dice (Spearman)": "uncertainty_correlation",
    "Test-time augmentation": "tta",
    "Training size": "size",
    "Fit": "fit",
    "Data": "data",
    "Data hash": "fingerprint",
}
ROW_COLUMNS = [field.name for field in dataclasses.fields(ScoreRow) if field.name != "metadata"]
LONGEST_SHEET_NAME = 31  # Excel's limit
LARGEST_WHOLE_NUMBER = 10**15  # Excel keeps 15 digits: a longer seed would come back as another seed
LABEL_WIDTH, NUMBER_WIDTH = 36, 15  # columns, in characters


def write_workbook(runs: Sequence[Run], path: Path) -> None:
    """Write the workbook; `path` is replaced only when the new file is whole. Its folder must exist.

    Sheets: Record, Charts, Summary, Settings, Scores, one "Scores RUN SPLIT" for each split scored in each run, Slices,
    Failures.
    """
    named = name_runs(runs)
    with replace_when_whole(path) as aside:
        book = _Book(aside)
        _write_record(book, named)
        _write_charts(book, named)
        _write_summary(book, named)
        _write_settings(book, named)
        _write_scores(book, named)
        _write_slices(book, named)
        _write_failures(book, named)
        book.file.close()


class _Book:
    """The file, with one look for all of its sheets."""

    def __init__(self, path: Path) -> None:
        self.file = xlsxwriter.Workbook(str(path))
        add = self.file.add_format
        self.header = add({"bold": True, "bg_color": "#E7ECF2", "bottom": 1, "text_wrap": True, "valign": "vcenter"})
        self.bold = add({"bold": True})
        self.score = add({"num_format": "0.0000"})
        up_down = '"↑ "0.00%;"↓ "0.00%;[Black]0.00%;[Black]@'
        self.better = add({"num_format": up_down, "font_color": GOOD})
        self.worse = add({"num_format": up_down, "font_color": BAD})
        self._sheet_names: set[str] = set()

    def add_sheet(self, name: str, columns: Sequence[str] = (), first_width: int = LABEL_WIDTH) -> Worksheet:
        """A sheet whose header row and first column stay in view."""
        sheet = self.file.add_worksheet(self._fit_name(name))
        if columns:
            sheet.freeze_panes(1, 1)
            sheet.set_row(0, 48)
            sheet.set_column(0, len(columns) - 1, NUMBER_WIDTH)
            sheet.set_column(0, 0, first_width)
            for column, title in enumerate(columns):
                sheet.write_string(0, column, title, self.header)
        return sheet

    def _fit_name(self, name: str) -> str:
        """The name as Excel takes it: unique, short, without the characters it forbids."""
        clean = re.sub(r"[\[\]:*?/\\']", "_", name)
        fitted, number = shorten(clean, LONGEST_SHEET_NAME), 1
        while fitted.casefold() in self._sheet_names:
            number += 1
            ending = f" {number}"
            fitted = shorten(clean, LONGEST_SHEET_NAME - len(ending)) + ending
        self._sheet_names.add(fitted.casefold())
        return fitted


def _write(sheet: Worksheet, row: int, column: int, value: Any, style: Format | None = None) -> None:
    """A number as a number, nothing for None, anything else as text: no name becomes a formula, whatever it begins with."""
    if value is None:
        return
    if type(value) in (int, float) and abs(value) < LARGEST_WHOLE_NUMBER:  # which NaN and infinity are not
        sheet.write_number(row, column, value, style)
    else:
        sheet.write_string(row, column, str(value), style)


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


def _write_record(book: _Book, named: Mapping[str, Run]) -> None:
    """A row an epoch; cells stay empty where a run is shorter than another."""
    columns = _list_columns(named)
    sheet = book.add_sheet("Record", ["Epoch", *(title for title, _, _ in columns)], first_width=8)
    rows = {epoch: row for row, epoch in enumerate(_list_epochs(named), start=1)}
    for epoch, row in rows.items():
        sheet.write_number(row, 0, epoch)
    for column, (_, run, field) in enumerate(columns, start=1):
        for record in run.epochs():
            _write(sheet, rows[record.epoch], column, getattr(record, field), book.score)


def _write_charts(book: _Book, named: Mapping[str, Run]) -> None:
    """Native charts that read the cells of the record, so that they can be restyled and follow a change."""
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


def _write_summary(book: _Book, named: Mapping[str, Run]) -> None:
    """The tables under the lab's charts; change is a number, shown in percent."""
    sheet = book.add_sheet("Summary", TABLE_HEADER)
    for row, (title, run, field) in enumerate(_list_columns(named), start=1):
        sheet.write_string(row, 0, title)
        values = [getattr(record, field) for record in run.epochs()]
        if values:
            summary = summarise_series(values)
            for column, value in enumerate(summary[:4], start=1):
                _write(sheet, row, column, value, book.score)
            rising_is_better = "loss" not in field
            _write(sheet, row, 5, summary.change, book.better if (summary.change > 0) == rising_is_better else book.worse)


def _write_settings(book: _Book, named: Mapping[str, Run]) -> None:
    """A row a setting, a column a run; what differs between runs is bold."""
    sheet = book.add_sheet("Settings", ["Setting", *named])
    sheet.set_column(1, max(1, len(named)), 24)
    settings = [flatten(run.config) for run in named.values()]
    for row, name in enumerate(settings[0] if settings else (), start=1):
        values = [each[name] for each in settings]
        style = book.bold if any(value != values[0] for value in values) else None
        sheet.write_string(row, 0, name, style)
        for column, value in enumerate(values, start=1):
            _write(sheet, row, column, value, style)


def _write_scores(book: _Book, named: Mapping[str, Run]) -> None:
    """What each scored split came to, and the sheet that holds its images."""
    sheet = book.add_sheet("Scores", ["Model", "Split", *STATEMENT, "Images in sheet"])
    sheet.set_column(len(STATEMENT), len(STATEMENT) + 2, 32)  # data, its hash and the sheet's name are long
    for row, (label, run, split) in enumerate(_list_scored(named), start=1):
        statement = run.statement(split)
        images = _write_images(book, f"Scores {label} {split}", run.scores(split))
        values = [label, split, *(statement.get(key) for key in STATEMENT.values()), images]
        for column, value in enumerate(values):
            _write(sheet, row, column, value, book.score if isinstance(value, float) else None)


def _list_scored(named: Mapping[str, Run]) -> list[tuple[str, Run, str]]:
    return [(label, run, split) for label, run in named.items() for split in SPLITS if run.scores_path(split).exists()]


def _write_slices(book: _Book, named: Mapping[str, Run]) -> None:
    """Mean Dice of photos that are alike, a row a slice."""
    titles = [
        "Model",
        "Split",
        "Trait",
        "Slice",
        "From",
        "To",
        "Photos",
        "Mean Dice",
        "95 % low",
        "95 % high",
        "Trait measures",
    ]
    sheet = book.add_sheet("Slices", titles)
    slices = [(label, split, each) for label, run, split in _list_scored(named) for each in slice_rows(run.scores(split))]
    for row, (label, split, each) in enumerate(slices, start=1):
        ends = [None if math.isnan(value) else value for value in (each.low, each.high)]
        values = [label, split, each.title, each.value, *ends, len(each.ids), *each.dice, each.meaning]
        for column, value in enumerate(values):
            _write(sheet, row, column, value, book.score if isinstance(value, float) else None)


def _write_failures(book: _Book, named: Mapping[str, Run]) -> None:
    """How many photos failed in which way."""
    sheet = book.add_sheet("Failures", ["Model", "Split", *FAILURES])
    for row, (label, run, split) in enumerate(_list_scored(named), start=1):
        counts = Counter(image.failure for image in run.scores(split))
        for column, value in enumerate([label, split, *(counts[kind] for kind in FAILURES)]):
            _write(sheet, row, column, value)


def _write_images(book: _Book, name: str, rows: Sequence[ScoreRow]) -> str:
    """One row an image, with whatever else is known of it. Returns the sheet's name."""
    metadata = list(dict.fromkeys(key for row in rows for key in row.metadata))
    sheet = book.add_sheet(name, [*ROW_COLUMNS, *metadata])
    sheet.autofilter(0, 0, len(rows), len(ROW_COLUMNS) + len(metadata) - 1)
    for place, row in enumerate(rows, start=1):
        values = [*(getattr(row, column) for column in ROW_COLUMNS), *(row.metadata.get(key) for key in metadata)]
        for column, value in enumerate(values):
            if isinstance(value, float) and math.isnan(value):
                continue  # unknown: the cell stays empty
            _write(sheet, place, column, value, book.score if isinstance(value, float) else None)
    return str(sheet.get_name())
