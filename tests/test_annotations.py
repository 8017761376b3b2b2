"""COCO and LabelMe annotations: the masks that they are, drawn once, and what is said where they do not fit."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

import fgbg
from annotated import SQUARE, many, write_coco, write_photo
from discs import make_samples, small_config
from fgbg import cli
from fgbg.data import outlines
from fgbg.data.annotations import Outlined, Shape
from fgbg.data.coco import read_coco
from fgbg.data.draw_outlines import draw_mask, read_pose, turn_upright
from fgbg.data.rle import encode_runs
from fgbg.data.sources import open_samples

pytestmark = pytest.mark.usefixtures("no_charts")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))


def draw(*shapes: Shape, height: int = 5, width: int = 6) -> list[list[int]]:
    return draw_mask(Outlined(Path("a.png"), "a", height, width), shapes).tolist()


def test_a_polygon_by_hand() -> None:
    assert draw(Shape("cat", SQUARE)) == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_run_lengths_by_hand() -> None:
    # Down the columns of 2 x 3: ground 1, object 2, ground 3.
    assert draw(Shape("cat", {"size": [2, 3], "counts": [1, 2, 3]}), height=2, width=3) == [[0, 1, 0], [1, 0, 0]]


def test_run_lengths_as_coco_compresses_them() -> None:
    mask = np.random.default_rng(0).random((17, 23)) > 0.6
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    as_text = {"size": runs["size"], "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(draw(Shape("cat", as_text), height=17, width=23), mask.astype(int))
    counted = {"size": [17, 23], "counts": encode_runs(mask)}
    np.testing.assert_array_equal(draw(Shape("cat", counted), height=17, width=23), mask.astype(int))


def test_what_is_outlined_goes_before_a_crowd() -> None:
    crowd = Shape("cat", {"size": [5, 6], "counts": [0, 30]}, is_crowd=True)
    drawn = np.array(draw(Shape("cat", SQUARE), crowd))
    assert (drawn == 1).sum() == 6
    assert (drawn == 2).sum() == 24


def test_a_folder_of_coco_and_what_is_said_of_it(tmp_path: Path) -> None:
    samples = open_samples(many(tmp_path, [("cat", SQUARE)]))
    assert len(samples.samples) == 12
    assert "masks with COCO outlines of cat" in samples.describe()
    assert "1 photo without an outline is all ground" in samples.describe()
    areas = [int((samples.read_levels(index) == 1).sum()) for index in range(12)]
    assert sorted(areas) == [0] + [6] * 11


def test_several_categories_are_asked_for(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE), ("dog", [[0, 4, 6, 4, 6, 5, 0, 5]])])
    with pytest.raises(fgbg.UserError, match=r"outlines of cat \(11\), dog \(11\): say which are object with --categories"):
        open_samples(folder)
    with pytest.raises(fgbg.UserError, match=r"category 'catt'.*cat"):
        open_samples(folder, categories=("catt",))
    areas = {
        chosen: int((open_samples(folder, categories=chosen).read_levels(0) == 1).sum())
        for chosen in (("cat",), ("dog",), ("all",), ("cat", "dog"))
    }
    assert areas == {("cat",): 6, ("dog",): 6, ("all",): 12, ("cat", "dog"): 12}


def test_masks_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    first = open_samples(folder)
    monkeypatch.setattr(outlines, "draw_mask", None)
    assert open_samples(folder).fingerprint == first.fingerprint
    assert not list((tmp_path / "cache" / "masks").glob("*partial*"))


@pytest.mark.parametrize("validation", ["valid", "val", "validation"])
def test_splits_as_exporters_name_them(validation: str, tmp_path: Path) -> None:
    for part in ("train", validation, "test"):
        for index in range(3):
            write_photo(tmp_path / "data" / part / f"{index}.png", np.full((5, 6, 3), index + 10 * len(part), np.uint8))
        write_coco(
            tmp_path / "data" / part / "_annotations.coco.json", {f"{index}.png": [("cat", SQUARE)] for index in range(3)}
        )
    samples = open_samples(tmp_path / "data")
    assert {(sample.id, sample.split) for sample in samples.samples} == {
        (f"{split}_{index}", split) for split in ("train", "validation", "test") for index in range(3)
    }


def test_splits_as_coco_itself_names_them(tmp_path: Path) -> None:
    for number, part in enumerate(("train2017", "val2017")):
        for index in range(3):
            write_photo(tmp_path / "data" / part / f"{index}.png", np.full((5, 6, 3), index + 10 * number, np.uint8))
        write_coco(
            tmp_path / "data/annotations" / f"instances_{part}.json",
            {f"{index}.png": [("cat", SQUARE)] for index in range(3)},
        )
    samples = open_samples(tmp_path / "data")
    assert [sample.split for sample in samples.samples] == ["train"] * 3 + ["validation"] * 3


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_outlines_of_a_photo_that_its_camera_turned(tmp_path: Path, orientation: int) -> None:
    """Whether a tool outlined the photo as it is stored or as it is shown, the mask lies on it as it is shown."""
    pixels = np.zeros((5, 8, 3), np.uint8)
    pixels[1:3, 1:4] = 255
    folder = tmp_path / "data"
    write_photo(folder / "images" / "a.png", pixels, orientation)
    shown = fgbg.Sample("a", folder / "images" / "a.png", np.zeros((1, 1), np.uint8)).read_pixels()[:, :, 0] > 0
    upright = {"size": list(shown.shape), "counts": encode_runs(shown)}
    write_coco(folder / "up.json", {"a.png": [("cat", upright)]}, size=shown.shape)
    cases = [folder / "up.json"]
    if orientation != 3:  # its size tells
        write_coco(folder / "stored.json", {"a.png": [("cat", SQUARE)]}, size=(5, 8))
        cases.append(folder / "stored.json")
    for case in cases:
        (photo,) = read_coco(case, folder)
        mask = turn_upright(draw_mask(photo, photo.shapes), read_pose(photo.photo))
        np.testing.assert_array_equal(mask == 1, shown)


def test_annotations_of_another_size_are_refused(tmp_path: Path) -> None:
    write_photo(tmp_path / "data" / "images" / "a.png")
    write_coco(tmp_path / "data" / "annotations.json", {"a.png": [("cat", SQUARE)]}, size=(10, 12))
    with pytest.raises(fgbg.UserError, match=r"a\.png is 6×5 pixels, its annotations are of 12×10"):
        open_samples(tmp_path / "data")


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    (folder / "images" / "03.png").unlink()
    with pytest.raises(fgbg.UserError, match=r"03\.png is annotated but not in"):
        open_samples(folder)
    assert [problem.files for problem in fgbg.check(folder).problems if problem.kind == "missing-image"] == [
        ("images/03.png",)
    ]


def test_a_photo_that_nothing_was_outlined_in_is_no_problem(tmp_path: Path) -> None:
    audit = fgbg.check(many(tmp_path, [("cat", SQUARE)]))
    assert audit.of("empty-mask") == []
    assert "1 photo without an outline is all ground" in audit.understood


def test_a_photo_of_a_crowd_alone_is_no_problem(tmp_path: Path) -> None:
    """Its mask holds the band alone, which is what a crowd is drawn as."""
    audit = fgbg.check(many(tmp_path, [("cat", SQUARE)], crowds=["03.png"]))
    assert audit.of("empty-mask") == []
    assert "1 crowd region drawn as the band" in audit.understood


def test_a_problem_of_a_drawn_mask_names_the_photo(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", [[0, 0, 6, 0, 6, 5, 0, 5]])])
    assert [problem.files for problem in fgbg.check(folder).of("full-mask")][:2] == [("images/00.png",), ("images/01.png",)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"images": [], "annotations": []}', "is no COCO file of outlines, it lacks 'categories': export it again"),
        ('{"images": [], "annotations": [], "categories": []}', "hold no outlines"),
        ('{"images": [, "annotations": ', "is no JSON file"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "annotations.json").write_text(content)
    with pytest.raises(fgbg.UserError, match=sentence):
        open_samples(tmp_path / "data")


def encode_picture(mask: NDArray[np.bool_]) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_a_labelme_file_finds_its_photo_however_its_ending_is_spelled(tmp_path: Path) -> None:
    for index, ending in enumerate(("png", "PNG", "Png")):
        photo = tmp_path / "data" / f"photo-{index}.png"
        write_photo(photo, np.full((6, 8, 3), index, np.uint8))
        photo.rename(photo.with_suffix(f".{ending}"))
        shape = {"label": "cell", "shape_type": "rectangle", "points": [[1, 1], [4, 3]]}
        content = {"imageHeight": 6, "imageWidth": 8, "imagePath": photo.name, "shapes": [shape]}
        photo.with_suffix(".json").write_text(json.dumps(content))
    (tmp_path / "data" / "train.txt").write_text("photo-0\nphoto-1\n")
    (tmp_path / "data" / "val.txt").write_text("photo-2\n")
    assert [sample.id for sample in open_samples(tmp_path / "data").samples] == ["photo-0", "photo-1", "photo-2"]


def test_every_shape_of_labelme(tmp_path: Path) -> None:
    box = np.array([[True, False], [True, True]])
    shapes = {
        "polygon": ({"points": [[1, 1], [4, 1], [4, 3], [1, 3]]}, 6),
        "rectangle": ({"points": [[4, 3], [1, 1]]}, 6),  # in any order
        "circle": ({"points": [[10, 10], [15, 10]]}, np.pi * 25),
        "mask": ({"points": [[2, 3], [3, 4]], "mask": encode_picture(box)}, 3),
    }
    for index, (kind, (shape, _)) in enumerate(shapes.items()):
        write_photo(tmp_path / "data" / f"{kind}.png", np.full((20, 24, 3), index, np.uint8))
        shape |= {"label": "cell", "shape_type": kind}
        content = {"imageHeight": 20, "imageWidth": 24, "imagePath": f"{kind}.png", "shapes": [shape]}
        (tmp_path / "data" / f"{kind}.json").write_text(json.dumps(content))
    (tmp_path / "data" / "train.txt").write_text("polygon\nrectangle\n")
    (tmp_path / "data" / "val.txt").write_text("circle\nmask\n")
    samples = open_samples(tmp_path / "data")
    assert "LabelMe outlines of cell" in samples.describe()
    for index, sample in enumerate(samples.samples):
        assert (samples.read_levels(index) == 1).sum() == pytest.approx(shapes[sample.id][1], rel=0.1), sample.id


def test_a_point_outlines_nothing(tmp_path: Path) -> None:
    write_photo(tmp_path / "data" / "a.png")
    shape = {"label": "cell", "shape_type": "point", "points": [[1, 1]]}
    (tmp_path / "data" / "a.json").write_text(json.dumps({"imageHeight": 5, "imageWidth": 6, "shapes": [shape]}))
    with pytest.raises(fgbg.UserError, match=r"a\.json has a point called cell, which has no area"):
        open_samples(tmp_path / "data")


def test_without_annotations_there_are_no_categories(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        write_photo(tmp_path / "data" / kind / "a.png")
    with pytest.raises(fgbg.UserError, match=r"--categories cat: .* has no COCO or LabelMe annotations"):
        open_samples(tmp_path / "data", categories=("cat",))


@pytest.mark.long
def test_training_on_coco_is_training_on_its_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same discs as run lengths and as arrays: the same epochs to the last digit, and scores from the run alone."""
    discs = make_samples(20)
    shapes = {}
    for sample in discs:
        write_photo(tmp_path / "data" / "images" / f"{sample.id}.png", sample.image)
        shapes[f"{sample.id}.png"] = [("disc", {"size": [32, 32], "counts": encode_runs(sample.mask > 0)}), ("dot", SQUARE)]
    write_coco(tmp_path / "data" / "annotations.json", shapes, size=(32, 32))
    for name, split in (("train", range(12)), ("val", range(12, 16)), ("test", range(16, 20))):
        (tmp_path / "data" / f"{name}.txt").write_text("".join(f"disc_{index:02}\n" for index in split))
    splits = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    same = [
        fgbg.Sample(sample.id, sample.image, sample.mask, split=split) for sample, split in zip(discs, splits, strict=True)
    ]
    drawn = fgbg.train(small_config(tmp_path / "drawn", data=str(tmp_path / "data"), categories=("disc",), epochs=1))
    given = fgbg.train(small_config(tmp_path / "given", epochs=1), samples=same)
    assert drawn.epochs()[0].train_loss == given.epochs()[0].train_loss
    assert drawn.epochs()[0].val_dice_photo == given.epochs()[0].val_dice_photo
    assert drawn.config.categories == ("disc",)
    assert cli.main(["evaluate", str(drawn.folder), "--device", "cpu"]) == 0
    assert "test photos of data: 4 pairs" in capsys.readouterr().out
    _evaluate_other_data(tmp_path, drawn, capsys)


def _evaluate_other_data(tmp_path: Path, run: fgbg.Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Other data may call the same object otherwise; of its own data a run knows what is object."""
    other = tmp_path / "other"
    for index, sample in enumerate(make_samples(4)):
        write_photo(other / "images" / f"{index}.png", 255 - sample.image)
    shapes = [("Disk", {"size": [32, 32], "counts": encode_runs(make_samples(1)[0].mask > 0)})]
    write_coco(other / "annotations.json", {f"{index}.png": shapes for index in range(4)}, size=(32, 32))
    (other / "test.txt").write_text("0\n1\n2\n3\n")
    evaluate = ["evaluate", str(run.folder), "--device", "cpu"]
    assert cli.main([*evaluate[:2], str(other), *evaluate[2:]]) == 2
    assert "category 'disc'" in capsys.readouterr().err
    assert cli.main([*evaluate[:2], str(other), *evaluate[2:], "--categories", "Disk"]) == 0
    assert "4 pairs" in capsys.readouterr().out
    assert cli.main([*evaluate, "--categories", "disc"]) == 2
    assert "the run knows its own object" in capsys.readouterr().err
