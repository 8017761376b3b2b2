"""What a search has found: its trials, the best of them, and the files that record it."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from fgbg.config import TrainConfig
from fgbg.run import Run
from fgbg.search.importance import measure_importances
from fgbg.search.space import Space, apply_values
from fgbg.search.study import SENTENCE, values_of

BASE, SPACE, BEST, TABLE, PAGE = "base.toml", "space.toml", "best.toml", "sweep.csv", "sweep.html"
FRESH_SEEDS = 3

State = Literal["finished", "pruned", "failed", "refused", "unfinished"]
STATES: dict[State, str] = {
    "finished": "trained to its end",
    "pruned": "cut short: worse than the median of the others at that epoch",
    "failed": "could not be trained to its end",
    "refused": "its values do not go together, so that nothing was trained",
    "unfinished": "interrupted; the same command goes on with it",
}
"""The states of a trial, and what each means."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: From 0, the baseline. Numbers are missing where the search repeated values that it had tried.
        values: Values of the searched fields.
        state: A key of STATES.
        dice: Highest mean Dice over the validation photos, at their own size; NaN before an epoch has ended.
        best_epoch: The epoch with that Dice.
        epochs: Number of epochs that have ended.
        seconds: Time they took, validation included.
        sentence: Why it failed or was refused.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    dice: float
    best_epoch: int
    epochs: int
    seconds: float
    sentence: str = ""

    def describe_values(self) -> str:
        """The values in one line."""
        return ", ".join(f"{name} {say_value(value)}" for name, value in self.values.items())


@dataclass(frozen=True)
class Sweep:
    """A search and its results.

    Attributes:
        folder: Folder of the search.
        base: The baseline's settings.
        space: What is searched.
        trials: In order.
        data: Name of the data.
        validation_photos: Number of validation photos.
        importances: Each field's share in deciding whether a trial is good; empty if it was not measured, or cannot be.
    """

    folder: Path
    base: TrainConfig
    space: Space
    trials: list[TrialRecord]
    data: str
    validation_photos: int
    importances: Mapping[str, float]

    @property
    def ended(self) -> list[TrialRecord]:
        """Trials that will not be continued."""
        return [record for record in self.trials if record.state != "unfinished"]

    @property
    def finished(self) -> list[TrialRecord]:
        """Trials that were trained to their end: one of them is the best."""
        return [record for record in self.trials if record.state == "finished"]

    @property
    def count(self) -> int:
        """Number of trials that count towards those requested: refused ones, never trained, are drawn again."""
        return sum(record.state != "refused" for record in self.ended)

    @property
    def baseline(self) -> TrialRecord | None:
        """Trial 0, once it has finished."""
        return next((record for record in self.finished if record.number == 0), None)

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the highest validation Dice; on ties, the earlier one."""
        return max(self.finished, key=lambda record: (record.dice, -record.number), default=None)

    @property
    def gain(self) -> float:
        """By how much the best trial is better than the baseline."""
        return self.best.dice - self.baseline.dice if self.best and self.baseline else math.nan

    @property
    def best_config(self) -> TrainConfig:
        """The settings of the best trial, or the baseline's, without a run folder."""
        return apply_values(replace(self.base, out=""), self.best.values if self.best else {})

    def describe_trial(self, record: TrialRecord, trials: int) -> str:
        """A trial in one line."""
        words = [f"trial {record.number} ({self.count}/{trials})", record.describe_values()]
        if record.number == 0:
            words[1] = f"baseline: {words[1]}"
        dice = f"Val Dice {record.dice:.4f}"
        if record.state == "finished":
            words.append(f"{dice} in epoch {record.best_epoch}")
        elif record.state == "pruned":
            words.append(f"pruned at epoch {record.epochs}, {dice}")
        else:
            words.append(f"{'failed' if record.state == 'failed' else 'not trained'}: {record.sentence}")
        if record.epochs:
            words.append(say_seconds(record.seconds))
        return " | ".join([*words, "best so far"] if record == self.best and record.number else words)

    def describe(self) -> str:
        """The outcome, what to make of it, and where to look."""
        if not self.best or not self.baseline or self.count < 2:
            return "nothing to compare yet: no trial but the baseline has ended"
        places = f"page: {self.folder / PAGE} · table: {TABLE} · settings: {BEST}"
        if self.best == self.baseline:
            verdict = f"none of {self.count} trials is better than the baseline, validation Dice {self.baseline.dice:.4f}"
            return f"\n{verdict}\n{places}"
        lines = [
            f"\nbest of {self.count}: trial {self.best.number}, validation Dice {self.best.dice:.4f}; "
            f"the baseline has {self.baseline.dice:.4f}",
            f"  {self.best.describe_values()}",
            places,
            f"train it: fgbg train --config {shlex.quote(str(self.folder / BEST))}",
            self.say_warning(),
        ]
        return "\n".join([*lines, *(f"  {command}" for command in self.say_confirmation())])

    def say_warning(self) -> str:
        """Why the best Dice of many trials is too good, and how to check it."""
        return (
            f"The highest of {self.count} Dices over {self.validation_photos} validation photos is partly luck, so that a "
            f"gain of {self.gain:.4f} flatters. To know, train baseline and best with {FRESH_SEEDS} fresh seeds each, and "
            "compare them on the test photos, which the search has not touched:"
        )

    def say_confirmation(self) -> list[str]:
        """The commands that test whether the best settings are really better."""
        first = self.base.seed + 1
        seeds = " ".join(map(str, range(first, first + FRESH_SEEDS)))
        files = {"base": self.folder / BASE, "best": self.folder / BEST}
        runs = {name: shlex.quote(f"runs/{self.folder.resolve().name}-{name}") for name in files}
        return [
            f"for seed in {seeds}; do",
            *(
                f"  fgbg train --config {shlex.quote(str(path))} --seed $seed --out {runs[name]}-$seed"
                for name, path in files.items()
            ),
            *(f"  fgbg evaluate {run}-$seed" for run in runs.values()),
            "done",
            f"fgbg compare {runs['base']}-* {runs['best']}-*",
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        records = [{**asdict(record), "dice": None if math.isnan(record.dice) else record.dice} for record in self.trials]
        return {
            "folder": str(self.folder),
            "data": self.data,
            "validation_photos": self.validation_photos,
            "best": self.best.number if self.best else None,
            "searched": {field.name: str(field) for field in self.space},
            "importances": dict(self.importances),
            "trials": records,
        }


def run_of(folder: Path, number: int) -> Run:
    """A trial's run folder."""
    return Run(folder / f"trial-{number:04}")


def trial_folders(folder: Path) -> list[Path]:
    """All run folders of a search, in order; other folders beside them are the user's own."""
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"trial-\d{4,}", path.name) and path.is_dir())


