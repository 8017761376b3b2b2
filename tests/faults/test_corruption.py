"""A file that changed on the disk: it is made again, or named; it never turns into a number."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from drill import Place, assert_said, assert_same_result, cut_short, flip_byte
from PIL import Image

FAULTS: dict[str, Callable[[Path], None]] = {
    "a bit flipped": flip_byte,
    "a bit flipped near the end": lambda path: flip_byte(path, 0.95),
    "cut short": cut_short,
    "emptied": lambda path: cut_short(path, 0),
    "lost": Path.unlink,
}
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("last.pt", "a bit flipped"),
        ("best.safetensors", "a bit flipped"),
        ("epochs.jsonl", "a bit flipped"),
        *(pytest.param("last.pt", fault, marks=slow) for fault in FAULTS if fault != "a bit flipped"),
        *(
            pytest.param("best.safetensors", fault, marks=slow)
            for fault in ("a bit flipped near the end", "cut short", "emptied")
        ),
        *(pytest.param("epochs.jsonl", fault, marks=slow) for fault in ("a bit flipped near the end", "cut short", "lost")),
        *(pytest.param("split.json", fault, marks=slow) for fault in ("a bit flipped", "cut short", "emptied")),
        *(pytest.param("config.toml", fault, marks=slow) for fault in ("emptied", "lost")),
    ],
)
def test_a_damaged_file_of_a_run_is_named_and_nothing_is_lost(
    place: Place, interrupted: Path, name: str, fault: str
) -> None:
    FAULTS[fault](interrupted / name)
    before = {path.name: path.read_bytes() for path in interrupted.iterdir() if path.is_file() and path.name != ".lock"}
    ended = place.run(place.train(interrupted, "--resume"))
    assert_said(ended, name)
    assert re.search(r"start again|train again|train in a new|restore|choose|fgbg train writes first", ended.said), (
        "the cure"
    )
    assert {
        path.name: path.read_bytes() for path in interrupted.iterdir() if path.is_file() and path.name != ".lock"
    } == before


@slow
def test_a_setting_that_changed_on_the_disk_is_named(place: Place, interrupted: Path) -> None:
    path = interrupted / "config.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.01", "learning_rate = 0.03"))
    assert_said(place.run(["train", "--resume", "--out", str(interrupted)]), "config.toml has another learning_rate")


@slow
def test_a_lost_model_of_the_last_epoch_is_written_again(place: Place, interrupted: Path, undisturbed: Path) -> None:
    """The state has the weights of the epoch before the kill, which was the best one."""
    (interrupted / "best.safetensors").unlink()
    assert place.run(place.train(interrupted, "--resume")).status == 0
    assert_same_result(interrupted, undisturbed)


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
    assert ended.said.count("is damaged (pixels): decoding its photos anew") == 2 or "No such file" in ended.said
    assert_same_result(interrupted, undisturbed)


@slow
def test_a_damaged_photo_is_named(place: Place, interrupted: Path, tmp_path: Path) -> None:
    own = Place(tmp_path, shutil.copytree(place.data, tmp_path / "discs"))
    photo = own.data / "images" / "disc_00.png"
    Image.open(photo).point(lambda value: value ^ 1).save(photo)
    assert_said(own.run(["train", str(own.data), *own.train(interrupted, "--resume")[2:]]), "discs has changed since")
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
