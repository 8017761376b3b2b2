"""`sweep`: trial after trial, each a run folder; judged by validation photos, never by test photos."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from fgbg.config import TrainConfig
from fgbg.config_file import read_config, to_toml
from fgbg.data.samples import SampleSet
from fgbg.engine import count_processes
from fgbg.errors import UserError
from fgbg.run import Run
from fgbg.search.page import write_results
from fgbg.search.results import BASE, SPACE, Sweep, say_seconds, trial_folders
from fgbg.search.space import Space, apply_values, check_space, find_losses, read_space, read_space_file, write_space_file
from fgbg.search.study import DATABASE, is_exhausted, open_study, quiet_optuna, work_alone
from fgbg.search.trial import Search, TimeIsOver, drop_weights, take_turn
from fgbg.storage import LOCK, PARTIAL, make_empty_folder, make_folder, write_whole
from fgbg.training.build import understand_data
from fgbg.training.prepare import HALVES, find_same_dice
from fgbg.training.resume import RESUMABLE
from fgbg.words import plural

MAY_CHANGE = RESUMABLE - {"epochs", "patience"}
"""Settings that may differ when a search is continued."""
REFUSED_IN_A_ROW = 20


def sweep(
    config: TrainConfig,
    over: Mapping[str, str | Sequence[Any]],
    *,
    trials: int = 20,
    hours: float = 0.0,
    say: Callable[[str], None] = print,
) -> Sweep:
    """Search for better settings. The same call continues a search that was interrupted, for whatever reason.

    Args:
        config: The baseline, which is trial 0. `config.out` names the folder of the search.
        over: What is searched, by the field's name: a list of values, or a text such as "1e-4..1e-2:log".
        trials: Total number of trials in the folder, including the baseline.
        hours: Stop after this many hours, at the end of an epoch; 0 for no limit.
        say: Called with a line after each trial.

    Returns:
        Every trial, the best one, and where the page about them is.

    Raises:
        UserError: Anything in the settings, the search or the folder that cannot be used.
    """
    if count_processes() > 1:
        raise UserError("fgbg sweep works in one process: start it without torchrun, and train the best settings with it")
    if trials < 2:
        raise UserError(f"--trials {trials}: must be 2 or more; the first is the baseline")
    if not 0 <= hours < math.inf:
        raise UserError(f"--hours {hours}: must be 0 (no limit) or more")
    if not config.out:
        raise UserError("--out is needed: which folder shall hold the search?")
    space = read_space(over)
    check_space(space, config)
    samples = understand_data(config, None)  # fail here if the data are faulty: no trial is to blame
    folder = _make_place(Path(config.out).expanduser())
    with quiet_optuna(), work_alone(folder):
        study = _open_folder(folder, config, space)
        _remember_data(study, samples, folder)
        search = Search(folder, config, space, study, time.monotonic() + hours * 3600 if hours else math.inf, say)
        return _search(search, trials)


def _make_place(folder: Path) -> Path:
    """The folder: new or empty, or that of a search, even one that had hardly begun.

    Raises:
        UserError: It contains something else.
    """
    names = {path.name for path in folder.iterdir() if not path.match(PARTIAL)} if folder.is_dir() else set()
    is_search = names >= {BASE, SPACE, DATABASE}  # they are written in this order
    return make_folder(folder) if is_search or names <= {LOCK, BASE, SPACE} else make_empty_folder(folder)


def _open_folder(folder: Path, base: TrainConfig, space: Space) -> Study:
    """The study in the folder. One in which no epoch has ended yet is started over, so that a mistake can be fixed.

    Raises:
        UserError: It is a search over other settings.
    """
    if not any(Run(path).epochs() for path in trial_folders(folder)):
        for path in trial_folders(folder):
            shutil.rmtree(path)
        for path in folder.glob(f"{DATABASE}*"):  # including SQLite's journal files
            path.unlink()
        write_space_file(space, folder / SPACE)
        write_whole(folder / BASE, to_toml(replace(base, out="")))
        return open_study(folder, base, space)
    before = read_config(folder / BASE)
    changed = [name for name in before.differences(base) if name not in MAY_CHANGE]
    cure = f"go on with --config {folder / BASE} --space {folder / SPACE}, or search in another --out"
    if changed:
        raise UserError(f"{folder} was begun with other settings ({', '.join(changed)}): {cure}")
    if read_space(read_space_file(folder / SPACE)) != space:
        raise UserError(f"{folder} was begun with another search ({SPACE}): {cure}")
    return open_study(folder, base, space)


def _remember_data(study: Study, samples: SampleSet, folder: Path) -> None:
    """Record what the trials are trained on, and refuse other data than before.

    Raises:
        UserError: A photo or mask has changed.
    """
    if study.user_attrs.get("fingerprint", samples.fingerprint) != samples.fingerprint:
        raise UserError(f"{samples.name} has changed since {folder} was begun: restore it, or search in another --out")
    study.set_user_attr("fingerprint", samples.fingerprint)
    study.set_user_attr("data", samples.name)
    study.set_user_attr("validation_photos", len(samples.of("validation").samples))


def _search(search: Search, trials: int) -> Sweep:
    known = search.read()
    for record in known.ended:
        drop_weights(search, record)  # left behind by a kill
    _announce(search, known, trials)
    try:
        _train_trials(search, known, trials)
    except TimeIsOver:
        search.say(f"the time is over{_describe_stop(search)}")
    except KeyboardInterrupt:
        search.say(f"\nstopped{_describe_stop(search)}")
        raise
    known = search.read(measured=True)
    write_results(known)
    return known


def _train_trials(search: Search, known: Sweep, trials: int) -> None:
    """Run trials until there are enough.

    Raises:
        TimeIsOver: The search has used up its hours.
        UserError: Nothing can be trained.
    """
    refused = 0
    while known.count < trials:
        if is_exhausted(search.study, search.base, search.space):
            search.say("every combination was tried")
            break
        start = time.monotonic()
        record = take_turn(search, loud=not known.count)
        if record is None:
            continue
        known = search.read(measured=True)
        write_results(known)
        search.say(known.describe_trial(record, trials))
        if record.number == 0:
            seconds = (time.monotonic() - start) * (trials - 1)
            search.say(f"{trials - 1} more trials as long as this take {say_seconds(seconds)}")
        refused = refused + 1 if record.state == "refused" else 0
        if refused == REFUSED_IN_A_ROW:
            raise UserError(f"{refused} trials in a row could not be trained; the last: {record.sentence}")


def _announce(search: Search, known: Sweep, trials: int) -> None:
    """Say what is searched, and how many trials exist already."""
    fields = "; ".join(f"{field.name} {field}" for field in search.space)
    search.say(f"searching {fields}")
    for line in _describe_same_losses(search.space, search.base):
        search.say(line)
    if known.count >= trials:
        search.say(f"{search.folder} holds {known.count} trials already; more --trials add to them")
    elif known.trials:
        search.say(f"going on with {search.folder}: {known.count} of {trials} trials are there")


def _describe_same_losses(space: Space, base: TrainConfig) -> list[str]:
    """A line for each searched loss with Tversky whose weights make it one with Dice."""
    names = {field.name for field in space}
    if "loss" not in names or names & {"false_positive_weight", "false_negative_weight"}:
        return []
    same = {loss: find_same_dice(apply_values(base, {"loss": loss})) for loss in find_losses(space, base)}
    return [f"{HALVES}; {loss} is the same as {dice}" for loss, dice in same.items() if dice]


def _describe_stop(search: Search) -> str:
    """Where the search stands: the end of the sentence that says it has stopped."""
    waiting = [record for record in search.read().trials if record.state == "unfinished"]
    where = f" in trial {waiting[0].number} after {plural(waiting[0].epochs, 'whole epoch')}" if waiting else ""
    return f"{where}; the same command goes on from there"
