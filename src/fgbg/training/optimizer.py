"""The optimizer, and the step size of each weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from fgbg.errors import UserError
from fgbg.words import OptimizerName


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
    are not decayed: their size says nothing about the complexity of the function.

    Args:
        module: The module whose parameters are trained.
        network: The network in it, whose `encoder` may learn more slowly.
        name: adamw decays weights directly; adam adds the decay to the gradient.
        learning_rate: Of everything outside the encoder.
        weight_decay: 0 switches it off.
        encoder_rate: Factor on the learning rate of the encoder's first block. The factors grow geometrically from block to
            block, to 1 at the last: pretrained features are most general near the pixels.
        fused: Use the optimizer's fused kernel.

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
    """Set the learning rate of the next step, scaled by each group's `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


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
    """The block of each parameter: its name up to the first number, or without its last word.

    `layer1.2.conv1.weight` belongs to block `layer1.2`, `conv1.weight` to `conv1`. By this rule a stem's convolution and
    its norm are two blocks, which shifts a factor by less than a step.
    """
    for name, _ in encoder.named_parameters():
        words = name.split(".")
        number = next((index for index, word in enumerate(words) if word.isdigit()), len(words) - 2)
        yield ".".join(words[: number + 1])
