"""Cross-validation: the scores of all folds together, each photo tested by the one model that did not see it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import Evaluation
from fgbg.judge.joint import open_joint_folder, tell_member
from fgbg.judge.panels import Predict, draw_best_and_worst, predict_with
from fgbg.judge.photo_pictures import find_pictures, keep_pictures, write_scores
from fgbg.judge.recipe import find_changes, settings_of_recipe
from fgbg.judge.run_data import open_own_data, open_scorable
from fgbg.judge.runs import score_run
from fgbg.judge.score import Scorer
from fgbg.judge.scoring import DEFAULT, Scoring
from fgbg.judge.statement import summarise
from fgbg.judge.together import evaluate_together
from fgbg.models.checkpoint import load_model
from fgbg.models.ensemble import Ensemble
from fgbg.rows import TESTED_IN, ScoreRow
from fgbg.run import Run
from fgbg.storage import FOLD_FOLDER, JOINT, holds_nothing
from fgbg.words import Tta, name_some


def evaluate_folds(
    folders: Sequence[Path],
    scoring: Scoring = DEFAULT,
    *,
    tta: Tta = "none",
    out: Path | None = None,
    threshold_for: str = "",
) -> tuple[Evaluation, Run]:
    """Score the runs of a cross-validation, each on its own fold, and all photos together.

    Each run keeps its own scores. The joint ones have a folder of their own, which `compare` and `report` accept like a run.
    With test-time augmentation it also holds those of each fold.

    Args:
        folders: One run for each fold, in any order.
        scoring: By which rules, and where; over all folds each photo is in test once, and in validation too.
        tta: Test-time augmentation of each.
        out: The folder of the joint scores; by default the one that holds these runs and nothing else, or `all-folds` beside
            the first run; with test-time augmentation, one beside that which ends with its name.
        threshold_for: As for `evaluate_run`.

    Raises:
        UserError: A fold is missing or named twice, the runs are of other recipes or other data, or as `evaluate_run`.
    """
    runs = _order_folds([open_scorable(folder) for folder in folders])
    engine, split = Engine(scoring.device, "fp32", scoring.threads), scoring.split
    folder, config = out or _name_joint_folder(runs, tta), runs[0].config
    about = {"folds": config.folds} if tta == "none" else {"folds": config.folds, "tta": tta}
    with open_joint_folder(folder, config, runs, about, engine) as joint:
        if tta == "none":
            evaluations = [score_run(run.folder, scoring=scoring, threshold_for=threshold_for) for run in runs]
            scored = runs
        else:
            names = [FOLD_FOLDER.format(run.config.fold) for run in runs]
            pairs = [
                evaluate_together([run.folder], scoring=scoring, tta=tta, out=folder / name)
                for run, name in zip(runs, names, strict=True)
            ]
            evaluations, scored = [evaluation for evaluation, _ in pairs], [run for _, run in pairs]
        rows = _join_rows(runs, evaluations)
        statement = _join_statements(runs, [evaluation.statement for evaluation in evaluations], rows, scoring.empty, folder)
        evaluation = Evaluation(rows, statement)
        with keep_pictures(joint, split, engine) as pictures:
            if engine.is_main:
                for run in scored:
                    for own, together in zip(find_pictures(run, split), pictures, strict=True):
                        shutil.copytree(own, together, dirs_exist_ok=True)
                write_scores(joint, split, rows, statement)
        if engine.is_main:
            draw_best_and_worst(joint, split, _predict_by_folds(runs, tta, engine), open_own_data(runs[0]), evaluation)
    return evaluation, joint


def _name_joint_folder(runs: Sequence[Run], tta: Tta) -> Path:
    parent = runs[0].folder.parent
    is_theirs = all(run.folder.parent.resolve() == parent.resolve() for run in runs) and (
        (parent / JOINT).exists() or holds_nothing(parent, besides=[parent / run.folder.name for run in runs])
    )
    folder = parent if is_theirs else parent / "all-folds"
    if tta == "none":
        return folder
    folder = folder if folder.name else folder.resolve()  # a folder that is called . has no name
    return folder.with_name(f"{folder.name}-{tta}")


def _predict_by_folds(runs: Sequence[Run], tta: Tta, engine: Engine) -> Predict:
    """Predictions of the model of a row's fold, one of them in memory at a time."""

    @lru_cache(maxsize=1)
    def load(fold: str) -> Scorer:
        run = next(run for run in runs if _name_fold(run) == fold)
        return Ensemble([load_model(run.best)[0].to(engine.device)], tta)

    return lambda sample, row: predict_with(load(row.metadata[TESTED_IN]), sample, row)


