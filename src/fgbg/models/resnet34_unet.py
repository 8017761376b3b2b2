"""ResNet34_UNet as the lab report builds it: a ResNet-34 (He et al. 2016) as encoder, a UNet's decoder, logits out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from fgbg.models.unet import DoubleConv, UpBlock


class BasicBlock(nn.Module):
    """Residual block of two 3×3 convolutions; a 1×1 convolution projects the input where shapes differ."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Features at the block's stride."""
        kept = features if self.downsample is None else self.downsample(features)
        changed = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(changed)) + kept)


def _stack(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


class ResNet34Encoder(nn.Module):
    """ResNet-34 without its classifier. Parameter names are torchvision's, so that its weights load unchanged."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stack(width, width, blocks=3, stride=1)
        self.layer2 = _stack(width, 2 * width, blocks=4, stride=2)
        self.layer3 = _stack(2 * width, 4 * width, blocks=6, stride=2)
        self.layer4 = _stack(4 * width, 8 * width, blocks=3, stride=2)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's resolution."""
        stem = self.relu(self.bn1(self.conv1(image)))
        first = self.layer1(self.maxpool(stem))
        second = self.layer2(first)
        third = self.layer3(second)
        return [stem, first, second, third, self.layer4(third)]


class ResNet34_UNet(nn.Module):
    """29,162,049 parameters at the lab's `width` of 64, of which the encoder has 21,284,672.

    Args:
        width: Channels after the stem; they double at each of the last three stages.
    """

    stride = 32  # input edges must be multiples of it

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder = ResNet34Encoder(width)
        self.bottom = DoubleConv(8 * width, 8 * width)
        self.up = nn.ModuleList(
            [
                UpBlock(8 * width, 4 * width, 4 * width),
                UpBlock(4 * width, 2 * width, 2 * width),
                UpBlock(2 * width, width, width),
                UpBlock(width, width, width),
            ]
        )
        self.head = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Logits, one per pixel."""
        *skips, features = self.encoder(image)
        features = self.bottom(features)
        for block in self.up:
            features = block(features, skips.pop())
        return self.head(features)
