"""Architectures of segmentation_models_pytorch, on any encoder of timm: one row each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from fgbg.errors import UserError, first_line
from fgbg.words import DEFAULT_ENCODER, PUBLISHED_WIDTH


@dataclass(frozen=True)
class Architecture:
    """How an architecture is built.

    Attributes:
        build: The class in segmentation_models_pytorch.
        channels: Its arguments for the decoder's channel counts, as published. `width` scales them. Without any, the
            decoder is as wide as its encoder.
        options: Its other arguments, where the library's defaults differ from the publication.
        multiple: What the channels must be a multiple of.
        pools: Whether a batch norm sees one value per image, so that training needs two images.
        smallest: Edge in pixels below which too little is left at its deepest level.
    """

    build: str
    channels: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, int] = field(default_factory=dict)
    multiple: int = 8
    pools: bool = False
    smallest: int = 1


UNET_CHANNELS = (256, 128, 64, 32, 16)

LIBRARY: dict[str, Architecture] = {
    "timm_unet": Architecture("Unet", {"decoder_channels": UNET_CHANNELS}),
    "unetplusplus": Architecture("UnetPlusPlus", {"decoder_channels": UNET_CHANNELS}),
    "manet": Architecture("MAnet", {"decoder_channels": UNET_CHANNELS, "decoder_pab_channels": 64}),
    "linknet": Architecture("Linknet"),
    # Its group norm has 32 groups, none of which may be a single value.
    "fpn": Architecture(
        "FPN", {"decoder_pyramid_channels": 256, "decoder_segmentation_channels": 128}, multiple=32, smallest=64
    ),
    # As published: all stages of the encoder, dilated to 1/8. The library's default cuts the encoder off after the third.
    "pspnet": Architecture("PSPNet", {"psp_out_channels": 512}, options={"encoder_depth": 5, "output_stride": 8}),
    "pan": Architecture("PAN", {"decoder_channels": 32}, pools=True, smallest=128),
    "deeplabv3": Architecture("DeepLabV3", {"decoder_channels": 256}, pools=True),
    "deeplabv3plus": Architecture("DeepLabV3Plus", {"decoder_channels": 256}, pools=True),
    "upernet": Architecture("UPerNet", {"decoder_channels": 256}, pools=True),
    "segformer": Architecture("Segformer", {"decoder_segmentation_channels": 256}),
}


def build_library_model(name: str, width: int, encoder: str) -> nn.Module:
    """An architecture on an encoder, all its weights drawn from torch's current random state.

    Args:
        name: Of the architecture, a key of `LIBRARY`.
        width: 64 is the published decoder; others scale its channels. The encoder is as timm has it.
        encoder: A timm name; empty for `DEFAULT_ENCODER`.

    Raises:
        UserError: No such encoder, or one that the architecture cannot use.
    """
    import segmentation_models_pytorch as smp  # takes seconds to import, which nothing else should wait for

    row, encoder = LIBRARY[name], encoder or DEFAULT_ENCODER
    require_encoder(encoder)
    channels = {argument: _scale(value, width, row.multiple) for argument, value in row.channels.items()}
    try:
        network = getattr(smp, row.build)(f"tu-{encoder}", encoder_weights=None, **channels, **row.options)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"--encoder {encoder} does not go with {name} ({first_line(error)}): choose another, such as {DEFAULT_ENCODER} "
            "or resnet34"
        ) from None
    network.stride, network.smallest = network.encoder.output_stride, row.smallest
    return network


def require_encoder(name: str) -> None:
    """Refuse a name that timm does not have.

    Raises:
        UserError: It has not; the message suggests the nearest ones.
    """
    if name == DEFAULT_ENCODER:
        return  # known without timm, which takes seconds to import
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"for instance {DEFAULT_ENCODER}, resnet34"
        raise UserError(f"unknown encoder '{name}': it must be a name of timm ({hint})")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm knows the architecture, and not what stands behind the dot
        known = timm.list_pretrained(f"{name.partition('.')[0]}.*")[:3]
        hint = f"for instance {', '.join(known)}" if known else f"leave it at {name.partition('.')[0]}"
        raise UserError(f"unknown encoder '{name}': timm has no such weights of it ({hint})") from None


def _scale(channels: int | tuple[int, ...], width: int, multiple: int) -> int | tuple[int, ...]:
    """Channels times width / `PUBLISHED_WIDTH`, rounded, at least `multiple`."""
    if isinstance(channels, tuple):
        return tuple(_scale_one(each, width, multiple) for each in channels)
    return _scale_one(channels, width, multiple)


def _scale_one(channels: int, width: int, multiple: int) -> int:
    return max(multiple, round(channels * width / PUBLISHED_WIDTH / multiple) * multiple)