def read_sweep(folder: Path, study: Study, base: TrainConfig, space: Space, *, measured: bool = False) -> Sweep:
    """What the database and the run folders hold, with or without the importances."""
    trials = [trial for trial in study.trials if trial.state not in (TrialState.FAIL, TrialState.WAITING)]
    return Sweep(
        folder=folder,
        base=base,
        space=space,
        trials=[_read_trial(folder, trial, base, space) for trial in trials],
        data=study.user_attrs.get("data", ""),
        validation_photos=study.user_attrs.get("validation_photos", 0),
        importances=measure_importances(study) if measured else {},
    )


def _read_trial(folder: Path, trial: FrozenTrial, base: TrainConfig, space: Space) -> TrialRecord:
    epochs = run_of(folder, trial.number).epochs()
    scored = [record for record in epochs if not math.isnan(record.val_dice_photo)]
    best = max(scored, key=lambda record: (record.val_dice_photo, -record.epoch), default=None)
    sentence = trial.user_attrs.get(SENTENCE, "")
    return TrialRecord(
        number=trial.number,
        values=values_of(trial, base, space),
        state=_name_state(trial, sentence, len(epochs)),
        dice=best.val_dice_photo if best else math.nan,
        best_epoch=best.epoch if best else 0,
        epochs=len(epochs),
        seconds=sum(record.seconds for record in epochs),
        sentence=sentence,
    )


def _name_state(trial: FrozenTrial, sentence: str, epochs: int) -> State:
    if trial.state == TrialState.RUNNING:
        return "unfinished"
    if sentence:
        return "failed" if epochs else "refused"
    return "finished" if trial.state == TrialState.COMPLETE else "pruned"


def say_value(value: Any) -> str:
    """A setting's value, short enough for a line.

    >>> say_value(0.00123456), say_value(True), say_value("bce_dice"), say_value(123456)
    ('0.001235', 'true', 'bce_dice', '123456')
    """
    if isinstance(value, bool):
        return json.dumps(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "none"


def say_seconds(seconds: float) -> str:
    """A duration in a suitable unit.

    >>> say_seconds(4.21), say_seconds(75), say_seconds(9000)
    ('4.2 s', '1.2 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
