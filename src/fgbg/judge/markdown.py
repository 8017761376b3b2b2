"""Markdown in which names of runs, data and columns, which are users' strings, appear as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from fgbg.judge.page.wording import DASH, percent

Cell = str | int | float | None

_MARKS = re.compile(
    r"[\\*`|~$]"
    r"|<(?=[\w/!?])"  # a tag, a comment or an address; elsewhere it is less than
    r"|&(?=#?\w+;)"  # a character by its name
    r"|\](?=[(\[:])"  # a link or a picture: what is not closed is none, and intervals stay readable
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is no mark
    r"|#+(?=\s*$)"  # closes a heading
)


def escape(text: str) -> str:
    """The text as one line of Markdown that is shown as the text is, within a paragraph, a heading or a table.

    >>> print(escape("p < 0.001 [0.1, 0.2] of *a*, __init__, learning_rate, a|b, [c](d) and <b>"))
    p < 0.001 [0.1, 0.2] of \\*a\\*, \\_\\_init\\_\\_, learning_rate, a\\|b, [c\\](d) and \\<b>
    """
    return _MARKS.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]+\s*", " ", text))


def code(text: str) -> str:
    """The text as one line of code.

    >>> print(code("fgbg train"), code("a`b"))
    `fgbg train` `` a`b ``
    """
    line = re.sub(r"[\r\n]+", " ", text)
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


class Table(NamedTuple):
    """The columns' names, and rows with one cell per column."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def to_markdown(self, shares: Sequence[str] = ()) -> str:
        """As Markdown; numbers to four digits, those of the columns `shares` as percentages.

        >>> print(Table(("Kind", "Share"), [("empty", 0.125)]).to_markdown(shares=["Share"]))
        | Kind | Share |
        | --- | --- |
        | empty | 12.5 % |
        """

        def say(column: str, cell: Cell) -> str:
            if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
                return DASH
            if isinstance(cell, float):
                return percent(cell, 1) if column in shares else f"{cell:.4g}"
            return escape(str(cell))

        lines = [tuple(map(escape, self.columns)), tuple("---" for _ in self.columns)]
        lines += [tuple(map(say, self.columns, row)) for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
