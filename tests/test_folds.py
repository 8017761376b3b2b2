"""Cross-validation: a run for each fold, their photos scored together, and two of them compared fold by fold."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

import fgbg
from discs import small_config, write_discs
from fgbg.cli import main
from fgbg.config import TrainConfig
from fgbg.errors import UserError
from fgbg.judge.bootstrap import estimate_mean
from fgbg.judge.compare import SIGNIFICANT, compare_runs, describe_comparisons
from fgbg.judge.folds import evaluate_folds
from fgbg.judge.panels import PANELS
from fgbg.judge.pictures import Panel
from fgbg.judge.report import write_report
from fgbg.judge.scoring import Scoring
from fgbg.judge.together import evaluate_together
from fgbg.judge.trainings import FoldDifferences, compare_folds
from fgbg.rows import TESTED_IN, ScoreRow
from fgbg.run import Run, create_run
from fgbg.storage import list_folds
from fgbg.training.folds import train_folds
from test_compare import STATEMENT

pytestmark = pytest.mark.usefixtures("no_charts")
FOLDS = 3
ON_CPU = Scoring(device="cpu", threads=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`runs` with a fold each, on drawn discs, and their joint scores."""
    folder = tmp_path_factory.mktemp("folds")
    config = replace(small_config(folder / "runs", epochs=1), data=str(write_discs(folder)), folds=FOLDS)
    told: list[str] = []
    train_folds(config, say=told.append)
    assert told[0] == f"{folder / 'runs' / 'fold-0'}: fold 0 of 3 tests"
    evaluate_folds(list_folds(folder / "runs"), scoring=ON_CPU)
    yield folder


def test_each_photo_is_scored_once_by_the_model_that_did_not_see_it(home: Path) -> None:
    folders = [home / "runs" / f"fold-{fold}" for fold in (2, 0, 1)]
    evaluation, joint = evaluate_folds(folders, scoring=ON_CPU)
    runs = [fgbg.open_run(home / "runs" / f"fold-{fold}") for fold in range(FOLDS)]
    assert joint.folder == home / "runs", "the folder that holds them"
    assert len(evaluation.rows) == 20
    of_folds = {row.id: (row.dice, f"fold {fold}") for fold, run in enumerate(runs) for row in run.scores("test")}
    assert {row.id: (row.dice, row.metadata[TESTED_IN]) for row in evaluation.rows} == of_folds
    for fold, run in enumerate(runs):
        trained = {photo["id"] for photo in run.split()["train"]}
        assert not trained & {row.id for row in evaluation.rows if row.metadata[TESTED_IN] == f"fold {fold}"}
    told = joint.statement("test")
    assert evaluation.mean_dice == estimate_mean(np.array([row.dice for row in evaluation.rows]))
    assert [fold["mean_dice"] for fold in told["folds"]] == [run.statement("test")["mean_dice"] for run in runs]
    assert sum(fold["pairs"] for fold in told["folds"]) == told["pairs"] == 20
    assert told["fingerprint"] == runs[0].fingerprint
    assert {path.stem for path in joint.thumbnails("test").iterdir()} == {row.id for row in evaluation.rows}
    assert "20 pairs, each in one of 3 folds" in evaluation.describe()
    again, _ = evaluate_folds(folders, scoring=ON_CPU)
    assert again.rows == evaluation.rows
    assert joint.list_stale() == []


