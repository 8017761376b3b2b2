"""A model in use: on files, behind a web page, with steps after the network, exported as one file."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from fgbg.cli.verb import EXIT_MISTAKE, parse, require_extra
from fgbg.errors import UserError
from fgbg.words import AnyKind, Kind, Weights

if TYPE_CHECKING:
    from fgbg.ship.predict import Outcome


@dataclass(frozen=True)
class PredictArguments:
    """Separate the object from its background in photos and folders of photos."""

    inputs: Positional[tuple[str, ...]]
    """MODEL (a run, a .safetensors or .onnx file, pets (the default), or several with commas), then photos or folders."""
    out: str
    """The folder to write to, with subfolders as in the input; or a .png file for a single photo."""
    kind: AnyKind = "mask"
    """mask: 0/255. cutout: ground transparent. soft: cutout with soft edges for hair and fur (a second per photo).
    overlay: ground dimmed, outline drawn. probability: 0..255. rle: rows of Parquet with run lengths (--engine ray)."""
    refine: str = ""
    """Steps after the network, with commas: largest (part only), fill (holes), specks (dropped), edges (of the photo
    followed). fgbg refine tells which of them help."""
    threshold: float | None = None
    """A pixel is object if its probability is above it; by default the model's own. A lower one finds
    more of the object, and takes more ground for it."""
    force: bool = False
    """Overwrite files. By default what this model made of the same photos is kept, and only the rest computed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps. An exported model computes on the CPU."""
    engine: Literal["local", "ray"] = "local"
    """local: this process. ray: several, on one machine or many, which are replaced when they die; also reads Parquet and
    object stores."""
    workers: int = 2
    """Number of worker processes (--engine ray)."""
    address: str = ""
    """Address of a running Ray cluster; by default one is started on this machine (--engine ray)."""


def predict_verb(argv: Sequence[str]) -> int:
    """Predict files and folders, or Parquet and addresses: 2 if a photo was left out, 130 if it was stopped."""
    arguments = parse(PredictArguments, argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: a scheduler wants the machine back
    try:
        outcome = _predict(arguments)
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on from here", file=sys.stderr)
        raise
    print(outcome.describe(Path(arguments.out).expanduser()))
    for line in outcome.complain():
        print(line, file=sys.stderr)
    return EXIT_MISTAKE if outcome.failed else 0


def _predict(arguments: PredictArguments) -> Outcome:
    inputs, out = list(arguments.inputs), Path(arguments.out).expanduser()
    same: dict[str, Any] = {name: getattr(arguments, name) for name in ("refine", "threshold", "force", "device")}
    if arguments.engine == "ray":
        require_extra("ray")
        from fgbg.ship.scale.predict import predict_at_scale

        return predict_at_scale(
            inputs, out, kind=arguments.kind, workers=arguments.workers, address=arguments.address, **same
        )
    kind = _require_local(arguments)
    from fgbg.ship.predict import predict_inputs

    return predict_inputs(inputs, out, kind=kind, **same)


def _require_local(arguments: PredictArguments) -> Kind:
    """The kind of picture; flags that only work with --engine ray are refused, rather than ignored."""
    defaults = {field.name: field.default for field in fields(PredictArguments)}
    meant = [f"--{name}" for name in ("workers", "address") if getattr(arguments, name) != defaults[name]]
    if arguments.kind == "rle" or meant:
        raise UserError(f"{'--kind rle' if arguments.kind == 'rle' else meant[0]} goes with --engine ray: add that")
    return arguments.kind


@dataclass(frozen=True)
class ServeArguments:
    """Put a model behind a page on this machine: drop photos, get cut-outs. Programs use POST /predict."""

    model: Positional[str] = "pets"
    """A run, a .safetensors or .onnx file, pets (the model that ships with fgbg), or several with commas."""
    port: int = 8000
    """The port to listen on; 0 takes a free one."""
    host: str = "127.0.0.1"
    """The address to listen on. Any but this machine's own lets in everybody who can reach it: put a proxy in front."""
    names: tuple[str, ...] = ()
    """Further host names under which it is reached, such as the proxy's."""
    megabytes: float = 50.0
    """Largest photo file, in megabytes."""
    megapixels: float = 50.0
    """Largest photo, in megapixels."""
    seconds: float = 30.0
    """Longest upload, in seconds."""
    at_once: int = 32
    """Most photos that are arriving, waiting or being computed; further requests are told to try again."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps. An exported model computes on the CPU."""
    refine: str = ""
    """Steps after the network, with commas: largest, fill, specks, edges. fgbg refine tells which of them help."""


