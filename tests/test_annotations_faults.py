"""Annotations that are broken, contradict their photos or each other; masks that are drawn by several, or not to the end."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import fgbg
from annotated import SQUARE, many, write_coco, write_photo
from fgbg import user_cache
from fgbg.data import outlines
from fgbg.data.rle import encode_runs, unpack_runs
from fgbg.data.sources import open_samples
from fgbg.doctor.clearing import clear_cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))


def drawn_masks(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "masks").glob("*/*.png"))


@pytest.mark.parametrize(
    ("outline", "sentence"),
    [
        ([[float("nan"), 1, 4, 1, 4, 3]], r"spans x nan to nan and y 1 to 3, outside a photo of 6×5"),
        ([[-1e9, 1, 1e9, 1, 4, 3]], r"spans x -1e\+09 to 1e\+09"),
        ([[100, 1, 140, 1, 140, 3]], r"spans x 100 to 140 and y 1 to 3, outside a photo of 6×5"),
        ([[1, 1, 4, 1, 4, 3, 1]], "a polygon is a list x1, y1"),
        ([1, 1, 4, 1, 4, 3], "a polygon is a list x1, y1"),
        ([["a", "b", "c", "d", "e", "f"]], "could not convert string"),
        ({"size": [5, 6], "counts": [1, 2]}, "run lengths cover 3 of 30 pixels"),
        ({"size": [5, 6], "counts": [0, 40]}, "run lengths cover 40 of 30 pixels"),
        ({"size": [5, 6], "counts": [-3, 33]}, "whole numbers from 0 on"),
        ({"size": [6, 5], "counts": [0, 30]}, "run lengths are of 5×6 pixels, the photo of 6×5"),
        ({"size": [5, 6], "counts": "~~"}, "characters that COCO does not write"),
        ({"size": [5, 6], "counts": "P"}, "end within a number"),
        ("a cat", "string indices must be integers"),
        ({"size": [5, 6], "counts": "01"}, "run lengths cover 1 of 30 pixels"),
    ],
)
def test_outlines_that_cannot_be_drawn(tmp_path: Path, outline: Any, sentence: str) -> None:
    with pytest.raises(fgbg.UserError, match=rf"00\.png has an outline of cat that cannot be drawn \(.*{sentence}"):
        open_samples(many(tmp_path, [("cat", outline)]))
    assert drawn_masks(tmp_path) == []


def test_what_reaches_over_the_edge_is_cut_there(tmp_path: Path) -> None:
    samples = open_samples(many(tmp_path, [("cat", [[-1, -1, 4, -1, 4, 3, -1, 3]])]))
    assert int(samples.read_levels(0).sum()) == 12


def test_polygons_of_two_corners_outline_nothing(tmp_path: Path) -> None:
    samples = open_samples(many(tmp_path, [("cat", [*SQUARE, [5, 5, 6, 6]]), ("dog", [[1, 1, 2, 2]])]))
    assert "COCO outlines of cat" in samples.describe()


@pytest.mark.parametrize("seed", range(4))
def test_packed_run_lengths_are_unpacked_as_coco_packs_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((40, 30)) > 0.7, 10 ** (seed % 3), axis=0)  # long runs and short ones
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert unpack_runs(packed) == unpack_runs(packed.decode()) == encode_runs(mask)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"category_id": 7}, "has outlines of category 7, which it does not name"),
        ({"image_id": 99}, "outlines something in image 99, which it does not list"),
    ],
)
def test_entries_that_refer_to_nothing(tmp_path: Path, change: dict[str, int], sentence: str) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][0] |= change
    (folder / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(fgbg.UserError, match=sentence):
        open_samples(folder)


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        (
            "images",
            {"file_name": "03.png"},
            r"annotations\.json lists several images with the id 10: give each an id of its own",
        ),
        ("categories", {"name": "dog"}, r"annotations\.json lists several categories with the id 100"),
    ],
)
def test_an_id_of_two_entries(tmp_path: Path, part: str, change: dict[str, str], sentence: str) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    content = json.loads((folder / "annotations.json").read_text())
    content[part].append(content[part][0] | change)
    (folder / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(fgbg.UserError, match=sentence):
        open_samples(folder)


def test_an_entry_that_is_listed_twice_alike_is_one_entry(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    content = json.loads((folder / "annotations.json").read_text())
    for part in ("images", "categories"):
        content[part].append(content[part][0])
    (folder / "annotations.json").write_text(json.dumps(content))
    assert len(open_samples(folder).samples) == 12


def test_files_of_several_splits_each_have_their_own_ids(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "valid", "test")):
        write_photo(tmp_path / "data" / split / "a.png", np.full((5, 6, 3), index, np.uint8))
        write_coco(tmp_path / "data" / split / "_annotations.coco.json", {"a.png": [("cat", SQUARE)]})
    assert [sample.id for sample in open_samples(tmp_path / "data").samples] == ["train_a", "validation_a", "test_a"]


def test_a_size_that_no_photo_has_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    write_photo(tmp_path / "data" / "images" / "a.png")
    write_coco(tmp_path / "data" / "annotations.json", {"a.png": [("cat", SQUARE)]}, size=(10**8, 10**8))
    with pytest.raises(fgbg.UserError, match="its annotations are of 100000000×100000000"):
        open_samples(tmp_path / "data")


def test_one_name_for_two_photos(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    (folder / "annotations-old.json").write_bytes((folder / "annotations.json").read_bytes())
    with pytest.raises(fgbg.UserError, match=r"00, .* stand for more than one photo in annotations-old\.json"):
        open_samples(folder)


def test_a_name_too_long_for_a_mask(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for count in (150, 149):
        write_photo(folder / "images" / ("a" * count) / f"{'b' * 50}.png", np.full((5, 6, 3), count, np.uint8))
    write_coco(folder / "annotations.json", {f"{'a' * count}/{'b' * 50}.png": [("cat", SQUARE)] for count in (149, 150)})
    with pytest.raises(fgbg.UserError, match=r"^aaaaaaaaaaaaaaaaaaaa…: an id names files, .* no longer than 200 bytes"):
        open_samples(folder)
    assert drawn_masks(tmp_path) == []


def test_a_split_by_name_is_of_all_files_or_none(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    (folder / "val.json").write_bytes((folder / "annotations.json").read_bytes())
    with pytest.raises(fgbg.UserError, match=r"some of annotations\.json, val\.json are of a split by their names"):
        open_samples(folder)


@pytest.mark.parametrize("name", ["training-photos", "test", "valley"])
def test_the_folder_of_the_data_tells_no_split(tmp_path: Path, name: str) -> None:
    folder = many(tmp_path, [("cat", SQUARE)]).rename(tmp_path / name)
    assert {sample.split for sample in open_samples(folder).samples} == {"train", "validation", "test"}


def test_captions_and_keypoints_beside_instances_are_passed_over(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    (folder / "annotations").mkdir()
    (folder / "annotations.json").rename(folder / "annotations" / "instances_default.json")
    (folder / "annotations" / "captions_default.json").write_text('{"images": [], "annotations": [{"caption": "a cat"}]}')
    assert len(open_samples(folder).samples) == 12


def test_photos_that_nobody_outlined_are_said(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    write_photo(folder / "images" / "new.png", np.full((5, 6, 3), 99, np.uint8))
    assert "1 photo not in the annotations left out (new.png)" in open_samples(folder).describe()


def test_photos_on_no_list_are_said(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    for name, first in (("train", 0), ("val", 4), ("test", 7)):
        (folder / f"{name}.txt").write_text("".join(f"{index:02}\n" for index in range(first, first + 3)))
    assert "3 photos on no list left out (03, 10, 11)" in open_samples(folder).describe()


def test_labelme_photos_without_a_file_are_said(tmp_path: Path) -> None:
    for index in range(12):
        write_photo(tmp_path / "data" / f"{index:02}.png", np.full((5, 6, 3), index, np.uint8))
        shape = {"label": "cell", "points": [[1, 1], [4, 1], [4, 3], [1, 3]], "shape_type": "oriented_rectangle"}
        content = {"imageHeight": 5, "imageWidth": 6, "shapes": [shape]}
        (tmp_path / "data" / f"{index:02}.json").write_text(json.dumps(content))
    (tmp_path / "data" / "03.json").unlink()
    told = open_samples(tmp_path / "data").describe()
    assert "11 pairs" in told
    assert "1 photo without a .json left out, which LabelMe writes once a photo is saved (03.png)" in told


@pytest.mark.parametrize(("on_disk", "in_file"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("tool", ["COCO", "LabelMe"])
def test_names_that_differ_only_in_how_accents_are_composed_are_one_name(
    tmp_path: Path, tool: str, on_disk: Any, in_file: Any
) -> None:
    folder = tmp_path / "data"
    names = [f"{index:02} café" for index in range(12)]
    for index, name in enumerate(names):
        photo = folder / "images" / f"{unicodedata.normalize(on_disk, name)}.png"
        write_photo(photo, np.full((5, 6, 3), index, np.uint8))
        if tool == "LabelMe":
            shape = {"label": "cell", "points": [[1, 1], [4, 1], [4, 3], [1, 3]]}
            content = json.dumps({"imageHeight": 5, "imageWidth": 6, "shapes": [shape]})
            (folder / "images" / f"{unicodedata.normalize(in_file, name)}.json").write_text(content)
    if tool == "COCO":
        outlined = {f"{unicodedata.normalize(in_file, name)}.png": [("cell", SQUARE)] for name in names}
        write_coco(folder / "annotations.json", outlined)
    told = open_samples(folder).describe()
    assert "12 pairs" in told
    assert "left out" not in told


def test_two_spellings_of_one_name_are_one_photo(tmp_path: Path) -> None:
    names = [f"{unicodedata.normalize(form, 'é')}.png" for form in ("NFC", "NFD")]
    write_photo(tmp_path / "data" / "images" / names[0])
    write_coco(tmp_path / "data" / "annotations.json", {name: [("cat", SQUARE)] for name in names})
    with pytest.raises(fgbg.UserError, match="é stand for more than one photo"):
        open_samples(tmp_path / "data")


def test_masks_follow_the_photos(tmp_path: Path) -> None:
    """A photo that comes back, or is turned, needs another mask, though the annotations are the same."""
    folder = many(tmp_path, [("cat", SQUARE)])
    photo = folder / "images" / "03.png"
    aside = photo.rename(tmp_path / "aside.png")
    assert len(fgbg.check(folder).problems) > 0
    aside.rename(photo)
    assert len(open_samples(folder).samples) == 12
    write_photo(photo, orientation=6)
    turned = next(sample for sample in open_samples(folder).samples if sample.id == "03")
    assert isinstance(turned.mask, Path)
    with Image.open(turned.mask) as mask:
        assert mask.size == (5, 6)


def test_a_damaged_photo_is_named_as_one(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    (folder / "images" / "03.png").write_bytes(b"no picture")
    assert [problem.files for problem in fgbg.check(folder).problems if problem.kind == "corrupt"] == [("images/03.png",)]


def test_pycocotools_is_asked_for_where_annotations_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pycocotools" else found(name))
    with pytest.raises(fgbg.UserError, match=r"need pycocotools: pip install 'fgbg\[annotations\]'"):
        open_samples(folder)


def test_drawing_that_was_cut_short_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path, [("cat", SQUARE)])
    with monkeypatch.context() as patched:
        patched.setattr(user_cache.shutil, "rmtree", lambda *_args, **_options: None)  # a killed process clears nothing away
        patched.setattr(outlines, "turn_upright", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_samples(folder)
    (half,) = (tmp_path / "cache" / "masks").iterdir()
    assert half.name.endswith(".partial")
    (half / "00.png").write_bytes(b"half")
    assert int(open_samples(folder).read_levels(0).sum()) == 6
    assert not half.exists()


def _open(folder: str) -> str:
    return open_samples(folder).fingerprint


def test_two_processes_at_once_draw_the_same_masks(tmp_path: Path) -> None:
    folder = many(tmp_path, [("cat", SQUARE)], count=60)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_open, [str(folder)] * 2, chunksize=1)
    assert first == second == open_samples(folder).fingerprint
    assert len(drawn_masks(tmp_path)) == 60
    assert len(list((tmp_path / "cache" / "masks").iterdir())) == 1


def test_clearing_the_cache_names_the_masks(tmp_path: Path) -> None:
    open_samples(many(tmp_path, [("cat", SQUARE)]))
    assert "masks: masks drawn from annotations" in clear_cache()
    assert drawn_masks(tmp_path) == []
