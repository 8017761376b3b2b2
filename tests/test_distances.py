"""Scores of the outline against numbers by hand, MONAI, surface_distance, and a slow transcription of a paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import monai.metrics
import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.judge.distances import (
    BAND_SHARE,
    Outlines,
    boundary_iou,
    contour_distances,
    measure_outlines,
    surface_distances,
)
from trivial import draw

pytestmark = [
    # MONAI 1.6.1 calls its own function with an argument that it has deprecated.
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning:monai"),
    # surface_distance 0.1 (2019) reaches SciPy's filters through their old home.
    pytest.mark.filterwarnings("ignore:Please import `.*` from the `scipy.ndimage` namespace:DeprecationWarning"),
]

Mask = NDArray[np.bool_]
Pair = tuple[Mask, Mask]
CLOSE: dict[str, Any] = {"rel": 1e-6, "abs": 1e-6}  # MONAI computes in fp32


def make_mask(kind: str, height: int, width: int, seed: int) -> Mask:
    """A mask that is hard on outlines: thin, at the frame, in pieces, or not there at all."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    row, column = random.integers(height), random.integers(width)
    if kind == "full":
        mask[:] = True
    elif kind == "pixel":
        mask[row, column] = True
    elif kind == "line":
        mask[row] = True
    elif kind == "corner":
        mask[: row + 1, : column + 1] = True
    elif kind == "two blobs":
        mask[: height // 3 + 1, : width // 3 + 1] = mask[-height // 3 :, -width // 3 :] = True
    elif kind == "noise":
        mask = random.random((height, width)) < random.random()
    elif kind == "blobs":
        mask = ndimage.uniform_filter(random.random((height, width)), 3) > 0.5
    return mask


@st.composite
def pairs(draw_from: st.DrawFn, kinds: tuple[str, ...] = ()) -> Pair:
    choices = st.sampled_from([*kinds, "full", "pixel", "line", "corner", "two blobs", "noise", "blobs"])
    height, width = draw_from(st.integers(1, 17)), draw_from(st.sampled_from([1, 2, 5, 12, 23]))
    prediction, truth = (make_mask(draw_from(choices), height, width, draw_from(st.integers(0, 999))) for _ in range(2))
    return prediction, truth


any_pairs = pairs(("empty",))


def ask_monai(prediction: Mask, truth: Mask) -> tuple[float, float]:
    one, other = (torch.tensor(mask)[None, None] for mask in (prediction, truth))
    average = monai.metrics.compute_average_surface_distance(one, other, include_background=True, symmetric=True)
    return average.item(), monai.metrics.compute_hausdorff_distance(
        one, other, include_background=True, percentile=95
    ).item()


def ask_surface_distance(prediction: Mask, truth: Mask) -> tuple[float, float]:
    found = surface_distance.compute_surface_distances(truth, prediction, (1, 1))
    return surface_distance.compute_average_surface_distance(found)


def find_band_slowly(mask: Mask, steps: int) -> Mask:
    """The mask without its erosion, `steps` times by a square of 3 pixels, with one pixel of ground around the photo."""
    eroded = np.pad(mask, 1)
    for _ in range(steps):
        eroded = ndimage.binary_erosion(eroded, np.ones((3, 3), bool), border_value=1)
    return mask & ~eroded[1:-1, 1:-1]


# --- Boundary IoU ---


def test_boundary_iou_by_hand() -> None:
    truth, prediction = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    truth[2:8, 2:8] = prediction[3:7, 3:7] = True
    # The diagonal is 14.14 px, 15 % of it 2 px. Truth: 36 px without the 4 in the middle. Prediction: 16 px, all within 2
    # of ground. 12 in common, 32 + 16 - 12 in either.
    assert boundary_iou(prediction, truth, share=0.15) == 12 / 36
    # 2 % of it is less than one pixel, so 1: frames of 36 - 16 = 20 and 16 - 4 = 12 px that do not meet.
    assert boundary_iou(prediction, truth) == 0


def test_the_frame_is_an_outline() -> None:
    full = np.ones((4, 4), bool)
    rim = full.copy()
    rim[1:3, 1:3] = False
    assert boundary_iou(rim, full) == 1, "a full photo's band is its rim"
    assert boundary_iou(~rim, full) == 0


@settings(deadline=None, max_examples=120)
@given(any_pairs, st.sampled_from([0.0, BAND_SHARE, 0.1, 0.25, 1.0]))
def test_boundary_iou_is_the_papers(pair: Pair, share: float) -> None:
    steps = max(1, round(share * np.hypot(*pair[0].shape)))
    prediction, truth = (find_band_slowly(mask, steps) for mask in pair)
    either = (prediction | truth).sum()
    expected = (prediction & truth).sum() / either if either else 1.0
    assert boundary_iou(*pair, share=share) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_an_impossible_band_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="choose a part of the photo's diagonal"):
        boundary_iou(draw("#."), draw("#."), share=share)


