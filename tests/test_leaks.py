"""Splits that do not leak: strata, folds, groups, splits that stay, overlaps refused or told in every later score."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fgbg
from discs import make_samples, small_config, write_discs
from fgbg.config import TrainConfig
from fgbg.data.masks import TRIMAP
from fgbg.data.overlaps import find_near_overlaps, find_overlaps, refuse_overlaps
from fgbg.data.samples import Sample, understand_samples
from fgbg.data.split import NEAR_DUPLICATES, group_samples, refuse_one_sided, split_set
from fgbg.data.split_rules import split_by_group, split_folds
from fgbg.errors import UserError
from fgbg.judge.compare import compare_runs
from fgbg.judge.report import write_report
from fgbg.judge.run_data import find_copies
from fgbg.judge.runs import evaluate_run
from fgbg.models.checkpoint import read_header
from fgbg.training.checks.data import check_copies
from fgbg.training.checks.folder import check_run

pytestmark = pytest.mark.usefixtures("no_charts")

few = settings(deadline=None, max_examples=40, derandomize=True)


def make(count: int, groups: int = 0) -> list[Sample]:
    return [
        Sample(f"photo {index}", Path("x"), Path("y"), group=f"g{index % groups}" if groups else "")
        for index in range(count)
    ]


def ids(samples: list[Sample], split: str) -> set[str]:
    return {sample.id for sample in samples if sample.split == split}


# Strata


@pytest.mark.parametrize("seed", range(5))
def test_every_split_gets_small_and_large_objects(seed: int) -> None:
    """100 photos with shares 0, 1, …, 99 %: test takes one of each ten, validation one of each nine of the rest."""
    shares = [index / 100 for index in range(100)]
    found = split_by_group(make(100), seed=seed, object_shares=shares)
    tens = sorted(int(name.removeprefix("photo ")) // 10 for name in ids(found, "test"))
    assert tens == list(range(10))
    means = {split: np.mean([shares[int(name[6:])] for name in ids(found, split)]) for split in ("validation", "train")}
    assert all(0.42 < mean < 0.58 for mean in means.values())


def test_without_strata_a_split_may_miss_the_small_ones() -> None:
    """What the strata are for: of 20 seeds some draw a test set that is far off, with strata none does."""
    shares = [0.01] * 80 + [0.5] * 20
    plain, stratified = (
        [
            np.mean(
                [shares[int(name[6:])] for name in ids(split_by_group(make(100), seed=seed, object_shares=given), "test")]
            )
            for seed in range(20)
        ]
        for given in ([], shares)
    )
    assert np.ptp(plain) > 0.15
    assert np.ptp(stratified) < 0.06


def test_strata_do_not_tear_groups_apart() -> None:
    found = split_by_group(make(60, groups=12), seed=3, object_shares=[index / 60 for index in range(60)])
    where = defaultdict(set)
    for sample in found:
        where[sample.group].add(sample.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert Counter(sample.split for sample in found) == {"train": 50, "validation": 5, "test": 5}


# Folds


@few
@given(st.integers(3, 8), st.integers(8, 90), st.integers(0, 99))
def test_over_all_folds_every_photo_is_tested_once_and_validates_once(folds: int, count: int, seed: int) -> None:
    tested, validated = Counter(), Counter()
    for fold in range(folds):
        found = split_folds(make(count), folds=folds, fold=fold, seed=seed, object_shares=[i / count for i in range(count)])
        tested.update(ids(found, "test"))
        validated.update(ids(found, "validation"))
        assert abs(len(ids(found, "test")) - count / folds) < 1
        assert len(ids(found, "train")) >= 1
    assert set(tested.values()) == set(validated.values()) == {1}
    assert len(tested) == count


def test_folds_keep_groups_together_and_need_enough_of_them() -> None:
    for fold in range(4):
        where = defaultdict(set)
        for sample in split_folds(make(40, groups=8), folds=4, fold=fold, seed=0):
            where[sample.group].add(sample.split)
        assert all(len(splits) == 1 for splits in where.values())
    with pytest.raises(UserError, match=r"--folds 9: 40 pairs in 8 groups cannot fill them; choose 8 or less"):
        split_folds(make(40, groups=8), folds=9, fold=0, seed=0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"folds": 2}, r"--folds 2: must be 0 \(off\) or 3 or more"),
        ({"folds": 5, "fold": 5}, r"--fold 5: must be from 0 to below --folds \(5\)"),
        ({"fold": 1}, "--fold 1: must be from 0"),
        ({"folds": 5, "fold": -2}, "--fold -2: must be from 0"),
        ({"folds": 5, "split": "lab"}, "--folds 5: must be 0 with --split lab"),
    ],
)
def test_absurd_folds_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        TrainConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_folds_of_large_groups_are_as_equal_as_they_can_be(seed: int) -> None:
    sizes = (20, 18, 15, 12, 10, 9, 8, 8)
    names = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    samples = [replace(sample, group=name) for sample, name in zip(make(100), names, strict=True)]
    tested = [len(ids(split_folds(samples, folds=5, fold=fold, seed=seed), "test")) for fold in range(5)]
    assert sum(tested) == 100
    assert max(tested) - min(tested) <= 10, tested


def test_folds_with_a_few_copies_still_have_small_and_large_objects_in_each() -> None:
    shares = [index / 100 for index in range(100)]
    together = [f"t{index // 2 if index < 6 else index}" for index in range(100)]
    for fold in range(5):
        tested = ids(split_folds(make(100), folds=5, fold=fold, seed=1, object_shares=shares, together=together), "test")
        tens = {int(name.removeprefix("photo ")) // 20 for name in tested}
        assert tens == {0, 1, 2, 3, 4}


def test_folds_go_before_lists(tmp_path: Path) -> None:
    samples = fgbg.open_samples(write_discs(tmp_path), folds=4, fold=1)
    assert Counter(sample.split for sample in samples.samples) == {"train": 10, "validation": 5, "test": 5}
    assert "part 1 of 4 tests, seed 0, whatever the lists say" in samples.describe()


# Groups


def test_a_column_of_the_metadata_holds_photos_together() -> None:
    samples = [
        replace(sample, split="", metadata={"patient": f"p{index % 5}"}) for index, sample in enumerate(make_samples(20))
    ]
    found = split_set(understand_samples("own", samples), seed=0, group_by="patient")
    where = defaultdict(set)
    for sample in found.samples:
        where[sample.metadata["patient"]].add(sample.split)
        assert sample.group == sample.metadata["patient"]
    assert len(where) == 5
    assert all(len(splits) == 1 for splits in where.values())
    assert "by patient" in found.remark


def test_unknown_columns_and_cuts_that_are_made_are_refused() -> None:
    unsplit = understand_samples("own", [replace(sample, split="") for sample in make_samples(8)])
    with pytest.raises(
        UserError, match=r"--group-by nurse: choose near-duplicates, or a column of metadata\.csv \(there is none\)"
    ):
        split_set(unsplit, seed=0, group_by="nurse")
    with pytest.raises(
        UserError, match=r"--group-by x: the data's own lists say what trains and tests; cut anew with --folds"
    ):
        split_set(understand_samples("own", make_samples(8)), seed=0, group_by="x")


def test_near_duplicates_stay_together_and_join_the_groups_there_are() -> None:
    figures = [fgbg.draw_figure(index, size=96) for index in range(12)]
    samples = [
        Sample(f"f{index:02}", figure.pixels, figure.mask, group="pair" if index < 2 else "")
        for index, figure in enumerate(figures)
    ]
    mirrored = Sample(
        "f00 mirrored", np.ascontiguousarray(figures[0].pixels[:, ::-1]), np.ascontiguousarray(figures[0].mask[:, ::-1])
    )
    grouped = group_samples(understand_samples("own", [*samples, mirrored]), NEAR_DUPLICATES)
    groups = {sample.id: sample.group for sample in grouped.samples}
    assert groups["f00"] == groups["f01"] == groups["f00 mirrored"] == "f00"
    assert len(set(groups.values())) == 11


# Copies


def test_a_photo_that_is_there_twice_is_cut_as_one() -> None:
    samples = [replace(sample, split="", group=f"g{index // 2}") for index, sample in enumerate(make_samples(40))]
    copies = [(0, 39), (1, 7), (20, 21)]
    for first, second in copies:
        samples[second] = replace(samples[second], image=samples[first].image)
    own = understand_samples("own", samples)
    ungrouped = replace(own, samples=tuple(replace(sample, group="") for sample in own.samples))
    for seed in range(5):
        for cut in (
            split_set(own, seed=seed),
            split_set(ungrouped, seed=seed),
            split_set(own, seed=seed, folds=5, fold=seed),
        ):
            refuse_overlaps(cut)
            assert {sample.split for sample in cut.samples} == {"train", "validation", "test"}
    assert [sample.group for sample in split_set(own, seed=0).samples] == [sample.group for sample in samples]


def test_copies_do_not_move_the_cut_of_a_set_without_them() -> None:
    own = understand_samples("own", [replace(sample, split="") for sample in make_samples(30)])
    shares = own.object_shares.tolist()
    assert list(split_set(own, seed=4).samples) == split_by_group(own.samples, seed=4, object_shares=shares)


@pytest.mark.parametrize("grouped", [False, True])
def test_copies_stay_together_when_a_tenth_of_train_validates(grouped: bool) -> None:
    samples = [
        replace(sample, split="train", group=f"g{index}" if grouped else "") for index, sample in enumerate(make_samples(40))
    ]
    for first, second in ((0, 3), (4, 10), (20, 30)):  # of these, 0, 10, 20 and 30 are tenths
        samples[second] = replace(samples[second], image=samples[first].image)
    found = split_set(understand_samples("own", samples), seed=0)
    refuse_overlaps(found)
    if not grouped:
        assert ids(list(found.samples), "validation") == {"disc_00", "disc_03", "disc_20", "disc_30"}


@pytest.mark.parametrize(("count", "group"), [(1, ""), (12, "g")])
def test_training_keeps_its_only_photo_or_group(count: int, group: str) -> None:
    samples = [replace(sample, split="train", group=group) for sample in make_samples(count)]
    found = split_set(understand_samples("own", samples), seed=0)
    assert {sample.split for sample in found.samples} == {"train"}
    assert "none validates: train is a single photo or group" in found.describe()


# Lists of what to use


def test_only_what_a_list_names_is_used(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    (tmp_path / "clean.txt").write_text("\n".join(f"disc_{index:02}" for index in range(15)) + "\n")
    samples = fgbg.open_samples(folder, only=tmp_path / "clean.txt")
    assert len(samples.samples) == 15
    assert "5 left out by clean.txt" in samples.describe()
    (tmp_path / "strange.txt").write_text("disc_00\ncat\n")
    with pytest.raises(UserError, match=r"strange\.txt lists cat, which the data do not have"):
        fgbg.open_samples(folder, only=tmp_path / "strange.txt")
    with pytest.raises(UserError, match=r"nowhere\.txt does not exist: a file with one id a line"):
        fgbg.open_samples(folder, only=tmp_path / "nowhere.txt")


# Splits that stay


@pytest.mark.long
def test_photos_that_come_later_are_in_no_split_of_the_run(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    for path in folder.glob("*.txt"):
        path.unlink()  # so that fgbg cuts by itself, and another photo could move the cut
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder)))
    before = evaluate_run(run.folder, device="cpu", threads=1)
    for index, sample in enumerate(make_samples(9)):
        Image.fromarray(255 - sample.image).save(folder / "images" / f"later_{index}.png")
        Image.fromarray(sample.mask * 255).save(folder / "masks" / f"later_{index}.png")
    assert evaluate_run(run.folder, device="cpu", threads=1).rows == before.rows
    named = evaluate_run(run.folder, str(folder), device="cpu", threads=1, allow_overlap=True)
    assert named.statement["fingerprint"] != before.statement["fingerprint"]


def test_the_runs_own_data_by_name_are_its_own_test(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    for path in folder.glob("*.txt"):
        path.unlink()  # the run's order is then not that of the files
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder)))
    before = evaluate_run(run.folder, device="cpu", threads=1)
    named = evaluate_run(run.folder, str(folder), device="cpu", threads=1)
    assert named.rows == before.rows
    assert named.statement == before.statement


def test_photos_that_changed_or_went_are_said(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder)))
    Image.fromarray(255 - make_samples(20)[1].image).save(folder / "images" / "disc_01.png")
    with pytest.raises(UserError, match=r"photos or masks of discs have changed since .*run was trained"):
        evaluate_run(run.folder, device="cpu", threads=1)
    for kind in ("images", "masks"):
        (folder / kind / "disc_01.png").unlink()
    (folder / "test.txt").write_text("disc_06\ndisc_11\ndisc_16\n")
    with pytest.raises(UserError, match="disc_01: gone since the run was trained; restore them, or use other DATA"):
        evaluate_run(run.folder, device="cpu", threads=1)


# Overlaps


def write_leak(tmp_path: Path) -> Path:
    """Discs with a copy of a training photo among the test photos."""
    folder = write_discs(tmp_path)
    for kind in ("images", "masks"):
        (folder / kind / "copy.png").write_bytes((folder / kind / "disc_00.png").read_bytes())
    with (folder / "test.txt").open("a") as file:
        file.write("copy\n")
    return folder


def test_overlaps_by_content_and_by_group() -> None:
    samples = make_samples(6)
    samples[1] = replace(samples[1], image=samples[0].image)
    overlaps = find_overlaps(understand_samples("own", samples))
    assert [(overlap.first.id, overlap.second.id) for overlap in overlaps] == [("disc_00", "disc_01")]
    grouped = [replace(sample, group="a") for sample in make_samples(2)] + make_samples(6)[2:]
    with pytest.raises(
        UserError,
        match=r"splits overlap: disc_00 \(validation\) and disc_01 \(train\) are the same photo, byte for byte, or of one",
    ):
        refuse_overlaps(understand_samples("own", grouped))
    refuse_overlaps(understand_samples("own", make_samples(6)))
    alike = [replace(sample, split="train") for sample in samples]
    refuse_overlaps(understand_samples("own", alike))  # twice in one split is a waste, not a leak
    both = [replace(sample, group="a") for sample in samples[:2]] + samples[2:]
    assert len(find_overlaps(understand_samples("own", both))) == 1, "the same photo and the same group"


@pytest.mark.parametrize(
    ("value", "split", "sentence"),
    [
        (0, "train", "none of the 6 training masks has a pixel that is object, .*: take photos whose masks hold both"),
        (1, "train", "none of the 6 training masks has a pixel that is ground"),
        (0, "validation", "none of the 2 validation masks has a pixel that is object"),
        (1, "validation", "none of the 2 validation masks has a pixel that is ground"),
    ],
)
def test_masks_that_are_all_object_or_all_ground_are_refused(value: int, split: str, sentence: str) -> None:
    samples = make_samples(8)
    flat = [
        replace(sample, mask=np.full_like(sample.mask, value)) if sample.split == split else sample for sample in samples
    ]
    with pytest.raises(UserError, match=sentence):
        refuse_one_sided(understand_samples("own", flat))
    refuse_one_sided(understand_samples("own", samples))
    index = [sample.split for sample in samples].index(split)
    refuse_one_sided(understand_samples("own", [*flat[:index], samples[index], *flat[index + 1 :]]))  # one tells enough


def test_a_band_is_object_or_ground() -> None:
    trimap = [replace(sample, mask=np.where(sample.mask, 3, 2).astype(np.uint8)) for sample in make_samples(8)]
    trimap[0] = replace(trimap[0], mask=np.ones_like(trimap[0].mask))
    assert refuse_one_sided(understand_samples("own", trimap)) is None, "not refused"
    bare = [replace(sample, mask=np.where(sample.mask == 3, 2, sample.mask)) for sample in trimap]
    with pytest.raises(UserError, match="none of the 6 training masks has a pixel that is object"):
        refuse_one_sided(understand_samples("own", bare, encoding=TRIMAP))  # it was the band that counted


@pytest.mark.long
def test_training_refuses_an_overlap_unless_told_and_every_later_score_tells(tmp_path: Path) -> None:
    folder = write_leak(tmp_path)
    config = replace(small_config(tmp_path / "run", epochs=1), data=str(folder))
    with pytest.raises(
        UserError, match=r"disc_00 \(train\) and copy \(test\) are .*; take one of each out, or go on with --allow-overlap"
    ):
        fgbg.train(config)
    run = fgbg.train(replace(config, allow_overlap=True, out=str(tmp_path / "allowed")))
    assert read_header(run.best).overlap_count == 1
    with pytest.raises(
        UserError, match=r"of 5 photos 1 trained this model \(copy\): score others, or go on with --allow-overlap"
    ):
        evaluate_run(run.folder, device="cpu", threads=1)
    evaluation = evaluate_run(run.folder, device="cpu", threads=1, allow_overlap=True)
    assert evaluation.statement["seen_count"] == 1
    assert "NOT A CLEAN TEST: 1 trained this model (copy)" in evaluation.describe()

    other = fgbg.train(replace(config, allow_overlap=True, out=str(tmp_path / "other"), seed=1))
    evaluate_run(other.folder, device="cpu", threads=1, allow_overlap=True)
    with pytest.raises(UserError, match="no clean test, and no fair comparison; go on with --allow-overlap"):
        compare_runs([run, other])
    (comparison,) = compare_runs([run, other], allow_overlap=True)
    assert comparison.notes[:2] == ("allowed: 1 trained this model (copy)", "other: 1 trained this model (copy)")


def test_a_photo_that_chose_the_model_does_not_test_it(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder)))
    (folder / "test.txt").write_text("disc_01\n" + (folder / "val.txt").read_text())
    (folder / "val.txt").unlink()
    for kind in ("images", "masks"):
        (folder / kind / "disc_06.png").unlink()  # other data than the run's own
    with pytest.raises(
        UserError, match=r"of 5 photos 4 chose the epoch and threshold of this model \(disc_02, disc_07, disc_12, disc_17\)"
    ):
        evaluate_run(run.folder, str(folder), device="cpu", threads=1)


def test_other_data_do_not_pass_for_the_validation_photos_of_the_run(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder)))
    for kind in ("images", "masks"):
        (folder / kind / "disc_06.png").unlink()  # a test photo, which makes it other data
    (folder / "test.txt").write_text("disc_01\n")
    with pytest.raises(UserError, match=r"of 4 photos 4 chose the epoch and threshold of this model"):
        evaluate_run(run.folder, str(folder), split="validation", device="cpu", threads=1)


def test_a_model_that_test_photos_chose_is_no_start(tmp_path: Path) -> None:
    samples = make_samples()
    first = fgbg.train(small_config(tmp_path / "first", epochs=1), samples=samples)
    moved = [replace(sample, split="test" if sample.split == "validation" else "train") for sample in samples]
    moved[1] = replace(fgbg.Sample("new", samples[1].image // 2, samples[1].mask), split="validation")
    config = small_config(tmp_path / "run", epochs=1, init=str(first.folder))
    with pytest.raises(UserError, match=r"of the test photos 4 chose the epoch and threshold of the model of --init"):
        fgbg.train(config, samples=moved)


def test_allowing_an_overlap_does_not_stop_a_threshold_from_being_chosen(tmp_path: Path) -> None:
    """What decides is whether the validation photos trained the model, not the flag."""
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(write_leak(tmp_path)), allow_overlap=True))
    evaluation = evaluate_run(
        run.folder, split="validation", threshold_for="none", allow_overlap=True, device="cpu", threads=1
    )
    assert evaluation.statement["threshold"] == 0.5
    calibration = run.calibration()
    assert calibration is not None
    assert calibration["threshold"]["objective"] == "none"


def test_no_threshold_is_chosen_on_photos_that_trained_the_model(tmp_path: Path) -> None:
    folder = write_leak(tmp_path)
    (folder / "test.txt").write_text("disc_01\ndisc_06\n")
    with (folder / "val.txt").open("a") as file:
        file.write("copy\n")
    run = fgbg.train(replace(small_config(tmp_path / "run", epochs=1), data=str(folder), allow_overlap=True))
    with pytest.raises(UserError, match="these validation photos also trained the model, so that none is chosen on them"):
        evaluate_run(run.folder, split="validation", threshold_for="iou", allow_overlap=True, device="cpu", threads=1)
    evaluation = evaluate_run(run.folder, split="validation", allow_overlap=True, device="cpu", threads=1)
    assert evaluation.statement["seen_count"] == 1


# Copies that were saved anew


def make_saved_anew(**splits: str) -> list[Sample]:
    """Six drawn animals, which train and validate, and copies of the first: `mirrored="test"`, say."""
    figures = [fgbg.draw_figure(index, size=64) for index in range(6)]
    samples = [
        Sample(f"f{index}", figure.pixels, figure.mask.astype(np.uint8), split="validation" if index == 5 else "train")
        for index, figure in enumerate(figures)
    ]
    pixels, mask = samples[0].image, samples[0].mask
    copies = {
        "darker": (pixels // 2, mask),
        "mirrored": (np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])),
        "same": (pixels, mask),
    }
    return samples + [Sample(name, *copies[name], split=split) for name, split in splits.items()]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({}, []),
        ({"darker": "train"}, []),
        ({"same": "test"}, []),  # which find_overlaps finds
        ({"darker": "test", "mirrored": "validation"}, [("f0", "mirrored"), ("f0", "darker")]),
        ({"mirrored": "test", "darker": "test"}, [("f0", "mirrored"), ("f0", "darker")]),
        ({"darker": "validation", "same": "test"}, [("f0", "darker"), ("darker", "same")]),
    ],
)
def test_photos_that_show_a_picture_of_an_earlier_split(splits: dict[str, str], expected: list[tuple[str, str]]) -> None:
    found = find_near_overlaps(understand_samples("own", make_saved_anew(**splits)))
    assert found is not None
    assert [(first.id, later.id) for first, later in found] == expected


def test_large_sets_are_not_searched_for_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgbg.data.overlaps.MOST_SEARCHED", 6)
    samples = understand_samples("own", make_saved_anew(mirrored="test"))
    assert find_near_overlaps(samples) is None
    told = check_copies(None)
    assert told.passed
    assert "not looked for among more than 5,000 photos" in told.sentence


@pytest.mark.long
def test_a_copy_that_was_saved_anew_is_told_in_training_and_in_every_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_saved_anew(mirrored="test", darker="validation")
    config = small_config(tmp_path / "run", epochs=1, selfcheck=True)
    run = fgbg.train(config, samples=samples)
    said = capsys.readouterr().out
    assert "note: f0 (train) and darker (validation), f0 (train) and mirrored (test) show the same picture" in said
    evaluation = evaluate_run(run.folder, samples=samples, device="cpu", threads=1)
    assert evaluation.statement["copies"] == ["mirrored"]
    sentence = "mirrored shows the same picture as a photo that trained this model or chose its epoch"
    assert f"note: {sentence}" in evaluation.describe()
    assert sentence in write_report([run], tmp_path / "report").page.read_text(encoding="utf-8")
    scores = openpyxl.load_workbook(tmp_path / "report" / "performance.xlsx")["Scores"]
    assert sentence in {cell.value for row in scores.iter_rows() for cell in row}
    assert run.statement("validation")["copies"] == ["darker"]
    assert "f0 (train) and mirrored (test)" in next(found.sentence for found in check_run(run.folder) if not found.passed)
    fgbg.train(replace(config, epochs=2), samples=samples, resume=True)
    assert find_copies(run, "test") == ["mirrored"]
    without = fgbg.train(replace(config, out=str(tmp_path / "without"), selfcheck=False), samples=samples)
    assert find_copies(without, "test") == []
