"""Optional steps after the network; `fgbg refine` measures on a run's own photos whether they help.

A step takes a probability and the photo, and returns a probability: what it removes becomes 0, what it adds 1.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.augment_table import LUMA
from fgbg.data.parallel import map_in_order
from fgbg.errors import UserError
from fgbg.judge.metrics import AND_DIAGONALS
from fgbg.model_file import ModelHeader
from fgbg.ship.photo import AnyPhoto, Photo, open_photo

if TYPE_CHECKING:
    from fgbg.ship.load import Model

Shown = TypeVar("Shown", bound=Photo)
Probability = NDArray[np.float32]

SPECK = 1e-3  # of the photo's area: parts and holes below it are specks
AT_A_TIME = 4  # answers that wait: bounds memory
EDGE_CELLS = 2  # how far `edges` looks, in pixels of the network's own answer, which resolve no finer outline
EDGE_CONTRAST = 0.03  # of the photo, 0 to 1: edges well above it are followed, anything below counts as flat


@dataclass(frozen=True)
class View:
    """What a step may look at besides the probability."""

    pixels: NDArray[np.uint8]  # RGB (height, width, 3)
    threshold: float  # a pixel is object if its probability exceeds it
    cell: float  # how many of these pixels, along an edge, one pixel of the network's answer covers


def keep_largest(probability: Probability, view: View) -> Probability:
    """Drop every part of the object but the largest; of equal ones, the first in row order is kept."""
    from scipy import ndimage

    labels, count = ndimage.label(probability > view.threshold, AND_DIAGONALS)
    if count < 2:
        return probability
    areas = np.bincount(labels.ravel())[1:]
    return np.where((labels > 0) & (labels != areas.argmax() + 1), np.float32(0), probability)


def fill_holes(probability: Probability, view: View) -> Probability:
    """Add what the object encloses."""
    from scipy import ndimage

    inside = probability > view.threshold
    return np.where(ndimage.binary_fill_holes(inside) & ~inside, np.float32(1), probability)


def drop_specks(probability: Probability, view: View) -> Probability:
    """Drop parts, and fill holes, of less than `SPECK` of the photo."""
    from scipy import ndimage

    least = SPECK * probability.size
    refined = probability
    for is_object, value in ((True, 0), (False, 1)):
        neighbours = AND_DIAGONALS if is_object else None  # ground does not pass between pixels of one part
        labels, _ = ndimage.label((refined > view.threshold) == is_object, neighbours)
        areas = np.bincount(labels.ravel())
        is_speck = areas < least
        is_speck[0] = False  # label 0 is the other class
        if is_speck[1:].all():
            continue  # nothing larger would be left
        refined = np.where(is_speck[labels], np.float32(value), refined)
    return refined


def follow_edges(probability: Probability, view: View) -> Probability:
    """Move soft outlines onto edges of the photo (guided filter, He et al. 2013, by the photo's grey)."""
    from scipy import ndimage

    reach = 2 * max(1, round(EDGE_CELLS * view.cell)) + 1

    def blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred: NDArray[np.float32] = ndimage.uniform_filter(values, reach, mode="nearest")
        return blurred

    grey = (view.pixels @ LUMA / 255).astype(np.float32)
    grey_mean, mean = blur(grey), blur(probability)
    contrast = blur(grey * grey) - grey_mean**2 + np.float32(EDGE_CONTRAST**2)
    slope = (blur(grey * probability) - grey_mean * mean) / contrast
    offset = mean - slope * grey_mean
    return np.clip(blur(slope) * grey + blur(offset), 0, 1)


STEPS: dict[str, Callable[[Probability, View], Probability]] = {
    "largest": keep_largest,
    "fill": fill_holes,
    "specks": drop_specks,
    "edges": follow_edges,
}


def parse_steps(text: str, flag: str = "--refine") -> tuple[str, ...]:
    """The steps in a comma-separated list that was given by a flag; none for an empty one.

    >>> parse_steps("largest, fill")
    ('largest', 'fill')

    Raises:
        UserError: A step is not known, or scipy is not installed.
    """
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    for name in names:
        if name not in STEPS:
            raise UserError(f"{flag} {text}: {name or 'nothing'} is no step; there are {', '.join(STEPS)}")
    if names and importlib.util.find_spec("scipy") is None:
        raise UserError(f"{flag} needs scipy: pip install 'fgbg[refine]'")
    return names


def measure_cell(header: ModelHeader, height: int, width: int) -> float:
    """How many of a photo's pixels, along an edge, one pixel of the network's answer covers."""
    if header.fit == "crop":
        return 1.0
    covered = math.sqrt(height * width) if header.fit == "squash" else max(height, width)
    return max(1.0, covered / header.size)


class Refined:
    """A model whose answers go through steps, in the order given.

    Args:
        model: The model that answers.
        steps: Keys of `STEPS`.
        threshold: The probability above which a pixel is object, to steps and to readers; by default the model's.

    Attributes:
        header: The model's.
        steps: As given.
        threshold: As given, or the model's.
    """

    def __init__(self, model: Model, steps: Sequence[str], threshold: float | None = None) -> None:
        self.model, self.steps = model, tuple(steps)
        self.header = model.header
        self.threshold = model.threshold if threshold is None else threshold

    def at(self, threshold: float) -> Refined:
        """The same model and steps, at another threshold."""
        return Refined(self.model, self.steps, threshold)

    @property
    def one_by_one(self) -> bool:
        """As the model's."""
        return self.model.one_by_one

    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """
        shown = open_photo(photo)
        return self.refine(shown.pixels, self.model(shown))

    def refine(self, pixels: NDArray[np.uint8], probability: Probability) -> Probability:
        """The probability (height, width) after all steps; the RGB pixels may have been reduced on decode."""
        answer_size, (height, width) = probability.shape, pixels.shape[:2]
        seen = refined = _resize(probability, (height, width))
        view = View(pixels, self.threshold, measure_cell(self.header, height, width))
        for step in self.steps:
            refined = STEPS[step](refined, view)
        if refined.shape == answer_size:
            return refined
        # Where the steps change nothing, the answer stays what it was: at its own size it is finer.
        is_near_change = _resize((refined != seen).astype(np.float32), answer_size) > 0
        return np.where(is_near_change, _resize(refined, answer_size), probability)

    def answer(self, photos: Iterable[Shown]) -> Iterator[tuple[Shown, NDArray[np.float32]]]:
        """Each photo with its probability, in order; steps are computed while the model goes on."""

        def refine(answered: tuple[Shown, NDArray[np.float32]]) -> tuple[Shown, NDArray[np.float32]]:
            photo, probability = answered
            return photo, self.refine(photo.pixels, probability)

        answers = self.model.answer(photos)
        return map_in_order(refine, answers, in_flight=AT_A_TIME, weigh=lambda answered: answered[0].weight)


def _resize(probability: Probability, size: tuple[int, ...]) -> Probability:
    """Resize if needed: steps see a photo that was reduced on decode, and its answer, at the decoded size."""
    if probability.shape == size:
        return probability
    height, width = size
    return np.asarray(Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR))
