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
from fgbg.data.samples import SPLITS
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
from fgbg.seal import to_sealed_json
from fgbg.storage import JOINT
from fgbg.words import Fit

CITATION = r"[A-ZÁ-Ž][\w’-]+(?: et al\.| and [A-Z][\w-]+)?, (?:19|20)\d\d"


def json_of(content: dict[str, Any]) -> str:
    return to_sealed_json(content, indent=1)


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
    assert "the sum of 0.5 × binary cross-entropy and Dice loss" in told
    told = tell_settings(tmp_path / "one", bce_weight=0, loss="boundary_lovasz").paragraphs["Training"]
    assert "The loss is Lovász hinge (Berman et al., 2018), computed for each image." in told


@pytest.mark.parametrize(("fit", "words"), [("squash", "whatever their shape"), ("pad", "margins"), ("crop", "tiles")])
def test_every_fit_is_told(fit: Fit, words: str, tmp_path: Path) -> None:
    assert fit in get_args(Fit)
    assert words in tell_settings(tmp_path / "run", fit=fit, size=96).paragraphs["Network"]


def test_all_that_acts_on_training_is_told(tmp_path: Path) -> None:
    told = tell_settings(
        tmp_path / "run",
        epochs=7,
        batch_size=4,
        accumulate=2,
        dice_reduction="batch",
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
        "with seed 5 for 7 epochs, in batches of 4, each in 2 parts (gradient accumulation), with AdamW",
        "learning rate of 0.0003, falling along half a cosine",
        "warm-up over the first 1.5 epochs",
        "0.2 of that rate in the encoder’s first block",
        "weight decay of 0.01",
        "norm clipped to 2",
        "decay of 0.99 a step",
        "once 3 epochs had brought no better one",
        "grew from 64 px",
        "computed over the whole part of a batch",
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
    run.write_environment({"own_parts": {"loss": "a", "augment": "b", "metric": "c"}})
    told = tell(run).paragraphs
    assert "our own (Tiny)" in told["Network"] and "random" not in told["Network"]
    assert "The loss is our own. The augmentation is our own." in told["Training"]
    assert "highest score of our own" in told["Training"]
    assert "cross-entropy" not in told["Training"] and "flip" not in told["Training"]


def test_mixing_is_told_beside_an_augmentation_of_ones_own(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data="figures", augment=AugmentRanges(mixup=0.4)))
    run.write_environment({"own_parts": {"augment": "mine.turn (code 2)"}})
    assert "The augmentation is our own. With probability 0.4, a photo was blended" in tell(run).paragraphs["Training"]
    assert (run.settings()["augment"], run.settings()["augment.mixup"]) == ("own: mine.turn (code 2)", 0.4)
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
    assert tell(run).paragraphs["Data"].startswith("The data are photos and masks of drawn animals on cluttered ground. In")


def write_split(run: Run, *names: str, fingerprint: str = "abc", **more: Any) -> None:
    """A split of so many photos to train, validate and test."""
    parts = {part: [{"id": name} for name in ids] for part, ids in zip(SPLITS, names, strict=True)}
    (run.folder / "split.json").write_text(json_of({"data": "nuclei", "fingerprint": fingerprint, **parts, **more}))


def test_what_was_understood_of_the_data_is_told(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data="/somewhere/nuclei", border="ignore"))
    write_split(run, "abc", "d", "ef", remark="2 photos left out", masks="masks with 0/255", has_band=False)
    told = tell(run).paragraphs["Data"]
    assert "6 pairs of a photo and a mask of “nuclei” (SHA-256 of names and files: abc…)" in told
    assert "3 of them trained the network, 1 validated it, 2 tested it" in told
    assert "2 photos left out" in told and "Masks were read as: 0/255." in told and "band" not in told
    write_split(run, "abc", "d", "ef", has_band=True)
    assert "that masks leave open was left out." in tell(run).paragraphs["Data"]


def test_groups_are_told(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig(data="figures"))
    parts = {part: [{"id": part, "group": group}] for part, group in zip(SPLITS, "PQR", strict=True)}
    (run.folder / "split.json").write_text(json_of({"fingerprint": "abc", **parts}))
    assert "They belong to 3 groups; no group is in two splits." in tell(run).paragraphs["Data"]
    parts["test"][0]["group"] = "P"
    (run.folder / "split.json").write_text(json_of({"fingerprint": "abc", **parts}))
    assert "They belong to 2 groups; some groups are in two splits." in tell(run).paragraphs["Data"]


