"""Does a user's own metric rank predictions as Dice does, where the ranking is beyond doubt?"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.training.loop import Metric
from fgbg.words import NOT_JUDGED

EDGE = 64  # pixels of the known photo
TOO_KIND = 0.9  # of the way from the worst score to the best one


def check_metric(metric: Metric, device: torch.device, *, unjudged: bool) -> Finding:
    """A perfect prediction is best; an empty one is bad; false positives cost; unjudged pixels do not count.

    Args:
        metric: The user's.
        device: The device on which it is called in training.
        unjudged: Whether 255 occurs in this training's targets.
    """
    name = "own metric"
    truth = _draw_rectangle(device, 40, 52)
    target = truth.to(torch.uint8)
    alarms = truth | _draw_rectangle(device, 4, 34)
    perfect, nothing, contrary, invented = (
        float(metric(prediction, target)) for prediction in (truth, torch.zeros_like(truth), ~truth, alarms)
    )
    if not math.isfinite(nothing):
        return failed(
            name,
            f"the metric gives {nothing} where nothing of an object is found, so that no epoch could be chosen by its mean: "
            "let it return what such a photo counts as",
        )
    told = f"{perfect:.3g} for a perfect prediction"
    if math.isnan(perfect) or perfect <= contrary:
        return failed(
            name,
            f"the metric gives {told} and {contrary:.3g} for its contrary: higher must be better, "
            "or the worst epoch is kept as the best",
        )
    if nothing > contrary + TOO_KIND * (perfect - contrary):
        return doubted(
            name,
            f"the metric gives {told} and {nothing:.3g} where nothing of a small object is found: Dice gives 1 and 0, "
            "so this is probably pixel accuracy, which a large ground makes high",
        )
    if invented >= perfect:
        return doubted(
            name,
            f"the metric gives {told} and {invented:.3g} with six times the object invented beside it: false positives "
            "should lower it, so it probably counts only inside the true mask",
        )
    if unjudged and _counts_unjudged(metric, truth):
        return doubted(name, "pixels that are not judged (255 in the target) change the metric: it should leave them out")
    return passed(name, f"{told}, {nothing:.3g} for nothing found, {invented:.3g} with false alarms")


def _counts_unjudged(metric: Metric, truth: Bool[Tensor, "edge edge"]) -> bool:
    target = truth.to(torch.uint8)
    target[:8] = NOT_JUDGED
    claimed = truth.clone()
    claimed[:8] = True
    return not math.isclose(float(metric(truth, target)), float(metric(claimed, target)), rel_tol=1e-6)


def _draw_rectangle(device: torch.device, start: int, end: int) -> Bool[Tensor, "edge edge"]:
    mask = torch.zeros(EDGE, EDGE, dtype=torch.bool, device=device)
    mask[start:end, start:end] = True
    return mask
