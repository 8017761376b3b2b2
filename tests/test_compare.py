"""Is B better than A: by hand, refusals, and simulations of how often the verdict is wrong."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fgbg.config import TrainConfig
from fgbg.errors import UserError
from fgbg.judge.bootstrap import Estimate, PairedTest, adjust_holm, check_difference, find_detectable
from fgbg.judge.compare import SIGNIFICANT, compare_runs, describe_comparisons
from fgbg.judge.comparison import Comparison
from fgbg.judge.trainings import TrainingsTest, compare_recipes, compare_seeds
from fgbg.rows import ScoreRow
from fgbg.run import Run, create_run

STATEMENT = {
    "data": "drawn",
    "fingerprint": "0badc0de",
    "split": "test",
    "pairs": 12,
    "border": "foreground",
    "empty": "1",
    "score_space": "photo",
    "tta": "none",
    "members": [],
    "epoch": 3,
    "threshold": 0.5,
}


def make_run(folder: Path, scores: Sequence[float], *, groups: Sequence[str] = (), told: Any = None, **settings: Any) -> Run:
    """A scored run: photo_00, photo_01, … with these Dice."""
    run = create_run(folder)
    run.write_config(TrainConfig(out=str(folder), **settings))
    rows = [
        ScoreRow(f"photo_{index:02}", 4, 4, 1, 0, 0, 15, float(score), 0.5, 0.5, group=groups[index] if groups else "")
        for index, score in enumerate(scores)
    ]
    run.write_scores("test", rows, STATEMENT | (told or {}))
    return run


def steps(first: float = 0.5, count: int = 12) -> NDArray[np.float64]:
    return first + np.arange(count) / 100


def compare_two(tmp_path: Path, a: Any, b: Any, **options: Any) -> Comparison:
    (comparison,) = compare_runs(
        [make_run(tmp_path / "a", a), make_run(tmp_path / "b", b, model="resnet34_unet")], **options
    )
    return comparison


# This model or that model


def test_two_models_by_hand(tmp_path: Path) -> None:
    gains = np.array([0.04] * 6 + [0.02] * 3 + [0.0005] * 2 + [-0.1])
    told = compare_two(tmp_path, steps(), steps() + gains)
    assert (told.question, told.a, told.b) == ("model", "Unet", "ResNet34_Unet")
    assert told.difference.mean == pytest.approx(gains.mean()) == pytest.approx((0.24 + 0.06 + 0.001 - 0.1) / 12)
    assert told.mean_b - told.mean_a == pytest.approx(told.difference.mean)
    assert (told.wins, told.ties, told.losses) == (9, 2, 1)
    assert told.verdict == "cannot tell"  # one photo takes back much of it
    assert told.difference.low < 0 < told.difference.high
    assert [pair.id for pair in told.most_changed(2)] == ["photo_11", "photo_00"]
    assert told.notes == ("these two models only; run 3 seeds of each to judge the recipe",)
    assert told.sample == "12 photos"


@pytest.mark.parametrize(("sign", "verdict"), [(1, "B is better"), (-1, "A is better")])
def test_the_verdict_names_the_better_one(tmp_path: Path, sign: int, verdict: str) -> None:
    told = compare_two(tmp_path, steps(), steps() + sign * np.linspace(0.01, 0.03, 12))
    assert told.verdict == verdict
    assert told.p < 0.05
    assert (told.difference.low > 0) == (sign > 0)
    assert f"{verdict}: {'ResNet34_Unet' if sign > 0 else 'Unet'}" in told.describe()


def test_equal_scores_cannot_be_told_apart(tmp_path: Path) -> None:
    told = compare_two(tmp_path, steps(), steps())
    assert (told.verdict, told.p, told.difference) == ("cannot tell", 1.0, (0, 0, 0))
    assert (told.wins, told.ties, told.losses) == (0, 12, 0)


def test_the_order_of_the_photos_does_not_matter(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / name, steps(), model=model) for name, model in (("a", "unet"), ("b", "resnet34_unet")))
    rows = [replace(row, dice=row.dice + 0.01 * (index % 3)) for index, row in enumerate(b.scores("test"))]
    b.write_scores("test", rows, STATEMENT)
    straight = compare_runs([a, b])
    b.write_scores("test", rows[::-1], STATEMENT)
    assert compare_runs([a, b]) == straight


def test_few_photos_give_no_verdict(tmp_path: Path) -> None:
    told = compare_two(tmp_path, steps(count=9), steps(0.8, count=9))
    assert told.verdict == "cannot tell"
    assert any("fewer than 10 photos are too few" in note for note in told.notes)


def test_whole_groups_are_drawn_where_there_are_some(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    groups = [f"animal_{index // 10:02}" for index in range(200)]
    gains = random.normal(0, 0.05, 20).repeat(10) + random.normal(0, 0.001, 200)  # ten photos of an animal gain alike
    alone = check_difference(gains)
    together = check_difference(gains, groups=groups)
    assert (alone.units, together.units) == (200, 20)

    def width(test: Any) -> float:
        return test.difference.high - test.difference.low

    assert 2.5 < width(together) / width(alone) < 4.5  # sqrt(10) were photos of an animal copies of each other
    a = make_run(tmp_path / "a", np.full(200, 0.5), groups=groups)
    b = make_run(tmp_path / "b", 0.5 + gains, groups=groups, model="resnet34_unet")
    assert compare_runs([a, b])[0].sample == "20 groups of photos"


def test_a_photo_without_a_group_is_drawn_alone(tmp_path: Path) -> None:
    """groups.csv may name only the photos that belong together."""
    groups = ["cat"] * 6 + ["dog"] * 5 + [""] * 9
    a = make_run(tmp_path / "a", steps(count=20), groups=groups)
    b = make_run(tmp_path / "b", steps(0.6, count=20), groups=groups, model="resnet34_unet")
    assert compare_runs([a, b])[0].sample == "11 groups of photos"


def test_photos_without_a_score_are_left_out_of_both(tmp_path: Path) -> None:
    a, b = steps(), steps(0.6)
    a[0] = b[1] = np.nan
    told = compare_two(tmp_path, a, b)
    assert len(told.pairs) == 10
    assert told.difference.mean == pytest.approx(0.1)
    assert told.notes[:3] == (
        "2 photos left out, on which a model rightly found nothing (--empty nan)",
        "on 1 of them A found something, which costs it nothing here: --empty 1 would count it",
        "on 1 of them B found something, which costs it nothing here: --empty 1 would count it",
    )


def test_several_models_are_adjusted_together(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    runs = [
        make_run(tmp_path / name, 0.5 + gain + random.normal(0, 0.02, 40), width=width)
        for name, gain, width in (("a", 0.0, 8), ("b", 0.011, 16), ("c", 0.2, 24))
    ]
    told = compare_runs(runs)
    assert [(each.a, each.b) for each in told] == [
        ("Unet (a)", "Unet (b)"),
        ("Unet (a)", "Unet (c)"),
        ("Unet (b)", "Unet (c)"),
    ]
    assert [each.p_holm for each in told] == adjust_holm([each.p for each in told])
    assert "among all (Holm)" in told[1].describe()


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, and never falling: 0.02, 0.03, 0.06, 0.06.
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.9, 0.8]) == [1.0, 1.0]


# This recipe or that recipe


def make_recipe(tmp_path: Path, name: str, means: Sequence[float], **settings: Any) -> list[Run]:
    wave = np.sin(np.arange(30)) * 0.1
    return [make_run(tmp_path / f"{name}-{seed}", mean + wave, seed=seed, **settings) for seed, mean in enumerate(means)]


def test_three_seeds_each_answer_for_the_recipe(tmp_path: Path) -> None:
    a, b = [0.800, 0.810, 0.805], [0.820, 0.835, 0.825]
    runs = make_recipe(tmp_path, "a", a) + make_recipe(tmp_path, "b", b, model="resnet34_unet")
    (told,) = compare_runs(runs)
    judge = stats.ttest_ind(b, a, equal_var=False)
    assert told.question == "recipe"
    assert told.p == pytest.approx(judge.pvalue)
    assert told.difference.low == pytest.approx(judge.confidence_interval().low)
    assert told.difference.high == pytest.approx(judge.confidence_interval().high)
    assert told.verdict == "B is better"
    assert told.sample == "3 and 3 seeds on 30 photos"
    assert told.pairs[0].b == pytest.approx(np.mean(b) + 0)  # the photo's mean over seeds
    assert told.runs_a == ("a-0", "a-1", "a-2")
    assert "seeds of Unet: 0.8" in " ".join(told.notes)


def test_few_photos_give_no_verdict_on_recipes_either(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / f"{model}-{seed}", steps(first + seed / 1000, count=2), model=model, seed=seed)
        for model, first in (("unet", 0.5), ("resnet34_unet", 0.7))
        for seed in range(3)
    ]
    (comparison,) = compare_runs(runs)
    assert (comparison.question, comparison.verdict) == ("recipe", "cannot tell")
    assert comparison.p < SIGNIFICANT
    assert "fewer than 10 photos are too few for a verdict" in comparison.describe()


def test_seeds_that_scatter_more_than_they_differ_tell_nothing(tmp_path: Path) -> None:
    runs = make_recipe(tmp_path, "a", [0.80, 0.84, 0.78]) + make_recipe(tmp_path, "b", [0.83, 0.79, 0.85], width=32)
    (told,) = compare_runs(runs)
    assert told.verdict == "cannot tell"
    assert (told.a, told.b) == ("Unet, width 64", "Unet, width 32")
    # The same six runs, asked as models: photo by photo two of them do differ.
    models = compare_runs(runs, question="model")
    assert len(models) == 9  # only of different recipes
    assert any(each.verdict != "cannot tell" for each in models)


def test_copies_of_one_training_are_no_seeds(tmp_path: Path) -> None:
    a = [make_run(tmp_path / f"a-{copy}", steps()) for copy in range(3)]
    b = [make_run(tmp_path / f"b-{seed}", steps(0.6) + seed / 100, seed=seed, model="resnet34_unet") for seed in range(3)]
    with pytest.raises(
        UserError, match=r"a-0 and .*a-1 are of one recipe and have the same seed \(0\): they are one training"
    ):
        compare_runs([*a, *b])
    assert {told.question for told in compare_runs([*a, *b], question="model")} == {"model"}


def make_ensembles(tmp_path: Path, name: str, members: Sequence[Sequence[int]], **settings: Any) -> list[Run]:
    """Joint scores of runs NAME-run-0, …, as many as there are lists of members."""
    told = [
        {"members": list(map(str, each)), "member_models": [{"run": f"../{name}-run-{seed}"} for seed in each]}
        for each in members
    ]
    wave = np.sin(np.arange(30)) * 0.1
    return [
        make_run(tmp_path / f"{name}-{place}", 0.8 + place / 100 + wave, told=each, **settings)
        for place, each in enumerate(told)
    ]


def test_ensembles_that_share_a_member_are_no_seeds(tmp_path: Path) -> None:
    apart = make_ensembles(tmp_path, "a", [(0, 1), (2, 3), (4, 5)])
    shared = make_ensembles(tmp_path, "b", [(0, 1), (1, 2), (3, 4)], model="resnet34_unet")
    with pytest.raises(UserError, match=r"b-0 and .*b-1 are ensembles with .*b-run-1 in common"):
        compare_runs([*apart, *shared])
    other = make_ensembles(tmp_path, "c", [(0, 1), (2, 3), (4, 5)], model="resnet34_unet")
    assert [told.question for told in compare_runs([*apart, *other])] == ["recipe"]


def test_ensembles_of_other_networks_are_no_seeds(tmp_path: Path) -> None:
    """Their folders hold the settings of the first member alone."""
    wave = np.sin(np.arange(30)) * 0.1
    members = {name: make_run(tmp_path / name, 0.8 + wave) for name in ("u0", "u1", "u2", "u3")}
    members["r0"] = make_run(tmp_path / "r0", 0.8 + wave, model="resnet34_unet")
    ensembles = []
    for place, names in enumerate([("u0", "u1"), ("u2", "u3"), ("u0", "r0")]):
        run = make_run(tmp_path / f"ensemble-{place}", 0.8 + place / 100 + wave, told={"members": list(names)})
        (run.folder / "members.json").write_text(json.dumps({"members": [f"../{name}" for name in names]}))
        ensembles.append(run)
    alike, *others = compare_runs(ensembles[:2]) + compare_runs(ensembles[1:])
    assert any("seeds of one recipe" in note for note in alike.notes)
    assert not any("seeds of one recipe" in note for each in others for note in each.notes)


def test_seeds_whose_thresholds_were_chosen_for_other_ends_are_no_recipe(tmp_path: Path) -> None:
    runs = make_recipe(tmp_path, "a", [0.80, 0.81, 0.82]) + make_recipe(
        tmp_path, "b", [0.8, 0.9, 0.7], model="resnet34_unet"
    )
    for run in runs:
        run.write_calibration({"threshold": {"value": 0.5, "objective": "dice"}})
    assert {told.question for told in compare_runs(runs)} == {"recipe"}
    runs[1].write_calibration({"threshold": {"value": 0.2, "objective": "recall:0.99"}})
    assert {told.question for told in compare_runs(runs)} == {"model"}
    with pytest.raises(UserError, match="--question recipe needs two recipes or more with 3 seeded runs each"):
        compare_runs(runs, question="recipe")


def test_equal_means_have_no_spread_whatever_their_rounding() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare_seeds(np.full(3, 0.1947), np.full(3, 0.1963))[1] == 0
        assert compare_recipes(np.full((3, 20), 0.1947), np.full((3, 20), 0.1963)).p == 0
        assert compare_recipes(np.full((3, 20), 0.1947), np.full((5, 20), 0.1947)).p == 1
        for value in np.random.default_rng(0).random(50):
            assert compare_seeds(np.full(3, value), np.full(5, value))[:2] == ((0, 0, 0), 1)


def test_two_seeds_answer_for_the_models_alone(tmp_path: Path) -> None:
    runs = make_recipe(tmp_path, "a", [0.80, 0.81]) + make_recipe(tmp_path, "b", [0.83, 0.84], width=32)
    told = compare_runs(runs)
    assert {each.question for each in told} == {"model"}
    assert all("these two models only; run 3 seeds" in each.notes[0] for each in told)
    with pytest.raises(UserError, match=r"needs two recipes or more with 3 seeded runs each; here are 2 \(a-0: 2, b-0: 2\)"):
        compare_runs(runs, question="recipe")


def test_seeds_of_one_recipe_are_said_to_be_that(tmp_path: Path) -> None:
    told = compare_runs(make_recipe(tmp_path, "a", [0.80, 0.81, 0.82]))
    assert len(told) == 3
    assert all("these are seeds of one recipe" in each.notes[-1] for each in told)


def test_runs_equal_to_the_last_digit_do_not_crash(tmp_path: Path) -> None:
    runs = make_recipe(tmp_path, "a", [0.8] * 3) + make_recipe(tmp_path, "b", [0.8] * 3, width=32)
    (told,) = compare_runs(runs)
    assert (told.verdict, told.difference) == ("cannot tell", (0, 0, 0))


def test_other_views_of_the_same_weights_are_no_seeds(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / f"{tta}-{seed}", steps() + 0.01 * seed, seed=seed, told={"tta": tta})
        for tta in ("none", "flip")
        for seed in range(3)
    ]
    (told,) = compare_runs(runs)
    assert told.question == "recipe"
    assert told.runs_b == ("flip-0", "flip-1", "flip-2")


# Refusals


def test_what_cannot_be_compared_is_refused_with_the_cure(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", steps())

    def other(name: str, scores: Any = None, **told: Any) -> list[Run]:
        return [a, make_run(tmp_path / name, steps() if scores is None else scores, told=told)]

    for runs, sentence in (
        ([a], "takes two runs or more"),
        ([a, a], "a is named twice"),
        (other("b", steps(count=11)), r"different photos \(1 only in the first, 0 only in the second: photo_11\)"),
        (other("c", fingerprint="f00"), r"same names but other content \(hash 0badc0de and f00\)"),
        (other("d", border="ignore"), "scored with border = foreground, .*d with ignore"),
        (other("e", empty="0"), "empty = 1"),
        (other("f", score_space="square"), "score_space"),
    ):
        with pytest.raises(UserError, match=sentence):
            compare_runs(runs)
    regrouped = make_run(tmp_path / "h", steps(), groups=["hen"] * 12)
    with pytest.raises(UserError, match=r"scored with other groups in groups\.csv \(photo_00, .*evaluate both again"):
        compare_runs([a, regrouped])
    unscored = create_run(tmp_path / "g")
    unscored.write_config(TrainConfig())
    with pytest.raises(UserError, match=r"run fgbg evaluate .*g --split test first"):
        compare_runs([a, unscored])


def test_training_sizes_and_thresholds_may_differ(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", steps(), told={"size": 128, "threshold": 0.5})
    b = make_run(tmp_path / "b", steps(), told={"size": 256, "threshold": 0.4}, size=256)
    assert compare_runs([a, b])[0].verdict == "cannot tell"


# What is told


def test_json_has_everything(tmp_path: Path) -> None:
    told = compare_two(tmp_path, steps(), steps(0.6))
    read = json.loads(json.dumps(told.to_json(), allow_nan=False))
    assert (read["question"], read["verdict"]) == ("model", "B is better")
    assert read["difference"] == pytest.approx(0.1)
    assert read["interval"] == pytest.approx([0.1, 0.1])
    assert read["pairs"][0] == {"id": "photo_00", "a": 0.5, "b": 0.6}
    assert len(read["most_changed"]) == 10


def test_json_of_a_single_photo_is_json(tmp_path: Path) -> None:
    told = compare_two(tmp_path, steps(count=1), steps(0.6, count=1))
    assert json.loads(json.dumps(told.to_json(), allow_nan=False))["interval"] == [None, None]


def test_what_is_printed(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", steps()), make_run(tmp_path / "b", steps(0.51), model="resnet34_unet")]
    printed = describe_comparisons(compare_runs(runs), runs, "test")
    for part in (
        "test photos of drawn: 12 pairs · hash 0badc0de · border = foreground",
        "this model or that model, on photos like these?",
        "A  Unet           0.5550",
        "B - A +0.0100 [+0.0100, +0.0100]  95 % interval, paired bootstrap over 12 photos; p < 0.001",
        "B is better on 12 photos, equal on 0 (within 0.001), worse on 0",
        "B is better: ResNet34_Unet",
        "photo_00  0.500 → 0.510  +0.010",
    ):
        assert part in printed, part


# How often it errs


def test_models_swapped_within_photos_are_rarely_told_apart() -> None:
    """A/A: which of two models a score belongs to is drawn anew for each photo."""
    random = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        count = int(random.integers(60, 600))
        easy = random.beta(8, 2, count)
        a, b = (np.clip(easy + random.normal(0, 0.08, count), 0, 1) for _ in range(2))
        swap = random.random(count) < 0.5
        differences = np.where(swap, a - b, b - a)
        false += check_difference(differences, resamples=1000).p < SIGNIFICANT
    assert false <= 7


def test_a_planted_gain_is_found() -> None:
    """+0.02 on 500 photos whose differences scatter by 0.11, as those of two networks on pets do."""
    random = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        differences = random.normal(0.02, 0.11, 500)
        test = check_difference(differences, resamples=1000)
        found += test.p < SIGNIFICANT and test.difference.low > 0
    assert found >= 90


def test_among_many_comparisons_of_few_photos_a_plain_difference_is_found() -> None:
    """The resamples alone cannot tell a p-value below 0.003 from 12 photos."""
    gains = 0.8 + np.random.default_rng(7).normal(0, 0.005, 12)
    test = check_difference(gains)
    assert max(adjust_holm([test.p] * 40)) < 0.001
    assert find_detectable(test.difference, test.freedom, comparisons=40) < 0.02


def test_too_few_photos_for_a_verdict_promise_nothing(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", steps()[:8]), make_run(tmp_path / "b", steps(0.51)[:8], model="resnet34_unet")]
    told = compare_runs(runs)[0]
    assert (told.verdict, told.detectable_in_words, told.to_json()["detectable"]) == ("cannot tell", "", None)
    assert "would be found" not in told.describe()


def test_the_detectable_difference_by_hand() -> None:
    """A standard error of 1 and the quantiles of the normal distribution, to which Student's t comes near."""
    difference = Estimate(0.3, 0.3 - 1.959964, 0.3 + 1.959964)
    assert find_detectable(difference, 1e9) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert find_detectable(difference, 1e9, comparisons=5) == pytest.approx(2.575829 + 0.841621, abs=1e-5)
    assert find_detectable(Estimate(0.1, 0.1, 0.1), np.inf) == 0
    assert find_detectable(Estimate(0.1, -np.inf, np.inf), 2) == np.inf


