"""The clean list: the ids of all pairs that are not wrong beyond doubt; of copies one."""

from __future__ import annotations

from pathlib import Path

from fgbg.doctor.audit import Audit
from fgbg.errors import UserError
from fgbg.storage import write_whole


def write_clean_list(audit: Audit, path: Path) -> str:
    """Write one id per line, and return a summary to print.

    Raises:
        UserError: The folder of `path` does not exist, or nothing is left to keep.
    """
    kept = audit.clean_ids()
    if not kept:
        raise UserError(f"--write-clean {path}: every pair of {audit.name} is wrong, none is left to list")
    require_place(path, "--write-clean")
    write_whole(path, "".join(f"{name}\n" for name in kept))
    clean = set(kept)
    judging = sum(sample.split == "test" for sample in audit.samples if sample.id not in clean)
    changed = f", of which {judging:,} test, so that a score is of other photos than without the list" if judging else ""
    left_out = f"{len(audit.samples) - len(kept):,} left out{changed}"
    return f"{path}: {len(kept):,} ids to keep, {left_out}; suspicions stay in, and the data are as they were"


def require_place(path: Path, flag: str) -> None:
    """Refuse a path that no file can be written to.

    Raises:
        UserError: Its folder is missing, or it is a folder itself.
    """
    if path.is_dir():
        raise UserError(f"{flag} {path} is a folder: name a file")
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: {path.parent} does not exist; make it first")
