"""Freed memory goes back to the system, after large photos and while a server is at rest; only a training keeps it."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fgbg.ship.serve import limits
from fgbg.ship.serve.limits import Workshop

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")

MEASURE = """
import re, sys
def resident():
    with open("/proc/self/status", encoding="utf-8") as file:
        return int(re.findall(r"VmRSS:\\s+(\\d+) kB", file.read())[0]) / 1000
"""


def run_alone(code: str, *arguments: str) -> str:
    """What a fresh process prints: another's memory has a history."""
    command = [sys.executable, "-c", MEASURE + code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@needs_glibc
def test_gives_back_what_lies_below_memory_still_in_use() -> None:
    told = run_alone(
        "from fgbg.memory import give_back_memory\n"
        "blocks = [bytes(50_000) for _ in range(4000)]\n"
        "full = resident()\n"
        "blocks = blocks[-1:]\n"  # it lies on top, so that nothing below goes back by itself
        "kept = resident()\n"
        "give_back_memory()\n"
        "print(full - kept, kept - resident())\n"
    )
    by_itself, given_back = map(float, told.split())
    assert by_itself < 20
    assert given_back > 180  # of 200 MB


@pytest.mark.long
@needs_glibc
def test_nothing_stays_of_a_large_photo_but_what_the_model_is_shown(tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    Image.new("RGB", (8000, 6000)).save(photo)  # 144 MB decoded, 36 as a model is shown it
    told = run_alone(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from fgbg.ship.photo import open_photo\n"
        "threads = ThreadPoolExecutor(1)\n"
        "threads.submit(open_photo, sys.argv[1]).result()\n"
        "before = resident()\n"
        "photo = threads.submit(open_photo, sys.argv[1]).result()\n"
        "print(photo.pixels.nbytes / 1e6, resident() - before)\n",
        str(photo),
    )
    shown, taken = map(float, told.split())
    assert taken < shown + 20


@pytest.mark.long
@needs_glibc
def test_a_training_asks_for_its_memory_once() -> None:
    told = run_alone(
        "import resource\n"
        "from fgbg.memory import keeping_memory\n"
        "def take_steps():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(3):\n"
        "        tensors = [bytearray(b'1') * 100_000_000 for _ in range(12)]\n"  # 24,400 pages each, more than 1 GB in all
        "        del tensors\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "before = resident()\n"
        "outside = take_steps()\n"
        "with keeping_memory():\n"
        "    take_steps()\n"
        "    within = take_steps()\n"
        "    kept = resident() - before\n"
        "print(outside, within, kept, resident() - before, take_steps())\n"
    )
    outside, within, kept, left, after = map(float, told.split())
    assert outside > 36 * 20_000
    assert within < 1000
    assert kept > 1160  # of 1200 million bytes, 1172 thousand kB
    assert left < 10
    assert after > 36 * 20_000  # as if nothing had been


@needs_glibc
def test_what_a_failed_training_kept_goes_back_too() -> None:
    told = run_alone(
        "from fgbg.memory import keeping_memory\n"
        "before = resident()\n"
        "try:\n"
        "    with keeping_memory():\n"
        "        bytearray(b'1') * 100_000_000\n"
        "        kept = resident() - before\n"
        "        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n"
        "    print(kept, resident() - before)\n"
    )
    kept, left = map(float, told.split())
    assert kept > 90
    assert left < 10


def test_a_server_gives_back_once_for_all_work_of_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(limits, "give_back_memory", lambda: given.append("back"))
    monkeypatch.setattr(limits, "TIDY_AFTER", 0.2)

    async def work_and_rest() -> list[int]:
        workshop = Workshop(2)
        after = []
        for _ in range(2):
            await asyncio.gather(*(workshop.run(int, number) for number in range(20)))
            after.append(len(given))
            await asyncio.sleep(0.5)
            after.append(len(given))
        return after

    assert asyncio.run(work_and_rest()) == [0, 1, 1, 2]


def test_a_server_gives_back_after_work_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(limits, "give_back_memory", lambda: given.append("back"))
    monkeypatch.setattr(limits, "TIDY_AFTER", 0.0)

    async def fail_and_rest() -> None:
        with pytest.raises(ValueError, match="no number"):
            await Workshop(1).run(int, "no number")
        await asyncio.sleep(0.1)

    asyncio.run(fail_and_rest())
    assert given == ["back"]
