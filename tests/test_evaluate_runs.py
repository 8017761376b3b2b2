"""Run folders: the threshold is chosen on validation and shipped; several runs are scored as one."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from PIL import Image

import fgbg
from discs import small_config, write_discs
from fgbg.data.sources import open_samples
from fgbg.errors import UserError
from fgbg.judge.calibration import CANDIDATES
from fgbg.judge.compare import compare_runs
from fgbg.judge.metrics import dice
from fgbg.judge.page.gallery import read_pictures
from fgbg.judge.page.render import render_page
from fgbg.judge.report import write_report
from fgbg.judge.results import read_results
from fgbg.judge.runs import evaluate_run
from fgbg.judge.scoring import Scoring
from fgbg.judge.together import evaluate_together
from fgbg.models.checkpoint import load_model, read_header, replace_header, save_model
from fgbg.ship.export import export_model
from fgbg.storage import write_alone
from fgbg.training.loop import validate
from trivial import unchecked

pytestmark = pytest.mark.usefixtures("no_charts")
ON_CPU = Scoring(device="cpu", threads=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two short runs, `first` and `second`, on drawn discs."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_discs(folder)
    for seed, name in enumerate(("first", "second")):
        fgbg.train(replace(small_config(folder / name, epochs=4, seed=seed), data=str(data)))
    yield folder


def test_training_ends_with_a_threshold_chosen_on_validation(home: Path) -> None:
    run = fgbg.open_run(home / "first")
    calibration = run.calibration()
    assert calibration is not None
    header = read_header(run.best)
    assert header.threshold == calibration["threshold"]["value"] == run.statement("validation")["threshold"]
    assert calibration["threshold"]["sentence"] in header.threshold_reason
    assert header.temperature == calibration["temperature"]
    assert calibration["pairs"] == len(run.scores("validation")) == 4
    assert fgbg.load(run.folder).threshold == header.threshold


def test_the_chosen_threshold_is_the_best_by_scoring_every_candidate(home: Path, tmp_path: Path) -> None:
    """And it decides what is predicted, in every later score."""
    run = copy_run(home / "first", tmp_path)
    predictor, header = load_model(run.best)
    validation = fgbg.open_samples(run.config.data).of("validation")
    photos = [
        (predictor.probability(sample.read_pixels(), 32, 32), sample.read_mask() > 127) for sample in validation.samples
    ]
    means = [np.mean([dice(p > np.float32(each), truth) for p, truth in photos]) for each in CANDIDATES]
    evaluate_run(run.folder, split="validation", device="cpu", threads=1)
    calibration = run.calibration()
    assert calibration is not None
    np.testing.assert_allclose(calibration["threshold"]["scores"], means)

    replace_header(run.best, replace(header, threshold=0.9))
    strict = evaluate_run(run.folder, device="cpu", threads=1)
    assert strict.statement["threshold"] == 0.9
    replace_header(run.best, replace(header, threshold=0.1))
    lax = evaluate_run(run.folder, device="cpu", threads=1)
    assert sum(row.TP + row.FP for row in lax.rows) > sum(row.TP + row.FP for row in strict.rows)


def copy_run(folder: Path, into: Path, name: str = "run") -> fgbg.Run:
    shutil.copytree(folder, into / name)
    return fgbg.open_run(into / name)


@pytest.mark.long
def test_the_threshold_can_be_chosen_anew_for_something_else(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    evaluate_run(run.folder, device="cpu", threads=1)
    weights = load_model(run.best)[0].state_dict()
    chosen = evaluate_run(run.folder, split="validation", threshold_for="recall:0.99", device="cpu", threads=1)
    header = read_header(run.best)
    assert chosen.statement["threshold"] == header.threshold != 0.5
    assert chosen.statement["mean_recall"] >= 0.99
    assert "recall" in header.threshold_reason
    assert "the test scores are of threshold 0.5" in run.find_stale("test")
    assert run.list_stale() == [run.find_stale("test")]
    again = evaluate_run(run.folder, split="validation", device="cpu", threads=1)  # keeps what it was chosen for
    assert again.statement == chosen.statement
    evaluate_run(run.folder, device="cpu", threads=1)
    assert run.list_stale() == []
    assert all((tensor == weights[name]).all() for name, tensor in load_model(run.best)[0].state_dict().items())


def test_the_test_set_never_chooses(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    before = run.best.read_bytes(), run.calibration()
    with pytest.raises(UserError, match="add --split validation"):
        evaluate_run(run.folder, threshold_for="dice", device="cpu", threads=1)
    evaluate_run(run.folder, device="cpu", threads=1)
    assert (run.best.read_bytes(), run.calibration()) == before


def test_a_rerun_writes_the_same_bytes(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    kept = []
    for _ in range(2):
        evaluate_run(run.folder, device="cpu", threads=1)
        kept.append([path.read_bytes() for path in (*sorted(run.folder.rglob("*test*/*")), run.scores_path("test"))])
    assert kept[0] == kept[1]


# Several as one


def test_an_ensemble_is_scored_by_the_mean_of_its_members(home: Path, tmp_path: Path) -> None:
    runs = [copy_run(home / name, tmp_path, name) for name in ("first", "second")]
    evaluation, joint = evaluate_together([run.folder for run in runs], scoring=ON_CPU)
    assert joint.folder == tmp_path / "ensemble-of-2"
    assert evaluation.statement["members"] == ["first", "second"]
    models = [fgbg.load(run.folder) for run in runs]
    threshold = np.mean([model.threshold for model in models])
    test = fgbg.open_samples(runs[0].config.data).of("test")
    for sample, row in zip(test.samples, evaluation.rows, strict=True):
        mean = np.mean([model(sample.read_pixels()) for model in models], axis=0)
        assert row.dice == pytest.approx(dice(mean > threshold, sample.read_mask() > 127), abs=0.01)
    assert joint.scores("test")[0].id == evaluation.rows[0].id
    assert joint.config.model == "ensemble of 2"
    assert json.loads((joint.folder / "members.json").read_text())["tta"] == "none"


def test_test_time_augmentation_leaves_the_run_as_it_is(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    evaluate_run(run.folder, device="cpu", threads=1)
    before = run.scores_path("test").read_bytes()
    evaluation, flipped = evaluate_together([run.folder], tta="flip", scoring=ON_CPU)
    assert flipped.folder == tmp_path / "run-flip"
    assert evaluation.statement["tta"] == "flip"
    assert "test-time augmentation: flip" in evaluation.describe()
    assert run.scores_path("test").read_bytes() == before
    again, _ = evaluate_together([run.folder], tta="flip", scoring=ON_CPU)
    assert again.statement == evaluation.statement


def test_a_joint_folder_holds_one_set_of_members(home: Path, tmp_path: Path) -> None:
    runs = [copy_run(home / name, tmp_path, name) for name in ("first", "second")]
    evaluate_together([runs[0].folder], tta="flip", out=tmp_path / "joint", scoring=ON_CPU)
    with pytest.raises(UserError, match="holds other scores: choose another --out"):
        evaluate_together([runs[1].folder], tta="flip", out=tmp_path / "joint", scoring=ON_CPU)
    with pytest.raises(UserError, match="is not empty: choose another --out"):
        evaluate_together([runs[1].folder], tta="flip", out=runs[0].folder, scoring=ON_CPU)
    with write_alone(tmp_path / "joint"), pytest.raises(UserError, match="is being written to by another fgbg"):
        evaluate_together([runs[0].folder], tta="flip", out=tmp_path / "joint", scoring=ON_CPU)
    with pytest.raises(UserError, match=r"no best\.safetensors; its scores are of other runs"):
        evaluate_run(tmp_path / "joint", device="cpu", threads=1)


def test_a_photo_that_trained_any_member_is_refused(home: Path, tmp_path: Path) -> None:
    runs = [copy_run(home / name, tmp_path, name) for name in ("first", "second")]
    header = read_header(runs[1].best)
    test = fgbg.open_samples(runs[0].config.data).of("test")
    leak = test.inspections[0].image_hash[:16]
    replace_header(runs[1].best, replace(header, training_images=(*header.training_images, leak)))
    with pytest.raises(UserError, match=r"of 4 photos 1 trained this model \(disc_"):
        evaluate_together([run.folder for run in runs], out=tmp_path / "x", scoring=ON_CPU)


def test_pictures_of_outcomes_lie_over_the_thumbnails(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    evaluation = evaluate_run(run.folder, device="cpu", threads=1)
    for row in evaluation.rows:
        with Image.open(run.outcomes("test") / f"{row.id}.png") as outcome:
            counts = np.bincount(np.asarray(outcome).ravel(), minlength=4)
            assert tuple(counts[:4]) == (row.TN, row.TP, row.FP, row.FN)  # photos of 32 px are not reduced
            alpha = np.asarray(outcome.convert("RGBA"))[..., 3]
            assert ((alpha == 0) == (np.asarray(outcome) == 0)).all()  # ground that was left alone hides nothing
        with Image.open(run.thumbnails("test") / f"{row.id}.webp") as photo:
            assert photo.size == (32, 32)


def test_an_evaluation_that_fails_leaves_the_pictures_of_the_one_before(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_run(home / "first", tmp_path)
    evaluate_run(run.folder, device="cpu", threads=1)

    def read() -> dict[Path, bytes]:
        folders = (run.predictions("test"), run.thumbnails("test"), run.outcomes("test"))
        return {path: path.read_bytes() for folder in folders for path in folder.iterdir()}

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    before = read()
    for path in list(before)[:1]:
        path.with_name("gone.png").write_bytes(b"of a photo that is no longer scored")
    monkeypatch.setattr("fgbg.judge.photo_pictures.save_outcome", fail)
    with pytest.raises(OSError, match="No space"):
        evaluate_run(run.folder, device="cpu", threads=1)
    assert before.items() <= read().items()
    monkeypatch.undo()
    evaluate_run(run.folder, device="cpu", threads=1)
    assert read() == before
    assert not list(run.folder.glob(".*.partial"))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_rows_never_stand_beside_pictures_of_another_scoring(
    moment: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_run(home / "first", tmp_path)
    evaluate_run(run.folder, device="cpu", threads=1)
    write = fgbg.Run.write_scores

    def end(*arguments: Any) -> None:
        if moment == "after":
            write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fgbg.Run, "write_scores", end)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(run.folder, device="cpu", threads=1)
    assert run.scores("test"), "those before or the new ones, whole"
    assert not run.thumbnails("test").exists()
    assert read_pictures(run, run.scores("test")[0].id, "test") is None
    evaluate_run(run.folder, device="cpu", threads=1)
    assert read_pictures(run, run.scores("test")[0].id, "test")


@pytest.mark.long
def test_scores_of_an_epoch_that_is_no_longer_the_best_are_said_to_be_old(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever goes on with a run that was scored must not ship the old score."""
    run = copy_run(home / "first", tmp_path)
    evaluate_run(run.folder, device="cpu", threads=1)
    scored = run.statement("test")["epoch"]
    _, flipped = evaluate_together([run.folder], tta="flip", scoring=ON_CPU)
    config = replace(run.config, out=str(run.folder), epochs=8)
    monkeypatch.setattr("fgbg.training.train.validate", lambda learner: validate(learner)._replace(dice_photo=1.0))
    fgbg.train(config, resume=True)
    best = read_header(run.best).epoch
    assert best > scored
    told = f"the test scores are of epoch {scored}, and the model is of epoch {best} now"
    assert told in run.find_stale("test")
    assert f"{told} (run)" in flipped.find_stale("test")
    assert f"note: {told}" in capsys.readouterr().out
    (comparison,) = compare_runs([run, fgbg.open_run(scored_copy(home / "second", tmp_path))])
    assert any(told in note for note in comparison.notes)
    assert told in render_page(read_results([run]), "test").replace("&#39;", "'")
    with unchecked():  # sizes that are only known later cannot be checked by comparing them
        exported = export_model(run.folder, tmp_path / "old.onnx", weights="single")
    assert exported.card is None
    assert told in exported.note


