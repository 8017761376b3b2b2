"""One data set, one undisturbed run and one that was killed, for all drills."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from discs import write_discs
from drill import Fault, Place, count_epochs


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("drills")
    return Place(folder, write_discs(folder))


@pytest.fixture(scope="session")
def undisturbed(place: Place) -> Path:
    """The run that every other one must equal."""
    out = place.folder / "undisturbed"
    ended = place.run(place.train(out))
    assert ended.status == 0, ended.said
    return out


@pytest.fixture(scope="session")
def killed(place: Place, undisturbed: Path) -> Path:
    """A run that `kill -9` ended in its third epoch of four. Not to be touched: `interrupted` is a copy."""
    out = place.folder / "killed"
    ended = place.run(place.train(out), Fault(kill_at=("fgbg.training.loop:take_step", 8)))
    assert ended.status == -signal.SIGKILL, ended.said
    assert count_epochs(out) == 2
    return out


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed, tmp_path / "run")
