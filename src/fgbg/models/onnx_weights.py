"""Weights inside an ONNX file: stored in half precision, and read back by name, to the bit.

One file then serves every use: inference in ONNX Runtime, further training, and scoring with torch.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from fgbg.errors import UserError
from fgbg.model_file import HEADER_KEY, ModelHeader, parse_header
from fgbg.seal import is_onnx_as_written

if TYPE_CHECKING:
    import onnx

PREFIX = "predictor.network."
"""Prefix of a weight's name in the graph."""
HALF_SUFFIX = ".half"
"""Suffix of the half-precision tensor from which the graph casts the weight."""
LEFT_OUT_KEY = "fgbg.weights"
"""Metadata key of weights that the graph does not need, or holds in another form (batch counts, say)."""
FULL = 1  # float32, as ONNX numbers it


def round_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as read back from a file in half precision: rounded to float16, in float32.

    Only kernels and matrices are rounded. Vectors (biases, batch statistics) stay as they are: they are a few per cent of
    the file, and a variance close to 0 would not survive. Rounding twice changes nothing.

    Raises:
        UserError: A weight is larger than half precision can hold.
    """
    return {name: _round(name, tensor) if _is_rounded(tensor) else tensor for name, tensor in weights.items()}


def _is_rounded(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.dim() >= 2


def _round(name: str, tensor: Tensor) -> Tensor:
    rounded = tensor.half().float()
    if not torch.isfinite(rounded).all():
        raise UserError(f"{name} holds weights beyond 65504, the most that half precision holds: keep single precision")
    return rounded


def store_weights(model: onnx.ModelProto, weights: Mapping[str, Tensor], *, half: bool) -> None:
    """Make `read_onnx_model` return these weights, or with `half` those that `round_weights` returns.

    Args:
        model: An exported graph whose initializers are named PREFIX and the weight's name; changed in place.
        weights: By name.
        half: Store kernels and matrices in half precision; the graph still computes in float32.

    Raises:
        UserError: As `round_weights`.
    """
    expected = round_weights(weights) if half else dict(weights)
    if half:
        _halve_initializers(model, {PREFIX + name for name, tensor in weights.items() if _is_rounded(tensor)})
    found = _collect_initializers(model)
    left_out = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in expected.items()
        if name not in found or found[name].dtype != tensor.dtype or not torch.equal(found[name], tensor.cpu())
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = LEFT_OUT_KEY, base64.b64encode(serialize(left_out)).decode("ascii")


def _halve_initializers(model: onnx.ModelProto, names: set[str]) -> None:
    """Replace initializers by ones in half precision, each with a node that casts it to float32 on loading."""
    from onnx import helper, numpy_helper

    casts = []
    for initializer in model.graph.initializer:
        name = initializer.name
        if name in names and initializer.data_type == FULL:
            values = numpy_helper.to_array(initializer).astype("float16")
            initializer.CopyFrom(numpy_helper.from_array(values, name + HALF_SUFFIX))
            casts.append(helper.make_node("Cast", [name + HALF_SUFFIX], [name], name=f"cast {name}", to=FULL))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def read_onnx_header(path: Path) -> ModelHeader:
    """The header of a file that `fgbg export` wrote.

    Raises:
        UserError: The file is damaged, or was not written by fgbg.
    """
    return parse_header(_read_metadata(_open(path)).get(HEADER_KEY), path)


def read_onnx_model(path: Path) -> tuple[ModelHeader, dict[str, Tensor]]:
    """Header and weights of a file that `fgbg export` wrote, by the names that the network gives them.

    Raises:
        UserError: As `read_onnx_header`; or it is in int8.
    """
    model = _open(path)
    metadata = _read_metadata(model)
    header = parse_header(metadata.get(HEADER_KEY), path)
    if header.arithmetic == "int8":
        raise UserError(
            f"{path} is in int8, which does not hold the weights that were trained: use the run that it came from, or an "
            "export of it with --weights half"
        )
    left_out = metadata.get(LEFT_OUT_KEY, "")
    weights = _collect_initializers(model) | (deserialize(base64.b64decode(left_out)) if left_out else {})
    return header, weights


def _collect_initializers(model: onnx.ModelProto) -> dict[str, Tensor]:
    from onnx import numpy_helper

    weights = {}
    for initializer in model.graph.initializer:
        if not initializer.name.startswith(PREFIX):
            continue
        tensor = torch.tensor(numpy_helper.to_array(initializer))
        name = initializer.name.removeprefix(PREFIX)
        weights[name.removesuffix(HALF_SUFFIX)] = tensor.float() if name.endswith(HALF_SUFFIX) else tensor
    return weights


def _read_metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _open(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    content = path.read_bytes()
    if not is_onnx_as_written(content):
        raise UserError(f"{path} is damaged: it is not as it was written; export or copy it again")
    try:
        return onnx.load_model_from_string(content)
    except DecodeError as error:
        raise UserError(f"{path} is damaged or no ONNX file ({error}): export or copy it again") from None
