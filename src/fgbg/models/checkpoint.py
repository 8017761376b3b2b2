"""A trained model as one file that describes itself: weights as safetensors, all the rest in its JSON header. No pickle."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import nn

from fgbg.errors import UserError
from fgbg.models import MODELS, build_network, wrap_network
from fgbg.models.predictor import IMAGENET_DEVIATION, IMAGENET_MEAN, Predictor
from fgbg.storage import replace_when_whole
from fgbg.words import Border, Fit

HEADER_KEY = "fgbg"
FORMAT = 1
OWN_NETWORK = "own"  # a network that was given to the Python API: only its owner can build it again


@dataclass(frozen=True)
class ModelHeader:
    """What a model file says of itself."""

    network: str
    width: int
    size: int
    fit: Fit
    threshold: float
    border: Border
    data: str
    data_fingerprint: str
    epoch: int
    validation_dice: float
    fgbg_version: str
    encoder: str = ""  # a name of timm, for models that take one; empty for the default one
    pretrained_from: str = ""  # where the encoder's first weights came from
    pretrained_license: str = ""  # on what terms
    initialised_from: str = ""  # the model whose weights all of it started from
    threshold_reason: str = "0.5 by default"
    temperature: float = (
        1.0  # what validation says to divide logits by so that probabilities are true on average; not applied
    )
    training_images: tuple[str, ...] = ()  # HASH_DIGITS digits of each, so that no score is ever measured on one
    validation_images: tuple[str, ...] = ()  # likewise: epoch and threshold were chosen on them
    overlap_count: int = 0  # photos or groups that stood in two splits when it was trained (--allow-overlap)
    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION


def save_model(path: Path, network: nn.Module, header: ModelHeader) -> None:
    """Write the network's weights and the header; `path` is replaced only when the new file is whole."""
    weights = {
        # A copy each: safetensors takes no two names for one memory, and a network may share a layer.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    _write(path, weights, header)


def replace_header(path: Path, header: ModelHeader) -> None:
    """Give a model file another header; its weights stay as they are, to the bit."""
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    _write(path, weights, header)


def find_model_file(model: str | Path) -> Path:
    """The file of a MODEL: a run's best, or the file itself.

    Raises:
        UserError: There is no such thing, or the run has no model yet.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        best = path / "best.safetensors"
        if not best.exists():
            raise UserError(
                f"{path} holds no best.safetensors: MODEL is a run that has finished an epoch, or a .safetensors file"
            )
        return best
    if not path.exists():
        raise UserError(f"{path} does not exist: MODEL is a run folder or a .safetensors file")
    return path


def read_header(path: Path) -> ModelHeader:
    """The header of a model file.

    Raises:
        UserError: The file is missing, a pickle, damaged, not written by fgbg, or written by a newer one.
    """
    _refuse_what_is_no_model(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error}): train or copy it again") from None
    if text is None:
        raise UserError(f"{path} was not written by fgbg: it has weights, but nothing says what network they belong to")
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise UserError(f"{path} was written by fgbg {fields.get('fgbg_version')}: use that version or a newer one")
        for name in ("training_images", "validation_images", "mean", "deviation"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return ModelHeader(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} has a header that cannot be understood ({error}): train or copy it again") from None


def load_model(path: Path, *, network: nn.Module | None = None) -> tuple[Predictor, ModelHeader]:
    """The predictor in evaluation mode on the CPU, and its header.

    Args:
        path: A `.safetensors` file written by `save_model`.
        network: The network to fill, where the file holds one that was given to the Python API.

    Raises:
        UserError: As `read_header`; or the weights do not fit the network.
    """
    header = read_header(path)
    if network is not None:
        padded = wrap_network(network)
    elif header.network in MODELS:
        padded = build_network(header.network, width=header.width, encoder=header.encoder)
    else:
        raise UserError(f"{path} holds a network of your own: load it with load_model(path, network=...)")
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    try:
        padded.load_state_dict(weights)
    except RuntimeError:
        raise UserError(f"{path} holds weights of another network than {header.network} of width {header.width}") from None
    predictor = Predictor(
        padded,
        size=header.size,
        fit=header.fit,
        threshold=header.threshold,
        mean=header.mean,
        deviation=header.deviation,
    )
    return predictor.eval().to(memory_format=torch.channels_last), header


def _write(path: Path, weights: dict[str, torch.Tensor], header: ModelHeader) -> None:
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(header)})
    with replace_when_whole(path) as aside:
        aside.write_bytes(serialize(weights, metadata={HEADER_KEY: text}))


def _refuse_what_is_no_model(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path} does not exist: MODEL is a run folder or a .safetensors file")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with 8 bytes of length, which may be any bytes, and then the header's brace.
    looks_like_pickle = start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")
    if looks_like_pickle or path.suffix in {".pt", ".pth", ".pkl", ".ckpt"}:
        raise UserError(
            f"{path} is a pickle, which can run any code when it is opened, and is refused: "
            "use the best.safetensors of a run"
        )
