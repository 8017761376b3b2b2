"""Traits by hand on shapes whose numbers are known, and against the dials of drawn figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fgbg.data.figures import draw_figure
from fgbg.judge.traits import LONGEST_EDGE, measure_outline, measure_tone_contrast, measure_traits, outline_length
from trivial import draw


def disc(radius: float, edge: int = 200) -> NDArray[np.bool_]:
    y, x = np.mgrid[:edge, :edge]
    return np.hypot(y - edge / 2, x - edge / 2) < radius


def grey(mask: NDArray[np.bool_], inside: int = 200, outside: int = 100) -> NDArray[np.uint8]:
    return np.repeat(np.where(mask, inside, outside).astype(np.uint8)[:, :, None], 3, axis=2)


# Outline


@pytest.mark.parametrize(
    ("mask", "length"),
    [
        (draw("#"), 4 * math.sqrt(0.5)),  # a diamond: four cut corners
        (draw("##"), 2 * 1 + 4 * math.sqrt(0.5)),
        (draw("##", "##"), 4 * 1 + 4 * math.sqrt(0.5)),
        (draw("#.", ".#"), 8 * math.sqrt(0.5)),  # two diamonds
        (draw("..."), 0.0),
        (draw("###", "#.#", "###"), 8 * 1 + 4 * math.sqrt(0.5) + 4 * math.sqrt(0.5)),  # and the outline of the hole
    ],
    ids=["pixel", "two", "square", "diagonal", "empty", "ring"],
)
def test_length_of_an_outline_by_hand(mask: NDArray[np.bool_], length: float) -> None:
    assert outline_length(mask) == pytest.approx(length)


def test_a_disc_is_regular_convex_and_smooth() -> None:
    irregularity, convexity, roughness = measure_outline(disc(60))
    assert irregularity == pytest.approx(1.1, abs=0.02)  # 1, and what pixels' corners add to the length
    assert convexity > 0.98
    assert roughness < 0.05


def test_a_rectangle_by_hand() -> None:
    mask = np.zeros((30, 50), bool)
    mask[5:25, 10:40] = True  # 20 x 30: sides of 19 and 29 between cut corners
    length = 2 * (19 + 29) + 4 * math.sqrt(0.5)
    irregularity, convexity, roughness = measure_outline(mask)
    assert irregularity == pytest.approx(length**2 / (4 * math.pi * 600))
    assert convexity == pytest.approx(1)
    assert roughness == 0  # its hull is 100 long, a bit more than the outline with its cut corners


def test_a_comb_is_irregular_hollow_and_rough() -> None:
    comb = np.zeros((40, 40), bool)
    comb[5:10, 4:37] = True
    comb[5:35, 4:37:4] = True
    irregularity, convexity, roughness = measure_outline(comb)
    assert irregularity > 10
    assert convexity < 0.5
    assert roughness > 0.6


def test_parts_count_together_and_diagonal_neighbours_are_one_part() -> None:
    two = np.zeros((40, 90), bool)
    two[10:30, 10:30] = two[10:30, 60:80] = True
    assert measure_outline(two) == pytest.approx(measure_outline(two[:, :45]))
    _, convexity, _ = measure_outline(draw("#...", ".#..", "..#.", "...#"))
    assert convexity == pytest.approx(4 / 7)  # the hull of four pixels on a diagonal: 16 less two triangles of 3 x 3 / 2


# Tone


def test_tone_contrast_is_one_where_no_colour_is_shared_and_zero_where_all_are() -> None:
    mask = disc(40)
    everything = np.ones_like(mask)
    apart = measure_tone_contrast(grey(mask, 250, 10), mask, everything)
    alike = measure_tone_contrast(grey(mask, 100, 100), mask, everything)
    assert apart == pytest.approx(1)
    assert alike == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", range(16, 256, 32))
def test_tone_contrast_knows_no_edge_of_the_colour_cube(value: int) -> None:
    """Each bin's blurred histogram sums to 1: white on white is as alike as grey on grey."""
    mask = disc(40)
    everything = np.ones_like(mask)
    assert measure_tone_contrast(grey(mask, value, value), mask, everything) == pytest.approx(0, abs=1e-6)
    striped = grey(mask, value, value)
    striped[::20] = (value + 128) % 256
    striped[mask] = value
    assert measure_tone_contrast(striped, mask, everything) == pytest.approx(0.158, abs=0.005), "the stripes' share"


