"""What is to be predicted: files that all workers see, photos at an address, or the rows of Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyarrow import fs

from fgbg.data.images import IMAGE_SUFFIXES, PHOTO_LIKE
from fgbg.errors import UserError
from fgbg.ship.jobs import Job, Skipped, assign_targets, describe_photo, plan_jobs
from fgbg.ship.load import needs_ray
from fgbg.ship.scale.store import Store, open_store
from fgbg.ship.scale.table import Table, open_table, read_ids


@dataclass(frozen=True, kw_only=True)
class Row(Job):
    """A photo of the plan: its mask is written to `ID.png`, or its runs to a row with that id."""

    id: str


@dataclass(frozen=True)
class Plan:
    """All photos, and where they are: in a store, in a table of a store, or (neither) on disks that every worker sees."""

    rows: list[Row]
    store: Store | None = None
    table: Table | None = None
    skipped: Skipped = field(default_factory=Skipped)


def plan_rows(inputs: Sequence[str], out: Path) -> Plan:
    """The photos that the inputs hold, each with its file below `out`.

    Raises:
        UserError: An input does not exist, cannot be reached or holds no photo, or two photos have one name.
    """
    beyond = [name for name in inputs if needs_ray(name) or _holds_parquet(Path(name).expanduser(), out)]
    if not beyond:
        skipped = Skipped()
        jobs = plan_jobs([Path(name).expanduser().absolute() for name in inputs], out, skipped)
        return Plan([_to_row(job, out) for job in jobs], skipped=skipped)
    if len(inputs) > 1:
        raise UserError(f"{beyond[0]} is Parquet or an address, which are predicted alone: name one input a run")
    store = open_store(beyond[0])
    found = _leave_out(store.list_files(), store, out)
    tables = [info for info in found if info.extension.lower() == "parquet"]
    photos = [info for info in found if f".{info.extension.lower()}" in IMAGE_SUFFIXES]
    skipped = Skipped([Path(info.path) for info in found if f".{info.extension.lower()}" in PHOTO_LIKE])
    if bool(tables) == bool(photos):
        both = "both Parquet and photos" if tables else f"neither Parquet nor photos ({', '.join(sorted(IMAGE_SUFFIXES))})"
        raise UserError(f"{beyond[0]} holds {both}: name a folder that holds one of them")
    plan = _plan_table(tables, store, out) if tables else _plan_photos(photos, store, out)
    return replace(plan, skipped=skipped)


def _plan_photos(photos: Sequence[fs.FileInfo], store: Store, out: Path) -> Plan:
    places = [store.place(info) if len(photos) > 1 else info.base_name for info in photos]
    jobs = assign_targets([(Path(info.path), Path(place)) for info, place in zip(photos, places, strict=True)], out)
    rows = [_to_row(replace(job, photo=_identify(info)), out) for job, info in zip(jobs, photos, strict=True)]
    return Plan(rows, store)


def _plan_table(files: Sequence[fs.FileInfo], store: Store, out: Path) -> Plan:
    table = open_table(store, [info.path for info in files])
    rows = [
        Row(Path(info.path), out / f"{name}.png", _identify(info), id=name)
        for info in files
        for name in read_ids(table, info.path)
    ]
    return Plan(rows, store, table)


def _to_row(job: Job, out: Path) -> Row:
    name = job.target.relative_to(out).as_posix().removesuffix(".png")
    return Row(job.source, job.target, job.photo, id=name)


def _identify(info: fs.FileInfo) -> str:
    """As `identify_photo`, for a file of a store."""
    return describe_photo(info.base_name, info.size, info.mtime_ns)


def _holds_parquet(path: Path, out: Path) -> bool:
    """Whether a folder holds Parquet, other than what was written to `out` in it."""
    return path.is_dir() and any(out.absolute() not in found.absolute().parents for found in path.rglob("*.parquet"))


def _leave_out(found: list[fs.FileInfo], store: Store, out: Path) -> list[fs.FileInfo]:
    """The files but for those in `out`, which may lie in a folder of photos: they are an earlier run's.

    Raises:
        UserError: `out` is the folder of the photos.
    """
    if not isinstance(store.filesystem, fs.LocalFileSystem):
        return found
    inside = os.path.relpath(os.path.realpath(out), os.path.realpath(store.top))
    if inside == ".":
        raise UserError(f"--out {out} is the folder of the photos: choose another, so that they stay apart")
    return [info for info in found if not store.place(info).is_relative_to(inside)]