def serve_verb(argv: Sequence[str]) -> int:
    """Serve a model until Ctrl-C."""
    require_extra("serve", argv)
    arguments = parse(ServeArguments, argv)
    from fgbg.ship.serve.limits import Limits
    from fgbg.ship.serve.server import serve

    limits = Limits(arguments.megabytes, arguments.megapixels, arguments.seconds, arguments.at_once)
    serve(
        arguments.model,
        host=arguments.host,
        port=arguments.port,
        device=arguments.device,
        refine=arguments.refine,
        limits=limits,
        hosts=arguments.names,
        say=_say_at_once,
    )
    return 0


def _say_at_once(line: str) -> None:
    print(line, flush=True)


@dataclass(frozen=True)
class RefineArguments:
    """Try every step after the network on a run's validation photos, and recommend those that provably help."""

    run: Positional[str]
    """A finished run whose photos are at hand."""
    split: Literal["validation", "test"] = "validation"
    """test: to measure what steps chosen on validation are worth."""
    steps: str = ""
    """Try these together, with commas: largest, fill, specks, edges. By default each is tried by itself."""
    soft: bool = False
    """Also try soft edges: the mask is where their opacity is above one half (a second per photo)."""
    json: bool = False
    """Print the effects as JSON."""


def refine_verb(argv: Sequence[str]) -> int:
    """Try refinements."""
    require_extra("train", argv)
    arguments = parse(RefineArguments, argv)
    from fgbg.data.parallel import show_progress
    from fgbg.run import open_run
    from fgbg.ship.matte import require_matting
    from fgbg.ship.refine import parse_steps
    from fgbg.ship.refine_trial import try_steps

    if arguments.soft:
        require_matting()
    trial = try_steps(
        open_run(arguments.run),
        split=arguments.split,
        steps=parse_steps(arguments.steps, "--steps"),
        soft=arguments.soft,
        progress=show_progress,
    )
    print(json.dumps(trial.to_json(), indent=2) if arguments.json else trial.describe())
    return 0


@dataclass(frozen=True)
class ExportArguments:
    """Write a model as one ONNX file that needs no torch, verified to give the same answers as the model that was scored."""

    model: Positional[str]
    """A run, or a .safetensors file."""
    out: str
    """The .onnx file to write; the model card goes beside it, as .md."""
    weights: Weights = "half"
    """half: half the size of single, still computed in single precision. int8: a quarter, computed in integers; calibrated
    on the run's training photos, and refused if it loses 0.005 mean Dice or more."""
    terms: str = ""
    """For the model card: on what terms the training data may be used. Known for oxford-pet and figures."""
    not_for: str = ""
    """For the model card: what the model should not be used for."""
    force: bool = False
    """Overwrite files."""
    json: bool = False
    """Print the comparison as JSON."""


def export_verb(argv: Sequence[str]) -> int:
    """Export a model."""
    require_extra("train", argv)
    arguments = parse(ExportArguments, argv)
    from fgbg.data.parallel import show_progress
    from fgbg.ship.export import export_model

    export = export_model(
        arguments.model,
        arguments.out,
        weights=arguments.weights,
        terms=arguments.terms,
        not_for=arguments.not_for,
        force=arguments.force,
        progress=show_progress,
    )
    print(json.dumps(export.parity.to_json(), indent=2) if arguments.json else export.describe())
    return 0
