"""A run of two processes, as torchrun starts them, that loses one of them, or torchrun itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from drill import SECONDS, Ended, Place, assert_said, assert_same_result, count_epochs, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes by /proc"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fgbg"]
EPOCHS = ["--epochs", "30"]


@dataclass(frozen=True)
class Ranks:
    """torchrun and its two processes at work."""

    launcher: subprocess.Popen[bytes]
    output: Path
    known: dict[int, int]  # process id by rank

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait(self) -> Ended:
        return Ended(self.launcher.wait(SECONDS), self.said)

    def find(self) -> dict[int, int]:
        """Asks the system once which process is which rank."""
        for child in _children(self.launcher.pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                self.known.update({int(value[5:]): child for value in variables if value.startswith(b"RANK=")})
        return self.known


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def start(place: Place, argv: list[str]) -> Iterator[Ranks]:
    output = place.folder / f"output_{time.monotonic_ns()}"
    with output.open("wb") as file:
        launcher = subprocess.Popen([*TORCHRUN, *argv], env=place.environment(), stdout=file, stderr=subprocess.STDOUT)
    ranks = Ranks(launcher, output, {})
    try:
        yield ranks
    finally:
        for pid in (*ranks.known.values(), launcher.pid):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        launcher.wait(SECONDS)


@pytest.fixture(scope="module")
def undisturbed_pair(place: Place) -> Path:
    out = place.folder / "pair"
    with start(place, place.train(out, *EPOCHS)) as ranks:
        ended = ranks.wait()
    assert ended.status == 0, ended.said
    return out


def resume(place: Place, out: Path) -> None:
    with start(place, place.train(out, *EPOCHS, "--resume")) as ranks:
        ended = ranks.wait()
    assert ended.status == 0, ended.said


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_run_which_goes_on(
    place: Place, undisturbed_pair: Path, tmp_path: Path, rank: int
) -> None:
    out = tmp_path / "run"
    with start(place, place.train(out, *EPOCHS)) as ranks:
        wait_for(lambda: count_epochs(out) >= 2, "two epochs")
        pids = ranks.find()
        assert set(pids) == {0, 1}
        os.kill(pids[rank], signal.SIGKILL)
        begin = time.monotonic()
        ended = ranks.wait()
        assert time.monotonic() - begin < 60
        assert not any(is_alive(pid) for pid in pids.values())
    assert ended.status != 0
    if rank == 1:
        assert f"go on with: fgbg train --resume --out {out}" in ended.said, ended.said
    assert count_epochs(out) < 30
    resume(place, out)
    assert_same_result(out, undisturbed_pair)


def test_ranks_without_their_launcher_do_not_write_beside_a_second_start(
    place: Place, undisturbed_pair: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with start(place, place.train(out, *EPOCHS)) as ranks:
        wait_for(lambda: count_epochs(out) >= 2, "two epochs")
        pids = ranks.find()
        os.kill(pids[0], signal.SIGSTOP)  # so that it is sure to be there when the second start comes
        ranks.launcher.kill()
        ranks.launcher.wait()
        assert all(map(is_alive, pids.values()))
        assert_said(place.run(place.train(out, *EPOCHS, "--resume")), f"written to by another fgbg (process {pids[0]})")
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
    resume(place, out)
    assert_same_result(out, undisturbed_pair)


def test_ranks_whose_launcher_died_end_by_themselves(place: Place, undisturbed_pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with start(place, place.train(out, "--epochs", "2000")) as ranks:
        wait_for(lambda: count_epochs(out) >= 2, "two epochs")
        pids = ranks.find()
        ranks.launcher.kill()
        ranks.launcher.wait()
        wait_for(lambda: not any(map(is_alive, pids.values())), "the ranks to end")
        assert count_epochs(out) < 2000
        assert f"go on with: fgbg train --resume --out {out}" in ranks.said