def scored_copy(folder: Path, into: Path) -> Path:
    run = copy_run(folder, into, "other")
    evaluate_run(run.folder, device="cpu", threads=1)
    return run.folder


@pytest.mark.long
def test_two_data_sets_of_one_name_keep_their_own_scores(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    for site, count in (("a", 20), ("b", 30)):
        data = write_discs(tmp_path / site, count)
        for path in (data / "images").iterdir():  # other photos than those that trained the model
            Image.fromarray(255 - np.asarray(Image.open(path)) // 2).save(path)
        for _ in range(2):
            evaluate_run(run.folder, str(data), device="cpu", threads=1)
    first, second = (label for label in run.scored() if label.startswith("discs_test"))
    assert (first, len(run.scores(first)), len(run.scores(second))) == ("discs_test", 4, 6)
    assert second == f"discs_test_{run.statement(second)['fingerprint']}"
    write_report([run], tmp_path / "report", first)
    sheets = openpyxl.load_workbook(tmp_path / "report" / "performance.xlsx")["Scores"]
    assert {first, second} <= {row[1].value for row in sheets.iter_rows()}


def test_groups_of_other_data_that_bear_names_of_training_groups_are_told(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    ids = sorted(path.stem for path in (folder / "images").iterdir())
    (folder / "groups.csv").write_text("id,group\n" + "".join(f"{name},patient {place}\n" for place, name in enumerate(ids)))
    run = fgbg.train(small_config(tmp_path / "run", data=str(folder), epochs=1))
    other = shutil.copytree(folder, tmp_path / "other")
    for path in (other / "images").iterdir():
        pixels = np.asarray(Image.open(path)) // 2
        Image.fromarray(pixels).save(path)
    trained = run.split()["train"][0]["group"]
    first, second = (photo["id"] for photo in run.split()["test"][:2])
    (other / "groups.csv").write_text(f"id,group\n{first},{trained}\n{second},somebody else\n")
    told = evaluate_run(run.folder, str(other), device="cpu", threads=1)
    assert told.statement["known_groups"] == [trained]
    assert f"note: 1 group of these photos ({trained}) also trained this model" in told.describe()


def test_groups_of_validation_photos_that_trained_the_model_are_told_where_they_choose(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    samples = fgbg.open_samples(run.config.data)
    shared = [replace(sample, group="patient 1") for sample in samples.samples]
    run.write_split(replace(samples, samples=tuple(shared)), run.config)
    told = evaluate_run(run.folder, split="validation", device="cpu", threads=1).statement
    assert told["known_groups"] == ["patient 1"]


def test_no_threshold_is_chosen_by_another_border_rule_than_the_models(home: Path, tmp_path: Path) -> None:
    run = copy_run(home / "first", tmp_path)
    sentence = "--border ignore: a threshold is chosen by the model's own rule, foreground: leave --border out"
    with pytest.raises(UserError, match=sentence):
        evaluate_run(run.folder, split="validation", border="ignore", threshold_for="dice", device="cpu", threads=1)


def test_a_run_on_a_list_of_photos_can_be_scored(tmp_path: Path) -> None:
    """What is not on the list does not matter, then or later."""
    data = write_discs(tmp_path)
    (data / "masks" / "disc_03.png").unlink()
    keep = [path.stem for path in sorted((data / "images").iterdir()) if path.stem != "disc_03"]
    (tmp_path / "keep.txt").write_text("\n".join(keep))
    for name in ("train", "val", "test"):
        (data / f"{name}.txt").unlink()
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(data), only=str(tmp_path / "keep.txt")))
    assert len(evaluate_run(run.folder, device="cpu", threads=1).rows) == 2


def test_a_network_whose_answers_are_no_numbers_is_not_scored(home: Path, tmp_path: Path) -> None:
    """NaN is neither above a threshold nor below: to one count it would be object, to another ground."""
    run = copy_run(home / "first", tmp_path)
    predictor, header = load_model(run.best)
    with torch.no_grad():
        next(predictor.network.parameters()).fill_(math.nan)
    save_model(run.best, predictor.network, header)
    for split in ("test", "validation"):
        with pytest.raises(UserError, match=r"answers are no numbers .* with a lower --learning-rate"):
            evaluate_run(run.folder, split=split, device="cpu", threads=1)


# What the masks mean


@pytest.fixture(scope="module")
def trained_on_trimaps(tmp_path_factory: pytest.TempPathFactory) -> fgbg.Run:
    """A run on discs whose masks hold 1, 2 and 3, and which was told that 1 is object."""
    folder = write_discs(tmp_path_factory.mktemp("trimaps"))
    for path in (folder / "masks").iterdir():
        values = np.where(np.asarray(Image.open(path)) > 0, 1, 2).astype(np.uint8)
        values[:4] = 3
        Image.fromarray(values).save(path)
    config = small_config(folder.parent / "told", epochs=1, data=str(folder), object_values=(1,))
    return fgbg.train(config)


def test_own_data_by_name_mean_what_they_meant_in_training(trained_on_trimaps: fgbg.Run, tmp_path: Path) -> None:
    run = copy_run(trained_on_trimaps.folder, tmp_path)
    own = evaluate_run(run.folder, device="cpu", threads=1)
    named = evaluate_run(run.folder, run.config.data, device="cpu", threads=1)
    assert named.rows == own.rows
    assert named.statement["object_values"] == [1]
    assert run.scored() == ["validation", "test"]


@pytest.mark.long
def test_own_data_that_shall_mean_something_else_are_other_data(trained_on_trimaps: fgbg.Run, tmp_path: Path) -> None:
    run = copy_run(trained_on_trimaps.folder, tmp_path)
    own, header = evaluate_run(run.folder, device="cpu", threads=1), read_header(run.best)
    for values in ((1, 3), (3,), (1, 3)):
        told = evaluate_run(run.folder, run.config.data, object_values=values, device="cpu", threads=1)
        assert told.statement["object_values"] == list(values)
    assert run.scores("test") == own.rows
    assert run.scored()[2:] == ["discs_test", f"discs_test_{own.statement['fingerprint']}_3"]
    assert run.statement("discs_test")["object_values"] == [1, 3]
    with pytest.raises(UserError, match="of 4 photos 4 chose the epoch and threshold of this model"):
        evaluate_run(run.folder, run.config.data, object_values=(3,), split="validation", device="cpu", threads=1)
    assert read_header(run.best) == header


@pytest.mark.long
def test_scores_against_masks_that_mean_something_else_are_not_compared(
    trained_on_trimaps: fgbg.Run, tmp_path: Path
) -> None:
    told = copy_run(trained_on_trimaps.folder, tmp_path)
    config = replace(told.config, out=str(tmp_path / "other"), object_values=(1, 3))
    other = fgbg.train(config)
    for run in (told, other):
        evaluate_run(run.folder, device="cpu", threads=1)
    with pytest.raises(UserError, match=r"run was scored with object_values = \[1\], .*other with \[1, 3\]: evaluate both"):
        compare_runs([told, other])


def test_other_data_are_read_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copy_run(home / "first", tmp_path)
    other = write_discs(tmp_path / "other", 25)
    for path in (other / "images").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path)) // 2).save(path)
    read: list[object] = []

    def count(data: object, **options: Any) -> Any:
        read.append(data)
        return open_samples(data, **options)

    monkeypatch.setattr("fgbg.judge.run_data.open_samples", count)
    evaluate_run(run.folder, str(other), device="cpu", threads=1)
    assert read == [str(other)]


def test_values_that_mean_by_themselves_what_was_said_make_no_difference(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)  # 0 and 255
    run = fgbg.train(small_config(tmp_path / "run", epochs=1, data=str(folder), object_values=(255,)))
    assert evaluate_run(run.folder, device="cpu", threads=1).statement["object_values"] == []
