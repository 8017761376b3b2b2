"""Masks that another tool or a second annotator made are scored by the rules of every other score."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fgbg
from discs import small_config, write_discs
from fgbg.cli import main
from fgbg.data.given_masks import read_given_masks
from fgbg.data.samples import SampleSet
from fgbg.data.sources import open_samples
from fgbg.errors import UserError
from fgbg.judge.compare import compare_runs, describe_comparisons
from fgbg.judge.evaluate_masks import evaluate_masks
from fgbg.judge.methods.describe import describe_methods
from fgbg.judge.names import UNKNOWN_MAKER
from fgbg.judge.page.render import render_page
from fgbg.judge.results import read_results
from fgbg.judge.runs import evaluate_run
from fgbg.judge.scoring import Scoring
from fgbg.judge.statement import summarise
from fgbg.rows import ScoreRow
from fgbg.training.checks.folder import check_run

pytestmark = pytest.mark.usefixtures("no_charts")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scored run, `run`, on drawn discs, and in `answers` the masks that its model predicts."""
    folder = tmp_path_factory.mktemp("given")
    data = write_discs(folder)
    run = fgbg.train(replace(small_config(folder / "run", epochs=8, learning_rate=1e-2), data=str(data)))
    evaluate_run(run.folder, device="cpu", threads=1)
    model = fgbg.load(run.folder)
    (folder / "answers").mkdir()
    for sample in open_samples(str(data)).of("test").samples:
        answer = model(sample.read_pixels()) > model.threshold
        Image.fromarray(answer.astype(np.uint8) * 255).save(folder / "answers" / f"{sample.id}.png")
    yield folder


@pytest.fixture
def photos(tmp_path: Path) -> SampleSet:
    """Two photos of 2 × 4 pixels, a and b, whose left half is object."""
    truth = np.array([[255, 255, 0, 0]] * 2, np.uint8)
    for kind, pixels in {"images": np.zeros((2, 4, 3), np.uint8), "masks": truth}.items():
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name in "ab":
            Image.fromarray(pixels).save(tmp_path / "data" / kind / f"{name}.png")
    (tmp_path / "given").mkdir()
    return open_samples(tmp_path / "data", cuts=False)


def give(folder: Path, **masks: np.ndarray) -> Path:
    for name, values in masks.items():
        Image.fromarray(np.asarray(values, np.uint8)).save(folder / "given" / f"{name}.png")
    return folder / "given"


