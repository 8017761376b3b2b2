"""Networks by name. A network takes normalised images and returns logits; any size goes in, the same size comes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fgbg.errors import UserError, unknown_name
from fgbg.models.attention_unet import AttentionUNet
from fgbg.models.resnet34_unet import ResNet34_UNet
from fgbg.models.unet import UNet
from fgbg.models.zoo import LIBRARY, build_library_model, require_encoder
from fgbg.words import DEFAULT_ENCODER

OWN: dict[str, Callable[[int], nn.Module]] = {
    "unet": UNet,
    "attention_unet": AttentionUNet,
    "resnet34_unet": ResNet34_UNet,
}
"""Networks written here. Name -> builder, called with the width."""


def _build_own(build: Callable[[int], nn.Module], width: int, _encoder: str) -> nn.Module:
    return build(width)


MODELS: dict[str, Callable[[int, str], nn.Module]] = {
    **{name: partial(_build_own, build) for name, build in OWN.items()},
    **{name: partial(build_library_model, name) for name in LIBRARY},
}
"""Name -> builder, called with width and encoder. To add a model, write its file and its line in `OWN`, or its row in
`LIBRARY`; the tests then cover it."""


class StridePadding(nn.Module):
    """Let a network that halves its input several times take any size: pad to its stride, crop the answer."""

    def __init__(self, network: nn.Module, stride: int, smallest: int = 1) -> None:
        super().__init__()
        self.network = network
        self.stride, self.smallest = stride, smallest

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Logits of the image's own size."""
        height, width = image.shape[-2:]
        right, bottom = self._missing(width), self._missing(height)
        if not (right or bottom):
            return self.network(image)
        # Edge pixels repeated: a black bar would add an edge that no photo has.
        padded = F.pad(image, (0, right, 0, bottom), mode="replicate")
        return self.network(padded)[..., :height, :width]

    def _missing(self, edge: int) -> int:
        """Pixels missing to a multiple of the stride that is at least `smallest`."""
        # Not max(): inside a loop torch 2.15 exports it as min().
        enough = edge if edge > self.smallest else self.smallest
        return enough - edge + -enough % self.stride


def build_network(name: str, *, width: int, encoder: str = "") -> StridePadding:
    """A fresh network, its weights drawn from torch's current random state.

    Args:
        name: A key of `MODELS`.
        width: 64 is the published size.
        encoder: For models of `LIBRARY`, a timm name; empty for the default one.

    Raises:
        UserError: No model has that name (the message suggests the nearest one), or it has no such encoder.
    """
    require_model(name, encoder=encoder)
    return wrap_network(MODELS[name](width, encoder))


def require_model(name: str, *, encoder: str = "", batch: int = 2) -> None:
    """Refuse an unknown name, an encoder for a model that has its own, and a batch that is too small for the model.

    Args:
        name: Of the model.
        encoder: Asked for; empty for the model's own.
        batch: Images that the network sees at a time in training.

    Raises:
        UserError: It is one of these, or timm has no such encoder.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    if encoder and name not in LIBRARY:
        raise UserError(f"--encoder {encoder}: {name} has its own; encoders go with {', '.join(LIBRARY)}")
    if name in LIBRARY and LIBRARY[name].pools and batch < 2:
        raise UserError(f"{name} needs two images at a time to train: raise --batch-size, or lower --accumulate")
    if name in LIBRARY:
        require_encoder(encoder or DEFAULT_ENCODER)


def describe_model(name: str, *, width: int, encoder: str = "") -> str:
    """The model in a few words.

    >>> describe_model("fpn", width=32)
    'fpn on tf_efficientnet_lite0 (width 32)'
    >>> describe_model("linknet", width=32, encoder="resnet18")
    'linknet on resnet18'
    >>> describe_model("own:MyNetwork", width=64)
    'own:MyNetwork'
    """
    if name not in MODELS:
        return name
    has_width = name not in LIBRARY or LIBRARY[name].channels
    stands_on = name_encoder(name, encoder)
    return f"{name}{f' on {stands_on}' if stands_on else ''}{f' (width {width})' if has_width else ''}"


def name_encoder(name: str, encoder: str) -> str:
    """The encoder that was asked for, or the default one by its name; empty for a model that brings its own."""
    return encoder or (DEFAULT_ENCODER if name in LIBRARY else "")


def wrap_network(network: nn.Module) -> StridePadding:
    """The network with the padding that its attributes ask for; never wrapped twice.

    Edges of its input must be a multiple of `stride` and at least `smallest`; both are 1 by default.
    """
    if isinstance(network, StridePadding):
        return network
    stride, smallest = getattr(network, "stride", 1), getattr(network, "smallest", 1)
    return StridePadding(network, stride if isinstance(stride, int) else 1, smallest)  # a bare layer's stride is a pair


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
