"""The methods section says what was done, all of it, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fake_runs import write_fake_run
from fgbg.config import TrainConfig
from fgbg.data.augment_ranges import NO_CHANGE, AugmentRanges
from fgbg.judge.compare import compare_runs
from fgbg.judge.methods import describe
from fgbg.judge.methods.describe import Methods, describe_methods
from fgbg.judge.methods.recipes import group_by_recipe
from fgbg.judge.methods.references import REFERENCES
from fgbg.judge.page.render import render_page
from fgbg.judge.results import read_results
from fgbg.loss_names import LOSSES, split_loss
from fgbg.models import MODELS
from fgbg.run import Run, create_run
from fgbg.storage import JOINT
from fgbg.words import Fit

CITATION = r"[A-ZÁ-Ž][\w’-]+(?: et al\.| and [A-Z][\w-]+)?, (?:19|20)\d\d"


def tell(*runs: Run) -> Methods:
    return describe_methods(read_results(runs), "test")


def tell_settings(folder: Path, **settings: Any) -> Methods:
    run = create_run(folder)
    run.write_config(TrainConfig(data="figures", out=str(folder), **settings))
    return tell(run)


def test_every_citation_has_a_reference_and_every_reference_is_cited() -> None:
    package = Path(describe.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in package.glob("*.py") if path.name != "references.py"]
    cited = {found for text in texts for found in re.findall(CITATION, text)}
    assert cited == set(REFERENCES)
    for words, full in REFERENCES.items():
        assert full.startswith(re.split(r" |,", words)[0]) and f"({words[-4:]})" in full
    assert list(REFERENCES) == sorted(REFERENCES, key=str.casefold)


def test_references_are_those_that_are_cited(tmp_path: Path) -> None:
    told = tell_settings(tmp_path / "run")
    words = " ".join(told.paragraphs.values())
    assert set(re.findall(CITATION, words)) == {
        "Ronneberger et al., 2015",
        "Kingma and Ba, 2015",
        "Milletari et al., 2016",
    }
    assert [reference.split(",")[0] for reference in told.references] == ["Kingma", "Milletari", "Ronneberger"]


@pytest.mark.parametrize("model", MODELS)
def test_every_network_is_named(model: str, tmp_path: Path) -> None:
    """Settings and environment alone are read, so no encoder is built."""
    told = tell_settings(tmp_path / "run", model=model, width=16).paragraphs["Network"]
    assert re.search(CITATION, told) and "All weights were random at first" in told
    if model in ("unet", "attention_unet", "resnet34_unet"):
        assert "16 channels" in told
    else:
        assert "tf_efficientnet_lite0 (Tan and Le, 2019) of timm" in told
        assert ("0.25 times" in told) == (model != "linknet")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_named_with_the_options_that_it_has(loss: str, tmp_path: Path) -> None:
    told = tell_settings(tmp_path / "run", loss=loss, dice_reduction="batch").paragraphs["Training"]
    assert "over the whole batch" in told
    assert ("focusing exponent 2" in told) == loss.startswith("focal_")
    assert ("false negatives weigh 0.5" in told) == ("tversky" in loss)
    assert ("exponent 1 / 1.33" in told) == (split_loss(loss)[1] == "focal_tversky")
    assert ("outline weigh 4 more" in told) == loss.startswith("boundary")


def test_weights_of_the_loss_are_told_unless_both_are_one(tmp_path: Path) -> None:
    told = tell_settings(tmp_path / "run", bce_weight=0.5).paragraphs["Training"]
    assert "the sum of 0.5 × binary cross-entropy and 1 × Dice loss" in told


@pytest.mark.parametrize(("fit", "words"), [("squash", "whatever their shape"), ("pad", "margins"), ("crop", "tiles")])
def test_every_fit_is_told(fit: Fit, words: str, tmp_path: Path) -> None:
    assert fit in get_args(Fit)
    assert words in tell_settings(tmp_path / "run", fit=fit, size=96).paragraphs["Network"]


def test_all_that_acts_on_training_is_told(tmp_path: Path) -> None:
    told = tell_settings(
        tmp_path / "run",
        epochs=7,
        batch_size=4,
        optimizer="adamw",
        learning_rate=3e-4,
        schedule="cosine",
        warmup_epochs=1.5,
        encoder_rate=0.2,
        weight_decay=0.01,
        clip_norm=2.0,
        ema=0.99,
        patience=3,
        start_size=64,
        size=128,
        seed=5,
        augment=AugmentRanges(cutmix=0.3, mixup=0.2, rotation_degrees=10),
    ).paragraphs["Training"]
    for words in (
        "with seed 5 for 7 epochs in batches of 4 with AdamW",
        "learning rate of 0.0003, falling along half a cosine",
        "warm-up over the first 1.5 epochs",
        "0.2 of that rate in the encoder’s first block",
        "weight decay of 0.01",
        "norm clipped to 2",
        "decay of 0.99 a step",
        "once 3 epochs had brought no better one",
        "grew from 64 px",
        "flip with probability 0.5",
        "crop to 80 % or more of the area and an aspect ratio of up to 1.33",
        "rotation by up to 10°",
        "hue by up to 20 % of the colour circle",
        "was not judged",
        "With probability 0.3, a box",
        "With probability 0.2, a photo was blended",
    ):
        assert words in told


def test_a_crop_that_is_switched_off_is_not_told(tmp_path: Path) -> None:
    """Its ratio is still that of the defaults."""
    told = tell_settings(tmp_path / "run", augment=AugmentRanges(crop_area=1)).paragraphs["Training"]
    assert "flip" in told and "crop" not in told


@pytest.mark.parametrize("off", [NO_CHANGE, AugmentRanges(enabled=False)])
def test_what_is_switched_off_is_not_told(off: AugmentRanges, tmp_path: Path) -> None:
    told = tell_settings(tmp_path / "run", augment=off).paragraphs["Training"]
    assert "Photos were not augmented." in told
    for words in ("flip", "decay", "warm-up", "clipped", "moving average", "grew", "ended early", "CutMix", "seeds"):
        assert words not in told


def test_own_parts_are_told_in_place_of_the_settings(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data="figures", model="own:Tiny"))
    run.write_environment({"own_parts": ["loss", "augment", "metric"]})
    told = tell(run).paragraphs
    assert "our own (Tiny)" in told["Network"] and "random" not in told["Network"]
    assert "The loss is our own. The augmentation is our own." in told["Training"]
    assert "highest score of our own" in told["Training"]
    assert "cross-entropy" not in told["Training"] and "flip" not in told["Training"]


def test_mixing_is_told_beside_an_augmentation_of_ones_own(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data="figures", augment=AugmentRanges(mixup=0.4)))
    run.write_environment({"own_parts": ["augment"]})
    assert "The augmentation is our own. With probability 0.4, a photo was blended" in tell(run).paragraphs["Training"]
    assert (run.settings()["augment"], run.settings()["augment.mixup"]) == ("own", 0.4)
    assert "augment.flip" not in run.settings()


def test_first_weights_are_told(tmp_path: Path) -> None:
    told = tell_settings(tmp_path / "known", model="fpn", pretrained="auto").paragraphs["Network"]
    assert "pretrained weights (ImageNet)" in told and "random at first" not in told
    run = create_run(tmp_path / "named")
    run.write_config(TrainConfig(data="figures", model="fpn", pretrained="auto"))
    run.write_environment({"pretrained_from": "timm's weights of long ago"})
    assert "(timm's weights of long ago)" in tell(run).paragraphs["Network"]
    assert "those of the model pets" in tell_settings(tmp_path / "init", init="pets").paragraphs["Network"]


def test_data_and_splits_are_told(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=12)
    assert (
        tell(run).paragraphs["Data"].startswith("The data are photos and masks of drawn animals on cluttered ground. Where")
    )
    folder = create_run(tmp_path / "more")
    folder.write_config(TrainConfig(data="/somewhere/nuclei", border="ignore", folds=5, fold=0))
    split = {
        "data": "nuclei",
        "fingerprint": "abc",
        "train": [{}] * 3,
        "validation": [{}],
        "test": [{}] * 2,
        "remark": "2 photos left out",
        "masks": "masks with 0/255",
        "has_band": False,
    }
    object.__setattr__(folder, "split", lambda: split)
    told = tell(folder).paragraphs["Data"]
    assert (
        "6 pairs of a photo and a mask of “nuclei”: 3 trained the network, 1 chose its epoch and threshold, 2 tested" in told
    )
    assert "begins with abc" in told and "5 folds" in told and "2 photos left out" in told and "0/255" in told
    assert "band" not in told
    split["has_band"] = True
    assert "left out of loss and scores" in tell(folder).paragraphs["Data"]


def test_a_second_recipe_is_told_by_its_differences(tmp_path: Path) -> None:
    first = write_fake_run(tmp_path / "first", count=12)
    second = write_fake_run(tmp_path / "second", count=12, seed=1, learning_rate=0.01, loss="bce_tversky")
    told = tell(first, second).paragraphs
    assert list(told)[:4] == ["Data", "Network 1", "Training 1", "Training 2"]
    assert told["Training 2"] == (
        "As the first one, with seed 0, but with loss bce_tversky (before: bce_dice), learning_rate 0.01 (before: 0.001)."
    )
    other = write_fake_run(tmp_path / "other", count=12, model="resnet34_unet")
    told = tell(first, other).paragraphs
    assert "ResNet-34" in told["Network 2"]
    assert told["Training 2"] == "As the first one, with seed 0."


def test_a_recipe_that_differs_much_is_told_in_full(tmp_path: Path) -> None:
    first = write_fake_run(tmp_path / "first", count=12)
    many = {"loss": "bce_tversky", "optimizer": "adamw", "batch_size": 4, "ema": 0.9, "clip_norm": 1.0, "patience": 3}
    second = write_fake_run(tmp_path / "second", count=12, **many, weight_decay=0.1)
    assert tell(first, second).paragraphs["Training 2"].startswith("It was trained with seed 0 for")
    run = create_run(tmp_path / "own")
    run.write_config(first.config)
    run.write_environment({"own_parts": ["loss"]})
    assert "The loss is our own." in tell(first, run).paragraphs["Training 2"]


def test_a_loss_of_ones_own_makes_another_recipe(tmp_path: Path) -> None:
    """The settings of both name the same loss."""
    runs = [write_fake_run(tmp_path / f"run-{seed}", count=12, seed=seed) for seed in range(2)]
    assert len(group_by_recipe(read_results(runs).runs)) == 1
    assert "seeds of one recipe" in " ".join(compare_runs(runs)[0].notes)
    runs[1].write_environment({"own_parts": ["loss"]})
    assert len(group_by_recipe(read_results(runs).runs)) == 2
    assert "seeds of one recipe" not in " ".join(compare_runs(runs)[0].notes)
    page = render_page(read_results(runs), "test")
    assert '<tr class="chosen"><th scope="row">loss</th><td>bce_dice</td><td>own</td></tr>' in page


def test_seeds_of_one_recipe_are_told_together(tmp_path: Path) -> None:
    runs = []
    for seed in range(3):
        run = write_fake_run(tmp_path / f"run-{seed}", count=12, seed=seed)
        run.write_config(replace(run.config, seed=seed))
        runs.append(run)
    told = tell(*runs)
    means = [run.statement("test")["mean_dice"] for run in runs]
    assert "trained 3 times (seeds 0, 1 and 2) for" in told.paragraphs["Training"]
    wanted = f"The training has a mean Dice of {np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}"
    assert wanted in told.paragraphs["Results"]
    assert told.scores and len(told.scores.rows) == 3


def test_results_are_the_statements_numbers_and_the_comparisons_verdict(tmp_path: Path) -> None:
    good = write_fake_run(tmp_path / "good", count=40)
    bad = write_fake_run(tmp_path / "bad", count=40, seed=1, blunder=3.0, model="resnet34_unet")
    told = tell(good, bad)
    statement = good.statement("test")
    assert told.paragraphs["Results"].startswith(
        "Scored were 40 test photos of figures (SHA-256 0123456789abcdef). Unet has a"
    )
    assert f"Unet has a mean Dice of {statement['mean_dice']:.4f} [" in told.paragraphs["Results"]
    assert (
        "paired bootstrap over 40 photos, of these two trained models; p < 0.001): Unet is better."
        in (told.paragraphs["Results"])
    )
    assert told.scores
    row = dict(zip(told.scores.columns, told.scores.rows[0], strict=True))
    assert (row["Run"], row["Epoch"], row["Threshold"]) == ("Unet", "6", "0.5")
    assert row["Precision"] == f"{statement['mean_precision']:.4f}"
    assert "Welch" not in " ".join(told.references)


def test_circumstances_of_joint_scores_are_told(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=12, epochs=0, model="unet-flip")
    members = [write_fake_run(tmp_path / name, count=0, model="fpn") for name in ("a", "b")]
    (run.folder / JOINT).write_text(json.dumps({"members": ["../a", "../b"]}))
    statement = run.statement("test")
    run.write_scores("test", run.scores("test"), statement | {"members": ["a", "b"], "tta": "flip"})
    told = tell(run).paragraphs
    assert "unet-flip (2 models, their probabilities averaged; test-time augmentation: flip) has a mean" in told["Results"]
    assert "Kirillov" in told["Network"] and "with seed 0" in told["Training"]
    assert "(flip) averages the probabilities of each photo and its mirror image" in told["Scoring"]
    folds = [{"fold": fold, "mean_dice": 0.5, "pairs": 4, "run": f"fold-{fold}"} for fold in range(3)]
    run.write_scores("test", run.scores("test"), statement | {"folds": folds})
    told_folds = tell(run)
    assert "(3 folds, each photo by the model that had not seen it)" in told_folds.paragraphs["Results"]
    assert told_folds.scores and "of each fold" in told_folds.scores.rows[0]
    for member in members:
        shutil.rmtree(member.folder)
    assert list(tell(run).paragraphs) == ["Data", "Scoring", "Results", "Software"]


def test_doubts_stand_beside_the_scores(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=12)
    assert "Limits" not in tell(run).paragraphs
    statement = run.statement("test")
    doubts = {"overlap": "2 of 12 photos trained this model", "copies": ["x"], "known_groups": ["patient 1"]}
    run.write_scores("test", run.scores("test"), statement | doubts)
    told = tell(run).paragraphs["Limits"]
    assert "no clean test, since 2 of 12 photos trained this model" in told
    assert "x shows the same picture" in told and "patient 1" in told


@pytest.mark.parametrize(
    ("objective", "words"),
    [("none", "The threshold is 0.5."), ("iou", "highest mean IoU"), ("recall:0.95", "mean recall of 0.95 or more")],
)
def test_the_choice_of_the_threshold_is_told(objective: str, words: str, tmp_path: Path) -> None:
    """As it was made last, which `evaluate --threshold-for` may have done, and not as the settings say."""
    run = write_fake_run(tmp_path / "run", count=12)
    calibration = run.calibration() or {}
    run.write_calibration(calibration | {"threshold": calibration["threshold"] | {"objective": objective}})
    assert words in tell(run).paragraphs["Scoring"]


def test_a_threshold_that_nobody_chose_is_told(tmp_path: Path) -> None:
    told = tell(write_fake_run(tmp_path / "run", count=12, calibrated=False)).paragraphs["Scoring"]
    assert "The threshold is 0.5." in told


def test_a_run_without_scores_is_told_of_by_its_training(tmp_path: Path) -> None:
    told = tell(write_fake_run(tmp_path / "run", count=0))
    assert list(told.paragraphs) == ["Data", "Network", "Training", "Software"]
    assert told.scores is None and "## Scores" not in told.to_markdown()


def test_the_file_has_every_paragraph_the_table_and_the_references(tmp_path: Path) -> None:
    told = tell(write_fake_run(tmp_path / "run", count=12))
    text = told.to_markdown()
    assert text.startswith("# Methods\n\n") and text.endswith(f"- {told.references[-1]}\n")
    for title, paragraph in told.paragraphs.items():
        assert f"**{title}.** {paragraph}" in text
    assert "| Run | Epoch |" in text