def test_a_models_own_masks_score_what_the_model_scores(home: Path, tmp_path: Path) -> None:
    run = fgbg.open_run(home / "run")
    evaluation, scores = evaluate_masks(home / "answers", run=run.folder, out=tmp_path / "other")
    known = run.scores("test")
    assert [row.id for row in evaluation.rows] == [row.id for row in known]
    for ours, theirs in zip(evaluation.rows, known, strict=True):
        for name in ("TP", "FP", "FN", "TN", "dice", "iou", "boundary_iou", "hausdorff95", "object_count", "found_count"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert all(0 < row.dice < 1 for row in known)
    told = run.statement("test")
    same = ("mean_dice", "mean_dice_low", "pooled_dice", "fingerprint", "border", "split", "split_rule", "empty")
    assert [evaluation.statement[name] for name in same] == [told[name] for name in same]
    assert scores.statement("test") == evaluation.statement


def test_nobody_knows_how_sure_a_given_mask_was(home: Path, tmp_path: Path) -> None:
    evaluation, _ = evaluate_masks(home / "answers", run=home / "run", out=tmp_path / "other")
    assert all(math.isnan(row.uncertainty) and math.isnan(row.label_suspicion) for row in evaluation.rows)
    assert evaluation.statement["uncertainty_correlation"] is None
    assert "threshold" not in evaluation.describe()
    assert "masks made elsewhere: answers, values {0, 255}: object = 255, hash " in evaluation.describe()


@pytest.mark.parametrize("scale", [1, 255])
def test_the_score_is_what_a_hand_counts(photos: SampleSet, tmp_path: Path, scale: int) -> None:
    a, b = [[1, 0, 1, 0]] * 2, [[0, 0, 0, 0]] * 2
    masks = give(tmp_path, a=np.array(a) * scale, b=np.array(b))
    evaluation, _ = evaluate_masks(masks, str(tmp_path / "data"), out=tmp_path / "scores")
    assert [(row.TP, row.FP, row.FN, row.TN) for row in evaluation.rows] == [(2, 2, 2, 2), (0, 0, 4, 4)]
    assert [row.dice for row in evaluation.rows] == [0.5, 0]
    assert evaluation.statement["pooled_dice"] == 2 * 2 / (2 * 2 + 2 + 6)


def test_inverted_masks_are_said_to_look_like_that(photos: SampleSet, tmp_path: Path) -> None:
    right = np.array([[255, 255, 0, 0]] * 2)
    data, out = str(tmp_path / "data"), tmp_path / "scores"
    masks = give(tmp_path, a=right, b=right[:, [0, 2, 2, 2]])
    assert "exchange their black and white" not in evaluate_masks(masks, data, out=out)[0].describe()
    give(tmp_path, a=255 - right, b=255 - right)
    assert "note: these masks fit the ground and not the object" in evaluate_masks(masks, data, out=out)[0].describe()


def test_shades_of_grey_are_cut_where_told(photos: SampleSet, tmp_path: Path) -> None:
    ramp = np.array([[0, 127, 128, 200]] * 2)
    masks = give(tmp_path, a=ramp, b=ramp)
    with pytest.raises(UserError, match=r"given: the masks hold .* --mask-values .* cut by --mask-threshold 0.5"):
        read_given_masks(masks, photos)
    given = read_given_masks(masks, photos, mask_threshold=0.5)
    assert given.read_levels(0).tolist() == [[0, 0, 1, 1]] * 2
    assert read_given_masks(masks, photos, mask_threshold=0).read_levels(0).tolist() == [[0, 1, 1, 1]] * 2
    assert read_given_masks(masks, photos, mask_values=(200,)).read_levels(0).tolist() == [[0, 0, 0, 1]] * 2


def test_numbered_objects_are_all_object_where_told(photos: SampleSet, tmp_path: Path) -> None:
    numbered = np.array([[1, 2, 3, 0]] * 2)
    masks = give(tmp_path, a=numbered, b=numbered)
    assert read_given_masks(masks, photos, mask_values=("nonzero",)).read_levels(1).tolist() == [[1, 1, 1, 0]] * 2


def test_masks_may_all_have_one_ending(photos: SampleSet, tmp_path: Path) -> None:
    masks = give(tmp_path, a_seg=np.full((2, 4), 255), b_seg=np.zeros((2, 4)), c_seg=np.zeros((2, 4)))
    given = read_given_masks(masks, photos)
    assert [int(given.read_levels(index).sum()) for index in range(2)] == [8, 0]
    (masks / "b_seg.png").rename(masks / "b_other.png")
    with pytest.raises(UserError, match=r"1 of 2 photos have no mask there \(b\)"):
        read_given_masks(masks, photos)


def test_photos_beside_the_masks_are_not_scored_for_them(photos: SampleSet, tmp_path: Path) -> None:
    """As Cellpose writes its masks."""
    masks = give(
        tmp_path, a_cp_masks=np.full((2, 4), 255), b_cp_masks=np.zeros((2, 4)), a=np.zeros((2, 4)), b=np.ones((2, 4))
    )
    with pytest.raises(UserError, match=r"each photo has several files there \(a.png, a_cp_masks.png\): put those to score"):
        read_given_masks(masks, photos)


def test_numbers_and_deeper_greys_are_no_shades(photos: SampleSet, tmp_path: Path) -> None:
    masks = give(tmp_path, a=np.eye(2, 4), b=np.zeros((2, 4)))
    with pytest.raises(UserError, match="the largest value is 1 of 255, so that these are numbers"):
        read_given_masks(masks, photos, mask_threshold=0.5)
    Image.fromarray(np.full((2, 4), 257 * 100, np.uint16)).save(masks / "b.png")
    with pytest.raises(UserError, match="b hold values over 255: save shades of grey with 8 bits"):
        read_given_masks(masks, photos, mask_threshold=0.5)


def test_a_folder_without_masks_says_what_it_holds(photos: SampleSet, tmp_path: Path) -> None:
    (tmp_path / "given" / "a_seg.npy").touch()
    with pytest.raises(
        UserError, match=r"2 of 2 photos have no mask there \(a, b\), which holds .npy: each needs a picture"
    ):
        read_given_masks(tmp_path / "given", photos)
    shutil.copytree(tmp_path / "data" / "masks", tmp_path / "given" / "test")
    with pytest.raises(UserError, match=r"sub-folders \(test\) are not read: name one of them"):
        read_given_masks(tmp_path / "given", photos)


def test_the_true_masks_are_not_scored_on_themselves(photos: SampleSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="these are the true masks themselves"):
        read_given_masks(tmp_path / "data" / "masks", photos)


def test_folders_that_part_the_data_need_no_prefix(tmp_path: Path) -> None:
    for kind, values in {"images": np.zeros((2, 4, 3), np.uint8), "masks": np.eye(2, 4, dtype=np.uint8)}.items():
        (tmp_path / "data" / "test" / kind).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "data" / "test" / kind / "a.png")
    (tmp_path / "given").mkdir()
    samples = open_samples(tmp_path / "data", cuts=False)
    assert samples.samples[0].id == "test_a"
    assert read_given_masks(give(tmp_path, a=np.ones((2, 4))), samples).read_levels(0).sum() == 8


