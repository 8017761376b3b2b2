"""Which sample trains, which one chooses, which one judges. Decided before anything is learnt, and kept with the run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
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
    ranked = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    split_of: dict[str, str] = {}
    for split, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        wanted, taken = max(1, round(share * len(samples))), 0
        while taken < wanted and len(ranked) > (2 if split == "test" else 1):
            group = ranked.pop()
            split_of[group] = split
            taken += sizes[group]
    return [replace(sample, split=split_of.get(group_of[sample.id], "train")) for sample in samples]


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
