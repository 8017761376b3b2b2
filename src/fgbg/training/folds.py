"""Cross-validation: a training for each fold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fgbg.config import TrainConfig
from fgbg.engine import count_processes
from fgbg.errors import UserError
from fgbg.run import Run
from fgbg.storage import FOLD_FOLDER, free_name, is_run, list_folds, make_empty_folder, make_folder
from fgbg.training.train import train


def train_folds(config: TrainConfig, *, resume: bool = False, say: Callable[[str], None] = print) -> list[Run]:
    """Train a run for each fold, one after the other, into `OUT/fold-0`, `OUT/fold-1`, …

    Args:
        config: Every setting, with `folds`; `fold` does not matter.
        resume: Go on: folds that were begun are resumed, the others started.
        say: Gets a line before each fold, and after an interruption.

    Raises:
        UserError: As `train`; or several processes train together, or the folder holds something else.
    """
    folder = Path(config.out).expanduser() if config.out else free_name(Path("runs") / f"{config.model}-folds")
    if count_processes() > 1:
        raise UserError(f"--folds {config.folds}: several processes train one fold together; name it by --fold 0, say")
    if list_folds(folder) and not resume:
        raise UserError(f"{folder} holds folds already: choose another folder, or go on with them by --resume")
    is_new = not folder.exists()
    make_folder(folder) if resume else make_empty_folder(folder)
    runs = []
    try:
        for fold in range(config.folds):
            out = folder / FOLD_FOLDER.format(fold)
            say(f"{out}: fold {fold} of {config.folds} tests")
            runs.append(train(replace(config, fold=fold, out=str(out)), resume=resume and is_run(out)))
            say("")
    except UserError:
        if is_new:
            with suppress(OSError):  # it holds a fold
                folder.rmdir()
        raise
    except KeyboardInterrupt:
        say(f"go on with all folds: fgbg train --resume --out {folder}")
        raise
    return runs
