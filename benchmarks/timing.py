"""Time two or more ways of doing the same work in turn, so that drifts in the machine's speed affect them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from fgbg.engine import name_cpu


def images_per_second(ways: dict[str, Callable[[], int]], *, rounds: int) -> dict[str, list[float]]:
    """Run every way in turn, `rounds` times after one warm-up round; each returns its number of images."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            images = work()
            if number:
                rates[name].append(images / (time.perf_counter() - start))
    return rates


def ratio(rates: dict[str, list[float]], part: str, whole: str) -> str:
    """Median, minimum and maximum of the ratio, round by round."""
    pairs = [a / b for a, b in zip(rates[part], rates[whole], strict=True)]
    return f"{statistics.median(pairs):.3f} (rounds: {min(pairs):.3f} to {max(pairs):.3f})"


def describe_machine() -> str:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else name_cpu()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
