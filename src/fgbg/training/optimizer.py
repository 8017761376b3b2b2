"""How large a step is, for which weights, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from fgbg.errors import UserError

OptimizerName = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine", "one_cycle"]

RISE = 0.3  # share of a one-cycle run in which the learning rate rises
FIRST_RATE = 1 / 25  # of the peak, where one cycle begins
LAST_RATE = FIRST_RATE / 1e4  # of the peak, where it ends; all three as torch.optim.lr_scheduler.OneCycleLR has them


def make_optimizer(
    module: nn.Module,
    network: nn.Module,
    *,
    name: OptimizerName,
    learning_rate: float,
    weight_decay: float,
    encoder_rate: float,
    fused: bool,
) -> torch.optim.Optimizer:
    """Adam or AdamW over the module's parameters.

    Each group of parameters carries its `rate`, a factor on the learning rate; see `set_learning_rate`. Norms and biases
    are not decayed: their size says nothing about how complicated a function is.

    Args:
        module: Whose parameters are trained.
        network: The network in it, whose `encoder` may learn more slowly.
        name: adamw decays weights directly; adam adds the decay to the gradient.
        learning_rate: Of everything outside the encoder.
        weight_decay: 0 switches it off.
        encoder_rate: Factor on the learning rate of the encoder's first block. The factors of its blocks step up evenly, in
            ratio, to 1 at its last: what an encoder brings along is most general where it is nearest to the pixels.
        fused: Update all weights in one call of the device.

    Raises:
        UserError: `encoder_rate` is not 1 and the network has no encoder.
    """
    rates = _rate_encoder(network, encoder_rate) if encoder_rate != 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rates.get(id(parameter), 1.0), decay), []).append(parameter)
    parts: list[dict[str, Any]] = [
        {"params": parameters, "rate": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parts, lr=learning_rate, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Let the next step have this learning rate, each group its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


def rate_at(step: int, steps: int, *, schedule: Schedule, warmup_steps: int = 0) -> float:
    """The learning rate of a step (from 0) of a run of `steps`, as a share of the peak.

    It depends on nothing that came before, so that a resumed run has it too.

    constant: 1. cosine: half a cosine from 1 towards 0. one_cycle: up from 1/25 in the first 30 % and down to nothing, both
    along half cosines (Smith and Topin 2018, as torch's OneCycleLR). Before the first two, `warmup_steps` rise in a straight
    line; one cycle is its own warm-up.

    >>> [round(rate_at(step, 4, schedule="cosine"), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    >>> [rate_at(step, 4, schedule="constant", warmup_steps=2) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    if schedule == "one_cycle":
        peak = RISE * steps - 1
        if step < peak:
            return _bend(FIRST_RATE, 1.0, step / peak)
        return _bend(1.0, LAST_RATE, (step - peak) / (steps - 1 - peak))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    return _bend(1.0, 0.0, (step - warmup_steps) / max(1, steps - warmup_steps))


def _bend(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _rate_encoder(network: nn.Module, first_rate: float) -> dict[int, float]:
    """The factor of each parameter of the encoder, by the parameter's id."""
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise UserError(
            f"--encoder-rate {first_rate:g}: {type(network).__name__} has no part that is an encoder; leave it at 1"
        )
    blocks = list(_find_blocks(encoder))
    last = max(1, len(set(blocks)) - 1)
    order = {block: index for index, block in enumerate(dict.fromkeys(blocks))}
    return {
        id(parameter): first_rate ** (1 - order[block] / last)
        for parameter, block in zip(encoder.parameters(), blocks, strict=True)
    }


def _find_blocks(encoder: nn.Module) -> Iterator[str]:
    """For each parameter the block it belongs to: its name up to the first number, or without its last word.

    `layer1.2.conv1.weight` is of block `layer1.2`, `conv1.weight` of `conv1`. A stem's convolution and its norm are two
    blocks by this rule, which moves a factor by less than a step.
    """
    for name, _ in encoder.named_parameters():
        words = name.split(".")
        number = next((index for index, word in enumerate(words) if word.isdigit()), len(words) - 2)
        yield ".".join(words[: number + 1])
