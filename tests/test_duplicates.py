"""Near duplicates: planted copies of drawn figures are found and nothing else is; plain pictures are no pairs."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgbg.data import duplicates as duplicates_module
from fgbg.data.duplicates import (
    FINGERPRINT_LENGTH,
    DuplicatePair,
    cluster_pairs,
    find_near_duplicates,
    fingerprint_samples,
    take_fingerprint,
)
from fgbg.data.figures import draw_figure
from fgbg.data.registration import align_details, correlate_details, move_pictures, take_details
from fgbg.data.samples import Sample
from fgbg.data.sources import open_samples

ORIGINALS, SIZE = 60, 96


def resize(pixels: np.ndarray) -> np.ndarray:
    height, width = (round(0.6 * length) for length in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def compress(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def mirror(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def crop(pixels: np.ndarray) -> np.ndarray:
    """5 % cut off each edge."""
    down, across = (round(0.05 * length) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[down:-down, across:-across])


COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "resized": (resize, "same"),
    "compressed": (compress, "same"),
    "mirrored": (mirror, "mirrored"),
    "cropped": (crop, "cropped"),
    "all of these": (lambda pixels: compress(resize(mirror(crop(pixels)))), "mirrored and cropped"),
}


def fingerprint_all(photos: list[np.ndarray]) -> np.ndarray:
    return np.stack([take_fingerprint(photo) for photo in photos])


@pytest.fixture(scope="module")
def figures() -> list[np.ndarray]:
    return [draw_figure(index, size=SIZE).pixels for index in range(ORIGINALS)]


@pytest.fixture(scope="module")
def originals(figures: list[np.ndarray]) -> np.ndarray:
    return fingerprint_all(figures)


class TestPlantedCopies:
    def test_figures_that_are_no_copies_are_no_pairs(self, originals: np.ndarray) -> None:
        assert find_near_duplicates(originals) == []

    @pytest.mark.parametrize("kind", COPIES)
    def test_copies_of_each_kind_are_found_and_nothing_else(
        self, figures: list[np.ndarray], originals: np.ndarray, kind: str
    ) -> None:
        change, relation = COPIES[kind]
        pairs = find_near_duplicates(np.concatenate([originals, fingerprint_all([change(figure) for figure in figures])]))
        right = [pair for pair in pairs if pair.second - pair.first == ORIGINALS]
        assert len(right) >= 0.95 * ORIGINALS
        assert len(pairs) - len(right) <= 0.01 * len(pairs)
        assert sum(pair.relation == relation for pair in right) >= 0.95 * len(right)

    def test_all_kinds_at_once_make_one_cluster_an_original(self, figures: list[np.ndarray], originals: np.ndarray) -> None:
        copies = [fingerprint_all([change(figure) for figure in figures[:20]]) for change, _ in COPIES.values()]
        everything = np.concatenate([originals[:20], *copies])
        labels = cluster_pairs(len(everything), find_near_duplicates(everything))
        assert labels.tolist() == [*range(20)] * (1 + len(copies))

    def test_more_copies_than_a_photo_has_candidates_still_hang_together(self, originals: np.ndarray) -> None:
        count = 2 * duplicates_module.CANDIDATE_COUNT + 3
        many = np.concatenate([originals[:5], np.repeat(originals[5:6], count, axis=0), originals[6:9]])
        labels = cluster_pairs(len(many), find_near_duplicates(many))
        assert labels.tolist() == [0, 1, 2, 3, 4, *[5] * count, 5 + count, 6 + count, 7 + count]

    def test_stretched_brightened_and_cut_at_two_edges(self, figures: list[np.ndarray], originals: np.ndarray) -> None:
        stretched = [np.asarray(Image.fromarray(figure).resize((200, 60))) for figure in figures[:20]]
        brightened = [(figure * 0.7 + 60).astype(np.uint8) for figure in figures[20:40]]
        corners = [np.ascontiguousarray(figure[:-8, 8:]) for figure in figures[40:]]
        pairs = find_near_duplicates(np.concatenate([originals, fingerprint_all([*stretched, *brightened, *corners])]))
        assert [pair[:2] for pair in pairs] == [(index, index + ORIGINALS) for index in range(ORIGINALS)]

    def test_a_pair_is_named_once_with_the_smaller_index_first_whatever_the_order(self, figures: list[np.ndarray]) -> None:
        even = np.concatenate([figures[0], figures[0][:, ::-1]], axis=1)  # its own mirror image
        photos = fingerprint_all([figures[1], even, figures[2], mirror(figures[1]), even])
        pairs = find_near_duplicates(photos)
        assert [(pair.first, pair.second) for pair in pairs] == [(0, 3), (1, 4)]
        assert pairs[0].relation == "mirrored"
        assert pairs[0].similarity == pytest.approx(1, abs=0.01)
        backwards = find_near_duplicates(photos[::-1].copy())
        assert [(pair.first, pair.second) for pair in backwards] == [(0, 3), (1, 4)]

    def test_the_threshold_decides(self, figures: list[np.ndarray]) -> None:
        photos = fingerprint_all([figures[0], crop(figures[0])])
        (pair,) = find_near_duplicates(photos)
        assert find_near_duplicates(photos, threshold=pair.similarity - 1e-3) == [pair]
        assert find_near_duplicates(photos, threshold=pair.similarity + 1e-3) == []

    def test_progress_is_told_how_much_there_is(self, originals: np.ndarray) -> None:
        told = []

        def progress(items, *, total: int, desc: str):
            told.append((desc, total))
            return items

        pairs = find_near_duplicates(np.concatenate([originals, originals]), progress=progress)
        assert len(pairs) == ORIGINALS
        assert [what for what, total in told if total > 0] == ["searching copies", "comparing copies"]


def paint_flat(random: np.random.Generator) -> np.ndarray:
    return np.full((40, 60, 3), random.integers(0, 256, 3), np.uint8)


def paint_gradient(random: np.random.Generator) -> np.ndarray:
    down, across = np.mgrid[:60, :60] / 59 - 0.5
    angle = random.uniform(0, 2 * np.pi)
    return np.repeat((127 + 170 * (np.sin(angle) * down + np.cos(angle) * across))[..., None], 3, axis=2).astype(np.uint8)


def paint_vignette(random: np.random.Generator) -> np.ndarray:
    down, across = np.mgrid[:60, :60] / 59 - 0.5 + random.uniform(-0.2, 0.2, (2, 1, 1))
    return np.repeat((230 - 300 * (down**2 + across**2))[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def paint_blur(random: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(random.integers(0, 256, (3, 3, 3), np.uint8))
    return np.asarray(coarse.resize((60, 60), Image.Resampling.BICUBIC))


def paint_noise(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (16, 16, 3), np.uint8)


def paint_faint_noise(random: np.random.Generator) -> np.ndarray:
    return random.integers(100, 104, (60, 60, 3), np.uint8)


def paint_one_pixel(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (1, 1, 3), np.uint8)


def paint_spot(random: np.random.Generator) -> np.ndarray:
    pixels = np.zeros((64, 64, 3), np.uint8)
    top, left = random.integers(28, 34, 2)
    pixels[top : top + 3, left : left + 3] = random.integers(150, 256)
    return pixels


PAINTERS = [
    paint_flat,
    paint_gradient,
    paint_vignette,
    paint_blur,
    paint_noise,
    paint_faint_noise,
    paint_one_pixel,
    paint_spot,
]


@pytest.mark.parametrize("paint", PAINTERS)
def test_plain_smooth_and_tiny_pictures_are_no_pairs(paint: Callable[[np.random.Generator], np.ndarray]) -> None:
    random = np.random.default_rng(0)
    assert find_near_duplicates(fingerprint_all([paint(random) for _ in range(20)])) == []


def test_discs_on_noise_are_no_pairs(make_folder) -> None:
    assert find_near_duplicates(fingerprint_samples(open_samples(make_folder(40)))) == []


@pytest.mark.parametrize("count", [0, 1])
def test_a_set_of_none_or_one_has_no_pairs(count: int) -> None:
    assert find_near_duplicates(np.zeros((count, FINGERPRINT_LENGTH), np.uint8)) == []
    assert cluster_pairs(count, []).tolist() == [0] * count


def test_clusters_hang_together_through_any_member() -> None:
    pairs = [DuplicatePair(*ends, 0.9, "same") for ends in [(2, 5), (0, 3), (3, 6), (4, 6)]]
    assert cluster_pairs(8, pairs).tolist() == [0, 1, 2, 0, 0, 2, 0, 7]
    assert cluster_pairs(8, [pair[:2] for pair in pairs]).tolist() == [0, 1, 2, 0, 0, 2, 0, 7]


class TestFingerprints:
    def test_a_fingerprint_is_the_grey_photo_in_64_by_64_cells(self) -> None:
        pixels = np.zeros((128, 128, 3), np.uint8)
        pixels[:, 64:] = (255, 0, 0)  # red is 0.299 of white
        grey = take_fingerprint(pixels).reshape(64, 64)
        assert (grey[:, :31] == 0).all() and (grey[:, 33:] == 76).all()

    def test_samples_come_in_order_and_are_kept_by_content(self, make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
        samples = open_samples(make_folder(5))
        expected = fingerprint_all([sample.read_pixels() for sample in samples.samples])
        np.testing.assert_array_equal(fingerprint_samples(samples), expected)
        reads = []
        read_pixels = Sample.read_pixels
        monkeypatch.setattr(Sample, "read_pixels", lambda sample: reads.append(sample.id) or read_pixels(sample))
        backwards = replace(samples, samples=samples.samples[::-1], inspections=samples.inspections[::-1])
        np.testing.assert_array_equal(fingerprint_samples(backwards), expected[::-1])
        assert reads == []
        other = open_samples(make_folder(5, name="other", seed=1))
        assert not (fingerprint_samples(other) == expected).all(axis=1).any()
        assert len(reads) == 5

    def test_one_that_was_cut_short_is_taken_again(
        self, make_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))
        samples = open_samples(make_folder(4))
        expected = fingerprint_samples(samples)
        kept = [path for path in (tmp_path / "cache" / "fingerprints").rglob("*") if path.is_file()]
        assert len(kept) == 4
        kept[0].write_bytes(kept[0].read_bytes()[:100])
        kept[1].write_bytes(b"")
        np.testing.assert_array_equal(fingerprint_samples(samples), expected)


class TestRegistration:
    def test_a_pose_of_zeros_moves_nothing_and_a_shift_moves_cells_and_says_what_is_outside(self) -> None:
        pictures = np.random.default_rng(0).random((1, 8, 8), np.float32)
        moved, inside = move_pictures(pictures, np.zeros((1, 2, 2), np.float32))
        np.testing.assert_allclose(moved, pictures, atol=1e-6)
        assert inside.all()
        two_down = np.array([[[0, 0.5], [0, 0]]], np.float32)  # of -1..1: a quarter of the side, 2 of 8 cells
        moved, inside = move_pictures(pictures, two_down)
        np.testing.assert_allclose(moved[0, :6], pictures[0, 2:], atol=1e-6)
        assert inside[0, :6].all() and not inside[0, 6:].any() and not moved[0, 6:].any()

    def test_the_pose_of_a_part_is_found(self, figures: list[np.ndarray]) -> None:
        """Rows 4 to 92 and columns 0 to 88 of 96: scale -8/96 both ways, centre in the middle and 4 cells left of it."""
        views = [take_fingerprint(pixels).reshape(1, 64, 64) for pixels in (figures[3], figures[3][4:92, :88].copy())]
        first, second = (take_details(view.astype(np.float32)) for view in views)
        start = np.zeros((1, 2, 2), np.float32)
        pose = align_details(first, second, start, steps=12)
        np.testing.assert_allclose(pose[0], [[-1 / 12, 0], [-1 / 12, -1 / 12]], atol=0.01)
        before, after = (correlate_details(first, second, each)[0].item() for each in (start, pose))
        assert before < 0.5
        assert after > 0.85

    def test_details_fill_what_is_textured_and_nothing_else(self) -> None:
        random = np.random.default_rng(0)
        pictures = np.full((1, 64, 64), 90, np.float32)
        pictures[0, :32] += random.normal(0, 40, (32, 64))
        details = take_details(pictures)
        assert np.abs(details[0, 44:]).max() < 1e-3
        correlation, share = correlate_details(details, details, np.zeros((1, 2, 2), np.float32))
        assert correlation.item() == pytest.approx(1, abs=1e-4)
        assert share.item() == pytest.approx(0.5, abs=0.06)