def _name_fold(run: Run) -> str:
    return f"fold {run.config.fold}"


def _order_folds(runs: Sequence[Run]) -> list[Run]:
    """The runs by their fold.

    Raises:
        UserError: They are not one run for each fold of one cut of the same data by one recipe.
    """
    first = runs[0]
    for run in runs:
        if not run.config.folds:
            raise UserError(f"{run.folder} is no fold: evaluate one run at a time, or add --ensemble to average them")
        if changes := find_changes(settings_of_recipe(first), settings_of_recipe(run)):
            other = name_some(list(changes))
            raise UserError(f"{first.folder} and {run.folder} differ in {other}: name the folds of one recipe")
        if run.fingerprint != first.fingerprint:
            hashes = f"hash {first.fingerprint} and {run.fingerprint}"
            raise UserError(f"{first.folder} and {run.folder} were trained on other data ({hashes}): train all on the same")
    folds = first.config.folds
    named = Counter(run.config.fold for run in runs)
    twice = [fold for fold, count in named.items() if count > 1]
    if twice:
        both = [str(run.folder) for run in runs if run.config.fold == twice[0]]
        raise UserError(f"{' and '.join(both)} both test fold {twice[0]}: name one run for each fold")
    missing = [str(fold) for fold in range(folds) if fold not in named]
    if missing:
        raise UserError(f"of {folds} folds, {', '.join(missing)} missing: name a run for each, or train it with --fold")
    return sorted(runs, key=lambda run: run.config.fold)


def _join_rows(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> list[ScoreRow]:
    """The rows of all folds by photo, each with the fold it was tested in."""
    rows = [
        replace(row, metadata={**row.metadata, TESTED_IN: _name_fold(run)})
        for run, evaluation in zip(runs, evaluations, strict=True)
        for row in evaluation.rows
    ]
    # A cut may have been made by another version of fgbg, or edited.
    if sorted(row.id for row in rows) != sorted(runs[0].locked_splits()):
        raise UserError("these folds do not hold each photo once: they were cut differently; train them anew")
    return sorted(rows, key=lambda row: row.id)


def _join_statements(
    runs: Sequence[Run], told: Sequence[dict[str, Any]], rows: list[ScoreRow], empty: float, folder: Path
) -> dict[str, Any]:
    """The first fold's rules with the numbers of all photos, and each fold's own beside them."""
    thresholds = [each["threshold"] for each in told]
    return {
        **told[0],
        **summarise(rows, empty),
        "fingerprint": runs[0].fingerprint,
        "threshold": float(np.mean(thresholds)),
        "threshold_reason": f"each fold's own: {', '.join(f'{each:g}' for each in thresholds)}",
        "folds": [
            {
                "fold": run.config.fold,
                "run": run.name,
                "pairs": each["pairs"],
                "training_pairs": len(run.split()["train"]),
                "mean_dice": each["mean_dice"],
                "epoch": each["epoch"],
            }
            for run, each in zip(runs, told, strict=True)
        ],
        "member_models": [
            tell_member(run, folder, epoch=each["epoch"], threshold=each["threshold"])
            for run, each in zip(runs, told, strict=True)
        ],
        **{known: sorted({name for each in told for name in each.get(known, ())}) for known in ("copies", "known_groups")},
        "seen_count": sum(each["seen_count"] for each in told),
        "overlap": "; ".join(dict.fromkeys(filter(None, (each["overlap"] for each in told)))),
    }
