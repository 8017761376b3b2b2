"""Networks by name. A network takes normalised images and returns logits; any size goes in, the same size comes out."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fgbg.errors import unknown_name
from fgbg.models.resnet34_unet import ResNet34_UNet
from fgbg.models.unet import UNet

MODELS: dict[str, Callable[[int], nn.Module]] = {
    "unet": UNet,
    "resnet34_unet": ResNet34_UNet,
}
"""Name -> builder, called with the width. To add a model, write its file and its line here; the tests take it up."""


class StridePadding(nn.Module):
    """Let a network that halves its input several times take any size: pad to its stride, crop the answer."""

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Logits of the image's own size."""
        height, width = image.shape[-2:]
        right, bottom = -width % self.stride, -height % self.stride
        if not (right or bottom):
            return self.network(image)
        # Edge pixels repeated: a black bar would be an outline that no photo has.
        padded = F.pad(image, (0, right, 0, bottom), mode="replicate")
        return self.network(padded)[..., :height, :width]


def build_network(name: str, *, width: int) -> StridePadding:
    """A fresh network, its weights drawn from torch's current random state.

    Raises:
        UserError: No model has that name; the nearest one is offered.
    """
    require_model(name)
    return wrap_network(MODELS[name](width))


def require_model(name: str) -> None:
    """Refuse a name that no model has.

    Raises:
        UserError: The nearest name is offered.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)


def wrap_network(network: nn.Module) -> StridePadding:
    """The network with the padding that its `stride` attribute asks for (none without it); wrapped once only."""
    if isinstance(network, StridePadding):
        return network
    stride = getattr(network, "stride", 1)
    return StridePadding(network, stride if isinstance(stride, int) else 1)  # a layer's own stride is a pair


def count_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
