"""A running average of the weights, which is validated and saved in their place (EMA; Polyak and Juditsky 1992)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class RunningAverage(AveragedModel):
    """A running average of a module: call its `update_parameters(module)` after each step.

    With step t + 1 the average keeps min(decay, (1 + t) / (10 + t)) of itself, so that the first weights are soon forgotten.
    Batch norm's running statistics are averaged like weights.

    Args:
        module: The module that is trained.
        decay: 0.99 averages over about 100 steps.
    """

    n_averaged: Tensor  # steps so far; in the processor's memory, so that reading it waits for no GPU

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, multi_avg_fn=self._follow, use_buffers=True)
        self.decay = decay

    def _follow(self, averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        count = int(self.n_averaged)  # `steps` is the same on the device
        get_ema_multi_avg_fn(min(self.decay, (1 + count) / (10 + count)))(averaged, current, steps)