@pytest.mark.long
def test_folds_and_their_joint_scores_may_be_moved_together(home: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(home / "runs", tmp_path / "elsewhere")
    joint = fgbg.open_run(runs)
    assert joint.list_stale() == []
    shutil.rmtree(runs / "fold-1")
    assert any("fold-1, which is no longer there" in told for told in joint.list_stale()), "its own fold, not the first one"
    shutil.copytree(home / "runs" / "fold-1", runs / "fold-1")
    again, _ = evaluate_folds(list_folds(runs), scoring=ON_CPU)
    assert again.rows == joint.scores("test")


@pytest.mark.long
def test_a_member_that_is_gone_is_told(home: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(home / "runs", tmp_path / "runs")
    folders = [runs / f"fold-{fold}" for fold in range(FOLDS)]
    _, joint = evaluate_folds(folders, out=tmp_path / "joint", scoring=ON_CPU)
    assert joint.list_stale() == []
    (runs / "fold-1").rename(tmp_path / "elsewhere")
    (told,) = joint.list_stale()
    assert f"of {runs / 'fold-1'}, which is no longer there" in told
    assert "restore it, or score the runs that are left together" in told


@pytest.mark.long
def test_the_page_of_a_cross_validation(home: Path, tmp_path: Path) -> None:
    _, joint = evaluate_folds([home / "runs" / f"fold-{fold}" for fold in range(FOLDS)], scoring=ON_CPU)
    page = write_report([joint], tmp_path / "report").page.read_text(encoding="utf-8")
    assert "each photo is scored by the one model that did not see it" in page
    assert "one model for each fold" in page


@pytest.mark.long
def test_views_of_each_photo_are_averaged_fold_by_fold(home: Path) -> None:
    folders = [home / "runs" / f"fold-{fold}" for fold in range(FOLDS)]
    evaluate_folds(folders, scoring=ON_CPU)
    evaluation, joint = evaluate_folds(folders, tta="flip", scoring=ON_CPU)
    assert joint.folder == home / "runs-flip"
    alone = [evaluate_together([folder], tta="flip", out=home / f"{folder.name}-flip", scoring=ON_CPU) for folder in folders]
    assert {row.id: row.dice for row in evaluation.rows} == {row.id: row.dice for each, _ in alone for row in each.rows}
    assert evaluation.rows != fgbg.open_run(home / "runs").scores("test"), "another look, another score"
    assert "test-time augmentation: flip" in evaluation.describe()
    assert joint.list_stale() == []
    (told,) = compare_runs([fgbg.open_run(home / "runs"), joint])
    assert (told.question, told.sample) == ("folds", "3 folds")


@pytest.mark.long
def test_views_of_runs_of_one_name_are_kept_apart(home: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(home / "runs" / f"fold-{fold}", tmp_path / str(fold) / "run") for fold in range(FOLDS)]
    _, joint = evaluate_folds(folders, tta="flip", out=tmp_path / "joint", scoring=ON_CPU)
    assert [path.name for path in list_folds(joint.folder)] == ["fold-0", "fold-1", "fold-2"]


def test_the_best_and_worst_of_all_folds_are_drawn_by_the_models_that_scored_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Panel] = []
    monkeypatch.setattr("fgbg.judge.panels.draw_panels", lambda panels, path: drawn.extend(panels))
    folders = [home / "runs" / f"fold-{fold}" for fold in range(FOLDS)]
    evaluation, _ = evaluate_folds(folders, scoring=ON_CPU)
    dices = sorted(row.dice for row in evaluation.rows)
    of_all = drawn[-3 * PANELS :]
    assert {panel.title.split()[-1] for panel in of_all[:PANELS]} == {f"{dice:.4f}" for dice in dices[:PANELS]}
    for panel in of_all:
        assert f"{fgbg.dice(panel.prediction, panel.target):.4f}" == panel.title.split()[-1]


@pytest.mark.long
def test_the_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the folds stands for all of them, to score and to go on."""
    assert main(["evaluate", str(home / "runs"), "--device", "cpu"]) == 0
    assert "fold by fold" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(home / "runs")]) == 0
    out = capsys.readouterr().out
    assert out.count("resuming") == FOLDS
    assert out.endswith(f"score them: fgbg evaluate {home / 'runs'}\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("evaluate {runs}/fold-0 {runs}/fold-2", "of 3 folds, 1 missing: name a run for each"),
        ("evaluate {runs}/fold-0 {runs}/fold-0", "both test fold 0: name one run for each fold"),
        ("evaluate {runs} figures", "figures: folds are scored on their own photos"),
        ("evaluate {runs} --tta flip --threshold-for iou", "--threshold-for: several models or views take the mean"),
        (
            "train {data} --folds 3 --out {runs}",
            "holds folds already: choose another folder, or go on with them by --resume",
        ),
        ("train {data} --folds 3 --out {data}", "is not empty: choose another folder"),
        ("predict {runs} {data} --out {home}/p", "holds no best.safetensors"),
    ],
)
def test_mistakes_are_told_in_a_sentence(home: Path, words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.format(runs=home / "runs", data=home / "discs", home=home).split()) == 2
    assert sentence in capsys.readouterr().err


def test_a_cross_validation_that_cannot_begin_leaves_no_folder(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(home / "discs"), "--folds", "3", "--batch-size", "400", "--out"]
    assert main([*words, str(tmp_path / "runs" / "new")]) == 2
    assert "batch" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "new").exists()
    (tmp_path / "mine").mkdir()
    assert main([*words, str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine").is_dir(), "a folder that was there stays"


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_is_none_is_refused_wherever_one_is_cut(home: Path, fold: int) -> None:
    sentence = f"--fold {fold}: name one from 0 to 2, of --folds 3"
    with pytest.raises(UserError, match=sentence):
        fgbg.open_samples(home / "discs", folds=3, fold=fold)
    (problem,) = [each for each in fgbg.check(home / "discs", folds=3, fold=fold).problems if each.kind == "untrainable"]
    assert sentence in problem.detail


@pytest.mark.long
def test_joint_scores_are_no_training_to_go_on_with(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_folds([home / "runs" / f"fold-{fold}" for fold in range(FOLDS)], scoring=ON_CPU)
    before = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*")}
    assert main(["train", "--resume", "--fold", "0", "--out", str(home / "runs")]) == 2
    assert "holds scores of other runs or of masks, and no training to go on with" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*")} == before


def test_folds_are_found_whatever_is_missing(tmp_path: Path) -> None:
    for name in ("fold-10", "fold-2", "fold-old", "other"):
        create_run(tmp_path / name).write_config(TrainConfig())
    (tmp_path / "fold-3").mkdir()
    assert [path.name for path in list_folds(tmp_path)] == ["fold-2", "fold-10"]


def test_one_training_tests_one_fold(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(small_config(tmp_path / "run", epochs=1), data=str(home / "discs"), folds=FOLDS)
    with pytest.raises(UserError, match="--folds 3: one training tests one fold; name it by --fold 0, say"):
        fgbg.train(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="several processes train one fold together"):
        train_folds(config)


# Compared fold by fold


def make_folds(folder: Path, dices: Sequence[Sequence[float]], **settings: object) -> Run:
    """The joint scores of a cross-validation: for each fold, the Dice of its photos."""
    run = create_run(folder)
    run.write_config(TrainConfig(out=str(folder), **settings))  # type: ignore[arg-type]
    rows = [
        ScoreRow(f"photo_{fold}_{place}", 4, 4, 1, 0, 0, 15, float(dice), 0.5, 0.5, metadata={TESTED_IN: f"fold {fold}"})
        for fold, of_fold in enumerate(dices)
        for place, dice in enumerate(of_fold)
    ]
    folds = [{"fold": fold, "pairs": len(of_fold), "training_pairs": 9} for fold, of_fold in enumerate(dices)]
    run.write_scores("test", rows, STATEMENT | {"folds": folds})
    return run


def test_two_cross_validations_by_hand(tmp_path: Path) -> None:
    """Folds of 4 photos, 9 trained: variance of the mean = s² (1/3 + 4/9)."""
    gains = [0.01, 0.02, 0.06]
    a = make_folds(tmp_path / "a", [[0.5] * 4] * 3)
    b = make_folds(tmp_path / "b", [[0.5 + gain] * 4 for gain in gains], model="resnet34_unet")
    (told,) = compare_runs([a, b])
    error = math.sqrt(0.0007 * (1 / 3 + 4 / 9))  # squares about 0.03: 0.0004 + 0.0001 + 0.0009, halved
    assert told.question == "folds"
    assert told.sample == "3 folds"
    assert told.difference.mean == pytest.approx(0.03)
    assert told.difference.low == pytest.approx(0.03 - student.ppf(0.975, 2) * error)
    assert told.p == pytest.approx(2 * student.sf(0.03 / error, 2))
    assert told.verdict == "cannot tell"
    assert "corrected t-test over 3 folds" in describe_comparisons([told], [a, b], "test")
    (by_photos,) = compare_runs([a, b], question="model")
    assert (by_photos.question, by_photos.verdict) == ("model", "B is better")
    assert compare_runs([a, b], question="recipe") == [told]


def test_folds_of_different_sizes_share_their_mean_correction(tmp_path: Path) -> None:
    """Folds of 2, 4 and 6 photos, 9 trained: 2/9, 4/9 and 6/9 are 4/9 on average."""
    sizes, gains = [2, 4, 6], [0.01, 0.02, 0.06]
    a = make_folds(tmp_path / "a", [[0.5] * size for size in sizes])
    b = make_folds(tmp_path / "b", [[0.5 + gain] * size for size, gain in zip(sizes, gains, strict=True)], width=8)
    (told,) = compare_runs([a, b])
    error = math.sqrt(0.0007 * (1 / 3 + 4 / 9))
    assert told.difference.mean == pytest.approx((2 * 0.01 + 4 * 0.02 + 6 * 0.06) / 12), "of all photos"
    assert told.difference.high - told.difference.mean == pytest.approx(student.ppf(0.975, 2) * error)


def test_folds_that_are_cut_differently_are_compared_by_photos(tmp_path: Path) -> None:
    a = make_folds(tmp_path / "a", [[0.5] * 4] * 3)
    b = make_folds(tmp_path / "b", [[0.6] * 4] * 3, model="resnet34_unet")
    moved = [replace(row, metadata={TESTED_IN: "fold 0"}) if row.id == "photo_2_0" else row for row in b.scores("test")]
    b.write_scores("test", moved, b.statement("test"))
    assert compare_runs([a, b])[0].question == "model"
    with pytest.raises(UserError, match=r"a and .*b cannot be compared fold by fold: .* other folds"):
        compare_runs([a, b], question="recipe")


def test_equal_folds_have_no_spread() -> None:
    same = FoldDifferences(np.full(5, 0.1), 0.25)
    assert compare_folds(same, 0.1)[:2] == ((0.1, 0.1, 0.1), 0.0)
    assert compare_folds(FoldDifferences(np.zeros(5), 0.25), 0.0)[:2] == ((0.0, 0.0, 0.0), 1.0)


def test_the_verdict_errs_rarely_where_trainings_share_photos() -> None:
    """Folds' differences that hang together as Nadeau and Bengio assume: the plain t-test errs far more often."""
    random, share = np.random.default_rng(0), 1 / 3
    common = share / (1 + share)  # correlation of two folds' differences
    wrong = plainly_wrong = 0
    for _ in range(2000):
        gaps = math.sqrt(common) * random.normal() + math.sqrt(1 - common) * random.normal(size=5)
        wrong += compare_folds(FoldDifferences(gaps, share), float(gaps.mean()))[1] < SIGNIFICANT
        plainly_wrong += compare_folds(FoldDifferences(gaps, 0.0), float(gaps.mean()))[1] < SIGNIFICANT
    assert wrong / 2000 == pytest.approx(SIGNIFICANT, abs=0.015)
    assert plainly_wrong / 2000 > 0.12
