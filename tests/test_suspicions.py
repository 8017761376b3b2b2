"""What looks wrong: masks that are planted are suspected, sound ones are not; measures by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fgbg.data.figures import Figure, draw_figure
from fgbg.doctor.alignment import Alignment, measure_alignment, move_mask
from fgbg.doctor.geometry import measure_geometry
from fgbg.doctor.suspicions import find_inverted, find_misaligned, find_suspect, remark_on_frames

Levels = NDArray[np.uint8]
SOUND, PLANTED = 50, 20


@pytest.fixture(scope="module")
def drawn() -> list[Figure]:
    return [draw_figure(index, seed=11) for index in range(SOUND)]


def levels_of(figure: Figure) -> Levels:
    return figure.mask.astype(np.uint8)


def box(levels: Levels) -> Levels:
    rows, columns = (np.flatnonzero(levels.any(axis)) for axis in (1, 0))
    boxed = np.zeros_like(levels)
    boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    return boxed


def cut_off(levels: Levels) -> Levels:
    kept = levels.copy()
    columns = np.flatnonzero(levels.any(0))
    kept[:, (columns[0] + columns[-1]) // 2 :] = 0
    return kept


def add_specks(levels: Levels) -> Levels:
    """Two specks in the corner that is farthest from the object."""
    speckled = levels.copy()
    corners = [(2, 2), (2, -5), (-5, 2), (-5, -5)]
    places = np.argwhere(levels)
    edge = len(levels)
    corner = max(corners, key=lambda at: np.abs(places - np.array(at) % edge).max(1).min())
    speckled[corner[0] : corner[0] + 3 or None, corner[1] : corner[1] + 3 or None] = 1
    return speckled


def leave_speck(levels: Levels) -> Levels:
    left = np.zeros_like(levels)
    left[60:63, 60:63] = 1
    return left


@pytest.mark.long
@pytest.mark.parametrize("plant", [box, cut_off, add_specks, leave_speck, lambda levels: 1 - levels])
def test_planted_shapes_are_suspected(plant: Callable[[Levels], Levels], drawn: list[Figure]) -> None:
    find = find_suspect if plant in (box, cut_off, add_specks, leave_speck) else find_inverted
    shapes = {str(number): levels_of(figure) for number, figure in enumerate(drawn)}
    shapes |= {str(number): plant(shapes[str(number)]) for number in range(PLANTED)}
    found = find({name: measure_geometry(levels) for name, levels in shapes.items()})
    named = sum(int(name) < PLANTED for name in found)
    assert named >= 0.9 * PLANTED
    assert len(found) - named <= 0.02 * SOUND


@pytest.mark.long
@pytest.mark.parametrize(
    "plant",
    [
        lambda levels: levels[:, ::-1],
        lambda levels: levels[::-1],
        lambda levels: levels[::-1, ::-1],
        lambda levels: move_mask(levels, "", 0.1, 0.0),
        lambda levels: move_mask(levels, "", -0.06, 0.06),
    ],
)
def test_planted_places_are_suspected(plant: Callable[[Levels], Levels], drawn: list[Figure]) -> None:
    placed = {}
    for number, figure in enumerate(drawn):
        levels = levels_of(figure)
        found = measure_alignment(figure.pixels, np.ascontiguousarray(plant(levels)) if number < PLANTED else levels)
        assert found is not None
        placed[str(number)] = found
    named = find_misaligned(placed)
    assert sum(int(name) < PLANTED for name in named) >= 0.9 * PLANTED
    assert sum(int(name) >= PLANTED for name in named) <= 0.02 * SOUND


def test_a_set_that_is_inverted_as_a_whole_is_asked_about(drawn: list[Figure]) -> None:
    sound = [measure_geometry(levels_of(figure)) for figure in drawn]
    assert remark_on_frames(sound) == remark_on_frames([]) == []
    (question,) = remark_on_frames([measure_geometry(1 - levels_of(figure)) for figure in drawn])
    assert "are all of them inverted?" in question


def test_sound_figures_are_not_suspected(drawn: list[Figure]) -> None:
    shapes = {str(number): measure_geometry(levels_of(figure)) for number, figure in enumerate(drawn)}
    assert find_inverted(shapes) == {}
    assert len(find_suspect(shapes)) <= 0.02 * SOUND


def test_the_shift_that_mends_a_mask_is_found(drawn: list[Figure]) -> None:
    moved = move_mask(levels_of(drawn[0]), "", 0.125, -0.0625)
    found = measure_alignment(drawn[0].pixels, moved)
    assert found is not None
    assert found.mirror == ""
    assert found.down == pytest.approx(-0.125, abs=0.02)
    assert found.across == pytest.approx(0.0625, abs=0.02)


def test_the_mirror_that_mends_a_mask_is_found(drawn: list[Figure]) -> None:
    for mirror, turned in (
        ("left-right", drawn[1].mask[:, ::-1]),
        ("top-bottom", drawn[1].mask[::-1]),
        ("both", drawn[1].mask[::-1, ::-1]),
    ):
        found = measure_alignment(drawn[1].pixels, np.ascontiguousarray(turned).astype(np.uint8))
        assert found is not None
        assert found.mirror == mirror
        assert (move_mask(turned.astype(np.uint8), mirror, 0, 0) == drawn[1].mask).all()


def test_outlines_without_edges_suspect_nobody() -> None:
    """Photos of noise: another place is always better by chance, and that says nothing."""
    random = np.random.default_rng(0)
    placed = {}
    for number in range(40):
        levels = np.zeros((96, 96), np.uint8)
        levels[30:60, 25:70] = 1
        found = measure_alignment(random.integers(0, 256, (96, 96, 3), np.uint8), levels)
        assert found is not None
        placed[str(number)] = found
    assert np.mean([each.best - each.own for each in placed.values()]) > 1
    assert len(find_misaligned(placed)) <= 1


def test_a_whole_set_of_mirrored_masks_is_named() -> None:
    assert len(find_misaligned({str(number): Alignment(0.5, 8.0, "left-right", 0.0, 0.0) for number in range(9)})) == 9


def test_geometry_by_hand() -> None:
    levels = np.zeros((100, 200), np.uint8)
    levels[20:60, 0:50] = 1  # 40 × 50, at the frame for 40 of its 596 pixels
    found = measure_geometry(levels)
    assert found.object_share == 0.1
    assert found.frame_share == pytest.approx(40 / 596)
    assert found.ground_frame_share == pytest.approx(556 / 596)
    assert found.box_fill == 1.0
    assert found.speck_count == 0
    levels[90:93, 190:193] = 1
    assert measure_geometry(levels).speck_count == 1


def test_specks_near_the_object_are_hair() -> None:
    levels = np.zeros((100, 100), np.uint8)
    levels[20:80, 20:80] = 1
    levels[40:42, 81:83] = 1
    assert measure_geometry(levels).speck_count == 0


def test_a_cut_at_the_frame_is_no_cut() -> None:
    rows, columns = np.mgrid[:100, :100]
    disc = (np.hypot(rows - 50, columns - 100) < 40).astype(np.uint8)
    assert measure_geometry(disc).cut == 0
    inside = np.zeros((100, 160), np.uint8)
    inside[:, :100] = disc
    assert measure_geometry(inside).cut == 1.0


def test_where_objects_fill_the_frame_that_is_no_sign() -> None:
    """Tissue that covers all but a corner, in every photo of a set: not inverted."""
    levels = np.ones((60, 60), np.uint8)
    levels[:20, :20] = 0
    usual = measure_geometry(levels)
    assert usual.frame_share > 0.6
    assert find_inverted({str(number): usual for number in range(9)}) == {}
