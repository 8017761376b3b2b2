"""One mask encoding for the set, even if some files do not fit it: those are reported, and the rest is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgbg.data.mask_files import EMPTY, LARGE
from fgbg.data.masks import (
    NEAR_BINARY,
    NONZERO,
    TRIMAP,
    ZERO_255,
    ZERO_ONE,
    MaskEncoding,
    check_places,
    say_even_grey,
    say_values,
    understand_masks,
)
from fgbg.errors import UserError
from fgbg.words import ObjectValue

COMMON = (ZERO_255, ZERO_ONE, TRIMAP)


class Stored(NamedTuple):
    """The (256,) pixel counts of one mask, how its values are stored, as in `fgbg.data.mask_files`, and `find_even_grey`."""

    histogram: NDArray[np.int64]
    place: str
    even_grey: int = 0


class Settled(NamedTuple):
    """The set's encoding (None if nothing fits), and by id how the masks that do not fit it deviate."""

    encoding: MaskEncoding | None
    deviating: Mapping[str, str]
    sentence: str = ""  # why nothing fits


def settle_encoding(
    masks: Mapping[str, Stored], told: MaskEncoding | None, object_values: Sequence[ObjectValue] = ()
) -> Settled:
    """Decide how the masks are encoded.

    A set that fits no encoding as a whole takes the one that more than half of its masks fit, if these fit it as a set.

    Args:
        masks: The masks that can be read, by id.
        told: The encoding that the layout determines, if any.
        object_values: Values that the user says are object, or `nonzero`.

    Raises:
        UserError: An object value that no mask holds.
    """
    deviating = _find_other_places(masks)
    alike = {name: mask for name, mask in masks.items() if name not in deviating}
    if not alike:
        return Settled(told, deviating)
    total = np.sum([mask.histogram for mask in alike.values()], axis=0)
    large = next((f"mask of {name}" for name, mask in alike.items() if mask.place == LARGE), "")
    sentence = ""
    if object_values:
        told = understand_masks(total, object_values, large=large)
    elif told is None:
        try:
            told = understand_masks(total, large=large)
        except UserError as error:
            told, sentence = _find_common(list(alike.values())), str(error)
    if told is None:
        return Settled(None, deviating, sentence)
    deviating |= {name: _say_values(mask, told) for name, mask in alike.items() if not _fits(told, mask)}
    return Settled(told, deviating)


def _say_values(mask: Stored, told: MaskEncoding) -> str:
    """What a mask holds that does not fit the set's encoding."""
    if mask.place == LARGE:
        return f"it holds {LARGE}"
    if told == NEAR_BINARY and mask.even_grey:
        return f"it {say_even_grey(mask.even_grey)}"
    return f"it holds {say_values(np.flatnonzero(mask.histogram).tolist())}"


def _find_other_places(masks: Mapping[str, Stored]) -> dict[str, str]:
    """Ids of masks whose way of storing the object contradicts the most common one of the set, and how."""
    counts = Counter(mask.place for mask in masks.values() if mask.place != EMPTY)
    usual = counts.most_common(1)[0][0] if counts else EMPTY
    contradicting = set()
    for place in {mask.place for mask in masks.values()} - {usual}:
        try:
            check_places({usual: "", place: ""})
        except UserError:
            contradicting.add(place)
    return {
        name: f"it stores the object as {mask.place}, others as {usual}"
        for name, mask in masks.items()
        if mask.place in contradicting
    }


def _find_common(masks: Sequence[Stored]) -> MaskEncoding | None:
    """The encoding that most masks fit, if more than half do; on ties, the one whose object occurs in more masks.

    None also where these masks by themselves leave it open: 1 and 2 fit a trimap, and two classes as well.
    """

    def find_fitting(encoding: MaskEncoding) -> list[NDArray[np.int64]]:
        return [mask.histogram for mask in masks if _fits(encoding, mask)]

    def count(encoding: MaskEncoding) -> tuple[int, int]:
        fitting = find_fitting(encoding)
        return len(fitting), sum(bool(histogram[list(encoding.object_values)].any()) for histogram in fitting)

    fitting = find_fitting(max(COMMON, key=count))
    if 2 * len(fitting) <= len(masks):
        return None
    try:
        return understand_masks(np.sum(fitting, axis=0))
    except UserError:
        return None


def _fits(encoding: MaskEncoding, mask: Stored) -> bool:
    if mask.place == LARGE and encoding != NONZERO:
        return False
    try:
        encoding.check_values(mask.histogram, even_grey=mask.even_grey, name="mask")
    except UserError:
        return False
    return True
