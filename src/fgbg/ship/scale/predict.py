"""`fgbg predict --engine ray`: the inputs, outputs and rules of the local run, computed by many processes over Ray Data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import fgbg
from fgbg.cores import count_cores
from fgbg.data.overlooked import refuse_few_bits
from fgbg.data.parallel import show_progress
from fgbg.errors import UserError
from fgbg.model_file import PETS
from fgbg.ship.jobs import names_picture
from fgbg.ship.load import describe_model, part_names
from fgbg.ship.matte import require_matting
from fgbg.ship.predict import Outcome, describe_left_behind, describe_outdated, require_use, tell_model_from_photos
from fgbg.ship.provenance import Provenance, begin_folder, describe_mixture, load_identified
from fgbg.ship.refine import parse_steps
from fgbg.ship.scale.attempts import forget_attempts
from fgbg.ship.scale.cluster import open_cluster
from fgbg.ship.scale.flow import compute
from fgbg.ship.scale.parts import drop_rows, find_rows
from fgbg.ship.scale.plan import Plan, Row, plan_rows
from fgbg.ship.scale.worker import RUNS, Order
from fgbg.words import AnyKind, name_some


def predict_at_scale(
    inputs: Sequence[str],
    out: Path,
    *,
    kind: AnyKind = "mask",
    refine: str = "",
    threshold: float | None = None,
    force: bool = False,
    device: str = "auto",
    workers: int = 2,
    address: str = "",
    say: Callable[[str], None] = print,
) -> Outcome:
    """Predict photos, folders of photos, Parquet or an address, by workers that each load the MODEL once.

    Args:
        inputs: A MODEL, or none for `pets`; then photos and folders, or one Parquet or address.
        out: The folder to write to, which all workers see.
        kind: As for `predict_inputs`, or "rle": Parquet rows with the masks' runs.
        refine: Steps after the network, separated by commas.
        threshold: The probability above which a pixel is object; by default the model's own.
        force: Overwrite files.
        device: auto and cpu compute on the CPU; cuda gives each worker a GPU of its own.
        workers: How many processes compute.
        address: Of a Ray cluster; none starts one on this machine, which ends with the run.
        say: Called with the line that names the model.

    Raises:
        UserError: As `predict_inputs`; or the cluster cannot be reached, is too small, or gave up.
    """
    name, photos = tell_model_from_photos(inputs)
    if workers < 1:
        raise UserError(f"--workers {workers}: at least one is needed")
    if names_picture(out):
        raise UserError(f"--out {out} is the file of a single photo, and --engine ray writes to a folder: choose one")
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise UserError(f"--device {device}: with --engine ray it is cpu or cuda; auto is cpu")
    require_use(threshold, kind, refine)
    if kind == "soft":
        require_matting()
    out = out.expanduser().absolute()
    plan = plan_rows(photos, out)
    _require_names(plan.rows, kind)
    model, model_hash = load_identified(name, photo_count=len(plan.rows), device="cpu", refine=refine, threshold=threshold)
    say(describe_model(name, model))
    if plan.store is None:  # elsewhere a look at each file would cost as much as predicting it
        refuse_few_bits(row.source for row in plan.rows)
    provenance = Provenance(model_hash, kind, model.threshold, fgbg.__version__, ",".join(parse_steps(refine)))
    mixed = describe_mixture(out, provenance) if force else []
    todo, left_behind = _begin(plan.rows, out, provenance, force=force)
    order = Order(
        model=_name_everywhere(name),
        model_hash=provenance.model,
        refine=refine,
        device=device if device.startswith("cuda") else "cpu",
        kind=kind,
        making=provenance.making,
        out=out,
        photo_count=len(plan.rows),
        threads=1 if address else max(1, count_cores() // workers),
        store=plan.store,
        threshold=threshold,
    )
    problems = _compute_all(order, plan, todo, workers=workers, address=address) if todo else {}
    failed = {Path(row.id) if plan.table else row.source: problems[row.id] for row in todo if problems[row.id]}
    held = find_rows(out) if kind == RUNS else {}
    written = [held[row.id].part if kind == RUNS else row.target for row in todo if not problems[row.id]]
    return Outcome(
        written,
        plan.skipped.unreadable | failed,
        already=len(plan.rows) - len(todo),
        unit="row" if kind == RUNS else "file",
        remarks=(*plan.skipped.describe(), *describe_left_behind(left_behind), *describe_outdated(todo, failed), *mixed),
    )


def _require_names(rows: Sequence[Row], kind: str) -> None:
    """Refuse ids that several photos share, or that cannot name a file below a folder.

    Raises:
        UserError: There are such ids.
    """
    twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"several photos have the id {name_some(twice, 3)}: give each photo one of its own")
    if kind == RUNS:
        return
    strange = [
        row.id for row in rows if str(PurePosixPath(row.id)) != row.id or {"..", ".", "/"} & {*PurePosixPath(row.id).parts}
    ]
    if strange:
        raise UserError(f"id {name_some(strange, 3)} cannot name a file below --out: choose other ids, or --kind {RUNS}")


def _begin(rows: Sequence[Row], out: Path, provenance: Provenance, *, force: bool) -> tuple[list[Row], dict[Path, Path]]:
    """Prepare the folder as `begin_folder` does. It then holds no answers for the rows that are still to do."""
    held = find_rows(out) if provenance.kind == RUNS else {}
    made = {out / f"{name}.png": row.made_of for name, row in held.items()} if provenance.kind == RUNS else None
    todo, left_behind = begin_folder(rows, out, provenance, force=force, made=made)
    forget_attempts(out)
    if provenance.kind != RUNS:
        return todo, left_behind
    gone = {path.relative_to(out).as_posix().removesuffix(".png") for path in left_behind}
    drop_rows(held, {row.id for row in todo} | gone)
    return todo, {}


def _name_everywhere(model: str) -> str:
    """A MODEL's name that means the same in any working directory."""
    return ",".join(name if name == PETS else str(Path(name).expanduser().absolute()) for name in part_names(model))


def _compute_all(order: Order, plan: Plan, todo: Sequence[Row], *, workers: int, address: str) -> dict[str, str]:
    """Each id's problem, empty where its answer was written.

    Raises:
        UserError: The workers gave up, or an answer is missing or came twice.
    """
    gpus = workers if order.device.startswith("cuda") else 0
    with open_cluster(address, workers=workers, threads=order.threads, gpus=gpus):
        answers = compute(order, plan, todo, workers=workers)
        told = list(show_progress(answers, total=len(todo), desc="predicting"))
    forget_attempts(order.out)
    problems = dict(told)
    if len(told) != len(problems) or problems.keys() != {row.id for row in todo}:
        raise UserError(f"{len(told)} answers came for {len(todo)} photos: run the same command again, it goes on")
    return problems
