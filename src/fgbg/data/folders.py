"""Read folders of photos and masks by their layout, with the optional lists and tables beside them."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fgbg.data.images import IMAGE_SUFFIXES, list_images
from fgbg.data.overlooked import list_image_folders
from fgbg.data.samples import Sample
from fgbg.errors import UserError
from fgbg.words import name_some, plural

SPLIT_NAMES = {"train": "train", **dict.fromkeys(("valid", "val", "validation"), "validation"), "test": "test"}
"""The split that a folder or a list of such a name holds; other tools write validation in each of these ways."""

SEPARATORS = ",;\t"
"""What may stand between the columns of a table."""

Fault = Callable[[str, Sequence[Path], str], None]
"""Called with the kind of problem (as in `fgbg check`), the files that do not fit together, and a sentence."""


def refuse(_kind: str, _files: Sequence[Path], sentence: str) -> None:
    """The default `Fault`, for everything but the audit: stop at the first one.

    Raises:
        UserError: Always.
    """
    raise UserError(sentence)


def ignore(_kind: str, _files: Sequence[Path], _sentence: str) -> None:
    """The `Fault` of a set whose samples, splits and groups were decided earlier: its hash tells whether it has changed."""


def pass_over(kind: str, files: Sequence[Path], sentence: str, *, wanted: Collection[str]) -> None:
    """The `Fault` when a list says what to keep: files without a partner are left out, and it must not name them.

    Args:
        kind, files, sentence: As of every `Fault`.
        wanted: The lines of the list.

    Raises:
        UserError: Lists contradict each other, or a photo that is wanted has two masks.
    """
    if kind == "ambiguous-mask":
        lines = {compose(line) for line in wanted} | {compose(Path(line).stem) for line in wanted}
        stems = {compose(path.stem) for path in files}
        in_parts = {compose(f"{path.parent.parent.name}_{path.stem}") for path in files}  # of train/masks/…
        if lines & (stems | in_parts):
            refuse(kind, files, sentence)
    if kind in ("duplicate", "leak", "ambiguous-group"):
        refuse(kind, files, sentence)


def read_folder(folder: Path, fault: Fault, *, lists: bool = True) -> tuple[list[Sample], str]:
    """`images/` + `masks/`, or `train|val|test/{images,masks}/`, with the optional lists and tables beside them.

    Args:
        folder: The data.
        fault: Is told what does not fit together.
        lists: Whether lists decide which photos are used.

    Returns:
        The samples (without a split if nothing gives one), and a remark about the rest.
    """
    parts = {part: split for part, split in SPLIT_NAMES.items() if (folder / part / "images").is_dir()}
    if parts:
        samples = [
            replace(sample, id=f"{part}_{sample.id}", split=split)
            for part, split in parts.items()
            for sample in _pair_folder(folder / part, fault)
        ]
        samples = attach_tables(folder, samples, fault)
        return samples, "; ".join(filter(None, [say_endings(samples), say_ungrouped(samples)]))
    if not (folder / "images").is_dir():
        raise UserError(
            f"{folder} has no layout that is known: it needs images/ and masks/, or train/, val/ and test/ with these "
            "inside, or annotations of COCO or LabelMe"
        )
    samples, unlisted = attach_tables(folder, _pair_folder(folder, fault), fault), ""
    if lists:
        samples, unlisted = attach_lists(folder, samples, fault)
    return samples, "; ".join(filter(None, [say_endings(samples), unlisted, say_ungrouped(samples)]))


def say_unlisted(names: Sequence[str]) -> str:
    """A remark about photos that are on no list; empty if there are none."""
    return f"{plural(len(names), 'photo')} on no list left out ({name_some(names)})" if names else ""


def say_ungrouped(samples: Sequence[Sample]) -> str:
    """A remark about photos that groups.csv forgets, each of which is then a group of its own; empty if there are none."""
    names = [sample.id for sample in samples if not sample.group]
    if not names or len(names) == len(samples):
        return ""
    return f"groups.csv names no group for {plural(len(names), 'photo')} ({name_some(names)})"


def _pair_folder(folder: Path, fault: Fault) -> list[Sample]:
    """Samples of `images/` and `masks/`, paired by file stem; all masks may have one ending more, such as `_mask`.

    `fault` is called for photos without a mask, masks without a photo, stems shared by two files, and images in sub-folders.

    Raises:
        UserError: A folder is missing or empty.
    """
    by_stem: dict[str, dict[str, Path]] = {}
    has_twice = False
    for kind in ("images", "masks"):
        if not (folder / kind).is_dir():
            raise UserError(f"{folder / kind} does not exist: photos go into images/, masks of the same names into masks/")
        paths, deeper = list_images(folder / kind), list_image_folders(folder / kind)
        if deeper:
            sentence = _say_deeper(folder / kind, deeper)
            if not paths:
                raise UserError(sentence)
            fault("sub-folder", deeper, sentence)
        elif not paths:
            raise UserError(f"{folder / kind} holds no images")
        by_stem[kind] = {compose(path.stem): path for path in paths}
        if len(by_stem[kind]) < len(paths):
            has_twice = True
            twice = [path for path in paths if by_stem[kind][compose(path.stem)] != path]
            names = name_some([path.name for path in twice])
            both = [path for path in paths if compose(path.stem) in {compose(other.stem) for other in twice}]
            fault("ambiguous-mask", both, f"{folder / kind} has two files for {names}: names must differ before the ending")
    images, masks = by_stem["images"], by_stem["masks"]
    if not has_twice and (ending := _find_ending(images, masks)):
        masks = {stem.removesuffix(ending): path for stem, path in masks.items()}
    alone = [images[stem] for stem in images if stem not in masks]
    if alone:
        names = name_some([path.name for path in alone], 20)
        fault("missing-mask", alone, f"{len(alone)} of {len(images)} photos have no mask in {folder / 'masks'}: {names}")
    alone = [masks[stem] for stem in masks if stem not in images]
    if alone:
        names = name_some([path.name for path in alone], 20)
        fault("missing-image", alone, f"{len(alone)} of {len(masks)} masks have no photo in {folder / 'images'}: {names}")
    return [Sample(image.stem, image, masks[stem]) for stem, image in images.items() if stem in masks]


def _find_ending(photos: Collection[str], masks: Collection[str]) -> str:
    """What every mask's stem has behind that of a photo; empty if there is no such ending, or any two stems are the same.

    >>> _find_ending(["a", "b"], ["a_mask", "b_mask"]), _find_ending(["a", "b"], ["a_mask", "b"])
    ('_mask', '')
    """
    if not masks or any(stem in photos for stem in masks):
        return ""
    first = min(masks)
    endings = [first.removeprefix(stem) for stem in photos if first.startswith(stem)]
    fitting = [
        ending
        for ending in endings
        if is_ending(ending) and all(stem.endswith(ending) and stem.removesuffix(ending) in photos for stem in masks)
    ]
    return fitting[0] if len(fitting) == 1 else ""


def is_ending(text: str) -> bool:
    """Whether it may stand behind the names of photos in those of their masks.

    >>> is_ending("_mask"), is_ending("_2"), is_ending("s")
    (True, False, False)
    """
    return text[0] in "_-. " and any(map(str.isalpha, text))  # a number may count something else


def say_endings(samples: Sequence[Sample]) -> str:
    """A remark about masks that are named as their photos with an ending more; empty if there are none."""
    endings = {
        compose(sample.mask.stem).removeprefix(compose(sample.image.stem))
        for sample in samples
        if isinstance(sample.image, Path) and isinstance(sample.mask, Path)
    } - {""}
    return f"masks paired by their ending {name_some(sorted(endings))}" if endings else ""


def _say_deeper(folder: Path, deeper: Sequence[Path]) -> str:
    names = name_some([path.name for path in deeper])
    return (
        f"{folder} has images in sub-folders ({names}), which are not read: move them up and give them names of their own, "
        f"such as {deeper[0].name}_1.png, or move them out of {folder.name}/"
    )


def compose(name: str) -> str:
    """A name with each accent and its letter as one character: file systems and editors differ in that unnoticed."""
    return unicodedata.normalize("NFC", name)


def list_spellings(name: str) -> list[str]:
    """All names that `compose` makes alike and a disk may have: as it stands, then with accents composed and apart."""
    return list(dict.fromkeys([name, compose(name), unicodedata.normalize("NFD", name)]))


def index_ids(ids: Iterable[str]) -> dict[str, str]:
    """The ids by their composed names, for `find_id`."""
    return {compose(sample_id): sample_id for sample_id in ids}


def find_id(name: str, by_name: Mapping[str, str]) -> str | None:
    """The id that a line of a list or table names, with or without the file ending; None if it is none of them.

    Args:
        name: As the file has it.
        by_name: As `index_ids` returns them.
    """
    exact = by_name.get(compose(name))
    if exact is not None or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        return exact  # what follows a dot may as well be part of a name
    return by_name.get(compose(Path(name).stem))


def attach_lists(folder: Path, samples: Sequence[Sample], fault: Fault) -> tuple[list[Sample], str]:
    """Splits from train.txt, val.txt and test.txt (one id per line); photos in none of them are left out.

    Returns:
        The samples, and a remark about those left out.
    """
    lists = [(split, path) for name, split in SPLIT_NAMES.items() if (path := folder / f"{name}.txt").exists()]
    if not lists:
        return list(samples), ""
    by_id = {sample.id: sample for sample in samples}
    by_name = index_ids(by_id)
    split_of: dict[str, str] = {}
    for split, path in lists:
        for line in filter(None, map(str.strip, read_text(path).splitlines())):
            sample_id = find_id(line, by_name)
            if sample_id is None:
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
    listed = [replace(by_id[sample_id], split=split) for sample_id, split in split_of.items()]
    return listed, say_unlisted([sample.id for sample in samples if sample.id not in split_of])


def attach_tables(folder: Path, samples: Sequence[Sample], fault: Fault) -> list[Sample]:
    """Groups from groups.csv (id, group) and every column of metadata.csv.

    `fault` is called for rows that fit no photo, and for groups that differ only in case.
    """
    ids = [sample.id for sample in samples]
    groups, metadata = (_read_table(folder / name, ids, fault) for name in ("groups.csv", "metadata.csv"))
    if groups and "group" not in next(iter(groups.values())):
        raise UserError(f"{folder / 'groups.csv'} has no column 'group': its first line must be id,group")
    alike = _find_alike(sorted({row["group"] for row in groups.values()}))
    if alike:
        sentence = f"{folder / 'groups.csv'} has groups that differ only in case ({name_some(alike)}): write each in one way"
        fault("ambiguous-group", [folder / "groups.csv"], sentence)
    return [
        replace(
            sample,
            group=groups.get(sample.id, {}).get("group", sample.group),
            metadata={**sample.metadata, **metadata.get(sample.id, {})},
        )
        for sample in samples
    ]


def _find_alike(names: Sequence[str]) -> list[str]:
    """Which of the names differ only in case.

    >>> _find_alike(["P1", "P2", "p1"])
    ['P1 and p1']
    """
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(name.casefold(), []).append(name)
    return [" and ".join(same) for same in forms.values() if len(same) > 1]


def _read_table(path: Path, ids: Sequence[str], fault: Fault) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by sample id; `id` may include the file ending. Empty if there is no such file.

    Spaces around names and values do not count. Columns are separated as the first line tells: spreadsheets write semicolons
    where a comma is the decimal point.

    Raises:
        UserError: No column `id`, or a file that is not UTF-8.
    """
    if not path.exists():
        return {}
    text = read_text(path)
    for separator in SEPARATORS:
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=separator)
        reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
        if "id" in reader.fieldnames:
            break
    else:
        raise UserError(f"{path} has no column 'id': its first line must name the columns, separated by commas")
    by_name = index_ids(ids)
    rows: dict[str, dict[str, str]] = {}
    for row in reader:
        name = (row.pop("id") or "").strip()
        if not name and not any("".join(value or "").strip() for value in row.values()):
            continue  # a line of nothing but commas, as spreadsheets leave them at the end
        sample_id = find_id(name, by_name)
        if sample_id is None:
            sentence = f"{path} has a row for '{name}', which is none of the photos: ids are names of photos"
            fault("missing-image", [path.parent / "images" / name], sentence)
        elif sample_id in rows:
            sentence = f"{path} has several rows for '{name}': one row a photo"
            fault("duplicate", [path.parent / "images" / name], sentence)
        else:
            rows[sample_id] = {column: value.strip() for column, value in row.items() if isinstance(column, str)}
    return rows


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without the byte order mark that some editors and Excel put first."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not in UTF-8: save it in that encoding (in Excel: CSV UTF-8)") from None
