"""What two trainings of one recipe have in common."""

from __future__ import annotations

from typing import Any

from fgbg.config import TrainConfig, flatten

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


def settings_of_recipe(config: TrainConfig) -> dict[str, Any]:
    """The settings that make the recipe, by name as in a file: not seed and fold, nor what says where and how to run."""
    return {name: value for name, value in flatten(config).items() if name not in _NOT_THE_RECIPE}
