"""An experiment as a TOML file: which runs it has, from which settings.

about = "what it asks"
seeds = 3
against = "ours"        # may be left out: also tell how the others differ from this recipe
until = "ours"          # may be left out: also tell when each recipe reaches this one's final validation Dice

[common]                # settings of every run, over the preset if one is named
preset = "fast"

[recipes.ours]          # one table a recipe: what it has other than the rest
[recipes.no-ema]
ema = 0
seeds = 1               # fewer seeds than the experiment has
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig
from fgbg.config_file import read_preset
from fgbg.data.augment_ranges import AugmentRanges

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Plan:
    """An experiment's recipes and seeds."""

    name: str
    about: str
    recipes: dict[str, list[TrainConfig]]  # one configuration a seed; `out` is only the folder's name
    against: str = ""  # the recipe that the others are compared with
    until: str = ""  # the recipe whose final validation Dice the others are to reach

    def in_order(self) -> list[TrainConfig]:
        """Seed by seed, so that an early stop leaves comparable runs."""
        most = max(map(len, self.recipes.values()))
        return [configs[seed] for seed in range(most) for configs in self.recipes.values() if seed < len(configs)]


def read_plan(name: str) -> Plan:
    """The plan in experiments/NAME.toml."""
    content = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    common = content.get("common", {})
    recipes = {}
    for recipe, changes in content["recipes"].items():
        seeds = changes.pop("seeds", content["seeds"])
        base = lay_over(common, changes)
        recipes[recipe] = [dataclasses.replace(base, seed=seed, out=f"{recipe}-{seed}") for seed in range(seeds)]
    return Plan(name, content["about"].strip(), recipes, content.get("against", ""), content.get("until", ""))


def lay_over(*layers: dict[str, Any]) -> TrainConfig:
    """Later settings go before earlier ones; a `preset` lies under all of them."""
    fields: dict[str, Any] = {}
    augment: dict[str, Any] = {}
    for layer in layers:
        augment |= layer.get("augment", {})
        fields |= {name: value for name, value in layer.items() if name != "augment"}
    preset = fields.pop("preset", "")
    base = read_preset(preset) if preset else TrainConfig()
    ranges: AugmentRanges = dataclasses.replace(base.augment, **augment)
    return dataclasses.replace(base, **fields, augment=ranges)
