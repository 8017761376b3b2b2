"""What validation photos say about the probabilities: where to threshold them, and whether 0.8 means four times out of five.

Everything is computed from counts of pixels by probability, at the photos' own size, one histogram per photo: the score at
any threshold follows from them without the photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from torch import Tensor

from fgbg.config_rules import check_objective
from fgbg.errors import UserError
from fgbg.judge.bootstrap import FEWEST_UNITS, Estimate, estimate_chosen, estimate_mean
from fgbg.judge.metrics import Counts, dice_of, iou_of
from fgbg.words import NOT_JUDGED, OBJECT

DEFAULT_THRESHOLD = 0.5
CANDIDATES = np.round(np.arange(0.01, 1.0, 0.01), 2)
LOGIT_EDGES = np.linspace(-12, 12, 481)  # bins of 0.05; anything beyond is practically certain
RELIABILITY_BINS = 20


class Histograms(NamedTuple):
    """Pixel counts of one or more photos by probability and truth. Axis -2: ground, object."""

    by_threshold: NDArray[np.int64]  # (photos, 2, candidates + 1): how many candidates lie below the pixel's probability
    by_logit: NDArray[np.int64]  # (2, bins of LOGIT_EDGES), all photos together


def count_probabilities(
    probability: Float[Tensor, "height width"], target: UInt8[Tensor, "height width"]
) -> tuple[Int[Tensor, "2 candidates"], Int[Tensor, "2 bins"]]:
    """Counts of one photo's judged pixels by candidate threshold and by logit, separately for ground and object."""
    judged = target != NOT_JUDGED
    chosen, truth = probability[judged], (target[judged] == OBJECT).long()
    below = torch.bucketize(chosen, torch.tensor(CANDIDATES, dtype=chosen.dtype, device=chosen.device))
    logits = torch.logit(chosen, eps=1e-6).clamp(LOGIT_EDGES[0], LOGIT_EDGES[-1])
    edges = torch.tensor(LOGIT_EDGES[1:-1], dtype=chosen.dtype, device=chosen.device)
    return _count(below, truth, len(CANDIDATES) + 1), _count(torch.bucketize(logits, edges), truth, len(LOGIT_EDGES) - 1)


def _count(bins: Tensor, truth: Tensor, number: int) -> Tensor:
    return torch.bincount(bins + number * truth, minlength=2 * number).reshape(2, number)


class Choice(NamedTuple):
    """A threshold, and why."""

    value: float
    scores: NDArray[np.float64]  # mean of the objective's score over photos, by candidate
    gain: Estimate  # of the best candidate over 0.5, paired by photo
    sentence: str


def choose_threshold(
    by_threshold: NDArray[np.int64], objective: str = "dice", *, groups: Sequence[str] | None = None
) -> Choice:
    """The threshold for an objective, chosen on validation photos.

    - dice, iou: the candidate with the highest mean over photos, if its paired gain over 0.5 excludes 0 (by an interval that
      knows that it is the best of many) and there are FEWEST_UNITS photos or more (groups of photos, where there are
      groups); else 0.5;
    - recall:R: the highest candidate whose mean recall, over photos with an object, is at least R;
    - none: 0.5.

    Finding nothing where nothing is counts as 1 here, by whatever rule the photos are scored.

    Args:
        by_threshold: (photos, 2, candidates + 1), as in `Histograms`.
        objective: See `fgbg.config_rules.OBJECTIVES`.
        groups: (photos,) the units that the bootstrap draws, see `find_groups`.
    """
    counts = count_at_candidates(by_threshold)
    if check_objective(objective).startswith("recall"):
        return _choose_for_recall(counts, float(objective.partition(":")[2]), groups)
    scores = {"iou": iou_of}.get(objective, dice_of)(counts)
    means = scores.mean(0)
    # Of tied candidates the one nearest to 0.5: nothing shows that a plateau's middle is better than the usual default.
    best = min(np.flatnonzero(means == means.max()), key=lambda place: abs(CANDIDATES[place] - DEFAULT_THRESHOLD))
    half = int(np.flatnonzero(CANDIDATES == DEFAULT_THRESHOLD)[0])
    gain = estimate_chosen(scores - scores[:, half : half + 1], int(best), groups=groups)
    name = {"iou": "IoU"}.get(objective, "Dice")
    told = f"{CANDIDATES[best]:g} gains {gain} mean {name} on {len(scores)} validation photos"
    if objective == "none":
        return Choice(DEFAULT_THRESHOLD, means, gain, f"0.5, as asked for; {told}")
    units, kind = (len(set(groups)), "groups of validation photos") if groups else (len(scores), "validation photos")
    if units < FEWEST_UNITS:
        return Choice(DEFAULT_THRESHOLD, means, gain, f"0.5 stays: {units} {kind} are too few to choose on")
    if gain.low > 0:
        return Choice(float(CANDIDATES[best]), means, gain, f"{told} over 0.5")
    if best == half:
        return Choice(
            DEFAULT_THRESHOLD, means, gain, f"0.5 is the best of {len(CANDIDATES)} on {len(scores)} validation photos"
        )
    return Choice(DEFAULT_THRESHOLD, means, gain, f"0.5 stays: {told}, which may be nothing")


