"""Folders of scores that are no training's own: of several runs, of views of a photo, or of masks made elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.run import Run
from fgbg.storage import JOINT, holds_nothing, make_folder, write_alone, write_whole


@contextmanager
def open_joint_folder(
    folder: Path, config: TrainConfig, runs: Sequence[Run], about: Mapping[str, Any], engine: Engine
) -> Iterator[Run]:
    """Context with the folder as a run that has scores and no model; no other process writes into it.

    Args:
        folder: Created if missing.
        config: Its settings; their `model` is what tables and charts call it.
        runs: The members; none where no training is known.
        about: What was done with them; scores of the same runs by other means are not overwritten.
        engine: Its main process writes.

    Raises:
        UserError: It holds something else, or another process writes to it.
    """
    content = {"members": [name_member(run, folder) for run in runs], **about}
    if engine.is_main:
        make_folder(folder)
    with write_alone(folder) if engine.is_main else nullcontext():
        if engine.is_main:
            known = folder / JOINT
            if known.exists() and not _is_same(known, content):
                raise UserError(f"{folder} holds other scores: choose another --out")
            if not known.exists() and not holds_nothing(folder, besides=[folder / run.folder.name for run in runs]):
                raise UserError(f"{folder} is not empty: choose another --out")
            write_whole(known, json.dumps(content, indent=1) + "\n")
            Run(folder).write_config(replace(config, out=str(folder)))
        engine.wait()
        yield Run(folder)


def _is_same(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a folder's file tells of the same members and the same means."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        members = [(path.parent / name).resolve() for name in known.pop("members")]
    except (ValueError, AttributeError, KeyError, TypeError):  # damaged
        return False
    ours = dict(content)
    return members == [(path.parent / name).resolve() for name in ours.pop("members")] and known == ours


def name_member(run: Run, folder: Path) -> str:
    """How a folder of joint scores names a member: from the folder on, so that both may be moved or copied together."""
    return os.path.relpath(run.folder.resolve(), folder.resolve())


def tell_member(run: Run, folder: Path, *, epoch: int, threshold: float) -> dict[str, Any]:
    """An entry of a statement's `member_models`, by which `Run.find_stale` sees that a member has another model now.

    Args:
        run: The member.
        folder: That of the joint scores.
        epoch: Of its model.
        threshold: Of its model.
    """
    return {"run": name_member(run, folder), "epoch": epoch, "threshold": threshold}
