"""From DATA to a model: one training, and a search for better settings."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tyro.conf import UseAppendAction

from fgbg.cli.verb import is_main, parse, require_extra
from fgbg.config import TrainConfig
from fgbg.config_file import read_config, read_preset
from fgbg.config_rules import EVERY_FOLD
from fgbg.storage import list_folds


@dataclass(frozen=True)
class TrainArguments(TrainConfig):
    """Train a network on DATA and keep everything in a run folder."""

    config: str = ""
    """A TOML file of these settings; flags override it."""
    preset: str = ""
    """Settings that ship with fgbg: lab, fast (a laptop, ten minutes), best. --config and flags override them."""
    resume: bool = False
    """Continue the run in --out. More --epochs extend it."""


def train_verb(argv: Sequence[str]) -> int:
    """Train, and print the next command."""
    require_extra("train", argv)
    arguments = parse(TrainArguments, argv, default=read_defaults(argv, TrainArguments))
    from fgbg.training.folds import train_folds
    from fgbg.training.train import train

    # Like Ctrl-C: a scheduler wants the machine back, or torchrun stops the other processes after one has died.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = TrainConfig(**_settings(arguments))
    if config.folds and config.fold == EVERY_FOLD:
        runs = train_folds(config, resume=arguments.resume, say=print if is_main() else lambda _: None)
        if is_main():
            print(f"score them: fgbg evaluate {runs[0].folder.parent}")
        return 0
    run = train(config, resume=arguments.resume)
    if is_main():
        print(
            f"{run.folder}: best.safetensors, performance.xlsx, charts/\nscore it: fgbg evaluate {run.folder} --split test"
        )
    return 0


@dataclass(frozen=True)
class SweepArguments(TrainConfig):
    """Search for better settings on DATA: many trainings, judged by validation photos, never by test photos.

    Trial 0 has the settings as given. The same command continues a search that was interrupted.
    """

    out: str = ""
    """The folder of the search: its database, a run folder per trial, sweep.html, best.toml."""
    over: UseAppendAction[tuple[str, ...]] = ()
    """NAME=SPEC, once for each setting to search: learning_rate=1e-4..1e-2:log, width=16..64:16, augment.hue=0..0.3, or
    loss=bce_dice,focal_dice."""
    space: str = ""
    """The same as a TOML file: learning_rate = "1e-4..1e-2:log", loss = ["bce_dice", "focal_dice"]. --over overrides it."""
    trials: int = 20
    """Total number of trials in the folder, including the baseline; a larger number extends a search."""
    hours: float = 0.0
    """Stop after this many hours, at the end of an epoch; 0 for no limit."""
    config: str = ""
    """A TOML file of settings, as in training; flags override it."""
    preset: str = ""
    """Settings that ship with fgbg, as in training. --config and flags override them."""
    json: bool = False
    """Print the result as JSON, and the progress to stderr."""


def sweep_verb(argv: Sequence[str]) -> int:
    """Search for better settings."""
    require_extra("train", argv)
    require_extra("sweep", argv)
    arguments = parse(SweepArguments, argv, default=read_defaults(argv, SweepArguments))
    from fgbg.search.space import read_over
    from fgbg.search.sweep import sweep

    stream = sys.stderr if arguments.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=stream, flush=True)

    over = read_over(arguments.over, arguments.space)
    config = TrainConfig(**_settings(arguments))
    found = sweep(config, over, trials=arguments.trials, hours=arguments.hours, say=say)
    print(json.dumps(found.to_json(), indent=2) if arguments.json else found.describe())
    return 0


def read_defaults(argv: Sequence[str], kind: type[TrainConfig]) -> TrainConfig:
    """The settings that flags override: the run to resume, or a preset and a file. Read before the flags are parsed."""
    peeked = {name: _peek(argv, name) for name in ("--preset", "--config", "--out", "--init")}
    base = TrainConfig()
    if kind is TrainArguments and "--resume" in argv and peeked["--out"]:
        base = _read_begun(Path(peeked["--out"]))
    if peeked["--preset"]:
        base = read_preset(peeked["--preset"])
    if peeked["--config"]:
        base = read_config(Path(peeked["--config"]), base)
    fields = _settings(base)
    init = peeked["--init"] or ("" if "--resume" in argv else base.init)
    if init:
        require_extra("train")
        from fgbg.training.initial_weights import inherit_network

        # A preset or file that asks for another network stays as it is, and is refused later.
        fields |= {
            name: value for name, value in inherit_network(init).items() if fields[name] == getattr(TrainConfig(), name)
        }
    return kind(**fields)


def _read_begun(out: Path) -> TrainConfig:
    """The settings of the run in a folder, or of the cross-validation whose runs are in it."""
    from fgbg.run import open_run

    folds = list_folds(out)
    if folds:
        return dataclasses.replace(open_run(folds[0]).config, fold=EVERY_FOLD, out=str(out))
    return open_run(out).config


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Settings of a training by name, without what a verb adds to them."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(TrainConfig)}


def _peek(argv: Sequence[str], flag: str) -> str:
    """The value of one flag, as `--flag value` or `--flag=value`, the last if it is given twice; empty without it."""
    value = ""
    for word, following in pairwise([*argv, ""]):
        if word == flag:
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value