def test_other_photos_are_told_of_each_recipe(tmp_path: Path) -> None:
    """As for a learning curve, whose tests are the same."""
    runs = [write_fake_run(tmp_path / name, count=12) for name in ("many", "few")]
    for run, names, fingerprint in zip(runs, ("abc", "a"), ("abc", "def"), strict=True):
        write_split(run, names, "d", "ef", fingerprint=fingerprint)
    told = tell(*runs).paragraphs
    assert "3 of them trained the network" in told["Data 1"] and "1 of them trained the network" in told["Data 2"]
    assert "Network 2" not in told and told["Training 2"].startswith("Runs: Unet (few). As the first one")


def test_folds_are_told_as_a_whole(tmp_path: Path) -> None:
    runs = []
    for fold in range(3):
        run = create_run(tmp_path / f"fold-{fold}")
        run.write_config(TrainConfig(data="figures", folds=3, fold=fold))
        write_split(run, "ab", "cd", "ef", remark=f"part {fold} of 3 tests, seed 0; 1 photo left out")
        runs.append(run)
    told = tell(*runs).paragraphs
    assert "cut into 3 folds (seed 0), each of which tests one network" in told["Data"]
    assert "trained the network" not in told["Data"] and "part 0" not in told["Data"] and "1 photo left out" in told["Data"]
    assert "once for each of 3 folds with seed 0" in told["Training"]
    assert "Told of here: fold 1, counted from 0." in tell(runs[1]).paragraphs["Data"]


def test_epochs_that_were_not_trained_and_interruptions_are_told(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=0, epochs=6)
    run.write_config(replace(run.config, epochs=50, patience=5, schedule="cosine"))
    run.write_environment({}, after_epoch=2)
    told = tell(run).paragraphs["Training"]
    assert "for 50 epochs" in told and "It ended after 6 of these epochs." in told
    assert "run was resumed after epoch 2; the learning rate then followed the plan of all epochs." in told


def test_a_second_recipe_is_told_by_its_differences(tmp_path: Path) -> None:
    first = write_fake_run(tmp_path / "first", count=12)
    second = write_fake_run(tmp_path / "second", count=12, seed=1, learning_rate=0.01, loss="bce_tversky")
    told = tell(first, second).paragraphs
    assert list(told)[:4] == ["Data", "Network", "Training 1", "Training 2"]
    assert told["Training 2"].startswith(
        "Runs: Unet (second). As the first one, with seed 0, but with loss bce_tversky (before: bce_dice), "
        "learning_rate 0.01 (before: 0.001)."
    )
    other = write_fake_run(tmp_path / "other", count=12, model="resnet34_unet")
    told = tell(first, other).paragraphs
    assert "ResNet-34" in told["Network 2"]
    assert told["Training 2"].startswith("Runs: ResNet34_Unet. As the first one, with seed 0. It ended")


def test_a_recipe_that_differs_much_is_told_in_full(tmp_path: Path) -> None:
    first = write_fake_run(tmp_path / "first", count=12)
    many = {"loss": "bce_tversky", "optimizer": "adamw", "batch_size": 4, "ema": 0.9, "clip_norm": 1.0, "patience": 3}
    second = write_fake_run(tmp_path / "second", count=12, **many, weight_decay=0.1)
    assert tell(first, second).paragraphs["Training 2"].startswith("Runs: Unet (second). It was trained with")
    run = create_run(tmp_path / "own")
    run.write_config(first.config)
    run.write_environment({"own_parts": {"loss": "mine.loss (code 1)"}})
    assert "The loss is our own." in tell(first, run).paragraphs["Training 2"]


def test_a_loss_of_ones_own_makes_another_recipe(tmp_path: Path) -> None:
    """The settings of both name the same loss."""
    runs = [write_fake_run(tmp_path / f"run-{seed}", count=12, seed=seed) for seed in range(2)]
    assert len(group_by_recipe(read_results(runs).runs)[0]) == 1
    assert "seeds of one recipe" in " ".join(compare_runs(runs)[0].notes)
    runs[1].write_environment({"own_parts": {"loss": "mine.loss (code 1)"}})
    assert len(group_by_recipe(read_results(runs).runs)[0]) == 2
    assert "seeds of one recipe" not in " ".join(compare_runs(runs)[0].notes)
    page = render_page(read_results(runs), "test")
    assert '<tr class="chosen"><th scope="row">loss</th><td>bce_dice</td><td>own: mine.loss (code 1)</td></tr>' in page


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
        "Scored were the test photos of figures (40 of them; SHA-256 0123456789abcdef…). Unet has a"
    )
    assert f"Unet has a mean Dice of {statement['mean_dice']:.4f} [" in told.paragraphs["Results"]
    assert (
        "paired bootstrap over 40 photos, of these two sets of predictions; p < 0.001): Unet is better."
        in (told.paragraphs["Results"])
    )
    assert told.scores
    row = dict(zip(told.scores.columns, told.scores.rows[0], strict=True))
    assert (row["Run"], row["Epoch"], row["Threshold"]) == ("Unet", "6", "0.5: 0.5 by default")
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
    assert "Fold by fold it is 0.5000, 0.5000, 0.5000 (standard deviation 0.0000)." in told_folds.paragraphs["Results"]
    assert told_folds.scores and "one model a fold" in told_folds.scores.rows[0]
    shutil.rmtree(members[0].folder)
    assert tell(run).paragraphs["Lost"].startswith("1 training behind joint scores")
    shutil.rmtree(members[1].folder)
    assert list(tell(run).paragraphs) == ["Lost", "Scoring", "Results"]


