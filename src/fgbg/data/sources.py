"""Where samples come from: `oxford-pet`, `figures`, or a folder understood by its layout."""

from __future__ import annotations

import csv
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fgbg.data.annotations import find_annotations
from fgbg.data.cut import split_lab, split_official
from fgbg.data.figures import draw_figures
from fgbg.data.images import list_images
from fgbg.data.masks import TRIMAP, MaskEncoding
from fgbg.data.outlines import open_outlined
from fgbg.data.parallel import Progress
from fgbg.data.samples import Sample, SampleSet, name_some, understand_samples
from fgbg.data.split import Locked, lock_splits, split_set
from fgbg.errors import UserError, unknown_name
from fgbg.storage import cache_folder

SplitRule = Literal["official", "lab"]
NAMES = ("oxford-pet", "figures")
LIST_SPLITS = {"train": "train", "val": "validation", "test": "test"}  # name of a list -> split
FOLDER_SPLITS = {**LIST_SPLITS, "valid": "validation", "validation": "validation"}  # other tools' names for a folder

Fault = Callable[[str, Sequence[Path], str], None]
"""Told of files that do not fit together: the kind of problem as `fgbg check` names it, the files, and a sentence."""

PET_ARCHIVES = {  # published by the authors of the data set, with their MD5 sums as torchvision knows them
    "images.tar.gz": "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
}
PET_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"


@dataclass(frozen=True)
class Listing:
    """The pairs of a set as its layout and lists tell them; no image was opened yet."""

    name: str
    folder: Path
    samples: tuple[Sample, ...]
    encoding: MaskEncoding | None = None  # where the layout says it
    remark: str = ""


def refuse(_kind: str, _files: Sequence[Path], sentence: str) -> None:
    """The `Fault` of everything but the audit: stop at the first.

    Raises:
        UserError: Always.
    """
    raise UserError(sentence)


def pass_over(kind: str, files: Sequence[Path], sentence: str) -> None:
    """The `Fault` where a list says what to keep: files without a partner are left out, and no list may hold them.

    Raises:
        UserError: Lists contradict each other.
    """
    if kind in ("duplicate", "leak"):
        refuse(kind, files, sentence)


def open_samples(
    data: str | Path,
    *,
    split: SplitRule = "official",
    split_seed: int = 0,
    group_by: str = "",
    folds: int = 0,
    fold: int = 0,
    only: str | Path = "",
    object_values: Sequence[int] = (),
    categories: Sequence[str] = (),
    locked: Mapping[str, Locked] | None = None,
    progress: Progress | None = None,
) -> SampleSet:
    """Find, pair, split and understand the samples of DATA.

    Args:
        data: `oxford-pet`, `figures`, or a folder.
        split: `official` (lists where there are some, else 80/10/10 by group) or `lab`, the report's cut.
        split_seed: Seed of a cut that fgbg makes.
        group_by: What keeps samples together in such a cut, see `fgbg.data.split.split_set`.
        folds: Cut into that many parts, whatever the lists say.
        fold: The part that tests.
        only: A file with one id a line; the other samples are left out.
        object_values: Which stored mask values are object, where the set leaves it open.
        categories: Which categories of COCO or labels of LabelMe are object, where there are several; `all` for all.
        locked: Splits that were decided before, by id (see `fgbg.run.Run.locked_splits`), in place of every other rule.
        progress: Shows how far reading is.

    Raises:
        UserError: The data do not exist, do not pair up, or cannot be understood.
    """
    listing = list_samples(data, split=split, categories=categories, fault=pass_over if only else refuse)
    samples, remark = listing.samples, listing.remark
    if locked is not None:
        samples = tuple(lock_splits(samples, locked))
    elif only:
        samples, left_out = _keep_only(samples, Path(only))
        remark = "; ".join(filter(None, [remark, left_out]))
    sample_set = understand_samples(
        listing.name,
        samples,
        encoding=listing.encoding,
        object_values=object_values,
        remark=remark,
        progress=progress,
    )
    if locked is not None:
        return sample_set
    return split_set(sample_set, seed=split_seed, group_by=group_by, folds=folds, fold=fold, progress=progress)


