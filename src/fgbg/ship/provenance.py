"""What made a folder of predictions, kept beside them, so that the same command resumes where it was stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fgbg.errors import UserError
from fgbg.model_file import find_model_file
from fgbg.ship.jobs import LEDGERS, RECORD, Job, identify_photo, other_target, read_ledgers
from fgbg.ship.load import Model, load_for_many, part_names
from fgbg.storage import hash_file, make_folder, write_whole
from fgbg.words import name_some

AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True)
class Provenance:
    """Everything but the photo that decides the pixels of a prediction."""

    model: str  # a hash of its file
    kind: str
    threshold: float
    fgbg_version: str
    refinement: str = ""  # steps, separated by commas

    def to_line(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @property
    def making(self) -> str:
        """Twelve hex digits that stand for all of it."""
        return hashlib.sha256(self.to_line().encode()).hexdigest()[:12]


def hash_model(name: str) -> str:
    """Twelve hex digits of the SHA-256 of each file of a MODEL, separated by commas."""
    return ",".join(hash_file(find_model_file(part))[:12] for part in part_names(name))


def load_identified(
    name: str, *, photo_count: int, device: str, refine: str, threshold: float | None = None
) -> tuple[Model, str]:
    """`load_for_many`, with the hash of the very files that were loaded, even if a training replaces them meanwhile."""
    while True:
        before = hash_model(name)
        model = load_for_many(name, photo_count=photo_count, device=device, refine=refine, threshold=threshold)
        if hash_model(name) == before:
            return model, before


@dataclass(frozen=True)
class Ledger:
    """What the files below a folder are made of.

    A file's line is written before the file gets its name, and holds for the file of just that age. So whenever a run is
    killed, and whoever else writes there, no file is taken for another photo's.
    """

    folder: Path
    making: str

    def describe(self, job: Job) -> str:
        """What the job's file is made of: a text that is another wherever the photo or the making is."""
        return f"{self.making} {identify_photo(job)}"

    def note(self, job: Job, whole: Path) -> None:
        """Write the line for a job's file, which is complete but has another name yet."""
        line = {
            "file": self._place(job),
            "written_at": whole.stat().st_mtime_ns,
            "made_of": self.describe(job),
        }
        # Not with the machine's name, which is nobody's business. Each machine has its own file, since only on one machine
        # nothing is lost when several processes add to a file.
        machine = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
        with (self.folder / LEDGERS.replace("*", machine)).open("ab") as file:
            file.write(f"\n{json.dumps(line)}".encode())  # the break comes first: behind a line that was cut short, too

    def read(self, jobs: Sequence[Job]) -> dict[Path, str]:
        """What existing files are made of, the jobs' own and those of `other_target`; empty where nobody knows."""
        # The files are looked at before the lines are read: each has its line by then.
        standing = {job: written_at for job in jobs if (written_at := _written_at(job.target)) is not None}
        lines = self._read_lines()
        made = {job.target: self._tell(job, lines, written_at) for job, written_at in standing.items()}
        others = (replace(job, target=other_target(job)) for job in jobs if len(lines) > len(made))
        for job in others:
            if self._place(job) in lines and job.target not in made and (written_at := _written_at(job.target)) is not None:
                made[job.target] = self._tell(job, lines, written_at)
        return made

    def _tell(self, job: Job, lines: dict[str, dict[int, str]], written_at: int) -> str:
        known, ours = lines.get(self._place(job), {}), self.describe(job)
        # One that was changed by hand or copied, and was never made of anything else, still counts as what it was.
        return known.get(written_at) or (ours if {*known.values()} == {ours} else "")

    def _place(self, job: Job) -> str:
        return job.target.relative_to(self.folder).as_posix()

    def _read_lines(self) -> dict[str, dict[int, str]]:
        """What each file was made of at each time it was written."""
        found: dict[str, dict[int, str]] = {}
        for about in read_ledgers(self.folder):
            try:
                times, written_at, made_of = found.setdefault(about["file"], {}), about["written_at"], about["made_of"]
                if times.setdefault(written_at, made_of) != made_of:
                    times[written_at] = made_of.split()[0]  # at one moment of two photos: nobody knows of which
            except (KeyError, TypeError, AttributeError):
                continue  # changed by hand
        return found


