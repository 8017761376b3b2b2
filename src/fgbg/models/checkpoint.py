"""A trained model as one self-describing file: weights as safetensors, all the rest in its JSON header. No pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from fgbg.errors import UserError
from fgbg.model_file import HEADER_KEY, ModelHeader, parse_header, require_model_file, write_header
from fgbg.models import MODELS, build_network, wrap_network
from fgbg.models.onnx_weights import read_onnx_header, read_onnx_model
from fgbg.models.predictor import Predictor
from fgbg.storage import replace_when_whole


def save_model(path: Path, network: nn.Module, header: ModelHeader) -> None:
    """Write the network's weights and the header; `path` is replaced only once the new file is complete."""
    save_weights(path, network.state_dict(), header)


def save_weights(path: Path, weights: Mapping[str, torch.Tensor], header: ModelHeader) -> None:
    """As `save_model`, of a network's `state_dict`."""
    copies = {
        # A copy each: safetensors refuses tensors that share memory, and a network may share a layer.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    _write(path, copies, header)


def replace_header(path: Path, header: ModelHeader) -> None:
    """Replace the header of a `.safetensors` file; its weights stay the same to the bit."""
    _write(path, _read(path)[1], header)


def read_header(path: Path) -> ModelHeader:
    """The header of a model file.

    Raises:
        UserError: The file is missing, a pickle, damaged, not written by fgbg, or written by a newer one.
    """
    require_model_file(path)
    if path.suffix == ".onnx":
        return read_onnx_header(path)
    with _open(path) as file:
        text = (file.metadata() or {}).get(HEADER_KEY)
    return parse_header(text, path)


def load_model(path: Path, *, network: nn.Module | None = None) -> tuple[Predictor, ModelHeader]:
    """The predictor in evaluation mode on the CPU, and its header.

    Args:
        path: A `.safetensors` file written by `save_model`, or an `.onnx` file written by `fgbg export`.
        network: The network to fill, if the file holds one that was passed to the Python API.

    Raises:
        UserError: As `read_header`; or the weights are damaged, or do not fit the network.
    """
    header, weights = _read(path)
    if network is not None:
        padded = wrap_network(network)
    elif header.network in MODELS:
        padded = build_network(header.network, width=header.width, encoder=header.encoder)
    else:
        raise UserError(
            f"{path} holds a network of your own, which only you can build: give it from Python, to fgbg.load, "
            "fgbg.evaluate_run or fgbg.export, as network=…"
        )
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
    return predictor.eval(), header


def require_intact(path: Path) -> ModelHeader:
    """The header of a model file, once the whole file has passed its checksum.

    Raises:
        UserError: As `read_header`; or the weights are damaged.
    """
    return _read(path)[0]


SEAL = "fgbg_sha256"
"""Metadata key of the hash of header and weights, without which a bit that flips on the disk would go unnoticed."""


def _read(path: Path) -> tuple[ModelHeader, dict[str, torch.Tensor]]:
    """Header and weights, from one and the same file even while a training replaces it."""
    require_model_file(path)
    if path.suffix == ".onnx":
        return read_onnx_model(path)
    with _open(path) as file:
        metadata = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    header = parse_header(metadata.get(HEADER_KEY), path)
    if SEAL in metadata and metadata[SEAL] != _seal(metadata[HEADER_KEY], weights):
        raise UserError(f"{path} is damaged: it is not as it was saved; train or copy it again")
    return header, weights


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error}): train or copy it again") from None


def _write(path: Path, weights: dict[str, torch.Tensor], header: ModelHeader) -> None:
    text = write_header(header)
    with replace_when_whole(path) as aside:
        save_file(weights, aside, metadata={HEADER_KEY: text, SEAL: _seal(text, weights)})


def _seal(header: str, weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(weights):
        weight = weights[name]
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
