"""The decoded store: keyed by content, never half there, ragged photos found again; and the small helpers below it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgbg.data import cache
from fgbg.data import samples as samples_module
from fgbg.data.cache import Photos, cache_photos, cache_squares
from fgbg.data.images import read_photo
from fgbg.data.parallel import IN_FLIGHT, map_in_order
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.data.sources import open_samples
from fgbg.errors import UserError
from fgbg.fit import fit_pixels, fit_target
from fgbg.storage import replace_when_whole
from fgbg.user_cache import cache_folder, fill_once


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each of these tests begins with nothing decoded."""
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "decoded").iterdir()) if (cache / "decoded").exists() else []


STORES: dict[str, Callable[..., Any]] = {"squares": partial(cache_squares, size=24, fit="squash"), "photos": cache_photos}
both_stores = pytest.mark.parametrize("store", STORES.values(), ids=STORES)


@both_stores
def test_a_process_that_is_not_its_machines_first_leaves_the_checksums_to_that_one(
    store: Callable[..., Any], make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = open_samples(make_folder(4))
    expected = store(samples, verify=False)  # nothing is there: it is decoded

    def fail(folder: Path) -> str:
        raise AssertionError(f"{folder} was read once more")

    monkeypatch.setattr(cache, "find_damage", fail)
    found = store(samples, verify=False)
    if isinstance(expected, Photos):
        np.testing.assert_array_equal(found.flat_pixels, expected.flat_pixels)
    else:
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    with pytest.raises(AssertionError, match="was read once more"):
        store(samples)


class TestContent:
    @pytest.mark.parametrize("fit", ["squash", "pad"])
    @pytest.mark.parametrize("encoding", ["0/255", "trimap"])
    def test_squares_are_the_fitted_photos_and_levels_in_order(self, make_folder, fit: str, encoding: str) -> None:
        samples = open_samples(make_folder(5, encoding))
        squares = cache_squares(samples, size=24, fit=fit)
        assert squares.pixels.shape == (5, 3, 24, 24)
        assert squares.levels.shape == (5, 24, 24)
        assert squares.pixels.dtype == squares.levels.dtype == np.uint8
        for index, sample in enumerate(samples.samples):
            image = fit_pixels(torch.tensor(sample.read_pixels()), 24, fit).numpy() * 255
            assert np.abs(squares.pixels[index] - image).max() <= 0.5 + 1e-4
            levels = fit_target(torch.tensor(samples.read_levels(index)), 24, fit)
            np.testing.assert_array_equal(squares.levels[index], levels)
        assert (squares.levels == 2).any() == (encoding == "trimap")  # the band is kept for any border rule

    def test_aspects_are_the_photos_own_where_they_were_squashed_and_1_where_not(self, make_folder) -> None:
        samples = open_samples(make_folder(5))
        own = [look.width / look.height for look in samples.inspections]
        assert cache_squares(samples, size=24, fit="squash").aspects.tolist() == own
        assert cache_squares(samples, size=24, fit="pad").aspects.tolist() == [1.0] * 5

    def test_photos_and_levels_come_back_at_their_own_sizes(self, make_folder) -> None:
        samples = open_samples(make_folder(6, "trimap"))
        photos = cache_photos(samples)
        assert len(photos) == 6
        for index, (pixels, levels) in enumerate(photos):
            np.testing.assert_array_equal(pixels, samples.samples[index].read_pixels())
            np.testing.assert_array_equal(levels, samples.read_levels(index))

    def test_samples_in_memory_are_stored_as_files_are(self, make_folder) -> None:
        samples = open_samples(make_folder(4))
        own = [Sample(s.id, s.read_pixels(), s.read_mask()) for s in samples.samples]
        from_memory = cache_photos(understand_samples("own", own))
        for mine, theirs in zip(from_memory, cache_photos(samples), strict=True):
            np.testing.assert_array_equal(mine[0], theirs[0])
            np.testing.assert_array_equal(mine[1], theirs[1])

    def test_what_is_stored_cannot_be_written_to(self, make_folder) -> None:
        samples = open_samples(make_folder(3))
        squares, photos = cache_squares(samples, size=24, fit="squash"), cache_photos(samples)
        for array in (squares.pixels, squares.levels, *photos[0]):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1

    @both_stores
    def test_large_photos_are_not_decoded_many_at_a_time(self, make_folder, store, monkeypatch: pytest.MonkeyPatch) -> None:
        weights = []

        def watch(work: Any, items: Any, *_: Any, weigh: Any = None, **options: Any) -> Any:
            weights.append(weigh)
            return map_in_order(work, items)

        samples = open_samples(make_folder(4))
        monkeypatch.setattr(cache, "map_in_order", watch)
        store(samples)
        assert weights == [samples.weigh]

    @both_stores
    def test_progress_is_told_how_many_photos_there_are(self, make_folder, store) -> None:
        calls = []

        def progress(items: Iterable[Any], **about: Any) -> Iterable[Any]:
            calls.append(about["total"])
            return items

        store(open_samples(make_folder(4)), progress=progress)
        assert calls == [4]


class TestRagged:
    @settings(deadline=None, max_examples=25, derandomize=True)
    @given(st.lists(st.tuples(*[st.integers(1, 6)] * 4), min_size=1, max_size=8))
    def test_every_photo_is_found_whatever_the_sizes_before_it(self, shapes: list[tuple[int, int, int, int]]) -> None:
        random = np.random.default_rng(0)
        pixels = [random.integers(0, 256, (height, width, 3), np.uint8) for height, width, _, _ in shapes]
        levels = [random.integers(0, 3, (height, width), np.uint8) for _, _, height, width in shapes]
        flat = [np.concatenate([part.ravel() for part in parts]) for parts in (pixels, levels)]
        photos = Photos(*flat, np.array(shapes, np.int64))
        for index in [*range(len(shapes)), *range(-len(shapes), 0)]:
            np.testing.assert_array_equal(photos[index][0], pixels[index])
            np.testing.assert_array_equal(photos[index][1], levels[index])

    def test_a_photo_past_the_end_is_an_error(self, make_folder) -> None:
        photos = cache_photos(open_samples(make_folder(3)))
        with pytest.raises(IndexError):
            photos[3]

    def test_a_photo_over_the_limit_is_stored_reduced_and_its_levels_whole(
        self, make_folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        samples = open_samples(make_folder(6))
        limit = sorted(look.height * look.width for look in samples.inspections)[2]
        monkeypatch.setattr(samples_module, "read_photo", partial(read_photo, largest_pixels=limit))
        photos, reduced = cache_photos(samples), 0
        for (pixels, levels), sample, look in zip(photos, samples.samples, samples.inspections, strict=True):
            assert levels.shape == (look.height, look.width)
            np.testing.assert_array_equal(pixels, read_photo(sample.image, largest_pixels=limit))
            reduced += pixels.shape[:2] != levels.shape
        assert reduced == 3
        squares = cache_squares(samples, size=24, fit="squash")
        bright = squares.pixels.mean(1) > 120
        assert (bright == (squares.levels == 1)).mean() > 0.9  # still over one another


class TestKey:
    @both_stores
    def test_the_same_content_is_decoded_once_wherever_it_lies(
        self, make_folder, empty_cache: Path, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = open_samples(make_folder(4)), open_samples(make_folder(4, name="copy"))
        store(first)

        def refuse(_: object) -> None:
            raise AssertionError("decoded again")

        monkeypatch.setattr(Sample, "read_pixels", refuse)
        store(first)
        store(second)
        assert len(entries(empty_cache)) == 1

    @both_stores
    def test_other_photos_masks_or_order_are_another_entry(self, make_folder, empty_cache: Path, store) -> None:
        samples = open_samples(make_folder(4))
        backwards = replace(samples, samples=samples.samples[::-1], inspections=samples.inspections[::-1])
        variants = [samples, backwards, samples.of("train")]
        for kind in ("images", "masks"):
            folder = make_folder(4, name=f"other {kind}")
            path = folder / kind / "photo_02.png"
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
            variants.append(open_samples(folder))
        for count, variant in enumerate(variants, 1):
            store(variant)
            assert len(entries(empty_cache)) == count

    def test_other_settings_and_stores_are_another_entry(self, make_folder, empty_cache: Path) -> None:
        samples = open_samples(make_folder(3))
        cache_squares(samples, size=24, fit="squash")
        cache_squares(samples, size=32, fit="squash")
        cache_squares(samples, size=24, fit="pad")
        cache_photos(samples)
        assert len(entries(empty_cache)) == 4

    @both_stores
    def test_the_same_masks_understood_otherwise_are_another_entry(self, make_folder, empty_cache: Path, store) -> None:
        folder = make_folder(4)
        normal, inverted = open_samples(folder), open_samples(folder, object_values=[0])
        levels = [np.concatenate([part.ravel() for part in self._levels(store(each))]) for each in (normal, inverted)]
        assert len(entries(empty_cache)) == 2
        np.testing.assert_array_equal(levels[0], 1 - levels[1])

    def _levels(self, stored: Any) -> list[np.ndarray]:
        return [levels for _, levels in stored] if isinstance(stored, Photos) else list(stored.levels)

    def test_a_changed_file_is_decoded_anew_and_the_old_set_s_entry_stays(self, make_folder, empty_cache: Path) -> None:
        folder = make_folder(3)
        before = cache_photos(open_samples(folder))[0][0].copy()
        path = folder / "images" / "photo_00.png"
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        after = cache_photos(open_samples(folder))[0][0]
        np.testing.assert_array_equal(after, 255 - before)
        assert len(entries(empty_cache)) == 2


class TestCutShort:
    @both_stores
    def test_a_damaged_photo_leaves_nothing_behind_and_the_mended_set_is_decoded(
        self, make_folder, empty_cache: Path, store
    ) -> None:
        folder = make_folder(4)
        samples = open_samples(folder)
        path = folder / "images" / "photo_02.png"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=r"photo_02\.png is damaged"):
            store(samples)
        assert entries(empty_cache) == []
        path.write_bytes(whole)
        store(samples)
        assert len(entries(empty_cache)) == 1

    @both_stores
    def test_an_interrupt_half_way_leaves_nothing_behind(self, make_folder, empty_cache: Path, store) -> None:
        def interrupted(items: Iterable[Any], **_: Any) -> Iterable[Any]:
            for index, item in enumerate(items):
                if index == 2:
                    raise KeyboardInterrupt
                yield item

        samples = open_samples(make_folder(4))
        with pytest.raises(KeyboardInterrupt):
            store(samples, progress=interrupted)
        assert entries(empty_cache) == []
        assert store(samples) is not None

    @both_stores
    def test_while_it_is_built_no_other_process_finds_it(self, make_folder, empty_cache: Path, store) -> None:
        seen: list[str] = []

        def watching(items: Iterable[Any], **_: Any) -> Iterable[Any]:
            for item in items:
                seen.extend(entries(empty_cache))
                yield item

        store(open_samples(make_folder(4)), progress=watching)
        (entry,) = entries(empty_cache)
        assert seen
        assert set(seen) == {f"{entry}.partial"}

    @both_stores
    def test_what_a_killed_process_left_is_not_taken_for_an_entry(self, make_folder, empty_cache: Path, store) -> None:
        samples = open_samples(make_folder(3))
        store(samples)
        (entry,) = entries(empty_cache)
        whole, half = empty_cache / "decoded" / entry, empty_cache / "decoded" / f"{entry}.partial"
        files = sorted(path.name for path in whole.iterdir())
        whole.rename(half)
        for name in (*files, "older"):
            (half / name).write_bytes(b"half")
        store(samples)
        assert entries(empty_cache) == [entry]
        assert sorted(path.name for path in whole.iterdir()) == files
        assert all(path.stat().st_size > 4 for path in whole.iterdir())

    @both_stores
    def test_who_comes_while_it_is_built_waits_and_takes_it(self, make_folder, empty_cache: Path, store) -> None:
        samples = open_samples(make_folder(3))
        seen: list[float] = []

        def slowly(items: Iterable[Any], **_: Any) -> Iterable[Any]:
            for item in items:
                seen.append(time.perf_counter())
                time.sleep(0.02)
                yield item

        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: store(samples, progress=slowly), range(2)))
        assert len(seen) == 3, "decoded once"
        assert len(entries(empty_cache)) == 1
        first, second = (list(stored if isinstance(stored, Photos) else stored.pixels) for stored in both)
        assert len(first) == len(second) == 3

    def test_a_full_disk_is_an_error_and_not_an_entry(
        self, make_folder, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "_write_entry", full)
        with pytest.raises(OSError, match=r"No space left on device: .*decoded"):
            cache_photos(open_samples(make_folder(3)))
        assert entries(empty_cache) == []


