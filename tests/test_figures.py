from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgbg.cli import main
from fgbg.config import TrainConfig
from fgbg.data.figures import LARGEST_SIZE, Figure, draw_figure, draw_figures
from fgbg.errors import UserError

SIZE = 64


@pytest.fixture(scope="module")
def default_set() -> list[Figure]:
    return [draw_figure(index, size=SIZE) for index in range(120)]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def split_by_otsu(pixels: np.ndarray) -> np.ndarray:
    """The side of the best grey threshold that touches the frame less."""
    grey = (pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below, mean = np.cumsum(share), np.cumsum(share * np.arange(256))
    between = (mean[-1] * below - mean) ** 2 / np.maximum(below * (1 - below), 1e-9)
    bright = grey > np.argmax(between)
    frame = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return bright if frame.mean() < 0.5 else ~bright


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


def outline_for_its_area(mask: np.ndarray) -> float:
    length = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    return length / np.sqrt(mask.sum())


def colour_distance(figure: Figure) -> float:
    inside, outside = figure.pixels[figure.mask].mean(axis=0), figure.pixels[~figure.mask].mean(axis=0)
    return float(np.linalg.norm(inside - outside))


def test_a_figure_has_the_promised_arrays() -> None:
    figure = draw_figure(0, size=48)
    assert figure.pixels.shape == (48, 48, 3) and figure.pixels.dtype == np.uint8
    assert figure.mask.shape == (48, 48) and figure.mask.dtype == np.bool_
    assert draw_figure(5, size=16).mask.any(), "the smallest size still shows an animal"


def test_the_same_arguments_draw_the_same_figure_and_others_another() -> None:
    first, again = draw_figure(7, seed=3, size=SIZE), draw_figure(7, seed=3, size=SIZE)
    assert (first.pixels == again.pixels).all() and (first.mask == again.mask).all()
    for other in (draw_figure(8, seed=3, size=SIZE), draw_figure(7, seed=4, size=SIZE)):
        assert (first.mask != other.mask).any() and first.tone_gap != other.tone_gap


def test_naming_the_drawn_dials_changes_nothing() -> None:
    drawn = draw_figure(11, size=SIZE)
    named = draw_figure(11, size=SIZE, tone_gap=drawn.tone_gap, irregularity=drawn.irregularity)
    assert (drawn.pixels == named.pixels).all() and (drawn.mask == named.mask).all()


def test_size_changes_the_raster_and_not_the_drawing() -> None:
    for index in range(6):
        small, large = draw_figure(index, size=64), draw_figure(index, size=128)
        halved = large.mask.reshape(64, 2, 64, 2).mean(axis=(1, 3)) >= 0.5
        assert dice(small.mask, halved) > 0.9


@pytest.mark.parametrize("index", range(6))
def test_tone_gap_changes_the_animal_alone(index: int) -> None:
    hidden, plain = (draw_figure(index, size=SIZE, tone_gap=gap) for gap in (0.0, 1.0))
    assert (hidden.mask == plain.mask).all()
    change = np.abs(hidden.pixels.astype(int) - plain.pixels).sum(axis=2)
    assert not change[~grow(hidden.mask, 12)].any(), "the ground stays; whiskers too thin for the mask reach some pixels"
    assert dice(change > 25, hidden.mask) > 0.93, "the mask is where the animal is"


@pytest.mark.parametrize("index", range(6))
def test_irregularity_changes_the_outline_alone(index: int) -> None:
    smooth, ragged = (draw_figure(index, size=SIZE, irregularity=dial, tone_gap=0.5) for dial in (0.0, 1.0))
    far = ~grow(smooth.mask | ragged.mask, 14)  # shadows reach that far
    assert (smooth.pixels[far] == ragged.pixels[far]).all()
    assert smooth.mask.mean() == pytest.approx(ragged.mask.mean(), rel=0.2)


def test_a_dial_left_open_does_not_depend_on_the_other() -> None:
    free = draw_figure(21, size=SIZE)
    assert draw_figure(21, size=SIZE, irregularity=0.1).tone_gap == free.tone_gap
    assert draw_figure(21, size=SIZE, tone_gap=0.1).irregularity == free.irregularity


@pytest.mark.long
def test_dials_are_spread_and_independent_of_size_and_place(default_set: list[Figure]) -> None:
    gaps = np.array([figure.tone_gap for figure in default_set])
    roughness = np.array([figure.irregularity for figure in default_set])
    assert 0.05 < (gaps == 0).mean() < 0.3
    assert gaps.max() > 0.9 and roughness.min() < 0.1 and roughness.max() > 0.9
    share = [figure.mask.mean() for figure in default_set]
    down, across = np.array([np.argwhere(figure.mask).mean(axis=0) for figure in default_set]).T
    correlations = np.corrcoef([gaps, roughness, share, down, across])[:2]
    correlations[[0, 1], [0, 1]] = 0
    assert np.abs(correlations).max() < 0.3  # three standard errors of 120 figures


def test_shares_are_in_range(default_set: list[Figure]) -> None:
    shares = np.array([figure.mask.mean() for figure in default_set])
    assert 0.15 < shares.mean() < 0.35
    assert shares.min() > 0.05 and shares.max() < 0.55 and shares.std() > 0.05


def test_neither_a_threshold_nor_a_full_mask_does_well(default_set: list[Figure]) -> None:
    sixty = default_set[:60]
    assert np.mean([dice(split_by_otsu(figure.pixels), figure.mask) for figure in sixty]) <= 0.55
    assert np.mean([dice(np.ones_like(figure.mask), figure.mask) for figure in sixty]) <= 0.55


def test_irregularity_lengthens_the_outline() -> None:
    means = [
        np.mean([outline_for_its_area(draw_figure(k, size=SIZE, irregularity=dial).mask) for k in range(16)])
        for dial in (0.0, 0.5, 1.0)
    ]
    assert means[0] * 1.15 < means[1] < means[2] / 1.15


@pytest.mark.long
def test_tone_gap_parts_the_mean_colours() -> None:
    means = [
        np.mean([colour_distance(draw_figure(k, size=SIZE, tone_gap=dial)) for k in range(16)])
        for dial in (0.0, 0.3, 0.6, 1.0)
    ]
    assert (np.diff(means) > 0).all()
    assert means[-1] > 5 * means[0]


def test_a_set_has_the_promised_layout_and_is_prefix_stable(tmp_path: Path) -> None:
    seen: list[int] = []

    def watch(indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            seen.append(index)
            yield index

    draw_figures(tmp_path / "long", count=40, size=32, seed=2, progress=watch)
    draw_figures(tmp_path / "short", count=3, size=32, seed=2)
    assert seen == list(range(40))

    rows = list(csv.DictReader((tmp_path / "long" / "metadata.csv").read_text().splitlines()))
    names = [row["id"] for row in rows]
    assert names == [f"figure_{index:05d}" for index in range(40)]
    lists = {split: (tmp_path / "long" / f"{split}.txt").read_text().split() for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in lists.items()} == {"train": 24, "val": 6, "test": 10}
    assert sorted(name for ids in lists.values() for name in ids) == names

    figure = draw_figure(2, size=32, seed=2)
    assert float(rows[2]["tone_gap"]) == pytest.approx(figure.tone_gap, abs=1e-4)
    assert float(rows[2]["irregularity"]) == pytest.approx(figure.irregularity, abs=1e-4)
    with Image.open(tmp_path / "long/masks/figure_00002.png") as mask:
        assert mask.mode == "L" and (np.asarray(mask) == figure.mask * 255).all()
    for name in ("images/figure_00002.png", "masks/figure_00002.png"):
        assert (tmp_path / "long" / name).read_bytes() == (tmp_path / "short" / name).read_bytes()


def test_dials_that_are_set_hold_for_the_whole_set(tmp_path: Path) -> None:
    draw_figures(tmp_path, count=4, size=16, tone_gap=0.0, irregularity=1.0)
    rows = list(csv.DictReader((tmp_path / "metadata.csv").read_text().splitlines()))
    assert {(float(row["tone_gap"]), float(row["irregularity"])) for row in rows} == {(0.0, 1.0)}


@pytest.mark.parametrize(
    "wrong",
    [{"size": 15}, {"size": 4097}, {"tone_gap": -0.1}, {"tone_gap": 1.1}, {"irregularity": 2.0},
     {"irregularity": float("nan")}, {"seed": -1}],
)  # fmt: skip
def test_bad_values_raise(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        draw_figure(0, **wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        draw_figures(tmp_path / "set", count=1, **wrong)
    assert not (tmp_path / "set").exists()


def test_the_command_line_makes_no_folder_for_a_bad_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", str(tmp_path / "set"), "--size", "100000"]) == 2
    assert "size must be from 16 to 4096 pixels, got 100000" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_sizes_are_those_of_the_network() -> None:
    assert TrainConfig(size=LARGEST_SIZE).size == LARGEST_SIZE
    with pytest.raises(UserError, match="size"):
        TrainConfig(size=LARGEST_SIZE + 1)


def test_an_empty_set_and_a_negative_index_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count"):
        draw_figures(tmp_path / "set", count=0)
    with pytest.raises(ValueError, match="index"):
        draw_figure(-1)
    assert not (tmp_path / "set").exists()


def test_the_list_that_completes_a_set_appears_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as full:
        full.setattr("os.replace", refuse)
        full.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(OSError, match="no space left"):
            draw_figures(tmp_path, count=10, size=64)
    assert not (tmp_path / "test.txt").exists()
