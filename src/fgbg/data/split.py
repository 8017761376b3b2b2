"""Which sample trains, which one chooses, which one judges. Decided before anything is learnt, and kept with the run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fgbg.data.samples import SPLITS, Sample
from fgbg.errors import UserError

TEST_SHARE = VALIDATION_SHARE = 0.1
VALIDATION_STRIDE = 10  # every 10th photo of an official training list validates


def split_by_group(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """80/10/10, whole groups together (a sample without a group is its own), the same for the same names and seed.

    Groups are ranked by a hash of their name, so neither the order of the files nor a renamed folder moves a sample.

    Raises:
        UserError: Fewer than three groups cannot fill three splits.
    """
    group_of = {sample.id: sample.group or f"sample {sample.id}" for sample in samples}
    sizes = Counter(group_of.values())
    if len(sizes) < len(SPLITS):
        raise UserError(
            f"{len(samples)} pairs in {len(sizes)} groups cannot be split three ways: "
            "give more photos, or list them in train.txt, val.txt and test.txt"
        )
    test = _take_groups(sizes, round(TEST_SHARE * len(samples)), seed, leave=2)
    rest = {group: size for group, size in sizes.items() if group not in test}
    validation = _take_groups(rest, round(VALIDATION_SHARE * len(samples)), seed, leave=1)
    split_of = {**dict.fromkeys(test, "test"), **dict.fromkeys(validation, "validation")}
    return [replace(sample, split=split_of.get(group_of[sample.id], "train")) for sample in samples]


def hold_out_validation(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """Let a tenth of the training samples validate: every 10th (index 0, 10, …), or whole groups where there are some."""
    learnt = [sample for sample in samples if sample.split == "train"]
    if any(sample.group for sample in learnt):
        sizes = Counter(sample.group or f"sample {sample.id}" for sample in learnt)
        groups = _take_groups(sizes, round(VALIDATION_SHARE * len(learnt)), seed, leave=1)
        chosen = {sample.id for sample in learnt if (sample.group or f"sample {sample.id}") in groups}
    else:
        chosen = {sample.id for sample in learnt[::VALIDATION_STRIDE]}
    return [replace(sample, split="validation") if sample.id in chosen else sample for sample in samples]


def _take_groups(sizes: Mapping[str, int], wanted: int, seed: int, *, leave: int) -> set[str]:
    """Groups that together have about `wanted` samples, in an order that the seed decides.

    At least one group is taken, and `leave` groups stay for the other splits where there are enough.

    A group that is larger than what is still wanted is passed over: a tenth must not become nine tenths.
    """
    ranked = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest(), reverse=True)
    taken: set[str] = set()
    for group in ranked:
        if sizes[group] <= wanted and len(sizes) - len(taken) > leave:
            taken.add(group)
            wanted -= sizes[group]
    return taken or {min(ranked, key=lambda group: (sizes[group], ranked.index(group)))}


def split_official(trainval: Sequence[Sample], test: Sequence[Sample]) -> list[Sample]:
    """The official lists; every 10th photo of the first one (index 0, 10, …) validates."""
    learnt = [
        replace(sample, split="train" if index % VALIDATION_STRIDE else "validation")
        for index, sample in enumerate(trainval)
    ]
    return learnt + [replace(sample, split="test") for sample in test]


def split_lab(trainval: Sequence[Sample], test: Sequence[Sample]) -> list[Sample]:
    """The lab report's own cut: both lists joined in file order, then 80/10/10. Not comparable with official figures."""
    joined = [*trainval, *test]
    first, second = int(0.8 * len(joined)), int(0.9 * len(joined))
    return [
        replace(sample, split="train" if index < first else "validation" if index < second else "test")
        for index, sample in enumerate(joined)
    ]
