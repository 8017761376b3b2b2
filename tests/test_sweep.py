"""`fgbg sweep`: what can be searched, what becomes of trials, kills and resuming, the test set left alone, the page."""

from __future__ import annotations

import csv
import json
import math
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import optuna
import pytest
import sqlalchemy
import torch
from PIL import Image
from safetensors.torch import load_file

import fgbg
from discs import write_discs
from fgbg import cli
from fgbg.cli.training import TrainArguments, read_defaults
from fgbg.cli.verb import parse
from fgbg.config import TrainConfig, flatten
from fgbg.config_file import read_config
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.run import create_run, open_run
from fgbg.search import sweep as sweeps
from fgbg.search import trial as trials_of
from fgbg.search.fields import NOT_SEARCHED, Choice, Range, read_field
from fgbg.search.importance import FEWEST_TRIALS, measure_importances
from fgbg.search.page import write_results
from fgbg.search.results import Sweep
from fgbg.search.space import apply_values, check_space, read_space, read_space_file, write_space_file
from fgbg.search.study import spread_values
from fgbg.storage import hold_lock
from fgbg.training import train as training
from fgbg.training import writer
from fgbg.training.loop import Trained, Validated
from fgbg.training.state import Progress

SMALL = "--width 2 --size 16 --batch-size 4 --device cpu --threads 1 --precision fp32 --no-selfcheck".split()
Curve = Callable[[TrainConfig], list[Any]]