def test_the_detectable_difference_is_found_in_four_of_five_cases() -> None:
    """As told from data without any difference, of photos and of seeds."""
    random = np.random.default_rng(6)
    told = [find_detectable(test.difference, test.freedom) for test in (draw_photos(random, 0) for _ in range(50))]
    found = sum(draw_photos(random, float(np.mean(told))).p < SIGNIFICANT for _ in range(300))
    assert 0.74 < found / 300 < 0.87
    told = [find_detectable(test.difference, test.freedom) for test in (draw_seeds(random, 0) for _ in range(300))]
    found = sum(draw_seeds(random, float(np.mean(told))).p < SIGNIFICANT for _ in range(600))
    assert 0.72 < found / 600 < 0.85
    told = [find_detectable(test.difference, test.freedom) for test in (draw_crossed(random, 0) for _ in range(300))]
    found = sum(draw_crossed(random, float(np.mean(told))).p < SIGNIFICANT for _ in range(600))
    assert 0.72 < found / 600 < 0.87


def draw_photos(random: np.random.Generator, gain: float) -> PairedTest:
    return check_difference(random.normal(gain, 1, 50), resamples=1000)


def draw_seeds(random: np.random.Generator, gain: float) -> TrainingsTest:
    return compare_seeds(random.normal(0, 1, 5), random.normal(gain, 1, 5))


