"""One trial of a search: its values, its training in a run folder of its own, its result."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from optuna.study import Study
from optuna.trial import Trial, TrialState

from fgbg.config import TrainConfig
from fgbg.errors import UserError
from fgbg.record import EpochRecord
from fgbg.run import Run
from fgbg.search.results import Sweep, TrialRecord, read_sweep, run_of
from fgbg.search.space import Space, apply_values
from fgbg.search.study import SENTENCE, is_repeat, next_trial, suggest_values
from fgbg.storage import is_run
from fgbg.training.build import understand_data
from fgbg.training.prepare import Training, prepare_training, say_nothing
from fgbg.training.track import open_tracker
from fgbg.training.train import run_epochs

OUT_OF_MEMORY = "it does not fit into the device's memory (lower --batch-size, --width or --size)"


class TimeIsOver(Exception):  # noqa: N818 - no error
    """The search has used up the hours it was given."""


@dataclass(frozen=True)
class Search:
    """A running search."""

    folder: Path
    base: TrainConfig  # the baseline
    space: Space
    study: Study
    deadline: float  # of time.monotonic()
    say: Callable[[str], None]

    def read(self, *, measured: bool = False) -> Sweep:
        """What is known so far, with or without the importances."""
        return read_sweep(self.folder, self.study, self.base, self.space, measured=measured)

    def run_of(self, number: int) -> Run:
        """A trial's run folder."""
        return run_of(self.folder, number)


def take_turn(search: Search, *, loud: bool) -> TrialRecord | None:
    """Run one trial, from its values to its result; None if an earlier trial had the same values.

    Raises:
        TimeIsOver: The search has used up its hours; the trial is left to be continued.
        UserError: The baseline cannot be trained, or nothing could be.
    """
    if time.monotonic() >= search.deadline:
        raise TimeIsOver
    study, base, space = search.study, search.base, search.space
    trial = next_trial(study, base, space)
    values = suggest_values(trial, base, space)
    if is_repeat(study, trial.number, values, base, space):
        study.tell(trial, state=TrialState.FAIL)
        return None
    try:
        pruned = _train_trial(search, trial, values, loud=loud)
    except (UserError, torch.OutOfMemoryError) as error:
        _blame_values(search, trial, error)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        best = max(_score(record) for record in search.run_of(trial.number).epochs())
        study.tell(trial, best) if not pruned else study.tell(trial, state=TrialState.PRUNED)
    record = search.read().trials[-1]
    drop_weights(search, record)
    return record


def _train_trial(search: Search, trial: Trial, values: Mapping[str, Any], *, loud: bool) -> bool:
    """Train a trial, or continue it, until it ends or is pruned. Returns whether it was pruned."""
    reported = search.study.trials[trial.number].intermediate_values
    with (
        _prepare_trial(search, trial, values, loud=loud) as training,
        open_tracker(training.run, training.tracker, after_epoch=training.progress.epoch) as track,
        closing(_all_epochs(training)) as records,
    ):
        for record in records:
            if record.epoch > training.progress.epoch:
                track(record)
            if record.epoch not in reported:
                trial.report(_score(record), record.epoch)
            is_last = record.epoch == training.config.epochs
            if trial.number and not is_last and trial.should_prune():
                return True
            if not is_last and time.monotonic() >= search.deadline:
                raise TimeIsOver
    return False


@contextmanager
def _prepare_trial(search: Search, trial: Trial, values: Mapping[str, Any], *, loud: bool) -> Iterator[Training]:
    run = search.run_of(trial.number)
    config = replace(apply_values(search.base, values), out=str(run.folder))
    is_begun = is_run(run.folder)
    if not is_begun and run.folder.exists():
        shutil.rmtree(run.folder)  # a kill came before it was a complete run folder
    with prepare_training(config, resume=is_begun, say=search.say if loud else say_nothing) as training:
        yield replace(training, say=say_nothing)


def _all_epochs(training: Training) -> Generator[EpochRecord, None, None]:
    """The epochs that an interrupted trial has recorded, then those that are trained now."""
    yield from training.run.epochs()
    yield from run_epochs(training)


def _score(record: EpochRecord) -> float:
    """The Dice that trials are judged by; an undefined one counts as 0."""
    return 0.0 if math.isnan(record.val_dice_photo) else record.val_dice_photo


def _blame_values(search: Search, trial: Trial, error: Exception) -> None:
    """Record why a trial's values cannot be trained.

    Raises:
        UserError: They are not to blame: the trial is the baseline, or the data are gone.
    """
    sentence = str(error) if isinstance(error, UserError) else OUT_OF_MEMORY
    if trial.number == 0:
        raise UserError(f"the baseline cannot be trained: {sentence}") from None
    understand_data(search.base, None)
    trial.set_user_attr(SENTENCE, sentence)


def drop_weights(search: Search, record: TrialRecord) -> None:
    """Delete the checkpoint of an ended trial, also the weights of a pruned one, and the folder of a refused one."""
    run = search.run_of(record.number)
    run.last.unlink(missing_ok=True)
    if record.state == "pruned":
        run.best.unlink(missing_ok=True)
    elif record.state == "refused" and run.folder.exists():
        shutil.rmtree(run.folder)
