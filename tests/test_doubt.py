"""What a model expects of itself, and which labels it contradicts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from fgbg.judge.doubt import expect_dice
from fgbg.judge.suspicion import SUSPICION_CUTOFF, suspect_label


def test_expected_dice_by_hand() -> None:
    probability = np.array([[0.9, 0.7], [0.4, 0.0]], np.float32)
    prediction = probability > 0.5
    assert expect_dice(probability, prediction) == pytest.approx(2 * 1.6 / (2 + 2.0))


def test_a_model_that_is_sure_expects_one() -> None:
    sure = np.array([[1.0, 0.0]], np.float32)
    assert expect_dice(sure, sure > 0.5) == 1
    nothing = np.zeros((2, 2), np.float32)
    assert expect_dice(nothing, nothing > 0.5) == 1


def test_where_nothing_is_found_the_highest_probability_is_the_doubt() -> None:
    probability = np.array([[0.1, 0.45]], np.float32)
    assert expect_dice(probability, probability > 0.5) == pytest.approx(0.55)


def blob(radius: float = 20.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disc, the probability of a good model of it, and its prediction."""
    y, x = np.mgrid[:96, :128]
    truth = np.hypot(y - 48, x - 64) < radius
    probability = gaussian_filter(truth.astype(np.float32), 2)
    return truth, probability, probability > 0.5


def test_a_right_label_is_not_suspected_and_a_wrong_one_is() -> None:
    truth, probability, prediction = blob()

    def suspicion(label: np.ndarray) -> float:
        return suspect_label(probability, prediction, label.astype(np.uint8))

    assert suspicion(truth) < 0.05
    assert suspicion(~truth) > SUSPICION_CUTOFF
    assert suspicion(np.roll(truth, 40, axis=1)) > SUSPICION_CUTOFF
    assert suspicion(np.zeros_like(truth)) > SUSPICION_CUTOFF
    half = truth.copy()
    half[48:] = False
    wide = distance_transform_edt(~truth) <= 5
    assert suspicion(truth) < suspicion(wide)
    assert suspicion(truth) < suspicion(half)


def test_an_outline_too_wide_all_around_is_more_suspect_than_one_that_strays_both_ways() -> None:
    truth, probability, prediction = blob()
    wide = distance_transform_edt(~truth) <= 3
    narrow = distance_transform_edt(truth) > 3
    strays = wide.copy()
    strays[:48] = narrow[:48]
    even, uneven = (suspect_label(probability, prediction, label.astype(np.uint8)) for label in (wide, strays))
    assert even > uneven + 0.1


def test_a_model_that_doubts_contradicts_less() -> None:
    truth, probability, prediction = blob()
    label = np.roll(truth, 12, axis=1).astype(np.uint8)
    unsure = 0.5 + (probability - 0.5) / 4
    assert suspect_label(unsure, prediction, label) < suspect_label(probability, prediction, label)


def test_what_is_not_judged_contradicts_nothing() -> None:
    truth, probability, prediction = blob()
    target = truth.astype(np.uint8)
    target[:, 64:] = np.where(truth[:, 64:], 255, 0)
    whole = np.where(target == 255, 0, target)
    assert suspect_label(probability, prediction, target) < suspect_label(probability, prediction, whole)
    band = distance_transform_edt(~truth) <= 4  # along the whole outline; the prediction lies within it
    prediction = truth | (distance_transform_edt(~truth) <= 2)
    assert suspect_label(probability, prediction, np.where(band & ~truth, 255, truth).astype(np.uint8)) == 0


@pytest.mark.parametrize("value", [0, 1, 255])
def test_degenerate_labels_have_a_suspicion_between_0_and_1(value: int) -> None:
    for probability in (np.zeros((5, 7), np.float32), np.ones((5, 7), np.float32)):
        told = suspect_label(probability, probability > 0.5, np.full((5, 7), value, np.uint8))
        assert 0 <= told <= 1
