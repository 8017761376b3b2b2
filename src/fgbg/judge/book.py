"""Writing an Excel file: one look for all sheets, names that Excel accepts, and no text taken for a formula."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from fgbg.judge.charts import BAD, GOOD
from fgbg.words import shorten

LONGEST_SHEET_NAME = 31  # Excel's limit
LARGEST_WHOLE_NUMBER = 10**15  # Excel keeps 15 digits: a longer seed would be read back as another seed
LABEL_WIDTH, NUMBER_WIDTH = 36, 15  # columns, in characters


class Book:
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
        """The name as Excel accepts it: unique, short, without the characters it forbids."""
        clean = re.sub(r"[\[\]:*?/\\']", "_", name)
        fitted, number = shorten(clean, LONGEST_SHEET_NAME), 1
        while fitted.casefold() in self._sheet_names:
            number += 1
            ending = f" {number}"
            fitted = shorten(clean, LONGEST_SHEET_NAME - len(ending)) + ending
        self._sheet_names.add(fitted.casefold())
        return fitted


def write_cell(sheet: Worksheet, row: int, column: int, value: Any, style: Format | None = None) -> None:
    """Write a number as a number, None and NaN as nothing, anything else as text, so that no name is taken for a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return
    if type(value) in (int, float) and abs(value) < LARGEST_WHOLE_NUMBER:  # False for infinity
        sheet.write_number(row, column, value, style)
    else:
        sheet.write_string(row, column, str(value), style)
