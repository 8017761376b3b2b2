"""The command line: each verb parses its flags, makes one call, and prints."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction

from fgbg.config import TrainConfig, read_config, read_preset
from fgbg.errors import UserError, unknown_name
from fgbg.words import Border, Weights

EXIT_FOUND = 1  # a check found what is wrong beyond doubt
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended


@dataclass(frozen=True)
class TrainArguments(TrainConfig):
    """Train a network on DATA and keep everything in a run folder."""

    config: str = ""
    """A TOML file of these settings; flags go before it."""
    preset: str = ""
    """Settings that ship with fgbg: lab, fast (a laptop, ten minutes), best. --config and flags go before them."""
    resume: bool = False
    """Go on with the run in --out. More --epochs extend it."""


@dataclass(frozen=True)
class SweepArguments(TrainConfig):
    """Search for better settings on DATA: many trainings, judged by validation photos, never by test photos.

    Trial 0 has the settings as they are given. The same command goes on with a search that was interrupted.
    """

    out: str = ""
    """The folder of the search: its database, a run folder for each trial, sweep.html, best.toml."""
    over: UseAppendAction[tuple[str, ...]] = ()
    """NAME=SPEC, once for each setting to search: learning_rate=1e-4..1e-2:log, width=16..64:16, augment.hue=0..0.3, or
    loss=bce_dice,focal_dice."""
    space: str = ""
    """The same as a TOML file: learning_rate = "1e-4..1e-2:log", loss = ["bce_dice", "focal_dice"]. --over goes first."""
    trials: int = 20
    """How many trials the folder is to hold, the baseline among them; more of them extend a search."""
    hours: float = 0.0
    """Stop after so many, at the end of an epoch; 0 for no limit."""
    config: str = ""
    """A TOML file of settings, as in training; flags go before it."""
    preset: str = ""
    """Settings that ship with fgbg, as in training. --config and flags go before it."""
    json: bool = False
    """Print the result as JSON, and what happens on the way to the error stream."""


@dataclass(frozen=True)
class EvaluateArguments:
    """Score a model on photos it was not trained on: one row an image, mean Dice with its interval.

    On its validation photos the threshold is chosen too, and stored in the model.
    """

    inputs: Positional[tuple[str, ...]]
    """A run folder (with --ensemble: several), then DATA if it is other data than the run's own."""
    split: Literal["test", "validation"] = "test"
    """Which photos. Choose models by validation, and look at test once."""
    threshold_for: str = ""
    """With --split validation: choose the threshold for dice, iou or recall:0.95, or none to keep 0.5."""
    ensemble: bool = False
    """Average the probabilities of several runs."""
    tta: Literal["none", "flip", "scale"] = "none"
    """Average over views of each photo: it and its mirror image, or three sizes."""
    out: str = ""
    """Folder for the scores of --ensemble and --tta; beside the first run by default."""
    conventions: bool = False
    """Also print what other libraries would report for the same predictions."""
    border: Border | None = None
    """What a trimap's band counts as; the model's own rule by default."""
    empty: Literal["1", "0", "nan"] = "1"
    """Score of an image with no object that none is found in; nan leaves it out of the mean."""
    object_values: tuple[int, ...] = ()
    """Which stored mask values are object in DATA; only asked for where it leaves it open."""
    allow_overlap: bool = False
    """Score photos that the model has seen all the same; the score tells how many."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """CPU threads; 0 shares the cores among the processes."""
    json: bool = False
    """Print the statement as JSON."""


@dataclass(frozen=True)
class PredictArguments:
    """Separate the object from its background in photos and folders of photos."""

    inputs: Positional[tuple[str, ...]]
    """MODEL (a run, a .safetensors or .onnx file, pets, the default, or several with commas), then photos or folders."""
    out: str
    """The folder to write to; folders below it as in the input."""
    kind: Literal["mask", "cutout", "soft", "overlay", "probability"] = "mask"
    """mask: 0/255. cutout: ground transparent. soft: likewise, with soft edges for hair and fur (a second a photo).
    overlay: ground dimmed, outline drawn. probability: 0..255."""
    refine: str = ""
    """Steps after the network, with commas: largest (part only), fill (holes), specks (dropped), edges (of the photo
    followed). fgbg refine tells which of them help."""
    force: bool = False
    """Overwrite files. Without it, what this model wrote before stays, and what is missing is computed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps. An exported model computes on the CPU."""


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


@dataclass(frozen=True)
class CompareArguments:
    """Is one better than the other? Paired statistics over the same photos, and a verdict in words."""

    runs: Positional[tuple[str, ...]]
    """Two or more scored runs. Three or more seeds of each of two recipes answer for the recipes."""
    split: str = "test"
    """Which scores: test, validation, or the name of other data that was scored."""
    question: Literal["auto", "model", "recipe"] = "auto"
    """This model or that model, or this recipe or that recipe whatever the seed."""
    allow_overlap: bool = False
    """Compare scores of photos that a model has seen all the same; the verdict tells."""
    json: bool = False
    """Print everything as JSON."""


@dataclass(frozen=True)
class ReportArguments:
    """One page that shows how good runs are and where they fail, with workbook and charts beside it."""

    runs: Positional[tuple[str, ...]]
    """Run folders; several are compared."""
    out: str
    """The folder to write to."""
    split: str = "test"
    """Which scores: test, validation, or the name of other data that was scored."""


@dataclass(frozen=True)
class CheckArguments:
    """Audit a data set before anything is trained on it, or a run after it was. Changes nothing.

    Ends with 0 where nothing is wrong or some things should be looked at, 1 where something is wrong beyond doubt.
    """

    target: Positional[str] = ""
    """DATA (oxford-pet, figures, a folder), or a run folder."""
    json: bool = False
    """Print everything as JSON."""
    page: str = ""
    """Write a page with a picture of every problem to this .html file."""
    write_clean: str = ""
    """Write the ids of all pairs without a problem to this file, one a line; of copies one."""
    object_values: tuple[int, ...] = ()
    """Which stored mask values are object, where the set leaves it open, for example 1 3."""
    split: Literal["official", "lab"] = "official"
    """How Oxford-IIIT Pet is split, as in training: leaks depend on it."""
    split_seed: int = 0
    """Seed of a cut that fgbg makes, as in training."""
    group_by: str = ""
    """What such a cut keeps together, as in training: near-duplicates, or a column of metadata.csv."""
    folds: int = 0
    """Cut into that many parts, as in training."""
    fold: int = 0
    """The part that tests."""
    clear_cache: bool = False
    """Remove what fgbg keeps on the disk, and say what it was."""


@dataclass(frozen=True)
class FiguresArguments:
    """Draw animals on cluttered ground, with masks: a data set that needs no download."""

    out: Positional[str]
    """The folder to write to; must be new or empty."""
    count: int = 600
    """How many."""
    size: int = 128
    """Edge in pixels."""
    seed: int = 0
    """Other seeds, other figures."""
    tone_gap: float | None = None
    """How far the figure's colours are from the ground's, 0 (camouflage) to 1; drawn for each image by default."""
    irregularity: float | None = None
    """From a smooth blob, 0, to ragged fur, thin limbs and whiskers, 1; drawn for each image by default."""


@dataclass(frozen=True)
class DemoArguments:
    """Draw figures, train both networks of the lab, score and compare them: minutes on a CPU."""

    out: str = "runs/demo"
    """The folder to write to; must be new or empty."""
    seed: int = 0
    """Decides weights, order and augmentation; the figures stay the same."""


def train_verb(argv: Sequence[str]) -> int:
    """Train, and say where to go on."""
    _require_extra("train", argv)
    arguments = _parse(TrainArguments, argv, default=_train_defaults(argv))
    from fgbg.training.train import train

    fields = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(TrainConfig)}
    run = train(TrainConfig(**fields), resume=arguments.resume)
    if _is_main():
        print(
            f"{run.folder}: best.safetensors, performance.xlsx, charts/\nscore it: fgbg evaluate {run.folder} --split test"
        )
    return 0


def sweep_verb(argv: Sequence[str]) -> int:
    """Search for better settings."""
    _require_extra("train", argv)
    _require_extra("sweep", argv)
    arguments = _parse(SweepArguments, argv, default=_train_defaults(argv, SweepArguments))
    from fgbg.search.space import read_space_file
    from fgbg.search.sweep import sweep

    over = read_space_file(Path(arguments.space)) if arguments.space else {}
    for words in arguments.over:
        name, equals, what = words.partition("=")
        if not equals:
            raise UserError(f"--over {words}: must be NAME=SPEC, for instance learning_rate=1e-4..1e-2:log")
        over[name.replace("-", "_")] = what
    fields = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(TrainConfig)}
    stream = sys.stderr if arguments.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=stream, flush=True)

    found = sweep(TrainConfig(**fields), over, trials=arguments.trials, hours=arguments.hours, say=say)
    print(json.dumps(found.to_json(), indent=2) if arguments.json else found.describe())
    return 0


def evaluate_verb(argv: Sequence[str]) -> int:
    """Score a run, or several as one model."""
    _require_extra("train", argv)
    arguments = _parse(EvaluateArguments, argv)
    from fgbg.judge.conventions import describe_conventions
    from fgbg.judge.runs import evaluate_run, evaluate_together, warn_of_stale_scores
    from fgbg.run import open_run

    runs, data = _part_runs_from_data(arguments.inputs, several=arguments.ensemble)
    options: dict[str, Any] = {
        "split": arguments.split,
        "border": arguments.border,
        "empty": float(arguments.empty),
        "allow_overlap": arguments.allow_overlap,
        "object_values": arguments.object_values,
        "device": arguments.device,
        "threads": arguments.threads,
    }
    kept = ""
    if arguments.ensemble or arguments.tta != "none":
        if arguments.threshold_for:
            raise UserError("--threshold-for: several models or views take the mean of their models' thresholds")
        out = Path(arguments.out) if arguments.out else None
        evaluation, run = evaluate_together(runs, data, tta=arguments.tta, out=out, **options)
        kept = f"\nscores in {run.folder}: compare it with fgbg compare {runs[0]} {run.folder}"
    else:
        if arguments.out:
            raise UserError("--out: a run's scores stay in its own folder; --out is for --ensemble and --tta")
        evaluation = evaluate_run(runs[0], data, threshold_for=arguments.threshold_for, **options)
        if arguments.split == "validation" and not data:
            stale = warn_of_stale_scores(open_run(runs[0]), evaluation.statement["threshold"])
            kept = f"\nnote: {stale}" if stale else ""
    if _is_main():
        print(json.dumps(evaluation.statement, indent=2) if arguments.json else evaluation.describe() + kept)
        if arguments.conventions:
            print(f"\n{describe_conventions(evaluation.rows)}")
    return 0


def _part_runs_from_data(inputs: Sequence[str], *, several: bool) -> tuple[list[Path], str]:
    """The run folders, and the DATA that may follow them."""
    runs = [name for name in inputs if (Path(name) / "config.toml").exists()]
    others = [name for name in inputs if name not in runs]
    if not runs and others:  # one that is no run: the error of opening it says why
        runs, others = others[:1], others[1:]
    if not runs:
        raise UserError("which run? Name a folder that fgbg train wrote")
    if len(others) > 1:
        raise UserError(f"{others[0]} and {others[1]} are no run folders; one DATA at most may follow the run")
    if several and len(runs) < 2:
        raise UserError("--ensemble averages several runs: name two or more")
    if len(runs) > 1 and not several:
        raise UserError(f"{len(runs)} runs: add --ensemble to average them, or evaluate one at a time")
    return [Path(run) for run in runs], others[0] if others else ""


def compare_verb(argv: Sequence[str]) -> int:
    """Compare runs."""
    _require_extra("train", argv)
    arguments = _parse(CompareArguments, argv)
    from fgbg.judge.compare import compare_runs, describe_comparisons
    from fgbg.run import open_run

    runs = [open_run(Path(run)) for run in arguments.runs]
    comparisons = compare_runs(
        runs, split=arguments.split, question=arguments.question, allow_overlap=arguments.allow_overlap
    )
    if arguments.json:
        content = [comparison.to_json() for comparison in comparisons]
        print(json.dumps(content[0] if len(content) == 1 else {"comparisons": content}, indent=2))
    else:
        print(describe_comparisons(comparisons, runs, arguments.split))
    return 0


def predict_verb(argv: Sequence[str]) -> int:
    """Predict files and folders."""
    arguments = _parse(PredictArguments, argv)
    from fgbg.ship.predict import predict_inputs

    outcome = predict_inputs(
        list(arguments.inputs),
        Path(arguments.out),
        kind=arguments.kind,
        refine=arguments.refine,
        force=arguments.force,
        device=arguments.device,
    )
    print(outcome.describe(Path(arguments.out)))
    return EXIT_MISTAKE if outcome.failed else 0


def serve_verb(argv: Sequence[str]) -> int:
    """Serve a model until Ctrl-C."""
    _require_extra("serve", argv)
    arguments = _parse(ServeArguments, argv)
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


def refine_verb(argv: Sequence[str]) -> int:
    """Try refinements."""
    _require_extra("train", argv)
    arguments = _parse(RefineArguments, argv)
    from fgbg.data.parallel import show_progress
    from fgbg.run import open_run
    from fgbg.ship.matte import require_matting
    from fgbg.ship.refine import parse_steps
    from fgbg.ship.trial import try_steps

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


def export_verb(argv: Sequence[str]) -> int:
    """Export a model."""
    _require_extra("train", argv)
    arguments = _parse(ExportArguments, argv)
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


def report_verb(argv: Sequence[str]) -> int:
    """Report on runs."""
    _require_extra("train", argv)
    arguments = _parse(ReportArguments, argv)
    from fgbg.judge.report import write_report
    from fgbg.run import make_folder, open_run

    report = write_report([open_run(Path(run)) for run in arguments.runs], make_folder(Path(arguments.out)), arguments.split)
    print("\n".join(str(path) for path in (report.page, report.workbook, *report.charts)))
    return 0


def check_verb(argv: Sequence[str]) -> int:
    """Audit data, or a run."""
    arguments = _parse(CheckArguments, argv)
    if arguments.clear_cache:
        from fgbg.doctor.clearing import clear_cache

        print(clear_cache(), file=sys.stderr if arguments.json else sys.stdout)
        if not arguments.target:
            return 0
    if not arguments.target:
        raise UserError("check what? Name DATA (oxford-pet, figures, a folder) or a run folder")
    _require_extra("train")
    if (Path(arguments.target) / "config.toml").exists():
        return _check_run(Path(arguments.target), as_json=arguments.json)
    from fgbg.data.parallel import show_progress
    from fgbg.doctor.audit import check_data
    from fgbg.doctor.clean_list import require_place, write_clean_list
    from fgbg.doctor.page import require_page_name, write_page
    from fgbg.doctor.wording import describe_audit

    if arguments.page:
        require_page_name(Path(arguments.page))
    if arguments.write_clean:
        require_place(Path(arguments.write_clean), "--write-clean")
    names = ("split", "split_seed", "group_by", "folds", "fold", "object_values")
    options = {name: getattr(arguments, name) for name in names}
    TrainConfig(**options)  # refuses what training would refuse
    audit = check_data(arguments.target, progress=show_progress, **options)
    print(json.dumps(audit.to_json(), indent=2) if arguments.json else describe_audit(audit))
    said = []
    if arguments.page:
        said.append(f"page: {write_page(audit, Path(arguments.page))}")
    if arguments.write_clean:
        said.append(write_clean_list(audit, Path(arguments.write_clean)))
    print(*said, sep="\n", end="\n" if said else "", file=sys.stderr if arguments.json else sys.stdout)
    return EXIT_FOUND if audit.has_facts else 0


def _check_run(folder: Path, *, as_json: bool) -> int:
    from fgbg.training.selfcheck import check_run, describe_findings

    findings = check_run(folder)
    if as_json:
        problems = [
            {"kind": each.name, "files": [str(folder)], "detail": each.sentence} for each in findings if not each.passed
        ]
        print(json.dumps({"problems": problems, "findings": [each._asdict() for each in findings]}, indent=2))
    else:
        print(describe_findings(findings))
    return 0 if all(finding.passed for finding in findings) else EXIT_FOUND


def figures_verb(argv: Sequence[str]) -> int:
    """Draw a set of figures."""
    arguments = _parse(FiguresArguments, argv)
    from fgbg.data.figures import draw_figures
    from fgbg.run import make_empty_folder

    options = {name: value for name, value in dataclasses.asdict(arguments).items() if name != "out"}
    try:
        draw_figures(make_empty_folder(Path(arguments.out)), **options)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"{arguments.out}: {arguments.count} figures; train on it with fgbg train {arguments.out}")
    return 0


def demo_verb(argv: Sequence[str]) -> int:
    """The whole life of two models, in minutes."""
    _require_extra("train", argv)
    arguments = _parse(DemoArguments, argv)
    from fgbg.demo import run_demo

    print(run_demo(Path(arguments.out), seed=arguments.seed))
    return 0


VERBS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "demo": (demo_verb, "figures -> two models -> table and charts, minutes on a CPU"),
    "check": (check_verb, "what is wrong with DATA, or with a run, before it fools you"),
    "train": (train_verb, "DATA -> a run folder with a trained model"),
    "sweep": (sweep_verb, "many trainings on DATA -> better settings, by validation photos alone"),
    "evaluate": (evaluate_verb, "a run's scores on photos it has not seen"),
    "predict": (predict_verb, "photos -> masks, cut-outs, overlays"),
    "serve": (serve_verb, "a model behind a page on this machine, and a web interface for programs"),
    "refine": (refine_verb, "a run -> which steps after the network help, with intervals"),
    "export": (export_verb, "a model -> one ONNX file that needs no torch, and its model card"),
    "compare": (compare_verb, "is one run better than another? A verdict with its numbers"),
    "report": (report_verb, "one page: scores, slices, failures, comparison; workbook and charts"),
    "figures": (figures_verb, "draw a data set of animals"),
}

# What each extra brings that a verb would miss first.
EXTRAS = {
    "train": ("torch", "accelerate", "safetensors", "jaxtyping", "scipy", "matplotlib", "xlsxwriter", "jinja2"),
    "sweep": ("optuna",),
    "serve": ("fastapi", "uvicorn", "python_multipart"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 on success, 2 on a user's mistake, said in a sentence."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
            return 0
        if argv[0] == "--version":
            from fgbg import __version__

            print(f"fgbg {__version__}")
            return 0
        if argv[0] not in VERBS:
            raise unknown_name("command", argv[0], VERBS)
        return VERBS[argv[0]][0](argv[1:])
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:  # the reader of our output has seen enough, as in `fgbg … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        sentence = _explain_os_error(error)
        if sentence is None:
            raise
        return _complain(sentence)


def _parse(kind: type, argv: Sequence[str], **options: Any) -> Any:
    verb = next(name for name in VERBS if kind.__name__.lower().startswith(name))
    return tyro.cli(kind, args=list(argv), prog=f"fgbg {verb}", **options)


def _train_defaults(argv: Sequence[str], kind: type[TrainConfig] = TrainArguments) -> TrainConfig:
    """What flags are laid over: the run to resume, or a preset and a file. They must be known before flags are read."""
    peeked = {name: _peek(argv, name) for name in ("--preset", "--config", "--out", "--init")}
    base = TrainConfig()
    if kind is TrainArguments and "--resume" in argv and peeked["--out"]:
        from fgbg.run import open_run

        base = open_run(Path(peeked["--out"])).config
    if peeked["--preset"]:
        base = read_preset(peeked["--preset"])
    if peeked["--config"]:
        base = read_config(Path(peeked["--config"]), base)
    fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(TrainConfig)}
    init = peeked["--init"] or ("" if "--resume" in argv else base.init)
    if init:
        _require_extra("train")
        from fgbg.training.start import inherit_network

        # A preset or file that asks for another network stays as it is, and is refused in the end.
        fields |= {
            name: value for name, value in inherit_network(init).items() if fields[name] == getattr(TrainConfig(), name)
        }
    return kind(**fields)


def _peek(argv: Sequence[str], flag: str) -> str:
    """The value of one flag, as `--flag value` or `--flag=value`; empty if it is not given."""
    for word, following in pairwise([*argv, ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def _require_extra(extra: str, argv: Sequence[str] = ()) -> None:
    """Refuse a verb whose libraries are not there: before its flags are read, so that nobody first gets them right.

    Raises:
        UserError: Some are not, and `argv` does not ask for help, which needs none of them.
    """
    if {"-h", "--help"} & set(argv):
        return
    absent = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"this command needs {', '.join(absent)}: pip install 'fgbg[{extra}]'")


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _complain(sentence: str) -> int:
    print(f"fgbg: {sentence}", file=sys.stderr)
    return EXIT_MISTAKE


def _explain_os_error(error: OSError) -> str | None:
    """A sentence for what a disk can do to a program; None for what is no user's matter."""
    where = error.filename or "a file"
    return {
        errno.ENOSPC: f"no space left while writing {where}: free some, then go on (a run: --resume)",
        errno.EDQUOT: f"the disk quota is used up while writing {where}: free some, then go on (a run: --resume)",
        errno.EACCES: f"{where} may not be read or written: check its permissions",
        errno.EROFS: f"{where} is on a read-only disk: choose another place",
    }.get(error.errno or 0)


def _overview() -> str:
    about = "Binary segmentation that people can trust."
    verbs = "\n".join(f"  {name:10} {what}" for name, (_, what) in VERBS.items())
    return f"usage: fgbg COMMAND …\n\n{about}\n\n{verbs}\n\nfgbg COMMAND --help says more."
