"""A clock that jumps, as it does when a laptop wakes up or a time server corrects it, changes no number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drill import Fault, Place, assert_same_result

YEAR = 365 * 86_400.0


class Jumping:
    """An hour to and fro at every look, and ten years back after the hundredth."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, seconds: float) -> float:
        self.looks += 1
        return seconds + (3600 if self.looks % 2 else -3600) - (10 * YEAR if self.looks > 100 else 0)


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(place: Place, interrupted: Path, undisturbed: Path) -> None:
    ended = place.run(place.train(interrupted, "--resume"), Fault(clock=Jumping()))
    assert ended.status == 0, ended.said
    assert_same_result(interrupted, undisturbed)


@pytest.mark.slow
def test_files_from_the_future_are_as_good_as_others(place: Place, interrupted: Path, undisturbed: Path) -> None:
    for folder in (interrupted, place.cache):
        for path in folder.rglob("*"):
            os.utime(path, (5e9, 5e9))
    ended = place.run(place.train(interrupted, "--resume"))
    assert ended.status == 0, ended.said
    assert "damaged" not in ended.said
    assert_same_result(interrupted, undisturbed)
