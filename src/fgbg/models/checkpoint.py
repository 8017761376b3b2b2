"""A trained model as one file that describes itself: weights as safetensors, all the rest in its JSON header. No pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import nn

from fgbg.errors import UserError
from fgbg.model_file import HEADER_KEY, ModelHeader, parse_header, require_model_file, write_header
from fgbg.models import MODELS, build_network, wrap_network
from fgbg.models.onnx_weights import read_onnx_header, read_onnx_weights
from fgbg.models.predictor import Predictor
from fgbg.storage import replace_when_whole


def save_model(path: Path, network: nn.Module, header: ModelHeader) -> None:
    """Write the network's weights and the header; `path` is replaced only when the new file is whole."""
    weights = {
        # A copy each: safetensors takes no two names for one memory, and a network may share a layer.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    _write(path, weights, header)


def replace_header(path: Path, header: ModelHeader) -> None:
    """Give a `.safetensors` file another header; its weights stay as they are, to the bit."""
    _write(path, _read_weights(path), header)


def read_header(path: Path) -> ModelHeader:
    """The header of a model file.

    Raises:
        UserError: The file is missing, a pickle, damaged, not written by fgbg, or written by a newer one.
    """
    require_model_file(path)
    if path.suffix == ".onnx":
        return parse_header(read_onnx_header(path), path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error}): train or copy it again") from None
    return parse_header(text, path)


def load_model(path: Path, *, network: nn.Module | None = None) -> tuple[Predictor, ModelHeader]:
    """The predictor in evaluation mode on the CPU, and its header.

    Args:
        path: A `.safetensors` file written by `save_model`, or an `.onnx` file written by `fgbg export`.
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
    try:
        padded.load_state_dict(_read_weights(path))
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
    return predictor.eval(), header


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".onnx":
        return read_onnx_weights(path)
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def _write(path: Path, weights: dict[str, torch.Tensor], header: ModelHeader) -> None:
    with replace_when_whole(path) as aside:
        aside.write_bytes(serialize(weights, metadata={HEADER_KEY: write_header(header)}))