def draw_crossed(random: np.random.Generator, gain: float) -> TrainingsTest:
    """Five seeds each on 40 photos, where seeds and photos make about as much of the variance."""
    suits = random.normal(0, 1, 40)  # how much better photos suit B
    seeds = random.normal(0, 0.15, (2, 5, 1)) + random.normal(0, 0.5, (2, 5, 40))
    return compare_recipes(seeds[0], seeds[1] + suits + gain)


def simulate_seeds(random: np.random.Generator, seeds: int, photos: int = 300) -> NDArray[np.float64]:
    """(seeds, photos) Dice of one recipe: photos are easy or hard, seeds are a bit better or worse on all of them."""
    easy = random.beta(8, 2, photos)
    return easy + random.normal(0, 0.01, (seeds, 1)) + random.normal(0, 0.05, (seeds, photos))


def test_equal_recipes_are_rarely_told_apart() -> None:
    random = np.random.default_rng(2)
    false = 0
    for _ in range(200):
        scores = simulate_seeds(random, 6)
        false += compare_recipes(scores[:3], scores[3:]).p < SIGNIFICANT
    assert false <= 20  # 10 expected; more than 20 in 0.1 % of cases


@pytest.mark.parametrize("photos", [10, 100])
def test_recipes_that_are_equal_on_all_photos_are_rarely_told_apart_on_some(photos: int) -> None:
    """One suits some photos better and the other one others, by 0.09: over seeds alone a third of the draws differ."""
    random = np.random.default_rng(5)
    false = {"crossed": 0, "seeds alone": 0}
    for _ in range(300):
        suits = random.normal(0, 0.09, photos)
        a, b = (random.normal(0, 0.002, (3, 1)) + random.normal(0, 0.037, (3, photos)) + gain for gain in (0, suits))
        false["crossed"] += compare_recipes(a, b).p < SIGNIFICANT
        false["seeds alone"] += compare_seeds(a.mean(1), b.mean(1)).p < SIGNIFICANT
    assert false["crossed"] <= 28  # 15 expected; more than 28 in 0.1 % of cases
    assert false["seeds alone"] > 80