# --- Surface distances ---


def test_surface_distances_by_hand() -> None:
    assert surface_distances(draw("#...."), draw("....#")) == (4, 4)
    # Nine pixels are at home, the tenth is 1 from the prediction: 1 in 10 + 9 distances. The 95th percentile of ten values
    # lies at place 0.95 · 9 = 8.55, between the ninth (0) and the tenth (1).
    average, hausdorff95 = surface_distances(draw("#########."), draw("##########"))
    assert average == pytest.approx(1 / 19)
    assert hausdorff95 == pytest.approx(0.55)


def test_an_objects_inside_is_no_surface() -> None:
    truth = np.zeros((7, 7), bool)
    truth[1:6, 1:6] = True
    hollow = truth.copy()
    hollow[3, 3] = False
    # Of the hollow one, 16 outer pixels and the 4 beside the hole: these are 1 from the outer surface. (16 + 4 + 16 in all.)
    assert surface_distances(hollow, truth).average == pytest.approx(4 / 36)


@pytest.mark.long
@settings(deadline=None, max_examples=150)
@given(pairs())
def test_surface_distances_are_monais(pair: Pair) -> None:
    if pair[0].any() and pair[1].any():
        average, hausdorff95 = ask_monai(*pair)
        assert surface_distances(*pair).average == pytest.approx(average, **CLOSE)
        assert surface_distances(*pair).hausdorff95 == pytest.approx(hausdorff95, **CLOSE)


def test_surface_distances_of_a_photo_are_monais() -> None:
    prediction, truth = (make_mask("blobs", 300, 200, seed) for seed in (1, 2))
    truth[:150], prediction[120:] = False, False
    average, hausdorff95 = ask_monai(prediction, truth)
    assert surface_distances(prediction, truth).average == pytest.approx(average, rel=1e-5)
    assert surface_distances(prediction, truth).hausdorff95 == pytest.approx(hausdorff95, rel=1e-5)


def test_without_an_outline_the_distance_is_0_or_the_diagonal() -> None:
    nothing, something = np.zeros((30, 40), bool), make_mask("pixel", 30, 40, 0)
    assert surface_distances(nothing, nothing) == (0, 0)
    assert surface_distances(something, nothing) == surface_distances(nothing, something) == (50, 50)


# --- Contour distances ---


def test_contour_distances_by_hand() -> None:
    # Corners of one pixel at columns 0 and 1, of the other at 3 and 4: 3 and 2 from the other's first, and back.
    assert contour_distances(draw("...#"), draw("#...")) == (2.5, 2.5)
    # Truth: corners at columns 0, 1 and 2, above and below. The ends are cut off (√½ each), the middle is a side (1 each).
    # The prediction reaches columns 0 and 1; column 2 is 1 away: 2√½ of a length of 4√½ + 2.
    from_truth, from_prediction = contour_distances(draw("#."), draw("##"))
    assert from_truth == pytest.approx(1 - math.sqrt(0.5))
    assert from_prediction == 0


