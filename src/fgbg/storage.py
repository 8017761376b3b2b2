"""Locks between processes, writes that survive kills and full disks, and folders for output."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from fgbg.errors import UserError

RUN_MARK = "config.toml"
"""The file that makes a folder a run."""

FOLD_FOLDER = "fold-{}"
"""Name of a fold's run in the folder of a cross-validation."""

JOINT = "members.json"
"""The file that marks a folder of scores that are no training's own, and says whose they are: of runs, or of masks."""

LOCK = ".lock"
"""Held by the process that writes into a run folder."""

PARTIAL = ".*.partial"
"""Name of a file until it is complete."""

LONGEST_NAME = 255
"""Bytes that a file's name may have, on all common disks."""


class HeldError(Exception):
    """Another process holds a lock; the text is its process id."""


@contextmanager
def hold_lock(path: Path, *, waits: bool) -> Iterator[None]:
    """Context that holds an exclusive lock between processes on `path`.

    The system releases the lock when this process ends, even by a kill, so that nothing needs cleaning up. The file stays,
    with the id of the process that held it last.

    Args:
        path: The file to lock; created if missing.
        waits: Whether to wait until another holder is done.

    Raises:
        HeldError: Another process holds it, and `waits` is False.
    """
    from filelock import FileLock, Timeout  # imported here: serving a model does without it

    lock = FileLock(path)
    try:
        lock.acquire(blocking=waits)
    except Timeout:
        raise HeldError(path.read_text(errors="replace").strip() or "unknown") from None
    try:
        path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def aside_of(path: Path, *, writer: str = "") -> Path:
    """Where a file or folder is written until it is complete: beside it, under a name that is not too long either.

    Args:
        path: Where it is to appear.
        writer: What tells its writer from others that may write to the same place at the same time.
    """
    names = (path.name, hashlib.sha256(os.fsencode(path.name)).hexdigest())
    asides = [path.with_name(PARTIAL.replace("*", name + writer)) for name in names]
    return asides[0] if len(os.fsencode(asides[0].name)) <= LONGEST_NAME else asides[1]


PROBE_BYTES = 1_000_000  # after a failed write, as many more show whether the system refused it


@contextmanager
def replace_when_whole(path: Path) -> Iterator[Path]:
    """A path to write to, which replaces `path` once everything is on the disk.

    Readers of `path` find the old file or the new one, never a partial one, even after a kill or on a full disk.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replace_when_whole(target) as aside:
    ...     _ = aside.write_text("whole")
    >>> target.read_text()
    'whole'

    Raises:
        UserError: Its folder is missing or takes no files.
    """
    aside = aside_of(path)
    try:
        aside.touch()
    except FileNotFoundError:  # no such folder, or none for files, such as /proc
        raise UserError(f"{path} cannot be made: {path.parent} is missing or takes no files: choose another") from None
    try:
        mode = aside.stat().st_mode
        yield aside
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        if aside.stat().st_mode != mode:  # some libraries make files that only their owner may read
            aside.chmod(mode)
        aside.replace(path)
    except Exception as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)  # a failed write does not know which file it was for
            raise
        # Writers of tensors and workbooks raise errors of their own on a full disk; raise the system's instead.
        if (refusal := _probe(aside)) is not None:
            raise OSError(refusal.errno, refusal.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8 by `replace_when_whole`."""
    with replace_when_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _probe(path: Path) -> OSError | None:
    """The system's error if the file cannot grow any more: the disk or a quota is full, or files may not be larger.

    Leaves the file empty: a library may keep it open for some time yet, and what it takes would be missing elsewhere.
    """
    written = 0
    try:
        with path.open("ab", buffering=0) as file:
            try:
                while written < PROBE_BYTES:
                    written += file.write(bytes(PROBE_BYTES - written))
                os.fsync(file.fileno())
            finally:
                file.truncate(0)
    except OSError as error:
        return error
    return None


def holds_nothing(folder: Path, *, besides: Collection[Path] = ()) -> bool:
    """Whether a folder is empty, apart from lock and partial files of a killed process, and from `besides`."""
    return all(path.name == LOCK or path.match(PARTIAL) or path in besides for path in folder.iterdir())


def make_empty_folder(folder: Path) -> Path:
    """Create an empty folder for output, with its parents.

    Raises:
        UserError: It is not empty, or cannot be created.
    """
    if folder.is_dir() and not holds_nothing(folder):
        raise UserError(f"{folder} is not empty: choose another folder")
    return make_folder(folder)


def list_folds(folder: Path) -> list[Path]:
    """The runs of a cross-validation that `fgbg train --folds` wrote into a folder, in order; empty for other folders."""
    prefix = FOLD_FOLDER.format("")
    numbers = [path.name.removeprefix(prefix) for path in folder.glob(f"{prefix}*") if is_run(path)]
    return [folder / FOLD_FOLDER.format(number) for number in sorted(int(each) for each in numbers if each.isdecimal())]


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run: its settings file, which a training writes first."""
    return (folder / RUN_MARK).is_file()


def make_folder(folder: Path) -> Path:
    """Create a folder for output, with its parents.

    Raises:
        UserError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder} is a file: choose a folder") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}): choose a folder you may write to") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} may not be written to: choose another folder")
    return folder


def free_name(folder: Path) -> Path:
    """`folder`, or the first of folder-2, folder-3, … that is missing or empty."""
    free, number = folder, 1
    while free.exists() and (free.is_file() or not holds_nothing(free)):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


@contextmanager
def write_alone(folder: Path) -> Iterator[None]:
    """Context in which no other fgbg process writes into the run folder.

    Raises:
        UserError: Another one does.
    """
    try:
        with hold_lock(folder / LOCK, waits=False):
            yield
    except HeldError as held:
        raise UserError(
            f"{folder} is being written to by another fgbg (process {held}): wait for it, end it, or choose another folder"
        ) from None
