"""The state from which an interrupted run goes on: weights, optimizer, and how far it was."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fgbg.errors import UserError
from fgbg.storage import replace_when_whole


@dataclass(frozen=True)
class Progress:
    """How far a run is: the last epoch that ended, and the best score until then (-inf before the first)."""

    epoch: int = 0
    best_score: float = float("-inf")


def save_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write `last.pt`. It is replaced only when the new state is whole on the disk."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": progress.epoch,
        "best_score": progress.best_score,
    }
    with replace_when_whole(path) as aside:
        torch.save(state, aside)


def restore_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put network and optimizer back to where `last.pt` has them; a run without one starts at its beginning.

    Raises:
        UserError: The file is damaged or belongs to another network.
    """
    if not path.exists():
        return Progress()
    try:
        # weights_only: tensors and plain values; nothing in the file can run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(state["epoch"], state["best_score"])
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged or of another network ({reason}): start again in a new --out") from None
