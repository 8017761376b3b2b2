"""Folders of joint scores: of several runs, or of one whose answers are averaged over views of a photo."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.run import Run
from fgbg.storage import JOINT, holds_nothing, make_folder, write_alone, write_whole


@contextmanager
def open_joint_folder(
    folder: Path, runs: Sequence[Run], about: Mapping[str, Any], model: str, engine: Engine
) -> Iterator[Run]:
    """Context with the folder as a run that has scores and no model; no other process writes into it.

    Its settings are the first run's.

    Args:
        folder: Created if missing.
        runs: The members.
        about: What was done with them; scores of the same runs by other means are not overwritten.
        model: What tables and charts call it.
        engine: Its main process writes.

    Raises:
        UserError: It holds something else, or another process writes to it.
    """
    content = json.dumps({"members": [str(run.folder.resolve()) for run in runs], **about}, indent=1) + "\n"
    if engine.is_main:
        make_folder(folder)
    with write_alone(folder) if engine.is_main else nullcontext():
        if engine.is_main:
            known = folder / JOINT
            if known.exists() and known.read_text(encoding="utf-8") != content:
                raise UserError(f"{folder} holds the scores of other runs: choose another --out")
            if not known.exists() and not holds_nothing(folder, besides=[folder / run.folder.name for run in runs]):
                raise UserError(f"{folder} is not empty: choose another --out")
            write_whole(known, content)
            Run(folder).write_config(replace(runs[0].config, model=model, out=str(folder)))
        engine.wait()
        yield Run(folder)


def tell_member(run: Run, *, epoch: int, threshold: float) -> dict[str, Any]:
    """An entry of a statement's `member_models`, by which `Run.find_stale` sees that a member has another model now."""
    return {"run": str(run.folder.resolve()), "epoch": epoch, "threshold": threshold}
