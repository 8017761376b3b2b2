"""Where fgbg keeps what it can make again, and how it writes what must not be lost."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import platformdirs

from fgbg.errors import UserError

RUN_MARK = "config.toml"
"""The file that makes a folder a run."""

LOCK = ".lock"
"""Held by the process that writes into a run folder."""

PARTIAL = ".*.partial"
"""What a file is called until it is whole."""


def cache_folder() -> Path:
    """The user's cache folder for fgbg (decoded images, drawn figures, downloads), or the one that FGBG_CACHE names.

    It need not exist yet.
    """
    named = os.environ.get("FGBG_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("fgbg", appauthor=False))


class HeldError(Exception):
    """Another process holds a lock; the text is its number."""


@contextmanager
def hold_lock(path: Path, *, waits: bool) -> Iterator[None]:
    """Within it no other process is inside a `hold_lock` of the same path.

    The system lets go of it when this process ends, however it ends: after a kill nothing is left to clear away. The file
    stays, with the number of the process that held it last.

    Args:
        path: The file to lock; made if it is not there.
        waits: Until the other one is done, or not at all.

    Raises:
        HeldError: Another one holds it, and `waits` is False.
    """
    from filelock import FileLock, Timeout  # for who trains; a page that serves a model does without

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


def make_once(folder: Path, make: Callable[[Path], None], find_damage: Callable[[Path], str] = lambda _: "") -> Path:
    """A folder of the cache that holds all that `make` writes into it, or does not exist.

    One process makes it, aside, and renames it when it is whole; others wait. One that has been damaged since is made again.

    Args:
        folder: What it shall be called: a name that differs where any content would.
        make: Fills an empty folder.
        find_damage: Says what in a folder is not as it was made; nothing where all of it is.

    Returns:
        `folder`.

    Raises:
        OSError: It cannot be written; the error names a file.
    """
    if folder.exists() and not find_damage(folder):
        return folder
    with _hold_cache_lock(folder):
        if folder.exists():  # damaged, or made by another process just now
            damage = find_damage(folder)
            if not damage:
                return folder
            print(f"fgbg: {folder} is damaged ({damage}): making it anew", file=sys.stderr)
            shutil.rmtree(folder)
        aside = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed: a live one would hold the lock
        aside.mkdir(parents=True)
        try:
            make(aside)
            aside.rename(folder)
        except OSError as error:
            error.filename = error.filename or str(folder)  # a failed write does not know which file it was for
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def fill_once(folder: Path, fill: Callable[[Path], None], *, last: str) -> Path:
    """A folder of the cache that holds all that `fill` writes into it; one process fills it, others wait.

    What a process that was killed has left is gone over again, so that a download need not begin from nothing.

    Args:
        folder: Made if it is not there.
        fill: Fills it.
        last: The file that `fill` writes last.

    Returns:
        `folder`.
    """
    if (folder / last).exists():
        return folder
    with _hold_cache_lock(folder):
        if not (folder / last).exists():  # not filled by another process just now
            fill(folder)
    return folder


def _hold_cache_lock(folder: Path) -> AbstractContextManager[None]:
    """Within it no other process makes this folder of the cache."""
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return hold_lock(locks / folder.name, waits=True)


FULL_DISK_BYTES = 1_000_000  # less than this left after a failed write: the disk was the reason


@contextmanager
def replace_when_whole(path: Path) -> Iterator[Path]:
    """A path to write to, which takes `path`'s place once everything is on the disk.

    Whoever reads `path` finds the old file or the new one, never half of one: not after a kill, not on a full disk.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replace_when_whole(target) as aside:
    ...     _ = aside.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    aside = path.with_name(PARTIAL.replace("*", path.name))
    try:
        yield aside
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except Exception as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)  # a failed write does not know which file it was for
            raise
        # Writers of tensors and workbooks have errors of their own for a full disk; say it in the system's words.
        if shutil.disk_usage(path.parent).free < FULL_DISK_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def holds_nothing(folder: Path) -> bool:
    """Whether a folder is empty but for what a process leaves that was killed before it wrote anything."""
    return all(path.name == LOCK or path.match(PARTIAL) for path in folder.iterdir())


def make_empty_folder(folder: Path) -> Path:
    """Make a folder for output, with its parents, that holds nothing yet.

    Raises:
        UserError: There is something in it already, or it cannot be made.
    """
    if folder.is_dir() and not holds_nothing(folder):
        raise UserError(f"{folder} is not empty: choose another folder")
    return make_folder(folder)


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run of fgbg: its settings, which a training writes first."""
    return (folder / RUN_MARK).is_file()


def make_folder(folder: Path) -> Path:
    """Make a folder for output, with its parents.

    Raises:
        UserError: It cannot be made or not be written to.
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
    """Within it no other process of fgbg writes into the run folder.

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
