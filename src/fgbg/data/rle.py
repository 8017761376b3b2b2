"""A mask as the lengths of its runs: COCO's uncompressed code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of equal values down the columns of (height, width), the first one of ground, and maybe empty.

    >>> encode_runs(np.array([[False, True], [True, True]]))
    [1, 3]
    >>> encode_runs(np.array([[True, False]]))
    [0, 1, 1]
    """
    column_by_column = mask.T.ravel()
    changes = np.flatnonzero(np.diff(column_by_column, prepend=False))
    return np.diff(changes, prepend=0, append=column_by_column.size).tolist()


def decode_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) that `encode_runs` made these lengths of.

    >>> decode_runs([0, 1, 1], 1, 2).tolist()
    [[True, False]]

    Raises:
        ValueError: The lengths are not those of as many pixels.
    """
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T
