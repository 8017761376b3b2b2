"""The run folder: what is written comes back, and what is no run is said to be none."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbg.config import TrainConfig
from fgbg.data.samples import Sample, understand_samples
from fgbg.errors import UserError
from fgbg.judge.names import name_runs
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.run import Run, create_run, open_run
from fgbg.storage import free_name, make_folder, write_alone
from trivial import make_noise

RECORD = EpochRecord(
    epoch=1,
    train_loss=0.7902,
    train_dice=0.1 + 0.2,
    val_loss=0.843,
    val_dice=0.7426,
    val_dice_photo=1 / 3,
    learning_rate=1e-3,
    images_per_second=12.5,
    seconds=0.25,
    best=True,
)
ROW = ScoreRow("cat_1", 3, 5, TP=3, FP=1, FN=1, TN=10, dice=6 / 8, iou=3 / 5, dice_at_size=1 / 3)
STATEMENT = {"data": "drawn", "pairs": 2, "mean_dice": 1 / 3, "border": "ignore"}


def make_run(folder: Path, **settings_: Any) -> Run:
    run = create_run(folder)
    run.write_config(TrainConfig(**settings_))
    return run


# Opening and making


def test_a_new_run_is_an_empty_folder_with_its_parents(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs" / "first")
    assert run.folder == tmp_path / "runs" / "first"
    assert list(run.folder.iterdir()) == []
    create_run(run.folder)


def test_what_a_killed_start_leaves_is_nothing(tmp_path: Path) -> None:
    with write_alone(tmp_path):
        (tmp_path / ".config.toml.partial").write_text("half")
    assert create_run(tmp_path).folder == free_name(tmp_path) == tmp_path


def test_one_process_writes_into_a_run(tmp_path: Path) -> None:
    with (
        write_alone(tmp_path),
        pytest.raises(UserError, match=rf"another fgbg \(process {os.getpid()}\): wait for it"),
        write_alone(tmp_path),
    ):
        raise AssertionError("both write")
    with write_alone(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty: choose another folder$"):
        create_run(tmp_path)
    run = make_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"is not empty.*--resume"):
        create_run(run.folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is a file: choose a folder"):
        create_run(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot be made"):
        create_run(tmp_path / "file" / "below")
    with pytest.raises(UserError, match=r"is no run"):
        open_run(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="permissions do not bind the administrator")
def test_a_folder_that_may_not_be_written_to_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="may not be written to"):
            make_folder(tmp_path)
        with pytest.raises(UserError, match="cannot be made"):
            make_folder(tmp_path / "below")
    finally:
        tmp_path.chmod(0o700)


def test_only_a_folder_with_a_configuration_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none does not exist"):
        open_run(tmp_path / "none")
    with pytest.raises(UserError, match=r"is no run: it has no config\.toml"):
        open_run(tmp_path)
    made = make_run(tmp_path / "run", epochs=7)
    assert open_run(tmp_path / "run") == made
    assert open_run(str(tmp_path / "run")) == made  # as docs/python.md has it
    assert open_run(tmp_path / "run").config.epochs == 7


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    config = TrainConfig(data='a "b"', epochs=3, learning_rate=3e-5, object_values=(1, 3))
    run = create_run(tmp_path / "run")
    run.write_config(config)
    assert run.config == config


def test_a_free_name_is_the_first_that_holds_nothing(tmp_path: Path) -> None:
    assert free_name(tmp_path / "unet") == tmp_path / "unet"
    (tmp_path / "unet").mkdir()
    assert free_name(tmp_path / "unet") == tmp_path / "unet", "empty"
    (tmp_path / "unet" / "file").touch()
    (tmp_path / "unet-2").touch()
    assert free_name(tmp_path / "unet") == tmp_path / "unet-3"


# Epochs


def test_epochs_come_back_as_they_were(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    assert run.epochs() == []
    records = [RECORD, replace(RECORD, epoch=2, best=False, own_metric=0.125)]
    for record in records:
        run.append_epoch(record)
    assert run.epochs() == records
    lines = (run.folder / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2], "one line an epoch"


@pytest.mark.parametrize("cut", [1, 2, 20, 100])
def test_a_line_cut_short_is_left_out_and_can_be_written_again(tmp_path: Path, cut: int) -> None:
    run = create_run(tmp_path / "run")
    records = [replace(RECORD, epoch=epoch) for epoch in (1, 2, 3)]
    for record in records:
        run.append_epoch(record)
    path = run.folder / "epochs.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert run.epochs() == records[:2]

    run.keep_epochs(2)
    run.append_epoch(records[2])
    assert run.epochs() == records


@pytest.mark.parametrize("last", [0, 1, 2, 5])
def test_epochs_to_be_replayed_are_dropped(tmp_path: Path, last: int) -> None:
    run = create_run(tmp_path / "run")
    run.keep_epochs(last)
    assert run.epochs() == []
    records = [replace(RECORD, epoch=epoch) for epoch in (1, 2, 3)]
    for record in records:
        run.append_epoch(record)
    run.keep_epochs(last)
    assert run.epochs() == records[:last]


@pytest.mark.parametrize("line", [0, 1])
def test_a_record_that_changed_on_the_disk_is_named(tmp_path: Path, line: int) -> None:
    run = create_run(tmp_path / "run")
    records = [
        replace(RECORD, epoch=epoch, train_dice=0.3, val_dice_photo=0.75) for epoch in (1, 2)
    ]  # no digit that a float has no room for
    for record in records:
        run.append_epoch(record)
    path = run.folder / "epochs.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert run.epochs() == records
    for at in range(len(lines[line]) - 1):  # the line's end is what a line cut short lacks
        damaged = bytearray(lines[line])
        damaged[at] ^= 1
        path.write_bytes(b"".join([*lines[:line], damaged, *lines[line + 1 :]]))
        with pytest.raises(UserError, match=rf"line {line + 1} of .*epochs\.jsonl is damaged"):
            run.epochs()


def test_a_record_of_an_earlier_version_has_no_checks(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.append_epoch(RECORD)
    path = run.folder / "epochs.jsonl"
    fields = json.loads(path.read_text())
    del fields["crc32"]
    path.write_text(json.dumps(fields) + "\n")
    assert run.epochs() == [RECORD]


# Scores


def test_scores_and_their_statement_come_back(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    rows = [
        replace(ROW, metadata={"breed": "Ragdoll", "note": 'a "comma", and\na second line'}),
        replace(ROW, id="Hund, groß", dice=0.1 + 0.2, metadata={"breed": "", "note": "ümläut"}),
    ]
    run.write_scores("validation", rows, STATEMENT)
    assert run.scores("validation") == rows
    assert [type(value) for value in (run.scores("validation")[0].TP, run.scores("validation")[0].dice)] == [int, float]
    assert run.statement("validation") == STATEMENT
    first = (run.folder / "scores_validation.csv").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("id,height,width,TP,FP,FN,TN,dice,iou,dice_at_size,boundary_iou,")
    assert first.endswith(",predicted_count,group,breed,note")


def test_rows_of_another_version_are_not_guessed_at(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_scores("test", [ROW], STATEMENT)
    path = run.scores_path("test")
    path.write_text(path.read_text().replace("boundary_iou", "edge_iou"))
    with pytest.raises(UserError, match=r"another version of fgbg: run fgbg evaluate .*run --split test again"):
        run.scores("test")


def test_calibration_comes_back(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    assert run.calibration() is None
    run.write_calibration({"ece": 0.1 + 0.2, "bins": [{"pixels": 3, "object_share": None}]})
    assert run.calibration() == {"ece": 0.1 + 0.2, "bins": [{"pixels": 3, "object_share": None}]}


@settings(deadline=None, max_examples=20)
@given(
    values=st.lists(st.floats(0, 1), min_size=3, max_size=3), counts=st.lists(st.integers(0, 10**9), min_size=4, max_size=4)
)
def test_no_digit_of_a_score_is_lost(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], counts: list[int]
) -> None:
    run = create_run(tmp_path_factory.mktemp("run"))
    row = ScoreRow("a", 1, 1, *counts, *values)
    run.write_scores("test", [row], STATEMENT)
    assert run.scores("test") == [row]


def test_a_photo_that_is_left_out_stays_not_a_number(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_scores("test", [replace(ROW, dice=math.nan)], STATEMENT)
    (row,) = run.scores("test")
    assert math.isnan(row.dice)
    assert row.iou == ROW.iou


def test_a_column_that_only_some_photos_have_is_empty_for_the_rest(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_scores("test", [ROW, replace(ROW, id="b", metadata={"breed": "Pug"})], STATEMENT)
    assert [row.metadata.get("breed") for row in run.scores("test")] == ["", "Pug"]


def test_scores_that_were_never_made_name_the_command_that_makes_them(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    for ask in (run.scores, run.statement):
        with pytest.raises(UserError, match=r"no scores_test\.csv: run fgbg evaluate .*run --split test first"):
            ask("test")


@pytest.mark.parametrize("column", ["dice", "height", "id", "TP"])
def test_a_column_of_the_users_never_takes_a_scores_place(tmp_path: Path, column: str) -> None:
    run = create_run(tmp_path / "run")
    run.write_scores("test", [replace(ROW, metadata={column: "1"})], STATEMENT)
    (row,) = run.scores("test")
    assert replace(row, metadata={}) == ROW


# Names


def test_each_run_has_a_name_of_its_own(tmp_path: Path) -> None:
    unet = make_run(tmp_path / "one", model="unet")
    resnet = make_run(tmp_path / "two", model="resnet34_unet")
    assert name_runs([unet, resnet]) == {"Unet": unet, "ResNet34_Unet": resnet}
    again = make_run(tmp_path / "three", model="unet")
    assert name_runs([unet, resnet, again]) == {"Unet (one)": unet, "ResNet34_Unet": resnet, "Unet (three)": again}
    own = make_run(tmp_path / "four", model="own:Tiny")
    assert list(name_runs([own])) == ["own:Tiny"]


def test_folders_of_one_name_in_different_places_are_numbered(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "run", model="unet") for place in "abc"]
    named = name_runs(runs)
    assert list(named) == ["Unet (run)", "Unet (run) 2", "Unet (run) 3"]
    assert list(named.values()) == runs
    assert len(name_runs([runs[0], runs[0]])) == 2
    assert name_runs([]) == {}


# What else is recorded


def test_the_environment_says_what_decided_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/fgbg", "train", "figures", "--seed", "5"])
    run = create_run(tmp_path / "run")
    run.write_environment({"seed": 5, "device": "cuda:0", "processes": 2})
    told = json.loads((run.folder / "environment.json").read_text())
    assert told["command"] == ["fgbg", "train", "figures", "--seed", "5"]
    assert (told["seed"], told["device"], told["processes"]) == (5, "cuda:0", 2)
    assert told["versions"]["python"] == platform.python_version()
    for package in ("fgbg", "torch", "numpy", "pillow"):
        assert told["versions"][package] == metadata.version(package)
    assert told["platform"] == platform.platform()
    if told["commit"] is None:
        assert told["dirty"] is None
    else:
        assert len(told["commit"]) == 40
        assert isinstance(told["dirty"], bool)


def test_a_resumed_run_adds_its_environment_to_the_first_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(tmp_path / "run")
    for after, device in ((0, "cpu"), (3, "cuda:0"), (5, "cuda:1")):
        monkeypatch.setattr("sys.argv", ["fgbg", device])
        run.write_environment({"seed": 7, "device": device}, after_epoch=after)
    told = json.loads((run.folder / "environment.json").read_text())
    assert (told["command"], told["device"], told["seed"]) == (["fgbg", "cpu"], "cpu", 7)
    assert [(more["after_epoch"], more["device"], more["command"][1]) for more in told["resumed"]] == [
        (3, "cuda:0", "cuda:0"),
        (5, "cuda:1", "cuda:1"),
    ]


@pytest.mark.parametrize("name", ["environment.json", "selfcheck.json"])
def test_a_file_that_was_cut_short_is_named(tmp_path: Path, name: str) -> None:
    run = create_run(tmp_path / "run")
    assert run.environment() is run.selfcheck() is None
    run.write_environment({"seed": 7})
    run.write_selfcheck([{"name": "splits", "passed": True, "sentence": "apart", "stops": False}])
    path = run.folder / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match=rf"{name} is damaged: restore it from a copy, or remove it"):
        _ = run.environment(), run.selfcheck()
    if name == "environment.json":
        with pytest.raises(UserError, match="is damaged"):
            run.write_environment({"seed": 7}, after_epoch=1)


@pytest.mark.parametrize("content", ["[1]", "5", '{"x": 1}', '{"members": [1]}', '{"members": null}', "{"])
def test_a_damaged_list_of_members_is_named(tmp_path: Path, content: str) -> None:
    run = create_run(tmp_path / "run")
    assert run.members() == []
    (run.folder / "members.json").write_text(content)
    with pytest.raises(UserError, match=r"members\.json is damaged: score it again"):
        run.members()


def test_settings_that_do_not_fit_are_told_with_their_file(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    run.write_config(TrainConfig())
    path = run.folder / "config.toml"
    path.write_text(path.read_text().replace("epochs = 200", "epochs = 0"))
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: --epochs 0: must be at least 1"):
        _ = run.config


@pytest.mark.parametrize("content", ["[1]", '"x"', "5"])
def test_a_damaged_environment_is_named(tmp_path: Path, content: str) -> None:
    run = create_run(tmp_path / "run")
    (run.folder / "environment.json").write_text(content)
    with pytest.raises(UserError, match=r"environment\.json is damaged"):
        run.environment()


def test_without_git_the_commit_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = create_run(tmp_path / "run")
    run.write_environment({})
    told = json.loads((run.folder / "environment.json").read_text())
    assert (told["commit"], told["dirty"]) == (None, None)


def test_the_split_names_every_photo_with_its_hashes(tmp_path: Path) -> None:
    mask = np.eye(4, dtype=np.uint8)
    splits = ["train", "validation", "test", "train"]
    samples = understand_samples(
        "own",
        [
            Sample(f"p{index}", make_noise(4, 4, index), mask, split=split, group="g" if split == "validation" else "")
            for index, split in enumerate(splits)
        ],
    )
    run = create_run(tmp_path / "run")
    run.write_split(samples, TrainConfig(split_seed=9, folds=4, fold=3))
    told = json.loads((run.folder / "split.json").read_text())
    assert {key: told[key] for key in ("rules", "data", "fingerprint")} == {
        "rules": {"split": "official", "split_seed": 9, "group_by": "", "folds": 4, "fold": 3, "only": ""},
        "data": "own",
        "fingerprint": samples.fingerprint,
    }
    assert [[photo["id"] for photo in told[split]] for split in ("train", "validation", "test")] == [
        ["p0", "p3"],
        ["p1"],
        ["p2"],
    ]
    assert (told["masks"], told["has_band"]) == (samples.describe_masks(), False)
    look = samples.inspections[1]
    assert told["validation"] == [{"id": "p1", "image": look.image_hash[:16], "mask": look.mask_hash[:16], "group": "g"}]
    assert run.locked_splits() == {
        "p0": ("train", ""),
        "p1": ("validation", "g"),
        "p2": ("test", ""),
        "p3": ("train", ""),
    }
    assert len(look.image_hash) == 64
    assert run.fingerprint == samples.fingerprint
    assert {**run.split(), "sha256": told["sha256"]} == told
    assert create_run(tmp_path / "unsplit").fingerprint == ""


def test_a_resumed_run_keeps_what_was_said_of_its_split(tmp_path: Path) -> None:
    samples = understand_samples("own", [Sample("p", make_noise(4, 4, 0), np.eye(4, dtype=np.uint8), split="train")])
    run = create_run(tmp_path / "run")
    for remark in ("split 80/10/10, seed 9", ""):
        run.write_split(replace(samples, remark=remark), TrainConfig())
        assert run.split()["remark"] == "split 80/10/10, seed 9"


def test_every_name_in_the_folder_is_as_designed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert run.name == "run"
    assert {
        path.relative_to(run.folder).as_posix()
        for path in (run.best, run.last, run.workbook, run.charts, run.thumbnails("test"), run.outcomes("test"))
    } == {
        "best.safetensors",
        "last.pt",
        "performance.xlsx",
        "charts",
        "thumbnails_test",
        "outcomes_test",
    }
    assert run.scores_path("test").name == "scores_test.csv"
    assert run.predictions("validation").name == "predictions_validation"