def test_photos_of_one_group_are_one_piece_of_evidence() -> None:
    random = np.random.default_rng(6)
    groups = [f"{place // 10}" for place in range(100)]
    false = {"groups": 0, "photos": 0}
    for _ in range(200):
        suits = np.repeat(random.normal(0, 0.05, 10), 10)
        a, b = (random.normal(0, 0.002, (3, 1)) + random.normal(0, 0.01, (3, 100)) + gain for gain in (0, suits))
        false["groups"] += compare_recipes(a, b, groups=groups).p < SIGNIFICANT
        false["photos"] += compare_recipes(a, b).p < SIGNIFICANT
    assert false["groups"] <= 20 and false["photos"] > 60


def test_the_variance_of_a_difference_by_hand() -> None:
    """Seeds' means are 1 and 3, and 5 and 5; photos differ by 2, 4 and 3; no photo suits a single seed."""
    photos = np.array([0.0, 0, 0])
    a = photos + np.array([[1.0], [3.0]])
    b = np.array([2.0, 4, 3]) + 2 + np.zeros((2, 1))
    told = compare_recipes(a, b)
    assert told.difference.mean == 3
    of_seeds, of_photos = 2 / 2, 1 / 3  # variances of a's means and of the photos' differences, over how many there are
    error = np.sqrt(of_seeds + of_photos)
    freedom = (of_seeds + of_photos) ** 2 / (of_seeds**2 / 1 + of_photos**2 / 2)
    assert told.freedom == pytest.approx(freedom)
    assert told.difference.high - 3 == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert told.p == pytest.approx(2 * stats.t.sf(3 / error, freedom))
    assert told.photo_share == pytest.approx(of_photos / (of_seeds + of_photos))


