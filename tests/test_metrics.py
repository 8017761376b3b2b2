"""Counts and scores against hand-computed numbers and scikit-learn."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score
from torchmetrics.functional.classification import binary_f1_score

import fgbg
from fgbg.judge import metrics
from fgbg.judge.metrics import Counts, count_pixels, dice_of, iou_of, precision_of, recall_of, specificity_of
from trivial import draw

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
images = shapes.flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255])))
)
degenerate = st.builds(
    lambda shape, predicted, value: (np.full(shape, predicted), np.full(shape, value, np.uint8)),
    shapes,
    st.booleans(),
    st.sampled_from([0, 1, 255]),
)
Pair = tuple[NDArray[np.bool_], NDArray[np.uint8]]


def dice(prediction: Any, target: Any, **options: float) -> Any:
    """Without the public function's refusal of masks that look like 0/255, which random targets do."""
    return dice_of(count_pixels(prediction, target), **options)


def iou(prediction: Any, target: Any, **options: float) -> Any:
    return iou_of(count_pixels(prediction, target), **options)


@pytest.mark.parametrize("score", [metrics.dice, metrics.iou, metrics.precision, metrics.recall, metrics.specificity])
def test_a_mask_in_another_encoding_is_refused(score: Any) -> None:
    """A 0/255 mask would have no object and an empty prediction would score 1."""
    for prediction, target in both_kinds(draw("#."), np.array([[255, 0]], np.uint8)):
        with pytest.raises(ValueError, match="mask > 127"):
            score(prediction, target)
        with pytest.raises(ValueError, match="other values"):
            score(prediction, target // 100)
        assert score(prediction, target > 127) == 1, "as a bool mask it is plain"


@pytest.mark.parametrize(("public", "plain"), [(metrics.dice, dice), (metrics.iou, iou)])
def test_the_public_scores_are_the_counts_scores(public: Any, plain: Any) -> None:
    for prediction, target in both_kinds(draw("##.."), np.array([[1, 255, 1, 0]], np.uint8)):
        assert public(prediction, target) == plain(prediction, target)


def test_counts_by_hand() -> None:
    prediction = draw("##..", "##..", "....")
    target = np.array([[1, 0, 1, 0], [1, 255, 255, 0], [1, 1, 0, 0]], np.uint8)
    assert count_pixels(prediction, target) == Counts(TP=2, FP=1, FN=3, TN=4)
    assert dice(prediction, target) == 4 / 8
    assert iou(prediction, target) == 2 / 6


def test_counts_of_one_image_are_plain_integers_and_scores_plain_floats() -> None:
    for prediction, target in both_kinds(draw("#."), np.array([[1, 0]], np.uint8)):
        assert [type(count) for count in count_pixels(prediction, target)] == [int] * 4
        assert type(dice(prediction, target)) is float
        assert type(iou(prediction, target)) is float


def both_kinds(*arrays: NDArray[Any]) -> list[tuple[Any, ...]]:
    return [arrays, tuple(torch.tensor(array) for array in arrays)]


def test_wrong_pixels_outside_the_object_lower_the_score() -> None:
    target = np.array([[1, 0, 0, 0]], np.uint8)
    assert dice(draw("#..."), target) == 1
    assert dice(draw("####"), target) == 2 / 5


def test_dice_is_not_accuracy() -> None:
    target = np.zeros((10, 10), np.uint8)
    target[0, 0] = 1
    assert dice(np.zeros((10, 10), bool), target) == 0, "99 % of its pixels are right"


@settings(deadline=None, max_examples=60)
@given(images | degenerate)
def test_scores_are_scikit_learns_of_the_judged_pixels(pair: Pair) -> None:
    prediction, target = pair
    judged = target != 255
    truth, guess = target[judged] == 1, prediction[judged]
    if judged.any():
        table = confusion_matrix(truth, guess, labels=[False, True])
        assert count_pixels(prediction, target) == Counts(table[1, 1], table[0, 1], table[1, 0], table[0, 0])
        assert dice(prediction, target) == pytest.approx(f1_score(truth, guess, zero_division=1.0), abs=1e-12)
        assert iou(prediction, target) == pytest.approx(jaccard_score(truth, guess, zero_division=1.0), abs=1e-12)
    else:
        assert count_pixels(prediction, target) == Counts(0, 0, 0, 0)


@settings(deadline=None, max_examples=60)
@given(images | degenerate)
def test_identities(pair: Pair) -> None:
    prediction, target = pair
    overlap, ratio = dice(prediction, target), iou(prediction, target)
    assert overlap == pytest.approx(2 * ratio / (1 + ratio), abs=1e-12)
    assert 0 <= ratio <= overlap <= 1
    assert sum(count_pixels(prediction, target)) == (target != 255).sum(), "every judged pixel once"
    flipped = np.where(target == 255, 255, 1 - target.clip(0, 1)).astype(np.uint8)
    hit, invented, missed, rest = count_pixels(prediction, target)
    assert count_pixels(~prediction, flipped) == (rest, missed, invented, hit)


@settings(deadline=None, max_examples=40)
@given(images | degenerate)
def test_numpy_and_torch_agree(pair: Pair) -> None:
    (one, two), (other_one, other_two) = both_kinds(*pair)
    assert count_pixels(one, two) == count_pixels(other_one, other_two)
    assert dice(one, two) == dice(other_one, other_two)
    assert iou(one, two) == iou(other_one, other_two)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), empty=st.sampled_from([1.0, 0.0, float("nan")]))
