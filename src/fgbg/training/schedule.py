"""What changes over a run: learning rate and image size. Both depend on the step or epoch alone."""

from __future__ import annotations

import math

from fgbg.config import TrainConfig
from fgbg.words import Schedule

RISE = 0.3  # share of a one-cycle run in which the learning rate rises
FIRST_RATE = 1 / 25  # of the peak, at the start of one cycle
LAST_RATE = FIRST_RATE / 1e4  # of the peak, at its end; all three are the defaults of torch.optim.lr_scheduler.OneCycleLR


def rate_at(step: int, steps: int, *, schedule: Schedule, warmup_steps: int = 0) -> float:
    """The learning rate of a step (from 0) of a run of `steps`, as a share of the peak.

    It depends on nothing that came before, so that a resumed run gets the same.

    constant: 1. cosine: half a cosine from 1 towards 0. one_cycle: up from 1/25 in the first 30 % and down to almost 0,
    both along half cosines (Smith and Topin 2018, as torch's OneCycleLR). The first two start with a linear warm-up of
    `warmup_steps`; one cycle is its own warm-up.

    >>> [round(rate_at(step, 4, schedule="cosine"), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    >>> [rate_at(step, 4, schedule="constant", warmup_steps=2) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    if schedule == "one_cycle":
        peak = RISE * steps - 1
        if step < peak:
            return _bend(FIRST_RATE, 1.0, step / peak)
        return _bend(1.0, LAST_RATE, (step - peak) / (steps - 1 - peak))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    return _bend(1.0, 0.0, (step - warmup_steps) / max(1, steps - warmup_steps))


def size_in(epoch: int, config: TrainConfig) -> int:
    """The image edge of an epoch: from `start_size` to `size` over the first half of the run, in steps of 32 px.

    A run of one epoch has no time to grow and is trained at `size`.

    >>> [size_in(epoch, TrainConfig(start_size=64, size=128, epochs=8)) for epoch in (1, 2, 3, 4, 5, 8)]
    [64, 64, 96, 96, 128, 128]
    """
    if not config.start_size or config.epochs == 1:
        return config.size
    progress = min(1.0, (epoch - 1) / (config.epochs / 2))
    grown = (config.size - config.start_size) * progress
    return config.size if progress == 1 else config.start_size + int(grown / 32) * 32


def _bend(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
