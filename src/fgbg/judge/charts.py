"""The lab's two charts, each with its table: loss and Dice, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fgbg.judge.names import name_runs
from fgbg.run import Run
from fgbg.storage import replace_when_whole
from fgbg.words import PNG_LEVEL, shorten

SERIES = {"Train Loss": "train_loss", "Train Dice": "train_dice", "Val Loss": "val_loss", "Val Dice": "val_dice"}
"""The lab's record: its columns in its order, and the field of EpochRecord behind each."""


class Chart(NamedTuple):
    """What one of the lab's charts shows."""

    file: str
    title: str
    quantity: str  # on the y axis
    series: tuple[str, str]


CHARTS = (
    Chart("loss.png", "Training and Validation Loss vs. Epochs", "Loss", ("Train Loss", "Val Loss")),
    Chart("dice.png", "Training and Validation Accuracy vs. Epochs", "Dice Score", ("Train Dice", "Val Dice")),
)

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#8A6D00", "#3D3D3D", "#56A0D3", "#882255")
"""One hue per run, safe for colour blindness (after Okabe & Ito, and Tol); they repeat after eight runs."""

GOOD, BAD = "#1A7F37", "#B42318"
"""Colours of a change for the better and for the worse."""

INK, FAINT = "#1F2328", "#6E7781"
TABLE_HEADER = ("Model", "Min", "Max", "Start", "End", "Change (%)")
NOTE = (
    "Train: augmented images, while the weights still moved.  Val: whole photos at the training size, after the epoch.  "
    "Upright line: the last epoch."
)

_WIDTH, _PLOT_HEIGHT, _ROW_HEIGHT, _DPI = 10.0, 4.7, 0.3, 200  # inches, except the last
_LEFT, _RIGHT, _TOP, _TICKS, _BOTTOM = 0.8, 0.3, 0.55, 0.72, 0.45  # margins in inches; _TICKS is between plot and table
_LABEL_LENGTH = 46  # characters that fit the table's first column


class Summary(NamedTuple):
    """A series in five numbers. Change is (end − start) / start, so 0.5 means half as much again."""

    min: float
    max: float
    start: float
    end: float
    change: float


class Line(NamedTuple):
    """One series of one run, ready to draw."""

    label: str
    epochs: list[int]
    values: list[float]
    colour: str
    validates: bool


def summarise_series(values: Sequence[float]) -> Summary:
    """What the lab's tables say about a series. Min and max skip values that are not finite.

    Change is relative to the start's size, negative where values fell. It is NaN where it has no meaning: from a start of 0,
    or if start or end is not finite.

    Raises:
        ValueError: There are no values.

    >>> summarise_series([0.5, 0.9, 0.75])
    Summary(min=0.5, max=0.9, start=0.5, end=0.75, change=0.5)
    """
    if not values:
        raise ValueError("no values to summarise")
    start, end = values[0], values[-1]
    finite = [value for value in values if math.isfinite(value)] or [math.nan]
    meaningful = math.isfinite(start) and math.isfinite(end) and start != 0
    return Summary(min(finite), max(finite), start, end, (end - start) / abs(start) if meaningful else math.nan)