def quiet(_: str) -> None:
    pass


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path)


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def config_of(discs: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(str(discs), str(out), width=2, size=16, epochs=3, batch_size=4, device="cpu", threads=1)
    return replace(base, precision="fp32", selfcheck=False, **changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def careless_database() -> Iterator[None]:
    """No test pulls the plug: SQLite need not wait for the disk."""

    def be_careless(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", be_careless)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", be_careless)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[training.Training]:
    folder = tmp_path_factory.mktemp("prepared")
    with training.prepare_training(config_of(write_discs(folder), folder / "run"), say=quiet) as ready:
        yield ready


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, prepared: training.Training) -> Callable[[Curve], None]:
    """Trainings whose validation Dice follows a curve instead of being measured: `follow(config -> Dice of each epoch)`.

    A curve may raise what a training would. Folders, models, records, database and the order of things are real.
    """

    def set_curve(curve: Curve) -> None:
        now: dict[str, Any] = {}

        @contextmanager
        def prepare(config: TrainConfig, *, resume: bool, say: Callable[[str], None]) -> Iterator[training.Training]:
            made = open_run(Path(config.out)) if resume else create_run(Path(config.out))
            now["curve"] = curve(config)
            made.write_config(config)
            say("20 pairs")
            yield replace(prepared, run=made, config=config, progress=Progress(len(made.epochs())), say=say)

        def train(_learner: object, epoch: int, *_: object) -> Trained:
            now["epoch"] = epoch
            return Trained(0.0, 0.0, 1.0, 0.1)

        def validate(_learner: object) -> Validated:
            dice = now["curve"][now["epoch"] - 1]
            if isinstance(dice, Exception):
                raise dice
            return Validated(0.0, dice, dice, None)

        monkeypatch.setattr(trials_of, "prepare_training", prepare)
        monkeypatch.setattr(training, "train_epoch", train)
        monkeypatch.setattr(training, "validate", validate)
        monkeypatch.setattr(writer, "save_state", lambda path, *_: path.write_text("last"))

    return set_curve


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of many trials that read none."""
    monkeypatch.setattr(sweeps, "write_results", lambda found: None)


def by_learning_rate(config: TrainConfig) -> list[Any]:
    """Best at 1e-2, rising over the epochs."""
    height = 1 / (1 + abs(math.log10(config.learning_rate) + 2))
    return [height * (0.9 - 0.1 * left) for left in reversed(range(config.epochs))]


OVER = {"learning_rate": "1e-4..1e-1:log"}


# What can be searched


def test_a_search_is_written_as_it_is_read(tmp_path: Path) -> None:
    over = {
        "learning_rate": "1e-4..1e-2:log",
        "width": "16..64:16",
        "loss": "bce_dice, focal_dice",
        "size": [64, 128],
        "augment.enabled": "true,false",
        "augment.hue": "0..0.3",
        "ema": [0, 0.99],
    }
    space = read_space(over)
    assert space == (  # in the order of the settings
        Range("width", 16, 64, step=16),
        Choice("size", (64, 128)),
        Choice("loss", ("bce_dice", "focal_dice")),
        Range("learning_rate", 1e-4, 1e-2, log=True),
        Choice("ema", (0.0, 0.99)),
        Choice("augment.enabled", (True, False)),
        Range("augment.hue", 0.0, 0.3),
    )
    assert read_space(dict(reversed(over.items()))) == space
    write_space_file(space, tmp_path / "space.toml")
    assert read_space(read_space_file(tmp_path / "space.toml")) == space
    assert read_space({field.name: str(field) for field in space}) == space
    assert [field.count for field in space] == [4, 2, 2, np.inf, 2, 2, np.inf]
    applied = apply_values(TrainConfig(), {"width": 32, "augment.hue": 0.1})
    assert applied.differences(TrainConfig()) == ["width", "augment.hue"]


def test_a_file_may_have_a_table_of_augmentation(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text('width = [2, 4]\n[augment]\nhue = "0..0.3"\n')
    assert read_space(read_space_file(tmp_path / "space.toml")) == (Choice("width", (2, 4)), Range("augment.hue", 0.0, 0.3))


def test_every_field_can_be_searched_or_is_refused_with_a_reason() -> None:
    hints = get_type_hints(TrainConfig) | {f"augment.{n}": kind for n, kind in get_type_hints(AugmentRanges).items()}
    names = [name for name in hints if name != "augment"]
    assert set(NOT_SEARCHED) < {field.name for field in fields(TrainConfig)}
    for name in names:
        text = "1..2" if hints[name] in (int, float) else "true,false" if hints[name] is bool else "a,b"
        if name in NOT_SEARCHED:
            with pytest.raises(fgbg.UserError, match=f"{name} cannot be searched: "):
                read_field(name, text)
        else:
            assert read_field(name, text).name == name


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ("learning_rate", "--over learning_rate: must be NAME=SPEC"),
        ("learning_rat=1..2", "unknown setting to search 'learning_rat': .*did you mean 'learning_rate'"),
        ("seed=0..3", "seed cannot be searched: the best of many seeds is luck"),
        ("border=foreground,ignore", "border cannot be searched: with it other photos or another truth would be scored"),
        ("learning_rate=1e-3", "learning_rate=1e-3 is no search"),
        ("learning_rate=0..1:log", "with :log a range must lie above 0"),
        ("learning_rate=2..1", "from a lower to a higher number"),
        ("learning_rate=1..inf", "'inf' is not a number"),
        ("width=2..4.5", r"'4\.5' is not a whole number"),
        ("width=2..9:4", "steps of 4 from 2 do not meet 9; end at 10"),
        ("width=4,4", "names a value twice"),
        ("width=0..4", "--width 0: must be at least 1"),
        ("augment.hue=0..0.9", r"--augment.hue 0\.9: must be from 0 \(off\) to 0\.5"),
        ("augment.enabled=yes,no", "'yes' is not true or false"),
        ("loss=bce_dice,dic", "unknown loss 'dic'"),
        ("loss=1..2", "loss is no number"),
        ("model=unet,fnp", "unknown model 'fnp'"),
        ("encoder=resnet18,resnet34", "--encoder resnet18: unet has its own"),
        ("focal_gamma=0..9", "--focal-gamma belongs to the part focal: use --loss focal_dice, say, or leave it out"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(
    tmp_path: Path, discs: Path, capsys: pytest.CaptureFixture[str], over: str, sentence: str
) -> None:
    assert run("sweep", discs, *SMALL, "--over", over, "--out", tmp_path / "out") == 2
    complaint = capsys.readouterr().err
    assert re.search(sentence, complaint), complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_value_is_allowed_where_it_goes_with_some_value_of_another_field() -> None:
    check_space(read_space({"start_size": "16..64", "size": "32..128"}), TrainConfig(size=32))
    check_space(read_space({"model": "unet,fpn", "width": "8..16"}), TrainConfig())
    with pytest.raises(fgbg.UserError, match=r"--start-size 64: must be 0 \(off\), or from 16 to --size \(32\)"):
        check_space(read_space({"start_size": "16..64", "size": "16..32"}), TrainConfig(size=32))
    with pytest.raises(fgbg.UserError, match="width cannot be searched with --init"):
        check_space(read_space({"width": "8..16"}), TrainConfig(init="runs/other"))


def test_an_option_of_the_loss_is_searched_where_a_loss_has_it(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None]
) -> None:
    weight = {"false_negative_weight": "0.6..0.9"}
    check_space(read_space(weight), TrainConfig(loss="bce_tversky"))
    check_space(read_space(weight | {"loss": "bce_dice,bce_tversky"}), TrainConfig())
    for over, config in [
        (weight | {"loss": "bce_dice,focal_dice"}, TrainConfig(loss="bce_tversky")),
        (OVER, TrainConfig(false_negative_weight=0.9)),
        ({"loss": "bce_dice,bce_tversky"}, TrainConfig(false_negative_weight=0.9)),
    ]:
        with pytest.raises(fgbg.UserError, match=r"--false-negative-weight belongs to the part tversky or focal_tversky"):
            check_space(read_space(over), config)

    # A loss without the option leaves it at its default, so that the best settings can be trained.
    follow(lambda config: [0.5 + 0.1 * (config.loss == "focal_dice")] * 3)
    over = weight | {"loss": "focal_dice,bce_tversky"}
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), over, trials=4, say=quiet)
    assert found.best is not None
    assert found.best.values["loss"] == "focal_dice"
    assert found.best.values["false_negative_weight"] > 0.5
    best = read_config(found.folder / "best.toml")
    assert (best.loss, best.false_negative_weight) == ("focal_dice", 0.5)
    assert fgbg.open_run(found.folder / f"trial-{found.best.number:04}").config.false_negative_weight == 0.5


@pytest.mark.long
@pytest.mark.usefixtures("no_page")
def test_a_search_over_dice_and_its_equal_is_told(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(by_learning_rate)

    def hear(name: str, over: dict[str, Any], **changes: object) -> str:
        said: list[str] = []
        fgbg.sweep(config_of(discs, tmp_path / name, **changes), over, trials=2, say=said.append)
        return "\n".join(said)

    over = {"loss": "bce_dice,bce_tversky"}
    told = "note: with both weights at 0.5 the Tversky loss is the Dice loss; bce_tversky is the same as bce_dice"
    assert told in hear("halves", over)
    assert "the same as" not in hear("weighed", over | {"false_negative_weight": "0.6..0.9"})
    assert "the same as" not in hear("other", over, loss="bce_tversky", false_negative_weight=0.9)


def test_other_mistakes(
    tmp_path: Path, discs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def complain(*words: object) -> str:
        assert run("sweep", *words) == 2
        return capsys.readouterr().err

    search, out = ("--over", "width=2..4"), ("--out", tmp_path / "out")
    assert "what is to be searched?" in complain(discs, *out)
    assert "--out is needed" in complain(discs, *search)
    assert "--trials 1: must be 2 or more" in complain(discs, *search, *out, "--trials", 1)
    assert "--hours -1.0: must be 0" in complain(discs, *search, *out, "--hours", "-1")
    assert "unknown DATA" in complain("nowhere", *search, *out)
    assert "none.toml does not exist: it is where settings are read from" in complain(discs, "--space", "none.toml", *out)
    assert "is more than the 12 training photos" in complain(discs, *search, *out, "--batch-size", 13)
    assert "discs is not empty" in complain(discs, *SMALL, *search, "--out", discs)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "works in one process: start it without torchrun" in complain(discs, *SMALL, *search, *out)
    monkeypatch.setitem(cli.EXTRAS, "sweep", ("a_package_that_is_not_there",))
    assert "pip install 'fgbg[sweep]'" in complain(discs, *search, *out)
    assert not (tmp_path / "out").exists()


def test_the_first_trials_are_spread_over_every_range() -> None:
    over = {"learning_rate": "1e-4..1e-2:log", "width": "3..18", "loss": ["bce_dice", "focal_dice", "bce_lovasz"]}
    space = read_space(over | {"augment.hue": "0.1..0.3", "batch_size": "2..512:log", "augment.flip": "0..1:0.5"})
    first = spread_values(space, seed=0)
    values = {field.name: [each[field.name] for each in first] for field in space}
    assert sorted(int((math.log10(rate) + 4) * 4) for rate in values["learning_rate"]) == list(range(8))
    assert sorted((width - 3) // 2 for width in values["width"]) == list(range(8))
    assert sorted(int((hue - 0.1) / 0.025) for hue in values["augment.hue"]) == list(range(8))
    assert sorted(math.floor(math.log2(size)) for size in values["batch_size"]) == list(range(1, 9))
    assert {values["loss"].count(name) for name in over["loss"]} <= {2, 3}
    assert set(values["augment.flip"]) == {0.0, 0.5, 1.0}
    assert all(field.holds(value) for field in space for value in values[field.name])
    assert spread_values(space, seed=0) == first != spread_values(space, seed=1)


# What becomes of trials


@pytest.mark.long
@pytest.mark.usefixtures("no_page")
def test_trials_worse_than_the_median_are_cut_short(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(by_learning_rate)
    config = config_of(discs, tmp_path / "out", epochs=6, learning_rate=1e-3)
    said: list[str] = []
    found = fgbg.sweep(config, OVER, trials=14, say=said.append)
    curves = {each.number: by_learning_rate(apply_values(config, each.values)) for each in found.trials}
    assert [each.number for each in found.trials] == list(range(14))
    for each in found.trials:
        finished = [curves[other.number] for other in found.finished if other.number < each.number]
        # By hand: from epoch 3 on (a third of 6 is behind it), with four finished trials, short of the last epoch.
        behind = [
            epoch
            for epoch in range(3, 6)
            if len(finished) >= 4 and curves[each.number][epoch - 1] < statistics.median(c[epoch - 1] for c in finished)
        ]
        assert (each.state, each.epochs) == (("pruned", behind[0]) if behind else ("finished", 6)), each
        folder = fgbg.open_run(found.folder / f"trial-{each.number:04}")
        assert len(folder.epochs()) == each.epochs
        assert not folder.last.exists()
        assert folder.best.exists() == (each.state == "finished")
    assert {each.state for each in found.trials} == {"finished", "pruned"}
    assert found.best is not None
    assert found.best.dice == max(curve[-1] for curve in curves.values())
    assert found.baseline is not None
    assert found.baseline.values == {"learning_rate": 1e-3}
    assert 1e-3 < found.best.values["learning_rate"] < 1e-1
    lines = [line for line in said if line.startswith("trial ")]
    assert len(lines) == 14
    assert lines[0].startswith("trial 0 (1/14) | baseline: learning_rate 0.001 | Val Dice 0.4500 in epoch 6")
    assert sum("pruned at epoch" in line for line in lines) == sum(each.state == "pruned" for each in found.trials)


@pytest.mark.long
@pytest.mark.usefixtures("no_page")
def test_nothing_is_cut_short_where_trials_differ_in_length(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None]
) -> None:
    follow(by_learning_rate)
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), OVER | {"epochs": "2..4"}, trials=7, say=quiet)
    assert {each.state for each in found.trials} == {"finished"}
    assert all(each.epochs == each.values["epochs"] for each in found.trials)


@pytest.mark.usefixtures("no_page")
def test_each_combination_is_trained_once(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(lambda config: [0.5] * 3)
    said: list[str] = []
    over = {"optimizer": ["adam", "adamw"], "augment.flip": "0..1:0.5"}
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), over, trials=50, say=said.append)
    tried = [tuple(each.values.values()) for each in found.trials]
    assert sorted(tried) == sorted((name, flip) for name in ("adam", "adamw") for flip in (0.0, 0.5, 1.0))
    assert "every combination was tried" in said
    assert found.best is not None
    assert found.best.number == 0, "the earlier on ties"
    assert "none of 6 trials is better than the baseline, validation Dice 0.5000" in found.describe()


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize("weights", [[0.3, 0.5, 0.7], "0.6..0.9"])
def test_a_loss_is_trained_once_whatever_options_it_does_not_have(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], weights: Any
) -> None:
    follow(lambda config: [0.5 + 0.1 * (config.loss == "bce_dice")] * 3)
    said: list[str] = []
    over = {"loss": ["bce_dice", "bce_tversky"], "false_negative_weight": weights}
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), over, trials=6, say=said.append)
    configs = [replace(apply_values(TrainConfig(), each.values), out="") for each in found.trials]
    assert [config.loss for config in configs].count("bce_dice") == 1
    assert all(config not in configs[:place] for place, config in enumerate(configs))
    is_finite = isinstance(weights, list)
    assert len(configs) == (4 if is_finite else 6)
    assert ("every combination was tried" in said) == is_finite


@pytest.mark.long
def test_the_baseline_may_lie_outside_the_search(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(by_learning_rate)
    over = {"learning_rate": "2e-2..1e-1:log", "loss": ["focal_dice", "bce_lovasz"]}
    found = fgbg.sweep(config_of(discs, tmp_path / "out", learning_rate=1e-3), over, trials=FEWEST_TRIALS + 1, say=quiet)
    assert found.trials[0].values == {"learning_rate": 1e-3, "loss": "bce_dice"}
    assert all(2e-2 <= each.values["learning_rate"] <= 1e-1 for each in found.trials[1:])
    assert set(found.importances) == {"learning_rate", "loss"}


@pytest.mark.long
@pytest.mark.usefixtures("no_page")
def test_values_that_cannot_be_trained_are_passed_over(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def curve(config: TrainConfig) -> list[Any]:
        if config.batch_size > 12:
            raise fgbg.UserError(f"--batch-size {config.batch_size} is more than <12>")
        return by_learning_rate(config)

    follow(curve)
    out = tmp_path / "out"
    found = fgbg.sweep(config_of(discs, out), {"batch_size": "4..20"}, trials=6, say=quiet)
    refused = [each for each in found.trials if each.state == "refused"]
    assert refused
    assert found.count == 6 == len(found.trials) - len(refused), "they do not count"
    for each in found.trials:
        assert (each.state == "refused") == (each.values["batch_size"] > 12)
        assert (out / f"trial-{each.number:04}").exists() == (each.state != "refused")
    write_results(found)
    assert f"{refused[0].values['batch_size']} is more than &lt;12&gt;" in (out / "sweep.html").read_text()
    monkeypatch.setattr(sweeps, "REFUSED_IN_A_ROW", 5)
    hopeless = replace(found.base, out=str(tmp_path / "hopeless"))
    with pytest.raises(fgbg.UserError, match=r"5 trials in a row could not be trained; the last: --batch-size \d\d is"):
        fgbg.sweep(hopeless, {"batch_size": "13..60"}, trials=30, say=quiet)


@pytest.mark.parametrize("error", [fgbg.UserError("the loss became nan"), torch.OutOfMemoryError()])
def test_a_trial_that_fails_on_the_way_is_not_the_best(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], error: Exception
) -> None:
    follow(lambda config: [0.99, error] if "trial-0002" in config.out else by_learning_rate(config))
    said: list[str] = []
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), OVER, trials=4, say=said.append)
    assert [each.state for each in found.trials] == ["finished", "finished", "failed", "finished"]
    assert found.best is not None
    assert found.best.number != 2
    assert found.count == 4
    sentence = str(error) or "does not fit into the device's memory"
    assert any(line.startswith("trial 2") and sentence in line for line in said)


def test_a_baseline_that_cannot_be_trained_stops_the_search_and_can_be_mended(discs: Path, tmp_path: Path) -> None:
    config = config_of(discs, tmp_path / "out", encoder_rate=0.1, epochs=1)
    with pytest.raises(fgbg.UserError, match=r"the baseline cannot be trained: --encoder-rate 0\.1: UNet has no part"):
        fgbg.sweep(config, OVER, trials=2, say=quiet)
    assert fgbg.sweep(replace(config, encoder_rate=1.0), OVER, trials=2, say=quiet).count == 2


def test_a_dice_that_is_not_defined_is_worth_nothing(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(lambda config: [np.nan] * 3 if "trial-0001" in config.out else [0.1, 0.2, 0.3])
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), OVER, trials=3, say=quiet)
    assert [each.state for each in found.trials] == ["finished"] * 3
    assert np.isnan(found.trials[1].dice)
    assert found.best is not None
    assert found.best.number == 0


# Going on


def table_of(found: Sweep) -> list[tuple[Any, ...]]:
    return [(e.number, tuple(e.values.items()), e.state, e.dice, e.best_epoch, e.epochs, e.sentence) for e in found.trials]


@pytest.mark.slow
@pytest.mark.usefixtures("no_page")
def test_interrupted_again_and_again_it_ends_as_if_it_had_not_been(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(by_learning_rate)
    over = OVER | {"loss": ["bce_dice", "focal_dice"]}
    whole = fgbg.sweep(config_of(discs, tmp_path / "whole"), over, trials=8, say=quiet)
    assert {each.state for each in whole.trials} == {"finished", "pruned"}
    train = training.train_epoch
    epochs = 0

    def interrupt(*arguments: Any) -> Trained:
        nonlocal epochs
        epochs += 1
        if epochs % 6 == 0:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(training, "train_epoch", interrupt)
    said: list[str] = []
    for _ in range(100):
        try:
            cut = fgbg.sweep(config_of(discs, tmp_path / "cut"), over, trials=8, say=said.append)
            break
        except KeyboardInterrupt:
            assert re.search(r"stopped in trial \d+ after [012] whole epochs?; the same command goes on", said[-1])
    assert table_of(cut) == table_of(whole)
    assert sum(line.startswith("\nstopped") for line in said) >= 2
    assert sum(line.startswith("trial 3 ") for line in said) == 1, "an ended trial is not repeated"


@pytest.mark.long
def test_the_hours_end_at_an_epoch(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(by_learning_rate)
    clock = iter(range(10**6))
    monkeypatch.setattr(trials_of.time, "monotonic", lambda: float(next(clock)))
    said: list[str] = []
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), OVER, trials=5, hours=11.5 / 3600, say=said.append)
    assert re.search(r"the time is over in trial 2 after \d whole epochs?; the same command goes on", said[-1])
    assert [each.state for each in found.trials] == ["finished", "finished", "unfinished"]
    found = fgbg.sweep(config_of(discs, tmp_path / "out"), OVER, trials=5, say=said.append)
    assert found.count == 5


@pytest.mark.long
def test_other_settings_another_search_or_other_photos_are_refused(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None]
) -> None:
    follow(by_learning_rate)
    config = config_of(discs, tmp_path / "out")
    fgbg.sweep(config, OVER, trials=2, say=quiet)
    with pytest.raises(fgbg.UserError, match=r"was begun with other settings \(size, augment\.hue\): go on with --config"):
        fgbg.sweep(replace(config, size=32, augment=AugmentRanges(hue=0.0)), OVER, say=quiet)
    with pytest.raises(fgbg.UserError, match=r"was begun with another search \(space\.toml\)"):
        fgbg.sweep(config, {"learning_rate": "1e-4..1:log"}, say=quiet)
    said: list[str] = []
    assert fgbg.sweep(replace(config, threads=2), OVER, trials=2, say=said.append).count == 2
    assert "holds 2 trials already; more --trials add to them" in said[-1]
    more = replace(read_config(tmp_path / "out" / "base.toml"), out=config.out)
    assert fgbg.sweep(more, read_space_file(tmp_path / "out" / "space.toml"), trials=3, say=quiet).count == 3
    mask = discs / "masks" / "disc_00.png"
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    with pytest.raises(fgbg.UserError, match="discs has changed since"):
        fgbg.sweep(config, OVER, trials=4, say=quiet)


def test_two_sweeps_do_not_share_a_folder(discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with hold_lock(out / ".lock", waits=False):
        for name in ("base.toml", "space.toml", "sweep.db"):
            (out / name).touch()
        with pytest.raises(fgbg.UserError, match="another fgbg sweep is at work in"):
            fgbg.sweep(config_of(discs, out), OVER, say=quiet)


def test_a_folder_with_a_database_of_ones_own_is_left_alone(discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "trial-photos").mkdir(parents=True)
    (out / "sweep.db").write_text("my own")
    with pytest.raises(fgbg.UserError, match="is not empty"):
        fgbg.sweep(config_of(discs, out), OVER, say=quiet)
    assert (out / "sweep.db").read_text() == "my own"
    assert (out / "trial-photos").is_dir()


KILLED = """
import os, signal, sys
from fgbg import cli
from fgbg.training import loop

steps, take_step = 0, loop.take_step
def die(*arguments):
    global steps
    steps += 1
    if steps == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(*arguments)
loop.take_step = die
cli.main({words!r})
"""


@pytest.mark.long
def test_a_killed_search_goes_on_to_the_same_bits(discs: Path, tmp_path: Path) -> None:
    """Really trained, really killed, in the second trial or the third, at any of their steps."""
    step = int(np.random.default_rng().integers(7, 19))  # trials of 2 epochs of 3 steps
    # A folder's name may hold what means something in the address of a database.
    out = {name: tmp_path / f"{name} 50%25?" for name in ("whole", "killed")}
    words = [
        *("sweep", str(discs), *SMALL, "--epochs", "2", "--trials", "3", "--over", "learning_rate=1e-3..1e-1:log"),
        *("--over", "augment.hue=0..0.3", "--out"),
    ]
    code = textwrap.dedent(KILLED).format(step=step, words=[*words, str(out["killed"])])
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    before = (out["killed"] / "trial-0000" / "best.safetensors").stat().st_mtime_ns
    assert [run(*words, folder) for folder in out.values()] == [0, 0]
    assert (out["killed"] / "trial-0000" / "best.safetensors").stat().st_mtime_ns == before, "not trained again"
    tables = [
        [row[:5] + row[6:] for row in csv.reader((folder / "sweep.csv").read_text().splitlines())] for folder in out.values()
    ]
    assert tables[0] == tables[1], f"killed in step {step}"
    assert [row[:2] for row in tables[0][1:]] == [["0", "finished"], ["1", "finished"], ["2", "finished"]]
    for number in range(3):
        whole, killed = (load_file(folder / f"trial-{number:04}" / "best.safetensors") for folder in out.values())
        assert all(torch.equal(whole[name], killed[name]) for name in whole), (number, step)
    assert not list(out["killed"].glob("trial-*/last.pt"))


# The test set


@pytest.mark.long
def test_the_test_photos_decide_nothing(tmp_path: Path) -> None:
    """The same search, with every test photo's mask turned inside out."""
    tables = []
    for name in ("as it is", "turned"):
        folder = write_discs(tmp_path / name)
        if name == "turned":
            for photo in (folder / "test.txt").read_text().split():
                mask = folder / "masks" / f"{photo}.png"
                Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
        config = config_of(folder, tmp_path / name / "out", epochs=1, learning_rate=1e-2)
        tables.append(table_of(fgbg.sweep(config, {"learning_rate": "1e-3..1e-1:log"}, trials=3, say=quiet)))
        written = [path.name for path in (tmp_path / name / "out").rglob("*") if "test" in path.name]
        assert not written
    assert tables[0] == tables[1]


# What is left to be read


@pytest.mark.long
@pytest.mark.usefixtures("no_page")
def test_the_page_and_what_lies_beside_it(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    follow(by_learning_rate)
    folder = discs.rename(tmp_path / "a <b> & 'c'")
    over = OVER | {"loss": ["bce_dice", "focal_dice"], "width": "2..4", "augment.enabled": "true,false"}
    searched = fgbg.sweep(config_of(folder, tmp_path / "out", learning_rate=1e-4), over, trials=14, say=quiet)
    write_results(searched)
    page = (searched.folder / "sweep.html").read_text()
    assert searched.best is not None
    assert searched.baseline is not None
    verdict = f"Trial {searched.best.number} is the best of 14: validation Dice {searched.best.dice:.4f}"
    assert f"{verdict}, where the baseline has {searched.baseline.dice:.4f}." in page
    assert f"The highest of 14 Dices over {searched.validation_photos} validation photos is partly luck" in page
    assert "a &lt;b&gt; &amp; &#39;c&#39;" in page
    assert "<b> &" not in page
    assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\(", page)
    for field in searched.space:
        assert page.count(f">{field.name}<") >= 3, "in the settings, in a drawing and over the trials"
    with (searched.folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["dice"]) for row in rows] == [each.dice for each in searched.trials]
    assert [float(row["learning_rate"]) for row in rows] == [each.values["learning_rate"] for each in searched.trials]
    best = read_config(searched.folder / "best.toml")
    assert best == apply_values(replace(searched.base, out=""), searched.best.values)
    assert {name: flatten(best)[name] for name in searched.best.values} == searched.best.values
    assert next(iter(searched.importances)) == "learning_rate", "the only field that the curves know"
    assert sum(searched.importances.values()) == pytest.approx(1)

    # What is printed: a command that reads the best settings, and what to do before one believes in them.
    told = searched.describe()
    command = re.search(r"train it: fgbg (.*)", told)
    assert command is not None
    assert searched.best is not None
    flags = command[1].split()[1:]
    arguments = parse(TrainArguments, flags, default=read_defaults(flags, TrainArguments))
    assert arguments.learning_rate == searched.best.values["learning_rate"]
    assert "is partly luck, so that a gain of" in told
    assert "for seed in 1 2 3; do" in told
    assert "fgbg compare runs/out-base-* runs/out-best-*" in told


def test_json_and_flags_over_a_file(
    discs: Path, tmp_path: Path, follow: Callable[[Curve], None], capsys: pytest.CaptureFixture[str]
) -> None:
    follow(by_learning_rate)
    (tmp_path / "space.toml").write_text('learning_rate = "1e-4..1e-2:log"\nwidth = [2, 4]\n')
    words = ("--space", tmp_path / "space.toml", "--over", "learning-rate=1e-3..1e-2", "--trials", 3, "--epochs", 1)
    assert run("sweep", discs, *SMALL, *words, "--out", tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["searched"] == {"learning_rate": "0.001..0.01", "width": "2,4"}
    assert [each["number"] for each in told["trials"]] == [0, 1, 2]
    assert told["trials"][told["best"]]["dice"] == max(each["dice"] for each in told["trials"])
    assert "trial 0 (1/3) | baseline" in captured.err


def test_importance_is_of_what_decides_and_not_told_too_early() -> None:
    study = optuna.create_study(direction="maximize")
    random = np.random.default_rng(0)
    spans = {name: optuna.distributions.FloatDistribution(0, 1) for name in ("decides", "idles")}
    for number in range(60):
        values = {name: float(random.uniform()) for name in spans}
        state = optuna.trial.TrialState.PRUNED if values["decides"] < 0.5 else optuna.trial.TrialState.COMPLETE
        # What was pruned has a high value at the epoch in which it was: it must not count as good.
        value = 0.9 if values["decides"] < 0.5 else values["decides"] / 2
        made = optuna.trial.create_trial(params=values, distributions=spans, value=value, state=state)
        assert bool(measure_importances(study)) == (number >= FEWEST_TRIALS)
        study.add_trial(made)
    shares = measure_importances(study)
    assert shares["decides"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_the_sweep_says_nothing_twice(discs: Path, tmp_path: Path, follow: Callable[[Curve], None]) -> None:
    """Of a trial's own lines only the first trial's are printed: what was understood of data and network."""
    follow(by_learning_rate)
    said: list[str] = []
    fgbg.sweep(config_of(discs, tmp_path / "out"), OVER, trials=3, say=said.append)
    assert sum("20 pairs" in line for line in said) == 1
    assert [line for line in said if line.startswith("Epoch")] == []


@pytest.mark.parametrize("high", [0.3, 0.6, 0.7])
def test_steps_that_floats_round_reach_the_end_and_no_further(high: float) -> None:
    """3 * 0.1 is more than 0.3: a search over such a range would never know that it has had every value."""
    steps = Range("augment.hue", 0.0, high, step=0.1)
    values = {steps.value_at(share / 100) for share in range(100)}
    assert len(values) == steps.count
    assert max(values) == high
    assert all(steps.holds(value) for value in values)
    assert steps.clean(3 * 0.1) == 0.3
