"""Replays the kernels of a batch on a GPU instead of launching them one by one.

For small images a processor takes longer to launch a step's two thousand kernels than a large GPU takes to run them. A CUDA
graph launches them at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fgbg.data.mix import Mixture
from fgbg.errors import UserError, first_line

Compute = Callable[[Mixture], Float[Tensor, " values"]]
"""Computes some values of a batch, and sets the `grad` of each weight."""

MOST_OF_MEMORY = 0.25
"""Share of the GPU's memory up to which a batch is recorded: a recording keeps its memory, and a batch that needs more than
that keeps the GPU busy anyway."""


class Recorder:
    """A `Compute` on a CUDA GPU. The first batch of each shape is computed, the second recorded, all others are replayed.

    A replay runs the same kernels on the same weights, so its results are those of `compute` to the bit, where those are
    repeatable at all. What `compute` does in Python is not repeated: it may depend on nothing but the batch, the weights and
    torch's random numbers.

    Args:
        compute: What is recorded. One that waits for the GPU cannot be, and is called for every batch.
        weights: What it computes gradients of.
    """

    def __init__(self, compute: Compute, weights: Sequence[nn.Parameter]) -> None:
        self.compute, self.weights = compute, weights
        self._is_recordable: dict[_Form, bool] = {}
        self._recordings: dict[_Form, _Recording] = {}

    def __call__(self, mixture: Mixture) -> Float[Tensor, " values"]:
        """The values, valid until the next call; the weights have their gradients.

        Raises:
            UserError: The batch could not be recorded.
        """
        form = (mixture.image.shape, mixture.second is None)
        if form in self._recordings:
            return self._recordings[form].replay(mixture)
        if any(shape != mixture.image.shape for shape, _ in self._is_recordable):  # the images have grown
            self._is_recordable.clear()
            self._recordings.clear()
        if form not in self._is_recordable:
            values, self._is_recordable[form] = self._compute_first(mixture)
            return values
        if not self._is_recordable[form]:
            return self.compute(mixture)
        self._recordings[form] = _Recording(self.compute, self.weights, mixture)
        return self._recordings[form].replay(mixture)

    def _compute_first(self, mixture: Mixture) -> tuple[Float[Tensor, " values"], bool]:
        """The values, and whether their computation can be recorded: after a failed recording the GPU cannot go on."""
        device = mixture.image.device
        torch.cuda.reset_peak_memory_stats(device)
        resident = torch.cuda.memory_allocated(device)  # photos, weights, the optimizer's state
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                torch.cuda.set_sync_debug_mode("warn")
                values = self.compute(mixture)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = any("called a synchronizing" in str(warning.message) for warning in told)
        memory = torch.cuda.get_device_properties(device).total_memory
        needed = torch.cuda.max_memory_allocated(device) - resident
        return values, not waits and needed <= MOST_OF_MEMORY * memory


_Form = tuple[torch.Size, bool]
"""What a recording is made for: the shape of the images, and whether they have one target."""


class _Recording:
    """The kernels of one call of `compute`, with the memory that they work in."""

    def __init__(self, compute: Compute, weights: Sequence[nn.Parameter], mixture: Mixture) -> None:
        self.weights = weights
        self.shares = (mixture.image.new_ones(()), mixture.image.new_zeros(()))
        second = None if mixture.second is None else mixture.second.clone()
        self.mixture = Mixture(mixture.image.clone(), mixture.target.clone(), second, self.shares)
        for weight in weights:
            weight.grad = None  # gradients that are there would be added to
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(mixture.image.device)  # torch's own is of the GPU that was current at the first recording
        try:
            # Other threads may go on with what they do on the GPU.
            with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                self.values = compute(self.mixture)
        except RuntimeError as error:
            raise UserError(
                f"the GPU could not record a training step ({first_line(error)}): train with --no-cuda-graphs"
            ) from error
        self.gradients = [weight.grad for weight in weights]

    def replay(self, mixture: Mixture) -> Float[Tensor, " values"]:
        """The values of this batch, valid until the next replay; the weights have their gradients."""
        self.mixture.image.copy_(mixture.image)
        self.mixture.target.copy_(mixture.target)
        if self.mixture.second is not None and mixture.second is not None:
            self.mixture.second.copy_(mixture.second)
            for kept, share in zip(self.shares, mixture.shares, strict=True):
                kept.fill_(share)
        self.graph.replay()
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient
        return self.values