def test_tone_contrast_looks_at_the_band_alone() -> None:
    mask = disc(20)
    pixels = grey(mask, 250, 10)
    pixels[:30] = 250  # far away, of the object's colour
    assert measure_tone_contrast(pixels, mask, np.ones_like(mask)) == pytest.approx(1)


def test_what_is_not_judged_is_no_ground() -> None:
    mask = disc(40)
    pixels, target = grey(mask, 250, 10), mask.astype(np.uint8)
    ring = disc(50) & ~mask
    pixels[ring] = 250
    target[ring] = 255
    assert measure_traits(pixels, target).tone_contrast == pytest.approx(1)
    assert measure_traits(pixels, np.where(ring, 0, target).astype(np.uint8)).tone_contrast < 0.9


@pytest.mark.long
def test_the_dials_of_drawn_figures_are_seen() -> None:
    figures = [draw_figure(index, size=96) for index in range(60)]
    traits = [measure_traits(figure.pixels, figure.mask.astype(np.uint8)) for figure in figures]

    def agreement(dial: str, trait: str) -> float:
        return float(spearmanr([getattr(f, dial) for f in figures], [getattr(t, trait) for t in traits]).statistic)

    assert agreement("tone_gap", "tone_contrast") > 0.8
    assert agreement("irregularity", "irregularity") > 0.85
    assert agreement("irregularity", "roughness") > 0.8
    assert agreement("irregularity", "convexity") < -0.8
    assert abs(agreement("tone_gap", "irregularity")) < 0.3


# The rest


def test_share_frame_and_brightness_by_hand() -> None:
    target = np.zeros((10, 20), np.uint8)
    target[0:5, 5:15] = 1
    target[9] = 255
    traits = measure_traits(np.full((10, 20, 3), 51, np.uint8), target)
    assert traits.object_share == 50 / 180
    assert traits.touches_frame == 1
    assert traits.brightness == pytest.approx(0.2)
    assert traits.sharpness == pytest.approx(0)
    target[0] = 0
    assert measure_traits(np.full((10, 20, 3), 51, np.uint8), target).touches_frame == 0


def test_blur_lowers_sharpness() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1)).repeat(3, 2).astype(np.uint8)
    soft = ((noise[:-1, :-1].astype(int) + noise[1:, :-1] + noise[:-1, 1:] + noise[1:, 1:]) // 4).astype(np.uint8)
    target = np.zeros((64, 64), np.uint8)
    assert measure_traits(soft, target[1:, 1:]).sharpness < measure_traits(noise, target).sharpness / 4


@pytest.mark.parametrize("value", [0, 255])
def test_without_an_object_there_is_nothing_to_say_of_it(value: int) -> None:
    traits = measure_traits(np.zeros((8, 8, 3), np.uint8), np.full((8, 8), value, np.uint8))
    of_the_object = (traits.tone_contrast, traits.irregularity, traits.convexity, traits.roughness, traits.touches_frame)
    assert all(math.isnan(value) for value in of_the_object)
    assert traits.object_share == 0 if value == 0 else math.isnan(traits.object_share)


@pytest.mark.parametrize("target", [np.ones((6, 9), np.uint8), np.eye(1, 7, 3, dtype=np.uint8), np.ones((1, 1), np.uint8)])
def test_full_and_tiny_masks_have_traits(target: NDArray[np.uint8]) -> None:
    traits = measure_traits(np.zeros((*target.shape, 3), np.uint8), target)
    assert traits.touches_frame == 1
    assert traits.convexity == pytest.approx(1)
    assert math.isnan(traits.tone_contrast) == bool(target.all())


def test_a_photo_of_any_resolution_has_the_same_traits() -> None:
    mask = disc(150, 500)
    mask[240:260] = False
    small = measure_traits(grey(mask), mask.astype(np.uint8))
    large = mask.repeat(4, 0).repeat(4, 1)
    assert max(large.shape) > LONGEST_EDGE
    big = measure_traits(grey(large), large.astype(np.uint8))
    for name in ("object_share", "convexity", "brightness"):
        assert getattr(big, name) == pytest.approx(getattr(small, name), rel=0.02)
    assert big.irregularity == pytest.approx(small.irregularity, rel=0.05)
    reduced = measure_traits(grey(large)[::8, ::8], large.astype(np.uint8))  # pixels of a photo that was reduced on decode
    assert reduced.convexity == pytest.approx(small.convexity, rel=0.02)
