"""The whole section: data, networks, training, scores and results, with the references that its sentences cite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgbg.judge.methods.recipes import group_by_recipe
from fgbg.judge.methods.references import list_references
from fgbg.judge.methods.scores import (
    tabulate_scores,
    tell_comparisons,
    tell_doubts,
    tell_results,
    tell_scoring,
)
from fgbg.judge.methods.training import tell_changed_network, tell_changed_training, tell_network, tell_training
from fgbg.judge.names import LAB_SPLIT
from fgbg.judge.page.tables import Table
from fgbg.judge.results import Results
from fgbg.run import Run
from fgbg.words import Border, plural

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
        parts = ["# Methods", INTRODUCTION, *(f"**{title}.** {text}" for title, text in self.paragraphs.items())]
        if self.scores:
            parts += ["## Scores", self.scores.to_markdown()]
        return "\n\n".join([*parts, "## References", "\n".join(f"- {each}" for each in self.references)]) + "\n"


def describe_methods(results: Results, split: str) -> Methods:
    """What was done and found, as far as run folders tell.

    Args:
        results: Of one run or more.
        split: Which scores: `test`, `validation`, or the label of other data that was scored. Runs without them are told of
            by their training alone.
    """
    recipes = group_by_recipe(results.runs)
    first = recipes[0].first if recipes else next(iter(results.runs.values()))
    statements = {label: found.statement for label in results.runs if (found := results.find(label, split))}
    told: dict[str, Iterable[str]] = {"Data": _tell_data(first)}
    for number, recipe in enumerate(recipes, start=1):
        which = f" {number}" if len(recipes) > 1 else ""
        network, training = tell_network(recipe), tell_training(recipe)
        if number > 1:
            network, training = tell_changed_network(recipe, recipes[0]), tell_changed_training(recipe, recipes[0])
        told |= {f"Network{which}": network, f"Training{which}": training}
    if statements:
        comparisons = results.compare(split)[0] if len(statements) > 1 else []
        told["Scoring"] = tell_scoring(list(statements.values()), {each for recipe in recipes for each in recipe.objectives})
        told["Results"] = [*tell_results(statements, recipes), *tell_comparisons(comparisons)]
        told["Limits"] = tell_doubts({label: (results.runs[label], each) for label, each in statements.items()}, split)
    told["Software"] = _tell_software(first.environment() or {})
    paragraphs = {title: text for title, sentences in told.items() if (text := " ".join(sentences))}
    scores = tabulate_scores(statements) if statements else None
    return Methods(paragraphs, scores, list_references(" ".join(paragraphs.values())))


_KNOWN_DATA = {"oxford-pet": "Oxford-IIIT Pet (Parkhi et al., 2012)", "figures": "drawn animals on cluttered ground"}
_BORDERS: dict[Border, str] = {
    "foreground": "Where a mask leaves a band along the outline open, the band counted as object.",
    "background": "Where a mask leaves a band along the outline open, the band counted as background.",
    "ignore": "The band along the outline that masks leave open was left out of loss and scores.",
}


def _tell_data(run: Run) -> Iterator[str]:
    config, split = run.config, run.split()
    name = _KNOWN_DATA.get(config.data) or f"“{split.get('data') or config.data}”"
    if not split:  # a folder of joint scores
        yield f"The data are photos and masks of {name}."
    else:
        train, validation, test = (len(split[part]) for part in ("train", "validation", "test"))
        yield (
            f"The data are {plural(train + validation + test, 'pair')} of a photo and a mask of {name}: {train:,} trained "
            f"the network, {validation:,} chose its epoch and threshold, {test:,} tested it. The SHA-256 of their names and "
            f"files begins with {split['fingerprint']}."
        )
    if config.folds:
        yield f"In a cross-validation of {config.folds} folds, each fold tested one network; the next fold chose its epoch."
    if config.split == "lab":
        yield f"This is {LAB_SPLIT}."
    if remark := split.get("remark"):
        yield f"Notes on the set: {remark}."
    if masks := split.get("masks"):
        yield f"Masks were read as: {masks.removeprefix('masks with ')}."
    if split.get("has_band", True):  # not known of earlier runs
        yield _BORDERS[config.border]


_PACKAGES = {"torch": "PyTorch", "timm": "timm", "segmentation-models-pytorch": "segmentation_models_pytorch"}


def _tell_software(environment: Mapping[str, Any]) -> Iterator[str]:
    versions = environment.get("versions", {})
    if versions:
        commit = f" (commit {environment['commit'][:12]})" if environment.get("commit") else ""
        words = [f"fgbg {versions.get('fgbg', '')}{commit}"]
        words += [f"{name} {versions[package]}" for package, name in _PACKAGES.items() if package in versions]
        yield f"Trained and scored with {', '.join(words)}."
    if processor := environment.get("processor") or environment.get("device"):
        precision = f" in {environment['precision']}" if environment.get("precision") else ""
        processes = f" by {environment['processes']} processes" if environment.get("processes", 1) > 1 else ""
        yield f"Training ran on {processor}{precision}{processes}, scoring in fp32."
