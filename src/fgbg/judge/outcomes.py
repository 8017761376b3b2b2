"""A small picture of where prediction and truth agree and differ, to be laid over a thumbnail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.words import NOT_JUDGED, OBJECT

OUTCOMES = ("ground", "found", "extra", "missed", "not judged")
"""Meaning of the picture's values 0 to 4: TN, TP, FP, FN, and 255 in the target."""

COLOURS = ((0, 0, 0, 0), (0, 158, 115, 110), (213, 94, 0, 215), (0, 114, 178, 215), (128, 128, 128, 130))
"""RGBA of each value: hues that are safe for colour blindness (after Okabe & Ito), and let the photo show through."""


def make_outcome(prediction: NDArray[np.bool_], target: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """The outcome of each pixel as a palette picture with transparency, reduced (nearest) to `size` (width, height).

    Args:
        prediction: bool (height, width).
        target: uint8 (height, width): 0 ground, 1 object, 255 not judged.
    """
    truth = target == OBJECT
    values = np.where(prediction, np.where(truth, 1, 2), np.where(truth, 3, 0)).astype(np.uint8)
    values[target == NOT_JUDGED] = 4
    picture = Image.fromarray(values, "L").resize(size, Image.Resampling.NEAREST)
    picture.putpalette([channel for colour in COLOURS for channel in colour[:3]])
    return picture


def save_outcome(picture: Image.Image, path: Path) -> None:
    """Write an outcome as a palette PNG with transparency."""
    picture.save(path, transparency=bytes(colour[3] for colour in COLOURS), optimize=True)
