"""Predict photos in files and folders: write masks, cut-outs, overlays or probabilities of the same size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

import fgbg
from fgbg.cores import count_cores
from fgbg.data.images import read_photo_size
from fgbg.data.overlooked import refuse_few_bits
from fgbg.data.parallel import ShowProgress, map_in_order, show_progress
from fgbg.errors import UserError
from fgbg.model_file import PETS
from fgbg.ship.draw import grade, write_picture
from fgbg.ship.jobs import Job, Skipped, identify_photo, plan_output
from fgbg.ship.load import Model, describe_model, names_model, needs_ray
from fgbg.ship.matte import require_matting
from fgbg.ship.photo import Photo, open_file, weigh_pixels
from fgbg.ship.provenance import (
    Ledger,
    Provenance,
    begin_folder,
    describe_mixture,
    existing_files,
    find_ledger,
    load_identified,
)
from fgbg.ship.refine import parse_steps
from fgbg.storage import PARTIAL, aside_of, make_folder
from fgbg.words import AnyKind, Kind, plural

Result = TypeVar("Result")

LEFTOVER_SECONDS = 3600  # a picture takes seconds to write
READ_AHEAD, WRITTEN_BEHIND = 8, 4  # photos that wait to be computed or written: bounds memory where they are large


@dataclass(frozen=True)
class Outcome:
    """What was written, which photos could not be read, with the reason, and how many were written before."""

    written: list[Path]
    failed: dict[Path, str]
    already: int = 0
    unit: str = "file"  # what is written per photo
    remarks: tuple[str, ...] = ()  # on what else the folders hold

    def describe(self, out: Path) -> str:
        """What was written, in a line."""
        before = f", {self.already:,} from before" if self.already else ""
        return f"{out}: {plural(len(self.written), self.unit)} written{before}"

    def complain(self) -> list[str]:
        """Every photo that was left out, and what else its user should know, as lines for stderr."""
        return [*(f"left out: {reason}" for reason in self.failed.values()), *self.remarks]


def predict_inputs(
    inputs: Sequence[str],
    out: Path,
    *,
    kind: Kind = "mask",
    refine: str = "",
    threshold: float | None = None,
    force: bool = False,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Outcome:
    """Predict photos and folders of photos with the MODEL that comes first among `inputs`, or with `pets` if none does.

    `out` is a folder, or the .png of a single photo. What the same model made of the same photos before, in the same kind,
    is not computed again.

    Raises:
        UserError: There is no model or no photo, the photos with 16 bits use 14 or fewer, `threshold` decides nothing, or
            `out` cannot be used or (without `force`) holds other predictions.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("fgbg predict is one process: start it without torchrun; --engine ray shares photos among several")
    name, photos = tell_model_from_photos(inputs)
    if strange := [photo for photo in photos if needs_ray(photo)]:
        raise UserError(f"{strange[0]} is no file or folder of photos: --engine ray reads Parquet and addresses")
    require_use(threshold, kind, refine)
    if kind == "soft":
        require_matting()
    out, skipped = out.expanduser(), Skipped()
    jobs, folder = plan_output([Path(path).expanduser() for path in photos], out, skipped)
    model, model_hash = load_identified(name, photo_count=len(jobs), device=device, refine=refine, threshold=threshold)
    say(describe_model(name, model))
    refuse_few_bits(job.source for job in jobs)
    provenance = Provenance(model_hash, kind, model.threshold, fgbg.__version__, ",".join(parse_steps(refine)))
    ledger: Ledger | None = Ledger(out, provenance.making)
    left_behind: dict[Path, Path] = {}
    mixed = describe_mixture(out, provenance) if force else []
    if folder == out:
        todo, left_behind = begin_folder(jobs, out, provenance, force=force)
    else:  # a single file, which is never taken for done
        if out.exists() and not force:
            raise existing_files([str(out)])
        make_folder(folder)
        todo, ledger = jobs, find_ledger(out, provenance)
    _clear_leftovers(todo)
    outcome = predict_files(model, todo, kind=kind, progress=show_progress, ledger=ledger)
    return replace(
        outcome,
        failed=skipped.unreadable | outcome.failed,
        already=len(jobs) - len(todo),
        remarks=(*skipped.describe(), *describe_left_behind(left_behind), *describe_outdated(todo, outcome.failed), *mixed),
    )


def require_use(threshold: float | None, kind: AnyKind, refine: str) -> None:
    """Refuse a threshold where nothing is asked of it.

    Raises:
        UserError: The picture is of probabilities, and no step looks at what is object.
    """
    if threshold is not None and kind == "probability" and not refine:
        raise UserError(
            f"--threshold {threshold:g}: --kind probability shows each pixel's own, whatever the threshold: leave one of "
            "the two out"
        )


def describe_left_behind(files: dict[Path, Path]) -> list[str]:
    """A line for each file of a photo that now has another one."""
    return [f"{old} is from before, and its photo's file is now {new}: remove the old one" for old, new in files.items()]


