"""`fgbg check DATA`: every kind of fault, planted in drawn figures, is named exactly; a clean set has none."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import fgbg
from fgbg.cli import main
from fgbg.config import TrainConfig
from fgbg.data.figures import draw_figures
from fgbg.data.sources import open_samples
from fgbg.doctor.audit import Audit, check_data
from fgbg.doctor.problems import KINDS
from fgbg.doctor.results import SAVE_EVERY, Results
from fgbg.errors import UserError
from fgbg.run import create_run

FIGURES = 24
Values = NDArray[np.uint8]


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean set with lists; nobody writes to it."""
    folder = tmp_path_factory.mktemp("drawn") / "figures"
    draw_figures(folder, count=FIGURES)
    return folder


@pytest.fixture
def drawn(figures: Path, tmp_path: Path) -> Path:
    """A copy to plant faults in, without lists."""
    folder = tmp_path / "drawn"
    shutil.copytree(figures, folder)
    for name in ("train", "val", "test"):
        (folder / f"{name}.txt").unlink()
    return folder


def image(folder: Path, index: int) -> Path:
    return folder / "images" / f"figure_{index:05}.png"


def mask(folder: Path, index: int) -> Path:
    return folder / "masks" / f"figure_{index:05}.png"


def edit_mask(folder: Path, index: int, edit: Callable[[Values], Values]) -> None:
    values = np.asarray(Image.open(mask(folder, index)))
    Image.fromarray(np.ascontiguousarray(edit(values))).save(mask(folder, index))


def kinds_of(audit: Audit, name: str) -> set[str]:
    """Kinds of the problems that name the file."""
    return {problem.kind for problem in audit.problems if any(file.endswith(name) for file in problem.files)}


def facts(audit: Audit) -> list[tuple[str, tuple[str, ...]]]:
    return [(problem.kind, problem.files) for problem in audit.problems if KINDS[problem.kind].is_fact]


def test_clean_set_has_no_problem(figures: Path) -> None:
    audit = check_data(figures)
    assert audit.problems == ()
    assert not audit.has_facts
    assert audit.clean_ids() == [sample.id for sample in audit.samples]


def test_understands_the_set_as_training_does(figures: Path) -> None:
    audit, samples = check_data(figures), open_samples(figures)
    assert audit.understood == samples.describe()
    assert audit.fingerprint == samples.fingerprint


