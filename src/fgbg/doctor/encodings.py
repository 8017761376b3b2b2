"""One mask encoding for the set, also where some files do not fit it: then they are named, and the rest is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgbg.data.masks import TRIMAP, ZERO_255, ZERO_ONE, MaskEncoding, understand_masks
from fgbg.errors import UserError

COMMON = (ZERO_255, ZERO_ONE, TRIMAP)


class Settled(NamedTuple):
    """The set's encoding (None where nothing fits), and of the ids whose masks deviate what they hold."""

    encoding: MaskEncoding | None
    deviating: Mapping[str, str]
    sentence: str = ""  # why nothing fits


def settle_encoding(
    histograms: Mapping[str, NDArray[np.int64]], told: MaskEncoding | None, object_values: Sequence[int] = ()
) -> Settled:
    """Decide how the masks are encoded, from each one's (256,) pixel counts by id.

    A set that fits no encoding as a whole takes the one that more than half of its masks fit.

    Args:
        histograms: Of the masks that can be read.
        told: What the layout says.
        object_values: What the user says.

    Raises:
        UserError: An object value that no mask holds.
    """
    if not histograms:
        return Settled(told, {})
    total = np.sum(list(histograms.values()), axis=0)
    sentence = ""
    if object_values:
        told = understand_masks(total, object_values)
    elif told is None:
        try:
            told = understand_masks(total)
        except UserError as error:
            told, sentence = _find_common(list(histograms.values())), str(error)
    if told is None:
        return Settled(None, {}, sentence)
    odd = {name: histogram for name, histogram in histograms.items() if not _fits(told, histogram)}
    return Settled(told, {name: _say_values(histogram) for name, histogram in odd.items()})


def _find_common(histograms: Sequence[NDArray[np.int64]]) -> MaskEncoding | None:
    """The encoding that more than half of the masks fit; masks that hold its object come before those that do not."""

    def count(encoding: MaskEncoding) -> tuple[int, int]:
        fitting = [histogram for histogram in histograms if _fits(encoding, histogram)]
        return len(fitting), sum(bool(histogram[list(encoding.object_values)].any()) for histogram in fitting)

    best = max(COMMON, key=count)
    return best if 2 * count(best)[0] > len(histograms) else None


def _fits(encoding: MaskEncoding, histogram: NDArray[np.int64]) -> bool:
    known = np.zeros(256, bool)
    known[[*encoding.ground_values, *encoding.object_values, *encoding.band_values]] = True
    return not histogram[~known].any()


def _say_values(histogram: NDArray[np.int64]) -> str:
    values = np.flatnonzero(histogram)
    shown = ", ".join(map(str, values[:6]))
    return f"{{{shown}, … {len(values)} in all}}" if len(values) > 6 else f"{{{shown}}}"
