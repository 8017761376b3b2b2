"""Sentences on how photos were scored, what came out, and what makes it doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fgbg.judge.bootstrap import RESAMPLES, read_mean_dice
from fgbg.judge.comparison import Comparison, word_p
from fgbg.judge.markdown import Cell, Table
from fgbg.judge.methods.data import BORDERS
from fgbg.judge.methods.recipes import Recipe
from fgbg.judge.names import name_data, name_doubts, name_epochs
from fgbg.judge.objects import OBJECT_SCORES, has_several_objects
from fgbg.judge.page.wording import DASH, word
from fgbg.judge.recipe import find_objective
from fgbg.run import Run
from fgbg.words import plural

Statement = Mapping[str, Any]

_VIEWS = {"flip": "each photo and its mirror image", "scale": "three sizes of each photo"}
_TESTS = {
    "model": "paired bootstrap over {}, of these two sets of predictions",
    "recipe": "t-test with crossed random effects of {} (Dorfman et al., 1992; Satterthwaite, 1946)",
    "folds": "corrected resampled t-test over {} (Nadeau and Bengio, 2003)",
}


def tell_scoring(statements: Sequence[Statement], *, has_band: bool) -> Iterator[str]:
    """The rules, and in which of them scores differ.

    Args:
        statements: Of each run.
        has_band: Whether masks may leave a band open.
    """
    has_model = not all(each.get("masks") for each in statements)
    threshold = " a pixel is object where its probability exceeds the threshold, and" if has_model else ""
    yield (
        f"Every photo was scored at its own size:{threshold} Dice is 2 TP / (2 TP + FP + FN) over the photo’s judged pixels "
        "(Dice, 1945). Reported is the mean over photos."
    )
    empty = {each["empty"] for each in statements}
    rules = ["is left out" if each == "nan" else f"counts as {each}" for each in sorted(empty)]
    yield f"A photo without object in which none was found {_say_each(rules)}."
    if has_band:
        borders = sorted({BORDERS[each["border"]] for each in statements})
        yield f"A band along the outline that masks leave open {_say_each(borders)}."
    if has_model:
        yield "Each threshold and why it was chosen stand beside the scores."
    if any(each["mean_dice_low"] is not None for each in statements):
        over = "groups of photos" if any(each.get("groups") for each in statements) else "photos"
        yield (
            f"Intervals are 95 % bootstrap intervals from {RESAMPLES:,} resamples of the {over} (Efron, 1979), with "
            "percentiles expanded for small samples (Hesterberg, 2015)."
        )
    yield (
        "Boundary IoU is that of Cheng et al., 2021; HD95 is the 95th percentile of the distances between the outlines, "
        "over photos with both."
    )
    if any(map(has_several_objects, statements)):
        yield (
            "Objects are the parts of a mask that do not touch; one is found if a predicted part has an intersection over "
            "union above 0.5 with it, and shares are of the objects of all photos together (Caicedo et al., 2019)."
        )
    for view in sorted({each.get("tta", "none") for each in statements} & set(_VIEWS)):
        yield f"Test-time augmentation ({view}) averages the probabilities of {_VIEWS[view]}."


def tell_given_masks(statements: Mapping[str, Statement]) -> Iterator[str]:
    """Whose scores are of masks made elsewhere."""
    for label, told in statements.items():
        if masks := told.get("masks"):
            yield (
                f"{label} are masks that were made elsewhere ({masks['encoding']}; SHA-256 of photos and masks "
                f"{masks['fingerprint']}…): how, and from which photos, is yours to add. They were scored by fgbg "
                f"{masks['scored_by']}."
            )


def _say_each(rules: Sequence[str]) -> str:
    return rules[0] if len(rules) == 1 else f"{' in some scores, '.join(rules)} in others"


def tell_results(statements: Mapping[str, Statement], recipes: Sequence[Recipe]) -> Iterator[str]:
    """What was scored, and mean Dice: of a recipe over its seeds where it has several, otherwise of each run."""
    sets: dict[tuple[Any, ...], list[str]] = {}
    for label, told in statements.items():
        key = (name_data(told), told["pairs"], told.get("groups", 0), told["fingerprint"])
        sets.setdefault(key, []).append(label)
    for (name, pairs, groups, fingerprint), labels in sets.items():
        of = f"{', '.join(labels)}: " if len(sets) > 1 else ""
        in_groups = f" in {plural(groups, 'group')}" if groups else ""
        yield f"{of}Scored were the {name} ({pairs:,} of them{in_groups}; SHA-256 {fingerprint}…)."
    told_together: set[str] = set()
    for number, recipe in enumerate(recipes, start=1):
        scored = [label for label in recipe.runs if label in statements]
        if _are_seeds(recipe, scored, statements):
            means = [statements[label]["mean_dice"] for label in scored]
            spread = f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}"
            which = f"Training {number}" if len(recipes) > 1 else "The training"
            yield f"{which} has a mean Dice of {spread} (mean and standard deviation over {len(means)} seeds)."
            told_together |= set(scored)
    for label, statement in statements.items():
        if label not in told_together:
            yield f"{label}{_say_what(statement)} has a mean Dice of {_say_mean(statement)}."
            yield from _tell_folds(statement)
    for label, statement in statements.items():
        if has_several_objects(statement):
            recall, precision, f1 = (word(statement[name]) for name in OBJECT_SCORES)
            yield (
                f"Of the {statement['object_count']:,} objects, {label} found {statement['found_count']:,} ({recall}); of "
                f"its {statement['predicted_count']:,} parts {precision} were objects (F1 {f1})."
            )


def _are_seeds(recipe: Recipe, scored: Sequence[str], statements: Mapping[str, Statement]) -> bool:
    """Whether these are several seeds that were scored alike, of which a mean makes sense."""
    rules = {tuple(statements[label].get(name) for name in ("fingerprint", "border", "empty", "tta")) for label in scored}
    seeds = {recipe.runs[label].config.seed for label in scored}
    objectives = {find_objective(recipe.runs[label]) for label in scored}
    return 1 < len(scored) == len(seeds) and len(rules) == len(objectives) == 1


def _say_mean(told: Statement) -> str:
    return (
        str(read_mean_dice(told))
        if told["mean_dice_low"] is not None
        else f"{told['mean_dice']:.4f} (too few for an interval)"
    )


def _tell_folds(told: Statement) -> Iterator[str]:
    if folds := told.get("folds"):
        means = [fold["mean_dice"] for fold in folds]
        listed = ", ".join(f"{mean:.4f}" for mean in means)
        yield f"Fold by fold it is {listed} (standard deviation {np.std(means, ddof=1):.4f})."


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
    measures = ("mean_iou", "mean_precision", "mean_recall", "mean_boundary_iou")
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            name_epochs(told).removeprefix("epoch "),
            _say_mean(told),
            *(word(told.get(name)) for name in measures),
            _say_distance(told),
            _say_threshold(told),
        )
        for label, told in statements.items()
    ]
    columns = (
        "Run",
        "Epoch",
        "Mean Dice, 95 % interval",
        "IoU",
        "Precision",
        "Recall",
        "Boundary IoU",
        "HD95, px",
        "Threshold",
    )
    return Table(columns, rows)


def _say_threshold(told: Statement) -> str:
    if told.get("masks"):
        return DASH
    return ("" if told.get("folds") else f"{told['threshold']:g}: ") + str(told.get("threshold_reason", DASH))


def _say_distance(told: Statement) -> str:
    """HD95, and of how many photos if not of all."""
    counted = told.get("outlines_count", told["pairs"])
    return word(told.get("mean_hausdorff95"), 2) + ("" if counted == told["pairs"] else f" ({plural(counted, 'photo')})")


def tell_comparisons(comparisons: Sequence[Comparison], refusal: str) -> Iterator[str]:
    """Each difference, with the test behind its verdict and what qualifies it; or why nothing is compared."""
    if refusal:
        yield f"They are not compared: {refusal}."
    if any(each.p_holm != each.p for each in comparisons):
        yield "With regard to the number of comparisons, p is adjusted by Holm’s method (Holm, 1979)."
    for each in comparisons:
        adjusted = "" if each.p_holm == each.p else f", adjusted p {word_p(each.p_holm)}"
        test = _TESTS[each.question].format(each.sample)
        winner = {"A is better": f"{each.a} is better", "B is better": f"{each.b} is better"}.get(each.verdict)
        yield (
            f"From {each.a} to {each.b}, mean Dice changes by {each.difference.signed()} ({test}; p {word_p(each.p)}"
            f"{adjusted}): {winner or 'which is better cannot be told'}."
        )
        for qualification in filter(None, (each.detectable_in_words, *each.notes)):
            begins_with_name = qualification.startswith((each.a, each.b))
            yield f"{qualification if begins_with_name else _capitalise(qualification)}".rstrip(".") + "."


def _capitalise(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}"


def tell_doubts(scored: Mapping[str, tuple[Run, Statement]], split: str) -> Iterator[str]:
    """What makes a score too good, or old; such a sentence belongs beside the score."""
    if split == "validation":
        yield "Validation photos chose the epoch and the threshold: these scores are too good."
    for label, (run, told) in scored.items():
        if told.get("overlap"):
            yield f"{label}: this is no clean test, since {told['overlap']}."
        for doubt in filter(None, (*name_doubts(told), run.find_stale(split))):
            yield f"{label}: {doubt}."
