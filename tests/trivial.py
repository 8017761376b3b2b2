"""Networks whose answer can be worked out by hand, and photos to show them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jaxtyping
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.model_file import ModelHeader
from fgbg.models import StridePadding, build_network
from fgbg.models.predictor import Predictor

torch.set_num_threads(1)


class FirstChannel(nn.Module):
    """Logits are the normalised red channel: shows what a predictor feeds its network."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


class RedNetwork(nn.Module):
    """Object is where red is above one half of its range; sure of it (with mean 0 and deviation 1)."""

    def forward(self, image: Tensor) -> Tensor:
        return 1000 * (image[:, :1] - 0.5)


class Recorder(nn.Module):
    """Keeps the last input and answers with its red channel."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.seen = torch.empty(0)

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return image[:, :1]


def red_predictor(size: int = 4, **changes: Any) -> Predictor:
    """Finds red."""
    return Predictor(RedNetwork(), size=size, mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0), **changes).eval()


def make_header(**changes: Any) -> ModelHeader:
    """Of a model that finds red in squares of 4 pixels."""
    header = ModelHeader(
        network="red",
        width=1,
        size=4,
        fit="squash",
        threshold=0.5,
        border="foreground",
        data="drawn on the spot",
        data_fingerprint="0123456789ab",
        epoch=3,
        validation_dice=0.875,
        fgbg_version="0.1.0",
        mean=(0.0, 0.0, 0.0),
        deviation=(1.0, 1.0, 1.0),
    )
    return replace(header, **changes)


def make_network(name: str, width: int = 3, *, size: int = 32, seed: int = 0) -> StridePadding:
    """A network of MODELS with random weights whose probabilities cover 0 to 1, as a trained one's do; ready to score."""
    torch.manual_seed(seed)
    network, image = build_network(name, width=width), torch.randn(8, 3, size, size)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch that follows
    with torch.no_grad():
        network.train()(image)
        logits = network.eval()(image)
        head = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
        assert head.bias is not None
        gain = 3 / logits.std()
        head.bias.copy_(gain * (head.bias - logits.mean()))
        head.weight.mul_(gain)
    return network


def draw(*rows: str) -> NDArray[np.bool_]:
    """A mask from text, true at `#`.

    >>> draw("#.", "..").tolist()
    [[True, False], [False, False]]
    """
    return np.array([[mark == "#" for mark in row] for row in rows])


def paint(red: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A photo that is red where asked, and teal elsewhere."""
    return np.where(red[:, :, None], np.array([255, 40, 60]), np.array([0, 90, 80])).astype(np.uint8)


def make_noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A photo of random colours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_set(*pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]], **about: Any) -> SampleSet:
    """Test samples `photo_0`, `photo_1`, … of photos and stored masks."""
    samples = [Sample(f"photo_{index}", image, mask, split="test") for index, (image, mask) in enumerate(pairs)]
    return understand_samples("drawn", samples, **about)


@contextmanager
def unchecked() -> Iterator[None]:
    """Call the package as users do: without the types being checked on the way in."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