def begin_folder(
    jobs: Sequence[AnyJob], out: Path, provenance: Provenance, *, force: bool, made: dict[Path, str] | None = None
) -> tuple[list[AnyJob], dict[Path, Path]]:
    """Make `out` a folder of this provenance, and tell what is to do.

    Args:
        jobs: All that are wanted.
        out: A folder, which may exist.
        provenance: Of what will be written.
        force: Overwrite whatever is there.
        made: What existing answers are made of, if the folder's ledger does not tell.

    Returns:
        The jobs that are still to do; and files of photos that now have another one, since another photo has come to share
        their stem or no longer does, each with that other one.

    Raises:
        UserError: The folder is one of another provenance, or a file to be written is not known to be of this one.
    """
    if not force:
        _require_own(out, provenance)
    ledger = Ledger(out, provenance.making)
    made = ledger.read(jobs) if made is None else made
    strange = [str(job.target) for job in jobs if not made.get(job.target, ledger.making).startswith(ledger.making)]
    if strange and not force:
        raise existing_files(strange)
    make_folder(out)
    _claim(out, provenance, force=force)
    rest = made.keys() - {job.target for job in jobs}
    left_behind = {
        other: job.target
        for job in jobs
        if rest and (other := other_target(job)) in rest and _names_photo(made[other], job.source.name)
    }
    return [job for job in jobs if force or made.get(job.target) != ledger.describe(job)], left_behind


def find_ledger(target: Path, provenance: Provenance) -> Ledger | None:
    """The ledger of the folder of predictions that a file lies in, if it does."""
    home = next((folder for folder in target.parents if (folder / RECORD).exists()), None)
    return Ledger(home, provenance.making) if home else None


def existing_files(names: Sequence[str]) -> UserError:
    """The error for files to be written that may be anybody's."""
    verb = "exists" if len(names) == 1 else "exist"
    return UserError(f"{name_some(names, 3)} {verb} already: choose another --out, or --force to overwrite")


def _claim(out: Path, provenance: Provenance, *, force: bool) -> None:
    """Write the record into the folder, whole or not at all. Of two that do so at once, only one succeeds."""
    record = out / RECORD
    if _read_provenance(out) == provenance:
        return
    own = out / f".{RECORD}.{os.getpid()}.partial"
    try:
        write_whole(own, provenance.to_line())
        if force:
            own.replace(record)
            return
        try:
            record.hardlink_to(own)
        except FileExistsError:
            pass
        except OSError:  # a disk without hard links
            own.replace(record)
    finally:
        own.unlink(missing_ok=True)
    _require_own(out, provenance)


def _require_own(out: Path, provenance: Provenance) -> None:
    """Refuse a folder whose record tells of another provenance.

    Raises:
        UserError: It does, or is damaged.
    """
    if told := _tell_other(out, provenance):
        raise UserError(f"{out} holds {told}: choose another --out, or --force to overwrite")


def describe_mixture(out: Path, provenance: Provenance) -> list[str]:
    """A line on predictions of another provenance in a folder that is about to be written to all the same."""
    told = _tell_other(out, provenance)
    return [f"{out} held {told}: what was not written over is still there"] if told else []


def _tell_other(out: Path, provenance: Provenance) -> str:
    """What is in the folder, if it is of another provenance or nobody knows of which; empty otherwise."""
    before, ours = _read_provenance(out), dataclasses.asdict(provenance)
    if before == provenance or not (out / RECORD).exists():
        return ""
    changed = [name.replace("_", " ") for name, value in ours.items() if before and getattr(before, name) != value]
    return f"predictions of another {' and '.join(changed)}" if changed else f"predictions, but {RECORD} is damaged"


def _names_photo(made_of: str, name: str) -> bool:
    return made_of.split(" ", 3)[3:] == [name]  # making, bytes, time, name


def _written_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_provenance(out: Path) -> Provenance | None:
    try:
        return Provenance(**json.loads((out / RECORD).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
