"""Export: one ONNX file that needs no torch, proved on the user's own photos to answer as the model that was scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from fgbg.data.parallel import Progress
from fgbg.errors import UserError
from fgbg.model_file import find_model_file
from fgbg.models.checkpoint import load_model
from fgbg.run import Run, make_folder
from fgbg.ship.card import Card, write_card
from fgbg.ship.onnx_graph import build_graph
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.parity import Parity, compare_answers, find_photos, require_parity
from fgbg.ship.torch_model import TorchModel
from fgbg.storage import replace_when_whole

if TYPE_CHECKING:
    import onnx

PARITY_KEY = "fgbg.parity"
"""Metadata with the comparison that was made before the file was written."""


@dataclass(frozen=True)
class Export:
    """What was written."""

    path: Path
    parity: Parity
    card: Path | None  # None where the run has no scores yet, or is not at hand
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
    half_weights: bool = True,
    network: nn.Module | None = None,
    terms: str = "",
    not_for: str = "",
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write a run's best model as one ONNX file, and a model card beside it where the run has scores.

    Nothing is left behind unless both answer alike on the run's validation photos, or on drawn figures where its data are
    not at hand.

    Args:
        model: A run folder or a `.safetensors` file.
        out: The file to write, ending in `.onnx`.
        half_weights: Keep kernels and matrices in half precision: half the file, computed in single precision all the same.
        network: The network to fill, where it was your own.
        terms: For the card: on what terms the training data may be used.
        not_for: For the card: what the model should not be used for.
        force: Replace the file and the card.
        progress: Shows how far it is.

    Raises:
        UserError: There is no such model, it cannot be exported, it answers otherwise, or `out` cannot be used.
    """
    file, out = find_model_file(model), Path(out).expanduser()
    _require_place(file, out, force)
    predictor, header = load_model(file, network=network)
    graph = build_graph(predictor, header, half_weights=half_weights)
    run = Run(file.parent) if file.name == "best.safetensors" and (file.parent / "config.toml").exists() else None
    photos, name = find_photos(run, header.border, progress)
    make_folder(out.parent)
    with replace_when_whole(out) as aside:
        _save(graph, aside)
        parity = compare_answers(TorchModel(predictor, header), OnnxModel(aside), photos, name)
        require_parity(parity)
        entry = graph.metadata_props.add()
        entry.key, entry.value = PARITY_KEY, json.dumps(parity.to_json())
        _save(graph, aside)
    if run is None or not run.scores_path("test").exists():
        evaluate = f"fgbg evaluate {run.folder} --split test" if run else "export the run itself"
        return Export(out, parity, None, f"it needs test scores ({evaluate})")
    card = Card(name=out.stem, run=run, header=header, model=out, parity=parity, terms=terms, not_for=not_for)
    return Export(out, parity, write_card(card, out.with_suffix(".md")))


def _require_place(file: Path, out: Path, force: bool) -> None:
    if file.suffix == ".onnx":
        raise UserError(f"{file} is exported already: name the run that it came from")
    if out.suffix != ".onnx":
        raise UserError(f"--out {out}: must end in .onnx")
    for written in (out, out.with_suffix(".md")):
        if written.exists() and not force:
            raise UserError(f"{written} exists already: choose another --out, or --force to overwrite")


def _save(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(graph.SerializeToString())
