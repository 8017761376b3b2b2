"""From DATA to an understood set: layouts, lists, tables, downloads, and every way in which data do not fit together."""

from __future__ import annotations

import gc
import hashlib
import io
import re
import shutil
import tarfile
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import trivial
from fgbg.data.cache import cache_photos, cache_squares
from fgbg.data.masks import TRIMAP, ZERO_255, ZERO_ONE
from fgbg.data.oxford import download_oxford
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.data.sources import open_samples
from fgbg.data.split import Locked, split_set
from fgbg.errors import UserError


def write_image(path: Path, *shape: int, value: int | None = None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = shape or (12, 10)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(pixels if value is None else np.full(shape, value, np.uint8)).save(path)
    return path


def write_mask(path: Path, *values: int, height: int = 12, width: int = 10) -> Path:
    """A mask whose rows take the values in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.array(values or (0, 255), np.uint8)[np.arange(height) % len(values or (0, 255))]
    Image.fromarray(np.repeat(rows[:, None], width, 1)).save(path)
    return path


def write_pair(folder: Path, name: str, *values: int, seed: int = 0) -> None:
    write_image(folder / "images" / f"{name}.png", seed=seed)
    write_mask(folder / "masks" / f"{name}.png", *values)


def write_set(folder: Path, *names: str, values: tuple[int, ...] = (0, 255)) -> Path:
    for seed, name in enumerate(names):
        write_pair(folder, name, *values, seed=seed)
    return folder


def write_oxford(folder: Path, trainval: Iterable[str], test: Iterable[str], more: Iterable[str] = ()) -> Path:
    trainval, test = list(trainval), list(test)
    for seed, name in enumerate([*trainval, *test, *more]):
        write_image(folder / "images" / f"{name}.jpg", seed=seed)
        write_mask(folder / "annotations" / "trimaps" / f"{name}.png", 1, 2, 3)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for list_name, names in (("trainval", trainval), ("test", test)):
        lines = [f"{name} 1 1 1" for name in names]
        (folder / "annotations" / f"{list_name}.txt").write_text("\n".join(["#Image CLASS-ID SPECIES BREED", *lines, ""]))
    return folder


def split_of(samples: SampleSet) -> dict[str, str]:
    return {sample.id: sample.split for sample in samples.samples}


def refusal(data: str | Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        open_samples(data, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


class TestImagesAndMasks:
    @pytest.mark.parametrize(
        ("encoding", "understood"), [("0/1", ZERO_ONE), ("0/255", ZERO_255), ("1-bit", ZERO_255), ("trimap", TRIMAP)]
    )
    def test_pairs_are_found_and_their_masks_understood(self, make_folder, encoding: str, understood) -> None:
        samples = open_samples(make_folder(6, encoding))
        assert samples.encoding is understood
        assert [sample.id for sample in samples.samples] == [f"photo_{index:02}" for index in range(6)]
        for index, (sample, look) in enumerate(zip(samples.samples, samples.inspections, strict=True)):
            pixels, levels = sample.read_pixels(), samples.read_levels(index)
            assert (look.height, look.width) == levels.shape == pixels.shape[:2]
            bright = pixels.mean(-1) > 120
            assert (bright == (levels == 1))[levels != 2].all()  # the disc is where the mask says

    def test_photo_and_mask_pair_by_stem_whatever_their_endings(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("a.v1", "b", "c")):
            write_image(tmp_path / "images" / f"{name}.JPG".lower(), seed=seed)
            write_mask(tmp_path / "masks" / f"{name}.png")
        samples = open_samples(tmp_path)
        assert [(sample.image.name, sample.mask.name) for sample in samples.samples] == [
            ("a.v1.jpg", "a.v1.png"),
            ("b.jpg", "b.png"),
            ("c.jpg", "c.png"),
        ]

    def test_a_sample_takes_a_path_as_it_is_often_written(self, make_folder) -> None:
        folder = make_folder(4)
        files = {"image": str(folder / "images" / "photo_00.png"), "mask": str(folder / "masks" / "photo_00.png")}
        with trivial.unchecked():  # a type checker would tell
            sample = Sample("a", **files)
        assert sample.image == folder / "images" / "photo_00.png"
        assert understand_samples("own", [sample]).samples == (sample,)

    def test_a_name_with_a_dot_is_never_taken_for_another_photo(self, make_folder) -> None:
        folder = make_folder(4)
        (folder / "groups.csv").write_text("id,group\nphoto_01.png,a\nphoto_02.2,b\n", encoding="utf-8")
        assert "has a row for 'photo_02.2', which is none of the photos" in refusal(folder)

    def test_files_that_are_no_images_are_passed_over(self, make_folder) -> None:
        folder = make_folder(4)
        (folder / "images" / "Thumbs.db").write_bytes(b"x")
        (folder / "masks" / "._photo_00.png").write_bytes(b"x")
        assert len(open_samples(folder).samples) == 4

    def test_without_lists_the_set_is_cut_80_10_10_and_says_so(self, make_folder) -> None:
        samples = open_samples(make_folder(10), split_seed=3)
        assert sorted(split_of(samples).values()) == ["test"] + ["train"] * 8 + ["validation"]
        assert "split 80/10/10, seed 3" in samples.describe()

    def test_the_seed_moves_the_cut_and_the_folder_name_does_not(self, make_folder) -> None:
        one, other = make_folder(20), make_folder(20, name="elsewhere")
        assert split_of(open_samples(one)) == split_of(open_samples(other))
        assert split_of(open_samples(one)) != split_of(open_samples(one, split_seed=1))

    def test_what_was_understood_is_one_line_with_counts_hash_and_encoding(self, tmp_path: Path) -> None:
        write_set(tmp_path / "cells", *"abcde")
        write_mask(tmp_path / "cells" / "masks" / "a.png", 0)
        samples = open_samples(tmp_path / "cells")
        assert samples.describe() == (
            f"cells: 5 pairs (3 train, 1 validation, 1 test) · hash {samples.fingerprint} · "
            "masks with values {0, 255}: object = 255, 40% of pixels, 1 mask empty · split 80/10/10, seed 0"
        )

    def test_progress_is_told_how_many_files_there_are(self, make_folder) -> None:
        calls = []

        def progress(items: Iterable[Any], **about: Any) -> Iterable[Any]:
            calls.append(about)
            return items

        open_samples(make_folder(4), progress=progress)
        assert calls == [{"total": 4, "desc": "reading the set"}]


class TestUnpairedFolders:
    def test_a_folder_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        assert f"{tmp_path / 'gone'} does not exist: DATA is a folder, or one of oxford-pet, figures" in refusal(
            tmp_path / "gone"
        )

    def test_a_mistyped_name_gets_the_nearest_one(self) -> None:
        assert "did you mean 'oxford-pet'?" in refusal("oxfordpet")

    def test_a_file_is_no_data(self, tmp_path: Path) -> None:
        assert "is a file: DATA is a folder" in refusal(write_image(tmp_path / "a.png"))

    def test_an_empty_folder_is_told_which_layouts_are_known(self, tmp_path: Path) -> None:
        assert "it needs images/ and masks/, or train/, val/ and test/ with these inside" in refusal(tmp_path)

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_an_empty_images_or_masks_folder_is_named(self, make_folder, kind: str) -> None:
        folder = make_folder(3)
        shutil.rmtree(folder / kind)
        (folder / kind).mkdir()
        assert refusal(folder) == f"{folder / kind} holds no images"

    def test_a_missing_masks_folder_is_named_with_the_cure(self, make_folder) -> None:
        folder = make_folder(3)
        shutil.rmtree(folder / "masks")
        assert f"{folder / 'masks'} does not exist: photos go into images/" in refusal(folder)

    def test_a_photo_without_a_mask_is_named(self, make_folder) -> None:
        folder = make_folder(4)
        (folder / "masks" / "photo_02.png").unlink()
        assert refusal(folder) == f"1 of 4 photos have no mask in {folder / 'masks'}: photo_02.png"

    def test_a_mask_without_a_photo_is_named(self, make_folder) -> None:
        folder = make_folder(4)
        (folder / "images" / "photo_01.png").unlink()
        assert refusal(folder) == f"1 of 4 masks have no photo in {folder / 'images'}: photo_01.png"

    def test_lone_photos_are_all_named_up_to_twenty(self, make_folder) -> None:
        folder = make_folder(23)
        for index in range(22):
            (folder / "masks" / f"photo_{index:02}.png").unlink()
        said = refusal(folder)
        assert f"22 of 23 photos have no mask in {folder / 'masks'}: photo_00.png, " in said
        assert said.endswith("photo_19.png and 2 more")

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_two_files_of_one_stem_are_refused_and_named(self, make_folder, kind: str) -> None:
        folder = make_folder(3)
        shutil.copy(folder / kind / "photo_01.png", folder / kind / "photo_01.bmp")
        sentence = refusal(folder)
        assert sentence.startswith(f"{folder / kind} has two files for photo_01.")
        assert sentence.endswith("names must differ before the ending")

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_images_in_sub_folders_are_refused_and_the_folders_named(self, make_folder, kind: str) -> None:
        folder = make_folder(4)
        write_image(folder / kind / "plate0" / "x.png")
        write_image(folder / kind / "plate2" / "deep" / "x.png")
        assert refusal(folder) == (
            f"{folder / kind} has images in sub-folders (plate0, plate2), which are not read: move them up and give them "
            f"names of their own, such as plate0_1.png, or move them out of {kind}/"
        )

    def test_sub_folders_alone_are_named_too(self, tmp_path: Path) -> None:
        write_image(tmp_path / "images" / "plate0" / "x.png")
        assert "has images in sub-folders (plate0)" in refusal(tmp_path)

    def test_hidden_folders_and_folders_without_images_do_not_matter(self, make_folder) -> None:
        folder = make_folder(4)
        for name in (".ipynb_checkpoints", "@eaDir"):
            write_image(folder / "images" / name / "x.png")
        write_image(folder / "images" / "notes" / ".hidden" / "x.png")
        (folder / "masks" / "notes").mkdir()
        (folder / "masks" / "notes" / "._x.png").touch()
        assert len(open_samples(folder).samples) == 4

    def test_too_few_pairs_for_three_splits_are_refused(self, make_folder) -> None:
        assert "2 pairs in 2 groups cannot be split three ways" in refusal(make_folder(2))

    def test_names_that_differ_only_in_how_accents_are_composed_are_one_name(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("é1", "é2", "é3")):
            write_image(tmp_path / "images" / f"{unicodedata.normalize('NFD', name)}.png", seed=seed)
            write_mask(tmp_path / "masks" / f"{unicodedata.normalize('NFC', name)}.png")
        for list_name, name in (("train", "é1"), ("val", "é2"), ("test", "é3")):
            (tmp_path / f"{list_name}.txt").write_text(unicodedata.normalize("NFC", name), encoding="utf-8")
        (tmp_path / "groups.csv").write_text(f"id,group\n{unicodedata.normalize('NFC', 'é1')},x\n", encoding="utf-8")
        first, *_ = open_samples(tmp_path).samples
        assert (first.id, first.split, first.group) == (unicodedata.normalize("NFD", "é1"), "train", "x")

    @pytest.mark.parametrize("ending", ["jfif", "JPE"])
    def test_a_jpeg_is_known_by_any_of_its_endings(self, make_folder, ending: str) -> None:
        folder = make_folder(4)
        for kind in ("images", "masks"):
            path = folder / kind / "photo_01.png"
            Image.open(path).save(path.with_suffix(f".{ending}"), "JPEG")
            path.unlink()
        assert len(open_samples(folder).samples) == 4


class TestMasksWithAnEnding:
    @staticmethod
    def rename(folder: Path, ending: str, *, but: int = -1) -> None:
        for index, path in enumerate(sorted((folder / "masks").iterdir())):
            if index != but:
                path.rename(path.with_stem(path.stem + ending))

    @pytest.mark.parametrize("ending", ["_mask", "-seg", "_cp_masks", ".label"])
    def test_masks_that_all_have_one_ending_more_are_paired_by_it_and_that_is_said(self, make_folder, ending: str) -> None:
        folder = make_folder(12)
        plain = open_samples(folder)
        self.rename(folder, ending)
        samples = open_samples(folder)
        assert split_of(samples) == split_of(plain)
        assert samples.fingerprint == plain.fingerprint
        assert [sample.mask.stem for sample in samples.samples] == [f"{sample.id}{ending}" for sample in samples.samples]
        assert f" · masks paired by their ending {ending};" in samples.describe()
        assert "paired" not in plain.describe()

    @pytest.mark.parametrize(("ending", "but"), [("mask", -1), ("_2", -1), ("_mask", 1)])
    def test_other_endings_pair_nothing(self, make_folder, ending: str, but: int) -> None:
        folder = make_folder(4)
        self.rename(folder, ending, but=but)
        assert f"of 4 photos have no mask in {folder / 'masks'}" in refusal(folder)

    def test_two_masks_for_one_photo_pair_nothing_by_an_ending(self, make_folder) -> None:
        folder = make_folder(4)
        self.rename(folder, "_mask")
        shutil.copy(folder / "masks" / "photo_01_mask.png", folder / "masks" / "photo_01_mask.bmp")
        (folder / "keep.txt").write_text("photo_01")
        with pytest.raises(UserError, match="lists photo_01, which the data do not have"):
            open_samples(folder, only=folder / "keep.txt")

    def test_a_photo_that_has_no_mask_of_that_ending_is_named(self, make_folder) -> None:
        folder = make_folder(4)
        self.rename(folder, "_mask")
        (folder / "masks" / "photo_02_mask.png").unlink()
        assert refusal(folder) == f"1 of 4 photos have no mask in {folder / 'masks'}: photo_02.png"


class TestUnreadableFiles:
    def test_a_mask_of_another_size_is_named_with_both_sizes(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        write_mask(tmp_path / "masks" / "c.png", height=13, width=10)
        assert refusal(tmp_path) == "mask of c is 10×13 pixels, its photo 10×12: they must be the same size"

    def test_photo_and_mask_turned_alike_by_exif_fit_and_only_one_turned_does_not(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        exif = Image.Exif()
        exif[0x0112] = 6
        for kind in ("images", "masks"):
            path = tmp_path / kind / "b.png"
            Image.open(path).save(path, exif=exif)
            if kind == "images":
                assert "mask of b is 10×12 pixels, its photo 12×10" in refusal(tmp_path)
        assert open_samples(tmp_path).inspections[1].width == 12

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_a_file_that_is_no_image_is_named(self, make_folder, kind: str) -> None:
        folder = make_folder(4)
        path = folder / kind / "photo_03.png"
        path.write_text("<html>not found</html>")
        assert refusal(folder) == f"{path} is not an image that can be read: replace it or leave it out"

    def test_a_truncated_mask_is_named(self, make_folder) -> None:
        path = make_folder(4) / "masks" / "photo_01.png"
        path.write_bytes(path.read_bytes()[:-30])
        assert f"{path} is damaged" in refusal(path.parent.parent)

    @pytest.mark.parametrize(
        "suffix",
        [
            ".png",
            pytest.param(".jpg"),
        ],
    )
    def test_a_truncated_photo_is_named_before_anything_is_trained(self, make_folder, suffix: str) -> None:
        folder = make_folder(4)
        path = folder / "images" / "photo_01.png"
        photo = Image.open(path).convert("RGB")
        path.unlink()
        path = path.with_suffix(suffix)
        photo.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        assert f"{path} is damaged" in refusal(folder)

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_several_pages_are_refused_and_a_preview_is_no_page(self, make_folder, kind: str) -> None:
        folder = make_folder(4)
        path = folder / kind / "photo_01.png"
        page = Image.open(path)
        page.save(path.with_suffix(".tif"), save_all=True, append_images=[page.resize((8, 8))])
        path.unlink()
        assert len(open_samples(folder).samples) == 4
        path = path.with_suffix(".tif")
        page.save(path, save_all=True, append_images=[page, page])
        assert refusal(folder) == (
            f"{path} has 3 pages, of which only the first would be read: save the one that counts as a file of its own"
        )

    @pytest.mark.parametrize(("depth", "dark"), [(8, "black"), (10, "nearly black"), (12, "nearly black"), (14, "too dark")])
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_16_bit_photos_that_use_few_bits_are_refused_with_the_factor(
        self, make_folder, depth: int, dark: str, suffix: str
    ) -> None:
        folder = make_folder(4)
        for index in range(2):
            path = folder / "images" / f"photo_{index:02}.png"
            deep = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
            deep[0, 0] = 2**depth - 1 - index
            path.unlink()
            Image.fromarray(deep).save(path.with_suffix(suffix))
        first = folder / "images" / f"photo_00{suffix}"
        assert refusal(folder) == (
            f"the 16-bit photos ({first} and 1 more) use {depth} of their bits, no value above {2**depth - 1:,}, and would "
            f"be read {dark}: multiply their values by {2 ** (16 - depth)}, or save them with 8 bits if they are that dark"
        )
        deep[0, 0] = 2**14  # one value is enough
        Image.fromarray(deep).save(path.with_suffix(suffix))
        assert len(open_samples(folder).samples) == 4

    def test_three_values_that_fit_nothing_stop_with_the_flag_and_the_flag_settles_it(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd", values=(0, 1, 2))
        assert "say which are object, for example --object-values 2" in refusal(tmp_path)
        samples = open_samples(tmp_path, object_values=[1, 2])
        assert np.unique(samples.read_levels(0)[1::3]).tolist() == [1]
        assert "as told: object = 1, 2" in samples.describe()

    def test_the_encoding_is_decided_for_the_whole_set_and_not_by_the_first_file(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd", values=(0,))
        write_mask(tmp_path / "masks" / "d.png", 0, 255)
        assert open_samples(tmp_path).encoding is ZERO_255
        write_mask(tmp_path / "masks" / "c.png", 0, 1)
        assert "{0, 1, 255}" in refusal(tmp_path)


class TestSplitFolders:
    def test_train_val_test_folders_are_the_split_and_ids_say_where_a_photo_lies(self, tmp_path: Path) -> None:
        for part, names in (("train", "abc"), ("val", "ab"), ("test", "a")):
            write_set(tmp_path / part, *names)
        assert split_of(open_samples(tmp_path)) == {
            "train_a": "train",
            "train_b": "train",
            "train_c": "train",
            "val_a": "validation",
            "val_b": "validation",
            "test_a": "test",
        }

    def test_without_val_every_tenth_training_photo_validates(self, tmp_path: Path) -> None:
        write_set(tmp_path / "train", *"abcdefghijkl")
        write_set(tmp_path / "test", "z")
        found = split_of(open_samples(tmp_path))
        assert [name for name, split in found.items() if split == "validation"] == ["train_a", "train_k"]
        assert found["test_z"] == "test"
        assert list(found.values()).count("train") == 10

    def test_a_broken_part_is_named(self, tmp_path: Path) -> None:
        write_set(tmp_path / "train", "a", "b")
        write_image(tmp_path / "test" / "images" / "c.png")
        assert f"{tmp_path / 'test' / 'masks'} does not exist" in refusal(tmp_path)

    @pytest.mark.parametrize("name", ["valid", "validation"])
    def test_a_validation_folder_by_another_name_is_not_dropped_without_a_word(self, tmp_path: Path, name: str) -> None:
        for part, names in (("train", "abc"), (name, "ab"), ("test", "a")):
            write_set(tmp_path / "set" / part, *names)
        try:
            samples = open_samples(tmp_path / "set")
        except UserError as error:
            assert name in str(error)
        else:
            assert len(samples.samples) == 6 or f"{name}/" in samples.describe()


class TestLists:
    def test_lists_decide_by_id_or_file_name(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        (tmp_path / "train.txt").write_text("a\nb.png\n\n")
        (tmp_path / "val.txt").write_bytes(b"  images/c.png \r\n")
        (tmp_path / "test.txt").write_text("d")
        samples = open_samples(tmp_path)
        assert split_of(samples) == {"a": "train", "b": "train", "c": "validation", "d": "test"}
        assert "80/10/10" not in samples.describe()

    @pytest.mark.parametrize("name", ["val", "valid", "validation"])
    def test_the_list_of_validation_photos_is_named_as_a_folder_may_be(self, name: str, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        for list_name, lines in {"train": "a\nb", name: "c", "test": "d"}.items():
            (tmp_path / f"{list_name}.txt").write_text(lines)
        assert split_of(open_samples(tmp_path)) == {"a": "train", "b": "train", "c": "validation", "d": "test"}

    def test_a_run_keeps_its_photos_whatever_lists_and_tables_say_by_now(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        locked = {
            name: Locked(split, "") for name, split in zip("abcd", ("train", "train", "validation", "test"), strict=True)
        }
        (tmp_path / "train.txt").write_text("a\na\n")
        (tmp_path / "test.txt").write_text("a\n")
        (tmp_path / "groups.csv").write_text("id,group\na,P1\nb,p1\n")
        samples = open_samples(tmp_path, locked=locked)
        assert split_of(samples) == {"a": "train", "b": "train", "c": "validation", "d": "test"}
        assert not any(sample.group for sample in samples.samples)

    def test_two_masks_of_one_name_are_not_chosen_between(self, tmp_path: Path) -> None:
        write_set(tmp_path / "set", *"abcd")
        write_mask(tmp_path / "set" / "masks" / "a.tif", 255, 0)
        assert "has two files for" in refusal(tmp_path / "set")
        (tmp_path / "keep.txt").write_text("b\nc\nd\n")
        assert set(split_of(open_samples(tmp_path / "set", only=tmp_path / "keep.txt"))) == set("bcd")
        (tmp_path / "keep.txt").write_text("a\nb\nc\nd\n")
        assert "has two files for" in refusal(tmp_path / "set", only=tmp_path / "keep.txt")

    def test_a_line_without_a_photo_is_named(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abc")
        (tmp_path / "test.txt").write_text("a\nx\n")
        assert refusal(tmp_path) == f"{tmp_path / 'test.txt'} lists 'x', which is not in {tmp_path / 'images'}"

    def test_a_photo_in_two_lists_is_named(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abc")
        (tmp_path / "train.txt").write_text("a\nb\n")
        (tmp_path / "test.txt").write_text("b.png\n")
        assert "test.txt lists 'b.png', which is already train: one list a photo" in refusal(tmp_path)

    def test_photos_on_no_list_are_left_out(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcde")
        for name, line in (("train", "a"), ("val", "b"), ("test", "c")):
            (tmp_path / f"{name}.txt").write_text(line)
        assert set(split_of(open_samples(tmp_path))) == {"a", "b", "c"}

    def test_photos_on_no_list_are_said_to_be_left_out(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcde")
        for name, line in (("train", "a"), ("val", "b"), ("test", "c")):
            (tmp_path / f"{name}.txt").write_text(line)
        assert "2 photos" in open_samples(tmp_path).describe()

    def test_without_val_txt_every_tenth_training_photo_validates(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abcd")
        (tmp_path / "train.txt").write_text("a\nb\nc\n")
        (tmp_path / "test.txt").write_text("d\n")
        assert split_of(open_samples(tmp_path)) == {"a": "validation", "b": "train", "c": "train", "d": "test"}

    def test_a_list_with_a_byte_order_mark_is_read(self, tmp_path: Path) -> None:
        write_set(tmp_path, *"abc")
        for name, line in (("train", "a"), ("val", "b"), ("test", "c")):
            (tmp_path / f"{name}.txt").write_text(line, encoding="utf-8-sig")
        assert len(open_samples(tmp_path).samples) == 3


class TestTables:
    def test_groups_stay_together(self, make_folder) -> None:
        folder = make_folder(20)
        rows = [f"photo_{index:02},patient {index // 4}" for index in range(20)]
        (folder / "groups.csv").write_text("\n".join(["id,group", *rows]))
        splits: dict[str, set[str]] = {}
        for sample in open_samples(folder).samples:
            assert sample.group == f"patient {int(sample.id[-2:]) // 4}"
            splits.setdefault(sample.group, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "validation", "test"}

    def test_every_column_of_metadata_reaches_the_sample(self, make_folder) -> None:
        folder = make_folder(3)
        (folder / "metadata.csv").write_text('id,camera,note\nphoto_01,phone,"dark, blurred"\n')
        samples = open_samples(folder).samples
        assert samples[1].metadata == {"camera": "phone", "note": "dark, blurred"}
        assert samples[0].metadata == {}

    @pytest.mark.parametrize("name", ["groups", "metadata"])
    def test_a_table_without_an_id_column_is_named(self, make_folder, name: str) -> None:
        folder = make_folder(3)
        (folder / f"{name}.csv").write_text("photo,group\nphoto_00,x\n")
        assert f"{folder / f'{name}.csv'} has no column 'id'" in refusal(folder)

    def test_a_table_saved_by_excel_is_read(self, make_folder) -> None:
        folder = make_folder(3)
        (folder / "groups.csv").write_text("id,group\r\nphoto_00,x\r\n", encoding="utf-8-sig")
        assert open_samples(folder).samples[0].group == "x"

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_columns_may_be_separated_as_a_german_excel_does_it(self, make_folder, separator: str) -> None:
        folder = make_folder(3)
        for name in ("groups", "metadata"):
            lines = [f"group{separator}id", f'"x, y"{separator}photo_00', separator]
            (folder / f"{name}.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")
        sample = open_samples(folder).samples[0]
        assert (sample.group, sample.metadata) == ("x, y", {"group": "x, y"})

    def test_a_table_that_is_not_utf_8_is_refused_in_a_sentence(self, make_folder) -> None:
        folder = make_folder(3)
        (folder / "groups.csv").write_bytes("id,group\nphoto_00,Müller\n".encode("cp1252"))
        assert "groups.csv" in refusal(folder)

    def test_groups_by_file_name_are_groups_as_lists_by_file_name_are_lists(self, make_folder) -> None:
        folder = make_folder(8)
        rows = [f"photo_{index:02}.png,patient {index // 2}" for index in range(8)]
        (folder / "groups.csv").write_text("\n".join(["id,group", *rows]))
        try:
            samples = open_samples(folder)
        except UserError as error:
            assert "groups.csv" in str(error)
        else:
            assert [sample.group for sample in samples.samples] == [f"patient {index // 2}" for index in range(8)]

    def test_a_row_of_groups_for_no_photo_is_refused(self, make_folder) -> None:
        folder = make_folder(6)
        (folder / "groups.csv").write_text("id,group\nphoto-00,x\nphoto-01,x\n")
        assert "photo-00" in refusal(folder)

    def test_groups_without_a_group_column_are_refused(self, make_folder) -> None:
        folder = make_folder(6)
        (folder / "groups.csv").write_text("id,patient\nphoto_00,x\nphoto_01,x\n")
        assert "no column 'group'" in refusal(folder)

    def test_groups_stay_together_also_when_a_tenth_of_train_validates(self, tmp_path: Path) -> None:
        write_set(tmp_path / "train", *"abcdefghijkl")
        write_set(tmp_path / "test", "z")
        rows = [f"train_{name},patient {index // 3}" for index, name in enumerate("abcdefghijkl")]
        (tmp_path / "groups.csv").write_text("\n".join(["id,group", *rows]))
        splits: dict[str, set[str]] = {}
        for sample in open_samples(tmp_path).samples:
            splits.setdefault(sample.group, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values())

    def test_lines_of_nothing_but_commas_are_passed_over(self, tmp_path: Path) -> None:
        folder = write_set(tmp_path / "set", "photo_00", "photo_01", "photo_02")
        (folder / "metadata.csv").write_text("camera,id\nphone,photo_00\n,\n,,\nphone\n".replace("\nphone\n", "\n"))
        assert open_samples(folder).samples[0].metadata == {"camera": "phone"}

    @pytest.mark.parametrize("name", ["groups", "metadata"])
    def test_two_rows_for_one_photo_are_named(self, make_folder, name: str) -> None:
        folder = make_folder(6)
        (folder / f"{name}.csv").write_text("id,group\nphoto_00,x\nphoto_00.png,y\n")
        assert refusal(folder) == f"{folder / name}.csv has several rows for 'photo_00.png': one row a photo"

    def test_a_row_that_ends_early_has_empty_cells(self, make_folder) -> None:
        folder = make_folder(3)
        for name in ("groups", "metadata"):
            (folder / f"{name}.csv").write_text("id,group\nphoto_00,x\nphoto_01\n")
        sample = open_samples(folder).samples[1]
        assert (sample.group, sample.metadata) == ("", {"group": ""})

    def test_line_breaks_within_quotes_are_kept(self, make_folder) -> None:
        folder = make_folder(3)
        (folder / "metadata.csv").write_text('id,note\nphoto_00,"dark,\nblurred"\nphoto_01,a\u2028b\n', encoding="utf-8")
        samples = open_samples(folder).samples
        assert [sample.metadata.get("note") for sample in samples] == ["dark,\nblurred", "a\u2028b", None]

    def test_a_line_without_its_id_is_named(self, tmp_path: Path) -> None:
        folder = write_set(tmp_path / "set", "photo_00", "photo_01", "photo_02")
        (folder / "metadata.csv").write_text("camera,id\nphone\n")
        assert "metadata.csv has a row for ''" in refusal(folder)

    def test_spaces_around_cells_do_not_count(self, make_folder) -> None:
        folder = make_folder(3)
        (folder / "groups.csv").write_text("id, group\nphoto_00,P1 \nphoto_01 , P1\nphoto_02,P1\n , \n")
        (folder / "metadata.csv").write_text("id, camera\nphoto_00, phone \n")
        with pytest.raises(UserError, match="3 pairs in 1 groups"):
            open_samples(folder)
        (folder / "groups.csv").unlink()
        assert open_samples(folder).samples[0].metadata == {"camera": "phone"}

    def test_groups_that_differ_only_in_case_are_refused_also_beside_a_list(self, make_folder, tmp_path: Path) -> None:
        folder = make_folder(6)
        (folder / "groups.csv").write_text("id,group\nphoto_00,P1\nphoto_01,p1\nphoto_02,Rex\nphoto_03,rex\n")
        sentence = (
            f"{folder / 'groups.csv'} has groups that differ only in case (P1 and p1, Rex and rex): write each in one way"
        )
        assert refusal(folder) == sentence
        (tmp_path / "keep.txt").write_text("".join(f"photo_{index:02}\n" for index in range(5)))
        assert refusal(folder, only=tmp_path / "keep.txt") == sentence

    def test_a_list_of_photos_to_keep_names_them_as_other_lists_may(self, make_folder, tmp_path: Path) -> None:
        """With the file ending, and with accents composed or apart."""
        folder = make_folder(4)
        for kind in ("images", "masks"):
            (folder / kind / "photo_03.png").rename(folder / kind / f"{unicodedata.normalize('NFD', 'é')}.png")
        (tmp_path / "keep.txt").write_text("photo_00\nphoto_01.png\nphoto_02.JPG\né\n", encoding="utf-8")
        kept = open_samples(folder, only=tmp_path / "keep.txt").samples
        assert sorted(sample.id for sample in kept) == ["e\u0301", "photo_00", "photo_01", "photo_02"]
        (tmp_path / "keep.txt").write_text("photo_00\nphoto_9.png\n")
        assert "keep.txt lists photo_9.png, which the data do not have" in refusal(folder, only=tmp_path / "keep.txt")

    def test_photos_that_groups_forget_are_counted_and_named(self, make_folder) -> None:
        folder = make_folder(6)
        (folder / "groups.csv").write_text("id,group\nphoto_00,P1\nphoto_01,P1\nphoto_02,P2\nphoto_03,\n")
        assert "groups.csv names no group for 3 photos (photo_03, photo_04, photo_05)" in open_samples(folder).describe()
        for name, index in (("train", 0), ("val", 2), ("test", 5)):
            (folder / f"{name}.txt").write_text(f"photo_{index:02}\n")
        assert "groups.csv names no group for 1 photo (photo_05)" in open_samples(folder).describe()


class TestOxford:
    names = tuple(f"Cat_{index}" for index in range(25))

    def test_the_lists_are_the_split_and_every_tenth_of_trainval_validates(self, tmp_path: Path) -> None:
        samples = open_samples(write_oxford(tmp_path / "pets", self.names[:15], self.names[15:]))
        splits = [sample.split for sample in samples.samples]
        assert splits == ["validation", *["train"] * 9, "validation", *["train"] * 4, *["test"] * 10]
        assert [sample.id for sample in samples.samples] == list(self.names)
        assert samples.name == "pets"

    def test_the_lab_split_joins_the_lists_in_file_order_and_cuts_80_10_10(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, self.names[15:], self.names[:15])
        samples = open_samples(folder, split="lab")
        assert [sample.id for sample in samples.samples] == [*self.names[15:], *self.names[:15]]
        assert [sample.split for sample in samples.samples] == ["train"] * 20 + ["validation"] * 2 + ["test"] * 3

    def test_trimaps_are_read_as_trimaps_and_breeds_as_metadata(self, tmp_path: Path) -> None:
        samples = open_samples(write_oxford(tmp_path, ["great_dane_7", "b_1"], ["c_1"]))
        assert samples.encoding is TRIMAP
        assert samples.read_levels(0)[:3, 0].tolist() == [1, 0, 2]
        assert [sample.metadata["breed"] for sample in samples.samples] == ["great_dane", "b", "c"]

    def test_trimaps_are_trimaps_also_where_no_photo_has_a_border(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        for path in (folder / "annotations" / "trimaps").iterdir():
            write_mask(path, 1, 2)
        assert open_samples(folder).read_levels(0)[:2, 0].tolist() == [1, 0]

    def test_photos_in_neither_list_are_left_out_and_named(self, tmp_path: Path) -> None:
        samples = open_samples(write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"], ["c_1", "c_2"]))
        assert len(samples.samples) == 3
        assert samples.describe().endswith("2 photos on no list left out (c_1, c_2)")

    def test_a_listed_photo_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        (folder / "images" / "a_2.jpg").unlink()
        assert f"{folder / 'images' / 'a_2.jpg'} is listed but does not exist" in refusal(folder)

    def test_a_copy_without_photos_is_told(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        shutil.rmtree(folder / "images")
        assert f"{folder / 'images'} does not exist: the copy of Oxford-IIIT Pet is incomplete" in refusal(folder)

    def test_a_missing_trimap_is_named(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        (folder / "annotations" / "trimaps" / "b_1.png").unlink()
        assert "b_1.png is listed but does not exist" in refusal(folder)

    def test_a_missing_test_list_is_named(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        (folder / "annotations" / "test.txt").unlink()
        assert f"{folder / 'annotations' / 'test.txt'} does not exist" in refusal(folder)

    def test_a_photo_in_both_lists_is_named(self, tmp_path: Path) -> None:
        assert "has a_1 more than once" in refusal(write_oxford(tmp_path, ["a_1", "a_2"], ["a_1"]))

    def test_the_lab_split_of_another_folder_is_refused(self, make_folder) -> None:
        assert "--split lab cuts the Oxford-IIIT Pet lists" in refusal(make_folder(4), split="lab")

    def test_masks_that_are_no_trimaps_are_refused_when_the_set_is_opened(self, tmp_path: Path) -> None:
        folder = write_oxford(tmp_path, ["a_1", "a_2"], ["b_1"])
        write_mask(folder / "annotations" / "trimaps" / "b_1.png", 0, 255)
        assert "b_1" in refusal(folder)

    def test_fgbg_data_names_the_copy_that_oxford_pet_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FGBG_DATA", str(write_oxford(tmp_path / "my pets", ["a_1", "a_2"], ["b_1"])))
        samples = open_samples("oxford-pet")
        assert samples.name == "oxford-pet"
        assert len(samples.samples) == 3

    def test_a_wrong_fgbg_data_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FGBG_DATA", str(tmp_path))
        assert refusal("oxford-pet") == (
            f"FGBG_DATA={tmp_path} is no copy of Oxford-IIIT Pet: it has no annotations/trainval.txt"
        )


class TestFingerprint:
    def test_it_is_twelve_digits_that_depend_on_names_and_bytes_alone(self, make_folder) -> None:
        one, copy = open_samples(make_folder(5)), open_samples(make_folder(5, name="copy"), split_seed=9)
        assert len(one.fingerprint) == 12
        assert int(one.fingerprint, 16) >= 0
        assert one.fingerprint == copy.fingerprint
        assert open_samples(make_folder(5, name="other", seed=1)).fingerprint != one.fingerprint
        assert open_samples(make_folder(4, name="fewer")).fingerprint != one.fingerprint

    def test_it_is_computed_once_and_a_part_of_the_set_has_its_own(self) -> None:
        samples = understand_samples("a", own_samples(4))
        assert samples.fingerprint is samples.fingerprint
        part, first = samples.rearrange(samples.samples[:2]), understand_samples("b", own_samples(2))
        assert part.fingerprint == first.fingerprint != samples.fingerprint

    def test_the_order_of_samples_does_not_count(self) -> None:
        samples = own_samples(4)
        assert understand_samples("a", samples).fingerprint == understand_samples("b", samples[::-1]).fingerprint

    @pytest.mark.parametrize("change", ["id", "image", "mask"])
    def test_every_name_photo_and_mask_counts(self, change: str) -> None:
        samples = own_samples(3)
        last = {"id": samples[2].id, "image": samples[2].image.copy(), "mask": samples[2].mask.copy()}
        if change == "id":
            last["id"] = "renamed"
        else:
            last[change][0, 0] = 255 - last[change][0, 0]
        changed = [*samples[:2], Sample(**last)]
        assert understand_samples("a", samples).fingerprint != understand_samples("a", changed).fingerprint


def own_samples(count: int, *values: int) -> list[Sample]:
    """Samples in memory; every mask holds all the values."""
    found = []
    for index in range(count):
        random = np.random.default_rng(index)
        mask = np.array(values or (0, 255), np.uint8)[np.arange(48) % len(values or (0, 255))].reshape(6, 8)
        found.append(Sample(f"own {index}", random.integers(0, 256, (6, 8, 3), np.uint8), mask))
    return found


EMPTY_ID = pytest.param("")


class TestOwnSamples:
    @pytest.mark.parametrize(
        ("splits", "sentence"),
        [
            (("train", "val"), "samples of split 'val': use train, validation, test, or none for all of them"),
            (("train", ""), "samples with a split and others without one"),
        ],
    )
    def test_splits_that_cannot_be_meant(self, splits: tuple[str, str], sentence: str) -> None:
        pixels, mask = np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=np.uint8)
        samples = [Sample(f"photo_{index}", pixels, mask, split=split) for index, split in enumerate(splits)]
        with pytest.raises(UserError, match=sentence):
            split_set(understand_samples("own", samples), seed=0)

    def test_arrays_are_understood_as_files_are(self) -> None:
        samples = understand_samples("own", own_samples(3))
        assert samples.encoding is ZERO_255
        assert (samples.inspections[0].height, samples.inspections[0].width) == (6, 8)
        assert samples.inspections[0].histogram[[0, 255]].tolist() == [24, 24]

    def test_views_of_arrays_are_read_as_copies_are(self) -> None:
        turned = [replace(sample, image=sample.image[::-1, :, ::-1], mask=sample.mask[::-1]) for sample in own_samples(3)]
        copied = [replace(sample, image=sample.image.copy(), mask=sample.mask.copy() > 0) for sample in turned]
        views = [replace(sample, mask=sample.mask > 0) for sample in own_samples(3)]
        views = [replace(sample, image=sample.image[::-1, :, ::-1], mask=sample.mask[::-1]) for sample in views]
        found, expected = (understand_samples("own", samples) for samples in (views, copied))
        for decode in (cache_photos, partial(cache_squares, size=4, fit="pad")):
            decode(found)
        for index, (view, copy) in enumerate(zip(views, copied, strict=True)):
            assert torch.equal(torch.from_numpy(view.read_full_pixels()), torch.from_numpy(copy.image))
            np.testing.assert_array_equal(found.read_levels(index), expected.read_levels(index))
        assert cache_photos(found)[0][0].tolist() == copied[0].image.tolist()

    @pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
    def test_arrays_without_a_pixel_are_refused(self, shape: tuple[int, int]) -> None:
        empty = Sample("a", np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8))
        with pytest.raises(UserError, match=r"image of a has no pixels \(\d, \d, 3\): leave it out"):
            understand_samples("own", [empty])

    def test_ids_that_are_too_long_for_the_names_of_files_are_refused(self) -> None:
        fits, long = (replace(own_samples(1)[0], id="é" * count) for count in (100, 101))
        understand_samples("own", [fits])
        with pytest.raises(UserError, match=r"éé…: an id names files, so it may be no longer than 200 bytes; shorten it"):
            understand_samples("own", [long])

    def test_no_samples_are_refused(self) -> None:
        with pytest.raises(UserError, match="own holds no pairs"):
            understand_samples("own", [])

    def test_one_id_twice_is_refused_and_named(self) -> None:
        with pytest.raises(UserError, match="own has own 1 more than once"):
            understand_samples("own", [*own_samples(3), own_samples(2)[1]])

    def test_a_split_is_taken_out_in_order_with_its_inspections(self) -> None:
        samples = [Sample(s.id, s.image, s.mask, split=name) for s, name in zip(own_samples(3), "aba", strict=True)]
        part = understand_samples("own", samples).of("a")
        assert [sample.id for sample in part.samples] == ["own 0", "own 2"]
        assert part.inspections[1].image_hash == understand_samples("own", samples[2:]).inspections[0].image_hash

    def test_a_photo_of_floats_is_refused(self) -> None:
        bright = unchecked(image=np.full((6, 8, 3), 0.9, np.float32))
        with pytest.raises(UserError, match="uint8"):
            understand_samples("own", [bright])

    # Not strict: it fails only while annotations are checked as tests run.
    def test_a_mask_of_true_and_false_is_read_as_object_and_ground(self) -> None:
        mask = own_samples(1)[0].mask > 0
        samples = understand_samples("own", [unchecked(mask=mask)])
        np.testing.assert_array_equal(samples.read_levels(0), mask)
        np.testing.assert_array_equal(cache_photos(samples)[0][1], mask)

    @pytest.mark.parametrize(
        "image", [np.zeros((6, 8), np.uint8), np.zeros((6, 8, 4), np.uint8), np.zeros((3, 6, 8), np.uint8)]
    )
    def test_a_photo_that_is_not_three_channels_last_is_refused_with_its_shape(self, image: NDArray[np.uint8]) -> None:
        with pytest.raises(UserError, match=re.escape(str(image.shape))):
            understand_samples("own", [unchecked(image=image)])

    @pytest.mark.parametrize("name", ["a/b", "../a", ".a", EMPTY_ID])
    def test_an_id_that_cannot_name_files_is_refused(self, name: str) -> None:
        with pytest.raises(UserError, match="an id names files"):
            understand_samples("own", [unchecked(id=name)])

    def test_a_mask_with_a_channel_axis_is_refused_for_that(self) -> None:
        with pytest.raises(UserError) as error:
            understand_samples("own", [unchecked(mask=own_samples(1)[0].mask[:, :, None])])
        assert "must be the same size" not in str(error.value)


def unchecked(**fields: Any) -> Sample:
    """A sample as a caller makes it who does not check types: not even the tests' own checks look at these fields."""
    sample = own_samples(1)[0]
    for name, value in fields.items():
        object.__setattr__(sample, name, value)
    return sample


class Server:
    """Serves a folder on 127.0.0.1 and remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/"

    def pack(self, name: str, source: Path, members: Iterable[str]) -> str:
        """Write an archive to serve; its checksum."""
        with tarfile.open(self.folder / name, "w:gz") as tar:
            for member in members:
                tar.add(source / member, member)
        return "md5:" + hashlib.md5((self.folder / name).read_bytes()).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    found = Server(tmp_path / "served")
    thread = threading.Thread(target=found.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.http.shutdown()
    found.http.server_close()
    thread.join()


@pytest.fixture
def archives(server: Server, tmp_path: Path) -> dict[str, str]:
    """Archives like the official ones, with three pets, and their checksums."""
    source = write_oxford(tmp_path / "source", ["a_1", "a_2"], ["b_1"])
    return {f"{name}.tar.gz": server.pack(f"{name}.tar.gz", source, [name]) for name in ("images", "annotations")}


class TestDownload:
    def fetch(self, folder: Path, server: Server, archives: Mapping[str, str]) -> Path:
        return download_oxford(folder, address=server.address, archives=archives)

    def test_archives_are_fetched_unpacked_and_not_kept(self, tmp_path: Path, server: Server, archives) -> None:
        folder = self.fetch(tmp_path / "cache" / "oxford-pet", server, archives)
        assert len(open_samples(folder).samples) == 3
        assert sorted(path.name for path in folder.iterdir()) == ["annotations", "complete", "images"]

    def test_a_second_call_fetches_nothing(self, tmp_path: Path, server: Server, archives) -> None:
        self.fetch(tmp_path / "pets", server, archives)
        asked = list(server.asked)
        assert len(asked) == 2
        self.fetch(tmp_path / "pets", server, archives)
        assert server.asked == asked

    def test_an_archive_with_a_wrong_checksum_is_refused_and_not_unpacked(
        self, tmp_path: Path, server: Server, archives
    ) -> None:
        wrong = {**archives, "annotations.tar.gz": "md5:" + "0" * 32}
        with pytest.raises(UserError, match=r"annotations\.tar\.gz could not be fetched") as error:
            self.fetch(tmp_path / "pets", server, wrong)
        assert "download it by hand, unpack it, and name the folder in FGBG_DATA" in str(error.value)
        assert not (tmp_path / "pets" / "annotations").exists()
        assert not (tmp_path / "pets" / "complete").exists()
        assert len(open_samples(self.fetch(tmp_path / "pets", server, archives)).samples) == 3  # and can be put right

    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pooch does not close the answer to a failed request
    def test_an_archive_that_is_not_served_is_refused_by_its_address(self, tmp_path: Path, server: Server, archives) -> None:
        (server.folder / "images.tar.gz").unlink()
        with pytest.raises(UserError, match="404") as error:
            self.fetch(tmp_path / "pets", server, archives)
        assert f"{server.address}images.tar.gz" in str(error.value)
        del error
        gc.collect()  # here, where the warning is expected

    def test_no_connection_is_a_sentence(self, tmp_path: Path, server: Server, archives) -> None:
        server.http.shutdown()
        server.http.server_close()
        with pytest.raises(UserError, match=r"images\.tar\.gz could not be fetched"):
            self.fetch(tmp_path / "pets", server, archives)

    def test_what_was_cut_short_after_unpacking_is_fetched_again(self, tmp_path: Path, server: Server, archives) -> None:
        folder = self.fetch(tmp_path / "pets", server, archives)
        (folder / "complete").unlink()
        (folder / "images" / "a_1.jpg").unlink()
        assert len(open_samples(self.fetch(folder, server, archives)).samples) == 3

    def test_oxford_pet_without_a_local_copy_lies_in_the_cache(
        self, tmp_path: Path, server: Server, archives, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))
        self.fetch(tmp_path / "cache" / "oxford-pet", server, archives)
        assert len(open_samples("oxford-pet").samples) == 3


def test_a_mask_in_memory_equals_the_same_mask_in_a_file(tmp_path: Path) -> None:
    mask: NDArray[np.uint8] = np.array([[0, 255], [255, 0]], np.uint8)
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    (tmp_path / "m.png").write_bytes(file.getvalue())
    pixels = np.zeros((2, 2, 3), np.uint8)
    in_memory = understand_samples("a", [Sample("a", pixels, mask)])
    from_file = understand_samples("a", [Sample("a", pixels, tmp_path / "m.png")])
    np.testing.assert_array_equal(in_memory.read_levels(0), from_file.read_levels(0))
