"""The one way from pixels to probabilities: uint8 pixels in, a probability for every one of them out.

Validation, `evaluate` and `predict` go through `Predictor.answer`, and an export is compared with it before it is written,
so what was scored is what ships.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from fgbg.fit import fit_pixels, unfit_probability
from fgbg.models.tiles import Canvas, make_window, place_tiles
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Fit

CHUNK = 8
"""Photos (or tiles) per forward pass when scoring. Fixed, with the last chunk filled up with black, so that a photo's score
does not depend on how many others there are."""

FEWEST_CHANNELS = 16
"""Input channels from which a strided 1 × 1 convolution's gradient is reliable in `channels_last`."""


def choose_layout(network: nn.Module) -> torch.memory_format:
    """`channels_last`, which is faster, unless oneDNN would then write out of bounds.

    On CPUs the gradient of a strided 1 × 1 convolution with fewer channels than a vector register holds (8 in AVX2, 16 in
    AVX-512) is wrong or crashes the process (oneDNN issue 6035, open in 3.13): a ResNet34_UNet of width 4 has one.
    """
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    is_unsafe = any(
        part.kernel_size == (1, 1) and max(part.stride) > 1 and part.in_channels < FEWEST_CHANNELS for part in convolutions
    )
    return torch.contiguous_format if is_unsafe else torch.channels_last


class Answer(NamedTuple):
    """A model's output for one photo, in fp32."""

    logits_at_size: Float[Tensor, "height_at_size width_at_size"]
    probability: Float[Tensor, "height width"]  # of object, at the photo's own size


class Predictor(nn.Module):
    """A network with everything between the photo's pixels and the network's input, and back.

    Args:
        network: Normalised images (batch, 3, size, size) to logits (batch, 1, size, size).
        size: Edge of the square the network sees, in pixels.
        fit: How a photo becomes that square; with `crop` it is covered by tiles of that size, at its own scale.
        threshold: Probability above which a pixel is object.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        size: int,
        fit: Fit = "squash",
        threshold: float = 0.5,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
    ) -> None:
        super().__init__()
        self.layout = choose_layout(network)
        self.network = network.to(memory_format=self.layout)
        self.size, self.fit, self.threshold = size, fit, threshold
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def forward(self, pixels: UInt8[Tensor, "height width 3"], size: tuple[int, int] | None = None) -> Float[Tensor, "_ _"]:
        """Probability of object for every pixel of one RGB photo, in fp32: the graph that is exported.

        For whole photos, its batch of one is 8 times as fast as `answer`, and differs in the last digits.

        Args:
            pixels: The photo.
            size: Height and width of the output, if the photo was reduced on decode; the photo's own by default.

        Raises:
            RuntimeError: The predictor is in training mode.
        """
        self._require_evaluation_mode()
        if self.fit == "crop":
            probability = self.logits_at_size([pixels])[0].sigmoid()
        else:
            square = fit_pixels(pixels.to(self.device), self.size, self.fit)
            with torch.autocast(self.device.type, enabled=False):
                probability = self.logits(square[None]).sigmoid()[0, 0]
        return self.enlarge(probability, *(size or (pixels.shape[0], pixels.shape[1])))

    def logits(self, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 1 size size"]:
        """Logits of squares in 0..1: what training differentiates."""
        normalised = (image - self.mean) / self.deviation
        return self.network(normalised.contiguous(memory_format=self.layout))

    @torch.inference_mode()
    def logits_at_size(self, photos: Sequence[UInt8[Tensor, "_ _ 3"]], size: int | None = None) -> list[Tensor]:
        """Logits of up to `CHUNK` photos of any sizes, each at the training size, in fp32.

        The training size of whole photos is a square of edge `size`, (size, size); for patches it is the photo's own,
        (height, width).

        Args:
            photos: RGB photos.
            size: Edge of the square or tiles; the predictor's own by default.

        Raises:
            RuntimeError: The predictor is in training mode, where a photo's answer would depend on its neighbours.
        """
        if self.fit == "crop":
            return self._tile(photos, size or self.size)
        return list(self.square_logits(photos, size))

    def _tile(self, photos: Sequence[UInt8[Tensor, "_ _ 3"]], size: int) -> list[Tensor]:
        """Logits of photos at their own sizes, blended from tiles; tiles of small photos share a chunk."""
        window = make_window(size).to(self.device)
        canvases = [Canvas(pixels.shape[0], pixels.shape[1], window) for pixels in photos]
        places = [
            (index, top, left)
            for index, pixels in enumerate(photos)
            for top, left in place_tiles(pixels.shape[0], pixels.shape[1], size)
        ]
        for start in range(0, len(places), CHUNK):
            chunk = places[start : start + CHUNK]
            tiles = [photos[index][top : top + size, left : left + size] for index, top, left in chunk]
            for (index, top, left), logits in zip(chunk, self.square_logits(tiles, size), strict=True):
                canvases[index].add(logits, top, left)
        return [canvas.mean for canvas in canvases]

    @torch.inference_mode()
    def square_logits(
        self, photos: Sequence[UInt8[Tensor, "_ _ 3"]], size: int | None = None
    ) -> Float[Tensor, "photos size size"]:
        """Logits of up to `CHUNK` photos or tiles, fitted to squares of edge `size` (by default its own), in fp32.

        Raises:
            RuntimeError: The predictor is in training mode, where a photo's answer would depend on its neighbours.
        """
        self._require_evaluation_mode()
        size = size or self.size
        squares = torch.zeros(CHUNK, 3, size, size, device=self.device)
        for index, pixels in enumerate(photos):
            squares[index] = fit_pixels(pixels.to(self.device), size, self.fit)
        with torch.autocast(self.device.type, enabled=False):
            return self.logits(squares)[: len(photos), 0]

    @torch.inference_mode()
    def answer(self, photos: Sequence[UInt8[Tensor, "_ _ 3"]], sizes: Sequence[tuple[int, int]]) -> Iterator[Answer]:
        """Up to `CHUNK` photos, one after the other: all scores, and all masks of a run, come from here.

        Args:
            photos: RGB photos, which may have been reduced on decode.
            sizes: Their own heights and widths.
        """
        for logits, (height, width) in zip(self.logits_at_size(photos), sizes, strict=True):
            yield Answer(logits, self.enlarge(logits.sigmoid(), height, width))

    def probability(self, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
        """One photo's probability (height, width), computed as all scores are; `pixels` may be a reduced photo."""
        (answer,) = self.answer([torch.tensor(pixels)], [(height, width)])
        return answer.probability.cpu().numpy()

    def enlarge(self, probability: Float[Tensor, "_ _"], height: int, width: int) -> Tensor:
        """Resize a probability from the training size to the photo's own, (height, width). Enlarge first, threshold last."""
        # Interpolation rounds: with a probability of 1.0000001, log(1 - p) would be NaN.
        return unfit_probability(probability, height, width, self.fit).clamp(0, 1)

    def _require_evaluation_mode(self) -> None:
        if self.training:
            raise RuntimeError("a predictor in training mode cannot score: call eval() first")
