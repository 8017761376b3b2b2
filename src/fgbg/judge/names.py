"""What runs are called in tables, charts and workbooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fgbg.run import Run
from fgbg.words import name_some, plural

LAB_NAMES = {"unet": "Unet", "resnet34_unet": "ResNet34_Unet"}
"""The lab's spelling of its models in workbook columns and charts."""

MISFIT = 0.3  # pooled Dice of masks below it that exceed its opposite once exchanged are taken for inverted ones
UNKNOWN_MAKER = "what made these masks, and whether it has seen these photos, is not known here"
"""Said of masks made elsewhere."""

LAB_SPLIT = "the lab's split, in the order of the lists: not the official test set"


def name_runs(runs: Iterable[Run]) -> dict[str, Run]:
    """A label for each run: the lab's name of its model, with the folder's name where two runs share a model."""
    runs = list(runs)
    models = [LAB_NAMES.get(run.config.model, run.config.model) for run in runs]
    labels = [f"{model} ({run.name})" if models.count(model) > 1 else model for model, run in zip(models, runs, strict=True)]
    # Folders of one name in different places: number them.
    seen: dict[str, Run] = {}
    for label, run in zip(labels, runs, strict=True):
        unique, number = label, 1
        while unique in seen:
            number += 1
            unique = f"{label} {number}"
        seen[unique] = run
    return seen


def name_epochs(statement: Mapping[str, Any]) -> str:
    """Of which epochs the weights are that a statement tells of.

    >>> name_epochs({"epoch": 3})
    'epoch 3'
    >>> name_epochs({"epoch": 3, "members": ["a", "b"], "member_models": [{"epoch": 3}, {"epoch": 5}]})
    'epochs 3 and 5'
    """
    if statement.get("folds"):
        return "one model a fold"
    if statement.get("masks"):  # made elsewhere
        return ""
    epochs = [str(member["epoch"]) for member in statement.get("member_models") or ()]
    if len(statement.get("members") or ()) < 2 or not epochs:
        return f"epoch {statement['epoch']}" if "epoch" in statement else ""
    return f"epochs {', '.join(epochs[:-1])} and {epochs[-1]}"


def name_data(statement: Mapping[str, Any]) -> str:
    """Which photos a statement tells of: of which data, and by whose split if it is not the data's own.

    >>> name_data({"split": "test", "data": "oxford-pet", "split_rule": "lab"})
    "test photos of oxford-pet (the lab's split, in the order of the lists: not the official test set)"
    """
    lab = f" ({LAB_SPLIT})" if statement.get("split_rule") == "lab" else ""
    return f"{statement.get('split', '')} photos of {statement.get('data', '–')}{lab}"


def name_given_masks(statement: Mapping[str, Any]) -> str:
    """Which masks were scored that were made elsewhere, and how they were understood; empty for a model's answers.

    >>> name_given_masks({"masks": {"folder": "rembg", "encoding": "values {0, 255}: object = 255", "fingerprint": "12ab"}})
    'masks made elsewhere: rembg, values {0, 255}: object = 255, hash 12ab'
    """
    masks = statement.get("masks")
    return f"masks made elsewhere: {masks['folder']}, {masks['encoding']}, hash {masks['fingerprint']}" if masks else ""


def name_doubts(statement: Mapping[str, Any]) -> list[str]:
    """Why scores may not be what they seem, a sentence each."""
    return list(filter(None, (name(statement) for name in (name_copies, name_known_groups, name_exchange))))


def name_exchange(statement: Mapping[str, Any]) -> str:
    """That given masks fit if black and white are exchanged, and not as they are; empty if that is not so.

    >>> name_exchange({"masks": {"folder": "x"}, "pooled_dice": 0.05, "pooled_dice_exchanged": 0.9})
    'these masks fit the ground and not the object: exchange their black and white'
    """
    pooled, exchanged = statement.get("pooled_dice", 0), statement.get("pooled_dice_exchanged", 0)
    fits = bool(statement.get("masks")) and pooled < MISFIT and exchanged > 1 - MISFIT
    return "these masks fit the ground and not the object: exchange their black and white" if fits else ""


def name_copies(statement: Mapping[str, Any]) -> str:
    """Which of the photos show the same picture as one that the model has seen, in words; empty if none is known to.

    >>> name_copies({"split": "test", "copies": ["x", "y"]})
    'x, y show the same picture as photos that trained this model or chose its epoch'
    """
    copies = statement.get("copies") or []
    seen = "trained this model" + (" or chose its epoch" if statement.get("split") == "test" else "")
    same = "shows the same picture as a photo" if len(copies) == 1 else "show the same picture as photos"
    return f"{name_some(copies, 3)} {same} that {seen}" if copies else ""


def name_known_groups(statement: Mapping[str, Any]) -> str:
    """Which groups of the photos were also groups of the model's training photos, in words; empty if there are none.

    >>> name_known_groups({"known_groups": ["patient 1"]})
    '1 group of these photos (patient 1) also trained this model, if its name means the same there'
    """
    known = statement.get("known_groups") or []
    means = "its name means" if len(known) == 1 else "their names mean"
    told = f"{plural(len(known), 'group')} of these photos ({name_some(known, 3)})"
    return f"{told} also trained this model, if {means} the same there" if known else ""
