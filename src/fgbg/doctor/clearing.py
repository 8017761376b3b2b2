"""What fgbg keeps on disk, and how to remove it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from fgbg.user_cache import cache_folder


class Entry(NamedTuple):
    """Something that fgbg keeps in the cache folder."""

    meaning: str
    content: str = ""  # if it is a folder: a pattern that the names in it match


_KEY = r"[0-9a-f]{24}"
ENTRIES = {
    "checks.sqlite": Entry("results of earlier checks"),
    "decoded": Entry("decoded photos for training", rf"{_KEY}(\.partial)?"),
    "figures": Entry("drawn figures", r"images|masks|metadata\.csv|(train|val|test)\.txt"),
    "fingerprints": Entry("fingerprints for the search for duplicates", r"\d+"),
    "locks": Entry("who decodes photos or draws masks", rf"{_KEY}|figures|oxford-pet"),
    "masks": Entry("masks drawn from annotations", rf"{_KEY}(\.partial)?"),
    "oxford-pet": Entry("Oxford-IIIT Pet as downloaded", r"images|annotations|complete|(images|annotations)\.tar\.gz"),
}


def clear_cache() -> str:
    """Delete what fgbg keeps in the cache folder, and return what was deleted and how large it was.

    All of it can be made or downloaded again. Entries with other names or contents stay: FGBG_CACHE may name a folder that
    holds more, such as a user's own `masks/`.
    """
    folder = cache_folder()
    entries = [folder / name for name, entry in ENTRIES.items() if _is_ours(folder / name, entry)]
    if not entries:
        return f"{folder} holds nothing of fgbg: nothing to remove"
    lines = []
    total = 0
    for entry in entries:
        size = _measure_size(entry)
        total += size
        lines.append(f"  {_say_size(size):>9}  {entry.name}: {ENTRIES[entry.name].meaning}")
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return "\n".join([f"removed {_say_size(total)} from {folder}:", *lines])


def _is_ours(path: Path, entry: Entry) -> bool:
    """Whether the path exists and holds nothing but what fgbg writes into it."""
    if not path.is_dir():
        return path.is_file() and not entry.content
    return bool(entry.content) and all(re.fullmatch(entry.content, child.name) for child in path.iterdir())


def _measure_size(entry: Path) -> int:
    """Bytes of a file, or of all files below a folder; a link counts as itself."""
    if entry.is_symlink() or entry.is_file():
        return entry.lstat().st_size
    return sum(path.lstat().st_size for path in entry.rglob("*") if not path.is_dir() or path.is_symlink())


def _say_size(size: int) -> str:
    """A number of bytes in a readable unit.

    >>> _say_size(900), _say_size(12_345_678)
    ('900 B', '12.3 MB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