def draw_charts(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw `loss.png` and `dice.png` of one or more runs, 2000 pixels wide, into a folder, which is created if missing.

    A run without a finished epoch is left out; if none remains, nothing is drawn and the list is empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for chart in CHARTS:
        lines = _collect_lines(runs, chart.series)
        if lines:
            figure = _draw_chart(lines, chart)
            with replace_when_whole(folder / chart.file) as aside:
                figure.savefig(aside, format="png", dpi=_DPI, pil_kwargs={"compress_level": PNG_LEVEL})
            drawn.append(folder / chart.file)
    return drawn


def _collect_lines(runs: Sequence[Run], series: Sequence[str]) -> list[Line]:
    lines = []
    for number, (label, run) in enumerate(name_runs(runs).items()):
        records = run.epochs()
        for name in series if records else ():
            values = [getattr(record, SERIES[name]) for record in records]
            epochs = [record.epoch for record in records]
            colour = PALETTE[number % len(PALETTE)]
            lines.append(Line(f"{label} {name}", epochs, values, colour, name.startswith("Val")))
    return lines


def _draw_chart(lines: Sequence[Line], chart: Chart) -> Figure:
    table_height = _ROW_HEIGHT * (len(lines) + 1)
    height = _TOP + _PLOT_HEIGHT + _TICKS + table_height + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    width = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    plot = (_LEFT / _WIDTH, (_BOTTOM + table_height + _TICKS) / height, width, _PLOT_HEIGHT / height)
    axes = figure.add_axes(plot)
    axes.set_title(chart.title, fontsize=14, fontweight="bold", color=INK, pad=12)
    _draw_curves(axes, lines, chart.quantity)
    table = figure.add_axes((_LEFT / _WIDTH, _BOTTOM / height, width, table_height / height))
    _draw_table(table, lines, lower_is_better=chart.quantity == "Loss")
    figure.text(_LEFT / _WIDTH, 0.16 / height, NOTE, fontsize=7.5, color=FAINT)
    return figure


def _draw_curves(axes: Axes, lines: Sequence[Line], quantity: str) -> None:
    axes.set_xlabel("Epochs", color=INK, fontsize=10.5)
    axes.set_ylabel(quantity, color=INK, fontsize=10.5)
    axes.grid(color="#D8DEE4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#AFB8C1")
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    for last in sorted({line.epochs[-1] for line in lines}):
        axes.axvline(last, color=FAINT, linewidth=1.0, linestyle=(0, (5, 4)), zorder=1)
    for line in lines:
        axes.plot(line.epochs, line.values, zorder=3 if line.validates else 2, **_style(line))
    longest = max(line.epochs[-1] for line in lines)
    axes.set_xlim(1 - max(0.5, longest * 0.02), longest + max(0.5, longest * 0.02))


def _style(line: Line) -> dict[str, Any]:
    """Training is solid, validation dashed; up to 12 epochs get markers, since one point makes no line."""
    dashes = (0, (3.2, 1.3)) if line.validates else "solid"
    look: dict[str, Any] = {"color": line.colour, "linewidth": 1.5, "linestyle": dashes}
    if len(line.epochs) <= 12:
        look |= {"marker": "o", "markersize": 5.5, "markerfacecolor": "white" if line.validates else line.colour}
    return look


def _draw_table(axes: Axes, lines: Sequence[Line], *, lower_is_better: bool) -> None:
    """One row per line of the chart, with a piece of that line in front: the table is also the legend."""
    rows = len(lines) + 1
    axes.set(xlim=(0, 1), ylim=(rows, 0))
    axes.axis("off")
    columns = (0.055, 0.58, 0.68, 0.78, 0.88, 1.0)  # left edge of the first, right edge of the others
    places = [(x, "left" if number == 0 else "right") for number, x in enumerate(columns)]
    for text, (x, side) in zip(TABLE_HEADER, places, strict=True):
        axes.text(x, 0.5, text, ha=side, va="center", fontsize=9.5, fontweight="bold", color=INK)
    for y, weight in ((0, 1.2), (1, 0.7), (rows, 1.2)):
        axes.axhline(y, color=INK, linewidth=weight, clip_on=False)
    for row, line in enumerate(lines, 1):
        summary = summarise_series(line.values)
        change, colour = _word_change(summary.change, lower_is_better)
        axes.add_line(Line2D([0.002, 0.022, 0.042], [row + 0.5] * 3, markevery=[1], **_style(line)))
        texts = (shorten(line.label, _LABEL_LENGTH), *(f"{value:.4f}" for value in summary[:4]), change)
        for text, (x, side), ink in zip(texts, places, (line.colour, *[INK] * 4, colour), strict=True):
            # A folder's name may contain dollar signs, which must not start math mode.
            axes.text(x, row + 0.5, text, ha=side, va="center_baseline", fontsize=9.5, color=ink, parse_math=False)


def _word_change(change: float, lower_is_better: bool) -> tuple[str, str]:
    """`↑ 31.28%` and its colour."""
    if not math.isfinite(change):
        return "–", FAINT
    if change == 0:
        return "0.00%", FAINT
    better = (change < 0) == lower_is_better
    return f"{'↑' if change > 0 else '↓'} {abs(change):.2%}", GOOD if better else BAD
