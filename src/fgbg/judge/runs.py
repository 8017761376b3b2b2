"""Evaluate run folders: find models and data, score, choose the threshold on validation, draw best, median and worst."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from fgbg.data.masks import apply_border
from fgbg.data.parallel import show_progress
from fgbg.data.samples import SampleSet
from fgbg.data.sources import has_outlines, open_samples
from fgbg.data.split import lock_splits
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.calibration import describe_calibration
from fgbg.judge.evaluate import Evaluation, count_by_probability, evaluate, find_seen_photos
from fgbg.judge.pictures import Panel, draw_panels
from fgbg.judge.score import Scorer
from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import load_model, replace_header
from fgbg.models.ensemble import Ensemble, Tta
from fgbg.models.predictor import Predictor
from fgbg.run import Run, ScoreRow, make_folder, open_run
from fgbg.storage import write_alone
from fgbg.words import Border

PANELS = 3  # photos of each kind


def evaluate_run(
    folder: Path,
    data: str = "",
    *,
    split: str = "test",
    border: Border | None = None,
    empty: float = 1.0,
    device: str = "auto",
    threads: int = 0,
    threshold_for: str = "",
    allow_overlap: bool = False,
    object_values: Sequence[int] = (),
    categories: Sequence[str] = (),
) -> Evaluation:
    """Score a run's best model; rows, predictions, thumbnails and panels are kept in the run folder.

    On the run's own validation photos the threshold is chosen too, and stored in the model.

    Args:
        folder: The run.
        data: Other data than the run's own.
        split: Which photos: `test` or `validation`.
        border: What the band counts as; the model's own rule by default.
        empty: The score where truth and prediction are both empty.
        device: Where to compute.
        threads: CPU threads; 0 shares the cores.
        threshold_for: What the threshold is chosen for, see `fgbg.config.OBJECTIVES`; what it was chosen for by default.
        allow_overlap: Score photos that the model has seen all the same.
        object_values: Which stored mask values are object in `data`, where they leave it open.
        categories: Which categories of COCO or labels of LabelMe are object in `data`; those of the run by default.

    Raises:
        UserError: The run, its model or the data cannot be used, the model has seen a photo, or another process writes to
            the run.
    """
    run = _open_scorable(folder)
    engine = Engine(device, "fp32", threads)
    with write_alone(run.folder) if engine.is_main else nullcontext():
        predictor, header = load_model(run.best)
        predictor.to(engine.device)
        samples, label = open_run_data(run, data, split, object_values, categories)
        has_learnt_them = bool(find_seen_photos(header, samples, split).trained)
        if threshold_for and has_learnt_them:
            raise UserError(
                "--threshold-for: these validation photos also trained the model, so that none is chosen on them"
            )
        if label == "validation" and border in (None, header.border) and not has_learnt_them:
            evaluation = choose_on_validation(
                run, predictor, header, samples, engine=engine, threshold_for=threshold_for, empty=empty
            )
        elif threshold_for:
            raise UserError(
                "a threshold is chosen on the run's own validation photos: add --split validation, and name no DATA"
            )
        else:
            evaluation = evaluate(
                predictor,
                header,
                samples,
                engine=engine,
                split=split,
                label=label,
                border=border,
                empty=empty,
                allow_overlap=allow_overlap,
                run=run,
                progress=show_progress,
            )
        if engine.is_main:
            _draw_panels(run, label, predictor, samples, evaluation)
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
        run: Whose best model `predictor` is.
        predictor: In evaluation mode, on the engine's device; gets the threshold.
        header: Of the model file.
        samples: The validation photos.
        engine: Processes share the photos.
        threshold_for: What the threshold is chosen for; by default what it was before, else what the configuration says.
        empty: The score where truth and prediction are both empty.

    Returns:
        The evaluation at the chosen threshold.
    """
    before = run.calibration()
    objective = threshold_for or (before["threshold"]["objective"] if before else run.config.threshold_for)
    histograms = count_by_probability(predictor, samples, engine=engine, border=header.border, progress=show_progress)
    calibration = describe_calibration(histograms, objective, len(samples.samples), "validation")
    chosen = calibration["threshold"]
    predictor.threshold = chosen["value"]
    header = replace(
        header,
        threshold=chosen["value"],
        threshold_reason=chosen["sentence"],
        temperature=calibration["temperature"],
    )
    evaluation = evaluate(  # what is kept is of the threshold that ships
        predictor, header, samples, engine=engine, split="validation", empty=empty, run=run, progress=show_progress
    )
    if engine.is_main:
        run.write_calibration(calibration | {"uncertainty_correlation": evaluation.statement["uncertainty_correlation"]})
        replace_header(run.best, header)
    engine.wait()
    return evaluation