def test_names_every_fact_and_nothing_else(drawn: Path) -> None:
    image(drawn, 0).write_bytes(image(drawn, 0).read_bytes()[:2000])
    mask(drawn, 1).write_bytes(b"not a picture")
    mask(drawn, 2).unlink()
    image(drawn, 3).unlink()
    edit_mask(drawn, 4, lambda values: values[:-1])
    edit_mask(drawn, 5, np.zeros_like)
    edit_mask(drawn, 6, lambda values: np.full_like(values, 255))
    edit_mask(drawn, 7, lambda values: values // 255 * 77)
    shutil.copy(image(drawn, 8), drawn / "images" / "copy.png")
    shutil.copy(mask(drawn, 8), drawn / "masks" / "copy.png")
    for name, of in (("train", range(9)), ("val", range(9, 15)), ("test", range(15, FIGURES))):
        (drawn / f"{name}.txt").write_text("".join(f"figure_{index:05}\n" for index in of))
    with (drawn / "train.txt").open("a") as stream:
        stream.write("copy\n")
    (drawn / "metadata.csv").unlink()

    audit = check_data(drawn)

    name = "figure_{:05}.png".format
    assert facts(audit) == [
        ("corrupt", (f"images/{name(0)}",)),
        ("corrupt", (f"masks/{name(1)}",)),
        ("missing-mask", (f"images/{name(2)}",)),
        ("missing-image", (f"masks/{name(3)}",)),
        ("size-mismatch", (f"masks/{name(4)}", f"images/{name(4)}")),
        ("full-mask", (f"masks/{name(6)}", f"images/{name(6)}")),
        ("ambiguous-mask", (f"masks/{name(7)}",)),
        ("duplicate", (f"images/{name(8)}", "images/copy.png")),
    ]
    kept = audit.clean_ids()
    assert set(kept) & {f"figure_{index:05}" for index in range(9)} == {"figure_00005", "figure_00008"}
    assert [problem.files[0] for problem in audit.of("empty-mask")] == [f"masks/{name(5)}"], "right if the photo shows none"
    assert "copy" not in kept


def test_a_copy_in_another_split_leaks(figures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    learnt = (folder / "train.txt").read_text().split()[0]
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / f"{learnt}.png", folder / kind / "copy.png")
    with (folder / "test.txt").open("a") as stream:
        stream.write("copy\n")
    audit = check_data(folder)
    files = (f"images/{learnt}.png", "images/copy.png")
    assert facts(audit) == [("duplicate", files), ("leak", files)]
    assert "train and test" in audit.of("leak")[0].detail
    assert "copy" in audit.clean_ids(), "what judges is kept"
    assert learnt not in audit.clean_ids()


def test_the_same_pixels_in_another_file_are_a_duplicate(drawn: Path) -> None:
    Image.open(image(drawn, 0)).save(drawn / "images" / "copy.bmp")
    edit_mask(drawn, 0, lambda values: values)
    Image.fromarray(np.asarray(Image.open(mask(drawn, 1)))).save(drawn / "masks" / "copy.png")
    (duplicate,) = check_data(drawn).of("duplicate")
    assert duplicate.detail == "the same pixels, but other masks"


def test_a_resized_copy_is_a_near_duplicate(drawn: Path) -> None:
    Image.open(image(drawn, 0)).resize((90, 90)).convert("RGB").save(drawn / "images" / "copy.jpg", quality=60)
    Image.open(mask(drawn, 0)).resize((90, 90), Image.Resampling.NEAREST).save(drawn / "masks" / "copy.png")
    audit = check_data(drawn)
    assert [problem.files for problem in audit.of("near-duplicate")] == [("images/copy.jpg", "images/figure_00000.png")]
    assert audit.of("duplicate") == []


def test_of_copies_and_their_near_copies_in_several_splits_the_clean_list_keeps_one(figures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    learnt = (folder / "train.txt").read_text().split()[0]
    for copied, split in (("copy", "test"), ("mirrored", "val")):
        for kind in ("images", "masks"):
            shutil.copy(folder / kind / f"{learnt}.png", folder / kind / f"{copied}.png")
        with (folder / f"{split}.txt").open("a") as stream:
            stream.write(f"{copied}\n")
    for kind in ("images", "masks"):
        path = folder / kind / "mirrored.png"
        Image.fromarray(np.asarray(Image.open(path))[:, ::-1].copy()).save(path)
    audit = check_data(folder)
    assert len(audit.of("duplicate")) == len(audit.of("near-duplicate")) == 1
    (leak,) = audit.of("leak")
    assert set(leak.files) == {f"images/{name}.png" for name in (learnt, "copy", "mirrored")}
    assert leak.detail == "in train and validation and test: 3 copies of one picture"
    assert set(audit.clean_ids()) & {learnt, "copy", "mirrored"} == {"copy"}


def test_a_group_in_two_splits_leaks(figures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    learnt, judged = ((folder / f"{name}.txt").read_text().split()[0] for name in ("train", "test"))
    (folder / "groups.csv").write_text(f"id,group\n{learnt},rex\n{judged},rex\n")
    audit = check_data(folder)
    (leak,) = audit.problems
    assert (leak.kind, leak.detail) == ("leak", "group 'rex': 1 in train, 1 in test")
    assert judged in audit.clean_ids()
    assert learnt not in audit.clean_ids()


def test_a_mask_that_is_whole_but_stored_in_an_unknown_way_is_not_called_damaged(drawn: Path) -> None:
    values = np.asarray(Image.open(mask(drawn, 0)))
    Image.fromarray(np.dstack([values, 255 - values, values])).save(mask(drawn, 0))
    (problem,) = check_data(drawn).problems
    assert problem.kind == "ambiguous-mask"
    assert "holds colours that are more than black and one other" in problem.detail


def test_masks_that_number_objects_are_checked_as_told(drawn: Path) -> None:
    edit_mask(drawn, 0, lambda values: (values > 0) * np.uint16(1000))
    (problem,) = check_data(drawn).problems
    assert problem.files == ("masks/figure_00000.png",)
    assert problem.detail == "it holds values over 255, unlike the rest of the set (values {0, 255}: object = 255)"
    for index in range(FIGURES):
        edit_mask(drawn, index, lambda values, index=index: (values > 0) * np.uint16(200 + 5 * index))
    (problem,) = check_data(drawn).problems
    with pytest.raises(UserError) as error:
        open_samples(drawn)
    assert problem.detail == str(error.value)
    audit = check_data(drawn, object_values=["nonzero"])
    assert audit.problems == ()
    assert audit.understood == open_samples(drawn, object_values=["nonzero"]).describe()
    assert main(["check", str(drawn), "--object-values", "nonzero"]) == 0
    assert main(["check", str(drawn), "--object-values", "nonzero", "1"]) == 2


def test_photos_that_a_run_has_seen_are_found_under_other_names(
    figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = open_samples(figures)
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data=str(figures), out=str(run.folder)))
    run.write_split(own, run.config)
    run.best.touch()  # which nobody reads here
    seen = [sample for sample in own.samples if sample.split != "test"]
    tested = [sample for sample in own.samples if sample.split == "test"]
    other = tmp_path / "other"
    for kind in ("images", "masks"):
        (other / kind).mkdir(parents=True)
    for name, sample in {"a": seen[0], "b": tested[0]}.items():
        picture, truth = Image.open(sample.image), Image.open(sample.mask)
        half = (picture.width // 2, picture.height // 2)
        picture.resize(half).save(other / "images" / f"{name}.jpg", quality=90)
        truth.resize(half, Image.Resampling.NEAREST).save(other / "masks" / f"{name}.png")
    (found,) = check_data(other, against=run).of("seen")
    assert found.files == ("images/a.jpg",)
    assert f"{run.folder}, as {seen[0].id}: same" in found.detail
    assert check_data(other).of("seen") == []
    assert main(["check", str(other), "--against", str(run.folder)]) == 1
    assert "seen (1): " in capsys.readouterr().out
    assert main(["check", str(run.folder), "--against", str(run.folder)]) == 2
    assert "goes with DATA" in capsys.readouterr().err


def test_masks_that_fit_nothing_are_a_problem_and_the_rest_goes_on(drawn: Path) -> None:
    for index in range(FIGURES):
        edit_mask(drawn, index, lambda values: np.where(values > 0, 90, 30).astype(np.uint8))
    image(drawn, 0).write_bytes(b"")
    audit = check_data(drawn)
    assert [kind for kind, _ in facts(audit)] == ["corrupt", "ambiguous-mask"]
    assert "--object-values" in audit.of("ambiguous-mask")[0].detail
    assert len(audit.of("ambiguous-mask")[0].files) == FIGURES
    assert audit.encoding is None
    assert check_data(drawn, object_values=[90]).of("ambiguous-mask") == []


@pytest.mark.parametrize("strange", [(), (0, 255)])
def test_masks_of_1_and_2_are_refused_as_training_refuses_them(drawn: Path, strange: tuple[int, ...]) -> None:
    for index in range(FIGURES):
        ground, thing = strange if strange and not index else (1, 2)
        edit_mask(drawn, index, lambda values, pair=(ground, thing): np.where(values > 0, pair[1], pair[0]).astype(np.uint8))
    with pytest.raises(UserError) as error:
        open_samples(drawn)
    audit = check_data(drawn)
    assert audit.encoding is None
    assert [problem.detail for problem in audit.of("ambiguous-mask")] == [str(error.value)]
    assert audit.has_facts


def test_two_files_of_one_name_are_ambiguous(drawn: Path) -> None:
    Image.open(mask(drawn, 0)).save(drawn / "masks" / "figure_00000.bmp")
    (problem,) = check_data(drawn).problems
    assert problem.kind == "ambiguous-mask"
    assert problem.files == ("masks/figure_00000.bmp", "masks/figure_00000.png")


def test_a_third_class_among_masks_that_compression_blurred_is_named(drawn: Path) -> None:
    for index in range(FIGURES):
        values = np.array(Image.open(mask(drawn, index)).convert("L"))
        if index == 3:
            values[:14, :14] = 128
        mask(drawn, index).unlink()
        Image.fromarray(values).save(mask(drawn, index).with_suffix(".jpg"), quality=90)
    for _ in range(2):  # also where results are recalled
        (problem,) = check_data(drawn).problems
        assert (problem.kind, problem.files, problem.left_out) == (
            "ambiguous-mask",
            ("masks/figure_00003.jpg",),
            ("figure_00003",),
        )
        assert problem.detail.startswith("it has areas of an even grey, about 128, between its 0 and 255, unlike the rest")


def test_three_classes_that_are_read_as_a_trimap_are_something_to_look_at(drawn: Path) -> None:
    for index in range(FIGURES):
        edit_mask(drawn, index, lambda values, index=index: np.where(values > 0, 3 if index % 2 else 1, 2).astype(np.uint8))
    audit = check_data(drawn)
    (problem,) = audit.of("class-as-band")
    assert problem.files == tuple(f"masks/figure_{index:05}.png" for index in range(1, FIGURES, 2))
    assert problem.detail == (
        f"the values 1, 2, 3 are read as a trimap, but in {FIGURES // 2} of {FIGURES // 2} masks most of 3 lies apart from "
        "the outline between 1 and 2: if 3 is a class, say --object-values 1, --object-values 3, or --object-values 1 3"
    )
    assert not check_data(drawn, object_values=[1, 3]).problems


def test_a_trimaps_band_is_no_class(drawn: Path) -> None:
    def draw_band(values: Values) -> Values:
        inner, outer = ndimage.binary_erosion(values > 0, iterations=2), ndimage.binary_dilation(values > 0, iterations=2)
        return np.where(inner, 1, np.where(outer, 3, 2)).astype(np.uint8)

    for index in range(FIGURES):
        edit_mask(drawn, index, draw_band)
    edit_mask(drawn, 0, lambda values: np.where(values == 1, 3, values))  # nothing but a band, as small objects may be
    assert not check_data(drawn).of("class-as-band")


def test_masks_that_store_the_object_elsewhere_are_named(drawn: Path) -> None:
    values = np.asarray(Image.open(mask(drawn, 0)))
    Image.fromarray(np.dstack([values * 0, values * 0, values * 0, values])).save(mask(drawn, 0))
    (problem,) = check_data(drawn).problems
    assert (problem.kind, problem.files) == ("ambiguous-mask", ("masks/figure_00000.png",))
    assert "alpha channel" in problem.detail


def test_a_set_of_which_nothing_can_be_read(drawn: Path) -> None:
    for index in range(FIGURES):
        image(drawn, index).write_bytes(b"")
    audit = check_data(drawn)
    assert len(audit.of("corrupt")) == len(audit.problems) == FIGURES
    assert (audit.understood, audit.remarks) == ("drawn: no pair can be read", ())
    assert audit.clean_ids() == []


def test_what_is_clean_can_be_trained_on(drawn: Path, tmp_path: Path) -> None:
    image(drawn, 0).write_bytes(b"")
    mask(drawn, 1).unlink()
    image(drawn, 2).unlink()
    Image.open(mask(drawn, 3)).save(drawn / "masks" / "figure_00003.bmp")
    (drawn / "metadata.csv").unlink()
    assert main(["check", str(drawn), "--write-clean", str(tmp_path / "keep.txt")]) == 1
    samples = open_samples(drawn, only=tmp_path / "keep.txt")
    assert [sample.id for sample in samples.samples] == [f"figure_{index:05}" for index in range(4, FIGURES)]


def test_a_cut_that_keeps_copies_together_has_no_leak(drawn: Path) -> None:
    for index in range(6):
        shutil.copy(mask(drawn, index), drawn / "masks" / f"copy_{index}.png")
        Image.open(image(drawn, index)).convert("RGB").save(drawn / "images" / f"copy_{index}.jpg")
    assert check_data(drawn).of("leak")
    audit = check_data(drawn, group_by="near-duplicates")
    assert len(audit.of("near-duplicate")) == 6
    assert audit.of("leak") == []


def test_a_cut_keeps_exact_copies_together_unasked(drawn: Path) -> None:
    for index in range(6):
        for kind in ("images", "masks"):
            shutil.copy(drawn / kind / f"figure_{index:05}.png", drawn / kind / f"copy_{index}.png")
    audit = check_data(drawn)
    assert len(audit.of("duplicate")) == 6
    assert audit.of("leak") == []


def test_lists_and_tables_that_name_what_is_not_there(figures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    twice = (folder / "train.txt").read_text().split()[0]
    (folder / "test.txt").write_text((folder / "test.txt").read_text() + f"nobody\n{twice}\n")
    (folder / "train.txt").write_text((folder / "train.txt").read_text() + f"{twice}\n")
    (folder / "groups.csv").write_text("id,group\nstranger,a\n")
    audit = check_data(folder)
    assert sorted((problem.kind, problem.files[0]) for problem in audit.problems) == [
        ("duplicate", f"images/{twice}"),
        ("leak", f"images/{twice}"),
        ("missing-image", "images/nobody"),
        ("missing-image", "images/stranger"),
    ]


@pytest.mark.parametrize("ending", ["", ".png"])
def test_a_list_that_names_a_photo_without_a_mask_says_nothing_new(figures: Path, tmp_path: Path, ending: str) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    mask(folder, 0).unlink()
    for file in folder.glob("*.txt"):
        file.write_text("".join(f"{name}{ending}\n" for name in file.read_text().split()))
    assert facts(check_data(folder)) == [("missing-mask", ("images/figure_00000.png",))]


def test_split_folders(figures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for part, numbers in (("train", range(10)), ("val", range(10, 14)), ("test", range(14, 18))):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
            for index in numbers:
                shutil.copy(figures / kind / f"figure_{index:05}.png", folder / part / kind)
    (folder / "val" / "masks" / "figure_00010.png").unlink()
    for kind in ("images", "masks"):
        shutil.copy(folder / "train" / kind / "figure_00000.png", folder / "test" / kind / "figure_00014.png")
    audit = check_data(folder)
    files = ("images/figure_00000.png", "images/figure_00014.png")
    copies = (f"train/{files[0]}", f"test/{files[1]}")
    assert facts(audit) == [("missing-mask", ("val/images/figure_00010.png",)), ("duplicate", copies), ("leak", copies)]


def test_a_damaged_photo_is_not_forgotten_by_a_second_check(drawn: Path) -> None:
    image(drawn, 0).write_bytes(image(drawn, 0).read_bytes()[:2000])
    first, second = check_data(drawn), check_data(drawn)
    assert first == second
    assert len(second.of("corrupt")) == 1


def test_nothing_is_changed(drawn: Path) -> None:
    before = {path: path.read_bytes() for path in drawn.rglob("*") if path.is_file()}
    check_data(drawn)
    assert {path: path.read_bytes() for path in drawn.rglob("*") if path.is_file()} == before


def test_what_cannot_be_listed_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no layout that is known"):
        check_data(tmp_path)


def test_oxford_faults_are_named_and_known_ones_noted(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    names = [f"pug_{index}" for index in range(12)]
    listed = [*names, "leonberger_18", "Egyptian_Mau_14", "pug_99"]
    draw_figures(tmp_path / "drawn", count=len(listed) + 1)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    for index, name in enumerate([*listed, "Abyssinian_82"]):
        Image.open(image(tmp_path / "drawn", index)).save(
            folder / "images" / f"{name}.jpg", "PNG" if name == "Egyptian_Mau_14" else "JPEG"
        )
        levels = np.asarray(Image.open(mask(tmp_path / "drawn", index)))
        trimap = np.where((levels == 0) | (name == "leonberger_18"), 2, 1).astype(np.uint8)
        trimap[0, 0] = 2 if name == "leonberger_18" else 3
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    (folder / "images" / "pug_99.jpg").unlink()
    (folder / "annotations" / "trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in listed[:11]))
    (folder / "annotations" / "test.txt").write_text("".join(f"{name} 1 1 1\n" for name in [*listed[11:], "pug_0"]))
    audit = check_data(folder)
    assert facts(audit) == [
        ("missing-image", ("images/pug_99.jpg",)),
        ("leak", ("images/pug_0.jpg",)),
    ]
    assert "known fault of Oxford-IIIT Pet" in audit.of("empty-mask")[0].detail
    remarks = " ".join(audit.remarks)
    assert "Egyptian_Mau_14 (PNG); 1 of them" in remarks
    assert "1 belongs to the 41" in remarks


def test_json_on_the_command_line(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_mask(drawn, 0, np.zeros_like)
    assert main(["check", str(drawn), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == [
        {
            "kind": "empty-mask",
            "files": ["masks/figure_00000.png", "images/figure_00000.png"],
            "detail": "no pixel is object",
        }
    ]
    assert set(told["counts"]) == set(KINDS)
    assert told["pairs"] == sum(told["splits"].values()) == FIGURES
    assert told["encoding"] == "values {0, 255}: object = 255"
    assert told["statistics"]["width"] == [128.0] * len(told["quantiles"])
    assert set(told["statistics"]) == {"width", "height", "object_share", "tone_contrast", "irregularity"}


def test_the_clean_list_on_the_command_line(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_mask(drawn, 0, lambda values: np.full_like(values, 255))
    assert main(["check", str(drawn), "--write-clean", str(tmp_path / "keep.txt")]) == 1
    assert (tmp_path / "keep.txt").read_text().split() == [f"figure_{index:05}" for index in range(1, FIGURES)]
    assert "23 ids to keep, 1 left out; suspicions stay in" in capsys.readouterr().out


def test_a_clean_list_without_a_test_photo_says_that_scores_change(
    figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    for name in ("train", "test"):
        (folder / "images" / f"{(folder / f'{name}.txt').read_text().split()[0]}.png").write_bytes(b"")
    assert main(["check", str(folder), "--write-clean", str(tmp_path / "keep.txt")]) == 1
    told = capsys.readouterr().out
    assert "22 ids to keep, 2 left out, of which 1 test, so that a score is of other photos than without the list" in told


def test_suspicions_alone_end_with_success(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_mask(drawn, 0, lambda values: 255 - values)
    edit_mask(drawn, 1, np.zeros_like)
    assert main(["check", str(drawn), "--write-clean", str(drawn / "keep.txt")]) == 0
    assert "2 suspicions to look at" in capsys.readouterr().out
    assert len((drawn / "keep.txt").read_text().split()) == FIGURES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "check what?"),
        (["nowhere"], "no such folder"),
        (["FOLDER", "--page", "page.txt"], "must end in .html"),
        (["FOLDER", "--page", "no/such/folder/page.html"], "does not exist"),
        (["FOLDER", "--write-clean", "FOLDER"], "is a folder"),
        (["FOLDER", "--object-values", "7"], "no mask holds it"),
        (["FOLDER", "--folds", "2"], "--folds 2: must be 0 (off) or 3 or more"),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    arguments: list[str], says: str, figures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *(word.replace("FOLDER", str(figures)) for word in arguments)]) == 2
    assert says in capsys.readouterr().err


def test_clear_cache_names_what_goes(
    figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("FGBG_CACHE", str(cache))
    check_data(figures)
    entry = cache / "decoded" / ("a1" * 12)
    entry.mkdir(parents=True)
    (entry / "pixels").write_bytes(bytes(2_500_000))
    (cache / "thesis.tex").write_text("years of work")  # FGBG_CACHE may name a folder that holds more
    for name in ("masks", "figures", "locks"):  # and more of these names
        (cache / name).mkdir(exist_ok=True)
        (cache / name / "drawn by hand.png").write_bytes(b"days of work")
    assert main(["check", "--clear-cache"]) == 0
    said = capsys.readouterr().out
    assert "2.5 MB  decoded: decoded photos for training" in said
    assert "checks.sqlite: results of earlier checks" in said
    assert sorted(path.name for path in cache.iterdir()) == ["figures", "locks", "masks", "thesis.tex"]
    assert len(list(cache.rglob("drawn by hand.png"))) == 3
    assert main(["check", "--clear-cache"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "file"))
    assert check_data(figures).problems == ()


def test_the_page_shows_every_problem(drawn: Path, tmp_path: Path) -> None:
    image(drawn, 0).write_bytes(image(drawn, 0).read_bytes()[:2000])
    edit_mask(drawn, 1, lambda values: values[:, ::-1])
    shutil.copy(image(drawn, 2), drawn / "images" / "<b>copy.png")
    shutil.copy(mask(drawn, 2), drawn / "masks" / "<b>copy.png")
    mask(drawn, 3).unlink()
    page = tmp_path / "check.html"
    assert main(["check", str(drawn), "--page", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    for kind in ("corrupt", "misaligned-mask", "duplicate", "missing-mask"):
        assert f'<section id="{kind}"' in text
    assert text.count("data:image/webp") >= 6, "a mask, two versions, two copies, a lone photo"
    assert "where it fits better" in text
    assert "<b>copy" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_check_is_public(figures: Path) -> None:
    assert fgbg.check is check_data


def test_a_photo_that_cannot_be_read_is_in_no_split_and_no_leak(drawn: Path) -> None:
    names = [path.stem for path in sorted((drawn / "images").iterdir())]
    (drawn / "groups.csv").write_text("id,group\n" + "".join(f"{name},{index // 3}\n" for index, name in enumerate(names)))
    image(drawn, 1).write_bytes(b"")
    audit = check_data(drawn)
    assert kinds_of(audit, image(drawn, 1).name) == {"corrupt"}
    assert audit.of("leak") == []


def test_a_mask_of_one_pixel_width_is_looked_at(drawn: Path) -> None:
    for kind in ("images", "masks"):
        path = drawn / kind / "figure_00000.png"
        Image.open(path).crop((60, 0, 61, 128)).save(path)
    assert check_data(drawn).understood


def test_a_phones_second_picture_makes_no_other_type(drawn: Path) -> None:
    photo = Image.open(image(drawn, 0)).convert("RGB")
    photo.save(image(drawn, 0).with_suffix(".jpg"), format="MPO", save_all=True, append_images=[photo])
    image(drawn, 0).unlink()
    assert not any("another type" in remark for remark in check_data(drawn).remarks)


@pytest.mark.parametrize("ending", ["jfif", "jpe"])
def test_a_jpeg_by_a_rarer_ending_is_of_its_own_type(drawn: Path, ending: str) -> None:
    photo = image(drawn, 0)
    Image.open(photo).convert("RGB").save(photo.with_suffix(f".{ending}"), "JPEG", quality=95)
    photo.unlink()
    audit = check_data(drawn)
    assert (audit.problems, audit.remarks) == ((), ())


def test_a_name_that_is_no_text_is_named(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (drawn / "metadata.csv").unlink()
    for kind in ("images", "masks"):
        path = drawn / kind / "figure_00000.png"
        path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    audit = check_data(drawn)
    assert kinds_of(audit, r"caf\udce9.png") == {"corrupt"}
    assert len(audit.samples) == FIGURES - 1
    assert main(["check", str(drawn)]) == 1
    assert r"caf\udce9.png" in capsys.readouterr().out
    assert main(["train", str(drawn), "--out", str(drawn / "run")]) == 2
    assert "not in UTF-8" in capsys.readouterr().err


def test_a_name_that_leaves_no_room_for_endings_is_named(drawn: Path) -> None:
    (drawn / "metadata.csv").unlink()
    for kind in ("images", "masks"):
        path = drawn / kind / "figure_00000.png"
        path.rename(path.with_name(f"{'é' * 101}.png"))
    audit = check_data(drawn)
    assert [problem.detail for problem in audit.of("corrupt")] == ["the name is longer than 200 bytes: rename the files"]
    assert len(audit.samples) == FIGURES - 1
    with pytest.raises(UserError, match="longer than 200 bytes"):
        open_samples(drawn)


def test_two_checks_at_once_hardly_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path))
    started = time.perf_counter()
    with Results() as first, Results() as second:
        for number in range(3 * SAVE_EVERY):
            first.keep(f"first {number}", {"told": number}, b"")
            second.keep(f"second {number}", {"told": number}, b"")
            assert second.recall(f"first {number - SAVE_EVERY}") is not None or number < SAVE_EVERY
    assert time.perf_counter() - started < 20  # it was 30 s per result
    with Results() as third:
        assert third.recall(f"second {3 * SAVE_EVERY - 1}") == ({"told": 3 * SAVE_EVERY - 1}, b"")


def test_images_in_sub_folders_are_named(drawn: Path) -> None:
    for kind in ("images", "masks"):
        (drawn / kind / "plate0").mkdir()
        (drawn / kind / "plate0" / "a.png").write_bytes(image(drawn, 0).read_bytes())
    audit = check_data(drawn)
    assert facts(audit) == [("sub-folder", ("images/plate0",)), ("sub-folder", ("masks/plate0",))]
    assert "move them up" in audit.of("sub-folder")[0].detail
    assert len(audit.clean_ids()) == FIGURES


def test_files_of_several_pages_are_named_and_left_out(drawn: Path) -> None:
    for path in (image(drawn, 0), mask(drawn, 1)):
        page = Image.open(path)
        page.save(path.with_suffix(".tif"), save_all=True, append_images=[page, page.resize((9, 9))])
        path.unlink()
    audit = check_data(drawn)
    assert facts(audit) == [
        ("several-pages", ("images/figure_00000.tif",)),
        ("several-pages", ("masks/figure_00001.tif",)),
    ]
    assert audit.of("several-pages")[0].detail.startswith("2 pages, of which only the first would be read: save")
    assert audit.clean_ids() == [f"figure_{index:05}" for index in range(2, FIGURES)]
    assert check_data(drawn) == audit, "also where results are recalled"


def test_photos_that_use_12_bits_of_16_are_named_together(drawn: Path) -> None:
    for index in range(2):
        grey = np.asarray(Image.open(image(drawn, index)).convert("L")).astype(np.uint16)
        Image.fromarray(grey * 16).save(image(drawn, index))
    audit = check_data(drawn)
    (problem,) = audit.problems
    assert (problem.kind, len(problem.files), problem.left_out) == ("few-bits", 2, ("figure_00000", "figure_00001"))
    assert audit.clean_ids() == [f"figure_{index:05}" for index in range(2, FIGURES)]
    assert "no value above 4,095, and would be read nearly black: multiply their values by 16" in problem.detail


def write_deep(folder: Path, index: int, times: int, offset: int = 0) -> Values:
    """A photo of the set as 16-bit grey of 0 to 255 times a number."""
    grey = np.asarray(Image.open(image(folder, index)).convert("L")).astype(np.uint16) * np.uint16(times) + np.uint16(offset)
    Image.fromarray(grey).save(image(folder, index))
    return grey


@pytest.mark.parametrize(("times", "offset"), [(16, 0), (4, 32768)])
def test_16_bit_photos_that_keep_few_grey_levels_are_something_to_look_at(drawn: Path, times: int, offset: int) -> None:
    grey = write_deep(drawn, 1, times, offset)
    hot = write_deep(drawn, 0, times, offset)
    hot[-2:, -6:] = 65535  # a bar burnt in, by which all are read as if they used 16 bits
    Image.fromarray(hot).save(image(drawn, 0))
    for _ in range(2):  # also where results are recalled
        (problem,) = check_data(drawn).problems
        assert (problem.kind, problem.files) == ("few-grey-levels", ("images/figure_00000.png", "images/figure_00001.png"))
        assert not KINDS[problem.kind].is_fact
    low, high = np.quantile(grey, (0.001, 0.999), method="inverted_cdf")
    used = np.unique(grey[(grey >= low) & (grey <= high)])
    image(drawn, 0).unlink()
    mask(drawn, 0).unlink()
    (drawn / "metadata.csv").unlink()
    hot = write_deep(drawn, 2, 1)
    Image.fromarray(hot * np.uint16(257)).save(image(drawn, 2))  # as it should be
    (problem,) = check_data(drawn).problems
    assert problem.files == ("images/figure_00001.png",)
    assert problem.detail.startswith(
        f"nearly all values of a photo lie between {low:,} and {high:,} (medians): of {len(used)} grey levels "
        f"{len(np.unique(used >> 8))} are left, since"
    )
    assert "16-bit photos keep few grey levels (1 of the 2 looked at): fgbg check" in open_samples(drawn).describe()


def test_groups_that_differ_only_in_case_are_named(drawn: Path) -> None:
    (drawn / "groups.csv").write_text("id,group\nfigure_00000,P1\nfigure_00001,p1 \nfigure_00002,P1 \n")
    audit = check_data(drawn)
    assert facts(audit) == [("ambiguous-group", ("groups.csv",))]
    assert "differ only in case (P1 and p1)" in audit.of("ambiguous-group")[0].detail
    assert "groups.csv names no group for 21 photos (figure_00003, " in audit.understood


def test_a_set_without_any_object_cannot_be_trained_on(drawn: Path) -> None:
    for index in range(FIGURES):
        edit_mask(drawn, index, np.zeros_like)
    (problem,) = check_data(drawn).of("untrainable")
    assert problem.detail.startswith("none of the 20 training masks has a pixel that is object")
    assert "fgbg check" not in problem.detail


@pytest.mark.parametrize("lists", [{}, {"train": [0, 1], "test": [2]}, {"val": [0, 1], "test": [2]}])
def test_what_training_would_refuse_is_a_fact_in_the_same_words(drawn: Path, lists: dict[str, list[int]]) -> None:
    kept = [image(drawn, index).stem for index in range(3)]
    for path in [*(drawn / "images").iterdir(), *(drawn / "masks").iterdir(), drawn / "metadata.csv"]:
        if path.stem not in (kept[2:] if not lists else kept):
            path.unlink()
    for name, lines in lists.items():
        (drawn / f"{name}.txt").write_text("".join(f"{kept[index]}\n" for index in lines))
    if "train" in lists:
        (drawn / "groups.csv").write_text("id,group\n" + "".join(f"{name},rex\n" for name in kept[:2]))
    audit = check_data(drawn)
    with pytest.raises(UserError) as error:
        fgbg.train(TrainConfig(data=str(drawn), out=str(drawn / "run"), batch_size=1))
    assert [(problem.kind, problem.detail) for problem in audit.problems] == [("untrainable", str(error.value))]
    assert audit.has_facts


def test_photos_that_only_judge_are_no_fault(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(figures, tmp_path / "set")
    for name in ("train", "val"):
        (folder / f"{name}.txt").unlink()
    assert main(["check", str(folder)]) == 0
    assert "note: can be scored, not trained on: set has no train photos" in capsys.readouterr().out
    (folder / "test.txt").rename(folder / "train.txt")
    audit = check_data(folder)
    assert audit.problems == ()
    assert "no test photos: none are left to judge a model by" in audit.remarks