def test_a_batch_is_its_images(seed: int, empty: float) -> None:
    rng = np.random.default_rng(seed)
    prediction = rng.random((2, 3, 5, 4)) < rng.random((2, 3, 1, 1))
    target = rng.choice(np.array([0, 1, 255], np.uint8), (2, 3, 5, 4))
    prediction[0, 0], target[0, 0] = False, 0
    for kind, (predicted, true) in zip(("numpy", "torch"), both_kinds(prediction, target), strict=True):
        counts = count_pixels(predicted, true)
        for score, score_of in ((dice, dice_of), (iou, iou_of)):
            together = score(predicted, true, empty=empty)
            assert tuple(together.shape) == (2, 3)
            alone = [[score(predicted[i, j], true[i, j], empty=empty) for j in range(3)] for i in range(2)]
            tolerance = 1e-12 if kind == "numpy" else 1e-6
            np.testing.assert_allclose(np.asarray(together), alone, rtol=tolerance, equal_nan=True)
            np.testing.assert_array_equal(np.asarray(score_of(counts, empty=empty)), np.asarray(together))
        for i, j in np.ndindex(2, 3):
            assert count_pixels(predicted[i, j], true[i, j]) == Counts(*(int(count[i, j]) for count in counts))


@pytest.mark.parametrize("empty", [1.0, 0.0, 0.25])
def test_both_empty_scores_what_the_caller_says_and_one_by_default(empty: float) -> None:
    for prediction, target in both_kinds(draw("..", ".."), np.array([[0, 0], [255, 0]], np.uint8)):
        assert dice(prediction, target) == iou(prediction, target) == 1
        assert dice(prediction, target, empty=empty) == iou(prediction, target, empty=empty) == empty
        assert np.isnan(dice(prediction, target, empty=float("nan")))


@pytest.mark.parametrize("empty", [1.0, 0.0, float("nan")])
def test_one_side_empty_scores_zero_whatever_the_rule(empty: float) -> None:
    for prediction, target in both_kinds(draw("#."), np.zeros((1, 2), np.uint8)):
        assert dice(prediction, target, empty=empty) == iou(prediction, target, empty=empty) == 0
        assert dice(~prediction & prediction, target + 1, empty=empty) == 0


