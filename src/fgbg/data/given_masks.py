"""Masks made elsewhere, by another tool or a second annotator, in place of the true masks of a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fgbg.data.folders import compose, is_ending
from fgbg.data.images import list_images
from fgbg.data.mask_files import LARGE
from fgbg.data.masks import MaskEncoding
from fgbg.data.overlooked import list_image_folders
from fgbg.data.parallel import ShowProgress
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.errors import UserError
from fgbg.words import ObjectValue, name_some

LIGHTEST = 200  # grey that masks in shades of it reach somewhere; where none does, numbers are likelier than shades
USUAL_ENDINGS = 8  # so many, the commonest, are tried: what all photos have in common is among them


def read_given_masks(
    folder: Path,
    samples: SampleSet,
    mask_values: Sequence[ObjectValue] = (),
    mask_threshold: float | None = None,
    progress: ShowProgress | None = None,
) -> SampleSet:
    """The samples with the masks of a folder in place of their own, understood as masks of any data are.

    Args:
        folder: Holds a mask for each photo, of its name (all may have one ending more) and at its size.
        samples: The photos, with their true masks.
        mask_values: Which values of the given masks are object, if that is ambiguous.
        mask_threshold: Where the given masks are shades of grey: object above this share of white, from 0 to below 1.
        progress: Shows progress.

    Raises:
        UserError: A photo has no mask, several, or one of another size; the masks may mean several things, leave a band
            open, or are the true masks themselves.
    """
    if mask_threshold is not None and not 0 <= mask_threshold < 1:
        raise UserError(f"--mask-threshold {mask_threshold:g}: must be from 0 to below 1, such as 0.5")
    if mask_threshold is not None and mask_values:
        raise UserError("--mask-threshold is for shades of grey, --mask-values for classes: choose one of them")
    paths = _pair(folder, samples.samples)
    try:
        given = understand_samples(
            f"masks in {folder}",
            [replace(sample, mask=path) for sample, path in zip(samples.samples, paths, strict=True)],
            encoding=None if mask_threshold is None else _cut_grey(mask_threshold),
            object_values=mask_values,
            progress=progress,
        )
    except UserError as error:  # the same rules as for DATA, under flags of their own
        told = str(error).replace("--object-values", "--mask-values")
        grey = "; shades of grey are cut by --mask-threshold 0.5" if told != str(error) and not mask_values else ""
        raise UserError(f"--masks {folder}: {told}{grey}") from None
    if mask_threshold is not None:
        _require_grey(folder, given)
    if given.encoding.has_band:
        raise UserError(
            f"--masks {folder}: these are trimaps ({given.encoding.name}), and what is judged leaves nothing open: say "
            "which values are object, --mask-values 1 or --mask-values 1 3"
        )
    if all(one.mask_hash == other.mask_hash for one, other in zip(given.inspections, samples.inspections, strict=True)):
        raise UserError(f"--masks {folder}: these are the true masks themselves, byte for byte: name others")
    return given


def _cut_grey(threshold: float) -> MaskEncoding:
    """The encoding of shades of grey that are object above a share of white."""
    first = int(255 * threshold) + 1
    name = f"shades of grey: object = over {threshold:g} of white"
    return MaskEncoding(name, tuple(range(first, 256)), tuple(range(first)))


def _require_grey(folder: Path, given: SampleSet) -> None:
    """Refuse classes, numbered objects and deeper greys, which a threshold would misread.

    Raises:
        UserError: They are that.
    """
    deep = [sample.id for sample, look in zip(given.samples, given.inspections, strict=True) if look.place == LARGE]
    if deep:
        raise UserError(
            f"--masks {folder}: {name_some(deep)} hold {LARGE}: save shades of grey with 8 bits, or, if every value but 0 "
            "is object, say --mask-values nonzero"
        )
    lightest = max(max(look.values, default=0) for look in given.inspections)
    if 0 < lightest < LIGHTEST:
        raise UserError(
            f"--masks {folder}: the largest value is {lightest} of 255, so that these are numbers and no shades of grey: "
            "leave --mask-threshold out, or say --mask-values nonzero"
        )


def _pair(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """The given mask of each sample: named after its id or its photo, all with the same ending if any.

    Raises:
        UserError: There is no such folder, or a photo has no mask in it, or several.
    """
    if not folder.is_dir():
        raise UserError(f"--masks {folder}: there is no such folder; name one that holds a mask for each photo")
    files: dict[str, list[Path]] = {}
    for path in list_images(folder):
        files.setdefault(compose(path.stem), []).append(path)
    names = [_list_names(sample) for sample in samples]
    photos = {name for known in names for name in known}

    def pair(ending: str) -> list[list[Path]]:
        return [next((files[name + ending] for name in known if name + ending in files), []) for known in names]

    rests = (stem[cut:] for stem in files for cut in range(1, len(stem) + 1) if stem[:cut] in photos)
    usual = [
        ending for ending, _ in Counter(rest for rest in rests if not rest or is_ending(rest)).most_common(USUAL_ENDINGS)
    ]
    complete = [paired for ending in sorted(usual) if all(paired := pair(ending))]
    if not complete:
        raise UserError(f"--masks {folder}: {_say_missing(folder, samples, pair(usual[0] if usual else ''))}")
    if len(complete) > 1:
        both = [paired[0][0].name for paired in complete]
        raise UserError(
            f"--masks {folder}: each photo has several files there ({name_some(both)}): put those to score into a folder of "
            "their own"
        )
    (paired,) = complete
    if twice := next((found for found in paired if len(found) > 1), None):
        raise UserError(f"--masks {folder}: {name_some([path.name for path in twice])} are of one photo: keep one of them")
    paths = [path for (path,) in paired]
    path, count = Counter(paths).most_common(1)[0]
    if count > 1:
        ids = [sample.id for sample, own in zip(samples, paths, strict=True) if own == path]
        raise UserError(f"--masks {folder}: {path.name} may be of {name_some(ids)}: name the masks so")
    return paths


def _say_missing(folder: Path, samples: Sequence[Sample], paired: Sequence[Sequence[Path]]) -> str:
    """Which photos have no mask, and what else lies there."""
    missing = [sample.id for sample, found in zip(samples, paired, strict=True) if not found]
    told = f"{len(missing)} of {len(samples)} photos have no mask there ({name_some(missing)})"
    if len(missing) < len(samples):
        return f"{told}: each needs one of its name, and an empty one where nothing was found"
    if deeper := list_image_folders(folder):
        return f"{told}, and sub-folders ({name_some([path.name for path in deeper])}) are not read: name one of them"
    kinds = sorted({path.suffix for path in folder.iterdir() if path.is_file() and path.suffix})
    held = f", which holds {name_some(kinds)}" if kinds else ""
    return f"{told}{held}: each needs a picture of its name, such as a PNG"


def _list_names(sample: Sample) -> list[str]:
    """What its mask may be called: its id, or the name of its photo, which differ where folders part the data."""
    names = [sample.id, *([sample.image.stem] if isinstance(sample.image, Path) else [])]
    return list(dict.fromkeys(map(compose, names)))