def test_how_photos_suit_single_seeds_is_counted_once() -> None:
    """It is in the spread of the seeds' means and in that of the photos' differences: an interval with both is too wide."""
    random = np.random.default_rng(7)
    false = 0
    for _ in range(400):
        false += compare_recipes(*random.normal(0, 1, (2, 8, 40))).p < SIGNIFICANT
    assert 8 <= false <= 34  # of 20 expected; counted twice, 2 are found


@pytest.mark.parametrize("scores", [[[1.0, -1], [0, 2]], [[1.0, 0], [-1, 2]]])
def test_a_variance_is_never_less_than_that_of_the_seeds_or_of_the_photos(scores: list[list[float]]) -> None:
    """Seeds' means, or photos' means, are 0 and 1: 1/4. How photos suit the seeds, ±1, would take 1 off, and leave -3/4."""
    told = compare_recipes(np.array(scores), np.full((2, 2), 3.0))
    assert told.difference.mean == 2.5
    assert told.difference.high - 2.5 == pytest.approx(stats.t.ppf(0.975, 1) * 0.5)
    assert told.p == pytest.approx(2 * stats.t.sf(2.5 / 0.5, 1))


def test_how_groups_suit_single_seeds_is_taken_off_by_groups() -> None:
    """Seeds' means are 2 and 6, and so are the groups': 4 each. How groups suit the seeds, ±1, is 1; by photos, a third."""
    a = np.repeat([[1.0, 3], [3, 9]], 2, axis=1)
    told = compare_recipes(a, np.zeros((2, 4)), groups=["p", "p", "q", "q"])
    assert told.freedom == pytest.approx((4 + 4) ** 2 / (4**2 / 1 + 4**2 / 1))
    assert told.difference.high + 4 == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(4 + 4 - 1))