def test_one_mask_is_not_taken_for_two_photos(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for kind, values in {"images": np.zeros((2, 4, 3), np.uint8), "masks": np.eye(2, 4, dtype=np.uint8)}.items():
            (tmp_path / "data" / part / kind).mkdir(parents=True)
            Image.fromarray(values + (part == "train")).save(tmp_path / "data" / part / kind / "a.png")
    (tmp_path / "given").mkdir()
    samples = open_samples(tmp_path / "data", cuts=False, object_values=(1,))
    with pytest.raises(UserError, match=r"a.png may be of train_a, test_a: name the masks so"):
        read_given_masks(give(tmp_path, a=np.ones((2, 4))), samples)
    give(tmp_path, train_a=np.ones((2, 4)), test_a=np.zeros((2, 4)))
    assert [int(read_given_masks(tmp_path / "given", samples).read_levels(place).sum()) for place in (0, 1)] == [8, 0]


def test_what_cannot_be_scored_is_refused(photos: SampleSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        read_given_masks(tmp_path / "nowhere", photos)
    masks = give(tmp_path, a=np.zeros((2, 4)))
    with pytest.raises(UserError, match=r"1 of 2 photos have no mask there \(b\): each needs one of its name, and an empty"):
        read_given_masks(masks, photos)
    give(tmp_path, b=np.zeros((4, 8)))
    with pytest.raises(UserError, match="mask of b is 8×4 pixels, its photo 4×2"):
        read_given_masks(masks, photos)
    give(tmp_path, a=np.array([[1, 2, 3, 3]] * 2), b=np.array([[1, 2, 3, 3]] * 2))
    with pytest.raises(UserError, match=r"these are trimaps .* --mask-values 1 or --mask-values 1 3"):
        read_given_masks(masks, photos)
    Image.new("L", (4, 2)).save(masks / "b.bmp")
    with pytest.raises(UserError, match=r"b.bmp, b.png are of one photo: keep one of them"):
        read_given_masks(masks, photos)


def test_given_masks_are_compared_and_reported_like_a_run(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(home / "answers", empty)
    for path in empty.iterdir():
        Image.new("L", (32, 32)).save(path)
    scored = [
        evaluate_masks(masks, run=home / "run", out=tmp_path / "scores" / masks.name)[1]
        for masks in (home / "answers", empty)
    ]
    runs = [fgbg.open_run(home / "run"), *scored]
    same, worse, _ = compare_runs(runs)
    assert (same.a, same.b, same.difference.mean) == ("Unet", "answers", 0)
    assert (worse.b, worse.mean_b) == ("empty", 0)
    told = describe_comparisons(compare_runs(runs), runs, "test")
    assert told.count(f"note: empty: {UNKNOWN_MAKER}\n") == 1
    assert "seeds" not in told
    page = render_page(read_results(runs), "test")
    assert "Nothing was trained here" in page and "its settings are the first run’s" not in page
    methods = describe_methods(read_results(runs), "test").paragraphs
    assert "answers are masks that were made elsewhere (values {0, 255}: object = 255" in methods["Given masks"]
    assert "answers" not in methods["Training"]
    assert "Network" not in describe_methods(read_results(scored), "test").paragraphs
    assert (scored[0].folder / scored[0].settings()["masks"]).resolve() == home / "answers"
    assert [finding.name for finding in check_run(scored[0].folder)] == ["masks"]


def test_scores_of_other_masks_are_not_overwritten(photos: SampleSet, tmp_path: Path) -> None:
    masks = give(tmp_path, a=np.zeros((2, 4)), b=np.zeros((2, 4)))
    out, data = tmp_path / "scores", str(tmp_path / "data")
    evaluate_masks(masks, data, out=out)
    evaluate_masks(masks, data, Scoring(empty=0.0), out=out)
    other = shutil.copytree(masks, tmp_path / "other")
    with pytest.raises(UserError, match="holds other scores: choose another --out"):
        evaluate_masks(other, data, out=out)
    with pytest.raises(UserError, match="holds other scores: choose another --out"):
        evaluate_masks(masks, data, out=out, mask_threshold=0.5)
    evaluate_masks(str(masks), tmp_path / "given" / ".." / "data", out=str(out))  # the same, spelt in another way


def test_given_masks_are_scored_on_all_photos_of_a_cross_validation(tmp_path: Path) -> None:
    data, out = write_discs(tmp_path, count=12), tmp_path / "cv"
    masks = tmp_path / "given"
    masks.mkdir()
    for path in (data / "masks").iterdir():
        Image.new("L", (32, 32), 255).save(masks / path.name)
    folds = ["--folds", "3", "--size", "32", "--width", "4", "--epochs", "1", "--batch-size", "2", "--no-selfcheck"]
    assert main(["train", str(data), *folds, "--device", "cpu", "--threads", "1", "--out", str(out)]) == 0
    before, _ = evaluate_masks(masks, run=out, out=tmp_path / "before")
    assert len(before.rows) == 12
    assert main(["evaluate", str(out), "--device", "cpu", "--threads", "1"]) == 0
    after, scores = evaluate_masks(masks, run=out, out=tmp_path / "after")
    assert after.rows == before.rows
    assert len(compare_runs([fgbg.open_run(out), scores])[0].pairs) == 12
    with pytest.raises(UserError, match="after holds scores of masks made elsewhere: name the run or DATA"):
        evaluate_masks(masks, run=tmp_path / "after", out=tmp_path / "again")
    assert main(["train", str(data), "--resume", "--out", str(tmp_path / "after")]) == 2


def test_the_command_scores_masks(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(home / "run", tmp_path / "run")
    assert main(["evaluate", str(run), "--masks", str(home / "answers")]) == 0
    assert f"compare them with fgbg compare {run} {tmp_path / 'answers'}" in capsys.readouterr().out
    assert main(["evaluate", str(home / "discs"), "--masks", str(home / "answers"), "--out", str(tmp_path / "own")]) == 0
    ids = [[row.id for row in fgbg.open_run(tmp_path / name).scores("test")] for name in ("answers", "own")]
    assert ids[0] == ids[1]  # the test photos of the data's own lists
    for flags, told in {
        ("--masks", "x", "--tta", "flip"): "--tta is for models",
        ("--masks", "x", "--mask-threshold", "1"): "--mask-threshold 1: must be from 0 to below 1",
        ("--mask-values", "1"): "say how --masks are read",
    }.items():
        assert main(["evaluate", str(run), *flags]) == 2
        assert told in capsys.readouterr().err
    assert main(["evaluate", str(home / "discs"), "--masks", "x"]) == 2
    assert "--out is needed where no run is named" in capsys.readouterr().err


def test_what_is_not_known_is_told_alike_by_several_processes() -> None:
    """Rows from another process hold a NaN of their own."""
    row = ScoreRow("a", 1, 1, 1, 0, 0, 0, 1.0, 1.0, 1.0)
    rows = [replace(row, id=str(place), dice=place / 10, uncertainty=float("nan")) for place in range(5)]
    assert summarise(rows, 1.0)["uncertainty_correlation"] is None
