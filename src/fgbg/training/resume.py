"""Checks before a run is resumed: its settings, record, state and best model must belong together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fgbg.config import TrainConfig, flatten
from fgbg.errors import UserError
from fgbg.models.checkpoint import require_intact
from fgbg.record import EpochRecord
from fgbg.run import Run
from fgbg.storage import RUN_MARK
from fgbg.training.loop import Learner
from fgbg.training.schedule import size_in
from fgbg.training.state import Progress
from fgbg.training.writer import MOST_TOGETHER

RESUMABLE = frozenset(
    {"epochs", "patience", "device", "threads", "cuda_graphs", "out", "threshold_for", "track", "selfcheck"}
)
"""Settings that a resumed run may change."""


def require_own_network(run: Run, before: TrainConfig, own: nn.Module | None) -> None:
    """Refuse to resume a run of a user's own network without it.

    Raises:
        UserError: It is missing.
    """
    if own is None and before.model.startswith("own:"):
        raise UserError(
            f"{run.folder} was trained with a network of your own, {before.model.removeprefix('own:')}, which only Python "
            "can build: resume it there, by fgbg.train(…, model=…, resume=True)"
        )


def require_same_settings(before: TrainConfig, now: TrainConfig) -> None:
    """Refuse to resume with other settings than the run was started with.

    Raises:
        UserError: A setting differs that may not.
    """
    changed = [name for name in before.differences(now) if name not in RESUMABLE]
    if changed:
        raise UserError(
            f"--resume goes on with the run's own settings, and {', '.join(changed)} would change: "
            "leave that out, or start a new run in another --out"
        )
    if now.epochs < before.epochs:
        raise UserError(f"--epochs {now.epochs}: the run was meant for {before.epochs}; resuming can only extend it")


def require_intact_run(run: Run, progress: Progress) -> None:
    """Refuse to resume from files that do not belong together.

    Raises:
        UserError: They do not; the message says which.
    """
    _require_settings(run, progress)
    _require_record(run, progress)


def require_same_parts(run: Run, progress: Progress, now: Sequence[str]) -> None:
    """Refuse to resume with a loss, augmentation or metric of one's own where the run had none, or without one that it had.

    Raises:
        UserError: They differ.
    """
    before = now if progress.own_parts is None else progress.own_parts
    if lost := [name for name in before if name not in now]:
        given = ", ".join(f"{name}=…" for name in before)
        raise UserError(
            f"{run.folder} was trained with your own {' and '.join(lost)}, which this would go on without: resume it from "
            f"Python, by fgbg.train(…, {given}, resume=True)"
        )
    if new := [name for name in now if name not in before]:
        raise UserError(
            f"{run.folder} was trained without your own {' and '.join(new)}: leave that out, or start a new run in another "
            "--out"
        )


def _require_settings(run: Run, progress: Progress) -> None:
    """Require config.toml to hold the settings that the run was trained with.

    Raises:
        UserError: It was edited or is damaged.
    """
    now = flatten(run.config)
    changed = [name for name, value in progress.settings.items() if name not in RESUMABLE and now.get(name, value) != value]
    if changed:
        raise UserError(
            f"{run.folder / RUN_MARK} has another {', '.join(changed)} than this run was trained with: restore it, or "
            "start a new run in another --out"
        )


def _require_record(run: Run, progress: Progress) -> None:
    """Require record, state and best model to be of one training, with none lost.

    Raises:
        UserError: They are not: resuming would leave a gap, or the wrong model as the best.
    """
    records = run.epochs()
    # A kill between writing records and the state after them leaves some that are about to be trained again.
    most = progress.epoch + (MOST_TOGETHER if progress.epoch else 1)
    numbers = [record.epoch for record in records]
    if numbers != list(range(1, len(records) + 1)) or not progress.epoch <= len(records) <= most:
        raise UserError(
            f"{run.folder} does not hold together: epochs.jsonl has {len(records)} epochs and last.pt goes on after epoch "
            f"{progress.epoch}; restore the file that is behind from a copy, or start again in a new --out"
        )
    if not progress.epoch:
        return
    if not run.fingerprint:
        raise UserError(
            f"{run.folder} has no split.json, which says what its photos are for: restore it from a copy, or start again in "
            "a new --out"
        )
    best, found = best_before(records, progress.epoch), require_intact(run.best).epoch if run.best.exists() else 0
    # The state of the best epoch also holds its weights: a kill between writing the two files loses nothing.
    if best not in (found, progress.epoch):
        raise UserError(
            f"{run.best} is of epoch {found}, and the best in epochs.jsonl is {best}: restore the file from a copy, or "
            "start again in a new --out"
        )


def best_before(records: Sequence[EpochRecord], last: int) -> int:
    """The best epoch up to `last`; 0 if there is none."""
    return max((record.epoch for record in records if record.best and record.epoch <= last), default=0)


def describe_resumption(run: Run, before: TrainConfig, config: TrainConfig, learner: Learner, progress: Progress) -> str:
    """Where a run resumes, and with which learning rate and image size."""
    sentence = f"resuming {run.folder} after epoch {progress.epoch} of {config.epochs}; the learning rate is "
    if config.schedule == "constant":
        sentence += "constant"
    else:
        next_rate = learner.rate_in(progress.epoch + 1, 1)
        sentence += f"{config.schedule} over all {config.epochs} epochs, {next_rate:.2g} in the next step"
        if config.epochs != before.epochs and run.epochs():
            sentence += f" ({run.epochs()[-1].learning_rate:.2g} in the last one, of a run of {before.epochs})"
    small = [epoch for epoch in range(progress.epoch + 1, config.epochs + 1) if size_in(epoch, config) < config.size]
    if small:
        sentence += f"; images grow from {size_in(small[0], config)} px to {config.size} px by epoch {small[-1] + 1}"
    return sentence
