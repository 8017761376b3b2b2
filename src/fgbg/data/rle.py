"""Run-length encoding of masks: COCO's uncompressed lists, and the text that COCO packs them into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of equal values down the columns of (height, width); the first run is ground, maybe empty.

    >>> encode_runs(np.array([[False, True], [True, True]]))
    [1, 3]
    >>> encode_runs(np.array([[True, False]]))
    [0, 1, 1]
    """
    column_by_column = mask.T.ravel()
    changes = np.flatnonzero(np.diff(column_by_column, prepend=False))
    return np.diff(changes, prepend=0, append=column_by_column.size).tolist()


def decode_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) with these run lengths: the inverse of `encode_runs`.

    >>> decode_runs([0, 1, 1], 1, 2).tolist()
    [[True, False]]

    Raises:
        ValueError: The lengths do not add up to the number of pixels.
    """
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def unpack_runs(packed: str | bytes) -> list[int]:
    """Decode the run lengths in COCO's compressed text.

    A number is written in groups of five bits, lowest first, each as one character counted from "0", with a sixth bit set
    if another group follows. From the fourth length on, the number is the difference to the length two before.

    >>> unpack_runs("123")
    [1, 2, 3]

    Raises:
        ValueError: It is not such a text.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in packed.encode() if isinstance(packed, str) else packed:
        group = code - ord("0")
        if not 0 <= group < 64:
            raise ValueError("its packed run lengths hold characters that COCO does not write")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:  # the sign
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its packed run lengths end within a number")
    return lengths