def describe_outdated(jobs: Iterable[Job], failed: Container[Path]) -> list[str]:
    """A line for each photo that cannot be read any more and whose file is still that of an earlier one."""
    old = [job.target for job in jobs if job.source in failed and job.target.exists()]
    return [f"{path} is from before, and not of the photo that is there now: remove it" for path in old]


def _clear_leftovers(jobs: Sequence[Job]) -> None:
    """Remove the unfinished files of a prediction that was killed; those of one that is running are younger."""
    for folder in {job.target.parent for job in jobs}:
        for path in folder.glob(PARTIAL):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()


def tell_model_from_photos(inputs: Sequence[str]) -> tuple[str, list[str]]:
    """The MODEL that comes first among `inputs`, otherwise `pets`, and what is to be predicted.

    Raises:
        UserError: There is nothing to predict.
    """
    name, photos = (inputs[0], inputs[1:]) if inputs and names_model(inputs[0]) else (PETS, inputs)
    if photos:
        return name, list(photos)
    if inputs and name != PETS and "," not in name and not Path(name).expanduser().exists():
        raise UserError(f"{name} does not exist: name photos or folders of photos, with a MODEL first or without")
    taken = f"a folder called {PETS} is meant by ./{PETS}" if name == PETS else f"{name} was taken for the MODEL"
    hint = f"; {taken}" if inputs else ""
    raise UserError(f"which photos? Name photos or folders of photos, with a MODEL first or without{hint}")


@dataclass(frozen=True)
class Opened(Photo):
    """A job's photo, read."""

    job: Job


def predict_files(
    model: Model,
    jobs: Sequence[Job],
    *,
    kind: Kind = "mask",
    progress: ShowProgress | None = None,
    ledger: Ledger | None = None,
) -> Outcome:
    """Predict every photo and write its file, replacing an old one. A photo that cannot be read is named and left out.

    What each file is made of is noted in `ledger`.
    """

    def write(photo: Opened, grades: NDArray[np.uint8]) -> Path:
        target = photo.job.target
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = aside_of(target, writer=f".{os.getpid()}")  # another `fgbg predict` may be writing the same file
        try:
            with aside.open("wb") as file:
                write_picture(kind, photo.job.source, photo.pixels, grades, file)
            if ledger:
                ledger.note(photo.job, aside)
            aside.replace(target)  # whole or not at all, so that a killed run can go on
        except OSError as error:
            error.filename = error.filename or str(target)  # a failed write does not know which file it was for
            raise
        finally:
            aside.unlink(missing_ok=True)
        return target

    # A function, not a generator: a suspended generator would keep the probability alive while the picture is written.
    def grade_answer(answer: tuple[Opened, NDArray[np.float32]]) -> tuple[Opened, NDArray[np.uint8]]:
        photo, probability = answer
        return photo, grade(kind, probability, model.threshold)

    def predict(job: Job) -> Path | UserError:
        photo = _open_job(job)
        if isinstance(photo, UserError):
            return photo
        return write(photo, grade(kind, model(photo), model.threshold))

    if model.one_by_one:
        # The core that reads a photo also computes and writes it: none waits for another, and what it read is still cached.
        results = list(zip(jobs, _map_jobs(predict, jobs, progress, in_flight=2 * count_cores()), strict=True))
        failed = {job.source: str(result) for job, result in results if isinstance(result, UserError)}
        return Outcome([result for _, result in results if isinstance(result, Path)], failed)
    # Reading, computing and writing go on at the same time.
    failed = {}
    graded = map(grade_answer, model.answer(open_jobs(jobs, failed, progress)))
    written = map_in_order(
        lambda found: write(*found), graded, in_flight=WRITTEN_BEHIND, weigh=lambda found: found[0].weight
    )
    return Outcome(list(written), failed)


def open_jobs(jobs: Sequence[Job], failed: dict[Path, str], progress: ShowProgress | None = None) -> Iterator[Opened]:
    """The jobs' photos in order, read ahead. Those that cannot be read are added to `failed`, with the reason."""
    for job, photo in zip(jobs, _map_jobs(_open_job, jobs, progress, in_flight=READ_AHEAD), strict=True):
        if isinstance(photo, UserError):
            failed[job.source] = str(photo)
        else:
            yield photo


def _map_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], progress: ShowProgress | None, *, in_flight: int
) -> Iterator[Result]:
    return map_in_order(work, jobs, progress, "predicting", in_flight=in_flight, weigh=_weigh_job)


def _open_job(job: Job) -> Opened | UserError:
    job = replace(job, photo=identify_photo(job))  # first, lest another photo that takes its place pass for this one
    try:
        photo = open_file(job.source)
    except UserError as error:
        return error
    return Opened(photo.pixels, photo.height, photo.width, job)


def _weigh_job(job: Job) -> float:
    try:
        return weigh_pixels(*read_photo_size(job.source))
    except UserError:
        return 1.0  # it is named when it is read
