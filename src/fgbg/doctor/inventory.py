"""Which files there are, and what does not pair up: `fgbg.data.sources` with a `fault` that collects everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fgbg.data.ids import LONGEST_ID, is_long, make_printable
from fgbg.data.samples import Sample
from fgbg.data.sources import Listing, list_samples
from fgbg.doctor.problems import Problem
from fgbg.errors import UserError
from fgbg.words import SplitRule, name_some

ALONE = {
    "missing-mask": "no mask belongs to this photo",
    "missing-image": "no photo belongs to this mask",
}
TOGETHER = ("ambiguous-mask", "ambiguous-group", "sub-folder")
"""Faults that are one problem, however many files they concern."""


@dataclass(frozen=True)
class Inventory:
    """The complete pairs, and what is wrong with the rest. Every id occurs once."""

    listing: Listing
    problems: tuple[Problem, ...]


def take_inventory(data: str | Path, *, split: SplitRule = "official", categories: Sequence[str] = ()) -> Inventory:
    """List the pairs of DATA and every fault of pairing, lists and tables.

    Raises:
        UserError: The data do not exist, have no known layout, or hold nothing at all.
    """
    faults: list[tuple[str, tuple[Path, ...], str]] = []

    def note(kind: str, files: Sequence[Path], sentence: str) -> None:
        faults.append((kind, tuple(files), sentence))

    listing = list_samples(data, split=split, categories=categories, fault=note)
    if not listing.samples and not faults:
        raise UserError(f"{listing.name} holds no pairs of a photo and a mask")
    named, unnamed = _drop_unusable_names(listing.samples, listing.folder)
    samples, repeated = _drop_repeated(named, listing.folder)
    return Inventory(replace(listing, samples=samples), (*_word_faults(faults, listing), *unnamed, *repeated))


def relative_name(path: Path, folder: Path) -> str:
    """The path below the data folder, with `/` on every system, as text that can be printed and stored."""
    return make_printable(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix())


def _word_faults(faults: Sequence[tuple[str, tuple[Path, ...], str]], listing: Listing) -> list[Problem]:
    """One problem per file, but a single one for files that share a name, for groups and for folders.

    If a photo without a mask is also named in a list or table, that adds no problem.
    """
    problems: list[Problem] = []
    alone: set[str] = set()
    for kind, files, sentence in faults:
        if kind in TOGETHER:
            names = tuple(relative_name(path, listing.folder) for path in files)
            left_out = tuple(sample.id for sample in listing.samples if {sample.image, sample.mask} & set(files))
            problems.append(Problem(kind, names, sentence, left_out))
            continue
        # A list or table may name a photo that exists but has no mask: the file it means is the photo, not a mask.
        is_entry = kind == "missing-image" and len(files) == 1 and not _is_mask(files[0])
        is_pairing = kind == "missing-mask" or (not is_entry and (len(files) > 1 or files[0].exists()))
        for path in files:
            ids = {path.name, path.stem, f"{path.parent.parent.name}_{path.stem}"}
            if is_entry and ids & alone:
                continue
            detail = ALONE[kind] if kind in ALONE and is_pairing else sentence
            problems.append(Problem(kind, (relative_name(path, listing.folder),), detail))
            alone |= ids if is_pairing else set()
    return problems


def _is_mask(path: Path) -> bool:
    """Whether a file without a photo is a mask that is there, rather than the photo that a list or table names."""
    return path.is_file() and path.parent.name != "images"


def _drop_unusable_names(samples: Sequence[Sample], folder: Path) -> tuple[list[Sample], list[Problem]]:
    """The samples whose names are valid UTF-8 and short enough; each of the others is a problem."""
    named, problems = [], []
    for sample in samples:
        if make_printable(sample.id) != sample.id:
            fault = "is not in UTF-8"
        elif is_long(sample.id):
            fault = f"is longer than {LONGEST_ID} bytes"
        else:
            named.append(sample)
            continue
        files = tuple(relative_name(path, folder) for path in (sample.image, sample.mask) if isinstance(path, Path))
        problems.append(Problem("corrupt", files, f"the name {fault}: rename the files"))
    return named, problems


def _drop_repeated(samples: Sequence[Sample], folder: Path) -> tuple[tuple[Sample, ...], list[Problem]]:
    """Each id once. An id that is twice in a list, or in two lists, is a problem."""
    kept: dict[str, Sample] = {}
    problems = []
    for sample in samples:
        first = kept.setdefault(sample.id, sample)
        if first is sample:
            continue
        file = (relative_name(sample.image, folder),) if isinstance(sample.image, Path) else ()
        splits = name_some(list(dict.fromkeys([first.split, sample.split])))
        if len({first.split, sample.split} - {"train", "validation"}) == 0:  # both come from one official list
            problems.append(Problem("duplicate", file, f"listed twice ({splits})"))
        else:
            problems.append(Problem("leak", file, f"listed twice ({splits})"))
    return tuple(kept.values()), problems
