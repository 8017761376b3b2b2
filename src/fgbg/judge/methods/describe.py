"""The whole section: data, networks, training, scores and results, with the references that its sentences cite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fgbg.data.samples import SPLITS
from fgbg.judge.markdown import Table, escape
from fgbg.judge.methods.data import tell_changed_data, tell_data
from fgbg.judge.methods.recipes import Recipe, group_by_recipe
from fgbg.judge.methods.references import list_references
from fgbg.judge.methods.scores import (
    tabulate_scores,
    tell_comparisons,
    tell_doubts,
    tell_given_masks,
    tell_results,
    tell_scoring,
)
from fgbg.judge.methods.software import tell_software
from fgbg.judge.methods.training import tell_changed_network, tell_changed_training, tell_network, tell_training
from fgbg.judge.results import Results
from fgbg.words import plural

INTRODUCTION = (
    "What was done and found, in sentences to take over. They tell what the run folders hold: what the photos show, where "
    "they come from and who drew the masks is yours to add."
)


@dataclass(frozen=True)
class Methods:
    """Paragraphs by title, the runs' scores if there are any, and the references that the paragraphs cite."""

    paragraphs: Mapping[str, str]
    scores: Table | None
    references: Sequence[str]

    def to_markdown(self) -> str:
        """As a file of its own."""
        parts = [f"**{title}.** {escape(text)}" for title, text in self.paragraphs.items()]
        if self.scores:
            parts += ["## Scores", self.scores.to_markdown()]
        parts += ["## References", "\n".join(f"- {each}" for each in self.references)]
        return "\n\n".join(["# Methods", INTRODUCTION, *parts]) + "\n"


def describe_methods(results: Results, split: str) -> Methods:
    """What was done and found, as far as run folders tell.

    Args:
        results: Of one run or more.
        split: Which scores: `test`, `validation`, or the label of other data that was scored. Runs without them are told of
            by their training alone.
    """
    recipes, gone = group_by_recipe(results.runs)
    statements = {label: found.statement for label in results.runs if (found := results.find(label, split))}
    told: dict[str, Iterable[str]] = {**_tell_recipes(recipes, several=len(results.runs) > 1)}
    if gone:
        told["Lost"] = [f"{plural(gone, 'training')} behind joint scores can no longer be told of: the folder is gone."]
    if statements:
        comparisons, refusal = results.compare(split) if len(statements) > 1 else ([], "")
        known = [told_of["has_band"] for told_of in statements.values() if "has_band" in told_of]  # older ones do not tell
        has_band = any(known) if known else split not in SPLITS or any(each.split.get("has_band", True) for each in recipes)
        told["Given masks"] = tell_given_masks(statements)
        told["Scoring"] = tell_scoring(list(statements.values()), has_band=has_band)
        told["Results"] = [*tell_results(statements, recipes), *tell_comparisons(comparisons, refusal)]
        told["Limits"] = tell_doubts({label: (results.runs[label], each) for label, each in statements.items()}, split)
    told["Software"] = tell_software(recipes)
    paragraphs = {title: text for title, sentences in told.items() if (text := " ".join(sentences))}
    scores = tabulate_scores(statements) if statements else None
    return Methods(paragraphs, scores, list_references(" ".join(paragraphs.values())))


def _tell_recipes(recipes: Sequence[Recipe], *, several: bool) -> dict[str, list[str]]:
    """Data, network and training of each recipe, by title; of a further recipe what differs from the first."""
    told: dict[tuple[str, int], list[str]] = {}
    for number, recipe in enumerate(recipes, start=1):
        first = recipes[0]
        parts: dict[str, Iterable[str]] = {
            "Data": tell_data(recipe) if recipe is first else tell_changed_data(recipe, first),
            "Network": tell_network(recipe) if recipe is first else tell_changed_network(recipe, first),
            "Training": tell_training(recipe) if recipe is first else tell_changed_training(recipe, first),
        }
        told |= {(title, number): list(part) for title, part in parts.items()}
        if several and recipe.labels:
            told["Training", number].insert(0, f"Runs: {', '.join(recipe.labels)}.")
    counts = Counter(title for (title, _), sentences in told.items() if sentences)
    return {
        title if counts[title] == 1 else f"{title} {number}": sentences
        for (title, number), sentences in told.items()
        if sentences
    }