class TestDamage:
    @both_stores
    @pytest.mark.parametrize("name", ["pixels", "levels", "checksums.json"])
    @pytest.mark.parametrize("fault", ["flip", "cut", "remove"])
    def test_an_entry_that_changed_on_the_disk_is_built_again_and_said(
        self, make_folder, empty_cache: Path, store, name: str, fault: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        samples = open_samples(make_folder(3))
        store(samples)
        (entry,) = entries(empty_cache)
        path = empty_cache / "decoded" / entry / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        if fault == "remove":
            path.unlink()
        else:
            path.write_bytes(whole[:middle] + (bytes([whole[middle] ^ 1]) + whole[middle + 1 :] if fault == "flip" else b""))
        store(samples)
        assert path.read_bytes() == whole
        assert f"{entry} is damaged (" in capsys.readouterr().err

    @both_stores
    def test_an_entry_is_used_where_nothing_can_be_written(self, make_folder, empty_cache: Path, store) -> None:
        samples = open_samples(make_folder(3))
        store(samples)
        (empty_cache / "locks").rename(empty_cache / "gone")
        (empty_cache / "locks").write_text("no folder can be made here")
        assert store(samples) is not None


class TestCacheFolder:
    def test_fgbg_cache_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FGBG_CACHE", "~/somewhere")
        assert cache_folder() == Path.home() / "somewhere"

    def test_without_it_the_user_s_own_is_used_and_not_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FGBG_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == Path(platformdirs.user_cache_dir("fgbg", appauthor=False))
        assert list(tmp_path.iterdir()) == []


class TestFillOnce:
    def test_of_several_at_once_one_fills_and_the_others_wait(self, empty_cache: Path) -> None:
        folder, filled = empty_cache / "figures", []

        def fill(here: Path) -> None:
            here.mkdir(exist_ok=True)
            filled.append(here)
            time.sleep(0.2)
            (here / "test.txt").touch()

        with ThreadPoolExecutor(3) as pool:
            for made in pool.map(lambda _: fill_once(folder, fill, last="test.txt"), range(3)):
                assert (made / "test.txt").exists()
        assert filled == [folder]


class TestWeight:
    def test_large_photos_fill_the_queue(self, make_folder) -> None:
        samples = open_samples(make_folder(3))
        large = replace(samples.inspections[1], height=8_000, width=12_000)
        samples = replace(samples, inspections=(samples.inspections[0], large, samples.inspections[2]))
        assert (samples.weigh(0), samples.weigh(1)) == (1, 32)


class TestReplaceWhenWhole:
    def test_the_file_is_replaced_when_the_block_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with replace_when_whole(path) as aside:
            aside.write_text("new")
            assert path.read_text() == "old"
            assert aside.parent == tmp_path  # the same disk, or a rename would be a copy
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
    def test_an_error_or_interrupt_keeps_the_old_file_and_nothing_else(self, tmp_path: Path, error: type) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(error), replace_when_whole(path) as aside:
            aside.write_text("half")
            raise error
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestMapInOrder:
    def test_results_come_in_order_however_long_each_takes(self) -> None:
        late = threading.Event()

        def work(number: int) -> int:
            if number == 0:
                late.wait(5)
            elif number == 3:
                late.set()
            return number

        if os.cpu_count() == 1:
            late.set()  # a single thread cannot overtake itself
        assert list(map_in_order(work, range(40))) == list(range(40))

    def test_an_exception_comes_in_its_place_and_work_far_ahead_is_never_begun(self) -> None:
        begun = []

        def work(number: int) -> int:
            begun.append(number)
            if number == 2:
                raise UserError("third")
            return number

        results = map_in_order(work, range(1000))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(UserError, match="third"):
            next(results)
        assert max(begun) < IN_FLIGHT + 3

    def test_no_more_than_a_fixed_number_of_results_waits(self) -> None:
        begun = []
        results = map_in_order(begun.append, range(10 * IN_FLIGHT))
        next(results)
        time.sleep(0.05)  # time enough to begin all of them
        results.close()
        assert len(begun) <= IN_FLIGHT

    def test_nothing_is_nothing(self) -> None:
        assert list(map_in_order(str, [])) == []


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"file/cache cannot be made \(Not a directory\): set FGBG_CACHE to a folder that"):
        fill_once(cache_folder() / "figures", lambda folder: None, last="test.txt")


def test_a_file_whose_folder_takes_none_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"a\.onnx cannot be made: .*none is missing or takes no files"),
        replace_when_whole(tmp_path / "none" / "a.onnx"),
    ):
        pass


def test_a_set_without_samples_of_a_split_is_empty_and_not_an_error(make_folder) -> None:
    samples: SampleSet = open_samples(make_folder(3))
    assert samples.of("nothing").samples == ()
