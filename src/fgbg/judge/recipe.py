"""What two trainings of one recipe have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgbg.run import Run

# Data are compared by hash, wherever they are stored and whichever list named them.
_NOT_THE_RECIPE = (
    "seed",
    "fold",
    "out",
    "data",
    "only",
    "allow_overlap",
    "device",
    "threads",
    "compile",
    "cuda_graphs",
    "track",
    "selfcheck",
)


def settings_of_recipe(run: Run) -> dict[str, Any]:
    """The settings that make a run's recipe, as `Run.settings`: not seed and fold, nor what says where and how to run."""
    return {name: value for name, value in run.settings().items() if name not in _NOT_THE_RECIPE}


def find_objective(run: Run) -> str:
    """What the threshold of a run was chosen for, which may have been done again since it was trained; empty if unknown."""
    calibration = run.calibration()
    return str(calibration["threshold"]["objective"]) if calibration else ""


def find_changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings in which two differ, with both values; None where one of them has no such setting.

    >>> find_changes({"loss": "own", "ema": 0.0}, {"loss": "bce_dice", "ema": 0.0, "metric": "own"})
    {'loss': ('own', 'bce_dice'), 'metric': (None, 'own')}
    """
    names = dict.fromkeys((*first, *second))
    both = {name: (first.get(name), second.get(name)) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}
