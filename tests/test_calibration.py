"""Thresholds and reliability, by hand and against scoring at each threshold anew."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from fgbg.config_rules import check_objective
from fgbg.errors import UserError
from fgbg.judge.bootstrap import estimate_mean
from fgbg.judge.calibration import (
    CANDIDATES,
    LOGIT_EDGES,
    Histograms,
    choose_threshold,
    count_at_candidates,
    count_probabilities,
    describe_calibration,
    fit_temperature,
    measure_reliability,
)
from fgbg.judge.metrics import count_pixels, dice, recall


def photos(count: int = 20, seed: int = 0, shift: float = 0.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Noisy probabilities of a known truth; a shift in their logit makes them too low or too high."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        truth = random.random((24, 30)) < random.uniform(0.1, 0.6)
        logit = np.where(truth, 1.5, -1.5) + random.normal(0, 1.2, truth.shape) + shift
        target = truth.astype(np.uint8)
        target[0, :5] = 255
        made.append((torch.tensor(1 / (1 + np.exp(-logit)), dtype=torch.float32), torch.tensor(target)))
    return made


def tally(made: list[tuple[torch.Tensor, torch.Tensor]]) -> Histograms:
    counted = [count_probabilities(*photo) for photo in made]
    return Histograms(np.stack([each[0].numpy() for each in counted]), np.sum([each[1].numpy() for each in counted], axis=0))


# Threshold


def test_counts_at_every_candidate_are_those_of_scoring_there() -> None:
    made = photos(4)
    made[0][0][3, :9] = torch.tensor([0.0, 0.01, 0.3, 0.37, 0.5, 0.5, 0.99, 1.0, 0.29])  # ties are ground
    counts = count_at_candidates(tally(made).by_threshold)
    for place, threshold in enumerate(CANDIDATES):
        for photo, (probability, target) in enumerate(made):
            expected = count_pixels(probability > float(threshold), target)
            assert tuple(values[photo, place] for values in counts) == tuple(expected)


def test_the_best_threshold_is_the_one_that_scoring_each_would_find() -> None:
    made = photos(20, shift=-1.0)  # object is mostly below one half
    choice = choose_threshold(tally(made).by_threshold)
    means = [np.mean([dice((p > float(candidate)).numpy(), t.numpy()) for p, t in made]) for candidate in CANDIDATES]
    np.testing.assert_allclose(choice.scores, means)
    assert choice.value == CANDIDATES[int(np.argmax(means))] < 0.4
    assert choice.gain.low > 0
    assert choice.gain.mean == pytest.approx(max(means) - means[49])
    assert f"{choice.value:g} gains 0.0" in choice.sentence


def test_a_gain_that_may_be_nothing_leaves_one_half() -> None:
    choice = choose_threshold(tally(photos(10, seed=3)).by_threshold)
    assert choice.value == 0.5
    assert re.fullmatch(
        r"0\.5 stays: 0\.55 gains .* mean Dice on 10 validation photos, which may be nothing", choice.sentence
    )


def test_too_few_photos_choose_nothing() -> None:
    choice = choose_threshold(tally(photos(9, shift=-1.5)).by_threshold)
    assert choice.gain.low > 0
    assert (choice.value, choice.sentence) == (0.5, "0.5 stays: 9 validation photos are too few to choose on")


def test_equal_candidates_leave_one_half() -> None:
    sure = torch.tensor([[0.999, 0.001]])
    choice = choose_threshold(tally([(sure, torch.tensor([[1, 0]], dtype=torch.uint8))] * 12).by_threshold)
    assert choice.value == 0.5
    assert choice.sentence == "0.5 is the best of 99 on 12 validation photos"


def test_both_empty_counts_as_one_at_any_threshold_that_finds_nothing() -> None:
    quiet = torch.full((4, 4), 0.2)
    choice = choose_threshold(tally([(quiet, torch.zeros(4, 4, dtype=torch.uint8))]).by_threshold)
    assert choice.scores[CANDIDATES >= 0.2].min() == 1
    assert choice.scores[CANDIDATES < 0.2].max() == 0


def test_a_wanted_recall_takes_the_highest_threshold_that_reaches_it() -> None:
    probability = torch.linspace(0.05, 0.95, 10)[None]  # 0.05, 0.15, … 0.95, all object
    choice = choose_threshold(tally([(probability, torch.ones(1, 10, dtype=torch.uint8))]).by_threshold, "recall:0.7")
    assert choice.value == 0.34  # above it lie 0.35 … 0.95: 7 of 10
    assert "mean recall 0.7000" in choice.sentence


@pytest.mark.parametrize("count", [3, 12, 29])
def test_a_recall_that_is_just_reached_is_reached(count: int) -> None:
    """The mean of equal recalls may be a digit below them."""
    probability = torch.tensor([[0.9] * 19 + [0.1]])
    made = [(probability, torch.ones(1, 20, dtype=torch.uint8))] * count
    assert choose_threshold(tally(made).by_threshold, "recall:0.95").value == 0.89


def test_the_gain_of_a_recall_is_as_sure_as_its_groups_are_many() -> None:
    made = photos(12, shift=-1.0)
    made[4] = (
        made[4][0],
        torch.zeros(24, 30, dtype=torch.uint8),
    )  # without an object it has no recall, and counts in no group
    groups = [f"patient {index // 2}" for index in range(12)]
    choice = choose_threshold(tally(made).by_threshold, "recall:0.9", groups=groups)
    counted = [place for place in range(12) if place != 4]
    recalls = [
        [recall((made[place][0] > limit).numpy(), made[place][1].numpy()) for place in counted]
        for limit in (choice.value, 0.5)
    ]
    gains = np.subtract(*recalls)
    assert choice.gain == pytest.approx(estimate_mean(gains, groups=[groups[place] for place in counted]))
    assert choice.gain != pytest.approx(estimate_mean(gains))


def test_a_recall_out_of_reach_takes_the_lowest_and_says_so() -> None:
    probability = torch.tensor([[0.001, 0.9]])
    choice = choose_threshold(tally([(probability, torch.ones(1, 2, dtype=torch.uint8))]).by_threshold, "recall:0.9")
    assert choice.value == 0.01
    assert "none reaches 0.9" in choice.sentence


def test_recall_needs_an_object() -> None:
    made = [(torch.rand(3, 3), torch.zeros(3, 3, dtype=torch.uint8))]
    with pytest.raises(UserError, match="no validation photo has an object"):
        choose_threshold(tally(made).by_threshold, "recall:0.9")


def test_none_keeps_one_half_and_tells_what_it_costs() -> None:
    choice = choose_threshold(tally(photos(20, shift=-1.0)).by_threshold, "none")
    assert choice.value == 0.5
    assert choice.sentence.startswith("0.5, as asked for; 0.")


@pytest.mark.parametrize("objective", ["f1", "recall", "recall:", "recall:95", "recall:0", "recall:nan", "dice:0.9"])
def test_an_unknown_objective_is_refused(objective: str) -> None:
    with pytest.raises(UserError, match="choose dice, iou, recall:R"):
        check_objective(objective)


# Reliability


def test_reliability_by_hand() -> None:
    probability = torch.tensor([[0.52, 0.52, 0.52, 0.52, 0.98, 0.98]])
    target = torch.tensor([[1, 0, 0, 0, 1, 255]], dtype=torch.uint8)
    reliability = measure_reliability(tally([(probability, target)]).by_logit)
    assert reliability.pixels[10] == 4
    assert reliability.mean_probability[10] == pytest.approx(0.52, abs=0.01)
    assert reliability.object_share[10] == 0.25
    assert reliability.pixels[19] == 1
    assert np.isnan(reliability.object_share[0])
    assert reliability.error == pytest.approx((4 * 0.27 + 0.02) / 5, abs=0.01)


def test_true_probabilities_have_no_calibration_error_and_need_no_temperature() -> None:
    random = np.random.default_rng(0)
    probability = random.uniform(0, 1, (300, 400)).astype(np.float32)
    target = (random.random(probability.shape) < probability).astype(np.uint8)
    counted = tally([(torch.tensor(probability), torch.tensor(target))])
    assert measure_reliability(counted.by_logit).error < 0.01
    assert fit_temperature(counted.by_logit) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_the_temperature_undoes_a_model_that_is_too_sure_or_too_shy(factor: float) -> None:
    random = np.random.default_rng(1)
    logit = random.normal(0, 1.5, (300, 400))
    target = (random.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    said = torch.tensor(1 / (1 + np.exp(-factor * logit)), dtype=torch.float32)
    counted = tally([(said, torch.tensor(target))])
    temperature = fit_temperature(counted.by_logit)
    assert temperature == pytest.approx(factor, rel=0.03)
    before, after = measure_reliability(counted.by_logit), measure_reliability(counted.by_logit, temperature)
    assert after.error < 0.01 < before.error
    scaled = 1 / (1 + np.exp(-factor * logit / temperature))
    others = (1 / (1 + np.exp(-factor * logit / other)) for other in (temperature * 0.9, temperature * 1.1))
    assert all(log_loss(target.ravel(), scaled.ravel()) < log_loss(target.ravel(), other.ravel()) for other in others)


def test_bins_of_logits_are_even_and_reach_the_ends() -> None:
    counted = tally([(torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([[0, 1, 1]], dtype=torch.uint8))])
    assert counted.by_logit[0, 0] == 1
    assert counted.by_logit[1, -1] == 1
    assert counted.by_logit.sum() == 3
    assert np.diff(LOGIT_EDGES) == pytest.approx(0.05)


def test_what_is_kept_is_json_without_nan() -> None:
    sure = [(torch.tensor([[0.01, 0.99]]), torch.tensor([[0, 1]], dtype=torch.uint8))] * 2  # empty bins, no interval
    calibration = describe_calibration(tally(sure), "iou", 2, "validation")
    assert json.loads(json.dumps(calibration, allow_nan=False)) == calibration
    assert calibration["bins"][9]["object_share"] is None and calibration["threshold"]["gain"] == [0.0, None, None]
    assert len(calibration["threshold"]["scores"]) == len(calibration["threshold"]["candidates"]) == 99


def test_a_threshold_for_iou_is_told_in_iou() -> None:
    calibration = describe_calibration(tally(photos(15, shift=-1.0)), "iou", 15, "validation")
    told = calibration["threshold"]["sentence"]
    assert re.fullmatch(r"0\.35 gains 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\] mean IoU on 15 validation photos over 0\.5", told)


def test_photos_without_a_judged_pixel_calibrate_nothing() -> None:
    ignored = [(torch.rand(4, 4), torch.full((4, 4), 255, dtype=torch.uint8))] * 3
    with pytest.raises(UserError, match="no pixel of the 3 validation photos is judged"):
        describe_calibration(tally(ignored), "dice", 3, "validation")


def test_a_gain_of_few_groups_chooses_nothing() -> None:
    made = tally(photos(20, shift=-1.0)).by_threshold
    assert choose_threshold(made).value != 0.5
    choice = choose_threshold(made, groups=[f"patient {index // 10}" for index in range(20)])
    assert (choice.value, choice.sentence) == (0.5, "0.5 stays: 2 groups of validation photos are too few to choose on")
