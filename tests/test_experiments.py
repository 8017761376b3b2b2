"""Experiments: every plan can be run, operations are counted right, and the page of results is what the kept runs say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from fgbg.models import require_model

HERE = Path(__file__).parent.parent / "experiments"
sys.path.insert(0, str(HERE))

import flops  # noqa: E402 - they lie beside the package
import plan  # noqa: E402
import results  # noqa: E402


@pytest.mark.parametrize("name", results.EXPERIMENTS)
def test_every_plan_is_made_of_settings_that_exist(name: str) -> None:
    read = plan.read_plan(name)
    folders = [config.out for config in read.in_order()]
    assert len(folders) == len(set(folders)) == sum(map(len, read.recipes.values()))
    assert [config.seed for config in read.in_order()] == sorted(config.seed for config in read.in_order())
    for configs in read.recipes.values():
        require_model(configs[0].model, encoder=configs[0].encoder, batch=configs[0].batch_size)
    assert read.about


def test_operations_by_hand() -> None:
    # 3 -> 8 channels, 3 x 3, on 16 x 16 places; then each channel by itself; then 8 -> 1
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 1, 1)
    )
    expected = 2 * 16 * 16 * (3 * 8 * 9 + 8 * 9 + 8)
    assert flops.count_forward(network, 16) == expected


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
    assert flops.count_forward(network, 256) == 2 * total


def test_the_page_of_results_is_what_the_kept_runs_say() -> None:
    assert results.PAGE.read_text(encoding="utf-8") == results.write_page(), "run python experiments/results.py"
