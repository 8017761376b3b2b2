"""Evaluate several runs as one model, or one run with test-time augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fgbg.data.parallel import show_progress
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import Evaluation, evaluate
from fgbg.judge.joint import open_joint_folder, tell_member
from fgbg.judge.panels import draw_best_and_worst, predict_with
from fgbg.judge.run_data import find_label, open_run_data, open_scorable, tell_scored_data
from fgbg.judge.scoring import DEFAULT, Scoring
from fgbg.models.checkpoint import load_model
from fgbg.models.ensemble import Ensemble
from fgbg.run import Run
from fgbg.words import ObjectValue, Tta


def evaluate_together(
    folders: Sequence[Path],
    data: str = "",
    scoring: Scoring = DEFAULT,
    *,
    tta: Tta = "none",
    out: Path | None = None,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
) -> tuple[Evaluation, Run]:
    """Score several runs as one model that averages their probabilities, or one run with test-time augmentation.

    The result has a run folder of its own, which `compare` and `report` accept like any other.

    Args:
        folders: The runs; data and settings are the first one's.
        data: Data other than the first run's own.
        scoring: By which rules, and where.
        tta: Test-time augmentation of each.
        out: The folder to write to; beside the first run by default, named after what was done.
        object_values, categories: As for `evaluate_run`.

    Raises:
        UserError: As `evaluate_run`; or the models cannot be combined; or `out` holds something else.
    """
    runs = [open_scorable(folder) for folder in folders]
    engine = Engine(scoring.device, "fp32", scoring.threads)
    loaded = [load_model(run.best) for run in runs]
    rules = sorted({header.border for _, header in loaded})
    if len(rules) > 1 and scoring.border is None:
        raise UserError(f"these models were trained with --border {' and '.join(rules)}: choose one of them by --border")
    for predictor, _ in loaded:
        predictor.to(engine.device)
    scorer = Ensemble([predictor for predictor, _ in loaded], tta)
    headers = [header for _, header in loaded]
    trained = {image for header in headers for image in header.training_images}
    chose = {image for header in headers for image in header.validation_images}
    header = replace(
        headers[0],
        network=" + ".join(header.network for header in headers),
        threshold=scorer.threshold,
        threshold_reason=headers[0].threshold_reason if len(runs) == 1 else "the mean of the members' thresholds",
        training_images=tuple(sorted(trained)),
        validation_images=tuple(sorted(chose)),
        overlap_count=max(header.overlap_count for header in headers),
    )
    samples, label = open_run_data(runs[0], data, scoring.split, object_values, categories)
    members = [run.name for run in runs] if len(runs) > 1 else []
    config = runs[0].config if len(runs) == 1 else replace(runs[0].config, model=f"ensemble of {len(runs)}")
    with open_joint_folder(out or _name_joint_folder(runs, tta), config, runs, {"tta": tta}, engine) as run:
        label = find_label(run, label, samples)
        evaluation = evaluate(
            scorer,
            header,
            samples,
            engine=engine,
            split=scoring.split,
            label=label,
            border=scoring.border,
            empty=scoring.empty,
            allow_overlap=scoring.allow_overlap,
            run=run,
            about={
                **tell_scored_data(runs, label, samples),
                "tta": tta,
                "members": members,
                "member_models": [
                    tell_member(member, run.folder, epoch=header.epoch, threshold=header.threshold)
                    for member, (_, header) in zip(runs, loaded, strict=True)
                ],
            },
            progress=show_progress,
        )
        if engine.is_main:
            draw_best_and_worst(run, label, partial(predict_with, scorer), samples, evaluation)
    return evaluation, run


def _name_joint_folder(runs: Sequence[Run], tta: Tta) -> Path:
    first = runs[0].folder if runs[0].folder.name else runs[0].folder.resolve()  # a folder that is called . has no name
    name = first.name if len(runs) == 1 else f"ensemble-of-{len(runs)}"
    return first.with_name(name if tta == "none" else f"{name}-{tta}")
