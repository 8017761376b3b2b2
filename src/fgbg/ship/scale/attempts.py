"""Which photos were begun but not finished: a worker that dies over one cannot report it, and its successor must know."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = ".fgbg.begun"


@contextmanager
def count_attempts(out: Path, ids: Sequence[str]) -> Iterator[int]:
    """How often these photos were begun before but not finished; entering the block begins them once more.

    Notes are files below `out`, one byte per attempt, removed once the block succeeds.
    """
    note = out / FOLDER / hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    before = note.stat().st_size if note.exists() else 0
    note.parent.mkdir(exist_ok=True)
    with note.open("ab") as file:
        file.write(b".")
    yield before
    note.unlink(missing_ok=True)


def forget_attempts(out: Path) -> None:
    """Call before and after a run: what an earlier one did not finish says nothing about its photos."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)
