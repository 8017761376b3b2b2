"""The rules by which samples are split: by group, into folds, by official lists, as in the lab report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

import numpy as np

from fgbg.data.samples import SPLITS, Sample
from fgbg.errors import UserError

TEST_SHARE = VALIDATION_SHARE = 0.1
UNEVEN = 0.1  # of a fold's size: parts may be less equal by so much for small and large objects in every one
VALIDATION_STRIDE = 10  # every 10th photo of an official training list validates


def split_by_group(
    samples: Sequence[Sample], *, seed: int, object_shares: Sequence[float] = (), together: Sequence[str] = ()
) -> list[Sample]:
    """Split 80/10/10 by whole groups (a sample without one is its own); the same names and seed give the same split.

    Groups are ranked by a hash of their name, so neither the order of the files nor a renamed folder moves a sample.

    Args:
        samples: What to split; existing splits are replaced.
        seed: Decides which groups are taken.
        object_shares: (samples,) share of object in each mask; if given, every split gets both small and large objects.
        together: (samples,) a name that is the same for samples to keep together, if not by their groups alone.

    Raises:
        UserError: Fewer than three groups cannot fill three splits.
    """
    names = together or [name_group(sample) for sample in samples]
    groups = _gather_groups(names, object_shares)
    if len(groups) < len(SPLITS):
        raise UserError(
            f"{len(samples)} pairs in {len(groups)} groups cannot be split three ways: "
            "give more photos, or list them in train.txt, val.txt and test.txt"
        )
    test = _take_groups(groups, round(TEST_SHARE * len(samples)), seed, leave=2)
    rest = {name: group for name, group in groups.items() if name not in test}
    validation = _take_groups(rest, round(VALIDATION_SHARE * len(samples)), seed, leave=1)
    split_of = {**dict.fromkeys(test, "test"), **dict.fromkeys(validation, "validation")}
    return [replace(sample, split=split_of.get(name, "train")) for sample, name in zip(samples, names, strict=True)]


def split_folds(
    samples: Sequence[Sample],
    *,
    folds: int,
    fold: int,
    seed: int,
    object_shares: Sequence[float] = (),
    together: Sequence[str] = (),
) -> list[Sample]:
    """Split into `folds` parts of about equal size: part `fold` tests, the next one validates, the others train.

    Every part gets small and large objects, unless large groups would then make parts much less equal than they can be.

    The parts do not depend on `fold`, so that over all folds every sample is tested exactly once. Groups, seed,
    `object_shares` and `together` are as in `split_by_group`; existing splits are replaced.

    Raises:
        UserError: Fewer groups than parts.
    """
    names = together or [name_group(sample) for sample in samples]
    groups = _gather_groups(names, object_shares)
    if len(groups) < folds:
        raise UserError(
            f"--folds {folds}: {len(samples)} pairs in {len(groups)} groups cannot fill them; choose {len(groups)} or less"
        )
    part_of = _cut_by_share(groups, folds, seed)
    packed = _pack(groups, folds, seed)
    if _spread(groups, part_of) - _spread(groups, packed) > UNEVEN * len(samples) / folds:
        part_of = packed
    splits = {fold: "test", (fold + 1) % folds: "validation"}
    return [replace(sample, split=splits.get(part_of[name], "train")) for sample, name in zip(samples, names, strict=True)]


def _cut_by_share(groups: Mapping[str, Sequence[float]], folds: int, seed: int) -> dict[str, int]:
    """The part of each group, with small and large objects in every part."""
    rest = dict(groups)
    part_of: dict[str, int] = {}
    for part in range(folds - 1):
        left = sum(len(group) for group in rest.values())
        taken = _take_groups(rest, round(left / (folds - part)), seed, leave=folds - part - 1)
        part_of |= dict.fromkeys(taken, part)
        rest = {name: group for name, group in rest.items() if name not in taken}
    return part_of | dict.fromkeys(rest, folds - 1)


def _pack(groups: Mapping[str, Sequence[float]], folds: int, seed: int) -> dict[str, int]:
    """The part of each group, as equal as can be: the largest group first, each into the part that is smallest by then."""
    ranked = _rank_groups(groups, sum(map(len, groups.values())) // folds, seed)
    sizes = [0] * folds
    part_of: dict[str, int] = {}
    for name in sorted(ranked, key=lambda name: -len(groups[name])):
        part_of[name] = sizes.index(min(sizes))
        sizes[part_of[name]] += len(groups[name])
    return part_of


def _spread(groups: Mapping[str, Sequence[float]], part_of: Mapping[str, int]) -> int:
    """Samples by which the largest part exceeds the smallest."""
    sizes = Counter(dict.fromkeys(part_of.values(), 0))
    for name, part in part_of.items():
        sizes[part] += len(groups[name])
    return max(sizes.values()) - min(sizes.values())


def hold_out_validation(
    samples: Sequence[Sample], *, seed: int, object_shares: Sequence[float] = (), together: Sequence[str] = ()
) -> list[Sample]:
    """Move a tenth of the training samples to validation, but none if all of them must stay together.

    If they have groups, these are taken as in `split_by_group`. Otherwise it is every 10th sample (index 0, 10, …) whatever
    `seed` and `object_shares` are; those that `together` joins go where the first of them goes.
    """
    names = together or [name_group(sample) for sample in samples]
    learnt = [index for index, sample in enumerate(samples) if sample.split == "train"]
    groups = _gather_groups([names[index] for index in learnt], [object_shares[index] for index in learnt if object_shares])
    if len(groups) < 2:
        return list(samples)
    if any(samples[index].group for index in learnt):
        chosen = _take_groups(groups, round(VALIDATION_SHARE * len(learnt)), seed, leave=1)
    else:
        place_of: dict[str, int] = {}
        for place, index in enumerate(learnt):
            place_of.setdefault(names[index], place)
        chosen = {name for name, place in place_of.items() if place % VALIDATION_STRIDE == 0}
    held_out = {index for index in learnt if names[index] in chosen}
    return [replace(sample, split="validation") if index in held_out else sample for index, sample in enumerate(samples)]


def name_group(sample: Sample) -> str:
    """What is kept together: the sample's group, or the sample alone."""
    return sample.group or f"sample {sample.id}"


