"""The trainings behind the runs that are told of, by recipe."""

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
    """Trainings that differ in nothing but their seed, their fold, and where they ran."""

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

    @cached_property
    def split(self) -> dict[str, Any]:
        """Which photos the first run was trained on, as `Run.split`."""
        return self.first.split()

    @property
    def labels(self) -> list[str]:
        """What tables call its runs; those behind joint scores have no name there."""
        return [label for label, run in self.runs.items() if label != str(run.folder)]

    @property
    def seeds(self) -> list[int]:
        """Those that were trained, each once."""
        return sorted({run.config.seed for run in self.runs.values()})

    @property
    def folds(self) -> list[int]:
        """Those that were trained of a cross-validation, each once; none without one."""
        return sorted({run.config.fold for run in self.runs.values()}) if self.config.folds else []


def group_by_recipe(runs: Mapping[str, Run]) -> tuple[list[Recipe], int]:
    """The trainings behind labelled runs, by recipe, in order; and how many of them are no longer there.

    A folder of joint scores stands for its members, each labelled by its path; one of masks made elsewhere for none.
    """
    recipes: dict[tuple[Any, ...], dict[str, Run]] = {}
    known: set[Path] = set()
    gone = 0
    for label, run in runs.items():
        if run.given_masks:
            continue
        members = run.members()
        for name, training in [(str(each.folder), each) for each in members] if members else [(label, run)]:
            folder = training.folder.resolve()
            if folder in known:
                continue
            known.add(folder)
            if members and not is_run(folder):
                gone += 1
                continue
            key = (*settings_of_recipe(training).items(), training.fingerprint)
            recipes.setdefault(key, {})[name] = training
    return [Recipe(trained) for trained in recipes.values()], gone
