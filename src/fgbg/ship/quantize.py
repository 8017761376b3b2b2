"""Int8: convolutions and matrix products computed in integers, with ranges measured on the run's training photos.

ONNX Runtime's own quantizer does it. Resize, normalisation, sigmoid and enlargement stay in single precision.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.errors import UserError
from fgbg.judge.run_data import open_run_data
from fgbg.model_file import ANSWER_SIZE, PIXELS
from fgbg.run import Run

if TYPE_CHECKING:
    import onnx

CALIBRATION_PHOTOS = 64  # evenly spread over the training photos
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BOUNDS = frozenset({"Relu", "Clip"})
"""What clips a product's range: ranges are measured after it, so that no step is spent on clipped values."""
IN_FLIGHT = 8  # photos that are read ahead: bounds memory
SMALLEST = np.ones(2, np.int64)  # of the answer while ranges are measured: it is not used


def find_calibration_photos(run: Run | None, progress: ShowProgress | None = None) -> Iterator[NDArray[np.uint8]]:
    """Training photos, as RGB (height, width, 3): validation photos tell what int8 loses, so they must not calibrate it.

    Args:
        run: The model's run; None if there is only its file.
        progress: Shows progress.

    Raises:
        UserError: The photos are not available.
    """
    if run is None:
        raise UserError(
            "--weights int8 is calibrated on the run's training photos, and the model is a file without its run: name the "
            "run folder, or keep --weights half"
        )
    try:
        training, _ = open_run_data(run, "", "train")
    except UserError as error:
        raise UserError(
            f"--weights int8 is calibrated on the run's training photos, which are not at hand ({error}): bring them back, "
            "or keep --weights half"
        ) from None
    count = len(training.samples)
    chosen = np.linspace(0, count - 1, min(count, CALIBRATION_PHOTOS)).round().astype(int).tolist()

    def read(index: int) -> NDArray[np.uint8]:
        return training.samples[index].read_pixels()

    return map_in_order(read, chosen, progress, "calibration", in_flight=IN_FLIGHT, weigh=training.weigh)


def quantize_graph(graph: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> onnx.ModelProto:
    """The same model in int8, without its metadata: weights scaled per channel, activations by their range on `photos`.

    The trained weights cannot be recovered from it: batch norms are folded into them, and all are rounded.

    Args:
        graph: From `build_graph`, in single precision.
        photos: At least one, uint8 RGB (height, width, 3).

    Raises:
        UserError: The network is too small for any part of it to be quantized.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="fgbg-") as folder, _without_remarks():
        whole, folded, quantized = (Path(folder) / f"{name}.onnx" for name in ("whole", "folded", "quantized"))
        onnx.save(_require_answer_size(graph), whole)
        quant_pre_process(whole, folded, skip_symbolic_shape=True)  # folds batch norms: none may follow an int8 node
        names = _choose_nodes(onnx.load(folded))
        quantize_static(
            folded,
            quantized,
            _Photos(photos),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(PRODUCTS | BOUNDS),
            nodes_to_quantize=names,
            per_channel=True,
            # Seven-bit weights: with eight, processors without VNNI accumulate products in 16 bits, which saturate
            # (pets then loses 0.026 Dice instead of 0.004). This way every processor computes the same.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(quantized)
    _tidy(model, graph)
    return model


class _Photos:
    """Photos one by one, as the quantizer asks for them (by this method alone)."""

    def __init__(self, photos: Iterable[NDArray[np.uint8]]) -> None:
        self._photos = iter(photos)

    def get_next(self) -> dict[str, NDArray[np.uint8] | NDArray[np.int64]] | None:
        """The graph's next inputs; None at the end."""
        pixels = next(self._photos, None)
        return None if pixels is None else {PIXELS: pixels, ANSWER_SIZE: SMALLEST}


def _choose_nodes(graph: onnx.ModelProto) -> list[str]:
    """The products with weights, and what clips their range, except the first and the last.

    The first sees the photo itself, the last makes the logits that are thresholded: they have few weights and need the
    finest steps (pets loses 0.0011 Dice instead of 0.0036, and is no slower).
    """
    weights = {initializer.name for initializer in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type in PRODUCTS and weights.intersection(node.input[1:2])]
    inner = products[1:-1]
    if not inner:
        raise UserError(
            "--weights int8 leaves the first and the last convolution as they are, and this network has no other: keep "
            "--weights half"
        )
    answers = {node.output[0] for node in inner}
    bounds = [node for node in graph.graph.node if node.op_type in BOUNDS and node.input[0] in answers]
    return [node.name for node in (*inner, *bounds)]


def _require_answer_size(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which the answer's size is required: ONNX Runtime warns repeatedly if it is optional."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    for initializer in copy.graph.initializer:
        if initializer.name == ANSWER_SIZE:
            copy.graph.initializer.remove(initializer)
            break
    return copy


def _tidy(model: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Make the answer's size optional again, and reveal no more of its making than `source` does."""
    model.graph.initializer.extend(each for each in source.graph.initializer if each.name == ANSWER_SIZE)
    model.producer_name, model.producer_version = source.producer_name, source.producer_version
    used = {node.domain for node in model.graph.node}
    for opset in [each for each in model.opset_import if each.domain not in used]:
        model.opset_import.remove(opset)  # ONNX Runtime lists all that it knows
    del model.metadata_props[:]
    del model.graph.value_info[:]


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Silence the quantizer: it logs through the root logger, which prints unless it has a handler."""
    nowhere, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(nowhere)
    try:
        yield
    finally:
        root.removeHandler(nowhere)