def warn_of_stale_scores(run: Run, threshold: float) -> str:
    """A sentence where the run's test scores are of another threshold than its model has now; empty where they are not."""
    if not run.scores_path("test").exists() or run.statement("test")["threshold"] == threshold:
        return ""
    before = run.statement("test")["threshold"]
    return f"the test scores in {run.folder} are of threshold {before:g}: run fgbg evaluate {run.folder} again"


def evaluate_together(
    folders: Sequence[Path],
    data: str = "",
    *,
    tta: Tta = "none",
    out: Path | None = None,
    split: str = "test",
    border: Border | None = None,
    empty: float = 1.0,
    device: str = "auto",
    threads: int = 0,
    allow_overlap: bool = False,
    object_values: Sequence[int] = (),
    categories: Sequence[str] = (),
) -> tuple[Evaluation, Run]:
    """Score several runs as one model that averages their probabilities, or one run that looks at each photo several ways.

    What comes of it has a run folder of its own, which `compare` and `report` take like any other.

    Args:
        folders: The runs; the first one's data and settings count.
        tta: Test-time augmentation of each.
        out: The folder to write to; beside the first run by default, named after what was done.
        data, split, border, empty, device, threads, allow_overlap, object_values, categories: As for `evaluate_run`.

    Raises:
        UserError: As `evaluate_run`; or the models do not belong together; or `out` holds something else.
    """
    runs = [_open_scorable(folder) for folder in folders]
    engine = Engine(device, "fp32", threads)
    loaded = [load_model(run.best) for run in runs]
    rules = sorted({header.border for _, header in loaded})
    if len(rules) > 1 and border is None:
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
    samples, label = open_run_data(runs[0], data, split, object_values, categories)
    members = [run.name for run in runs] if len(runs) > 1 else []
    run = _open_joint_folder(out or _name_joint_folder(runs, tta), runs, tta, engine)
    evaluation = evaluate(
        scorer,
        header,
        samples,
        engine=engine,
        split=split,
        label=label,
        border=border,
        empty=empty,
        allow_overlap=allow_overlap,
        run=run,
        about={"tta": tta, "members": members},
        progress=show_progress,
    )
    if engine.is_main:
        _draw_panels(run, label, scorer, samples, evaluation)
    return evaluation, run


def _open_scorable(folder: Path) -> Run:
    run = open_run(folder)
    if not run.best.exists():
        joint = "; it averages other runs: evaluate those again" if (folder / JOINT).exists() else ""
        raise UserError(f"{folder} has no best.safetensors{joint or ' yet: let fgbg train finish an epoch'}")
    return run


