"""Every silent error seen in published implementations is reported in words, and a lawful pipeline raises no alarm."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from planted import MUTATIONS, Mutation, make_parts

import fgbg
from discs import make_samples, small_config
from fgbg.data.samples import understand_samples
from fgbg.engine import Engine
from fgbg.judge.calibration import describe_calibration
from fgbg.judge.evaluate import count_by_probability
from fgbg.judge.runs import choose_on_validation
from fgbg.models.checkpoint import load_model, read_header, replace_header
from fgbg.run import Run
from fgbg.training.checks.finding import Finding
from fgbg.training.checks.folder import check_run

PAGE = Path(__file__).parents[2] / "docs" / "selfcheck.md"


pytestmark = pytest.mark.usefixtures("no_charts")


def look_for(mutation: Mutation | None, out: Path) -> tuple[list[Finding], bool]:
    """What the self-check of a training with that error wrote, and whether it stopped."""
    parts = make_parts() | ({mutation.seam: mutation.plant()} if mutation else {})
    stopped = False
    try:
        fgbg.train(small_config(out, epochs=2, selfcheck=True), **parts)
    except fgbg.UserError as error:
        assert "--no-selfcheck" in str(error)
        stopped = True
    found = fgbg.open_run(out).selfcheck()
    assert found is not None
    return [Finding(**finding) for finding in found], stopped


def make_row(number: int, error: str, seam: str, finding: Finding) -> str:
    """A line of the table in docs/selfcheck.md."""
    return f"| {number} | {error} | {seam} | {'stops' if finding.stops else 'notes'} | {finding.sentence} |"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.number} {mutation.error}")
def test_a_planted_error_is_reported_in_plain_words(tmp_path: Path, mutation: Mutation) -> None:
    findings, stopped = look_for(mutation, tmp_path / "run")
    reported = [finding for finding in findings if not finding.passed]
    named = [finding for finding in reported if mutation.words in finding.sentence]
    assert len(named) == 1, reported
    assert named[0].stops == mutation.stops == stopped
    assert make_row(mutation.number, mutation.error, mutation.seam, named[0]) in PAGE.read_text().splitlines()


def test_a_lawful_pipeline_of_own_parts_raises_no_alarm(tmp_path: Path) -> None:
    findings, _ = look_for(None, tmp_path / "run")
    assert [finding for finding in findings if not finding.passed] == []


def test_the_list_is_complete() -> None:
    assert {mutation.number for mutation in MUTATIONS} == set(range(1, 13))
    numbers = re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    assert set(map(int, numbers)) == set(range(1, 14))


# Number 13: the threshold searched on the test set. Its seam is the run folder.


@pytest.fixture(scope="module")
def clean_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of discs with 5 test photos."""
    samples = [replace(sample, split="test") if index % 4 == 3 else sample for index, sample in enumerate(make_samples(20))]
    out = tmp_path_factory.mktemp("clean") / "run"
    run = fgbg.train(small_config(out, epochs=1, selfcheck=True), samples=samples)
    assert [finding for finding in check_run(run.folder) if not finding.passed] == []
    return run


@pytest.fixture
def run(clean_run: Run, tmp_path: Path) -> Run:
    """A copy to plant an error in."""
    return Run(shutil.copytree(clean_run.folder, tmp_path / "run"))


def find_threshold(run: Run) -> Finding:
    (finding,) = [finding for finding in check_run(run.folder) if finding.name == "threshold"]
    assert finding.stops
    return finding


def take_test_photos() -> list[fgbg.Sample]:
    return [replace(sample, split="test") for index, sample in enumerate(make_samples(20)) if index % 4 == 3]


def test_a_threshold_searched_on_the_test_photos_is_reported(run: Run) -> None:
    predictor, header = load_model(run.best)
    test = understand_samples("discs", take_test_photos())
    choose_on_validation(run, predictor, header, test, engine=Engine("cpu", "fp32", 1))
    finding = find_threshold(run)
    assert "among them 5 test photos" in finding.sentence
    line = make_row(13, "threshold searched on the test set", "run folder", finding).replace(str(run.folder), "RUN")
    assert line in PAGE.read_text().splitlines()


def test_a_threshold_that_calibration_says_is_of_the_test_photos_is_reported(run: Run) -> None:
    predictor, header = load_model(run.best)
    test = understand_samples("discs", take_test_photos())
    engine = Engine("cpu", "fp32", 1)
    histograms = count_by_probability(predictor, test, engine=engine, border=header.border)
    run.write_calibration(describe_calibration(histograms, "dice", 5, "test"))
    finding = find_threshold(run)
    assert "searched on the test photos" in finding.sentence
    line = make_row(13, "… as calibration.json says", "run folder", finding).replace(str(run.folder), "RUN")
    assert line in PAGE.read_text().splitlines()


def test_a_threshold_set_by_hand_is_reported(run: Run) -> None:
    replace_header(run.best, replace(read_header(run.best), threshold=0.37))
    finding = find_threshold(run)
    assert "the model's threshold is 0.37 and validation chose 0.5" in finding.sentence
    line = make_row(13, "… and written into the model", "run folder", finding).replace(str(run.folder), "RUN")
    assert line in PAGE.read_text().splitlines()
    (run.folder / "calibration.json").unlink()
    assert "nothing says that validation chose it" in find_threshold(run).sentence
