"""A model as one ONNX graph: raw pixels of any size in, probabilities of the same size out, all steps between inside."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from fgbg.fit import Placement, put_into_square, take_out_of_square
from fgbg.model_file import ANSWER_SIZE, HEADER_KEY, PIXELS, PROBABILITY, ModelHeader, write_header
from fgbg.models.onnx_weights import PREFIX, store_weights
from fgbg.models.predictor import Predictor
from fgbg.ship.onnx_tiles import TiledPhoto

if TYPE_CHECKING:
    import onnx

_TELLS_OF_EVERY_WEIGHT = logging.getLogger("onnx_ir.passes.common.initializer_deduplication")  # logs weights left as is


class WholePhoto(nn.Module):
    """The exported form of a predictor: it gets the photo's place in the square as tensors, which a graph can compute."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, pixels: UInt8[Tensor, "height width 3"], answer_size: Int64[Tensor, "2"]) -> Float[Tensor, "_ _"]:
        """Probability of object, as `Predictor.forward` computes it.

        Args:
            pixels: The photo.
            answer_size: Height and width of the answer, where the photo was reduced on decode; zeros for the photo's own.
        """
        size = self.predictor.size
        own = torch.stack([torch.scalar_tensor(length, dtype=torch.int64) for length in pixels.shape[:2]])
        square = put_into_square(pixels, self._place(own), size)
        probability = self.predictor.logits(square[None]).sigmoid()[0, 0]
        wanted = torch.where(answer_size > 0, answer_size, own)
        height, width = cast("list[int]", wanted.tolist())
        for length in (height, width):
            torch._check(length >= 2)  # needed by the exporter; the graph also answers for one pixel
        return take_out_of_square(probability, self._place(wanted), height, width).clamp(0, 1)

    def _place(self, lengths: Int64[Tensor, "2"]) -> Placement:
        """`fgbg.fit.place_photo` for a height and a width that are known only at run time."""
        size = self.predictor.size
        if self.predictor.fit == "squash":
            return Placement(0, 0, size, size)
        inner = (lengths.double() * size / lengths.max()).round().long().clamp(min=1)  # halves go to even, as in Python
        height, width = cast("list[int]", inner.tolist())
        top, left = cast("list[int]", ((size - inner) // 2).tolist())
        for start, length in ((top, height), (left, width)):
            torch._check(length >= 1)
            torch._check(length <= size)
            torch._check(start >= 0)
            torch._check(start <= size)
            torch._check(start + length <= size)
        return Placement(top, left, height, width)


def build_graph(predictor: Predictor, header: ModelHeader, *, half_weights: bool = True) -> onnx.ModelProto:
    """The whole predictor as an ONNX model that carries the header.

    Input `pixels`: uint8 RGB (height, width, 3). Input `answer_size`, which may be left out: int64 (2,), height and width of
    the answer where the photo was reduced. Output `probability`: float32 (height, width). Computed in float32.

    Args:
        predictor: In evaluation mode.
        header: The header to store in the file.
        half_weights: Store kernels and matrices in half precision, see `fgbg.models.onnx_weights.round_weights`.

    Raises:
        UserError: Half precision cannot represent the weights.
    """
    program = _trace((TiledPhoto if predictor.fit == "crop" else WholePhoto)(predictor).eval())
    graph = program.model.graph
    network = predictor.network.state_dict()
    # As inputs, weights are left alone by the optimizer: batch norms are not folded into them here (whoever loads the file
    # does that), so that they can be recovered.
    graph.inputs.extend(value for name, value in graph.initializers.items() if name.startswith(PREFIX))
    _TELLS_OF_EVERY_WEIGHT.setLevel(logging.ERROR)
    program.optimize()
    del graph.inputs[2:]  # pixels and the answer's size
    model: onnx.ModelProto = program.model_proto
    _tidy(model)
    store_weights(model, network, half=half_weights)
    entry = model.metadata_props.add()
    entry.key, entry.value = HEADER_KEY, write_header(header)
    return model


def _trace(module: WholePhoto | TiledPhoto) -> Any:
    size = module.predictor.size
    device = module.predictor.device
    # Any photo would do, except one of the square's own size, which the graph would then rely on.
    example = torch.zeros(size + 3, size + 5, 3, dtype=torch.uint8, device=device)
    edges = {index: torch.export.Dim(name, min=2) for index, name in enumerate(("height", "width"))}
    return torch.onnx.export(
        module,
        (example, torch.zeros(2, dtype=torch.int64, device=device)),
        dynamo=True,
        dynamic_shapes=(edges, {}),
        input_names=[PIXELS, ANSWER_SIZE],
        output_names=[PROBABILITY],
        optimize=False,
        verbose=False,
    )


def _tidy(model: onnx.ModelProto) -> None:
    """Make the second input optional, name the answer's dimensions, and drop the exporter's notes (they contain paths)."""
    import numpy as np
    from onnx import numpy_helper

    import fgbg

    model.producer_name, model.producer_version = "fgbg", fgbg.__version__
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.int64), ANSWER_SIZE))
    for dimension, name in zip(model.graph.output[0].type.tensor_type.shape.dim, ("height", "width"), strict=True):
        dimension.dim_param = f"answer_{name}"
    del model.metadata_props[:]
    _drop_notes(model.graph)


def _drop_notes(graph: onnx.GraphProto) -> None:
    """Drop what the exporter noted in a graph and in the bodies of its loops."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _drop_notes(attribute.g)
