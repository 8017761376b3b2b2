"""UNet with attention gates after Oktay et al. 2018: the decoder's features weight the encoder's skip connections."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fgbg.models.unet import UNet, UpBlock


class AttentionGate(nn.Module):
    """Additive attention: one weight from 0 to 1 for every position of the encoder's features."""

    def __init__(self, gate_channels: int, skip_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(gate_channels, hidden_channels, 1, bias=False), nn.BatchNorm2d(hidden_channels))
        self.skip = nn.Sequential(nn.Conv2d(skip_channels, hidden_channels, 1, bias=False), nn.BatchNorm2d(hidden_channels))
        self.weight = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(hidden_channels, 1, 1), nn.Sigmoid())

    def forward(
        self, gate: Float[Tensor, "batch _ height width"], skip: Float[Tensor, "batch skip_channels height width"]
    ) -> Float[Tensor, "batch skip_channels height width"]:
        """The encoder's features, each position times its weight."""
        return skip * self.weight(self.gate(gate) + self.skip(skip))


class GatedUpBlock(UpBlock):
    """A UNet's up block whose skip connection goes through an attention gate."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, skip_channels, out_channels)
        self.attention = AttentionGate(out_channels, skip_channels, max(1, out_channels // 2))

    def forward(
        self,
        features: Float[Tensor, "batch in_channels height width"],
        skip: Float[Tensor, "batch skip_channels 2*height 2*width"],
    ) -> Float[Tensor, "batch out_channels 2*height 2*width"]:
        """Decoder features at twice the resolution."""
        raised = self.up(features)
        return self.mix(torch.cat((raised, self.attention(raised, skip)), dim=1))


class AttentionUNet(UNet):
    """The lab's UNet with a gate at each of its four skips: 31,388,197 parameters at `width` 64.

    The gating signal is the decoder's features at the skip's own resolution, as in most implementations; in the paper it is
    one level coarser and the weights are upsampled.

    Args:
        width: Channels at full resolution; they double at each level down.
    """

    up_block = GatedUpBlock
