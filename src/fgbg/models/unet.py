"""UNet after Ronneberger et al. 2015, as the lab report builds it: padded convolutions, batch norm, logits out."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DoubleConv(nn.Sequential):
    """Twice: 3×3 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Module):
    """Double the resolution, concatenate the encoder's features of that resolution, convolve."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.mix = DoubleConv(out_channels + skip_channels, out_channels)

    def forward(
        self,
        features: Float[Tensor, "batch in_channels height width"],
        skip: Float[Tensor, "batch skip_channels 2*height 2*width"],
    ) -> Float[Tensor, "batch out_channels 2*height 2*width"]:
        """Decoder features at twice the resolution."""
        return self.mix(torch.cat((self.up(features), skip), dim=1))


class UNet(nn.Module):
    """Four levels down, four up. 31,037,633 parameters at the lab's `width` of 64.

    Args:
        width: Channels at full resolution; they double at each level down.
    """

    stride = 16  # input edges must be multiples of it
    up_block: type[UpBlock] = UpBlock  # the block of each decoder level

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        inputs = [3, *widths[:-1]]
        self.down = nn.ModuleList(DoubleConv(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottom = DoubleConv(8 * width, 16 * width)
        self.up = nn.ModuleList(self.up_block(2 * channels, channels, channels) for channels in reversed(widths))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Logits, one per pixel."""
        features, skips = image, []
        for block in self.down:
            features = block(features)
            skips.append(features)
            features = self.pool(features)
        features = self.bottom(features)
        for block in self.up:
            features = block(features, skips.pop())
        return self.head(features)