def list_samples(
    data: str | Path, *, split: SplitRule = "official", categories: Sequence[str] = (), fault: Fault = refuse
) -> Listing:
    """Find and pair the files of DATA, with the splits that its lists and folders give; outlines are drawn as masks.

    What does not fit together goes to `fault`; if that returns, the rest is listed without it.

    Raises:
        UserError: The data do not exist, or have no layout that is known.
    """
    name, folder = _find_folder(data)
    if is_oxford(folder):
        trainval, test, remark = _read_oxford(folder, fault)
        samples = split_lab(trainval, test) if split == "lab" else split_official(trainval, test)
        return Listing(name, folder, tuple(samples), TRIMAP, remark)
    if split == "lab":
        raise UserError(f"--split lab cuts the Oxford-IIIT Pet lists, and {folder} has no annotations/trainval.txt")
    if has_outlines(folder):
        samples, encoding, remark = _read_outlines(folder, categories, fault)
        return Listing(name, folder, tuple(samples), encoding, remark)
    if categories:
        raise UserError(f"--categories {' '.join(categories)}: {folder} has no COCO or LabelMe annotations; leave it out")
    samples, remark = _read_folder(folder, fault)
    return Listing(name, folder, tuple(samples), remark=remark)


def _keep_only(samples: Sequence[Sample], path: Path) -> tuple[tuple[Sample, ...], str]:
    """The samples that a list names, and what is to be said of the rest."""
    if not path.is_file():
        raise UserError(f"--only {path} does not exist: a file with one id a line, as fgbg check --write-clean writes it")
    wanted = set(filter(None, map(str.strip, _read_text(path).splitlines())))
    strange = sorted(wanted - {sample.id for sample in samples})
    if strange:
        raise UserError(f"--only {path} lists {name_some(strange)}, which the data do not have: ids are names of photos")
    kept = tuple(sample for sample in samples if sample.id in wanted)
    return kept, f"{len(samples) - len(kept)} left out by {path.name}"


def _find_folder(data: str | Path) -> tuple[str, Path]:
    """A name for what is printed, and the folder that holds the files (drawn or downloaded where it must be)."""
    if str(data) == "figures":
        return "figures", _draw_default_figures()
    if str(data) == "oxford-pet":
        return "oxford-pet", _find_oxford()
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder.resolve().name, folder
    if folder.exists():
        raise UserError(f"{folder} is a file: DATA is a folder, or one of {', '.join(NAMES)}")
    if len(folder.parts) == 1:
        raise unknown_name("DATA (and no such folder)", str(data), NAMES)
    raise UserError(f"{folder} does not exist: DATA is a folder, or one of {', '.join(NAMES)}")


def _draw_default_figures() -> Path:
    folder = cache_folder() / "figures"
    if not (folder / "test.txt").exists():  # written last
        draw_figures(folder)
    return folder


def _find_oxford() -> Path:
    """The local copy that FGBG_DATA names, else the official archives in the user's cache, downloaded once."""
    named = os.environ.get("FGBG_DATA")
    if named:
        folder = Path(named).expanduser()
        if not is_oxford(folder):
            raise UserError(f"FGBG_DATA={named} is no copy of Oxford-IIIT Pet: it has no annotations/trainval.txt")
        return folder
    return download_oxford(cache_folder() / "oxford-pet")


def download_oxford(folder: Path, *, address: str = PET_ADDRESS, archives: Mapping[str, str] = PET_ARCHIVES) -> Path:
    """Fetch and unpack the official archives into `folder`, checked by their sums; nothing to do where that is done.

    Raises:
        UserError: An archive cannot be fetched or is not what it should be.
    """
    if is_oxford(folder) and (folder / "complete").exists():
        return folder
    import pooch

    for name, known_hash in archives.items():
        try:
            archive = pooch.retrieve(address + name, known_hash, fname=name, path=folder, progressbar=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{address}{name} could not be fetched ({error}): "
                "download it by hand, unpack it, and name the folder in FGBG_DATA"
            ) from None
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        Path(archive).unlink()
    (folder / "complete").touch()
    return folder


def is_oxford(folder: Path) -> bool:
    """Whether a folder has the official layout of Oxford-IIIT Pet."""
    return (folder / "annotations" / "trainval.txt").exists()


