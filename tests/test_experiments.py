"""Experiments: every plan can be run, operations are counted right, and the page of results is what the kept runs say."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from discs import small_config, write_discs
from fgbg.models import build_network, require_model
from fgbg.models.operations import count_forward
from fgbg.run import create_run

HERE = Path(__file__).parent.parent / "experiments"
sys.path.insert(0, str(HERE))

import plan  # noqa: E402 - they lie beside the package
import results  # noqa: E402
import run  # noqa: E402
import shipped  # noqa: E402


@pytest.mark.parametrize("name", results.EXPERIMENTS)
def test_every_plan_is_made_of_settings_that_exist(name: str) -> None:
    read = plan.read_plan(name)
    folders = [config.out for config in read.in_order()]
    assert len(folders) == len(set(folders)) == sum(map(len, read.recipes.values()))
    assert [config.seed for config in read.in_order()] == sorted(config.seed for config in read.in_order())
    for configs in read.recipes.values():
        require_model(configs[0].model, encoder=configs[0].encoder, batch=configs[0].batch_size)
    assert read.about


@pytest.mark.long
def test_a_run_that_was_killed_before_its_first_epoch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    config = replace(small_config(tmp_path, data=str(write_discs(tmp_path))), out="begun-0", epochs=1)
    begun = create_run(tmp_path / "runs" / "trial" / "begun-0")
    begun.write_config(config)
    run.finish(plan.Plan("trial", "", {"begun": [config]}), config)
    assert (tmp_path / "results" / "trial" / "begun-0" / "scores_test.json").exists()


def test_operations_by_hand() -> None:
    # 3 -> 8 channels, 3 x 3, on 16 x 16 places; then each channel by itself; then 8 -> 1
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 1, 1)
    )
    expected = 2 * 16 * 16 * (3 * 8 * 9 + 8 * 9 + 8)
    assert count_forward(network, 16) == expected


def test_the_labs_unet_by_hand() -> None:
    # Two 3 x 3 convolutions at each of nine places of the U, four transposed ones, one 1 x 1; at 256 px.
    network = results.build_network("unet", width=64)
    total, edge = 0, 256
    channels = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    for level, (inner, outer) in enumerate(channels):
        pixels = (edge >> level) ** 2
        total += pixels * 9 * (inner * outer + outer * outer)
    for level, outer in enumerate((64, 128, 256, 512)):
        pixels = (edge >> level) ** 2
        total += pixels * 9 * (2 * outer * outer + outer * outer) + (pixels // 4) * 4 * 2 * outer * outer
    total += edge**2 * 64
    assert count_forward(network, 256) == 2 * total


def make_run(*dice: float, score: float = 0.5, operations: int = 10**12) -> Any:
    """A run with these validation Dice by epoch and this test Dice, an epoch of which takes so many operations and 90 s.

    Its two test photos are 0.1 easier and harder, for whatever run.
    """
    records = [SimpleNamespace(epoch=epoch, val_dice_photo=value, seconds=90.0) for epoch, value in enumerate(dice, 1)]
    rows = [SimpleNamespace(id=name, dice=score + gain) for name, gain in (("easy", 0.1), ("hard", -0.1))]
    return SimpleNamespace(epochs=lambda: records, scores=lambda split: rows, operations=operations)


def test_compute_until_a_recipes_end_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "count_training", lambda run, epochs: run.operations * (epochs or len(run.epochs())))
    runs = {
        # The last five of each: 0.6 and 0.8 on average; reached in epochs 6 and 2.
        "lab": [make_run(0.1, 0.5, 0.55, 0.6, 0.6, 0.75), make_run(0.1, 0.8, 0.8, 0.8, 0.8, 0.8)],
        "ours": [make_run(0.7, 0.9), make_run(0.1, 0.7)],
        "none": [],
        "wide": [make_run(0.1, 0.2, operations=8 * 10**12)],
    }
    told = results.tell_compute("lab", runs)
    assert "0.7000" in told[1]
    assert told[3] == "| recipe | epochs, by seed | minutes, mean | TFLOP, mean | of `lab` | of `ours` | of `wide` |"
    assert told[5:] == [
        "| lab | 6, 2 | 6.0 | 4.0 | 1/1.0 | 2.7 | 1/4.0 |",
        "| ours | 1, 2 | 2.2 | 1.5 | 1/2.7 | 1/1.0 | 1/10.7 |",
        "| wide | not in 2 | 3.0 | 16.0 | 4.0 | 10.7 | 1/1.0 |",
    ]
    assert results.tell_compute("none", runs) == []


def test_differences_from_a_recipe_over_seeds() -> None:
    base = [make_run(score=score) for score in (0.80, 0.81, 0.82)]
    told = results.tell_differences(
        "base",
        {
            "base": base,
            "alike": [make_run(score=score) for score in (0.81, 0.82, 0.83)],
            "better": [make_run(score=score) for score in (0.90, 0.91, 0.92)],
            "few": base[:2],
        },
    )
    # By hand, of seeds alone, since the photos differ alike.
    # Standard error sqrt(2 · 0.01² / 3) = 0.008165, 4 degrees of freedom, t = 2.776; p = 0.00026, twice by Holm.
    assert told[5:] == [
        "| alike | +0.0100 [-0.0127, +0.0327] | 0.288 | cannot tell |",
        "| better | +0.1000 [+0.0773, +0.1227] | < 0.001 | better |",
    ]
    assert results.tell_differences("few", {"few": base[:2], "base": base}) == []


KEPT = sorted(results.known_counts())


@pytest.mark.parametrize("name", [KEPT[0], *(pytest.param(name, marks=pytest.mark.slow) for name in KEPT[1:])])
def test_operations_that_are_kept_are_those_of_the_networks(name: str) -> None:
    told = re.fullmatch(r"(\w+), width (\d+)(?: on (\w+))?, (\d+) px", name)
    assert told is not None
    model, width, encoder, size = told.groups()
    assert results.known_counts()[name] == count_forward(
        build_network(model, width=int(width), encoder=encoder or ""), int(size)
    )


@pytest.mark.long
def test_the_page_of_results_is_what_the_kept_runs_say() -> None:
    assert results.PAGE.read_text(encoding="utf-8") == results.write_page(), "run python experiments/results.py"


def test_the_pages_on_the_model_that_ships_hold_what_was_measured() -> None:
    kept = json.loads(shipped.RESULT.read_text(encoding="utf-8"))
    for page, rows in shipped.make_tables(kept).items():
        text = (HERE.parent / "docs" / page).read_text(encoding="utf-8")
        assert "\n".join(rows) in text, page