def test_object_predicted_where_nothing_is_judged_counts_for_nothing() -> None:
    target = np.array([[255, 255, 0, 1]], np.uint8)
    for marks in ("...#", "#..#", "##.#"):
        assert count_pixels(draw(marks), target) == Counts(TP=1, FP=0, FN=0, TN=1)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
def test_a_prediction_that_is_not_bool_is_refused(kind: type) -> None:
    target = np.array([[1, 0]], np.uint8)
    for prediction, true in both_kinds(np.array([[1, 0]], kind), target):
        for score in (count_pixels, dice, iou):
            with pytest.raises(TypeError, match="not bool: threshold it first"):
                score(prediction, true)


@pytest.mark.parametrize(
    ("first", "second"), [((4, 4), (1, 4)), ((4, 4), (1, 4, 4)), ((2, 3), (3, 2)), ((2, 1, 4, 4), (2, 4, 4))]
)
def test_shapes_that_only_broadcasting_would_fit_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    for prediction, target in both_kinds(np.zeros(first, bool), np.zeros(second, np.uint8)):
        with pytest.raises(ValueError, match="differ in shape"):
            count_pixels(prediction, target)


def test_counts_do_not_overflow_8_or_16_bits() -> None:
    prediction = np.ones((400, 500), bool)
    for guess, target in both_kinds(prediction, np.ones((400, 500), np.uint8)):
        assert count_pixels(guess, target) == Counts(200_000, 0, 0, 0)
        assert count_pixels(~guess, target) == Counts(0, 0, 200_000, 0)
        assert count_pixels(guess, target - 1) == Counts(0, 200_000, 0, 0)
        assert count_pixels(~guess, target - 1) == Counts(0, 0, 0, 200_000)
        assert count_pixels(guess[None], target[None]).TP.tolist() == [200_000]


@pytest.mark.parametrize("kind", [np.int64, np.float64, float])
def test_counts_may_be_numbers_of_any_kind(kind: type) -> None:
    """As a table's cells are, or sums over photos."""
    counts = Counts(TP=kind(3), FP=kind(1), FN=kind(2), TN=kind(4))
    scores = [score(counts) for score in (dice_of, iou_of, precision_of, recall_of, specificity_of)]
    assert scores == [6 / 9, 3 / 6, 3 / 4, 3 / 5, 4 / 5]
    nothing = Counts(kind(0), kind(0), kind(0), kind(4))
    assert [score(nothing, empty=0.5) for score in (dice_of, iou_of, precision_of, recall_of)] == [0.5] * 4


def test_the_inputs_stay_as_they_were() -> None:
    prediction, target = draw("#.#"), np.array([[1, 1, 255]], np.uint8)
    kept = prediction.copy(), target.copy()
    dice(prediction, target)
    np.testing.assert_array_equal(prediction, kept[0])
    np.testing.assert_array_equal(target, kept[1])


PARTS = {
    metrics.precision: precision_of,
    metrics.recall: recall_of,
    metrics.specificity: specificity_of,
}
"""Scores of one kind of error alone."""


def test_precision_recall_and_specificity_by_hand() -> None:
    prediction = draw("##..", "##..", "....")
    target = np.array([[1, 0, 1, 0], [1, 255, 255, 0], [1, 1, 0, 0]], np.uint8)
    for predicted, true in both_kinds(prediction, target):  # TP 2, FP 1, FN 3, TN 4
        found = [score(predicted, true) for score in PARTS]
        assert found == [2 / 3, 2 / 5, 4 / 5]
        assert {type(value) for value in found} == {float}


