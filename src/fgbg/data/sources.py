"""Where samples come from: `oxford-pet`, `figures`, or a folder understood by its layout."""

from __future__ import annotations

import csv
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fgbg.data.cut import split_lab, split_official
from fgbg.data.figures import draw_figures
from fgbg.data.images import list_images
from fgbg.data.masks import TRIMAP
from fgbg.data.parallel import Progress
from fgbg.data.samples import Sample, SampleSet, name_some, understand_samples
from fgbg.data.split import Locked, lock_splits, split_set
from fgbg.errors import UserError, unknown_name
from fgbg.storage import cache_folder

SplitRule = Literal["official", "lab"]
NAMES = ("oxford-pet", "figures")
LIST_SPLITS = {"train": "train", "val": "validation", "test": "test"}  # name of a list -> split
FOLDER_SPLITS = {**LIST_SPLITS, "valid": "validation", "validation": "validation"}  # other tools' names for a folder

PET_ARCHIVES = {  # published by the authors of the data set, with their MD5 sums as torchvision knows them
    "images.tar.gz": "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
}
PET_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"


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
        locked: Splits that were decided before, by id (see `fgbg.run.Run.locked_splits`), in place of every other rule.
        progress: Shows how far reading is.

    Raises:
        UserError: The data do not exist, do not pair up, or cannot be understood.
    """
    name, folder = _find_folder(data)
    encoding = None
    if _is_oxford(folder):
        trainval, test, remark = _read_oxford(folder)
        samples = split_lab(trainval, test) if split == "lab" else split_official(trainval, test)
        encoding = TRIMAP
    elif split == "lab":
        raise UserError(f"--split lab cuts the Oxford-IIIT Pet lists, and {folder} has no annotations/trainval.txt")
    else:
        samples, remark = _read_folder(folder)
    if locked is not None:
        samples = lock_splits(samples, locked)
    elif only:
        samples, left_out = _keep_only(samples, Path(only))
        remark = "; ".join(filter(None, [remark, left_out]))
    sample_set = understand_samples(
        name, samples, encoding=encoding, object_values=object_values, remark=remark, progress=progress
    )
    if locked is not None:
        return sample_set
    return split_set(sample_set, seed=split_seed, group_by=group_by, folds=folds, fold=fold, progress=progress)


def _keep_only(samples: Sequence[Sample], path: Path) -> tuple[list[Sample], str]:
    """The samples that a list names, and what is to be said of the rest."""
    if not path.is_file():
        raise UserError(f"--only {path} does not exist: a file with one id a line, as fgbg check --write-clean writes it")
    wanted = set(filter(None, map(str.strip, _read_text(path).splitlines())))
    strange = sorted(wanted - {sample.id for sample in samples})
    if strange:
        raise UserError(f"--only {path} lists {name_some(strange)}, which the data do not have: ids are names of photos")
    kept = [sample for sample in samples if sample.id in wanted]
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
        if not _is_oxford(folder):
            raise UserError(f"FGBG_DATA={named} is no copy of Oxford-IIIT Pet: it has no annotations/trainval.txt")
        return folder
    return download_oxford(cache_folder() / "oxford-pet")


def download_oxford(folder: Path, *, address: str = PET_ADDRESS, archives: Mapping[str, str] = PET_ARCHIVES) -> Path:
    """Fetch and unpack the official archives into `folder`, checked by their sums; nothing to do where that is done.

    Raises:
        UserError: An archive cannot be fetched or is not what it should be.
    """
    if _is_oxford(folder) and (folder / "complete").exists():
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


def _is_oxford(folder: Path) -> bool:
    return (folder / "annotations" / "trainval.txt").exists()


def _read_oxford(folder: Path) -> tuple[list[Sample], list[Sample], str]:
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
    listed = [sample for samples in lists for sample in samples]
    _require_files(listed, "is listed")
    known = {sample.id for sample in listed}
    unlisted = [path.stem for path in list_images(folder / "images") if path.stem not in known]
    return lists[0], lists[1], _say_unlisted(unlisted)


def _require_files(samples: Sequence[Sample], verb: str) -> None:
    for kind in ("image", "mask"):
        absent = [str(path) for sample in samples if isinstance(path := getattr(sample, kind), Path) and not path.exists()]
        if absent:
            raise UserError(f"{name_some(absent, 3)} {verb} but does not exist: restore it or take it off the list")


def _read_folder(folder: Path) -> tuple[list[Sample], str]:
    """`images/` + `masks/`, or `train|val|test/{images,masks}/`, with the optional lists and tables beside them.

    Returns:
        The samples (without a split where nothing says one), and what is to be said of the rest.
    """
    parts = {part: split for part, split in FOLDER_SPLITS.items() if (folder / part / "images").is_dir()}
    if parts:
        samples = [
            replace(sample, id=f"{part}_{sample.id}", split=split)
            for part, split in parts.items()
            for sample in _pair_folder(folder / part)
        ]
        return _attach_tables(folder, samples), ""
    if not (folder / "images").is_dir():
        raise UserError(
            f"{folder} has no layout that is known: it needs images/ and masks/, or train/, val/ and test/ with these inside"
        )
    everything = _attach_tables(folder, _pair_folder(folder))
    listed = _attach_lists(folder, everything)
    kept = {sample.id for sample in listed}
    unlisted = [sample.id for sample in everything if sample.id not in kept]
    return listed, _say_unlisted(unlisted)


def _say_unlisted(names: Sequence[str]) -> str:
    photos = "1 photo" if len(names) == 1 else f"{len(names)} photos"
    return f"{photos} on no list left out ({name_some(names)})" if names else ""


def _pair_folder(folder: Path) -> list[Sample]:
    """Samples of `images/` and `masks/`, paired by file stem.

    Raises:
        UserError: A folder is missing or empty, a photo has no mask or a mask no photo, or a stem stands for two files.
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
            twice = [path.name for path in paths if by_stem[kind][path.stem] != path]
            raise UserError(f"{folder / kind} has two files for {name_some(twice)}: names must differ before the ending")
    images, masks = by_stem["images"], by_stem["masks"]
    alone = [images[stem].name for stem in images if stem not in masks]
    if alone:
        raise UserError(f"{len(alone)} of {len(images)} photos have no mask in {folder / 'masks'}: {name_some(alone, 20)}")
    alone = [masks[stem].name for stem in masks if stem not in images]
    if alone:
        raise UserError(f"{len(alone)} of {len(masks)} masks have no photo in {folder / 'images'}: {name_some(alone, 20)}")
    return [Sample(stem, images[stem], masks[stem]) for stem in images]


