"""Runs that are to be told of together: trainings of one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig
from fgbg.judge.recipe import settings_of_recipe
from fgbg.run import Run
from fgbg.storage import is_run


@dataclass(frozen=True)
class Recipe:
    """Runs that differ in nothing but their seed, their fold, and where they ran."""

    runs: Mapping[str, Run]  # by label

    @property
    def first(self) -> Run:
        """The run whose settings stand for all."""
        return next(iter(self.runs.values()))

    @cached_property
    def config(self) -> TrainConfig:
        """Its settings."""
        return self.first.config

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Where and with what the first run was trained."""
        return self.first.environment() or {}

    @property
    def objectives(self) -> set[str]:
        """What the thresholds of its models were chosen for; `none` where none was chosen."""
        told = [run.calibration() for run in self.runs.values()]
        return {each["threshold"]["objective"] if each else "none" for each in told}

    @property
    def seeds(self) -> list[int]:
        """Those that were trained, each once."""
        return sorted({run.config.seed for run in self.runs.values()})


def group_by_recipe(runs: Mapping[str, Run]) -> list[Recipe]:
    """The trainings behind labelled runs, by recipe, in order.

    A folder of joint scores stands for its members, each labelled by its path, as far as they are still there.
    """
    recipes: dict[tuple[Any, ...], dict[str, Run]] = {}
    known: set[Path] = set()
    for label, run in [trained for labelled in runs.items() for trained in _list_trainings(*labelled)]:
        if (folder := run.folder.resolve()) not in known:
            recipes.setdefault((*settings_of_recipe(run).items(), run.fingerprint), {})[label] = run
        known.add(folder)
    return [Recipe(trained) for trained in recipes.values()]


def _list_trainings(label: str, run: Run) -> list[tuple[str, Run]]:
    members = run.members()
    return [(str(member.folder), member) for member in members if is_run(member.folder)] if members else [(label, run)]
