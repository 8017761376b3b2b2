"""Is one run better than another? Two questions, which are never mixed.

*Which of two models?* Both answered the same photos, so their scores are compared photo by photo. *Which of two recipes?*
Another seed of the same recipe gives another model, and photos cannot tell how different: seeds are a sample as photos are.
Tested over photos alone, two seeds of one recipe differ "significantly" in about half of all cases (docs/claims.md). Two
cross-validations over the same folds ask about recipes too: their folds are the sample.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from fgbg.errors import UserError
from fgbg.judge.bootstrap import FEWEST_UNITS, PairedTest, adjust_holm, check_difference, find_detectable, find_groups
from fgbg.judge.comparable import ScoredRun, read_comparable
from fgbg.judge.comparison import Comparison, Pair
from fgbg.judge.names import LAB_NAMES, UNKNOWN_MAKER, name_data, name_runs
from fgbg.judge.recipe import find_objective, settings_of_recipe
from fgbg.judge.trainings import FEWEST_SEEDS, FoldDifferences, TrainingsTest, compare_folds, compare_recipes, pair_folds
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.storage import is_run
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
        question: `auto` asks about recipes where there are two or more, with FEWEST_SEEDS runs of each; else about models.
        allow_overlap: Compare even if a model has seen some of the photos; each comparison then carries a note.
        seed: Seed of the bootstrap.

    Raises:
        UserError: Fewer than two runs, one of them twice, scores that cannot be compared, or too few seeds for the question.
    """
    scored = read_comparable(runs, split)
    doubts = [f"{run.name}: {told}" for run, statement, _ in scored if (told := statement.get("overlap"))]
    if doubts and not allow_overlap:
        raise UserError(f"{name_some(doubts, 2)}: no clean test, and no fair comparison; go on with --allow-overlap")
    comparisons = [_compare(match, seed) for match in _choose_question(scored, question)]
    adjusted = adjust_holm([each.p for each in comparisons])
    judged = [_judge(each, p, len(comparisons)) for each, p in zip(comparisons, adjusted, strict=True)]
    stale = [f"{run.name}: {told}" for run in runs if (told := run.find_stale(split))]
    return [dataclasses.replace(each, notes=(*doubts, *stale, *each.notes)) for each in judged]


def describe_comparisons(comparisons: Sequence[Comparison], runs: Sequence[Run], split: str) -> str:
    """What was compared by which rules, and each comparison, as lines to print."""
    told = runs[0].statement(split)
    rules = f"{name_data(told)}: {told['pairs']:,} pairs · hash {told['fingerprint']}"
    unknown = [f"note: {label}: {UNKNOWN_MAKER}" for label, run in name_runs(runs).items() if run.given_masks]
    head = "\n".join([f"{rules} · border = {told['border']}", *unknown])
    return "\n\n".join([head, *(each.describe() for each in comparisons)])


class Side(NamedTuple):
    """A or B: a model, or the models of a recipe."""

    label: str
    scored: list[ScoredRun]

    @property
    def runs(self) -> list[Run]:
        """The run of each model."""
        return [each.run for each in self.scored]

    @property
    def rows(self) -> list[dict[str, ScoreRow]]:
        """Of each model, by photo."""
        return [each.rows for each in self.scored]


class Match(NamedTuple):
    """Two sides, the question that is asked of them, and the photos that answer it."""

    question: str  # a key of QUESTIONS
    a: Side
    b: Side
    pairs: list[Pair]  # photos that have a score in every run
    left_out: list[str]  # notes on the others
    are_seeds: bool = False  # two models of one recipe
    folds: FoldDifferences | None = None  # if they are asked about


class Answer(NamedTuple):
    """What the test of a question says; `sample`, `notes` and `more` as in a `Comparison`."""

    test: PairedTest | TrainingsTest
    sample: str
    notes: list[str]
    more: str = "photos"