def _attach_lists(folder: Path, samples: Sequence[Sample]) -> list[Sample]:
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
                raise UserError(f"{path} lists '{line}', which is not in {folder / 'images'}")
            if sample_id in split_of:
                raise UserError(f"{path} lists '{line}', which is already {split_of[sample_id]}: one list a photo")
            split_of[sample_id] = split
    return [replace(by_id[sample_id], split=split) for sample_id, split in split_of.items()]


def _attach_tables(folder: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Groups from groups.csv (id, group) and every column of metadata.csv."""
    ids = [sample.id for sample in samples]
    groups, metadata = (_read_table(folder / name, ids) for name in ("groups.csv", "metadata.csv"))
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


def _read_table(path: Path, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by sample id, which the column `id` gives with or without an ending; nothing without a file.

    Raises:
        UserError: No column `id`, a row for no photo, or a file that is not UTF-8.
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
            raise UserError(f"{path} has a row for '{name}', which is none of the photos: ids are names of photos")
        rows[sample_id] = {column: value for column, value in row.items() if isinstance(column, str)}
    return rows


def _read_text(path: Path) -> str:
    """A text file in UTF-8, with or without the byte order mark that some editors and Excel put first."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not in UTF-8: save it in that encoding (in Excel: CSV UTF-8)") from None
