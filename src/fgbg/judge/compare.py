"""Is one run better than another? Two questions, which are never mixed.

*Which of two models?* Both answered the same photos, so their scores are compared photo by photo. *Which of two recipes?*
Another seed of the same recipe gives another model, and photos cannot tell how different: seeds are a sample as photos are.
Tested over photos alone, two seeds of one recipe differ "significantly" in about half of all cases (docs/claims.md). Two
cross-validations over the same folds ask about recipes too: their folds are the sample.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fgbg.errors import UserError
from fgbg.judge.bootstrap import FEWEST_UNITS, adjust_holm, check_difference, find_detectable, find_groups
from fgbg.judge.comparable import Scores, read_comparable
from fgbg.judge.comparison import Comparison, Pair
from fgbg.judge.names import LAB_NAMES, name_data, name_runs
from fgbg.judge.recipe import find_objective, settings_of_recipe
from fgbg.judge.trainings import FEWEST_SEEDS, compare_folds, compare_recipes, pair_folds
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import Question, name_some, plural

SIGNIFICANT = 0.05


def compare_runs(
    runs: Sequence[Run],
    *,
    split: str = "test",
    question: Question = "auto",
    allow_overlap: bool = False,
    seed: int = 0,
) -> list[Comparison]:
    """Compare runs that were scored on the same photos: every pair of models or recipes, with Holm's adjustment.

    Args:
        runs: Two or more; the first of a pair is A. Runs whose settings differ only in the seed are one recipe.
        split: Which scores.
        question: `auto` asks about recipes where there are two or more with FEWEST_SEEDS runs each, otherwise about models.
        allow_overlap: Compare even if a model has seen some of the photos; each comparison then carries a note.
        seed: Seed of the bootstrap.

    Raises:
        UserError: Fewer than two runs, one of them twice, scores that cannot be compared, or too few seeds for the question.
    """
    scored = read_comparable(runs, split)
    doubts = [f"{run.name}: {told}" for run in runs if (told := run.statement(split).get("overlap"))]
    if doubts and not allow_overlap:
        raise UserError(f"{name_some(doubts, 2)}: no clean test, and no fair comparison; go on with --allow-overlap")
    recipes: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        recipes.setdefault(_find_recipe(run, split), []).append(run)
    fewest = min(len(members) for members in recipes.values())
    folds = {run: told for run in runs if (told := run.statement(split).get("folds"))}
    if question == "recipe" and (len(recipes) < 2 or fewest < FEWEST_SEEDS) and len(folds) < len(runs):
        counts = ", ".join(f"{members[0].name}: {len(members)}" for members in recipes.values())
        raise UserError(
            f"--question recipe needs two recipes or more with {FEWEST_SEEDS} seeded runs each; "
            f"here are {len(recipes)} ({counts}): train more seeds, or ask about the models"
        )
    if question != "model" and len(recipes) > 1 and fewest >= FEWEST_SEEDS:
        for members in recipes.values():
            _require_trainings(members, split)
        comparisons = _compare_recipes(list(recipes.values()), scored)
    else:
        folds = {} if question == "model" else folds
        comparisons = _compare_models(runs, list(recipes.values()), scored, seed, folds, is_of_folds=question == "recipe")
    adjusted = adjust_holm([each.p for each in comparisons])
    judged = [_judge(each, p, len(comparisons)) for each, p in zip(comparisons, adjusted, strict=True)]
    stale = [f"{run.name}: {told}" for run in runs if (told := run.find_stale(split))]
    return [dataclasses.replace(each, notes=(*doubts, *stale, *each.notes)) for each in judged]


def describe_comparisons(comparisons: Sequence[Comparison], runs: Sequence[Run], split: str) -> str:
    """What was compared by which rules, and each comparison, as lines to print."""
    told = runs[0].statement(split)
    rules = f"{name_data(told)}: {told['pairs']:,} pairs · hash {told['fingerprint']}"
    return "\n\n".join([f"{rules} · border = {told['border']}", *(each.describe() for each in comparisons)])


def _find_recipe(run: Run, split: str) -> tuple[Any, ...]:
    """What two seeds of one recipe have in common."""
    told = run.statement(split)
    settings = settings_of_recipe(run)
    return (*settings.items(), run.fingerprint, told.get("tta"), len(told.get("members") or ()), find_objective(run))


def _require_trainings(members: Sequence[Run], split: str) -> None:
    """Refuse runs of one recipe that share a training: their scores are not independent, and would look too certain.

    Raises:
        UserError: Two of them had the same seed, or are ensembles with a member in common.
    """
    cure = "leave one out, or ask about the models (--question model)"
    trainings = {run: _find_trainings(run, split) for run in members}
    for (first, some), (second, others) in combinations(trainings.items(), 2):
        if not some and not others and first.config.seed == second.config.seed:
            raise UserError(
                f"{first.folder} and {second.folder} are of one recipe and have the same seed ({first.config.seed}): they "
                f"are one training; train with other seeds (--seed), {cure}"
            )
        if shared := some & others:
            raise UserError(
                f"{first.folder} and {second.folder} are ensembles with {name_some(sorted(shared), 3)} in common: their "
                f"scores are not independent; {cure}"
            )


def _find_trainings(run: Run, split: str) -> set[str]:
    """The runs whose models an ensemble averaged; none for a run of its own."""
    told = run.statement(split)
    members = told.get("member_models", ()) if told.get("members") else ()
    return {str((run.folder / member["run"]).resolve()) for member in members}


def _compare_models(
    runs: Sequence[Run],
    recipes: list[list[Run]],
    scored: Scores,
    seed: int,
    folds: Mapping[Run, list[dict[str, Any]]],
    *,
    is_of_folds: bool,
) -> list[Comparison]:
    """Every pair of models; with several recipes, only pairs across recipes.

    Args:
        runs: The runs.
        recipes: The same, by recipe.
        scored: Their rows.
        seed: Seed of the bootstrap.
        folds: What the statements of cross-validations say of their folds, by run: two that cut the photos alike are
            compared fold by fold.
        is_of_folds: Refuse pairs that cannot be.

    Raises:
        UserError: They cannot be.
    """
    labels = {run: label for label, run in name_runs(runs).items()}
    recipe_of = {run: place for place, members in enumerate(recipes) for run in members}
    comparisons = []
    for a, b in combinations(runs, 2):
        same = recipe_of[a] == recipe_of[b]
        if same and len(recipes) > 1:
            continue
        pairs, notes = _pair_up([scored[a]], [scored[b]])
        groups = find_groups(scored[a][pair.id] for pair in pairs)
        test = check_difference(np.array([pair.b - pair.a for pair in pairs]), groups=groups, seed=seed)
        few = _say_few(test.units, groups)
        difference, p, freedom = test.difference, test.p, test.freedom
        sample = f"{test.units} {'groups of photos' if groups else 'photos'}"
        paired = pair_folds(scored[a], scored[b], pairs, folds[a]) if a in folds and b in folds else None
        if is_of_folds and not paired:
            raise UserError(
                f"{a.folder} and {b.folder} cannot be compared fold by fold: they cut the photos into other folds, or a "
                "fold has no photo with a score; cross-validate both alike (--folds, --split-seed), or ask about the models "
                "(--question model)"
            )
        if paired:
            difference, p, freedom = compare_folds(paired, test.difference.mean)
            sample = f"{len(paired.differences)} folds"
            notes += [f"fold by fold: {', '.join(f'{each:+.4f}' for each in paired.differences)}"]
        if all(pair.a == pair.b for pair in pairs):
            notes += ["both have the same score on every photo: they may be one and the same model"]
        elif same:
            notes += ["these are seeds of one recipe: what differs between them is chance"]
        elif not paired:
            notes += [f"these two models only; run {FEWEST_SEEDS} seeds of each to judge the recipe"]
        comparisons.append(
            Comparison(
                question="folds" if paired else "model",
                a=labels[a],
                b=labels[b],
                verdict="cannot tell" if few else "",
                difference=difference,
                p=p,
                p_holm=p,
                pairs=tuple(pairs),
                runs_a=(a.name,),
                runs_b=(b.name,),
                sample=sample,
                freedom=freedom,
                notes=(*few, *notes),
            )
        )
    return comparisons


def _compare_recipes(recipes: list[list[Run]], scored: Scores) -> list[Comparison]:
    """Every pair of recipes, with their seeds and the photos as samples."""
    labels = _name_recipes(recipes)
    comparisons = []
    for (label_a, runs_a), (label_b, runs_b) in combinations(zip(labels, recipes, strict=True), 2):
        sides = [[scored[run] for run in runs] for runs in (runs_a, runs_b)]
        pairs, notes = _pair_up(*sides)
        known = [pair.id for pair in pairs]
        groups = find_groups(sides[0][0][key] for key in known)
        few = _say_few(len(set(groups or known)), groups)
        scores = [np.array([[rows[key].dice for key in known] for rows in side]) for side in sides]
        test = compare_recipes(*scores, groups=groups)
        seeds = [
            f"seeds of {label}: {', '.join(f'{mean:.4f}' for mean in side.mean(1))}"
            for label, side in zip((label_a, label_b), scores, strict=True)
        ]
        if 0 < test.photo_share < 1:
            shares = f"{100 * test.photo_share:.0f} % from the photos, the rest from the seeds"
            seeds.append(f"of the variance behind the interval, {shares}")
        units = f"{len(set(groups))} groups of photos" if groups else f"{len(known)} photos"
        comparisons.append(
            Comparison(
                question="recipe",
                a=label_a,
                b=label_b,
                verdict="cannot tell" if few else "",
                difference=test.difference,
                p=test.p,
                p_holm=test.p,
                pairs=tuple(pairs),
                runs_a=tuple(run.name for run in runs_a),
                runs_b=tuple(run.name for run in runs_b),
                sample=f"{len(runs_a)} and {len(runs_b)} seeds on {units}",
                freedom=test.freedom,
                notes=(*notes, *few, *seeds),
                more="photos" if test.photo_share > 0.5 else "seeds",
            )
        )
    return comparisons


def _say_few(units: int, groups: Sequence[str] | None) -> list[str]:
    """A note where so few photos, or groups of them, cannot tell."""
    kind = "groups" if groups else "photos"
    return [f"fewer than {FEWEST_UNITS} {kind} are too few for a verdict"] if units < FEWEST_UNITS else []


def _pair_up(side_a: list[dict[str, ScoreRow]], side_b: list[dict[str, ScoreRow]]) -> tuple[list[Pair], list[str]]:
    """The photos that have a score in every run, and a note on the others."""
    pairs = []
    for key in side_a[0]:
        a, b = (np.mean([rows[key].dice for rows in side]) for side in (side_a, side_b))
        if not np.isnan(a + b):
            pairs.append(Pair(key, float(a), float(b)))
    if not pairs:
        raise UserError("no photo has a score in every run: evaluate them with --empty 1")
    left_out = side_a[0].keys() - {pair.id for pair in pairs}
    if not left_out:
        return pairs, []
    unjudged = {key for key in left_out if not side_a[0][key].is_judged}
    left_out -= unjudged
    notes = [f"{plural(len(unjudged), 'photo')} left out, of which no pixel is judged"] if unjudged else []
    if left_out:
        notes += [f"{plural(len(left_out), 'photo')} left out, on which a model rightly found nothing (--empty nan)"]
    for name, side in (("A", side_a), ("B", side_b)):
        if alarms := sum(any(not np.isnan(rows[key].dice) for rows in side) for key in left_out):
            notes.append(
                f"on {alarms} of them {name} found something, which costs it nothing here: --empty 1 would count it"
            )
    return pairs, notes


def _judge(comparison: Comparison, p_holm: float, comparisons: int) -> Comparison:
    better = "B is better" if comparison.difference.mean > 0 else "A is better"
    verdict = comparison.verdict or (better if p_holm < SIGNIFICANT else "cannot tell")
    is_open = not comparison.verdict  # otherwise there are too few photos for any verdict, whatever the difference
    detectable = find_detectable(comparison.difference, comparison.freedom, comparisons=comparisons) if is_open else math.inf
    return dataclasses.replace(comparison, verdict=verdict, p_holm=p_holm, detectable=detectable)


def _name_recipes(recipes: list[list[Run]]) -> list[str]:
    """Each recipe's model name, with the settings that differ between recipes of the same model."""
    settings = [settings_of_recipe(members[0]) for members in recipes]
    labels = []
    for mine in settings:
        name = LAB_NAMES.get(str(mine["model"]), str(mine["model"]))
        rivals = [other for other in settings if other is not mine and other["model"] == mine["model"]]
        told = [key for key in mine if any(other.get(key) != mine[key] for other in rivals)]
        labels.append(", ".join([name, *(f"{key} {mine[key]}" for key in told)]))
    if len(set(labels)) < len(labels):  # same settings, but other data or views: the first run tells them apart
        labels = [f"{label} ({members[0].name})" for label, members in zip(labels, recipes, strict=True)]
    return labels
