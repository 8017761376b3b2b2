"""Predictions that need no learning: a model that scores no better has learnt nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgbg.data.augment_table import LUMA


def predict_foreground(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Object everywhere: bool (height, width)."""
    return np.ones(pixels.shape[:2], bool)


def predict_otsu(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Split the photo's grey levels by Otsu's threshold; object is the side that touches the frame less.

    Source: Otsu 1979. The threshold maximises the variance between the two sides.

    Returns:
        bool (height, width).
    """
    grey = (pixels @ LUMA).round().astype(np.uint8)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below = share.cumsum()
    moment = (share * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below - moment) ** 2 / (below * (1 - below))
    bright = grey > np.nan_to_num(between).argmax()
    frame = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return ~bright if frame.mean() > 0.5 else bright
