"""The user's cache folder, and how one of several processes makes what it holds, once."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import platformdirs

from fgbg.errors import UserError
from fgbg.storage import hold_lock


def cache_folder() -> Path:
    """The user's cache folder for fgbg (decoded images, drawn figures, downloads), or the one that FGBG_CACHE names.

    It need not exist yet.
    """
    named = os.environ.get("FGBG_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("fgbg", appauthor=False))


def make_once(folder: Path, make: Callable[[Path], None], find_damage: Callable[[Path], str] = lambda _: "") -> Path:
    """A cache folder that holds everything that `make` writes into it, or does not exist.

    One process fills a temporary folder and renames it when complete; others wait. A damaged folder is made again.

    Args:
        folder: Its path; the name must differ whenever the content would.
        make: Fills an empty folder.
        find_damage: Describes damage in a folder; returns an empty string if there is none.

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
    """A cache folder that holds everything that `fill` writes into it; one process fills it, others wait.

    If a process is killed, the next one calls `fill` on what it left, so that a download need not start over.

    Args:
        folder: Created if missing.
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
    """Context in which no other process makes this cache folder.

    Raises:
        UserError: There is no place for it.
    """
    locks = cache_folder() / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"the cache folder {cache_folder()} cannot be made ({error.strerror}): set FGBG_CACHE to a folder that you may "
            "write to"
        ) from None
    return hold_lock(locks / folder.name, waits=True)
