"""The state from which an interrupted run resumes: weights, optimizer, and progress."""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fgbg.errors import UserError, first_line
from fgbg.storage import replace_when_whole
from fgbg.training.loop import Learner


@dataclass(frozen=True)
class Progress:
    """How far a run has got: the last finished epoch, and the best score so far (-inf before the first)."""

    epoch: int = 0
    best_score: float = float("-inf")
    settings: Mapping[str, Any] = field(default_factory=dict)  # by name, as trained with so far
    own_parts: tuple[str, ...] | None = None  # `OwnParts.of_training`; None where an earlier version wrote the state


def collect_state(learner: Learner, progress: Progress) -> dict[str, Any]:
    """What `last.pt` holds. The tensors are those that training goes on to change."""
    return {
        "network": learner.predictor.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "average": learner.average.state_dict() if learner.average else None,
        "epoch": progress.epoch,
        "best_score": progress.best_score,
        "settings": dict(progress.settings),
        "own_parts": progress.own_parts,
    }


def copy_to_memory(values: Any, earlier: Any = None) -> Any:
    """Nested dictionaries and lists of tensors, copied to the processor's memory.

    From a GPU the copies are complete once its work is waited for: waiting for each would take longer than copying.

    Args:
        values: The dictionaries and lists; what is no tensor is kept as it is.
        earlier: What an earlier call returned: its tensors are written over where they fit.
    """
    if isinstance(values, torch.Tensor):
        fits = isinstance(earlier, torch.Tensor) and (earlier.shape, earlier.dtype) == (values.shape, values.dtype)
        kept = earlier if fits else torch.empty_like(values, device="cpu", pin_memory=values.is_cuda)
        return kept.copy_(values.detach(), non_blocking=values.is_cuda)
    if isinstance(values, dict):
        copied = copy.copy(values)  # an OrderedDict of weights has attributes, such as the versions of its layers
        by_name = earlier if isinstance(earlier, dict) else {}
        for name, value in values.items():
            copied[name] = copy_to_memory(value, by_name.get(name))
        return copied
    if isinstance(values, list):
        before = earlier if isinstance(earlier, list) and len(earlier) == len(values) else [None] * len(values)
        return [copy_to_memory(value, known) for value, known in zip(values, before, strict=True)]
    return values


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write `last.pt`. It is replaced only once the new state is complete on disk."""
    with replace_when_whole(path) as aside:
        torch.save(dict(state), aside)  # by name: into an open file torch writes through Python, and holds its lock


def restore_state(path: Path, learner: Learner) -> Progress:
    """Restore network, optimizer and average from `last.pt`; a run without one starts from the beginning.

    Raises:
        UserError: The file is damaged or belongs to another network.
    """
    if not path.exists():
        return Progress()
    _require_intact(path)
    try:
        # weights_only: tensors and plain values; nothing in the file can run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
        learner.predictor.network.load_state_dict(state["network"])
        learner.optimizer.load_state_dict(state["optimizer"])
        if learner.average:
            learner.average.load_state_dict(state["average"])
        return Progress(state["epoch"], state["best_score"], state.get("settings", {}), state.get("own_parts"))
    except (RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is damaged or of another network ({first_line(error)}): start again in a new --out"
        ) from None


def _require_intact(path: Path) -> None:
    """Verify the file's checksums, which torch writes but does not check when it loads.

    Raises:
        UserError: A part of it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # on damaged bytes zipfile may raise anything
        damaged = str(error)
    if damaged:
        raise UserError(f"{path} is damaged ({damaged}): start again in a new --out")
