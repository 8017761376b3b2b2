"""A full disk, and one that may not be written to.

A file-size limit (`ulimit -f`) stands for a full disk wherever nobody may mount one: the write fails half way in the same
place, with another number. A real one, a small disk in memory in a mount namespace of its own, is tried where the system
lets a user have one. Likewise read-only: the administrator, which a container's user often is, may write past permission
bits, and so the folder is bound again read-only in such a namespace; elsewhere its bits are taken away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drill import FLAGS, SECONDS, Ended, Fault, Place, assert_said, assert_same_result, count_epochs

pytestmark = pytest.mark.long

CUT_OFF = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*CUT_OFF, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode == 0
    )


def run_mounted(place: Place, script: str) -> Ended:
    """A shell in a mount namespace of its own; `$FGBG` starts the command."""
    ended = subprocess.run(
        [*CUT_OFF, "sh", "-c", script],
        env=place.environment() | {"FGBG": f"{sys.executable} -m fgbg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return Ended(ended.returncode, ended.stdout)


def test_a_state_that_does_not_fit_ends_the_run_and_it_goes_on_with_room(
    place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    state = (undisturbed / "last.pt").stat().st_size
    assert (undisturbed / "best.safetensors").stat().st_size < state // 2
    assert_said(place.run(place.train(out), Fault(largest_file=state // 2)), "last.pt would be larger", "--resume")
    assert count_epochs(out) == 1
    assert not (out / "last.pt").exists(), "no half of one"
    assert not list(out.glob(".*.partial"))
    assert place.run(place.train(out, "--resume")).status == 0
    assert_same_result(out, undisturbed)


@pytest.mark.slow
def test_decoded_photos_that_do_not_fit_are_no_entry(place: Place, undisturbed: Path, tmp_path: Path) -> None:
    own, out = Place(tmp_path, place.data), tmp_path / "run"
    assert_said(own.run(own.train(out), Fault(largest_file=20_000)), str(own.cache / "decoded"), "would be larger")
    assert list((own.cache / "decoded").iterdir()) == []
    assert own.run(own.train(out)).status == 0, "the same command: nothing of it was a run yet"
    assert_same_result(out, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="this system lets nobody mount a disk of their own")
@pytest.mark.parametrize("kilobytes", [8, 400, 900, 1600, 2600])
def test_a_full_disk_is_said_and_the_run_goes_on_with_room(
    place: Place, undisturbed: Path, tmp_path: Path, kilobytes: int
) -> None:
    """Of several sizes, so that it is full at several moments."""
    disk, saved = tmp_path / "disk", tmp_path / "saved"
    disk.mkdir()
    command = " ".join(["$FGBG train", str(place.data), *FLAGS, "--out", f"{disk}/run"])
    ended = run_mounted(
        place,
        f"mount -t tmpfs -o size={kilobytes}k none {disk} && {command}; status=$?; cp -r {disk} {saved}; exit $status",
    )
    assert_said(ended, "no space left while writing")
    run = saved / "run"
    begun = (run / "config.toml").exists()
    ended = place.run(place.train(run, *(["--resume"] if begun else [])))
    assert ended.status == 0, ended.said
    assert_same_result(run, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="this system lets nobody mount a disk of their own")
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_run_on_a_read_only_disk_is_said(place: Place, undisturbed: Path, verb: str) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in undisturbed.rglob("*"))
    arguments = {
        "train": f"train --resume --out {undisturbed} --epochs 5",
        "evaluate": f"evaluate {undisturbed} --device cpu",
    }[verb]
    script = f"mount --bind {undisturbed} {undisturbed} && mount -o remount,bind,ro {undisturbed} && $FGBG {arguments}"
    assert_said(run_mounted(place, script), str(undisturbed), "read-only")
    assert sorted((path, path.stat().st_mtime_ns) for path in undisturbed.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind the administrator; see the drill above")
def test_a_run_that_may_not_be_written_to_is_said(place: Place, interrupted: Path) -> None:
    interrupted.chmod(0o500)
    try:
        assert_said(place.run(place.train(interrupted, "--resume")), str(interrupted), "may not be")
    finally:
        interrupted.chmod(0o700)
