"""What made a folder of predictions, kept beside them, so that the same command resumes where it was stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fgbg.data.samples import name_some
from fgbg.errors import UserError
from fgbg.model_file import find_model_file
from fgbg.ship.jobs import RECORD, Job
from fgbg.ship.load import part_names

AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True)
class Provenance:
    """Everything but the photo that decides the pixels of a prediction."""

    model: str  # a hash of its file
    kind: str
    threshold: float
    fgbg_version: str
    refinement: str = ""  # steps, separated by commas


def hash_model(name: str) -> str:
    """Twelve hex digits of the SHA-256 of each file of a MODEL, separated by commas."""
    hashes = []
    for part in part_names(name):
        with find_model_file(part).open("rb") as content:
            hashes.append(hashlib.file_digest(content, "sha256").hexdigest()[:12])
    return ",".join(hashes)


def leave_out_done(jobs: Sequence[AnyJob], out: Path, provenance: Provenance) -> list[AnyJob]:
    """The jobs that are still to do; `out` may already hold predictions of this provenance.

    Raises:
        UserError: A file to be written exists already, with another provenance.
    """
    existing = [job for job in jobs if job.target.exists()]
    if not existing:
        return list(jobs)
    before = _read_provenance(out)
    # A file older than the record is another model's: a run with --force wrote the record but never reached that file.
    began = _changed_at(out / RECORD) if before == provenance else None
    strange = [str(job.target) for job in existing if began is None or _changed_at(job.target) < began]
    if not strange:
        return [job for job in jobs if not job.target.exists() or _changed_at(job.target) < _photo_changed_at(job)]
    verb = "exists" if len(strange) == 1 else "exist"
    ours = dataclasses.asdict(provenance)
    changed = before and [name for name, value in ours.items() if getattr(before, name) != value]
    reason = f" and came of another {' and '.join(changed).replace('_', ' ')}" if changed else ""
    raise UserError(f"{name_some(strange, 3)} {verb} already{reason}: choose another --out, or --force to overwrite")


def write_provenance(out: Path, provenance: Provenance) -> None:
    """Write a record into the folder. One that says the same is left alone: its age tells which files came after it."""
    if _read_provenance(out) != provenance:
        (out / RECORD).write_text(json.dumps(dataclasses.asdict(provenance)) + "\n", encoding="utf-8")


def _photo_changed_at(job: Job) -> int:
    return _changed_at(job.source) if job.changed_at is None else job.changed_at


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def _read_provenance(out: Path) -> Provenance | None:
    try:
        return Provenance(**json.loads((out / RECORD).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
