"""The command line as a user meets it: help at once, mistakes in one sentence, exit 2."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from PIL import Image

import fgbg
from discs import write_discs
from fgbg import cli
from fgbg.cli.training import TrainArguments, read_defaults
from fgbg.cli.verb import parse
from fgbg.data import samples
from fgbg.storage import LOCK, replace_when_whole


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path)


SMALL = "--width 4 --size 32 --batch-size 4 --device cpu --threads 1 --precision fp32 --learning-rate 3e-3".split()


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture
def trained(tmp_path: Path, discs: Path) -> Path:
    assert run("train", discs, *SMALL, "--epochs", 2, "--out", tmp_path / "run") == 0
    return tmp_path / "run"


def test_help_answers_at_once() -> None:
    """In half a second of an idle processor; held against what only the reading of flags costs, however busy it is here."""

    def measure(*words: str) -> tuple[float, str]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended.stdout

    flags, helps = [], []
    for _ in range(3):  # the best of three
        flags.append(measure("-c", "import tyro")[0])
        seconds, usage = measure("-m", "fgbg", "train", "--help")  # which has the most to say
        assert "usage: fgbg" in usage
        helps.append(seconds)
    assert min(helps) < 4 * min(flags), (helps, flags)


def test_help_of_no_verb_loads_a_heavy_library() -> None:
    code = """
        import sys, time
        from contextlib import suppress
        from fgbg.cli import VERBS, main
        for verb in VERBS:
            start = time.process_time()
            with suppress(SystemExit):
                main([verb, "--help"])
            assert time.process_time() - start < 0.5, (verb, time.process_time() - start)
            assert not {"torch", "matplotlib", "scipy", "onnxruntime"} & set(sys.modules), verb
    """
    told = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True).stdout
    assert told.count("usage: fgbg") == len(cli.VERBS)


def test_import_loads_no_heavy_library() -> None:
    code = "import fgbg, fgbg.cli, sys; assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists() -> None:
    for name in fgbg.__all__:
        assert getattr(fgbg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fgbg.nothing


def test_train_evaluate_predict_report(
    trained: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", trained) == 0
    printed = capsys.readouterr().out
    rows = fgbg.open_run(trained).scores("test")
    mean = np.mean([row.dice for row in rows])
    assert f"{mean:.4f} [" in printed
    assert "4 pairs" in printed
    assert len(rows) == 4
    assert (trained / "charts" / "panels_test.png").exists()

    assert run("evaluate", trained, "--json") == 0
    statement = json.loads(capsys.readouterr().out)
    assert statement["mean_dice"] == pytest.approx(mean)
    assert statement["pairs"] == 4

    photo = discs / "images" / "disc_00.png"
    assert run("predict", trained, photo, "--out", tmp_path / "out", "--kind", "cutout") == 0
    with Image.open(tmp_path / "out" / "disc_00.png") as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (32, 32))

    assert run("report", trained, "--out", tmp_path / "report") == 0
    assert (tmp_path / "report" / "performance.xlsx").exists()


def test_check_takes_data_and_runs(trained: Path, discs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", trained) in (0, 1)
    assert "self-check: " in capsys.readouterr().out
    status = run("check", trained, "--json")
    told = json.loads(capsys.readouterr().out)
    assert [problem["kind"] for problem in told["problems"]] == [
        each["name"] for each in told["findings"] if not each["passed"]
    ]
    assert status == (1 if told["problems"] else 0)
    assert run("check", discs, "--json") in (0, 1)
    assert json.loads(capsys.readouterr().out)["pairs"] == 20


@pytest.mark.long
def test_a_photo_reduced_on_decoding_is_scored_and_drawn_at_its_own_size(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = samples.read_photo

    def reduce_early(path: Path, largest_pixels: int | None = 500) -> np.ndarray:
        return read(path, largest_pixels=largest_pixels)

    monkeypatch.setattr(samples, "read_photo", reduce_early)  # 32 x 32 counts as over the limit
    assert run("evaluate", trained) == 0
    assert {(row.height, row.width) for row in fgbg.open_run(trained).scores("test")} == {(32, 32)}
    assert (trained / "charts" / "panels_test.png").exists()


def test_evaluate_scores_other_data_too(trained: Path, discs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", trained, discs, "--split", "validation") == 0
    assert "validation photos of discs: 4 pairs" in capsys.readouterr().out


def test_resume_needs_only_the_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--resume", "--out", trained, "--epochs", 3) == 0
    assert "after epoch 2 of 3; the learning rate is constant" in capsys.readouterr().out
    assert [record.epoch for record in fgbg.open_run(trained).epochs()] == [1, 2, 3]


def test_flags_go_before_file_before_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 7\nlearning_rate = 1\n[augment]\nhue = 0\n")
    argv = ["figures", "--preset", "lab", f"--config={tmp_path / 'mine.toml'}", "--epochs", "9"]
    arguments = parse(TrainArguments, argv, default=read_defaults(argv, TrainArguments))
    assert (arguments.epochs, arguments.learning_rate, arguments.split) == (9, 1.0, "lab")
    assert (arguments.augment.hue, arguments.augment.padding, arguments.augment.flip) == (0, "background", 0.5)


def test_of_a_flag_that_is_given_twice_the_last_one_counts(tmp_path: Path) -> None:
    for name, epochs in (("a", 3), ("b", 7)):
        (tmp_path / f"{name}.toml").write_text(f"epochs = {epochs}\n")
    argv = ["figures", "--config", str(tmp_path / "a.toml"), "--config", str(tmp_path / "b.toml")]
    assert parse(TrainArguments, argv, default=read_defaults(argv, TrainArguments)).epochs == 7


def mistakes() -> dict[str, tuple[str, str]]:
    """A command (with {data}, {run}, {tmp} filled in) and what its one sentence must say."""
    return {
        "unknown command": ("trian", r"unknown command 'trian'.*did you mean 'train'"),
        "no data": ("train --out {tmp}/x", r"which DATA\?"),
        "missing path": ("train {tmp}/none --out {tmp}/x", r"none does not exist"),
        "unknown data": ("train oxfordpet --out {tmp}/x", r"did you mean 'oxford-pet'"),
        "data is a file": ("train {data}/train.txt --out {tmp}/x", r"train\.txt is a file"),
        "empty folder": ("train {tmp}/empty --out {tmp}/x", r"empty has no layout that is known"),
        "zero epochs": ("train {data} --epochs 0 --out {tmp}/x", r"--epochs 0: must be at least 1"),
        "negative epochs": ("train {data} --epochs -3 --out {tmp}/x", r"--epochs -3: must be at least 1"),
        "no learning rate": ("train {data} --learning-rate 0 --out {tmp}/x", r"--learning-rate 0\.0: must be a positive"),
        "learning rate nan": ("train {data} --learning-rate nan --out {tmp}/x", r"--learning-rate nan: must be"),
        "absurd size": ("train {data} --size 100000 --out {tmp}/x", r"--size 100000: must be from 16 to 4096"),
        "absurd augmentation": ("train {data} --augment.shift 7 --out {tmp}/x", r"--augment\.shift 7\.0: must be from 0"),
        "batch too large": (
            "train {data} --batch-size 99 --size 32 --width 4 --out {tmp}/x",
            r"more than the 12 training photos",
        ),
        "unknown model": ("train {data} --model resnet34unet --out {tmp}/x", r"did you mean 'resnet34_unet'"),
        "unknown preset": ("train {data} --preset lap --out {tmp}/x", r"unknown preset 'lap'.*did you mean 'lab'"),
        "no such file of settings": ("train {data} --config {tmp}/no.toml --out {tmp}/x", r"no\.toml does not exist"),
        "unknown setting": ("train {data} --config {tmp}/wrong.toml --out {tmp}/x", r"'epoch'.*did you mean 'epochs'"),
        "no cuda": ("train {data} --device cuda:9 --out {tmp}/x", r"--device cuda:9: this machine has"),
        "out is taken": ("train {data} --out {run}", r"is not empty.*--resume"),
        "out is a file": ("train {data} --out {data}/train.txt", r"is a file: choose a folder"),
        "nothing to resume": ("train --resume --out {tmp}/none", r"none does not exist"),
        "no run": ("evaluate {data}", r"is no run: it has no config\.toml"),
        "split lab on a folder": ("train {data} --split lab --out {tmp}/x", r"cuts the Oxford-IIIT Pet lists"),
        "no photo": ("predict {run} --out {tmp}/x", r"which photos\?"),
        "no photo but a text": (
            "predict {data}/train.txt --out {tmp}/x",
            r"which photos\?.*train\.txt was taken for the MODEL",
        ),
        "neither photo nor model": ("predict {tmp}/no --out {tmp}/x", r"no does not exist: name photos or folders"),
        "photo missing": ("predict {run} {tmp}/no.jpg --out {tmp}/x", r"no\.jpg does not exist"),
        "model missing": ("predict {tmp}/no {data}/images --out {tmp}/x", r"no does not exist: MODEL is"),
        "model is a pickle": ("predict {tmp}/model.safetensors {data}/images --out {tmp}/x", r"pickle.*refused"),
        "report of nothing": ("report --out {tmp}/x", r"which runs\?"),
        "report of no run": ("report {tmp}/none --out {tmp}/x", r"none does not exist"),
        "no figures": ("figures {tmp}/x --count 0", r"count"),
        "nothing to change": ("evaluate {run} --border ignore", r"--border ignore needs masks with an ambiguity band"),
        "two runs": ("evaluate {run} {run}", r"is no fold: evaluate one run at a time, or add --ensemble"),
        "ensemble of one": ("evaluate {run} --ensemble", r"--ensemble averages several runs: name two or more"),
        "two sets of data": ("evaluate {run} {data} {tmp}/leak", r"are no run folders; one DATA at most"),
        "evaluate nothing": ("evaluate", r"which run\? Name a folder"),
        "out without several": ("evaluate {run} --out {tmp}/x", r"--out is for all folds, --ensemble and --tta"),
        "out is a run": ("evaluate {run} --tta flip --out {run}", r"is not empty: choose another --out"),
        "threshold on test": ("evaluate {run} --threshold-for dice", r"add --split validation"),
        "unknown objective": ("evaluate {run} --split validation --threshold-for f1", r"choose dice, iou, recall:R"),
        "absurd objective": ("train {data} --threshold-for recall:95 --out {tmp}/x", r"--threshold-for recall:95: choose"),
        "compare nothing": ("compare", r"two"),
        "compare one": ("compare {run}", r"two"),
        "compare a run with itself": ("compare {run} {run}", r"twice|same run"),
        "compare what has no scores": ("compare {run} {tmp}/other", r"run fgbg evaluate .* first"),
        "a training photo": (
            "evaluate {run} {tmp}/leak",
            r"2 trained this model \(renamed_0, renamed_1\): score others, or go on with --allow-overlap",
        ),
    }


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set, a run and a few things that are none."""
    tmp = tmp_path_factory.mktemp("mistakes")
    data = write_discs(tmp)
    assert run("train", data, *SMALL, "--epochs", 1, "--out", tmp / "run") == 0
    shutil.copytree(tmp / "run", tmp / "other")
    (tmp / "empty").mkdir()
    (tmp / "wrong.toml").write_text("epoch = 3\n")
    torch.save({"weights": torch.zeros(3)}, tmp / "model.safetensors")
    leak = tmp / "leak"
    for kind in ("images", "masks"):
        (leak / kind).mkdir(parents=True)
        for index, name in enumerate((data / "train.txt").read_text().split()):
            (leak / kind / f"renamed_{index}.png").write_bytes((data / kind / f"{name}.png").read_bytes())
    (leak / "test.txt").write_text("renamed_0\nrenamed_1\n")
    return {"data": data, "run": tmp / "run", "tmp": tmp}


