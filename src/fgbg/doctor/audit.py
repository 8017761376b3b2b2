"""`fgbg check DATA`: report everything that is wrong with a data set at once, and change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgbg.data.images import list_images
from fgbg.data.masks import TRIMAP, MaskEncoding
from fgbg.data.oxford import is_oxford
from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.data.samples import SPLITS, Inspection, Sample, SampleSet, thin_histogram
from fgbg.data.sources import Listing
from fgbg.data.split import refuse_one_sided, require_splits, split_set
from fgbg.doctor.copies import name_copies
from fgbg.doctor.encodings import Settled, settle_encoding
from fgbg.doctor.inventory import relative_name, take_inventory
from fgbg.doctor.known_faults import note_known, remark_on_types, remark_on_unlisted
from fgbg.doctor.known_photos import name_known_photos
from fgbg.doctor.looks import MaskLook, PairLook, look_at_mask, look_at_pair
from fgbg.doctor.overlooked import name_overlooked
from fgbg.doctor.problems import KINDS, Problem
from fgbg.doctor.results import Results
from fgbg.doctor.suspicions import name_classes, name_suspicions, remark_on_frames
from fgbg.errors import UserError
from fgbg.run import Run
from fgbg.words import ObjectValue, SplitRule

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
TYPES = {"jpg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF"}  # endings that are not the type's name


@dataclass(frozen=True)
class Audit:
    """What a check found. `statistics` holds the QUANTILES of each measure; `encoding` is None if masks fit none."""

    name: str
    folder: Path
    understood: str
    fingerprint: str
    encoding: MaskEncoding | None
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    statistics: Mapping[str, tuple[float, ...]]

    @property
    def has_facts(self) -> bool:
        """Whether any problem is a fact rather than a suspicion."""
        return any(KINDS[problem.kind].is_fact for problem in self.problems)

    def of(self, kind: str) -> list[Problem]:
        """The problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]

    def clean_ids(self) -> list[str]:
        """Ids of the pairs that are not wrong beyond doubt, and of one of several copies."""
        left_out = {name for problem in self.problems for name in problem.left_out}
        return [sample.id for sample in self.samples if sample.id not in left_out]

    def to_json(self) -> dict[str, Any]:
        """Everything, for a program to read."""
        splits = Counter(sample.split for sample in self.samples)
        return {
            "data": self.name,
            "folder": str(self.folder),
            "understood": self.understood,
            "pairs": len(self.samples),
            "fingerprint": self.fingerprint,
            "encoding": self.encoding.name if self.encoding else None,
            "splits": {split: splits[split] for split in SPLITS},
            "counts": {kind: len(self.of(kind)) for kind in KINDS},
            "problems": [problem.to_json() for problem in self.problems],
            "remarks": list(self.remarks),
            "quantiles": list(QUANTILES),
            "statistics": {name: list(values) for name, values in self.statistics.items()},
        }


