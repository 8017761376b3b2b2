"""A run's model, computed by torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fgbg.model_file import ModelHeader
from fgbg.models.predictor import CHUNK, Predictor
from fgbg.ship.photo import AnyPhoto, Photo, open_photo

Shown = TypeVar("Shown", bound=Photo)


class TorchModel:
    """A model that takes a photo and returns the probability of object for each pixel.

    Attributes:
        predictor: The module that computes it.
        header: The model file's header.
        threshold: The probability above which a pixel is object.
    """

    def __init__(self, predictor: Predictor, header: ModelHeader) -> None:
        self.predictor, self.header = predictor, header
        self.threshold = predictor.threshold

    @property
    def one_by_one(self) -> bool:
        """No: torch computes several at once, on all cores or a GPU."""
        return False

    @torch.inference_mode()
    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Args:
            photo: A file, a Pillow image, uint8 RGB (height, width, 3), or an opened `Photo`.

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """
        shown = open_photo(photo)
        return self.predictor(torch.tensor(shown.pixels), (shown.height, shown.width)).cpu().numpy()

    @torch.inference_mode()
    def answer(self, photos: Iterable[Shown]) -> Iterator[tuple[Shown, NDArray[np.float32]]]:
        """Each photo with its probability, in order, computed in the same chunks as when scoring."""
        photos = iter(photos)
        while chunk := list(islice(photos, CHUNK)):
            pixels = [torch.tensor(photo.pixels) for photo in chunk]
            answers = self.predictor.answer(pixels, [(photo.height, photo.width) for photo in chunk])
            for photo, answer in zip(chunk, answers, strict=True):
                yield photo, answer.probability.cpu().numpy()
