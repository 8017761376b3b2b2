"""Find, download and read Oxford-IIIT Pet in its official layout."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fgbg.data.folders import Fault, read_text, say_unlisted
from fgbg.data.images import list_images
from fgbg.data.samples import Sample
from fgbg.errors import UserError
from fgbg.user_cache import cache_folder, fill_once
from fgbg.words import name_some

PET_ARCHIVES = {  # published by the authors of the data set, with the MD5 sums that torchvision has for them
    "images.tar.gz": "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
}
PET_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"


def find_oxford() -> Path:
    """The local copy that FGBG_DATA names, else the official archives in the user's cache, downloaded once."""
    named = os.environ.get("FGBG_DATA")
    if named:
        folder = Path(named).expanduser()
        if not is_oxford(folder):
            raise UserError(f"FGBG_DATA={named} is no copy of Oxford-IIIT Pet: it has no annotations/trainval.txt")
        return folder
    return download_oxford(cache_folder() / "oxford-pet")


def download_oxford(folder: Path, *, address: str = PET_ADDRESS, archives: Mapping[str, str] = PET_ARCHIVES) -> Path:
    """Download the official archives, verify their checksums and unpack them into `folder`, unless that is done.

    Raises:
        UserError: An archive cannot be downloaded, or its checksum is wrong.
    """
    return fill_once(folder, lambda folder: _fetch_archives(folder, address, archives), last="complete")


def _fetch_archives(folder: Path, address: str, archives: Mapping[str, str]) -> None:
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


def is_oxford(folder: Path) -> bool:
    """Whether a folder has the official layout of Oxford-IIIT Pet."""
    return (folder / "annotations" / "trainval.txt").exists()


def read_oxford(folder: Path, fault: Fault) -> tuple[list[Sample], list[Sample], str]:
    """The samples of trainval.txt and of test.txt in file order, and a remark about the rest."""
    annotations = folder / "annotations"
    if not (folder / "images").is_dir():
        raise UserError(f"{folder / 'images'} does not exist: the copy of Oxford-IIIT Pet is incomplete")
    lists = []
    for list_name in ("trainval.txt", "test.txt"):
        if not (annotations / list_name).exists():
            raise UserError(f"{annotations / list_name} does not exist: the copy of Oxford-IIIT Pet is incomplete")
        lines = read_text(annotations / list_name).splitlines()
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
    return trainval, test, say_unlisted(unlisted)


def _keep_whole(samples: Sequence[Sample], fault: Fault) -> list[Sample]:
    """The listed samples whose two files exist."""
    for kind in ("image", "mask"):
        paths = [path for sample in samples if isinstance(path := getattr(sample, kind), Path) and not path.exists()]
        if paths:
            names = name_some([str(path) for path in paths], 3)
            fault(f"missing-{kind}", paths, f"{names} is listed but does not exist: restore it or take it off the list")
        absent = set(paths)
        samples = [sample for sample in samples if getattr(sample, kind) not in absent]
    return list(samples)