def check_data(
    data: str | Path,
    *,
    split: SplitRule = "official",
    split_seed: int = 0,
    group_by: str = "",
    folds: int = 0,
    fold: int = 0,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
    against: Run | None = None,
    progress: ShowProgress | None = None,
) -> Audit:
    """Audit a data set: pairing, damage, sizes, labels, copies, leaks. It never changes the data.

    Args:
        data: `oxford-pet`, `figures`, or a folder.
        split: `official` or `lab`, as for training.
        split_seed, group_by, folds, fold: How the data are split if that is open, as for training.
        object_values: Which stored mask values are object, if the set leaves it open.
        categories: Which COCO categories or LabelMe labels are object, if there are several.
        against: Also look for photos that this run has seen.
        progress: Shows how far reading is.

    Raises:
        UserError: The data do not exist, have no known layout, or hold nothing; or the run's own data are not at hand.
    """
    inventory = take_inventory(data, split=split, categories=categories)
    samples = {sample.id: sample for sample in inventory.listing.samples}
    files = _name_files(inventory.listing)
    with Results() as results:
        masks = _look_at_masks(samples, results, progress)
        readable = {name: look.stored for name, look in masks.items() if look.stored is not None}
        settled = settle_encoding(readable, inventory.listing.encoding, object_values)
        looks = _look_at_pairs(samples, masks, settled, results, progress)
    decoded = {name: look for name, look in looks.items() if not look.photo.error}
    read = _gather(inventory.listing, masks, decoded, settled)
    remarks, untrainable = [], ""
    if read.samples:
        try:
            read = split_set(read, seed=split_seed, group_by=group_by, folds=folds, fold=fold, progress=progress)
            require_splits(read)
            if settled.encoding:
                refuse_one_sided(read)
        except UserError as error:
            untrainable = str(error)
    splits = {sample.split for sample in read.samples}
    if untrainable and (against or splits == {"test"}):
        remarks.append(f"can be scored, not trained on: {untrainable}")
    elif splits and not untrainable and "test" not in splits:
        remarks.append("no test photos: none are left to judge a model by")
    samples |= {sample.id: sample for sample in read.samples}
    problems = [*inventory.problems, *_name_facts(files, masks, looks, settled, inventory.listing.bare)]
    if untrainable and not (against or splits == {"test"}):
        problems.append(Problem("untrainable", (), untrainable))
    problems += name_overlooked(samples, masks, decoded, files)
    problems += name_copies(samples, decoded, masks, files, progress)
    if against is not None:
        problems += name_known_photos(decoded, files, against, progress)
    problems += _name_suspicions(decoded, files)
    if settled.encoding == TRIMAP and not inventory.listing.encoding:  # decided by the values alone
        problems += name_classes({name: look.geometry for name, look in decoded.items() if look.geometry}, files)
    remarks += _remark(inventory.listing, read, decoded)
    if is_oxford(inventory.listing.folder):
        problems = note_known(problems)
    return Audit(
        name=read.name,
        folder=inventory.listing.folder,
        understood=_describe(read, settled.encoding),
        fingerprint=read.fingerprint,
        encoding=settled.encoding,
        samples=tuple(samples.values()),
        problems=tuple(sorted(problems, key=lambda problem: list(KINDS).index(problem.kind))),
        remarks=tuple(remarks),
        statistics=_take_statistics(decoded),
    )


def _describe(read: SampleSet, encoding: MaskEncoding | None) -> str:
    """What was understood, in one line."""
    if not read.samples:
        return f"{read.name}: no pair can be read"
    return read.describe() if encoding else f"{read.name}: masks that cannot be understood"


def _name_files(listing: Listing) -> dict[str, tuple[str, str]]:
    """Photo and mask of each id as paths below the data folder; where masks are drawn from outlines, the photo twice."""
    files = {}
    for sample in listing.samples:
        if isinstance(sample.image, Path) and isinstance(sample.mask, Path):
            image = relative_name(sample.image, listing.folder)
            files[sample.id] = image, image if listing.masks_are_drawn else relative_name(sample.mask, listing.folder)
    return files


def _look_at_masks(samples: Mapping[str, Sample], results: Results, progress: ShowProgress | None) -> dict[str, MaskLook]:
    def look(sample: Sample) -> MaskLook:
        assert isinstance(sample.mask, Path)
        return look_at_mask(sample.mask, results)

    return dict(zip(samples, map_in_order(look, list(samples.values()), progress, "reading masks"), strict=True))


def _look_at_pairs(
    samples: Mapping[str, Sample],
    masks: Mapping[str, MaskLook],
    settled: Settled,
    results: Results,
    progress: ShowProgress | None,
) -> dict[str, PairLook]:
    def look(sample: Sample) -> PairLook:
        fits = masks[sample.id].stored is not None and sample.id not in settled.deviating
        return look_at_pair(sample, masks[sample.id], settled.encoding if fits else None, results)

    return dict(zip(samples, map_in_order(look, list(samples.values()), progress, "looking at photos"), strict=True))


