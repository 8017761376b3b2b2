"""Tests of two recipes, whose sample is trainings: their seeds, or the folds of a cross-validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
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


def compare_seeds(a: NDArray[np.float64], b: NDArray[np.float64]) -> TrainingsTest:
    """Mean of b minus mean of a, by Welch's test (Welch 1947).

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
