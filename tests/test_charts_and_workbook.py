"""What is told of runs: charts with their tables, the Excel record, and the pictures of single photos."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from fgbg.config import TrainConfig
from fgbg.errors import UserError
from fgbg.judge import charts, pictures
from fgbg.judge.charts import Summary, draw_charts, summarise_series
from fgbg.judge.pictures import CELL, GREY, MARGIN, Panel, draw_panels
from fgbg.judge.results import read_results
from fgbg.judge.workbook import write_workbook
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.run import Run, create_run
from fgbg.words import shorten

STATEMENT = {
    "data": "=drawn",
    "fingerprint": "+0badc0de",
    "pairs": 2,
    "border": "ignore",
    "threshold": 0.5,
    "empty": 1.0,
    "both_empty_count": 0,
    "size": 256,
    "fit": "squash",
    "mean_dice": 0.94,
    "mean_dice_low": 0.93,
    "mean_dice_high": 0.95,
    "mean_iou": 0.89,
    "pooled_dice": 0.96,
    "dice_at_size": 0.941,
}


def make_run(folder: Path, losses: list[float], **settings: Any) -> Run:
    """A run that recorded one epoch a loss; every other series is told apart by what it adds to the loss."""
    run = create_run(folder)
    run.write_config(TrainConfig(**settings))
    for epoch, loss in enumerate(losses, start=1):
        run.append_epoch(EpochRecord(epoch, loss, loss + 1, loss + 2, loss + 3, loss + 4, 1e-3, 9.0, 1.0, best=False))
    return run


def open_book(runs: list[Run], folder: Path) -> Workbook:
    write_workbook(read_results(runs), folder / "performance.xlsx")
    return load_workbook(folder / "performance.xlsx")


def list_rows(sheet: Worksheet) -> list[list[Any]]:
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def read_pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


# Summaries


@pytest.mark.parametrize(
    ("start", "end", "printed"),
    [(0.7424, 0.9746, "31.28%"), (0.7426, 0.9463, "27.43%"), (0.7902, 0.0842, "-89.34%"), (0.843, 0.2495, "-70.40%")],
)
def test_the_change_is_the_one_that_the_lab_printed(start: float, end: float, printed: str) -> None:
    assert f"{summarise_series([start, end]).change:.2%}" == printed


def test_a_series_in_five_numbers() -> None:
    assert summarise_series([2.0, 1.0, 5.0, 3.0]) == Summary(min=1.0, max=5.0, start=2.0, end=3.0, change=0.5)
    assert summarise_series([0.25]) == Summary(0.25, 0.25, 0.25, 0.25, 0.0)


def test_a_change_from_a_negative_start_keeps_its_direction() -> None:
    assert summarise_series([-0.2, -0.9]).change == pytest.approx(-3.5)
    assert summarise_series([-0.8, -0.2]).change == pytest.approx(0.75)


def test_a_series_without_values_has_no_summary() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarise_series([])


def test_values_that_are_not_finite_leave_the_rest_readable() -> None:
    summary = summarise_series([1.0, math.inf, 0.5, math.nan])
    assert summary[:3] == (0.5, 1.0, 1.0)
    assert math.isnan(summary.change)
    assert math.isnan(summarise_series([math.nan]).min)


def test_a_start_of_zero_has_no_relative_change() -> None:
    assert math.isnan(summarise_series([0.0, 0.9]).change)


@pytest.mark.parametrize("length", [6, 7, 26])
def test_a_long_label_keeps_both_ends(length: int) -> None:
    label = "abcdefghijklmnopqrstuvwxyz!"
    short = shorten(label, length)
    assert len(short) == length
    assert short.startswith("abc")
    assert short.endswith("z!")
    assert shorten(label, 27) == label


@pytest.mark.parametrize(
    ("change", "lower_is_better", "expected"),
    [
        (0.3128, False, ("↑ 31.28%", charts.GOOD)),
        (-0.8934, True, ("↓ 89.34%", charts.GOOD)),
        (0.1, True, ("↑ 10.00%", charts.BAD)),
        (-0.1, False, ("↓ 10.00%", charts.BAD)),
        (0.0, True, ("0.00%", charts.FAINT)),
        (math.nan, True, ("–", charts.FAINT)),
    ],
)
def test_an_arrow_gives_the_direction_and_the_colour_its_worth(
    change: float, lower_is_better: bool, expected: tuple[str, str]
) -> None:
    assert charts._word_change(change, lower_is_better) == expected


# Charts


def test_two_charts_are_written(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.8, 0.4, 0.1]), make_run(tmp_path / "b", [0.7], model="resnet34_unet")]
    paths = draw_charts(runs, tmp_path / "new" / "charts")
    assert [path.name for path in paths] == ["loss.png", "dice.png"]
    for path in paths:
        pixels = read_pixels(path)
        assert pixels.shape[1] == 2000
        for colour in charts.PALETTE[:2]:
            hue = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
            assert (pixels == hue).all(axis=2).sum() > 100, f"no line in {colour}"
    assert sorted(path.name for path in (tmp_path / "new" / "charts").iterdir()) == ["dice.png", "loss.png"]


def test_more_runs_make_a_longer_table_under_the_same_plot(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, [0.8, 0.4]) for name in "abcdef"]
    chart = charts.CHARTS[0]
    figures = [charts._draw_chart(charts._collect_lines(runs[:count], chart.series), chart) for count in (1, 2, 6)]
    heights = [figure.get_size_inches()[1] for figure in figures]
    assert np.diff(heights) == pytest.approx([2 * charts._ROW_HEIGHT, 8 * charts._ROW_HEIGHT])
    plots = [figure.axes[0].get_position().height * height for figure, height in zip(figures, heights, strict=True)]
    assert plots == pytest.approx([charts._PLOT_HEIGHT] * 3)


def test_a_chart_holds_the_series_and_its_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [0.5, 0.25, 0.75])
    chart = charts.CHARTS[1]
    figure = charts._draw_chart(charts._collect_lines([run], chart.series), chart)
    plot, table = figure.axes
    assert plot.get_title() == "Training and Validation Accuracy vs. Epochs"
    assert plot.get_ylabel() == "Dice Score"
    end, train, validation = plot.lines
    assert list(end.get_xdata()) == [3, 3]
    assert end.get_linestyle() == "--"
    assert list(train.get_ydata()) == [1.5, 1.25, 1.75]
    assert list(validation.get_ydata()) == [3.5, 3.25, 3.75]  # at the training size, as the lab's
    assert (train.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert train.get_color() == validation.get_color() == charts.PALETTE[0]
    texts = [text.get_text() for text in table.texts]
    assert texts[:6] == ["Model", "Min", "Max", "Start", "End", "Change (%)"]
    assert texts[6:12] == ["Unet Train Dice", "1.2500", "1.7500", "1.5000", "1.7500", "↑ 16.67%"]
    assert texts[12:] == ["Unet Val Dice", "3.2500", "3.7500", "3.5000", "3.7500", "↑ 7.14%"]
    assert table.texts[6].get_color() == charts.PALETTE[0]
    assert table.get_ylim() == (3, 0)  # a header and two rows, from top to bottom


def test_each_length_of_run_has_its_line_at_the_end(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.5] * 4), make_run(tmp_path / "b", [0.5] * 2, model="resnet34_unet")]
    figure = charts._draw_chart(charts._collect_lines(runs, ("Train Loss", "Val Loss")), charts.CHARTS[0])
    ends = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_color() == charts.FAINT]
    assert ends == [2, 4]


def test_two_runs_of_a_model_are_two_lines(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "first", [0.5]), make_run(tmp_path / "second", [0.6])]
    lines = charts._collect_lines(runs, ("Val Loss",))
    assert [line.label for line in lines] == ["Unet (first) Val Loss", "Unet (second) Val Loss"]
    assert lines[0].colour != lines[1].colour


def test_a_folder_name_is_no_mathematics(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / r"$\broken$", [0.5]), make_run(tmp_path / "b", [0.6])]
    assert len(draw_charts(runs, tmp_path / "out")) == 2
    _, table = charts._draw_chart(charts._collect_lines(runs, ("Val Loss",)), charts.CHARTS[0]).axes
    named = [text for text in table.texts if "broken" in text.get_text()]
    assert [(text.get_text(), text.get_parse_math()) for text in named] == [(r"Unet ($\broken$) Val Loss", False)]


def test_values_that_are_not_finite_are_drawn_as_gaps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [math.nan, math.inf, -math.inf])
    assert len(draw_charts([run], tmp_path / "out")) == 2


def test_runs_without_an_epoch_are_left_out(tmp_path: Path) -> None:
    empty, run = make_run(tmp_path / "empty", []), make_run(tmp_path / "b", [0.5], model="resnet34_unet")
    assert [line.label for line in charts._collect_lines([empty, run], ("Val Loss",))] == ["ResNet34_Unet Val Loss"]
    assert draw_charts([empty], tmp_path / "out") == []
    assert list((tmp_path / "out").iterdir()) == []


# The workbook


def test_the_record_has_the_columns_of_the_lab(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.8, 0.4]), make_run(tmp_path / "b", [0.7, 0.5], model="resnet34_unet")]
    book = open_book(runs, tmp_path)
    assert book.sheetnames[0] == "Record"
    header, first, second = list_rows(book["Record"])
    assert header[:9] == [
        "Epoch",
        *(f"Unet {series}" for series in ("Train Loss", "Train Dice", "Val Loss", "Val Dice")),
        *(f"ResNet34_Unet {series}" for series in ("Train Loss", "Train Dice", "Val Loss", "Val Dice")),
    ]
    assert header[9:] == ["Unet Val Dice (photo size)", "ResNet34_Unet Val Dice (photo size)"]
    assert first == pytest.approx([1, 0.8, 1.8, 2.8, 3.8, 0.7, 1.7, 2.7, 3.7, 4.8, 4.7])
    assert second == pytest.approx([2, 0.4, 1.4, 2.4, 3.4, 0.5, 1.5, 2.5, 3.5, 4.4, 4.5])
    assert book["Record"].freeze_panes == "B2"
    assert book["Record"]["B2"].number_format == "0.0000"


def test_runs_are_merged_on_the_epoch(tmp_path: Path) -> None:
    short = make_run(tmp_path / "a", [0.8])
    resumed = create_run(tmp_path / "b")
    resumed.write_config(TrainConfig(model="resnet34_unet"))
    for epoch in (1, 3):
        resumed.append_epoch(EpochRecord(epoch, epoch / 10, 0, 0, 0, 0, 1e-3, 9.0, 1.0, best=False))
    rows = list_rows(open_book([short, resumed], tmp_path)["Record"])[1:]
    assert [(row[0], row[1], row[5]) for row in rows] == [(1, 0.8, 0.1), (3, None, 0.3)]


def test_two_unets_do_not_overwrite_each_other(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "first", [0.8]), make_run(tmp_path / "second", [0.2])]
    header, values = list_rows(open_book(runs, tmp_path)["Record"])
    record = dict(zip(header, values, strict=True))
    assert record["Unet (first) Train Loss"] == 0.8
    assert record["Unet (second) Train Loss"] == 0.2


def test_the_native_charts_read_the_record(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.8]), make_run(tmp_path / "b", [0.7, 0.6, 0.5], model="resnet34_unet")]
    book = open_book(runs, tmp_path)
    header = list_rows(book["Record"])[0]
    loss, dice = book["Charts"]._charts
    for chart, quantity in ((loss, "Loss"), (dice, "Dice")):
        read = []
        for series in chart.series:
            # All epochs, or a short first run would cut the axis for the others.
            assert series.cat.numRef.f == "Record!$A$2:$A$4"
            column = series.val.numRef.f.removeprefix("Record!$")[0]
            assert series.val.numRef.f == f"Record!${column}$2:${column}$4"
            assert series.tx.strRef.f == f"Record!${column}$1"
            read.append(header[ord(column) - ord("A")])
        assert read == [f"{model} {part} {quantity}" for model in ("Unet", "ResNet34_Unet") for part in ("Train", "Val")]


def test_the_summary_holds_numbers(tmp_path: Path) -> None:
    book = open_book([make_run(tmp_path / "a", [0.8, 0.1, 0.2])], tmp_path)
    header, loss, dice, *_ = list_rows(book["Summary"])
    assert header == ["Model", "Min", "Max", "Start", "End", "Change (%)"]
    assert loss[0] == "Unet Train Loss"
    assert loss[1:] == pytest.approx([0.1, 0.8, 0.8, 0.2, -0.75])
    assert dice[0] == "Unet Train Dice"
    falling_loss, falling_dice = book["Summary"]["F2"], book["Summary"]["F3"]
    assert "0.00%" in falling_loss.number_format
    assert falling_loss.font.color.rgb == "FF" + charts.GOOD[1:]
    assert falling_dice.font.color.rgb == "FF" + charts.BAD[1:]


def test_settings_that_differ_are_bold(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.8], batch_size=8), make_run(tmp_path / "b", [0.7], model="resnet34_unet")]
    sheet = open_book(runs, tmp_path)["Settings"]
    rows = {row[0].value: row for row in sheet.iter_rows()}
    assert [cell.value for cell in rows["Setting"]] == ["Setting", "Unet", "ResNet34_Unet"]
    assert [cell.value for cell in rows["batch_size"]] == ["batch_size", 8, 32]
    assert [cell.value for cell in rows["augment.flip"]] == ["augment.flip", 0.5, 0.5]
    assert {name for name, row in rows.items() if row[1].font.b} == {"Setting", "model", "batch_size"}


def test_a_long_seed_comes_back_whole(tmp_path: Path) -> None:
    sheet = open_book([make_run(tmp_path / "a", [0.8], seed=2**63 - 1)], tmp_path)["Settings"]
    assert dict(list_rows(sheet))["seed"] == str(2**63 - 1)


def test_scores_are_listed_a_split_and_an_image(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [0.8])
    row = ScoreRow("cat_1", 3, 5, TP=3, FP=1, FN=1, TN=10, dice=0.75, iou=0.6, dice_at_size=0.7, metadata={"breed": "cat"})
    run.write_scores("test", [row], STATEMENT)
    run.write_scores("validation", [row], {**STATEMENT, "mean_dice": math.nan})
    book = open_book([run, make_run(tmp_path / "b", [0.7], model="resnet34_unet")], tmp_path)
    assert book.sheetnames[4:] == ["Scores", "Scores Unet validation", "Scores Unet test", "Slices", "Failures"]
    header, validation, test = list_rows(book["Scores"])
    scores = dict(zip(header, test, strict=True))
    assert (scores["Model"], scores["Split"], scores["Images in sheet"]) == ("Unet", "test", "Scores Unet test")
    assert (scores["Mean Dice"], scores["95 % low"], scores["95 % high"]) == (0.94, 0.93, 0.95)
    assert (scores["Pooled Dice"], scores["Dice at training size"], scores["Pairs"]) == (0.96, 0.941, 2)
    assert (scores["Border"], scores["Threshold"], scores["Data hash"]) == ("ignore", 0.5, "+0badc0de")
    assert dict(zip(header, validation, strict=True))["Mean Dice"] is None
    images = list_rows(book["Scores Unet test"])
    columns = [field.name for field in dataclasses.fields(ScoreRow) if field.name != "metadata"]
    assert images[0] == [*columns, "breed"]
    told = {name: value for name, value in zip(images[0], images[1], strict=True) if value not in (None, "")}
    assert list(told.values()) == ["cat_1", 3, 5, 3, 1, 1, 10, 0.75, 0.6, 0.7, "cat"]  # what is unknown stays empty


def test_what_a_statement_or_an_image_lacks_stays_empty(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [0.8])
    rows = [
        ScoreRow("a", 3, 5, 3, 1, 1, 10, 0.75, 0.6, 0.7, metadata={"breed": "cat"}),
        ScoreRow("b", 3, 5, 3, 1, 1, 10, 1, 1, 1),
    ]
    run.write_scores("test", rows, {"mean_dice": 0.9, "pairs": None})
    book = open_book([run], tmp_path)
    header, values = list_rows(book["Scores"])
    given = {name: value for name, value in zip(header, values, strict=True) if value is not None}
    assert given == {"Model": "Unet", "Split": "test", "Mean Dice": 0.9, "Images in sheet": "Scores Unet test"}
    assert [row[-1] or "" for row in list_rows(book["Scores Unet test"])] == ["breed", "cat", ""]


def test_text_is_never_a_formula(tmp_path: Path) -> None:
    nasty = ["=1+1", "+1", "-1", "@SUM(1)", "{=1}", "http://example.org"]
    run = make_run(tmp_path / "a", [0.8], data="=cmd()")
    row = ScoreRow("", 3, 5, 3, 1, 1, 10, 0.75, 0.6, 0.7)
    run.write_scores(
        "test", [ScoreRow(**{**vars(row), "id": text, "metadata": {"=key": text}}) for text in nasty], STATEMENT
    )
    book = open_book([run], tmp_path)
    images = [list(cells) for cells in book["Scores Unet test"].iter_rows()]
    assert [cells[0].value for cells in images[1:]] == nasty
    assert images[0][-1].value == "=key"
    assert {cell.data_type for cells in images for cell in (cells[0], cells[-1])} == {"s"}
    assert not any(cell.hyperlink for cells in images for cell in cells)
    assert all(cell.data_type != "f" for sheet in book for cells in sheet.iter_rows() for cell in cells)


def test_what_is_not_known_stays_empty_and_charts_skip_it(tmp_path: Path) -> None:
    book = open_book([make_run(tmp_path / "a", [math.nan, math.inf])], tmp_path)
    assert [row[1] for row in list_rows(book["Record"])] == ["Unet Train Loss", None, "inf"]
    assert list_rows(book["Summary"])[1] == ["Unet Train Loss", None, None, None, "inf", None]


def test_sheet_names_are_made_to_fit(tmp_path: Path) -> None:
    long = "x" * 40
    folders = [f"{long}1", f"{long}2", "a[b]:c*d?", "a_b__c_d_", "It's"]
    runs = [make_run(tmp_path / folder, [0.8]) for folder in folders]
    for run in runs:
        run.write_scores("test", [ScoreRow(run.name, 3, 5, 3, 1, 1, 10, 0.75, 0.6, 0.7)], STATEMENT)
    book = open_book(runs, tmp_path)
    names = [row[-1] for row in list_rows(book["Scores"])[1:]]
    assert len({name.casefold() for name in names}) == len(folders)
    assert all(len(name) <= 31 and not set("[]:*?/\\'") & set(name) for name in names)
    assert all("test" in name for name in names)
    assert [book[name]["A2"].value for name in names] == folders


def test_a_run_without_an_epoch_has_a_workbook_too(tmp_path: Path) -> None:
    book = open_book([make_run(tmp_path / "a", [])], tmp_path)
    assert list_rows(book["Record"])[0][1] == "Unet Train Loss"
    assert list_rows(book["Summary"])[1] == ["Unet Train Loss", *[None] * 5]


def test_a_workbook_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "performance.xlsx").write_text("old")
    run = make_run(tmp_path / "a", [0.8])
    run.write_scores("test", [], STATEMENT)
    (run.folder / "scores_test.json").write_text("{")
    with pytest.raises(UserError, match=r"scores_test\.json beside it is damaged"):
        write_workbook(read_results([run]), tmp_path / "performance.xlsx")
    assert (tmp_path / "performance.xlsx").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["performance.xlsx"]


def test_slices_and_failures_are_sheets_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [0.8])
    rows = [
        ScoreRow(
            f"{index:02}",
            3,
            5,
            3,
            1,
            1,
            10,
            index / 12,
            0.6,
            0.7,
            failure="hole" if index < 5 else "good",
            object_share=index / 20,
        )
        for index in range(18)
    ]
    run.write_scores("test", rows, STATEMENT)
    book = open_book([run], tmp_path)
    header, *slices = list_rows(book["Slices"])
    first = dict(zip(header, slices[0], strict=True))
    assert [row[3] for row in slices] == ["low", "middle", "high"]
    assert (first["Model"], first["Split"], first["Trait"], first["Photos"]) == ("Unet", "test", "Object size", 6)
    assert first["Mean Dice"] == pytest.approx(2.5 / 12)
    assert (first["From"], first["To"]) == (0, 0.25)
    header, counts = list_rows(book["Failures"])
    told = dict(zip(header, counts, strict=True))
    assert (told["good"], told["hole"], told["missed"]) == (13, 5, 0)


def test_several_scored_runs_have_a_sheet_of_verdicts(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", [0.8]), make_run(tmp_path / "b", [0.7], model="resnet34_unet")]
    told = {**STATEMENT, "fingerprint": "f00", "split": "test"}
    for run, gain in zip(runs, (0.0, 0.1), strict=True):
        rows = [ScoreRow(f"{index:02}", 3, 5, 3, 1, 1, 10, index / 30 + gain, 0.6, 0.7) for index in range(15)]
        run.write_scores("test", rows, told)
    header, row = list_rows(open_book(runs, tmp_path)["Comparison"])
    verdict = dict(zip(header, row, strict=True))
    assert (verdict["A"], verdict["B"], verdict["Verdict"]) == ("Unet", "ResNet34_Unet", "B is better")
    assert (verdict["Question"], verdict["Split"], verdict["Interval over"]) == ("model", "test", "15 photos")
    assert verdict["B less A"] == pytest.approx(0.1)
    assert (verdict["B better on"], verdict["Equal on"], verdict["B worse on"]) == (15, 0, 0)
    runs[1].write_scores("test", rows[1:], told)
    assert "different photos" in list_rows(open_book(runs, tmp_path)["Comparison"])[1][0]


# Pictures


def make_panel(height: int, width: int, *, title: str = "best · a · Dice 1.0000", unjudged: bool = False) -> Panel:
    """A red photo whose left half is predicted and whose upper half is true."""
    pixels = np.zeros((height, width, 3), np.uint8) + np.array([200, 40, 30], np.uint8)
    prediction = np.zeros((height, width), bool)
    prediction[:, : width // 2] = True
    target = np.zeros((height, width), np.uint8)
    target[: height // 2] = 1
    if unjudged:
        target[-(height // 4) :] = 255
    return Panel(title, pixels, prediction, target)


def cut_cells(path: Path, row: int = 0) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    top = MARGIN + pictures.CAPTION_HEIGHT + pictures.TITLE_HEIGHT + row * (pictures.TITLE_HEIGHT + CELL + pictures.GAP)
    lefts = [MARGIN + column * (CELL + pictures.GAP) for column in range(5)]
    return [read_pixels(path)[top : top + CELL, left : left + CELL] for left in lefts]


RED, BLACK, WHITE, UNJUDGED = (200, 40, 30), (0, 0, 0), (255, 255, 255), (GREY,) * 3


def test_five_pictures_a_photo(tmp_path: Path) -> None:
    draw_panels([make_panel(600, 600)], tmp_path / "new" / "panels.png")
    found = []
    for cell in cut_cells(tmp_path / "new" / "panels.png"):
        quarters = [cell[y, x] for y in (75, 225) for x in (75, 225)]  # upper left and right, lower left and right
        found.append([tuple(int(value) for value in quarter) for quarter in quarters])
    original, prediction, truth, cut_prediction, cut_truth = found
    assert original == [RED] * 4
    assert prediction == [WHITE, BLACK, WHITE, BLACK]
    assert truth == [WHITE, WHITE, BLACK, BLACK]
    assert cut_prediction == [RED, BLACK, RED, BLACK]
    assert cut_truth == [RED, RED, BLACK, BLACK]


@pytest.mark.parametrize("size", [(600, 300), (300, 600), (20, 37), (500, 375), (4, 900)])
def test_a_photo_of_any_shape_is_shown_whole_in_its_cell(tmp_path: Path, size: tuple[int, int]) -> None:
    draw_panels([make_panel(*size)], tmp_path / "panels.png")
    original = cut_cells(tmp_path / "panels.png")[0]
    shown = np.abs(original.astype(int) - RED).sum(2) < 10
    height, width = (max(1, round(edge * CELL / max(size))) for edge in size)
    assert (shown.any(1).sum(), shown.any(0).sum()) == (height, width)
    above, left = shown.any(1).argmax(), shown.any(0).argmax()
    assert (above, left) == ((CELL - height) // 2, (CELL - width) // 2)


def test_a_small_mask_keeps_its_edge(tmp_path: Path) -> None:
    draw_panels([make_panel(30, 30)], tmp_path / "panels.png")
    assert set(np.unique(cut_cells(tmp_path / "panels.png")[1])) == {0, 255}


def test_what_is_not_judged_is_grey_and_explained(tmp_path: Path) -> None:
    draw_panels([make_panel(400, 400)], tmp_path / "judged.png")
    draw_panels([make_panel(400, 400), make_panel(400, 400, unjudged=True)], tmp_path / "unjudged.png")
    shown = [tuple(int(value) for value in cell[-10, 10]) for cell in cut_cells(tmp_path / "unjudged.png", row=1)]
    assert shown == [RED, WHITE, UNJUDGED, RED, UNJUDGED]
    row = pictures.TITLE_HEIGHT + CELL + pictures.GAP
    heights = [read_pixels(tmp_path / name).shape[0] for name in ("judged.png", "unjudged.png")]
    assert heights[1] - heights[0] == row + pictures.NOTE_HEIGHT


def test_a_long_title_stays_inside(tmp_path: Path) -> None:
    draw_panels([make_panel(40, 40, title="worst · " + "folder/" * 60 + " · Dice 0.1234")], tmp_path / "panels.png")
    pixels = read_pixels(tmp_path / "panels.png")
    assert (pixels[:, -MARGIN + 2 :] == 255).all()


def test_every_caption_can_be_written() -> None:
    font = pictures._open_font(20)
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    for character in set("".join((*pictures.CAPTIONS, pictures.NOTE, "worst · 0.5…"))) - {" "}:
        assert (font.getmask(character).getbbox(), bytes(font.getmask(character))) != missing, character


def test_panels_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    good = make_panel(4, 6)
    with pytest.raises(ValueError, match="no panels"):
        draw_panels([], tmp_path / "panels.png")
    with pytest.raises(ValueError, match="not of one photo"):
        Panel("a", good.pixels, good.prediction.T, good.target)
    with pytest.raises(ValueError, match="not of one photo"):
        Panel("a", good.pixels[:, :, 0], good.prediction, good.target)
    # Tests check the types of arguments; a caller in use meets the panel's own check.
    object.__setattr__(good, "prediction", good.target)
    with pytest.raises(TypeError, match="not bool: threshold it first"):
        good.__post_init__()


def test_nothing_here_needs_torch_or_a_screen() -> None:
    code = (
        "import sys; import fgbg.judge.charts, fgbg.judge.workbook, fgbg.judge.pictures; "
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