def test_a_single_photo_or_group_gives_no_interval() -> None:
    told = compare_recipes(np.array([[0.5], [0.6], [0.7]]), np.array([[0.8], [0.9], [0.7]]))
    assert (told.difference.low, told.difference.high, told.p) == (-math.inf, math.inf, 1)


def test_photos_alone_crown_a_winner_among_seeds_of_one_recipe() -> None:
    """Why the two questions are never mixed: with a seed effect of 0.01 and 300 photos most A/A pairs of seeds differ."""
    random = np.random.default_rng(3)
    crowned = 0
    for _ in range(100):
        first, second = simulate_seeds(random, 2)
        crowned += check_difference(second - first, resamples=1000).p < SIGNIFICANT
    assert crowned > 50


@pytest.mark.parametrize("count", [10, 15, 40])
def test_few_photos_do_not_look_like_evidence(count: int) -> None:
    random = np.random.default_rng(4)
    draws = (random.normal(0, 1, count) for _ in range(400))
    false = sum(check_difference(draw, resamples=1000, seed=seed).p < SIGNIFICANT for seed, draw in enumerate(draws))
    assert false / 400 < 0.075


def test_p_is_below_5_percent_exactly_where_the_interval_leaves_0_out() -> None:
    random = np.random.default_rng(5)
    for count in [40] * 60 + [2, 3, 4, 5] * 5:
        test = check_difference(random.normal(0.3, 0.3 if count < 40 else 1, count), resamples=1000)
        assert (test.p < SIGNIFICANT) == (test.difference.low > 0 or test.difference.high < 0)
