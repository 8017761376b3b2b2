"""Optuna's part: which values come next, which trials are pruned, and the database that records them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from scipy.stats.qmc import LatinHypercube

from fgbg.config import TrainConfig, flatten
from fgbg.errors import UserError
from fgbg.search.space import Space, drop_idle, find_losses
from fgbg.storage import LOCK, HeldError, hold_lock

DATABASE = "sweep.db"
SPREAD = 8  # trials spread over the whole space, before the sampler concentrates on good regions
FINISHED_BEFORE_PRUNING = 4
SENTENCE = "sentence"  # a trial's attribute in the database: why it could not be trained


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's report of every trial: we print our own."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def work_alone(folder: Path) -> Iterator[None]:
    """Keep a second sweep out of the folder. The lock is released with the process, however it ends.

    Raises:
        UserError: Another sweep is at work.
    """
    try:
        with hold_lock(folder / LOCK, waits=False):
            yield
    except HeldError:
        raise UserError(f"another fgbg sweep is at work in {folder}: wait for it, or choose another --out") from None


def open_study(folder: Path, base: TrainConfig, space: Space) -> Study:
    """The study in the folder's database, or a new one."""
    # Quoted: a folder's name may hold characters with a meaning in a URL.
    address = f"sqlite:///{quote(str(folder.resolve() / DATABASE))}"
    return optuna.create_study(
        storage=address, study_name="fgbg", direction="maximize", load_if_exists=True, pruner=choose_pruner(base, space)
    )


def choose_pruner(base: TrainConfig, space: Space) -> BasePruner:
    """Prune trials that are worse than the median of finished ones at the same epoch, after a third of the epochs."""
    if any(field.name == "epochs" for field in space):
        return NopPruner()  # at the same epoch a longer trial is behind a shorter one, but ahead in the end
    return MedianPruner(n_startup_trials=FINISHED_BEFORE_PRUNING, n_warmup_steps=base.epochs // 3 + 1)


def next_trial(study: Study, base: TrainConfig, space: Space) -> Trial:
    """The trial that was interrupted, else a new one. The very first is the baseline.

    The values of a new trial depend only on the seed, its number and the trials before it: a search that was killed
    continues as if it had not been.
    """
    trials = study.get_trials(deepcopy=False)
    asked = [trial for trial in trials if trial.state != TrialState.WAITING]
    interrupted = [trial for trial in asked if trial.state == TrialState.RUNNING]
    seed = np.random.SeedSequence((base.seed, interrupted[0].number if interrupted else len(asked)))
    study.sampler = TPESampler(n_startup_trials=0, seed=int(seed.generate_state(1)[0]))
    if interrupted:
        return Trial(study, interrupted[0]._trial_id)  # by which the database finds its values
    if len(asked) == len(trials):  # else a kill came between enqueue_trial and ask
        if not asked:
            values = flatten(base)
            study.enqueue_trial({field.name: values[field.name] for field in space if field.holds(values[field.name])})
        elif asked[-1].state == TrialState.FAIL:
            study.enqueue_trial(_draw_untried(trials, base, space, np.random.default_rng(seed)))
        elif len(asked) <= SPREAD:
            study.enqueue_trial(spread_values(space, base.seed)[len(asked) - 1])
    return study.ask()


def suggest_values(trial: Trial, base: TrainConfig, space: Space) -> dict[str, Any]:
    """The values for the trial to try. The baseline keeps its own even if they are outside the search space."""
    values = flatten(base)
    return {
        field.name: field.suggest(trial) if trial.number or field.holds(values[field.name]) else values[field.name]
        for field in space
    }


def values_of(trial: FrozenTrial, base: TrainConfig, space: Space) -> dict[str, Any]:
    """The values that a trial tried, as far as they are known."""
    values = flatten(base)
    known = {field.name: field.clean(trial.params[field.name]) for field in space if field.name in trial.params}
    return {field.name: values[field.name] for field in space} | known


def is_repeat(study: Study, number: int, values: Mapping[str, Any], base: TrainConfig, space: Space) -> bool:
    """Whether an earlier trial had the same values, as far as they matter: the result would be the same to the bit."""
    return drop_idle(values) in _list_tried([each for each in study.trials if each.number < number], base, space)


def is_exhausted(study: Study, base: TrainConfig, space: Space) -> bool:
    """Whether every combination of values has been tried."""
    return _count_inside(study.trials, base, space) >= _count_combinations(space, base)


def _count_combinations(space: Space, base: TrainConfig) -> float:
    """How many combinations of values there are that differ in what matters; infinite with a continuous range."""
    counts = {field.name: field.count for field in space if field.name != "loss"}
    if len(counts) == len(space):
        return math.prod(counts.values())
    return sum(
        math.prod(counts[name] for name in drop_idle({**counts, "loss": loss}) if name != "loss")
        for loss in find_losses(space, base)
    )


def _list_tried(trials: list[FrozenTrial], base: TrainConfig, space: Space) -> list[dict[str, Any]]:
    """The values that mattered, of each trial that has ended."""
    ended = [each for each in trials if each.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return [drop_idle(values_of(each, base, space)) for each in ended]


def _count_inside(trials: list[FrozenTrial], base: TrainConfig, space: Space) -> int:
    """Number of combinations in the search space that have been tried; the baseline may lie outside it."""
    fields = {field.name: field for field in space}
    tried = {tuple(values.items()) for values in _list_tried(trials, base, space)}
    return sum(all(fields[name].holds(value) for name, value in values) for values in tried)


def spread_values(space: Space, seed: int) -> list[dict[str, Any]]:
    """The first trials after the baseline: a Latin hypercube, so that every eighth of a range and every value is tried."""
    shares = LatinHypercube(len(space), rng=np.random.default_rng(seed)).random(SPREAD)
    return [{field.name: field.value_at(share) for field, share in zip(space, row, strict=True)} for row in shares.tolist()]


def _draw_untried(trials: list[FrozenTrial], base: TrainConfig, space: Space, random: np.random.Generator) -> dict[str, Any]:
    """A combination that no trial has had. Only called after the sampler repeated one, while there are others."""
    tried = _list_tried(trials, base, space)
    while True:
        values = {field.name: field.value_at(random.random()) for field in space}
        if drop_idle(values) not in tried:
            return values