def test_a_score_that_is_not_defined_by_hand() -> None:
    """What each says where there is nothing to divide by: (precision, recall, specificity)."""
    nan = float("nan")
    cases = {
        ("..", (0, 0)): (1, 1, 1),  # nothing there, nothing found: as it should be
        ("#.", (0, 0)): (0, nan, 1 / 2),  # a false alarm; there was nothing to recall
        ("..", (1, 0)): (0, 0, 1),  # missed
        ("##", (1, 1)): (1, 1, nan),  # no ground
        ("..", (1, 1)): (0, 0, nan),
    }
    for (marks, truth), expected in cases.items():
        for prediction, target in both_kinds(draw(marks), np.array([truth], np.uint8)):
            np.testing.assert_array_equal([score(prediction, target) for score in PARTS], expected)
    for empty in (0.0, 0.25, nan):
        for prediction, target in both_kinds(draw(".."), np.zeros((1, 2), np.uint8)):
            np.testing.assert_array_equal(metrics.precision(prediction, target, empty=empty), empty)
            np.testing.assert_array_equal(metrics.recall(prediction, target, empty=empty), empty)
            np.testing.assert_array_equal(metrics.recall(~prediction, target, empty=empty), nan)
            assert metrics.precision(~prediction, target, empty=empty) == 0


@settings(deadline=None, max_examples=60)
@given(images | degenerate)
def test_precision_recall_and_specificity_are_scikit_learns(pair: Pair) -> None:
    prediction, target = pair
    judged = target != 255
    truth, guess = target[judged] == 1, prediction[judged]
    if not judged.any():
        return
    counts, nan = count_pixels(prediction, target), float("nan")
    both_empty = not truth.any() and not guess.any()
    ask_precision = partial(precision_score, zero_division=1.0 if both_empty else 0.0)
    ask_recall = partial(recall_score, zero_division=1.0 if both_empty else nan)
    assert precision_of(counts) == pytest.approx(ask_precision(truth, guess), abs=1e-12)
    assert recall_of(counts) == pytest.approx(ask_recall(truth, guess), abs=1e-12, nan_ok=True)
    ground_recall = recall_score(truth, guess, pos_label=False, zero_division=nan)
    assert specificity_of(counts) == pytest.approx(ground_recall, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_precision_recall_and_specificity_of_a_batch_are_its_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction = rng.random((2, 3, 5, 4)) < rng.random((2, 3, 1, 1))
    target = (rng.random((2, 3, 5, 4)) < rng.random((2, 3, 1, 1))).astype(np.uint8)
    prediction[0, 0] = prediction[0, 1] = False
    target[0, 0], target[1, 1], target[1, 2] = 0, 0, 1
    for kind, (predicted, true) in zip(("numpy", "torch"), both_kinds(prediction, target), strict=True):
        for score, score_of in PARTS.items():
            together = np.asarray(score(predicted, true))
            alone = [[score(predicted[i, j], true[i, j]) for j in range(3)] for i in range(2)]
            np.testing.assert_allclose(together, alone, rtol=1e-12 if kind == "numpy" else 1e-6, equal_nan=True)
            np.testing.assert_array_equal(np.asarray(score_of(count_pixels(predicted, true))), together)


@settings(deadline=None, max_examples=40)
@given(images | degenerate)
def test_dice_is_the_harmonic_mean_of_precision_and_recall(pair: Pair) -> None:
    counts = count_pixels(*pair)
    if counts.TP:
        assert dice_of(counts) == pytest.approx(2 / (1 / precision_of(counts) + 1 / recall_of(counts)))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), threshold=st.sampled_from([0.25, 0.5, 0.75]))
def test_a_probability_at_the_threshold_is_ground_as_torchmetrics_has_it(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.choice(np.float32([0, 0.25, 0.5, 0.75, 1]), (4, 5))  # ties everywhere
    target = rng.integers(0, 2, (4, 5)).astype(np.uint8)
    found = dice(probability > threshold, target, empty=0.0)
    asked = binary_f1_score(torch.tensor(probability), torch.tensor(target.astype(np.int64)), threshold=threshold)
    assert found == pytest.approx(asked.item(), abs=1e-6)


def test_the_public_names_are_these_functions() -> None:
    assert (fgbg.dice, fgbg.iou, fgbg.count_pixels) == (metrics.dice, metrics.iou, count_pixels)
    assert (fgbg.precision, fgbg.recall, fgbg.specificity) == tuple(PARTS)
