"""The page: one file, whole without a network or a script, true to the run folders, harmless whatever names they hold."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_runs import rescore, write_fake_run
from fgbg import cli
from fgbg.errors import UserError
from fgbg.judge.bootstrap import Estimate
from fgbg.judge.distances import boundary_iou
from fgbg.judge.failures import FAILURES
from fgbg.judge.metrics import iou
from fgbg.judge.page import gallery, versus
from fgbg.judge.page.drawings import BARS, dice_bins, draw_curve, slice_key, slice_link
from fgbg.judge.page.gallery import choose_pictures, escape_json
from fgbg.judge.page.render import render_page
from fgbg.judge.page.svg import Axis, path, round_ticks, tag
from fgbg.judge.page.tables import (
    count_failures,
    rank_by_spread,
    tabulate_failures,
    tabulate_slices,
)
from fgbg.judge.page.wording import (
    DASH,
    describe_doubt,
    describe_meaning,
    list_measures,
    list_rules,
    list_spread,
    percent,
    word,
)
from fgbg.judge.ranking import pick_extremes, rank_rows
from fgbg.judge.report import write_record, write_report
from fgbg.judge.results import read_results
from fgbg.judge.slices import Slice, slice_rows
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.storage import make_folder

COUNT = 24
VOID = {"meta", "link", "img", "input", "br", "hr"}
BAD_NAME = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """A parsed page; reading it fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attributes}) == len(attributes), f"an attribute twice in {name}"
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open:
            self.said.setdefault(self.open[-1], []).append(data)

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == name]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]

    @property
    def data(self) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="photos">(.*?)</script>', self.text, re.DOTALL)
        assert found
        return json.loads(found[1])

    @property
    def words(self) -> str:
        return " ".join(" ".join(each) for name, each in self.said.items() if name not in ("script", "style"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "first", count=COUNT, seed=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_fake_run(
        tmp_path_factory.mktemp("runs") / "second", count=COUNT, seed=2, blunder=0.5, model="resnet34_unet"
    )


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(render_page(read_results([run]), "test"))


@pytest.fixture(scope="module")
def pair(run: Run, other: Run) -> Page:
    return Page(render_page(read_results([run, other]), "test"))


# One file


@pytest.mark.parametrize("which", ["page", "pair"])
def test_the_page_is_one_file(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", page.text)
    for _, attributes in page.tags:
        for key in ("src", "srcset", "action", "poster", "data"):
            assert (attributes.get(key) or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
        assert not any(key.startswith("on") for key in attributes), "a handler in the page's text would need looser rules"


def test_the_page_forbids_itself_everything_else(page: Page) -> None:
    rules = next(str(meta["content"]) for meta in page.of("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in rules
    assert "unsafe-inline" not in rules.partition("script-src")[2]


def test_report_workbook_and_charts_lie_side_by_side(run: Run, tmp_path: Path) -> None:
    report = write_report([run], tmp_path / "out")
    assert report.page == tmp_path / "out" / "report.html"
    assert report.workbook.name == "performance.xlsx"
    assert [chart.name for chart in report.charts] == ["loss.png", "dice.png"]
    assert report.methods.name == "methods.md"
    assert all(path.is_file() for path in (report.page, report.methods, report.workbook, *report.charts))
    assert not (run.folder / "report.html").exists()


def test_a_methods_file_that_was_edited_stays_and_the_new_one_lies_beside(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgbg.judge.report._write_files", lambda results, folder: (make_folder(folder), []))
    first = write_report([run], tmp_path / "out").methods
    written = first.read_text(encoding="utf-8")
    assert write_report([run], tmp_path / "out").methods == first, "what nobody edited is replaced"
    edited = written.replace("# Methods", "# What we did")
    first.write_text(edited, encoding="utf-8")
    for _ in range(2):
        assert cli.main(["report", str(run.folder), "--out", str(tmp_path / "out")]) == 0
        assert first.read_text(encoding="utf-8") == edited
        assert (tmp_path / "out" / "methods-2.md").read_text(encoding="utf-8") == written
        told = capsys.readouterr().out.splitlines()
        assert told[-1] == f"{first} is not as fgbg wrote it, and stays: this report's is methods-2.md"
        assert "in methods-2.md" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in sorted((tmp_path / "out").glob("*.md"))] == ["methods-2.md", "methods.md"]
    first.write_text("Notes of my own", encoding="utf-8")
    write_report([run], tmp_path / "out")
    assert first.read_text(encoding="utf-8") == "Notes of my own"


def test_a_name_of_scores_that_no_run_has_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no scores_tset\.csv: did you mean 'test'\?"):
        write_report([run], tmp_path / "out", "tset")
    assert not (tmp_path / "out").exists()


def test_pictures_stay_within_their_budget(run: Run) -> None:
    rows = run.scores("test")
    everything = choose_pictures(run, rows, "test", gallery.PICTURE_BUDGET_BYTES)
    assert len(everything) == COUNT
    sizes = {key: len(photo) + len(outcome) for key, (photo, outcome) in everything.items()}
    budget = sum(sizes.values()) // 2
    some = choose_pictures(run, rows, "test", budget)
    assert 0 < sum(sizes[key] for key in some) <= budget
    ranked = [row.id for row in rank_rows(rows)]
    assert list(some)[:2] == [ranked[0], ranked[-1]]  # the worst, then the best
    # 611 photos of 128 px take at most 10 kB each, before base64 adds a third.
    assert gallery.PICTURE_BUDGET_BYTES * 4 / 3 < 7_000_000


def test_a_page_whose_pictures_did_not_fit_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PICTURE_BUDGET_BYTES", 3000)
    page = Page(render_page(read_results([run]), "test"))
    shown = [photo for photo in page.data["photos"] if photo["picture"] >= 0]
    assert 0 < len(shown) == len(page.data["pictures"]) < COUNT
    assert f"Pictures of {len(shown)} photo" in page.words


def test_nothing_that_writes_the_page_imports_torch() -> None:
    code = "import sys, fgbg.judge.report, fgbg.judge.page.render; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# What it says


def test_the_legend_of_the_curves_is_dashed_where_the_curve_is() -> None:
    css = Path(gallery.__file__).with_name("report.css").read_text(encoding="utf-8")
    rules = {
        (part, kind): re.search(rf"\.{part}\.{kind}[^{{]*{{([^}}]*)}}", css)[1]
        for part in ("line", "key")
        for kind in ("train", "validation")
    }
    dashed = {part: [kind for kind in ("train", "validation") if "dash" in rules[part, kind]] for part in ("line", "key")}
    assert dashed["line"] == dashed["key"] == ["validation"], "as in the charts and in the workbook"


def test_the_headline_is_the_statements(page: Page, run: Run) -> None:
    told = run.statement("test")
    exact = next(attributes["data-exact"] for _, attributes in page.tags if "data-exact" in attributes)
    assert exact == f"{told['mean_dice']:.4f}"
    for key in ("pooled_dice", "mean_iou", "mean_boundary_iou", "mean_precision", "mean_recall", "dice_at_size"):
        assert f"{told[key]:.4f}" in page.words, key
    for key in ("mean_surface_distance", "mean_hausdorff95"):
        assert f"{told[key]:.2f} px" in page.words, key
    assert f"{told['mean_dice_low']:.3f} to {told['mean_dice_high']:.3f}" in page.words
    assert told["fingerprint"] in page.words
    assert f"In {COUNT} photos the model’s object and the true one overlap to {told['mean_dice']:.2f}" in page.words


def test_every_photo_is_in_the_page(page: Page, run: Run) -> None:
    rows = run.scores("test")
    photos = page.data["photos"]
    assert [photo["id"] for photo in photos] == [row.id for row in rows]
    keys = [column["key"] for column in page.data["columns"]]
    for photo, row in zip(photos, rows, strict=True):
        assert photo["kind"] == row.failure
        assert photo["values"][keys.index("dice")] == pytest.approx(row.dice, abs=1e-5)
        assert photo["values"][keys.index("TP")] == row.TP
        assert photo["picture"] >= 0


def test_worst_median_and_best_are_there_without_a_script(page: Page, run: Run) -> None:
    picks = page.text[page.text.index('id="picks"') : page.text.index("<dialog")]
    ranked = rank_rows(run.scores("test"))
    assert re.findall(r'class="name">([^<]*)<', picks)[:8] == [row.id for row in ranked[:8]]
    assert re.findall(r'class="name">([^<]*)<', picks)[-8:] == [row.id for row in ranked[:-9:-1]]
    assert picks.count("<img") == 2 * 24


def test_links_lead_to_what_they_promise(page: Page, run: Run) -> None:
    rows = run.scores("test")
    data = page.data
    slices = {each["key"]: each for each in data["slices"]}
    links = [str(link["href"]) for link in page.of("a") if str(link["href"]).startswith("#gallery&")]
    assert len(links) > 20
    for link in links:
        wanted = {key: values[0] for key, values in parse_qs(link.partition("&")[2]).items()}
        assert set(wanted) <= {"kind", "slice", "dice"}
        if "kind" in wanted:
            assert any(row.failure == wanted["kind"] for row in rows)
        if "slice" in wanted:
            assert slices[wanted["slice"]]["photos"]
    for link in page.of("a"):
        address = str(link["href"])
        if not address.startswith("#gallery&"):
            assert unquote(address[1:]) in page.ids


def test_a_bar_counts_the_photos_that_its_link_shows(page: Page, run: Run) -> None:
    dices = [photo["values"][0] for photo in page.data["photos"]]
    bars = [link for link in page.of("a") if "aria-label" in link and "Dice of" in str(link["aria-label"])]
    promised = 0
    for bar in bars:
        low, high = map(float, str(bar["href"]).partition("dice=")[2].split("-"))
        shown = [dice for dice in dices if low <= dice < high or (high == 1 and dice == 1)]
        promised += len(shown)
        assert str(bar["aria-label"]).startswith(f"Show the {len(shown)} photo")
    assert promised == COUNT


@given(st.lists(st.floats(0, 1)))
@settings(deadline=None, derandomize=True)
def test_every_score_is_in_one_bar(scores: list[float]) -> None:
    counts = dice_bins(scores)
    assert len(counts) == BARS
    assert sum(counts) == len(scores)


def test_bars_by_hand() -> None:
    # 0.05 and 0.15 have no exact double, and 0.15 * 20 is 3: each belongs to the bar that begins with it.
    assert dice_bins([0.0, 0.049, 0.05, 0.15, 0.95, 1.0])[:4] == [2, 1, 0, 1]
    assert dice_bins([0.0, 0.049, 0.05, 0.15, 0.95, 1.0])[-1] == 2


def test_settings_and_environment_are_told(page: Page) -> None:
    for words in ("learning_rate", "augment.flip", "0.001", "command", "python"):
        assert words in page.words


def test_a_column_named_as_a_trait_is_another_slice(page: Page) -> None:
    keys = [each["key"] for each in page.data["slices"]]
    assert len(keys) == len(set(keys))
    assert {"trait:irregularity:low", "own:irregularity:low"} <= set(keys)


def test_the_gallery_needs_no_pictures(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "light", count=10)
    for folder in (run.thumbnails("test"), run.outcomes("test")):
        for file in folder.iterdir():
            file.unlink()
    page = Page(render_page(read_results([run]), "test"))
    assert page.data["pictures"] == []
    assert "This run folder has no pictures" in page.words


def test_an_installed_copy_knows_no_commit(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=10)
    path = run.folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": None, "dirty": None}))
    page = Page(render_page(read_results([run]), "test"))
    assert "None" not in page.words
    assert "not known" in page.words


def test_numbers_that_are_not_there_are_dashes(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=10)
    rows = [replace(run.scores("test")[0], dice=math.nan, hausdorff95=math.inf, failure=""), *run.scores("test")[1:]]
    told = run.statement("test")
    for key in ("mean_boundary_iou", "mean_hausdorff95", "uncertainty_correlation", "threshold_reason", "tta", "members"):
        told.pop(key)
    run.write_scores("test", rows, told | {"mean_recall": None})
    page = Page(render_page(read_results([run]), "test"))
    assert page.data["photos"][0]["values"][0] is None
    assert DASH in page.words
    assert "nan" not in page.words.lower().split()
    assert "None" not in page.words


# Names are users' strings


def test_no_name_can_break_out(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "<b>bold & co", count=10, names=["A&B"], model="unet")
    rescore(run, {"id": BAD_NAME, "metadata": {BAD_NAME: BAD_NAME}, "group": BAD_NAME, "failure": BAD_NAME})
    page = Page(render_page(read_results([run]), "test"))
    assert [script.get("id") or script.get("type") for script in page.of("script")] == ["photos", None]
    assert page.of("b") == [each for each in page.of("b") if each == {}]
    assert all((image.get("src") or "").startswith("data:") for image in page.of("img"))
    assert {photo["id"] for photo in page.data["photos"]} == {BAD_NAME}
    assert page.data["metadata"] == [BAD_NAME]
    assert "bold & co" in page.words


def test_no_name_can_break_out_of_a_comparison(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / folder, count=10, seed=seed) for seed, folder in enumerate(["<script>a", 'b" onx="'])]
    for run in runs:
        rows = [replace(row, id=f"{BAD_NAME}{number}") for number, row in enumerate(run.scores("test"))]
        run.write_scores("test", rows, run.statement("test"))
    page = Page(render_page(read_results(runs), "test"))
    assert len(page.of("script")) == 1
    assert not any("onx" in attributes for _, attributes in page.tags)


@given(st.text())
@settings(deadline=None, derandomize=True)
def test_json_is_safe_in_a_script_element_and_unchanged(name: str) -> None:
    text = str(escape_json({"id": name}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"id": name}


# Keyboard, screen readers, paper


@pytest.mark.parametrize("which", ["page", "pair"])
def test_what_a_keyboard_and_a_screen_reader_need_is_there(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    assert page.of("html")[0]["lang"] == "en"
    assert page.of("a")[0] == {"class": "skip", "href": "#main"}
    assert len(page.of("h1")) == 1
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert len(page.ids) == len(set(page.ids))
    assert all("alt" in image for image in page.of("img"))
    assert page.text.count("<caption>") == len(page.of("table"))
    assert all(header.get("scope") in ("col", "row") for header in page.of("th"))
    for drawing in page.of("svg"):
        assert drawing.get("aria-hidden") == "true" or drawing.get("aria-label")
    for _, attributes in page.tags:
        for key in ("aria-labelledby", "for"):
            assert attributes.get(key) is None or attributes[key] in page.ids
        assert attributes.get("role") != "region" or attributes.get("aria-label")


def test_the_style_knows_dark_rooms_paper_and_focus(page: Page) -> None:
    for words in ("prefers-color-scheme: dark", "@media print", ":focus-visible", "tabular-nums", "prefers-reduced-motion"):
        assert words in page.text


# Parts that a run may lack


def test_a_run_without_scores_says_how_to_get_them(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "my run", count=0, epochs=3)
    page = Page(write_report([run], tmp_path / "out").page.read_text(encoding="utf-8"))
    assert f"fgbg evaluate '{run.folder}' --split test" in page.words
    assert f"fgbg evaluate '{run.folder}' --split validation" in page.words
    assert "How it learnt" in page.words
    assert "gallery" not in page.ids


def test_scores_without_epochs_are_enough(tmp_path: Path) -> None:
    """As in the folder of an ensemble."""
    run = write_fake_run(tmp_path / "ensemble", count=10, epochs=0, calibrated=False)
    run.write_scores("test", run.scores("test"), run.statement("test") | {"tta": "flip", "members": ["a", "b"]})
    report = write_report([run], tmp_path / "out")
    page = Page(report.page.read_text(encoding="utf-8"))
    assert report.charts == []
    assert "averaged: a, b" in page.words
    assert "has no epochs of its own" in page.words
    assert "Reliability is measured for single models" in page.words


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "begun", count=0, epochs=0)
    with pytest.raises(UserError, match="neither a finished epoch nor test scores"):
        write_report([run], tmp_path / "out")
    with pytest.raises(UserError, match="no finished epoch"):
        write_record([run], tmp_path / "out")
    with pytest.raises(UserError, match="which runs"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_named_twice_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="named twice"):
        write_report([run, Run(run.folder / ".." / run.folder.name)], tmp_path)


def test_other_data_have_a_page_of_their_own(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=10, split="nuclei_test", calibrated=False)
    page = Page(render_page(read_results([run]), "nuclei_test"))
    assert "fgbg evaluate" in page.words  # for the calibration
    assert len(page.data["photos"]) == 10


# Several runs


def test_runs_stand_side_by_side(pair: Page, run: Run, other: Run) -> None:
    for each in (run, other):
        told = each.statement("test")
        assert f"{told['mean_dice']:.4f}" in pair.words
        assert f"{told['mean_dice_low']:.4f} – {told['mean_dice_high']:.4f}" in pair.words
        assert each.name in pair.words
    assert "2 runs, side by side" in pair.words
    assert "photos" not in pair.ids  # all photos are in a run's own page
    assert pair.text.count('class="disagreement"') == min(versus.CHANGED_PHOTOS, COUNT)


def test_photos_stand_in_the_order_of_their_difference(pair: Page, run: Run, other: Run) -> None:
    scores = [{row.id: row.dice for row in each.scores("test")} for each in (run, other)]
    gaps = {key: abs(scores[0][key] - scores[1][key]) for key in scores[0]}
    shown = re.findall(r'class="disagreement"[^>]*>\s*<figcaption>([^<]*)<', pair.text)
    assert shown == sorted(gaps, key=lambda key: (-gaps[key], key))[: len(shown)]


def test_runs_that_cannot_be_compared_say_why(run: Run, tmp_path: Path) -> None:
    unscored = write_fake_run(tmp_path / "unscored", count=0)
    page = Page(render_page(read_results([run, unscored]), "test"))
    assert "No verdict" in page.words
    assert "fgbg evaluate" in page.words
    assert f"{run.statement('test')['mean_dice']:.4f}" in page.words
    assert "changed" not in page.ids


@pytest.mark.long
def test_three_runs_have_three_comparisons(run: Run, other: Run, tmp_path: Path) -> None:
    third = write_fake_run(tmp_path / "third", count=COUNT, seed=3, width=32)
    page = Page(render_page(read_results([run, other, third]), "test"))
    assert len([1 for name, each in page.tags if name == "article" and each.get("class") == "verdict"]) == 3
    assert page.text.count("run-2") > 3


# Tables


def row(number: int, dice: float, failure: str = "good") -> ScoreRow:
    return ScoreRow(f"photo_{number}", 4, 4, 1, 0, 0, 15, dice=dice, iou=0.5, dice_at_size=0.5, failure=failure)


def test_failures_are_counted() -> None:
    rows = [row(0, 1.0), row(1, 0.5, "hole"), row(2, 0.7, "hole"), row(3, math.nan, "missed")]
    counted = {each.kind: each for each in count_failures(rows)}
    assert list(counted) == list(FAILURES)
    assert (counted["hole"].photos, counted["hole"].share) == (2, 0.5)
    assert counted["hole"].mean_dice == pytest.approx(0.6)
    assert counted["missed"].mean_dice is None
    assert counted["extra blob"].photos == 0
    assert count_failures([row(0, 1.0, "")]) == []
    assert count_failures([row(0, 1.0, "new kind")])[-1].kind == "new kind"


def test_tables_have_a_cell_for_each_column(run: Run, other: Run) -> None:
    rows = run.scores("test")
    for table in (tabulate_failures(rows), tabulate_slices(slice_rows(rows))):
        assert all(len(line) == len(table.columns) for line in table.rows)
    ranked = rank_by_spread({"a": rows, "b": other.scores("test")})
    assert all(len(values) == 2 for _, values, _ in ranked)
    assert len(ranked) == COUNT


def test_the_extremes_by_hand() -> None:
    dices = [0.5, 0.9, math.nan, 0.1, 0.9, 0.7, 0.3]  # ranked: 3, 6, 0, 5, 1, 4, since of equal ones the name decides
    picked = pick_extremes([row(number, dice) for number, dice in enumerate(dices)], 2)
    found = {kind: [each.id.removeprefix("photo_") for each in rows] for kind, rows in picked.items()}
    assert found == {"worst": ["3", "6"], "median": ["0", "5"], "best": ["4", "1"]}
    alone = pick_extremes([row(0, 0.5), row(1, math.nan)], 3)
    assert [[each.id for each in rows] for rows in alone.values()] == [["photo_0"]] * 3  # it is all of them


def test_photos_by_how_far_runs_are_apart() -> None:
    rows = {"a": [row(0, 0.9), row(1, 0.5), row(2, 0.1)], "b": [row(0, 0.8), row(1, 0.9), row(3, 1.0)]}
    ranked = rank_by_spread(rows)
    assert [(key, values) for key, values, _ in ranked] == [("photo_1", [0.5, 0.9]), ("photo_0", [0.9, 0.8])]
    assert [spread for *_, spread in ranked] == pytest.approx([0.4, 0.1])
    assert rank_by_spread({"a": [row(0, math.nan)], "b": [row(0, 1.0)]}) == []


# Words and drawings


def test_numbers_in_words() -> None:
    assert word(-0.5, 2) == "−0.50"
    assert word(math.inf) == DASH
    assert percent(math.nan) == DASH
    assert [describe_doubt(value).rpartition(": ")[2] for value in (-0.63, -0.3, 0.1)] == [
        "photos that it doubts are worth looking at first.",
        "its doubt is a weak hint of where it fails.",
        "its doubt does not say where it fails.",
    ]
    assert "by −0.63 (Spearman)" in describe_doubt(-0.63)


def test_rules_tell_what_was_left_out(run: Run) -> None:
    told = run.statement("test") | {
        "groups": 7,
        "both_empty_count": 3,
        "empty": "nan",
        "empty_truth_count": 8,
        "false_alarm_rate": 0.25,
    }
    rules = {fact.name: fact for fact in list_rules(told)}
    assert "7 groups of photos" in rules["Scored"].meaning
    assert rules["Empty photos"].value == "3"
    assert "left out of the means" in rules["Empty photos"].meaning
    assert "Of 8 photos without an object, 25 % have a false alarm" in rules["Empty photos"].meaning


def test_what_is_said_of_half_the_photos_holds_where_many_score_the_same() -> None:
    rows = [row(number, 0.4 if number < 5 else 1.0) for number in range(15)]
    sentence = describe_meaning({"pairs": 15, "mean_dice": 0.8}, rows)
    assert sentence.endswith("At least half of the photos score 1.00 or more, and at least one in ten 0.40 or less.")
    near = describe_meaning({"pairs": 10, "mean_dice": 0.8}, [row(number, 0.996) for number in range(10)])
    assert near.endswith("At least half of the photos score 0.99 or more, and at least one in ten 1.00 or less.")
    facts = {fact.name: fact for fact in list_spread(rows)}
    assert facts["Median"].meaning == "at least half of the photos score this or more, and at least half this or less"
    assert facts["Middle half"].meaning == (
        "at least a quarter of the photos score the first or less, and at least a quarter the second or more"
    )


def test_a_boundary_iou_that_is_the_iou_is_told_as_that() -> None:
    """Where the band along the outline is as wide as the object, no outline is judged."""
    truth, found = np.zeros((2, 200, 200), bool)
    truth[50:54, 50:54], found[51:55, 50:54] = True, True
    small = replace(row(0, 0.75), TP=12, FP=4, FN=4, iou=iou(found, truth), boundary_iou=boundary_iou(found, truth))
    large, empty = replace(row(1, 0.9), boundary_iou=0.3), replace(row(2, 0.0), TP=0, iou=0.0, boundary_iou=0.0)
    missed, perfect = (replace(row(3, dice), iou=dice, boundary_iou=dice) for dice in (0.0, 1.0))  # which say nothing

    def say(*rows: ScoreRow) -> str:
        return next(fact.meaning for fact in list_measures({}, rows) if fact.name == "Boundary IoU")

    assert say(large) == say(small, large, large) == say(missed, perfect, empty) == "the same, but only along the outlines"
    assert say(small, large, missed, empty) == say(small, large, missed) == "the same, but only along the outlines"
    told = "the same, but only along the outlines; on 1 of 2 photos the band covers the whole object: there it is the IoU"
    assert say(small, large, empty) == told


@pytest.mark.parametrize("seen", [0, 2])
def test_photos_that_reliability_was_measured_on_are_not_called_others(tmp_path: Path, seen: int) -> None:
    run = write_fake_run(tmp_path / "run", count=4)
    run.write_scores("test", run.scores("test"), run.statement("test") | {"seen_count": seen})
    assert ("never on those scored here" in render_page(read_results([run]), "test")) == (seen == 0)


def test_the_spread_by_hand() -> None:
    facts = {fact.name: fact for fact in list_spread([row(n, dice) for n, dice in enumerate([0.2, 0.6, 0.8, 1.0])])}
    assert facts["Median"].value == "0.7000"
    assert facts["0.95 and more"].value == "1 (25.0 %)"
    assert facts["Below 0.5"].link == "#gallery&dice=0.00-0.50"
    assert list_spread([]) == []


def test_a_slices_address_survives_any_name() -> None:
    each = Slice("breed & co", "breed & co", "", "A/B: 50%", math.nan, math.nan, ("a",), Estimate(0.5, 0.4, 0.6))
    assert parse_qs(slice_link(each).partition("&")[2])["slice"] == [slice_key(each)]


def test_axes_and_ticks() -> None:
    assert Axis(0, 1, 100, 0).place(0.25) == 75
    assert Axis(3, 3, 0, 10).place(3) == 0  # one value has no length
    assert round_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert round_ticks(2, 2) == [2]


def test_a_curve_breaks_where_a_value_is_missing(run: Run) -> None:
    assert 'd="M0 0 M2 2 L3 3"' in path([(0, 0), (1, math.nan), (2, 2), (3, 3)], "line")
    records = [replace(record, val_loss=math.nan) for record in run.epochs()]
    assert "null" in draw_curve(records, "loss")
    assert draw_curve(records[:1], "dice").count("<circle") == 2  # one epoch is a point, which a line would not show


def test_markup_is_escaped_in_text_and_attributes() -> None:
    assert tag("text", "<b>", title='"&"') == '<text title="&#34;&amp;&#34;">&lt;b&gt;</text>'


def test_one_photo_has_no_interval_to_draw(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / name, count=1, seed=seed, model=name) for seed, name in enumerate(("unet", "linknet"))]
    assert "cannot tell" in Page(render_page(read_results(runs), "test")).words


@pytest.mark.long
def test_an_overlap_that_was_allowed_is_compared_where_it_is_allowed_again(tmp_path: Path) -> None:
    runs = [
        write_fake_run(tmp_path / name, count=12, seed=seed, model=name) for seed, name in enumerate(("unet", "linknet"))
    ]
    told = runs[0].statement("test") | {"overlap": "2 photos trained this model"}
    runs[0].write_scores("test", runs[0].scores("test"), told)
    assert "go on with --allow-overlap" in Page(render_page(read_results(runs), "test")).words
    write_report(runs, tmp_path / "out", allow_overlap=True)
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "go on with --allow-overlap" not in page.words
    assert "2 photos trained this model" in page.words


def test_the_record_is_written_beside_scores_that_cannot_be_read(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=3)
    rows = run.scores_path("test")
    rows.write_text(rows.read_text().replace("figure_00000", "figure_99999"))
    write_record([run], run.folder)
    assert (run.folder / "performance.xlsx").exists()
    with pytest.raises(UserError, match="score the photos again"):
        write_report([run], tmp_path / "out")
