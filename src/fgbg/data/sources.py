"""Where samples come from: `oxford-pet`, `figures`, or a folder understood by its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fgbg.data.annotations import Annotations, find_annotations
from fgbg.data.figures import draw_figures
from fgbg.data.folders import (
    SPLIT_NAMES,
    Fault,
    attach_lists,
    attach_tables,
    find_id,
    ignore,
    index_ids,
    pass_over,
    read_folder,
    read_text,
    refuse,
    say_ungrouped,
)
from fgbg.data.masks import TRIMAP, MaskEncoding
from fgbg.data.outlines import open_outlined
from fgbg.data.oxford import find_oxford, is_oxford, read_oxford
from fgbg.data.parallel import ShowProgress
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.data.split import Locked, lock_splits, split_set
from fgbg.data.split_rules import split_lab, split_official
from fgbg.errors import UserError, unknown_name
from fgbg.user_cache import cache_folder, fill_once
from fgbg.words import ObjectValue, SplitRule, name_some

TERMS = {  # on what terms the photos of the sets that have a name may be used
    "oxford-pet": "Oxford-IIIT Pet (Parkhi et al. 2012), CC BY-SA 4.0",
    "figures": "drawn by fgbg, MIT licence",
}
NAMES = tuple(TERMS)


@dataclass(frozen=True)
class Listing:
    """The pairs of a set as given by its layout and lists; no image has been opened yet."""

    name: str
    folder: Path
    samples: tuple[Sample, ...]
    encoding: MaskEncoding | None = None  # if the layout determines it
    remark: str = ""
    masks_are_drawn: bool = False  # by fgbg, from outlines: they lie in its cache
    bare: frozenset[str] = frozenset()  # ids of photos that the outlines say show no object


def open_samples(
    data: str | Path,
    *,
    split: SplitRule = "official",
    split_seed: int = 0,
    group_by: str = "",
    folds: int = 0,
    fold: int = 0,
    only: str | Path = "",
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
    locked: Mapping[str, Locked] | None = None,
    cuts: bool = True,
    progress: ShowProgress | None = None,
) -> SampleSet:
    """Find, pair, split and understand the samples of DATA.

    Args:
        data: `oxford-pet`, `figures`, or a folder.
        split: `official` (the set's lists if there are any, else 80/10/10 by group) or `lab`, the lab report's split.
        split_seed: Seed of a split that fgbg makes.
        group_by: What keeps samples together in such a split, see `fgbg.data.split.split_set`.
        folds: Split into that many parts, whatever the lists say.
        fold: Index of the part that is the test set.
        only: A file with one id per line; the other samples are left out.
        object_values: Which stored mask values are object, if the set leaves it open.
        categories: Which COCO categories or LabelMe labels are object, if there are several; `all` for all.
        locked: Splits that were decided earlier, by id (see `fgbg.run.Run.locked_splits`); they override every other rule.
        cuts: Whether to cut a set without lists; otherwise its samples are of no split.
        progress: Shows how far reading is.

    Raises:
        UserError: The data do not exist, do not pair up, or cannot be understood.
    """
    # Given a list of samples to use, everything else is left out anyway: files that do not pair up are no fault then.
    is_locked = locked is not None
    wanted = _read_list(Path(only)) if only and not is_locked else []
    fault = ignore if is_locked else partial(pass_over, wanted=wanted) if only else refuse
    listing = list_samples(data, split=split, categories=categories, fault=fault, lists=not is_locked)
    samples, remark = listing.samples, listing.remark
    if locked is not None:
        samples = tuple(lock_splits(samples, locked))
    elif only:
        samples, left_out = _keep_only(samples, wanted, Path(only))
        remark = "; ".join(filter(None, [remark, left_out]))
    sample_set = understand_samples(
        listing.name,
        samples,
        encoding=listing.encoding,
        object_values=object_values,
        remark=remark,
        progress=progress,
    )
    if locked is not None or not (cuts or any(sample.split for sample in samples)):
        return sample_set
    return split_set(sample_set, seed=split_seed, group_by=group_by, folds=folds, fold=fold, progress=progress)


def list_samples(
    data: str | Path,
    *,
    split: SplitRule = "official",
    categories: Sequence[str] = (),
    fault: Fault = refuse,
    lists: bool = True,
) -> Listing:
    """Find and pair the files of DATA, with the splits that its lists and folders give; outlines are drawn as masks.

    Files that do not fit together are passed to `fault`; if that returns, the rest is listed without them. Without `lists`,
    a folder's own lists leave no photo out.

    Raises:
        UserError: The data do not exist, or have no known layout.
    """
    name, folder = _find_folder(data)
    if is_oxford(folder):
        trainval, test, remark = read_oxford(folder, fault)
        samples = split_lab(trainval, test) if split == "lab" else split_official(trainval, test)
        return Listing(name, folder, tuple(samples), TRIMAP, remark)
    if split == "lab":
        raise UserError(f"--split lab cuts the Oxford-IIIT Pet lists, and {folder} has no annotations/trainval.txt")
    if found := find_outlines(folder):
        return _list_outlined(name, folder, found, categories, fault, lists=lists)
    if categories:
        raise UserError(f"--categories {' '.join(categories)}: {folder} has no COCO or LabelMe annotations; leave it out")
    samples, remark = read_folder(folder, fault, lists=lists)
    return Listing(name, folder, tuple(samples), remark=remark)


def _read_list(path: Path) -> list[str]:
    """The lines of a list of samples to keep."""
    if not path.is_file():
        raise UserError(f"--only {path} does not exist: a file with one id a line, as fgbg check --write-clean writes it")
    return [line for line in map(str.strip, read_text(path).splitlines()) if line]


def _keep_only(samples: Sequence[Sample], wanted: Sequence[str], path: Path) -> tuple[tuple[Sample, ...], str]:
    """The samples that the lines of the list at `path` name, and a remark about the rest."""
    by_name = index_ids(sample.id for sample in samples)
    found = {name: find_id(name, by_name) for name in wanted}
    if strange := sorted(name for name, sample_id in found.items() if sample_id is None):
        raise UserError(f"--only {path} lists {name_some(strange)}, which the data do not have: ids are names of photos")
    ids = set(found.values())
    kept = tuple(sample for sample in samples if sample.id in ids)
    return kept, f"{len(samples) - len(kept)} left out by {path.name}"


def _find_folder(data: str | Path) -> tuple[str, Path]:
    """A name to print, and the folder that holds the files (drawn or downloaded if necessary)."""
    if str(data) == "figures":
        return "figures", _draw_default_figures()
    if str(data) == "oxford-pet":
        return "oxford-pet", find_oxford()
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder.resolve().name, folder
    if folder.exists():
        raise UserError(f"{folder} is a file: DATA is a folder, or one of {', '.join(NAMES)}")
    if len(folder.parts) == 1:
        raise unknown_name("DATA (and no such folder)", str(data), NAMES)
    raise UserError(f"{folder} does not exist: DATA is a folder, or one of {', '.join(NAMES)}")


def _draw_default_figures() -> Path:
    return fill_once(cache_folder() / "figures", draw_figures, last="test.txt")


def find_outlines(folder: Path) -> Annotations | None:
    """A folder's COCO or LabelMe annotations; None if it has none, or masks of its own."""
    has_masks = (folder / "masks").is_dir() or any((folder / part / "masks").is_dir() for part in SPLIT_NAMES)
    return None if has_masks else find_annotations(folder)


def _list_outlined(
    name: str, folder: Path, found: Annotations, categories: Sequence[str], fault: Fault, *, lists: bool
) -> Listing:
    """The pairs of a folder with outlines, which are drawn as masks."""
    outlined = open_outlined(folder, found, categories)
    if outlined.missing:
        names = name_some([path.name for path in outlined.missing], 3)
        sentence = f"{names} is annotated but not in {folder}: restore it, or export without it"
        fault("missing-image", outlined.missing, sentence)
    samples, unlisted = attach_tables(folder, outlined.samples, fault), ""
    if lists and not any(sample.split for sample in samples):
        samples, unlisted = attach_lists(folder, samples, fault)
    remark = "; ".join(filter(None, [outlined.remark, unlisted, say_ungrouped(samples)]))
    return Listing(name, folder, tuple(samples), outlined.encoding, remark, masks_are_drawn=True, bare=outlined.bare)
