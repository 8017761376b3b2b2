"""One model on one photo: the counts from which every score is computed, in validation and in `evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from fgbg.fit import fit_target, resize_target
from fgbg.judge.metrics import Counts, count_pixels
from fgbg.models.ensemble import Ensemble
from fgbg.models.predictor import CHUNK, Answer, Predictor

PhotoAndTarget = tuple[UInt8[Tensor, "_ _ 3"], UInt8[Tensor, "height width"]]
"""Pixels and target (0 ground, 1 object, 255 not judged) of one photo, on any device."""

Scorer = Predictor | Ensemble
"""What can be scored: one model, or several whose probabilities are averaged."""


@dataclass(frozen=True)
class ScoredMask:
    """One photo with a prediction and its counts. Tensors are on one device."""

    pixels: UInt8[Tensor, "_ _ 3"]  # where they were when they were scored
    counts: Counts  # at the photo's own size
    counts_at_size: Counts  # at the training size; a mask that was made elsewhere has only the photo's own
    prediction: Bool[Tensor, "height width"]
    target: UInt8[Tensor, "height width"]

    @property
    def answer_at_size(self) -> UInt8[Tensor, "_ _"]:
        """What is kept of the answer, at the training size: 0 ground … 255 object."""
        return self.prediction.byte() * 255


@dataclass(frozen=True)
class ScoredPhoto(ScoredMask):
    """One photo with a model's answer and its counts, on the model's device.

    For a model of whole photos the training size is a square of the model's size; for one of patches (`--fit crop`) it is
    the photo's size as decoded, which may be reduced.
    """

    probability: Float[Tensor, "height width"]
    logits_at_size: Float[Tensor, "height_at_size width_at_size"]
    target_at_size: UInt8[Tensor, "height_at_size width_at_size"]

    @property
    def answer_at_size(self) -> UInt8[Tensor, "_ _"]:
        """The probability as 0 … 255."""
        return (self.logits_at_size.sigmoid() * 255).round().byte()


def score_mask(
    pixels: UInt8[Tensor, "_ _ 3"], prediction: Bool[Tensor, "height width"], target: UInt8[Tensor, "height width"]
) -> ScoredMask:
    """Score a mask that was made elsewhere: its probability is not known."""
    counts = Counts(*torch.cat(count_pixels(prediction[None], target[None])).tolist())
    return ScoredMask(pixels, counts, counts, prediction, target)


@torch.inference_mode()
def score_photos(predictor: Scorer, photos: Iterable[PhotoAndTarget]) -> Iterator[ScoredPhoto]:
    """Score photos one by one, in order: enlarge the probability to the photo's size first, threshold last."""
    photos = iter(photos)
    while chunk := list(islice(photos, CHUNK)):
        answers = predictor.answer(
            [pixels for pixels, _ in chunk], [(target.shape[0], target.shape[1]) for _, target in chunk]
        )
        for answer, (pixels, target) in zip(answers, chunk, strict=True):
            yield _score_photo(predictor, answer, pixels, target.to(predictor.device))


def _score_photo(
    predictor: Scorer, answer: Answer, pixels: UInt8[Tensor, "_ _ 3"], target: UInt8[Tensor, "height width"]
) -> ScoredPhoto:
    prediction = answer.probability > predictor.threshold
    prediction_at_size = answer.logits_at_size.sigmoid() > predictor.threshold
    if predictor.fit == "crop":
        target_at_size = resize_target(target, prediction_at_size.shape[0], prediction_at_size.shape[1])
    else:
        target_at_size = fit_target(target, predictor.size, predictor.fit)
    pairs = ((prediction, target), (prediction_at_size, target_at_size))
    counts = [torch.cat(count_pixels(predicted[None], truth[None])) for predicted, truth in pairs]
    at_photo_size, at_size = torch.stack(counts).tolist()  # one transfer: on a GPU each waits for all work before it
    return ScoredPhoto(
        pixels=pixels,
        counts=Counts(*at_photo_size),
        counts_at_size=Counts(*at_size),
        probability=answer.probability,
        prediction=prediction,
        target=target,
        logits_at_size=answer.logits_at_size,
        target_at_size=target_at_size,
    )
