"""How good a model is: its scores, whether another is better, and a page that shows both."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from fgbg.cli.verb import is_main, parse, require_extra
from fgbg.errors import UserError
from fgbg.judge.scoring import Scoring
from fgbg.storage import is_run, list_folds
from fgbg.words import Border, ObjectValue, Question, Tta


@dataclass(frozen=True)
class EvaluateArguments:
    """Score a model on photos it was not trained on: one row per image, mean Dice with its interval.

    On validation photos the threshold is also chosen, and stored in the model. With --masks, masks made elsewhere are scored
    by the same rules.
    """

    inputs: Positional[tuple[str, ...]]
    """A run folder, then DATA if it is not the run's own; with --masks also DATA alone. All folds of a cross-validation, or
    the folder of them, are scored together; several other runs with --ensemble."""
    split: Literal["test", "validation"] = "test"
    """Which photos. Choose models by validation, and look at test once."""
    threshold_for: str = ""
    """With --split validation: choose the threshold for dice, iou or recall:0.95, or none to keep 0.5."""
    ensemble: bool = False
    """Average the probabilities of several runs."""
    tta: Tta = "none"
    """Average over views of each photo: the photo and its mirror image, or three sizes."""
    masks: str = ""
    """Score the masks in this folder, made by another tool or a second annotator: one for each photo of the run or DATA."""
    mask_values: tuple[ObjectValue, ...] = ()
    """Which values of --masks are object, or nonzero for all but 0; only needed if they leave it open."""
    mask_threshold: float | None = None
    """Where --masks are shades of grey: object above this share of white, such as 0.5."""
    out: str = ""
    """Folder for the scores of all folds, of --ensemble, --tta or --masks; by default the folds' own, or one beside the
    first run."""
    conventions: bool = False
    """Also print what other libraries would report for the same predictions."""
    border: Border | None = None
    """What a trimap's band counts as; the model's own rule by default."""
    empty: Literal["1", "0", "nan"] = "1"
    """Score of an image without an object if none is predicted; nan leaves it out of the mean."""
    object_values: tuple[ObjectValue, ...] = ()
    """Which stored mask values are object in DATA, or nonzero for all but 0; only needed if DATA leaves it open."""
    categories: tuple[str, ...] = ()
    """Which COCO categories or LabelMe labels are object in DATA, or all; those of the run by default."""
    allow_overlap: bool = False
    """Score even photos that the model has seen; the score says how many."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """CPU threads; 0 shares the cores among the processes."""
    json: bool = False
    """Print the statement as JSON."""


def evaluate_verb(argv: Sequence[str]) -> int:
    """Score a run, or several as one model."""
    require_extra("train", argv)
    arguments = parse(EvaluateArguments, argv)
    from fgbg.judge.conventions import describe_conventions, reproduce_conventions

    if arguments.masks:
        evaluation, note = _score_masks(arguments)
    else:
        evaluation, note = _score(arguments)
    if is_main():
        if arguments.json:
            content = evaluation.statement
            if arguments.conventions:
                known = {each.name: each.value for each in reproduce_conventions(evaluation.rows)}
                content = content | {
                    "conventions": {name: None if math.isnan(value) else value for name, value in known.items()}
                }
            print(json.dumps(content, indent=2))
            return 0
        print(evaluation.describe() + note)
        if arguments.conventions:
            print(f"\n{describe_conventions(evaluation.rows)}")
    return 0


def _score(arguments: EvaluateArguments) -> tuple[Any, str]:
    """The evaluation of one run, of all folds, or of several models or views as one; and what to add to its description."""
    from fgbg.judge.folds import evaluate_folds
    from fgbg.judge.runs import score_run
    from fgbg.judge.together import evaluate_together
    from fgbg.run import open_run

    if arguments.mask_values or arguments.mask_threshold is not None:
        raise UserError("--mask-values and --mask-threshold say how --masks are read: name the folder of masks")
    runs, data = _part_runs_from_data(arguments.inputs, several=arguments.ensemble)
    scoring = _read_scoring(arguments)
    of_data: dict[str, Any] = {"object_values": arguments.object_values, "categories": arguments.categories}
    out = Path(arguments.out) if arguments.out else None
    is_joint = arguments.ensemble or arguments.tta != "none"
    if is_joint and arguments.threshold_for:
        raise UserError("--threshold-for: several models or views take the mean of their models' thresholds")
    if len(runs) > 1 and not arguments.ensemble:
        if data:
            raise UserError(f"{data}: folds are scored on their own photos; add --ensemble to average them on other DATA")
        evaluation, run = evaluate_folds(runs, scoring, tta=arguments.tta, out=out, threshold_for=arguments.threshold_for)
        return evaluation, f"\nscores in {run.folder}: a page of them is made by fgbg report {run.folder} --out report"
    if is_joint:
        evaluation, run = evaluate_together(runs, data, scoring, tta=arguments.tta, out=out, **of_data)
        return evaluation, f"\nscores in {run.folder}: compare it with fgbg compare {runs[0]} {run.folder}"
    if out:
        raise UserError("--out: a run's scores stay in its own folder; --out is for all folds, --ensemble and --tta")
    evaluation = score_run(runs[0], data, scoring, threshold_for=arguments.threshold_for, **of_data)
    # Earlier scores may be those of another epoch or another threshold.
    return evaluation, "".join(f"\nnote: {stale}" for stale in open_run(runs[0]).list_stale())


def _score_masks(arguments: EvaluateArguments) -> tuple[Any, str]:
    """The evaluation of masks made elsewhere, and what to add to its description."""
    from fgbg.judge.evaluate_masks import evaluate_masks

    unfit = {"--ensemble": arguments.ensemble, "--tta": arguments.tta != "none", "--threshold-for": arguments.threshold_for}
    if given := [flag for flag, is_given in unfit.items() if is_given]:
        raise UserError(f"{given[0]} is for models: leave it out with --masks")
    runs = [name for name in arguments.inputs if is_run(Path(name)) or list_folds(Path(name))]
    others = [name for name in arguments.inputs if name not in runs]
    if len(runs) > 1 or len(others) > 1:
        raise UserError("--masks are compared with one set of true masks: name one run, or one DATA")
    masks = Path(arguments.masks).expanduser()
    if not (runs or arguments.out):
        raise UserError("--out is needed where no run is named: which folder shall hold the scores?")
    evaluation, scores = evaluate_masks(
        masks,
        others[0] if others else "",
        _read_scoring(arguments),
        out=Path(arguments.out) if arguments.out else Path(runs[0]).parent / masks.resolve().name,
        run=Path(runs[0]) if runs else None,
        mask_values=arguments.mask_values,
        mask_threshold=arguments.mask_threshold,
        object_values=arguments.object_values,
        categories=arguments.categories,
    )
    return (
        evaluation,
        f"\nscores in {scores.folder}: compare them with fgbg compare {runs[0] if runs else 'RUN'} {scores.folder}",
    )


def _read_scoring(arguments: EvaluateArguments) -> Scoring:
    return Scoring(
        split=arguments.split,
        border=arguments.border,
        empty=float(arguments.empty),
        allow_overlap=arguments.allow_overlap,
        device=arguments.device,
        threads=arguments.threads,
    )


def _part_runs_from_data(inputs: Sequence[str], *, several: bool) -> tuple[list[Path], str]:
    """The run folders, and the DATA that may follow them."""
    inputs = [name for given in inputs for name in [str(run) for run in list_folds(Path(given))] or [given]]
    runs = [name for name in inputs if is_run(Path(name))]
    others = [name for name in inputs if name not in runs]
    if not runs and others:  # not a run: the error on opening it says why
        runs, others = others[:1], others[1:]
    if not runs:
        raise UserError("which run? Name a folder that fgbg train wrote")
    if len(others) > 1:
        raise UserError(f"{others[0]} and {others[1]} are no run folders; one DATA at most may follow the run")
    if several and len(runs) < 2:
        raise UserError("--ensemble averages several runs: name two or more")
    return [Path(run) for run in runs], others[0] if others else ""


@dataclass(frozen=True)
class CompareArguments:
    """Is one run better than another? Paired statistics over the same photos, and a verdict in words."""

    runs: Positional[tuple[str, ...]]
    """Two or more scored runs. With three or more seeds of each of two recipes, the recipes are compared."""
    split: str = "test"
    """Which scores: test, validation, or the name of other data that was scored."""
    question: Question = "auto"
    """model: compare these very models. recipe: compare recipes, whatever the seed."""
    allow_overlap: bool = False
    """Compare even scores on photos that a model has seen; the verdict says so."""
    json: bool = False
    """Print everything as JSON."""


def compare_verb(argv: Sequence[str]) -> int:
    """Compare runs."""
    require_extra("train", argv)
    arguments = parse(CompareArguments, argv)
    from fgbg.judge.compare import compare_runs, describe_comparisons
    from fgbg.run import open_run

    runs = [open_run(Path(run)) for run in arguments.runs]
    comparisons = compare_runs(
        runs, split=arguments.split, question=arguments.question, allow_overlap=arguments.allow_overlap
    )
    if arguments.json:
        content = [comparison.to_json() for comparison in comparisons]
        print(json.dumps(content[0] if len(content) == 1 else {"comparisons": content}, indent=2))
    else:
        print(describe_comparisons(comparisons, runs, arguments.split))
    return 0


@dataclass(frozen=True)
class ReportArguments:
    """One page that shows how good runs are and where they fail, with workbook and charts beside it."""

    runs: Positional[tuple[str, ...]]
    """Run folders; several are compared."""
    out: str
    """The folder to write to."""
    split: str = "test"
    """Which scores: test, validation, or the name of other data that was scored."""
    allow_overlap: bool = False
    """Compare even scores of photos that a model has seen; the verdict says so."""


def report_verb(argv: Sequence[str]) -> int:
    """Report on runs."""
    require_extra("train", argv)
    arguments = parse(ReportArguments, argv)
    from fgbg.judge.report import write_report
    from fgbg.run import open_run

    runs = [open_run(Path(run)) for run in arguments.runs]
    report = write_report(runs, Path(arguments.out), arguments.split, allow_overlap=arguments.allow_overlap)
    print(report.describe())
    return 0