def _choose_question(scored: Sequence[ScoredRun], question: Question) -> list[Match]:
    """Which question is asked, and of whom: of any two recipes, or any two models (of several recipes, not of one).

    Raises:
        UserError: The question that is wanted cannot be asked of these runs.
    """
    recipes: dict[tuple[Any, ...], list[ScoredRun]] = {}
    for each in scored:
        recipes.setdefault(_find_recipe(each), []).append(each)
    are_seeded = len(recipes) > 1 and min(map(len, recipes.values())) >= FEWEST_SEEDS
    folds = {run: told for run, statement, _ in scored if (told := statement.get("folds"))}
    if question == "recipe" and not are_seeded and len(folds) < len(scored):
        counts = ", ".join(f"{members[0].run.name}: {len(members)}" for members in recipes.values())
        raise UserError(
            f"--question recipe needs two recipes or more with {FEWEST_SEEDS} seeded runs each; "
            f"here are {len(recipes)} ({counts}): train more seeds, or ask about the models"
        )
    if question != "model" and are_seeded:
        for members in recipes.values():
            _require_trainings(members)
        named = zip(_name_recipes(list(recipes.values())), recipes.values(), strict=True)
        sides = [Side(label, members) for label, members in named]
        return [Match("recipe", a, b, *_pair_up(a.rows, b.rows)) for a, b in combinations(sides, 2)]
    recipe_of = {each.run: place for place, members in enumerate(recipes.values()) for each in members}
    matches = []
    labels = name_runs(each.run for each in scored)
    for a, b in combinations([Side(label, [each]) for label, each in zip(labels, scored, strict=True)], 2):
        (first,), (second,) = a.runs, b.runs
        if len(recipes) > 1 and recipe_of[first] == recipe_of[second]:
            continue
        pairs, left_out = _pair_up(a.rows, b.rows)
        can_be_paired = question != "model" and first in folds and second in folds
        paired = pair_folds(a.rows[0], b.rows[0], pairs, folds[first]) if can_be_paired else None
        if question == "recipe" and not paired:
            raise UserError(
                f"{first.folder} and {second.folder} cannot be compared fold by fold: they cut the photos into other folds, "
                "or a fold has no photo with a score; cross-validate both alike (--folds, --split-seed), or ask about the "
                "models (--question model)"
            )
        matches.append(Match("folds" if paired else "model", a, b, pairs, left_out, len(recipes) == 1, paired))
    return matches


def _find_recipe(scored: ScoredRun) -> tuple[Any, ...]:
    """What two seeds of one recipe have in common; of joint scores, what their members do."""
    run, told = scored.run, scored.statement
    members = sorted(repr(settings_of_recipe(member)) for member in run.members() if is_run(member.folder))
    count = len(told.get("members") or ())
    settings = settings_of_recipe(run)
    return (*settings.items(), *members, run.fingerprint, told.get("tta"), count, find_objective(run))


def _require_trainings(members: Sequence[ScoredRun]) -> None:
    """Refuse runs of one recipe that share a training: their scores are not independent, and would look too certain.

    Raises:
        UserError: Two of them had the same seed, or are ensembles with a member in common.
    """
    cure = "leave one out, or ask about the models (--question model)"
    trainings = {each.run: _find_trainings(each) for each in members}
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


def _find_trainings(scored: ScoredRun) -> set[str]:
    """The runs whose models an ensemble averaged; none for a run of its own."""
    told = scored.statement
    members = told.get("member_models", ()) if told.get("members") else ()
    return {str((scored.run.folder / member["run"]).resolve()) for member in members}