def _choose_for_recall(counts: Counts, wanted: float, groups: Sequence[str] | None) -> Choice:
    objects = counts.TP + counts.FN
    with_object = objects[:, 0] > 0
    if not with_object.any():
        raise UserError("--threshold-for recall: no validation photo has an object to recall")
    recalls = counts.TP[with_object] / objects[with_object]
    means = recalls.mean(0)
    half = int(np.flatnonzero(CANDIDATES == DEFAULT_THRESHOLD)[0])
    enough = np.flatnonzero(means >= wanted - 1e-9)  # a mean of recalls that are all 0.95 may be a digit below it
    place = int(enough[-1]) if len(enough) else 0
    known = [group for group, counted in zip(groups, with_object, strict=True) if counted] if groups else None
    gain = estimate_mean(recalls[:, place] - recalls[:, half], groups=known)
    reach = "the highest" if len(enough) else f"none reaches {wanted:g}; the lowest"
    sentence = f"{CANDIDATES[place]:g}, {reach} with mean recall {means[place]:.4f} on {with_object.sum()} validation photos"
    return Choice(float(CANDIDATES[place]), means, gain, sentence)


def count_at_candidates(by_threshold: NDArray[np.int64]) -> Counts:
    """Counts (photos, candidates) of each photo at each candidate threshold."""
    # A pixel above k candidates is object at the first k of them.
    above = by_threshold[:, :, ::-1].cumsum(2)[:, :, ::-1][:, :, 1:]
    total = by_threshold.sum(2)[:, :, None]
    rest = total - above
    return Counts(TP=above[:, 1], FP=above[:, 0], FN=rest[:, 1], TN=rest[:, 0])


class Reliability(NamedTuple):
    """How often pixels are object, by bins of their probability."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pixels: NDArray[np.int64]
    mean_probability: NDArray[np.float64]  # NaN in an empty bin
    object_share: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: |mean_probability - object_share|, mean over pixels (Naeini et al. 2015)."""
        gaps = np.nan_to_num(np.abs(self.mean_probability - self.object_share))
        return float(gaps @ self.pixels / self.pixels.sum())


def measure_reliability(by_logit: NDArray[np.int64], temperature: float = 1.0) -> Reliability:
    """Reliability over equal bins of probability, all pixels pooled, with logits divided by a temperature."""
    probabilities = expit(_LOGITS / temperature)
    bins = np.minimum((probabilities * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    pixels, objects, summed = (
        np.bincount(bins, weights, RELIABILITY_BINS)
        for weights in (by_logit.sum(0), by_logit[1], by_logit.sum(0) * probabilities)
    )
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    with np.errstate(invalid="ignore"):
        return Reliability(edges[:-1], edges[1:], pixels.astype(np.int64), summed / pixels, objects / pixels)


def fit_temperature(by_logit: NDArray[np.int64]) -> float:
    """The temperature by which to divide logits so that probabilities are calibrated; above 1, the model was overconfident.

    Minimises the mean negative log-likelihood of the pixels (Guo et al. 2017).
    """

    def surprise(log_temperature: float) -> float:
        scaled = _LOGITS / np.exp(log_temperature)
        return float(by_logit[1] @ np.logaddexp(0, -scaled) + by_logit[0] @ np.logaddexp(0, scaled)) / by_logit.sum()

    return float(np.exp(minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x))


_LOGITS = (LOGIT_EDGES[:-1] + LOGIT_EDGES[1:]) / 2


def describe_calibration(
    histograms: Histograms, objective: str, pairs: int, split: str, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Everything above, as stored in calibration.json.

    Raises:
        UserError: Not a single pixel is judged, or the objective asks for the recall of objects and there are none.
    """
    if not histograms.by_logit.any():
        raise UserError(f"no pixel of the {pairs} {split} photos is judged: their masks hold nothing but a border to ignore")
    choice = choose_threshold(histograms.by_threshold, objective, groups=groups)
    before = measure_reliability(histograms.by_logit)
    temperature = fit_temperature(histograms.by_logit)
    return {
        "split": split,
        "pairs": pairs,
        "bins": [dict(zip(before._fields, _plain(values), strict=True)) for values in zip(*before, strict=True)],
        "ece": before.error,
        "temperature": temperature,
        "ece_after": measure_reliability(histograms.by_logit, temperature).error,
        "threshold": {
            "value": choice.value,
            "objective": objective,
            "candidates": CANDIDATES.tolist(),
            "scores": choice.scores.tolist(),
            "gain": list(choice.gain.to_json().values()),
            "sentence": choice.sentence,
        },
    }


def _plain(values: Sequence[Any]) -> list[float | int | None]:
    """None for NaN, which JSON lacks."""
    return [None if np.isnan(value) else value.item() for value in values]
