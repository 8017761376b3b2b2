"""Sentences on the photos that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from fgbg.data.samples import SPLITS
from fgbg.judge.methods.recipes import Recipe
from fgbg.judge.names import LAB_SPLIT
from fgbg.words import Border, plural

OXFORD = "Oxford-IIIT Pet (Parkhi et al., 2012)"
_KNOWN = {"oxford-pet": OXFORD, "figures": "drawn animals on cluttered ground"}
BORDERS: dict[Border, str] = {
    "foreground": "counted as object",
    "background": "counted as background",
    "ignore": "was left out",
}


def tell_data(recipe: Recipe) -> Iterator[str]:
    """Which photos trained, validated and tested, and what was understood of their masks."""
    config, split = recipe.config, recipe.split
    name = _KNOWN.get(config.data) or f"“{split.get('data') or config.data}”"
    if not split:
        yield f"The data are photos and masks of {name}."
    else:
        train, validation, test = (len(split[part]) for part in SPLITS)
        pairs = plural(train + validation + test, "pair")
        yield f"The data are {pairs} of a photo and a mask of {name} (SHA-256 of names and files: {split['fingerprint']}…)."
        if config.folds:
            yield from _tell_folds(recipe)
        else:
            yield f"{train:,} of them trained the network, {validation:,} validated it, {test:,} tested it."
        yield from _tell_groups(recipe)
    if config.split == "lab":
        yield f"This is {LAB_SPLIT}."
    # Of a cross-validation the remark names the first run's part alone.
    remarks = [each for each in split.get("remark", "").split("; ") if each and not (config.folds and "tests, seed" in each)]
    if remarks:
        yield f"Notes on the set: {'; '.join(remarks)}."
    if masks := split.get("masks"):
        yield f"Masks were read as: {masks.removeprefix('masks with ')}."
    if split.get("has_band", True):  # not known of earlier runs
        yield f"In training, a band along the outline that masks leave open {BORDERS[config.border]}."


def _tell_folds(recipe: Recipe) -> Iterator[str]:
    config, folds = recipe.config, recipe.folds
    yield (
        f"They were cut into {config.folds} folds (seed {config.split_seed}), each of which tests one network; the next "
        "fold validates it, the others train it."
    )
    if len(folds) < config.folds:
        yield f"Told of here: fold {', '.join(map(str, folds))}, counted from 0."


def _tell_groups(recipe: Recipe) -> Iterator[str]:
    """How many groups there are, and whether any of them is in two splits."""
    groups = {part: {photo["group"] for photo in recipe.split[part] if photo.get("group")} for part in SPLITS}
    every = set().union(*groups.values())
    if every:
        is_apart = sum(map(len, groups.values())) == len(every)
        cut = "no group is in two splits" if is_apart else "some groups are in two splits"
        yield f"They belong to {plural(len(every), 'group')}; {cut}."


def tell_changed_data(recipe: Recipe, first: Recipe) -> Iterator[str]:
    """The photos, if they are others than those of the first recipe, or split in another way; nothing otherwise."""

    def list_ids(which: Recipe) -> list[set[str]]:
        return [{photo["id"] for photo in which.split.get(part, ())} for part in SPLITS]

    is_same = recipe.split.get("fingerprint") == first.split.get("fingerprint") and (
        list_ids(recipe) == list_ids(first) or recipe.config.folds == first.config.folds > 0
    )
    if not is_same or recipe.config.border != first.config.border:
        yield from tell_data(recipe)
