"""What fgbg keeps on the disk, and how to be rid of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from fgbg.storage import cache_folder

MEANINGS = {  # everything that fgbg writes there
    "checks.sqlite": "results of earlier checks",
    "decoded": "decoded photos for training",
    "figures": "drawn figures",
    "fingerprints": "fingerprints for the search for duplicates",
    "locks": "who decodes photos or draws masks",
    "masks": "masks drawn from annotations",
    "oxford-pet": "Oxford-IIIT Pet as downloaded",
}


def clear_cache() -> str:
    """Remove what fgbg keeps in the cache folder, and say what went and how large it was.

    All of it can be made or fetched again. What has another name stays: FGBG_CACHE may name a folder that holds more.
    """
    folder = cache_folder()
    entries = [folder / name for name in MEANINGS if (folder / name).exists()]
    if not entries:
        return f"{folder} holds nothing of fgbg: nothing to remove"
    lines = []
    total = 0
    for entry in entries:
        size = _measure_size(entry)
        total += size
        lines.append(f"  {_say_size(size):>9}  {entry.name}: {MEANINGS[entry.name]}")
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return "\n".join([f"removed {_say_size(total)} from {folder}:", *lines])


def _measure_size(entry: Path) -> int:
    """Bytes of a file, or of all files below a folder; a link counts as itself."""
    if entry.is_symlink() or entry.is_file():
        return entry.lstat().st_size
    return sum(path.lstat().st_size for path in entry.rglob("*") if not path.is_dir() or path.is_symlink())


def _say_size(size: int) -> str:
    """Bytes in a unit that people read.

    >>> _say_size(900), _say_size(12_345_678)
    ('900 B', '12.3 MB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
