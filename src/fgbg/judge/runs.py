"""Evaluate a run folder: find its model and data, score, choose the threshold on validation."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from fgbg.data.parallel import show_progress
from fgbg.data.samples import Sample, SampleSet
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.bootstrap import find_groups
from fgbg.judge.calibration import describe_calibration
from fgbg.judge.evaluate import Evaluation, count_by_probability, evaluate, find_seen_photos
from fgbg.judge.panels import draw_best_and_worst, predict_with
from fgbg.judge.report import write_record
from fgbg.judge.run_data import find_label, open_run_data, open_scorable, tell_scored_data
from fgbg.judge.scoring import DEFAULT, Scoring
from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import load_model, replace_header
from fgbg.models.predictor import Predictor
from fgbg.run import Run
from fgbg.storage import write_alone
from fgbg.words import Border, ObjectValue


def evaluate_run(
    folder: Path,
    data: str = "",
    *,
    samples: Iterable[Sample] | None = None,
    network: nn.Module | None = None,
    split: str = "test",
    border: Border | None = None,
    empty: float = 1.0,
    device: str = "auto",
    threads: int = 0,
    threshold_for: str = "",
    allow_overlap: bool = False,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
) -> Evaluation:
    """Score a run's best model; rows, predictions, thumbnails and panels are kept in the run folder.

    On the run's own validation photos the threshold is also chosen, and stored in the model.

    Args:
        folder: The run.
        data: Data other than the run's own.
        samples: The run's own photos, if it was trained on samples that were passed to the Python API.
        network: The network to load the weights into, if it was your own; it is left as it is.
        split: Which photos: `test` or `validation`.
        border: What the masks' band counts as; the model's own rule by default.
        empty: The score where truth and prediction are both empty.
        device: Where to compute.
        threads: CPU threads; 0 shares the cores.
        threshold_for: What the threshold is chosen for, see `fgbg.config_rules.OBJECTIVES`; unchanged by default.
        allow_overlap: Score even photos that the model has seen.
        object_values: Which stored mask values are object in `data`, if that is ambiguous.
        categories: Which COCO categories or LabelMe labels are object in `data`; those of the run by default.

    Raises:
        UserError: The run, its model or the data cannot be used, the model has seen a photo, or another process writes to
            the run.
    """
    scoring = Scoring(split=split, border=border, empty=empty, allow_overlap=allow_overlap, device=device, threads=threads)
    return score_run(
        folder,
        data,
        scoring,
        threshold_for=threshold_for,
        samples=None if samples is None else list(samples),  # a generator can be looked at once only
        network=network,
        object_values=object_values,
        categories=categories,
    )


def score_run(
    folder: Path,
    data: str = "",
    scoring: Scoring = DEFAULT,
    *,
    threshold_for: str = "",
    samples: Sequence[Sample] | None = None,
    network: nn.Module | None = None,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
) -> Evaluation:
    """`evaluate_run` by a `Scoring`."""
    run, split = open_scorable(folder), scoring.split
    engine = Engine(scoring.device, "fp32", scoring.threads)
    with write_alone(run.folder) if engine.is_main else nullcontext():
        predictor, header = load_model(run.best, network=copy.deepcopy(network))
        predictor.to(engine.device)
        scored, label = open_run_data(run, data, split, object_values, categories, samples)
        label = find_label(run, label, scored)
        has_learnt_them = bool(find_seen_photos(header, scored, label).trained)
        if threshold_for and has_learnt_them:
            raise UserError(
                "--threshold-for: these validation photos also trained the model, so that none is chosen on them"
            )
        if label == "validation" and scoring.border in (None, header.border) and not has_learnt_them:
            evaluation = choose_on_validation(
                run, predictor, header, scored, engine=engine, threshold_for=threshold_for, empty=scoring.empty
            )
        elif threshold_for and label == "validation":
            raise UserError(
                f"--border {scoring.border}: a threshold is chosen by the model's own rule, {header.border}: leave "
                "--border out"
            )
        elif threshold_for:
            raise UserError(
                "a threshold is chosen on the run's own validation photos: add --split validation, and name no DATA"
            )
        else:
            evaluation = evaluate(
                predictor,
                header,
                scored,
                engine=engine,
                split=split,
                label=label,
                border=scoring.border,
                empty=scoring.empty,
                allow_overlap=scoring.allow_overlap,
                run=run,
                about=tell_scored_data([run], label, scored),
                progress=show_progress,
            )
        if engine.is_main:
            draw_best_and_worst(run, label, partial(predict_with, predictor), scored, evaluation)
            if run.epochs():
                write_record([run], run.folder)  # its workbook lists all scores
        return evaluation


def choose_on_validation(
    run: Run,
    predictor: Predictor,
    header: ModelHeader,
    samples: SampleSet,
    *,
    engine: Engine,
    threshold_for: str = "",
    empty: float = 1.0,
) -> Evaluation:
    """Score the validation photos, choose the threshold on them, and keep it in the model and in calibration.json.

    Args:
        run: The run whose best model `predictor` is.
        predictor: In evaluation mode, on the engine's device; gets the threshold.
        header: The model file's header.
        samples: The validation photos.
        engine: Processes share the photos.
        threshold_for: What the threshold is chosen for; by default what it was before, or what the configuration says.
        empty: The score where truth and prediction are both empty.

    Returns:
        The evaluation at the chosen threshold.
    """
    before = run.calibration()
    objective = threshold_for or (before["threshold"]["objective"] if before else run.config.threshold_for)
    histograms = count_by_probability(predictor, samples, engine=engine, border=header.border, progress=show_progress)
    groups = find_groups(samples.samples)
    calibration = describe_calibration(histograms, objective, len(samples.samples), "validation", groups)
    chosen = calibration["threshold"]
    predictor.threshold = chosen["value"]
    header = replace(
        header,
        threshold=chosen["value"],
        threshold_reason=chosen["sentence"],
        temperature=calibration["temperature"],
    )
    evaluation = evaluate(  # what is kept was scored at the threshold that ships
        predictor,
        header,
        samples,
        engine=engine,
        split="validation",
        empty=empty,
        run=run,
        about=tell_scored_data([run], "validation", samples),
        progress=show_progress,
    )
    if engine.is_main:
        run.write_calibration(calibration | {"uncertainty_correlation": evaluation.statement["uncertainty_correlation"]})
        replace_header(run.best, header)
    engine.wait()
    return evaluation
