"""Scores of objects: by hand, by MONAI's panoptic matching, and in what a run prints and keeps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.panoptic_quality import compute_panoptic_quality
from scipy import ndimage

import fgbg
from fake_runs import make_fake_statement
from fgbg.judge.bootstrap import estimate_mean, estimate_ratio
from fgbg.judge.objects import count_objects, count_parts, has_several_objects
from fgbg.judge.statement import describe_statement, summarise
from fgbg.rows import ScoreRow, has_these_columns, read_rows, write_rows
from trivial import draw


def test_objects_are_found_by_more_than_half_of_the_joint_area() -> None:
    # Objects of 3, 2 and 1 pixels. The first is found (IoU 2/3), the second is half found (1/2, which is not enough), the
    # third is missed; the last part of the prediction is no object.
    truth = draw("###..##..#...")
    prediction = draw("##...#.....##")
    assert count_objects(prediction, truth) == (3, 1, 3)


def test_a_part_that_covers_two_objects_finds_none_or_the_larger_one() -> None:
    assert count_objects(draw("######"), draw("##..##")) == (2, 0, 1)
    assert count_objects(draw("#######"), draw("#####.#")) == (2, 1, 1)


def test_pixels_that_touch_at_a_corner_are_one_object() -> None:
    truth = np.eye(3, dtype=bool)
    assert count_objects(truth, truth) == (1, 1, 1)


def test_what_is_not_judged_counts_in_no_part() -> None:
    target = np.array([[1, 255, 0, 255, 0, 255]], np.uint8)
    prediction = np.array([[True, True, False, True, False, False]])
    assert count_objects(prediction, target) == (1, 1, 1), "the second part lies where nothing is judged"


def test_nothing_at_all_is_no_object() -> None:
    nothing = np.zeros((2, 3), bool)
    assert count_objects(nothing, nothing) == (0, 0, 0)
    assert count_objects(~nothing, nothing) == (0, 0, 1)
    assert count_objects(nothing, ~nothing) == (1, 0, 0)
    assert count_parts(~nothing, np.full((2, 3), 255, np.uint8)) == (0, 0, 0)


def test_tensors_count_as_arrays_do() -> None:
    assert fgbg.count_objects(torch.tensor([[True, False]]), torch.tensor([[1, 0]], dtype=torch.uint8)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("prediction", "target", "error"),
    [
        (np.ones((2, 2), np.uint8), np.ones((2, 2), bool), TypeError),
        (np.ones((2, 2), bool), np.ones((2, 3), bool), ValueError),
        (np.ones((2, 2), bool), np.full((2, 2), 255, np.uint8), ValueError),
        (np.ones((1, 2, 2), bool), np.ones((1, 2, 2), bool), ValueError),
    ],
)
def test_what_would_be_miscounted_is_refused(prediction: Any, target: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        count_objects(prediction, target)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.6))
def test_counts_are_monais(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    truth = ndimage.uniform_filter(random.random((24, 20)), 3) < 0.3 + share / 3
    prediction = np.where(random.random(truth.shape) < 0.1, ~truth, truth)
    judge = [torch.from_numpy(ndimage.label(mask, np.ones((3, 3)))[0]) for mask in (prediction, truth)]
    found, extra, missed, _ = compute_panoptic_quality(*judge, output_confusion_matrix=True).tolist()
    assert count_objects(prediction, truth) == (found + missed, found, found + extra)


def make_rows(*counts: tuple[int, int, int]) -> list[ScoreRow]:
    """Photos with these counts of true, found and predicted objects."""
    row = ScoreRow("a", 4, 4, TP=5, FP=1, FN=1, TN=9, dice=10 / 12, iou=5 / 7, dice_at_size=10 / 12)
    row = dataclasses.replace(row, boundary_iou=0.5, surface_distance=1, hausdorff95=2)
    return [
        dataclasses.replace(row, id=f"{place}", object_count=true, found_count=found, predicted_count=predicted)
        for place, (true, found, predicted) in enumerate([tuple(map(float, each)) for each in counts])
    ]


def test_the_scores_of_a_set_are_of_all_its_objects_together() -> None:
    told = summarise(make_rows((10, 5, 5), (2, 2, 5), (0, 0, 0), (4, 1, 4)), 1.0)
    assert (told["object_count"], told["found_count"], told["predicted_count"]) == (16, 8, 14)
    assert (told["object_recall"], told["object_precision"]) == (8 / 16, 8 / 14)
    assert told["object_f1"] == 2 * 8 / (2 * 8 + 6 + 8), "found twice, over found twice, extra and missed"


def test_a_share_that_would_divide_by_zero_is_unknown() -> None:
    told = summarise(make_rows((3, 0, 0), (2, 0, 0)), 1.0)
    assert (told["object_recall"], told["object_precision"], told["object_f1"]) == (0, None, 0)


def test_the_interval_of_a_ratio_is_that_of_a_mean_where_all_weigh_the_same() -> None:
    scores = np.random.default_rng(0).random(40)
    ratio, mean = estimate_ratio(3 * scores, np.full(40, 3.0)), estimate_mean(scores)
    np.testing.assert_allclose(ratio, mean, rtol=1e-12)
    groups = [f"{place // 4}" for place in range(40)]
    np.testing.assert_allclose(estimate_ratio(scores, np.ones(40), groups=groups), estimate_mean(scores, groups=groups))


def test_the_interval_of_a_ratio_covers_the_true_one() -> None:
    """Photos with 1 to 20 objects, each found with the chance of its photo: 0.7 on average, over objects."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        wholes = random.integers(1, 21, 40).astype(float)
        parts = random.binomial(wholes.astype(int), random.beta(7, 3, 40)).astype(float)
        estimate = estimate_ratio(parts, wholes)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 180 <= covered <= 200  # 190 expected; 99.9 % of binomial draws lie in between