def _name_facts(
    files: Mapping[str, tuple[str, str]],
    masks: Mapping[str, MaskLook],
    looks: Mapping[str, PairLook],
    settled: Settled,
    bare: frozenset[str],
) -> list[Problem]:
    """What is definitely wrong with single pairs. By their annotations, photos in `bare` show no object."""
    problems = []
    for name, (image, mask) in files.items():
        seen, photo = masks[name], looks[name].photo
        if photo.error:
            problems.append(Problem("corrupt", (image,), photo.error, (name,)))
        if seen.error:
            problems.append(Problem("corrupt" if seen.is_damaged else "ambiguous-mask", (mask,), seen.error, (name,)))
        if seen.stored is None:
            continue
        if not photo.error and (seen.height, seen.width) != (photo.height, photo.width):
            detail = f"mask {seen.width}×{seen.height} pixels, photo {photo.width}×{photo.height}"
            problems.append(Problem("size-mismatch", (mask, image), detail, (name,)))
        if name in settled.deviating and settled.encoding:
            detail = f"{settled.deviating[name]}, unlike the rest of the set ({settled.encoding.name})"
            problems.append(Problem("ambiguous-mask", (mask,), detail, (name,)))
        elif settled.encoding and not seen.stored.histogram[list(settled.encoding.object_values)].any():
            if name not in bare:
                problems.append(Problem("empty-mask", (mask, image), "no pixel is object"))
        elif settled.encoding and not seen.stored.histogram[list(settled.encoding.ground_values)].any():
            problems.append(Problem("full-mask", (mask, image), "no pixel is ground", (name,)))
    if settled.encoding is None and settled.sentence:
        unread = tuple(files[name][1] for name, look in masks.items() if look.stored is not None)
        problems.append(Problem("ambiguous-mask", unread, settled.sentence))
    return problems


def _name_suspicions(decoded: Mapping[str, PairLook], files: Mapping[str, tuple[str, str]]) -> list[Problem]:
    shaped = {name: look.geometry for name, look in decoded.items() if look.geometry and look.geometry.has_outline}
    placed = {name: look.alignment for name, look in decoded.items() if name in shaped and look.alignment}
    return name_suspicions(shaped, placed, files)


def _gather(listing: Listing, masks: Mapping[str, MaskLook], decoded: Mapping[str, PairLook], settled: Settled) -> SampleSet:
    """The readable pairs as `fgbg train` sees them, so that splits and hash are the same if all can be read."""
    whole, inspections = [], []
    for sample in listing.samples:
        mask = masks[sample.id]
        if sample.id in decoded and mask.stored is not None:
            photo, stored = decoded[sample.id].photo, mask.stored
            whole.append(sample)
            counts = *thin_histogram(stored.histogram), stored.place, stored.even_grey
            inspections.append(Inspection(photo.hash, mask.hash, photo.height, photo.width, *counts))
    encoding = settled.encoding or MaskEncoding("no known encoding", (), ())
    return SampleSet(listing.name, tuple(whole), tuple(inspections), encoding, listing.remark)


def _remark(listing: Listing, read: SampleSet, decoded: Mapping[str, PairLook]) -> list[str]:
    """Remarks on what is not a problem."""
    of_oxford = is_oxford(listing.folder)
    remarks = remark_on_frames([look.geometry for look in decoded.values() if look.geometry and look.geometry.has_outline])
    remarks += remark_on_types(_find_other_types(read.samples, decoded), is_oxford=of_oxford)
    if of_oxford:
        listed = {sample.id for sample in listing.samples}
        unlisted = [path.stem for path in list_images(listing.folder / "images") if path.stem not in listed]
        remarks += remark_on_unlisted(unlisted)
    return remarks


def _find_other_types(samples: Sequence[Sample], decoded: Mapping[str, PairLook]) -> dict[str, str]:
    """Types of the photos whose content does not match their file ending, by id."""
    found = {}
    for sample in samples:
        ending = sample.image.suffix.lower().lstrip(".") if isinstance(sample.image, Path) else ""
        kind = decoded[sample.id].photo.format
        if kind == "MPO":
            kind = "JPEG"  # with a second picture behind the first, as many phones write it
        if kind != TYPES.get(ending, ending.upper()):
            found[sample.id] = kind
    return found


def _take_statistics(decoded: Mapping[str, PairLook]) -> dict[str, tuple[float, ...]]:
    """QUANTILES of each measure over the photos. A measure that no photo has is left out."""
    looks = list(decoded.values())
    measures: dict[str, Sequence[float]] = {
        "width": [look.photo.width for look in looks],
        "height": [look.photo.height for look in looks],
        "object_share": [look.geometry.object_share for look in looks if look.geometry],
        "tone_contrast": [look.tone_contrast for look in looks if look.tone_contrast is not None],
        "irregularity": [look.irregularity for look in looks if look.irregularity is not None],
    }
    return {name: tuple(np.quantile(values, QUANTILES).tolist()) for name, values in measures.items() if values}
