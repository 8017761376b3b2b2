"""One model on one photo: the counts from which every score is made. Validation and `evaluate` both come here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fgbg.fit import fit_target
from fgbg.judge.metrics import Counts, count_pixels
from fgbg.models.ensemble import Ensemble
from fgbg.models.predictor import CHUNK, Predictor

PhotoAndTarget = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Pixels (height, width, 3) and target (height, width): 0 ground, 1 object, 255 not judged."""

Scorer = Predictor | Ensemble
"""What can be scored: one model, or several whose probabilities are averaged."""


@dataclass(frozen=True)
class ScoredPhoto:
    """What a model made of one photo. Tensors are on the model's device."""

    pixels: NDArray[np.uint8]
    counts: Counts  # at the photo's own size
    counts_at_size: Counts  # at the training size
    probability: Float[Tensor, "height width"]
    prediction: Bool[Tensor, "height width"]
    target: UInt8[Tensor, "height width"]
    square_logits: Float[Tensor, "size size"]
    square_target: UInt8[Tensor, "size size"]


@torch.inference_mode()
def score_photos(predictor: Scorer, photos: Iterable[PhotoAndTarget]) -> Iterator[ScoredPhoto]:
    """Score photos one by one, in order: enlarge the probability to the photo first, threshold last."""
    photos = iter(photos)
    while chunk := list(islice(photos, CHUNK)):
        logits = predictor.square_logits([torch.tensor(pixels) for pixels, _ in chunk])
        for square, (pixels, target) in zip(logits, chunk, strict=True):
            yield _score_photo(predictor, square, pixels, torch.tensor(target).to(square.device))


def _score_photo(
    predictor: Scorer,
    logits: Float[Tensor, "size size"],
    pixels: NDArray[np.uint8],
    target: UInt8[Tensor, "height width"],
) -> ScoredPhoto:
    square = logits.sigmoid()
    probability = predictor.enlarge(square, target.shape[0], target.shape[1])
    prediction = probability > predictor.threshold
    small = fit_target(target, predictor.size, predictor.fit)
    return ScoredPhoto(
        pixels=pixels,
        counts=count_pixels(prediction, target),
        counts_at_size=count_pixels(square > predictor.threshold, small),
        probability=probability,
        prediction=prediction,
        target=target,
        square_logits=logits,
        square_target=small,
    )