def _compare(match: Match, seed: int) -> Comparison:
    """Answer the question; the verdict is left open, unless there are too few photos for any."""
    groups = find_groups(match.a.rows[0][pair.id] for pair in match.pairs)
    count, kind = (len(set(groups)), "groups") if groups else (len(match.pairs), "photos")
    units = f"{count} {'groups of photos' if groups else 'photos'}"
    few = [f"fewer than {FEWEST_UNITS} {kind} are too few for a verdict"] if count < FEWEST_UNITS else []
    if match.question == "recipe":
        answer = _compare_recipes(match, groups, units)
    elif match.folds:
        answer = _compare_folds(match, match.folds)
    else:
        answer = _compare_models(match, groups, units, seed)
    return Comparison(
        question=match.question,
        a=match.a.label,
        b=match.b.label,
        verdict="cannot tell" if few else "",
        difference=answer.test.difference,
        p=answer.test.p,
        p_holm=answer.test.p,
        pairs=tuple(match.pairs),
        runs_a=tuple(run.name for run in match.a.runs),
        runs_b=tuple(run.name for run in match.b.runs),
        sample=answer.sample,
        freedom=answer.test.freedom,
        notes=(*match.left_out, *few, *answer.notes),
        more=answer.more,
    )


def _compare_models(match: Match, groups: list[str] | None, units: str, seed: int) -> Answer:
    """On photos like these: the sample is photos."""
    test = check_difference(np.array([pair.b - pair.a for pair in match.pairs]), groups=groups, seed=seed)
    alone = [f"these two models only; run {FEWEST_SEEDS} seeds of each to judge the recipe"]
    is_trained = not any(run.given_masks for side in (match.a, match.b) for run in side.runs)
    return Answer(test, units, _say_alike(match) or (alone if is_trained else []))


def _compare_folds(match: Match, folds: FoldDifferences) -> Answer:
    """Of two cross-validations: the sample is folds."""
    test = compare_folds(folds, float(np.mean([pair.b - pair.a for pair in match.pairs])))
    by_fold = f"fold by fold: {', '.join(f'{each:+.4f}' for each in folds.differences)}"
    return Answer(test, f"{len(folds.differences)} folds", [by_fold, *_say_alike(match)])


def _compare_recipes(match: Match, groups: list[str] | None, units: str) -> Answer:
    """Whatever the seed, on photos like these: the sample is seeds and photos."""
    sides = (match.a, match.b)
    a, b = (np.array([[rows[pair.id].dice for pair in match.pairs] for rows in side.rows]) for side in sides)
    test = compare_recipes(a, b, groups=groups)
    notes = [
        f"seeds of {side.label}: {', '.join(f'{mean:.4f}' for mean in scores.mean(1))}"
        for side, scores in zip(sides, (a, b), strict=True)
    ]
    if 0 < test.photo_share < 1:
        shares = f"{100 * test.photo_share:.0f} % from the photos, the rest from the seeds"
        notes.append(f"of the variance behind the interval, {shares}")
    return Answer(test, f"{len(a)} and {len(b)} seeds on {units}", notes, "photos" if test.photo_share > 0.5 else "seeds")


def _say_alike(match: Match) -> list[str]:
    """A note where two models are one, or two seeds of one recipe."""
    if all(pair.a == pair.b for pair in match.pairs):
        return ["both have the same score on every photo: they may be one and the same"]
    return ["these are seeds of one recipe: what differs between them is chance"] if match.are_seeds else []


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


def _name_recipes(recipes: list[list[ScoredRun]]) -> list[str]:
    """Each recipe's model name, with the settings that differ between recipes of the same model."""
    settings = [settings_of_recipe(members[0].run) for members in recipes]
    labels = []
    for mine in settings:
        name = LAB_NAMES.get(str(mine["model"]), str(mine["model"]))
        rivals = [other for other in settings if other is not mine and other["model"] == mine["model"]]
        told = [key for key in mine if any(other.get(key) != mine[key] for other in rivals)]
        labels.append(", ".join([name, *(f"{key} {mine[key]}" for key in told)]))
    if len(set(labels)) < len(labels):  # same settings, but other data or views: the first run tells them apart
        labels = [f"{label} ({members[0].run.name})" for label, members in zip(labels, recipes, strict=True)]
    return labels
