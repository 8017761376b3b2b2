"""Export: one ONNX file that needs no torch, checked on the user's own photos to answer like the model that was scored."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from torch import nn

from fgbg.data.parallel import ShowProgress
from fgbg.errors import UserError, unknown_name
from fgbg.model_file import HEADER_KEY, ModelHeader, find_model_file, write_header
from fgbg.models.checkpoint import load_model
from fgbg.models.predictor import Predictor
from fgbg.run import Run
from fgbg.seal import BLANK, ONNX_SEAL_KEY, seal_onnx
from fgbg.ship.card import Card, is_card, write_card
from fgbg.ship.onnx_graph import build_graph
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.parity import INT8, SAME, Parity, compare_answers, find_photos, require_parity
from fgbg.ship.quantize import find_calibration_photos, quantize_graph
from fgbg.ship.torch_model import TorchModel
from fgbg.storage import is_run, make_folder, replace_when_whole
from fgbg.words import Weights

if TYPE_CHECKING:
    import onnx

PARITY_KEY = "fgbg.parity"
"""Metadata key of the comparison that was made before the file was written."""


@dataclass(frozen=True)
class Export:
    """What was written."""

    path: Path
    parity: Parity
    card: Path | None  # None if the run has no scores yet, or is not available
    note: str = ""  # why there is no card

    def describe(self) -> str:
        """The parity, and every file, as lines to print."""
        megabytes = self.path.stat().st_size / 1e6
        card = str(self.card) if self.card else f"no model card: {self.note}"
        return f"{self.parity.describe()}\n{self.path}: {megabytes:.1f} MB\n{card}"


def export_model(
    model: str | Path,
    out: str | Path,
    *,
    weights: Weights = "half",
    network: nn.Module | None = None,
    terms: str = "",
    not_for: str = "",
    force: bool = False,
    progress: ShowProgress | None = None,
) -> Export:
    """Write a run's best model as one ONNX file, and a model card beside it where the run has scores.

    No file is written unless both answer alike on the run's validation photos, or on drawn figures if its data are not
    available. In int8, it must not lose more than `fgbg.ship.parity.INT8` allows.

    Args:
        model: A run folder or a `.safetensors` file.
        out: The file to write, ending in `.onnx`.
        weights: How to store kernels and matrices. `half`: half the size of `single`, still computed in single precision.
            `int8`: a quarter, computed in integers, calibrated on the run's training photos.
        network: The network to load the weights into, if it was your own.
        terms: For the card: on what terms the training data may be used.
        not_for: For the card: what the model should not be used for.
        force: Replace the file and the card.
        progress: Shows progress.

    Raises:
        UserError: There is no such model, it cannot be exported, its answers differ, or `out` cannot be used.
    """
    file, out = find_model_file(model, cure="name a run or its best.safetensors"), Path(out).expanduser()
    _require_place(file, out, force)
    _require_weights(weights)
    predictor, header = load_model(file, network=network)
    if weights == "int8" and header.fit == "crop":
        raise UserError(
            "--weights int8 does not reach into the loops of a model of patches (--fit crop): keep --weights half"
        )
    scored = TorchModel(predictor, header)
    run = Run(file.parent) if file.name == "best.safetensors" and is_run(file.parent) else None
    if weights == "int8":
        header = replace(header, arithmetic="int8")
    no_card = _why_no_card(run)  # before any work, so that damaged scores are reported now
    graph = _build(predictor, header, weights, run, progress)
    photos, name = find_photos(run, header.border, progress)
    make_folder(out.parent)
    _note(graph, ONNX_SEAL_KEY, BLANK)
    with replace_when_whole(out) as aside:
        _save(graph, aside)
        parity = compare_answers(scored, OnnxModel(aside), photos, name, INT8 if weights == "int8" else SAME)
        require_parity(parity)
        _note(graph, PARITY_KEY, json.dumps(parity.to_json()))
        _save(graph, aside)
    if run is None or no_card:
        out.with_suffix(".md").unlink(missing_ok=True)  # the card of the file that was replaced
        return Export(out, parity, None, no_card)
    card = Card(name=out.stem, run=run, header=header, model=out, parity=parity, terms=terms, not_for=not_for)
    return Export(out, parity, write_card(card, out.with_suffix(".md")))


def _why_no_card(run: Run | None) -> str:
    """Why there can be no model card; empty where there can.

    Raises:
        UserError: The test scores are damaged.
    """
    if run is None:
        return "it needs test scores (export the run itself)"
    if not run.scores_path("test").exists():
        return f"it needs test scores (fgbg evaluate {run.folder} --split test)"
    run.scores("test")
    return run.find_stale("test")


def _require_weights(name: str) -> None:
    """Refuse a name that is not one of `fgbg.words.Weights`.

    Raises:
        UserError: It is not.
    """
    if name not in get_args(Weights):
        raise unknown_name("weights", name, get_args(Weights))


def _build(
    predictor: Predictor, header: ModelHeader, weights: Weights, run: Run | None, progress: ShowProgress | None
) -> onnx.ModelProto:
    if weights != "int8":
        return build_graph(predictor, header, half_weights=weights == "half")
    photos = find_calibration_photos(run, progress)  # first, so that no work is wasted if they are missing
    graph = quantize_graph(build_graph(predictor, header, half_weights=False), photos)
    _note(graph, HEADER_KEY, write_header(header))
    return graph


def _note(graph: onnx.ModelProto, key: str, value: str) -> None:
    entry = graph.metadata_props.add()
    entry.key, entry.value = key, value


def _require_place(file: Path, out: Path, force: bool) -> None:
    if file.suffix == ".onnx":
        raise UserError(f"{file} is exported already: name the run that it came from")
    if out.suffix != ".onnx":
        raise UserError(f"--out {out}: must end in .onnx")
    for written in (out, out.with_suffix(".md")):
        if written.exists() and not force:
            raise UserError(f"{written} exists already: choose another --out, or --force to overwrite")
    card = out.with_suffix(".md")
    if card.exists() and not is_card(card):
        raise UserError(f"{card} is where the model card would go, and is none: choose another --out")


def _save(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(seal_onnx(graph.SerializeToString()))
