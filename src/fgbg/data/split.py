"""Which samples train, validate and test. Decided before training begins, and stored with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fgbg.data.parallel import ShowProgress
from fgbg.data.samples import SPLITS, Sample, SampleSet
from fgbg.data.split_rules import hold_out_validation, name_group, split_by_group, split_folds
from fgbg.errors import UserError
from fgbg.words import name_some

NEAR_DUPLICATES = "near-duplicates"


def split_set(
    samples: SampleSet, *, seed: int, group_by: str = "", folds: int = 0, fold: int = 0, progress: ShowProgress | None = None
) -> SampleSet:
    """Give every sample a split if the data leave it open, with small and large objects in each split.

    Where lists say what trains and only validation is missing, every 10th training sample validates, by the order of the
    list alone; only if there are groups, seed and objects count there too. Samples of the same photo, byte for byte,
    stay together in every cut.

    Args:
        samples: With the splits that their lists gave, or none.
        seed: Decides the split.
        group_by: What keeps samples together: empty for the groups that they have, `near-duplicates` for photos that show
            the same picture, or the name of a column of metadata.csv.
        folds: Split into that many parts, whatever the lists say; 0 keeps the lists, or splits 80/10/10 without any.
        fold: Index of the part that is the test set.
        progress: Shows how far the search for near duplicates is.

    Raises:
        UserError: Unknown or missing splits, too few groups, an unknown column, or `group_by` although lists split already.
    """
    given = {sample.split for sample in samples.samples}
    if unknown := sorted(given - {"", *SPLITS}):
        raise UserError(
            f"{samples.name} has samples of split '{unknown[0]}': use {', '.join(SPLITS)}, or none for all of them"
        )
    if "" in given and len(given) > 1:
        raise UserError(f"{samples.name} has samples with a split and others without one: give all of them one, or none")
    is_listed = given != {""}
    if group_by and is_listed and not folds:
        raise UserError(
            f"--group-by {group_by}: the data's own lists say what trains and tests; cut anew with --folds 5, say"
        )
    grouped = group_samples(samples, group_by, progress) if group_by else samples
    shares, together = grouped.object_shares.tolist(), _name_copies(grouped)
    if folds:
        if not 0 <= fold < folds:
            raise UserError(f"--fold {fold}: name one from 0 to {folds - 1}, of --folds {folds}")
        split = split_folds(grouped.samples, folds=folds, fold=fold, seed=seed, object_shares=shares, together=together)
        said = f"part {fold} of {folds} tests, seed {seed}" + (", whatever the lists say" if is_listed else "")
    elif not is_listed:
        split = split_by_group(grouped.samples, seed=seed, object_shares=shares, together=together)
        said = f"split 80/10/10, seed {seed}"
    elif "train" in given and "validation" not in given:
        split = hold_out_validation(grouped.samples, seed=seed, object_shares=shares, together=together)
        validates = any(sample.split == "validation" for sample in split)
        said = "a tenth of train validates" if validates else "none validates: train is a single photo or group"
    else:
        return samples
    said += f", by {group_by}" if group_by else ""
    return replace(grouped, samples=tuple(split), remark="; ".join(filter(None, [grouped.remark, said])))


def _name_copies(samples: SampleSet) -> list[str]:
    """What a cut keeps together: a name for each sample that is the same for all of its group and for copies of its photo.

    Without copies it is the group's own name, by which a seed chooses.
    """
    names = [name_group(sample) for sample in samples.samples]
    hashes = [look.image_hash for look in samples.inspections]
    if len(set(hashes)) == len(hashes):
        return names
    from fgbg.data.duplicates import cluster_pairs  # imported here as below

    first_of: dict[tuple[str, str], int] = {}
    keys = zip((("group", name) for name in names), (("photo", digest) for digest in hashes), strict=True)
    links = [(first_of.setdefault(key, index), index) for index, both in enumerate(keys) for key in both]
    labels = cluster_pairs(len(names), links).tolist()
    name_of: dict[int, str] = {}
    for label, name in zip(labels, names, strict=True):
        name_of[label] = min(name, name_of.get(label, name))  # whatever the order of the samples
    return [name_of[label] for label in labels]


def group_samples(samples: SampleSet, group_by: str, progress: ShowProgress | None = None) -> SampleSet:
    """Group samples by a column of their metadata, or by near duplicates.

    Near duplicates merge existing groups: samples connected by either stay together.

    Raises:
        UserError: No sample has such a column.
    """
    if group_by == NEAR_DUPLICATES:
        # Imported here, since everything that reads a run folder imports this module and needs no SciPy.
        from fgbg.data.duplicates import cluster_pairs, find_near_duplicates, fingerprint_samples

        pairs = find_near_duplicates(fingerprint_samples(samples, progress), progress=progress)
        first_of: dict[str, int] = {}
        # Photos of one group are linked as copies are.
        links = [(first_of.setdefault(name_group(sample), index), index) for index, sample in enumerate(samples.samples)]
        groups = [samples.samples[first].id for first in cluster_pairs(len(samples.samples), [*pairs, *links])]
    else:
        columns = sorted({column for sample in samples.samples for column in sample.metadata})
        if group_by not in columns:
            raise UserError(
                f"--group-by {group_by}: choose {NEAR_DUPLICATES}, or a column of metadata.csv "
                f"({name_some(columns) or 'there is none'})"
            )
        groups = [sample.metadata.get(group_by, "") for sample in samples.samples]
    pairs_of = zip(samples.samples, groups, strict=True)
    return replace(samples, samples=tuple(replace(sample, group=group) for sample, group in pairs_of))


class Locked(NamedTuple):
    """What a run decided for one sample."""

    split: str
    group: str


def lock_splits(samples: Sequence[Sample], locked: Mapping[str, Locked]) -> list[Sample]:
    """The samples that a run used, in its order and with the splits that it gave them; samples added later are left out.

    Raises:
        UserError: A sample of the run is gone.
    """
    by_id = {sample.id: sample for sample in samples}
    gone = sorted(locked.keys() - by_id.keys())
    if gone:
        raise UserError(f"{name_some(gone)}: gone since the run was trained; restore them, or use other DATA")
    return [replace(by_id[sample_id], **lock._asdict()) for sample_id, lock in locked.items()]


def require_splits(samples: SampleSet) -> None:
    """Refuse a set that has nothing to train or to validate on.

    Raises:
        UserError: It has no such photos.
    """
    for split in ("train", "validation"):
        if not samples.of(split).samples:
            raise UserError(f"{samples.name} has no {split} photos: training needs some to learn from and some to choose by")


def refuse_one_sided(samples: SampleSet) -> None:
    """Refuse training or validation masks that are all ground, or all object: a model that knows nothing is right on them.

    The band counts as either, whatever `--border` says.

    Raises:
        UserError: No mask of one of the two splits has a pixel of object, or of ground.
    """
    encoding = samples.encoding
    for split, word in (("train", "training"), ("validation", "validation")):
        looks = samples.of(split).inspections
        for what, values in (("object", encoding.object_values), ("ground", encoding.ground_values)):
            if looks and not any(look.count({*values, *encoding.band_values}) for look in looks):
                none = f"none of the {len(looks):,} {word} masks has a" if len(looks) > 1 else f"the only {word} mask has no"
                raise UserError(
                    f"{none} pixel that is {what}, which says nothing about a model: take photos whose masks hold both "
                    "object and ground"
                )
