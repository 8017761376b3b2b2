"""What a check found, in a sentence."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One check's outcome. A failed one that `stops` would make the training worthless; any other may be intended."""

    name: str
    passed: bool
    sentence: str  # what was seen; after a failure also what it should be, and the likely cause
    stops: bool = False


def passed(name: str, sentence: str) -> Finding:
    """Nothing is wrong."""
    return Finding(name, True, sentence)


def doubted(name: str, sentence: str) -> Finding:
    """Suspicious, but possibly intended: training goes on."""
    return Finding(name, False, sentence)


def failed(name: str, sentence: str) -> Finding:
    """The training would be worthless."""
    return Finding(name, False, sentence, stops=True)
