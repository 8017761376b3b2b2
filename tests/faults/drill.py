"""What all drills share: the real command in its own process, faults that strike at a sure point, and what must hold then.

A command is forked off a server that has the heavy libraries in memory, so that a start costs a second and not ten. Where a
drill is about how processes are started (`torchrun`, a mounted disk) it starts `python -m fgbg` from nothing.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

import fgbg
from fgbg.models.checkpoint import read_header

FLAGS = (
    "--width 4 --size 32 --batch-size 4 --epochs 4 --device cpu --threads 1 --precision fp32 --learning-rate 1e-2 "
    "--no-selfcheck"
).split()
SOURCE = Path(fgbg.__file__).parents[1]
SECONDS = 180  # more than any drill needs on a busy machine

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["fgbg.cli", "fgbg.training.train", "fgbg.judge.charts", "matplotlib.pyplot"])


@dataclass(frozen=True)
class Fault:
    """What happens to a command from within; `kill_at` names a function, `module:name`, and which call of it is the last."""

    kill_at: tuple[str, int] | None = None
    largest_file: int | None = None  # bytes; what a full disk is where nobody may mount one
    clock: Callable[[float], float] | None = None  # what the clock shows, for what it ought to


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its status (negative: the signal that ended it) and all that it printed."""

    status: int
    said: str


@dataclass
class Command:
    """A command at work."""

    process: Any
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        self.process.join(SECONDS)
        said = self.output.read_text(errors="replace")
        assert self.process.exitcode is not None, f"still running after {SECONDS} s: {said}"
        return Ended(self.process.exitcode, said)


@dataclass(frozen=True)
class Place:
    """A data set and a cache of its own, and where commands leave what they print."""

    folder: Path
    data: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def train(self, out: Path, *more: str) -> list[str]:
        return ["train", str(self.data), *FLAGS, "--out", str(out), *more]

    def start(self, argv: list[str], fault: Fault | None = None) -> Command:
        output = self.folder / f"output_{time.monotonic_ns()}"
        process = _server.Process(target=run_command, args=(argv, str(output), str(self.cache), fault or Fault()))
        process.start()
        return Command(process, output)

    def run(self, argv: list[str], fault: Fault | None = None) -> Ended:
        return self.start(argv, fault).wait()

    def environment(self) -> dict[str, str]:
        """For commands that are started from nothing."""
        paths = os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])
        return {**os.environ, "FGBG_CACHE": str(self.cache), "PYTHONPATH": paths}


def run_command(argv: list[str], output: str, cache: str, fault: Fault) -> None:
    """`python -m fgbg`, in a process that was just forked off."""
    os.environ["FGBG_CACHE"] = cache
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server has it ignored
    torch.set_num_threads(1)
    if fault.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest_file, resource.RLIM_INFINITY))
    if fault.clock is not None:
        time.time = _distort(time.time, fault.clock)
    if fault.kill_at is not None:
        _mine(*fault.kill_at)
    from fgbg.cli import main

    sys.exit(main(argv))


def _distort(read: Callable[[], float], clock: Callable[[float], float]) -> Callable[[], float]:
    return lambda: clock(read())


def _mine(name: str, last_call: int) -> None:
    """Replace a function by one that kills this process, as `kill -9` does, when it is called for the n-th time."""
    module, _, attribute = name.partition(":")
    owner = importlib.import_module(module)
    for part in attribute.split(".")[:-1]:
        owner = getattr(owner, part)
    function, calls = getattr(owner, attribute.split(".")[-1]), 0

    def trodden(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(owner, attribute.split(".")[-1], trodden)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS} s for {what}"
        time.sleep(0.01)


def count_epochs(run: Path) -> int:
    record = run / "epochs.jsonl"
    return record.read_bytes().count(b"\n") if record.exists() else 0


def flip_byte(path: Path, at: float = 0.5) -> None:
    """One bit of the byte that is that share of the file from its beginning."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)


def cut_short(path: Path, at: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(at * path.stat().st_size)])


def read_result(run: Path) -> dict[str, Any]:
    """What a training ends with, to the last bit; without what differs from run to run (speeds, process ids, names)."""
    with safe_open(run / "best.safetensors", "pt") as file:
        best = {name: file.get_tensor(name).numpy().tobytes() for name in file.keys()}  # noqa: SIM118 - not a dict
    header = read_header(run / "best.safetensors")
    last = torch.load(run / "last.pt", weights_only=True)
    return {
        "best": best,
        "epoch": header.epoch,
        "threshold": header.threshold,
        "score": header.validation_dice,
        "last": {name: weight.numpy().tobytes() for name, weight in last["network"].items()},
        "moments": [
            {name: value.numpy().tobytes() for name, value in moments.items()}
            for moments in last["optimizer"]["state"].values()
        ],
        "record": [_without_speed(json.loads(line)) for line in (run / "epochs.jsonl").read_text().splitlines()],
        "rows": (run / "scores_validation.csv").read_bytes(),
    }


def _without_speed(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("seconds", "images_per_second", "crc32")}


def assert_same_result(run: Path, undisturbed: Path) -> None:
    """Bit for bit."""
    ours, theirs = read_result(run), read_result(undisturbed)
    assert len(theirs["record"]) > 1
    differing = [name for name in theirs if ours[name] != theirs[name]]
    assert not differing


def assert_said(ended: Ended, *words: str) -> None:
    """It ended as a user's matter does: status 2, one sentence, no traceback."""
    assert ended.status == 2, ended
    assert "Traceback" not in ended.said, ended.said
    sentence = next(line for line in ended.said.splitlines() if line.startswith("fgbg: "))
    for word in words:
        assert word in sentence, sentence


@contextmanager
def ended_by_all_means(command: Command) -> Iterator[Command]:
    """No drill leaves a process behind."""
    try:
        yield command
    finally:
        if command.process.is_alive():
            command.kill()
        command.process.join(SECONDS)
