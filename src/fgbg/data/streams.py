"""Random numbers that depend on a seed, an epoch and a purpose, and on nothing else.

A counter-based generator has no state to carry along: the numbers of epoch 17 are the same whether epochs 1 to 16 ran in
this process, in another one, or never. That is what makes a resumed run equal to an uninterrupted one.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for. Values are part of what a seed means: append, never renumber."""

    AUGMENT = 0
    ORDER = 1
    NETWORK = 2
    SPLIT = 3
    BOOTSTRAP = 4
    PATCH = 5
    MIX = 6


def open_stream(seed: int, epoch: int, purpose: Purpose) -> np.random.Generator:
    """The random stream of one purpose in one epoch. `seed` and `epoch` are non-negative.

    >>> first = open_stream(0, 3, Purpose.ORDER).random()
    >>> first == open_stream(0, 3, Purpose.ORDER).random()
    True
    >>> first == open_stream(0, 3, Purpose.AUGMENT).random()
    False
    """
    # The purpose sits in the highest word of the counter: streams of 2**192 blocks each cannot overlap.
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, int(purpose)]))
