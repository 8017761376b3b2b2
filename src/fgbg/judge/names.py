"""What runs are called in tables, charts and workbooks."""

from __future__ import annotations

from collections.abc import Iterable

from fgbg.run import Run

LAB_NAMES = {"unet": "Unet", "resnet34_unet": "ResNet34_Unet"}
"""The lab's spelling of its models in workbook columns and charts."""


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
