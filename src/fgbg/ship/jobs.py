"""Which photos are read, and which file is written for each."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbg.data.images import IMAGE_SUFFIXES, PHOTO_LIKE
from fgbg.errors import UserError
from fgbg.words import name_some, plural

RECORD = ".fgbg.json"
"""The file that marks a folder of predictions: it says what made them."""

LEDGERS = ".fgbg.*.jsonl"
"""Which photo each file was made of: lines that are only ever added to, one file per machine."""


def read_ledgers(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines on the files below a folder of predictions; each names its `file`."""
    for path in folder.glob(LEDGERS):
        for line in path.read_bytes().splitlines():
            try:
                about = json.loads(line)
                if isinstance(about["file"], str):
                    yield about
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a kill or a full disk


@dataclass(frozen=True)
class Job:
    """One photo to read and the file to write, which appears whole or not at all."""

    source: Path
    target: Path
    photo: str = ""  # as `describe_photo` tells it, if `source` is not the user's own file


def identify_photo(job: Job) -> str:
    """What tells the job's photo from others that are written to the same place; empty if it cannot be looked at."""
    if job.photo:
        return job.photo
    try:
        about = job.source.stat()
    except OSError:
        return ""  # it is named when it is read
    return describe_photo(job.source.name, about.st_size, about.st_mtime_ns)


def describe_photo(name: str, size: int | None, changed_at: int | None) -> str:
    """A photo's bytes, time of change (in nanoseconds) and name: it is known again wherever its folder is moved to."""
    return f"{size} {changed_at} {name}"


@dataclass(frozen=True)
class Skipped:
    """What a folder holds that is not predicted, although its user may believe so."""

    photo_like: list[Path] = field(default_factory=list)
    predictions: list[Path] = field(default_factory=list)  # pictures that `fgbg predict` wrote before
    unreadable: dict[Path, str] = field(default_factory=dict)  # subfolders and links, with the reason

    def describe(self) -> list[str]:
        """A line on what looks like a photo, and one on earlier predictions, if there are any."""
        return [*self._describe_photo_like(), *self._describe_predictions()]

    def _describe_predictions(self) -> list[str]:
        if not self.predictions:
            return []
        names = name_some([str(path) for path in sorted(self.predictions)], 3)
        return [f"passed over: {plural(len(self.predictions), 'file')} that fgbg predict wrote before ({names})"]

    def _describe_photo_like(self) -> list[str]:
        if not self.photo_like:
            return []
        count, suffixes = len(self.photo_like), sorted({path.suffix.lower() for path in self.photo_like})
        files = "1 file that looks like a photo" if count == 1 else f"{count} files that look like photos"
        names = name_some([str(path) for path in sorted(self.photo_like)], 3)
        return [f"passed over: {files} ({', '.join(suffixes)}): convert to JPEG or PNG first ({names})"]


def plan_output(inputs: Sequence[Path], out: Path, skipped: Skipped | None = None) -> tuple[list[Job], Path]:
    """The jobs, and the folder that they write to: `out`, or its parent if `out` is the file of a single photo.

    Raises:
        UserError: As `plan_jobs`; or `out` is a file although there are several photos, or is not a PNG.
    """
    if not names_picture(out):
        return plan_jobs(inputs, out, skipped), out
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out}: predictions are PNG files: let it end in .png, or choose a folder")
    if len(inputs) > 1 or inputs[0].is_dir():
        raise UserError(f"--out {out} is the file of a single photo: choose a folder for what comes of several")
    _require_there(inputs[0])
    return _require_kept([Job(inputs[0], out)]), out.parent


def names_picture(out: Path) -> bool:
    """Whether `out` is meant as a file: it has a picture's suffix and is not an existing folder."""
    return out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir()


def plan_jobs(inputs: Sequence[Path], out: Path, skipped: Skipped | None = None) -> list[Job]:
    """Which file each photo goes to: the same name below `out`, with subfolders kept and suffix `.png`.

    What the folders hold besides is added to `skipped`.

    Raises:
        UserError: An input does not exist or holds no photo, `out` is the folder of the photos or of one, two photos would
            go to one file, or a photo would be overwritten.
    """
    skipped = skipped or Skipped()
    placed: list[tuple[Path, Path]] = []  # source, place below out
    folders = [path for path in inputs if path.is_dir()]
    for path in inputs:
        _require_there(path)
        if path.is_dir():
            # A single folder's content goes directly into `out`; several folders keep their names.
            prefix = Path(path.resolve().name) if len(folders) > 1 else Path()
            if out.resolve() == path.resolve():
                raise UserError(f"--out {out} is the folder of the photos: choose another, so that they stay apart")
            found = _find_photos(path, out, skipped)
            if not found:
                reasons = [*skipped.unreadable.values(), *skipped.describe()]
                told = f"; {reasons[0]}" if reasons else ""
                raise UserError(f"{path} holds no photos ({', '.join(sorted(IMAGE_SUFFIXES))}), nor is it a run{told}")
            placed += [(photo, prefix / photo.relative_to(path)) for photo in found]
        elif out.resolve() == path.parent.resolve():
            raise UserError(f"--out {out} is the folder of the photo: choose another, or a .png file for a single photo")
        else:
            placed.append((path, Path(path.name)))
    once = {(source.absolute(), place): (source, place) for source, place in placed}  # overlapping patterns
    return assign_targets(list(once.values()), out)


