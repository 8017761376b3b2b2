"""A model at work: on files, behind a page, with steps after the network, as one file for elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from fgbg.cli.verb import EXIT_MISTAKE, parse, require_extra
from fgbg.errors import UserError
from fgbg.words import Weights


@dataclass(frozen=True)
class PredictArguments:
    """Separate the object from its background in photos and folders of photos."""

    inputs: Positional[tuple[str, ...]]
    """MODEL (a run, a .safetensors or .onnx file, pets, the default, or several with commas), then photos or folders."""
    out: str
    """The folder to write to, folders below it as in the input; or the .png of a single photo."""
    kind: Literal["mask", "cutout", "soft", "overlay", "probability", "rle"] = "mask"
    """mask: 0/255. cutout: ground transparent. soft: likewise, with soft edges for hair and fur (a second a photo).
    overlay: ground dimmed, outline drawn. probability: 0..255. rle: rows of Parquet with run lengths (--engine ray)."""
    refine: str = ""
    """Steps after the network, with commas: largest (part only), fill (holes), specks (dropped), edges (of the photo
    followed). fgbg refine tells which of them help."""
    force: bool = False
    """Overwrite files. Without it, what this model wrote before stays, and what is missing is computed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps. An exported model computes on the CPU."""
    engine: Literal["local", "ray"] = "local"
    """local: this process. ray: several, on one machine or many, that are replaced when they die; reads Parquet and object
    stores too."""
    workers: int = 2
    """How many processes compute (--engine ray)."""
    address: str = ""
    """Of a Ray cluster that is running; without it one is started on this machine for the run (--engine ray)."""


def predict_verb(argv: Sequence[str]) -> int:
    """Predict files and folders, or Parquet and addresses."""
    arguments = parse(PredictArguments, argv)
    inputs, out = list(arguments.inputs), Path(arguments.out)
    same = {"refine": arguments.refine, "force": arguments.force, "device": arguments.device}
    if arguments.engine == "ray":
        require_extra("ray")
        from fgbg.ship.scale.predict import predict_at_scale

        outcome = predict_at_scale(
            inputs, out, kind=arguments.kind, workers=arguments.workers, address=arguments.address, **same
        )
    else:
        _require_local(arguments)
        from fgbg.ship.predict import predict_inputs

        outcome = predict_inputs(inputs, out, kind=arguments.kind, **same)
    print(outcome.describe(Path(arguments.out)))
    return EXIT_MISTAKE if outcome.failed else 0


def _require_local(arguments: PredictArguments) -> None:
    """Refuse what only workers do, rather than pass over it."""
    defaults = {field.name: field.default for field in fields(PredictArguments)}
    meant = [f"--{name}" for name in ("workers", "address") if getattr(arguments, name) != defaults[name]]
    if arguments.kind == "rle" or meant:
        raise UserError(f"{'--kind rle' if arguments.kind == 'rle' else meant[0]} goes with --engine ray: add that")


@dataclass(frozen=True)
class ServeArguments:
    """Put a model behind a page on this machine: drop photos, get cut-outs. Programs use POST /predict."""

    model: Positional[str] = "pets"
    """A run, a .safetensors or .onnx file, pets, the model that ships with fgbg, or several with commas between."""
    port: int = 8000
    """The port to listen on; 0 takes a free one."""
    host: str = "127.0.0.1"
    """The address to listen on. Others than this machine's own let anybody in who reaches it: put a proxy before it."""
    names: tuple[str, ...] = ()
    """Further names under which it is asked for, such as the proxy's."""
    megabytes: float = 50.0
    """Largest file of a photo."""
    megapixels: float = 50.0
    """Largest photo."""
    seconds: float = 30.0
    """Longest upload."""
    at_once: int = 32
    """Most photos that arrive, wait or are computed; who comes then is told to try again."""
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
    """test: what steps that were chosen on validation are worth."""
    steps: str = ""
    """Try these together, with commas: largest, fill, specks, edges. By default each is tried by itself."""
    soft: bool = False
    """Try soft edges too: the mask where their opacity is above one half (a second a photo)."""
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
    """Write a model as one ONNX file that needs no torch, once it is proved to answer as the model that was scored."""

    model: Positional[str]
    """A run, or a .safetensors file."""
    out: str
    """The .onnx file to write; the model card goes beside it, as .md."""
    weights: Weights = "half"
    """half: half the size of single, computed in single precision all the same. int8: a quarter, computed in whole numbers;
    calibrated on the run's training photos, and refused where it loses 0.005 mean Dice or more."""
    terms: str = ""
    """For the model card: on what terms the training data may be used."""
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
