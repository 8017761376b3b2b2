"""Decoding the photos: killed in the middle, done by two runs at once, removed while nobody looks."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from drill import Fault, Place, assert_same_result


def entries(place: Place) -> list[str]:
    return sorted(path.name for path in (place.cache / "decoded").iterdir())


@pytest.mark.slow  # tests/test_cache.py has what a kill leaves in every test run
def test_a_kill_while_photos_are_decoded_leaves_nothing_that_is_taken_for_them(
    place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    own, out = Place(tmp_path, place.data), tmp_path / "run"
    ended = own.run(own.train(out), Fault(kill_at=("fgbg.data.cache:fit_pixels", 5)))
    assert ended.status == -signal.SIGKILL, ended.said
    (half,) = entries(own)
    assert half.endswith(".partial")
    ended = own.run(own.train(out))
    assert ended.status == 0, ended.said
    assert "damaged" not in ended.said
    assert entries(own) == entries(place), "the leftover has gone, too"
    assert_same_result(out, undisturbed)


@pytest.mark.slow
def test_two_runs_that_decode_at_once_share_the_work(place: Place, undisturbed: Path, tmp_path: Path) -> None:
    own = Place(tmp_path, place.data)
    commands = [own.start(own.train(tmp_path / name)) for name in ("first", "second")]
    for command in commands:
        ended = command.wait()
        assert ended.status == 0, ended.said
    assert entries(own) == entries(place)
    for name in ("first", "second"):
        assert_same_result(tmp_path / name, undisturbed)


@pytest.mark.slow
def test_a_cache_that_was_removed_is_made_again(place: Place, interrupted: Path, undisturbed: Path, tmp_path: Path) -> None:
    own = Place(tmp_path, place.data)
    shutil.copytree(place.cache, own.cache)
    assert own.run(["check", "--clear-cache"]).status == 0
    assert list(own.cache.iterdir()) == []
    assert own.run(own.train(interrupted, "--resume")).status == 0
    assert_same_result(interrupted, undisturbed)
