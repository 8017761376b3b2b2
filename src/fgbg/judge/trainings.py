"""Tests of two recipes, whose sample is trainings: their seeds, on photos that are a sample too, or the folds of a
cross-validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

from fgbg.judge.bootstrap import Estimate
from fgbg.judge.comparison import Pair
from fgbg.rows import TESTED_IN, ScoreRow

FEWEST_SEEDS = 3


class TrainingsTest(NamedTuple):
    """A difference of two recipes with its 95 % interval and its p-value."""

    difference: Estimate
    p: float
    freedom: float  # degrees of freedom of the interval; infinite where nothing varies
    photo_share: float = 0.0  # of the variance, 0 to 1: what other photos would change, and not other trainings


def compare_recipes(
    a: Float[NDArray[np.float64], "seeds_a photos"],
    b: Float[NDArray[np.float64], "seeds_b photos"],
    *,
    groups: Sequence[str] | None = None,
) -> TrainingsTest:
    """Mean of b minus mean of a, where other seeds and other photos are both to give the same answer.

    Every seed answers every photo, so that both are random and crossed, as readers and cases are in studies of diagnoses
    (Dorfman, Berbaum and Metz 1992). The variance of the difference is that of the seeds' means, which all had the same
    photos, plus that of the photos' differences, which all had the same seeds, less what both contain: how differently
    photos suit single seeds. Student's t has Satterthwaite's degrees of freedom (1946). An interval over seeds alone holds
    on these very photos only: between recipes that suit photos differently, it finds a difference that other photos do not
    show in up to a third of all cases (`test_recipes_that_are_equal_on_all_photos_are_rarely_told_apart_on_some`).

    Args:
        a, b: Scores, one row for each run of the recipe.
        groups: (photos,) names; photos of one group are not independent.
    """
    count_a, count_b = len(a), len(b)
    mean, units = float(b.mean() - a.mean()), len(set(groups)) if groups else a.shape[1]
    if units < 2:
        return TrainingsTest(Estimate(mean, -math.inf, math.inf), 1.0, math.inf, 1.0)
    of_photos = _variance_of_mean(b.mean(0) - a.mean(0), groups)
    parts = np.array([np.var(a.mean(1), ddof=1) / count_a, np.var(b.mean(1), ddof=1) / count_b, of_photos])
    parts[parts < 1e-24] = 0  # equal to the last digit: no variance, so no uncertainty
    if not parts.any():
        return TrainingsTest(Estimate(mean, mean, mean), 1.0 if abs(mean) < 1e-12 else 0.0, math.inf, 0.0)
    of_seeds = float(parts[:2].sum())
    twice = sum(_variance_of_interaction(side, groups) for side in (a, b))
    variance = max(of_seeds + of_photos - twice, of_seeds, of_photos)  # an estimate, which may come out too small
    freedom = float(parts.sum() ** 2 / (parts**2 / (count_a - 1, count_b - 1, units - 1)).sum())
    error = math.sqrt(variance)
    reach = float(stdtrit(freedom, 0.975)) * error
    p = float(2 * stdtr(freedom, -abs(mean) / error))
    return TrainingsTest(Estimate(mean, mean - reach, mean + reach), p, freedom, float(of_photos / parts.sum()))


def _variance_of_interaction(scores: NDArray[np.float64], groups: Sequence[str] | None) -> float:
    """Of the mean of (seeds, photos) scores: the part of its variance that is neither the seeds' nor the photos'."""
    rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    count = len(scores)
    return sum(_variance_of_mean(row, groups) for row in rest) / (count * (count - 1))


def _variance_of_mean(scores: NDArray[np.float64], groups: Sequence[str] | None) -> float:
    """Of the mean of (photos,) scores, if other photos, or other groups of them, had been drawn."""
    members = np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(members, scores - scores.mean())
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(scores) ** 2)


def compare_seeds(a: NDArray[np.float64], b: NDArray[np.float64]) -> TrainingsTest:
    """Mean of b minus mean of a, by Welch's test (Welch 1947): whatever the seed, on these very photos.

    Args:
        a, b: (seeds,) one number per run.
    """
    if np.ptp(a) == 0 and np.ptp(b) == 0:  # equal to the last digit within each recipe: no variance, so no uncertainty
        gap = float(b[0] - a[0])  # means of 3 and of 5 equal numbers may differ in the last digit
        return TrainingsTest(Estimate(gap, gap, gap), 1.0 if gap == 0 else 0.0, math.inf)
    mean = float(b.mean() - a.mean())
    from scipy.stats import ttest_ind  # takes a second to import; a comparison over photos does not need it

    test = ttest_ind(b, a, equal_var=False)
    interval = test.confidence_interval(0.95)
    difference = Estimate(mean, float(interval.low), float(interval.high))
    return TrainingsTest(difference, float(test.pvalue), float(test.df))


class FoldDifferences(NamedTuple):
    """Two cross-validations over the same folds."""

    differences: NDArray[np.float64]  # (folds,) mean Dice of B minus that of A
    tested_per_trained: float  # photos of a fold for each photo that its model was trained on


def pair_folds(
    a: Mapping[str, ScoreRow], b: Mapping[str, ScoreRow], pairs: Sequence[Pair], folds: Sequence[Mapping[str, Any]]
) -> FoldDifferences | None:
    """The folds of two cross-validations; None if they did not cut the photos alike.

    Args:
        a, b: Their rows, by photo.
        pairs: The photos to compare.
        folds: As the statement of either tells them.
    """
    fold_of, other_fold_of = ({pair.id: rows[pair.id].metadata[TESTED_IN] for pair in pairs} for rows in (a, b))
    if fold_of != other_fold_of or len(set(fold_of.values())) < len(folds):
        return None
    by_fold = {
        fold: [pair.b - pair.a for pair in pairs if fold_of[pair.id] == fold] for fold in sorted(set(fold_of.values()))
    }
    shares = [fold["pairs"] / fold["training_pairs"] for fold in folds]
    return FoldDifferences(np.array([np.mean(differences) for differences in by_fold.values()]), float(np.mean(shares)))


def compare_folds(folds: FoldDifferences, mean: float) -> TrainingsTest:
    """A difference, by the corrected resampled t-test (Nadeau and Bengio 2003).

    The models of two folds were trained on mostly the same photos, so that their scores vary less than those of models
    trained on photos of their own. The correction adds the share of tested to trained photos to the variance of the mean.

    Args:
        folds: The differences of the folds.
        mean: Of all photos; the folds' mean unless they are of different sizes.
    """
    count = len(folds.differences)
    error = float(folds.differences.std(ddof=1)) * math.sqrt(1 / count + folds.tested_per_trained)
    if np.ptp(folds.differences) == 0:
        return TrainingsTest(Estimate(mean, mean, mean), 1.0 if mean == 0 else 0.0, math.inf)
    reach = float(stdtrit(count - 1, 0.975)) * error
    p = float(2 * stdtr(count - 1, -abs(mean) / error))
    return TrainingsTest(Estimate(mean, mean - reach, mean + reach), p, count - 1)