def open_run_data(
    run: Run, data: str, split: str, object_values: Sequence[int] = (), categories: Sequence[str] = ()
) -> tuple[SampleSet, str]:
    """The photos of a split of the run's own data, or of other data, and what to call them in file names.

    Raises:
        UserError: The data are not there, have changed, or were given to the Python API.
    """
    config = run.config
    if not data and not config.data:
        raise UserError(
            f"{run.folder} was trained on samples given to the Python API: name the DATA to score, or call fgbg.evaluate"
        )
    if object_values and not data:
        raise UserError("--object-values: the run knows its own masks; name other DATA to say what theirs mean")
    if categories and not data:
        raise UserError("--categories: the run knows its own object; name other DATA to say what theirs is")
    locked = run.locked_splits()
    if data:
        chosen = categories or (config.categories if has_outlines(Path(data).expanduser()) else ())
        named = open_samples(data, object_values=object_values, categories=chosen, progress=show_progress)
        if named.fingerprint != run.fingerprint:
            # Scores on other data stand beside the run's own, never in their place.
            return named.of(split), f"{named.name}_{split}"
        own = replace(named, samples=tuple(lock_splits(named.samples, locked)))
    else:
        own = open_samples(
            config.data,
            object_values=config.object_values,
            categories=config.categories,
            locked=locked,
            progress=show_progress,
        )
        if own.fingerprint != run.fingerprint:
            raise UserError(
                f"photos or masks of {own.name} have changed since {run.folder} was trained (hash {run.fingerprint}, now "
                f"{own.fingerprint}): restore them, or name the DATA to score it as other data"
            )
    return own.of(split), split


JOINT = "members.json"
"""What a folder holds whose scores are of several runs, or of one seen several ways."""


def _name_joint_folder(runs: Sequence[Run], tta: Tta) -> Path:
    first = runs[0].folder.resolve()
    name = first.name if len(runs) == 1 else f"ensemble-of-{len(runs)}"
    return first.with_name(name if tta == "none" else f"{name}-{tta}")


def _open_joint_folder(folder: Path, runs: Sequence[Run], tta: Tta, engine: Engine) -> Run:
    """The folder for joint scores, new or of the same runs; its settings are the first run's."""
    content = json.dumps({"members": [str(run.folder.resolve()) for run in runs], "tta": tta}, indent=1) + "\n"
    if engine.is_main:
        make_folder(folder)
        known = folder / JOINT
        if known.exists() and known.read_text(encoding="utf-8") != content:
            raise UserError(f"{folder} holds the scores of other runs: choose another --out")
        if not known.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty: choose another --out")
        known.write_text(content, encoding="utf-8")
        config = runs[0].config
        model = config.model if len(runs) == 1 else f"ensemble of {len(runs)}"
        Run(folder).write_config(replace(config, model=model, out=str(folder)))
    engine.wait()
    return Run(folder)


def panels_path(run: Run, label: str) -> Path:
    """The picture of best, median and worst photos of a scored set (`test`, …)."""
    return run.charts / f"panels_{label}.png"


def _draw_panels(run: Run, label: str, predictor: Scorer, samples: SampleSet, evaluation: Evaluation) -> None:
    rule: Border = evaluation.statement["border"]
    draw_panels(_make_panels(predictor, samples, evaluation.rows, rule), panels_path(run, label))


def _make_panels(predictor: Scorer, samples: SampleSet, rows: list[ScoreRow], border: Border) -> list[Panel]:
    """The worst, the median and the best photos with prediction and truth."""
    ranked = sorted((row for row in rows if not np.isnan(row.dice)), key=lambda row: (row.dice, row.id))
    kinds: dict[str, tuple[str, ScoreRow]] = {}
    middle = max(0, len(ranked) // 2 - PANELS // 2)
    for kind, picked in (
        ("worst", ranked[:PANELS]),
        ("median", ranked[middle : middle + PANELS]),
        ("best", ranked[: -PANELS - 1 : -1]),
    ):
        for row in picked:
            kinds.setdefault(row.id, (kind, row))  # a tiny set may have one photo as worst and best
    places = {sample.id: index for index, sample in enumerate(samples.samples)}
    panels = []
    for sample_id, (kind, row) in kinds.items():
        index = places[sample_id]
        sample = samples.samples[index]
        probability = predictor.probability(sample.read_pixels(), row.height, row.width)
        target = apply_border(samples.read_levels(index), border)
        title = f"{kind} · {sample_id} · Dice {row.dice:.4f}"
        panels.append(Panel(title, sample.read_full_pixels(), probability > predictor.threshold, target))
    return panels
