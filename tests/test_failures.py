"""Each kind of failure on a drawing that shows it."""

from __future__ import annotations

import numpy as np
import pytest

from fgbg.judge.failures import FAILURES, name_failure
from fgbg.judge.metrics import dice
from fgbg.judge.outcomes import OUTCOMES, make_outcome


def square(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


TRUTH = square((30, 70, 30, 70))


def kind(prediction: np.ndarray, truth: np.ndarray = TRUTH) -> str:
    return name_failure(prediction, truth.astype(np.uint8), dice(prediction, truth))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (TRUTH, "good"),
        (square((29, 70, 30, 70)), "good"),  # Dice 0.988
        (square((28, 72, 28, 72)), "border only"),
        (square((32, 68, 32, 68)), "border only"),
        (square(), "missed"),
        (square((30, 70, 30, 50)), "missed"),
        (TRUTH & ~square((40, 60, 40, 60)), "hole"),
        (TRUTH | square((5, 25, 5, 25)), "extra blob"),
        (TRUTH | square((40, 60, 70, 95)), "spilled over"),
        (square((0, 20, 0, 20)), "missed"),  # more is missed than invented
    ],
)
def test_the_kind_is_where_most_wrong_pixels_lie(prediction: np.ndarray, expected: str) -> None:
    assert expected in FAILURES
    assert kind(prediction) == expected


def test_what_joins_two_true_objects_has_a_name_of_its_own() -> None:
    truth = square((30, 70, 5, 35), (30, 70, 65, 95))
    assert kind(square((30, 70, 5, 95)), truth) == "merged with neighbour"
    assert kind(truth | square((0, 30, 5, 35)), truth) == "spilled over"


def test_objects_that_touch_at_a_corner_are_one() -> None:
    truth = square((30, 50, 30, 50), (50, 70, 50, 70))
    assert kind(truth | square((0, 50, 50, 99)), truth) == "spilled over"


def test_a_large_photo_has_the_same_name() -> None:
    for prediction in (square((28, 72, 28, 72)), TRUTH & ~square((40, 60, 40, 60)), TRUTH | square((5, 25, 5, 25))):
        large, truth = (mask.repeat(11, 0).repeat(11, 1) for mask in (prediction, TRUTH))
        assert kind(large, truth) == kind(prediction)


def test_an_object_that_is_not_there_is_an_extra_blob_and_nothing_is_good() -> None:
    assert kind(square((5, 25, 5, 25)), square()) == "extra blob"
    assert name_failure(square(), np.zeros((100, 100), np.uint8), 1.0) == "good"
    assert name_failure(square(), np.zeros((100, 100), np.uint8), float("nan")) == "good"


def test_what_is_not_judged_is_no_failure() -> None:
    target = TRUTH.astype(np.uint8)
    target[5:25, 5:25] = 255
    prediction = TRUTH | square((5, 25, 5, 25))
    prediction[31:36, 40:60] = False  # Dice 0.97 would be good; make it a little worse
    prediction[36:50, 45:60] = False
    assert name_failure(prediction, target, 0.9) == "hole"
    prediction = TRUTH | square((5, 25, 5, 25))
    assert name_failure(prediction, target, 0.0) == "good"


@pytest.mark.parametrize("size", [(375, 500), (3000, 4000)])
def test_a_small_object_that_was_not_found_is_missed(size: tuple[int, int]) -> None:
    """However near all its pixels are to its outline."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    target = ((rows - 95) ** 2 + (columns - 95) ** 2 <= 4**2).astype(np.uint8)
    assert name_failure(np.zeros(size, bool), target, 0.0) == "missed"
    large = ((rows - 250) ** 2 + (columns - 300) ** 2 <= 50**2).astype(np.uint8)
    assert name_failure(large == 1, large | target, 0.94) == "missed"  # beside one that was


def test_a_full_truth_has_no_outline() -> None:
    prediction = np.ones((20, 20), bool)
    prediction[:10] = False
    assert name_failure(prediction, np.ones((20, 20), np.uint8), 2 / 3) == "missed"


def test_an_outcome_shows_the_four_counts_and_what_is_not_judged() -> None:
    prediction = np.array([[True, True, False, False, True]])
    target = np.array([[1, 0, 1, 0, 255]], np.uint8)
    picture = make_outcome(prediction, target, (5, 1))
    assert [OUTCOMES[value] for value in np.asarray(picture)[0]] == ["found", "extra", "missed", "ground", "not judged"]
    assert make_outcome(prediction.repeat(4, 0), target.repeat(4, 0), (3, 2)).size == (3, 2)