def _gather_groups(names: Sequence[str], object_shares: Sequence[float]) -> dict[str, list[float]]:
    """The object share of each member (0 if none are given), by group."""
    groups: dict[str, list[float]] = {}
    for name, share in zip(names, object_shares or [0.0] * len(names), strict=True):
        groups.setdefault(name, []).append(share)
    return groups


def _take_groups(groups: Mapping[str, Sequence[float]], wanted: int, seed: int, *, leave: int) -> set[str]:
    """Groups that together have about `wanted` samples, taken in an order that the seed decides.

    At least one group is taken, and `leave` groups remain for the other splits if there are enough.

    A group that is larger than what is still wanted is skipped: a tenth must not become nine tenths.
    """
    ranked = _rank_groups(groups, wanted, seed)
    taken: set[str] = set()
    for name in ranked:
        if len(groups[name]) <= wanted and len(groups) - len(taken) > leave:
            taken.add(name)
            wanted -= len(groups[name])
    return taken or {min(ranked, key=lambda name: (len(groups[name]), ranked.index(name)))}


def _rank_groups(groups: Mapping[str, Sequence[float]], wanted: int, seed: int) -> list[str]:
    """Groups in hash order, but one from each stratum of object share before a second from any.

    There are as many strata as groups are likely to be taken, so that the first `wanted` samples cover all shares.
    """
    hashed = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest(), reverse=True)
    means = {name: float(np.mean(groups[name])) for name in groups}
    if len(set(means.values())) == 1:
        return hashed
    rank = {name: place for place, name in enumerate(hashed)}
    wanted_groups = round(wanted * len(groups) / sum(len(group) for group in groups.values()))
    by_share = sorted(hashed, key=means.__getitem__)
    places = np.array_split(np.arange(len(groups)), max(1, min(len(groups), wanted_groups)))
    strata = [sorted((by_share[place] for place in part), key=rank.__getitem__) for part in places]
    strata.sort(key=lambda stratum: rank[stratum[0]])
    return [name for name in chain.from_iterable(zip_longest(*strata)) if name is not None]


def split_official(trainval: Sequence[Sample], test: Sequence[Sample]) -> list[Sample]:
    """The official lists; every 10th photo of the first one (index 0, 10, …) validates."""
    learnt = [
        replace(sample, split="train" if index % VALIDATION_STRIDE else "validation")
        for index, sample in enumerate(trainval)
    ]
    return learnt + [replace(sample, split="test") for sample in test]


def split_lab(trainval: Sequence[Sample], test: Sequence[Sample]) -> list[Sample]:
    """The lab report's own split: both lists joined in file order, then 80/10/10. Not comparable with the official one."""
    joined = [*trainval, *test]
    first, second = int(0.8 * len(joined)), int(0.9 * len(joined))
    return [
        replace(sample, split="train" if index < first else "validation" if index < second else "test")
        for index, sample in enumerate(joined)
    ]