@settings(deadline=None, max_examples=150)
@given(pairs())
def test_contour_distances_are_the_packages(pair: Pair) -> None:
    if pair[0].any() and pair[1].any():
        assert contour_distances(*pair) == pytest.approx(ask_surface_distance(*pair), abs=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value encountered in scalar divide:RuntimeWarning")
@pytest.mark.parametrize("marks", [("#.", ".."), ("..", "#."), ("..", "..")])
def test_contours_that_are_not_there_are_the_packages(marks: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # the package was written for NumPy 1
    prediction, truth = (draw(line) for line in marks)
    expected = ask_surface_distance(prediction, truth)
    assert contour_distances(prediction, truth) == pytest.approx(expected, nan_ok=True)
    assert math.isnan(expected[0]) == (not truth.any())


# --- All of them ---


def measure_all(prediction: Any, target: Any) -> Outlines:
    return Outlines(
        boundary_iou(prediction, target), *surface_distances(prediction, target), *contour_distances(prediction, target)
    )


@settings(deadline=None, max_examples=100)
@given(any_pairs)
def test_measuring_together_is_measuring_one_by_one(pair: Pair) -> None:
    prediction, truth = pair
    np.testing.assert_array_equal(measure_outlines(prediction, truth.astype(np.uint8)), measure_all(prediction, truth))


@settings(deadline=None, max_examples=60)
@given(any_pairs)
def test_only_where_the_masks_lie_to_each_other_matters(pair: Pair) -> None:
    """Distances stay when the photo is turned, mirrored, or, unless empty masks make it the measure, extended."""
    once = measure_all(*pair)[1:]
    for turn in (np.transpose, np.fliplr, np.flipud):
        np.testing.assert_allclose(measure_all(*(turn(mask) for mask in pair))[1:], once, atol=1e-12)
    if pair[0].any() and pair[1].any():
        np.testing.assert_allclose(measure_all(*(np.pad(mask, (3, 50)) for mask in pair))[1:], once, atol=1e-12)
    swapped = measure_all(*pair[::-1])
    np.testing.assert_allclose(swapped[1:3], once[:2], atol=1e-12)
    np.testing.assert_allclose(swapped[3:], once[2:][::-1], atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(any_pairs, st.integers(0, 999))
def test_what_is_not_judged_is_ground_in_both(pair: Pair, seed: int) -> None:
    prediction, truth = pair
    unjudged = np.random.default_rng(seed).random(truth.shape) < 0.3
    target = np.where(unjudged, 255, truth).astype(np.uint8)
    expected = measure_all(prediction & ~unjudged, truth & ~unjudged)
    np.testing.assert_array_equal(measure_outlines(prediction, target), expected)
    np.testing.assert_array_equal(measure_outlines(prediction | unjudged, target), expected, "whatever was predicted there")


def test_both_empty_scores_what_the_caller_says() -> None:
    nothing, unjudged = np.zeros((2, 2), bool), np.full((2, 2), 255, np.uint8)
    assert boundary_iou(nothing, nothing) == 1
    assert math.isnan(boundary_iou(nothing, nothing, empty=math.nan))
    assert boundary_iou(~nothing, nothing, empty=math.nan) == 0, "one empty is no agreement"
    measured = measure_outlines(~nothing, unjudged, empty=0.25)
    np.testing.assert_array_equal(measured, [0.25, 0, 0, math.nan, math.nan])


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
def test_a_batch_is_its_photos(convert: Callable[[Any], Any]) -> None:
    kinds = ["empty", "full", "pixel", "noise", "blobs", "corner"]
    prediction = np.stack([make_mask(kind, 6, 9, 1) for kind in kinds]).reshape(3, 2, 6, 9)
    truth = np.stack([make_mask(kind, 6, 9, 2) for kind in reversed(kinds)]).reshape(3, 2, 6, 9)
    together = measure_all(convert(prediction), convert(truth))
    assert {value.shape for value in together} == {(3, 2)}
    for place in np.ndindex(3, 2):
        alone = measure_all(convert(prediction[place]), convert(truth[place]))
        np.testing.assert_array_equal([value[place] for value in together], alone)
        assert {type(value) for value in alone} == {float}
    assert boundary_iou(prediction[:0], truth[:0]).shape == (0, 2)
    assert surface_distances(prediction[:0], truth[:0]).average.shape == (0, 2)


@pytest.mark.parametrize("measure", [boundary_iou, surface_distances, contour_distances])
def test_arguments_are_checked_as_for_dice(measure: Any) -> None:
    with pytest.raises(TypeError, match="not bool: threshold it first"):
        measure(np.array([[0.9, 0.1]]), np.array([[1, 0]], np.uint8))
    with pytest.raises(ValueError, match="differ in shape"):
        measure(np.ones((2, 3), bool), np.ones((3, 2), np.uint8))
    with pytest.raises(ValueError, match="mask > 127"):
        measure(draw("#."), np.array([[255, 0]], np.uint8))


def test_the_inputs_stay_as_they_were() -> None:
    prediction, target = draw("#.#", "###"), np.array([[1, 1, 255], [0, 1, 1]], np.uint8)
    kept = prediction.copy(), target.copy()
    measure_all(prediction, target)
    np.testing.assert_array_equal(prediction, kept[0])
    np.testing.assert_array_equal(target, kept[1])
