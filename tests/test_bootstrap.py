"""The bootstrap interval: repeatable, as wide as it says, and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fgbg.judge import bootstrap
from fgbg.judge.bootstrap import Estimate, check_difference, estimate_chosen, estimate_mean, estimate_means


def draw_scores(count: int, seed: int) -> np.ndarray:
    """Skewed as Dice scores are: most near 1, a few bad. The true mean is 0.9."""
    return np.random.default_rng(seed).beta(9, 1, count)


def test_same_scores_same_interval() -> None:
    scores = draw_scores(40, 0)
    assert estimate_mean(scores) == estimate_mean(scores.copy())
    assert estimate_mean(scores) != estimate_mean(scores, seed=1)


def test_the_mean_is_the_scores_mean_and_lies_inside() -> None:
    scores = draw_scores(40, 0)
    estimate = estimate_mean(scores)
    assert estimate.mean == scores.mean()
    assert scores.min() < estimate.low < estimate.mean < estimate.high < scores.max()


@pytest.mark.parametrize(("count", "fewest"), [(60, 180), (10, 176)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(count: int, fewest: int) -> None:
    """At 10 scores plain percentiles hold it in 87 of 100 cases; so few skewed scores allow no 95."""
    estimates = [estimate_mean(draw_scores(count, seed)) for seed in range(200)]
    held = sum(estimate.low <= 0.9 <= estimate.high for estimate in estimates)
    assert fewest <= held <= 196, held


@pytest.mark.parametrize("groups", [None, ["a", "a", "b", "b", "c"]])
def test_too_few_have_no_interval(groups: list[str] | None) -> None:
    scores = draw_scores(5, 0)[: 5 if groups else 3]
    estimate = estimate_mean(scores, groups=groups)
    assert estimate == (scores.mean(), -math.inf, math.inf)
    assert str(estimate) == f"{scores.mean():.4f} [–, –]"
    test = check_difference(scores - 0.5, groups=groups)
    assert (test.difference.low, test.difference.high) == (-math.inf, math.inf)
    assert test.p > 0.05


def test_four_times_the_images_halve_the_interval() -> None:
    def width(count: int) -> float:
        estimates = [estimate_mean(draw_scores(count, seed)) for seed in range(8)]
        return float(np.mean([estimate.high - estimate.low for estimate in estimates]))

    assert width(50) / width(200) == pytest.approx(2, rel=0.1)
    assert width(200) / width(800) == pytest.approx(2, rel=0.1)


def test_scipy_finds_the_same_interval() -> None:
    scores = draw_scores(80, 3)
    tail = stats.norm.cdf(np.sqrt(80 / 79) * stats.t.ppf(0.025, 79))  # of the expanded percentile interval
    theirs = stats.bootstrap(
        (scores,),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        confidence_level=1 - 2 * tail,
        rng=np.random.default_rng(0),
    ).confidence_interval
    mine = estimate_mean(scores)
    tolerance = 0.04 * (mine.high - mine.low)
    assert mine.low == pytest.approx(theirs.low, abs=tolerance)
    assert mine.high == pytest.approx(theirs.high, abs=tolerance)


@pytest.mark.parametrize("block", [1, 7_001, 250_000])
def test_drawing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    scores = draw_scores(50, 4)
    whole = estimate_mean(scores)
    monkeypatch.setattr(bootstrap, "_BLOCK", block)
    assert estimate_mean(scores) == whole


def test_a_set_too_large_for_one_block_gets_the_interval_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = draw_scores(500, 5)
    assert len(scores) * bootstrap.RESAMPLES > bootstrap._BLOCK, "in blocks"
    in_blocks = estimate_mean(scores)
    monkeypatch.setattr(bootstrap, "_BLOCK", len(scores) * bootstrap.RESAMPLES)
    assert estimate_mean(scores) == in_blocks
    deviation = np.sqrt(0.9 * 0.1 / 11)  # of Beta(9, 1)
    assert in_blocks.high - in_blocks.low == pytest.approx(2 * 1.96 * deviation / np.sqrt(500), rel=0.15)


def test_sets_estimated_together_get_the_intervals_of_each_alone() -> None:
    sets = [draw_scores(count, seed) for seed, count in enumerate((40, 700, 40, 3, 40, 700, 41))]
    together = estimate_means(sets)
    for mine, alone in zip(together, map(estimate_mean, sets), strict=True):
        assert mine == pytest.approx(alone, rel=1e-12)
    assert together[3].high == math.inf
    assert estimate_means([]) == []
    with pytest.raises(ValueError, match="no scores"):
        estimate_means([np.array([])] * 2)


@settings(deadline=None, max_examples=15)
@given(value=st.floats(0, 1), count=st.integers(4, 30))
def test_equal_scores_leave_no_doubt(value: float, count: int) -> None:
    assert estimate_mean(np.full(count, value)) == pytest.approx((value, value, value), abs=1e-12)


def test_no_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="no scores"):
        estimate_mean(np.array([]))


def test_an_estimate_reads_as_mean_and_interval() -> None:
    assert str(Estimate(0.94561, 0.93, 0.95499)) == "0.9456 [0.9300, 0.9550]"


# The best of many


def draw_walks(seed: int, images: int = 20, candidates: int = 40) -> np.ndarray:
    """Scores less those of the first candidate: neighbours score alike, and none is truly better or worse."""
    return np.random.default_rng(seed).normal(0, 0.01, (images, candidates)).cumsum(1)


def test_the_best_of_many_equals_is_not_taken_for_better() -> None:
    """Its own interval says so in one of 12 cases, where it should in one of 40."""
    alone = chosen = 0
    for seed in range(150):
        scores = draw_walks(seed)
        best = int(scores.mean(0).argmax())
        alone += estimate_mean(scores[:, best]).low > 0
        chosen += estimate_chosen(scores, best).low > 0
    assert chosen <= 6
    assert alone >= 12


def test_a_candidate_that_is_the_same_everywhere_widens_nothing() -> None:
    """Its resampled means differ in their last digits, which are no error to measure others by."""
    scores = np.random.default_rng(0).normal(0.01, 0.05, (50, 1))
    constant = np.hstack([scores, np.full((50, 1), 0.1)])
    np.testing.assert_allclose(estimate_chosen(constant, 0), estimate_chosen(scores, 0), rtol=1e-12)


def test_a_true_gain_is_still_seen() -> None:
    scores = draw_walks(0)
    scores[:, 10:] += 0.2
    best = int(scores.mean(0).argmax())
    assert estimate_chosen(scores, best).low > 0.05


def test_of_a_single_candidate_the_interval_is_nearly_the_usual_one() -> None:
    scores = np.random.default_rng(1).normal(0.1, 0.3, 200)
    np.testing.assert_allclose(estimate_chosen(scores[:, None], 0), estimate_mean(scores), atol=0.004)


def test_of_few_images_the_interval_of_a_single_candidate_is_students() -> None:
    scores = np.random.default_rng(2).normal(0.1, 0.3, 8)
    mine, theirs = estimate_chosen(scores[:, None], 0), stats.ttest_1samp(scores, 0).confidence_interval()
    assert mine.high - mine.low == pytest.approx(theirs.high - theirs.low, rel=0.03)  # unwidened, it would be 23 % narrower


def test_the_best_of_many_is_judged_by_groups() -> None:
    """Copies of a photo in one group tell no more than the photo; of three photos there is no interval."""
    scores = draw_walks(3, images=12)
    copied, groups = np.repeat(scores, 5, axis=0), [f"g{index // 5:02}" for index in range(60)]
    np.testing.assert_allclose(estimate_chosen(copied, 7, groups=groups), estimate_chosen(scores, 7), rtol=1e-9)
    assert estimate_chosen(copied, 7).high < estimate_chosen(scores, 7).high
    assert estimate_chosen(scores[:3], 7).low == -math.inf


def test_candidates_that_never_differ_cost_nothing() -> None:
    scores = draw_walks(5)
    with_equal = np.hstack([scores, np.zeros((len(scores), 3))])
    np.testing.assert_allclose(estimate_chosen(with_equal, 7), estimate_chosen(scores, 7), rtol=1e-12)
    assert estimate_chosen(with_equal, 41) == (0.0, 0.0, 0.0)