def test_doubts_stand_beside_the_scores(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=12)
    assert "Limits" not in tell(run).paragraphs
    statement = run.statement("test")
    doubts = {"overlap": "2 of 12 photos trained this model", "copies": ["x"], "known_groups": ["patient 1"]}
    run.write_scores("test", run.scores("test"), statement | doubts)
    told = tell(run).paragraphs["Limits"]
    assert "no clean test, since 2 of 12 photos trained this model" in told
    assert "x shows the same picture" in told and "patient 1" in told


def test_each_threshold_is_told_with_its_reason(tmp_path: Path) -> None:
    """As it was made last, which `evaluate --threshold-for` may have done, and not as the settings say."""
    run = write_fake_run(tmp_path / "run", count=12)
    changed = run.statement("test") | {"threshold": 0.31, "threshold_reason": "the highest with mean recall 0.95"}
    run.write_scores("test", run.scores("test"), changed)
    scores = tell(run).scores
    assert scores and scores.rows[0][-1] == "0.31: the highest with mean recall 0.95"


def test_the_rules_of_the_scores_are_told_and_not_those_of_the_settings(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / name, count=12, seed=seed) for seed, name in enumerate(("one", "two"))]
    other = {"border": "ignore", "empty": "nan", "outlines_count": 11}
    runs[1].write_scores("test", runs[1].scores("test"), runs[1].statement("test") | other)
    told = tell(*runs)
    assert "open counted as object in some scores, was left out in others." in told.paragraphs["Scoring"]
    assert "none was found counts as 1 in some scores, is left out in others." in told.paragraphs["Scoring"]
    assert "They are not compared: " in told.paragraphs["Results"] and "±" not in told.paragraphs["Results"]
    assert told.scores and str(told.scores.rows[1][-2]).endswith("(11 photos)")


def test_runs_that_were_scored_on_other_photos_are_told_apart(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / name, count=12) for name in ("one", "two")]
    runs[1].write_scores("test", runs[1].scores("test"), runs[1].statement("test") | {"fingerprint": "fedcba"})
    told = tell(*runs).paragraphs["Results"]
    assert "Unet (two): Scored were the test photos of figures (12 of them; SHA-256 fedcba…)." in told


def test_scores_of_validation_photos_are_too_good(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=12, split="validation")
    assert "too good" in describe_methods(read_results([run]), "validation").paragraphs["Limits"]


def test_notes_of_a_comparison_are_told(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / f"run-{seed}", count=12, seed=seed) for seed in range(2)]
    assert "These are seeds of one recipe: what differs between them is chance." in tell(*runs).paragraphs["Results"]


def test_each_machine_is_told(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / name, count=12) for name in ("one", "two")]
    runs[1].write_environment({"processor": "another", "precision": "bf16", "processes": 2})
    told = tell(*runs).paragraphs["Software"]
    assert "Unet (two): Trained with fgbg" in told and "Trained on another in bf16 by 2 processes" in told
    assert "timm" not in told


def test_names_appear_in_the_file_as_they_are(tmp_path: Path) -> None:
    runs = [write_fake_run(tmp_path / name, count=12) for name in ("__init__", "a*b* <script>")]
    text = tell(*runs).to_markdown()
    assert r"Unet (\_\_init\_\_)" in text and r"Unet (a\*b\* \<script>)" in text and "p < " not in text.replace("p < 0", "")


def test_too_few_photos_have_no_interval(tmp_path: Path) -> None:
    told = tell(write_fake_run(tmp_path / "run", count=2)).paragraphs
    assert "(too few for an interval)" in told["Results"] and "bootstrap" not in told["Scoring"]


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
