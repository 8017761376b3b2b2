"""Rows and statement by hand, on a network that finds red."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.masks import TRIMAP
from fgbg.data.samples import Sample, SampleSet, inspect_sample, understand_samples
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.bootstrap import estimate_mean
from fgbg.judge.evaluate import Evaluation, evaluate
from fgbg.models.predictor import Predictor
from fgbg.rows import ScoreRow
from fgbg.run import create_run
from fgbg.words import HASH_DIGITS, IMAGENET_DEVIATION, IMAGENET_MEAN, Border
from trivial import draw, make_header, make_network, make_noise, make_set, paint, red_predictor, unchecked

NOTHING = draw(*["...."] * 4)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu", "fp32", 1)


def score(engine: Engine, samples: SampleSet, *, size: int = 4, **options: Any) -> Evaluation:
    return evaluate(red_predictor(size), make_header(size=size), samples, engine=engine, split="test", **options)


def row_text(row: ScoreRow) -> str:
    """Everything of a row to the last digit; unlike the row itself equal where NaN is."""
    return repr(row)


def three() -> SampleSet:
    """Some right and some wrong; both empty; all wrong."""
    return make_set(
        (paint(draw("##..", "##..", "....", "....")), draw("#...", "##..", "#...", "....").astype(np.uint8)),
        (paint(NOTHING), NOTHING.astype(np.uint8)),
        (paint(draw("####", "....", "....", "....")), draw("....", "....", "....", "..##").astype(np.uint8)),
    )


def pair_of(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return sample.read_pixels(), sample.read_mask()


# Rows


def test_rows_by_hand(engine: Engine) -> None:
    scored = ("id", "height", "width", "TP", "FP", "FN", "TN", "dice", "iou", "dice_at_size")
    assert [tuple(getattr(row, name) for name in scored) for row in score(engine, three()).rows] == [
        ("photo_0", 4, 4, 3, 1, 1, 11, 6 / 8, 3 / 5, 6 / 8),
        ("photo_1", 4, 4, 0, 0, 0, 16, 1.0, 1.0, 1.0),
        ("photo_2", 4, 4, 0, 4, 2, 10, 0.0, 0.0, 0.0),
    ]


def test_what_else_a_row_tells_by_hand(engine: Engine) -> None:
    wrong, empty, missed = score(engine, three()).rows
    assert (wrong.object_share, empty.object_share, missed.object_share) == (4 / 16, 0, 2 / 16)
    assert (wrong.touches_frame, missed.touches_frame) == (1, 1)
    assert math.isnan(empty.touches_frame)
    assert wrong.uncertainty == pytest.approx(0)  # this network is sure of all it says
    assert (empty.failure, empty.boundary_iou, empty.surface_distance, empty.hausdorff95) == ("good", 1, 0, 0)
    assert (missed.failure, missed.label_suspicion) == ("label suspected", pytest.approx(1))
    assert missed.boundary_iou == 0
    assert missed.surface_distance > 1
    assert {row.group for row in (wrong, empty, missed)} == {""}


def test_a_photo_of_which_no_pixel_is_judged_has_no_score(engine: Engine) -> None:
    everywhere = np.ones((4, 4), bool)
    half = draw(*["##.."] * 4)
    band = np.full((4, 4), 3, np.uint8)
    trimap = np.where(half, 1, 2).astype(np.uint8)
    with_band = trimap.copy()
    with_band[:, 1] = 3
    samples = make_set((paint(everywhere), band), (paint(half), with_band), (paint(half), trimap))
    evaluation = score(engine, samples, border="ignore")
    unjudged = evaluation.rows[0]
    assert not unjudged.is_judged and math.isnan(unjudged.dice) and math.isnan(unjudged.boundary_iou)
    told = evaluation.statement
    assert (told["pairs"], told["unjudged_count"], told["both_empty_count"], told["empty_truth_count"]) == (3, 1, 0, 0)
    assert told["mean_dice"] == told["mean_precision"] == 1
    assert "1 photo left out: no pixel is judged" in evaluation.describe()
    with pytest.raises(UserError, match="no pixel of any photo is judged"):
        score(engine, samples.rearrange(samples.samples[:1]), border="ignore")


def test_where_many_photos_show_nothing_the_others_are_told_by_themselves(engine: Engine) -> None:
    blank, half = np.zeros((4, 4), np.uint8), draw(*["##.."] * 4).astype(np.uint8)
    found, missed = (paint(half == 1), half), (paint(blank == 1), half)
    evaluation = score(engine, make_set(found, *[missed] * 3, *[(paint(blank == 1), blank)] * 12))
    assert (evaluation.statement["mean_dice"], evaluation.statement["dice_with_object"]) == (13 / 16, 1 / 4)
    assert "photos with object 0.2500 [" in evaluation.describe()
    assert "the other 75% show none; finding nothing anywhere would score 0.7500 above" in evaluation.describe()
    band = (paint(blank == 1), np.full((4, 4), 3, np.uint8))  # of which nothing is judged
    pairs = [(pixels, (2 - mask).astype(np.uint8)) for pixels, mask in (found, (paint(blank == 1), blank))]  # as trimaps
    told = score(engine, make_set(*pairs, band, band), border="ignore").describe()
    assert "the other 50% show none; finding nothing anywhere would score 0.5000 above" in told
    assert "2 photos are too few" in told
    few = score(engine, make_set(*[found] * 12, (paint(blank == 1), blank)))
    assert "photos with object" not in few.describe(), "one of 13 does not make the headline"


def test_too_few_photos_for_an_interval_are_told_to_be_few(engine: Engine) -> None:
    assert "Dice  mean over photos   0.5833, without an interval: 3 photos are too few (fgbg train --folds 5" in (
        score(engine, three()).describe()
    )


def test_a_score_is_at_the_photos_own_size_and_beside_it_at_the_training_size(engine: Engine) -> None:
    left = draw(*["####...."] * 8)
    mask = left.astype(np.uint8)
    mask[0, 7] = 1  # a pixel that a smaller mask has lost
    (row,) = score(engine, make_set((paint(left), mask))).rows
    assert (row.height, row.width) == (8, 8)
    assert (row.TP, row.FP, row.FN, row.TN) == (32, 0, 1, 31)
    assert row.dice == 64 / 65
    assert row.dice_at_size == 1.0


@pytest.mark.parametrize(
    ("threshold", "found"), [(0.1, 16), (0.3, 8), (0.6, 4), (0.9, 0)], ids=["all", "three bands", "one band", "none"]
)
def test_the_models_threshold_decides(engine: Engine, threshold: float, found: int) -> None:
    levels = np.repeat([[30, 60, 120, 200]], 4, axis=0).astype(np.uint8)  # sigmoid(x / 255): 0.529 … 0.687
    pixels = np.stack([levels, levels, levels], -1)
    samples = make_set((pixels, np.ones((4, 4), np.uint8)))

    class Steps(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.logit((image[:, :1] * 255).round() / 255, eps=1e-6)  # probability = red

    predictor = Predictor(Steps(), size=4, threshold=threshold, mean=(0.0,) * 3, deviation=(1.0,) * 3).eval()
    (row,) = evaluate(predictor, make_header(threshold=threshold), samples, engine=engine, split="test").rows
    assert row.dice_at_size == row.dice
    assert row.TP == found == sum(4 for level in (30, 60, 120, 200) if level / 255 > threshold)


def test_rows_are_the_same_in_any_order_and_company(engine: Engine) -> None:
    predictor = Predictor(make_network("unet"), size=32).eval().to(memory_format=torch.channels_last)
    header = make_header(network="unet", size=32, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
    rng = np.random.default_rng(0)
    samples = []
    for index in range(11):  # a whole chunk and a part of one
        height, width = rng.integers(5, 60, 2)
        mask = (rng.random((height, width)) < 0.5).astype(np.uint8)
        samples.append(Sample(f"photo_{index}", make_noise(height, width, index), mask, split="test"))

    def rows(order: list[int]) -> dict[str, str]:
        chosen = understand_samples("noise", [samples[index] for index in order])
        evaluation = evaluate(predictor, header, chosen, engine=engine, split="test")
        assert [row.id for row in evaluation.rows] == [f"photo_{index}" for index in order]
        return {row.id: row_text(row) for row in evaluation.rows}

    straight = rows(list(range(11)))
    assert rows(list(range(11))[::-1]) == straight
    assert rows([int(index) for index in rng.permutation(11)]) == straight
    for index in (0, 7, 10):
        assert rows([index]) == {f"photo_{index}": straight[f"photo_{index}"]}
    assert len(set(straight.values())) == 11


# Border


def trimap() -> SampleSet:
    stored = np.array([[1, 1, 3, 2], [1, 3, 3, 2], [3, 2, 2, 2], [2, 2, 2, 2]], np.uint8)
    return make_set((paint(draw("###.", "#...", "...#", "....")), stored))


BORDERS: dict[Border, tuple[int, int, int, int]] = {
    "foreground": (4, 1, 3, 8),
    "background": (3, 2, 0, 11),
    "ignore": (3, 1, 0, 8),
}


@pytest.mark.parametrize("border", BORDERS)
def test_border_rules_by_hand(engine: Engine, border: Border) -> None:
    assert trimap().encoding == TRIMAP
    hit, invented, missed, rest = BORDERS[border]
    for evaluation in (
        score(engine, trimap(), border=border),
        evaluate(red_predictor(), make_header(border=border), trimap(), engine=engine, split="test"),
    ):
        (row,) = evaluation.rows
        counts = row.TP, row.FP, row.FN, row.TN
        assert counts == (hit, invented, missed, rest)
        assert row.dice == row.dice_at_size == 2 * hit / (2 * hit + invented + missed)
        assert evaluation.statement["border"] == border


def test_a_border_rule_goes_before_the_models(engine: Engine) -> None:
    evaluation = evaluate(
        red_predictor(), make_header(border="ignore"), trimap(), engine=engine, split="test", border="background"
    )
    assert evaluation.statement["border"] == "background"
    assert evaluation.rows[0].FP == 2


def test_a_border_rule_on_masks_without_a_band_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"--border ignore needs masks with an ambiguity band"):
        score(engine, three(), border="ignore")


# Both empty


@pytest.mark.parametrize(("empty", "mean", "iou"), [(1.0, 1.75 / 3, 1.6 / 3), (0.0, 0.25, 0.2), (math.nan, 0.375, 0.3)])
def test_both_empty_counts_as_told(engine: Engine, empty: float, mean: float, iou: float) -> None:
    evaluation = score(engine, three(), empty=empty)
    both_empty = evaluation.rows[1]
    for value in (both_empty.dice, both_empty.iou, both_empty.dice_at_size):
        assert value == empty or (math.isnan(value) and math.isnan(empty))
    assert evaluation.statement["mean_dice"] == pytest.approx(mean)
    assert evaluation.statement["dice_at_size"] == pytest.approx(mean)
    assert evaluation.statement["mean_iou"] == pytest.approx(iou)
    distances = [row.hausdorff95 for row in evaluation.rows if row.TP + row.FN and row.TP + row.FP]
    assert 0 < len(distances) < 3
    assert evaluation.statement["mean_hausdorff95"] == pytest.approx(np.mean(distances))
    assert f"mean over the {len(distances)} photos with both outlines" in evaluation.describe()
    assert evaluation.statement["both_empty_count"] == 1
    assert evaluation.statement["empty"] == f"{empty:g}"
    assert evaluation.statement["pairs"] == 3
    assert f"1 photos without object and prediction count as {empty:g}" in evaluation.describe()


def test_an_invented_object_is_zero_even_where_empty_is_one(engine: Engine) -> None:
    samples = make_set((paint(draw("#...", "....", "....", "....")), NOTHING.astype(np.uint8)))
    evaluation = score(engine, samples, empty=1.0)
    assert (evaluation.rows[0].dice, evaluation.statement["both_empty_count"]) == (0, 0)


def test_nothing_but_empty_photos_cannot_be_averaged_without_them(engine: Engine) -> None:
    samples = make_set((paint(NOTHING), NOTHING.astype(np.uint8)))
    with pytest.raises(UserError, match="--empty nan there is nothing to average"):
        score(engine, samples, empty=math.nan)
    assert score(engine, samples, empty=0.0).statement["mean_dice"] == 0


def test_the_pooled_value_follows_the_rule_for_empty_too(engine: Engine) -> None:
    samples = make_set((paint(NOTHING), NOTHING.astype(np.uint8)))
    assert score(engine, samples, empty=0.0).statement["pooled_dice"] == 0


def test_objects_too_small_for_the_training_size_leave_a_whole_statement(engine: Engine) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[0, 0] = 1
    evaluation = score(engine, make_set((paint(np.zeros((16, 16), bool)), mask)), empty=math.nan)
    assert evaluation.rows[0].dice == 0
    json.dumps(evaluation.statement, allow_nan=False)


# The statement


def test_the_statement_by_hand(engine: Engine) -> None:
    samples = three()
    evaluation = score(engine, samples)
    interval = estimate_mean(np.array([0.75, 1.0, 0.0]))
    told = evaluation.statement
    assert {name: told[name] for name in ("data", "split", "pairs", "groups", "border", "threshold", "empty")} == {
        "data": "drawn",
        "split": "test",
        "pairs": 3,
        "groups": 0,
        "border": "foreground",
        "threshold": 0.5,
        "empty": "1",
    }
    assert told["fingerprint"] == samples.fingerprint
    assert (told["size"], told["fit"], told["network"], told["width"], told["epoch"]) == (4, "squash", "red", 1, 3)
    assert (told["score_space"], told["tta"], told["members"]) == ("photo", "none", [])
    assert (told["both_empty_count"], told["one_empty_count"], told["empty_truth_count"]) == (1, 0, 1)
    assert told["false_alarm_rate"] == 0
    assert (told["mean_dice_low"], told["mean_dice_high"]) == (None, None)  # three photos have no interval
    assert told["mean_dice"] == pytest.approx(1.75 / 3)
    assert told["mean_iou"] == pytest.approx(1.6 / 3)
    assert told["pooled_dice"] == 6 / (6 + 5 + 3)
    assert told["dice_at_size"] == pytest.approx(1.75 / 3)
    assert told["mean_precision"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert told["mean_specificity"] == pytest.approx((11 / 12 + 1 + 10 / 14) / 3)
    json.dumps(told, allow_nan=False)
    assert evaluation.mean_dice == interval


def test_what_is_printed_says_every_rule(engine: Engine) -> None:
    samples = make_set(*[pair_of(sample) for sample in three().samples] * 4)
    printed = score(engine, samples).describe()
    for part in (
        "12 pairs",
        f"hash {samples.fingerprint}",
        "border = foreground",
        "threshold 0.5",
        "fit squash",
        "red (width 1, epoch 3)",
        "0.5833 [",
        "95 % bootstrap over photos, at their own size",
        "all pixels pooled  0.4286",
        "mean @4px",
        "IoU   mean over photos   0.5333",
        "4 photos without object and prediction count as 1",
    ):
        assert part in printed, part


def test_the_pooled_value_weighs_photos_by_their_pixels(engine: Engine) -> None:
    large = draw(*["########"] * 8)
    samples = make_set((paint(large), large.astype(np.uint8)), (paint(NOTHING), (~NOTHING).astype(np.uint8)))
    statement = score(engine, samples).statement
    assert statement["mean_dice"] == 0.5
    assert statement["pooled_dice"] == 128 / (128 + 16)


def test_false_alarms_are_counted_on_photos_without_an_object(engine: Engine) -> None:
    red, nothing = draw("#...", "....", "....", "...."), NOTHING.astype(np.uint8)
    samples = make_set(
        (paint(red), nothing), (paint(NOTHING), nothing), (paint(NOTHING), nothing), (paint(red), red.astype(np.uint8))
    )
    evaluation = score(engine, samples)
    assert evaluation.statement["false_alarm_rate"] == pytest.approx(1 / 3)
    assert "false alarms on 33.3% of 3 photos without object" in evaluation.describe()
    assert score(engine, make_set((paint(red), red.astype(np.uint8)))).statement["false_alarm_rate"] is None


def test_doubt_that_ranks_failures_correlates_with_dice(engine: Engine) -> None:
    random = np.random.default_rng(0)
    pairs = []
    for index in range(12):
        truth = np.zeros((8, 8), np.uint8)
        truth[:, :4] = 1
        red = np.where(truth, 200, 40).astype(float)
        red += random.normal(0, 8 * index, red.shape)  # ever harder photos
        pixels = np.repeat(red.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)
        pairs.append((pixels, truth))

    class Soft(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 6 * (image[:, :1] - 0.47)

    predictor = Predictor(Soft(), size=8, mean=(0.0,) * 3, deviation=(1.0,) * 3).eval()
    evaluation = evaluate(predictor, make_header(size=8), make_set(*pairs), engine=engine, split="test")
    assert evaluation.statement["uncertainty_correlation"] < -0.8
    assert "correlate by -0." in evaluation.describe()


def test_groups_are_kept_and_counted(engine: Engine) -> None:
    drawn = make_set(*[pair_of(sample) for sample in three().samples] * 4)
    for count, told in (
        (2, "without an interval: 2 groups of photos are too few"),
        (5, "bootstrap over 5 groups of photos"),
    ):
        members = tuple(replace(sample, group=f"g{place % count}") for place, sample in enumerate(drawn.samples))
        evaluation = score(engine, replace(drawn, samples=members))
        assert [row.group for row in evaluation.rows[:3]] == ["g0", "g1", f"g{2 % count}"]
        assert evaluation.statement["groups"] == count
        assert told in evaluation.describe()


# Refusals


def test_no_samples_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="drawn has no validation photos"):
        evaluate(red_predictor(), make_header(), three().of("validation"), engine=engine, split="validation")


def test_a_predictor_in_training_mode_is_refused(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="training mode"):
        evaluate(red_predictor().train(), make_header(), three(), engine=engine, split="test")


def test_a_training_photo_is_refused_by_its_content_under_any_name(engine: Engine, tmp_path: Path) -> None:
    mask = NOTHING.astype(np.uint8)
    Image.fromarray(make_noise(4, 4, 1)).save(tmp_path / "cat.png")
    learnt = inspect_sample(Sample("cat", tmp_path / "cat.png", mask))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cat.png").rename(tmp_path / "elsewhere" / "innocent.png")
    other = Sample("other", make_noise(4, 4, 2), mask)
    header = make_header(training_images=("f" * HASH_DIGITS, learnt.image_hash[:HASH_DIGITS]))

    leak = Sample("innocent", tmp_path / "elsewhere" / "innocent.png", 1 - mask)  # another mask does not help
    with pytest.raises(
        UserError, match=r"of 2 photos 1 trained this model \(innocent\): score others, or go on with --allow-overlap"
    ):
        evaluate(red_predictor(), header, understand_samples("x", [other, leak]), engine=engine, split="test")
    evaluate(red_predictor(), header, understand_samples("x", [other]), engine=engine, split="test")


def test_a_training_photo_in_memory_is_refused_too(engine: Engine) -> None:
    samples = three()
    header = make_header(training_images=tuple(look.image_hash[:HASH_DIGITS] for look in samples.inspections[2:]))
    with pytest.raises(UserError, match=r"of 3 photos 1 trained this model \(photo_2\)"):
        evaluate(red_predictor(), header, samples, engine=engine, split="test")


def test_nothing_is_written_where_a_training_photo_is_refused(engine: Engine, tmp_path: Path) -> None:
    samples, run = three(), create_run(tmp_path / "run")
    header = make_header(training_images=(samples.inspections[0].image_hash[:HASH_DIGITS],))
    with pytest.raises(UserError, match="trained this model"):
        evaluate(red_predictor(), header, samples, engine=engine, split="test", run=run)
    assert list(run.folder.iterdir()) == []


def test_a_photo_in_memory_must_be_uint8() -> None:
    mask = draw("#.", "..").astype(np.uint8)
    with unchecked(), pytest.raises(UserError, match="uint8"):
        understand_samples("own", [Sample("float", make_noise(2, 2) / np.float32(255), mask)])  # type: ignore[arg-type]


def test_an_id_that_cannot_be_a_file_name_is_refused_before_scoring(engine: Engine, tmp_path: Path) -> None:
    sample = Sample("cats/1", paint(NOTHING), NOTHING.astype(np.uint8))
    with pytest.raises(UserError):
        score(engine, understand_samples("own", [sample]), run=create_run(tmp_path / "run"))


# The run folder


def test_what_is_kept_reads_back_as_it_was(engine: Engine, tmp_path: Path) -> None:
    drawn = three()
    described = [replace(sample, metadata={"breed": f'no. {i}, "red"'}) for i, sample in enumerate(drawn.samples)]
    samples = replace(drawn, samples=tuple(described))
    run = create_run(tmp_path / "run")
    evaluation = score(engine, samples, run=run)
    assert [row_text(row) for row in run.scores("test")] == [row_text(row) for row in evaluation.rows]
    assert run.statement("test") == evaluation.statement
    assert [row.metadata["breed"] for row in evaluation.rows] == ['no. 0, "red"', 'no. 1, "red"', 'no. 2, "red"']
    assert [row_text(row) for row in evaluation.rows] == [
        row_text(replace(row, metadata=sample.metadata))
        for row, sample in zip(score(engine, drawn).rows, described, strict=True)
    ], "keeping changes no score"


def test_predictions_are_probabilities_at_the_training_size(engine: Engine, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    left = draw(*["####...."] * 6)
    score(engine, make_set((paint(left), left.astype(np.uint8)), (make_noise(9, 5), np.zeros((9, 5), np.uint8))), run=run)
    assert sorted(path.name for path in run.predictions("test").iterdir()) == ["photo_0.png", "photo_1.png"]
    with Image.open(run.predictions("test") / "photo_0.png") as picture:
        assert (picture.mode, picture.size) == ("L", (4, 4))
        np.testing.assert_array_equal(np.asarray(picture), [[255, 255, 0, 0]] * 4)
    with Image.open(run.predictions("test") / "photo_1.png") as picture:
        assert picture.size == (4, 4)


def test_thumbnails_keep_the_photos_shape_and_are_never_enlarged(engine: Engine, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    sizes = [(300, 150), (64, 512), (5, 9)]
    score(engine, make_set(*((make_noise(*size), np.zeros(size, np.uint8)) for size in sizes)), run=run)
    for index, expected in enumerate([(64, 128), (128, 16), (9, 5)]):
        with Image.open(run.thumbnails("test") / f"photo_{index}.webp") as picture:
            assert picture.format == "WEBP"
            assert picture.size == expected
        with Image.open(run.outcomes("test") / f"photo_{index}.png") as picture:
            assert picture.size == expected


def test_without_a_run_nothing_is_written(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    score(engine, three())
    assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_over_all_samples(engine: Engine) -> None:
    told: list[tuple[int, str]] = []

    def show(items: Any, *, total: int, desc: str) -> Any:
        told.append((total, desc))
        return items

    score(engine, three(), progress=show)
    assert told == [(3, "scoring test")]


def test_areas_are_compared_where_both_are(engine: Engine) -> None:
    """Twice and half average to the right size; photos without an object, true or predicted, play no part."""
    two, one, nothing = draw("##..", "....", "....", "...."), draw("#...", "....", "....", "...."), NOTHING
    pairs = [(two, one), (one, two), (two, nothing), (nothing, one)]
    samples = make_set(*[(paint(predicted), truth.astype(np.uint8)) for predicted, truth in pairs])
    evaluation = score(engine, samples)
    assert evaluation.statement["area_ratio"] == pytest.approx(1)
    assert evaluation.statement["area_ratio_range"] is None
    assert "area, predicted over true 1.0000 (geometric mean)\n" in evaluation.describe()
    many = make_set(*[(paint(two), one.astype(np.uint8))] * 30, *[(paint(one), two.astype(np.uint8))] * 10)
    told = score(engine, many).statement
    assert told["area_ratio"] == pytest.approx(2 ** (30 / 40) * 0.5 ** (10 / 40))
    assert told["area_ratio_range"] == pytest.approx([0.5, 2])
    low, high = told["intervals"]["area_ratio"]
    assert 1 < low < told["area_ratio"] < high < 2


def test_no_area_is_compared_where_nothing_is_found(engine: Engine) -> None:
    samples = make_set((paint(NOTHING), (~NOTHING).astype(np.uint8)))
    evaluation = score(engine, samples)
    assert evaluation.statement["area_ratio"] is None
    assert "area" not in evaluation.describe()
