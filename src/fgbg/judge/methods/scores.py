"""Sentences on how photos were scored, what came out, and what makes it doubtful."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fgbg.judge.bootstrap import RESAMPLES, read_mean_dice
from fgbg.judge.comparison import Comparison, word_p
from fgbg.judge.methods.recipes import Recipe
from fgbg.judge.names import name_copies, name_data, name_epochs, name_known_groups
from fgbg.judge.page.tables import Cell, Table
from fgbg.judge.page.wording import word
from fgbg.run import Run

Statement = Mapping[str, Any]

_VIEWS = {"flip": "each photo and its mirror image", "scale": "three sizes of each photo"}
_TESTS = {
    "model": "paired bootstrap over {}, of these two trained models",
    "recipe": "Welch’s test over {} (Welch, 1947)",
    "folds": "corrected resampled t-test over {} (Nadeau and Bengio, 2003)",
}


def tell_scoring(statements: Sequence[Statement], objectives: Iterable[str]) -> Iterator[str]:
    """The rules, which all statements that are compared have in common.

    Args:
        statements: Of each run.
        objectives: What their thresholds were chosen for (`--threshold-for`).
    """
    rules = statements[0]
    yield (
        "Every photo was scored at its own size: a pixel is object where its probability exceeds the threshold, and Dice is "
        "2 TP / (2 TP + FP + FN) over the photo’s judged pixels (Dice, 1945). Reported is the mean over photos."
    )
    yield from map(_tell_threshold, sorted(objectives))
    if rules["empty"] == "nan":
        yield "Photos without object in which none was found were left out."
    else:
        yield f"A photo without object in which none was found counts as {rules['empty']}."
    over = f"{rules['groups']:,} groups of photos" if rules.get("groups") else "photos"
    yield (
        f"Intervals are 95 % bootstrap intervals from {RESAMPLES:,} resamples of the {over} (Efron, 1979), with percentiles "
        "expanded for small samples (Hesterberg, 2015)."
    )
    yield "Boundary IoU is that of Cheng et al., 2021; HD95 is the 95th percentile of the distances between the outlines."
    for view in sorted({each.get("tta", "none") for each in statements} & set(_VIEWS)):
        yield f"Test-time augmentation ({view}) averages the probabilities of {_VIEWS[view]}."


def _tell_threshold(objective: str) -> str:
    kind, _, wanted = objective.partition(":")
    if kind == "none":
        return "The threshold is 0.5."
    if kind == "recall":
        return f"The threshold is the highest of 99 with a mean recall of {wanted} or more on the validation photos."
    name = {"dice": "Dice", "iou": "IoU"}[kind]
    return (
        f"The threshold is the one of 99 with the highest mean {name} on the validation photos, if its gain over 0.5 is "
        "significant (95 % interval); otherwise it is 0.5."
    )


def tell_results(statements: Mapping[str, Statement], recipes: Sequence[Recipe]) -> Iterator[str]:
    """What was scored, and mean Dice: of a recipe over its seeds where it has several, otherwise of each run."""
    told = next(iter(statements.values()))
    yield f"Scored were {told['pairs']:,} {name_data(told)} (SHA-256 {told['fingerprint']})."
    told_together = set()
    for number, recipe in enumerate(recipes, start=1):
        scored = [label for label in recipe.runs if label in statements]
        if 1 < len(scored) == len({recipe.runs[label].config.seed for label in scored}):
            means = [statements[label]["mean_dice"] for label in scored]
            spread = f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}"
            which = f"Training {number}" if len(recipes) > 1 else "The training"
            yield f"{which} has a mean Dice of {spread} (mean and standard deviation over {len(means)} seeds)."
            told_together |= set(scored)
    for label, statement in statements.items():
        if label not in told_together:
            yield f"{label}{_say_what(statement)} has a mean Dice of {read_mean_dice(statement)}."


def _say_what(told: Statement) -> str:
    """What was scored, where it is not one model by itself."""
    words = []
    if folds := told.get("folds"):
        words.append(f"{len(folds)} folds, each photo by the model that had not seen it")
    if len(told.get("members") or ()) > 1:
        words.append(f"{len(told['members'])} models, their probabilities averaged")
    if told.get("tta", "none") != "none":
        words.append(f"test-time augmentation: {told['tta']}")
    return f" ({'; '.join(words)})" if words else ""


def tabulate_scores(statements: Mapping[str, Statement]) -> Table:
    """One row for each run."""
    measures = {
        "IoU": ("mean_iou", 4),
        "Precision": ("mean_precision", 4),
        "Recall": ("mean_recall", 4),
        "Boundary IoU": ("mean_boundary_iou", 4),
        "HD95, px": ("mean_hausdorff95", 2),
    }
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            name_epochs(told).removeprefix("epoch "),
            "of each fold" if told.get("folds") else f"{told['threshold']:g}",
            str(read_mean_dice(told)),
            *(word(told.get(name), digits) for name, digits in measures.values()),
        )
        for label, told in statements.items()
    ]
    return Table(("Run", "Epoch", "Threshold", "Mean Dice, 95 % interval", *measures), rows)


def tell_comparisons(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Each difference, with the test behind its verdict."""
    if any(each.p_holm != each.p for each in comparisons):
        yield "With regard to the number of comparisons, p is adjusted by Holm’s method (Holm, 1979)."
    for each in comparisons:
        adjusted = "" if each.p_holm == each.p else f", adjusted p {word_p(each.p_holm)}"
        test = _TESTS[each.question].format(each.sample)
        winner = {"A is better": f"{each.a} is better", "B is better": f"{each.b} is better"}.get(each.verdict)
        yield (
            f"From {each.a} to {each.b}, mean Dice changes by {each.difference.signed()} ({test}; p {word_p(each.p)}"
            f"{adjusted}): {winner or 'which is better cannot be told'}."
            + (f" {each.sensitivity[:1].upper()}{each.sensitivity[1:]}." if each.sensitivity else "")
        )


def tell_doubts(scored: Mapping[str, tuple[Run, Statement]], split: str) -> Iterator[str]:
    """What makes a score too good, or old; such a sentence belongs beside the score."""
    for label, (run, told) in scored.items():
        if told.get("overlap"):
            yield f"{label}: this is no clean test, since {told['overlap']}."
        for doubt in filter(None, (name_copies(told), name_known_groups(told), run.find_stale(split))):
            yield f"{label}: {doubt}."