@pytest.mark.parametrize("name", mistakes())
def test_a_mistake_is_one_sentence_and_exit_2(
    name: str, ground: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command, sentence = mistakes()[name]
    before = {path: path.stat().st_mtime_ns for path in ground["run"].iterdir() if path.is_file() and path.name != LOCK}
    words = [word.format(**{**ground, "tmp": ground["tmp"]}) for word in command.split()]
    assert run(*words) == 2
    printed = capsys.readouterr().err
    assert re.search(sentence, printed), printed
    assert printed.startswith("fgbg: ")
    assert len(printed.strip().splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing lost"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("predict", "", "photos", "--out", "x"), "one of INPUTS"),
        (("predict", "photos", "--out", ""), "--out"),
        (("serve", ""), "MODEL"),
        (("export", "", "--out", "x.onnx"), "MODEL"),
        (("evaluate", ""), "one of INPUTS"),
        (("figures", ""), "OUT"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    words: tuple[str, ...], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert capsys.readouterr().err == f"fgbg: {what} is empty: is a variable of the shell unset?\n"
    assert not list(tmp_path.iterdir())


def test_what_cannot_begin_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", str(tmp_path / "no"), "--out", str(tmp_path / "runs" / "x")) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "x").exists()


@pytest.mark.parametrize(("verb", "cure"), [("train", "go on with --resume"), ("predict", "run it again")])
def test_a_full_disk_is_said(
    verb: str, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/last.pt")

    monkeypatch.setitem(cli.VERBS, verb, (fail, ""))
    assert run(verb) == 2
    assert capsys.readouterr().err == f"fgbg: no space left while writing runs/x/last.pt: free some, then {cure}\n"


@pytest.mark.parametrize("line", ["--help", "predict --help", "figures drawn --count 2"])
def test_who_stops_reading_ends_the_command_and_that_is_no_success(line: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "fgbg", *line.split()]
    ended = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=buffered, check=False
    )
    os.close(writer)
    assert ended.returncode == 141
    assert "BrokenPipe" not in ended.stderr


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"last\.pt"), replace_when_whole(tmp_path / "last.pt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir()), "no half file is left behind"


# What a shell starts in the background ignores Ctrl-C, and so do all that it starts in turn, such as tests.
HEED_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fgbg", run_name="__main__", alter_sys=True)
"""


@pytest.mark.long
def test_ctrl_c_ends_cleanly(tmp_path: Path, discs: Path) -> None:
    words = ["train", str(discs), *SMALL, "--epochs", "500", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-c", HEED_CTRL_C, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Epoch   2/"):
                    process.send_signal(signal.SIGINT)
                    break
            printed, complaint = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, complaint
    assert "go on with: fgbg train --resume --out" in printed
    assert "Traceback" not in complaint
    assert len(fgbg.open_run(tmp_path / "run").epochs()) >= 2
    assert (tmp_path / "run" / "performance.xlsx").exists()


# With and without what else such a verb needs: who lacks the extra must not first get the flags right.
NEEDS_TRAIN = (
    "demo|check figures|train|train figures|train figures --preset fast|train --init pets|sweep|evaluate|evaluate x"
    "|export|export x|compare a b|report|report a --out b"
).split("|")


@pytest.mark.parametrize("line", [*NEEDS_TRAIN, "serve", "serve nothing"])
def test_a_missing_extra_prints_its_install_line(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in cli.EXTRAS:
        monkeypatch.setitem(cli.EXTRAS, extra, ("a_package_that_is_not_there",))
    assert run(*line.split()) == 2
    extra = "serve" if line.startswith("serve") else "train"
    sentence = f"fgbg: this command needs a_package_that_is_not_there: pip install 'fgbg[{extra}]'\n"
    assert capsys.readouterr().err == sentence


def test_every_library_of_the_extra_for_training_is_asked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    stated = {re.split(r"[>\[]", line)[0].replace("-", "_") for line in project["optional-dependencies"]["train"]}
    assert stated == {*cli.EXTRAS["train"]}


def test_help_needs_no_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in cli.EXTRAS:
        monkeypatch.setitem(cli.EXTRAS, extra, ("a_package_that_is_not_there",))
    for verb in cli.VERBS:
        for flag in ("--help", "-h"):
            with pytest.raises(SystemExit) as ended:
                run(verb, flag)
            assert ended.value.code == 0, verb
            assert f"usage: fgbg {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", sorted(cli.VERBS.keys() - {"demo", "serve"}))  # which need nothing more
def test_a_verb_alone_ends_without_a_traceback(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = run(verb)
    except SystemExit as ended:  # the parser's way
        status = ended.code
    assert status == 2
    assert capsys.readouterr().err
