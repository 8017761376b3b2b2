"""A file that changed on the disk: it is made again, or named; it never turns into a number."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from drill import Fault, Place, assert_said, assert_same_result, cut_short, flip_byte
from fgbg.storage import LOCK

pytestmark = pytest.mark.long

FAULTS: dict[str, Callable[[Path], None]] = {
    "a bit flipped": flip_byte,
    "a bit flipped near the end": lambda path: flip_byte(path, 0.95),
    "cut short": cut_short,
    "emptied": lambda path: cut_short(path, 0),
    "lost": Path.unlink,
}
slow = pytest.mark.slow


CURES = {
    "last.pt": "start again in a new --out",
    "best.safetensors": "train or copy it again",
    "epochs.jsonl": "in a new --out",
    "split.json": "restore it from a copy, or train in a new --out",
    "config.toml": "which fgbg train writes first",
}
DAMAGES = {
    "last.pt": ("a bit flipped", "a bit flipped near the end", "cut short", "emptied", "lost"),
    "best.safetensors": ("a bit flipped", "a bit flipped near the end", "cut short", "emptied"),
    "epochs.jsonl": ("a bit flipped", "a bit flipped near the end", "cut short", "lost"),
    "split.json": ("a bit flipped", "cut short", "emptied"),
    "config.toml": ("lost",),
}
IN_EVERY_TEST_RUN = {("last.pt", "a bit flipped"), ("best.safetensors", "a bit flipped near the end")}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, fault, marks=() if (name, fault) in IN_EVERY_TEST_RUN else slow)
        for name, faults in DAMAGES.items()
        for fault in faults
    ],
)
def test_a_damaged_file_of_a_run_is_named_and_nothing_is_lost(
    place: Place, interrupted: Path, name: str, fault: str
) -> None:
    FAULTS[fault](interrupted / name)
    before = read_files(interrupted)
    assert_said(place.run(place.train(interrupted, "--resume")), name, CURES[name])
    assert read_files(interrupted) == before


def read_files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != LOCK}


@slow
def test_a_setting_that_changed_on_the_disk_is_named(place: Place, interrupted: Path) -> None:
    path = interrupted / "config.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 0.03"))
    assert_said(place.run(["train", "--resume", "--out", str(interrupted)]), "config.toml has another learning_rate")


@slow
def test_a_lost_best_model_is_named_or_written_again(
    place: Place, interrupted: Path, undisturbed: Path, tmp_path: Path
) -> None:
    (interrupted / "best.safetensors").unlink()
    ended = place.run(place.train(interrupted, "--resume"))
    assert_said(ended, "best.safetensors is of epoch 0, and the best in epochs.jsonl is 1")

    early = tmp_path / "early"  # killed in the second epoch: the state has the weights of the best one
    assert place.run(place.train(early), Fault(kill_at=("fgbg.training.loop:take_step", 5))).status == -signal.SIGKILL
    (early / "best.safetensors").unlink()
    ended = place.run(place.train(early, "--resume"))
    assert ended.status == 0, ended.said
    assert_same_result(early, undisturbed)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda path: flip_byte(path, 0.3), id="a bit flipped"),
        pytest.param(cut_short, id="cut short", marks=slow),
        pytest.param(Path.unlink, id="lost", marks=slow),
    ],
)
def test_damaged_decoded_photos_are_decoded_anew(
    place: Place, interrupted: Path, undisturbed: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    own = Place(tmp_path, place.data)
    shutil.copytree(place.cache, own.cache)
    entries = list((own.cache / "decoded").iterdir())
    assert len(entries) == 2, "the squares to train on and the photos to validate on"
    for entry in entries:
        fault(entry / "pixels")
    ended = own.run(own.train(interrupted, "--resume"))
    assert ended.status == 0, ended.said
    assert ended.said.count(": making it anew") == 2
    assert_same_result(interrupted, undisturbed)


@slow
def test_a_damaged_photo_is_named(place: Place, tmp_path: Path) -> None:
    own, out = Place(tmp_path, shutil.copytree(place.data, tmp_path / "discs")), tmp_path / "run"
    assert own.run(own.train(out), Fault(kill_at=("fgbg.training.loop:take_step", 5))).status == -signal.SIGKILL
    photo = own.data / "images" / "disc_00.png"
    Image.open(photo).point(lambda value: value ^ 1).save(photo)
    assert_said(own.run(own.train(out, "--resume")), f"discs has changed since {out} was begun")
    cut_short(photo)
    assert_said(own.run(own.train(tmp_path / "new")), "disc_00.png")


@pytest.fixture(scope="module")
def scored(place: Place, undisturbed: Path) -> Path:
    ended = place.run(["evaluate", str(undisturbed), "--device", "cpu", "--threads", "1"])
    assert ended.status == 0, ended.said
    return undisturbed


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("scores_test.csv", "a bit flipped"),
        *(pytest.param("scores_test.csv", fault, marks=slow) for fault in ("a bit flipped near the end", "cut short")),
        *(pytest.param("scores_test.json", fault, marks=slow) for fault in ("a bit flipped", "cut short", "lost")),
    ],
)
def test_damaged_scores_are_not_compared(place: Place, scored: Path, tmp_path: Path, name: str, fault: str) -> None:
    other = shutil.copytree(scored, tmp_path / "other")
    FAULTS[fault](other / name)
    assert_said(place.run(["compare", str(scored), str(other)]), name)
    assert_said(place.run(["report", str(other), "--out", str(tmp_path / "page")]), name)


@slow
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
def test_a_damaged_model_predicts_nothing(place: Place, undisturbed: Path, tmp_path: Path, share: float) -> None:
    """Wherever in the file the bit is: in a name, in the threshold, in a weight."""
    model = shutil.copy(undisturbed / "best.safetensors", tmp_path / "model.safetensors")
    flip_byte(Path(model), share)
    photo = place.data / "images" / "disc_01.png"
    assert_said(place.run(["predict", str(model), str(photo), "--out", str(tmp_path / "masks")]), "model.safetensors")


@slow
def test_a_split_that_changed_on_the_disk_does_not_choose_the_test_photos(
    place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(undisturbed, tmp_path / "run")
    path = run / "split.json"
    path.write_text(path.read_text().replace('"id": "disc_01"', '"id": "disc_91"'))
    assert_said(place.run(["evaluate", str(run), "--device", "cpu"]), "split.json is damaged or was edited")