def assign_targets(placed: Sequence[tuple[Path, Path]], out: Path) -> list[Job]:
    """Jobs for photos that have a place below `out`.

    Raises:
        UserError: Two photos would go to one file, or a photo would be overwritten.
    """
    # a.jpg and a.png of one folder would both become a.png: such photos keep their whole name. So do those that would take
    # such a name, as a.png.jpg would take a.png.png.
    shared = Counter(place.with_suffix("") for _, place in placed)
    whole = {place for _, place in placed if shared[place.with_suffix("")] > 1}
    while more := {place for _, place in placed if place.with_suffix("") in whole} - whole:
        whole |= more
    jobs = [Job(source, out / (f"{place}.png" if place in whole else place.with_suffix(".png"))) for source, place in placed]
    twice = [str(target) for target, count in Counter(job.target for job in jobs).items() if count > 1]
    if twice:
        raise UserError(f"several photos would be written to {name_some(twice, 3)}: predict them in separate runs")
    return _require_kept(jobs)


def other_target(job: Job) -> Path:
    """Where the job's photo would be written if no other shared its stem, or, where none does, if one did."""
    whole = job.target.with_name(f"{job.source.name}.png")
    return job.target.with_name(f"{job.source.stem}.png") if job.target == whole else whole


def _require_there(path: Path) -> None:
    if str(path) == "-":
        raise UserError("standard input is not read: name a file")
    if not path.exists():
        raise UserError(f"{path} does not exist: give photos or folders of photos")
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for without an end
        raise UserError(f"{path} is no regular file: give photos or folders of photos")


def _require_kept(jobs: list[Job]) -> list[Job]:
    """Refuse to overwrite a photo that is read."""
    written = [job for job in jobs if job.target.exists() and job.source.exists()]  # in a store a source is not a local path
    replaced = [str(job.source) for job in written if job.target.samefile(job.source)]
    if replaced:
        raise UserError(f"{name_some(replaced, 3)} would be overwritten by its own prediction: choose another --out")
    return jobs


def _find_photos(folder: Path, out: Path, skipped: Skipped) -> list[Path]:
    """The photos in a folder and its subfolders, links to folders too.

    Hidden ones, `out` and what `fgbg predict` wrote into a subfolder are left out.
    """

    def name_unreadable(error: OSError) -> None:
        skipped.unreadable[Path(error.filename)] = (
            f"{error.filename} cannot be read ({error.strerror}): check its permissions"
        )

    found: list[Path] = []
    predictions: set[Path] = set()
    seen = {out.resolve()}
    starts = [folder]
    for start in starts:  # grows by folders that are links: each is looked into once, by its own name if it has one here
        for path, folders, names in os.walk(start, onerror=name_unreadable):
            here = Path(path)
            if here.resolve() in seen:
                folders.clear()
                continue
            seen.add(here.resolve())
            if not os.access(here, os.X_OK):  # its names may be read, but nothing behind them
                name_unreadable(PermissionError(errno.EACCES, os.strerror(errno.EACCES), path))
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            starts.extend(here / name for name in folders if (here / name).is_symlink())
            if here != folder and RECORD in names:  # of a folder that is named itself, the predictions may be meant
                predictions |= {here / about["file"] for about in read_ledgers(here)}
            shown = [here / name for name in names if not name.startswith(".")]
            photos = [path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES]
            skipped.predictions.extend(path for path in photos if path in predictions)
            found += [path for path in photos if path not in predictions]
            skipped.photo_like.extend(path for path in shown if path.suffix.lower() in PHOTO_LIKE)
    for photo in found:
        if photo.is_symlink() and not photo.exists():
            skipped.unreadable[photo] = f"{photo} leads to nothing: mend the link, or remove it"
    return sorted(path for path in found if path.is_file())
