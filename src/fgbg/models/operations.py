"""Floating point operations of a forward pass: two per multiplication in convolutions and matrix products."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_forward(network: nn.Module, size: int) -> int:
    """Operations for one image of `size` x `size` pixels, by torch's own counter.

    Norms, activations and resizing are left out, as is usual. Forward only: in backward the counter counts a grouped
    convolution as a full one; take three times forward for a training step. The network loses its weights: it is moved
    to the device `meta`.
    """
    network = network.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops())
