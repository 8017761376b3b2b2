"""Ids of samples: they are names of files, in the set and in run folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fgbg.errors import UserError
from fgbg.words import name_some

LONGEST_ID = 200  # bytes: file systems allow 255, and files written for a sample add to its id


def require_usable_ids(ids: Sequence[str], set_name: str) -> None:
    """Refuse ids that cannot name files, or that two samples share.

    Raises:
        UserError: There is one.
    """
    strange = [each for each in ids if not each or Path(each).name != each or each.startswith(".")]
    if strange:
        raise UserError(f"{name_some(strange)}: an id names files, so it may not be empty, hold '/' or begin with '.'")
    unwritable = [make_printable(each) for each in ids if make_printable(each) != each]
    if unwritable:
        raise UserError(f"{name_some(unwritable)}: a name that is not in UTF-8 cannot be kept; rename the files")
    refuse_long_ids(ids)
    twice = [each for each, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(f"{set_name} has {name_some(twice)} more than once: give every pair a name of its own")


def make_printable(name: str) -> str:
    """A file's name with everything that is not valid UTF-8 shown as escape sequences.

    >>> make_printable("caf\\udce9")
    'caf\\\\udce9'
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_long(sample_id: str) -> bool:
    """Whether an id, in UTF-8, is too long for the names of files that are made of it."""
    return len(sample_id.encode("utf-8", "surrogatepass")) > LONGEST_ID


def refuse_long_ids(ids: Sequence[str]) -> None:
    """Refuse ids of which no files can be named.

    Raises:
        UserError: One is too long.
    """
    long = [f"{sample_id[:20]}…" for sample_id in ids if is_long(sample_id)]
    if long:
        raise UserError(f"{name_some(long)}: an id names files, so it may be no longer than {LONGEST_ID} bytes; shorten it")