def _read_oxford(folder: Path, fault: Fault) -> tuple[list[Sample], list[Sample], str]:
    """The samples of trainval.txt and of test.txt in file order, and what is to be said of the rest."""
    annotations = folder / "annotations"
    lists = []
    for list_name in ("trainval.txt", "test.txt"):
        if not (annotations / list_name).exists():
            raise UserError(f"{annotations / list_name} does not exist: the copy of Oxford-IIIT Pet is incomplete")
        lines = _read_text(annotations / list_name).splitlines()
        ids = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        lists.append(
            [
                Sample(
                    name,
                    folder / "images" / f"{name}.jpg",
                    annotations / "trimaps" / f"{name}.png",
                    metadata={"breed": name.rpartition("_")[0]},
                )
                for name in ids
            ]
        )
    known = {sample.id for samples in lists for sample in samples}
    trainval, test = (_keep_whole(samples, fault) for samples in lists)
    unlisted = [path.stem for path in list_images(folder / "images") if path.stem not in known]
    return trainval, test, _say_unlisted(unlisted)


def _keep_whole(samples: Sequence[Sample], fault: Fault) -> list[Sample]:
    """The listed samples of which both files are there."""
    for kind in ("image", "mask"):
        absent = [path for sample in samples if isinstance(path := getattr(sample, kind), Path) and not path.exists()]
        if absent:
            names = name_some([str(path) for path in absent], 3)
            fault(f"missing-{kind}", absent, f"{names} is listed but does not exist: restore it or take it off the list")
        samples = [sample for sample in samples if getattr(sample, kind) not in absent]
    return list(samples)


def has_outlines(folder: Path) -> bool:
    """Whether a folder has COCO or LabelMe annotations, and no masks that somebody made already."""
    has_masks = (folder / "masks").is_dir() or any((folder / part / "masks").is_dir() for part in FOLDER_SPLITS)
    return not has_masks and bool(find_annotations(folder)[0])


def _read_outlines(folder: Path, categories: Sequence[str], fault: Fault) -> tuple[list[Sample], MaskEncoding, str]:
    """Samples whose masks are drawn, what their values mean, and what is to be said."""
    samples, encoding, missing, remark = open_outlined(folder, categories)
    if missing:
        names = name_some([path.name for path in missing], 3)
        fault("missing-image", missing, f"{names} is annotated but not in {folder}: restore it, or export without it")
    samples = _attach_tables(folder, samples, fault)
    return (samples if any(sample.split for sample in samples) else _attach_lists(folder, samples, fault)), encoding, remark


def _read_folder(folder: Path, fault: Fault) -> tuple[list[Sample], str]:
    """`images/` + `masks/`, or `train|val|test/{images,masks}/`, with the optional lists and tables beside them.

    Returns:
        The samples (without a split where nothing says one), and what is to be said of the rest.
    """
    parts = {part: split for part, split in FOLDER_SPLITS.items() if (folder / part / "images").is_dir()}
    if parts:
        samples = [
            replace(sample, id=f"{part}_{sample.id}", split=split)
            for part, split in parts.items()
            for sample in _pair_folder(folder / part, fault)
        ]
        return _attach_tables(folder, samples, fault), ""
    if not (folder / "images").is_dir():
        raise UserError(
            f"{folder} has no layout that is known: it needs images/ and masks/, or train/, val/ and test/ with these "
            "inside, or annotations of COCO or LabelMe"
        )
    everything = _attach_tables(folder, _pair_folder(folder, fault), fault)
    listed = _attach_lists(folder, everything, fault)
    kept = {sample.id for sample in listed}
    unlisted = [sample.id for sample in everything if sample.id not in kept]
    return listed, _say_unlisted(unlisted)


def _say_unlisted(names: Sequence[str]) -> str:
    photos = "1 photo" if len(names) == 1 else f"{len(names)} photos"
    return f"{photos} on no list left out ({name_some(names)})" if names else ""