def test_copies_of_a_photo_in_one_group_tell_no_more_of_objects_than_the_photo() -> None:
    rows = make_rows(*[(place % 5 + 1, place % 3, place % 4 + 2) for place in range(12)])
    copies = [dataclasses.replace(row, id=f"{row.id}.{copy}", group=f"{int(row.id):02}") for row in rows for copy in "abc"]
    alone, grouped = (summarise(each, 1.0)["intervals"] for each in (rows, copies))
    for name in ("object_recall", "object_precision", "object_f1"):
        assert grouped[name] == pytest.approx(alone[name], rel=1e-9)


def test_photos_without_a_whole_tell_nothing_of_a_ratio() -> None:
    parts, wholes = np.array([1.0, 3, 2, 4]), np.array([2.0, 4, 3, 4])
    padded = estimate_ratio(np.r_[parts, 0, 0], np.r_[wholes, 0, 0])
    assert padded == estimate_ratio(parts, wholes)
    with pytest.raises(ValueError, match="no scores"):
        estimate_ratio(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(("count", "is_told"), [(1, False), (3, True)])
def test_objects_are_told_where_photos_show_several(count: int, is_told: bool) -> None:
    rows = make_rows(*[(count, 1, 2)] * 12)
    told = make_fake_statement(rows[:2], "test", 64) | summarise(rows, 1.0)
    assert has_several_objects(told) == is_told
    assert ("objects 0.3333 [0.3333, 0.3333] of 36 found · 0.5000" in describe_statement(told)) == is_told


def test_rows_of_an_earlier_version_are_read_without_them(tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [dataclasses.replace(row, metadata={"object_count": "x"}) for row in make_rows((3, 2, 2), (1, 1, 1))])
    assert [(row.object_count, row.metadata["object_count"]) for row in read_rows(path)] == [(3, "x"), (1, "x")]
    lines = [line.split(",") for line in path.read_text().splitlines()]
    start = lines[0].index("object_count")
    path.write_text("\n".join(",".join(line[:start] + line[start + 3 :]) for line in lines) + "\n")
    assert has_these_columns(path)
    rows = read_rows(path)
    assert all(math.isnan(row.object_count) for row in rows)
    assert [(row.id, row.dice, row.metadata) for row in rows] == [(name, 10 / 12, {"object_count": "x"}) for name in "01"]
    told = make_fake_statement(rows[:2], "test", 64) | summarise(rows, 1.0)
    assert told["object_recall"] is None and not has_several_objects(told)
    assert "objects" not in describe_statement(told)