def _pair_folder(folder: Path, fault: Fault) -> list[Sample]:
    """Samples of `images/` and `masks/`, paired by file stem.

    `fault` hears of photos without a mask, masks without a photo, and a stem that stands for two files.

    Raises:
        UserError: A folder is missing or empty.
    """
    by_stem: dict[str, dict[str, Path]] = {}
    for kind in ("images", "masks"):
        if not (folder / kind).is_dir():
            raise UserError(f"{folder / kind} does not exist: photos go into images/, masks of the same names into masks/")
        paths = list_images(folder / kind)
        if not paths:
            raise UserError(f"{folder / kind} holds no images")
        by_stem[kind] = {path.stem: path for path in paths}
        if len(by_stem[kind]) < len(paths):
            twice = [path for path in paths if by_stem[kind][path.stem] != path]
            names = name_some([path.name for path in twice])
            both = [path for path in paths if path.stem in {other.stem for other in twice}]
            fault("ambiguous-mask", both, f"{folder / kind} has two files for {names}: names must differ before the ending")
    images, masks = by_stem["images"], by_stem["masks"]
    alone = [images[stem] for stem in images if stem not in masks]
    if alone:
        names = name_some([path.name for path in alone], 20)
        fault("missing-mask", alone, f"{len(alone)} of {len(images)} photos have no mask in {folder / 'masks'}: {names}")
    alone = [masks[stem] for stem in masks if stem not in images]
    if alone:
        names = name_some([path.name for path in alone], 20)
        fault("missing-image", alone, f"{len(alone)} of {len(masks)} masks have no photo in {folder / 'images'}: {names}")
    return [Sample(stem, images[stem], masks[stem]) for stem in images if stem in masks]


def _attach_lists(folder: Path, samples: Sequence[Sample], fault: Fault) -> list[Sample]:
    """Splits from train.txt, val.txt and test.txt (one id a line); photos in none of them are left out."""
    lists = {split: folder / f"{name}.txt" for name, split in LIST_SPLITS.items() if (folder / f"{name}.txt").exists()}
    if not lists:
        return list(samples)
    by_id = {sample.id: sample for sample in samples}
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        for line in filter(None, map(str.strip, _read_text(path).splitlines())):
            sample_id = line if line in by_id else Path(line).stem
            if sample_id not in by_id:
                fault(
                    "missing-image",
                    [folder / "images" / line],
                    f"{path} lists '{line}', which is not in {folder / 'images'}",
                )
            elif sample_id in split_of:
                kind = "duplicate" if split_of[sample_id] == split else "leak"
                sentence = f"{path} lists '{line}', which is already {split_of[sample_id]}: one list a photo"
                fault(kind, [folder / "images" / line], sentence)
            else:
                split_of[sample_id] = split
    return [replace(by_id[sample_id], split=split) for sample_id, split in split_of.items()]


def _attach_tables(folder: Path, samples: Sequence[Sample], fault: Fault) -> list[Sample]:
    """Groups from groups.csv (id, group) and every column of metadata.csv."""
    ids = [sample.id for sample in samples]
    groups, metadata = (_read_table(folder / name, ids, fault) for name in ("groups.csv", "metadata.csv"))
    if groups and "group" not in next(iter(groups.values())):
        raise UserError(f"{folder / 'groups.csv'} has no column 'group': its first line must be id,group")
    return [
        replace(
            sample,
            group=groups.get(sample.id, {}).get("group", sample.group),
            metadata={**sample.metadata, **metadata.get(sample.id, {})},
        )
        for sample in samples
    ]


def _read_table(path: Path, ids: Sequence[str], fault: Fault) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by sample id, which the column `id` gives with or without an ending; nothing without a file.

    Raises:
        UserError: No column `id`, or a file that is not UTF-8.
    """
    if not path.exists():
        return {}
    reader = csv.DictReader(_read_text(path).splitlines())
    if "id" not in (reader.fieldnames or []):
        raise UserError(f"{path} has no column 'id': its first line must name the columns")
    known = set(ids)
    rows = {}
    for row in reader:
        name = row.pop("id")
        sample_id = name if name in known else Path(name).stem
        if sample_id not in known:
            sentence = f"{path} has a row for '{name}', which is none of the photos: ids are names of photos"
            fault("missing-image", [path.parent / "images" / name], sentence)
        rows[sample_id] = {column: value for column, value in row.items() if isinstance(column, str)}
    return rows


def _read_text(path: Path) -> str:
    """A text file in UTF-8, with or without the byte order mark that some editors and Excel put first."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not in UTF-8: save it in that encoding (in Excel: CSV UTF-8)") from None
